/* test_ops.c: inference of the core operators: types, known elements, and what it refuses. */
#include "ir/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct arena arena;
	struct diag diag;
	struct graph *g;
	struct builder b;
	dim n; /* a symbolic batch */
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	struct symbol s = {.name = "N", .min = 0, .max = INT64_MAX, .binding = SYMBOL_INPUT};

	f->g = graph_new(&f->arena, "f");
	f->b = (struct builder){
		.graph = f->g, .region = f->g->body, .diag = &f->diag, .loc = {.node = "node"}};
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

/* An input; a dim of -1 is N. */
static struct value *input(struct fixture *f, enum dtype t, int rank, ...)
{
	dim dims[HONE_MAX_RANK];
	struct type type;
	va_list args;

	va_start(args, rank);
	for (int i = 0; i < rank; i++) {
		int size = va_arg(args, int);

		dims[i] = size < 0 ? f->n : dim_const(&f->g->dims, size);
	}
	va_end(args);
	type = type_make(t, rank, dims);
	return graph_input(f->g, "x", &type);
}

static struct value *add(struct fixture *f, enum op_id op, const void *attrs, int count,
			 struct value *const *in)
{
	struct node *n = graph_add(
		&f->b, &(struct node_spec){.op = op, .in_count = count, .in = in, .attrs = attrs});

	return n ? n->out[0] : NULL;
}

static void expect_type(struct fixture *f, const struct value *v, const char *text)
{
	if (!v)
		diag_print(&f->diag, stderr, false);
	assert_non_null(v);
	assert_string_equal(type_text(f->g, &f->arena, &v->type), text);
}

static void expect_error(struct fixture *f, const struct value *v, const char *part)
{
	assert_null(v);
	assert_int_equal(f->diag.errors, 1);
	assert_int_equal(f->diag.worst, DIAG_FILE);
	assert_non_null(strstr(f->diag.messages[0].text, part));
	assert_string_equal(f->diag.messages[0].loc.node, "node");
}

static void expect_elems(struct fixture *f, const struct value *v, int count, const dim *want)
{
	assert_non_null(v);
	assert_non_null(v->elems);
	assert_int_equal(type_count_const(&v->type), count);
	for (int i = 0; i < count; i++)
		assert_ptr_equal(v->elems[i], want[i]);
	(void)f;
}

static void every_operator_is_found_by_its_name(void **state)
{
	(void)state;
	for (int i = 0; i < OP_COUNT; i++)
		assert_int_equal(op_by_name(op_table[i].name, strlen(op_table[i].name)), i);
	assert_int_equal(op_by_name("matmu", 5), OP_COUNT);
	assert_int_equal(op_by_name("", 0), OP_COUNT);
}

static void only_lowering_operators_have_a_kernel(void **state)
{
	(void)state;
	for (int i = 0; i < OP_COUNT; i++)
		assert_int_equal(op_table[i].lower != NULL, (op_table[i].flags & OP_LOWERS) != 0);
}

static void map_broadcasts_at_the_end(void **state)
{
	struct fixture *f = *state;

	expect_type(f,
		    add_binary(&f->b, EXPR_ADD, input(f, DT_F32, 3, -1, 1, 4),
			       input(f, DT_F32, 2, 5, 1)),
		    "f32[N,5,4]");
	assert_int_equal(f->g->requires.count, 0);
}

static void map_of_unrelated_dims_is_checked_at_run_time(void **state)
{
	struct fixture *f = *state;

	expect_type(f, add_binary(&f->b, EXPR_ADD, input(f, DT_F32, 1, 4), input(f, DT_F32, 1, -1)),
		    "f32[4]");
	assert_int_equal(f->g->requires.count, 1);
}

static void map_of_different_dims_is_refused(void **state)
{
	struct fixture *f = *state;

	expect_error(f, add_binary(&f->b, EXPR_ADD, input(f, DT_F32, 1, 4), input(f, DT_F32, 1, 3)),
		     "axis 0");
}

static void map_of_f16_computes_in_f32(void **state)
{
	struct fixture *f = *state;

	expect_type(f, add_unary(&f->b, EXPR_EXP, input(f, DT_F16, 1, 4)), "f16[4]");
	expect_type(f, add_cast(&f->b, input(f, DT_F16, 1, 4), DT_I8), "i8[4]");
}

static void map_reading_an_operand_in_another_type_is_refused(void **state)
{
	struct fixture *f = *state;
	struct value *x = input(f, DT_I64, 0);

	expect_error(f, add_map(&f->b, expr_param(&f->g->exprs, DT_F32, 0), DT_NONE, 1, &x),
		     "operand 0 as f32");
}

