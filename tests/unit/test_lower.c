/* test_lower.c: kernels of single operators, run by the interpreter, against values worked out by hand or by
 * plain loops. */
#include "tests/unit/fixture.h"

/* ---- movement ---- */

static void reshape_keeps_c_order(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT_N(f, 3, 4, 5), *y;
	dim dims[4] = {f->n, size_of(&f->b, 2), size_of(&f->b, 5), size_of(&f->b, 2)};

	y = add_reshape(&f->b, x, 4, dims);
	expect_floats(f, y, 60, f->inputs[0].data);
}

static void reshape_splits_and_joins_at_once(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT(f, 6, 4, 1, 5), *y;
	dim dims[3] = {size_of(&f->b, 8), size_of(&f->b, 3), size_of(&f->b, 5)};

	y = add_reshape(&f->b, x, 3, dims);
	expect_floats(f, y, 120, f->inputs[0].data);
}

/* Splitting an axis reads one affine index: no division. */
static bool divides(const struct expr *e, void *self)
{
	(void)self;
	return e->op == EXPR_DIV || e->op == EXPR_REM;
}

static void reshape_that_splits_an_axis_needs_no_division(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT_N(f, 3, 4, 6), *y;
	dim dims[5] = {f->n, size_of(&f->b, 2), size_of(&f->b, 2), size_of(&f->b, 3),
		       size_of(&f->b, 2)};
	const struct stmt *s;
	int count, axes[HONE_MAX_RANK];

	y = add_reshape(&f->b, x, 5, dims);
	s = kernel_pure_store(lower_node(f->g, y->def, &f->arena, &f->diag), &count, axes);
	assert_non_null(s);
	assert_int_equal(count, 5);
	assert_false(expr_any(s->value, divides, NULL));
}

static void transpose_and_slice_backwards(void **state)
{
	struct fixture *f = *state;
	struct value *x = input_of(f, DT_F32, (int[5]){2, 3}, false, (float[]){1, 2, 3, 4, 5, 6});
	dim at[2] = {size_of(&f->b, 2), size_of(&f->b, 0)},
	    size[2] = {size_of(&f->b, 2), size_of(&f->b, 2)};
	int64_t step[2] = {-2, 1};

	x = add_transpose(&f->b, x, (int[]){1, 0});
	EXPECT(f, add_slice(&f->b, x, at, size, step), 4, 3, 6, 1, 4);
}

static struct value *pad_by(struct fixture *f, int kind, int lo, int hi)
{
	dim l = size_of(&f->b, lo), h = size_of(&f->b, hi);
	struct attrs_pad a = {.lo = {1, &l}, .hi = {1, &h}, .value = 9, .kind = kind};

	return op(&f->b, OP_pad, &a, 1, FLOATS(f, 3, 1, 2, 3));
}

static void pad_constant(void **state)
{
	EXPECT(*state, pad_by(*state, 0, 2, 1), 6, 9, 9, 1, 2, 3, 9);
}
static void pad_negative_cuts(void **state)
{
	EXPECT(*state, pad_by(*state, 0, -1, 2), 4, 2, 3, 9, 9);
}
static void pad_edge(void **state) { EXPECT(*state, pad_by(*state, 1, 2, 1), 6, 1, 1, 1, 2, 3, 3); }
static void pad_reflect(void **state)
{
	EXPECT(*state, pad_by(*state, 2, 2, 3), 8, 3, 2, 1, 2, 3, 2, 1, 2);
}
static void pad_wrap(void **state)
{
	EXPECT(*state, pad_by(*state, 3, 4, 1), 8, 3, 1, 2, 3, 1, 2, 3, 1);
}

static void concat_and_expand(void **state)
{
	struct fixture *f = *state;
	struct value *in[2] = {FLOATS(f, 2, 1, 2), FLOATS(f, 3, 3, 4, 5)};
	dim dims[2] = {size_of(&f->b, 2), size_of(&f->b, 5)};

	EXPECT(f, add_expand(&f->b, add_concat(&f->b, 0, 2, in), 2, dims), 10, 1, 2, 3, 4, 5, 1, 2,
	       3, 4, 5);
}

static void a_concat_of_nothing_is_empty(void **state)
{
	struct fixture *f = *state;
	struct type type = type_make(DT_F32, 1, (dim[]){size_of(&f->b, 0)});
	struct tensor data = {.kind = TENSOR_BYTES};
	struct value *empty = add_const(&f->b, &type, &data), *in[2] = {empty, empty};

	expect_floats(f, add_concat(&f->b, 0, 2, in), 0, NULL);
}

