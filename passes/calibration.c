/* calibration.c: the graph run on samples, with probes. */
#include "passes/calibration.h"
#include "passes/patterns.h"

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

/* Inputs of the body for what is known; params[value id]: its input, NULL: not known. */
static struct value **add_known(struct pass_context *c, const struct calibration_known *known)
{
	struct graph *g = c->graph;
	struct value **params = ARENA_ARRAY(c->scratch, struct value *, g->value_count + 1);
	int first = g->body->param_count;
	const char **names = ARENA_ARRAY(g->arena, const char *, first + known->count);

	memcpy(names, g->input_names, (size_t)first * sizeof(*names));
	for (int i = 0; i < known->count; i++) {
		struct value *v = known->values[i];

		params[v->id] = region_param(g, g->body, NULL, &v->type);
		names[first + i] = arena_printf(g->arena, "known.%d", i);
	}
	g->input_names = names;
	return params;
}

static bool copy_from(struct pass_context *c, const struct region *from,
		      const struct calibration_known *known, struct value **map)
{
	struct graph *g = c->graph;
	struct builder b = {.graph = g, .region = g->body, .diag = c->diag};
	struct value **params;

	for (int i = 0; i < from->param_count; i++)
		map[from->params[i]->id] =
			region_param(g, g->body, from->params[i]->name, &from->params[i]->type);
	params = known ? add_known(c, known) : NULL;
	for (const struct node *n = from->first; n; n = n->next) {
		if (n->symbol_count || !node_clone(&b, n, map))
			return diag_add(c->diag, DIAG_UNSUPPORTED, n->loc,
					"calibration of a model with %s", op_table[n->op].name);
		for (int i = 0; params && i < n->out_count; i++)
			if (params[n->out[i]->id])
				map[n->out[i]->id] = params[n->out[i]->id];
	}
	return true;
}

bool body_copy(struct pass_context *c, const struct region *from, struct value **map)
{
	return copy_from(c, from, NULL, map);
}

/* A copy of the body whose results are the probes. */
static bool copy_probed(struct pass_context *c, const struct region *from,
			const struct calibration_known *known, int count,
			struct value *const *probes)
{
	struct graph *g = c->graph;
	struct value **map = ARENA_ARRAY(c->scratch, struct value *, g->value_count + 1);
	struct value **results = ARENA_ARRAY(c->scratch, struct value *, count);
	const char **names = ARENA_ARRAY(g->arena, const char *, count);

	if (!copy_from(c, from, known, map))
		return false;
	for (int i = 0; i < count; i++) {
		results[i] = map[probes[i]->id];
		names[i] = "probe";
	}
	graph_set_outputs(g, count, results, names);
	return true;
}

static void draw(const struct calibration *k, const char *what, int done, int count)
{
	enum { WIDTH = 40 };
	char bar[WIDTH + 1];

	if (!k->progress || (done % (count / 100 + 1) && done != count))
		return;
	for (int i = 0; i < WIDTH; i++)
		bar[i] = i * (int64_t)count < (int64_t)done * WIDTH ? '#' : '.';
	bar[WIDTH] = 0;
	fprintf(stderr, "\r%s [%s] %d/%d%s", what, bar, done, count, done == count ? "\n" : "");
}

struct calibration_run {
	struct pass_context *c;
	const struct calibration_known *known; /* the last inputs; NULL: none */
	struct engine_program *program;
	int count; /* of outputs */
	hone_tensor *in, *out;
};

static bool begin(struct calibration_run *r, struct pass_context *c,
		  const struct calibration_known *known)
{
	struct engine *e = c->calibration->engine;

	r->c = c;
	r->known = known;
	r->count = c->graph->body->result_count;
	r->in = ARENA_ARRAY(c->scratch, hone_tensor, c->graph->body->param_count);
	r->out = ARENA_ARRAY(c->scratch, hone_tensor, r->count);
	r->program = e->compile(e, c->graph, 0, NULL, c->diag);
	return r->program != NULL;
}

static void end(struct calibration_run *r)
{
	if (r->program)
		r->c->calibration->engine->release(r->program);
}

