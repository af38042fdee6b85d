/* calls.h: the `call` routines: what is not a loop nest. Arrays are contiguous. An operand or
 * result that is absent has rank -1 (or lies past the count). Results whose dims depend on data
 * come with their capacity as dims; the routine sets the actual dims and packs the rows for them.
 * Every routine returns 0, or HONE_FAIL_CALL when it cannot take its arguments (4- and 2-bit types,
 * strings, a result without room, values out of range). Numbers are ordered as in numpy: NaN is the
 * largest, all NaNs are equal, -0 equals +0.
 *
 * topk         in x; attrs axis, largest, sorted, k; out values, i64 positions (either may be
 *              absent). Ties: the lower position first. k may be -1: the dim of the result.
 * sort         in x; attrs axis, descending; out values, i64 positions. Stable.
 * argsort      in x; attrs axis, descending; out i64 positions. Stable.
 * nonzero      in x; out i64 [rank, K], or i64 [K] of linear positions in C order; bound K.
 * unique       in x; attrs axis (-1000: flat), sorted; out y, i64 first positions, i64 inverse,
 *              i64 counts (any may be absent); bound K. Not sorted: by first appearance.
 * nms          in boxes f32 [B,N,4], scores f32 [B,C,N], i64 largest count of each class (absent:
 *              0), f32 IoU threshold (absent: 0), f32 score threshold (absent: none); attrs center;
 *              out i64 [K,3]: batch, class, box; bound K. ONNX NonMaxSuppression-11.
 * random       attrs kind (0 uniform, 1 normal, 2 bernoulli), seed, a, b (bits of f64); out y.
 *              uniform: from a to b; normal: mean a, deviation b; bernoulli: 1 with probability
 *              a, or with in p: with probability p of each element.
 * multinomial  in logits [B,C]; attrs seed; out i32 or i64 [B,S]. */
#ifndef RUNTIME_CALLS_H
#define RUNTIME_CALLS_H

#include "runtime/program.h"

#define UNIQUE_FLAT (-1000)

/* ROUTINE(name): one line for each. */
#define HONE_CALL_ROUTINES(ROUTINE) \
	ROUTINE(topk)               \
	ROUTINE(sort)               \
	ROUTINE(argsort)            \
	ROUTINE(nonzero)            \
	ROUTINE(unique)             \
	ROUTINE(nms)                \
	ROUTINE(random)             \
	ROUTINE(multinomial)

#define ROUTINE(name)                                          \
	int32_t hone_call_##name(const struct hone_call *);    \
	int64_t hone_scratch_##name(const struct hone_call *);
HONE_CALL_ROUTINES(ROUTINE)
#undef ROUTINE

#endif
