/* export_move.c: movement, indexing, selection and control flow. */
#include "frontend/export_private.h"

#include <string.h>

/* What is written under the value's own name. */
static bool set_plain(struct exporter *x, struct value *v, const char *name)
{
	value_set(x, v, name);
	return name != NULL;
}

/* The order in which a value stands as it is. */
static void order_of(struct exporter *x, const struct value *v, int *order)
{
	const struct view *view = view_of(x, v);

	if (view->name)
		order_inverse(order, view->axis, v->type.rank);
	else
		order_identity(order, v->type.rank);
}

/* ---- sources ---- */

bool export_shape(struct exporter *x, struct node *n)
{
	const struct attrs_shape *a = ATTRS_OF_NODE(shape, n);

	return set_plain(x, n->out[0], dims_tensor(x, a->dims.count, a->dims.at));
}

bool export_bind(struct exporter *x, struct node *n)
{
	struct value *v = n->in[0];
	const char *all = value_plain(x, v), *element;

	for (int i = 0; i < n->symbol_count; i++) {
		int64_t one = 1, at = i, end = i + 1;

		element = v->type.rank ? OUT(x, "Slice", NULL, all, const_ints(x, 1, &at),
					     const_ints(x, 1, &end))
				       : OUT(x, "Reshape", NULL, all, const_ints(x, 1, &one));
		dim_bind(x, n->symbols[i], element);
	}
	return true;
}

/* Range along the axis, then broadcast. */
bool export_iota(struct exporter *x, struct node *n)
{
	const struct attrs_iota *a = ATTRS_OF_NODE(iota, n);
	int rank = a->dims.count;
	const char *range, *zero = const_scalar(x, DT_I64, (union scalar){.i = 0}),
			   *one = const_scalar(x, DT_I64, (union scalar){.i = 1});
	int64_t shape[HONE_MAX_RANK];

	range = OUT(x, "Range", NULL, zero,
		    OUT(x, "Squeeze", NULL, dim_tensor(x, a->dims.at[a->axis])), one);
	if (a->type != DT_I64)
		range = OUT_WITH(x, "Cast", NULL, (range), ATTR_I("to", a->type));
	if (rank > 1) {
		for (int i = 0; i < rank; i++)
			shape[i] = i == a->axis ? -1 : 1;
		range = OUT(x, "Reshape", NULL, range, const_ints(x, rank, shape));
		range = OUT(x, "Expand", NULL, range, dims_tensor(x, rank, a->dims.at));
	}
	return set_plain(x, n->out[0], range);
}

/* ---- movement ---- */

/* 0 where a dim stays at its place, -1 for one other that is not constant, if that says it all. NULL: it does not. */
static const char *short_target(struct exporter *x, const struct type *from, const struct type *to)
{
	int64_t shape[HONE_MAX_RANK];
	int unknown = 0;

	for (int i = 0; i < to->rank; i++) {
		if (dim_is_const(to->dims[i])) {
			shape[i] = to->dims[i]->value;
			unknown += shape[i] == 0 ? 2 : 0;
		} else if (i < from->rank && from->dims[i] == to->dims[i]) {
			shape[i] = 0;
		} else {
			shape[i] = -1;
			unknown++;
		}
	}
	return unknown <= 1 ? const_ints(x, to->rank, shape) : NULL;
}

bool export_reshape(struct exporter *x, struct node *n)
{
	struct value *y = n->out[0];
	const char *in, *target;

	if (export_blocks(x, n))
		return true;
	in = value_plain(x, n->in[0]);
	target = short_target(x, &n->in[0]->type, &y->type);
	if (target)
		return set_plain(x, y, OUT(x, "Reshape", name_of(x, y), in, target));
	target = dims_tensor(x, y->type.rank, y->type.dims);
	return set_plain(
		x, y, OUT_WITH(x, "Reshape", name_of(x, y), (in, target), ATTR_I("allowzero", 1)));
}

