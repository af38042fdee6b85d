/* loops_plan.c: the plan of the loops driver: which axis the vectors lie along, how many of them are computed
 * together, and which outer axis is blocked. Chosen by an estimate of cycles that counts loads by the shape
 * they take in vector code. Depends on kernel and target only. */
#include "backend/attention.h"
#include "backend/contract.h"
#include "backend/loops_plan.h"

#include <math.h>

int64_t plan_extent(const struct kernel *k, int axis, int64_t guess)
{
	dim d = k->exprs->axes[axis].extent;

	return dim_is_const(d) ? d->value : guess;
}

static struct chain chain_from(struct stmt *s)
{
	struct chain c = {0};

	for (; s && s->kind == STMT_FOR && s->par && c.count < CHAIN_MAX; s = s->body) {
		c.loops[c.count++] = s;
		if (!s->body || s->body->next) {
			s = s->body;
			break;
		}
	}
	c.body = c.count ? c.loops[c.count - 1]->body : NULL;
	return c;
}

static bool has_par_loop(const struct stmt *s)
{
	for (; s; s = s->next) {
		if ((s->kind == STMT_FOR && s->par) || has_par_loop(s->body))
			return true;
	}
	return false;
}

/* ---- cost ---- */

struct view {
	struct chooser *c;
	const struct chain *chain;
	int axis;              /* vectors along it; -1: scalar */
	int widest, narrowest; /* bits */
};

static double expr_cost(struct view *v, const struct expr *e, double weight);

int plan_own_axis(struct chooser *c, const struct expr *e)
{
	for (int i = e->axis_count - 1; i >= 0; i--) {
		struct view v = {.c = c, .axis = e->axes[i], .widest = 8, .narrowest = 64};

		if (plan_extent(c->k, e->axes[i], 64) < 4)
			continue;
		c->scans++;
		if (expr_cost(&v, e->arg[0], 1) < 0.5 * note_of(&c->info, e->arg[0])->weight)
			return e->axes[i];
	}
	return -1;
}

static double reduce_cost(struct view *v, const struct expr *e, double weight)
{
	struct note *n = note_of(&v->c->info, e);
	struct view own = {.c = v->c, .axis = -1, .widest = 8, .narrowest = 64};

	for (int i = 0; i < e->axis_count; i++)
		weight *= (double)plan_extent(v->c->k, e->axes[i], 64);
	for (int i = v->chain ? v->chain->count - 1 : -1; i >= 0;
	     i--) { /* it moves out of these loops */
		int axis = v->chain->loops[i]->axis;

		if (n->axes & axis_bit(&v->c->info, axis))
			break;
		weight /= (double)plan_extent(v->c->k, axis, 64);
	}
	if (v->axis >= 0 && (n->axes & axis_bit(&v->c->info, v->axis)))
		return expr_cost(v, e->arg[0], weight);
	if (v->axis >= 0 && !v->chain)
		weight /= (double)plan_extent(v->c->k, v->axis, 64);
	own.axis = e->reduce >= REDUCE_ARGMIN ? -1 : plan_own_axis(v->c, e);
	v->c->scans++;
	return expr_cost(&own, e->arg[0], weight);
}

static double expr_cost(struct view *v, const struct expr *e, double weight)
{
	struct note *n = note_of(&v->c->info, e);
	double lanes = v->axis < 0 ? 1 : v->c->target->vector_bytes / 4.0, sum;
	bool uses;
	dim coef;

	if (n->scanned == v->c->scans)
		return 0;
	n->scanned = v->c->scans;
	if (e->op == EXPR_LITERAL || e->op == EXPR_DIM || e->op == EXPR_AXIS || e->op == EXPR_VAR)
		return 0;
	if (e->op == EXPR_REDUCE)
		return reduce_cost(v, e, weight);
	if (dtype_is_float((enum dtype)e->type) && dtype_bits((enum dtype)e->type) > v->widest)
		v->widest = dtype_bits((enum dtype)e->type);
	if (e->op == EXPR_LOAD) {
		int bits = dtype_bits(n->access->type);

		if (dtype_bits((enum dtype)e->type) > v->widest)
			v->widest = dtype_bits((enum dtype)e->type);
		coef = v->axis < 0 ? NULL : access_coef(&v->c->info, n->access, v->axis, &uses);
		if (v->axis >= 0 && uses && bits < v->narrowest)
			v->narrowest = bits;
		if (v->axis < 0 || (uses && (!coef || !dim_is(coef, 1) || bits < 8)))
			return weight * 1.2;
		return weight / lanes;
	}
	sum = weight / lanes * (e->op >= EXPR_EXP && e->op <= EXPR_ERF ? 16 : 1);
	for (int i = 0; i < e->count; i++)
		sum += expr_cost(v, e->arg[i], weight);
	return sum;
}

