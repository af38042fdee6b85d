/* case.c: reads, imports, compiles and runs one case, and compares with the outputs it should have.
 * Tolerances are those of onnx/backend/test/runner: rtol 1e-3, atol 1e-7 for floats; integers and bool exactly.
 *
 * Two things are odd in the data of ONNX 1.12. bfloat16 is stored as uint16, and the values were cut off, not
 * rounded (node/test_cast_FLOAT_to_BFLOAT16 and what follows it); the specification did not say which, later data
 * rounds to nearest as we do: bits may be one apart. And some inputs have other dims than their model declares
 * (the second input of node/test_castlike_FLOAT_to_BFLOAT16): such a case cannot be run as it is. */
#include "tests/conformance/conformance.h"

#include "backend/compile.h"
#include "frontend/export.h"
#include "frontend/import.h"
#include "frontend/tensor_pb.h"
#include "passes/passes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RTOL 1e-3
#define ATOL 1e-7

struct run {
	const char *folder;
	struct arena arena;
	struct diag diag;
	struct onnx_model *model;
	struct graph *graph;
	struct engine *engine;
	struct engine_program *program;
	struct outcome *out;
};

static void stage(struct run *r, const char *name)
{
	snprintf(r->out->stage, sizeof(r->out->stage), "%s", name);
}

/* ---- what the model is made of ---- */

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += n)
		if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ','))
			return true;
	return false;
}

static void note_operators(struct run *r)
{
	char *list = r->out->ops;
	size_t room = sizeof(r->out->ops), used = 0;

	for (int i = 0; i < r->model->graph.node_count; i++) {
		const char *op = r->model->graph.nodes[i].op;

		if (!has_word(list, op) && used + strlen(op) + 2 < room)
			used += (size_t)snprintf(list + used, room - used, "%s%s", used ? "," : "",
						 op);
	}
}

/* ---- data ---- */

static const char *data_path(struct run *r, int set, const char *kind, int i)
{
	return arena_printf(&r->arena, "%s/test_data_set_%d/%s_%d.pb", r->folder, set, kind, i);
}

/* This version of the data stores bfloat16 as uint16: the same bits under the type that the model says. */
static bool read_tensor(struct run *r, const char *path, enum dtype declared, hone_tensor *out)
{
	struct onnx_tensor t;

	if (!tensor_pb_read(path, &r->arena, &t, &r->diag))
		return false;
	*out = (hone_tensor){.size = (int64_t)t.size, .rank = t.rank, .dtype = t.dtype};
	/* a NULL would mean "not given": the data of an empty tensor is no bytes at some address */
	out->data = t.data ? (void *)(uintptr_t)t.data : arena_alloc(&r->arena, 16);
	if (t.rank)
		memcpy(out->dims, t.dims, (size_t)t.rank * sizeof(*t.dims));
	if (declared == DT_BF16 && t.dtype == ONNX_UINT16)
		out->dtype = HONE_BF16;
	return true;
}

static int64_t tensor_elements(const hone_tensor *t)
{
	int64_t n = 1;

	for (int i = 0; i < t->rank; i++)
		n *= t->dims[i];
	return n;
}

static const char *type_of(struct run *r, const hone_tensor *t)
{
	const char *text = arena_printf(&r->arena, "%s[", dtype_name((enum dtype)t->dtype));

	for (int i = 0; i < t->rank; i++)
		text = arena_printf(&r->arena, "%s%s%" PRId64, text, i ? "," : "", t->dims[i]);
	return arena_printf(&r->arena, "%s]", text);
}

/* ---- comparing ---- */

static union scalar element(const hone_tensor *t, int64_t i)
{
	const struct tensor source = {.kind = TENSOR_BYTES, .data = t->data, .size = t->size};

	return tensor_element(&source, (enum dtype)t->dtype, i);
}

static bool float_matches(double x, double y)
{
	if (x == y || (isnan(x) && isnan(y)))
		return true;
	return isfinite(x) && isfinite(y) && fabs(x - y) <= ATOL + RTOL * fabs(y);
}

/* The bits, or those one farther from zero: the data was cut off (see the head). */
static bool bf16_matches(const hone_tensor *actual, const hone_tensor *expected, int64_t i)
{
	uint16_t x, y;

	memcpy(&x, (const char *)actual->data + 2 * i, 2);
	memcpy(&y, (const char *)expected->data + 2 * i, 2);
	return x == y || x == y + 1;
}

