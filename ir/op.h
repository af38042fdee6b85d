/* op.h: what the files op_*.c share. Each operator has infer_ID and, with OP_LOWERS, lower_ID; both stand
 * side by side in the file of its family, and op_table (ops.c) points at them.
 *
 * Inference trusts nothing: a graph may come from a text file. Each infer function starts with op_begin,
 * which checks operands and attributes against the op table, then checks what is special to it. */
#ifndef IR_OP_H
#define IR_OP_H

#include "ir/lower.h"

#define OP(id, text, min, max, outs, regions, flags, doc)                 \
	bool infer_##id(struct graph *g, struct node *n, struct diag *d); \
	bool lower_##id(struct lowering *l, const struct node *n);
#include "ir/ops.def"
#undef OP

/* A mistake in the model at this node. */
#define BAD(d, n, ...) diag_add((d), DIAG_FILE, (n)->loc, __VA_ARGS__)
#define ATTRS(id, n) ((const struct attrs_##id *)(n)->attrs)

/* ---- checks (op_common.c); all return false when reported ---- */

/* Counts of operands, results and regions, operands that are tensors, attributes in their ranges. */
bool op_begin(struct graph *g, const struct node *n, struct diag *d);
/* The same for control flow, whose operands may be sequences. */
bool op_begin_any(struct graph *g, const struct node *n, struct diag *d);
bool op_rank(struct graph *g, const struct node *n, struct diag *d, int operand, int min, int max);
bool op_axis(const struct node *n, struct diag *d, int64_t axis, int rank);
/* Axes in ascending order, each once. */
bool op_axes(const struct node *n, struct diag *d, struct ints axes, int rank);
bool op_float(struct graph *g, const struct node *n, struct diag *d, int operand);
bool op_integer(struct graph *g, const struct node *n, struct diag *d, int operand);
bool op_same_dtype(struct graph *g, const struct node *n, struct diag *d, int a, int b);
bool op_scalar(struct graph *g, const struct node *n, struct diag *d, int operand, enum dtype t);
/* A list attribute has one entry per axis. */
bool op_list(const struct node *n, struct diag *d, const char *name, int count, int expected);
/* a <= b, proved, refuted, or checked at run time. */
bool op_at_most(struct graph *g, const struct node *n, struct diag *d, dim a, dim b,
		const char *what);
/* a is b, or 1 (broadcast). */
bool op_broadcasts(struct graph *g, const struct node *n, struct diag *d, dim a, dim b,
		   const char *what);
bool op_symbols(const struct node *n, struct diag *d, int expected);

/* The text of operand i's type, for messages. */
const char *op_type(struct graph *g, struct diag *d, const struct value *v);
/* Sets result i's type; its known elements are reset. False when the rank is over the limit. */
bool op_result(const struct node *n, struct diag *d, int i, enum dtype t, int rank,
	       const dim *dims);
/* max(d, 0), left out where d >= 0 is proved. */
dim op_clamp(struct graph *g, dim d);

/* ---- known elements of small integer tensors (op_elems.c) ---- */

#define ELEMS_MAX 64
/* The number of elements when it is constant, at most ELEMS_MAX, and the type integer or bool; else -1. */
int elems_count(const struct type *t);
/* Room for the known elements of result 0, or NULL when it is not small. */
dim *elems_new(struct graph *g, const struct node *n);
/* Element of operand `v` (which has known elements) at an index over result dims, broadcast. */
dim elems_broadcast(const struct value *v, int rank, const int *at);
/* The coordinates of element i of a type with constant dims. */
void elems_coordinates(const struct type *t, int i, int *at);
/* Sets result 0's elements from those of operand 0: y's element i is x's element from[i]. */
void elems_permute(struct graph *g, struct node *n, const int *from);
/* The value of an integer or bool expression whose parameters have these values; NULL if not known. */
dim elems_eval(struct graph *g, const struct expr *e, int count, const dim *params);

/* ---- lowering ---- */

static inline struct expr_pool *exprs_of(const struct lowering *l) { return l->kernel->exprs; }
static inline enum dtype value_compute(const struct value *v)
{
	return dtype_compute(v->type.dtype);
}
/* A load of v as i64. */
const struct expr *lower_load_index(struct lowering *l, struct value *v,
				    const struct expr *const *index);
/* combine(a, b) of a reduction kind as a scalar operation; its identity in type t. */
enum expr_op reduce_op(enum reduce_kind kind);
const struct expr *reduce_identity(struct expr_pool *p, enum reduce_kind kind, enum dtype t);
/* An STMT_CALL over the node's operands (NULL: -1) and results. */
void lower_call(struct lowering *l, const struct node *n, const char *routine, int attr_count,
		const dim *attrs);

#endif
