/* place.c: run-time arena placement over the static liveness table. Greedy first fit: every slot
 * goes to the lowest gap that the slots placed before it, and living at the same time, leave
 * open. By decreasing size, as in "Efficient Memory Management for Deep Neural Net Inference"
 * (Pisarchyk, Lee 2020), or by first use, where slots that have died leave the list; then by first use again with
 * some slots at the top, until a trial comes close to the largest live set. The smallest arena is taken. */
#include "runtime/place.h"
#include "runtime/sort.h"

#include <stdbool.h>
#include <stdint.h>
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

/* Bytes of what lives at the fullest step: no arena is smaller. Some slot begins there. */
static int64_t largest_live(const struct sizes *s, const int64_t *slots, int64_t count)
{
	int64_t most = 0;

	for (int64_t i = 0; i < count; i++) {
		int32_t step = s->slots[slots[i]].first;
		int64_t sum = 0;

		for (int64_t j = 0; j < count; j++) {
			const struct hone_slot *k = &s->slots[slots[j]];

			sum += k->first <= step && step <= k->last ? room(s, slots[j]) : 0;
		}
		if (sum > most)
			most = sum;
	}
	return most;
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

/* The highest offset below `ceiling` at which `slot` fits; -1: none. */
static int64_t highest_gap(const struct sizes *s, const int64_t *live, int64_t count,
			   const int64_t *offsets, int64_t slot, int64_t ceiling)
{
	int64_t from = 0, size = room(s, slot), best = -1;

	for (int64_t i = 0; i <= count; i++) {
		int64_t to = ceiling;

		if (i < count && !live_together(&s->slots[live[i]], &s->slots[slot]))
			continue;
		if (i < count && offsets[live[i]] < to)
			to = offsets[live[i]];
		if (to - from >= size)
			best = to - size;
		if (i < count && offsets[live[i]] + room(s, live[i]) > from)
			from = offsets[live[i]] + room(s, live[i]);
	}
	return best;
}

/* A coin for each slot of each trial: whether it goes to the top. */
static bool goes_high(int64_t trial, int64_t slot)
{
	uint64_t x = (uint64_t)trial * 0x9e3779b97f4a7c15 + (uint64_t)slot * 0xbf58476d1ce4e5b9;

	return trial && (x ^ x >> 29) * 0x94d049bb133111eb >> 63;
}

/* Places the slots of `order` one after the other; returns the arena's size. In trials after the first, some
 * go as high below `ceiling` as they can: two values that live in turns then leave no hole between them. */
static int64_t place_in_order(const struct sizes *s, const int64_t *order, int64_t count,
			      bool by_first_use, int64_t trial, int64_t ceiling, int64_t *live,
			      int64_t *offsets)
{
	int64_t live_count = 0, top = 0;

	for (int64_t i = 0; i < count; i++) {
		int64_t slot = order[i], at = -1, j;

		if (by_first_use)
			live_count = drop_dead(s, live, live_count, s->slots[slot].first);
		if (goes_high(trial, slot))
			at = highest_gap(s, live, live_count, offsets, slot, ceiling);
		if (at < 0)
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
	enum { TRIALS = 64 };
	const struct sizes s = {p->slots, words, workers};
	int64_t count = 0, sum = 0, top, least;

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
	top = place_in_order(&s, at->order, count, true, 0, 0, at->live, at->offsets);
	if (count > MANY_SLOTS)
		return top;
	least = largest_live(&s, at->order, count);
	for (int64_t trial = 0; trial < TRIALS && top - least > least / 16; trial++) {
		int64_t other;

		if (!trial) /* by size once, then by first use again */
			rt_sort(at->order, count, at->spare, larger, &s);
		else if (trial == 1)
			rt_sort(at->order, count, at->spare, earlier, &s);
		other = place_in_order(&s, at->order, count, trial > 0, trial, least, at->live,
				       at->other);
		if (other >= top)
			continue;
		memcpy(at->offsets, at->other, (size_t)p->slot_count * sizeof(*at->offsets));
		top = other;
	}
	return top;
}
