/* sort.h: the one sort of the runtime: stable, re-entrant, without malloc (qsort has none of
 * it). */
#ifndef RUNTIME_SORT_H
#define RUNTIME_SORT_H

#include <stdbool.h>
#include <stdint.h>

typedef bool sort_before(const void *self, int64_t a, int64_t b);

/* Sorts `count` numbers so that before() holds from left to right; equal ones keep their order.
 * `spare` has room for as many. */
void rt_sort(int64_t *items, int64_t count, int64_t *spare, sort_before *before, const void *self);

#endif
