/* scalar.c: what each scalar operation computes, on values of any compute type. This is the oracle: the
 * constant folder and the interpreter use it, and emitted code is tested against it. The semantics are
 * the comment at the head of scalar.def. */
#include "ir/expr.h"

#include <math.h>
#include <string.h>

static const unsigned char arity[] = {
#define SCALAR(id, text, count, form, rule) count,
#include "ir/scalar.def"
#undef SCALAR
};

/* The value of the low `bits(t)` bits of x: sign-extended for signed types, else zero-extended (u64 keeps
 * its bits). */
static int64_t wrap(enum dtype t, uint64_t x)
{
	switch (t) {
	case DT_I8: return (int8_t)x;
	case DT_I16: return (int16_t)x;
	case DT_I32: return (int32_t)x;
	case DT_U8: return (uint8_t)x;
	case DT_U16: return (uint16_t)x;
	case DT_U32: return (uint32_t)x;
	case DT_BOOL: return x != 0;
	default: return (int64_t)x;
	}
}

static bool is_float(enum dtype t) { return t == DT_F32 || t == DT_F64; }

static bool is_unsigned(enum dtype t)
{
	return t == DT_U8 || t == DT_U16 || t == DT_U32 || t == DT_U64 || t == DT_BOOL;
}

static int width(enum dtype t)
{
	switch (t) {
	case DT_I8:
	case DT_U8:
	case DT_BOOL: return 8;
	case DT_I16:
	case DT_U16: return 16;
	case DT_I32:
	case DT_U32:
	case DT_F32: return 32;
	default: return 64;
	}
}

/* The smallest and largest value of an integer type, as scalar holds them. */
static int64_t lowest(enum dtype t)
{
	return is_unsigned(t) ? 0 : (int64_t)(UINT64_MAX << (width(t) - 1));
}

static int64_t highest(enum dtype t)
{
	if (t == DT_BOOL)
		return 1;
	return (int64_t)(UINT64_MAX >> (64 - width(t) + !is_unsigned(t)));
}

static bool less(enum dtype t, int64_t a, int64_t b)
{
	return t == DT_U64 ? (uint64_t)a < (uint64_t)b : a < b;
}

static int64_t divide(enum dtype t, int64_t a, int64_t b)
{
	if (b == 0)
		return 0;
	if (t == DT_U64)
		return (int64_t)((uint64_t)a / (uint64_t)b);
	if (b == -1) /* a / -1 traps for the smallest i64 */
		return wrap(t, 0 - (uint64_t)a);
	return a / b;
}

static int64_t remainder_of(enum dtype t, int64_t a, int64_t b)
{
	if (b == 0)
		return 0;
	if (t == DT_U64)
		return (int64_t)((uint64_t)a % (uint64_t)b);
	return b == -1 ? 0 : a % b;
}

