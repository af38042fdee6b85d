/* ops_resize.c: Resize and Upsample: along one axis after the other, a gather of the nearest
 * element, or a sum of weighted gathers. Coordinates are maps over the output's positions, in f64.
 * Source: ONNX operator specification, Resize-11 to Resize-19. */
#include "frontend/site.h"

#include <math.h>
#include <string.h>

/* One resized axis. */
struct stretch {
	int axis;
	dim in, out;
	struct value *scale;       /* f64 scalar */
	struct value *start, *end; /* roi, f64 scalars; NULL but for tf_crop_and_resize */
	struct value *at;          /* f64 [out]: coordinate in the operand of each position */
	struct value *size;        /* i64 scalar: in */
};

static struct value *element(struct site *s, struct value *v, int i)
{
	v = slice_axis(s, v, 0, dim_int(s, i), dim_int(s, 1));
	return cast_to(s, reshape(s, v, 0, NULL), DT_F64);
}

static struct value *dim_scalar(struct site *s, dim d)
{
	return reshape(s, add_shape(s->b, 1, &d), 0, NULL);
}

/* ---- the sizes of the result ---- */

/* floor(d * scale) for a number `scale`; NULL when it is no simple fraction and d no number. */
static dim scaled_dim(struct site *s, dim d, double scale)
{
	if (!(scale > 0 && scale < 1e6))
		return NULL;
	if (dim_is_const(d))
		return dim_int(s, (int64_t)floorf((float)d->value * (float)scale));
	for (int q = 1; q <= 16; q++) {
		double p = scale * q;
		if (p == floor(p))
			return dim_floordiv(s->dims, dim_mul(s->dims, d, dim_int(s, (int64_t)p)),
					    dim_int(s, q));
		if (1 / scale == q)
			return dim_floordiv(s->dims, d, dim_int(s, q));
	}
	return NULL;
}

/* The constant scale of entry i, or false. */
static bool scale_at(const struct value *v, int i, double *out)
{
	const struct tensor *t = value_const(v);
	if (!t)
		return false;
	*out = tensor_element(t, type_of(v), i).f;
	return true;
}

static bool dims_by_scale(struct site *s, struct value *scales, int n, const int *axes, dim *dims)
{
	dim bound[HONE_MAX_RANK], in[HONE_MAX_RANK];
	const struct value *x = s->in[0];
	bool open = false;
	for (int i = 0; i < n; i++) {
		double scale;
		in[i] = x->type.dims[axes[i]];
		bound[i] = scale_at(scales, i, &scale) ? scaled_dim(s, in[i], scale) : NULL;
		open |= !bound[i];
	}
	if (open) {
		struct value *out = map2(s, "i64(floor(f32(a) * f32(b)))", DT_I64,
					 add_shape(s->b, n, in), scales);
		dim all[HONE_MAX_RANK];
		if (!bind_dims(s, out, n, all))
			return false;
		for (int i = 0; i < n; i++)
			bound[i] = bound[i] ? bound[i] : all[i];
	}
	for (int i = 0; i < n; i++)
		dims[axes[i]] = bound[i];
	return declared_hint(s, 0, rank_of(x), dims);
}

/* keep_aspect_ratio_policy: one scale for all, the smallest or largest that the sizes give. */
static bool keep_ratio(struct site *s, int n, const int *axes, dim *dims, double *scale)
{
	bool larger = attr_text_is(s, "keep_aspect_ratio_policy", "stretch", "not_smaller");
	*scale = larger ? 0 : INFINITY;
	for (int i = 0; i < n; i++) {
		dim in = s->in[0]->type.dims[axes[i]], out = dims[axes[i]];
		if (!dim_is_const(in) || !dim_is_const(out))
			return site_unsupported(s, "keep_aspect_ratio_policy needs constant dims");
		double ratio = (double)out->value / (double)in->value;
		*scale = larger ? fmax(*scale, ratio) : fmin(*scale, ratio);
	}
	for (int i = 0; i < n; i++) {
		double size = *scale * (double)s->in[0]->type.dims[axes[i]]->value;
		dims[axes[i]] = dim_int(s, (int64_t)floor(size + 0.5));
	}
	return true;
}

