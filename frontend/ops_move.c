/* ops_move.c: operators that move elements: transposes, joins, parts, borders. */
#include "frontend/site.h"

#include <string.h>

static bool import_transpose(struct site *s)
{
	struct value *x = s->in[0];
	int rank = rank_of(x), perm[HONE_MAX_RANK];
	struct ints given = attr_ints(s, "perm");
	if (given.count >= 0 && given.count != rank)
		return site_invalid(s, "perm has %d entries for rank %d", given.count, rank);
	bool seen[HONE_MAX_RANK] = {false};
	for (int i = 0; i < rank; i++) {
		int64_t p = given.count < 0 ? rank - 1 - i : given.at[i];
		if (p < 0 || p >= rank || seen[p])
			return site_invalid(s, "perm is no permutation");
		seen[p] = true;
		perm[i] = (int)p;
	}
	return site_out(s, 0, transpose(s, x, perm));
}

static bool import_concat(struct site *s)
{
	int axis;
	int64_t initial = s->opset < 4 ? 1 : 0;
	if (s->opset >= 4 && !site_attr(s, "axis"))
		return site_invalid(s, "attribute \"axis\" is missing");
	if (!site_axis(s, attr_int(s, "axis", initial), rank_of(s->in[0]), &axis))
		return false;
	for (int i = 0; i < s->in_count; i++)
		if (!s->in[i])
			return site_invalid(s, "operand %d is missing", i);
	return site_out(s, 0,
			s->in_count == 1 ? s->in[0] : add_concat(s->b, axis, s->in_count, s->in));
}

/* ---- Split ---- */

/* Sizes by number of parts: equal, the last one smaller. */
static bool equal_parts(struct site *s, dim whole, int count, dim *sizes)
{
	dim part = dim_ceildiv(s->dims, whole, dim_int(s, count));
	bool uneven = s->opset >= 18 && site_attr(s, "num_outputs");
	if (!uneven && dim_is_const(whole) && whole->value % count)
		return site_invalid(s, "%lld elements do not split into %d equal parts",
				    (long long)whole->value, count);
	for (int i = 0; i < count; i++) {
		dim left = dim_sub(s->dims, whole, dim_mul(s->dims, part, dim_int(s, i)));
		sizes[i] = dim_divides(s->dims, dim_int(s, count), whole)
				   ? dim_floordiv(s->dims, whole, dim_int(s, count))
				   : dim_max(s->dims, dim_min(s->dims, part, left), dim_int(s, 0));
	}
	return true;
}

static bool import_split(struct site *s)
{
	struct value *x = s->in[0];
	struct ints given = attr_ints(s, "split");
	int axis, count = s->out_count;
	dim *sizes = SITE_ARRAY(s, dim, count), at = dim_int(s, 0);
	if (!site_axis(s, attr_int(s, "axis", 0), rank_of(x), &axis))
		return false;
	if (given.count >= 0 && given.count != count)
		return site_invalid(s, "%d sizes for %d outputs", given.count, count);
	if (site_in(s, 1)) {
		if (!bind_dims(s, s->in[1], count, sizes))
			return false;
	} else if (given.count >= 0) {
		for (int i = 0; i < count; i++)
			sizes[i] = dim_int(s, given.at[i]);
	} else if (!equal_parts(s, x->type.dims[axis], count, sizes)) {
		return false;
	}
	for (int i = 0; i < count; i++) {
		dim dims[HONE_MAX_RANK];
		memcpy(dims, x->type.dims, sizeof(dims));
		dims[axis] = sizes[i];
		if (!declared_hint(s, i, rank_of(x), dims))
			return false;
		if (!site_out(s, i, slice_axis(s, x, axis, at, dims[axis])))
			return false;
		at = dim_add(s->dims, at, dims[axis]);
	}
	if (!graph_require(s->g, s->b->diag, s->b->region->last, at, x->type.dims[axis],
			   "sizes of a split"))
		return false;
	return true;
}

/* ---- Slice ---- */