static int64_t modulo(enum dtype t, int64_t a, int64_t b)
{
	int64_t r = remainder_of(t, a, b);

	return !is_unsigned(t) && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t shift_left(enum dtype t, int64_t a, int64_t by)
{
	if ((uint64_t)by >= (uint64_t)width(t)) /* also when by is negative */
		return 0;
	return wrap(t, (uint64_t)a << by);
}

static int64_t shift_right(enum dtype t, int64_t a, int64_t by)
{
	if ((uint64_t)by >= (uint64_t)width(t))
		return !is_unsigned(t) && a < 0 ? -1 : 0;
	if (is_unsigned(t))
		return (int64_t)((uint64_t)a >> by);
	return a < 0 ? (int64_t)~(~(uint64_t)a >> by) : a >> by;
}

static int64_t negate(enum dtype t, int64_t a) { return wrap(t, 0 - (uint64_t)a); }

static int64_t sign_of(enum dtype t, int64_t a)
{
	return is_unsigned(t) ? a != 0 : (a > 0) - (a < 0);
}

static int64_t int_eval(enum expr_op op, enum dtype t, int64_t a, int64_t b)
{
	switch (op) {
	case EXPR_ADD: return wrap(t, (uint64_t)a + (uint64_t)b);
	case EXPR_SUB: return wrap(t, (uint64_t)a - (uint64_t)b);
	case EXPR_MUL: return wrap(t, (uint64_t)a * (uint64_t)b);
	case EXPR_DIV: return divide(t, a, b);
	case EXPR_MOD: return modulo(t, a, b);
	case EXPR_REM: return remainder_of(t, a, b);
	case EXPR_NEG: return negate(t, a);
	case EXPR_ABS: return !is_unsigned(t) && a < 0 ? negate(t, a) : a;
	case EXPR_SIGN: return sign_of(t, a);
	case EXPR_MIN: return less(t, b, a) ? b : a;
	case EXPR_MAX: return less(t, a, b) ? b : a;
	case EXPR_LT: return less(t, a, b);
	case EXPR_LE: return !less(t, b, a);
	case EXPR_GT: return less(t, b, a);
	case EXPR_GE: return !less(t, a, b);
	case EXPR_EQ: return a == b;
	case EXPR_NE: return a != b;
	case EXPR_AND: return a & b;
	case EXPR_OR: return a | b;
	case EXPR_XOR: return a ^ b;
	case EXPR_NOT: return !a;
	case EXPR_INVERT: return wrap(t, ~(uint64_t)a);
	case EXPR_SHL: return shift_left(t, a, b);
	case EXPR_SHR: return shift_right(t, a, b);
	default: return 0; /* float operations do not take integers */
	}
}

static double float_modulo(double a, double b)
{
	double r = fmod(a, b);

	if (r == 0)
		return copysign(0, b);
	return (r < 0) != (b < 0) ? r + b : r;
}

static double float_function(enum expr_op op, double a, double b)
{
	switch (op) {
	case EXPR_SQRT: return sqrt(a);
	case EXPR_EXP: return exp(a);
	case EXPR_LOG: return log(a);
	case EXPR_LOG1P: return log1p(a);
	case EXPR_POW: return pow(a, b);
	case EXPR_SIN: return sin(a);
	case EXPR_COS: return cos(a);
	case EXPR_TAN: return tan(a);
	case EXPR_ASIN: return asin(a);
	case EXPR_ACOS: return acos(a);
	case EXPR_ATAN: return atan(a);
	case EXPR_SINH: return sinh(a);
	case EXPR_COSH: return cosh(a);
	case EXPR_TANH: return tanh(a);
	case EXPR_ASINH: return asinh(a);
	case EXPR_ACOSH: return acosh(a);
	case EXPR_ATANH: return atanh(a);
	case EXPR_ERF: return erf(a);
	case EXPR_FLOOR: return floor(a);
	case EXPR_CEIL: return ceil(a);
	case EXPR_TRUNC: return trunc(a);
	case EXPR_RNE: return nearbyint(a); /* the rounding mode is never changed */
	default: return NAN;
	}
}

static double float_eval(enum expr_op op, double a, double b)
{
	switch (op) {
	case EXPR_ADD: return a + b;
	case EXPR_SUB: return a - b;
	case EXPR_MUL: return a * b;
	case EXPR_DIV: return a / b;
	case EXPR_MOD: return float_modulo(a, b);
	case EXPR_REM: return fmod(a, b);
	case EXPR_NEG: return -a;
	case EXPR_ABS: return fabs(a);
	case EXPR_SIGN: return a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a;
	case EXPR_MIN: return isnan(a) ? a : isnan(b) ? b : b < a ? b : a;
	case EXPR_MAX: return isnan(a) ? a : isnan(b) ? b : b > a ? b : a;
	default: return float_function(op, a, b);
	}
}

static bool float_compare(enum expr_op op, double a, double b)
{
	switch (op) {
	case EXPR_LT: return a < b;
	case EXPR_LE: return a <= b;
	case EXPR_GT: return a > b;
	case EXPR_GE: return a >= b;
	case EXPR_EQ: return a == b;
	default: return a != b;
	}
}

static double round_to(enum dtype t, double x) { return t == DT_F32 ? (double)(float)x : x; }

/* Truncates toward zero and clamps; NaN gives 0. */
static int64_t int_from_float(enum dtype t, double x)
{
	if (isnan(x))
		return 0;
	if (t == DT_U64)
		return x <= 0 ? 0 : x >= 0x1p64 ? -1 : (int64_t)(uint64_t)x;
	if (t == DT_I64)
		return x < -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x;
	if (x <= (double)lowest(t))
		return lowest(t);
	return x >= (double)highest(t) ? highest(t) : (int64_t)x;
}

static double float_from_int(enum dtype from, enum dtype to, int64_t x)
{
	if (to == DT_F32) /* not through f64, which would round twice */
		return from == DT_U64 ? (float)(uint64_t)x : (float)x;
	return from == DT_U64 ? (double)(uint64_t)x : (double)x;
}

static int64_t saturate(enum dtype from, enum dtype to, int64_t x)
{
	if (from == DT_U64)
		return (uint64_t)x > (uint64_t)highest(to) ? highest(to) : x;
	if (to == DT_U64)
		return x < 0 ? 0 : x;
	return x < lowest(to) ? lowest(to) : x > highest(to) ? highest(to) : x;
}

static union scalar cast(enum expr_op op, enum dtype from, enum dtype to, union scalar x)
{
	union scalar y = {0};

	if (is_float(to))
		y.f = is_float(from) ? round_to(to, x.f) : float_from_int(from, to, x.i);
	else if (to == DT_BOOL)
		y.i = is_float(from) ? x.f != 0 : x.i != 0;
	else if (is_float(from))
		y.i = int_from_float(to, x.f);
	else
		y.i = op == EXPR_SAT_CAST ? saturate(from, to, x.i) : wrap(to, (uint64_t)x.i);
	return y;
}

static uint64_t bits_of(enum dtype t, union scalar x)
{
	uint64_t bits = (uint64_t)x.i;
	uint32_t half;
	float f;

	if (t == DT_F64) {
		memcpy(&bits, &x.f, sizeof(bits));
	} else if (t == DT_F32) {
		f = (float)x.f;
		memcpy(&half, &f, sizeof(half));
		bits = half;
	}
	return bits;
}

static union scalar bits_cast(enum dtype from, enum dtype to, union scalar x)
{
	uint64_t bits = bits_of(from, x);
	uint32_t half = (uint32_t)bits;
	union scalar y = {0};
	float f;

	if (to == DT_F64) {
		memcpy(&y.f, &bits, sizeof(bits));
	} else if (to == DT_F32) {
		memcpy(&f, &half, sizeof(f));
		y.f = f;
	} else {
		y.i = wrap(to, bits);
	}
	return y;
}

union scalar scalar_eval(enum expr_op op, enum dtype operand, enum dtype result,
			 const union scalar *arg)
{
	union scalar y = {0};
	bool two = op < EXPR_SCALAR_COUNT && arity[op] == 2;

	if (op == EXPR_SELECT)
		return arg[0].i ? arg[1] : arg[2];
	if (op == EXPR_CAST || op == EXPR_SAT_CAST)
		return cast(op, operand, result, arg[0]);
	if (op == EXPR_BITS_CAST)
		return bits_cast(operand, result, arg[0]);
	if (!is_float(operand))
		y.i = int_eval(op, operand, arg[0].i, two ? arg[1].i : 0);
	else if (op >= EXPR_LT && op <= EXPR_NE)
		y.i = float_compare(op, arg[0].f, arg[1].f);
	else
		y.f = round_to(result, float_eval(op, arg[0].f, two ? arg[1].f : 0));
	return y;
}
