/* test_expr_parse.c: scalar expressions from text and back. */
#include "ir/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct arena arena;
	struct diag diag;
	struct dim_pool dims;
	struct expr_pool exprs;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));

	dim_pool_init(&f->dims, &f->arena);
	expr_pool_init(&f->exprs, &f->arena, &f->dims);
	symbol_add(&f->dims, &(struct symbol){.name = "N", .max = INT64_MAX});
	symbol_add(&f->dims, &(struct symbol){.name = "batch size", .max = INT64_MAX});
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	diag_reset(&f->diag);
	arena_free(&f->arena);
	test_free(f);
	return 0;
}

static const struct expr *parse(struct fixture *f, const char *text, enum dtype want)
{
	static const struct named_real constants[] = {{"alpha", 0.1}, {"three", 3}};
	static const enum dtype types[] = {DT_F32, DT_F32};

	return expr_parse(&f->exprs, text, strncmp(text, "(a, b)", 6) ? 0 : 2, types, want, 2,
			  constants, (struct loc){.node = "node"}, &f->diag);
}

static const char *leaf(void *self, const struct expr *e)
{
	static const char *const names[] = {"a", "b", "c", "d"};

	(void)self;
	return e->op == EXPR_PARAM ? names[e->index] : NULL;
}

/* The text after the arrow is printed as `want`, which gives the same expression again. */
static void expect(struct fixture *f, const char *text, const char *want)
{
	const char *arrow = strstr(text, "->");
	const struct expr *e = parse(f, text, DT_NONE);
	const char *got;

	if (!e)
		diag_print(&f->diag, stderr, false);
	assert_non_null(e);
	got = expr_text(&f->arena, &f->exprs, e, leaf, NULL);
	assert_string_equal(got, want);
	got = arena_printf(&f->arena, "%.*s-> %s", (int)(arrow - text), text, got);
	assert_ptr_equal(parse(f, got, (enum dtype)e->type), e);
}

static void expect_error(struct fixture *f, const char *text, const char *want)
{
	assert_null(parse(f, text, DT_NONE));
	assert_int_equal(f->diag.count, 1);
	if (!strstr(f->diag.messages[0].text, want))
		fail_msg("%s: %s", text, f->diag.messages[0].text);
	diag_reset(&f->diag);
}

static void parentheses_are_as_few_as_possible(void **state)
{
	struct fixture *f = *state;

	expect(f, "(a, b) -> ((a + b)) - (a * b)", "a + b - a * b");
	expect(f, "(a, b) -> a - (b - a)", "a - (b - a)");
	expect(f, "(a, b) -> (a + b) * a / (b / a)", "(a + b) * a / (b / a)");
	expect(f, "(a, b) -> -(a * b) - -a", "-(a * b) - -a");
	expect(f, "(a, b) -> (a > 0 ? a : b) + 1", "(a > 0.0 ? a : b) + 1.0");
	expect(f, "(a, b) -> a > 0 ? b : (a < b ? a : b)", "a > 0.0 ? b : a < b ? a : b");
	expect(f, "(a, b) -> (a > b ? b > 0 : a > 0) ? a : b",
	       "(a > b ? b > 0.0 : a > 0.0) ? a : b");
	expect(f, "(a: i32, b: i32) -> (a & 3) == b | ~a << 2 < -b", "(a & 3) == b | ~a << 2 < -b");
	expect(f, "(a: i32, b: i32) -> a ^ (b | a) & 7", "a ^ (b | a) & 7");
}

