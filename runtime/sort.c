/* sort.c: merge sort from the bottom up; runs of eight are made by insertion. */
#include "runtime/sort.h"

#include <string.h>

enum { RUN = 8 };

static void insert_run(int64_t *items, int64_t count, sort_before *before, const void *self)
{
	for (int64_t i = 1; i < count; i++) {
		int64_t x = items[i], j = i;

		for (; j > 0 && before(self, x, items[j - 1]); j--)
			items[j] = items[j - 1];
		items[j] = x;
	}
}

/* Merges from[0..mid) and from[mid..end) into to. */
static void merge(const int64_t *from, int64_t mid, int64_t end, int64_t *to, sort_before *before,
		  const void *self)
{
	int64_t a = 0, b = mid;

	for (int64_t i = 0; i < end; i++) {
		if (a < mid && (b >= end || !before(self, from[b], from[a])))
			to[i] = from[a++];
		else
			to[i] = from[b++];
	}
}

void rt_sort(int64_t *items, int64_t count, int64_t *spare, sort_before *before, const void *self)
{
	int64_t *from = items, *to = spare;

	for (int64_t i = 0; i < count; i += RUN)
		insert_run(items + i, count - i < RUN ? count - i : RUN, before, self);
	for (int64_t width = RUN; width < count; width *= 2) {
		int64_t *swap = from;

		for (int64_t i = 0; i < count; i += 2 * width) {
			int64_t left = count - i;

			merge(from + i, left < width ? left : width,
			      left < 2 * width ? left : 2 * width, to + i, before, self);
		}
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, (size_t)count * sizeof(*items));
}
