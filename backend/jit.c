/* jit.c: the engine that compiles in-process: the objects of modules.c, linked in memory by LLJIT. The runtime is the
 * one inside this process; its functions are given as absolute symbols. */
#include "backend/compile.h"
#include "backend/modules.h"
#include "backend/profile.h"
#include "runtime/table.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <stdlib.h>
#include <string.h>

struct engine_program {
	LLVMOrcLLJITRef jit;
	hone_context *context;
	const hone_model *model;
	unsigned char *weights,
		*fill; /* fill: where the next constant goes while they are written */
	int output_count, total_count;
	struct arena arena;
};

struct jit_state {
	const struct target *target;
	struct profile *profile;
	int threads;
};

/* ---- symbols ---- */

typedef void function(void);

/* Every runtime function that emitted code names, and what LLVM may call for copies. */
static const struct {
	const char *name;
	function *address;
} runtime_symbols[] = {
#define SYMBOL(name) {#name, (function *)name},
	SYMBOL(hone_rt_arena_bytes) SYMBOL(hone_rt_context_create) SYMBOL(hone_rt_output_dims)
		SYMBOL(hone_rt_run) SYMBOL(hone_rt_set_param) SYMBOL(hone_rt_error)
			SYMBOL(hone_rt_context_destroy) SYMBOL(hone_rt_reserve)
				SYMBOL(hone_rt_output) SYMBOL(hone_rt_fork) SYMBOL(memcpy)
					SYMBOL(memset) SYMBOL(memmove)
#undef SYMBOL
};

static bool fail(struct diag *d, LLVMErrorRef error)
{
	char *text;

	if (!error)
		return true;
	text = LLVMGetErrorMessage(error);
	diag_add(d, DIAG_INTERNAL, (struct loc){0}, "in-process compilation: %s", text);
	LLVMDisposeErrorMessage(text);
	return false;
}

static LLVMOrcCSymbolMapPair pair(LLVMOrcLLJITRef jit, const char *name, const void *address)
{
	return (LLVMOrcCSymbolMapPair){LLVMOrcLLJITMangleAndIntern(jit, name),
				       {(LLVMOrcExecutorAddress)(uintptr_t)address,
					{LLVMJITSymbolGenericFlagsExported, 0}}};
}

static bool define_symbols(struct engine_program *g, const struct emit_options *o, struct diag *d)
{
	LLVMOrcCSymbolMapPair pairs[128];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(runtime_symbols) / sizeof(*runtime_symbols); i++) {
		const void *address;

		memcpy(&address, &runtime_symbols[i].address, sizeof(address));
		pairs[n++] = pair(g->jit, runtime_symbols[i].name, address);
	}
	for (const struct hone_call_row *c = hone_calls; c->name && n < 126; c++) {
		const void *address;

		memcpy(&address, &c->fn, sizeof(address));
		pairs[n++] =
			pair(g->jit, arena_printf(&g->arena, "hone_call_%s", c->name), address);
	}
	if (g->weights)
		pairs[n++] = pair(g->jit, weights_symbol(&g->arena, o), g->weights);
	return fail(d, LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(g->jit),
					     LLVMOrcAbsoluteSymbols(pairs, n)));
}

/* Sanitized code calls the sanitizer's runtime, which is in this process. */
static bool add_process_symbols(struct engine_program *g, struct diag *d)
{
	LLVMOrcDefinitionGeneratorRef generator;

	if (!fail(d, LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
			     &generator, LLVMOrcLLJITGetGlobalPrefix(g->jit), NULL, NULL)))
		return false;
	LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(g->jit), generator);
	return true;
}

/* ---- building ---- */

static bool fill_weights(void *self, const void *data, int64_t size)
{
	struct engine_program *g = self;

	if (size)
		memcpy(g->fill, data, (size_t)size);
	g->fill += size;
	return true;
}

/* The JIT takes the buffer; its name must be unique, for symbols that run constructors are made from it. */
static LLVMMemoryBufferRef named_copy(struct engine_program *g, LLVMMemoryBufferRef object,
				      int number)
{
	return LLVMCreateMemoryBufferWithMemoryRangeCopy(
		LLVMGetBufferStart(object), LLVMGetBufferSize(object),
		arena_printf(&g->arena, "module%d", number));
}

static bool link_modules(struct engine_program *g, struct modules *m, const struct emit_options *o,
			 const struct target *t, struct diag *d)
{
	LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(g->jit);
	LLVMOrcExecutorAddress address;
	const hone_model *(*get)(void);
	bool ok = define_symbols(g, o, d) && (!t->sanitize || add_process_symbols(g, d));

	for (int i = 0; ok && i < m->count; i++)
		ok = fail(d,
			  LLVMOrcLLJITAddObjectFile(g->jit, dylib, named_copy(g, m->object[i], i)));
	if (!ok || !fail(d, LLVMOrcLLJITLookup(g->jit, &address, "hone_model_get")))
		return false;
	memcpy(&get, &address, sizeof(get));
	g->model = get();
	return true;
}

