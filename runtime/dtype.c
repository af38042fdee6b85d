/* dtype.c: one row for each element type. */
#include "runtime/dtype.h"
#include "runtime/hone.h"

struct row {
	char name[11];
	uint8_t bits;
};

static const struct row rows[] = {
	[HONE_F32] = {"f32", 32},
	[HONE_U8] = {"u8", 8},
	[HONE_I8] = {"i8", 8},
	[HONE_U16] = {"u16", 16},
	[HONE_I16] = {"i16", 16},
	[HONE_I32] = {"i32", 32},
	[HONE_I64] = {"i64", 64},
	[HONE_STRING] = {"string", 8 * sizeof(char *)},
	[HONE_BOOL] = {"bool", 8},
	[HONE_F16] = {"f16", 16},
	[HONE_F64] = {"f64", 64},
	[HONE_U32] = {"u32", 32},
	[HONE_U64] = {"u64", 64},
	[HONE_BF16] = {"bf16", 16},
	[HONE_F8E4M3FN] = {"f8e4m3fn", 8},
	[HONE_F8E4M3FNUZ] = {"f8e4m3fnuz", 8},
	[HONE_F8E5M2] = {"f8e5m2", 8},
	[HONE_F8E5M2FNUZ] = {"f8e5m2fnuz", 8},
	[HONE_U4] = {"u4", 4},
	[HONE_I4] = {"i4", 4},
	[HONE_U2] = {"u2", 2},
	[HONE_I2] = {"i2", 2},
};

enum { ROWS = sizeof(rows) / sizeof(*rows) };

int32_t rt_dtype_bits(int32_t dtype) { return dtype > 0 && dtype < ROWS ? rows[dtype].bits : 0; }

const char *rt_dtype_name(int32_t dtype) { return rt_dtype_bits(dtype) ? rows[dtype].name : "?"; }

int64_t rt_tensor_bytes(int32_t dtype, int32_t rank, const int64_t *dims)
{
	int64_t bits = rt_dtype_bits(dtype), count = 1;

	if (!bits || rank < 0 || rank > HONE_MAX_RANK)
		return -1;
	for (int32_t i = 0; i < rank; i++) {
		if (dims[i] < 0 || __builtin_mul_overflow(count, dims[i], &count))
			return -1;
	}
	if (__builtin_mul_overflow(count, bits, &bits) || bits > INT64_MAX - 7)
		return -1;
	return (bits + 7) / 8;
}
