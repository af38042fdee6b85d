/* ops_pool.c: pooling windows, and pooling of whole spatial planes. */
#include "frontend/window.h"

#include <math.h>
#include <string.h>

static double lowest(enum dtype t)
{
	if (dtype_is_float(t))
		return -INFINITY;
	if (dtype_class(t) == DTYPE_UNSIGNED)
		return 0;
	return -ldexp(1, dtype_bits(t) - 1);
}

/* Which element of its window is the largest, as linear position in the whole operand: the windows'
 * elements are laid side by side, strided slices of the padded operand, and their argmax found. */
static struct value *max_indices(struct site *s, const struct window *w, struct value *x,
				 struct value *padded)
{
	int64_t count = 1, step[HONE_MAX_RANK];
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	int rank = rank_of(x);
	for (int i = 0; i < w->axes; i++)
		count *= w->size[i];
	if (count > 1024 || rank >= HONE_MAX_RANK) {
		site_unsupported(s, "indices of windows of %lld elements", (long long)count);
		return NULL;
	}
	struct value **parts = SITE_ARRAY(s, struct value *, (int)count);
	for (int64_t k = 0; k < count; k++) {
		int64_t rest = k;
		for (int i = 0; i < rank; i++) {
			at[i] = dim_int(s, 0);
			size[i] = padded->type.dims[i];
			step[i] = 1;
		}
		for (int i = w->axes - 1; i >= 0; i--, rest /= w->size[i + 1]) {
			at[i + 1] = dim_int(s, rest % w->size[i] * w->dilation[i]);
			size[i + 1] = w->out[i];
			step[i + 1] = w->stride[i];
		}
		parts[k] = insert_axis(s, add_slice(s->b, padded, at, size, step), rank);
		if (!parts[k])
			return NULL;
	}
	struct value *best =
		argreduce(s, "argmax", add_concat(s->b, rank, (int)count, parts), rank, false);
	/* position in the window -> position in the plane */
	bool column_major = attr_int(s, "storage_order", 0);
	struct value *linear = NULL;
	int64_t inner = count;
	for (int n = 0; n < w->axes; n++) {
		int i = column_major ? w->axes - 1 - n : n;
		inner = 1;
		for (int k = i + 1; k < w->axes; k++)
			inner *= w->size[k];
		struct named_real c[] = {{"inner", (double)inner},
					 {"size", (double)w->size[i]},
					 {"stride", (double)w->stride[i]},
					 {"dilation", (double)w->dilation[i]}};
		struct value *lo = reshape(s, add_shape(s->b, 1, &w->lo[i]), 0, NULL);
		struct value *in[3] = {best, iota_at(s, w->out[i], rank, i + 1), lo};
		struct value *here = map_n(s, "rem(a / inner, size) * dilation + b * stride - c",
					   DT_I64, 3, in, 4, c);
		struct value *extent =
			reshape(s, add_shape(s->b, 1, &x->type.dims[i + 2]), 0, NULL);
		linear = linear ? map3(s, "a * b + c", DT_I64, linear, extent, here) : here;
	}
	dim plane = dim_int(s, 1);
	for (int i = 2; i < rank; i++)
		plane = dim_mul(s->dims, plane, x->type.dims[i]);
	struct value *sizes[2] = {reshape(s, add_shape(s->b, 1, &x->type.dims[1]), 0, NULL),
				  reshape(s, add_shape(s->b, 1, &plane), 0, NULL)};
	struct value *in[5] = {linear, iota_at(s, x->type.dims[0], rank, 0),
			       iota_at(s, x->type.dims[1], rank, rank - 1), sizes[0], sizes[1]};
	return map_n(s, "(b * d + c) * e + a", DT_I64, 5, in, 0, NULL);
}

static bool import_max_pool(struct site *s)
{
	struct value *x = s->in[0];
	struct window w;
	if (!window_read(s, x, NULL, &w))
		return false;
	struct value *padded = window_pad(s, &w, channels_last(s, x), lowest(type_of(x)));
	struct value *y = pool(s, padded, REDUCE_MAX, w.axes, w.size, w.stride, w.dilation);
	if (!site_out(s, 0, channels_first(s, y)))
		return false;
	return !site_wants(s, 1) ||
	       site_out(s, 1, channels_first(s, max_indices(s, &w, x, padded)));
}

/* How many elements of each window count: [1, O.., 1]. The pads count with count_include_pad, what
 * ceil_mode adds never. */
static struct value *window_counts(struct site *s, const struct window *w, const struct value *x,
				   bool include)
{
	dim dims[HONE_MAX_RANK], zero = dim_int(s, 0);
	int rank = rank_of(x);
	dims[0] = dims[rank - 1] = dim_int(s, 1);
	for (int i = 0; i < w->axes; i++) {
		dims[i + 1] = x->type.dims[i + 2];
		if (include)
			dims[i + 1] =
				dim_add(s->dims, dim_add(s->dims, dims[i + 1], w->lo[i]), w->hi[i]);
	}
	struct value *ones = splat(s, dtype_compute(type_of(x)), 1, rank, dims);
	struct window rest = *w;
	for (int i = 0; include && i < w->axes; i++)
		rest.lo[i] = rest.hi[i] = zero;
	ones = window_pad(s, &rest, ones, 0);
	return pool(s, ones, REDUCE_SUM, w->axes, w->size, w->stride, w->dilation);
}

