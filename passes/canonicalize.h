/* canonicalize.h: between the files canonicalize*.c. */
#ifndef PASSES_CANONICALIZE_H
#define PASSES_CANONICALIZE_H

#include "passes/patterns.h"

/* A rewrite of nodes of one operator: what the only result becomes, or NULL to decline. */
struct rewrite {
	enum op_id op;
	struct value *(*fn)(struct pass_context *c, struct node *n);
};

/* canonicalize_map.c: rows ended by a NULL function. */
extern const struct rewrite map_rewrites[];

/* canonicalize_weights.c: a rewrite of transpose. */
struct value *transpose_weights(struct pass_context *c, struct node *n);

#endif
