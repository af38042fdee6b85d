/* The runtime's own formatting of messages, beside libc's. */
#include "runtime/system.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

__attribute__((format(printf, 3, 4))) static void format(char *text, size_t size, const char *f,
							 ...)
{
	va_list args;

	va_start(args, f);
	rt_format(text, size, f, args);
	va_end(args);
}

#define SAME(...)                                                  \
	do {                                                       \
		char found[200], expected[200];                    \
		format(found, sizeof(found), __VA_ARGS__);         \
		snprintf(expected, sizeof(expected), __VA_ARGS__); \
		assert_string_equal(found, expected);              \
	} while (0)

static void integers_and_texts_are_as_printf_has_them(void **state)
{
	(void)state;
	SAME("%s has %d of %u, %lld (%lld) and %zu bytes", "x", -5, 7u, (long long)INT64_MIN,
	     (long long)INT64_MAX, (size_t)12);
	SAME("%d %d %u", INT32_MIN, 0, UINT32_MAX);
	SAME("100 %% of \"%s\"", "");
}

static void reals_have_six_digits_as_printf_has_them(void **state)
{
	static const double values[] = {0,       1,          -1,       0.5,      0.93,
					1.0 / 3, 123456,     1234567,  99999.95, 999999.7,
					1e-4,    9.99e-5,    0.000123, 1e300,    -2.5e-300,
					1e100,   3.14159265, 100,      1e6,      12.5};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		SAME("%g", values[i]);
	SAME("%g %g", __builtin_inf(), -__builtin_inf());
	SAME("%g", __builtin_nan(""));
}

static void a_text_is_cut_off_at_the_end_of_its_buffer(void **state)
{
	char text[8] = "       ";

	(void)state;
	format(text, 5, "%s", "abcdefgh");
	assert_string_equal(text, "abcd");
	assert_int_equal(text[5], ' ');
	format(text, 1, "%d", 12);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_and_texts_are_as_printf_has_them),
		cmocka_unit_test(reals_have_six_digits_as_printf_has_them),
		cmocka_unit_test(a_text_is_cut_off_at_the_end_of_its_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