/* fn NULL: the results are dropped. */
static bool run_sample(struct calibration_run *r, int sample, calibration_fn *fn, void *self)
{
	const struct calibration *k = r->c->calibration;
	int known = r->known ? r->known->count : 0;
	int inputs = r->c->graph->body->param_count - known;
	bool ok;

	for (int i = 0; i < known; i++)
		r->in[inputs + i] = r->known->tensors[(int64_t)sample * known + i];
	for (int i = 0; i < inputs; i++) {
		r->in[i] = k->inputs[i];
		r->in[i].size /= k->count;
		r->in[i].dims[0] /= k->count;
		r->in[i].data = (char *)k->inputs[i].data + sample * r->in[i].size;
	}
	memset(r->out, 0, (size_t)r->count * sizeof(*r->out));
	ok = k->engine->run(r->program, r->in, r->out, NULL, NULL, r->c->diag);
	for (int i = 0; i < r->count; i++) {
		if (ok && fn)
			fn(self, sample, i, &r->out[i]);
		free(r->out[i].data);
	}
	return ok;
}

static bool run_all(struct pass_context *c, const struct calibration_known *known,
		    calibration_fn *fn, void *self)
{
	const struct calibration *k = c->calibration;
	struct calibration_run r;
	bool ok = begin(&r, c, known);

	for (int i = 0; ok && i < k->count; i++) {
		ok = run_sample(&r, i, fn, self);
		if (ok)
			draw(k, "calibrating", i + 1, k->count);
	}
	end(&r);
	return ok;
}

/* The rest of the pipeline, so that the copy runs as the result will. */
static bool arrange(struct pass_context *c)
{
	static const char rest[] =
		"canonicalize,fold_constants,dead_code,integer_products,layout,canonicalize,fold_"
		"constants,"
		"common_subexpressions,dead_code,fuse_patterns,split_rows,fold_constants,"
		"canonicalize,common_subexpressions,dead_code,group";
	struct pipeline_options o = {.passes = rest};

	return pipeline_run(c->graph, &o, &interpreter, c->diag);
}

bool calibration_run_from(struct pass_context *c, const struct calibration_known *known,
			  int probe_count, struct value *const *probes, calibration_fn *fn,
			  void *self)
{
	struct graph saved = body_set_aside(c->graph);
	bool ok = copy_probed(c, saved.body, known, probe_count, probes) && arrange(c) &&
		  run_all(c, known, fn, self);

	body_restore(c->graph, &saved);
	return ok;
}

bool calibration_run(struct pass_context *c, int probe_count, struct value *const *probes,
		     calibration_fn *fn, void *self)
{
	return calibration_run_from(c, NULL, probe_count, probes, fn, self);
}

/* ---- times ---- */

enum { ROUNDS = 10, LEAST_ROUNDS = 3, REPEATS = 3 };
static const double MOST_MS = 20e3;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The least time of a few runs with the parameter at 1. The first is not counted: it sets up what the parameter changes. */
static bool time_one(struct calibration_run *r, const char *param, int sample, double *ms)
{
	struct engine *e = r->c->calibration->engine;
	bool ok;

	if (param && !e->set_param(r->program, param, 1))
		return diag_add(r->c->diag, DIAG_INTERNAL, (struct loc){0},
				"there is no parameter %s to time", param);
	ok = run_sample(r, sample, NULL, NULL);
	for (int i = 0; ok && i < REPEATS; i++) {
		double start = now_ms();

		ok = run_sample(r, sample, NULL, NULL);
		*ms = fmin(*ms, now_ms() - start);
	}
	if (param)
		e->set_param(r->program, param, 0);
	return ok;
}

/* Rounds take turns, so that the machine's pace is the same for all parameters. */
static bool time_all(struct pass_context *c, int count, const char *const *params, double *ms)
{
	const struct calibration *k = c->calibration;
	struct calibration_run r;
	double start;
	int rounds = 0;
	bool ok = begin(&r, c, NULL);

	for (int i = 0; i < count; i++)
		ms[i] = INFINITY;
	start = now_ms();
	while (ok && rounds < ROUNDS && (rounds < LEAST_ROUNDS || now_ms() - start < MOST_MS)) {
		int sample = (int)((int64_t)rounds * k->count / ROUNDS);

		for (int i = 0; ok && i < count; i++)
			ok = time_one(&r, params[i], sample, &ms[i]);
		rounds++;
		draw(k, "timing", rounds, ROUNDS);
	}
	if (ok && k->progress && rounds < ROUNDS)
		fputc('\n', stderr);
	end(&r);
	return ok;
}

bool calibration_time(struct pass_context *c, int count, const char *const *params, double *ms)
{
	struct graph saved = body_set_aside(c->graph);
	bool ok = copy_probed(c, saved.body, NULL, saved.body->result_count, saved.body->results) &&
		  arrange(c) && time_all(c, count, params, ms);

	body_restore(c->graph, &saved);
	return ok;
}
