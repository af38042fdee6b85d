/* ops_select.c: operators that select, sort or accumulate; several have results whose size depends
 * on data, named by symbols that their node binds. */
#include "frontend/site.h"

#include <string.h>

static struct node *add_binding(struct site *s, enum op_id op, int count, struct value *const *in,
				const void *attrs, const char *name, dim bound)
{
	int symbol = graph_symbol(s->g, name, INT64_MAX, bound);
	struct node_spec spec = {.op = op,
				 .in_count = count,
				 .in = in,
				 .attrs = attrs,
				 .symbol_count = 1,
				 .symbols = &symbol};
	for (int i = 0; i < count; i++)
		if (!in[i])
			return NULL;
	return graph_add(s->b, &spec);
}

/* Positions of the true elements, linear in C order: i64[K]. */
static struct value *positions(struct site *s, struct value *x)
{
	if (!x)
		return NULL;
	struct node *n = add_binding(s, OP_nonzero, 1, &x, NULL, "K", type_count(s->g, &x->type));
	return n ? n->out[0] : NULL;
}

static bool import_nonzero(struct site *s)
{
	struct value *x = s->in[0], *parts[HONE_MAX_RANK];
	int rank = rank_of(x);
	if (rank == 0) /* one row, as NumPy has it for a vector of one */
		x = insert_axis(s, x, 0);
	struct value *at = positions(s, x);
	if (!at)
		return false;
	for (int i = rank_of(x) - 1; i >= 0; i--) {
		struct value *size = shape_of(s, x);
		size = slice_axis(s, size, 0, dim_int(s, i), dim_int(s, 1));
		parts[i] = insert_axis(s, i ? map2(s, "rem(a, b)", DT_I64, at, size) : at, 0);
		at = i ? map2(s, "a / b", DT_I64, at, size) : at;
		if (!parts[i] || !at)
			return false;
	}
	return site_out(s, 0, rank_of(x) == 1 ? parts[0] : add_concat(s->b, 0, rank_of(x), parts));
}

static bool import_compress(struct site *s)
{
	struct value *x = s->in[0];
	int axis = 0;
	if (!site_attr(s, "axis")) {
		dim n = type_count(s->g, &x->type);
		x = reshape(s, x, 1, &n);
	} else if (!site_axis(s, attr_int(s, "axis", 0), rank_of(x), &axis)) {
		return false;
	}
	return site_out(s, 0, gather(s, GATHER_TAKE, x, positions(s, s->in[1]), axis, 0));
}

static bool import_unique(struct site *s)
{
	struct value *x = s->in[0];
	struct attrs_unique a = {.flat = !site_attr(s, "axis"), .sorted = attr_int(s, "sorted", 1)};
	int axis = 0;
	if (!a.flat && !site_axis(s, attr_int(s, "axis", 0), rank_of(x), &axis))
		return false;
	a.axis = axis;
	dim bound = a.flat ? type_count(s->g, &x->type) : x->type.dims[axis];
	struct node *n = add_binding(s, OP_unique, 1, &x, &a, "U", bound);
	if (!n)
		return false;
	for (int i = 0; i < s->out_count; i++)
		if (!site_out(s, i, n->out[i]))
			return false;
	return true;
}

static bool import_topk(struct site *s)
{
	struct value *x = s->in[0], *k_in = site_in(s, 1);
	int axis;
	dim dims[HONE_MAX_RANK];
	if (!site_axis(s, attr_int(s, "axis", -1), rank_of(x), &axis))
		return false;
	memcpy(dims, x->type.dims, sizeof(dims));
	if (s->opset >= 10 && !k_in)
		return site_invalid(s, "operand 1 is missing");
	if (s->opset < 10)
		dims[axis] = dim_int(s, attr_int(s, "k", 0));
	else if (!bind_dims(s, k_in, 1, &dims[axis]) || !declared_hint(s, 0, rank_of(x), dims))
		return false;
	struct attrs_topk a = {.k = dims[axis],
			       .axis = axis,
			       .largest = attr_int(s, "largest", 1),
			       .sorted = attr_int(s, "sorted", 1)};
	struct node *n = add_node(s, OP_topk, 1, &x, &a);
	return n && site_out(s, 0, n->out[0]) && site_out(s, 1, n->out[1]);
}

static bool import_nms(struct site *s)
{
	struct value *in[5];
	in[0] = s->in[0];
	in[1] = s->in[1];
	in[2] = site_in(s, 2) ? reshape(s, s->in[2], 0, NULL) : int_scalar(s, DT_I64, 0);
	in[3] = site_in(s, 3) ? reshape(s, s->in[3], 0, NULL) : real_scalar(s, DT_F32, 0);
	in[4] = site_in(s, 4) ? reshape(s, s->in[4], 0, NULL) : NULL;
	/* without a threshold every box counts */
	if (!site_in(s, 4))
		in[4] = real_scalar(s, DT_F32, -3.4028234663852886e38);
	if (rank_of(in[1]) != 3)
		return site_invalid(s, "scores should have 3 axes");
	struct attrs_nms a = {.center = attr_int(s, "center_point_box", 0)};
	struct node *n = add_binding(s, OP_nms, 5, in, &a, "K", type_count(s->g, &in[1]->type));
	return n && site_out(s, 0, n->out[0]);
}

static struct value *cumulate(struct site *s, struct value *x, int axis)
{
	struct attrs_cumulate a = {.axis = axis,
				   .exclusive = attr_int(s, "exclusive", 0),
				   .reverse = attr_int(s, "reverse", 0)};
	struct node *n = add_node(s, OP_cumulate, 1, &x, &a);
	return n ? n->out[0] : NULL;
}

/* An axis only known at run time selects among the results for all axes. */
static bool import_cumsum(struct site *s)
{
	struct value *x = s->in[0], *axis_in = s->in[1], *y;
	int axis, rank = rank_of(x);
	double known;
	if (value_real(axis_in, &known))
		return site_axis(s, (int64_t)known, rank, &axis) &&
		       site_out(s, 0, cumulate(s, x, axis));
	if (rank == 0)
		return site_invalid(s, "expected at least one axis");
	axis_in = fix_index(s, reshape(s, axis_in, 0, NULL), dim_int(s, rank));
	y = cumulate(s, x, 0);
	for (int i = 1; i < rank; i++) {
		struct value *in[4] = {axis_in, cumulate(s, x, i), y, int_scalar(s, DT_I64, i)};
		y = map_n(s, "a == d ? b : c", type_of(x), 4, in, 0, NULL);
	}
	return site_out(s, 0, y);
}

const struct import_row ops_select[] = {
	{"", "NonZero", 9, 0, 1, 1, import_nonzero, "", "coordinates of elements that are not 0",
	 NULL},
	{"", "Compress", 9, 0, 2, 2, import_compress, "axis", "slices where a condition is true",
	 NULL},
	{"", "Unique", 11, 0, 1, 1, import_unique, "axis sorted",
	 "different elements, positions and counts", NULL},
	{"", "TopK", 1, 0, 1, 2, import_topk, "axis k largest sorted",
	 "largest or smallest elements and positions", NULL},
	{"", "NonMaxSuppression", 10, 0, 2, 5, import_nms, "center_point_box",
	 "boxes that do not overlap better ones", NULL},
	{"", "CumSum", 11, 0, 2, 2, import_cumsum, "exclusive reverse", "running sums", NULL},
	{0},
};
