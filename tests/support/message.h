/* message.h: writes protobuf messages byte by byte, good and bad ones, for the tests of the reader. */
#ifndef TESTS_SUPPORT_MESSAGE_H
#define TESTS_SUPPORT_MESSAGE_H

#include "ir/arena.h"

struct message {
	struct arena *arena;
	uint8_t *at;
	size_t size, room;
};

void put_bytes(struct message *m, const void *bytes, size_t size);           /* as they are */
void put_varint(struct message *m, uint64_t v);                              /* without a tag */
void put_number(struct message *m, int field, int64_t v);                    /* a varint field */
void put_data(struct message *m, int field, const void *bytes, size_t size); /* a length field */
void put_text(struct message *m, int field, const char *text);
void put_message(struct message *m, int field, const struct message *inner);

#endif
