/* test_interp.c: the interpreter engine, on small graphs whose results are known or computed here. */
#include "ir/engine.h"
#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX 4

struct test {
	struct arena arena;
	struct diag diag;
	struct graph *graph;
	struct engine_program *program;
	hone_tensor in[MAX], out[MAX], bounds[MAX];
	int in_count, probed;
	double probe_sum;
};

static void fail_with(struct test *t, const char *what)
{
	diag_print(&t->diag, stderr, false);
	fail_msg("%s", what);
}

static void open_test(struct test *t, const char *text)
{
	*t = (struct test){0};
	t->graph = graph_parse(text, strlen(text), "test.hir", &t->arena, &t->diag);
	if (!t->graph)
		fail_with(t, "not parsed");
	t->program = interpreter.compile(&interpreter, t->graph, 0, NULL, &t->diag);
	if (!t->program)
		fail_with(t, "not compiled");
}

static void add_input(struct test *t, enum dtype type, int rank, const int64_t *dims,
		      const void *data)
{
	hone_tensor *x = &t->in[t->in_count++];
	int64_t count = 1;

	for (int i = 0; i < rank; i++)
		count *= dims[i];
	*x = (hone_tensor){.rank = rank, .dtype = (int32_t)type, .size = dtype_bytes(type, count)};
	x->data = arena_copy(&t->arena, data, (size_t)x->size);
	if (rank)
		memcpy(x->dims, dims, sizeof(*dims) * (size_t)rank);
}

#define DIMS(...)                         \
	(const int64_t[]) { __VA_ARGS__ }

static void drop_outputs(struct test *t)
{
	for (int i = 0; i < MAX; i++) {
		free(t->out[i].data);
		free(t->bounds[i].data);
		t->out[i].data = t->bounds[i].data = NULL;
	}
}

static void run(struct test *t)
{
	drop_outputs(t);
	if (!interpreter_run_bounds(t->program, t->in, t->out, t->bounds, &t->diag))
		fail_with(t, "not run");
}

/* The run must fail, and say this. */
static void run_fails(struct test *t, const char *node, const char *text)
{
	drop_outputs(t);
	assert_false(interpreter.run(t->program, t->in, t->out, NULL, NULL, &t->diag));
	assert_int_equal(t->diag.count, 1);
	assert_string_equal(t->diag.messages[0].text, text);
	if (node)
		assert_string_equal(t->diag.messages[0].loc.node, node);
	for (int i = 0; i < MAX; i++)
		assert_null(t->out[i].data);
	diag_reset(&t->diag);
}

static void close_test(struct test *t)
{
	drop_outputs(t);
	interpreter.release(t->program);
	diag_reset(&t->diag);
	arena_free(&t->arena);
}

static float f32_at(const struct test *t, int output, int i)
{
	return ((const float *)t->out[output].data)[i];
}

static int64_t i64_at(const struct test *t, int output, int i)
{
	return ((const int64_t *)t->out[output].data)[i];
}

/* ---- kernels ---- */

static void padded_convolution_equals_direct_loops(void **state)
{
	struct test t;
	float x[2 * 5 * 6 * 3], w[3 * 3 * 3 * 4];

	(void)state;
	open_test(&t,
		  "func @f(%x: f32[N,5,6,3], %w: f32[3,3,3,4]) -> (%y: f32[N,5,6,4]) dims(N) {\n"
		  "  %p: f32[N,7,8,3] = pad(%x) {lo=[0,1,1,0], hi=[0,1,1,0]}\n"
		  "  %y: f32[N,5,6,4] = conv(%p, %w)\n"
		  "  return %y\n}\n");
	for (int i = 0; i < 180; i++)
		x[i] = (float)(i * 7 % 11) - 5;
	for (int i = 0; i < 108; i++)
		w[i] = (float)(i * 5 % 7) - 3;
	add_input(&t, DT_F32, 4, DIMS(2, 5, 6, 3), x);
	add_input(&t, DT_F32, 4, DIMS(3, 3, 3, 4), w);
	run(&t);
	assert_int_equal(t.out[0].dims[0], 2);
	for (int i = 0; i < 240; i++) {
		int o = i % 4, c = i / 4 % 6, h = i / 24 % 5, n = i / 120;
		float sum = 0, terms = 0;

		for (int k = 0; k < 27; k++) {
			int a = h + k / 9 - 1, b = c + k / 3 % 3 - 1;
			float term = a < 0 || a > 4 || b < 0 || b > 5
					     ? 0
					     : x[((n * 5 + a) * 6 + b) * 3 + k % 3] * w[k * 4 + o];

			sum += term;
			terms += fabsf(term);
		}
		assert_true(f32_at(&t, 0, i) == sum);
		assert_true(((double *)t.bounds[0].data)[i] == 35.0 * (double)terms);
	}
	close_test(&t);
}

