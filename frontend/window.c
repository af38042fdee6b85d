/* window.c: the attributes of sliding windows, as dims. */
#include "frontend/window.h"

#include <string.h>

static bool read_lists(struct site *s, const dim *kernel, struct window *w)
{
	struct ints size = attr_ints(s, "kernel_shape"), stride = attr_ints(s, "strides");
	struct ints dilation = attr_ints(s, "dilations");
	for (int i = 0; i < w->axes; i++) {
		if (kernel && !dim_is_const(kernel[i]))
			return site_unsupported(s, "the kernel's size is not constant");
		if (!kernel && i >= size.count)
			return site_invalid(s, "kernel_shape needs %d sizes", w->axes);
		w->size[i] = kernel ? kernel[i]->value : size.at[i];
		w->stride[i] = ints_or(stride, i, 1);
		w->dilation[i] = ints_or(dilation, i, 1);
		if (kernel && i < size.count && size.at[i] != w->size[i])
			return site_invalid(
				s, "kernel_shape says %lld at axis %d, the weight has %lld",
				(long long)size.at[i], i, (long long)w->size[i]);
		if (w->size[i] < 1 || w->stride[i] < 1 || w->dilation[i] < 1 ||
		    w->size[i] > INT32_MAX || w->stride[i] > INT32_MAX ||
		    w->dilation[i] > INT32_MAX)
			return site_invalid(
				s, "kernel sizes, strides and dilations must be at least 1");
	}
	return true;
}

/* floor((in + lo + hi - reach) / stride) + 1, where reach is the window's length. */
static void set_out(struct site *s, struct window *w, int i, dim in, bool ceil_mode)
{
	struct dim_pool *p = s->dims;
	dim one = dim_int(s, 1), zero = dim_int(s, 0), stride = dim_int(s, w->stride[i]);
	dim reach = dim_int(s, w->dilation[i] * (w->size[i] - 1) + 1);
	dim whole = dim_add(p, dim_add(p, in, w->lo[i]), w->hi[i]);
	dim room = dim_sub(p, whole, reach);
	w->over[i] = zero;
	w->out[i] = dim_max(p, dim_add(p, dim_floordiv(p, room, stride), one), zero);
	if (!ceil_mode)
		return;
	/* the last window must begin in the operand or the pad before it */
	dim out = dim_add(p, dim_ceildiv(p, room, stride), one);
	dim begins = dim_ceildiv(p, dim_add(p, in, w->lo[i]), stride);
	w->out[i] = dim_max(p, dim_min(p, out, begins), zero);
	dim used = dim_add(p, dim_mul(p, dim_sub(p, w->out[i], one), stride), reach);
	w->over[i] = dim_max(p, dim_sub(p, used, whole), zero);
}

/* SAME: out = ceil(in / stride); the pads are what that needs, the odd one at the end (UPPER) or
 * start. */
static void same_pads(struct site *s, struct window *w, int i, dim in, bool upper)
{
	struct dim_pool *p = s->dims;
	dim stride = dim_int(s, w->stride[i]), one = dim_int(s, 1);
	dim reach = dim_int(s, w->dilation[i] * (w->size[i] - 1) + 1);
	dim out = dim_ceildiv(p, in, stride);
	dim need = dim_sub(p, dim_add(p, dim_mul(p, dim_sub(p, out, one), stride), reach), in);
	need = dim_max(p, need, dim_int(s, 0));
	dim half = dim_floordiv(p, need, dim_int(s, 2)), rest = dim_sub(p, need, half);
	w->lo[i] = upper ? half : rest;
	w->hi[i] = upper ? rest : half;
}

