/* interp_flow.c: control flow in the interpreter. Values that change from one iteration to the next are set
 * anew as parameters of the region; stacked results are kept as a list of slices and joined at the end. */
#include "ir/interp_run.h"

#include <stdlib.h>
#include <string.h>

/* Drops what the region made: its parameters, and the results of its nodes. */
static void clear_region(struct run *r, const struct steps *s)
{
	for (int i = 0; i < s->region->param_count; i++)
		run_clear(r, s->region->params[i]);
	for (int i = 0; i < s->count; i++) {
		for (int k = 0; k < s->at[i].node->out_count; k++)
			run_clear(r, s->at[i].node->out[k]);
	}
}

/* References to the region's results, kept beyond it. */
static struct host **take_results(struct run *r, const struct steps *s, struct arena *a)
{
	struct host **results = ARENA_ARRAY(a, struct host *, s->region->result_count + 1);

	for (int i = 0; i < s->region->result_count; i++)
		results[i] = host_keep(r->values[s->region->results[i]->id]);
	clear_region(r, s);
	return results;
}

static bool host_true(const struct host *h) { return element_load(h->dtype, h->data, 0).i != 0; }

/* The node's results are these hosts, whose references are taken over; all are matched before any is set. */
static bool set_results(struct run *r, const struct node *n, struct host **results)
{
	bool ok = true;

	for (int i = 0; ok && i < n->out_count; i++)
		ok = run_match(r, n, n->out[i], results[i]);
	ok = ok && run_bound(r, n);
	for (int i = 0; i < n->out_count; i++) {
		if (ok)
			run_set(r, n->out[i], results[i]);
		else
			host_drop(results[i]);
	}
	return ok;
}

/* One region, once: if and group. */
static enum flow run_once(struct run *r, const struct step *s, const struct steps *region)
{
	struct arena scratch = {0};
	enum flow flow = run_steps(r, region);

	if (flow == FLOW_NEXT && !set_results(r, s->node, take_results(r, region, &scratch)))
		flow = FLOW_FAILED;
	if (flow == FLOW_RETURN)
		clear_region(r, region);
	arena_free(&scratch);
	return flow;
}

static enum flow run_return(struct run *r, const struct node *n)
{
	if (!host_true(r->values[n->in[0]->id]))
		return FLOW_NEXT;
	r->returned_count = n->in_count - 1;
	r->returned = ARENA_ARRAY(&r->scratch, struct host *, n->in_count);
	for (int i = 1; i < n->in_count; i++)
		r->returned[i - 1] = host_keep(r->values[n->in[i]->id]);
	return FLOW_RETURN;
}

/* ---- loops ---- */

struct slices {
	struct host **at;
	int count, room;
};

/* A running loop or scan. */
struct loop {
	struct run *run;
	const struct step *step;
	const struct steps *body;
	struct arena scratch;
	int carried_count, stacked_count;
	struct host **carried;  /* each kept */
	struct slices *stacked; /* each kept */
};

static void loop_open(struct loop *l, struct run *r, const struct step *s, int first, int carried)
{
	*l = (struct loop){.run = r, .step = s, .body = s->regions[0], .carried_count = carried};
	l->stacked_count = s->node->out_count - carried;
	l->carried = ARENA_ARRAY(&l->scratch, struct host *, carried + 1);
	l->stacked = ARENA_ARRAY(&l->scratch, struct slices, l->stacked_count + 1);
	for (int i = 0; i < carried; i++)
		l->carried[i] = host_keep(r->values[s->node->in[first + i]->id]);
}

static void loop_close(struct loop *l)
{
	for (int i = 0; i < l->carried_count; i++)
		host_drop(l->carried[i]);
	for (int i = 0; i < l->stacked_count; i++) {
		for (int k = 0; k < l->stacked[i].count; k++)
			host_drop(l->stacked[i].at[k]);
	}
	arena_free(&l->scratch);
}

/* Parameters `first`.. of the body take the carried values. */
static bool loop_enter(struct loop *l, int first)
{
	struct value *const *params = l->body->region->params + first;

	for (int i = 0; i < l->carried_count; i++) {
		if (!run_match(l->run, l->step->node, params[i], l->carried[i]))
			return false;
		run_set(l->run, params[i], l->carried[i]);
		l->carried[i] = NULL;
	}
	return true;
}

