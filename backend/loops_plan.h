/* loops_plan.h: the plan of the loops driver, in parts:
 *   loops_normal.c  normal form of a kernel
 *   loops_rows.c    rows that are read several times
 *   loops_plan.c    the axis of the vectors, by an estimate of cycles
 *   loops_block.c   how many vectors and iterations of an outer axis are computed together */
#ifndef BACKEND_LOOPS_PLAN_H
#define BACKEND_LOOPS_PLAN_H

#include "backend/call.h"
#include "backend/loops.h"

/* Rewrites k's loops into an equivalent form that vectorizes better: see loops_normal.c. */
void loops_normalize(struct kernel *k);

/* A perfect nest of par loops, while it is normalized. */
struct nest {
	struct kernel *k;
	struct loops_info info;
	struct stmt *loops[32];
	int count;
};

/* Keeps what is repeated along the rows of the nest in locals; false: nothing is worth it. */
bool loops_keep_rows(struct nest *n);

enum { CHAIN_MAX = 32 };

struct chooser {
	struct loops_info info;
	const struct target *target;
	struct kernel *k;
	int scans;
};

/* A perfect nest of par loops, and what is inside the innermost. */
struct chain {
	struct stmt *loops[CHAIN_MAX];
	int count;
	struct stmt *body;
};

/* The extent of an axis; `guess` when it is not known. */
int64_t plan_extent(const struct kernel *k, int axis, int64_t guess);
/* The axis of a reduction along which most loads have stride 1; -1: none. */
int plan_own_axis(struct chooser *c, const struct expr *e);
/* Whether every store of the list moves with the axis, so that copies of it can be kept apart. */
bool plan_stores_use(struct chooser *c, const struct stmt *s, int axis);
/* Sets unroll, block_axis and block of a nest whose vector axis and lanes are chosen. outside: operations of the
 * statements beside reductions. */
void plan_block(struct chooser *c, const struct chain *chain, struct loops_nest *nest, int outside);

#endif
