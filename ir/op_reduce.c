/* op_reduce.c: reduce, argreduce, cumulate, softmax, normalize. */
#include "ir/op.h"

#include <math.h>

typedef const struct expr *index_list[HONE_MAX_RANK];

/* sum|prod|min|max|any|all need numbers, or bool. */
static bool check_kind(struct graph *g, struct node *n, struct diag *d, int64_t kind)
{
	enum dtype t = n->in[0]->type.dtype;

	if (kind == REDUCE_ANY || kind == REDUCE_ALL) {
		if (t == DT_BOOL)
			return true;
		return BAD(d, n, "operand 0 must be bool for kind %s, found %s", reduce_names[kind],
			   op_type(g, d, n->in[0]));
	}
	if (dtype_is_float(t) || dtype_is_int(t) || (t == DT_BOOL && kind >= REDUCE_MIN))
		return true;
	return BAD(d, n, "operand 0 must be numeric for kind %s, found %s", reduce_names[kind],
		   op_type(g, d, n->in[0]));
}

enum expr_op reduce_op(enum reduce_kind kind)
{
	switch (kind) {
	case REDUCE_SUM: return EXPR_ADD;
	case REDUCE_PROD: return EXPR_MUL;
	case REDUCE_MIN: return EXPR_MIN;
	case REDUCE_MAX: return EXPR_MAX;
	case REDUCE_ANY: return EXPR_OR;
	case REDUCE_ALL: return EXPR_AND;
	default: BUG("%s is no binary operation", reduce_names[kind]);
	}
}

const struct expr *reduce_identity(struct expr_pool *p, enum reduce_kind kind, enum dtype t)
{
	bool is_signed = dtype_class(t) == DTYPE_SIGNED;
	int bits = dtype_bits(t);
	int64_t most = bits == 64 && is_signed ? INT64_MAX
		       : is_signed             ? (INT64_C(1) << (bits - 1)) - 1
		       : bits == 64            ? -1
					       : (INT64_C(1) << bits) - 1;

	switch (kind) {
	case REDUCE_SUM:
	case REDUCE_ANY: return expr_int(p, t, 0);
	case REDUCE_PROD:
	case REDUCE_ALL: return expr_int(p, t, 1);
	case REDUCE_MIN:
		if (dtype_is_float(t))
			return expr_real(p, t, (double)INFINITY);
		return expr_int(p, t, t == DT_BOOL ? 1 : most);
	case REDUCE_MAX:
		if (dtype_is_float(t))
			return expr_real(p, t, -(double)INFINITY);
		return expr_int(p, t, is_signed ? -most - 1 : 0);
	default: BUG("%s has no identity", reduce_names[kind]);
	}
}

/* ---- reduce ---- */

static bool reduces_axis(struct ints axes, int axis)
{
	for (int i = 0; i < axes.count; i++)
		if (axes.at[i] == axis)
			return true;
	return axes.count == 0;
}

/* Known elements: the sum, product, least or largest of all elements of a vector. */
static void reduce_elems(struct graph *g, struct node *n, int64_t kind)
{
	const struct value *x = n->in[0];
	int count = elems_count(&x->type);
	struct dim_pool *p = &g->dims;
	dim *elems, sum;

	if (!x->elems || count < 0 || kind > REDUCE_MAX || elems_count(&n->out[0]->type) != 1 ||
	    (count == 0 && kind >= REDUCE_MIN) || x->type.dtype == DT_BOOL)
		return;
	sum = count && kind >= REDUCE_MIN ? x->elems[0] : dim_const(p, kind == REDUCE_PROD);
	for (int i = 0; i < count; i++) {
		if (!x->elems[i])
			return;
		sum = kind == REDUCE_SUM    ? dim_add(p, sum, x->elems[i])
		      : kind == REDUCE_PROD ? dim_mul(p, sum, x->elems[i])
		      : kind == REDUCE_MIN  ? dim_min(p, sum, x->elems[i])
					    : dim_max(p, sum, x->elems[i]);
	}
	elems = elems_new(g, n);
	elems[0] = sum;
	n->out[0]->elems = elems;
}

bool infer_reduce(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_reduce *a = ATTRS(reduce, n);
	dim dims[HONE_MAX_RANK];
	const struct type *x;
	int rank = 0;

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	if (!check_kind(g, n, d, a->kind) || !op_axes(n, d, a->axes, x->rank))
		return false;
	for (int k = 0; k < x->rank; k++) {
		bool gone = reduces_axis(a->axes, k);

		if (!gone || a->keep)
			dims[rank++] = gone ? dim_const(&g->dims, 1) : x->dims[k];
	}
	if (!op_result(n, d, 0, x->dtype, rank, dims))
		return false;
	reduce_elems(g, n, a->kind);
	return true;
}

