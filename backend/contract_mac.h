/* contract_mac.h: the kinds of multiply-add of the contraction driver, one row each.
 * A step takes `k` neighbours in k at once: 4 bytes of a row of A, repeated in all lanes, and a vector of B, whose
 * 4-byte lane n holds the same k elements of column n. Both are split in `parts` operands; for each part one
 * multiply-add goes into the vector of sums. Elements past the end of k are zeros in both. */
#ifndef BACKEND_CONTRACT_MAC_H
#define BACKEND_CONTRACT_MAC_H

#include "backend/scalar_emit.h"

enum { PARTS_MAX = 4 };

/* Tile registers: up to 16 rows of 64 bytes. B's rows are steps of a panel as they stand in memory. */
enum { TILE_ROWS = 16, TILE_BYTES = TILE_ROWS * 64 };

struct mac {
	/* Sums of i32 products of bytes: of A unsigned, of B signed; whoever reads them adds 128 to signed ones of A
	 * and subtracts it from unsigned ones of B, and takes that back from the sum. Else f32. */
	bool integer;
	/* The products of AMX, A's bytes of either sign: sums are in tile registers (contract_tile.c); what follows but k
	 * and `offered` is for vectors. */
	bool tiles;
	enum dtype
		storage; /* of both operands in memory: DT_BF16; DT_NONE: any that is read as f32 */
	int k, parts;
	int work;  /* operations of one step for a vector of sums */
	int split; /* operations that make the parts of one operand */
	int bits; /* of B's elements, which are weights of few bits, made f32 one by one; A is f32. 0: not so */
	bool (*offered)(const struct target *t);
	/* v: a vector of i32, or of f32 where k is 1. part[parts] */
	void (*split_a)(struct emitter *e, LLVMValueRef v, LLVMValueRef *part);
	void (*split_b)(struct emitter *e, LLVMValueRef v, LLVMValueRef *part);
	/* sum + a * b, of f32 or i32; all of the same number of lanes */
	LLVMValueRef (*add)(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum);
};

/* In order of preference. By enum contract_mac. */
extern const struct mac mac_table[];

#endif