/* ---- coordinates ---- */

static const char *coordinate_text(const char *mode)
{
	/* a: position, b: scale, c: size of the operand, d: size of the result. Where scales are
	 * given, align_corners goes by the exact size c * scale, of which d is the whole part. */
	static const char *const modes[][2] = {
		{"half_pixel", "(f64(a) + 0.5) / b - 0.5"},
		{"pytorch_half_pixel", "d > 1 ? (f64(a) + 0.5) / b - 0.5 : 0"},
		{"align_corners", "d > 1 ? f64(a) * f64(c - 1) / f64(d - 1) : 0"},
		{"align_corners by scale", "d > 1 ? f64(a) * f64(c - 1) / (b * f64(c) - 1) : 0"},
		{"asymmetric", "f64(a) / b"},
		{"tf_half_pixel_for_nn", "(f64(a) + 0.5) / b"},
		{"half_pixel_symmetric",
		 "0.5 * f64(c) * (1 - f64(d) / (b * f64(c))) + (f64(a) + 0.5) / b - 0.5"},
		{"tf_crop_and_resize",
		 "d > 1 ? e * f64(c - 1) + f64(a) * (f - e) * f64(c - 1) / f64(d - 1)"
		 " : 0.5 * (e + f) * f64(c - 1)"},
	};
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(mode, modes[i][0]))
			return modes[i][1];
	return NULL;
}

static bool set_coordinates(struct site *s, struct stretch *t, const char *mode)
{
	const char *text = coordinate_text(mode);
	if (!text)
		return site_unsupported(s, "coordinate_transformation_mode \"%s\"", mode);
	t->size = dim_scalar(s, t->in);
	struct value *in[6] = {iota(s, 1, &t->out, 0, DT_I64), t->scale, t->size,
			       dim_scalar(s, t->out),          t->start, t->end};
	t->at = map_n(s, text, DT_F64, t->start ? 6 : 4, in, 0, NULL);
	return t->at != NULL;
}

/* ---- interpolation ---- */

/* The operand's elements at floor(coordinate) + k, held within it. */
static struct value *tap(struct site *s, struct value *x, const struct stretch *t, int k)
{
	struct named_real at = {"k", k};
	struct value *in[2] = {t->at, t->size};
	struct value *index =
		map_n(s, "min(max(i64(floor(a)) + k, 0), b - 1)", DT_I64, 2, in, 1, &at);
	return gather(s, GATHER_TAKE, x, index, t->axis, 0);
}

/* A vector over positions, to be multiplied with x: [1, .., out, .., 1] in x's type. */
static struct value *lay(struct site *s, struct value *v, const struct value *x, int axis)
{
	dim dims[HONE_MAX_RANK];
	if (!v || !x)
		return NULL;
	for (int i = 0; i < rank_of(x); i++)
		dims[i] = i == axis ? v->type.dims[0] : dim_int(s, 1);
	enum dtype t = type_of(v) == DT_BOOL ? DT_BOOL : type_of(x);
	return reshape(s, cast_to(s, v, t), rank_of(x), dims);
}

static struct value *nearest(struct site *s, struct value *x, struct stretch *t, const char *mode)
{
	static const char *const modes[][2] = {{"round_prefer_floor", "ceil(a - 0.5)"},
					       {"round_prefer_ceil", "floor(a + 0.5)"},
					       {"floor", "floor(a)"},
					       {"ceil", "ceil(a)"}};
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(mode, modes[i][0]))
			continue;
		struct stretch rounded = *t;
		rounded.at = map1(s, modes[i][1], DT_F64, t->at);
		return rounded.at ? tap(s, x, &rounded, 0) : NULL;
	}
	site_unsupported(s, "nearest_mode \"%s\"", mode);
	return NULL;
}

