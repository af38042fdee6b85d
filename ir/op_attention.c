/* op_attention.c: attention with a scalar expression from score to score.
 *
 *	y[b,i,h,:] = softmax over j of e(sum_d q[b,i,h,d] * k[b,j,g,d], i, j, m..) times v[b,j,g,:]
 *
 * q [B,T,H,D], k [B,S,G,D], v [B,S,G,E], y [B,T,H,E]; head h reads key head g = h / (H/G).
 * Parameters of the expression: 0 the score, f32 (f64 when q is f64); 1 and 2 the positions i and j, i64;
 * 3 and on the operands after v, each broadcast to [B,H,T,S]. */
#include "ir/op.h"

typedef const struct expr *index_list[HONE_MAX_RANK];

enum { SCORE, QUERY, KEY, FIRST_OPERAND };

static enum dtype param_type(const struct node *n, int index)
{
	if (index == SCORE)
		return value_compute(n->in[0]);
	return index < FIRST_OPERAND ? DT_I64 : value_compute(n->in[index]);
}

static bool is_foreign(const struct expr *e, void *self)
{
	const struct node *n = self;

	if (e->op == EXPR_PARAM)
		return e->index < 0 || (e->index >= FIRST_OPERAND && e->index >= n->in_count) ||
		       (enum dtype)e->type != param_type(n, e->index);
	return e->op >= EXPR_AXIS;
}

static void score_dims(const struct node *n, dim *dims)
{
	const struct type *q = &n->in[0]->type, *k = &n->in[1]->type;

	dims[0] = q->dims[0];
	dims[1] = q->dims[2];
	dims[2] = q->dims[1];
	dims[3] = k->dims[1];
}

static bool check_dims(struct graph *g, struct node *n, struct diag *d)
{
	const struct type *q = &n->in[0]->type, *k = &n->in[1]->type, *v = &n->in[2]->type;
	dim rest = dim_mod(&g->dims, q->dims[2], k->dims[2]);

	return graph_require(g, d, n, q->dims[0], k->dims[0], "batch of q and k") &&
	       graph_require(g, d, n, q->dims[0], v->dims[0], "batch of q and v") &&
	       graph_require(g, d, n, k->dims[1], v->dims[1], "length of k and v") &&
	       graph_require(g, d, n, k->dims[2], v->dims[2], "heads of k and v") &&
	       graph_require(g, d, n, q->dims[3], k->dims[3], "size of a head of q and k") &&
	       graph_require(g, d, n, rest, dim_const(&g->dims, 0),
			     "rest of heads of q over those of k");
}

bool infer_attention(struct graph *g, struct node *n, struct diag *d)
{
	const struct type *q;
	dim dims[HONE_MAX_RANK];

	if (!op_begin(g, n, d) || !op_float(g, n, d, 0) || !op_rank(g, n, d, 0, 4, 4) ||
	    !op_rank(g, n, d, 1, 4, 4) || !op_rank(g, n, d, 2, 4, 4) ||
	    !op_same_dtype(g, n, d, 0, 1) || !op_same_dtype(g, n, d, 0, 2) || !check_dims(g, n, d))
		return false;
	if ((enum dtype)n->expr->type != value_compute(n->in[0]) ||
	    expr_any(n->expr, is_foreign, n))
		return BAD(d, n,
			   "the expression must take a score and positions to a score of type %s",
			   dtype_name(value_compute(n->in[0])));
	score_dims(n, dims);
	for (int i = FIRST_OPERAND; i < n->in_count; i++) {
		const struct type *t = &n->in[i]->type;

		if (!op_rank(g, n, d, i, 0, 4))
			return false;
		for (int k = 0; k < t->rank; k++)
			if (!op_broadcasts(g, n, d, t->dims[k], dims[4 - t->rank + k],
					   arena_printf(g->arena,
							"axis %d of operand %d and the scores", k,
							i)))
				return false;
	}
	q = &n->in[0]->type;
	for (int k = 0; k < 3; k++)
		dims[k] = q->dims[k];
	dims[3] = n->in[2]->type.dims[3];
	return op_result(n, d, 0, q->dtype, 4, dims);
}

