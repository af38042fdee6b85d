/* loops.h: the loops driver, in parts:
 *   loops_info.c    what is known of a kernel before code: free axes, addresses, words, tasks
 *   loops_normal.c, loops_plan.c, loops_block.c    choice of plan (loops_plan.h)
 *   loops.c         functions, tasks, statements, loops
 *   loops_value.c   expressions, hoisting, masks
 *   loops_access.c, loops_load.c, loops_store.c    addresses, loads, stores (loops_access.h)
 *   loops_reduce.c  reductions
 * Statements are emitted for `block * unroll` copies at once: copy (b, u) stands for iteration b of the block
 * axis and vector u of the vector axis. A value that depends on neither exists once. */
#ifndef BACKEND_LOOPS_H
#define BACKEND_LOOPS_H

#include "backend/scalar_emit.h"

typedef unsigned __int128 axis_set;
enum { AXES_MAX = 128, COPIES_MAX = 32, DEPTH_MAX = 64, LANES_MAX = 64 };

/* Address of a load or store in elements: constant + sum of coef * term. */
struct term {
	const struct expr *value; /* an axis, or any i64 expression */
	dim coef;
};
struct access {
	int buffer;
	enum dtype type;
	bool safe; /* in range whatever the axes are: needs no mask but that of a tail */
	dim constant;
	int count;
	struct term *terms;
	int check_count;
	const struct expr *
		*checks;   /* EXPR_CHECKs in the index: nothing is read where their extent is 0 */
	struct memo *memo; /* prefixes of the address, by loop level */
	struct loaded *loaded; /* while iterations are written out: what is in registers already */
};

/* A load already emitted: `lanes` elements at from + shift. */
struct loaded {
	struct loaded *next;
	LLVMValueRef from, value;
	int64_t shift;
	int lanes;
};

/* What is known of an expression, and its values so far. */
struct note {
	const struct expr *e;
	axis_set axes;          /* free axes */
	uint64_t buffers, vars; /* that it reads and the kernel writes (bit 63: any from 63 on) */
	bool unsafe; /* has a load or check that must not be done where its select does not choose it */
	bool fails;            /* has a check */
	bool reduces;          /* has a reduction */
	int weight;            /* operations */
	int64_t work;          /* operations times the extents of reductions */
	struct access *access; /* of a load */
	struct memo *memo;
	int scanned;
	int seen[2]; /* last hoisting that went through it, not guarded and guarded */
	struct note *next;
};

/* One loop whose iterations are tasks. */
struct task_axis {
	const struct stmt *loop;
	int64_t step; /* iterations in one task */
	dim count;
};

struct loops_info {
	const struct kernel *k;
	struct arena *arena;
	struct note *notes[1024];
	int axes[AXES_MAX]; /* pool ids of the kernel's axes */
	int axis_count;
	axis_set *var_axes; /* for each var: axes of the loops around its sets */
	uint64_t stored;    /* buffers with stores */
	struct {
		dim *at;
		int count, room;
	} words;
	struct {
		const struct stmt **at;
		struct access **access;
		int count, room, access_room;
	} stores;
	struct task_axis tasks[DEPTH_MAX];
	int task_count;
	bool can_fail, too_large;
	dim scratch_bytes; /* all locals */
	dim *local_at;     /* offset of each local buffer */
};

/* Fills *info; false (reported) only when the kernel passes a limit. */
bool loops_analyze(const struct kernel *k, struct arena *a, struct loops_info *info);
struct note *note_of(struct loops_info *info, const struct expr *e); /* made on demand */
struct access *store_access(struct loops_info *info, const struct stmt *s);
axis_set axis_bit(struct loops_info *info, int axis);
/* The nest of the plan for the statement (a store or set), NULL if none. */
const struct loops_nest *nest_of(const struct kernel *k, const struct stmt *s);
/* The nest of the first store or set inside s. */
const struct loops_nest *nest_inside(const struct kernel *k, const struct stmt *s);
/* The coefficient of an axis in an address: NULL when it depends on it otherwise. *uses: whether at all. */
dim access_coef(struct loops_info *info, const struct access *a, int axis, bool *uses);
uint64_t bit_of(int i);

