/* test_join.c: groups compute what their operators compute on their own. */
#include "tests/unit/fixture.h"

/* Builds the same ops twice, alone and in a group, and compares. Returns the group's kernel. */
typedef int build_fn(struct builder *b, struct value *const *in, struct value **out);

static struct kernel *expect_joined(struct fixture *f, build_fn *build, struct value *const *in)
{
	struct region *r = region_new(f->g);
	struct builder inner = f->b;
	struct value *alone[4], *joined[4], *all[8];
	hone_tensor y[8];
	struct node *n;
	int count;

	count = build(&f->b, in, alone);
	inner.region = r;
	build(&inner, in, joined);
	region_set_results(f->g, r, count, joined);
	n = graph_add(&f->b, &(struct node_spec){.op = OP_group,
						 .out_count = count,
						 .region_count = 1,
						 .regions = &r});
	if (!n)
		diag_print(&f->diag, stderr, false);
	assert_non_null(n);
	for (int i = 0; i < count; i++) {
		all[i] = alone[i];
		all[count + i] = n->out[i];
	}
	if (!run(f, 2 * count, all, y)) {
		diag_print(&f->diag, stderr, false);
		fail();
	}
	for (int i = 0; i < count; i++) {
		assert_int_equal(y[i].size, y[count + i].size);
		for (int64_t k = 0; k < y[i].size / 4; k++) {
			float a = ((float *)y[i].data)[k], b = ((float *)y[count + i].data)[k];

			if (!(fabsf(a - b) <= 1e-5f + 1e-5f * fabsf(a)))
				fail_msg("result %d, element %d: %g alone, %g joined", i, (int)k,
					 (double)a, (double)b);
		}
	}
	for (int i = 0; i < 2 * count; i++)
		free(y[i].data);
	return lower_node(f->g, n, &f->arena, &f->diag);
}

static int count_locals(const struct kernel *k)
{
	int count = 0;

	assert_non_null(k);
	for (int i = 0; i < k->buffers.count; i++)
		count += k->buffers.at[i].role == BUFFER_LOCAL;
	return count;
}

/* ---- single groups ---- */

static int chain(struct builder *b, struct value *const *in, struct value **out)
{
	out[0] = add_binary(b, EXPR_MUL, add_unary(b, EXPR_EXP, in[0]), in[1]);
	out[0] = add_binary(b, EXPR_MAX, add_transpose(b, out[0], (int[]){1, 0}),
			    add_scalar_real(b, DT_F32, 0.5));
	return 1;
}

static void elementwise_chain_is_one_nest(void **state)
{
	struct fixture *f = *state;
	struct kernel *k =
		expect_joined(f, chain, (struct value *[]){INPUT_N(f, 3, 4), INPUT(f, 4)});
	int count, axes[HONE_MAX_RANK];

	assert_non_null(kernel_pure_store(k, &count, axes));
	assert_int_equal(k->buffers.count, 3);
}

static int conv_relu_pad(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *c = op(b, OP_conv, NULL, 2, in[0], in[1]);
	dim zero = size_of(b, 0), one = size_of(b, 1), pads[3] = {zero, one, zero};

	c = add_binary(b, EXPR_MAX, add_binary(b, EXPR_ADD, c, in[2]),
		       add_scalar_real(b, DT_F32, 0));
	out[0] = add_pad(b, c, pads, pads, 0);
	return 1;
}

static void contraction_takes_its_epilogue(void **state)
{
	struct fixture *f = *state;
	struct kernel *k = expect_joined(
		f, conv_relu_pad,
		(struct value *[]){INPUT_N(f, 2, 7, 3), INPUT(f, 3, 3, 4), INPUT(f, 4)});
	int count, axes[HONE_MAX_RANK];

	assert_non_null(kernel_pure_store(k, &count, axes));
}

