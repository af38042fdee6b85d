/* wire.h: a first walk over the bytes of a protobuf message, before protobuf-c sees any.
 * protobuf-c copies every bytes field and recurses without limit; this walk is iterative, checks
 * every length, bounds nesting and memory, and makes a skeleton: the same message without tensor
 * contents, documentation and unknown fields, small enough to hand on. What was left out of tensors
 * stays where it is and is listed as spans of the original bytes.
 * Follows the protobuf encoding guide and the field numbers of onnx.proto. */
#ifndef FRONTEND_WIRE_H
#define FRONTEND_WIRE_H

#include "ir/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_NESTING 64 /* messages within messages, the outermost counted */

/* What the outermost message is. */
enum wire_root { WIRE_MODEL, WIRE_TENSOR, WIRE_SEQUENCE };

/* Numbers of the fields of TensorProto that hold its contents. */
enum wire_data {
	WIRE_FLOAT_DATA = 4,
	WIRE_INT32_DATA = 5,
	WIRE_INT64_DATA = 7,
	WIRE_RAW_DATA = 9,
	WIRE_DOUBLE_DATA = 10,
	WIRE_UINT64_DATA = 11,
};

/* Tensor contents: `size` bytes from offset `at`. Packed: the values only. Not packed: a run of
 * fields of that number, each with its tag. raw_data counts as packed. */
struct wire_span {
	size_t at, size;
	enum wire_data field;
	bool packed;
};

/* spans[first .. first + count) of the table, in file order. */
struct wire_tensor {
	size_t first;
	uint32_t count;
};

struct wire_spans {
	struct wire_span *at;
	size_t count, room;
};

struct wire_tensors {
	struct wire_tensor *at;
	size_t count, room;
};

/* In the skeleton the raw_data of every TensorProto holds its index in `tensors`, as 4 bytes,
 * low first: so that they can be matched whatever order protobuf-c gives them. */
struct wire {
	const uint8_t *bytes; /* the original */
	size_t size;
	uint8_t *skeleton;
	size_t skeleton_size, skeleton_room;
	struct wire_spans spans;
	struct wire_tensors tensors;
	size_t limit, used; /* bytes */
};

/* Walks `size` bytes at `bytes`, which must outlive *w. `limit` bounds the memory of skeleton and
 * tables (0: none). Reports and returns false, with nothing held, if they are not such a message:
 * truncated, bad varint, group, wrong wire type, text with a NUL, singular message given twice,
 * nested too deep. On success wire_free() frees. */
bool wire_scan(const void *bytes, size_t size, enum wire_root root, size_t limit, struct wire *w,
	       struct loc at, struct diag *d);
void wire_free(struct wire *w);

/* Reads a base-128 varint from [*at, end) and moves *at past it; false if it does not end there or
 * is longer than 10 bytes. */
bool wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *value);

#endif
