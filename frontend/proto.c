/* proto.c: writing protobuf messages. */
#include "frontend/proto.h"

#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_LENGTH = 2, WIRE_FOUR = 5 };

static void add(struct proto *p, const void *data, size_t size)
{
	if (p->room - p->size < size) {
		size_t room = 2 * p->room > p->size + size ? 2 * p->room : p->size + size + 64;
		uint8_t *at = arena_alloc(p->arena, room);

		if (p->size)
			memcpy(at, p->at, p->size);
		p->at = at;
		p->room = room;
	}
	if (size)
		memcpy(p->at + p->size, data, size);
	p->size += size;
}

static void add_varint(struct proto *p, uint64_t x)
{
	uint8_t bytes[10];
	size_t count = 0;

	for (; x >= 128; x >>= 7)
		bytes[count++] = (uint8_t)(x | 128);
	bytes[count++] = (uint8_t)x;
	add(p, bytes, count);
}

static void add_tag(struct proto *p, int field, enum wire_type type)
{
	add_varint(p, (uint64_t)field << 3 | type);
}

void proto_int(struct proto *p, int field, int64_t x)
{
	add_tag(p, field, WIRE_VARINT);
	add_varint(p, (uint64_t)x);
}

void proto_float(struct proto *p, int field, float x)
{
	add_tag(p, field, WIRE_FOUR);
	add(p, &x, sizeof(x));
}

void proto_head(struct proto *p, int field, uint64_t size)
{
	add_tag(p, field, WIRE_LENGTH);
	add_varint(p, size);
}

void proto_bytes(struct proto *p, int field, const void *data, size_t size)
{
	proto_head(p, field, size);
	add(p, data, size);
}

void proto_text(struct proto *p, int field, const char *text)
{
	proto_bytes(p, field, text, strlen(text));
}

void proto_message(struct proto *p, int field, const struct proto *inner)
{
	proto_bytes(p, field, inner->at, inner->size);
}

void proto_append(struct proto *p, const struct proto *fields) { add(p, fields->at, fields->size); }
