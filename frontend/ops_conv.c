/* ops_conv.c: convolutions, each a channels-last conv between two transposes, with padding of its
 * own. */
#include "frontend/window.h"

#include <string.h>

static bool import_conv(struct site *s)
{
	struct value *x = s->in[0], *y = convolve(s, x, s->in[1]);
	if (site_in(s, 2))
		y = map2(s, "a + b", type_of(x), y, s->in[2]);
	return site_out(s, 0, channels_first(s, y));
}

/* ---- ConvTranspose: a valid convolution of x with zeros between its elements, by the weight
 * reversed ---- */

/* [.., d, ..] to [.., (d - 1) * stride + 1, ..], zeros between. */
static struct value *spread(struct site *s, struct value *x, int axis, int64_t stride)
{
	dim dims[HONE_MAX_RANK + 1];
	if (stride == 1 || !x)
		return x;
	int rank = rank_of(x);
	dim d = x->type.dims[axis];
	struct value *wide = insert_axis(s, x, axis + 1);
	wide = pad_axis(s, wide, axis + 1, dim_int(s, 0), dim_int(s, stride - 1), 0);
	memcpy(dims, x->type.dims, sizeof(*dims) * (size_t)rank);
	dims[axis] = dim_mul(s->dims, d, dim_int(s, stride));
	wide = reshape(s, wide, rank, dims);
	return pad_axis(s, wide, axis, dim_int(s, 0), dim_int(s, 1 - stride), 0);
}

/* w [C, M/group, K..] to [K.., C/group, M], each kernel reversed. */
static struct value *reverse_weight(struct site *s, struct value *w, int64_t group)
{
	int rank = rank_of(w), perm[HONE_MAX_RANK + 1], n = 0;
	dim dims[HONE_MAX_RANK + 1], g = dim_int(s, group);
	for (int i = 2; i < rank; i++)
		w = flip_axis(s, w, i);
	if (!w)
		return NULL;
	dim c = dim_floordiv(s->dims, w->type.dims[0], g), m = w->type.dims[1];
	dims[0] = g;
	dims[1] = c;
	dims[2] = m;
	for (int i = 2; i < rank; i++)
		dims[i + 1] = w->type.dims[i];
	w = reshape(s, w, rank + 1, dims);
	for (int i = 3; i <= rank; i++)
		perm[n++] = i;
	perm[n++] = 1;
	perm[n++] = 0;
	perm[n++] = 2;
	w = transpose(s, w, perm);
	for (int i = 3; i <= rank; i++)
		dims[i - 3] = dims[i];
	dims[rank - 2] = c;
	dims[rank - 1] = dim_mul(s->dims, g, m);
	return reshape(s, w, rank, dims);
}

/* The pads cut from the full result: from pads, or so that the wanted size comes out. */
static bool transpose_pads(struct site *s, const struct value *x, struct window *w)
{
	struct dim_pool *p = s->dims;
	struct ints more = attr_ints(s, "output_padding"), shape = attr_ints(s, "output_shape");
	const char *mode = attr_text(s, "auto_pad", "NOTSET");
	bool same = !strncmp(mode, "SAME_", 5), upper = !strcmp(mode, "SAME_UPPER");
	for (int i = 0; i < w->axes; i++) {
		dim d = x->type.dims[i + 2], extra = dim_int(s, ints_or(more, i, 0)), want = NULL;
		if (shape.count == w->axes + 2)
			want = dim_int(s, shape.at[i + 2]);
		else if (shape.count > 0)
			want = dim_int(s, ints_or(shape, i, 0));
		else if (same)
			want = dim_mul(p, d, dim_int(s, w->stride[i]));
		int64_t reach = w->dilation[i] * (w->size[i] - 1) + 1;
		dim full = dim_add(
			p, dim_mul(p, dim_sub(p, d, dim_int(s, 1)), dim_int(s, w->stride[i])),
			dim_int(s, reach));
		struct ints pads = attr_ints(s, "pads");
		w->lo[i] = dim_int(s, ints_or(pads, i, 0));
		w->hi[i] = dim_sub(p, dim_int(s, ints_or(pads, w->axes + i, 0)), extra);
		if (!want)
			continue;
		dim cut = dim_sub(p, dim_add(p, full, extra), want);
		dim half = dim_floordiv(p, cut, dim_int(s, 2)), rest = dim_sub(p, cut, half);
		w->lo[i] = upper ? half : rest;
		w->hi[i] = dim_sub(p, upper ? rest : half, extra);
	}
	return true;
}

static bool import_conv_transpose(struct site *s)
{
	struct value *x = s->in[0], *w = s->in[1];
	struct window win;
	int64_t group = attr_int(s, "group", 1), ones[WINDOW_MAX] = {1, 1, 1};
	if (rank_of(w) != rank_of(x) || group < 1 || rank_of(x) >= HONE_MAX_RANK)
		return site_invalid(s, "the weight has %d axes, the operand %d", rank_of(w),
				    rank_of(x));
	if (!window_read(s, x, w->type.dims + 2, &win) || !transpose_pads(s, x, &win))
		return false;
	struct value *y = channels_last(s, x);
	for (int i = 0; i < win.axes; i++) {
		dim reach = dim_int(s, win.dilation[i] * (win.size[i] - 1));
		y = spread(s, y, i + 1, win.stride[i]);
		y = pad_axis(s, y, i + 1, dim_sub(s->dims, reach, win.lo[i]),
			     dim_sub(s->dims, reach, win.hi[i]), 0);
	}
	struct attrs_conv a = {
		.stride = {win.axes, ones}, .dilation = {win.axes, win.dilation}, .group = group};
	struct node *n =
		add_node(s, OP_conv, 2, (struct value *[]){y, reverse_weight(s, w, group)}, &a);
	y = n ? n->out[0] : NULL;
	if (site_in(s, 2))
		y = map2(s, "a + b", type_of(x), y, s->in[2]);
	return site_out(s, 0, channels_first(s, y));
}

#define WINDOW "auto_pad dilations kernel_shape pads strides group"
const struct import_row ops_conv[] = {
	{"", "Conv", 1, 0, 2, 3, import_conv, WINDOW, "convolution over 1 to 3 axes", NULL},
	{"", "ConvTranspose", 1, 0, 2, 3, import_conv_transpose,
	 WINDOW " output_padding output_shape", "transposed convolution", NULL},
	{0},
};
