/* proto.h: writing protobuf messages. Follows the protobuf encoding guide: a field is its number and wire type, then a
 * varint, four bytes, or a length and as many bytes. */
#ifndef FRONTEND_PROTO_H
#define FRONTEND_PROTO_H

#include "ir/arena.h"

/* The bytes of a message so far; zero-initialized, but for the arena, is an empty one. */
struct proto {
	uint8_t *at;
	size_t size, room;
	struct arena *arena;
};

void proto_int(struct proto *p, int field, int64_t x);
void proto_float(struct proto *p, int field, float x);
void proto_bytes(struct proto *p, int field, const void *data, size_t size);
void proto_text(struct proto *p, int field, const char *text);
void proto_message(struct proto *p, int field, const struct proto *inner);
/* Fields written apart. */
void proto_append(struct proto *p, const struct proto *fields);
/* The head of a field of `size` bytes, which the caller adds. */
void proto_head(struct proto *p, int field, uint64_t size);

#endif