/* Shape -> Gather -> arithmetic -> Concat -> Reshape, as exporters write a flatten. */
static void shape_arithmetic_is_known(void **state)
{
	struct fixture *f = *state;
	struct dim_pool *p = &f->g->dims;
	struct value *x = input(f, DT_F32, 3, -1, 6, 4);
	struct value *shape = add_shape(&f->b, 3, x->type.dims), *parts[2], *all;
	int64_t zero = 0, others[2] = {1, 2};
	struct value *rows = add_gather(&f->b, 0, shape, add_ints(&f->b, DT_I64, 1, &zero), 0, 0);
	struct value *rest = add_gather(&f->b, 0, shape, add_ints(&f->b, DT_I64, 2, others), 0, 0);
	dim want[2], got[2];

	rest = add_reduce(&f->b, REDUCE_PROD, rest, 0, NULL, true);
	parts[0] = add_binary(&f->b, EXPR_MUL, rows, add_scalar_int(&f->b, DT_I64, 2));
	parts[1] = add_binary(&f->b, EXPR_DIV, rest, add_scalar_int(&f->b, DT_I64, 2));
	all = add_cast(&f->b, add_cast(&f->b, add_concat(&f->b, 0, 2, parts), DT_I32), DT_I64);
	want[0] = dim_mul(p, f->n, dim_const(p, 2));
	want[1] = dim_const(p, 12);
	expect_elems(f, all, 2, want);
	assert_true(add_bind(&f->b, all, 2, got));
	expect_type(f, add_reshape(&f->b, x, 2, got), "f32[N*2,12]");
	assert_int_equal(f->g->requires.count, 0);
}

static void known_elements_follow_slice_expand_and_transpose(void **state)
{
	struct fixture *f = *state;
	struct dim_pool *p = &f->g->dims;
	dim dims[4] = {f->n, dim_const(p, 1), dim_const(p, 2), dim_const(p, 3)};
	dim two = dim_const(p, 2), at = dim_const(p, 3), flat[2] = {two, two};
	struct value *v;
	int64_t back = -1;
	int perm[2] = {1, 0};

	v = add_slice(&f->b, add_shape(&f->b, 4, dims), &at, &(dim){dim_const(p, 4)}, &back);
	expect_elems(f, v, 4, (dim[]){dims[3], dims[2], dims[1], dims[0]});
	v = add_transpose(&f->b, add_reshape(&f->b, v, 2, flat), perm);
	expect_elems(f, v, 4, (dim[]){dims[3], dims[1], dims[2], dims[0]});
	v = add_expand(&f->b, add_shape(&f->b, 1, dims), 1, &two);
	expect_elems(f, v, 2, (dim[]){f->n, f->n});
}

/* where(shape == -1, 1, shape): what Expand becomes in exported models. */
static void comparisons_decided_by_ranges_are_known(void **state)
{
	struct fixture *f = *state;
	struct expr_pool *p = &f->g->exprs;
	const struct expr *x = expr_param(p, DT_I64, 0);
	const struct expr *e = expr_select(p, expr_binary(p, EXPR_EQ, x, expr_int(p, DT_I64, -1)),
					   expr_int(p, DT_I64, 1), x);
	struct value *shape = add_shape(&f->b, 1, &f->n);

	expect_elems(f, add_map(&f->b, e, DT_NONE, 1, &shape), 1, &f->n);
}

static void matmul_broadcasts_batch_dims(void **state)
{
	struct fixture *f = *state;
	struct value *in[2] = {input(f, DT_F32, 4, -1, 1, 3, 8), input(f, DT_F32, 3, 5, 8, 2)};

	expect_type(f, add(f, OP_matmul, NULL, 2, in), "f32[N,5,3,2]");
}

static void matmul_of_other_inner_dims_is_refused(void **state)
{
	struct fixture *f = *state;
	struct value *in[2] = {input(f, DT_F32, 2, 3, 8), input(f, DT_F32, 2, 7, 2)};

	expect_error(f, add(f, OP_matmul, NULL, 2, in), "columns of operand 0");
}

static void conv_is_channels_last(void **state)
{
	struct fixture *f = *state;
	int64_t two[2] = {2, 2};
	struct attrs_conv a = {.stride = {2, two}, .group = 2};
	struct value *in[2] = {input(f, DT_F32, 4, -1, 9, 8, 6), input(f, DT_F32, 4, 3, 3, 3, 10)};

	expect_type(f, add(f, OP_conv, &a, 2, in), "f32[N,4,3,10]");
}

