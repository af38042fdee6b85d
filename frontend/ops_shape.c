/* ops_shape.c: constants, shapes as values, and operators that only give the elements other dims. */
#include "frontend/site.h"

#include <math.h>
#include <string.h>

/* ---- sources ---- */

static bool import_shape(struct site *s)
{
	struct value *x = s->in[0];
	int64_t rank = rank_of(x), start = attr_int(s, "start", 0), end = attr_int(s, "end", rank);
	start = start < 0 ? start + rank : start;
	end = end < 0 ? end + rank : end;
	start = start < 0 ? 0 : start > rank ? rank : start;
	end = end < start ? start : end > rank ? rank : end;
	return site_out(s, 0, add_shape(s->b, (int)(end - start), x->type.dims + start));
}

static bool import_size(struct site *s)
{
	dim n = type_count(s->g, &s->in[0]->type);
	return site_out(s, 0, reshape(s, add_shape(s->b, 1, &n), 0, NULL));
}

static struct value *constant_list(struct site *s, enum dtype t, int rank, int64_t count,
				   const void *data)
{
	dim n = dim_int(s, count);
	struct type type = type_make(t, rank, &n);
	int64_t size = dtype_bytes(t, count);
	struct tensor data_of = {.data = arena_copy(s->g->arena, data, (size_t)size), .size = size};
	return add_const(s->b, &type, &data_of);
}

static bool import_constant(struct site *s)
{
	if (s->node->attr_count != 1)
		return site_invalid(s, "expected one attribute");
	const struct onnx_attr *a = site_attr(s, s->node->attrs[0].name);
	if (!a)
		return site_invalid(s, "the attribute has no value");
	switch (a->kind) {
	case ONNX_ATTR_TENSOR: return site_out(s, 0, import_tensor(s, a->tensors));
	case ONNX_ATTR_SPARSE_TENSOR: return site_out(s, 0, import_sparse(s, a->sparse));
	case ONNX_ATTR_FLOAT: return site_out(s, 0, constant_list(s, DT_F32, 0, 1, &a->f));
	case ONNX_ATTR_INT: return site_out(s, 0, constant_list(s, DT_I64, 0, 1, &a->i));
	case ONNX_ATTR_FLOATS:
		return site_out(s, 0, constant_list(s, DT_F32, 1, a->count, a->floats));
	case ONNX_ATTR_INTS: return site_out(s, 0, constant_list(s, DT_I64, 1, a->count, a->ints));
	default: return site_unsupported(s, "attribute \"%s\"", a->name);
	}
}

/* Dims given by operand i, with output 0's declared dims in place of those that depend on data. */
static bool dims_from(struct site *s, int i, int *rank, dim *dims)
{
	int64_t n = value_length(s->in[i]);
	if (n < 0 || n > HONE_MAX_RANK)
		return site_unsupported(s, "the number of axes is not known, or above %d",
					HONE_MAX_RANK);
	*rank = (int)n;
	return bind_dims(s, s->in[i], *rank, dims) && declared_hint(s, 0, *rank, dims);
}

static bool import_constant_of_shape(struct site *s)
{
	dim dims[HONE_MAX_RANK];
	int rank = 0;
	const struct onnx_attr *a = site_attr(s, "value");
	float zero = 0;
	struct value *v = a ? import_tensor(s, a->tensors) : constant_list(s, DT_F32, 0, 1, &zero);
	if (!v || !dims_from(s, 0, &rank, dims))
		return false;
	return site_out(s, 0, expand_to(s, reshape(s, v, 0, NULL), rank, dims));
}

static bool import_eye_like(struct site *s)
{
	struct value *x = s->in[0];
	const struct onnx_attr *a = site_attr(s, "dtype");
	enum dtype t = a ? import_dtype((int32_t)a->i) : type_of(x);
	if (rank_of(x) != 2 || t == DT_NONE)
		return site_invalid(s, "expected a matrix and a numeric type");
	struct value *in[3] = {iota_at(s, x->type.dims[0], 2, 0), iota_at(s, x->type.dims[1], 2, 1),
			       int_scalar(s, DT_I64, attr_int(s, "k", 0))};
	char text[64];
	snprintf(text, sizeof(text), t == DT_BOOL ? "a + c == b" : "%s(a + c == b)",
		 dtype_name(dtype_compute(t)));
	return site_out(s, 0, map_n(s, text, t, 3, in, 0, NULL));
}