/* Weights of the taps first.. around the coordinate, of the kernel of Keys (1981) for cubic. */
static const char *const linear_weights[] = {"1 - (a - floor(a))", "a - floor(a)"};
static const char *const cubic_weights[] = {
	/* t = a - floor(a); distances t + 1, t, 1 - t, 2 - t */
	"((w * (a - floor(a) + 1) - 5 * w) * (a - floor(a) + 1) + 8 * w) * (a - floor(a) + 1) - 4 "
	"* w",
	"((w + 2) * (a - floor(a)) - (w + 3)) * (a - floor(a)) * (a - floor(a)) + 1",
	"((w + 2) * (1 - (a - floor(a))) - (w + 3)) * (1 - (a - floor(a))) * (1 - (a - floor(a))) "
	"+ 1",
	"((w * (2 - (a - floor(a))) - 5 * w) * (2 - (a - floor(a))) + 8 * w) * (2 - (a - "
	"floor(a))) - 4 * w",
};

static struct value *weighted(struct site *s, struct value *x, const struct stretch *t, bool cubic)
{
	int count = cubic ? 4 : 2, first = cubic ? -1 : 0;
	bool exclude = attr_int(s, "exclude_outside", 0);
	struct named_real c[2] = {{"w", attr_real(s, "cubic_coeff_a", -0.75)}, {"k", 0}};
	struct value *weights[4], *total = NULL, *sum = NULL;
	for (int k = 0; k < count; k++) {
		struct value *at = t->at;
		weights[k] = map_n(s, cubic ? cubic_weights[k] : linear_weights[k], DT_F64, 1, &at,
				   1, c);
		if (!exclude)
			continue;
		c[1].value = first + k;
		struct value *in[3] = {weights[k], at, t->size};
		weights[k] = map_n(s, "floor(b) + k < 0 ? 0 : (floor(b) + k >= f64(c) ? 0 : a)",
				   DT_F64, 3, in, 2, c);
		total = k ? map2(s, "a + b", DT_F64, total, weights[k]) : weights[k];
	}
	for (int k = 0; k < count; k++) {
		if (exclude)
			weights[k] = map2(s, "a / b", DT_F64, weights[k], total);
		struct value *w = lay(s, weights[k], x, t->axis), *part = tap(s, x, t, first + k);
		sum = k ? map3(s, "a + b * c", DT_NONE, sum, part, w)
			: map2(s, "a * b", DT_NONE, part, w);
	}
	return sum;
}

static struct value *stretch(struct site *s, struct value *x, struct stretch *t, const char *mode,
			     const char *near, const char *coordinates)
{
	if (!x || !set_coordinates(s, t, coordinates))
		return NULL;
	struct value *y = !strcmp(mode, "nearest") ? nearest(s, x, t, near)
						   : weighted(s, x, t, !strcmp(mode, "cubic"));
	if (!t->start || !y)
		return y;
	struct named_real value = {"value", attr_real(s, "extrapolation_value", 0)};
	struct value *outside = map2(s, "(a < 0) | (a > f64(b) - 1)", DT_NONE, t->at, t->size);
	struct value *in[2] = {lay(s, outside, y, t->axis), y};
	return map_n(s, "a ? value : b", DT_NONE, 2, in, 1, &value);
}

/* ---- the operators ---- */

