/* contract.h: the contraction driver: convolutions and matrix products by register tiles.
 *   contract_match.c  which kernels are sums of products, and what their loops are for
 *   contract_plan.c   tiles, blocks of k, tasks
 *   contract_packing.c  constants in panels, with or without their zeros
 *   contract_mac.c    multiply-adds of floats, bf16 and bytes
 *   contract_step.c   code of the sum: operands, steps of k
 *   contract_weights.c    the same for weights of few bits
 *   contract_tile.c   the same in the tile registers of AMX
 *   contract.c        code of all around it
 * Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication"; convolutions as products over
 * shifted rows: Georganas et al. 2020, "Harnessing deep learning via a single building block". */
#ifndef BACKEND_CONTRACT_H
#define BACKEND_CONTRACT_H

#include "backend/contract_mac.h"
#include "backend/loops.h"
#include "backend/packing.h"

/* What a loop runs over. Both operands have a batch axis; A alone has the rows (m), B alone the columns (n). */
enum contract_role { CONTRACT_BATCH, CONTRACT_N_OUTER, CONTRACT_N, CONTRACT_M };

enum { CONTRACT_LOOPS_MAX = PACKING_AXES_MAX };
/* Bytes of scratch memory before the sums of tile registers. */
enum { CONTRACT_TILE_SCRATCH = 64 + 4 * TILE_BYTES };

/* One factor. Of sums of bytes it is i32(load) - zero, where zero does not change with k. Of weights of few bits it is
 * f32(load - zero) * scale; those of blocks of k are loads from constants, and are read from panels. */
struct contract_operand {
	const struct expr *load;
	struct access *at;
	const struct expr *zero;             /* NULL: 0 */
	bool negated;                        /* load + zero */
	const struct expr *scale;            /* NULL: 1 */
	struct access *zeros_at, *scales_at; /* of blocks; NULL: the same in all of k */
	int64_t block; /* elements of k, in the order of panels, that share them; 0: all of k */
};

/* out[..] = epilogue(sum over k of a * b). Loops stand as they are nested: batch, outer n, n, m. */
struct contract {
	const struct stmt *store;
	const struct expr *sum;
	const struct mac *mac;
	struct contract_operand a, b;
	bool constant_b;
	bool sums_a, sums_b; /* the sums of rows of A, of columns of B are needed for zeros */
	int count;
	struct {
		const struct stmt *loop;
		enum contract_role role;
	} loops[CONTRACT_LOOPS_MAX];
	int n; /* index of the loop along which the vectors lie; the loops after it are rows */
	/* The reduction's loops from the outside in, neighbours that are contiguous in both operands as one. */
	int k_count;
	struct {
		int axis;
		dim extent;
		int64_t panel_step; /* steps of a panel from one iteration to the next; B packed only */
	} k[CONTRACT_LOOPS_MAX];
	int inner; /* the innermost axis of the sum with more than one element; -1: none */
	dim k_total;
	int64_t panel_steps; /* in all of k: the innermost loop's extent rounded up to steps; B packed only */
};

/* Whether k is a contraction that is computed by this kind of multiply-add, by its expressions. info:
 * loops_analyze's, of k as it is. */
bool contract_match(const struct kernel *k, struct loops_info *info, enum contract_mac mac,
		    struct contract *c);
/* What is subtracted from an operand as its kind of multiply-add takes it, when that is known: see struct mac. */
bool contract_known_zero(const struct contract_operand *o, int bias, int64_t *zero);
int contract_bias_a(const struct contract *c); /* what is added to the elements of A */
int contract_bias_b(const struct contract *c);
/* Elements of the innermost k that one turn of its loop takes; what is left is taken at once. */
int contract_turn(const struct contract *c);
/* Vectors of sums of a tile: a sum of A beside each row, a row of sums of B below them, where needed. */
int contract_width(const struct contract *c, int vectors);
int contract_height(const struct contract *c, int rows);
/* Whether the panels of B can leave out rows that are zero: places of k in A are known at compile time. */
bool contract_can_be_sparse(const struct kernel *k, struct loops_info *info,
			    const struct contract *c);
/* Counts them, as packing_sparsity; of a contraction that can be sparse. */
struct sparsity contract_sparsity(const struct kernel *k, struct loops_info *info,
				  const struct contract *c, double least);
/* Whether an address moves with the axis. */
bool contract_uses(struct loops_info *info, const struct access *a, int axis);
dim contract_extent(const struct kernel *k, const struct contract *c, int loop);

/* Blocks of a column that have factors (zeros, scales) of their own. Panels of them have a step for every
 * contract_factors_group blocks. */
int64_t contract_blocks(const struct contract *c);
int contract_factors_group(const struct access *at);
/* f32 in scratch memory, to which a plan unpacks the panels of a tile of columns: bytes from one panel to the next,
 * and of all; 0: it does not. */
int64_t contract_unpacked_panel(const struct contract *c, const struct contract_plan *plan);
int64_t contract_unpacked_bytes(const struct contract *c, const struct contract_plan *plan);
/* Where sums begin in scratch memory: behind those panels, or what tile registers need there. */
int64_t contract_sums_offset(const struct contract *c, const struct contract_plan *plan);

/* Chooses a plan; false: k is left to another driver. */
bool contract_choose(struct kernel *k, const struct target *t);
/* All plans for k: at most `room`, returns their number. For tests. */
int contract_enumerate(const struct kernel *k, const struct target *t, struct plan *out, int room);
/* loops_analyze for a kernel with a contract plan: its words, tasks and scratch. */
bool contract_analyze(const struct kernel *k, struct arena *a, struct loops_info *info,
		      struct contract *c);

/* Fills fn. */
bool emit_contract(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		   LLVMValueRef fn, struct diag *d);

#endif
