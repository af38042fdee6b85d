/* ops_sample.c: operators that read images between their elements: GridSample and RoiAlign. Each
 * tap is a gather of whole pixels (channels last), and its weight a map. Source: ONNX operator
 * specification, GridSample-16 and RoiAlign-16; reflection as PyTorch's grid_sampler. */
#include "frontend/window.h"

#include <string.h>

/* ---- GridSample ---- */

enum padding { PAD_ZEROS, PAD_BORDER, PAD_REFLECTION };

/* One spatial axis of the samples. */
struct coordinate {
	struct value *at;   /* where, in elements: [N,O..] */
	struct value *size; /* scalar of the same type: elements of the axis */
	bool align;
	enum padding padding;
};

static struct value *size_scalar(struct site *s, dim d, enum dtype t)
{
	return cast_to(s, reshape(s, add_shape(s->b, 1, &d), 0, NULL), t);
}

/* Positions outside brought inside, as the padding says. a: position, b: size. */
static struct value *inside(struct site *s, const struct coordinate *c, struct value *at)
{
	if (c->padding == PAD_ZEROS)
		return at;
	if (c->padding == PAD_REFLECTION) {
		struct named_real low = {"low", c->align ? 0 : -0.5};
		struct value *in[2] = {at, c->size};
		/* the span the mirror images repeat over; 1 where there is none, as all fall on 0 */
		struct value *span = map1(s, c->align ? "max(a - 1, 1)" : "a", DT_NONE, c->size);
		at = map_n(s, "abs(a - low)", DT_NONE, 1, in, 1, &low);
		struct value *rest[2] = {at, span};
		at = map_n(s,
			   "rem(floor(a / b), 2) == 0 ? a - floor(a / b) * b + low : b - (a - "
			   "floor(a / b) * b) + low",
			   DT_NONE, 2, rest, 1, &low);
	}
	return map2(s, "min(max(a, 0), b - 1)", DT_NONE, at, c->size);
}

static const char *const linear_weights[] = {"1 - (a - floor(a))", "a - floor(a)"};
static const char *const cubic_weights[] = {
	"((-0.75 * (a - floor(a) + 1) + 3.75) * (a - floor(a) + 1) - 6) * (a - floor(a) + 1) + 3",
	"(1.25 * (a - floor(a)) - 2.25) * (a - floor(a)) * (a - floor(a)) + 1",
	"(1.25 * (1 - (a - floor(a))) - 2.25) * (1 - (a - floor(a))) * (1 - (a - floor(a))) + 1",
	("((-0.75 * (2 - (a - floor(a))) + 3.75) * (2 - (a - floor(a))) - 6) * (2 - (a - "
	 "floor(a))) "
	 "+ 3"),
};

/* Tap k of an axis: its index, held within the axis, and its weight, 0 outside with zeros padding. */
static void axis_tap(struct site *s, const struct coordinate *c, int taps, int k,
		     struct value **index, struct value **weight)
{
	struct named_real shift = {"k", taps == 4 ? k - 1 : k};
	struct value *at = c->at;
	struct value *place = taps == 1 ? map1(s, "rne(a)", DT_NONE, at)
					: map_n(s, "floor(a) + k", DT_NONE, 1, &at, 1, &shift);
	struct value *w =
		taps == 1 ? map1(s, "a * 0 + 1", DT_NONE, at)
			  : map1(s, taps == 4 ? cubic_weights[k] : linear_weights[k], DT_NONE, at);
	if (c->padding == PAD_ZEROS)
		w = map3(s, "(a >= 0) & (a <= b - 1) ? c : 0", DT_NONE, place, c->size, w);
	else
		place = inside(s, c, place);
	*index = map2(s, "i64(min(max(a, 0), b - 1))", DT_I64, place, c->size);
	*weight = w;
}

/* Sum over all taps of pixel times weights; x [N,D..,C], result [N,O..,C]. */
static struct value *sample(struct site *s, struct value *x, int axes, const struct coordinate *c,
			    int taps)
{
	struct value *index[3][4], *weight[3][4], *sum = NULL;
	int count = 1, rank = rank_of(c[0].at);
	for (int i = 0; i < axes; i++) {
		count *= taps;
		for (int k = 0; k < taps; k++)
			axis_tap(s, &c[i], taps, k, &index[i][k], &weight[i][k]);
	}
	for (int n = 0; n < count; n++) {
		struct value *tuple[3], *w = NULL;
		for (int i = 0, rest = n; i < axes; i++, rest /= taps) {
			struct value *here = weight[i][rest % taps];
			tuple[i] = insert_axis(s, index[i][rest % taps], rank);
			w = i ? map2(s, "a * b", DT_NONE, w, here) : here;
			if (!tuple[i])
				return NULL;
		}
		struct value *pixel =
			gather(s, GATHER_ND, x, add_concat(s->b, rank, axes, tuple), 0, 1);
		w = insert_axis(s, w, rank);
		sum = n ? map3(s, "a + b * c", DT_NONE, sum, pixel, w)
			: map2(s, "a * b", DT_NONE, pixel, w);
	}
	return sum;
}