static void float_sums_are_rounded_once(void **state)
{
	static const float x[] = {1e8f, 1, -1e8f};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[3]) -> (%y: f32[]) {\n  %y: f32[] = reduce(%x) {kind=sum}\n "
		      " return %y\n}\n");
	add_input(&t, DT_F32, 1, DIMS(3), x);
	run(&t);
	assert_true(f32_at(&t, 0, 0) == 1);
	close_test(&t);
}

static void empty_reductions_give_the_identity(void **state)
{
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[N], %i: i8[N]) -> (%s: f32[], %m: f32[], %l: i8[], %p: "
		      "i8[]) dims(N) {\n"
		      "  %s: f32[] = reduce(%x) {kind=sum}\n  %m: f32[] = reduce(%x) {kind=max}\n"
		      "  %l: i8[] = reduce(%i) {kind=min}\n  %p: i8[] = reduce(%i) {kind=prod}\n"
		      "  return %s, %m, %l, %p\n}\n");
	add_input(&t, DT_F32, 1, DIMS(0), "");
	add_input(&t, DT_I8, 1, DIMS(0), "");
	run(&t);
	assert_true(f32_at(&t, 0, 0) == 0);
	assert_true(f32_at(&t, 1, 0) == -INFINITY);
	assert_int_equal(*(int8_t *)t.out[2].data, 127);
	assert_int_equal(*(int8_t *)t.out[3].data, 1);
	close_test(&t);
}

static void positions_of_extremes(void **state)
{
	static const float x[] = {3, 7, NAN, 7, 1, NAN, 9, 2, 9, 9};
	struct test t;

	(void)state;
	open_test(&t,
		  "func @f(%x: f32[2,5]) -> (%a: i64[2], %b: i64[2]) {\n"
		  "  %a: i64[2] = argreduce(%x) {kind=argmax, axis=1}\n"
		  "  %b: i64[2] = argreduce(%x) {kind=argmax_last, axis=1}\n  return %a, %b\n}\n");
	add_input(&t, DT_F32, 2, DIMS(2, 5), x);
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 1);
	assert_int_equal(i64_at(&t, 1, 0), 3);
	assert_int_equal(i64_at(&t, 0, 1), 0); /* NaN is first: nothing beats it */
	close_test(&t);
}

static void storage_types_are_widened_and_rounded(void **state)
{
	static const uint8_t packed[] = {0x7f, 0x18}; /* -1 7 -8 1 */
	static const float x[] = {1.0f / 3, 65504, 1e6f};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%p: i4[4], %x: f32[3]) -> (%a: i32[4], %b: i4[4], %c: f32[3]) {\n"
		      "  %a: i32[4] = map(%p) (a: i32) -> a * 2\n"
		      "  %b: i4[4] = map(%p) {type=i4} (a: i32) -> a + 1\n"
		      "  %h: f16[3] = map(%x) {type=f16} (a: f32) -> a\n"
		      "  %c: f32[3] = map(%h) (a: f32) -> a\n  return %a, %b, %c\n}\n");
	add_input(&t, DT_I4, 1, DIMS(4), packed);
	add_input(&t, DT_F32, 1, DIMS(3), x);
	run(&t);
	assert_memory_equal(t.out[0].data, ((int32_t[]){-2, 14, -16, 2}), 16);
	assert_memory_equal(t.out[1].data, ((uint8_t[]){0x80, 0x29}), 2); /* 0 -8 -7 2 */
	assert_true(f32_at(&t, 2, 0) == 0x1.554p-2f);
	assert_true(f32_at(&t, 2, 1) == 65504);
	assert_true(isinf(f32_at(&t, 2, 2)));
	close_test(&t);
}

