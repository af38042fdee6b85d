/* test_scalar.c: the table of scalar semantics (ir/scalar.def). 8-bit types exhaustively, against definitions
 * written here in plain arithmetic on int; the other types at their edges. */
#include "ir/expr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <math.h>

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

static int64_t ints(enum expr_op op, enum dtype from, enum dtype to, int64_t a, int64_t b)
{
	union scalar arg[2] = {{.i = a}, {.i = b}};

	return scalar_eval(op, from, to, arg).i;
}

static int64_t to_int(enum expr_op op, enum dtype from, enum dtype to, double x)
{
	union scalar arg = {.f = x};

	return scalar_eval(op, from, to, &arg).i;
}

static double to_float(enum expr_op op, enum dtype from, enum dtype to, int64_t x)
{
	union scalar arg = {.i = x};

	return scalar_eval(op, from, to, &arg).f;
}

static double floats(enum expr_op op, enum dtype t, double a, double b)
{
	union scalar arg[2] = {{.f = a}, {.f = b}};

	return scalar_eval(op, t, t, arg).f;
}

static int64_t compares(enum expr_op op, enum dtype t, double a, double b)
{
	union scalar arg[2] = {{.f = a}, {.f = b}};

	return scalar_eval(op, t, DT_BOOL, arg).i;
}

/* ---- 8-bit definitions: everything fits in int, and is brought back into the range at the end ---- */

static int fit(bool is_signed, int x)
{
	x = ((x % 256) + 256) % 256;
	return is_signed && x > 127 ? x - 256 : x;
}

static int toward_zero(int a, int b)
{
	int q = 0, size = a < 0 ? -a : a, step = b < 0 ? -b : b;

	if (b == 0)
		return 0;
	while (size >= step) {
		size -= step;
		q++;
	}
	return (a < 0) != (b < 0) ? -q : q;
}

static int mod_of(int a, int b)
{
	if (b == 0)
		return 0;
	while (a != 0 && (b > 0 ? a < 0 : a > 0))
		a += b;
	while (b > 0 ? a >= b : a <= b)
		a -= b;
	return a;
}

static int shifted_left(int a, int by)
{
	for (int i = 0; by >= 0 && i < by && i < 8; i++)
		a *= 2;
	return by < 0 || by >= 8 ? 0 : a;
}

static int shifted_right(int a, int by)
{
	if (by < 0 || by >= 8)
		return a < 0 ? -1 : 0;
	for (int i = 0; i < by; i++)
		a = a >= 0 ? a / 2 : -((1 - a) / 2); /* floor */
	return a;
}

static int bitwise(enum expr_op op, int a, int b)
{
	int result = 0;

	for (int bit = 1; bit < 256; bit *= 2) {
		bool x = ((a + 256) % 256) / bit % 2, y = ((b + 256) % 256) / bit % 2;

		if (op == EXPR_AND ? x && y : op == EXPR_OR ? x || y : op == EXPR_XOR ? x != y : !x)
			result += bit;
	}
	return result;
}

/* What a op b is before it is brought into the type's range. */
static int defined(enum expr_op op, int a, int b)
{
	switch (op) {
	case EXPR_ADD: return a + b;
	case EXPR_SUB: return a - b;
	case EXPR_MUL: return a * b;
	case EXPR_DIV: return toward_zero(a, b);
	case EXPR_MOD: return mod_of(a, b);
	case EXPR_REM: return b == 0 ? 0 : a - b * toward_zero(a, b);
	case EXPR_NEG: return -a;
	case EXPR_ABS: return a < 0 ? -a : a;
	case EXPR_SIGN: return a < 0 ? -1 : a > 0 ? 1 : 0;
	case EXPR_MIN: return a < b ? a : b;
	case EXPR_MAX: return a > b ? a : b;
	case EXPR_AND:
	case EXPR_OR:
	case EXPR_XOR:
	case EXPR_INVERT: return bitwise(op, a, b);
	case EXPR_SHL: return shifted_left(a, b);
	case EXPR_SHR: return shifted_right(a, b);
	default: fail_msg("no definition of %s", scalar_text(op)); return 0;
	}
}