static int matmul_normalize(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *m = op(b, OP_matmul, NULL, 2, in[0], in[1]);
	int64_t axis = 2;

	m = add_binary(b, EXPR_ADD, m, in[0]);
	out[0] = op(b, OP_normalize, &(struct attrs_normalize){.axes = {1, &axis}, .eps = 1e-5}, 3,
		    m, in[2], in[2]);
	return 1;
}

/* The row of the matmul is kept in a local inside of the outer two axes. */
static void row_that_is_read_often_is_kept(void **state)
{
	struct fixture *f = *state;
	struct kernel *k =
		expect_joined(f, matmul_normalize,
			      (struct value *[]){INPUT_N(f, 2, 3, 4), INPUT(f, 4, 4), INPUT(f, 4)});

	assert_int_equal(count_locals(k), 1);
	for (int i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i].role == BUFFER_LOCAL)
			assert_int_equal(k->buffers.at[i].type.rank, 1);
	assert_null(k->body->next);
}

static int matmul_gelu_softmax(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *m = op(b, OP_matmul, NULL, 2, in[0], in[1]);
	dim dims[3] = {in[0]->type.dims[0], size_of(b, 2), size_of(b, 3)};

	m = add_binary(b, EXPR_MUL, m, add_unary(b, EXPR_ERF, m));
	m = add_reshape(b, m, 3, dims);
	out[0] = op(b, OP_softmax, &(struct attrs_softmax){.axis = 2}, 1, m);
	out[1] = add_reduce(b, REDUCE_MAX, out[0], 0, NULL, true);
	out[1] = add_reduce(b, REDUCE_MAX, out[0], 1, &(int64_t){2}, false);
	return 2;
}

static void results_of_different_dims_get_their_nests(void **state)
{
	struct fixture *f = *state;

	expect_joined(f, matmul_gelu_softmax, (struct value *[]){INPUT_N(f, 3, 4), INPUT(f, 4, 6)});
}

static int two_results(struct builder *b, struct value *const *in, struct value **out)
{
	out[0] = op(b, OP_matmul, NULL, 2, in[0], in[1]);
	out[1] = add_unary(b, EXPR_NEG, out[0]);
	return 2;
}

static void results_of_equal_dims_share_a_nest(void **state)
{
	struct fixture *f = *state;
	struct kernel *k =
		expect_joined(f, two_results, (struct value *[]){INPUT_N(f, 3, 4), INPUT(f, 4, 6)});

	assert_int_equal(count_locals(k), 0);
	assert_null(k->body->next);
}

static int concat_of_convs(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *parts[2] = {op(b, OP_conv, NULL, 2, in[0], in[1]),
				  add_unary(b, EXPR_NEG, in[2])};

	out[0] = add_concat(b, 2, 2, parts);
	return 1;
}

static void concat_takes_its_producers(void **state)
{
	struct fixture *f = *state;

	expect_joined(
		f, concat_of_convs,
		(struct value *[]){INPUT_N(f, 2, 7, 3), INPUT(f, 3, 3, 4), INPUT_N(f, 2, 5, 2)});
}

static int after_concat(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *c = add_concat(b, 0, 2, in);

	out[0] =
		op(b, OP_softmax, &(struct attrs_softmax){.axis = 0}, 1, add_unary(b, EXPR_NEG, c));
	out[1] = op(b, OP_cumulate, &(struct attrs_cumulate){.kind = 0}, 1, out[0]);
	return 2;
}

static void small_results_of_impure_ops_are_kept(void **state)
{
	struct fixture *f = *state;

	expect_joined(f, after_concat, (struct value *[]){INPUT(f, 3), INPUT(f, 4)});
}

static int gather_by_argmax(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *i =
		op(b, OP_argreduce, &(struct attrs_argreduce){.kind = 1, .axis = 1}, 1, in[0]);

	out[0] = add_gather(b, 0, in[1], i, 0, 0);
	return 1;
}

