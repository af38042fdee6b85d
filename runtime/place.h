/* place.h: where in the arena each slot lives. */
#ifndef RUNTIME_PLACE_H
#define RUNTIME_PLACE_H

#include "runtime/program.h"

/* Scratch and result; each array has slot_count entries. */
struct placement {
	int64_t *offsets; /* result, of HONE_SLOT_ARENA slots: bytes from the arena's start */
	int64_t *other, *order, *spare, *live;
};

/* Places all HONE_SLOT_ARENA slots so that no two that live at the same step overlap: each at a
 * multiple of 64, with at least 64 bytes of slack; a per_worker slot has `workers` copies.
 * Returns the arena's bytes, or -1 if a size is negative or the sum overflows. Depends on sizes,
 * lifetimes and workers alone. */
int64_t rt_place(const struct hone_program *p, const int64_t *words, int64_t workers,
		 struct placement *at);

#endif