/* Only another view of the same tensor. */
bool export_transpose(struct exporter *x, struct node *n)
{
	const struct ints *perm = &ATTRS_OF_NODE(transpose, n)->perm;
	struct view *to = view_of(x, n->out[0]);
	const struct view *from = view_of(x, n->in[0]);
	const char *output = to->output;
	axis_order order;

	for (int i = 0; i < perm->count; i++)
		order[i] = (int)perm->at[i];
	if (!from->name || from->whole)
		return set_plain(x, n->out[0], value_in_order(x, n->in[0], perm->count, order));
	*to = (struct view){
		.name = from->name, .output = output, .padded = from->padded, .fill = from->fill};
	for (int i = 0; i < perm->count; i++) {
		to->axis[i] = from->axis[order[i]];
		to->lo[i] = from->lo[order[i]];
		to->hi[i] = from->hi[order[i]];
	}
	return true;
}

/* Ends of a slice; one before the first element is the least integer, for -1 is the last. */
static const char *slice_ends(struct exporter *x, const struct attrs_slice *a, int i, int64_t step)
{
	struct dim_pool *p = &x->graph->dims;
	dim end = dim_add(p, a->at.at[i], dim_mul(p, a->size.at[i], dim_const(p, step)));
	int64_t least = INT64_MIN;

	if (step > 0 && dim_lower(end) >= 0)
		return dim_tensor(x, end);
	if (step < 0 && dim_upper(end) < 0)
		return const_ints(x, 1, &least);
	if (step < 0 && dim_lower(end) >= 0)
		return dim_tensor(x, end);
	out_refuse(x, "a slice whose end may lie before the first element");
	return NULL;
}

static bool takes_all(const struct attrs_slice *a, const struct type *t, int i, int64_t step)
{
	return step == 1 && dim_is(a->at.at[i], 0) && a->size.at[i] == t->dims[i];
}

bool export_slice(struct exporter *x, struct node *n)
{
	const struct attrs_slice *a = ATTRS_OF_NODE(slice, n);
	struct value *v = n->in[0], *y = n->out[0];
	const char *starts[HONE_MAX_RANK], *ends[HONE_MAX_RANK], *from, *to;
	int64_t axes[HONE_MAX_RANK], steps[HONE_MAX_RANK];
	struct out_attr axis = ATTR_I("axis", 0);
	axis_order order, back;
	int count = 0;

	order_of(x, v, order);
	order_inverse(back, order, v->type.rank);
	for (int i = 0; i < v->type.rank; i++) {
		int64_t step = a->step.count ? a->step.at[i] : 1;

		if (takes_all(a, &v->type, i, step))
			continue;
		starts[count] = dim_tensor(x, a->at.at[i]);
		ends[count] = slice_ends(x, a, i, step);
		if (!ends[count])
			return false;
		axes[count] = back[i];
		steps[count++] = step;
	}
	if (!count)
		return set_plain(x, y, value_plain(x, v));
	from = count > 1 ? out_node(x, "Concat", NULL, count, starts, 1, &axis) : starts[0];
	to = count > 1 ? out_node(x, "Concat", NULL, count, ends, 1, &axis) : ends[0];
	value_set_view(x, y,
		       OUT(x, "Slice", name_new(x, y->name ? y->name : "slice"),
			   value_in_order(x, v, v->type.rank, order), from, to,
			   const_ints(x, count, axes), const_ints(x, count, steps)),
		       back);
	return true;
}

bool export_expand(struct exporter *x, struct node *n)
{
	struct value *y = n->out[0];

	return set_plain(x, y,
			 OUT(x, "Expand", name_of(x, y), value_plain(x, n->in[0]),
			     dims_tensor(x, y->type.rank, y->type.dims)));
}

