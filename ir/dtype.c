/* dtype.c: the table of element types, and the bits of the small float formats.
 * f8 formats: ONNX "Float stored in 8 bits" (E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ). */
#include "ir/dtype.h"

#include <math.h>
#include <string.h>

struct dtype_row {
	const char *name;
	int bits;
	enum dtype_class class;
	enum dtype compute;
};

#define DTYPE(id, code, text, width, kind, computed) [id] = {text, width, DTYPE_##kind, computed},
static const struct dtype_row rows[DT_LIMIT] = {DTYPES(DTYPE)};
#undef DTYPE

static const struct dtype_row *row(enum dtype t)
{
	return &rows[(unsigned)t < DT_LIMIT ? t : DT_NONE];
}

const char *dtype_name(enum dtype t) { return row(t)->name ? row(t)->name : "none"; }

enum dtype dtype_by_name(const char *name, size_t length)
{
	for (int t = 0; t < DT_LIMIT; t++)
		if (rows[t].name && strlen(rows[t].name) == length &&
		    !memcmp(rows[t].name, name, length))
			return (enum dtype)t;
	return DT_NONE;
}

enum dtype_class dtype_class(enum dtype t) { return row(t)->class; }

int dtype_bits(enum dtype t) { return row(t)->bits; }

enum dtype dtype_compute(enum dtype t) { return row(t)->compute; }

int64_t dtype_bytes(enum dtype t, int64_t count)
{
	int64_t bits;

	if (__builtin_mul_overflow(count, (int64_t)dtype_bits(t), &bits) || bits > INT64_MAX - 7)
		return INT64_MAX;
	return (bits + 7) / 8;
}

/* A small float format: exponent and mantissa bits, bias, and what its top codes mean. */
struct float_format {
	int exponent, mantissa, bias;
	bool ieee;      /* infinities, NaN mantissas (f16, bf16, E5M2) */
	bool unsigned0; /* FNUZ: no -0; 0x80 is the only NaN */
	double largest;
	uint32_t nan;
};

static struct float_format format_of(enum dtype t)
{
	switch (t) {
	case DT_F16: return (struct float_format){5, 10, 15, true, false, 65504, 0x7e00};
	case DT_BF16: return (struct float_format){8, 7, 127, true, false, 0x1.fep127, 0x7fc0};
	case DT_F8E4M3FN: return (struct float_format){4, 3, 7, false, false, 448, 0x7f};
	case DT_F8E4M3FNUZ: return (struct float_format){4, 3, 8, false, true, 240, 0x80};
	case DT_F8E5M2: return (struct float_format){5, 2, 15, true, false, 57344, 0x7f};
	default: return (struct float_format){5, 2, 16, false, true, 57344, 0x80};
	}
}

uint32_t dtype_encode_float(enum dtype t, double x)
{
	struct float_format f = format_of(t);
	int width = 1 + f.exponent + f.mantissa, e;
	uint32_t sign = signbit(x) ? 1u << (width - 1) : 0, code;
	bool f8 = width == 8;
	double a = fabs(x), scaled;

	if (isnan(x))
		return f.nan;
	if (isinf(x) && f.ieee && !f8)
		return sign | (((1u << f.exponent) - 1) << f.mantissa);
	if (a == 0)
		return f.unsigned0 ? 0 : sign;
	if (isinf(x) && f8)
		a = f.largest;
	frexp(a, &e);
	e -= 1;
	if (e < 1 - f.bias)
		e = 1 - f.bias;
	scaled = nearbyint(
		ldexp(a, f.mantissa - e)); /* mantissa with its leading one, rounded to even */
	code = (uint32_t)scaled + (((uint32_t)(e + f.bias - 1)) << f.mantissa);
	if (ldexp(scaled, e - f.mantissa) > f.largest) {
		if (f8)
			return sign | dtype_encode_float(t, f.largest);
		code = ((1u << f.exponent) - 1) << f.mantissa;
	}
	return code == 0 && f.unsigned0 ? 0 : sign | code;
}

double dtype_decode_float(enum dtype t, uint32_t bits)
{
	struct float_format f = format_of(t);
	int width = 1 + f.exponent + f.mantissa;
	uint32_t exponent = bits >> f.mantissa & ((1u << f.exponent) - 1);
	uint32_t mantissa = bits & ((1u << f.mantissa) - 1), top = (1u << f.exponent) - 1;
	double sign = bits >> (width - 1) & 1 ? -1 : 1, m;

	if (f.unsigned0 && bits == 0x80)
		return NAN;
	if (f.ieee && exponent == top)
		return mantissa ? NAN : sign * INFINITY;
	if (t == DT_F8E4M3FN && exponent == top && mantissa == 7)
		return NAN;
	m = exponent ? mantissa + (1u << f.mantissa) : mantissa;
	return sign * ldexp(m, (exponent ? (int)exponent : 1) - f.bias - f.mantissa);
}