/* N is 1 here: an axis that may be 1 must be read at 0. */
static void broadcast_of_a_dim_that_is_one_at_run_time(void **state)
{
	struct fixture *f = *state;
	struct value *x = input_of(f, DT_F32, (int[5]){1}, true, (float[]){10});

	EXPECT(f, add_binary(&f->b, EXPR_ADD, x, FLOATS(f, 3, 1, 2, 3)), 3, 11, 12, 13);
}

static void shape_and_iota(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT_N(f, 3, 4, 5), *shape = add_shape(&f->b, 3, x->type.dims);
	dim dims[2] = {size_of(&f->b, 2), size_of(&f->b, 3)};
	struct attrs_iota a = {.dims = {2, dims}, .axis = 1, .type = DT_I64};

	expect_ints(f, shape, 3, (int64_t[]){3, 4, 5});
	expect_ints(f, op(&f->b, OP_iota, &a, 0), 6, (int64_t[]){0, 1, 2, 0, 1, 2});
}

/* ---- reductions ---- */

static void reduce_over_middle_axes(void **state)
{
	struct fixture *f = *state;
	struct value *x =
		input_of(f, DT_F32, (int[5]){2, 2, 2}, false, (float[]){1, 2, 3, 4, 5, 6, 7, 8});
	int64_t axis = 1;

	EXPECT(f, add_reduce(&f->b, REDUCE_SUM, x, 1, &axis, false), 4, 4, 6, 12, 14);
	EXPECT(f, add_reduce(&f->b, REDUCE_MAX, x, 0, NULL, true), 1, 8);
}

static void argreduce_takes_first_or_last(void **state)
{
	struct fixture *f = *state;
	struct value *x = FLOATS(f, 4, 1, 3, 3, 0);

	expect_ints(f, op(&f->b, OP_argreduce, &(struct attrs_argreduce){.kind = 1}, 1, x), 1,
		    (int64_t[]){1});
	expect_ints(f, op(&f->b, OP_argreduce, &(struct attrs_argreduce){.kind = 3}, 1, x), 1,
		    (int64_t[]){2});
}

static void cumulate_both_ways(void **state)
{
	struct fixture *f = *state;
	struct value *x = FLOATS(f, 4, 1, 2, 3, 4);

	EXPECT(f, op(&f->b, OP_cumulate, &(struct attrs_cumulate){.kind = 0}, 1, x), 4, 1, 3, 6,
	       10);
	EXPECT(f, op(&f->b, OP_cumulate, &(struct attrs_cumulate){.exclusive = 1}, 1, x), 4, 0, 1,
	       3, 6);
	EXPECT(f, op(&f->b, OP_cumulate, &(struct attrs_cumulate){.reverse = 1}, 1, x), 4, 10, 9, 7,
	       4);
	EXPECT(f,
	       op(&f->b, OP_cumulate,
		  &(struct attrs_cumulate){.kind = 1, .exclusive = 1, .reverse = 1}, 1, x),
	       4, 24, 12, 4, 1);
}

static void softmax_and_its_logarithm(void **state)
{
	struct fixture *f = *state;
	struct value *x = FLOATS(f, 3, 1000, 1001, 1002);

	EXPECT(f, op(&f->b, OP_softmax, &(struct attrs_softmax){.axis = 0}, 1, x), 3, 0.09003057f,
	       0.24472848f, 0.66524094f);
	EXPECT(f, op(&f->b, OP_softmax, &(struct attrs_softmax){.axis = 0, .log = 1}, 1, x), 3,
	       -2.407606f, -1.407606f, -0.407606f);
}

static void normalize_scales_and_shifts(void **state)
{
	struct fixture *f = *state;
	struct value *x = FLOATS(f, 4, 1, 2, 3, 4), *g = FLOATS(f, 1, 2),
		     *b = FLOATS(f, 4, 0, 0, 0, 1);
	int64_t axis = 0;
	struct attrs_normalize a = {.axes = {1, &axis}, .eps = 0};

	EXPECT(f, op(&f->b, OP_normalize, &a, 3, x, g, b), 4, -2.6832816f, -0.8944272f, 0.8944272f,
	       3.6832816f);
	a.rms = 1;
	EXPECT(f, op(&f->b, OP_normalize, &a, 1, x), 4, 0.36514837f, 0.73029674f, 1.0954452f,
	       1.4605935f);
}

