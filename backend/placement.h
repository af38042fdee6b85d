/* placement.h: values that are computed where a larger value wants them, so that pad, concat and reshape copy
 * nothing. */
#ifndef BACKEND_PLACEMENT_H
#define BACKEND_PLACEMENT_H

#include "ir/kernel.h"

/* A value's home: all of another value of the same elements in the same order (whole), or its box that begins at
 * `offset`. That may have a home again: `host` is the outermost, which is never placed. */
struct placement {
	const struct value *in;
	struct value *host;
	bool whole, contiguous; /* contiguous: whole up to the host */
	dim offset[HONE_MAX_RANK];
};

/* Decides which values are placed: by value id, NULL for those that have a place of their own, as the function's
 * results and the `extra` values have. */
struct placement **placement_find(struct graph *g, int extra_count, struct value *const *extra,
				  struct arena *a);

/* Whether this node's result is where its operand is, so that it needs no kernel. */
bool placement_is_view(const struct node *n, struct placement *const *placed);

/* Makes a kernel's loads and stores of placed values those of their hosts; a copy of a value to the place where it is
 * already is dropped, which may leave the kernel empty. */
void placement_apply(struct kernel *k, struct placement *const *placed);

#endif