bool lower_reduce(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_reduce *a = ATTRS(reduce, n);
	const struct type *x = &n->in[0]->type;
	int axes[HONE_MAX_RANK], count = 0, next = 0;
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	for (int k = 0; k < x->rank; k++) {
		bool gone = reduces_axis(a->axes, k);

		if (gone) {
			axes[count] = lower_axis(l, "r", x->dims[k]);
			from[k] = expr_axis(p, axes[count++]);
		} else {
			from[k] = at[next];
		}
		next += !gone || a->keep;
	}
	lower_store(l, n->out[0], at,
		    expr_reduce(p, (enum reduce_kind)a->kind, count, axes,
				lower_load(l, n->in[0], from)));
	return true;
}

/* ---- argreduce ---- */

bool infer_argreduce(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_argreduce *a = ATTRS(argreduce, n);
	dim dims[HONE_MAX_RANK];
	const struct type *x;
	int rank = 0;

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	if (!check_kind(g, n, d, REDUCE_MAX) || !op_axis(n, d, a->axis, x->rank))
		return false;
	for (int k = 0; k < x->rank; k++)
		if (k != a->axis || a->keep)
			dims[rank++] = k == a->axis ? dim_const(&g->dims, 1) : x->dims[k];
	return op_result(n, d, 0, DT_I64, rank, dims);
}

bool lower_argreduce(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_argreduce *a = ATTRS(argreduce, n);
	const struct type *x = &n->in[0]->type;
	int axis, next = 0;
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	axis = lower_axis(l, "r", x->dims[a->axis]);
	for (int k = 0; k < x->rank; k++) {
		from[k] = k == a->axis ? expr_axis(p, axis) : at[next];
		next += k != a->axis || a->keep;
	}
	lower_store(l, n->out[0], at,
		    expr_reduce(p, (enum reduce_kind)(REDUCE_ARGMIN + a->kind), 1, &axis,
				lower_load(l, n->in[0], from)));
	return true;
}

/* ---- cumulate ---- */

bool infer_cumulate(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_cumulate *a = ATTRS(cumulate, n);
	const struct type *x;

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	return check_kind(g, n, d, a->kind) && op_axis(n, d, a->axis, x->rank) &&
	       op_result(n, d, 0, x->dtype, x->rank, x->dims);
}

/* for other axes par { s = identity; for t { s = s + x[..,t,..]; y[..,t,..] = s } }, exclusive: store first. */
bool lower_cumulate(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_cumulate *a = ATTRS(cumulate, n);
	enum reduce_kind kind = (enum reduce_kind)a->kind;
	const struct type *x = &n->in[0]->type;
	int var = k_var(l->kernel, value_compute(n->in[0])), axis;
	const struct expr *sum = expr_var(p, value_compute(n->in[0]), var), *next;
	index_list at;

	for (int k = 0; k < x->rank; k++) {
		if (k == a->axis)
			continue;
		axis = lower_axis(l, "i", x->dims[k]);
		at[k] = expr_axis(p, axis);
		k_for(&l->at, axis, true);
	}
	k_set(&l->at, var, reduce_identity(p, kind, value_compute(n->in[0])));
	axis = lower_axis(l, "t", x->dims[a->axis]);
	k_for(&l->at, axis, false);
	at[a->axis] = expr_axis(p, axis);
	if (a->reverse)
		at[a->axis] =
			index_sub(p, index_sub(p, expr_dim(p, x->dims[a->axis]), expr_index(p, 1)),
				  at[a->axis]);
	next = expr_binary(p, reduce_op(kind), sum, lower_load(l, n->in[0], at));
	if (a->exclusive)
		lower_store(l, n->out[0], at, sum);
	k_set(&l->at, var, next);
	if (!a->exclusive)
		lower_store(l, n->out[0], at, sum);
	return true;
}

/* ---- softmax ---- */

bool infer_softmax(struct graph *g, struct node *n, struct diag *d)
{
	const struct type *x;

	if (!op_begin(g, n, d) || !op_float(g, n, d, 0))
		return false;
	x = &n->in[0]->type;
	return op_axis(n, d, ATTRS(softmax, n)->axis, x->rank) &&
	       op_result(n, d, 0, x->dtype, x->rank, x->dims);
}

/* The load of operand 0 at `at` with entry `axis` replaced. */
static const struct expr *load_along(struct lowering *l, const struct node *n,
				     const struct expr *const *at, int64_t axis, int along)
{
	index_list from;

	for (int k = 0; k < n->in[0]->type.rank; k++)
		from[k] = k == axis ? expr_axis(exprs_of(l), along) : at[k];
	return lower_load(l, n->in[0], from);
}

/* m = max_j x[j], l = sum_j exp(x[j] - m); both do not depend on the axis, so they are computed once a row. */
static const struct expr *inverse(struct expr_pool *p, const struct expr *x)
{
	return expr_binary(p, EXPR_DIV, expr_real(p, (enum dtype)x->type, 1), x);
}