/* Cost of the statements when vectors lie along v->axis; infinite when they cannot. */
static double list_cost(struct view *v, const struct stmt *s, double weight)
{
	double sum = 0, lanes = v->axis < 0 ? 1 : v->c->target->vector_bytes / 4.0;
	bool uses;

	for (; s; s = s->next) {
		v->c->scans++;
		if (s->value)
			sum += expr_cost(v, s->value, weight);
		if (s->kind == STMT_CALL)
			return INFINITY;
		if (s->kind == STMT_STORE && v->axis >= 0) {
			struct access *a = store_access(&v->c->info, s);
			dim coef = access_coef(&v->c->info, a, v->axis, &uses);
			int bits = dtype_bits(a->type);

			if (!uses || bits < 8 || (s->combine >= 0 && !coef))
				return INFINITY;
			if (bits < v->narrowest)
				v->narrowest = bits;
			if (dtype_bits(dtype_compute(a->type)) > v->widest)
				v->widest = dtype_bits(dtype_compute(a->type));
			sum += coef && dim_is(coef, 1) ? weight / lanes : weight * 1.5;
		} else if (s->kind == STMT_STORE) {
			sum += weight;
		}
		if (s->kind == STMT_FOR)
			sum += list_cost(v, s->body,
					 weight * (double)plan_extent(v->c->k, s->axis, 64));
		if (s->kind == STMT_WHEN)
			sum += list_cost(v, s->body, weight);
	}
	return sum;
}

/* ---- the choice ---- */

static int lanes_for(const struct chooser *c, int axis, int widest)
{
	int lanes = c->target->vector_bytes * 8 / widest;
	int64_t extent = plan_extent(c->k, axis, 1 << 20);

	while (lanes > 1 && lanes / 2 >= extent)
		lanes /= 2;
	return lanes;
}

static int weight_outside(struct chooser *c, const struct expr *e)
{
	int sum = 1;

	if (e->op == EXPR_REDUCE || e->op == EXPR_LOAD)
		return 1;
	if (note_of(&c->info, e)->weight < 16)
		return note_of(&c->info, e)->weight;
	if (e->op >= EXPR_EXP && e->op <= EXPR_ERF)
		sum = 16;
	for (int i = 0; i < e->count && sum < 1000; i++)
		sum += weight_outside(c, e->arg[i]);
	return sum;
}

static int total_outside(struct chooser *c, const struct stmt *s)
{
	int sum = 0;

	for (; s; s = s->next)
		sum += (s->value ? weight_outside(c, s->value) : 0) +
		       (s->body ? total_outside(c, s->body) : 0);
	return sum;
}

static struct loops_nest choose_nest(struct chooser *c, const struct chain *chain)
{
	struct loops_nest nest = {.vector_axis = -1,
				  .lanes = 1,
				  .unroll = 1,
				  .block_axis = -1,
				  .block = 1,
				  .tail_bits = 8};
	struct view scalar = {.c = c, .chain = chain, .axis = -1, .widest = 8, .narrowest = 64};
	double best = list_cost(&scalar, chain->body, 1);
	int outside = total_outside(c, chain->body);

	for (int i = chain->count - 1; i >= 0; i--) {
		struct view v = {.c = c,
				 .chain = chain,
				 .axis = chain->loops[i]->axis,
				 .widest = 8,
				 .narrowest = 64};
		double cost;
		int lanes;

		if (plan_extent(c->k, v.axis, 64) < 2)
			continue;
		cost = list_cost(&v, chain->body, 1);
		lanes = lanes_for(c, v.axis, v.widest);
		cost *= c->target->vector_bytes * 8.0 / 32 / lanes * 32 /
			(v.widest > 32 ? v.widest : 32);
		if (cost < best * 0.95 && lanes > 1) {
			best = cost;
			nest.vector_axis = v.axis;
			nest.lanes = lanes;
			nest.tail_bits = v.narrowest < 8 ? 8 : v.narrowest;
		}
	}
	if (nest.vector_axis >= 0) {
		int64_t vectors = plan_extent(c->k, nest.vector_axis, 1 << 20) / nest.lanes;

		nest.unroll = outside <= 8 ? 4 : outside <= 24 ? 2 : 1;
		while (nest.unroll > 1 && nest.unroll > vectors)
			nest.unroll /= 2;
	}
	plan_block(c, chain, &nest, outside);
	return nest;
}

static void set_nests(struct chooser *c, const struct stmt *s, const struct loops_nest *nest)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_STORE || s->kind == STMT_SET)
			*(struct loops_nest *)nest_of(c->k, s) = *nest;
		set_nests(c, s->body, nest);
	}
}

