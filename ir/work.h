/* work.h: what a kernel computes and moves, for reports (hone bench --profile, hone info). */
#ifndef IR_WORK_H
#define IR_WORK_H

#include "ir/kernel.h"

/* Of one call of a kernel.
 *   operations  arithmetic on elements, each counted as often as its operands differ (what depends on outer axes
 *               alone counts once for each of their values): one each for + - * / min max sqrt exp and so on, and for
 *               each term of a reduction, so that a multiply-add of a sum is 2. Index arithmetic, casts,
 *               comparisons and selects count 0, runtime routines (`call`) too. What a kernel says twice, with axes of
 *               equal extents, counts once.
 *   in, out     bytes of the elements that loads and stores touch, each once, at most the whole buffer; locals
 *               are not counted. */
struct kernel_work {
	double operations, in_bytes, out_bytes;
};

/* symbols: the value of each symbol of the graph's dims. */
struct kernel_work kernel_work_of(const struct kernel *k, const int64_t *symbols);

#endif