/* Takes the body's results, of which carried values start at `first` and stacked ones follow. */
static void loop_leave(struct loop *l, struct host **results, int first)
{
	for (int i = 0; i < l->carried_count; i++)
		l->carried[i] = results[first + i];
	for (int i = 0; i < l->stacked_count; i++)
		ARENA_PUSH(&l->scratch, &l->stacked[i], results[first + l->carried_count + i]);
}

/* A return_if in the body ends the loop with the values it gives: those that the loop carries. */
static bool loop_break(struct loop *l)
{
	struct run *r = l->run;

	clear_region(r, l->body);
	if (r->returned_count < l->carried_count)
		return run_error(r, l->step->node, "return_if gives %d values, the loop carries %d",
				 r->returned_count, l->carried_count);
	for (int i = 0; i < r->returned_count; i++) {
		if (i < l->carried_count) {
			host_drop(l->carried[i]);
			l->carried[i] = r->returned[i];
		} else {
			host_drop(r->returned[i]);
		}
	}
	r->returned = NULL;
	r->returned_count = 0;
	return true;
}

/* The requirements on this iteration's dims. The number of turns, a loop's last symbol, is not known yet. */
static bool loop_bound(struct loop *l)
{
	const struct node *n = l->step->node;
	const struct dim_pool *p = &l->run->program->graph->dims;

	if (!n->symbol_count)
		return true;
	return run_require(l->run, p->symbols[n->symbols[0]].stage,
			   n->op == OP_loop && l->stacked_count ? n->symbols[n->symbol_count - 1]
								: -1);
}

/* The slices of a stacked result as one tensor. Without any, the inner dims are those declared. */
static struct host *join(struct loop *l, const struct slices *s, const struct value *v)
{
	int64_t dims[HONE_MAX_RANK] = {s->count}, each;
	struct host *h;

	for (int i = 1; i < v->type.rank; i++)
		dims[i] = s->count ? s->at[0]->dims[i - 1]
				   : dim_eval(v->type.dims[i], l->run->symbols);
	for (int k = 1; k < s->count; k++) {
		if (!memcmp(s->at[k]->dims, s->at[0]->dims, sizeof(s->at[0]->dims)))
			continue;
		run_error(l->run, l->step->node,
			  "a stacked result changes its dims in iteration %d", k);
		return NULL;
	}
	h = run_alloc(l->run, l->step->node, v->type.dtype, v->type.rank, dims);
	each = dims_count(v->type.rank - 1, dims + 1);
	for (int k = 0; h && k < s->count; k++)
		host_copy(h, k * each, s->at[k], 0, each);
	return h;
}

static bool loop_finish(struct loop *l)
{
	const struct node *n = l->step->node;
	struct host **results = ARENA_ARRAY(&l->scratch, struct host *, n->out_count + 1);

	for (int i = 0; i < l->stacked_count; i++) {
		results[l->carried_count + i] =
			join(l, &l->stacked[i], n->out[l->carried_count + i]);
		if (results[l->carried_count + i])
			continue;
		while (i-- > 0)
			host_drop(results[l->carried_count + i]);
		return false;
	}
	for (int i = 0; i < l->carried_count; i++) {
		results[i] = l->carried[i];
		l->carried[i] = NULL;
	}
	return set_results(l->run, n, results);
}

/* Parameter `i` of the body, a scalar, is x. */
static bool set_scalar(struct loop *l, int i, int64_t x)
{
	struct value *v = l->body->region->params[i];
	struct host *h = run_alloc(l->run, l->step->node, v->type.dtype, 0, NULL);

	if (!h)
		return false;
	element_store(v->type.dtype, h->data, 0, (union scalar){.i = x});
	run_set(l->run, v, h);
	return true;
}

static const struct host *operand(struct run *r, const struct node *n, int i)
{
	return n->in[i] ? r->values[n->in[i]->id] : NULL;
}

/* One iteration; FLOW_RETURN: the loop was left. *on: whether the condition still holds. */
static enum flow loop_step(struct loop *l, int64_t i, bool *on)
{
	struct host **results;
	enum flow flow;

