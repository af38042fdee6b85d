/* tile_emit.h: what drivers with register tiles share: counted loops with carried values, memory at byte
 * offsets, and the inner loop of a tile of rows times vectors. */
#ifndef BACKEND_TILE_EMIT_H
#define BACKEND_TILE_EMIT_H

#include "backend/scalar_emit.h"

enum { TILE_VALUES = 32 };

/* for index = low; index < high; index += step, with values carried from turn to turn. No turn when
 * low >= high: then the results are the initial values. */
struct count_loop {
	LLVMBasicBlockRef before, body, after;
	LLVMValueRef index, high;
	int64_t step;
	int count;
	LLVMValueRef initial[TILE_VALUES];
	LLVMValueRef value[TILE_VALUES]; /* in the body: current values; after the close: results */
};

void count_open(struct emitter *e, struct count_loop *l, LLVMValueRef low, LLVMValueRef high,
		int64_t step, int count, const LLVMValueRef *initial);
void count_close(struct emitter *e, struct count_loop *l, const LLVMValueRef *next);

LLVMValueRef tile_i64(struct emitter *e, int64_t x);
/* p + bytes; bytes NULL: 0. */
LLVMValueRef tile_at(struct emitter *e, LLVMValueRef p, LLVMValueRef bytes, int64_t more);
/* f32 vectors in memory, aligned to elements; mask (i1 lanes) NULL: all lanes. Masked-off lanes read 0. */
LLVMValueRef tile_load(struct emitter *e, LLVMValueRef p, int lanes, LLVMValueRef mask);
void tile_store(struct emitter *e, LLVMValueRef p, LLVMValueRef v, int lanes, LLVMValueRef mask);
/* Lanes i with first + i < count, as i1. */
LLVMValueRef tile_mask(struct emitter *e, LLVMValueRef first, LLVMValueRef count, int lanes);
/* row[i] lane j becomes row[j] lane i; n is a power of two, rows are vectors of n lanes. */
void tile_transpose(struct emitter *e, LLVMValueRef *row, int n);
/* The sum of the lanes of each of n vectors of n lanes, as one vector. Changes row. */
LLVMValueRef tile_sums(struct emitter *e, LLVMValueRef *row, int n);

/* acc[r][v] += sum over s < k of a[r, s] * b[s, v], in f32:
 *   a[r, s]: one element at a + r * a_row + 4 * s (bytes)
 *   b[s, v]: `lanes` elements at b + s * b_step + 4 * lanes * v (bytes), the last vector under `mask` */
struct tile {
	int rows, vectors, lanes;
	LLVMValueRef a, b, b_step, k, mask;
	int64_t a_row;
};
/* acc: rows * vectors values, a row after the other, at most TILE_VALUES. */
void emit_tile(struct emitter *e, const struct tile *t, LLVMValueRef *acc);

#endif
