/* plan.h: how a kernel is computed: a driver and its parameters. Chosen by backend/, printed after the
 * kernel, read back by the parser. */
#ifndef IR_PLAN_H
#define IR_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum driver {
	DRIVER_NONE,      /* not chosen yet */
	DRIVER_LOOPS,     /* vectorized nests: takes every kernel that is not a call */
	DRIVER_CONTRACT,  /* sums of products: register tiles over packed panels */
	DRIVER_ATTENTION, /* softmax(q k) v by tiles: backend/attention.h */
	DRIVER_CALL,      /* a runtime routine */
	DRIVER_COUNT
};
extern const char *const driver_names[DRIVER_COUNT + 1];

/* One entry for each store or set of the kernel, in order. */
struct loops_plan {
	int count;
	struct loops_nest {
		int vector_axis; /* axis id vectorized over, or -1: scalar */
		int lanes;       /* elements in a vector */
		int unroll;      /* vectors computed together along it */
		int tail_bits; /* the narrowest element in memory along it: decides how tails are masked */
		int block_axis,
			block; /* an outer axis of which `block` iterations share loads (register block); -1: none */
	} *nests;
};

/* How products are added up. The same sums, whatever the kind: integers exactly, floats in order of k (BF16_DOT: with
 * the roundings of its instruction). backend/contract_mac.c has a row for each. */
enum contract_mac {
	MAC_I8_TILE,   /* products of bytes in the tile registers of AMX */
	MAC_BF16_TILE, /* products of bf16 there */
	MAC_I8_DOT,    /* four products of bytes at once */
	MAC_I8_MADD,   /* bytes as i16, two products at once */
	MAC_I8_MUL,    /* bytes as i32 */
	MAC_BF16_DOT,  /* two products of bf16 at once */
	MAC_BF16_FMA,  /* bf16 as f32 */
	MAC_W8_F32,    /* weights of 8 bits, (q - zero) * scale, as f32 */
	MAC_W4_F32,    /* of 4 bits */
	MAC_F32,
	MAC_COUNT
};
extern const char *const contract_mac_names[MAC_COUNT + 1];

/* A sum of products out[batch, m, n] = epilogue(sum over k of A[batch, m, k] * B[batch, k, n]), computed by tiles
 * of rows (of m) times vectors (along n) whose sums stay in registers while k runs (Goto and van de Geijn 2008,
 * "Anatomy of high-performance matrix multiplication"). */
struct contract_plan {
	enum contract_mac mac;
	int lanes, vectors; /* columns of a tile: vectors * lanes */
	int rows[2]; /* rows of a tile: rows[1] of the inner m axis times rows[0] of the one around it */
	int packed;  /* the buffer that is stored in panels, -1: B is read in place */
	bool sparse; /* its panels hold only those rows that are not zero, and their places in k */
	struct sparsity {
		int64_t rows, kept; /* rows of all panels; of them not all zero */
		int64_t lines;      /* of 64 bytes, that kept rows and their places take */
	} sparsity;                 /* of a constant f32 B in panels; rows 0: not looked at */
	bool unpack; /* weights of few bits become panels of f32 in scratch memory before the rows go by */
	int k_step;    /* iterations of the outermost k loop in one pass over the rows; 0: all */
	bool prefetch; /* panels come from beyond L2 */
	bool prefetch_results; /* asks for what a tile will store before its sums run */
	bool tile_epilogue; /* sums go through scratch memory, and the epilogue runs row by row */
	int task_count;     /* loops cut into tasks, in the order in which tasks are counted */
	struct {
		int axis;
		int64_t step; /* iterations in one task */
	} tasks[8];
};

struct attention_plan {
	int lanes;   /* elements in a vector */
	int rows;    /* queries of a tile */
	int tail;    /* queries of a small tile, for what remains; 0: there is none */
	bool direct; /* small tiles read the keys in place, as dot products */
	int vectors; /* columns of a tile, in vectors of keys or of elements of v */
	int keys;    /* of a block: their scores are in scratch */
	int chunk;   /* queries of a task */
};

struct plan {
	enum driver driver;
	union {
		struct loops_plan loops;
		struct contract_plan contract;
		struct attention_plan attention;
	};
};

#endif
