/* placement.h: values that are computed where a larger value wants them, so that pad and concat copy nothing. */
#ifndef BACKEND_PLACEMENT_H
#define BACKEND_PLACEMENT_H

#include "ir/kernel.h"

/* A value's home: the box of `host` that begins at `offset`. host is never placed itself. */
struct placement {
	struct value *host;
	dim offset[HONE_MAX_RANK];
};

/* Decides which operands of pads and concats are placed: by value id, NULL for those that have a place of their own,
 * as the function's results and the `extra` values have. */
struct placement **placement_find(struct graph *g, int extra_count, struct value *const *extra,
				  struct arena *a);

/* Makes a kernel's loads and stores of placed values those of their hosts; a copy of a value to the place where it is
 * already is dropped, which may leave the kernel empty. */
void placement_apply(struct kernel *k, struct placement *const *placed);

#endif