	if (!set_scalar(l, 0, i) || !set_scalar(l, 1, *on) || !loop_enter(l, 2) || !loop_bound(l))
		return FLOW_FAILED;
	flow = run_steps(l->run, l->body);
	if (flow == FLOW_RETURN && !loop_break(l))
		return FLOW_FAILED;
	if (flow != FLOW_NEXT)
		return flow;
	results = take_results(l->run, l->body, &l->scratch);
	*on = host_true(results[0]);
	host_drop(results[0]);
	loop_leave(l, results, 1);
	return FLOW_NEXT;
}

static enum flow run_loop(struct run *r, const struct step *s)
{
	const struct host *trip = operand(r, s->node, 0), *condition = operand(r, s->node, 1);
	int64_t count = trip ? element_load(trip->dtype, trip->data, 0).i : INT64_MAX;
	bool on = !condition || host_true(condition);
	enum flow flow = FLOW_NEXT;
	struct loop l;

	loop_open(&l, r, s, 2, s->node->in_count - 2);
	for (int64_t i = 0; flow == FLOW_NEXT && on && i < count; i++)
		flow = loop_step(&l, i, &on);
	if (flow != FLOW_FAILED)
		flow = loop_finish(&l) ? FLOW_NEXT : FLOW_FAILED;
	loop_close(&l);
	return flow;
}

/* ---- scan ---- */

/* Slice i along axis 0 of x. */
static struct host *slice(struct loop *l, const struct host *x, int64_t i)
{
	struct host *h = run_alloc(l->run, l->step->node, x->dtype, x->rank - 1, x->dims + 1);

	if (h)
		host_copy(h, 0, x, i * host_count(h), host_count(h));
	return h;
}

static enum flow scan_step(struct loop *l, int64_t i)
{
	const struct region *body = l->body->region;
	const struct node *n = l->step->node;
	struct host *h;
	enum flow flow;

	if (!loop_enter(l, 0))
		return FLOW_FAILED;
	for (int k = l->carried_count; k < n->in_count; k++) {
		h = slice(l, operand(l->run, n, k), i);
		if (!h)
			return FLOW_FAILED;
		run_set(l->run, body->params[k], h);
	}
	if (!loop_bound(l))
		return FLOW_FAILED;
	flow = run_steps(l->run, l->body);
	if (flow == FLOW_RETURN && !loop_break(l))
		return FLOW_FAILED;
	if (flow == FLOW_NEXT)
		loop_leave(l, take_results(l->run, l->body, &l->scratch), 0);
	return flow;
}

static bool scan_lengths(struct run *r, const struct node *n, int first, int64_t length)
{
	for (int k = first; k < n->in_count; k++) {
		const struct host *x = operand(r, n, k);

		if (x->rank < 1 || x->dims[0] != length)
			return run_error(r, n, "operand %d has not the length of the scan, %lld", k,
					 (long long)length);
	}
	return true;
}

static enum flow run_scan(struct run *r, const struct step *s)
{
	const struct attrs_scan *attrs = s->node->attrs;
	int64_t length = dim_eval(attrs->length, r->symbols);
	enum flow flow = FLOW_NEXT;
	struct loop l;

	if (!scan_lengths(r, s->node, (int)attrs->carried, length))
		return FLOW_FAILED;
	loop_open(&l, r, s, 0, (int)attrs->carried);
	for (int64_t i = 0; flow == FLOW_NEXT && i < length; i++)
		flow = scan_step(&l, i);
	if (flow != FLOW_FAILED)
		flow = loop_finish(&l) ? FLOW_NEXT : FLOW_FAILED;
	loop_close(&l);
	return flow;
}

enum flow run_control(struct run *r, const struct step *s)
{
	const struct node *n = s->node;

	switch (n->op) {
	case OP_if: return run_once(r, s, s->regions[host_true(r->values[n->in[0]->id]) ? 0 : 1]);
	case OP_group: return run_once(r, s, s->regions[0]);
	case OP_loop: return run_loop(r, s);
	case OP_scan: return run_scan(r, s);
	case OP_return_if: return run_return(r, n);
	default: BUG("%s is no control flow", op_table[n->op].name);
	}
}
