/* op_map.c: map, the one elementwise operator: a scalar expression over broadcast operands. */
#include "ir/op.h"

struct params_check {
	const struct node *n;
	const struct expr *bad;
};

/* Stops at the first leaf that a map's expression may not have. */
static bool is_foreign(const struct expr *e, void *self)
{
	struct params_check *c = self;
	bool ok = true;

	if (e->op == EXPR_PARAM)
		ok = e->index >= 0 && e->index < c->n->in_count &&
		     e->type == value_compute(c->n->in[e->index]);
	else if (e->op >= EXPR_AXIS)
		ok = false;
	if (!ok)
		c->bad = e;
	return !ok;
}

static bool check_expr(struct graph *g, struct node *n, struct diag *d, enum dtype type)
{
	struct params_check c = {n, NULL};

	if (expr_any(n->expr, is_foreign, &c)) {
		if (c.bad->op == EXPR_PARAM && c.bad->index >= 0 && c.bad->index < n->in_count)
			return BAD(d, n, "the expression reads operand %d as %s, but it is %s",
				   c.bad->index, dtype_name((enum dtype)c.bad->type),
				   op_type(g, d, n->in[c.bad->index]));
		return BAD(d, n, "the expression reads something that is no operand");
	}
	if (dtype_compute(type) != (enum dtype)n->expr->type || type == DT_STRING)
		return BAD(d, n, "the expression is %s, which cannot be stored as %s",
			   dtype_name((enum dtype)n->expr->type), dtype_name(type));
	return true;
}

/* The dims where all operands meet; each operand's dims must be them, or 1. */
static bool broadcast(struct graph *g, struct node *n, struct diag *d, int *rank, dim *dims)
{
	*rank = 0;
	for (int i = 0; i < n->in_count; i++)
		if (n->in[i]->type.rank > *rank)
			*rank = n->in[i]->type.rank;
	for (int k = 0; k < *rank; k++)
		dims[k] = dim_const(&g->dims, 1);
	for (int i = 0; i < n->in_count; i++) {
		const struct type *t = &n->in[i]->type;
		int from = *rank - t->rank;

		for (int k = 0; k < t->rank; k++)
			dims[from + k] = dim_broadcast(&g->dims, dims[from + k], t->dims[k]);
	}
	for (int i = 0; i < n->in_count; i++) {
		const struct type *t = &n->in[i]->type;

		for (int k = 0; k < t->rank; k++) {
			dim whole = dims[*rank - t->rank + k];

			if (t->dims[k] == whole || dim_is(t->dims[k], 1))
				continue;
			if (!op_broadcasts(g, n, d, t->dims[k], whole,
					   arena_printf(g->arena,
							"axis %d of operand %d and the others", k,
							i)))
				return false;
		}
	}
	return true;
}

static void infer_elems(struct graph *g, struct node *n)
{
	const struct type *t = &n->out[0]->type;
	int count = elems_count(t), at[HONE_MAX_RANK];
	dim params[16];
	dim *elems;

	if (count < 0 || n->in_count > 16)
		return;
	elems = elems_new(g, n);
	for (int i = 0; i < count; i++) {
		elems_coordinates(t, i, at);
		for (int k = 0; k < n->in_count; k++)
			params[k] = n->in[k]->elems ? elems_broadcast(n->in[k], t->rank, at) : NULL;
		elems[i] = elems_eval(g, n->expr, n->in_count, params);
	}
	n->out[0]->elems = elems;
}

bool infer_map(struct graph *g, struct node *n, struct diag *d)
{
	enum dtype type = (enum dtype)ATTRS(map, n)->type;
	dim dims[HONE_MAX_RANK];
	int rank;

	if (!op_begin(g, n, d))
		return false;
	if (type == DT_NONE)
		type = (enum dtype)n->expr->type;
	if (!check_expr(g, n, d, type) || !broadcast(g, n, d, &rank, dims) ||
	    !op_result(n, d, 0, type, rank, dims))
		return false;
	infer_elems(g, n);
	return true;
}

bool lower_map(struct lowering *l, const struct node *n)
{
	const struct type *t = &n->out[0]->type;
	const struct expr *index[HONE_MAX_RANK];
	const struct expr **with =
		ARENA_ARRAY(l->kernel->arena, const struct expr *, n->in_count + 1);

	lower_open(l, t, index);
	for (int i = 0; i < n->in_count; i++)
		with[i] = lower_load_broadcast(l, n->in[i], t->rank, t->dims, index);
	lower_store(l, n->out[0], index, expr_bind_params(exprs_of(l), n->expr, with));
	return true;
}