static bool read_padding(struct site *s, enum padding *out)
{
	static const char *const names[] = {"zeros", "border", "reflection"};
	for (int i = 0; i < 3; i++) {
		*out = (enum padding)i;
		if (attr_text_is(s, "padding_mode", "zeros", names[i]))
			return true;
	}
	return site_invalid(s, "unknown padding_mode");
}

static bool import_grid_sample(struct site *s)
{
	struct value *x = s->in[0], *grid = s->in[1];
	const char *mode = attr_text(s, "mode", "bilinear");
	int axes = rank_of(x) - 2, taps = !strcmp(mode, "nearest") ? 1
					  : strstr(mode, "cubic")  ? 4
								   : 2;
	struct coordinate c[3];
	enum padding padding;
	if (axes < 2 || axes > 3 || rank_of(grid) != rank_of(x))
		return site_unsupported(s, "only images of 2 or 3 spatial axes");
	if ((taps == 4 && axes == 3) || (taps == 2 && !strstr(mode, "linear")))
		return site_unsupported(s, "mode \"%s\" over %d axes", mode, axes);
	if (!read_padding(s, &padding))
		return false;
	bool align = attr_int(s, "align_corners", 0);
	enum dtype t = dtype_compute(type_of(x));
	grid = cast_to(s, grid, t);
	for (int i = 0; i < axes; i++) {
		/* the grid names the last axis first */
		struct value *g =
			slice_axis(s, grid, axes + 1, dim_int(s, axes - 1 - i), dim_int(s, 1));
		c[i].size = size_scalar(s, x->type.dims[i + 2], t);
		c[i].align = align;
		c[i].padding = padding;
		g = drop_axis(s, g, axes + 1);
		c[i].at = map2(s, align ? "(a + 1) / 2 * (b - 1)" : "((a + 1) * b - 1) / 2",
			       DT_NONE, g, c[i].size);
		if (!c[i].at)
			return false;
		/* cubic treats each tap, the others the position */
		if (taps != 4)
			c[i].at = inside(s, &c[i], c[i].at);
		if (!c[i].at)
			return false;
	}
	struct value *y = sample(s, widen(s, channels_last(s, x)), axes, c, taps);
	return site_out(s, 0, channels_first(s, cast_to(s, y, type_of(x))));
}

/* ---- RoiAlign ---- */

/* Sample positions along one axis for each box: [R, count * ratio]. low, high: the box's bounds,
 * [R,1]. */
static struct value *roi_positions(struct site *s, struct value *low, struct value *high,
				   int64_t count, int64_t ratio, bool half)
{
	dim n = dim_int(s, count * ratio);
	struct named_real k[] = {{"scale", attr_real(s, "spatial_scale", 1)},
				 {"shift", half ? 0.5 : 0},
				 {"count", (double)count},
				 {"ratio", (double)ratio}};
	struct value *in[2] = {low, high};
	low = map_n(s, "a * scale - shift", DT_F32, 1, &in[0], 4, k);
	high = map_n(s, "a * scale - shift", DT_F32, 1, &in[1], 4, k);
	/* without the half pixel, boxes are at least one element long */
	struct value *bin = map_n(s, half ? "(b - a) / count" : "max(b - a, 1) / count", DT_F32, 2,
				  (struct value *[]){low, high}, 4, k);
	struct value *args[3] = {low, bin, iota_at(s, n, 2, 1)};
	return map_n(s, "a + f32(c / i64(ratio)) * b + (f32(rem(c, i64(ratio))) + 0.5) * b / ratio",
		     DT_F32, 3, args, 4, k);
}

/* Index and weight of the two elements beside a position a in an axis of b elements; 0 weight
 * outside of [-1, b]. */