static void conv_smaller_than_its_kernel_is_empty(void **state)
{
	struct fixture *f = *state;
	struct attrs_conv a = {.group = 1};
	struct value *in[2] = {input(f, DT_F32, 3, 1, 2, 6), input(f, DT_F32, 3, 3, 6, 4)};

	expect_type(f, add(f, OP_conv, &a, 2, in), "f32[1,0,4]");
}

static void conv_checks_its_lists(void **state)
{
	struct fixture *f = *state;
	int64_t two[2] = {2, 2};
	struct attrs_conv a = {.stride = {2, two}, .group = 1};
	struct value *in[2] = {input(f, DT_F32, 3, 1, 4, 6), input(f, DT_F32, 3, 3, 6, 4)};

	expect_error(f, add(f, OP_conv, &a, 2, in), "stride must have 1 entries, found 2");
}

static void padding_then_conv_keeps_a_symbolic_size(void **state)
{
	struct fixture *f = *state;
	dim zero = dim_const(&f->g->dims, 0), one = dim_const(&f->g->dims, 1),
	    pads[3] = {zero, one, zero};
	struct attrs_conv a = {.group = 1};
	struct value *in[2] = {add_pad(&f->b, input(f, DT_F32, 3, 2, -1, 6), pads, pads, 0),
			       input(f, DT_F32, 3, 3, 6, 4)};

	expect_type(f, add(f, OP_conv, &a, 2, in), "f32[2,N,4]");
}

static void reshape_to_another_count_is_refused(void **state)
{
	struct fixture *f = *state;
	dim five = dim_const(&f->g->dims, 5);

	expect_error(f, add_reshape(&f->b, input(f, DT_F32, 2, 2, 3), 1, &five),
		     "cannot view f32[2,3] as f32[5]");
}

static void transpose_refuses_an_axis_twice(void **state)
{
	struct fixture *f = *state;
	int perm[2] = {1, 1};

	expect_error(f, add_transpose(&f->b, input(f, DT_F32, 2, 2, 3), perm), "axis 1 twice");
}

static void slice_past_the_end_is_refused(void **state)
{
	struct fixture *f = *state;
	dim at = dim_const(&f->g->dims, 2), size = dim_const(&f->g->dims, 3);

	expect_error(f, add_slice(&f->b, input(f, DT_F32, 1, 4), &at, &size, NULL),
		     "end of a slice");
}

static void gather_kinds_have_their_dims(void **state)
{
	struct fixture *f = *state;

	expect_type(f,
		    add_gather(&f->b, 0, input(f, DT_F32, 3, 4, 5, 6), input(f, DT_I64, 2, -1, 2),
			       1, 0),
		    "f32[4,N,2,6]");
	expect_type(
		f,
		add_gather(&f->b, 0, input(f, DT_F32, 3, 4, 5, 6), input(f, DT_I32, 2, 4, 2), 1, 1),
		"f32[4,2,6]");
	expect_type(
		f, add_gather(&f->b, 1, input(f, DT_F32, 2, 4, 5), input(f, DT_I64, 2, 4, 2), 1, 0),
		"f32[4,2]");
	expect_type(f,
		    add_gather(&f->b, 2, input(f, DT_F32, 3, 4, 5, 6), input(f, DT_I64, 2, -1, 2),
			       0, 0),
		    "f32[N,6]");
	expect_type(
		f,
		add_gather(&f->b, 2, input(f, DT_F32, 3, 4, 5, 6), input(f, DT_I64, 2, 4, 1), 0, 1),
		"f32[4,6]");
}

static void gather_by_floats_is_refused(void **state)
{
	struct fixture *f = *state;

	expect_error(f, add_gather(&f->b, 0, input(f, DT_F32, 1, 4), input(f, DT_F32, 1, 4), 0, 0),
		     "operand 1 must have an integer type");
}

static void axis_out_of_range_is_refused(void **state)
{
	struct fixture *f = *state;
	struct attrs_softmax a = {.axis = 2};
	struct value *x = input(f, DT_F32, 2, 2, 3);

	expect_error(f, add(f, OP_softmax, &a, 1, &x), "axis 2 is out of range for rank 2");
}

static void result_of_too_large_rank_is_refused(void **state)
{
	struct fixture *f = *state;
	struct value *x = input(f, DT_F32, 8, 1, 1, 1, 1, 1, 1, 1, 1);

	expect_error(f, add_gather(&f->b, 0, x, input(f, DT_I64, 3, 1, 1, 1), 0, 0), "rank 10");
}