/* ---- emission ---- */

/* A value already emitted: valid until its scope is left. */
struct memo {
	struct memo *next;
	LLVMValueRef value;
	int16_t b, u, level;
	bool dead, changeable; /* changeable: reads what the kernel writes */
};

struct copy {
	int b, u;
};

struct condition {
	const struct expr *e;
	bool negate;
};

struct gen {
	struct emitter *e;
	struct diag *diag;
	const struct kernel *k;
	const struct kernel_abi *abi;
	struct loops_info info;
	struct arena arena;
	LLVMValueRef fn, frame, buffers, words_ptr, begin, end, worker;
	LLVMBasicBlockRef entry;
	LLVMValueRef *word, *base;   /* of each word and buffer */
	LLVMValueRef axis[AXES_MAX]; /* value of iteration 0 of copy 0 */
	int level[AXES_MAX], depth, hoists, scans;
	axis_set bound;
	/* the shape of what is emitted now */
	int vector_axis, lanes, unroll, block_axis, block;
	/* A block over two axes: copy b is iteration b % block_inner of block_axis and b / block_inner of
	 * block_outer. -1: over block_axis alone. */
	int block_outer, block_inner;
	int most_block; /* of the block loop around, also in its remainder: sums must be the same there */
	LLVMValueRef tail; /* mask of the lanes that exist, or NULL: all */
	/* conditions under which it runs */
	struct condition conditions[DEPTH_MAX];
	int condition_count;
	/* what was emitted: undo log of the memos */
	struct {
		struct memo ***at;
		int count, room;
	} log;
	struct {
		LLVMValueRef *from, *to;
		int count, room, to_room;
	} splats;
	struct {
		struct access **at;
		int count, room;
	} reused;   /* accesses with `loaded` */
	bool reuse; /* loads of equal addresses are one: straight-line code that stores nothing */
	LLVMValueRef (*vars)[COPIES_MAX];
	LLVMTypeRef (*var_types)[COPIES_MAX];
	/* ranges of the task loops */
	LLVMValueRef task_low[DEPTH_MAX], task_high[DEPTH_MAX];
	bool failed;
};

/* A counted loop with values carried around it. */
struct loop {
	LLVMBasicBlockRef before, body, after;
	LLVMValueRef index, low, high;
	int64_t step;
	int count;
	LLVMValueRef *value; /* in the body: current values; after loop_close: results */
	LLVMValueRef *initial;
	int mark;  /* of the memo log */
	bool once; /* exactly one iteration: no loop at all */
};

LLVMValueRef gen_i64(struct gen *g, int64_t x);
LLVMValueRef gen_dim(struct gen *g, dim d);
bool gen_constant(LLVMValueRef v, int64_t *x);
/* Where this worker's scratch memory has offset `at` (bytes). */
LLVMValueRef gen_scratch(struct gen *g, dim at);
LLVMBasicBlockRef gen_block(struct gen *g, const char *name);
/* For index from low while < high by step; false when it provably has no iteration (nothing was opened). */
bool loop_open(struct gen *g, struct loop *l, LLVMValueRef low, LLVMValueRef high, int64_t step,
	       int count, const LLVMValueRef *initial);
void loop_close(struct gen *g, struct loop *l, const LLVMValueRef *next);
/* low + (high - low) rounded down to a multiple of step. */
LLVMValueRef gen_round_down(struct gen *g, LLVMValueRef low, LLVMValueRef high, int64_t step);
void axis_bind(struct gen *g, int axis, LLVMValueRef value);
LLVMValueRef axis_now(struct gen *g, int axis); /* of a bound axis: of iteration 0 of copy 0 */
void axis_unbind(struct gen *g, int axis);
/* Gives a bound axis another value for a while; what was emitted with the first must be forgotten before
 * (memo_release) or not depend on it. */