bool lower_softmax(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_softmax *a = ATTRS(softmax, n);
	dim extent = n->in[0]->type.dims[a->axis];
	const struct expr *max, *sum, *x;
	int i, j;
	index_list at;

	lower_open(l, &n->out[0]->type, at);
	i = lower_axis(l, "r", extent);
	j = lower_axis(l, "r", extent);
	max = expr_reduce(p, REDUCE_MAX, 1, &i, load_along(l, n, at, a->axis, i));
	x = expr_binary(p, EXPR_SUB, load_along(l, n, at, a->axis, j), max);
	sum = expr_reduce(p, REDUCE_SUM, 1, &j, expr_unary(p, EXPR_EXP, x));
	x = expr_binary(p, EXPR_SUB, lower_load(l, n->in[0], at), max);
	if (a->log)
		x = expr_binary(p, EXPR_SUB, x, expr_unary(p, EXPR_LOG, sum));
	else /* a product, since a row has one sum in [1, extent] and many elements */
		x = expr_binary(p, EXPR_MUL, expr_unary(p, EXPR_EXP, x), inverse(p, sum));
	lower_store(l, n->out[0], at, x);
	return true;
}

/* ---- normalize ---- */

/* gamma and beta broadcast to x, aligned at the end. */
bool infer_normalize(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_normalize *a = ATTRS(normalize, n);
	const struct type *x;

	if (!op_begin(g, n, d) || !op_float(g, n, d, 0))
		return false;
	x = &n->in[0]->type;
	if (!a->axes.count)
		return BAD(d, n, "normalize needs at least one axis");
	if (!op_axes(n, d, a->axes, x->rank))
		return false;
	for (int i = 1; i < n->in_count; i++) {
		const struct type *t;

		if (!n->in[i])
			continue;
		t = &n->in[i]->type;
		if (value_compute(n->in[i]) != value_compute(n->in[0]) || t->rank > x->rank)
			return BAD(d, n, "operand %d must broadcast to operand 0, %s, found %s", i,
				   op_type(g, d, n->in[0]), op_type(g, d, n->in[i]));
		for (int k = 0; k < t->rank; k++)
			if (!op_broadcasts(g, n, d, t->dims[k], x->dims[x->rank - t->rank + k],
					   "dims of scale or bias and operand 0"))
				return false;
	}
	return op_result(n, d, 0, x->dtype, x->rank, x->dims);
}

/* The mean over the axes of (x - shift)^2, or of x when shift is NULL and not `square`. */
static const struct expr *mean(struct lowering *l, const struct node *n,
			       const struct expr *const *at, const struct expr *shift, bool square)
{
	struct expr_pool *p = exprs_of(l);
	const struct ints *axes = &ATTRS(normalize, n)->axes;
	enum dtype t = value_compute(n->in[0]);
	dim count = dim_const(p->dims, 1);
	const struct expr *x;
	int bound[HONE_MAX_RANK];
	index_list from;

	for (int k = 0; k < n->in[0]->type.rank; k++)
		from[k] = at[k];
	for (int i = 0; i < axes->count; i++) {
		bound[i] = lower_axis(l, "r", n->in[0]->type.dims[axes->at[i]]);
		from[axes->at[i]] = expr_axis(p, bound[i]);
		count = dim_mul(p->dims, count, n->in[0]->type.dims[axes->at[i]]);
	}
	x = lower_load(l, n->in[0], from);
	if (shift)
		x = expr_binary(p, EXPR_SUB, x, shift);
	if (square)
		x = expr_binary(p, EXPR_MUL, x, x);
	return expr_binary(p, EXPR_DIV, expr_reduce(p, REDUCE_SUM, axes->count, bound, x),
			   expr_cast(p, EXPR_CAST, t, expr_dim(p, count)));
}

/* Two passes over the row: the mean, then the variance around it. The inverse deviation is an output of ONNX's
 * LayerNormalization, which multiplies by it. */
bool lower_normalize(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_normalize *a = ATTRS(normalize, n);
	const struct type *y = &n->out[0]->type;
	enum dtype t = value_compute(n->in[0]);
	const struct expr *shift = NULL, *variance, *x;
	index_list at;

	lower_open(l, y, at);
	if (!a->rms)
		shift = mean(l, n, at, NULL, false);
	variance = mean(l, n, at, shift, true);
	x = lower_load(l, n->in[0], at);
	if (shift)
		x = expr_binary(p, EXPR_SUB, x, shift);
	variance = expr_binary(p, EXPR_ADD, variance, expr_real(p, t, a->eps));
	x = expr_binary(p, EXPR_MUL, x, inverse(p, expr_unary(p, EXPR_SQRT, variance)));
	if (n->in_count > 1 && n->in[1])
		x = expr_binary(p, EXPR_MUL, x,
				lower_load_broadcast(l, n->in[1], y->rank, y->dims, at));
	if (n->in_count > 2 && n->in[2])
		x = expr_binary(p, EXPR_ADD, x,
				lower_load_broadcast(l, n->in[2], y->rank, y->dims, at));
	lower_store(l, n->out[0], at, x);
	return true;
}