/* ceil((limit - start) / delta) elements. */
static bool import_range(struct site *s)
{
	double at[3];
	dim n;
	struct value *start = s->in[0], *limit = s->in[1], *delta = s->in[2];
	enum dtype t = type_of(start);
	bool known =
		value_real(start, &at[0]) && value_real(limit, &at[1]) && value_real(delta, &at[2]);
	for (int i = 0; i < 3; i++)
		if (!(s->in[i] = reshape(s, s->in[i], 0, NULL)))
			return false;
	if (known && at[2] == 0)
		return site_invalid(s, "delta is 0");
	double count = known ? ceil((at[1] - at[0]) / at[2]) : 0;
	if (!(count < 0x1p53))
		return site_invalid(s, "the limits give no length");
	if (known) {
		n = dim_int(s, count > 0 ? (int64_t)count : 0);
	} else if (t == DT_I64 && limit->elems && limit->elems[0] && value_real(start, &at[0]) &&
		   value_real(delta, &at[2]) && at[2] > 0) {
		dim span = dim_sub(s->dims, limit->elems[0], dim_int(s, (int64_t)at[0]));
		n = dim_max(s->dims, dim_ceildiv(s->dims, span, dim_int(s, (int64_t)at[2])),
			    dim_int(s, 0));
	} else {
		struct value *length = map_n(s, "max(i64(ceil((f64(b) - f64(a)) / f64(c))), 0)",
					     DT_I64, 3, s->in, 0, NULL);
		if (!bind_dims(s, length, 1, &n) || !declared_hint(s, 0, 1, &n))
			return false;
	}
	char text[64];
	snprintf(text, sizeof(text), "b + %s(a) * c", dtype_name(dtype_compute(t)));
	return site_out(s, 0, map3(s, text, t, iota(s, 1, &n, 0, DT_I64), s->in[0], s->in[2]));
}

/* ---- reshape ---- */

/* Dims that are known, perhaps as symbols: -1 and 0 are always numbers. */
static bool known_shape(struct site *s, const dim *elems, int rank, dim *dims)
{
	struct value *x = s->in[0];
	bool allow_zero = attr_int(s, "allowzero", 0);
	dim rest = dim_int(s, 1);
	int open = -1;
	for (int i = 0; i < rank; i++) {
		dims[i] = elems[i];
		if (dim_is(dims[i], 0) && !allow_zero) {
			if (i >= rank_of(x))
				return site_invalid(s, "0 at axis %d, but the operand has %d axes",
						    i, rank_of(x));
			dims[i] = x->type.dims[i];
		}
		if (dim_is(dims[i], -1)) {
			if (open >= 0)
				return site_invalid(s, "more than one -1 in the shape");
			open = i;
		} else {
			rest = dim_mul(s->dims, rest, dims[i]);
		}
	}
	dim total = type_count(s->g, &x->type);
	if (open >= 0)
		dims[open] = dim_floordiv(s->dims, total, rest);
	return true;
}

/* At run time: 0 takes the operand's dim, -1 what is left of the elements. */
static bool bound_shape(struct site *s, int rank, dim *dims)
{
	struct value *x = s->in[0], *wanted = cast_to(s, s->in[1], DT_I64);
	dim own[HONE_MAX_RANK], total = type_count(s->g, &x->type);
	if (!attr_int(s, "allowzero", 0)) {
		for (int i = 0; i < rank; i++)
			own[i] = i < rank_of(x) ? x->type.dims[i] : dim_int(s, 0);
		wanted = map2(s, "a == 0 ? b : a", DT_I64, wanted, add_shape(s->b, rank, own));
	}
	struct value *known = map1(s, "a == -1 ? 1 : a", DT_I64, wanted);
	known = reduce_axes(s, REDUCE_PROD, known, 1, (int[]){0}, false);
	wanted = map3(s, "a == -1 ? b / c : a", DT_I64, wanted, add_shape(s->b, 1, &total), known);
	return bind_dims(s, wanted, rank, dims) && declared_hint(s, 0, rank, dims);
}

