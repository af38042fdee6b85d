/* modules.c: splits a program into LLVM modules and emits them, each with a context and target machine of its own.
 * The split depends on the program only, so the bytes do not depend on the number of threads. */
#include "backend/modules.h"
#include "backend/run_emit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { FUNCTIONS_IN_MODULE = 12 };

const char *function_symbol(struct program *p, const struct emit_options *o, int i)
{
	return arena_printf(p->arena, "%shone_%s%s_k%d", o->prefix, o->name, o->level, i);
}

struct job {
	struct program *p;
	const struct emit_options *o;
	LLVMCodeGenFileType type;
	bool text;
	struct modules *out;
	const char **
		names; /* of functions: made before, since the arena is not shared between threads */
	struct diag diags[MODULES_MAX];
	bool ok[MODULES_MAX];
	atomic_int next;
	int functions_each;
};

static bool finish(struct job *job, struct emitter *e, int module, struct diag *d)
{
	char *text;

	if (!job->text)
		return emitter_finish(e, job->type, &job->out->object[module], d);
	text = LLVMPrintModuleToString(e->module);
	job->out->object[module] =
		LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "module");
	LLVMDisposeMessage(text);
	return true;
}

/* Module 0: the program itself. It may add words and texts, so it is emitted before the threads start. */
static bool emit_main_module(struct job *job, struct diag *d)
{
	struct arena arena = {0};
	struct emitter e;
	LLVMValueRef run;
	bool ok;

	emitter_open(&e, job->p->target, &arena, "program");
	run = emit_run(&e, job->p, job->o, d);
	if (run) {
		emit_tables(&e, job->p, job->o, declare_setup(&e), run);
		emit_setup(&e, job->p);
	}
	ok = run && finish(job, &e, 0, d);
	emitter_close(&e);
	arena_free(&arena);
	return ok;
}

static bool emit_kernels(struct job *job, int module, struct diag *d)
{
	int first = (module - 1) * job->functions_each, end = first + job->functions_each;
	struct arena arena = {0};
	struct emitter e;
	bool ok = true;

	emitter_open(&e, job->p->target, &arena, "kernels");
	for (int i = first; ok && i < end && i < job->p->functions.count; i++) {
		const struct function *f = &job->p->functions.at[i];

		ok = emit_kernel(&e, f->kernel, &f->abi, job->names[i], d);
	}
	ok = ok && finish(job, &e, module, d);
	emitter_close(&e);
	arena_free(&arena);
	return ok;
}

static void *work(void *arg)
{
	struct job *job = arg;
	int module;

	while ((module = atomic_fetch_add(&job->next, 1)) < job->out->count)
		job->ok[module] = emit_kernels(job, module, &job->diags[module]);
	return NULL;
}

static void pass_on(struct diag *from, struct diag *to)
{
	for (int i = 0; i < from->count; i++)
		diag_add(to, from->messages[i].kind, from->messages[i].loc, "%s",
			 from->messages[i].text);
	diag_reset(from);
}

void modules_free(struct modules *m)
{
	for (int i = 0; i < m->count; i++)
		if (m->object[i])
			LLVMDisposeMemoryBuffer(m->object[i]);
	m->count = 0;
}

static bool run_jobs(struct job *job, int threads, struct diag *d)
{
	pthread_t others[8];
	int started = 0;
	bool ok = true;

	atomic_store(&job->next, 1);
	while (started < threads - 1 && started < 8 &&
	       !pthread_create(&others[started], NULL, work, job))
		started++;
	work(job);
	for (int i = 0; i < started; i++)
		pthread_join(others[i], NULL);
	for (int i = 1; i < job->out->count; i++) {
		ok &= job->ok[i];
		pass_on(&job->diags[i], d);
	}
	return ok;
}

bool modules_emit(struct program *p, const struct emit_options *o, LLVMCodeGenFileType type,
		  bool text, int threads, struct modules *out, struct diag *d)
{
	struct job *job = ARENA_NEW(p->arena, struct job);
	int count = p->functions.count;

	*job = (struct job){.p = p, .o = o, .type = type, .text = text, .out = out};
	*out = (struct modules){0};
	job->functions_each = text || type == LLVMAssemblyFile ? count + 1 : FUNCTIONS_IN_MODULE;
	if (count > job->functions_each * (MODULES_MAX - 1))
		job->functions_each = (count + MODULES_MAX - 2) / (MODULES_MAX - 1);
	out->count = 1 + (count + job->functions_each - 1) / job->functions_each;
	job->names = ARENA_ARRAY(p->arena, const char *, count);
	for (int i = 0; i < count; i++)
		job->names[i] = function_symbol(p, o, i);
	if (emit_main_module(job, d) && run_jobs(job, threads, d))
		return true;
	modules_free(out);
	return false;
}
