/* ops_quant.c: quantized operators: a number q stands for scale * (q - zero point). Integer
 * products are sums over i32 maps of the operands, which the contraction driver computes on the
 * 8-bit operands. */
#include "frontend/window.h"

#include <string.h>

/* A scale or zero point as operand that broadcasts over x: a scalar stays one, a vector lies on
 * `axis`, and blocks of `block` elements along the axis share an entry. */
static struct value *along(struct site *s, struct value *p, const struct value *x, int64_t axis_in,
			   int64_t block)
{
	dim dims[HONE_MAX_RANK];
	int axis;
	if (!p)
		return NULL;
	if (value_length(p) == 1)
		return reshape(s, p, 0, NULL);
	if (!site_axis(s, axis_in, rank_of(x), &axis))
		return NULL;
	if (block > 0) {
		struct named_real size = {"size", (double)block};
		struct value *at = iota_at(s, x->type.dims[axis], 1, 0);
		return gather(s, GATHER_TAKE, p, map_n(s, "a / size", DT_I64, 1, &at, 1, &size),
			      axis, 0);
	}
	if (rank_of(p) != 1)
		return p;
	for (int i = 0; i < rank_of(x); i++)
		dims[i] = i == axis ? p->type.dims[0] : dim_int(s, 1);
	return reshape(s, p, rank_of(x), dims);
}

/* round(x / scale) + zero, clamped to type t. x is f32. */
static struct value *quantize(struct site *s, const char *divided, int count, struct value **in,
			      enum dtype t)
{
	char text[160];
	const char *ct = dtype_name(dtype_compute(t));
	if (dtype_is_float(t))
		snprintf(text, sizeof(text), "%s", divided);
	else if (dtype_bits(t) >= 8)
		snprintf(text, sizeof(text), "%s(rne(%s) + f32(c))", ct, divided);
	else if (dtype_class(t) == DTYPE_UNSIGNED)
		snprintf(text, sizeof(text), "%s(min(max(rne(%s) + f32(c), 0), %d))", ct, divided,
			 (1 << dtype_bits(t)) - 1);
	else
		snprintf(text, sizeof(text), "%s(min(max(rne(%s) + f32(c), %d), %d))", ct, divided,
			 -(1 << (dtype_bits(t) - 1)), (1 << (dtype_bits(t) - 1)) - 1);
	return map_n(s, text, t, count, in, 0, NULL);
}

static bool import_quantize(struct site *s)
{
	struct value *x = s->in[0], *zero = site_in(s, 2);
	int64_t axis = attr_int(s, "axis", 1), block = attr_int(s, "block_size", 0);
	const struct onnx_attr *wanted = site_attr(s, "output_dtype");
	enum dtype t = zero                  ? type_of(zero)
		       : wanted && wanted->i ? import_dtype((int32_t)wanted->i)
					     : DT_U8;
	if (t == DT_NONE)
		return site_unsupported(s, "quantization to this type");
	if (dtype_is_float(t) && !attr_int(s, "saturate", 1))
		return site_unsupported(s, "saturate = 0");
	struct value *in[3] = {x, along(s, s->in[1], x, axis, block),
			       zero ? along(s, zero, x, axis, block) : int_scalar(s, DT_I32, 0)};
	if (zero && dtype_is_float(t))
		in[2] = int_scalar(s, DT_I32, 0); /* float zero points are always 0 */
	return site_out(s, 0, quantize(s, "f32(a) / f32(b)", 3, in, t));
}

/* Whole blocks along an axis of p, whose entries they share: it is split in blocks and elements of one. */
static bool splits_blocks(struct site *s, const struct value *x, const struct value *p,
			  int64_t axis_in, int64_t block, int *axis)
{
	if (block <= 0 || rank_of(x) == HONE_MAX_RANK || rank_of(p) != rank_of(x) ||
	    !site_axis(s, axis_in, rank_of(x), axis))
		return false;
	dim all = x->type.dims[*axis], blocks = p->type.dims[*axis];
	return dim_is_const(all) && dim_is_const(blocks) && blocks->value * block == all->value;
}