/* Softmax over an axis inside, with its reductions hoisted out of the loop over that axis. */
static void softmax_rows_add_up_to_one(void **state)
{
	static const float x[] = {1, 2, 3, 1000, 1000, 1000};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[2,T]) -> (%y: f32[2,T]) dims(T) {\n"
		      "  %y: f32[2,T] = softmax(%x) {axis=1}\n  return %y\n}\n");
	add_input(&t, DT_F32, 2, DIMS(2, 3), x);
	run(&t);
	for (int i = 0; i < 3; i++) {
		double e = exp(i - 2.0) / (1 + exp(-1) + exp(-2));

		assert_true(fabs((double)f32_at(&t, 0, i) - e) < 1e-7);
		assert_true(f32_at(&t, 0, 3 + i) == 1.0f / 3);
	}
	close_test(&t);
}

static void gather_out_of_range_names_the_node(void **state)
{
	static const float x[] = {1, 2, 3};
	static const int64_t good[] = {2, 0}, bad[] = {0, 3};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[N], %i: i64[2]) -> (%y: f32[2]) dims(N) {\n"
		      "  %y: f32[2] = gather(%x, %i) !\"pick\"\n  return %y\n}\n");
	add_input(&t, DT_F32, 1, DIMS(3), x);
	add_input(&t, DT_I64, 1, DIMS(2), good);
	run(&t);
	assert_true(f32_at(&t, 0, 0) == 3 && f32_at(&t, 0, 1) == 1);
	t.in[1].data = arena_copy(&t.arena, bad, sizeof(bad));
	run_fails(&t, "pick", "index 3 is out of range [0, 2]");
	t.in[1].data = arena_copy(&t.arena, good, sizeof(good));
	run(&t);
	close_test(&t);
}

/* ---- dims ---- */

static void inputs_are_checked(void **state)
{
	static const float x[12];
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[N,3], %y: f32[N]) -> (%z: f32[N]) dims(1 <= N <= 4) {\n"
		      "  %z: f32[N] = map(%y) (a: f32) -> a + 1\n  return %z\n}\n");
	add_input(&t, DT_F32, 2, DIMS(2, 3), x);
	add_input(&t, DT_F32, 1, DIMS(2), x);
	run(&t);
	t.in[1].dims[0] = 3;
	run_fails(&t, NULL, "input \"y\": dim 0 is 3, expected 2");
	t.in[0].dims[0] = t.in[1].dims[0] = 5;
	run_fails(&t, NULL, "input \"x\": dim 0 (N) is 5, expected 1..4");
	t.in[0].dims[0] = t.in[1].dims[0] = 2;
	t.in[0].dims[1] = 2;
	run_fails(&t, NULL, "input \"x\": dim 1 is 2, expected 3");
	t.in[0].dims[1] = 3;
	t.in[1].size = 4;
	run_fails(&t, NULL, "input \"y\": its buffer has 4 bytes, 8 are needed");
	t.in[1].size = 8;
	t.in[1].dtype = DT_F64;
	run_fails(&t, NULL, "input \"y\": dtype is f64, expected f32");
	close_test(&t);
}

static void dims_that_must_be_equal_are_checked(void **state)
{
	static const float x[] = {1, 2, 3};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[2,N], %y: f32[M,2]) -> (%z: f32[2,2]) dims(N, M) {\n"
		      "  %z: f32[2,2] = matmul(%x, %y) !\"product\"\n  return %z\n}\n");
	add_input(&t, DT_F32, 2, DIMS(2, 1), x);
	add_input(&t, DT_F32, 2, DIMS(1, 2), x);
	run(&t);
	assert_true(f32_at(&t, 0, 3) == 4);
	t.in[0].dims[1] = 0;
	drop_outputs(&t);
	assert_false(interpreter.run(t.program, t.in, t.out, NULL, NULL, &t.diag));
	assert_string_equal(t.diag.messages[0].loc.node, "product");
	assert_non_null(strstr(t.diag.messages[0].text, "must be equal (0 and 1)"));
	close_test(&t);
}

