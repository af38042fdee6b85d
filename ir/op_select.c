/* op_select.c: nonzero, topk, unique, nms: results whose sizes or order depend on data. They are calls of
 * runtime routines (runtime/program.h) over whole buffers. */
#include "ir/op.h"

bool infer_nonzero(struct graph *g, struct node *n, struct diag *d)
{
	dim count;

	if (!op_begin(g, n, d) || !op_symbols(n, d, 1))
		return false;
	count = dim_symbol(&g->dims, n->symbols[0]);
	return op_result(n, d, 0, DT_I64, 1, &count);
}

bool lower_nonzero(struct lowering *l, const struct node *n)
{
	lower_call(l, n, "nonzero", 0, NULL);
	return true;
}

bool infer_topk(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_topk *a = ATTRS(topk, n);
	struct dim_pool *p = &g->dims;
	struct type y;

	if (!op_begin(g, n, d))
		return false;
	y = n->in[0]->type;
	if (!dtype_is_float(y.dtype) && !dtype_is_int(y.dtype))
		return BAD(d, n, "operand 0 must be numeric, found %s", op_type(g, d, n->in[0]));
	if (!op_axis(n, d, a->axis, y.rank) || !op_at_most(g, n, d, dim_const(p, 0), a->k, "k") ||
	    !op_at_most(g, n, d, a->k, y.dims[a->axis], "k"))
		return false;
	y.dims[a->axis] = a->k;
	return op_result(n, d, 0, y.dtype, y.rank, y.dims) &&
	       op_result(n, d, 1, DT_I64, y.rank, y.dims);
}

/* call topk(axis, largest, sorted, k) */
bool lower_topk(struct lowering *l, const struct node *n)
{
	const struct attrs_topk *a = ATTRS(topk, n);
	struct dim_pool *p = &l->graph->dims;
	dim attrs[4] = {dim_const(p, a->axis), dim_const(p, a->largest), dim_const(p, a->sorted),
			a->k};

	lower_call(l, n, "topk", 4, attrs);
	return true;
}

/* Results: values, first positions, inverse, counts. */
bool infer_unique(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_unique *a = ATTRS(unique, n);
	struct type y;
	dim count, whole;

	if (!op_begin(g, n, d) || !op_symbols(n, d, 1))
		return false;
	y = n->in[0]->type;
	if (!a->flat && !op_axis(n, d, a->axis, y.rank))
		return false;
	count = dim_symbol(&g->dims, n->symbols[0]);
	whole = a->flat ? type_count(g, &y) : y.dims[a->axis];
	if (a->flat) {
		y.rank = 1;
		y.dims[0] = count;
	} else {
		y.dims[a->axis] = count;
	}
	return op_result(n, d, 0, y.dtype, y.rank, y.dims) &&
	       op_result(n, d, 1, DT_I64, 1, &count) && op_result(n, d, 2, DT_I64, 1, &whole) &&
	       op_result(n, d, 3, DT_I64, 1, &count);
}

/* call unique(axis or -1000 when flat, sorted) */
bool lower_unique(struct lowering *l, const struct node *n)
{
	const struct attrs_unique *a = ATTRS(unique, n);
	struct dim_pool *p = &l->graph->dims;
	dim attrs[2] = {dim_const(p, a->flat ? -1000 : a->axis), dim_const(p, a->sorted)};

	lower_call(l, n, "unique", 2, attrs);
	return true;
}

/* Operands: boxes [B,N,4], scores [B,C,N], then most boxes per class (i64), IoU and score thresholds (f32),
 * each a scalar or a vector of one element. */
bool infer_nms(struct graph *g, struct node *n, struct diag *d)
{
	const struct type *boxes, *scores;
	dim dims[2];

	if (!op_begin(g, n, d) || !op_symbols(n, d, 1) || !op_rank(g, n, d, 0, 3, 3) ||
	    !op_rank(g, n, d, 1, 3, 3))
		return false;
	boxes = &n->in[0]->type;
	scores = &n->in[1]->type;
	if (boxes->dtype != DT_F32 || scores->dtype != DT_F32)
		return BAD(d, n, "boxes and scores must be f32, found %s and %s",
			   op_type(g, d, n->in[0]), op_type(g, d, n->in[1]));
	if (!graph_require(g, d, n, boxes->dims[2], dim_const(&g->dims, 4), "numbers of a box") ||
	    !graph_require(g, d, n, boxes->dims[0], scores->dims[0], "batch of boxes and scores") ||
	    !graph_require(g, d, n, boxes->dims[1], scores->dims[2], "numbers of boxes and scores"))
		return false;
	for (int i = 2; i < n->in_count; i++) {
		const struct type *t = n->in[i] ? &n->in[i]->type : NULL;

		if (t && (t->rank > 1 || type_count_const(t) != 1 ||
			  t->dtype != (i == 2 ? DT_I64 : DT_F32)))
			return BAD(d, n, "operand %d must be one %s, found %s", i,
				   i == 2 ? "i64" : "f32", op_type(g, d, n->in[i]));
	}
	dims[0] = dim_symbol(&g->dims, n->symbols[0]);
	dims[1] = dim_const(&g->dims, 3);
	return op_result(n, d, 0, DT_I64, 2, dims);
}

/* call nms(center) */
bool lower_nms(struct lowering *l, const struct node *n)
{
	dim center = dim_const(&l->graph->dims, ATTRS(nms, n)->center);

	lower_call(l, n, "nms", 1, &center);
	return true;
}
