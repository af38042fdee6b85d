/* op_source.c: values that come from nowhere: const, param, shape, bind, iota, random. */
#include "ir/op.h"

#include <string.h>

/* A constant's type is stated, not inferred: it is result 0's when inference starts. */
static bool check_const(struct graph *g, struct node *n, struct diag *d)
{
	const struct tensor *t = ATTRS(const, n)->data;
	const struct type *type = &n->out[0]->type;
	int64_t count;

	if (type->kind != TYPE_TENSOR || type->rank < 0 || type->rank > HONE_MAX_RANK ||
	    dtype_class(type->dtype) == DTYPE_INVALID)
		return BAD(d, n, "a constant must be a tensor of rank 0 to %d", HONE_MAX_RANK);
	for (int i = 0; i < type->rank; i++)
		if (!type->dims[i] || !dim_is_const(type->dims[i]) || type->dims[i]->value < 0)
			return BAD(d, n, "a constant must have constant dims, found %s",
				   op_type(g, d, n->out[0]));
	count = type_count_const(type);
	if (t->kind == TENSOR_BYTES && type->dtype != DT_STRING &&
	    t->size != dtype_bytes(type->dtype, count))
		return BAD(d, n, "a constant %s has %lld bytes, found %lld",
			   op_type(g, d, n->out[0]), (long long)dtype_bytes(type->dtype, count),
			   (long long)t->size);
	if (t->kind == TENSOR_BYTES && t->size && !t->data)
		return BAD(d, n, "a constant has no data");
	return true;
}

bool infer_const(struct graph *g, struct node *n, struct diag *d)
{
	const struct tensor *t = ATTRS(const, n)->data;
	int count;
	dim *elems;

	if (!op_begin(g, n, d) || !check_const(g, n, d))
		return false;
	count = elems_count(&n->out[0]->type);
	elems = elems_new(g, n);
	for (int i = 0; i < count; i++)
		elems[i] = dim_const(&g->dims, tensor_element(t, n->out[0]->type.dtype, i).i);
	n->out[0]->elems = elems;
	return true;
}

bool infer_param(struct graph *g, struct node *n, struct diag *d)
{
	enum dtype t = (enum dtype)ATTRS(param, n)->type;

	if (!op_begin(g, n, d))
		return false;
	if (dtype_compute(t) != t || t == DT_STRING || t == DT_NONE)
		return BAD(d, n, "a parameter must have a type that is computed in, found %s",
			   dtype_name(t));
	return op_result(n, d, 0, t, 0, NULL);
}

bool infer_shape(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_shape *at = ATTRS(shape, n);
	dim count = dim_const(&g->dims, at->dims.count);
	dim *elems;

	if (!op_begin(g, n, d) || !op_result(n, d, 0, DT_I64, 1, &count))
		return false;
	elems = elems_new(g, n);
	for (int i = 0; elems && i < at->dims.count; i++)
		elems[i] = at->dims.at[i];
	n->out[0]->elems = elems;
	return true;
}

/* y[i] = i == 0 ? dims[0] : i == 1 ? dims[1] : ...: pure, so that a load at a constant index folds. */
bool lower_shape(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_shape *at = ATTRS(shape, n);
	const struct expr *index[HONE_MAX_RANK], *value = expr_index(p, 0);

	lower_open(l, &n->out[0]->type, index);
	for (int i = at->dims.count - 1; i >= 0; i--) {
		const struct expr *here = expr_binary(p, EXPR_EQ, index[0], expr_index(p, i));

		value = i == at->dims.count - 1
				? expr_dim(p, at->dims.at[i])
				: expr_select(p, here, expr_dim(p, at->dims.at[i]), value);
	}
	lower_store(l, n->out[0], index, value);
	return true;
}

bool infer_bind(struct graph *g, struct node *n, struct diag *d)
{
	const struct type *x;

	if (!op_begin(g, n, d) || !op_rank(g, n, d, 0, 0, 1))
		return false;
	x = &n->in[0]->type;
	if (x->dtype != DT_I64)
		return BAD(d, n, "operand 0 must be i64, found %s", op_type(g, d, n->in[0]));
	if (x->rank == 1 && !dim_is(x->dims[0], n->symbol_count))
		return BAD(d, n, "operand 0 must have %d elements, one for each symbol, found %s",
			   n->symbol_count, op_type(g, d, n->in[0]));
	return x->rank == 1 || op_symbols(n, d, 1);
}

bool infer_iota(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_iota *at = ATTRS(iota, n);
	int at_index[HONE_MAX_RANK];
	dim *elems;
	int count;

	if (!op_begin(g, n, d) || !op_axis(n, d, at->axis, at->dims.count))
		return false;
	if (at->type == DT_BOOL || at->type == DT_STRING || at->type == DT_NONE)
		return BAD(d, n, "iota needs a numeric type, found %s",
			   dtype_name((enum dtype)at->type));
	if (!op_result(n, d, 0, (enum dtype)at->type, at->dims.count, at->dims.at))
		return false;
	count = elems_count(&n->out[0]->type);
	elems = elems_new(g, n);
	for (int i = 0; i < count; i++) {
		elems_coordinates(&n->out[0]->type, i, at_index);
		elems[i] = dim_const(&g->dims, at_index[at->axis]);
	}
	n->out[0]->elems = elems;
	return true;
}

bool lower_iota(struct lowering *l, const struct node *n)
{
	const struct expr *index[HONE_MAX_RANK];

	lower_open(l, &n->out[0]->type, index);
	lower_store(l, n->out[0], index,
		    expr_cast(exprs_of(l), EXPR_CAST, value_compute(n->out[0]),
			      index[ATTRS(iota, n)->axis]));
	return true;
}

bool infer_random(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_random *at = ATTRS(random, n);
	enum dtype t = (enum dtype)at->type;

	if (!op_begin(g, n, d))
		return false;
	if (t == DT_NONE || t == DT_STRING || (at->kind != 2 && !dtype_is_float(t)))
		return BAD(d, n, "random numbers of this kind cannot be %s", dtype_name(t));
	return op_result(n, d, 0, t, at->dims.count, at->dims.at);
}

/* call random(kind, seed, bits of a, bits of b): a and b are f64. */
bool lower_random(struct lowering *l, const struct node *n)
{
	const struct attrs_random *at = ATTRS(random, n);
	struct dim_pool *p = &l->graph->dims;
	int64_t a, b;
	dim attrs[4];

	memcpy(&a, &at->a, sizeof(a));
	memcpy(&b, &at->b, sizeof(b));
	attrs[0] = dim_const(p, at->kind);
	attrs[1] = dim_const(p, at->seed);
	attrs[2] = dim_const(p, a);
	attrs[3] = dim_const(p, b);
	lower_call(l, n, "random", 4, attrs);
	return true;
}
