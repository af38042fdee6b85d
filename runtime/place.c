/* place.c: run-time arena placement over the static liveness table. Greedy first fit: every slot
 * goes to the lowest gap that the slots placed before it, and living at the same time, leave
 * open. By decreasing size, as in "Efficient Memory Management for Deep Neural Net Inference"
 * (Pisarchyk, Lee 2020), or by first use, where slots that have died leave the list. */
#include "runtime/place.h"
#include "runtime/sort.h"

#include <stdbool.h>
#include <string.h>

/* Above this many slots only the order by first use is tried: it costs one step per pair of slots
 * that live together, the order by size one per pair. */
enum { MANY_SLOTS = 1024 };

static const int64_t too_large = (int64_t)1 << 46;

struct sizes {
	const struct hone_slot *slots;
	const int64_t *words;
	int64_t workers;
};

static int64_t room(const struct sizes *s, int64_t slot)
{
	const struct hone_slot *k = &s->slots[slot];
	int64_t bytes = (s->words[k->bytes_word] + 63) & ~(int64_t)63;

	return (k->per_worker ? s->workers : 1) * bytes + 64;
}

static bool larger(const void *self, int64_t a, int64_t b) { return room(self, a) > room(self, b); }

static bool earlier(const void *self, int64_t a, int64_t b)
{
	const struct sizes *s = self;

	if (s->slots[a].first != s->slots[b].first)
		return s->slots[a].first < s->slots[b].first;
	return larger(self, a, b);
}

static bool live_together(const struct hone_slot *a, const struct hone_slot *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* Drops the slots that died before `step`. */
static int64_t drop_dead(const struct sizes *s, int64_t *live, int64_t count, int32_t step)
{
	int64_t kept = 0;

	for (int64_t i = 0; i < count; i++) {
		if (s->slots[live[i]].last >= step)
			live[kept++] = live[i];
	}
	return kept;
}

/* The lowest offset at which `slot` fits; live[] is sorted by offset. */
static int64_t lowest_gap(const struct sizes *s, const int64_t *live, int64_t count,
			  const int64_t *offsets, int64_t slot)
{
	int64_t at = 0, size = room(s, slot);

	for (int64_t i = 0; i < count; i++) {
		int64_t o = live[i], end;

		if (!live_together(&s->slots[o], &s->slots[slot]))
			continue;
		if (offsets[o] >= at + size)
			break;
		end = offsets[o] + room(s, o);
		if (end > at)
			at = end;
	}
	return at;
}

/* Places the slots of `order` one after the other; returns the arena's size. */
static int64_t place_in_order(const struct sizes *s, const int64_t *order, int64_t count,
			      bool by_first_use, int64_t *live, int64_t *offsets)
{
	int64_t live_count = 0, top = 0;

	for (int64_t i = 0; i < count; i++) {
		int64_t slot = order[i], at, j;

		if (by_first_use)
			live_count = drop_dead(s, live, live_count, s->slots[slot].first);
		at = lowest_gap(s, live, live_count, offsets, slot);
		offsets[slot] = at;
		if (at + room(s, slot) > top)
			top = at + room(s, slot);
		for (j = live_count++; j > 0 && offsets[live[j - 1]] > at; j--)
			live[j] = live[j - 1];
		live[j] = slot;
	}
	return top;
}

int64_t rt_place(const struct hone_program *p, const int64_t *words, int64_t workers,
		 struct placement *at)
{
	const struct sizes s = {p->slots, words, workers};
	int64_t count = 0, sum = 0, top, other;

	for (int32_t i = 0; i < p->slot_count; i++) {
		if (p->slots[i].kind != HONE_SLOT_ARENA)
			continue;
		if (words[p->slots[i].bytes_word] < 0 || words[p->slots[i].bytes_word] > too_large)
			return -1;
		sum += room(&s, i);
		if (sum > too_large)
			return -1;
		at->order[count++] = i;
	}
	rt_sort(at->order, count, at->spare, earlier, &s);
	top = place_in_order(&s, at->order, count, true, at->live, at->offsets);
	if (count > MANY_SLOTS)
		return top;
	rt_sort(at->order, count, at->spare, larger, &s);
	other = place_in_order(&s, at->order, count, false, at->live, at->other);
	if (other >= top)
		return top;
	memcpy(at->offsets, at->other, (size_t)p->slot_count * sizeof(*at->offsets));
	return other;
}