/* A border of a constant waits, for a convolution or pool that may have it as its own. */
static bool delay_pad(struct exporter *x, const struct node *n)
{
	const struct attrs_pad *a = ATTRS_OF_NODE(pad, n);
	const struct view *from = view_of(x, n->in[0]);
	struct view *to = view_of(x, n->out[0]);
	int rank = n->out[0]->type.rank;

	if (n->in_count > 1 || a->kind || !from->name || from->padded)
		return false;
	for (int i = 0; i < rank; i++)
		if (!dim_is_const(a->lo.at[i]) || !dim_is_const(a->hi.at[i]))
			return false;
	value_set_view(x, n->out[0], from->name, from->axis);
	to->padded = true;
	to->fill = a->value;
	for (int i = 0; i < rank; i++) {
		to->lo[i] = a->lo.at[i]->value;
		to->hi[i] = a->hi.at[i]->value;
	}
	return true;
}

bool export_pad(struct exporter *x, struct node *n)
{
	static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};
	const struct attrs_pad *a = ATTRS_OF_NODE(pad, n);
	struct value *y = n->out[0];
	union scalar fill = {.f = a->value};
	const char *in[3];
	dim sides[2 * HONE_MAX_RANK];

	if (delay_pad(x, n))
		return true;
	if (a->kind == 3)
		return out_refuse(x, "padding that wraps around");
	for (int i = 0; i < y->type.rank; i++) {
		sides[i] = a->lo.at[i];
		sides[y->type.rank + i] = a->hi.at[i];
	}
	in[0] = value_plain(x, n->in[0]);
	in[1] = dims_tensor(x, 2 * y->type.rank, sides);
	if (!dtype_is_float(y->type.dtype))
		fill.i = (int64_t)a->value;
	in[2] = n->in_count > 1 ? value_plain(x, n->in[1]) : const_scalar(x, y->type.dtype, fill);
	return set_plain(x, y,
			 out_node(x, "Pad", name_of(x, y), a->kind ? 2 : 3, in, 1,
				  (struct out_attr[]){ATTR_S("mode", modes[a->kind])}));
}

bool export_concat(struct exporter *x, struct node *n)
{
	const char **in = ARENA_ARRAY(x->arena, const char *, n->in_count);
	struct value *y = n->out[0];
	axis_order order, back;

	order_of(x, n->in[0], order);
	order_inverse(back, order, y->type.rank);
	for (int i = 0; i < n->in_count; i++)
		in[i] = value_in_order(x, n->in[i], y->type.rank, order);
	value_set_view(
		x, y,
		out_node(x, "Concat", name_new(x, y->name ? y->name : "concat"), n->in_count, in, 1,
			 (struct out_attr[]){ATTR_I("axis", back[ATTRS_OF_NODE(concat, n)->axis])}),
		back);
	return true;
}

/* ---- indexing ---- */

bool export_gather(struct exporter *x, struct node *n)
{
	static const char *const ops[] = {"Gather", "GatherElements", "GatherND"};
	const struct attrs_gather *a = ATTRS_OF_NODE(gather, n);
	const char *in[2] = {value_plain(x, n->in[0]), value_plain(x, n->in[1])};
	struct out_attr attr =
		a->kind == 2 ? ATTR_I("batch_dims", a->batch) : ATTR_I("axis", a->axis);

	if (a->kind != 2 && a->batch)
		return out_refuse(x, "a gather with batch dims");
	return set_plain(x, n->out[0],
			 out_node(x, ops[a->kind], name_of(x, n->out[0]), 2, in, 1, &attr));
}

bool export_scatter(struct exporter *x, struct node *n)
{
	static const char *const combines[] = {"none", "add", "mul", "min", "max"};
	const struct attrs_scatter *a = ATTRS_OF_NODE(scatter, n);
	const char *in[3] = {value_plain(x, n->in[0]), value_plain(x, n->in[1]),
			     value_plain(x, n->in[2])};
	struct out_attr attrs[] = {ATTR_S("reduction", combines[a->combine]),
				   ATTR_I("axis", a->axis)};

	if (a->combine > 2)
		return out_refuse(x, "a scatter that keeps extremes");
	if (a->kind == 0) {
		int64_t last = -1;

		if (a->axis)
			return out_refuse(x,
					  "a scatter of whole slices along an axis but the first");
		in[1] = OUT(x, "Unsqueeze", NULL, in[1], const_ints(x, 1, &last));
	}
	return set_plain(x, n->out[0],
			 out_node(x, a->kind == 1 ? "ScatterElements" : "ScatterND",
				  name_of(x, n->out[0]), 3, in, a->kind == 1 ? 2 : 1, attrs));
}

