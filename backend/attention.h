/* attention.h: the attention driver, in parts:
 *   attention_info.c   is a kernel of that form, where its operands are, words, scratch, plans
 *   attention_score.c  the expression from score to score, in vectors of keys
 *   attention.c        the function: tasks, packed keys, tiles
 * A kernel of this form (the lowering of the op `attention`, ir/op_attention.c):
 *
 *	for b par, i par, h par {
 *	  for j { s[j] = E(sum d { q[b,i,h,d] * k[b,j,g,d] }, b, h, i, j) }
 *	  for e par { y[b,i,h,e] = (sum j { exp(s[j] - m) * v[b,j,g,e] }) / (sum j { exp(s[j] - m) }) } }
 *
 * A task is one batch, one head and `chunk` queries. It packs the keys as panels of vectors, and takes a tile
 * of queries at a time: their scores with a block of keys, which stay in the cache; the maximum, exp and sum of
 * each row; their product with the values. Where there are several blocks of keys, what was summed before is
 * scaled to the new maximum (Milakov and Gimelshein 2018, Online normalizer calculation for softmax). Keys whose
 * scores are proved to be -inf for all queries of a tile are skipped: they count for nothing, whatever v is.
 * Tiles of few queries (decoding) read the keys in place: packing them would cost more than it saves. */
#ifndef BACKEND_ATTENTION_H
#define BACKEND_ATTENTION_H

#include "backend/loops.h"
#include "backend/tile_emit.h"

enum { WINDOW_MAX = 4 };

/* An f32 operand as rows of contiguous elements, for one batch and head: the terms of its address that are
 * neither row nor unit depend on those only. */
struct matrix {
	struct access *at;
	int row_axis, unit_axis;
	dim row, unit; /* elements from row to row, and along a row: unit is 1 but for k */
};

struct attention {
	const struct kernel *k;
	struct loops_info info;             /* addresses of loads and stores */
	int batch, query, head, key;        /* axes */
	dim batches, queries, heads, keys;  /* their extents */
	int64_t depth, width;               /* elements of a row of q and k; of v and y */
	struct matrix q, kt, v, y;          /* kt: the keys */
	const struct expr *score, *product; /* E, and the sum in it */
	/* All scores with keys j >= end, or j < begin, are -inf; both do not fall with the query. */
	int end_count, begin_count;
	const struct expr *end[WINDOW_MAX], *begin[WINDOW_MAX];
	/* by plan */
	dim chunks, tasks, panels, scratch; /* panels: of packed keys; scratch: bytes */
	int64_t query_at, state_at, score_at, sum_at, key_at; /* offsets in scratch, bytes */
	int64_t query_row, score_row, sum_row;                /* bytes from row to row */
};

/* Whether k is attention. Addresses are made in `a`; fills all but what depends on the plan. */
bool attention_analyze(const struct kernel *k, struct arena *a, struct attention *out);
/* Fills the rest by k's plan. */
void attention_layout(struct attention *at);
/* A plan for k on t: false when it is no kernel for this driver. */
bool attention_choose(const struct kernel *k, const struct target *t, struct plan *out);
int attention_enumerate(const struct kernel *k, const struct target *t, struct plan *out, int room);
/* Words, tasks and scratch of a kernel with an attention plan. */
bool attention_abi(const struct kernel *k, struct arena *a, struct kernel_abi *abi, dim *scratch);

/* ---- emission ---- */

struct attention_gen {
	struct emitter *e;
	const struct attention *a;
	const struct attention_plan *plan;
	const struct kernel_abi *abi;
	struct arena *arena;
	LLVMValueRef *word, *base;                       /* of each word and buffer */
	LLVMValueRef scratch;                            /* of the worker */
	LLVMValueRef batch, head;                        /* of the task */
	LLVMValueRef first, last;                        /* its queries: first <= i < last */
	LLVMValueRef q, kt, v, y;                        /* where their batch and head begin */
	LLVMValueRef q_row, k_row, k_unit, v_row, y_row; /* bytes */
	LLVMValueRef keys;                               /* extent */
};

LLVMValueRef attention_dim(struct attention_gen *g, dim d);
/* The value of an i64 expression of batch, head and `query` (may be NULL). */
LLVMValueRef attention_index(struct attention_gen *g, const struct expr *e, LLVMValueRef query);
/* Bytes from the buffer's start of a matrix's batch and head. */
LLVMValueRef attention_base(struct attention_gen *g, const struct matrix *m);
/* One row of scores: `count` products at `row`, with keys from `first` on, become scores of `query`. Returns their
 * maximum or `most`, whichever is larger; lanes up to a whole vector become -inf. */
LLVMValueRef attention_scores(struct attention_gen *g, LLVMValueRef row, LLVMValueRef query,
			      LLVMValueRef first, LLVMValueRef count, LLVMValueRef most);
bool emit_attention(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		    LLVMValueRef fn, struct diag *d);

#endif