static void no_reduction_goes_into_an_index(void **state)
{
	struct fixture *f = *state;
	struct kernel *k = expect_joined(f, gather_by_argmax,
					 (struct value *[]){INPUT_N(f, 3, 4), INPUT(f, 4, 6)});

	assert_int_equal(count_locals(k), 1);
}

static void group_that_would_keep_too_much_is_refused(void **state)
{
	struct fixture *f = *state;
	struct value *x = INPUT_N(f, 3, 4), *w = INPUT(f, 4, 6), *y;
	struct region *r = region_new(f->g);
	struct builder b = f->b;
	struct node *n;

	b.region = r;
	y = op(&b, OP_matmul, NULL, 2, x, w);
	y = op(&b, OP_softmax, &(struct attrs_softmax){.axis = 0}, 1, y); /* needs whole columns */
	region_set_results(f->g, r, 1, &y);
	n = graph_add(&f->b,
		      &(struct node_spec){
			      .op = OP_group, .out_count = 1, .region_count = 1, .regions = &r});
	assert_non_null(n);
	assert_null(lower_node(f->g, n, &f->arena, &f->diag));
	assert_int_equal(f->diag.worst, DIAG_UNSUPPORTED);
}

static struct value *tiles(struct builder *b, struct value *z)
{
	struct attrs_winograd_output a = {.tile = 4, .h = 6, .w = 5};

	return op(b, OP_winograd_output, &a, 1, z);
}

/* A diamond and a residual sum; one image: its axis is read at 0. */
static int maps_of_tiles(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *y = add_binary(b, EXPR_ADD, tiles(b, in[0]), in[1]);

	y = add_binary(b, EXPR_MUL, y, add_unary(b, EXPR_TANH, y));
	out[0] = add_binary(b, EXPR_ADD, y, in[2]);
	return 1;
}

static int two_maps_of_tiles(struct builder *b, struct value *const *in, struct value **out)
{
	maps_of_tiles(b, in, out);
	out[1] = add_unary(b, EXPR_NEG, out[0]);
	return 2;
}

static void maps_are_computed_where_tiles_are_stored(void **state)
{
	struct fixture *f = *state;
	struct kernel *k;

	for (int images = 1; images <= 2; images++) {
		k = expect_joined(f, images == 1 ? maps_of_tiles : two_maps_of_tiles,
				  (struct value *[]){INPUT(f, 36, 4 * images, 3), INPUT(f, 3),
						     INPUT(f, images, 6, 5, 3)});
		assert_int_equal(count_locals(k), 0);
		assert_null(k->body->next);
	}
}

static void tiles_read_at_other_places_are_refused(void **state)
{
	struct fixture *f = *state;
	struct value *z = INPUT(f, 36, 4, 3), *y;
	struct region *r = region_new(f->g);
	struct builder b = f->b;
	struct node *n;

	b.region = r;
	y = add_transpose(&b, tiles(&b, z), (int[]){0, 3, 1, 2});
	region_set_results(f->g, r, 1, &y);
	n = graph_add(&f->b,
		      &(struct node_spec){
			      .op = OP_group, .out_count = 1, .region_count = 1, .regions = &r});
	assert_non_null(n);
	assert_null(lower_node(f->g, n, &f->arena, &f->diag));
	assert_int_equal(f->diag.worst, DIAG_UNSUPPORTED);
}

/* ---- random groups ---- */

static uint32_t seed;

static int draw(int n)
{
	seed = seed * 1664525u + 1013904223u;
	return (int)((seed >> 8) % (uint32_t)n);
}

/* One of the values so far. */
static struct value *any(int count, struct value *const *v) { return v[draw(count)]; }

