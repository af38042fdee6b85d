/* compare.c: what --check does: outputs before and after a pass, judged by the pass's tolerance. */
#include "passes/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The value of each symbol that an input binds: near `wanted`, within its range. */
static int64_t *pick_symbols(struct comparison *k, int wanted)
{
	const struct dim_pool *p = &k->graph->dims;
	int64_t *symbols = ARENA_ARRAY(&k->arena, int64_t, p->symbol_count + 1);

	for (int i = 0; i < p->symbol_count; i++) {
		const struct symbol *s = &p->symbols[i];

		symbols[i] = wanted < s->min ? s->min : wanted > s->max ? s->max : wanted;
	}
	return symbols;
}

/* An input of random elements; integers are 0 or 1 (they may be indices), or all 0. */
static bool make_input(struct comparison *k, const struct value *v, const int64_t *symbols,
		       bool zeros, hone_tensor *t)
{
	const struct tensor random = {.kind = TENSOR_RANDOM, .seed = (uint64_t)v->id + 1};
	enum dtype type = v->type.dtype;
	int64_t count = 1;
	unsigned char *data;

	if (v->type.kind != TYPE_TENSOR || type == DT_STRING)
		return false;
	t->rank = v->type.rank;
	t->dtype = (int32_t)type;
	for (int i = 0; i < t->rank; i++) {
		t->dims[i] = dim_eval(v->type.dims[i], symbols);
		if (t->dims[i] < 0 || __builtin_mul_overflow(count, t->dims[i], &count) ||
		    count > 1 << 24)
			return false;
	}
	t->size = dtype_bytes(type, count);
	if (dtype_is_float(type)) {
		t->data = arena_copy(&k->arena, tensor_bytes(&random, type, count, &k->arena),
				     (size_t)t->size);
		return true;
	}
	t->data = data = arena_alloc(&k->arena, (size_t)t->size + 8);
	for (int64_t i = 0; !zeros && dtype_bits(type) >= 8 && i < count; i++)
		data[i * (dtype_bits(type) / 8)] =
			(unsigned char)(tensor_element(&random, DT_BOOL, i).i);
	return true;
}

static bool run(struct comparison *k, hone_tensor *out, struct diag *d)
{
	struct engine_program *program = interpreter.compile(&interpreter, k->graph, 0, NULL, d);
	bool ok = program && interpreter.run(program, k->inputs, out, NULL, NULL, d);

	if (program)
		interpreter.release(program);
	return ok;
}

static void free_outputs(int count, hone_tensor *out)
{
	for (int i = 0; i < count; i++) {
		free(out[i].data);
		out[i].data = NULL;
	}
}

bool comparison_begin(struct comparison *k, struct graph *g)
{
	static const int sizes[] = {3, 2, 1, 4, 8, 16, 32};

	*k = (struct comparison){.graph = g,
				 .input_count = g->body->param_count,
				 .output_count = g->body->result_count};
	k->inputs = ARENA_ARRAY(&k->arena, hone_tensor, k->input_count);
	k->expected = ARENA_ARRAY(&k->arena, hone_tensor, k->output_count);
	for (int attempt = 0; attempt < 14; attempt++) {
		const int64_t *symbols = pick_symbols(k, sizes[attempt % 7]);
		struct diag ignored = {0};
		bool ok = true;

		for (int i = 0; i < k->input_count && ok; i++)
			ok = make_input(k, g->body->params[i], symbols, attempt >= 7,
					&k->inputs[i]);
		ok = ok && run(k, k->expected, &ignored);
		diag_reset(&ignored);
		if (ok)
			return true;
		free_outputs(k->output_count, k->expected);
	}
	fprintf(stderr, "note: --check found no inputs on which the model runs\n");
	return false;
}

static bool report(const struct pass *p, struct diag *d, int output, const char *what)
{
	return diag_add(d, DIAG_DIFFER, (struct loc){0}, "pass %s changed output %d: %s", p->name,
			output, what);
}

/* The largest difference, and magnitude, of two tensors' elements. */
static void differences(const hone_tensor *x, const hone_tensor *y, double *difference,
			double *magnitude)
{
	enum dtype t = (enum dtype)x->dtype;
	int64_t count = 1;

	*difference = *magnitude = 0;
	for (int i = 0; i < x->rank; i++)
		count *= x->dims[i];
	for (int64_t i = 0; i < count; i++) {
		union scalar a = tensor_element(&(struct tensor){.data = x->data}, t, i);
		union scalar b = tensor_element(&(struct tensor){.data = y->data}, t, i);
		double u = dtype_is_float(t) ? a.f : (double)a.i,
		       v = dtype_is_float(t) ? b.f : (double)b.i;

		if (u == v || (isnan(u) && isnan(v)))
			continue;
		*difference = fmax(*difference, isnan(u - v) ? (double)INFINITY : fabs(u - v));
		*magnitude = fmax(*magnitude, fabs(u));
	}
}

static bool compare(const struct pass *p, struct diag *d, int output, const hone_tensor *x,
		    const hone_tensor *y)
{
	double difference, magnitude, allowed;
	char text[128];

	if (x->dtype != y->dtype || x->rank != y->rank ||
	    memcmp(x->dims, y->dims, (size_t)x->rank * sizeof(*x->dims)))
		return report(p, d, output, "its type");
	if (x->dtype == DT_STRING)
		return true;
	differences(x, y, &difference, &magnitude);
	if (p->tolerance == PASS_LOSSY) {
		fprintf(stderr, "%s: output %d differs by at most %g\n", p->name, output,
			difference);
		return true;
	}
	allowed =
		p->tolerance == PASS_EXACT || !dtype_is_float((enum dtype)x->dtype)
			? 0
			: 1e-5 + (dtype_bits((enum dtype)x->dtype) < 32 ? 2e-2 : 2e-4) * magnitude;
	if (difference <= allowed)
		return true;
	snprintf(text, sizeof(text), "largest difference %g, allowed %g", difference, allowed);
	return report(p, d, output, text);
}

bool comparison_check(struct comparison *k, const struct pass *p, struct diag *d)
{
	hone_tensor *out = ARENA_ARRAY(&k->arena, hone_tensor, k->output_count);
	bool ok = run(k, out, d);

	for (int i = 0; i < k->output_count && ok; i++)
		ok = compare(p, d, i, &k->expected[i], &out[i]);
	if (!ok) {
		free_outputs(k->output_count, out);
		return false;
	}
	free_outputs(k->output_count, k->expected);
	k->expected = out; /* so that tolerances of passes do not add up */
	return true;
}

void comparison_end(struct comparison *k)
{
	free_outputs(k->output_count, k->expected);
	arena_free(&k->arena);
}