static void *allocate_output(void *self, int32_t output, int64_t size)
{
	(void)self;
	(void)output;
	return aligned_alloc(64, (size_t)(size + 64) / 64 * 64);
}

static bool create_context(struct engine_program *g, int threads, struct diag *d)
{
	hone_options options = {
		.size = sizeof(options), .threads = (uint32_t)threads, .allocate = allocate_output};
	char text[512];

	if (hone_context_create(g->model, &options, &g->context, text, sizeof(text)) == HONE_OK)
		return true;
	return diag_add(d, DIAG_INTERNAL, (struct loc){0}, "in-process compilation: %s", text);
}

static void jit_release(struct engine_program *g)
{
	if (!g)
		return;
	hone_context_destroy(g->context);
	if (g->jit)
		fail(&(struct diag){0}, LLVMOrcDisposeLLJIT(g->jit));
	free(g->weights);
	arena_free(&g->arena);
	free(g);
}

static void attach(struct profile *profile, struct program *p, const struct emit_options *o)
{
	const char **names = ARENA_ARRAY(p->arena, const char *, p->functions.count + 1);

	for (int i = 0; i < p->functions.count; i++)
		names[i] = function_symbol(p, o, i);
	profile_attach(profile, p, names);
}

static bool build(struct engine_program *g, struct program *p, const struct jit_state *state,
		  struct diag *d)
{
	struct emit_options o = {.name = "jit",
				 .prefix = "",
				 .passes = "",
				 .hash = "",
				 .level = "",
				 .profile = state->profile};
	const struct target *t = state->target;
	struct modules m;
	bool ok;

	if (o.profile)
		attach(o.profile, p, &o);
	if (!modules_emit(p, &o, LLVMObjectFile, false, 2, &m, d))
		return false;
	if (p->constants->bytes) {
		g->weights = g->fill = aligned_alloc(64, (size_t)p->constants->bytes);
		if (g->weights)
			program_write_weights(p, fill_weights, g);
	}
	ok = (g->weights || !p->constants->bytes ||
	      diag_add(d, DIAG_INTERNAL, (struct loc){0}, "no memory for the weights")) &&
	     fail(d, LLVMOrcCreateLLJIT(&g->jit, NULL)) && link_modules(g, &m, &o, t, d) &&
	     create_context(g, state->threads, d);
	modules_free(&m);
	return ok;
}

static struct engine_program *jit_compile(struct engine *e, struct graph *graph, int probe_count,
					  struct value *const *probes, struct diag *d)
{
	const struct jit_state *state = e->self;
	struct engine_program *g = calloc(1, sizeof(*g));
	struct program *p;

	if (!g)
		return NULL;
	p = program_layout(graph, state->target, probe_count, probes, &g->arena, d);
	if (p) {
		g->output_count = graph->body->result_count;
		g->total_count = p->output_count;
	}
	if (p && build(g, p, state, d))
		return g;
	jit_release(g);
	return NULL;
}

/* ---- running ---- */

static bool report_run(struct engine_program *g, hone_status status, struct diag *d)
{
	enum diag_kind kind = status == HONE_ERROR_DATA || status == HONE_ERROR_SHAPE ||
					      status == HONE_ERROR_ARGUMENT
				      ? DIAG_DIFFER
				      : DIAG_INTERNAL;

	return diag_add(d, kind, (struct loc){0}, "%s", hone_error(g->context));
}

static void free_outputs(hone_tensor *all, int from, int to)
{
	for (int i = from; i < to; i++) {
		free(all[i].data);
		all[i].data = NULL;
	}
}

static bool jit_run(struct engine_program *g, const hone_tensor *inputs, hone_tensor *outputs,
		    engine_probe_fn *probe, void *self, struct diag *d)
{
	hone_tensor *all = calloc((size_t)g->total_count + 1, sizeof(*all));
	hone_status status = hone_run(g->context, inputs, all);

	if (status != HONE_OK) {
		free_outputs(all, 0, g->total_count);
		free(all);
		return report_run(g, status, d);
	}
	memcpy(outputs, all, (size_t)g->output_count * sizeof(*all));
	for (int i = g->output_count; i < g->total_count; i++)
		if (probe)
			probe(self, i - g->output_count, &all[i]);
	free_outputs(all, g->output_count, g->total_count);
	free(all);
	return true;
}

static bool jit_set_param(struct engine_program *g, const char *name, double value)
{
	return hone_set_param(g->context, name, value) == HONE_OK;
}

const hone_model *jit_model(const struct engine_program *p) { return p->model; }

void jit_use_threads(struct engine *jit, int threads)
{
	((struct jit_state *)jit->self)->threads = threads;
}

struct engine *jit_engine(const struct target *t, struct profile *profile, struct arena *a)
{
	struct engine *e = ARENA_NEW(a, struct engine);
	struct jit_state *state = ARENA_NEW(a, struct jit_state);

	state->target = t;
	state->profile = profile;
	state->threads = 1;
	*e = (struct engine){.name = "jit",
			     .compile = jit_compile,
			     .run = jit_run,
			     .set_param = jit_set_param,
			     .release = jit_release,
			     .self = state};
	return e;
}