/* v with its axis as [axis / each, each]. */
static struct value *split_axis(struct site *s, struct value *v, int axis, int64_t each)
{
	dim dims[HONE_MAX_RANK];
	for (int i = 0; i < rank_of(v); i++)
		dims[i + (i > axis)] = v->type.dims[i];
	dims[axis] = dim_int(s, v->type.dims[axis]->value / each);
	dims[axis + 1] = dim_int(s, each);
	return reshape(s, v, rank_of(v) + 1, dims);
}

static bool import_dequantize(struct site *s)
{
	struct value *x = s->in[0], *scale = s->in[1], *y,
		     *zero = dtype_is_float(type_of(x)) ? NULL : site_in(s, 2);
	int64_t axis_in = attr_int(s, "axis", 1), block = attr_int(s, "block_size", 0);
	int axis = 0, rank = rank_of(x);
	bool split = splits_blocks(s, x, scale, axis_in, block, &axis);
	scale = split ? split_axis(s, scale, axis, 1) : along(s, scale, x, axis_in, block);
	if (zero)
		zero = split ? split_axis(s, zero, axis, 1) : along(s, zero, x, axis_in, block);
	x = split ? split_axis(s, x, axis, block) : x;
	if (!scale || !x)
		return false;
	y = zero ? map3(s, "f32(i32(a) - i32(c)) * f32(b)", type_of(scale), x, scale, zero)
		 : map2(s, "f32(a) * f32(b)", type_of(scale), x, scale);
	return site_out(s, 0, split && y ? reshape(s, y, rank, s->in[0]->type.dims) : y);
}

static bool import_dynamic_quantize(struct site *s)
{
	struct value *x = s->in[0];
	int axes[HONE_MAX_RANK], rank = rank_of(x);
	for (int i = 0; i < rank; i++)
		axes[i] = i;
	struct value *low =
		map1(s, "min(a, 0)", DT_NONE, reduce_axes(s, REDUCE_MIN, x, rank, axes, false));
	struct value *high =
		map1(s, "max(a, 0)", DT_NONE, reduce_axes(s, REDUCE_MAX, x, rank, axes, false));
	struct value *scale = map2(s, "(b - a) / 255", DT_NONE, low, high);
	struct value *zero = map2(s, "u8(rne(-a / b))", DT_NONE, low, scale);
	if (!zero)
		return false;
	struct value *in[3] = {x, scale, zero};
	return site_out(s, 1, scale) && site_out(s, 2, zero) &&
	       site_out(s, 0, quantize(s, "a / b", 3, in, DT_U8));
}

/* x - zero as i32. */
static struct value *centered(struct site *s, struct value *x, struct value *zero)
{
	return zero ? map2(s, "i32(a) - i32(b)", DT_NONE, x, zero) : map1(s, "i32(a)", DT_NONE, x);
}

/* A vector for the rows of a (its last but one axis). */
static struct value *for_rows(struct site *s, struct value *p)
{
	if (!p || value_length(p) == 1)
		return p ? reshape(s, p, 0, NULL) : NULL;
	return rank_of(p) == 1 ? insert_axis(s, p, 1) : p;
}

static struct value *for_columns(struct site *s, struct value *p)
{
	return p && value_length(p) == 1 ? reshape(s, p, 0, NULL) : p;
}

static struct value *integer_matmul(struct site *s, struct value *a, struct value *az,
				    struct value *b, struct value *bz)
{
	struct value *x = centered(s, a, for_rows(s, az)), *y = centered(s, b, for_columns(s, bz));
	if (!x || !y)
		return NULL;
	bool row = rank_of(x) == 1, column = rank_of(y) == 1;
	struct value *z =
		matmul(s, row ? insert_axis(s, x, 0) : x, column ? insert_axis(s, y, 1) : y);
	if (z && column)
		z = drop_axis(s, z, rank_of(z) - 1);
	return z && row ? drop_axis(s, z, rank_of(z) - (column ? 1 : 2)) : z;
}

static bool import_matmul_integer(struct site *s)
{
	return site_out(s, 0, integer_matmul(s, s->in[0], site_in(s, 2), s->in[1], site_in(s, 3)));
}

