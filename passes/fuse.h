/* fuse.h: between fuse_patterns.c, fuse_rows.c, fuse_attention.c and fuse_projections.c. */
#ifndef PASSES_FUSE_H
#define PASSES_FUSE_H

#include "passes/patterns.h"

/* A map that ends a normalization or softmax in parts: the operator that does it at once, or NULL. */
struct value *fuse_rows(struct pass_context *c, struct node *n);
/* A matmul of a softmax by values: attention, or NULL. uses: of the first use_count values. */
struct value *fuse_attention(struct pass_context *c, struct node *n, const int *uses,
			     int use_count);
/* Attention whose q, k and v are projections of one value: they become one matmul, or NULL. */
struct value *fuse_projections(struct pass_context *c, struct node *n, const int *uses,
			       int use_count);

#endif
