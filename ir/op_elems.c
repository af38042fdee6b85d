/* op_elems.c: known elements of small integer tensors, as dims. They make chains such as
 * Shape -> Gather -> Concat -> Reshape static: what a model computes from its input's shape is known
 * symbolically when it is compiled. */
#include "ir/op.h"

int elems_count(const struct type *t)
{
	int64_t count;

	if (t->kind != TYPE_TENSOR || !(dtype_is_int(t->dtype) || t->dtype == DT_BOOL))
		return -1;
	count = type_count_const(t);
	return count >= 0 && count <= ELEMS_MAX ? (int)count : -1;
}

dim *elems_new(struct graph *g, const struct node *n)
{
	int count = elems_count(&n->out[0]->type);

	return count < 0 ? NULL : ARENA_ARRAY(g->arena, dim, count + 1);
}

void elems_coordinates(const struct type *t, int i, int *at)
{
	for (int k = t->rank - 1; k >= 0; k--) {
		int size = (int)t->dims[k]->value;

		at[k] = i % size;
		i /= size;
	}
}

dim elems_broadcast(const struct value *v, int rank, const int *at)
{
	int i = 0;

	for (int k = 0; k < v->type.rank; k++) {
		int size = (int)v->type.dims[k]->value;

		i = i * size + (size == 1 ? 0 : at[rank - v->type.rank + k]);
	}
	return v->elems[i];
}

void elems_permute(struct graph *g, struct node *n, const int *from)
{
	int count = elems_count(&n->out[0]->type);
	dim *elems = elems_new(g, n);

	for (int i = 0; i < count; i++)
		elems[i] = n->in[0]->elems[from[i]];
	n->out[0]->elems = elems;
}

/* ---- evaluation of scalar expressions over dims ---- */

/* Shared subexpressions are walked again, so a bound keeps hostile ones from exploding. */
struct evaluation {
	struct graph *g;
	int count, steps;
	const dim *params;
};

static dim eval(struct evaluation *ev, const struct expr *e);

/* -1: not decided, else whether a OP b holds. */
static int compare(struct graph *g, int op, dim a, dim b)
{
	struct dim_pool *p = &g->dims;
	dim diff = dim_sub(p, a, b);
	int64_t low = dim_lower(diff), high = dim_upper(diff);

	switch (op) {
	case EXPR_LT: return high < 0 ? 1 : low >= 0 ? 0 : -1;
	case EXPR_LE: return high <= 0 ? 1 : low > 0 ? 0 : -1;
	case EXPR_GT: return low > 0 ? 1 : high <= 0 ? 0 : -1;
	case EXPR_GE: return low >= 0 ? 1 : high < 0 ? 0 : -1;
	case EXPR_EQ: return low == 0 && high == 0 ? 1 : low > 0 || high < 0 ? 0 : -1;
	case EXPR_NE: return low == 0 && high == 0 ? 0 : low > 0 || high < 0 ? 1 : -1;
	}
	return -1;
}

static dim from_truth(struct graph *g, int truth)
{
	return truth < 0 ? NULL : dim_const(&g->dims, truth);
}

/* Division and remainders follow scalar.def; symbolic ones only where both sides are known >= 0. */
static dim divide(struct graph *g, int op, dim a, dim b)
{
	struct dim_pool *p = &g->dims;
	union scalar arg[2] = {{.i = a->value}, {.i = b->value}};

	if (dim_is_const(a) && dim_is_const(b))
		return dim_const(p, scalar_eval((enum expr_op)op, DT_I64, DT_I64, arg).i);
	if (dim_lower(b) < 1 || (op != EXPR_MOD && dim_lower(a) < 0))
		return NULL;
	return op == EXPR_DIV ? dim_floordiv(p, a, b) : dim_mod(p, a, b);
}

static dim eval_binary(struct graph *g, const struct expr *e, dim a, dim b)
{
	struct dim_pool *p = &g->dims;
	union scalar x[2];

	if (dim_is_const(a) && dim_is_const(b)) { /* numbers wrap, where sizes saturate */
		x[0].i = a->value;
		x[1].i = b->value;
		return dim_const(p, scalar_eval(e->op, e->arg[0]->type, e->type, x).i);
	}
	switch (e->op) {
	case EXPR_ADD: return dim_add(p, a, b);
	case EXPR_SUB: return dim_sub(p, a, b);
	case EXPR_MUL: return dim_mul(p, a, b);
	case EXPR_MIN: return dim_min(p, a, b);
	case EXPR_MAX: return dim_max(p, a, b);
	case EXPR_DIV:
	case EXPR_MOD:
	case EXPR_REM: return divide(g, e->op, a, b);
	case EXPR_LT:
	case EXPR_LE:
	case EXPR_GT:
	case EXPR_GE:
	case EXPR_EQ:
	case EXPR_NE: return from_truth(g, compare(g, e->op, a, b));
	}
	return NULL;
}