static bool holds(enum expr_op op, int a, int b)
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

static void exhaust(enum expr_op op, enum dtype t)
{
	bool is_signed = t == DT_I8, compare = op >= EXPR_LT && op <= EXPR_NE;
	int low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;

	for (int a = low; a <= high; a++) {
		for (int b = low; b <= high; b++) {
			int expected =
				compare ? holds(op, a, b) : fit(is_signed, defined(op, a, b));
			int64_t found = ints(op, t, compare ? DT_BOOL : t, a, b);

			if (found != expected)
				fail_msg("%s of %s %d, %d is %lld, expected %d", scalar_text(op),
					 dtype_name(t), a, b, (long long)found, expected);
		}
	}
}

static void eight_bit_operations_follow_their_definitions(void **state)
{
	static const enum expr_op ops[] = {
		EXPR_ADD,  EXPR_SUB, EXPR_MUL, EXPR_DIV, EXPR_MOD,    EXPR_REM, EXPR_NEG, EXPR_ABS,
		EXPR_SIGN, EXPR_MIN, EXPR_MAX, EXPR_LT,  EXPR_LE,     EXPR_GT,  EXPR_GE,  EXPR_EQ,
		EXPR_NE,   EXPR_AND, EXPR_OR,  EXPR_XOR, EXPR_INVERT, EXPR_SHL, EXPR_SHR,
	};

	(void)state;
	for (int i = 0; i < COUNT(ops); i++) {
		exhaust(ops[i], DT_I8);
		exhaust(ops[i], DT_U8);
	}
}

static void bool_operations(void **state)
{
	(void)state;
	for (int a = 0; a < 2; a++) {
		assert_int_equal(ints(EXPR_NOT, DT_BOOL, DT_BOOL, a, 0), a == 0);
		for (int b = 0; b < 2; b++) {
			assert_int_equal(ints(EXPR_AND, DT_BOOL, DT_BOOL, a, b), a == 1 && b == 1);
			assert_int_equal(ints(EXPR_OR, DT_BOOL, DT_BOOL, a, b), a == 1 || b == 1);
			assert_int_equal(ints(EXPR_XOR, DT_BOOL, DT_BOOL, a, b), a != b);
			assert_int_equal(ints(EXPR_MIN, DT_BOOL, DT_BOOL, a, b), a == 1 && b == 1);
			assert_int_equal(ints(EXPR_MAX, DT_BOOL, DT_BOOL, a, b), a == 1 || b == 1);
			assert_int_equal(ints(EXPR_EQ, DT_BOOL, DT_BOOL, a, b), a == b);
		}
	}
}

/* ---- wider integers ---- */

static const enum dtype wide[] = {DT_I16, DT_I32, DT_I64, DT_U16, DT_U32, DT_U64};

static int64_t largest(enum dtype t)
{
	switch (t) {
	case DT_I8: return INT8_MAX;
	case DT_I16: return INT16_MAX;
	case DT_I32: return INT32_MAX;
	case DT_I64: return INT64_MAX;
	case DT_U8: return UINT8_MAX;
	case DT_U16: return UINT16_MAX;
	case DT_U32: return UINT32_MAX;
	default: return -1; /* u64: all bits */
	}
}

