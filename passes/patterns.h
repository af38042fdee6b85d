/* patterns.h: what passes ask of graphs, and small changes they share. */
#ifndef PASSES_PATTERNS_H
#define PASSES_PATTERNS_H

#include "ir/graph.h"
#include "passes/table.h"

#define ATTRS_OF(id, n) ((const struct attrs_##id *)(n)->attrs)

/* ---- asking ---- */

bool is_pure(const struct node *n);
/* Whether two types have the same dims, whatever their element types. */
bool same_dims(const struct type *a, const struct type *b);
/* A constant all of whose elements are equal: that element. */
bool splat_value(const struct value *v, union scalar *out);
bool perm_is_identity(struct ints perm);
/* The axes of a reduce, all of them when it names none; returns their number. */
int reduce_axes_of(const struct node *n, int *axes);
int64_t slice_step(const struct node *n, int axis);
/* Number of scalar operations of an expression; transcendental functions count 16. */
int expr_weight(const struct expr *e);
/* Whether e holds a function that costs many instructions. */
bool expr_is_costly(const struct expr *e);
/* Whether e reads parameter i. */
bool expr_reads(const struct expr *e, int i);
/* Bytes of a tensor of constant dims; -1 when it has none (or is no plain tensor). */
int64_t type_bytes_const(const struct type *t);

/* ---- changing ---- */

/* A builder that adds before n, with n's location. */
struct builder build_before(struct pass_context *c, struct node *n);
/* The operands of n, as they are now. */
void node_resolve(struct node *n);
struct value *add_transpose_perm(struct builder *b, struct value *x, const int64_t *perm);
/* A constant of this type with these bytes (kept, not copied). */
struct value *add_bytes(struct builder *b, const struct type *type, const void *data);
/* v's dims with 1s in front up to `rank`: v itself when it has that rank. */
struct value *add_leading_ones(struct builder *b, struct value *v, int rank);
/* The same computation on other operands (as many as n has). NULL when inference refuses. */
struct value *add_like(struct builder *b, const struct node *n, struct value *const *in,
		       const void *attrs);

/* An empty body in place of g's, which is set aside with what belongs to it; dims, expressions and constants are shared.
 * body_restore puts back what this returned, and numbers values on from there: later names are as if it had not been. */
struct graph body_set_aside(struct graph *g);
void body_restore(struct graph *g, const struct graph *saved);

/* Rewrites: visits every node of every region in order, its operands resolved, and calls `rewrite`, which
 * returns what n's only result becomes (nodes added before n) or NULL to decline. What is added is visited
 * in turn. At most 8 rewrites for each node of the graph: no ping-pong goes on for ever. n is removed. */
typedef struct value *rewrite_fn(struct pass_context *c, struct node *n, void *self);
void rewrite_graph(struct pass_context *c, rewrite_fn *rewrite, void *self);

#endif
