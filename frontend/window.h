/* window.h: windows that slide over spatial axes, for convolution and pooling. Source: ONNX
 * operator specification, Conv and MaxPool, attributes auto_pad, pads, strides, dilations,
 * kernel_shape, ceil_mode. */
#ifndef FRONTEND_WINDOW_H
#define FRONTEND_WINDOW_H

#include "frontend/site.h"

#define WINDOW_MAX 3

struct window {
	int axes; /* spatial axes, 1 to WINDOW_MAX; x has two more */
	int64_t size[WINDOW_MAX], stride[WINDOW_MAX], dilation[WINDOW_MAX];
	dim lo[WINDOW_MAX], hi[WINDOW_MAX]; /* pads */
	dim over[WINDOW_MAX]; /* ceil_mode: more at the end, so that the last window is whole */
	dim out[WINDOW_MAX];
};

/* Reads the attributes for operand x [N,C,D..]; kernel: sizes from a weight's dims (NULL: from
 * kernel_shape). */
bool window_read(struct site *s, const struct value *x, const dim *kernel, struct window *w);
/* x [N,D..,C] with the pads (and `over`) around, filled with `value`. */
struct value *window_pad(struct site *s, const struct window *w, struct value *x, double value);

/* [N,C,D..] to [N,D..,C] and back. */
struct value *channels_last(struct site *s, struct value *x);
struct value *channels_first(struct site *s, struct value *x);
/* A vector over channels as [C,1..], to be broadcast over [N,C,D..] of rank `rank`. */
struct value *per_channel(struct site *s, struct value *v, int rank);

/* The convolution the node's attributes describe, x [N,C,D..] and w [M,C/group,K..]; result
 * channels-last. NULL: reported. */
struct value *convolve(struct site *s, struct value *x, struct value *w);
/* Its parts, for operands that are changed in between: the filters as [K..,C/group,M], and the convolution of padded
 * channels-last x by them. */
struct value *filters_last(struct site *s, struct value *w);
struct value *convolve_padded(struct site *s, const struct window *win, struct value *x,
			      struct value *w);
/* Reads the window of a convolution of x [N,C,D..] by w [M,C/group,K..]. */
bool convolution_read(struct site *s, struct value *x, struct value *w, struct window *win);

#endif
