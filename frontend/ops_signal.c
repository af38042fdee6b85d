/* ops_signal.c: window functions, and Fourier transforms as products with matrices of cosines and
 * sines. */
#include "frontend/site.h"

#include <string.h>

#define TAU "6.283185307179586"

/* A size given by operand i: a number, or the declared dim, or a symbol bound at run time. */
static bool size_operand(struct site *s, int i, int axis, dim *out)
{
	dim one = dim_int(s, 1), dims[HONE_MAX_RANK];
	if (!bind_dims(s, reshape(s, s->in[i], 1, &one), 1, out))
		return false;
	int rank = declared_rank(s, 0);
	if (axis < 0 || axis >= rank)
		return true;
	for (int k = 0; k < rank; k++)
		dims[k] = k == axis ? *out : one;
	if (!declared_hint(s, 0, rank, dims))
		return false;
	*out = dims[axis];
	return true;
}

static bool import_window(struct site *s)
{
	enum dtype t = import_dtype((int32_t)attr_int(s, "output_datatype", ONNX_FLOAT));
	const char *text = !strcmp(s->node->op, "HannWindow") ? "0.5 - 0.5 * cos(" TAU " * a / b)"
			   : !strcmp(s->node->op, "HammingWindow")
				   ? "25.0 / 46.0 - 21.0 / 46.0 * cos(" TAU " * a / b)"
				   : "0.42 - 0.5 * cos(" TAU " * a / b) + 0.08 * cos(2 * " TAU
				     " * a / b)";
	dim n;
	if (t == DT_NONE || !dtype_is_float(t))
		return site_unsupported(s, "output_datatype");
	if (!size_operand(s, 0, 0, &n))
		return false;
	dim period = attr_int(s, "periodic", 1) ? n : dim_sub(s->dims, n, dim_int(s, 1));
	struct value *of = cast_to(s, reshape(s, add_shape(s->b, 1, &period), 0, NULL), DT_F64);
	struct value *w = map2(s, text, DT_F64, iota(s, 1, &n, 0, DT_F64), of);
	return site_out(s, 0, cast_to(s, w, t));
}

/* cos or sin of tau * i * k / n for i < rows, k < columns, in type t. */
static struct value *waves(struct site *s, const char *function, dim rows, dim columns, dim n,
			   enum dtype t)
{
	char text[96];
	struct value *in[3] = {iota_at(s, rows, 2, 0), iota_at(s, columns, 2, 1),
			       reshape(s, add_shape(s->b, 1, &n), 0, NULL)};
	/* the angle is reduced in integers first: it stays exact for long signals */
	snprintf(text, sizeof(text), "%s(%s * f64(rem(a * b, c)) / f64(c))", function, TAU);
	return cast_to(s, map_n(s, text, DT_F64, 3, in, 0, NULL), t);
}

/* x [.., rows] with 1 or 2 parts; results [.., columns]. */
static bool transform(struct site *s, struct value *re, struct value *im, dim n, dim columns,
		      bool inverse, struct value **out_re, struct value **out_im)
{
	if (!re || rank_of(re) < 1)
		return false;
	dim rows = re->type.dims[rank_of(re) - 1];
	enum dtype t = type_of(re);
	struct value *c = waves(s, "cos", rows, columns, n, t),
		     *w = waves(s, "sin", rows, columns, n, t);
	struct value *rc = matmul(s, re, c), *rs = matmul(s, re, w);
	const char *minus = "a - b", *plus = "a + b";
	if (im) {
		struct value *ic = matmul(s, im, c), *is = matmul(s, im, w);
		rc = map2(s, inverse ? minus : plus, DT_NONE, rc, is);
		rs = map2(s, inverse ? plus : minus, DT_NONE, inverse ? ic : ic, rs);
	} else if (!inverse) {
		rs = map1(s, "-a", DT_NONE, rs);
	}
	if (inverse) {
		struct value *count = cast_to(s, reshape(s, add_shape(s->b, 1, &n), 0, NULL), t);
		rc = map2(s, "a / b", DT_NONE, rc, count);
		rs = map2(s, "a / b", DT_NONE, rs, count);
	}
	*out_re = rc;
	*out_im = rs;
	return rc && rs;
}

/* Real and imaginary part, the last axis dropped; *im NULL for real signals. */
static bool parts(struct site *s, struct value *x, struct value **re, struct value **im)
{
	int last = x ? rank_of(x) - 1 : 0;
	if (!x)
		return false;
	if (last >= 0 && !dim_is_const(x->type.dims[last]))
		return site_unsupported(
			s, "whether the numbers are real or complex is only known at run time");
	if (last < 1 || (!dim_is(x->type.dims[last], 1) && !dim_is(x->type.dims[last], 2)))
		return site_invalid(s,
				    "the last axis should have 1 (real) or 2 (complex) elements");
	bool complex = dim_is(x->type.dims[last], 2);
	dim one = dim_int(s, 1);
	*re = drop_axis(s, slice_axis(s, x, last, dim_int(s, 0), one), last);
	*im = complex ? drop_axis(s, slice_axis(s, x, last, one, one), last) : NULL;
	return *re && (*im || !complex);
}