static void roi_tap(struct site *s, struct value *at, struct value *size, int k,
		    struct value **index, struct value **weight)
{
	struct value *held = map2(s, "min(max(a, 0), b - 1)", DT_F32, at, size);
	struct named_real shift = {"k", k};
	struct value *in[2] = {held, size};
	*index = map_n(s, "i64(min(floor(a) + k, b - 1))", DT_I64, 2, in, 1, &shift);
	*weight = map3(s,
		       k ? "(b < -1) | (b > c) ? 0 : a - floor(a)"
			 : "(b < -1) | (b > c) ? 0 : 1 - (a - floor(a))",
		       DT_F32, held, at, size);
}

/* [R, n] as [R, n, 1] for rows or [R, 1, n] for columns. */
static struct value *on_grid(struct site *s, struct value *v, bool rows)
{
	return insert_axis(s, v, rows ? 2 : 1);
}

static bool import_roi_align(struct site *s)
{
	struct value *x = s->in[0], *rois = s->in[1], *batch = s->in[2], *side[4], *sum = NULL;
	int64_t h = attr_int(s, "output_height", 1), w = attr_int(s, "output_width", 1);
	int64_t ratio = attr_int(s, "sampling_ratio", 0);
	bool half = s->opset >= 16 &&
		    attr_text_is(s, "coordinate_transformation_mode", "half_pixel", "half_pixel");
	if (rank_of(x) != 4 || rank_of(rois) != 2 || rank_of(batch) != 1 || h < 1 || w < 1)
		return site_invalid(s, "expected [N,C,H,W], [R,4] and [R]");
	if (h > INT16_MAX || w > INT16_MAX || ratio > INT16_MAX)
		return site_unsupported(s, "sizes above %d", INT16_MAX);
	if (ratio < 1)
		return site_unsupported(
			s, "sampling_ratio = 0 takes as many samples as the data says");
	if (!attr_text_is(s, "mode", "avg", "avg"))
		return site_unsupported(s, "mode \"%s\"", attr_text(s, "mode", ""));
	for (int i = 0; i < 4; i++)
		side[i] = cast_to(s, slice_axis(s, rois, 1, dim_int(s, i), dim_int(s, 1)), DT_F32);
	dim r = rois->type.dims[0], grid[3] = {r, dim_int(s, h * ratio), dim_int(s, w * ratio)};
	struct value *at[2] = {roi_positions(s, side[1], side[3], h, ratio, half),
			       roi_positions(s, side[0], side[2], w, ratio, half)};
	struct value *size[2] = {size_scalar(s, x->type.dims[2], DT_F32),
				 size_scalar(s, x->type.dims[3], DT_F32)};
	struct value *image =
		fix_index(s, insert_axis(s, insert_axis(s, batch, 1), 2), x->type.dims[0]);
	struct value *pixels = channels_last(s, widen(s, x));
	for (int n = 0; n < 4; n++) {
		struct value *index[2], *weight[2], *tuple[3];
		for (int i = 0; i < 2; i++) {
			roi_tap(s, at[i], size[i], n >> i & 1, &index[i], &weight[i]);
			index[i] = on_grid(s, index[i], i == 0);
			weight[i] = on_grid(s, weight[i], i == 0);
		}
		tuple[0] = insert_axis(s, expand_to(s, image, 3, grid), 3);
		tuple[1] = insert_axis(s, expand_to(s, index[0], 3, grid), 3);
		tuple[2] = insert_axis(s, expand_to(s, index[1], 3, grid), 3);
		if (!tuple[0] || !tuple[1] || !tuple[2])
			return false;
		struct value *pixel =
			gather(s, GATHER_ND, pixels, add_concat(s->b, 3, 3, tuple), 0, 0);
		struct value *weights =
			insert_axis(s, map2(s, "a * b", DT_F32, weight[0], weight[1]), 3);
		sum = n ? map3(s, "a + b * c", DT_NONE, sum, pixel, weights)
			: map2(s, "a * b", DT_NONE, pixel, weights);
	}
	/* the mean of each bin's samples */
	dim k = dim_int(s, ratio);
	sum = reshape(s, sum, 6, (dim[]){r, dim_int(s, h), k, dim_int(s, w), k, x->type.dims[1]});
	sum = mean_axes(s, sum, 2, (int[]){2, 4}, false);
	return site_out(s, 0, cast_to(s, channels_first(s, sum), type_of(x)));
}

const struct import_row ops_sample[] = {
	{"", "GridSample", 16, 0, 2, 2, import_grid_sample, "align_corners mode padding_mode",
	 "an image read at the positions of a grid", NULL},
	{"", "RoiAlign", 10, 0, 3, 3, import_roi_align,
	 "coordinate_transformation_mode mode output_height output_width sampling_ratio "
	 "spatial_scale",
	 "boxes of an image at one size", NULL},
	{0},
};