static void choose_list(struct chooser *c, struct stmt *s)
{
	for (; s; s = s->next) {
		struct chain chain = chain_from(s);
		struct loops_nest nest;

		if (!chain.count || has_par_loop(chain.body)) {
			choose_list(c, chain.count ? chain.body : s->body);
			continue;
		}
		nest = choose_nest(c, &chain);
		set_nests(c, chain.body, &nest);
	}
}

static int count_writes(const struct stmt *s)
{
	int n = 0;

	for (; s; s = s->next)
		n += (s->kind == STMT_STORE || s->kind == STMT_SET) +
		     (s->body ? count_writes(s->body) : 0);
	return n;
}

static struct plan empty_plan(const struct kernel *k, struct arena *a)
{
	struct plan plan = {.driver = DRIVER_LOOPS};

	plan.loops.count = count_writes(k->body);
	plan.loops.nests = ARENA_ARRAY(a, struct loops_nest, plan.loops.count + 1);
	for (int i = 0; i < plan.loops.count; i++)
		plan.loops.nests[i] = (struct loops_nest){.vector_axis = -1,
							  .lanes = 1,
							  .unroll = 1,
							  .block_axis = -1,
							  .block = 1,
							  .tail_bits = 8};
	return plan;
}

bool plan_choose(struct kernel *k, const struct target *t, struct diag *d)
{
	struct arena scratch = {0};
	struct chooser c = {.target = t, .k = k};
	bool ok;

	if (kernel_is_call(k)) {
		k->plan = (struct plan){.driver = DRIVER_CALL};
		return true;
	}
	if (attention_choose(k, t, &k->plan))
		return true;
	loops_normalize(k);
	if (contract_choose(k, t))
		return true;
	k->plan = empty_plan(k, k->arena);
	ok = loops_analyze(k, &scratch, &c.info);
	if (ok)
		choose_list(&c, k->body);
	else
		diag_add(d, DIAG_UNSUPPORTED, k->node ? k->node->loc : (struct loc){0},
			 "more than %d loop axes in one kernel", AXES_MAX);
	arena_free(&scratch);
	return ok;
}

/* ---- all plans, for tests ---- */

static int add_plan(const struct kernel *k, struct arena *a, struct plan *out, int room, int n,
		    struct loops_nest nest)
{
	if (n >= room)
		return n;
	out[n] = empty_plan(k, a);
	for (int i = 0; i < out[n].loops.count; i++)
		out[n].loops.nests[i] = nest;
	return n + 1;
}

int plan_enumerate(const struct kernel *k, const struct target *t, struct arena *a,
		   struct plan *out, int room)
{
	struct chooser c = {.target = t, .k = (struct kernel *)k};
	struct plan kept = k->plan;
	struct chain chain;
	int n = 0;

	if (kernel_is_call(k)) {
		out[0] = (struct plan){.driver = DRIVER_CALL};
		return room > 0;
	}
	n = attention_enumerate(k, t, out, room);
	n += contract_enumerate(k, t, out + n, room - n);
	n = add_plan(k, a, out, room, n, (struct loops_nest){-1, 1, 1, 8, -1, 1});
	if (n && out[0].driver == DRIVER_ATTENTION)
		return n;
	chain = chain_from(k->body);
	c.k->plan = empty_plan(k, a);
	if (chain.count && !k->body->next && !has_par_loop(chain.body) &&
	    loops_analyze(k, a, &c.info)) {
		for (int i = 0; i < chain.count; i++) {
			struct view v = {.c = &c,
					 .axis = chain.loops[i]->axis,
					 .widest = 8,
					 .narrowest = 64};
			int lanes, block = i                 ? chain.loops[0]->axis
					   : chain.count > 1 ? chain.loops[1]->axis
							     : -1;

			if (isinf(list_cost(&v, chain.body, 1)))
				continue;
			lanes = lanes_for(&c, v.axis, v.widest);
			if (block >= 0 && !plan_stores_use(&c, chain.body, block))
				block = -1;
			if (block >= 0 && lanes <= 16)
				n = add_plan(k, a, out, room, n,
					     (struct loops_nest){v.axis, lanes, 1, v.narrowest,
								 block, lanes});
			for (int u = 1; u <= 3; u++) {
				n = add_plan(
					k, a, out, room, n,
					(struct loops_nest){v.axis, lanes, u, v.narrowest, -1, 1});
				if (block >= 0)
					n = add_plan(k, a, out, room, n,
						     (struct loops_nest){v.axis, lanes, u,
									 v.narrowest, block,
									 1 + u});
			}
		}
	}
	c.k->plan = kept;
	return n;
}