/* ---- contractions ---- */

static void matmul_with_batches(void **state)
{
	struct fixture *f = *state;
	struct value *a = INPUT_N(f, 2, 1, 3, 4), *w = INPUT(f, 3, 4, 5);
	const float *x = f->inputs[0].data, *y = f->inputs[1].data;
	float want[2 * 3 * 3 * 5] = {0};

	for (int i = 0; i < 2 * 3 * 3 * 5; i++)
		for (int k = 0; k < 4; k++)
			want[i] += x[i / 45 * 12 + i / 5 % 3 * 4 + k] *
				   y[i / 15 % 3 * 20 + k * 5 + i % 5];
	expect_floats(f, op(&f->b, OP_matmul, NULL, 2, a, w), 90, want);
}

static void conv_with_stride_dilation_and_groups(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT_N(f, 2, 9, 4), *w = INPUT(f, 3, 2, 6);
	const float *a = f->inputs[0].data, *b = f->inputs[1].data;
	int64_t two = 2;
	float want[2 * 3 * 6] = {0};

	for (int n = 0; n < 2; n++)
		for (int o = 0; o < 3; o++)
			for (int m = 0; m < 6; m++)
				for (int k = 0; k < 3; k++)
					for (int c = 0; c < 2; c++)
						want[(n * 3 + o) * 6 + m] +=
							a[(n * 9 + o * 2 + k * 2) * 4 + m / 3 * 2 +
							  c] *
							b[(k * 2 + c) * 6 + m];
	expect_floats(
		f,
		op(&f->b, OP_conv,
		   &(struct attrs_conv){.stride = {1, &two}, .dilation = {1, &two}, .group = 2}, 2,
		   x, w),
		36, want);
}

static void pool_takes_the_largest(void **state)
{
	struct fixture *f = *state;
	struct value *x = input_of(f, DT_F32, (int[5]){1, 5, 1}, false, (float[]){1, 4, 2, -3, -5});
	int64_t two = 2;

	EXPECT(f,
	       op(&f->b, OP_pool, &(struct attrs_pool){.kind = REDUCE_MAX, .size = {1, &two}}, 1,
		  x),
	       4, 4, 4, 2, -3);
}

/* 4 query heads on 2 key heads, a mask per key. */
static void attention_shares_key_heads(void **state)
{
	struct fixture *f = *state;
	struct value *q = INPUT(f, 1, 3, 4, 2), *k = INPUT(f, 1, 5, 2, 2),
		     *v = INPUT(f, 1, 5, 2, 3);
	struct value *in[4] = {q, k, v, FLOATS(f, 5, 0, 0, -1, 0, -9)};
	struct expr_pool *p = &f->g->exprs;
	const struct expr *e =
		expr_binary(p, EXPR_ADD, expr_param(p, DT_F32, 0), expr_param(p, DT_F32, 3));
	const float *fq = f->inputs[0].data, *fk = f->inputs[1].data, *fv = f->inputs[2].data,
		    *fm = f->inputs[3].data;
	float want[36];
	struct node *n;

	for (int o = 0; o < 36; o++) {
		int i = o / 12, h = o / 3 % 4, c = o % 3;
		float sum = 0, total = 0;

		for (int j = 0; j < 5; j++) {
			const float *x = fq + (i * 4 + h) * 2, *y = fk + (j * 2 + h / 2) * 2;
			float w = expf(x[0] * y[0] + x[1] * y[1] + fm[j]);

			total += w;
			sum += w * fv[(j * 2 + h / 2) * 3 + c];
		}
		want[o] = sum / total;
	}
	n = graph_add(&f->b,
		      &(struct node_spec){.op = OP_attention, .in_count = 4, .in = in, .expr = e});
	assert_non_null(n);
	expect_floats(f, n->out[0], 36, want);
}

/* ---- gather and scatter ---- */

static void gather_takes_rows(void **state)
{
	struct fixture *f = *state;
	struct value *x = input_of(f, DT_F32, (int[5]){3, 2}, false, (float[]){1, 2, 3, 4, 5, 6});

	EXPECT(f, add_gather(&f->b, 0, x, INDICES(f, 2, 2, 0), 0, 0), 4, 5, 6, 1, 2);
	EXPECT(f,
	       add_gather(&f->b, 0, x,
			  input_of(f, DT_I64, (int[5]){3, 2}, false, (int64_t[]){1, 1, 0, 1, 0, 0}),
			  1, 1),
	       6, 2, 2, 3, 4, 5, 5);
}

