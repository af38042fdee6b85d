/* arena.h: memory that is freed all at once.
 * A graph lives in one arena to the end; a pass's scratch lives in another that is reset after it. */
#ifndef IR_ARENA_H
#define IR_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

/* Zero-initialized is a valid empty arena. `limit` is the most bytes it may hold; 0 means no limit. */
struct arena {
	struct arena_block *blocks;
	size_t used, limit;
};

/* `size` zeroed bytes aligned to 16. Exits through out_of_memory() when the system has none or the
 * limit is passed: a compiler cannot go on, and the command prints the error and exits 70. */
void *arena_alloc(struct arena *a, size_t size);

/* arena_alloc of count * size bytes, safe against overflow of the product. */
void *arena_array(struct arena *a, size_t count, size_t size);

/* Copies; the text is NUL-terminated. */
void *arena_copy(struct arena *a, const void *data, size_t size);
char *arena_text(struct arena *a, const char *text);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Frees every block; the arena is empty and usable again, its limit kept. */
void arena_free(struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_array((a), (size_t)(count), sizeof(type)))

/* A growable array in an arena: `struct { T *at; int count, room; }`. Old storage stays in the arena
 * until it is freed, so a doubling array costs at most twice its final size. */
#define ARENA_PUSH(a, list, value)                                                               \
	do {                                                                                     \
		if ((list)->count == (list)->room)                                               \
			(list)->at =                                                             \
				arena_grow((a), (list)->at, &(list)->room, sizeof(*(list)->at)); \
		(list)->at[(list)->count++] = (value);                                           \
	} while (0)
void *arena_grow(struct arena *a, const void *old, int *room, size_t size);

/* Called when memory is gone; prints an error and exits 70. Replaceable (the fuzz targets longjmp). */
extern void (*out_of_memory)(size_t wanted);

#endif