/* Clamps a start or end into [low, high], counting from the end when negative. */
static dim clamp(struct site *s, dim x, dim size, dim low, dim high)
{
	if (dim_upper(x) < 0)
		x = dim_add(s->dims, x, size);
	return dim_min(s->dims, dim_max(s->dims, x, low), high);
}

struct cut {
	dim at, size;
	int64_t step;
};

/* start, end and step of one axis to a cut; false when the sign of one is not known. */
static bool known_cut(struct site *s, dim extent, dim start, dim end, int64_t step, struct cut *out)
{
	dim zero = dim_int(s, 0), one = dim_int(s, 1), last = dim_sub(s->dims, extent, one);
	if (!start || !end || (dim_lower(start) < 0 && dim_upper(start) >= 0) ||
	    (dim_lower(end) < 0 && dim_upper(end) >= 0))
		return false;
	/* numbers far outside mean "to the end" whatever the extent */
	int64_t far = INT32_MAX - 1;
	dim span;
	if (step > 0) {
		start = clamp(s, start, extent, zero, extent);
		end = dim_lower(end) >= far    ? extent
		      : dim_upper(end) <= -far ? zero
					       : clamp(s, end, extent, zero, extent);
		span = dim_sub(s->dims, end, start);
	} else {
		start = dim_lower(start) >= far ? last : clamp(s, start, extent, zero, last);
		end = dim_upper(end) <= -far ? dim_int(s, -1)
					     : clamp(s, end, extent, dim_int(s, -1), last);
		span = dim_sub(s->dims, start, end);
	}
	out->at = start;
	out->size = dim_max(s->dims,
			    dim_ceildiv(s->dims, span, dim_int(s, step < 0 ? -step : step)), zero);
	out->step = step;
	if (dim_is(out->size, 0))
		out->at = zero;
	return true;
}

/* Elements of a vector as dims, NULL for those not known. */
static void elems_of(struct site *s, struct value *v, int n, dim *out)
{
	const struct tensor *t = value_const(v);
	for (int i = 0; i < n; i++)
		out[i] = t          ? dim_int(s, tensor_element(t, type_of(v), i).i)
			 : v->elems ? v->elems[i]
				    : NULL;
}

/* Everything only known at run time: an index vector for each axis, gathered. */
static bool slice_by_gather(struct site *s, struct value *starts, struct value *ends,
			    struct value *axes, struct value *steps)
{
	struct value *x = s->in[0];
	int rank = rank_of(x);
	dim whole = dim_int(s, rank), sizes[HONE_MAX_RANK];
	struct value *extent = shape_of(s, x);
	axes = fix_index(s, axes, whole);
	steps = cast_to(s, steps, DT_I64);
	/* one entry for each axis of x; those not named: start 0, end extent, step 1 */
	struct value *zeros = splat(s, DT_I64, 0, 1, &whole),
		     *ones = splat(s, DT_I64, 1, 1, &whole);
	struct value *start =
		scatter(s, GATHER_TAKE, zeros, axes, cast_to(s, starts, DT_I64), 0, "none");
	struct value *end =
		scatter(s, GATHER_TAKE, extent, axes, cast_to(s, ends, DT_I64), 0, "none");
	struct value *step = scatter(s, GATHER_TAKE, ones, axes, steps, 0, "none");
	start = map3(s, "min(max(a < 0 ? a + b : a, 0), c < 0 ? b - 1 : b)", DT_I64, start, extent,
		     step);
	end = map3(s,
		   "c < 0 ? min(max(a < 0 ? max(a, -b - 1) + b : a, -1), b - 1)"
		   " : min(max(a < 0 ? a + b : a, 0), b)",
		   DT_I64, end, extent, step);
	struct value *size =
		map3(s, "max((b - a + (c < 0 ? c + 1 : c - 1)) / c, 0)", DT_I64, start, end, step);
	if (!bind_dims(s, size, rank, sizes) || !declared_hint(s, 0, rank, sizes))
		return false;
	for (int i = 0; x && i < rank; i++) {
		dim at = dim_int(s, i), one = dim_int(s, 1);
		struct value *index =
			map3(s, "b + a * c", DT_I64, iota(s, 1, &sizes[i], 0, DT_I64),
			     slice_axis(s, start, 0, at, one), slice_axis(s, step, 0, at, one));
		x = gather(s, GATHER_TAKE, x, index, i, 0);
	}
	return site_out(s, 0, x);
}