bool window_read(struct site *s, const struct value *x, const dim *kernel, struct window *w)
{
	struct ints pads = attr_ints(s, "pads");
	const char *mode = attr_text(s, "auto_pad", "NOTSET");
	bool same = !strncmp(mode, "SAME_", 5), ceil_mode = attr_int(s, "ceil_mode", 0);
	*w = (struct window){.axes = rank_of(x) - 2};
	if (w->axes < 1)
		return site_invalid(s, "expected at least 3 axes, found %d", rank_of(x));
	if (w->axes > WINDOW_MAX)
		return site_unsupported(s, "more than %d spatial axes", WINDOW_MAX);
	if (strcmp(mode, "NOTSET") && strcmp(mode, "VALID") && strcmp(mode, "SAME_UPPER") &&
	    strcmp(mode, "SAME_LOWER"))
		return site_invalid(s, "unknown auto_pad \"%s\"", mode);
	if (!read_lists(s, kernel, w))
		return false;
	for (int i = 0; i < w->axes; i++) {
		dim in = x->type.dims[i + 2];
		int64_t lo = ints_or(pads, i, 0), hi = ints_or(pads, w->axes + i, 0);
		if (!strcmp(mode, "VALID"))
			lo = hi = 0;
		if (lo < 0 || hi < 0 || lo > INT32_MAX || hi > INT32_MAX)
			return site_unsupported(s, "pads outside of 0..2^31");
		w->lo[i] = dim_int(s, lo);
		w->hi[i] = dim_int(s, hi);
		if (same)
			same_pads(s, w, i, in, !strcmp(mode, "SAME_UPPER"));
		set_out(s, w, i, in, ceil_mode && !same);
	}
	return true;
}

struct value *window_pad(struct site *s, const struct window *w, struct value *x, double value)
{
	dim lo[HONE_MAX_RANK], hi[HONE_MAX_RANK];
	bool none = true;
	if (!x)
		return NULL;
	for (int i = 0; i < rank_of(x); i++)
		lo[i] = hi[i] = dim_int(s, 0);
	for (int i = 0; i < w->axes; i++) {
		lo[i + 1] = w->lo[i];
		hi[i + 1] = dim_add(s->dims, w->hi[i], w->over[i]);
		none = none && dim_is(lo[i + 1], 0) && dim_is(hi[i + 1], 0);
	}
	return none ? x : add_pad(s->b, x, lo, hi, value);
}

struct value *channels_last(struct site *s, struct value *x)
{
	return x ? move_axis(s, x, 1, rank_of(x) - 1) : NULL;
}

struct value *channels_first(struct site *s, struct value *x)
{
	return x ? move_axis(s, x, rank_of(x) - 1, 1) : NULL;
}

struct value *per_channel(struct site *s, struct value *v, int rank)
{
	dim dims[HONE_MAX_RANK];
	if (!v)
		return NULL;
	if (rank_of(v) != 1) {
		site_invalid(s, "expected one number for each channel, found %d axes", rank_of(v));
		return NULL;
	}
	if (rank < 2)
		return v;
	dims[0] = v->type.dims[0];
	for (int i = 1; i < rank - 1; i++)
		dims[i] = dim_int(s, 1);
	return reshape(s, v, rank - 1, dims);
}

bool convolution_read(struct site *s, struct value *x, struct value *w, struct window *win)
{
	if (!x || !w)
		return false;
	if (rank_of(w) != rank_of(x))
		return site_invalid(s, "the weight has %d axes, the operand %d", rank_of(w),
				    rank_of(x));
	return window_read(s, x, w->type.dims + 2, win);
}

struct value *filters_last(struct site *s, struct value *w)
{
	int perm[HONE_MAX_RANK], rank = rank_of(w);
	for (int i = 0; i < rank - 2; i++)
		perm[i] = i + 2;
	perm[rank - 2] = 1;
	perm[rank - 1] = 0;
	return transpose(s, w, perm);
}

struct value *convolve_padded(struct site *s, const struct window *win, struct value *x,
			      struct value *w)
{
	struct value *in[2] = {x, w};
	struct attrs_conv a = {.stride = {win->axes, (int64_t *)win->stride},
			       .dilation = {win->axes, (int64_t *)win->dilation},
			       .group = attr_int(s, "group", 1)};
	struct node *n = x && w ? add_node(s, OP_conv, 2, in, &a) : NULL;
	return n ? n->out[0] : NULL;
}

struct value *convolve(struct site *s, struct value *x, struct value *w)
{
	struct window win;
	if (!convolution_read(s, x, w, &win))
		return NULL;
	return convolve_padded(s, &win, window_pad(s, &win, channels_last(s, x), 0),
			       filters_last(s, w));
}
