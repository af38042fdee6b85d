/* fuse.h: between fuse_patterns.c and fuse_rows.c. */
#ifndef PASSES_FUSE_H
#define PASSES_FUSE_H

#include "passes/patterns.h"

/* A map that ends a normalization or softmax in parts: the operator that does it at once, or NULL. */
struct value *fuse_rows(struct pass_context *c, struct node *n);

#endif