static void literals_take_the_type_around_them(void **state)
{
	struct fixture *f = *state;

	expect(f, "(a, b) -> max(a + b, 0)", "max(a + b, 0.0)");
	expect(f, "(a: i64) -> a + -9223372036854775808", "a + -9223372036854775808");
	expect(f, "(a: u64) -> max(a, 18446744073709551615)", "max(a, 18446744073709551615)");
	expect(f, "(a: bool) -> a ? f32(1) : 0", "a ? 1.0 : 0.0");
	expect(f, "(a, b) -> a * alpha + three", "a * 0.1 + 3.0");
	expect(f, "(a: i8) -> a + three", "a + 3");
	expect(f, "(a: i64) -> a < N & a * 2 >= dim(N*2 - 1)", "a < N & a * 2 >= dim(N*2 - 1)");
	expect(f, "(a: i64) -> a + \"batch size\"", "a + dim(\"batch size\")");
	expect(f, "(a, b) -> a == inf | b != -inf | a < nan", "a == inf | b != -inf | a < nan");
	expect(f, "(a, b) -> sat_i8(rne(a / 0.1)) + 3", "sat_i8(rne(a / 0.1)) + 3");
	assert_int_equal(parse(f, "1 + 2", DT_I32)->i, 3);
	assert_true(parse(f, "three == 3 & alpha < 1", DT_BOOL)->i);
}

static void errors_say_what_and_where(void **state)
{
	struct fixture *f = *state;

	expect_error(f, "(a, b) -> a +",
		     "column 14: expected an operand, found the end of the text");
	expect_error(f, "(a, b) -> a + c",
		     "column 15: there is no parameter, constant or symbol named c");
	expect_error(f, "(a: f32, b: i32) -> a + b",
		     "`+` takes operands of one type, found f32 and i32");
	expect_error(f, "(a: f32) -> ~a", "`~` does not take operands of type f32");
	expect_error(f, "(a: u8) -> a + 256", "256 does not fit u8");
	expect_error(f, "(a: i32) -> a + alpha", "alpha does not fit i32");
	expect_error(f, "(a: f16) -> a", "nothing is computed in f16; the parameter a is f32");
	expect_error(f, "(a, b) -> max(a)", "max takes 2 operands");
	expect_error(f, "(a, b) -> min", "min is a function: min(...)");
	expect_error(f, "(a, b) -> a b", "expected an operator or the end, found `b`");
	expect_error(f, "1", "the type of 1 is not known here; write for example f32(1)");
	expect_error(f, "(a) -> a", "the type of the parameter a is not known");
	expect_error(f, "(a, b) -> a ? b : a", "`?` takes a bool");
	expect_error(f, "(a: f32) -> %a", "an expression reads its parameters");
}

static void deep_text_is_refused_and_deep_expressions_are_printed_in_parts(void **state)
{
	struct fixture *f = *state;
	char text[2048];
	const struct expr *e = expr_param(&f->exprs, DT_F32, 0), *back;
	const char *out;

	memset(text, '(', 1000);
	strcpy(text + 1000, "1");
	expect_error(f, text, "nested over 256 deep");
	for (int i = 0; i < 1000; i++)
		e = expr_unary(&f->exprs, i % 2 ? EXPR_EXP : EXPR_SIN, e);
	for (int i = 0; i < 60; i++)
		e = expr_binary(&f->exprs, EXPR_MUL, e, e);
	out = expr_text(&f->arena, &f->exprs, e, leaf, NULL);
	assert_true(strlen(out) < 20000);
	back = parse(f, arena_printf(&f->arena, "(a: f32) -> %s", out), DT_F32);
	assert_ptr_equal(back, e);
}

static void reals_print_as_the_shortest_text_that_reads_back(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(real_text(&f->arena, DT_F32, (double)0.1f), "0.1");
	assert_string_equal(real_text(&f->arena, DT_F64, (double)0.1f), "0.10000000149011612");
	assert_string_equal(real_text(&f->arena, DT_F64, 3), "3.0");
	assert_string_equal(real_text(&f->arena, DT_F64, 1e30), "1e+30");
	assert_string_equal(real_text(&f->arena, DT_F64, -0.0), "-0.0");
	assert_string_equal(real_text(&f->arena, DT_F32, -(double)INFINITY), "-inf");
	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t bits = i * 429497u;
		float x;

		memcpy(&x, &bits, 4);
		if (!isnan(x))
			assert_true((float)strtod(real_text(&f->arena, DT_F32, (double)x), NULL) ==
				    x);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parentheses_are_as_few_as_possible),
		TEST(literals_take_the_type_around_them),
		TEST(errors_say_what_and_where),
		TEST(deep_text_is_refused_and_deep_expressions_are_printed_in_parts),
		TEST(reals_print_as_the_shortest_text_that_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
