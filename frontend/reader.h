/* reader.h: what the parts of the model reader share. Private to the reader (model.c, tensor.c,
 * check.c, tensor_pb.c): it shows protobuf-c's messages. */
#ifndef FRONTEND_READER_H
#define FRONTEND_READER_H

#include "frontend/external.h"
#include "frontend/model.h"
#include "frontend/wire.h"

#include <onnx.pb-c.h>

struct reader {
	struct arena *arena; /* of the result; also holds protobuf-c's messages */
	struct diag *d;
	struct loc at; /* file and node in work */
	struct wire wire;
	uint64_t limit, used;  /* bytes of memory */
	const char *folder_of; /* external data lies beside this file; NULL: refused */
	struct onnx_mapping **mappings;
	bool mapped; /* the model's bytes are a mapped file */
	bool in_function;
};

/* Counts `bytes` against the limit; false and reported when it is passed. */
bool reader_spend(struct reader *r, uint64_t bytes);

/* Zeroed array in the arena; NULL only when the limit is passed (reported). */
void *reader_array(struct reader *r, size_t count, size_t size);
#define READER_ARRAY(r, type, count) ((type *)reader_array((r), (size_t)(count), sizeof(type)))

/* Unpacks the skeleton (or a part of it) as a message of that kind, in the arena; NULL: reported. */
ProtobufCMessage *reader_unpack(struct reader *r, const ProtobufCMessageDescriptor *kind,
				const uint8_t *bytes, size_t size);

static inline const char *text_or_empty(const char *text) { return text ? text : ""; }

/* Copies, with a NUL at the end. */
bool read_text(struct reader *r, const ProtobufCBinaryData *p, struct onnx_text *out);

/* Checks sizes; finds, maps or decodes the data. */
bool read_tensor(struct reader *r, const Onnx__TensorProto *p, struct onnx_tensor *out);
bool read_sparse(struct reader *r, const Onnx__SparseTensorProto *p, struct onnx_sparse *out);

/* Checks names and order (check.c). */
bool model_check(const struct onnx_model *m, struct diag *d);

#endif