static bool import_reshape(struct site *s)
{
	dim dims[HONE_MAX_RANK], elems[HONE_MAX_RANK];
	struct ints given = attr_ints(s, "shape");
	struct value *shape = site_in(s, 1);
	if (s->opset < 5 && given.count < 0)
		return site_invalid(s, "attribute \"shape\" is missing");
	if (s->opset >= 5 && !shape)
		return site_invalid(s, "operand 1 is missing");
	int64_t rank = s->opset < 5 ? given.count : value_length(shape);
	if (rank < 0 || rank > HONE_MAX_RANK)
		return site_unsupported(s, "the number of axes is not known, or above %d",
					HONE_MAX_RANK);
	bool known = s->opset < 5 || shape->elems || value_const(shape);
	for (int i = 0; known && i < rank; i++) {
		if (s->opset < 5)
			elems[i] = dim_int(s, given.at[i]);
		else if (value_const(shape))
			elems[i] =
				dim_int(s, tensor_element(value_const(shape), type_of(shape), i).i);
		else
			elems[i] = shape->elems[i];
		known = elems[i] != NULL;
	}
	if (known ? !known_shape(s, elems, (int)rank, dims) : !bound_shape(s, (int)rank, dims))
		return false;
	return site_out(s, 0, reshape(s, s->in[0], (int)rank, dims));
}

static bool import_flatten(struct site *s)
{
	struct value *x = s->in[0];
	int64_t axis = attr_int(s, "axis", 1), rank = rank_of(x);
	dim dims[2] = {dim_int(s, 1), dim_int(s, 1)};
	axis = axis < 0 ? axis + rank : axis;
	if (axis < 0 || axis > rank)
		return site_invalid(s, "axis is outside of rank %d", (int)rank);
	for (int i = 0; i < rank; i++)
		dims[i >= axis] = dim_mul(s->dims, dims[i >= axis], x->type.dims[i]);
	return site_out(s, 0, reshape(s, x, 2, dims));
}

/* Axes only known at run time: the declared dims of the output say what they do. */
static bool declared_reshape(struct site *s)
{
	dim dims[HONE_MAX_RANK];
	int rank = declared_rank(s, 0);
	if (rank > HONE_MAX_RANK || !declared_const(s, 0))
		return site_unsupported(
			s, "the axes are only known at run time, and the model declares no dims");
	for (int i = 0; i < rank; i++)
		dims[i] = dim_int(s, declared_dim(s, 0, i));
	return site_out(s, 0, reshape(s, s->in[0], rank, dims));
}

static bool axes_at_run_time(struct site *s)
{
	int64_t list[HONE_MAX_RANK];
	int count;
	struct value *v = site_in(s, 1);
	return v && value_length(v) <= HONE_MAX_RANK && !value_ints(v, HONE_MAX_RANK, list, &count);
}

static bool import_squeeze(struct site *s)
{
	struct value *x = s->in[0];
	int axes[HONE_MAX_RANK], count, rank = 0;
	dim dims[HONE_MAX_RANK];
	bool drop[HONE_MAX_RANK] = {false};
	if (axes_at_run_time(s))
		return declared_reshape(s);
	if (!site_axes(s, 1, rank_of(x), axes, &count))
		return false;
	for (int i = 0; i < count; i++)
		drop[axes[i]] = true;
	for (int i = 0; i < rank_of(x); i++) {
		if (drop[i] && dim_is_const(x->type.dims[i]) && !dim_is(x->type.dims[i], 1))
			return site_invalid(s, "axis %d has %lld elements, not 1", i,
					    (long long)x->type.dims[i]->value);
		if (count < 0 && !dim_is_const(x->type.dims[i]))
			return site_unsupported(s, "axis %d may be 1 at run time; name the axes",
						i);
		if (count < 0 ? !dim_is(x->type.dims[i], 1) : !drop[i])
			dims[rank++] = x->type.dims[i];
	}
	return site_out(s, 0, reshape(s, x, rank, dims));
}

static bool import_unsqueeze(struct site *s)
{
	struct value *x = s->in[0];
	int axes[HONE_MAX_RANK], count, from = 0;
	dim dims[HONE_MAX_RANK];
	struct value *v = site_in(s, 1);
	if (axes_at_run_time(s))
		return declared_reshape(s);
	int64_t more = v ? value_length(v) : attr_ints(s, "axes").count;
	if (more < 0 || rank_of(x) + more > HONE_MAX_RANK)
		return site_unsupported(s, "no axes, or more than %d in all", HONE_MAX_RANK);
	int rank = rank_of(x) + (int)more;
	if (!site_axes(s, 1, rank, axes, &count))
		return false;
	bool fresh[HONE_MAX_RANK] = {false};
	for (int i = 0; i < count; i++)
		fresh[axes[i]] = true;
	for (int i = 0; i < rank; i++)
		dims[i] = fresh[i] ? dim_int(s, 1) : x->type.dims[from++];
	return site_out(s, 0, reshape(s, x, rank, dims));
}

/* ---- repetition ---- */