static bool import_average_pool(struct site *s)
{
	struct value *x = s->in[0];
	struct window w;
	enum dtype t = type_of(x);
	if (!window_read(s, x, NULL, &w))
		return false;
	bool include = attr_int(s, "count_include_pad", 0), whole = true;
	double count = 1;
	for (int i = 0; i < w.axes; i++) {
		whole = whole && dim_is(w.over[i], 0) &&
			(include || (dim_is(w.lo[i], 0) && dim_is(w.hi[i], 0)));
		count *= (double)w.size[i];
	}
	struct value *padded = window_pad(s, &w, widen(s, channels_last(s, x)), 0);
	struct value *y = pool(s, padded, REDUCE_SUM, w.axes, w.size, w.stride, w.dilation);
	struct value *n =
		whole ? real_scalar(s, dtype_compute(t), count) : window_counts(s, &w, x, include);
	return site_out(s, 0, channels_first(s, map2(s, "a / b", t, y, n)));
}

/* The p-norm of a window. */
static bool import_lp_pool(struct site *s)
{
	struct value *x = s->in[0];
	struct window w;
	struct named_real p = {"p", attr_real(s, "p", 2)};
	enum dtype t = type_of(x);
	if (!window_read(s, x, NULL, &w))
		return false;
	struct value *y = widen(s, channels_last(s, x));
	y = map_n(s, "pow(abs(a), p)", DT_NONE, 1, &y, 1, &p);
	y = pool(s, window_pad(s, &w, y, 0), REDUCE_SUM, w.axes, w.size, w.stride, w.dilation);
	return site_out(s, 0, channels_first(s, map_n(s, "pow(a, 1 / p)", t, 1, &y, 1, &p)));
}

/* ---- whole planes ---- */

static bool import_global(struct site *s)
{
	struct value *x = s->in[0];
	int axes[HONE_MAX_RANK], count = 0;
	struct named_real p = {"p", attr_real(s, "p", 2)};
	enum dtype t = type_of(x);
	if (rank_of(x) < 2)
		return site_invalid(s, "expected at least 2 axes");
	for (int i = 2; i < rank_of(x); i++)
		axes[count++] = i;
	if (!strcmp(s->node->op, "GlobalMaxPool"))
		return site_out(s, 0, reduce_axes(s, REDUCE_MAX, x, count, axes, true));
	x = widen(s, x);
	if (!strcmp(s->node->op, "GlobalAveragePool"))
		return site_out(s, 0, cast_to(s, mean_axes(s, x, count, axes, true), t));
	struct value *y = map_n(s, "pow(abs(a), p)", DT_NONE, 1, &x, 1, &p);
	y = reduce_axes(s, REDUCE_SUM, y, count, axes, true);
	return site_out(s, 0, map_n(s, "pow(a, 1 / p)", t, 1, &y, 1, &p));
}

/* y = 0, with x at its indices: linear positions in the whole result. */
static bool import_max_unpool(struct site *s)
{
	struct value *x = s->in[0], *at = s->in[1];
	struct window w;
	dim dims[HONE_MAX_RANK], all[HONE_MAX_RANK], one = dim_int(s, 1);
	int rank = rank_of(x);
	if (!window_read(s, x, NULL, &w))
		return false;
	memcpy(dims, x->type.dims, sizeof(dims));
	for (int i = 0; i < w.axes; i++) {
		dim span = dim_mul(s->dims, dim_sub(s->dims, dims[i + 2], one),
				   dim_int(s, w.stride[i]));
		span = dim_add(s->dims, span, dim_int(s, w.size[i]));
		dims[i + 2] = dim_sub(s->dims, span, dim_add(s->dims, w.lo[i], w.hi[i]));
	}
	memcpy(all, dims, sizeof(all));
	if (site_in(s, 2) &&
	    (!bind_dims(s, s->in[2], rank, all) || !declared_hint(s, 0, rank, all)))
		return false;
	/* indices count in the plain result, which may be smaller than the one asked for */
	dim plain = dim_int(s, 1), n = type_count(s->g, &x->type);
	for (int i = 0; i < rank; i++)
		plain = dim_mul(s->dims, plain, dims[i]);
	struct value *index = reshape(s, at, 1, &n), *y = splat(s, type_of(x), 0, 1, &plain);
	y = scatter(s, GATHER_TAKE, y, fix_index(s, index, plain), reshape(s, x, 1, &n), 0, "none");
	y = reshape(s, y, rank, dims);
	for (int i = 0; i < rank; i++)
		y = pad_axis(s, y, i, dim_int(s, 0), dim_sub(s->dims, all[i], dims[i]), 0);
	return site_out(s, 0, y);
}

#define WINDOW "auto_pad ceil_mode dilations kernel_shape pads strides"
const struct import_row ops_pool[] = {
	{"", "MaxPool", 1, 0, 1, 1, import_max_pool, WINDOW " storage_order",
	 "largest in each window, and where", NULL},
	{"", "AveragePool", 1, 0, 1, 1, import_average_pool, WINDOW " count_include_pad",
	 "mean of each window", NULL},
	{"", "LpPool", 2, 0, 1, 1, import_lp_pool, WINDOW " p", "p-norm of each window", NULL},
	{"", "GlobalMaxPool", 1, 0, 1, 1, import_global, "", "largest of each plane", NULL},
	{"", "GlobalAveragePool", 1, 0, 1, 1, import_global, "", "mean of each plane", NULL},
	{"", "GlobalLpPool", 2, 0, 1, 1, import_global, "p", "p-norm of each plane", NULL},
	{"", "MaxUnpool", 9, 0, 2, 3, import_max_unpool, "kernel_shape pads strides",
	 "inverse of MaxPool", NULL},
	{0},
};
