/* op_common.c: checks that the inference functions share. A message names the operand, what was
 * expected and what was found; the location names the node. */
#include "ir/op.h"

static int enum_size(const char *names)
{
	int count = 1;

	for (; *names; names++)
		count += *names == '|';
	return count;
}

static bool attr_valid(const struct attr_row *row, const void *field)
{
	const struct dims *dims = field;
	const struct ints *ints = field;
	int64_t x;

	switch (row->kind) {
	case ATTR_ENUM: x = *(const int64_t *)field; return x >= 0 && x < enum_size(row->names);
	case ATTR_BOOL: x = *(const int64_t *)field; return x == 0 || x == 1;
	case ATTR_DTYPE:
		x = *(const int64_t *)field;
		return x == DT_NONE ||
		       (x > 0 && x < DT_LIMIT && dtype_class((enum dtype)x) != DTYPE_INVALID);
	case ATTR_INTS: return ints->count == 0 || (ints->count > 0 && ints->at);
	case ATTR_DIM: return *(const dim *)field != NULL;
	case ATTR_DIMS:
		if (dims->count < 0 || (dims->count && !dims->at))
			return false;
		for (int i = 0; i < dims->count; i++)
			if (!dims->at[i])
				return false;
		return true;
	case ATTR_TEXT: return *(const char *const *)field != NULL;
	case ATTR_TENSOR: return *(const struct tensor *const *)field != NULL;
	case ATTR_INT:
	case ATTR_REAL: return true;
	}
	return false;
}

static bool check_counts(const struct node *n, struct diag *d)
{
	const struct op_row *row = &op_table[n->op];

	if (n->in_count < row->min_in || (row->max_in >= 0 && n->in_count > row->max_in)) {
		if (row->max_in < 0)
			return BAD(d, n, "%s takes at least %d operands, found %d", row->name,
				   row->min_in, n->in_count);
		return BAD(d, n, "%s takes %d to %d operands, found %d", row->name, row->min_in,
			   row->max_in, n->in_count);
	}
	if (row->outs >= 0 && n->out_count != row->outs)
		return BAD(d, n, "%s has %d results, found %d", row->name, row->outs, n->out_count);
	if (n->region_count != row->regions)
		return BAD(d, n, "%s has %d regions, found %d", row->name, row->regions,
			   n->region_count);
	if ((row->flags & OP_EXPR) && !n->expr)
		return BAD(d, n, "%s needs an expression", row->name);
	return true;
}

/* Optional operands that may be left out before others that are there. */
static bool takes_gaps(enum op_id op) { return op == OP_pad || op == OP_normalize || op == OP_nms; }

bool op_begin_any(struct graph *g, const struct node *n, struct diag *d)
{
	const struct op_row *row = &op_table[n->op];

	(void)g;
	if (!check_counts(n, d))
		return false;
	for (int i = 0; i < row->attr_count; i++)
		if (!attr_valid(&row->attrs[i], (const char *)n->attrs + row->attrs[i].offset))
			return BAD(d, n, "%s: attribute %s is missing or out of range", row->name,
				   row->attrs[i].name);
	for (int i = 0; i < n->in_count; i++)
		if (!n->in[i] && (i < row->min_in || !takes_gaps(n->op)))
			return BAD(d, n, "%s: operand %d is missing", row->name, i);
	return true;
}

bool op_begin(struct graph *g, const struct node *n, struct diag *d)
{
	if (!op_begin_any(g, n, d))
		return false;
	for (int i = 0; i < n->in_count; i++) {
		const struct value *v = n->in[i];

		if (!v)
			continue;
		if (v->type.kind != TYPE_TENSOR)
			return BAD(d, n, "%s: operand %d must be a tensor, found %s",
				   op_table[n->op].name, i, op_type(g, d, v));
		if (v->type.rank < 0 || v->type.rank > HONE_MAX_RANK)
			return BAD(d, n, "%s: operand %d has rank %d, at most %d is possible",
				   op_table[n->op].name, i, v->type.rank, HONE_MAX_RANK);
	}
	return true;
}

const char *op_type(struct graph *g, struct diag *d, const struct value *v)
{
	return type_text(g, &d->arena, &v->type);
}

