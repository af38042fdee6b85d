/* kernel.h: the kernel IR, how something is computed: loops over index spaces with loads, reductions,
 * stores and typed scalar expressions. Every core op lowers to it once, naively (lower.h). It is what the
 * interpreter runs and what the drivers of backend/ compile.
 *
 *	kernel @k2(%p: f32[N,58,58,64], %w: f32[3,3,64,64], %b: f32[64]) -> (%y: f32[N,56,56,64]) {
 *	  for n < N par, h < 56 par, w < 56 par, o < 64 par {
 *	    %y[n,h,w,o] = max((sum i < 3, j < 3, c < 64 { %p[n,h+i,w+j,c] * %w[i,j,c,o] }) + %b[o], 0) } } */
#ifndef IR_KERNEL_H
#define IR_KERNEL_H

#include "ir/expr.h"
#include "ir/graph.h"
#include "ir/plan.h"

enum buffer_role {
	BUFFER_IN,
	BUFFER_OUT,
	BUFFER_LOCAL, /* scratch: undefined at the start of each iteration of the loops around its uses */
};

struct buffer {
	const char *name;
	enum buffer_role role;
	struct type type;    /* contiguous, C order */
	struct value *value; /* the graph value of an in or out buffer */
};

enum stmt_kind {
	STMT_FOR,   /* for axis < extent { body }; par: iterations are independent */
	STMT_STORE, /* buffer[index] = value, or combined with what is there */
	STMT_SET,   /* var = value: a mutable scalar (scans); lives in the enclosing FOR's body */
	STMT_WHEN,  /* if value (bool) { body } */
	STMT_CALL,  /* a runtime routine over whole buffers */
};

struct stmt {
	enum stmt_kind kind;
	struct stmt *next;
	struct stmt *body;         /* FOR, WHEN */
	int axis;                  /* FOR */
	bool par;                  /* FOR */
	int buffer;                /* STORE */
	int rank;                  /* STORE */
	int combine;               /* STORE: -1 overwrite, else REDUCE_SUM, PROD, MIN, MAX */
	const struct expr **index; /* STORE: i64 */
	int var;                   /* SET */
	const struct expr *value;  /* STORE (compute type of the buffer), SET, WHEN */
	/* CALL */
	const char *routine; /* row of hone_calls (runtime/program.h) */
	int in_count, out_count, attr_count;
	const int *in, *out; /* buffers; in: -1 for an absent operand */
	const dim *attrs;
};

struct kernel {
	struct arena *arena;
	struct expr_pool *exprs;
	const char *name;
	struct {
		struct buffer *at;
		int count, room;
	} buffers;
	struct {
		enum dtype *at;
		int count, room;
	} vars;
	struct stmt *body;
	const struct node *node; /* the op or group it came from (symbols it binds, its location) */
	struct plan plan;
};

/* ---- building (kernel.c). Statements are added at the cursor. ---- */

struct kernel_builder {
	struct kernel *kernel;
	struct stmt **end; /* where the next statement goes */
};

struct kernel *kernel_new(struct arena *a, struct expr_pool *p, const char *name);
/* The buffer of this value, added in that role if there is none. */
int kernel_buffer(struct kernel *k, enum buffer_role role, struct value *v);
int kernel_local(struct kernel *k, const char *name, const struct type *type);
struct kernel_builder kernel_at_end(struct kernel *k);
/* Opens `for axis` and leaves the cursor inside; returns the builder to go on with after it. */
struct kernel_builder k_for(struct kernel_builder *b, int axis, bool par);
struct stmt *k_store(struct kernel_builder *b, int buffer, int rank,
		     const struct expr *const *index, const struct expr *value, int combine);
int k_var(struct kernel *k, enum dtype t);
void k_set(struct kernel_builder *b, int var, const struct expr *value);
struct kernel_builder k_when(struct kernel_builder *b, const struct expr *condition);
void k_call(struct kernel_builder *b, const char *routine, int in_count, const int *in,
	    int out_count, const int *out, int attr_count, const dim *attrs);

/* Calls fn for every expression of every statement (index, value), outermost statements first; fn's
 * result replaces it. */
void kernel_map_exprs(struct kernel *k, const struct expr *(*fn)(const struct expr *e, void *self),
		      void *self);

/* A kernel is pure in its output when its body is one nest of par loops with one overwriting store whose
 * index is exactly the loop axes, in order: then loads of that output can be replaced by the value. */
const struct stmt *kernel_pure_store(const struct kernel *k, int *axis_count, int *axes);

/* The text of a kernel, with its plan if it has one. Axes are renumbered, so equal computations print the
 * same apart from names; with `key` true, names are left out too (the key by which equal functions
 * are emitted once). */
const char *kernel_text(struct arena *a, const struct kernel *k, bool key);

#endif
