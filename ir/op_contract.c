/* op_contract.c: matmul, conv, pool: sums of products, and windows. Channels-last, without pads. */
#include "ir/op.h"

typedef const struct expr *index_list[HONE_MAX_RANK];

static bool check_numeric(struct graph *g, struct node *n, struct diag *d)
{
	enum dtype t = n->in[0]->type.dtype;

	if (dtype_is_float(t) || dtype_is_int(t))
		return true;
	return BAD(d, n, "operand 0 must be numeric, found %s", op_type(g, d, n->in[0]));
}

/* Sums of narrow floats are f32 and rounded when stored: wide ones are not rounded. */
static bool result_type(struct node *n, struct diag *d, bool wide, enum dtype *t)
{
	*t = n->in[0]->type.dtype;
	if (!wide)
		return true;
	if (!dtype_is_float(*t) || dtype_compute(*t) != DT_F32)
		return BAD(d, n, "wide is for floats of at most 32 bits, found %s", dtype_name(*t));
	*t = DT_F32;
	return true;
}

/* ---- matmul ---- */

bool infer_matmul(struct graph *g, struct node *n, struct diag *d)
{
	const struct type *a, *w;
	dim dims[HONE_MAX_RANK];
	enum dtype type;
	int rank;

	if (!op_begin(g, n, d) || !check_numeric(g, n, d) || !op_same_dtype(g, n, d, 0, 1) ||
	    !op_rank(g, n, d, 0, 2, HONE_MAX_RANK) || !op_rank(g, n, d, 1, 2, HONE_MAX_RANK) ||
	    !result_type(n, d, ATTRS(matmul, n)->wide, &type))
		return false;
	a = &n->in[0]->type;
	w = &n->in[1]->type;
	rank = a->rank > w->rank ? a->rank : w->rank;
	for (int k = 0; k < rank - 2; k++) {
		int ka = k - (rank - a->rank), kw = k - (rank - w->rank);

		dims[k] = ka < 0   ? w->dims[kw]
			  : kw < 0 ? a->dims[ka]
				   : dim_broadcast(&g->dims, a->dims[ka], w->dims[kw]);
		if ((ka >= 0 && !op_broadcasts(g, n, d, a->dims[ka], dims[k],
					       "batch dims of operands 0 and 1")) ||
		    (kw >= 0 && !op_broadcasts(g, n, d, w->dims[kw], dims[k],
					       "batch dims of operands 0 and 1")))
			return false;
	}
	dims[rank - 2] = a->dims[a->rank - 2];
	dims[rank - 1] = w->dims[w->rank - 1];
	if (!graph_require(g, d, n, a->dims[a->rank - 1], w->dims[w->rank - 2],
			   "columns of operand 0 and rows of operand 1"))
		return false;
	return op_result(n, d, 0, type, rank, dims);
}

bool lower_matmul(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct type *a = &n->in[0]->type, *w = &n->in[1]->type, *y = &n->out[0]->type;
	dim inner =
		dim_is_const(w->dims[w->rank - 2]) ? w->dims[w->rank - 2] : a->dims[a->rank - 1];
	dim dims_a[HONE_MAX_RANK], dims_w[HONE_MAX_RANK];
	const struct expr *x, *product; /* loads one after the other: they number the buffers */
	index_list at, at_a, at_w;
	int axis, last = y->rank - 1;

	lower_open(l, y, at);
	axis = lower_axis(l, "r", inner);
	for (int k = 0; k < y->rank; k++) {
		at_a[k] = at_w[k] = at[k];
		dims_a[k] = dims_w[k] = y->dims[k];
	}
	at_a[last] = at_w[last - 1] = expr_axis(p, axis);
	dims_a[last] = a->dims[a->rank - 1];
	dims_w[last - 1] = w->dims[w->rank - 2];
	x = lower_load_broadcast(l, n->in[0], y->rank, dims_a, at_a);
	product = expr_binary(p, EXPR_MUL, x,
			      lower_load_broadcast(l, n->in[1], y->rank, dims_w, at_w));
	lower_store(l, n->out[0], at, expr_reduce(p, REDUCE_SUM, 1, &axis, product));
	return true;
}

/* ---- windows ---- */

static int64_t entry(struct ints list, int i) { return list.count ? list.at[i] : 1; }

static bool check_window(struct node *n, struct diag *d, struct ints stride, struct ints dilation,
			 int spatial)
{
	if (stride.count && !op_list(n, d, "stride", stride.count, spatial))
		return false;
	if (dilation.count && !op_list(n, d, "dilation", dilation.count, spatial))
		return false;
	for (int i = 0; i < spatial; i++)
		if (entry(stride, i) < 1 || entry(dilation, i) < 1 ||
		    entry(stride, i) > INT32_MAX || entry(dilation, i) > INT32_MAX)
			return BAD(d, n, "stride and dilation must be at least 1 and fit 32 bits");
	return true;
}

/* floor((in - dilation * (kernel - 1) - 1) / stride) + 1; 0 where the window does not fit. */
static dim window_out(struct graph *g, dim in, dim kernel, int64_t stride, int64_t dilation)
{
	struct dim_pool *p = &g->dims;
	dim one = dim_const(p, 1);
	dim reach = dim_mul(p, dim_sub(p, kernel, one), dim_const(p, dilation));
	dim room = dim_sub(p, dim_sub(p, in, reach), one);

	return op_clamp(g, dim_add(p, dim_floordiv(p, room, dim_const(p, stride)), one));
}

