/* dtype.h: element types. The values are ONNX's TensorProto.DataType codes, as in the C ABI. */
#ifndef IR_DTYPE_H
#define IR_DTYPE_H

#include "runtime/hone.h"

#include <stdbool.h>
#include <stdint.h>

/* DTYPE(enumerator, ONNX code, name in text, bits, class, type it is computed in).
 * Storage types (f16 bf16 f8 i4 u4 i2 u2) have no arithmetic of their own: a load widens them to the
 * type they are computed in, a store rounds. */
#define DTYPES(DTYPE)                                                         \
	DTYPE(DT_F32, HONE_F32, "f32", 32, FLOAT, DT_F32)                     \
	DTYPE(DT_F64, HONE_F64, "f64", 64, FLOAT, DT_F64)                     \
	DTYPE(DT_F16, HONE_F16, "f16", 16, FLOAT, DT_F32)                     \
	DTYPE(DT_BF16, HONE_BF16, "bf16", 16, FLOAT, DT_F32)                  \
	DTYPE(DT_F8E4M3FN, HONE_F8E4M3FN, "f8e4m3fn", 8, FLOAT, DT_F32)       \
	DTYPE(DT_F8E4M3FNUZ, HONE_F8E4M3FNUZ, "f8e4m3fnuz", 8, FLOAT, DT_F32) \
	DTYPE(DT_F8E5M2, HONE_F8E5M2, "f8e5m2", 8, FLOAT, DT_F32)             \
	DTYPE(DT_F8E5M2FNUZ, HONE_F8E5M2FNUZ, "f8e5m2fnuz", 8, FLOAT, DT_F32) \
	DTYPE(DT_I64, HONE_I64, "i64", 64, SIGNED, DT_I64)                    \
	DTYPE(DT_I32, HONE_I32, "i32", 32, SIGNED, DT_I32)                    \
	DTYPE(DT_I16, HONE_I16, "i16", 16, SIGNED, DT_I16)                    \
	DTYPE(DT_I8, HONE_I8, "i8", 8, SIGNED, DT_I8)                         \
	DTYPE(DT_U64, HONE_U64, "u64", 64, UNSIGNED, DT_U64)                  \
	DTYPE(DT_U32, HONE_U32, "u32", 32, UNSIGNED, DT_U32)                  \
	DTYPE(DT_U16, HONE_U16, "u16", 16, UNSIGNED, DT_U16)                  \
	DTYPE(DT_U8, HONE_U8, "u8", 8, UNSIGNED, DT_U8)                       \
	DTYPE(DT_I4, HONE_I4, "i4", 4, SIGNED, DT_I32)                        \
	DTYPE(DT_U4, HONE_U4, "u4", 4, UNSIGNED, DT_U32)                      \
	DTYPE(DT_I2, HONE_I2, "i2", 2, SIGNED, DT_I32)                        \
	DTYPE(DT_U2, HONE_U2, "u2", 2, UNSIGNED, DT_U32)                      \
	DTYPE(DT_BOOL, HONE_BOOL, "bool", 8, BOOL, DT_BOOL)                   \
	DTYPE(DT_STRING, HONE_STRING, "string", 0, TEXT, DT_STRING)

enum dtype {
	DT_NONE,
#define DTYPE(id, code, name, bits, class, compute) id = code,
	DTYPES(DTYPE)
#undef DTYPE
		DT_LIMIT = 32
};

enum dtype_class {
	DTYPE_INVALID,
	DTYPE_FLOAT,
	DTYPE_SIGNED,
	DTYPE_UNSIGNED,
	DTYPE_BOOL,
	DTYPE_TEXT
};

/* "f32" etc.; "none" for a code that is no dtype. */
const char *dtype_name(enum dtype t);

/* DT_NONE if there is none of that name. `length` is the name's length. */
enum dtype dtype_by_name(const char *name, size_t length);

enum dtype_class dtype_class(enum dtype t);
static inline bool dtype_is_float(enum dtype t) { return dtype_class(t) == DTYPE_FLOAT; }
static inline bool dtype_is_int(enum dtype t)
{
	return dtype_class(t) == DTYPE_SIGNED || dtype_class(t) == DTYPE_UNSIGNED;
}

/* Bits of one element in memory; 4- and 2-bit elements are packed, the first in the low bits. */
int dtype_bits(enum dtype t);

/* The type its arithmetic is done in: f16 -> f32, i4 -> i32, itself for most. */
enum dtype dtype_compute(enum dtype t);

/* Bytes of `count` packed elements; count >= 0. Saturates at INT64_MAX. */
int64_t dtype_bytes(enum dtype t, int64_t count);

/* Rounding of an f32 to a storage float type and back (round to nearest even). For f8 types the
 * conversion saturates as ONNX's Cast with saturate=1 does. */
uint32_t dtype_encode_float(enum dtype t, double x);
double dtype_decode_float(enum dtype t, uint32_t bits);

#endif