static void integers_wrap_at_their_width(void **state)
{
	(void)state;
	for (int i = 0; i < COUNT(wide); i++) {
		enum dtype t = wide[i];
		int64_t max = largest(t), min = i < 3 ? -max - 1 : 0;

		assert_int_equal(ints(EXPR_ADD, t, t, max, 1), min);
		assert_int_equal(ints(EXPR_SUB, t, t, min, 1), max);
		assert_int_equal(ints(EXPR_MUL, t, t, max, 2), i < 3         ? -2
							       : t == DT_U64 ? -2
									     : max - 1);
		assert_int_equal(ints(EXPR_DIV, t, t, max, 0), 0);
		assert_int_equal(ints(EXPR_REM, t, t, max, 0), 0);
		assert_int_equal(ints(EXPR_MOD, t, t, max, 0), 0);
		assert_int_equal(ints(EXPR_NEG, t, t, 1, 0), i < 3 ? -1 : max);
		assert_int_equal(ints(EXPR_INVERT, t, t, 0, 0), i < 3 ? -1 : max);
		assert_int_equal(ints(EXPR_GT, t, DT_BOOL, max, 0), 1);
		assert_int_equal(ints(EXPR_MAX, t, t, max, 1), max);
		assert_int_equal(ints(EXPR_MIN, t, t, max, 1), 1);
		assert_int_equal(ints(EXPR_SIGN, t, t, max, 0), 1);
		assert_int_equal(ints(EXPR_SHL, t, t, 1, dtype_bits(t)), 0);
		assert_int_equal(ints(EXPR_SHL, t, t, 1, dtype_bits(t) - 1),
				 i < 3 ? min : (int64_t)((uint64_t)1 << (dtype_bits(t) - 1)));
		assert_int_equal(ints(EXPR_SHR, t, t, max, dtype_bits(t)), 0);
		assert_int_equal(ints(EXPR_SHR, t, t, max, dtype_bits(t) - 1), i >= 3);
	}
}

static void signed_edges(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		enum dtype t = wide[i];
		int64_t min = -largest(t) - 1;

		assert_int_equal(ints(EXPR_DIV, t, t, min, -1), min);
		assert_int_equal(ints(EXPR_REM, t, t, min, -1), 0);
		assert_int_equal(ints(EXPR_MOD, t, t, min, -1), 0);
		assert_int_equal(ints(EXPR_ABS, t, t, min, 0), min);
		assert_int_equal(ints(EXPR_NEG, t, t, min, 0), min);
		assert_int_equal(ints(EXPR_DIV, t, t, -7, 2), -3);
		assert_int_equal(ints(EXPR_REM, t, t, -7, 2), -1);
		assert_int_equal(ints(EXPR_REM, t, t, 7, -2), 1);
		assert_int_equal(ints(EXPR_MOD, t, t, -7, 2), 1);
		assert_int_equal(ints(EXPR_MOD, t, t, 7, -2), -1);
		assert_int_equal(ints(EXPR_SHR, t, t, -1, 100), -1);
		assert_int_equal(ints(EXPR_SHR, t, t, -8, 1), -4);
		assert_int_equal(ints(EXPR_SHR, t, t, -8, -1), -1);
		assert_int_equal(ints(EXPR_SHR, t, t, 8, -1), 0);
		assert_int_equal(ints(EXPR_SHL, t, t, 1, -1), 0);
		assert_int_equal(ints(EXPR_SIGN, t, t, min, 0), -1);
	}
}

static void unsigned_64_bit_values_use_all_bits(void **state)
{
	(void)state;
	assert_int_equal(ints(EXPR_DIV, DT_U64, DT_U64, -1, 2), INT64_MAX);
	assert_int_equal(ints(EXPR_REM, DT_U64, DT_U64, -1, 10), 5); /* 18446744073709551615 */
	assert_int_equal(ints(EXPR_LT, DT_U64, DT_BOOL, 1, -1), 1);
	assert_int_equal(ints(EXPR_SHR, DT_U64, DT_U64, -1, 63), 1);
	assert_true(to_float(EXPR_CAST, DT_U64, DT_F64, -1) == 0x1p64);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_U64, 0x1p63), INT64_MIN);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_U64, 0x1p64), -1);
	assert_int_equal(ints(EXPR_SAT_CAST, DT_U64, DT_I64, -1, 0), INT64_MAX);
	assert_int_equal(ints(EXPR_SAT_CAST, DT_I64, DT_U64, -1, 0), 0);
}

