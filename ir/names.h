/* names.h: a map from names to pointers with nested scopes: what is added after a mark is dropped by
 * going back to it, and what it hid shows again. */
#ifndef IR_NAMES_H
#define IR_NAMES_H

#include "ir/arena.h"

struct name_entry {
	const char *name;
	void *value;
	uint32_t hash;
	int next; /* entry hidden by this one or in the same bucket, or -1 */
};

/* Zero-initialized is empty, apart from `arena`. */
struct names {
	struct arena *arena;
	int *buckets, bucket_count;
	struct {
		struct name_entry *at;
		int count, room;
	} entries;
};

/* The names' text is not copied. */
void names_add(struct names *n, const char *name, void *value);
/* The entry added last under this name, or NULL. */
struct name_entry *names_find(const struct names *n, const char *name);
/* Drops all entries but the first `count`. */
void names_back(struct names *n, int count);

/* `name` if it is free, else with a suffix _1, _2, ... that makes it so; adds it. Copied if changed. */
const char *names_claim(struct names *n, const char *name);

#endif