struct axis_value {
	LLVMValueRef value;
	int level;
};
struct axis_value axis_rebind(struct gen *g, int axis, LLVMValueRef value);
void axis_restore(struct gen *g, int axis, struct axis_value was);

int memo_mark(struct gen *g);
void memo_release(struct gen *g, int mark);
/* Forgets what statements may have changed. */
void memo_forget_changeable(struct gen *g, int mark);
void memo_add(struct gen *g, struct memo **list, struct memo m);

bool gen_depends(struct gen *g, axis_set axes, int axis);
bool gen_in_block(struct gen *g, axis_set axes); /* depends on an axis of the block */
/* Iterations from copy 0 to copy b along this axis: 0 when it is none of the block. */
int gen_block_step(const struct gen *g, int axis, int b);
bool gen_is_vector(struct gen *g, const struct note *n);
struct copy gen_copy_of(struct gen *g, axis_set axes, struct copy c);
LLVMValueRef gen_splat(struct gen *g,
		       LLVMValueRef v); /* to the current lanes, beside its definition */
LLVMValueRef gen_value(struct gen *g, const struct expr *e, struct copy c);
LLVMValueRef gen_vector(struct gen *g, const struct expr *e,
			struct copy c); /* always of the current lanes */
/* Emits now, before the loops of s (or of a reduction), what is the same in all their iterations. */
void gen_hoist_stmt(struct gen *g, const struct stmt *s);
void gen_hoist(struct gen *g, const struct expr *e, uint64_t buffers, uint64_t vars);
/* The conditions for copy c: NULL none; a scalar or vector of i1. */
LLVMValueRef gen_condition(struct gen *g, struct copy c);
LLVMValueRef gen_any(struct gen *g, LLVMValueRef mask); /* a vector mask to a scalar one */
LLVMValueRef gen_and(struct gen *g, LLVMValueRef a,
		     LLVMValueRef b); /* NULL is true; mixes scalar and vector */

LLVMValueRef gen_variable(struct gen *g, int var, struct copy c);
LLVMValueRef gen_load(struct gen *g, const struct expr *e, struct copy c);
/* Where lane 0 of a copy of a load is; not of packed types. */
LLVMValueRef gen_address(struct gen *g, const struct expr *load, struct copy c);
/* The vector of neighbours from `at` on as they are in memory: zeros past the tail. */
LLVMValueRef gen_load_memory(struct gen *g, enum dtype t, LLVMValueRef at);
void gen_access_prefix(struct gen *g, struct access *a);
/* Ends the reuse of loads. */
void gen_forget_loaded(struct gen *g);
void gen_store(struct gen *g, const struct stmt *s);
/* Where copy c of a store of whole bytes begins. */
LLVMValueRef gen_store_address(struct gen *g, const struct stmt *s, struct copy c);
LLVMValueRef gen_reduce(struct gen *g, const struct expr *e, struct copy c);
LLVMValueRef gen_combine(struct gen *g, enum reduce_kind kind, enum dtype t, int lanes,
			 LLVMValueRef a, LLVMValueRef b);
LLVMValueRef gen_identity(struct gen *g, enum reduce_kind kind, enum dtype t, int lanes);
bool gen_masks_cheap(struct gen *g, int bits);

/* What all drivers of loops share: a gen without info, and the function around body(self), which computes the
 * task whose ranges are in task_low and task_high. Needs g->info. */
void gen_open(struct gen *g, struct emitter *e, const struct kernel *k,
	      const struct kernel_abi *abi, LLVMValueRef fn, struct diag *d);
void gen_function(struct gen *g, void (*body)(struct gen *g, void *self), void *self);

/* Fills fn. */
bool emit_loops(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		LLVMValueRef fn, struct diag *d);

#endif