/* ---- casts ---- */

static void float_to_integer_truncates_and_saturates(void **state)
{
	static const enum dtype all[] = {DT_I8, DT_I16, DT_I32, DT_I64,
					 DT_U8, DT_U16, DT_U32, DT_U64};

	(void)state;
	for (int i = 0; i < COUNT(all); i++) {
		enum dtype t = all[i];
		int64_t max = largest(t), min = i < 4 ? -max - 1 : 0;

		for (int k = 0; k < 2; k++) {
			enum expr_op op = k ? EXPR_SAT_CAST : EXPR_CAST;

			assert_int_equal(to_int(op, DT_F32, t, NAN), 0);
			assert_int_equal(to_int(op, DT_F32, t, INFINITY), max);
			assert_int_equal(to_int(op, DT_F32, t, -INFINITY), min);
			assert_int_equal(to_int(op, DT_F64, t, 1e30), max);
			assert_int_equal(to_int(op, DT_F64, t, -1e30), min);
			assert_int_equal(to_int(op, DT_F32, t, 2.9f), 2);
			assert_int_equal(to_int(op, DT_F32, t, -2.9f), i < 4 ? -2 : 0);
			assert_int_equal(to_int(op, DT_F32, t, -0.9f), 0);
		}
	}
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_I8, 127.9), 127);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_I8, -128.9), -128);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_I64, -0x1p63), INT64_MIN);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_BOOL, 0.25), 1);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_BOOL, -0.0), 0);
	assert_int_equal(to_int(EXPR_CAST, DT_F64, DT_BOOL, NAN), 1);
}

static void integer_casts_wrap_or_clamp(void **state)
{
	(void)state;
	for (int x = -70000; x <= 70000; x++) {
		assert_int_equal(ints(EXPR_CAST, DT_I32, DT_I8, x, 0), fit(true, x));
		assert_int_equal(ints(EXPR_CAST, DT_I32, DT_U8, x, 0), fit(false, x));
		assert_int_equal(ints(EXPR_SAT_CAST, DT_I32, DT_I8, x, 0), x < -128  ? -128
									   : x > 127 ? 127
										     : x);
		assert_int_equal(ints(EXPR_SAT_CAST, DT_I32, DT_U8, x, 0), x < 0     ? 0
									   : x > 255 ? 255
										     : x);
		assert_int_equal(ints(EXPR_CAST, DT_I32, DT_BOOL, x, 0), x != 0);
	}
	assert_int_equal(ints(EXPR_CAST, DT_I8, DT_U32, -1, 0), UINT32_MAX);
	assert_int_equal(ints(EXPR_CAST, DT_U8, DT_I64, 255, 0), 255);
	assert_int_equal(ints(EXPR_CAST, DT_I64, DT_I32, 0x1234567890, 0), 0x34567890);
}

static void casts_to_f32_round_once(void **state)
{
	union scalar x = {.f = 0.1};

	(void)state;
	assert_true(to_float(EXPR_CAST, DT_I32, DT_F32, 16777217) == 16777216);
	assert_true(to_float(EXPR_CAST, DT_I32, DT_F64, 16777217) == 16777217);
	/* through f64 this one would round up: 2^53 is its last bit there */
	assert_true(to_float(EXPR_CAST, DT_I64, DT_F32, 0x8000008000000001) ==
		    (double)-0x7fffff8000000000);
	assert_true(scalar_eval(EXPR_CAST, DT_F64, DT_F32, &x).f == 0.1f);
}