static void gather_elements_and_nd(void **state)
{
	struct fixture *f = *state;
	struct value *x = input_of(f, DT_F32, (int[5]){2, 3}, false, (float[]){1, 2, 3, 4, 5, 6});
	struct value *i = input_of(f, DT_I64, (int[5]){2, 2}, false, (int64_t[]){1, 0, 0, 1});

	EXPECT(f, add_gather(&f->b, 1, x, i, 1, 0), 4, 2, 1, 4, 5);
	EXPECT(f, add_gather(&f->b, 2, x, i, 0, 0), 2, 4, 2);
}

static void gather_out_of_range_fails_the_run(void **state)
{
	struct fixture *f = *state;
	struct value *y = add_gather(&f->b, 0, FLOATS(f, 3, 1, 2, 3), INDICES(f, 2, 1, 3), 0, 0);
	hone_tensor t;

	assert_false(run(f, 1, &y, &t));
	assert_int_equal(f->diag.errors, 1);
}

static void scatter_combines_in_order(void **state)
{
	struct fixture *f = *state;
	struct value *x = FLOATS(f, 3, 1, 2, 3), *i = INDICES(f, 3, 2, 0, 2),
		     *u = FLOATS(f, 3, 10, 20, 30);

	EXPECT(f, op(&f->b, OP_scatter, &(struct attrs_scatter){.combine = 0}, 3, x, i, u), 3, 20,
	       2, 30);
	EXPECT(f, op(&f->b, OP_scatter, &(struct attrs_scatter){.combine = 1}, 3, x, i, u), 3, 21,
	       2, 43);
	EXPECT(f,
	       op(&f->b, OP_scatter, &(struct attrs_scatter){.kind = 1, .combine = 4}, 3, x, i, u),
	       3, 20, 2, 30);
}

static void scatter_nd_writes_slices(void **state)
{
	struct fixture *f = *state;
	struct value *x = input_of(f, DT_F32, (int[5]){3, 2}, false, (float[]){1, 2, 3, 4, 5, 6});
	struct value *i = input_of(f, DT_I64, (int[5]){1, 1}, false, (int64_t[]){1});
	struct value *u = input_of(f, DT_F32, (int[5]){1, 2}, false, (float[]){8, 9});

	EXPECT(f, op(&f->b, OP_scatter, &(struct attrs_scatter){.kind = 2}, 3, x, i, u), 6, 1, 2, 8,
	       9, 5, 6);
}

static void nonzero_then_gather(void **state)
{
	struct fixture *f = *state;
	struct value *x = FLOATS(f, 4, 0, 5, 0, 7);
	int k = graph_symbol(f->g, "K", INT64_MAX, x->type.dims[0]);
	struct node *n = graph_add(&f->b, &(struct node_spec){.op = OP_nonzero,
							      .in_count = 1,
							      .in = &x,
							      .symbol_count = 1,
							      .symbols = &k});

	assert_non_null(n);
	EXPECT(f, add_gather(&f->b, 0, x, n->out[0], 0, 0), 2, 5, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reshape_keeps_c_order),
		TEST(reshape_splits_and_joins_at_once),
		TEST(reshape_that_splits_an_axis_needs_no_division),
		TEST(transpose_and_slice_backwards),
		TEST(pad_constant),
		TEST(pad_negative_cuts),
		TEST(pad_edge),
		TEST(pad_reflect),
		TEST(pad_wrap),
		TEST(concat_and_expand),
		TEST(a_concat_of_nothing_is_empty),
		TEST(broadcast_of_a_dim_that_is_one_at_run_time),
		TEST(shape_and_iota),
		TEST(reduce_over_middle_axes),
		TEST(argreduce_takes_first_or_last),
		TEST(cumulate_both_ways),
		TEST(softmax_and_its_logarithm),
		TEST(normalize_scales_and_shifts),
		TEST(matmul_with_batches),
		TEST(conv_with_stride_dilation_and_groups),
		TEST(pool_takes_the_largest),
		TEST(attention_shares_key_heads),
		TEST(gather_takes_rows),
		TEST(gather_elements_and_nd),
		TEST(gather_out_of_range_fails_the_run),
		TEST(scatter_combines_in_order),
		TEST(scatter_nd_writes_slices),
		TEST(nonzero_then_gather),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