/* c ? a : b with c decided, or c an equality of dims, which dims can express. */
static dim eval_select(struct evaluation *ev, const struct expr *e)
{
	const struct expr *c = e->arg[0];
	dim truth = eval(ev, c), a, b, left, right;

	if (truth)
		return dim_is_const(truth) ? eval(ev, e->arg[truth->value ? 1 : 2]) : NULL;
	if ((c->op != EXPR_EQ && c->op != EXPR_NE) || e->type == DT_BOOL)
		return NULL;
	left = eval(ev, c->arg[0]);
	right = eval(ev, c->arg[1]);
	a = eval(ev, e->arg[1]);
	b = eval(ev, e->arg[2]);
	if (!left || !right || !a || !b)
		return NULL;
	return c->op == EXPR_EQ ? dim_select(&ev->g->dims, left, right, a, b)
				: dim_select(&ev->g->dims, left, right, b, a);
}

/* Sizes are taken to fit 32 bits, so that casts of shapes to i32 stay known; narrower types need proof. */
static dim eval_cast(struct graph *g, const struct expr *e, dim a)
{
	struct dim_pool *p = &g->dims;
	union scalar x;
	int bits = dtype_bits((enum dtype)e->type);
	int64_t low = dim_lower(a), high = dim_upper(a);

	if (!dtype_is_int((enum dtype)e->arg[0]->type) && e->arg[0]->type != DT_BOOL)
		return NULL;
	if (dim_is_const(a)) {
		x.i = a->value;
		return dim_const(p, scalar_eval(e->op, e->arg[0]->type, e->type, &x).i);
	}
	if (e->op == EXPR_BITS_CAST)
		return NULL;
	if (e->type == DT_BOOL)
		return low > 0 || high < 0 ? dim_const(p, 1) : NULL;
	if (bits == 64 || (bits == 32 && low >= 0))
		return a;
	if (bits > 32)
		return NULL;
	if (dtype_class((enum dtype)e->type) == DTYPE_SIGNED)
		return low >= -(INT64_C(1) << (bits - 1)) && high < INT64_C(1) << (bits - 1) ? a
											     : NULL;
	return low >= 0 && high < INT64_C(1) << bits ? a : NULL;
}

static dim eval_unary(struct graph *g, const struct expr *e, dim a)
{
	struct dim_pool *p = &g->dims;

	switch (e->op) {
	case EXPR_NEG: return dim_sub(p, dim_const(p, 0), a);
	case EXPR_ABS: return dim_lower(a) >= 0 ? a : NULL;
	case EXPR_SIGN: return dim_lower(a) > 0 ? dim_const(p, 1) : NULL;
	case EXPR_NOT: return dim_is_const(a) ? dim_const(p, !a->value) : NULL;
	case EXPR_CAST:
	case EXPR_SAT_CAST:
	case EXPR_BITS_CAST: return eval_cast(g, e, a);
	}
	return NULL;
}

static dim eval(struct evaluation *ev, const struct expr *e)
{
	struct dim_pool *p = &ev->g->dims;
	dim a, b;

	if (++ev->steps > 4096 || (!dtype_is_int((enum dtype)e->type) && e->type != DT_BOOL))
		return NULL;
	if (e->op == EXPR_LITERAL)
		return dim_const(p, e->i);
	if (e->op == EXPR_DIM)
		return e->size;
	if (e->op == EXPR_PARAM)
		return e->index >= 0 && e->index < ev->count ? ev->params[e->index] : NULL;
	if (e->op == EXPR_SELECT)
		return eval_select(ev, e);
	if (e->count < 1 || e->count > 2 || e->op >= EXPR_LOAD)
		return NULL;
	a = eval(ev, e->arg[0]);
	if (!a || e->count == 1)
		return a ? eval_unary(ev->g, e, a) : NULL;
	b = eval(ev, e->arg[1]);
	return b ? eval_binary(ev->g, e, a, b) : NULL;
}

dim elems_eval(struct graph *g, const struct expr *e, int count, const dim *params)
{
	struct evaluation ev = {.g = g, .count = count, .params = params};

	return eval(&ev, e);
}
