/* element.c: loads and stores through the widest type of each kind. */
#include "runtime/element.h"

#include <string.h>

#define LOAD(type, data, i)                                                           \
	(*(const type *)memcpy(&(type){0}, (const type *)(data) + (i), sizeof(type)))

bool rt_is_plain(int32_t dtype) { return rt_dtype_bits(dtype) >= 8 && dtype != HONE_STRING; }

bool rt_is_float(int32_t dtype)
{
	switch (dtype) {
	case HONE_F32:
	case HONE_F64:
	case HONE_F16:
	case HONE_BF16:
	case HONE_F8E4M3FN:
	case HONE_F8E4M3FNUZ:
	case HONE_F8E5M2:
	case HONE_F8E5M2FNUZ: return true;
	default: return false;
	}
}

static double from_bits(uint64_t bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static uint64_t to_bits(double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

/* 2^n for normal results. */
static double power_of_two(int n) { return from_bits((uint64_t)(1023 + n) << 52); }

/* Value of a float of at most 16 bits: sign, `exponent` bits, `fraction` bits, without regard to
 * NaN and infinity. */
static double small_float(uint32_t bits, int exponent, int fraction, int bias)
{
	uint32_t e = bits >> fraction & ((1u << exponent) - 1), f = bits & ((1u << fraction) - 1);
	double x;

	if (e)
		x = (double)(f | 1u << fraction) * power_of_two((int)e - bias - fraction);
	else
		x = (double)f * power_of_two(1 - bias - fraction);
	return bits >> (exponent + fraction) & 1 ? -x : x;
}

static const uint64_t nan_bits = 0x7ff8000000000000, infinity_bits = 0x7ff0000000000000;

/* IEEE style: the largest exponent is infinity and NaN. */
static double ieee_float(uint32_t bits, int exponent, int fraction)
{
	uint32_t all = (1u << exponent) - 1;

	if ((bits >> fraction & all) != all)
		return small_float(bits, exponent, fraction, (int)(all >> 1));
	if (bits & ((1u << fraction) - 1))
		return from_bits(nan_bits);
	return from_bits(infinity_bits | (uint64_t)(bits >> (exponent + fraction)) << 63);
}

static double load_f8(int32_t dtype, uint32_t bits)
{
	switch (dtype) {
	case HONE_F8E5M2: return ieee_float(bits, 5, 2);
	case HONE_F8E4M3FN:
		return (bits & 0x7f) == 0x7f ? from_bits(nan_bits) : small_float(bits, 4, 3, 7);
	case HONE_F8E4M3FNUZ:
		return bits == 0x80 ? from_bits(nan_bits) : small_float(bits, 4, 3, 8);
	default: return bits == 0x80 ? from_bits(nan_bits) : small_float(bits, 5, 2, 16);
	}
}

double rt_load_double(int32_t dtype, const void *data, int64_t i)
{
	uint32_t wide;
	float x;

	switch (dtype) {
	case HONE_F64: return LOAD(double, data, i);
	case HONE_F32: return (double)LOAD(float, data, i);
	case HONE_F16: return ieee_float(LOAD(uint16_t, data, i), 5, 10);
	case HONE_BF16:
		wide = (uint32_t)LOAD(uint16_t, data, i) << 16;
		memcpy(&x, &wide, sizeof(x));
		return (double)x;
	case HONE_U64: return (double)LOAD(uint64_t, data, i);
	default:
		if (rt_is_float(dtype))
			return load_f8(dtype, LOAD(uint8_t, data, i));
		return (double)rt_load_int(dtype, data, i);
	}
}

static int64_t double_to_int(double x)
{
	if (x != x)
		return 0;
	if (x >= 9223372036854775808.0)
		return INT64_MAX;
	return x < -9223372036854775808.0 ? INT64_MIN : (int64_t)x;
}

int64_t rt_load_int(int32_t dtype, const void *data, int64_t i)
{
	uint64_t u;

	switch (dtype) {
	case HONE_I64: return LOAD(int64_t, data, i);
	case HONE_I32: return LOAD(int32_t, data, i);
	case HONE_I16: return LOAD(int16_t, data, i);
	case HONE_I8: return LOAD(int8_t, data, i);
	case HONE_U64: u = LOAD(uint64_t, data, i); return u > INT64_MAX ? INT64_MAX : (int64_t)u;
	case HONE_U32: return LOAD(uint32_t, data, i);
	case HONE_U16: return LOAD(uint16_t, data, i);
	case HONE_U8:
	case HONE_BOOL: return LOAD(uint8_t, data, i);
	default: return double_to_int(rt_load_double(dtype, data, i));
	}
}

/* Rounds to `fraction` bits; the format's exponent has 5 or 8 bits. Goes through integers so
 * that the one rounding is from the double. */
static uint16_t to_small(double x, int exponent, int fraction)
{
	uint64_t bits = to_bits(x), sign = bits >> 63, magnitude = bits & ~(1ULL << 63), half, kept;
	int bias = (1 << (exponent - 1)) - 1, drop = 52 - fraction;
	int e = (int)(magnitude >> 52) - 1023;
	uint32_t infinity = ((1u << exponent) - 1) << fraction, result;

	if (magnitude > infinity_bits) {
		result = infinity | 1u << (fraction - 1);
	} else if (e > bias) {
		result = infinity;
	} else {
		uint64_t f = (magnitude & ((1ULL << 52) - 1)) | (magnitude >> 52 ? 1ULL << 52 : 0);
		uint32_t base = 0;

		if (e >= 1 - bias) {
			base = (uint32_t)(e + bias - 1)
			       << fraction; /* the leading one adds one more */
		} else {
			drop += 1 - bias - e; /* a denormal */
			if (drop > 60)
				drop = 60;
		}
		half = 1ULL << (drop - 1);
		kept = f >> drop;
		f &= (1ULL << drop) - 1;
		if (f > half || (f == half && kept & 1))
			kept++;
		result = base + (uint32_t)kept;
	}
	return (uint16_t)(result | (uint32_t)sign << (exponent + fraction));
}

static uint64_t double_to_unsigned(double x, uint64_t max)
{
	if (!(x > 0))
		return 0;
	return x >= (double)max ? max : (uint64_t)x;
}

static int64_t double_to_signed(double x, int bits)
{
	int64_t i = double_to_int(x), max = (int64_t)(UINT64_MAX >> (65 - bits));

	return i > max ? max : i < -max - 1 ? -max - 1 : i;
}

#define STORE(type, data, i, x) memcpy((type *)(data) + (i), &(type){(type)(x)}, sizeof(type))

void rt_store_double(int32_t dtype, void *data, int64_t i, double x)
{
	switch (dtype) {
	case HONE_F64: STORE(double, data, i, x); return;
	case HONE_F32: STORE(float, data, i, x); return;
	case HONE_F16: STORE(uint16_t, data, i, to_small(x, 5, 10)); return;
	case HONE_BF16: STORE(uint16_t, data, i, to_small(x, 8, 7)); return;
	case HONE_BOOL: STORE(uint8_t, data, i, x != 0); return;
	case HONE_I64: STORE(int64_t, data, i, double_to_signed(x, 64)); return;
	case HONE_I32: STORE(int32_t, data, i, double_to_signed(x, 32)); return;
	case HONE_I16: STORE(int16_t, data, i, double_to_signed(x, 16)); return;
	case HONE_I8: STORE(int8_t, data, i, double_to_signed(x, 8)); return;
	case HONE_U64: STORE(uint64_t, data, i, double_to_unsigned(x, UINT64_MAX)); return;
	case HONE_U32: STORE(uint32_t, data, i, double_to_unsigned(x, UINT32_MAX)); return;
	case HONE_U16: STORE(uint16_t, data, i, double_to_unsigned(x, UINT16_MAX)); return;
	case HONE_U8: STORE(uint8_t, data, i, double_to_unsigned(x, UINT8_MAX)); return;
	default: return;
	}
}

uint64_t rt_load_key(int32_t dtype, const void *data, int64_t i)
{
	const uint64_t top = 1ULL << 63;
	uint64_t bits;
	double x;

	if (dtype == HONE_U64)
		return LOAD(uint64_t, data, i);
	if (!rt_is_float(dtype))
		return (uint64_t)rt_load_int(dtype, data, i) ^ top;
	x = rt_load_double(dtype, data, i);
	if (x != x)
		return UINT64_MAX;
	bits = to_bits(x + 0.0); /* -0 + 0 is +0 */
	return bits & top ? ~bits : bits | top;
}
