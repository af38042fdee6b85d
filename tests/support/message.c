/* message.c: see message.h. */
#include "tests/support/message.h"

#include <string.h>

void put_bytes(struct message *m, const void *bytes, size_t size)
{
	if (m->room - m->size < size) {
		size_t room = 2 * (m->size + size) + 64;
		uint8_t *more = arena_alloc(m->arena, room);

		if (m->size)
			memcpy(more, m->at, m->size);
		m->at = more;
		m->room = room;
	}
	if (size)
		memcpy(m->at + m->size, bytes, size);
	m->size += size;
}

void put_varint(struct message *m, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		put_bytes(m, &(uint8_t){(uint8_t)(v | 0x80)}, 1);
	put_bytes(m, &(uint8_t){(uint8_t)v}, 1);
}

void put_number(struct message *m, int field, int64_t v)
{
	put_varint(m, (uint64_t)field << 3);
	put_varint(m, (uint64_t)v);
}

void put_data(struct message *m, int field, const void *bytes, size_t size)
{
	put_varint(m, (uint64_t)field << 3 | 2);
	put_varint(m, size);
	put_bytes(m, bytes, size);
}

void put_text(struct message *m, int field, const char *text)
{
	put_data(m, field, text, strlen(text));
}

void put_message(struct message *m, int field, const struct message *inner)
{
	put_data(m, field, inner->at, inner->size);
}