static bool element_matches(const hone_tensor *actual, const hone_tensor *expected, int64_t i)
{
	union scalar x = element(actual, i), y = element(expected, i);

	if (expected->dtype == HONE_BF16)
		return bf16_matches(actual, expected, i);
	return dtype_is_float((enum dtype)expected->dtype) ? float_matches(x.f, y.f) : x.i == y.i;
}

static const char *element_text(struct run *r, const hone_tensor *t, int64_t i)
{
	union scalar x = element(t, i);

	return dtype_is_float((enum dtype)t->dtype) ? arena_printf(&r->arena, "%.9g", x.f)
						    : arena_printf(&r->arena, "%" PRId64, x.i);
}

static bool tensor_matches(struct run *r, const char *name, const hone_tensor *actual,
			   const hone_tensor *expected)
{
	const char *found = type_of(r, actual), *wanted = type_of(r, expected);
	int64_t differ = 0, first = 0, count = tensor_elements(expected);

	if (strcmp(found, wanted))
		return diag_add(&r->diag, DIAG_DIFFER, (struct loc){0},
				"output \"%s\": expected %s, found %s", name, wanted, found);
	if (count && !actual->data)
		return diag_add(&r->diag, DIAG_INTERNAL, (struct loc){0},
				"output \"%s\" has no data", name);
	for (int64_t i = count; i-- > 0;) {
		if (element_matches(actual, expected, i))
			continue;
		first = i;
		differ++;
	}
	if (!differ)
		return true;
	return diag_add(&r->diag, DIAG_DIFFER, (struct loc){0},
			"output \"%s\" %s: %" PRId64 " of %" PRId64
			" elements differ; first at %" PRId64 ": expected %s, found %s",
			name, wanted, differ, count, first, element_text(r, expected, first),
			element_text(r, actual, first));
}

/* ---- running ---- */

static bool read_inputs(struct run *r, int set, hone_tensor *in)
{
	const struct region *body = r->graph->body;

	for (int i = 0; i < body->param_count; i++)
		if (!read_tensor(r, data_path(r, set, "input", i), body->params[i]->type.dtype,
				 &in[i]))
			return false;
	if (!access(data_path(r, set, "input", body->param_count), R_OK))
		return diag_add(&r->diag, DIAG_INTERNAL, (struct loc){0},
				"the model takes %d inputs, but there is data for more",
				body->param_count);
	return true;
}

/* Whether the input may be given to the model; DIAG_UNSUPPORTED otherwise. */
static bool input_fits(struct run *r, int set, int i)
{
	const struct type *declared = &r->graph->body->params[i]->type;
	hone_tensor t;
	bool ok;

	if (!read_tensor(r, data_path(r, set, "input", i), declared->dtype, &t))
		return false;
	ok = t.rank == declared->rank && t.dtype == (int32_t)declared->dtype;
	for (int k = 0; ok && k < t.rank; k++)
		ok = !dim_is_const(declared->dims[k]) || declared->dims[k]->value == t.dims[k];
	return ok || diag_add(&r->diag, DIAG_UNSUPPORTED, (struct loc){0},
			      "the data contradicts the model: input \"%s\" is %s, declared as %s",
			      r->graph->input_names[i], type_of(r, &t),
			      type_text(r->graph, &r->arena, declared));
}

static bool inputs_fit(struct run *r)
{
	bool ok = true;

	stage(r, "reading the data");
	for (int set = 0; !access(data_path(r, set, "output", 0), R_OK); set++)
		for (int i = 0; ok && i < r->graph->body->param_count; i++)
			ok = input_fits(r, set, i);
	return ok;
}

static bool compare_outputs(struct run *r, int set, const hone_tensor *actual)
{
	const struct region *body = r->graph->body;
	hone_tensor expected;
	bool ok = true;

	for (int i = 0; i < body->result_count; i++)
		ok &= read_tensor(r, data_path(r, set, "output", i), body->results[i]->type.dtype,
				  &expected) &&
		      tensor_matches(r, r->graph->output_names[i], &actual[i], &expected);
	return ok;
}

static bool run_set(struct run *r, int set)
{
	const struct region *body = r->graph->body;
	hone_tensor *in = ARENA_ARRAY(&r->arena, hone_tensor, body->param_count + 1);
	hone_tensor *out = ARENA_ARRAY(&r->arena, hone_tensor, body->result_count + 1);
	bool ok;

	stage(r, "reading the data");
	if (!read_inputs(r, set, in))
		return false;
	stage(r, "running");
	if (!r->engine->run(r->program, in, out, NULL, NULL, &r->diag))
		return false;
	stage(r, "comparing");
	ok = compare_outputs(r, set, out);
	for (int i = 0; i < body->result_count; i++)
		free(out[i].data);
	return ok;
}

