/* prune_measure.c: the graph on calibration inputs, for prune: sums and squares of what contractions read, and how far
 * the outputs are from what they were. A quarter of the samples is kept back for the latter. */
#include "passes/prune_run.h"

#include <stdlib.h>
#include <string.h>

enum {
	HELD_BACK = 4,    /* every fourth sample measures the error */
	MOMENT_MAX = 1024 /* elements of a source of which all products are summed */
};

void *prune_numbers(int64_t count, size_t size)
{
	void *at = calloc((size_t)(count ? count : 1), size);

	if (!at)
		out_of_memory((size_t)count * size);
	return at;
}

static int64_t element_count(const hone_tensor *t)
{
	int64_t count = 1;

	for (int i = 0; i < t->rank; i++)
		count *= t->dims[i];
	return count;
}

void prune_add_to(double *sum, const hone_tensor *t)
{
	const float *at = t->data;
	int64_t count = element_count(t);

	for (int64_t i = 0; i < count; i++)
		sum[i] += at[i];
}

/* ---- runs ---- */

struct prune_run prune_run_begin(struct prune *p, void *self)
{
	struct graph *g = p->c->graph;

	return (struct prune_run){.p = p,
				  .b = {.graph = g, .region = g->body, .diag = p->c->diag},
				  .end = g->body->last,
				  .self = self};
}

void prune_run_end(struct prune_run *r)
{
	struct region *body = r->p->c->graph->body;

	while (body->last != r->end)
		node_remove(body->last);
}

bool prune_run_probe(struct prune_run *r, struct value *v)
{
	ARENA_PUSH(r->p->c->scratch, &r->probes, v);
	return v != NULL;
}

bool prune_run_all(struct prune_run *r, calibration_fn *fn)
{
	return !r->probes.count ||
	       calibration_run_from(r->p->c, r->known, r->probes.count, r->probes.at, fn, r);
}

struct value *prune_rows(struct prune_run *r, struct value *x)
{
	struct dim_pool *d = &r->p->c->graph->dims;
	dim dims[2] = {dim_const(d, 1), x ? x->type.dims[x->type.rank - 1] : NULL};

	if (!x || x->type.rank == 2)
		return x;
	for (int i = 0; i < x->type.rank - 1; i++)
		dims[0] = dim_mul(d, dims[0], x->type.dims[i]);
	return add_reshape(&r->b, x, 2, dims);
}

double prune_row_count(const struct prune *p, const struct value *x)
{
	double rows = 1;

	for (int i = 0; i < x->type.rank - 1; i++)
		rows *= (double)dim_eval(x->type.dims[i], p->symbols);
	return rows;
}

struct value *prune_sum_rows(struct prune_run *r, struct value *x)
{
	return x ? add_reduce(&r->b, REDUCE_SUM, x, 1, (int64_t[]){0}, false) : NULL;
}

struct value *prune_product(struct prune_run *r, struct value *x, struct value *t)
{
	struct value *pair[2] = {x ? add_transpose(&r->b, x, (int[]){1, 0}) : NULL, t};
	struct node *n =
		pair[0] && t
			? graph_add(&r->b,
				    &(struct node_spec){.op = OP_matmul, .in_count = 2, .in = pair})
			: NULL;

	return n ? n->out[0] : NULL;
}

bool prune_holds_back(const struct prune *p) { return p->c->calibration->count >= HELD_BACK; }

bool prune_is_fit(const struct prune *p, int sample)
{
	return !prune_holds_back(p) || sample % HELD_BACK != HELD_BACK - 1;
}

bool prune_is_held_back(const struct prune *p, int sample)
{
	return !prune_holds_back(p) || sample % HELD_BACK == HELD_BACK - 1;
}

/* ---- the error of the outputs ---- */

/* What a run does with outputs, which are its last probes. */
struct outputs {
	struct prune_error *e; /* NULL: this run says what is expected */
	int first;             /* probe */
};

static void add_outputs(struct prune_run *r, struct outputs *o)
{
	const struct region *body = r->p->c->graph->body;

	o->first = r->probes.count;
	for (int i = 0; i < body->result_count; i++)
		if (body->results[i]->type.kind == TYPE_TENSOR &&
		    body->results[i]->type.dtype == DT_F32)
			prune_run_probe(r, body->results[i]);
}