/* operands: a, its scale and zero point, b, .., y's scale and zero point */
static bool import_qlinear_matmul(struct site *s)
{
	struct value *sum = integer_matmul(s, s->in[0], s->in[2], s->in[3], s->in[5]);
	struct value *scale =
		map2(s, "a * b", DT_F32, for_rows(s, s->in[1]), for_columns(s, s->in[4]));
	scale = map2(s, "a / b", DT_F32, scale, for_columns(s, s->in[6]));
	struct value *in[3] = {sum, scale, for_columns(s, s->in[7])};
	return site_out(s, 0, quantize(s, "f32(a) * b", 3, in, type_of(s->in[7])));
}

/* x with the window's pads, which stand for the number 0: they hold the zero point. */
static struct value *integer_pad(struct site *s, const struct window *win, struct value *x,
				 struct value *zero)
{
	int64_t known = 0;
	int count = 1;
	if (!zero || value_ints(zero, 1, &known, &count))
		return window_pad(s, win, x, (double)known);
	dim dims[HONE_MAX_RANK];
	for (int i = 0; i < rank_of(x); i++)
		dims[i] = i == 0 || i == rank_of(x) - 1 ? dim_int(s, 1) : x->type.dims[i];
	struct value *ones = expand_to(s, int_scalar(s, type_of(x), 1), rank_of(x), dims);
	struct value *inside = window_pad(s, win, ones, 0), *padded = window_pad(s, win, x, 0);
	return inside == ones ? padded
			      : map3(s, "a != 0 ? b : c", type_of(x), inside, padded, zero);
}

/* Moved and padded as they are in memory, then made numbers: these maps cost nothing in a contraction of bytes.
 * Result channels-last, i32. wz: a scalar, or a number for each output channel. */
static struct value *integer_convolve(struct site *s, struct value *x, struct value *xz,
				      struct value *w, struct value *wz)
{
	struct window win;
	if (!convolution_read(s, x, w, &win))
		return NULL;
	xz = xz ? reshape(s, xz, 0, NULL) : NULL;
	wz = for_columns(s, wz);
	x = integer_pad(s, &win, channels_last(s, x), xz);
	w = filters_last(s, w);
	return x && w ? convolve_padded(s, &win, centered(s, x, xz), centered(s, w, wz)) : NULL;
}

static bool import_conv_integer(struct site *s)
{
	struct value *y = integer_convolve(s, s->in[0], site_in(s, 2), s->in[1], site_in(s, 3));
	return site_out(s, 0, channels_first(s, y));
}

static bool import_qlinear_conv(struct site *s)
{
	struct value *bias = site_in(s, 8);
	struct value *sum = integer_convolve(s, s->in[0], s->in[2], s->in[3], s->in[5]);
	if (bias)
		sum = map2(s, "a + b", DT_I32, sum, bias);
	/* channels are last here, so a vector of scales broadcasts */
	struct value *scale = map3(s, "a * b / c", DT_F32, reshape(s, s->in[1], 0, NULL),
				   for_columns(s, s->in[4]), reshape(s, s->in[6], 0, NULL));
	struct value *in[3] = {sum, scale, reshape(s, s->in[7], 0, NULL)};
	return site_out(s, 0,
			channels_first(s, quantize(s, "f32(a) * b", 3, in, type_of(s->in[7]))));
}

#define WINDOW "auto_pad dilations group kernel_shape pads strides"
const struct import_row ops_quant[] = {
	{"", "QuantizeLinear", 10, 0, 2, 3, import_quantize,
	 "axis block_size output_dtype saturate precision",
	 "numbers to integers by scale and zero point", NULL},
	{"", "DequantizeLinear", 10, 0, 2, 3, import_dequantize, "axis block_size output_dtype",
	 "integers to numbers by scale and zero point", NULL},
	{"", "DynamicQuantizeLinear", 11, 0, 1, 1, import_dynamic_quantize, "",
	 "to u8, with scale and zero point from the range", NULL},
	{"", "MatMulInteger", 10, 0, 2, 4, import_matmul_integer, "",
	 "product of quantized matrices, in i32", NULL},
	{"", "QLinearMatMul", 10, 0, 8, 8, import_qlinear_matmul, "",
	 "product of quantized matrices, quantized", NULL},
	{"", "ConvInteger", 10, 0, 2, 4, import_conv_integer, WINDOW,
	 "convolution of quantized tensors, in i32", NULL},
	{"", "QLinearConv", 10, 0, 8, 9, import_qlinear_conv, WINDOW,
	 "convolution of quantized tensors, quantized", NULL},
	{0},
};
