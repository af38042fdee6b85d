/* calibration.c: the graph run on samples, with probes. */
#include "passes/calibration.h"
#include "passes/passes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the samples ---- */

static int64_t per_sample(const struct type *t)
{
	return dim_is_const(t->dims[0]) ? t->dims[0]->value : 1;
}

static bool has_nan(const hone_tensor *t)
{
	struct tensor source = {.kind = TENSOR_BYTES, .data = t->data};
	int64_t count = 1;

	for (int i = 0; i < t->rank; i++)
		count *= t->dims[i];
	for (int64_t i = 0; dtype_is_float((enum dtype)t->dtype) && i < count; i++)
		if (isnan(tensor_element(&source, (enum dtype)t->dtype, i).f))
			return true;
	return false;
}

#define BAD(d, ...) diag_add((d), DIAG_USAGE, (struct loc){.file = "--calibrate"}, __VA_ARGS__)

static bool check_dims(const struct type *type, const char *name, const hone_tensor *t,
		       struct diag *d)
{
	if (t->rank != type->rank)
		return BAD(d,
			   "input \"%s\": expected rank %d with the samples along axis 0, found %d",
			   name, type->rank, t->rank);
	for (int i = 1; i < t->rank; i++)
		if (t->dims[i] < dim_lower(type->dims[i]) || t->dims[i] > dim_upper(type->dims[i]))
			return BAD(d,
				   "input \"%s\": axis %d has %" PRId64 ", the model takes %" PRId64
				   " to %" PRId64,
				   name, i, t->dims[i], dim_lower(type->dims[i]),
				   dim_upper(type->dims[i]));
	return true;
}

static bool check_input(struct calibration *k, const struct graph *g, int i, struct diag *d)
{
	const struct type *type = &g->body->params[i]->type;
	const char *name = g->input_names[i];
	const hone_tensor *t = &k->inputs[i];
	int64_t count;

	if (type->kind != TYPE_TENSOR || type->rank == 0)
		return BAD(d, "input \"%s\" has no axis for samples", name);
	if (!t->data)
		return BAD(d, "no samples for input \"%s\"", name);
	if (t->dtype != (int32_t)type->dtype)
		return BAD(d, "input \"%s\": expected %s, found %s", name, dtype_name(type->dtype),
			   dtype_name((enum dtype)t->dtype));
	if (!check_dims(type, name, t, d))
		return false;
	count = t->dims[0] / per_sample(type);
	if (count == 0 || count * per_sample(type) != t->dims[0])
		return BAD(d,
			   "input \"%s\": axis 0 has %" PRId64 ", expected a multiple of %" PRId64,
			   name, t->dims[0], per_sample(type));
	if (i && count != k->count)
		return BAD(d, "input \"%s\" has %" PRId64 " samples, \"%s\" has %d", name, count,
			   g->input_names[0], k->count);
	k->count = (int)count;
	if (has_nan(t))
		return BAD(d, "input \"%s\" has NaN among its samples", name);
	return true;
}

bool calibration_check(struct calibration *k, const struct graph *g, struct diag *d)
{
	if (g->body->param_count == 0)
		return BAD(d, "the model has no inputs");
	for (int i = 0; i < g->body->param_count; i++)
		if (!check_input(k, g, i, d))
			return false;
	return true;
}

int64_t *calibration_symbols(const struct calibration *k, const struct graph *g, struct arena *a)
{
	int64_t *symbols = ARENA_ARRAY(a, int64_t, g->dims.symbol_count + 1);

	for (int i = 0; i < g->dims.symbol_count; i++)
		symbols[i] = 1;
	for (int i = 0; i < g->body->param_count; i++) {
		const struct type *t = &g->body->params[i]->type;

		for (int j = 1; j < t->rank; j++)
			if (t->dims[j]->kind == DIM_SYMBOL)
				symbols[t->dims[j]->value] = k->inputs[i].dims[j];
	}
	return symbols;
}

/* ---- running ---- */

/* What of a graph is set aside while its copy runs: both share dims, expressions and constants. */
static void restore(struct graph *g, const struct graph *saved)
{
	g->body = saved->body;
	g->requires.at = saved->requires.at;
	g->requires.count = saved->requires.count;
	g->requires.room = saved->requires.room;
	g->input_names = saved->input_names;
	g->output_names = saved->output_names;
}

