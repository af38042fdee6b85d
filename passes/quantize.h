/* quantize.h: between the files of the pass quantize.
 *   quantize.c         options, the table of modes, the layers, weights of few bits
 *   quantize_int8.c    modes int8 and int8-dynamic
 *   quantize_static.c  models in which chosen layers are quantized, and their error
 *   quantize_range.c   ranges of activations, from calibration
 *   quantize_auto.c    mode auto: the choice of layers by an allowed error
 *   quantize_bf16.c    mode bf16
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

#include "passes/calibration.h"
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
/* %x in u8: rne(x * (1 / scale)) + zero, clamped. */
struct value *add_quantize(struct builder *b, struct value *x, struct value *scale,
			   struct value *zero);
/* Whether products of bytes pay for a layer: its sums are long enough to be worth quantizing its operand, and the tiles
 * have columns. */
bool layer_suits_bytes(const struct layer *l);
/* What x is moved from, with zeros at most added: quantized there, bytes are moved instead. pools: through max pools
 * too, as fits scales that are known to be positive. */
struct value *layer_origin(struct value *x, bool pools);
/* x, moved from `from` as it is, from `with` instead. NULL: reported. */
struct value *move_again(struct builder *b, struct value *x, const struct value *from,
			 struct value *with);
/* Where new nodes see x and are seen by all that reads it. */
struct builder build_after(struct quantizing *q, struct value *x);
/* The layer's node computes on these operands instead (NULL: as before). False: reported. */
bool layer_replace(struct quantizing *q, struct layer *l, struct value *x, struct value *weight);

/* ---- ranges (quantize_range.c) ---- */

struct range {
	float low, high; /* 0 is in it */
};

/* How ranges are made from what was seen. */
struct range_rule {
	double percentile; /* so much of the values lies inside, in percent; 100: all */
};

/* The ranges of `count` f32 values of the body on the calibration samples, in the pass's scratch memory. NULL:
 * reported. */
struct range *quantize_ranges(struct quantizing *q, int count, struct value *const *values,
			      struct range_rule rule);

/* ---- int8 ---- */

/* A value that layers read, maybe moved: what is quantized. */
struct activation {
	struct value *x;
	struct range range;
	bool shared; /* all that reads it gets the quantized one */
};

/* Plans of static quantization: quantize_static.c builds graphs by them, int8 and auto choose. */
struct static_plan {
	struct quantizing *q;
	int *activation; /* of each layer: its number; -1: the layer is not suited */
	struct {
		struct activation *at;
		int count, room;
	} activations;
	struct value **weights; /* of each layer, once made */
	struct node *last;      /* of the model, before variants were added behind it */
	struct value *
		*map; /* of the variant built last: by id of the model's value its copy, or NULL */
};

/* Finds what can be quantized, and measures the ranges. False: reported. */
bool static_open(struct static_plan *p, struct quantizing *q, struct range_rule rule);
/* Adds a copy of the model in which the chosen layers compute on bytes: `outputs` gets its results. What does not
 * depend on them is not copied. False: reported. */
bool static_build(struct static_plan *p, const bool *chosen, struct value **outputs);
/* The error of such copies: root of the mean square of the difference, relative to that of the output; the largest of
 * all outputs of floats, NaN where there are none. errors[i] is for chosen[i]; all are measured in one go, on at most `samples` samples. */
bool static_errors(struct static_plan *p, int count, bool *const *chosen, int samples,
		   double *errors);
enum {
	ERROR_SAMPLES = 64,
	LAYER_SAMPLES = 16
}; /* for the error of a choice; for those of single layers */

/* Whether there is an output of floats to compare. */
bool static_has_outputs(const struct static_plan *p);
/* The error of each layer's own result when it alone is quantized, relative to that; NaN where it cannot be. All in one
 * go, on at most `samples` samples. */
bool static_layer_errors(struct static_plan *p, int samples, double *errors);
/* Prints and reports which layers are quantized, the error of that choice, and an error for each layer, of the kind that
 * `what` names. */
void quantize_report(const struct static_plan *p, const bool *chosen, const char *what,
		     const double *errors, double error);
/* Makes one of them the model. False: reported. */
bool static_commit(struct static_plan *p, const bool *chosen);

bool quantize_int8(struct quantizing *q);         /* quantize_int8.c */
bool quantize_int8_dynamic(struct quantizing *q); /* quantize_int8.c */
bool quantize_auto(struct quantizing *q);         /* quantize_auto.c */

/* quantize_compensate.c */
/* factors[layer]: what compensation_row needs for the layer, [k,k], from the calibration samples; NULL where the layer is
 * no matrix product or too large. False: reported. */
bool compensation_measure(struct quantizing *q, const double **factors);
/* Row `row` of w [k,columns] was rounded, with the error (what it was less what it is): rows up to `end` make up for it.
 * u: of compensation_measure. */
void compensation_row(const double *u, int k, int row, int end, const float *error, float *w,
		      int64_t columns);

/* quantize_weight.c */
/* Large constant tables, rows of which are taken (embeddings), as i8 with a scale for each row. False: reported. */
bool quantize_tables(struct quantizing *q);
bool quantize_int8_weight(struct quantizing *q);
bool quantize_int4_weight(struct quantizing *q);
/* quantize_bf16.c */
bool quantize_bf16(struct quantizing *q);

#endif