/* Linear positions: ONNX counts by axis, so of the flattened operand. */
bool export_nonzero(struct exporter *x, struct node *n)
{
	int64_t all = -1;
	const char *flat =
		OUT(x, "Reshape", NULL, value_plain(x, n->in[0]), const_ints(x, 1, &all));

	return set_plain(x, n->out[0],
			 OUT(x, "Reshape", name_of(x, n->out[0]), OUT(x, "NonZero", NULL, flat),
			     const_ints(x, 1, &all)));
}

bool export_topk(struct exporter *x, struct node *n)
{
	const struct attrs_topk *a = ATTRS_OF_NODE(topk, n);
	const char *in[2] = {value_plain(x, n->in[0]), dim_tensor(x, a->k)};
	const char *out[2] = {name_of(x, n->out[0]), name_of(x, n->out[1])};
	struct out_attr attrs[] = {ATTR_I("axis", a->axis), ATTR_I("largest", a->largest),
				   ATTR_I("sorted", a->sorted)};

	if (!in[0] || !in[1])
		return false;
	out_add(x, &(struct out_node){"TopK", 2, 2, 3, in, out, attrs});
	value_set(x, n->out[0], out[0]);
	value_set(x, n->out[1], out[1]);
	return true;
}

/* ---- control flow: regions read outer values by name, as ONNX subgraphs do ---- */

static bool add_flow(struct exporter *x, struct node *n, const char *op, const char **in,
		     int in_count, const struct out_attr *attrs, int attr_count)
{
	const char **out = ARENA_ARRAY(x->arena, const char *, n->out_count + 1);

	for (int i = 0; i < n->out_count; i++)
		if (n->out[i]->type.kind != TYPE_TENSOR)
			return out_refuse(x, "sequences");
	for (int i = 0; i < n->out_count; i++) {
		out[i] = name_of(x, n->out[i]);
		value_set(x, n->out[i], out[i]);
	}
	out_add(x, &(struct out_node){op, in_count, n->out_count, attr_count, in, out, attrs});
	return true;
}

bool export_if(struct exporter *x, struct node *n)
{
	const char *in[1] = {value_plain(x, n->in[0])};
	struct out_attr attrs[2];

	attrs[0] = ATTR_G("then_branch", out_region(x, n->regions[0], "then", false));
	attrs[1] = ATTR_G("else_branch", out_region(x, n->regions[1], "else", false));
	return add_flow(x, n, "If", in, 1, attrs, 2);
}

static const char **plain_inputs(struct exporter *x, const struct node *n)
{
	const char **in = ARENA_ARRAY(x->arena, const char *, n->in_count + 1);

	for (int i = 0; i < n->in_count; i++)
		in[i] = n->in[i] ? value_plain(x, n->in[i]) : "";
	return in;
}

bool export_loop(struct exporter *x, struct node *n)
{
	const char **in = plain_inputs(x, n);
	struct out_attr body = ATTR_G("body", out_region(x, n->regions[0], "body", true));

	return add_flow(x, n, "Loop", in, n->in_count, &body, 1);
}

bool export_scan(struct exporter *x, struct node *n)
{
	int carried = (int)ATTRS_OF_NODE(scan, n)->carried;
	const char **in = plain_inputs(x, n);
	struct out_attr attrs[2];

	if (n->in_count == carried)
		return out_refuse(x, "a scan over nothing");
	attrs[0] = ATTR_G("body", out_region(x, n->regions[0], "body", true));
	attrs[1] = ATTR_I("num_scan_inputs", n->in_count - carried);
	return add_flow(x, n, "Scan", in, n->in_count, attrs, 2);
}