static bool run_sets(struct run *r)
{
	int set = 0;

	for (; !access(arena_printf(&r->arena, "%s/test_data_set_%d", r->folder, set), F_OK); set++)
		if (!run_set(r, set))
			return false;
	return set ||
	       diag_add(&r->diag, DIAG_FILE, (struct loc){0}, "the case has no test_data_set_0");
}

static bool import(struct run *r)
{
	stage(r, "reading the model");
	if (!model_read(arena_printf(&r->arena, "%s/model.onnx", r->folder), NULL, &r->arena,
			&r->model, &r->diag))
		return false;
	note_operators(r);
	stage(r, "importing");
	r->graph = import_model(r->model, NULL, &r->arena, &r->diag);
	return r->graph != NULL;
}

static void *join_pieces(struct run *r, const struct exported *e, size_t *size)
{
	unsigned char *bytes;

	*size = 0;
	for (int i = 0; i < e->pieces.count; i++)
		*size += e->pieces.at[i].size;
	bytes = arena_alloc(&r->arena, *size + 1);
	for (size_t i = 0, at = 0; i < (size_t)e->pieces.count; at += e->pieces.at[i++].size)
		memcpy(bytes + at, e->pieces.at[i].data, e->pieces.at[i].size);
	return bytes;
}

/* The graph of the model written as ONNX and read again. */
static bool export_and_import(struct run *r)
{
	const struct pipeline_options options = {.passes = pipeline_for_export(&r->arena),
						 .verify_each = true};
	struct exported e;
	struct onnx_model *again;
	const void *bytes;
	size_t size;

	stage(r, "exporting");
	if (!pipeline_run(r->graph, &options, &interpreter, &r->diag) ||
	    !export_model(r->graph, &r->arena, &e, &r->diag))
		return false;
	stage(r, "reading what was exported");
	bytes = join_pieces(r, &e, &size);
	if (!model_read_bytes(bytes, size, "exported.onnx", NULL, &r->arena, &again, &r->diag))
		return false;
	r->graph = import_model(again, NULL, &r->arena, &r->diag);
	model_close(again);
	return r->graph || diag_add(&r->diag, DIAG_INTERNAL, (struct loc){0},
				    "what was exported is not supported");
}

static bool compile_and_run(struct run *r, const struct how *how)
{
	const struct pipeline_options options = {.passes = how->passes, .verify_each = true};

	r->engine = how->interpret ? &interpreter
		    : how->exe     ? exe_engine(how->exe, &r->arena)
				   : jit_engine(how->target, NULL, &r->arena);
	stage(r, "in the passes");
	if (!pipeline_run(r->graph, &options, &interpreter, &r->diag))
		return false;
	stage(r, "compiling");
	r->program = r->engine->compile(r->engine, r->graph, 0, NULL, &r->diag);
	return r->program && run_sets(r);
}

/* The first message that is worth an exit status. */
static void explain(struct run *r)
{
	for (int i = 0; i < r->diag.count; i++) {
		const struct diag_message *m = &r->diag.messages[i];

		if (m->kind < DIAG_DIFFER)
			continue;
		snprintf(r->out->text, sizeof(r->out->text), "%s%s%s", m->loc.op ? m->loc.op : "",
			 m->loc.op ? ": " : "", m->text);
		return;
	}
	snprintf(r->out->text, sizeof(r->out->text), "it failed without a message");
}

void case_run(const char *folder, const struct how *how, struct outcome *out)
{
	struct run r = {.folder = folder, .out = out};
	bool accepted = import(&r) && inputs_fit(&r) && (!how->export || export_and_import(&r)),
	     ok = accepted && compile_and_run(&r, how);

	if (!ok)
		explain(&r);
	out->status = ok                                                            ? STATUS_PASSED
		      : (!accepted || how->exe) && r.diag.worst == DIAG_UNSUPPORTED ? STATUS_SKIPPED
										    : STATUS_FAILED;
	stage(&r, "releasing");
	if (r.program)
		r.engine->release(r.program);
	model_close(r.model);
	diag_reset(&r.diag);
	arena_free(&r.arena);
	stage(&r, "done");
}
