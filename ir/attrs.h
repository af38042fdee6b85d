/* attrs.h: the attributes of each operator of ops.def, declared once. From these lists come the structs
 * (struct attrs_conv { struct ints stride, dilation; int64_t group; }) and the rows by which printer,
 * parser, hashing, documentation and graph_add handle attributes without code for each operator. */
#ifndef IR_ATTRS_H
#define IR_ATTRS_H

#include "ir/dim.h"

struct tensor;

struct ints {
	int count;
	const int64_t *at;
};
struct dims {
	int count;
	const dim *at;
};

typedef int64_t attr_INT, attr_BOOL, attr_ENUM, attr_DTYPE;
typedef double attr_REAL;
typedef struct ints attr_INTS;
typedef dim attr_DIM;
typedef struct dims attr_DIMS;
typedef const char *attr_TEXT;
typedef const struct tensor *attr_TENSOR;

/* Attributes: ATTRS_OP(A) lists them, A(op, KIND, field, default as text, enum names).
 * KIND    INT BOOL REAL INTS DIM DIMS ENUM DTYPE TEXT TENSOR
 * default "" for empty lists, "!" for required ones. */
#define ATTRS_const(A) A(const, TENSOR, data, "!", NULL)
#define ATTRS_param(A)                     \
	A(param, TEXT, name, "!", NULL)    \
	A(param, REAL, initial, "0", NULL) \
	A(param, DTYPE, type, "f32", NULL)
#define ATTRS_shape(A) A(shape, DIMS, dims, "!", NULL)
#define ATTRS_bind(A)
#define ATTRS_iota(A)                     \
	A(iota, DIMS, dims, "!", NULL)    \
	A(iota, INT, axis, "0", NULL)     \
	A(iota, DTYPE, type, "i64", NULL)
#define ATTRS_random(A)                                              \
	A(random, DIMS, dims, "!", NULL)                             \
	A(random, ENUM, kind, "uniform", "uniform|normal|bernoulli") \
	A(random, REAL, a, "0", NULL)                                \
	A(random, REAL, b, "1", NULL)                                \
	A(random, INT, seed, "0", NULL)                              \
	A(random, DTYPE, type, "f32", NULL)
#define ATTRS_map(A) A(map, DTYPE, type, "none", NULL)
#define ATTRS_reduce(A)                                        \
	A(reduce, ENUM, kind, "!", "sum|prod|min|max|any|all") \
	A(reduce, INTS, axes, "", NULL)                        \
	A(reduce, BOOL, keep, "0", NULL)
#define ATTRS_argreduce(A)                                                     \
	A(argreduce, ENUM, kind, "!", "argmin|argmax|argmin_last|argmax_last") \
	A(argreduce, INT, axis, "0", NULL)                                     \
	A(argreduce, BOOL, keep, "0", NULL)
#define ATTRS_cumulate(A)                                  \
	A(cumulate, ENUM, kind, "sum", "sum|prod|min|max") \
	A(cumulate, INT, axis, "0", NULL)                  \
	A(cumulate, BOOL, exclusive, "0", NULL)            \
	A(cumulate, BOOL, reverse, "0", NULL)
#define ATTRS_softmax(A)                 \
	A(softmax, INT, axis, "!", NULL) \
	A(softmax, BOOL, log, "0", NULL)
#define ATTRS_normalize(A)                     \
	A(normalize, INTS, axes, "!", NULL)    \
	A(normalize, REAL, eps, "1e-05", NULL) \
	A(normalize, BOOL, rms, "0", NULL)
#define ATTRS_matmul(A) A(matmul, BOOL, wide, "0", NULL)
#define ATTRS_conv(A)                     \
	A(conv, INTS, stride, "", NULL)   \
	A(conv, INTS, dilation, "", NULL) \
	A(conv, INT, group, "1", NULL)    \
	A(conv, BOOL, wide, "0", NULL)
#define ATTRS_pool(A)                                \
	A(pool, ENUM, kind, "!", "sum|prod|min|max") \
	A(pool, INTS, size, "!", NULL)               \
	A(pool, INTS, stride, "", NULL)              \
	A(pool, INTS, dilation, "", NULL)
#define ATTRS_winograd_input(A) A(winograd_input, INT, tile, "!", NULL)
#define ATTRS_winograd_output(A)                 \
	A(winograd_output, INT, tile, "!", NULL) \
	A(winograd_output, INT, h, "!", NULL)    \
	A(winograd_output, INT, w, "!", NULL)
#define ATTRS_attention(A)
#define ATTRS_reshape(A) A(reshape, DIMS, dims, "!", NULL)
#define ATTRS_transpose(A) A(transpose, INTS, perm, "!", NULL)
#define ATTRS_slice(A)                  \
	A(slice, DIMS, at, "!", NULL)   \
	A(slice, DIMS, size, "!", NULL) \
	A(slice, INTS, step, "", NULL)
#define ATTRS_expand(A) A(expand, DIMS, dims, "!", NULL)
#define ATTRS_pad(A)                                                 \
	A(pad, DIMS, lo, "!", NULL)                                  \
	A(pad, DIMS, hi, "!", NULL)                                  \
	A(pad, REAL, value, "0", NULL)                               \
	A(pad, ENUM, kind, "constant", "constant|edge|reflect|wrap")
#define ATTRS_concat(A) A(concat, INT, axis, "!", NULL)
#define ATTRS_gather(A)                                   \
	A(gather, ENUM, kind, "take", "take|elements|nd") \
	A(gather, INT, axis, "0", NULL)                   \
	A(gather, INT, batch, "0", NULL)                  \
	A(gather, BOOL, sorted, "0", NULL)
#define ATTRS_scatter(A)                                           \
	A(scatter, ENUM, kind, "take", "take|elements|nd")         \
	A(scatter, INT, axis, "0", NULL)                           \
	A(scatter, ENUM, combine, "none", "none|sum|prod|min|max")
#define ATTRS_nonzero(A)
#define ATTRS_topk(A)                     \
	A(topk, DIM, k, "!", NULL)        \
	A(topk, INT, axis, "!", NULL)     \
	A(topk, BOOL, largest, "1", NULL) \
	A(topk, BOOL, sorted, "1", NULL)
#define ATTRS_unique(A)                    \
	A(unique, BOOL, flat, "1", NULL)   \
	A(unique, INT, axis, "0", NULL)    \
	A(unique, BOOL, sorted, "1", NULL)
#define ATTRS_nms(A) A(nms, BOOL, center, "0", NULL)
#define ATTRS_if(A)
#define ATTRS_loop(A)
#define ATTRS_scan(A)                    \
	A(scan, INT, carried, "0", NULL) \
	A(scan, DIM, length, "!", NULL)
#define ATTRS_return_if(A)
#define ATTRS_group(A)

#define ATTR_FIELD(op, kind, field, initial, names) attr_##kind field;
#define OP(id, text, min, max, outs, regions, flags, doc)                    \
	struct attrs_##id {                                                  \
		ATTRS_##id(ATTR_FIELD) char end; /* so that none is empty */ \
	};
#include "ir/ops.def"
#undef OP
#undef ATTR_FIELD

#endif