static void results_with_dims_found_at_run_time(void **state)
{
	static const uint8_t flags[] = {1, 0, 0, 1, 1};
	static const float x[] = {10, 11, 12, 13, 14};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%m: bool[N], %x: f32[N]) -> (%y: f32[K]) dims(N) {\n"
		      "  %k: i64[K] = nonzero(%m) dims(K <= N)\n  %y: f32[K] = gather(%x, %k)\n  "
		      "return %y\n}\n");
	add_input(&t, DT_BOOL, 1, DIMS(5), flags);
	add_input(&t, DT_F32, 1, DIMS(5), x);
	run(&t);
	assert_int_equal(t.out[0].dims[0], 3);
	assert_int_equal(t.out[0].size, 12);
	assert_memory_equal(t.out[0].data, ((float[]){10, 13, 14}), 12);
	close_test(&t);
}

static void sizes_read_from_data(void **state)
{
	static const int64_t three = 3, negative = -1;
	struct test t;

	(void)state;
	open_test(&t, "func @f(%n: i64[]) -> (%y: i64[K]) {\n  bind(%n) dims(K <= 9) !\"size\"\n"
		      "  %y: i64[K] = iota {dims=[K]}\n  return %y\n}\n");
	add_input(&t, DT_I64, 0, NULL, &three);
	run(&t);
	assert_int_equal(t.out[0].dims[0], 3);
	assert_int_equal(i64_at(&t, 0, 2), 2);
	t.in[0].data = arena_copy(&t.arena, &negative, sizeof(negative));
	run_fails(&t, "size", "a size computed from data is -1, expected 0..9");
	close_test(&t);
}

/* ---- control flow ---- */

static void if_takes_one_branch(void **state)
{
	static const int64_t x[] = {5};
	struct test t;

	(void)state;
	open_test(&t, "func @f(%c: bool[], %x: i64[1]) -> (%y: i64[1]) {\n"
		      "  %y: i64[1] = if(%c) {\n    %a: i64[1] = map(%x) (a: i64) -> a + 1\n    "
		      "yield %a\n"
		      "  } else {\n    %b: i64[1] = map(%x) (a: i64) -> a * 2\n    yield %b\n  }\n "
		      " return %y\n}\n");
	add_input(&t, DT_BOOL, 0, NULL, "\1");
	add_input(&t, DT_I64, 1, DIMS(1), x);
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 6);
	*(uint8_t *)t.in[0].data = 0;
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 10);
	close_test(&t);
}

static void loop_carries_and_stacks(void **state)
{
	static const int64_t trip = 10, zero = 0, start = 1;
	struct test t;

	(void)state;
	open_test(&t, "func @f(%n: i64[], %v: i64[]) -> (%last: i64[], %all: i64[S]) {\n"
		      "  %yes: bool[] = const splat(true)\n"
		      "  %last: i64[], %all: i64[S] = loop(%n, %yes, %v) dims(S) do (%i: i64[], "
		      "%c: bool[], %a: i64[]) {\n"
		      "    %b: i64[] = map(%a) (a: i64) -> a * 2\n"
		      "    %go: bool[] = map(%b) (b: i64) -> b < 50\n"
		      "    yield %go, %b, %a\n  }\n  return %last, %all\n}\n");
	add_input(&t, DT_I64, 0, NULL, &trip);
	add_input(&t, DT_I64, 0, NULL, &start);
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 64);
	assert_int_equal(t.out[1].dims[0], 6);
	assert_int_equal(i64_at(&t, 1, 5), 32);
	t.in[0].data = arena_copy(&t.arena, &zero, sizeof(zero));
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 1);
	assert_int_equal(t.out[1].dims[0], 0);
	close_test(&t);
}

static void scan_takes_slices(void **state)
{
	static const int64_t start[] = {0, 0}, x[] = {1, 2, 3, 4, 5, 6};
	struct test t;

	(void)state;
	open_test(&t,
		  "func @f(%s: i64[2], %x: i64[T,2]) -> (%last: i64[2], %all: i64[T,2]) dims(T) {\n"
		  "  %last: i64[2], %all: i64[T,2] = scan(%s, %x) {carried=1, length=T} do (%a: "
		  "i64[2], %b: i64[2]) {\n"
		  "    %c: i64[2] = map(%a, %b) (a: i64, b: i64) -> a + b\n    yield %c, %c\n  }\n"
		  "  return %last, %all\n}\n");
	add_input(&t, DT_I64, 1, DIMS(2), start);
	add_input(&t, DT_I64, 2, DIMS(3, 2), x);
	run(&t);
	assert_memory_equal(t.out[0].data, ((int64_t[]){9, 12}), 16);
	assert_memory_equal(t.out[1].data, ((int64_t[]){1, 2, 4, 6, 9, 12}), 48);
	close_test(&t);
}

