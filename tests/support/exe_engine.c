/* exe_engine.c: compiles to a temporary folder, which holds the files of every run too. */
#define _GNU_SOURCE /* mkdtemp */
#include "tests/support/exe_engine.h"

#include "backend/compile.h"
#include "runtime/npy.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct engine_program {
	const struct exe_engine *how;
	struct arena arena;
	char folder[32];
	const char *params; /* `--param NAME=VALUE` words */
	int input_count, output_count;
};

static bool has_npy(enum dtype t)
{
	return t == DT_BF16 || (dtype_bits(t) >= 8 && t < DT_F8E4M3FN && t != DT_STRING);
}

static bool check_types(const struct graph *g, struct diag *d)
{
	const struct region *r = g->body;

	for (int i = 0; i < r->param_count + r->result_count; i++) {
		const struct type *t = i < r->param_count ? &r->params[i]->type
							  : &r->results[i - r->param_count]->type;

		if (t->kind != TYPE_TENSOR || !has_npy(t->dtype))
			return diag_add(d, DIAG_UNSUPPORTED, (struct loc){0},
					"an input or output has a type that .npy files lack");
	}
	return true;
}

static const char *file(struct engine_program *p, const char *kind, int i)
{
	return arena_printf(&p->arena, "%s/%s%d.npy", p->folder, kind, i);
}

static void exe_release(struct engine_program *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->input_count; i++)
		unlink(file(p, "in", i));
	for (int i = 0; i < p->output_count; i++)
		unlink(file(p, "out", i));
	unlink(arena_printf(&p->arena, "%s/model", p->folder));
	unlink(arena_printf(&p->arena, "%s/log", p->folder));
	rmdir(p->folder);
	arena_free(&p->arena);
	free(p);
}

static struct engine_program *exe_compile(struct engine *e, struct graph *g, int probe_count,
					  struct value *const *probes, struct diag *d)
{
	struct engine_program *p = calloc(1, sizeof(*p));
	struct compile_options o = {.kind = EMIT_EXE};
	struct targets targets = {.count = 1};

	(void)probes;
	if (!p || probe_count || !check_types(g, d) ||
	    !mkdtemp(strcpy(p->folder, "/tmp/hone-exe.XXXXXX"))) {
		free(p);
		return NULL;
	}
	p->how = e->self;
	p->params = "";
	p->input_count = g->body->param_count;
	p->output_count = g->body->result_count;
	targets.at[0] = *p->how->target;
	targets.spec = p->how->target->spec;
	o.targets = &targets;
	o.runtime = p->how->runtime;
	if (compile_graph(g, &o, arena_printf(&p->arena, "%s/model", p->folder), NULL, d))
		return p;
	exe_release(p);
	return NULL;
}

static bool fail(struct diag *d, enum diag_kind kind, const char *text)
{
	return diag_add(d, kind, (struct loc){0}, "%s", text);
}

static bool write_inputs(struct engine_program *p, const hone_tensor *in, struct diag *d)
{
	char text[512];

	for (int i = 0; i < p->input_count; i++)
		if (!npy_write_file(file(p, "in", i), in[i].dtype, in[i].rank, in[i].dims,
				    in[i].data, text, sizeof(text)))
			return fail(d, DIAG_INTERNAL, text);
	return true;
}

static bool read_outputs(struct engine_program *p, hone_tensor *out, struct diag *d)
{
	char text[512];

	for (int i = 0; i < p->output_count; i++) {
		struct npy t;

		if (!npy_read_file(&t, file(p, "out", i), text, sizeof(text)))
			return fail(d, DIAG_INTERNAL, text);
		out[i] = (hone_tensor){.size = t.size, .rank = t.rank, .dtype = t.dtype};
		memcpy(out[i].dims, t.dims, sizeof(t.dims));
		out[i].data = malloc((size_t)t.size + 64);
		if (out[i].data && t.size)
			memcpy(out[i].data, t.data, (size_t)t.size);
		npy_free(&t);
	}
	return true;
}

/* What the process said, as the message: its model failed, or it died. */
static bool report(struct engine_program *p, int status, struct diag *d)
{
	bool refused = WIFEXITED(status) && WEXITSTATUS(status) == 1;
	char line[512] = "";
	FILE *log = fopen(arena_printf(&p->arena, "%s/log", p->folder), "r");

	if (log && fgets(line, sizeof(line), log))
		line[strcspn(line, "\n")] = 0;
	if (log)
		fclose(log);
	return diag_add(d, refused ? DIAG_DIFFER : DIAG_INTERNAL, (struct loc){0},
			"status %d of the executable: %s", status, line);
}

static bool exe_run(struct engine_program *p, const hone_tensor *in, hone_tensor *out,
		    engine_probe_fn *probe, void *self, struct diag *d)
{
	const char *command = arena_printf(&p->arena, "exec %s %s/model%s", p->how->emulator,
					   p->folder, p->params);
	int status;

	(void)probe;
	(void)self;
	for (int i = 0; i < p->input_count; i++)
		command = arena_printf(&p->arena, "%s --input %s", command, file(p, "in", i));
	for (int i = 0; i < p->output_count; i++)
		command = arena_printf(&p->arena, "%s --output %s", command, file(p, "out", i));
	command = arena_printf(&p->arena, "%s >%s/log 2>&1", command, p->folder);
	if (!write_inputs(p, in, d))
		return false;
	status = system(command);
	return status ? report(p, status, d) : read_outputs(p, out, d);
}

static bool exe_set_param(struct engine_program *p, const char *name, double value)
{
	p->params = arena_printf(&p->arena, "%s --param %s=%.17g", p->params, name, value);
	return true;
}

struct engine *exe_engine(const struct exe_engine *how, struct arena *a)
{
	struct engine *e = ARENA_NEW(a, struct engine);

	*e = (struct engine){.name = "exe",
			     .compile = exe_compile,
			     .run = exe_run,
			     .set_param = exe_set_param,
			     .release = exe_release,
			     .self = (void *)(uintptr_t)how};
	return e;
}
