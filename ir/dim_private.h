/* dim_private.h: shared by dim.c (making) and dim_query.c (asking). */
#ifndef IR_DIM_PRIVATE_H
#define IR_DIM_PRIVATE_H

#include "ir/dim.h"

/* Fills low, high, stage and size of a node whose operands have them. */
void dim_summarize(const struct dim_pool *p, struct dim_node *d);

/* Saturating arithmetic; division rounds down, by zero gives 0. */
static inline int64_t add_sat(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_add_overflow(a, b, &r) ? (a < 0 ? INT64_MIN : INT64_MAX) : r;
}

static inline int64_t mul_sat(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_mul_overflow(a, b, &r) ? ((a < 0) != (b < 0) ? INT64_MIN : INT64_MAX) : r;
}

static inline int64_t floor_div(int64_t a, int64_t b)
{
	if (b == 0)
		return 0;
	if (b == -1)
		return a == INT64_MIN ? INT64_MAX : -a;
	return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

#endif