/* o * stride + k * dilation */
static const struct expr *window_at(struct expr_pool *p, const struct expr *o, const struct expr *k,
				    int64_t stride, int64_t dilation)
{
	return index_add(p, index_mul(p, o, expr_index(p, stride)),
			 index_mul(p, k, expr_index(p, dilation)));
}

/* ---- conv ---- */

bool infer_conv(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_conv *a = ATTRS(conv, n);
	struct dim_pool *p = &g->dims;
	const struct type *x, *w;
	dim dims[HONE_MAX_RANK], group;
	enum dtype type;
	int spatial;

	if (!op_begin(g, n, d) || !check_numeric(g, n, d) || !op_same_dtype(g, n, d, 0, 1) ||
	    !op_rank(g, n, d, 0, 2, HONE_MAX_RANK) ||
	    !op_rank(g, n, d, 1, n->in[0]->type.rank, n->in[0]->type.rank) ||
	    !result_type(n, d, a->wide, &type))
		return false;
	x = &n->in[0]->type;
	w = &n->in[1]->type;
	spatial = x->rank - 2;
	if (a->group < 1 || a->group > INT32_MAX)
		return BAD(d, n, "group must be at least 1, found %lld", (long long)a->group);
	if (!check_window(n, d, a->stride, a->dilation, spatial))
		return false;
	group = dim_const(p, a->group);
	if (!graph_require(g, d, n, x->dims[spatial + 1], dim_mul(p, w->dims[spatial], group),
			   "input channels, and those of the weights times groups") ||
	    !graph_require(g, d, n, dim_mod(p, w->dims[spatial + 1], group), dim_const(p, 0),
			   "rest of output channels over groups"))
		return false;
	dims[0] = x->dims[0];
	for (int i = 0; i < spatial; i++)
		dims[i + 1] = window_out(g, x->dims[i + 1], w->dims[i], entry(a->stride, i),
					 entry(a->dilation, i));
	dims[spatial + 1] = w->dims[spatial + 1];
	return op_result(n, d, 0, type, x->rank, dims);
}

/* Output channel m is of group m / (M/group), whose input channels start at that times C/group. */
bool lower_conv(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_conv *a = ATTRS(conv, n);
	const struct type *w = &n->in[1]->type, *y = &n->out[0]->type;
	int spatial = y->rank - 2, axes[HONE_MAX_RANK];
	const struct expr *group, *x, *product;
	index_list at, from, tap;

	lower_open(l, y, at);
	from[0] = at[0];
	for (int i = 0; i <= spatial; i++) {
		axes[i] = lower_axis(l, "r", w->dims[i]);
		tap[i] = expr_axis(p, axes[i]);
	}
	for (int i = 0; i < spatial; i++)
		from[i + 1] =
			window_at(p, at[i + 1], tap[i], entry(a->stride, i), entry(a->dilation, i));
	tap[spatial + 1] = at[spatial + 1];
	from[spatial + 1] = tap[spatial];
	if (a->group > 1) {
		group = index_div(p, at[spatial + 1],
				  expr_dim(p, dim_floordiv(p->dims, w->dims[spatial + 1],
							   dim_const(p->dims, a->group))));
		from[spatial + 1] = index_add(p, tap[spatial],
					      index_mul(p, group, expr_dim(p, w->dims[spatial])));
	}
	x = lower_load(l, n->in[0], from);
	product = expr_binary(p, EXPR_MUL, x, lower_load(l, n->in[1], tap));
	lower_store(l, n->out[0], at, expr_reduce(p, REDUCE_SUM, spatial + 1, axes, product));
	return true;
}

/* ---- pool ---- */

bool infer_pool(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_pool *a = ATTRS(pool, n);
	dim dims[HONE_MAX_RANK];
	const struct type *x;

	if (!op_begin(g, n, d) || !check_numeric(g, n, d) || !op_rank(g, n, d, 0, 2, HONE_MAX_RANK))
		return false;
	x = &n->in[0]->type;
	if (!op_list(n, d, "size", a->size.count, x->rank - 2) ||
	    !check_window(n, d, a->stride, a->dilation, x->rank - 2))
		return false;
	for (int k = 0; k < x->rank; k++)
		dims[k] = x->dims[k];
	for (int i = 0; i < x->rank - 2; i++) {
		if (a->size.at[i] < 1 || a->size.at[i] > INT32_MAX)
			return BAD(d, n, "size must be at least 1 and fit 32 bits, found %lld",
				   (long long)a->size.at[i]);
		dims[i + 1] = window_out(g, x->dims[i + 1], dim_const(&g->dims, a->size.at[i]),
					 entry(a->stride, i), entry(a->dilation, i));
	}
	return op_result(n, d, 0, x->dtype, x->rank, dims);
}

bool lower_pool(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_pool *a = ATTRS(pool, n);
	int axes[HONE_MAX_RANK];
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	for (int k = 0; k < n->out[0]->type.rank; k++)
		from[k] = at[k];
	for (int i = 0; i < a->size.count; i++) {
		axes[i] = lower_axis(l, "r", dim_const(p->dims, a->size.at[i]));
		from[i + 1] = window_at(p, at[i + 1], expr_axis(p, axes[i]), entry(a->stride, i),
					entry(a->dilation, i));
	}
	lower_store(l, n->out[0], at,
		    expr_reduce(p, (enum reduce_kind)a->kind, a->size.count, axes,
				lower_load(l, n->in[0], from)));
	return true;
}