/* The score of query at[1] and key j under the expression. */
static const struct expr *score(struct lowering *l, const struct node *n,
				const struct expr *const *at, const struct expr *head,
				const struct expr *j)
{
	struct expr_pool *p = exprs_of(l);
	int axis = lower_axis(l, "r", n->in[0]->type.dims[3]);
	const struct expr *r = expr_axis(p, axis), *product;
	const struct expr *q[4] = {at[0], at[1], at[2], r}, *k[4] = {at[0], j, head, r};
	const struct expr *place[4] = {at[0], at[2], at[1], j};
	const struct expr **with =
		ARENA_ARRAY(l->kernel->arena, const struct expr *, n->in_count + FIRST_OPERAND);
	dim dims[4];

	product = lower_load(l, n->in[0], q);
	product = expr_binary(p, EXPR_MUL, product, lower_load(l, n->in[1], k));
	with[SCORE] = expr_reduce(p, REDUCE_SUM, 1, &axis, product);
	with[QUERY] = at[1];
	with[KEY] = j;
	score_dims(n, dims);
	for (int i = FIRST_OPERAND; i < n->in_count; i++)
		with[i] = lower_load_broadcast(l, n->in[i], 4, dims, place);
	return expr_bind_params(p, n->expr, with);
}

/* for b, i, h par { local s[S]; for j { s[j] = score }; for e par { y = sum_j exp(s[j] - m) * v / l } } */
bool lower_attention(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct type *q = &n->in[0]->type, *k = &n->in[1]->type;
	enum dtype t = value_compute(n->in[0]);
	struct type row = type_make(t, 1, &k->dims[1]), outer = type_make(t, 3, q->dims);
	int s = kernel_local(l->kernel, "s", &row);
	int j = lower_axis(l, "j", row.dims[0]), e, m, sum, dot;
	const struct expr *head, *load[3], *at_j[1], *max, *total, *weighted;
	struct kernel_builder after;
	index_list at;

	lower_open(l, &outer, at);
	head = index_div(p, at[2], expr_dim(p, dim_floordiv(p->dims, q->dims[2], k->dims[2])));
	at_j[0] = expr_axis(p, j);
	after = k_for(&l->at, j, true);
	k_store(&l->at, s, 1, at_j, score(l, n, at, head, at_j[0]), -1);
	l->at = after;
	e = lower_axis(l, "l", n->out[0]->type.dims[3]);
	k_for(&l->at, e, true);
	at[3] = expr_axis(p, e);
	m = lower_axis(l, "r", row.dims[0]);
	sum = lower_axis(l, "r", row.dims[0]);
	dot = lower_axis(l, "r", row.dims[0]);
	for (int i = 0; i < 3; i++) {
		const struct expr *axis = expr_axis(p, i == 0 ? m : i == 1 ? sum : dot);

		load[i] = expr_load(p, t, s, 1, &axis);
	}
	max = expr_reduce(p, REDUCE_MAX, 1, &m, load[0]);
	total = expr_reduce(p, REDUCE_SUM, 1, &sum,
			    expr_unary(p, EXPR_EXP, expr_binary(p, EXPR_SUB, load[1], max)));
	weighted = lower_load(l, n->in[2],
			      (const struct expr *[4]){at[0], expr_axis(p, dot), head, at[3]});
	weighted = expr_binary(p, EXPR_MUL,
			       expr_unary(p, EXPR_EXP, expr_binary(p, EXPR_SUB, load[2], max)),
			       weighted);
	lower_store(l, n->out[0], at,
		    expr_binary(p, EXPR_DIV, expr_reduce(p, REDUCE_SUM, 1, &dot, weighted), total));
	return true;
}
