/* model.h: an ONNX model as plain C structs in an arena; nothing else in hone sees protobuf.
 * Follows onnx.proto (IR version 8; fields of newer versions are accepted where noted).
 * Everything here was checked when it was read: names, sizes, ranks and dims can be relied on;
 * operators, their arity and their types are not looked at. */
#ifndef FRONTEND_MODEL_H
#define FRONTEND_MODEL_H

#include "ir/arena.h"
#include "ir/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ONNX_RANK_MAX 8

/* clang-format off */
/* TensorProto.DataType. A dtype field may hold other numbers of newer ONNX versions in types;
 * a tensor with data always has one of these. */
enum onnx_dtype {
	ONNX_UNDEFINED, ONNX_FLOAT, ONNX_UINT8, ONNX_INT8, ONNX_UINT16, ONNX_INT16, ONNX_INT32,
	ONNX_INT64, ONNX_STRING, ONNX_BOOL, ONNX_FLOAT16, ONNX_DOUBLE, ONNX_UINT32, ONNX_UINT64,
	ONNX_COMPLEX64, ONNX_COMPLEX128, ONNX_BFLOAT16, ONNX_FLOAT8E4M3FN, ONNX_FLOAT8E4M3FNUZ,
	ONNX_FLOAT8E5M2, ONNX_FLOAT8E5M2FNUZ, ONNX_UINT4, ONNX_INT4, ONNX_FLOAT4E2M1,
	ONNX_FLOAT8E8M0, ONNX_UINT2, ONNX_INT2,
	ONNX_DTYPES
};
/* clang-format on */

/* Bits of one element in raw data; 0 for strings and for numbers that are not in the enum. */
int onnx_dtype_bits(int32_t dtype);

/* "float", "uint8", ...; "unknown type" for numbers that are not in the enum. */
const char *onnx_dtype_name(int32_t dtype);

/* Bytes; `at` is also NUL-terminated, though it may hold NULs within. */
struct onnx_text {
	const char *at;
	size_t size;
};

/* A constant. `data` is ONNX raw data: little-endian, row-major, 4-bit types two per byte with the
 * first in the low half. It may point into a mapped file: it is then NOT aligned and lives until
 * model_close(). It is NULL when size is 0 and for strings, which have `strings` instead. */
struct onnx_tensor {
	const char *name; /* "" if none */
	int32_t dtype;
	int rank;            /* <= ONNX_RANK_MAX */
	const int64_t *dims; /* >= 0 */
	int64_t count;       /* product of dims */
	const void *data;
	bool mapped;                     /* data points into a mapped file */
	size_t size;                     /* bytes: ceil(count * bits / 8) */
	const struct onnx_text *strings; /* count entries */
};

/* Constant in coordinate form. indices is int64 [N] (linear) or [N, rank], each in range. */
struct onnx_sparse {
	struct onnx_tensor values; /* [N]; its name is the name of the whole */
	struct onnx_tensor indices;
	int rank;
	const int64_t *dims;
};

/* One size: a number, or a name, or neither (value -1, symbol NULL: unknown). */
struct onnx_dim {
	int64_t value;      /* -1 unless a number */
	const char *symbol; /* NULL unless named */
};

enum onnx_kind {
	ONNX_KIND_UNKNOWN, /* no type given, or one of a newer ONNX version */
	ONNX_KIND_TENSOR,
	ONNX_KIND_SPARSE,
	ONNX_KIND_SEQUENCE,
	ONNX_KIND_OPTIONAL,
	ONNX_KIND_MAP,
};

struct onnx_type {
	enum onnx_kind kind;
	int32_t dtype; /* tensor, sparse: element; map: key; else 0 */
	int rank;      /* tensor, sparse: -1 if unknown; else -1 */
	const struct onnx_dim *dims;
	const struct onnx_type *element; /* sequence, optional, map: what is in it; may be NULL */
};

struct onnx_value {
	const char *name;
	struct onnx_type type;
};