static bool import_expand(struct site *s)
{
	struct value *x = s->in[0];
	dim dims[HONE_MAX_RANK], given[HONE_MAX_RANK];
	int n, rank;
	int64_t length = value_length(s->in[1]);
	if (length < 0 || length > HONE_MAX_RANK)
		return site_unsupported(s, "the number of axes is not known, or above %d",
					HONE_MAX_RANK);
	n = (int)length;
	if (!bind_dims(s, s->in[1], n, given))
		return false;
	rank = n > rank_of(x) ? n : rank_of(x);
	for (int i = 0; i < rank; i++) {
		dim one = dim_int(s, 1);
		dim a = i < rank - rank_of(x) ? one : x->type.dims[i - (rank - rank_of(x))];
		dim b = i < rank - n ? one : given[i - (rank - n)];
		dims[i] = dim_broadcast(s->dims, a, b);
	}
	return declared_hint(s, 0, rank, dims) && site_out(s, 0, expand_to(s, x, rank, dims));
}

/* Axis of x repeated n times, as a view: [.., d, ..] -> [.., 1, d, ..] -> [.., n, d, ..] -> [..,
 * n*d, ..]. */
static struct value *repeat(struct site *s, struct value *x, int axis, dim n, dim total)
{
	dim dims[HONE_MAX_RANK + 1];
	struct value *wide = insert_axis(s, x, axis);
	if (!wide)
		return NULL;
	memcpy(dims, wide->type.dims, sizeof(*dims) * (size_t)rank_of(wide));
	dims[axis] = n;
	wide = expand_to(s, wide, rank_of(wide), dims);
	memcpy(dims, x->type.dims, sizeof(*dims) * (size_t)rank_of(x));
	dims[axis] = total;
	return reshape(s, wide, rank_of(x), dims);
}

static bool import_tile(struct site *s)
{
	struct value *x = s->in[0];
	dim times[HONE_MAX_RANK], dims[HONE_MAX_RANK];
	int rank = rank_of(x);
	if (s->opset < 6) {
		/* operands: input, tiles, axis: one axis only */
		double tiles, axis;
		int at;
		if (!site_in(s, 2) || !value_real(s->in[1], &tiles) || !value_real(s->in[2], &axis))
			return site_unsupported(s, "tiles and axis are only known at run time");
		if (!site_axis(s, (int64_t)axis, rank, &at))
			return false;
		for (int i = 0; i < rank; i++)
			times[i] = dim_int(s, i == at ? (int64_t)tiles : 1);
	} else if (!bind_dims(s, s->in[1], rank, times)) {
		return false;
	}
	for (int i = 0; i < rank; i++)
		dims[i] = dim_mul(s->dims, x->type.dims[i], times[i]);
	if (!declared_hint(s, 0, rank, dims))
		return false;
	for (int i = 0; x && i < rank; i++)
		if (!dim_is(times[i], 1))
			x = repeat(s, x, i, times[i], dims[i]);
	return site_out(s, 0, x);
}

const struct import_row ops_shape[] = {
	{"", "Shape", 1, 0, 1, 1, import_shape, "start end", "dims as a vector", NULL},
	{"", "Size", 1, 0, 1, 1, import_size, "", "number of elements", NULL},
	{"", "Constant", 1, 0, 0, 0, import_constant,
	 "value sparse_value value_float value_floats value_int value_ints",
	 "a constant (no strings)", NULL},
	{"", "ConstantOfShape", 9, 0, 1, 1, import_constant_of_shape, "value",
	 "one value everywhere", NULL},
	{"", "EyeLike", 9, 0, 1, 1, import_eye_like, "dtype k", "ones on a diagonal", NULL},
	{"", "Range", 11, 0, 3, 3, import_range, "", "start, start + delta, ..", NULL},
	{"", "Reshape", 1, 0, 1, 2, import_reshape, "shape allowzero consumed_inputs",
	 "the same elements under other dims", NULL},
	{"", "Flatten", 1, 0, 1, 1, import_flatten, "axis", "a matrix of the same elements", NULL},
	{"", "Squeeze", 1, 0, 1, 2, import_squeeze, "axes", "without axes of size 1", NULL},
	{"", "Unsqueeze", 1, 0, 1, 2, import_unsqueeze, "axes", "with more axes of size 1", NULL},
	{"", "Expand", 8, 0, 2, 2, import_expand, "", "repeated where the size is 1", NULL},
	{"", "Tile", 1, 0, 2, 3, import_tile, "", "repeated along each axis", NULL},
	{0},
};
