/* dynamic.c: the chunks of HONE_SLOT_DYNAMIC slots, whose sizes are known only while the model
 * runs. A slot keeps its chunk from run to run; a chunk grows at least by half. */
#include "runtime/context.h"

#include <string.h>

static const int64_t too_large = (int64_t)1 << 46;

/* A chunk with its slack. */
static int64_t chunk_room(int64_t bytes) { return round_up_64(bytes) + 64; }

/* The slot's bound in bytes, or -1. */
static int64_t slot_bound(const struct context *c, int32_t slot)
{
	const struct hone_slot *s = &c->program->slots[slot];
	int64_t bytes = s->bytes_word >= 0 ? c->frame.words[s->bytes_word] : -1;

	return bytes <= too_large ? bytes : -1;
}

int64_t rt_dynamic_bytes(const struct context *c)
{
	int64_t sum = 0;

	for (int32_t i = 0; i < c->program->slot_count; i++) {
		if (c->program->slots[i].kind == HONE_SLOT_DYNAMIC && slot_bound(c, i) >= 0)
			sum += chunk_room(slot_bound(c, i));
	}
	return sum;
}

void rt_dynamic_drop(struct context *c)
{
	for (int32_t i = 0; i < c->program->slot_count; i++) {
		if (!c->options.memory)
			rt_release(c->chunks[i].data);
		c->chunks[i] = (struct chunk){0};
	}
}

/* True if another slot's chunk overlaps at..at+room; then *end is that chunk's end. */
static bool is_taken(const struct context *c, int32_t slot, const unsigned char *at, int64_t room,
		     unsigned char **end)
{
	for (int32_t i = 0; i < c->program->slot_count; i++) {
		const struct chunk *k = &c->chunks[i];

		if (i == slot || !k->data || k->data >= at + room ||
		    k->data + chunk_room(k->size) <= at)
			continue;
		*end = k->data + chunk_room(k->size);
		return true;
	}
	return false;
}

/* The lowest gap behind the arena in the caller's memory, not counting the slot's old chunk. */
static unsigned char *find_gap(const struct context *c, int32_t slot, int64_t bytes)
{
	unsigned char *at = c->arena + c->arena_room;
	const unsigned char *end =
		(const unsigned char *)c->options.memory + c->options.memory_size;

	while (end - at >= chunk_room(bytes)) {
		if (!is_taken(c, slot, at, chunk_room(bytes), &at))
			return at;
	}
	return NULL;
}

/* Moves the slot's chunk to a place of `bytes` bytes and keeps what it holds. */
static bool move_chunk(struct context *c, int32_t slot, int64_t bytes)
{
	struct chunk *k = &c->chunks[slot];
	unsigned char *data;

	if (bytes > too_large)
		return false;
	data = c->options.memory ? find_gap(c, slot, bytes) : rt_allocate(chunk_room(bytes));
	if (!data)
		return false;
	if (k->data)
		memmove(data, k->data, (size_t)k->size);
	if (!c->options.memory)
		rt_release(k->data);
	k->data = data;
	k->size = bytes;
	return true;
}

int32_t hone_rt_reserve(struct hone_frame *frame, int32_t slot, int64_t bytes)
{
	struct context *c = context_of(frame);
	struct chunk *k = &c->chunks[slot];
	int64_t bound = slot_bound(c, slot), more;

	if (k->data && bytes >= 0 && bytes <= k->size) {
		frame->values[slot] = k->data;
		return 0;
	}
	if (bytes >= 0 && bytes <= too_large) {
		/* In the caller's memory a slot takes its bound at once, so that arena_bytes is
		 * enough. */
		more = k->size + k->size / 2;
		if ((c->options.memory && bound >= bytes && move_chunk(c, slot, bound)) ||
		    (more > bytes && move_chunk(c, slot, more)) || move_chunk(c, slot, bytes)) {
			frame->values[slot] = k->data;
			return 0;
		}
	}
	frame->fail = (struct hone_fail){HONE_FAIL_MEMORY, -1, bytes, 0};
	return HONE_FAIL_MEMORY;
}
