/* test_quantize.c: rounding of weights, and that products in integers are the products. */
#include "ir/text.h"
#include "passes/quantize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void weights_round_to_even_within_the_limit(void **state)
{
	(void)state;
	assert_int_equal(quantize_round(0.5f, 1, 127), 0);
	assert_int_equal(quantize_round(1.5f, 1, 127), 2);
	assert_int_equal(quantize_round(-2.5f, 1, 127), -2);
	assert_int_equal(quantize_round(1000, 1, 127), 127);
	assert_int_equal(quantize_round(-1000, 1, 127), -127);
	assert_int_equal(quantize_round(-9, 1, 7), -7);
}

static void a_column_of_zeros_stays_zeros(void **state)
{
	(void)state;
	assert_int_equal(quantize_round(0, 0, 127), 0);
	assert_int_equal(quantize_round(3, 0, 127), 0);
}

static void the_range_of_a_column_is_its_largest_magnitude(void **state)
{
	static const float data[6] = {1, -5, 0, -2, 3, 0};
	struct layer l = {.data = data, .rows = 2, .columns = 3};
	struct arena a = {0};
	const float *range = layer_column_range(&l, &a);

	(void)state;
	assert_true(range[0] == 2 && range[1] == 5 && range[2] == 0);
	arena_free(&a);
}

/* Runs a pass with --check: its results and those before it are compared on random inputs. */
static void expect_same(const char *text, enum op_id op, enum dtype product)
{
	struct arena arena = {0};
	struct diag d = {0};
	struct graph *g = graph_parse(text, strlen(text), "test", &arena, &d);
	struct pipeline_options o = {
		.passes = "integer_products,dead_code", .verify_each = true, .check = true};
	int found = 0;

	assert_non_null(g);
	assert_true(pipeline_run(g, &o, &interpreter, &d));
	for (const struct node *n = g->body->first; n; n = n->next)
		found += n->op == op && n->out[0]->type.dtype == product;
	assert_int_equal(found, 1);
	diag_reset(&d);
	arena_free(&arena);
}

static void padded_convolutions_of_bytes_are_the_same(void **state)
{
	(void)state;
	expect_same("func @f(%x: u8[N,6,4,4]) -> (%c: f32[N,2,2,5]) {\n"
		    "  %k: i8[5,3,3,6] = const random(3)\n"
		    "  %t: f32[5,1,1,1] = const random(4)\n"
		    "  %z: u8[] = const splat(131)\n"
		    "  %d: f32[N,6,4,4] = map(%x, %z) (q: u8, z: u8) -> f32(i32(q) - i32(z)) * "
		    "0.25\n"
		    "  %e: f32[N,4,4,6] = transpose(%d) {perm=[0,2,3,1]}\n"
		    "  %f: f32[N,6,6,6] = pad(%e) {lo=[0,1,1,0], hi=[0,1,1,0]}\n"
		    "  %g: f32[5,3,3,6] = map(%k, %t) (q: i8, s: f32) -> f32(q) * s\n"
		    "  %h: f32[3,3,6,5] = transpose(%g) {perm=[1,2,3,0]}\n"
		    "  %c: f32[N,2,2,5] = conv(%f, %h) {stride=[2,2]}\n"
		    "  return %c\n"
		    "}\n",
		    OP_conv, DT_I32);
}

static void scales_of_rows_and_columns_are_the_same(void **state)
{
	(void)state;
	expect_same("func @f(%x: i8[N,7], %s: f32[N,1], %z: i8[N,1], %w: u8[7,5], %v: u8[5]) -> "
		    "(%y: f32[N,5]) {\n"
		    "  %t: f32[5] = const random(4)\n"
		    "  %a: f32[N,7] = map(%x, %s, %z) (q: i8, s: f32, z: i8) -> f32(i32(q) - "
		    "i32(z)) * s\n"
		    "  %b: f32[7,5] = map(%w, %t, %v) (q: u8, s: f32, z: u8) -> f32(i32(q) - "
		    "i32(z)) * s\n"
		    "  %y: f32[N,5] = matmul(%a, %b)\n"
		    "  return %y\n"
		    "}\n",
		    OP_matmul, DT_I32);
}

static void scales_along_the_sum_stay_floats(void **state)
{
	(void)state;
	expect_same("func @f(%x: i8[N,7], %w: i8[7,5], %s: f32[7,1]) -> (%y: f32[N,5]) {\n"
		    "  %a: f32[N,7] = map(%x) (q: i8) -> f32(q) * 0.5\n"
		    "  %b: f32[7,5] = map(%w, %s) (q: i8, s: f32) -> f32(q) * s\n"
		    "  %y: f32[N,5] = matmul(%a, %b)\n"
		    "  return %y\n"
		    "}\n",
		    OP_matmul, DT_F32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_round_to_even_within_the_limit),
		cmocka_unit_test(a_column_of_zeros_stays_zeros),
		cmocka_unit_test(the_range_of_a_column_is_its_largest_magnitude),
		cmocka_unit_test(padded_convolutions_of_bytes_are_the_same),
		cmocka_unit_test(scales_of_rows_and_columns_are_the_same),
		cmocka_unit_test(scales_along_the_sum_stay_floats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