/* A slice with axes and steps known, starts and ends perhaps as symbols. False: not known, nothing
 * done. */
static bool try_cuts(struct site *s, int n, const dim *starts, const dim *ends, const int *axes,
		     const int64_t *steps, bool *ok)
{
	struct value *x = s->in[0];
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	int64_t step[HONE_MAX_RANK];
	for (int i = 0; i < rank_of(x); i++) {
		at[i] = dim_int(s, 0);
		size[i] = x->type.dims[i];
		step[i] = 1;
	}
	for (int i = 0; i < n; i++) {
		struct cut cut;
		if (!known_cut(s, x->type.dims[axes[i]], starts[i], ends[i], steps[i], &cut))
			return false;
		at[axes[i]] = cut.at;
		size[axes[i]] = cut.size;
		step[axes[i]] = cut.step;
	}
	*ok = site_out(s, 0, add_slice(s->b, x, at, size, step));
	return true;
}

static bool import_old_slice(struct site *s)
{
	struct ints starts = attr_ints(s, "starts"), ends = attr_ints(s, "ends");
	dim low[HONE_MAX_RANK], high[HONE_MAX_RANK];
	int axes[HONE_MAX_RANK], count;
	int64_t steps[HONE_MAX_RANK];
	bool ok = false;
	if (!site_axes(s, -1, rank_of(s->in[0]), axes, &count))
		return false;
	if (starts.count < 0 || starts.count > rank_of(s->in[0]) || ends.count != starts.count ||
	    (count >= 0 && count != starts.count))
		return site_invalid(s, "starts, ends and axes do not fit each other");
	for (int i = 0; i < starts.count; i++) {
		low[i] = dim_int(s, starts.at[i]);
		high[i] = dim_int(s, ends.at[i]);
		axes[i] = count < 0 ? i : axes[i];
		steps[i] = 1;
	}
	try_cuts(s, starts.count, low, high, axes, steps, &ok);
	return ok;
}

static bool import_slice(struct site *s)
{
	if (s->opset < 10)
		return import_old_slice(s);
	if (s->in_count < 3 || !s->in[1] || !s->in[2])
		return site_invalid(s, "starts or ends are missing");
	struct value *starts = s->in[1], *ends = s->in[2], *axis_in = site_in(s, 3),
		     *step_in = site_in(s, 4);
	int64_t n = value_length(starts), step_list[HONE_MAX_RANK], axis_list[HONE_MAX_RANK];
	int axes[HONE_MAX_RANK], count, rank = rank_of(s->in[0]);
	dim low[HONE_MAX_RANK], high[HONE_MAX_RANK];
	bool ok = false, known = true;
	if (n < 0 || value_length(ends) < 0)
		return site_unsupported(s,
					"the number of starts and ends is only known at run time");
	if (n > rank || value_length(ends) != n || (axis_in && value_length(axis_in) != n) ||
	    (step_in && value_length(step_in) != n))
		return site_invalid(s, "starts, ends, axes and steps do not fit each other");
	for (int i = 0; i < n; i++) {
		axis_list[i] = i;
		step_list[i] = 1;
	}
	known = !axis_in || value_ints(axis_in, HONE_MAX_RANK, axis_list, &count);
	known = known && (!step_in || value_ints(step_in, HONE_MAX_RANK, step_list, &count));
	for (int i = 0; known && i < n; i++) {
		if (!site_axis(s, axis_list[i], rank, &axes[i]))
			return false;
		if (step_list[i] == 0)
			return site_invalid(s, "a step of 0");
		/* larger ones take one element as well, and can be negated */
		if (step_list[i] < -INT32_MAX || step_list[i] > INT32_MAX)
			step_list[i] = step_list[i] < 0 ? -INT32_MAX : INT32_MAX;
	}
	elems_of(s, starts, (int)n, low);
	elems_of(s, ends, (int)n, high);
	if (known && try_cuts(s, (int)n, low, high, axes, step_list, &ok))
		return ok;
	dim length = dim_int(s, n);
	if (!axis_in)
		axis_in = iota(s, 1, &length, 0, DT_I64);
	if (!step_in)
		step_in = splat(s, DT_I64, 1, 1, &length);
	return slice_by_gather(s, starts, ends, axis_in, step_in);
}