/* A copy of the body whose results are the probes. */
static bool copy_body(struct pass_context *c, const struct region *from, int count,
		      struct value *const *probes)
{
	struct graph *g = c->graph;
	struct value **map = ARENA_ARRAY(c->scratch, struct value *, g->value_count + 1);
	struct value **results = ARENA_ARRAY(c->scratch, struct value *, count);
	const char **names = ARENA_ARRAY(g->arena, const char *, count);
	struct builder b = {.graph = g, .diag = c->diag};

	g->body = b.region = region_new(g);
	g->requires.at = NULL;
	g->requires.count = g->requires.room = 0;
	for (int i = 0; i < from->param_count; i++)
		map[from->params[i]->id] =
			region_param(g, g->body, from->params[i]->name, &from->params[i]->type);
	for (const struct node *n = from->first; n; n = n->next)
		if (n->symbol_count || !node_clone(&b, n, map))
			return diag_add(c->diag, DIAG_UNSUPPORTED, n->loc,
					"calibration of a model with %s", op_table[n->op].name);
	for (int i = 0; i < count; i++) {
		results[i] = map[probes[i]->id];
		names[i] = "probe";
	}
	graph_set_outputs(g, count, results, names);
	return true;
}

static void draw(const struct calibration *k, int done)
{
	enum { WIDTH = 40 };
	char bar[WIDTH + 1];

	if (!k->progress || (done % (k->count / 100 + 1) && done != k->count))
		return;
	for (int i = 0; i < WIDTH; i++)
		bar[i] = i * (int64_t)k->count < (int64_t)done * WIDTH ? '#' : '.';
	bar[WIDTH] = 0;
	fprintf(stderr, "\rcalibrating [%s] %d/%d%s", bar, done, k->count,
		done == k->count ? "\n" : "");
}

static bool run_sample(const struct calibration *k, struct engine_program *p, const struct graph *g,
		       int sample, int count, hone_tensor *in, hone_tensor *out, struct diag *d)
{
	for (int i = 0; i < g->body->param_count; i++) {
		in[i] = k->inputs[i];
		in[i].size = in[i].size / k->count;
		in[i].dims[0] /= k->count;
		in[i].data = (char *)k->inputs[i].data + sample * in[i].size;
	}
	memset(out, 0, (size_t)count * sizeof(*out));
	return k->engine->run(p, in, out, NULL, NULL, d);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool run_all(struct pass_context *c, int count, calibration_fn *fn, void *self,
		    double *mean_ms)
{
	const struct calibration *k = c->calibration;
	struct engine_program *p = k->engine->compile(k->engine, c->graph, 0, NULL, c->diag);
	hone_tensor *in = ARENA_ARRAY(c->scratch, hone_tensor, c->graph->body->param_count);
	hone_tensor *out = ARENA_ARRAY(c->scratch, hone_tensor, count);
	double ms = 0;
	bool ok = p != NULL;

	for (int i = 0; ok && i < k->count; i++) {
		double start = now_ms();

		ok = run_sample(k, p, c->graph, i, count, in, out, c->diag);
		ms += now_ms() - start;
		for (int j = 0; j < count; j++) {
			if (ok)
				fn(self, i, j, &out[j]);
			free(out[j].data);
		}
		if (ok)
			draw(k, i + 1);
	}
	if (p)
		k->engine->release(p);
	if (mean_ms)
		*mean_ms = ms / k->count;
	return ok;
}

bool calibration_run(struct pass_context *c, int probe_count, struct value *const *probes,
		     calibration_fn *fn, void *self, double *mean_ms)
{
	static const char rest[] =
		"canonicalize,fold_constants,dead_code,integer_products,layout,canonicalize,fold_"
		"constants,"
		"common_subexpressions,dead_code,fuse_patterns,split_rows,fold_constants,"
		"canonicalize,common_subexpressions,dead_code,group";
	struct graph saved = *c->graph;
	struct pipeline_options o = {.passes = rest};
	bool ok = copy_body(c, saved.body, probe_count, probes) &&
		  pipeline_run(c->graph, &o, &interpreter, c->diag) &&
		  run_all(c, probe_count, fn, self, mean_ms);

	restore(c->graph, &saved);
	return ok;
}
