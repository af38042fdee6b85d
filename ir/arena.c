/* arena.c: a list of blocks, each twice as large as the last up to 1 MB. */
#include "ir/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) unsigned char bytes[];
};

static void report_and_exit(size_t wanted)
{
	fprintf(stderr, "error: out of memory (%zu bytes more were needed)\n", wanted);
	exit(70);
}

void (*out_of_memory)(size_t wanted) = report_and_exit;

static struct arena_block *add_block(struct arena *a, size_t size)
{
	size_t room = a->blocks ? a->blocks->size * 2 : 4096;
	struct arena_block *b;

	if (room > (1 << 20))
		room = 1 << 20;
	if (room < size)
		room = size;
	b = calloc(1, sizeof(*b) + room);
	if (!b) {
		out_of_memory(room);
		return NULL;
	}
	b->size = room;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;
	void *at;

	if (size > SIZE_MAX / 4 || (a->limit && a->used + size > a->limit)) {
		out_of_memory(size);
		return NULL;
	}
	size = (size + 15) & ~(size_t)15;
	if (!b || b->size - b->used < size) {
		b = add_block(a, size);
		if (!b)
			return NULL;
	}
	at = b->bytes + b->used;
	b->used += size;
	a->used += size;
	return at;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / 4 / size) {
		out_of_memory(SIZE_MAX);
		return NULL;
	}
	return arena_alloc(a, count * size);
}

void *arena_copy(struct arena *a, const void *data, size_t size)
{
	void *at = arena_alloc(a, size);

	if (size)
		memcpy(at, data, size);
	return at;
}

char *arena_text(struct arena *a, const char *text)
{
	return arena_copy(a, text, strlen(text) + 1);
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list args, again;
	char *at;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	at = arena_alloc(a, (size_t)n + 1);
	vsnprintf(at, (size_t)n + 1, format, again);
	va_end(again);
	return at;
}

void *arena_grow(struct arena *a, const void *old, int *room, size_t size)
{
	int more = *room ? *room * 2 : 8;
	void *at = arena_array(a, (size_t)more, size);

	if (*room)
		memcpy(at, old, (size_t)*room * size);
	*room = more;
	return at;
}

void arena_free(struct arena *a)
{
	struct arena_block *b = a->blocks, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
	a->used = 0;
}