/* ---- Pad ---- */

static bool add_pads(struct site *s, const dim *lo, const dim *hi, struct value *fill, double value,
		     const char *mode)
{
	struct value *x = s->in[0];
	int rank = rank_of(x);
	dim los[HONE_MAX_RANK], his[HONE_MAX_RANK], zero = dim_int(s, 0);
	bool none = true;
	for (int i = 0; x && i < rank; i++) {
		/* negative pads cut first */
		dim low = dim_min(s->dims, lo[i], zero), high = dim_min(s->dims, hi[i], zero);
		x = pad_axis(s, x, i, low, high, 0);
		los[i] = dim_max(s->dims, lo[i], zero);
		his[i] = dim_max(s->dims, hi[i], zero);
		none = none && dim_is(los[i], 0) && dim_is(his[i], 0);
	}
	if (!x || none)
		return site_out(s, 0, x);
	struct attrs_pad a = {.lo = {rank, los},
			      .hi = {rank, his},
			      .value = value,
			      .kind = enum_value(OP_pad, "kind", mode)};
	struct node *n = add_node(s, OP_pad, fill ? 2 : 1, (struct value *[]){x, fill}, &a);
	if (!n)
		return false;
	return site_out(s, 0, n->out[0]);
}

static bool import_pad(struct site *s)
{
	struct value *x = s->in[0], *pads = site_in(s, 1), *fill = site_in(s, 2),
		     *axes_in = site_in(s, 3);
	struct ints given = attr_ints(s, s->opset < 2 ? "paddings" : "pads");
	int rank = rank_of(x), axes[HONE_MAX_RANK], count = rank;
	dim list[2 * HONE_MAX_RANK], lo[HONE_MAX_RANK], hi[HONE_MAX_RANK];
	const char *mode = attr_text(s, "mode", "constant");
	double value = attr_real(s, "value", 0);
	if (strcmp(mode, "constant") && strcmp(mode, "edge") && strcmp(mode, "reflect") &&
	    strcmp(mode, "wrap"))
		return site_unsupported(s, "mode \"%s\"", mode);
	for (int i = 0; i < rank; i++) {
		axes[i] = i;
		lo[i] = hi[i] = dim_int(s, 0);
	}
	if (axes_in) {
		int64_t named[HONE_MAX_RANK];
		if (!value_ints(axes_in, HONE_MAX_RANK, named, &count))
			return site_unsupported(s, "the axes are only known at run time");
		for (int i = 0; i < count; i++)
			if (!site_axis(s, named[i], rank, &axes[i]))
				return false;
	}
	if (s->opset < 11) {
		if (given.count != 2 * rank)
			return site_invalid(s, "%d pads for rank %d", given.count, rank);
		for (int i = 0; i < 2 * rank; i++)
			list[i] = dim_int(s, given.at[i]);
	} else if (!pads || !bind_dims(s, pads, 2 * count, list)) {
		return pads ? false : site_invalid(s, "operand 1 is missing");
	}
	for (int i = 0; i < count; i++) {
		lo[axes[i]] = list[i];
		hi[axes[i]] = list[count + i];
	}
	if (fill && value_real(fill, &value) && type_of(fill) != DT_I64)
		fill = NULL;
	if (fill && (fill = reshape(s, fill, 0, NULL)) == NULL)
		return false;
	return add_pads(s, lo, hi, fill, value, mode);
}

/* ---- depth and space ---- */