static void bits_casts_reinterpret(void **state)
{
	(void)state;
	assert_int_equal(to_int(EXPR_BITS_CAST, DT_F32, DT_I32, 1), 0x3f800000);
	assert_int_equal(to_int(EXPR_BITS_CAST, DT_F32, DT_I32, -1), (int32_t)0xbf800000);
	assert_int_equal(to_int(EXPR_BITS_CAST, DT_F32, DT_U32, -1), 0xbf800000);
	assert_int_equal(to_int(EXPR_BITS_CAST, DT_F64, DT_I64, -2), (int64_t)0xc000000000000000);
	assert_true(to_float(EXPR_BITS_CAST, DT_U32, DT_F32, 0x40490fdb) == (double)3.14159274f);
	assert_true(to_float(EXPR_BITS_CAST, DT_I64, DT_F64, 0x3ff8000000000000) == 1.5);
	assert_int_equal(ints(EXPR_BITS_CAST, DT_I8, DT_U8, -1, 0), 255);
	assert_int_equal(ints(EXPR_BITS_CAST, DT_U16, DT_I16, 65535, 0), -1);
}

/* ---- floats ---- */

static void f32_results_are_rounded_to_f32(void **state)
{
	static const float x[] = {0,      1,     -1,     0.1f,     3.3f,
				  1e-38f, 1e38f, 1e-45f, 16777216, 0.3333333f};

	(void)state;
	for (int i = 0; i < COUNT(x); i++) {
		for (int k = 0; k < COUNT(x); k++) {
			assert_true(floats(EXPR_ADD, DT_F32, x[i], x[k]) ==
				    (double)(float)(x[i] + x[k]));
			assert_true(floats(EXPR_SUB, DT_F32, x[i], x[k]) ==
				    (double)(float)(x[i] - x[k]));
			assert_true(floats(EXPR_MUL, DT_F32, x[i], x[k]) ==
				    (double)(float)(x[i] * x[k]));
			if (x[k] != 0)
				assert_true(floats(EXPR_DIV, DT_F32, x[i], x[k]) ==
					    (double)(float)(x[i] / x[k]));
		}
		if (x[i] >= 0)
			assert_true(floats(EXPR_SQRT, DT_F32, x[i], 0) == (double)sqrtf(x[i]));
		assert_true(floats(EXPR_EXP, DT_F32, x[i], 0) == (double)(float)exp((double)x[i]));
		assert_true(floats(EXPR_ERF, DT_F64, x[i], 0) == erf((double)x[i]));
	}
	assert_true(isinf(floats(EXPR_MUL, DT_F32, 1e38f, 1e38f)));
	assert_true(floats(EXPR_MUL, DT_F64, 1e38, 1e38) == 1e38 * 1e38);
}

static void minimum_and_maximum_propagate_nan(void **state)
{
	(void)state;
	for (int k = 0; k < 2; k++) {
		enum expr_op op = k ? EXPR_MIN : EXPR_MAX;

		assert_true(isnan(floats(op, DT_F32, NAN, 1)));
		assert_true(isnan(floats(op, DT_F32, 1, NAN)));
		assert_true(isnan(floats(op, DT_F64, NAN, NAN)));
		assert_true(floats(op, DT_F32, 0.0, -0.0) == 0);
	}
	assert_true(floats(EXPR_MAX, DT_F32, -INFINITY, 1) == 1);
	assert_true(floats(EXPR_MIN, DT_F32, -INFINITY, 1) == -INFINITY);
}

static void comparisons_with_nan_are_false_but_not_equal_is_true(void **state)
{
	(void)state;
	for (enum expr_op op = EXPR_LT; op <= EXPR_NE; op++) {
		assert_int_equal(compares(op, DT_F32, NAN, 1), op == EXPR_NE);
		assert_int_equal(compares(op, DT_F64, NAN, NAN), op == EXPR_NE);
		assert_int_equal(compares(op, DT_F32, 1, 2),
				 op == EXPR_LT || op == EXPR_LE || op == EXPR_NE);
		assert_int_equal(compares(op, DT_F32, 0.0, -0.0),
				 op == EXPR_LE || op == EXPR_GE || op == EXPR_EQ);
	}
}