static bool resize(struct site *s, struct value *roi, struct value *scales, struct value *sizes,
		   const char *mode, const char *near, const char *coordinates)
{
	struct value *x = s->in[0], *y = x;
	int axes[HONE_MAX_RANK], n, rank = rank_of(x);
	dim dims[HONE_MAX_RANK], given[HONE_MAX_RANK];
	double ratio = 0;
	if (!sizes && !strcmp(coordinates, "align_corners"))
		coordinates = "align_corners by scale";
	if (!site_axes(s, -1, rank, axes, &n))
		return false;
	for (int i = 0; n < 0 && i < rank; i++)
		axes[i] = i;
	n = n < 0 ? rank : n;
	memcpy(dims, x->type.dims, sizeof(dims));
	if ((scales && value_length(scales) != n) || (sizes && value_length(sizes) != n) ||
	    (!scales && !sizes))
		return site_invalid(s, "expected %d scales or sizes", n);
	if (sizes) {
		if (!bind_dims(s, sizes, n, given))
			return false;
		for (int i = 0; i < n; i++)
			dims[axes[i]] = given[i];
		if (!attr_text_is(s, "keep_aspect_ratio_policy", "stretch", "stretch") &&
		    !keep_ratio(s, n, axes, dims, &ratio))
			return false;
		if (!declared_hint(s, 0, rank, dims))
			return false;
	} else if (!dims_by_scale(s, scales, n, axes, dims)) {
		return false;
	}
	bool crop = !strcmp(coordinates, "tf_crop_and_resize"),
	     is_float = dtype_is_float(type_of(x));
	if (strcmp(mode, "nearest") || crop)
		y = is_float ? widen(s, x) : cast_to(s, x, DT_F32);
	for (int i = 0; i < n && y; i++) {
		struct stretch t = {
			.axis = axes[i], .in = x->type.dims[axes[i]], .out = dims[axes[i]]};
		double scale;
		bool same =
			sizes ? t.in == t.out && !ratio : scale_at(scales, i, &scale) && scale == 1;
		if (same && !crop)
			continue;
		if (ratio)
			t.scale = real_scalar(s, DT_F64, ratio);
		else if (sizes)
			t.scale = map2(s, "f64(a) / f64(b)", DT_F64, dim_scalar(s, t.out),
				       dim_scalar(s, t.in));
		else
			t.scale = element(s, scales, i);
		if (crop && (!roi || value_length(roi) != 2 * n))
			return site_invalid(s, "tf_crop_and_resize needs a roi");
		t.start = crop ? element(s, roi, i) : NULL;
		t.end = crop ? element(s, roi, n + i) : NULL;
		y = stretch(s, y, &t, mode, near, coordinates);
	}
	return site_out(s, 0, cast_to(s, y, type_of(x)));
}

static bool known_mode(struct site *s, const char **mode)
{
	*mode = attr_text(s, "mode", "nearest");
	if (!strcmp(*mode, "bilinear") || !strcmp(*mode, "trilinear"))
		*mode = "linear";
	if (strcmp(*mode, "nearest") && strcmp(*mode, "linear") && strcmp(*mode, "cubic"))
		return site_unsupported(s, "mode \"%s\"", *mode);
	return true;
}

static struct value *unless_empty(struct value *v) { return v && value_length(v) != 0 ? v : NULL; }

static bool import_resize(struct site *s)
{
	const char *mode;
	if (!known_mode(s, &mode))
		return false;
	if (attr_int(s, "antialias", 0))
		return site_unsupported(s, "antialias = 1");
	if (s->opset < 11)
		return resize(s, NULL, site_in(s, 1), NULL, mode, "floor", "asymmetric");
	return resize(s, site_in(s, 1), unless_empty(site_in(s, 2)), site_in(s, 3), mode,
		      attr_text(s, "nearest_mode", "round_prefer_floor"),
		      attr_text(s, "coordinate_transformation_mode", "half_pixel"));
}

static bool import_upsample(struct site *s)
{
	const char *mode;
	struct value *scales = site_in(s, 1);
	const struct onnx_attr *given = site_attr(s, "scales");
	if (!known_mode(s, &mode))
		return false;
	if (given && given->kind == ONNX_ATTR_FLOATS) {
		dim n = dim_int(s, given->count);
		struct type type = type_make(DT_F32, 1, &n);
		struct tensor data = {.size = given->count * 4};
		data.data = arena_copy(s->g->arena, given->floats, (size_t)data.size);
		scales = add_const(s->b, &type, &data);
	}
	return resize(s, NULL, scales, NULL, mode, "floor", "asymmetric");
}

const struct import_row ops_resize[] = {
	{"", "Resize", 10, 0, 1, 4, import_resize,
	 "axes antialias coordinate_transformation_mode cubic_coeff_a exclude_outside "
	 "extrapolation_value"
	 " keep_aspect_ratio_policy mode nearest_mode",
	 "other sizes, by interpolation", NULL},
	{"", "Upsample", 7, 9, 1, 2, import_upsample, "mode scales",
	 "other sizes, by interpolation", NULL},
	{0},
};
