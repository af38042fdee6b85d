/* lower.h: graph IR to kernel IR. */
#ifndef IR_LOWER_H
#define IR_LOWER_H

#include "ir/kernel.h"

/* What an op's lower function works with: its kernel, and the graph for dims. */
struct lowering {
	struct graph *graph;
	struct kernel *kernel;
	struct kernel_builder at;
	struct diag *diag;
	struct join *join; /* the group that is being joined (join.c), or NULL */
};

/* A kernel for a node with OP_LOWERS: an op, or a group, whose ops' kernels are joined by substitution
 * (loads of an inner value become its expression; what cannot be substituted is kept in a local). Outputs
 * are the node's results. NULL when reported. The kernel lives in `a`. */
struct kernel *lower_node(struct graph *g, const struct node *n, struct arena *a, struct diag *d);

/* Whether loads of this op's result can be replaced by its expression (used by the group pass). */
bool lowers_to_pure(const struct node *n);

/* Whether each element of this op's result is stored once, by one of several stores of a tile, so that a map of it can
 * be computed where they are. */
bool lowers_to_tiles(const struct node *n);

/* Whether a pad only adds elements: its operand is a box of its result, at `lo`. */
bool pad_is_box(const struct node *n);
/* Where the element of a reshape's result y at index `at` stands in its operand x (or the other way round). */
void reshape_index(struct expr_pool *p, const struct type *x, const struct type *y,
		   const struct expr *const *at, const struct expr **from);

/* ---- helpers for lower functions ---- */

/* Opens par loops over the dims of `type`; index[i] gets axis i as expression. */
void lower_open(struct lowering *l, const struct type *type, const struct expr **index);
/* Load of operand v at an index of v's rank. */
const struct expr *lower_load(struct lowering *l, struct value *v, const struct expr *const *index);
/* Load of v broadcast (NumPy rules, aligned at the end) to an index of rank `rank` over dims `dims`:
 * axes of size 1 read 0; an axis that may be 1 at run time is multiplied by `d == 1 ? 0 : 1`. */
const struct expr *lower_load_broadcast(struct lowering *l, struct value *v, int rank,
					const dim *dims, const struct expr *const *index);
/* A new reduction axis. */
int lower_axis(struct lowering *l, const char *name, dim extent);
void lower_store(struct lowering *l, struct value *v, const struct expr *const *index,
		 const struct expr *value);
/* The same, combined with what is there: REDUCE_SUM, PROD, MIN or MAX; -1 overwrites. */
void lower_combine(struct lowering *l, struct value *v, const struct expr *const *index,
		   const struct expr *value, int combine);

#endif