static void float_remainders(void **state)
{
	(void)state;
	assert_true(floats(EXPR_MOD, DT_F32, -7, 3) == 2);
	assert_true(floats(EXPR_MOD, DT_F32, 7, -3) == -2);
	assert_true(floats(EXPR_MOD, DT_F32, 5.5, 2) == 1.5);
	assert_true(floats(EXPR_REM, DT_F32, -7, 3) == -1);
	assert_true(floats(EXPR_REM, DT_F32, 7, -3) == 1);
	assert_true(isnan(floats(EXPR_MOD, DT_F32, 1, 0)));
	assert_true(isnan(floats(EXPR_REM, DT_F64, 1, 0)));
	assert_true(floats(EXPR_MOD, DT_F32, 4, 2) == 0);
}

static void signs_and_rounding(void **state)
{
	static const double x[] = {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999, 3.7, -3.7};
	static const double even[] = {-2, -2, 0, 0, 2, 2, 2, 4, -4};

	(void)state;
	for (int i = 0; i < COUNT(x); i++)
		assert_true(floats(EXPR_RNE, DT_F64, x[i], 0) == even[i]);
	assert_true(floats(EXPR_FLOOR, DT_F32, -3.5, 0) == -4);
	assert_true(floats(EXPR_CEIL, DT_F32, -3.5, 0) == -3);
	assert_true(floats(EXPR_TRUNC, DT_F32, -3.5, 0) == -3);
	assert_true(isnan(floats(EXPR_SIGN, DT_F32, NAN, 0)));
	assert_true(floats(EXPR_SIGN, DT_F32, -0.0, 0) == 0);
	assert_true(floats(EXPR_SIGN, DT_F32, -5, 0) == -1);
	assert_true(signbit(floats(EXPR_NEG, DT_F32, 0, 0)));
	assert_false(signbit(floats(EXPR_ABS, DT_F32, -0.0, 0)));
}

static void select_takes_the_chosen_value(void **state)
{
	union scalar arg[3] = {{.i = 1}, {.f = 2}, {.f = 3}};

	(void)state;
	assert_true(scalar_eval(EXPR_SELECT, DT_BOOL, DT_F32, arg).f == 2);
	arg[0].i = 0;
	assert_true(scalar_eval(EXPR_SELECT, DT_BOOL, DT_F32, arg).f == 3);
}

/* Every row of scalar.def that takes floats is computed: nothing falls through to the default. */
static void every_float_operation_gives_a_number(void **state)
{
	(void)state;
	for (enum expr_op op = 0; op < EXPR_SCALAR_COUNT; op++) {
		enum dtype types[3] = {DT_F64, DT_F64, DT_F64};

		if (scalar_result(op, types) != DT_F64)
			continue;
		assert_false(isnan(floats(op, DT_F64, op == EXPR_ACOSH ? 1.5 : 0.5, 0.5)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_bit_operations_follow_their_definitions),
		cmocka_unit_test(bool_operations),
		cmocka_unit_test(integers_wrap_at_their_width),
		cmocka_unit_test(signed_edges),
		cmocka_unit_test(unsigned_64_bit_values_use_all_bits),
		cmocka_unit_test(float_to_integer_truncates_and_saturates),
		cmocka_unit_test(integer_casts_wrap_or_clamp),
		cmocka_unit_test(casts_to_f32_round_once),
		cmocka_unit_test(bits_casts_reinterpret),
		cmocka_unit_test(f32_results_are_rounded_to_f32),
		cmocka_unit_test(minimum_and_maximum_propagate_nan),
		cmocka_unit_test(comparisons_with_nan_are_false_but_not_equal_is_true),
		cmocka_unit_test(float_remainders),
		cmocka_unit_test(signs_and_rounding),
		cmocka_unit_test(select_takes_the_chosen_value),
		cmocka_unit_test(every_float_operation_gives_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
