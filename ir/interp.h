/* interp.h: the inside of the interpreter engine (engine.h), in these files:
 *   interp_code.c  a kernel becomes a tree of blocks of flat instructions over numbered registers
 *   interp_exec.c  runs them on host tensors
 *   interp_host.c  host tensors and their elements
 *   interp_flow.c  control flow
 *   interp.c       the engine: binds dims, walks the graph, checks requirements
 * It is the oracle, so it follows the kernel as written: every index is checked, float sums and products are
 * accumulated in f64 and rounded once, every other operation is scalar_eval (or the same in line). */
#ifndef IR_INTERP_H
#define IR_INTERP_H

#include "ir/kernel.h"

/* ---- code ---- */

enum instr_op {
	I_EVAL,    /* dst = scalar op `op` of regs a, b, c, of type `from`, to type `type` */
	I_ADD_F32, /* dst = a op b: the most frequent ones in line */
	I_SUB_F32,
	I_MUL_F32,
	I_ADD_I64,
	I_SUB_I64,
	I_MUL_I64,
	I_SELECT,   /* dst = a ? b : c */
	I_BRANCH,   /* a ? (body, dst = b) : (other, dst = c) */
	I_SCALE,    /* dst = stride of axis c of buffer b, times index a, which must be in range */
	I_LOAD,     /* dst = element a of buffer b (a < 0: element 0) */
	I_LOAD_F32, /* the same, of an f32 buffer */
	I_CHECK,    /* dst = a, which must be in 0..b-1 */
	I_BEGIN,    /* sum[dst] = identity */
	I_STEP,     /* sum[dst] takes value a */
	I_END,      /* dst = sum[a] */
	I_FOR,      /* body, with dst = 0..a-1 */
	I_WHEN,     /* body, if a */
	I_STORE,    /* element a of buffer b = (combined with) c; `stmt` */
	I_MOVE,     /* dst = a */
	I_CALL,     /* the call `stmt` */
};

struct instr {
	uint8_t op, scalar, from, type; /* enum instr_op, expr_op, operand and result dtypes */
	uint8_t reduce;                 /* BEGIN, STEP, END: enum reduce_kind */
	int32_t dst, a, b, c;
	const struct block *body, *other;
	const struct stmt *stmt;
	const int32_t *sums; /* STORE: ended by -1: the float sums that the value is made of */
};

struct block {
	struct instr *at;
	int count, room;
};

/* A register that is set once for each run of the kernel. */
struct preset {
	int32_t reg;
	dim size; /* or, when NULL: */
	const struct expr *literal;
};

struct code {
	const struct kernel *kernel;
	struct block body;
	struct {
		struct preset *at;
		int count, room;
	} presets;
	int reg_count, sum_count;
	bool *float_sums; /* by buffer: some store into it is made of float sums */
};

/* The code of a kernel, in `a`. `memo` holds what compiling needs about expressions; it serves all kernels
 * of one expression pool, which must not grow meanwhile. */
struct code_memo;
struct code_memo *code_memo_new(struct arena *a, const struct expr_pool *p);
struct code *code_compile(struct arena *a, const struct kernel *k, struct code_memo *memo);

/* ---- values (interp_host.c) ---- */

/* A value: `data` has room for `bytes`, contiguous, in C order. Shared by reference count. */
struct host {
	int refs;
	bool owned; /* data is freed with it */
	enum dtype dtype;
	int rank;
	int64_t dims[HONE_MAX_RANK];
	int64_t bytes;
	unsigned char *data;
};

/* Owned, of these dims, zeroed. NULL when there is no memory, with the bytes that were wanted. */
struct host *host_new(enum dtype t, int rank, const int64_t *dims, int64_t *wanted);
/* Not owned: data of the caller or of a constant. */
struct host *host_wrap(enum dtype t, int rank, const int64_t *dims, void *data);
struct host *host_keep(struct host *h);
void host_drop(struct host *h); /* NULL is fine */
int64_t host_count(const struct host *h);
hone_tensor host_tensor(const struct host *h);
/* Copies elements, which may be packed. */
void host_copy(struct host *to, int64_t at, const struct host *from, int64_t from_at,
	       int64_t count);
/* Product of dims, INT64_MAX when it is larger. */
int64_t dims_count(int rank, const int64_t *dims);

/* Element i as a value of the compute type of t, and back. */
union scalar element_load(enum dtype t, const unsigned char *data, int64_t i);
void element_store(enum dtype t, unsigned char *data, int64_t i, union scalar x);

/* ---- execution ---- */

enum fault_kind {
	FAULT_NONE,
	FAULT_INDEX, /* EXPR_CHECK: found, bound */
	FAULT_ACCESS, /* a load or store outside of a buffer: our own bug. found, bound, buffer, axis */
	FAULT_CALL,   /* a routine refused; code */
	FAULT_MEMORY, /* found: bytes */
};
struct fault {
	enum fault_kind kind;
	int64_t found, bound;
	int buffer, axis, code;
};

/* Runs a kernel. hosts: one for each buffer; those of locals are NULL. bounds: NULL, or for each buffer NULL
 * or one f64 for each element, which receives (n + 8) * sum|terms| of the float sums it is made of.
 * bound: receives the values of the symbols that a call binds. */
bool code_run(const struct code *c, struct host *const *hosts, double *const *bounds,
	      const int64_t *symbols, int64_t *bound, struct fault *fault);

#endif
