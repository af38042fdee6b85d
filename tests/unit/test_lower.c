/* test_lower.c: kernels of the core operators, run by the interpreter: single operators against values
 * worked out by hand or by plain loops, groups against the same operators on their own. */
#include "ir/engine.h"
#include "ir/lower.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct arena arena;
	struct diag diag;
	struct graph *g;
	struct builder b;
	int input_count;
	hone_tensor inputs[8];
	dim n; /* a symbolic size */
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	struct symbol s = {.name = "N", .min = 0, .max = INT64_MAX, .binding = SYMBOL_INPUT};

	f->g = graph_new(&f->arena, "f");
	f->b = (struct builder){.graph = f->g, .region = f->g->body, .diag = &f->diag};
	f->n = dim_symbol(&f->g->dims, symbol_add(&f->g->dims, &s));
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

/* ---- making ---- */

/* An f32 or i64 input of up to 4 dims (0 ends them) with the given data, or with values of its own. Its
 * first dim is N where `symbolic`. */
static struct value *input_of(struct fixture *f, enum dtype t, const int *sizes, bool symbolic,
			      const void *data)
{
	hone_tensor *x = &f->inputs[f->input_count++];
	dim dims[4];
	struct type type;
	int64_t count = 1;

	*x = (hone_tensor){.dtype = (int32_t)t};
	for (; x->rank < 4 && sizes[x->rank]; x->rank++) {
		x->dims[x->rank] = sizes[x->rank];
		dims[x->rank] =
			symbolic && !x->rank ? f->n : dim_const(&f->g->dims, sizes[x->rank]);
		count *= sizes[x->rank];
	}
	x->size = dtype_bytes(t, count);
	x->data = arena_alloc(&f->arena, (size_t)x->size);
	if (data)
		memcpy(x->data, data, (size_t)x->size);
	for (int64_t i = 0; !data && i < count; i++)
		((float *)x->data)[i] = (float)((i * 7919 + 13 * f->input_count) % 101) / 25 - 2;
	type = type_make(t, x->rank, dims);
	return graph_input(f->g, arena_printf(&f->arena, "x%d", f->input_count), &type);
}

#define INPUT(f, ...) input_of(f, DT_F32, (int[5]){__VA_ARGS__}, false, NULL)
#define INPUT_N(f, ...) input_of(f, DT_F32, (int[5]){__VA_ARGS__}, true, NULL)
#define FLOATS(f, count, ...) input_of(f, DT_F32, (int[5]){count}, false, (float[]){__VA_ARGS__})
#define INDICES(f, count, ...) input_of(f, DT_I64, (int[5]){count}, false, (int64_t[]){__VA_ARGS__})

static struct value *op(struct builder *b, enum op_id id, const void *attrs, int count, ...)
{
	struct value *in[6];
	struct node *n;
	va_list args;

	va_start(args, count);
	for (int i = 0; i < count; i++)
		in[i] = va_arg(args, struct value *);
	va_end(args);
	n = graph_add(b,
		      &(struct node_spec){.op = id, .in_count = count, .in = in, .attrs = attrs});
	return n ? n->out[0] : NULL;
}

static dim size_of(struct builder *b, int64_t n) { return dim_const(&b->graph->dims, n); }

/* ---- running ---- */

/* Runs the graph for these values; outputs[i].data is to be freed. */
static bool run(struct fixture *f, int count, struct value *const *values, hone_tensor *outputs)
{
	const char *names[8] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct engine_program *p;
	bool ok;

	memset(outputs, 0, (size_t)count * sizeof(*outputs));
	for (int i = 0; i < count; i++) {
		if (!values[i])
			diag_print(&f->diag, stderr, false);
		assert_non_null(values[i]);
	}
	graph_set_outputs(f->g, count, values, names);
	p = interpreter.compile(&interpreter, f->g, 0, NULL, &f->diag);
	if (!p)
		return false;
	ok = interpreter.run(p, f->inputs, outputs, NULL, NULL, &f->diag);
	interpreter.release(p);
	return ok;
}

static void expect_floats(struct fixture *f, struct value *v, int count, const float *want)
{
	hone_tensor y;

	if (!run(f, 1, &v, &y))
		diag_print(&f->diag, stderr, false);
	assert_non_null(y.data);
	assert_int_equal(y.size, (size_t)count * sizeof(float));
	for (int i = 0; i < count; i++) {
		float got = ((float *)y.data)[i];

		if (!(fabsf(got - want[i]) <= 1e-5f + 1e-5f * fabsf(want[i])))
			fail_msg("element %d is %g, expected %g", i, (double)got, (double)want[i]);
	}
	free(y.data);
}
#define EXPECT(f, v, count, ...) expect_floats(f, v, count, (float[]){__VA_ARGS__})

static void expect_ints(struct fixture *f, struct value *v, int count, const int64_t *want)
{
	hone_tensor y;

	assert_true(run(f, 1, &v, &y));
	assert_int_equal(y.size, (size_t)count * sizeof(int64_t));
	for (int i = 0; i < count; i++)
		assert_int_equal(((int64_t *)y.data)[i], want[i]);
	free(y.data);
}

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

/* ---- groups ---- */

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(elementwise_chain_is_one_nest),
		TEST(contraction_takes_its_epilogue),
		TEST(row_that_is_read_often_is_kept),
		TEST(results_of_different_dims_get_their_nests),
		TEST(results_of_equal_dims_share_a_nest),
		TEST(concat_takes_its_producers),
		TEST(small_results_of_impure_ops_are_kept),
		TEST(no_reduction_goes_into_an_index),
		TEST(group_that_would_keep_too_much_is_refused),
		TEST(random_groups_compute_what_their_ops_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