bool op_rank(struct graph *g, const struct node *n, struct diag *d, int operand, int min, int max)
{
	int rank = n->in[operand]->type.rank;

	if (rank >= min && rank <= max)
		return true;
	if (min == max)
		return BAD(d, n, "operand %d must have rank %d, found %s", operand, min,
			   op_type(g, d, n->in[operand]));
	return BAD(d, n, "operand %d must have rank %d to %d, found %s", operand, min, max,
		   op_type(g, d, n->in[operand]));
}

bool op_axis(const struct node *n, struct diag *d, int64_t axis, int rank)
{
	if (axis >= 0 && axis < rank)
		return true;
	return BAD(d, n, "axis %lld is out of range for rank %d", (long long)axis, rank);
}

bool op_axes(const struct node *n, struct diag *d, struct ints axes, int rank)
{
	for (int i = 0; i < axes.count; i++) {
		if (!op_axis(n, d, axes.at[i], rank))
			return false;
		if (i && axes.at[i] <= axes.at[i - 1])
			return BAD(d, n, "axes must ascend, found %lld after %lld",
				   (long long)axes.at[i], (long long)axes.at[i - 1]);
	}
	return true;
}

bool op_float(struct graph *g, const struct node *n, struct diag *d, int operand)
{
	if (dtype_is_float(n->in[operand]->type.dtype))
		return true;
	return BAD(d, n, "operand %d must have a floating-point type, found %s", operand,
		   op_type(g, d, n->in[operand]));
}

bool op_integer(struct graph *g, const struct node *n, struct diag *d, int operand)
{
	if (dtype_is_int(n->in[operand]->type.dtype))
		return true;
	return BAD(d, n, "operand %d must have an integer type, found %s", operand,
		   op_type(g, d, n->in[operand]));
}

bool op_same_dtype(struct graph *g, const struct node *n, struct diag *d, int a, int b)
{
	if (n->in[a]->type.dtype == n->in[b]->type.dtype)
		return true;
	return BAD(d, n, "operands %d and %d must have one element type, found %s and %s", a, b,
		   op_type(g, d, n->in[a]), op_type(g, d, n->in[b]));
}

bool op_scalar(struct graph *g, const struct node *n, struct diag *d, int operand, enum dtype t)
{
	const struct type *type = &n->in[operand]->type;

	if (type->kind == TYPE_TENSOR && type->rank == 0 && type->dtype == t)
		return true;
	return BAD(d, n, "operand %d must be a %s scalar, found %s", operand, dtype_name(t),
		   op_type(g, d, n->in[operand]));
}

bool op_list(const struct node *n, struct diag *d, const char *name, int count, int expected)
{
	if (count == expected)
		return true;
	return BAD(d, n, "%s must have %d entries, found %d", name, expected, count);
}

bool op_symbols(const struct node *n, struct diag *d, int expected)
{
	if (n->symbol_count == expected)
		return true;
	return BAD(d, n, "%s binds %d symbols, found %d", op_table[n->op].name, expected,
		   n->symbol_count);
}

bool op_at_most(struct graph *g, const struct node *n, struct diag *d, dim a, dim b,
		const char *what)
{
	struct dim_pool *p = &g->dims;
	dim rest = dim_sub(p, b, a);

	if (dim_lower(rest) >= 0)
		return true;
	if (dim_upper(rest) < 0)
		return BAD(d, n, "%s: %s is over the limit %s", what, dim_text(p, &d->arena, a),
			   dim_text(p, &d->arena, b));
	return graph_require(g, d, n, dim_max(p, a, b), b, what);
}

bool op_broadcasts(struct graph *g, const struct node *n, struct diag *d, dim a, dim b,
		   const char *what)
{
	struct dim_pool *p = &g->dims;

	if (a == b || dim_is(a, 1))
		return true;
	if (dim_lower(a) <= 1)
		a = dim_select(p, a, dim_const(p, 1), b, a);
	return graph_require(g, d, n, a, b, what);
}

bool op_result(const struct node *n, struct diag *d, int i, enum dtype t, int rank, const dim *dims)
{
	if (rank > HONE_MAX_RANK)
		return BAD(d, n, "the result would have rank %d, at most %d is possible", rank,
			   HONE_MAX_RANK);
	n->out[i]->type = type_make(t, rank, dims);
	n->out[i]->elems = NULL;
	return true;
}

dim op_clamp(struct graph *g, dim d)
{
	if (dim_lower(d) >= 0)
		return d;
	return dim_max(&g->dims, d, dim_const(&g->dims, 0));
}