/* A random op on values of dims [4,6], or NULL; its result has dims [4,6] again. */
static struct value *random_op(struct builder *b, int count, struct value *const *v)
{
	struct value *x = any(count, v), *y = any(count, v);
	dim four = size_of(b, 4), six = size_of(b, 6), zero = size_of(b, 0), one = size_of(b, 1);
	dim dims[2] = {four, six}, turned[2] = {six, four}, at[2] = {zero, one},
	    lo[2] = {zero, one}, hi[2] = {zero, zero};
	dim size[2] = {four, size_of(b, 5)}, half[2] = {four, size_of(b, 3)},
	    middle[2] = {zero, size_of(b, 3)};
	struct value *parts[2];
	int64_t axis = draw(2);

	switch (draw(12)) {
	case 0: return add_unary(b, EXPR_TANH, x);
	case 1: return add_binary(b, EXPR_SUB, x, y);
	case 2: return add_binary(b, EXPR_MUL, x, add_unary(b, EXPR_ERF, y));
	case 3: return add_transpose(b, add_reshape(b, x, 2, turned), (int[]){1, 0});
	case 4: return add_pad(b, add_slice(b, x, at, size, NULL), lo, hi, 1);
	case 5: return add_expand(b, add_reduce(b, REDUCE_MAX, x, 1, &axis, true), 2, dims);
	case 6: return op(b, OP_softmax, &(struct attrs_softmax){.axis = axis}, 1, x);
	case 7:
		return op(b, OP_normalize,
			  &(struct attrs_normalize){.axes = {1, &axis}, .eps = 1e-3}, 1, x);
	case 8: /* x @ (y' @ x): what is costly, read in a reduction of what is costly */
		x = add_unary(b, EXPR_TANH, x);
		return op(b, OP_matmul, NULL, 2, x,
			  op(b, OP_matmul, NULL, 2, add_transpose(b, y, (int[]){1, 0}), x));
	case 9:
		parts[0] = add_slice(b, x, middle, half, NULL);
		parts[1] = add_slice(b, y, (dim[]){zero, zero}, half, NULL);
		return add_concat(b, 1, 2, parts);
	case 10:
		return op(b, OP_cumulate,
			  &(struct attrs_cumulate){.axis = axis, .reverse = draw(2)}, 1, x);
	default:
		y = add_slice(b, y, middle, half, NULL);
		return add_gather(
			b, 0, x,
			op(b, OP_argreduce, &(struct attrs_argreduce){.kind = 1, .axis = 1}, 1, y),
			0, 0);
	}
}

static int random_ops(struct builder *b, struct value *const *in, struct value **out)
{
	struct value *v[16] = {in[0], in[1]};
	uint32_t start = seed;
	int count = 2, ops = 1 + draw(5), outs = 1 + draw(3);

	for (int i = 0; i < ops; i++, count++) {
		v[count] = random_op(b, count, v);
		assert_non_null(v[count]);
	}
	for (int i = 0; i < outs; i++)
		out[i] = i == 0 ? v[count - 1] : any(count, v);
	seed = start;
	return outs;
}

/* Small and constant dims: every group can be joined. */
static void random_groups_compute_what_their_ops_do(void **state)
{
	for (uint32_t i = 0; i < 300; i++) {
		struct fixture *f;

		teardown(state);
		setup(state);
		f = *state;
		seed = i * 2654435761u;
		expect_joined(f, random_ops, (struct value *[]){INPUT(f, 4, 6), INPUT(f, 4, 6)});
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(elementwise_chain_is_one_nest),
		TEST(contraction_takes_its_epilogue),
		TEST(row_that_is_read_often_is_kept),
		TEST(results_of_different_dims_get_their_nests),
		TEST(results_of_equal_dims_share_a_nest),
		TEST(concat_takes_its_producers),
		TEST(small_results_of_impure_ops_are_kept),
		TEST(no_reduction_goes_into_an_index),
		TEST(group_that_would_keep_too_much_is_refused),
		TEST(maps_are_computed_where_tiles_are_stored),
		TEST(tiles_read_at_other_places_are_refused),
		TEST(random_groups_compute_what_their_ops_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
