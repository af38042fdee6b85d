/* quantize.h: between the files of the pass quantize.
 *   quantize.c         options, the table of modes, the layers, weights of few bits
 *   quantize_int8.c    modes int8 and int8-dynamic
 *
 * Quantized values stand in the IR as what they are: a constant or a map of bytes, and a map that makes numbers of
 * it again, which other passes and the code generator recognize:
 *
 *	%q: u8[..] = map(%x) (x: f32) -> u8(rne(x * 31.5) + 128.0)
 *	%d: f32[..] = map(%q) (q: u8) -> f32(i32(q) - 128) * 0.0317
 *	%w: f32[K,N] = map(const i8[K,N], const f32[N]) (a: i8, b: f32) -> f32(a) * b
 *	%y = matmul(%d, %w)
 *
 * The pass integer_products computes contractions of two such values in integers; one with a weight of this form alone
 * is left to the contraction driver, which unpacks it. */
#ifndef PASSES_QUANTIZE_H
#define PASSES_QUANTIZE_H

#include "passes/patterns.h"

/* A contraction (matmul or conv) of computed data, in[0], by a constant f32 weight, in[1]. */
struct layer {
	struct node *node;
	struct value *weight;
	const float *
		data; /* of the weight, in C order: [.., columns]; its last axis are the output channels */
	int64_t columns, rows; /* columns of the weight, and all its other axes as one */
	int64_t k;             /* products in one sum: conv: of one group */
	double work;           /* multiply-adds of one sample (symbolic dims count 1) */
};

struct quantizing {
	struct pass_context *c;
	const char *option; /* what follows the mode's name and a colon, or "" */
	double max_error;   /* --max-error; 0: not given */
	struct {
		struct layer *at;
		int count, room;
	} layers; /* in order */
};

/* A way to quantize: a row of the table in quantize.c. */
struct quantize_mode {
	const char *name, *summary;
	bool calibrates; /* needs --calibrate */
	/* Rewrites the graph. Layers that do not suit it are left as they are; when none does, it warns. False:
	 * reported. */
	bool (*run)(struct quantizing *q);
};
extern const struct quantize_mode quantize_modes[]; /* ended by a name of NULL */

/* Reports that an option of a mode is not known. Always false. */
bool quantize_bad_option(const struct quantizing *q, const char *expected);

/* Largest magnitude of each column of a layer's weight: `columns` floats in `a`. */
float *layer_column_range(const struct layer *l, struct arena *a);
/* round(x / scale) to even, clamped to -limit..limit; 0 where the scale is 0. */
int8_t quantize_round(float x, float scale, int limit);

/* The weight of a layer as i8 with a scale for each column (symmetric, -127..127): the map that gives it back, in f32,
 * of the weight's dims. NULL: reported. */
struct value *quantize_weight(struct builder *b, const struct layer *l);
/* The map of whole tensor %q (u8 or i8) back to f32, with scale and zero point of rank 0. */
struct value *add_dequantize(struct builder *b, struct value *q, struct value *scale,
			     struct value *zero);
/* %x in u8: rne(x / scale) + zero, clamped. */
struct value *add_quantize(struct builder *b, struct value *x, struct value *scale,
			   struct value *zero);
/* The layer's node computes on these operands instead (NULL: as before). False: reported. */
bool layer_replace(struct quantizing *q, struct layer *l, struct value *x, struct value *weight);

/* quantize_int8.c */
bool quantize_int8(struct quantizing *q);
bool quantize_int8_dynamic(struct quantizing *q);

#endif