static int largest(const float *at, int64_t count)
{
	int best = 0;

	for (int64_t i = 1; i < count; i++)
		best = at[i] > at[best] ? (int)i : best;
	return best;
}

static void compare(struct prune_error *e, const float *expected, const hone_tensor *t)
{
	int64_t count = element_count(t), classes = t->rank ? t->dims[t->rank - 1] : 1;
	const float *y = t->data;

	for (int64_t i = 0; i < count; i++) {
		double d = (double)y[i] - expected[i];

		e->difference += d * d;
		e->norm += (double)expected[i] * expected[i];
	}
	for (int64_t i = 0; i < count && t->rank == 2 && classes > 1; i += classes) {
		e->rows++;
		e->agreeing += largest(expected + i, classes) == largest(y + i, classes);
	}
}

static void take_output(struct prune *p, const struct outputs *o, int sample, int probe,
			const hone_tensor *t)
{
	int64_t count = element_count(t);
	float **kept = &p->expected[(int64_t)sample * p->output_count + probe - o->first];

	if (!prune_is_held_back(p, sample))
		return;
	if (o->e) {
		compare(o->e, *kept, t);
		return;
	}
	*kept = prune_numbers(count, sizeof(float));
	memcpy(*kept, t->data, (size_t)count * sizeof(float));
}

static void take_error(void *self, int sample, int probe, const hone_tensor *t)
{
	struct prune_run *r = self;

	take_output(r->p, r->self, sample, probe, t);
}

bool prune_measure_error(struct prune *p, struct prune_error *e)
{
	struct outputs o = {.e = e};
	struct prune_run r = prune_run_begin(p, &o);

	add_outputs(&r, &o);
	return prune_run_all(&r, take_error);
}

void prune_forget(struct prune *p)
{
	int64_t count = p->expected ? (int64_t)p->c->calibration->count * p->output_count : 0;

	for (int64_t i = 0; i < count; i++)
		free(p->expected[i]);
	free(p->expected);
	for (int i = 0; i < p->sources.count; i++)
		free(p->sources.at[i].moment);
}

/* ---- sums and squares ---- */

static void take_sums(void *self, int sample, int probe, const hone_tensor *t)
{
	struct prune_run *r = self;
	struct outputs *o = r->self;
	struct prune_source *s;

	if (probe >= o->first) {
		take_output(r->p, o, sample, probe, t);
	} else if (prune_is_fit(r->p, sample)) {
		s = &r->p->sources.at[probe / 2];
		prune_add_to(!(probe % 2) ? s->sum : s->moment ? s->moment : s->square, t);
		s->rows += probe % 2 ? prune_row_count(r->p, s->value) : 0;
	}
}

static bool add_source(struct prune_run *r, struct prune_source *s)
{
	struct value *x = prune_rows(r, s->value);

	s->sum = ARENA_ARRAY(r->p->c->scratch, double, s->size);
	s->square = ARENA_ARRAY(r->p->c->scratch, double, s->size);
	if (s->size <= MOMENT_MAX)
		s->moment = prune_numbers((int64_t)s->size * s->size, sizeof(double));
	return prune_run_probe(r, prune_sum_rows(r, x)) &&
	       prune_run_probe(r, s->moment ? prune_product(r, x, x)
					    : prune_sum_rows(r, add_binary(&r->b, EXPR_MUL, x, x)));
}

bool prune_measure(struct prune *p)
{
	struct outputs o = {.e = NULL};
	struct prune_run r = prune_run_begin(p, &o);
	bool ok = true;

	p->output_count = p->c->graph->body->result_count; /* of this body, not of one that runs */
	p->expected =
		prune_numbers((int64_t)p->c->calibration->count * p->output_count, sizeof(float *));
	for (int i = 0; i < p->sources.count && ok; i++)
		ok = add_source(&r, &p->sources.at[i]);
	add_outputs(&r, &o);
	ok = ok && prune_run_all(&r, take_sums);
	prune_run_end(&r);
	for (int i = 0; i < p->sources.count && ok; i++)
		for (int k = 0; k < p->sources.at[i].size && p->sources.at[i].moment; k++)
			p->sources.at[i].square[k] =
				p->sources.at[i].moment[(int64_t)k * (p->sources.at[i].size + 1)];
	return ok;
}