static void nonzero_binds_its_count(void **state)
{
	struct fixture *f = *state;
	struct value *x = input(f, DT_BOOL, 1, -1);
	int k = graph_symbol(f->g, "K", INT64_MAX, f->n);
	struct node *n = graph_add(&f->b, &(struct node_spec){.op = OP_nonzero,
							      .in_count = 1,
							      .in = &x,
							      .symbol_count = 1,
							      .symbols = &k});

	assert_non_null(n);
	expect_type(f, n->out[0], "i64[K]");
}

static struct value *branch(struct fixture *f, struct region *r, dim size)
{
	struct builder b = f->b;
	struct type t = type_make(DT_F32, 1, &size);
	struct value *v;

	b.region = r;
	v = add_const(&b, &t, &(struct tensor){.kind = TENSOR_SPLAT});
	region_set_results(f->g, r, 1, &v);
	return v;
}

static void if_binds_dims_that_differ(void **state)
{
	struct fixture *f = *state;
	struct value *c = input(f, DT_BOOL, 0);
	struct region *r[2] = {region_new(f->g), region_new(f->g)};
	int k = graph_symbol(f->g, "K", INT64_MAX, NULL);
	struct node_spec spec = {.op = OP_if,
				 .in_count = 1,
				 .in = &c,
				 .out_count = 1,
				 .region_count = 2,
				 .regions = r};
	struct node *n;

	branch(f, r[0], dim_const(&f->g->dims, 3));
	branch(f, r[1], dim_const(&f->g->dims, 4));
	assert_null(graph_add(&f->b, &spec));
	spec.symbol_count = 1;
	spec.symbols = &k;
	n = graph_add(&f->b, &spec);
	assert_non_null(n);
	expect_type(f, n->out[0], "f32[K]");
}

static void loop_stacks_along_its_turns(void **state)
{
	struct fixture *f = *state;
	struct region *r = region_new(f->g);
	struct value *in[3] = {add_scalar_int(&f->b, DT_I64, 5), add_scalar_int(&f->b, DT_BOOL, 1),
			       input(f, DT_F32, 1, 3)};
	int t = graph_symbol(f->g, "T", INT64_MAX, NULL);
	struct node_spec spec = {.op = OP_loop,
				 .in_count = 3,
				 .in = in,
				 .out_count = 2,
				 .region_count = 1,
				 .regions = &r,
				 .symbol_count = 1,
				 .symbols = &t};
	struct node *n;

	region_param(f->g, r, "i", &in[0]->type);
	region_param(f->g, r, "c", &in[1]->type);
	region_param(f->g, r, "v", &in[2]->type);
	region_set_results(f->g, r, 3,
			   (struct value *[]){r->params[1], r->params[2], r->params[2]});
	n = graph_add(&f->b, &spec);
	if (!n)
		diag_print(&f->diag, stderr, false);
	assert_non_null(n);
	expect_type(f, n->out[0], "f32[3]");
	expect_type(f, n->out[1], "f32[T,3]");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_operator_is_found_by_its_name),
		TEST(only_lowering_operators_have_a_kernel),
		TEST(map_broadcasts_at_the_end),
		TEST(map_of_unrelated_dims_is_checked_at_run_time),
		TEST(map_of_different_dims_is_refused),
		TEST(map_of_f16_computes_in_f32),
		TEST(map_reading_an_operand_in_another_type_is_refused),
		TEST(shape_arithmetic_is_known),
		TEST(known_elements_follow_slice_expand_and_transpose),
		TEST(comparisons_decided_by_ranges_are_known),
		TEST(matmul_broadcasts_batch_dims),
		TEST(matmul_of_other_inner_dims_is_refused),
		TEST(conv_is_channels_last),
		TEST(conv_smaller_than_its_kernel_is_empty),
		TEST(conv_checks_its_lists),
		TEST(padding_then_conv_keeps_a_symbolic_size),
		TEST(reshape_to_another_count_is_refused),
		TEST(transpose_refuses_an_axis_twice),
		TEST(slice_past_the_end_is_refused),
		TEST(gather_kinds_have_their_dims),
		TEST(gather_by_floats_is_refused),
		TEST(axis_out_of_range_is_refused),
		TEST(result_of_too_large_rank_is_refused),
		TEST(nonzero_binds_its_count),
		TEST(if_binds_dims_that_differ),
		TEST(loop_stacks_along_its_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
