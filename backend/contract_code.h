/* contract_code.h: what contract.c and contract_step.c share. */
#ifndef BACKEND_CONTRACT_CODE_H
#define BACKEND_CONTRACT_CODE_H

#include "backend/contract.h"

struct tile {
	int outer, inner, vectors; /* rows are outer * inner */
	bool partial;              /* the last vector has lanes past n, masked by `tail` */
	LLVMValueRef valid;        /* of `inner`, known when it runs; NULL: all */
};

struct coder {
	struct gen g;
	struct contract c;
	const struct contract_plan *plan;
	struct tile tile;
	LLVMValueRef tail; /* mask of the last vector of a partial tile */
	LLVMValueRef
		panel; /* of the tile's first column (sparse: its packing_entry); NULL: B is not packed */
	LLVMValueRef k_low, k_high; /* of the pass */
	LLVMValueRef first, last;   /* whether the pass is; NULL: there is only one */
	LLVMValueRef waiting;       /* address of a variable: where the tile's sums wait */
	LLVMValueRef ahead;         /* panels that the tile asks for, at this step; NULL: its own */
	LLVMValueRef ahead_at;      /* address of a variable: where the next tile begins to ask */
	int ahead_shift; /* log2 of the tiles that ask for the next panels; 0: none does */
	bool one_shape;  /* of all tiles of AMX: they are configured once a task */
	LLVMValueRef sums[COPIES_MAX]; /* [height][width]: contract_height, contract_width */
	/* Weights of few bits. When they were unpacked, c is the contraction by what they became. */
	struct contract weights;
	LLVMValueRef unpacked;         /* where the panels of f32 begin; NULL: they are not */
	LLVMValueRef scales, zeros;    /* panels of those of blocks; NULL: there are none */
	LLVMValueRef block;            /* number of the block at which the loops over k stand */
	LLVMValueRef zero[COPIES_MAX]; /* of each vector of the tile; NULL: 0 */
};

/* A vector of sums. */
LLVMTypeRef contract_sum_type(struct coder *c);
/* Bytes from one panel of 16 columns to the next; sparse: from one packing_entry to the next. */
int64_t contract_panel_bytes(const struct coder *c);
LLVMValueRef contract_offset(struct coder *c, LLVMValueRef base, LLVMValueRef bytes);
LLVMValueRef contract_displaced(struct coder *c, LLVMValueRef base, int64_t bytes);
/* Vector u of the tile in a step of panels that are `panel_bytes` apart. */
LLVMValueRef contract_load_panel(struct coder *c, LLVMValueRef step, int64_t panel_bytes, int u,
				 LLVMTypeRef type);
/* Where the panel of a packed operand begins that holds the tile's first column. */
LLVMValueRef contract_panel(struct coder *c, const struct access *of, int64_t panel_bytes);
/* Adds all of k (or of the pass) to the tile's sums. */
void contract_sum(struct coder *c);
/* The sum over iterations low..high of the innermost loop over k, block by block, each with its scale. */
void contract_weights_blocks(struct coder *c, LLVMValueRef panel, LLVMValueRef low,
			     LLVMValueRef high);
/* Adds `count` elements of k of weights that are still packed. */
void contract_weights_multiply(struct coder *c, LLVMValueRef step, int count);
/* Finds where the factors of the tile's weights are; before its sums. */
void contract_weights_begin(struct coder *c);
/* Unpacks the weights of the tile's columns, all of k or of the pass; from then on c->c reads them as f32. */
void contract_unpack(struct coder *c);
/* The number of the block at iteration `index` of loop `depth` over k. */
LLVMValueRef contract_block_at(struct coder *c, int depth, LLVMValueRef index);
/* The same without blocks, in steps of the kind of multiply-add. */
void contract_inner_sum(struct coder *c, LLVMValueRef panel, LLVMValueRef low, LLVMValueRef high);
/* The sum over sparse panels. */
void contract_sparse_sum(struct coder *c);
/* Adds a * b, the parts of elements of both. */
void contract_add(struct coder *c, const LLVMValueRef *a, const LLVMValueRef *b, LLVMValueRef *sum);
/* The sums of columns of B of vector u of the tile, as they stand with the panel. */
LLVMValueRef contract_column_sums(struct coder *c, int u);

/* A variable for a pointer. */
LLVMValueRef contract_variable(struct coder *c);

/* ---- what is asked for in advance: contract_prefetch.c ---- */

/* The lines that the tile will store: they come while the sums run. */
void contract_prefetch_results(struct coder *c);
/* Before the tiles of rows of some columns (or of a pass over k of them). */
void contract_prefetch_columns(struct coder *c);
/* Around the sum of a tile. */
void contract_prefetch_begin(struct coder *c);
void contract_prefetch_end(struct coder *c);
/* Inside a loop over k, which has moved the panel by `index` times so many bytes. */
void contract_prefetch_advance(struct coder *c, LLVMValueRef index, int64_t bytes);
/* In a step, which reads panels at `step`. */
void contract_prefetch_step(struct coder *c, LLVMValueRef step);

/* ---- tile registers: contract_tile.c ---- */

/* Configures the registers for tiles of so many rows; valid: rows at run time, at most inner, where outer is 1; NULL:
 * all. What they held is lost. */
void contract_tile_shape(struct coder *c, int outer, int inner, LLVMValueRef valid);
void contract_tile_release(struct coder *c);
/* Sums begin with zeros, or with what the pass before left at `base`, where they are stored. */
void contract_tile_begin(struct coder *c, LLVMValueRef base);
void contract_tile_store(struct coder *c, LLVMValueRef base);
/* Adds `count` elements of k, contract_turn() or what is left. step: of the tile's first panel. */
void contract_tile_multiply(struct coder *c, LLVMValueRef step, int count);

#endif
