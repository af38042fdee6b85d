/* names.c: a chained hash table over an array of entries in the order of their adding. */
#include "ir/names.h"

#include <string.h>

/* FNV-1a (Fowler, Noll, Vo). */
static uint32_t hash_text(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

static void rehash(struct names *n)
{
	n->bucket_count = n->bucket_count ? n->bucket_count * 2 : 64;
	n->buckets = ARENA_ARRAY(n->arena, int, n->bucket_count);
	memset(n->buckets, -1, (size_t)n->bucket_count * sizeof(int));
	for (int i = 0; i < n->entries.count; i++) {
		struct name_entry *e = &n->entries.at[i];
		int *bucket = &n->buckets[e->hash & (uint32_t)(n->bucket_count - 1)];

		e->next = *bucket;
		*bucket = i;
	}
}

void names_add(struct names *n, const char *name, void *value)
{
	struct name_entry e = {name, value, hash_text(name), -1};
	int *bucket;

	if (n->entries.count >= n->bucket_count)
		rehash(n);
	bucket = &n->buckets[e.hash & (uint32_t)(n->bucket_count - 1)];
	e.next = *bucket;
	*bucket = n->entries.count;
	ARENA_PUSH(n->arena, &n->entries, e);
}

struct name_entry *names_find(const struct names *n, const char *name)
{
	uint32_t h = hash_text(name);
	int i;

	if (!n->bucket_count)
		return NULL;
	for (i = n->buckets[h & (uint32_t)(n->bucket_count - 1)]; i >= 0; i = n->entries.at[i].next)
		if (n->entries.at[i].hash == h && strcmp(n->entries.at[i].name, name) == 0)
			return &n->entries.at[i];
	return NULL;
}

void names_back(struct names *n, int count)
{
	while (n->entries.count > count) {
		struct name_entry *e = &n->entries.at[--n->entries.count];

		n->buckets[e->hash & (uint32_t)(n->bucket_count - 1)] = e->next;
	}
}

const char *names_claim(struct names *n, const char *name)
{
	struct name_entry *taken = names_find(n, name);
	const char *free_name = name;

	/* The entry counts how many suffixes were tried, so that a thousand equal names are not quadratic. */
	for (uintptr_t i = taken ? (uintptr_t)taken->value : 0; names_find(n, free_name);) {
		free_name = arena_printf(n->arena, "%s_%zu", name, (size_t)++i);
		taken->value = (void *)i;
	}
	names_add(n, free_name, NULL);
	return free_name;
}
