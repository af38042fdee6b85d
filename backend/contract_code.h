/* contract_code.h: what contract.c and contract_step.c share. */
#ifndef BACKEND_CONTRACT_CODE_H
#define BACKEND_CONTRACT_CODE_H

#include "backend/contract.h"

struct tile {
	int outer, inner, vectors; /* rows are outer * inner */
	bool partial;              /* the last vector has lanes past n, masked by `tail` */
};

struct coder {
	struct gen g;
	struct contract c;
	const struct contract_plan *plan;
	struct tile tile;
	LLVMValueRef tail;             /* mask of the last vector of a partial tile */
	LLVMValueRef panels;           /* of the batch; NULL: the first */
	LLVMValueRef panel;            /* of the tile's first column; NULL: B is not packed */
	LLVMValueRef k_low, k_high;    /* of the pass */
	LLVMValueRef first, last;      /* whether the pass is; NULL: there is only one */
	LLVMValueRef waiting;          /* address of a variable: where the tile's sums wait */
	LLVMValueRef sums[COPIES_MAX]; /* [height][width]: contract_height, contract_width */
};

/* A vector of sums. */
LLVMTypeRef contract_sum_type(struct coder *c);
/* Bytes from one panel of 16 columns to the next. */
int64_t contract_panel_bytes(const struct coder *c);
LLVMValueRef contract_offset(struct coder *c, LLVMValueRef base, LLVMValueRef bytes);
/* Adds all of k (or of the pass) to the tile's sums. */
void contract_sum(struct coder *c);
/* The sums of columns of B of vector u of the tile, as they stand with the panel. */
LLVMValueRef contract_column_sums(struct coder *c, int u);

#endif
