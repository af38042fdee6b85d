/* test_work.c: what kernel_work_of counts, against numbers worked out by hand. */
#include "tests/unit/fixture.h"

#include "ir/work.h"

static struct kernel_work work_of(struct fixture *f, struct value *v)
{
	const struct kernel *k = lower_node(f->g, v->def, &f->arena, &f->diag);
	const int64_t symbols[1] = {3};

	assert_non_null(k);
	return kernel_work_of(k, symbols);
}

static void matmul_is_two_operations_a_term(void **state)
{
	struct fixture *f = *state;
	struct value *a = INPUT_N(f, 3, 5), *b = INPUT(f, 5, 7);
	struct value *y = op(&f->b, OP_matmul, NULL, 2, a, b);
	struct kernel_work w = work_of(f, y);

	assert_float_equal(w.operations, 2 * 3 * 5 * 7, 0.001);
	assert_float_equal(w.in_bytes, 4 * (3 * 5 + 5 * 7), 0.001);
	assert_float_equal(w.out_bytes, 4 * 3 * 7, 0.001);
}

/* exp(b) depends on the second axis only. */
static void what_outer_axes_give_counts_once(void **state)
{
	struct fixture *f = *state;
	struct value *in[2] = {INPUT_N(f, 3, 5), INPUT(f, 5)};
	struct value *y = add_map_text(&f->b, "(a, b) -> a + exp(b)", DT_NONE, 2, in, 0, NULL);
	struct kernel_work w = work_of(f, y);

	assert_float_equal(w.operations, 3 * 5 + 5, 0.001);
	assert_float_equal(w.in_bytes, 4 * (3 * 5 + 5), 0.001);
}

/* Lowered with the exponentials under the sum and again in the result. */
static void softmax_has_its_exponentials_once(void **state)
{
	struct fixture *f = *state;
	struct attrs_softmax a = {.axis = 1};
	struct kernel_work w = work_of(f, op(&f->b, OP_softmax, &a, 1, INPUT_N(f, 3, 5)));

	assert_float_equal(w.operations, 5 * 3 * 5 + 3, 0.001); /* max, -, exp, sum, *; 1 / sum */
}

static void a_slice_reads_what_it_takes(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT(f, 10, 10);
	dim at[2] = {size_of(&f->b, 2), size_of(&f->b, 0)},
	    size[2] = {size_of(&f->b, 2), size_of(&f->b, 3)};
	int64_t step[2] = {1, 1};
	struct kernel_work w = work_of(f, add_slice(&f->b, x, at, size, step));

	assert_float_equal(w.operations, 0, 0.001);
	assert_float_equal(w.in_bytes, 4 * 2 * 3, 0.001);
	assert_float_equal(w.out_bytes, 4 * 2 * 3, 0.001);
}

int main(void)
{

	const struct CMUnitTest tests[] = {
		TEST(matmul_is_two_operations_a_term), TEST(what_outer_axes_give_counts_once),
		TEST(softmax_has_its_exponentials_once), TEST(a_slice_reads_what_it_takes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