static struct value *join_parts(struct site *s, struct value *re, struct value *im)
{
	if (!re || !im)
		return NULL;
	int rank = rank_of(re);
	return concat2(s, rank, insert_axis(s, re, rank), insert_axis(s, im, rank));
}

static bool import_dft(struct site *s)
{
	struct value *x = s->in[0], *re, *im;
	bool inverse = attr_int(s, "inverse", 0), half = attr_int(s, "onesided", 0);
	int axis, last = rank_of(x) - 1;
	double given = (double)attr_int(s, "axis", s->opset < 20 ? 1 : -2);
	if (s->opset >= 20 && site_in(s, 2) && !value_real(s->in[2], &given))
		return site_unsupported(s, "the axis is only known at run time");
	if (!site_axis(s, (int64_t)given, rank_of(x), &axis) || axis == last)
		return axis == last ? site_invalid(s, "the last axis holds the parts of numbers")
				    : false;
	dim n = x->type.dims[axis];
	if (site_in(s, 1)) {
		dim one = dim_int(s, 1);
		if (!bind_dims(s, reshape(s, s->in[1], 1, &one), 1, &n))
			return false;
		x = pad_axis(s, x, axis, dim_int(s, 0), dim_sub(s->dims, n, x->type.dims[axis]), 0);
	}
	dim columns =
		half ? dim_add(s->dims, dim_floordiv(s->dims, n, dim_int(s, 2)), dim_int(s, 1)) : n;
	if (!parts(s, x, &re, &im))
		return false;
	re = move_axis(s, re, axis, last - 1);
	im = move_axis(s, im, axis, last - 1);
	if (!transform(s, re, im, n, columns, inverse, &re, &im))
		return false;
	return site_out(
		s, 0,
		join_parts(s, move_axis(s, re, last - 1, axis), move_axis(s, im, last - 1, axis)));
}

static bool import_stft(struct site *s)
{
	struct value *x = s->in[0], *step = s->in[1], *window = site_in(s, 2), *re, *im;
	dim one = dim_int(s, 1), length, count;
	double known;
	if (rank_of(x) != 3 || (window && rank_of(window) != 1))
		return site_invalid(s, "expected a signal [N,L,1 or 2] and a window [L]");
	if (window)
		length = window->type.dims[0];
	else if (!site_in(s, 3) || !bind_dims(s, reshape(s, s->in[3], 1, &one), 1, &length))
		return site_in(s, 3) ? false : site_invalid(s, "neither a window nor frame_length");
	dim room = dim_sub(s->dims, x->type.dims[1], length);
	step = reshape(s, cast_to(s, step, DT_I64), 1, &one);
	if (step && value_real(step, &known)) {
		count = dim_add(s->dims, dim_floordiv(s->dims, room, dim_int(s, (int64_t)known)),
				one);
	} else {
		struct value *frames =
			map2(s, "a / b + 1", DT_I64, add_shape(s->b, 1, &room), step);
		if (!bind_dims(s, frames, 1, &count))
			return false;
		dim dims[4] = {x->type.dims[0], count, one, one};
		if (!declared_hint(s, 0, 4, dims))
			return false;
		count = dims[1];
	}
	struct value *at = map3(s, "a * c + b", DT_I64, iota_at(s, count, 2, 0),
				iota_at(s, length, 2, 1), step);
	x = gather(s, GATHER_TAKE, x, at, 1, 0);
	if (!parts(s, x, &re, &im))
		return false;
	if (window) {
		re = map2(s, "a * b", DT_NONE, re, window);
		im = im ? map2(s, "a * b", DT_NONE, im, window) : NULL;
	}
	dim columns = length;
	if (attr_int(s, "onesided", 1))
		columns = dim_add(s->dims, dim_floordiv(s->dims, length, dim_int(s, 2)), one);
	return transform(s, re, im, length, columns, false, &re, &im) &&
	       site_out(s, 0, join_parts(s, re, im));
}

const struct import_row ops_signal[] = {
	{"", "HannWindow", 17, 0, 1, 1, import_window, "output_datatype periodic", "Hann window",
	 NULL},
	{"", "HammingWindow", 17, 0, 1, 1, import_window, "output_datatype periodic",
	 "Hamming window", NULL},
	{"", "BlackmanWindow", 17, 0, 1, 1, import_window, "output_datatype periodic",
	 "Blackman window", NULL},
	{"", "DFT", 17, 0, 1, 3, import_dft, "axis inverse onesided", "discrete Fourier transform",
	 NULL},
	{"", "STFT", 17, 0, 2, 4, import_stft, "onesided",
	 "Fourier transforms of windows along a signal", NULL},
	{0},
};
