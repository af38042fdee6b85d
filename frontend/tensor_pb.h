/* tensor_pb.h: one tensor in a file of its own, as a serialized TensorProto (ONNX's test data). */
#ifndef FRONTEND_TENSOR_PB_H
#define FRONTEND_TENSOR_PB_H

#include "frontend/model.h"

/* Reads the TensorProto at `path`; everything is copied into `a`, data aligned to 16. The bytes do not
 * tell whether a file holds a TensorProto, SequenceProto or OptionalProto: the last two are refused
 * as far as they can be told. */
bool tensor_pb_read(const char *path, struct arena *a, struct onnx_tensor *out, struct diag *d);

/* Reads the SequenceProto at `path` (sequence of tensors only) in the same way. */
bool sequence_pb_read(const char *path, struct arena *a, const struct onnx_tensor **out, int *count,
		      struct diag *d);

/* Writes a TensorProto: a temporary file beside `path`, then a rename, so that `path` is either whole
 * or as before. */
bool tensor_pb_write(const char *path, const struct onnx_tensor *t, struct diag *d);

#endif