static bool import_depth_to_space(struct site *s)
{
	struct value *x = s->in[0];
	int64_t b = attr_int(s, "blocksize", 0);
	if (rank_of(x) != 4 || b < 1 || b > INT16_MAX)
		return site_invalid(s, "expected [N,C,H,W] and a blocksize above 0");
	const dim *d = x->type.dims;
	dim k = dim_int(s, b), c = dim_floordiv(s->dims, d[1], dim_int(s, b * b));
	bool crd = attr_text_is(s, "mode", "DCR", "CRD");
	if (!crd && !attr_text_is(s, "mode", "DCR", "DCR"))
		return site_invalid(s, "unknown mode");
	x = reshape(s, x, 6,
		    crd ? (dim[]){d[0], c, k, k, d[2], d[3]} : (dim[]){d[0], k, k, c, d[2], d[3]});
	x = transpose(s, x, crd ? (int[]){0, 1, 4, 2, 5, 3} : (int[]){0, 3, 4, 1, 5, 2});
	dim out[] = {d[0], c, dim_mul(s->dims, d[2], k), dim_mul(s->dims, d[3], k)};
	return site_out(s, 0, reshape(s, x, 4, out));
}

static bool import_space_to_depth(struct site *s)
{
	struct value *x = s->in[0];
	int64_t b = attr_int(s, "blocksize", 0);
	if (rank_of(x) != 4 || b < 1 || b > INT16_MAX)
		return site_invalid(s, "expected [N,C,H,W] and a blocksize above 0");
	const dim *d = x->type.dims;
	dim k = dim_int(s, b), h = dim_floordiv(s->dims, d[2], k),
	    w = dim_floordiv(s->dims, d[3], k);
	x = reshape(s, x, 6, (dim[]){d[0], d[1], h, k, w, k});
	x = transpose(s, x, (int[]){0, 3, 5, 1, 2, 4});
	dim out[] = {d[0], dim_mul(s->dims, d[1], dim_int(s, b * b)), h, w};
	return site_out(s, 0, reshape(s, x, 4, out));
}

/* ---- Trilu ---- */

static bool import_trilu(struct site *s)
{
	struct value *x = s->in[0], *k = site_in(s, 1);
	int rank = rank_of(x);
	if (rank < 2)
		return site_invalid(s, "expected at least 2 axes");
	k = k ? reshape(s, k, 0, NULL) : int_scalar(s, DT_I64, 0);
	struct value *in[5] = {x, iota_at(s, x->type.dims[rank - 2], rank, rank - 2),
			       iota_at(s, x->type.dims[rank - 1], rank, rank - 1), k,
			       int_scalar(s, type_of(x), 0)};
	bool upper = attr_int(s, "upper", 1);
	const char *text = upper ? "b + d <= c ? a : e" : "b + d >= c ? a : e";
	return site_out(s, 0, map_n(s, text, type_of(x), 5, in, 0, NULL));
}

const struct import_row ops_move[] = {
	{"", "Transpose", 1, 0, 1, 1, import_transpose, "perm", "axes in another order", NULL},
	{"", "Concat", 1, 0, 1, -1, import_concat, "axis", "joined along an axis", NULL},
	{"", "Split", 1, 0, 1, 2, import_split, "axis split num_outputs", "parts along an axis",
	 NULL},
	{"", "Slice", 1, 0, 1, 5, import_slice, "axes starts ends", "a part, with steps", NULL},
	{"", "Pad", 1, 0, 1, 4, import_pad, "pads paddings mode value",
	 "a border around (constant, edge, reflect, wrap)", NULL},
	{"", "DepthToSpace", 1, 0, 1, 1, import_depth_to_space, "blocksize mode",
	 "channels to blocks", NULL},
	{"", "SpaceToDepth", 1, 0, 1, 1, import_space_to_depth, "blocksize", "blocks to channels",
	 NULL},
	{"", "Trilu", 14, 0, 1, 2, import_trilu, "upper", "upper or lower triangle", NULL},
	{0},
};
