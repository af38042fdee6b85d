/* test_model_tensors.c: the data of tensors in models, good and bad. */
#include "tests/unit/model_fixture.h"

static void raw_data_has_the_length_that_its_type_needs(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, 2);

	(void)state;
	put_data(&t, 9, "1234567", 7);
	assert_tensor_refused(&t, "holds 7 bytes, float[2] needs 8");
	t = tensor("w", ONNX_INT4, 3);
	put_data(&t, 9, "1234", 4);
	assert_tensor_refused(&t, "holds 4 bytes, int4[3] needs 2");
	t = tensor("w", ONNX_FLOAT, 2);
	assert_tensor_refused(&t, "holds 0 bytes");
	t = tensor("w", ONNX_FLOAT, 0);
	assert_int_equal(read_back(&t)->size, 0);
	t = tensor("w", ONNX_INT4, 3);
	put_data(&t, 9, "12", 2);
	assert_memory_equal(read_back(&t)->data, "12", 2);
}

static void bad_dims_are_refused(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, -1), m;

	(void)state;
	assert_tensor_refused(&t, "dim 0 is negative: -1");
	t = tensor("w", ONNX_FLOAT, INT64_MAX / 2);
	put_number(&t, 1, 4);
	assert_tensor_refused(&t, "overflows");
	t = tensor("w", ONNX_FLOAT, (int64_t)1 << 40);
	assert_tensor_refused(&t, "needs 4398046511104");
	t = tensor("w", ONNX_FLOAT, 1);
	for (int i = 0; i < 8; i++)
		put_number(&t, 1, 1);
	m = model_with_tensor(&t);
	assert_refused_as(&m, 3, "rank 9");
}

static void typed_data_is_counted_and_in_range(void **state)
{
	struct message t = tensor("w", ONNX_INT8, 2);

	(void)state;
	put_number(&t, 5, -3);
	put_data(&t, 5, "\x07", 1);
	assert_memory_equal(read_back(&t)->data, "\xfd\x07", 2);
	t = tensor("w", ONNX_INT8, 1);
	put_number(&t, 5, 300);
	assert_tensor_refused(&t, "out of the range of int8");
	t = tensor("w", ONNX_INT8, 1);
	put_data(&t, 5, "\1\2", 2);
	assert_tensor_refused(&t, "more than the 1 values");
	t = tensor("w", ONNX_INT64, 2);
	put_data(&t, 7, "\xff\x01", 2);
	assert_tensor_refused(&t, "holds 1 values, int64[2] needs 2");
	t = tensor("w", ONNX_INT64, 1);
	put_data(&t, 7, "\xff", 1);
	assert_tensor_refused(&t, "damaged");
	t = tensor("w", ONNX_FLOAT, 1);
	put_data(&t, 5, "\1", 1);
	assert_tensor_refused(&t, "data in field 5, float[1] has its data in field 4");
	t = tensor("w", ONNX_INT64, (int64_t)1 << 50);
	put_data(&t, 7, "\1", 1);
	assert_tensor_refused(&t, "1 bytes of data for");
}

static void data_comes_in_one_way_only(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, 1);

	(void)state;
	put_data(&t, 9, "1234", 4);
	put_data(&t, 4, "1234", 4);
	assert_tensor_refused(&t, "more than one");
}

static void bools_are_0_or_1(void **state)
{
	struct message t = tensor("w", ONNX_BOOL, 2);

	(void)state;
	put_data(&t, 9, "\1\2", 2);
	assert_tensor_refused(&t, "value 1 is 2");
	t = tensor("w", ONNX_BOOL, 2);
	put_data(&t, 5, "\0\2", 2);
	assert_memory_equal(read_back(&t)->data, "\0\1", 2);
}

static void element_types_of_the_future_are_unsupported(void **state)
{
	struct message t = tensor("w", 99, 1), m;

	(void)state;
	m = model_with_tensor(&t);
	assert_refused_as(&m, 3, "element type 99");
	t = tensor("w", 0, 1);
	assert_tensor_refused(&t, "no valid element type");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_data_has_the_length_that_its_type_needs),
		cmocka_unit_test(bad_dims_are_refused),
		cmocka_unit_test(typed_data_is_counted_and_in_range),
		cmocka_unit_test(data_comes_in_one_way_only),
		cmocka_unit_test(bools_are_0_or_1),
		cmocka_unit_test(element_types_of_the_future_are_unsupported),
	};

	return cmocka_run_group_tests(tests, NULL, free_arena);
}