/* clang-format off */
enum onnx_attr_kind { /* the numbers of AttributeProto.AttributeType */
	ONNX_ATTR_UNDEFINED, ONNX_ATTR_FLOAT, ONNX_ATTR_INT, ONNX_ATTR_STRING, ONNX_ATTR_TENSOR,
	ONNX_ATTR_GRAPH, ONNX_ATTR_FLOATS, ONNX_ATTR_INTS, ONNX_ATTR_STRINGS, ONNX_ATTR_TENSORS,
	ONNX_ATTR_GRAPHS, ONNX_ATTR_SPARSE_TENSOR, ONNX_ATTR_SPARSE_TENSORS, ONNX_ATTR_TYPE,
	ONNX_ATTR_TYPES
};
/* clang-format on */

/* `kind` says which member counts; `count` is the length of the plural ones. A singular tensor,
 * graph, sparse tensor or type is the first of its array, with count 1. An attribute of a node in a
 * function body may be a reference (ref is the function's attribute name) and then has no value. */
struct onnx_attr {
	const char *name;
	enum onnx_attr_kind kind;
	const char *ref; /* NULL unless a reference */
	int64_t i;
	float f;
	struct onnx_text s;
	int count;
	const int64_t *ints;
	const float *floats;
	const struct onnx_text *strings;
	const struct onnx_tensor *tensors;
	const struct onnx_graph *graphs;
	const struct onnx_sparse *sparse;
	const struct onnx_type *types;
};

struct onnx_node {
	const char *name;   /* "OP_index" when the file gives none */
	const char *op;     /* never empty */
	const char *domain; /* "" for ONNX's own ("ai.onnx" is made "") */
	int input_count, output_count, attr_count;
	const char *const *inputs;  /* "" for absent */
	const char *const *outputs; /* "" for absent */
	const struct onnx_attr *attrs;
};

/* Nodes are in an order in which every input is defined before it is used; names are unique.
 * An initializer with the name of an input is that input's default. */
struct onnx_graph {
	const char *name;
	int node_count, input_count, output_count, initializer_count, sparse_count, value_count;
	const struct onnx_node *nodes;
	const struct onnx_value *inputs, *outputs;
	const struct onnx_tensor *initializers;
	const struct onnx_sparse *sparse; /* sparse initializers */
	const struct onnx_value *values;  /* value_info: types of inner values, a hint only */
};

struct onnx_opset {
	const char *domain; /* "" for ONNX's own */
	int64_t version;
};

/* A model-local function: a node whose domain and op are these is a call of it. */
struct onnx_function {
	const char *name, *domain;
	int input_count, output_count, attr_count, default_count, node_count, opset_count;
	const char *const *inputs, *const *outputs;
	const char *const *attrs;         /* names of attributes without default */
	const struct onnx_attr *defaults; /* attributes with default (IR version >= 9) */
	const struct onnx_node *nodes;
	const struct onnx_opset *opsets;
};

struct onnx_mapping; /* external.h */

struct onnx_model {
	const char *path; /* as given, for messages */
	int64_t ir_version;
	const char *producer, *producer_version;
	int opset_count, function_count;
	const struct onnx_opset *opsets;
	const struct onnx_function *functions;
	struct onnx_graph graph;
	struct onnx_mapping *mappings; /* model_close() unmaps them */
};

struct model_options {
	uint64_t
		memory_limit; /* bytes that reading may take (mapped files aside); 0: 1 GB + 8 * file */
};

/* Reads and checks the model at `path`, external data too. On success *out lives in `a`, with
 * tensors pointing into mapped files until model_close(). On failure the reason is in `d` and
 * nothing stays mapped. */
bool model_read(const char *path, const struct model_options *options, struct arena *a,
		struct onnx_model **out, struct diag *d);

/* The same over bytes in memory, which must outlive the model. `path` is for messages only; external
 * data is refused, for there is no folder to look in. */
bool model_read_bytes(const void *bytes, size_t size, const char *path,
		      const struct model_options *options, struct arena *a, struct onnx_model **out,
		      struct diag *d);

/* Unmaps; afterwards no tensor's data may be read. NULL is fine. */
void model_close(struct onnx_model *m);

/* Version of an imported operator set, 0 if it is not imported. "ai.onnx" is the same as "". */
int64_t model_opset(const struct onnx_model *m, const char *domain);

/* The attribute of that name, or NULL. */
const struct onnx_attr *node_attr(const struct onnx_node *n, const char *name);

#endif