static void return_if_ends_the_function(void **state)
{
	static const int64_t x = 7;
	struct test t;

	(void)state;
	open_test(&t, "func @f(%c: bool[], %x: i64[]) -> (%y: i64[]) {\n  return_if %c (%x)\n"
		      "  %y: i64[] = map(%x) (a: i64) -> a + 1\n  return %y\n}\n");
	add_input(&t, DT_BOOL, 0, NULL, "\1");
	add_input(&t, DT_I64, 0, NULL, &x);
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 7);
	*(uint8_t *)t.in[0].data = 0;
	run(&t);
	assert_int_equal(i64_at(&t, 0, 0), 8);
	close_test(&t);
}

/* ---- the engine ---- */

static void parameters_are_set_between_runs(void **state)
{
	struct test t;

	(void)state;
	open_test(&t, "func @f() -> (%y: f32[]) {\n  %p: f32[] = param(\"threshold\", 0.5)\n"
		      "  %y: f32[] = map(%p) (a: f32) -> a * 2\n  return %y\n}\n");
	run(&t);
	assert_true(f32_at(&t, 0, 0) == 1);
	assert_true(interpreter.set_param(t.program, "threshold", 4));
	assert_false(interpreter.set_param(t.program, "other", 4));
	run(&t);
	assert_true(f32_at(&t, 0, 0) == 8);
	close_test(&t);
}

static void take_probe(void *self, int probe, const hone_tensor *value)
{
	struct test *t = self;

	assert_int_equal(probe, 0);
	assert_int_equal(value->dims[0], 2);
	t->probed++;
	t->probe_sum += (double)(((const float *)value->data)[0] + ((const float *)value->data)[1]);
}

/* A value inside of a group, which has no storage when the group is one kernel. */
static void probes_see_values_in_groups(void **state)
{
	static const float x[] = {1, 2};
	struct value *inner;
	struct test t;

	(void)state;
	open_test(&t, "func @f(%x: f32[2]) -> (%y: f32[2]) {\n  %y: f32[2] = group {\n"
		      "    %a: f32[2] = map(%x) (a: f32) -> a + 1\n    %b: f32[2] = map(%a) (a: "
		      "f32) -> a * 2\n"
		      "    yield %b\n  }\n  return %y\n}\n");
	add_input(&t, DT_F32, 1, DIMS(2), x);
	run(&t);
	assert_true(f32_at(&t, 0, 1) == 6);
	interpreter.release(t.program);
	inner = t.graph->body->first->regions[0]->first->out[0];
	t.program = interpreter.compile(&interpreter, t.graph, 1, &inner, &t.diag);
	assert_non_null(t.program);
	drop_outputs(&t);
	assert_true(interpreter.run(t.program, t.in, t.out, take_probe, &t, &t.diag));
	assert_int_equal(t.probed, 1);
	assert_true(t.probe_sum == 5);
	assert_true(f32_at(&t, 0, 1) == 6);
	close_test(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(padded_convolution_equals_direct_loops),
		cmocka_unit_test(float_sums_are_rounded_once),
		cmocka_unit_test(empty_reductions_give_the_identity),
		cmocka_unit_test(positions_of_extremes),
		cmocka_unit_test(storage_types_are_widened_and_rounded),
		cmocka_unit_test(softmax_rows_add_up_to_one),
		cmocka_unit_test(gather_out_of_range_names_the_node),
		cmocka_unit_test(inputs_are_checked),
		cmocka_unit_test(dims_that_must_be_equal_are_checked),
		cmocka_unit_test(results_with_dims_found_at_run_time),
		cmocka_unit_test(sizes_read_from_data),
		cmocka_unit_test(if_takes_one_branch),
		cmocka_unit_test(loop_carries_and_stacks),
		cmocka_unit_test(scan_takes_slices),
		cmocka_unit_test(return_if_ends_the_function),
		cmocka_unit_test(parameters_are_set_between_runs),
		cmocka_unit_test(probes_see_values_in_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
