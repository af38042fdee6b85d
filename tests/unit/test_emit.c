/* test_emit.c: kernels as machine code against the interpreter: every scalar operation and cast, every plan of
 * some kernels, all levels this machine has. Buffers end at a page that faults. The objects of all levels are
 * searched for symbols that they would need from a library. */
#include "tests/support/kernel_jit.h"

#include "ir/text.h"

#include <elf.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The last one has multiply-adds of its own: it is for the shapes that use them. */
static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "neon",
				     "x86-64-v4+vnni+bf16,tune=znver4"};
enum { LEVELS = 4, PLAN_LEVELS = 5, ELEMENTS = 67 };

static const enum dtype types[] = {
	DT_F32,        DT_F64, DT_F16, DT_BF16, DT_F8E4M3FN, DT_F8E4M3FNUZ, DT_F8E5M2,
	DT_F8E5M2FNUZ, DT_I64, DT_I32, DT_I16,  DT_I8,       DT_U64,        DT_U32,
	DT_U16,        DT_U8,  DT_I4,  DT_U4,   DT_I2,       DT_U2,         DT_BOOL};
enum { TYPES = sizeof(types) / sizeof(*types) };

struct fixture {
	struct arena arena;
	struct diag diag;
	struct target target;
	struct graph *g;
	struct builder b;
	hone_tensor inputs[4];
	int input_count;
	uint64_t random;
};

static int start(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return 0;
}

static int finish(void **state)
{
	struct fixture *f = *state;

	diag_reset(&f->diag);
	arena_free(&f->arena);
	free(f);
	return 0;
}

static bool level_runs(struct fixture *f, const char *cpu)
{
	assert_true(target_resolve(cpu, NULL, &f->arena, &f->target, &f->diag));
	return f->target.host;
}

static void new_graph(struct fixture *f)
{
	f->g = graph_new(&f->arena, "f");
	f->b = (struct builder){.graph = f->g, .region = f->g->body, .diag = &f->diag};
	f->input_count = 0;
}

static uint64_t next_random(struct fixture *f)
{
	f->random = f->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return f->random >> 11;
}

/* Element i of a test input: edges first, then random values of all sizes. */
static void fill(struct fixture *f, enum dtype t, int64_t i, void *data)
{
	static const double edges[] = {0,   -0.0, 1,      -1,     INFINITY, -INFINITY, NAN,
				       0.5, -0.5, 1.5,    2.5,    1e-40,    3e38,      -3e38,
				       700, -700, 1e-300, 0.9999, 2,        3,         -2,
				       1e5, 1e9,  1e22,   88.5,   -104,     127.5,     255.5};
	enum { EDGES = sizeof(edges) / sizeof(*edges) };
	uint64_t r = next_random(f);
	double x = i < EDGES ? edges[i]
			     : ldexp((double)(int64_t)(r % 2000001) - 1000000,
				     (int)(r >> 24) % 40 - 30);

	if (t == DT_F32)
		((float *)data)[i] = (float)x;
	else if (t == DT_F64)
		((double *)data)[i] = x;
	else if (t == DT_BOOL)
		((uint8_t *)data)[i] = r & 1;
	else if (dtype_bits(t) < 8)
		((uint8_t *)data)[i * dtype_bits(t) / 8] = (uint8_t)r;
	else if (dtype_is_int(t) && i % 3 == 0) /* small numbers and edges */
		memcpy((char *)data + i * dtype_bits(t) / 8,
		       &(int64_t){i % 2 ? (int64_t)(r % 9) - 4 : (INT64_MIN | i)},
		       (size_t)dtype_bits(t) / 8);
	else
		memcpy((char *)data + i * dtype_bits(t) / 8, &r, (size_t)dtype_bits(t) / 8);
}

/* Data for the next input. */
static void add_data(struct fixture *f, enum dtype t, int rank, const int64_t *sizes)
{
	hone_tensor *x = &f->inputs[f->input_count++];
	int64_t count = 1;

	*x = (hone_tensor){.dtype = (int32_t)t, .rank = rank};
	for (int i = 0; i < rank; i++) {
		x->dims[i] = sizes[i];
		count *= sizes[i];
	}
	x->size = dtype_bytes(t, count);
	x->data = arena_alloc(&f->arena, (size_t)x->size + 8);
	for (int64_t i = 0; i < count; i++)
		fill(f, t, i, x->data);
}

static struct value *input(struct fixture *f, enum dtype t, int rank, const int64_t *sizes)
{
	dim dims[4];
	struct type type;

	add_data(f, t, rank, sizes);
	for (int i = 0; i < rank; i++)
		dims[i] = dim_const(&f->g->dims, sizes[i]);
	type = type_make(t, rank, dims);
	return graph_input(f->g, arena_printf(&f->arena, "x%d", f->input_count), &type);
}

#define INPUT(f, t, ...)                                                                   \
	input(f, t, (int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})

/* Weights: drivers may store them in another order. */
static struct value *weights(struct fixture *f, int rank, const int64_t *sizes)
{
	struct tensor *data = ARENA_NEW(&f->arena, struct tensor);
	struct type type;
	dim dims[4];

	for (int i = 0; i < rank; i++)
		dims[i] = dim_const(&f->g->dims, sizes[i]);
	type = type_make(DT_F32, rank, dims);
	*data = (struct tensor){.kind = TENSOR_RANDOM, .seed = 3};
	return add_const(&f->b, &type, data);
}

#define WEIGHTS(f, ...)                                                                   \
	weights(f, (int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})

/* ---- comparing ---- */

static double element(enum dtype t, const void *data, int64_t i)
{
	uint16_t half;

	switch (t) {
	case DT_F32: return ((const float *)data)[i];
	case DT_F64: return ((const double *)data)[i];
	case DT_F16:
	case DT_BF16:
		memcpy(&half, (const char *)data + 2 * i, 2);
		return dtype_decode_float(t, half);
	default: return dtype_decode_float(t, ((const uint8_t *)data)[i]);
	}
}

/* tolerance: of numbers above `unit` relative, below it absolute in `unit`s. */
static bool equal(enum dtype t, int64_t count, const void *got, const void *want, double tolerance,
		  double unit)
{
	if (!dtype_is_float(t) && dtype_bits(t) >= 8)
		return !memcmp(got, want, (size_t)dtype_bytes(t, count));
	for (int64_t i = 0; i < count; i++) {
		double a, b;

		if (dtype_bits(t) < 8) {
			int per = 8 / dtype_bits(t), shift = (int)(i % per) * dtype_bits(t),
			    mask = (1 << dtype_bits(t)) - 1;

			a = ((const uint8_t *)got)[i / per] >> shift & mask;
			b = ((const uint8_t *)want)[i / per] >> shift & mask;
		} else {
			a = element(t, got, i);
			b = element(t, want, i);
		}
		if (isnan(a) != isnan(b) ||
		    (a != b && !isnan(a) && !(fabs(a - b) <= tolerance * fmax(fabs(b), unit)))) {
			print_error("element %lld: got %.17g, expected %.17g\n", (long long)i, a,
				    b);
			return false;
		}
	}
	return true;
}

/* Runs k, in one call and cut in three, and compares with `want`. */
static bool kernel_matches(struct fixture *f, struct kernel *k, const struct value *y,
			   const void *want, double tolerance, double unit)
{
	struct guarded held[8] = {{0}};
	void *buffers[8] = {NULL}, *first;
	struct kernel_jit j;
	struct hone_fail fail;
	int64_t symbols[1] = {0}, count = type_count_const(&y->type);
	size_t bytes = (size_t)dtype_bytes(y->type.dtype, count);
	int out = 0;
	bool ok;

	assert_true(k->buffers.count <= 8);
	assert_true(kernel_jit_make(&j, k, &f->target, &f->diag));
	for (int i = 0; i < k->buffers.count; i++) {
		const struct value *v = k->buffers.at[i].value;

		if (k->buffers.at[i].role == BUFFER_LOCAL)
			continue;
		held[i] = guarded_alloc(
			(size_t)dtype_bytes(v->type.dtype, type_count_const(&v->type)));
		buffers[i] = held[i].data;
		if (v == y)
			out = i;
		else if (value_const(v))
			memcpy(buffers[i],
			       tensor_bytes(value_const(v), v->type.dtype,
					    type_count_const(&v->type), &f->arena),
			       held[i].size);
		else
			memcpy(buffers[i], f->inputs[v->index].data, held[i].size);
	}
	kernel_jit_run(&j, buffers, symbols, 1, &fail);
	ok = equal(y->type.dtype, count, buffers[out], want, tolerance, unit);
	first = malloc(bytes + 1);
	memcpy(first, buffers[out], bytes);
	memset(buffers[out], 0, bytes);
	kernel_jit_run(&j, buffers, symbols, 3, &fail);
	if (dtype_bits(y->type.dtype) >= 8 && memcmp(first, buffers[out], bytes)) {
		print_error("results depend on how tasks are cut\n");
		ok = false;
	}
	free(first);
	for (int i = 0; i < 8; i++)
		guarded_free(&held[i]);
	kernel_jit_free(&j);
	return ok;
}

static hone_tensor interpreted(struct fixture *f, struct value *y)
{
	const char *name = "y";
	hone_tensor out = {0};
	struct engine_program *p;

	graph_set_outputs(f->g, 1, &y, &name);
	p = interpreter.compile(&interpreter, f->g, 0, NULL, &f->diag);
	assert_non_null(p);
	assert_true(interpreter.run(p, f->inputs, &out, NULL, NULL, &f->diag));
	interpreter.release(p);
	return out;
}

static void check_value(struct fixture *f, struct value *y, double tolerance, const char *what)
{
	hone_tensor want;
	struct kernel *k;

	assert_non_null(y);
	want = interpreted(f, y);
	k = lower_node(f->g, y->def, &f->arena, &f->diag);
	assert_non_null(k);
	assert_true(plan_choose(k, &f->target, &f->diag));
	if (!kernel_matches(f, k, y, want.data, tolerance, 1e-37))
		fail_msg("%s on %s", what, f->target.spec);
	free(want.data);
}

/* ---- scalar operations ---- */

/* The node of an operation over fresh inputs of type t; NULL when it does not take the type. */
static struct value *operation(struct fixture *f, enum expr_op op, enum dtype t, int64_t count)
{
	enum dtype operands[3] = {t, t, t};
	struct value *x, *y;

	if (op == EXPR_SELECT || dtype_compute(t) != t || scalar_result(op, operands) == DT_NONE)
		return NULL;
	new_graph(f);
	x = INPUT(f, t, count);
	if (scalar_arity(op) == 1)
		return add_unary(&f->b, op, x);
	y = INPUT(f, t, count);
	return add_binary(&f->b, op, x, y);
}

static double tolerance_of(enum expr_op op, enum dtype t)
{
	double ulp = t == DT_F64 ? 0x1p-52 : 0x1p-23;

	if (op < EXPR_EXP || op > EXPR_ERF)
		return 0;
	return t == DT_F64 ? (op == EXPR_POW ? 1e-12 : 2e-14) : 2.5 * ulp;
}

static void every_operation_of_every_type_is_as_the_oracle_has_it(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		if (!level_runs(f, levels[l]))
			continue;
		for (int op = 0; op < EXPR_SCALAR_COUNT; op++) {
			for (int t = 0; t < TYPES; t++) {
				struct value *y =
					operation(f, (enum expr_op)op, types[t], ELEMENTS);

				if (y)
					check_value(f, y, tolerance_of((enum expr_op)op, types[t]),
						    arena_printf(&f->arena, "%s of %s",
								 scalar_text((enum expr_op)op),
								 dtype_name(types[t])));
			}
		}
	}
}

static void every_cast_is_as_the_oracle_has_it(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		if (!level_runs(f, levels[l]))
			continue;
		for (int from = 0; from < TYPES; from++) {
			for (int to = 0; to < TYPES; to++) {
				struct value *x;

				new_graph(f);
				x = INPUT(f, types[from], ELEMENTS);
				if (from != to)
					check_value(f, add_cast(&f->b, x, types[to]), 0,
						    arena_printf(&f->arena, "cast %s to %s",
								 dtype_name(types[from]),
								 dtype_name(types[to])));
			}
		}
	}
}

/* ---- plans ---- */

static struct value *add_op(struct fixture *f, enum op_id op, int count, struct value **in,
			    const void *attrs)
{
	struct node *n = graph_add(
		&f->b, &(struct node_spec){.op = op, .in_count = count, .in = in, .attrs = attrs});

	assert_non_null(n);
	return n->out[0];
}

static void tame(struct fixture *f)
{
	for (int i = 0; i < f->input_count; i++) { /* sums need numbers of like size */
		int64_t n = f->inputs[i].size / 4;

		for (int64_t k = 0; f->inputs[i].dtype == HONE_F32 && k < n; k++)
			((float *)f->inputs[i].data)[k] = (float)(next_random(f) % 2001) / 500 - 2;
		for (int64_t k = 0; f->inputs[i].dtype == HONE_I64 && k < n / 2; k++)
			((int64_t *)f->inputs[i].data)[k] = (int64_t)(next_random(f) % 3);
		for (int64_t k = 0; f->inputs[i].dtype == HONE_BF16 && k < n * 2; k++)
			((uint16_t *)f->inputs[i].data)[k] =
				(uint16_t)(0x3e80 + next_random(f) % 0x200 +
					   (next_random(f) % 2 << 15));
		if (f->inputs[i].dtype == HONE_BF16) /* behind the row before */
			((uint16_t *)f->inputs[i]
				 .data)[f->inputs[i].dims[f->inputs[i].rank - 1] * 3] = 0x7fc0;
	}
}

/* Attention: heads that share keys and a mask, causal, a window of keys, one query. */
static struct value *attention_of(struct fixture *f, int which)
{
	static const int64_t sizes[4][8] = {/* batch, queries, heads, depth, keys, groups, width */
					    {2, 9, 4, 20, 37, 2, 24},
					    {1, 33, 2, 16, 33, 2, 16},
					    {1, 5, 2, 8, 70, 1, 8},
					    {1, 1, 3, 33, 67, 3, 5}};
	const int64_t *n = sizes[which];
	struct expr_pool *p = &f->g->exprs;
	const struct expr *s = expr_param(p, DT_F32, 0), *i = expr_param(p, DT_I64, 1),
			  *j = expr_param(p, DT_I64, 2), *c;
	struct value *in[4] = {INPUT(f, DT_F32, n[0], n[1], n[2], n[3]),
			       INPUT(f, DT_F32, n[0], n[4], n[5], n[3]),
			       INPUT(f, DT_F32, n[0], n[4], n[5], n[6]), NULL};
	bool masked = which == 0 || which == 3;

	s = expr_binary(p, EXPR_MUL, s, expr_real(p, DT_F32, 0.25));
	c = expr_binary(p, EXPR_LE, j,
			expr_binary(p, EXPR_ADD, i, expr_index(p, which == 2 ? 50 : 0)));
	if (which == 2)
		c = expr_binary(
			p, EXPR_AND, c,
			expr_binary(p, EXPR_LT, expr_binary(p, EXPR_ADD, i, expr_index(p, 37)), j));
	if (masked) {
		in[3] = which ? INPUT(f, DT_F32, n[2], 1, n[4])
			      : INPUT(f, DT_F32, n[0], 1, 1, n[4]);
		s = expr_binary(p, EXPR_ADD, s, expr_param(p, DT_F32, 3));
	} else {
		s = expr_select(p, c, s, expr_real(p, DT_F32, -INFINITY));
	}
	return graph_add(&f->b, &(struct node_spec){.op = OP_attention,
						    .in_count = masked ? 4 : 3,
						    .in = in,
						    .expr = s})
		->out[0];
}

/* Sums of products of bf16 and of bytes. In those of bf16 is a NaN behind
 * the end of a row of odd length. */
static const char *const shape_texts[] = {
	"func @f(%x: bf16[13,29], %w: bf16[29,71]) -> (%y: bf16[13,71]) {\n"
	"%y: bf16[13,71] = matmul(%x, %w)\n",
	"func @f(%x: bf16[13,29]) -> (%y: bf16[13,71]) {\n"
	"%w: bf16[29,71] = const random(3)\n"
	"%y: bf16[13,71] = matmul(%x, %w)\n",
	"func @f(%x: bf16[2,5,7,5]) -> (%y: bf16[2,3,5,24]) {\n"
	"%w: bf16[3,3,5,24] = const random(3)\n"
	"%y: bf16[2,3,5,24] = conv(%x, %w)\n",
	"func @f(%x: u8[13,32]) -> (%y: i32[13,40]) {\n"
	"%w: i8[32,40] = const random(3)\n"
	"%y: i32[13,40] = group {\n"
	"%a: i32[13,32] = map(%x) (a: u8) -> i32(a)\n"
	"%b: i32[32,40] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[13,40] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: i8[13,31]) -> (%y: f32[13,40]) {\n"
	"%w: i8[31,40] = const random(3)\n"
	"%y: f32[13,40] = group {\n"
	"%a: i32[13,31] = map(%x) (a: i8) -> i32(a)\n"
	"%b: i32[31,40] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[13,40] = matmul(%a, %b)\n"
	"%e: f32[13,40] = map(%m) (a: i32) -> f32(a) * 0.5\n"
	"yield %e }\n",
	"func @f(%x: u8[13,30], %z: u8[]) -> (%y: i32[13,40]) {\n"
	"%w: u8[30,40] = const random(3)\n"
	"%v: u8[40] = const random(4)\n"
	"%y: i32[13,40] = group {\n"
	"%a: i32[13,30] = map(%x, %z) (a: u8, b: u8) -> i32(a) - i32(b)\n"
	"%b: i32[30,40] = map(%w, %v) (a: u8, b: u8) -> i32(a) - i32(b)\n"
	"%m: i32[13,40] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: i8[13,29], %z: i8[13,1], %w: u8[29,37], %v: u8[37]) -> (%y: i32[13,37]) {\n"
	"%y: i32[13,37] = group {\n"
	"%a: i32[13,29] = map(%x, %z) (a: i8, b: i8) -> i32(a) - i32(b)\n"
	"%b: i32[29,37] = map(%w, %v) (a: u8, b: u8) -> i32(a) - i32(b)\n"
	"%m: i32[13,37] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: u8[13,28], %w: i8[28,37]) -> (%y: i32[13,37]) {\n"
	"%y: i32[13,37] = group {\n"
	"%a: i32[13,28] = map(%x) (a: u8) -> i32(a)\n"
	"%b: i32[28,37] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[13,37] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: u8[3,9,14], %w: i8[3,14,19]) -> (%y: i32[3,9,19]) {\n"
	"%y: i32[3,9,19] = group {\n"
	"%a: i32[3,9,14] = map(%x) (a: u8) -> 7 + i32(a)\n"
	"%b: i32[3,14,19] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[3,9,19] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: u8[2,5,7,5]) -> (%y: u8[2,3,5,24]) {\n"
	"%w: i8[3,3,5,24] = const random(3)\n"
	"%y: u8[2,3,5,24] = group {\n"
	"%a: i32[2,5,7,5] = map(%x) (a: u8) -> i32(a) - 128\n"
	"%b: i32[3,3,5,24] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[2,3,5,24] = conv(%a, %b)\n"
	"%e: u8[2,3,5,24] = map(%m) (a: i32) -> u8(rne(f32(a) * 0.05) + 120.0)\n"
	"yield %e }\n",
};
enum {
	TEXTS = sizeof(shape_texts) / sizeof(*shape_texts),
	SHAPES = 29,
	ATTENTIONS = 4,
	ALL_SHAPES = SHAPES + ATTENTIONS + TEXTS
};

static struct value *shape_of_text(struct fixture *f, const char *text)
{
	text = arena_printf(&f->arena, "%sreturn %%y\n}\n", text);
	f->g = graph_parse(text, strlen(text), "shape", &f->arena, &f->diag);
	assert_non_null(f->g);
	f->input_count = 0;
	for (int i = 0; i < f->g->body->param_count; i++) {
		const struct type *t = &f->g->body->params[i]->type;
		int64_t sizes[4];

		for (int k = 0; k < t->rank; k++)
			sizes[k] = t->dims[k]->value;
		add_data(f, t->dtype, t->rank, sizes);
	}
	return f->g->body->results[0];
}

static struct value *shape_of_kernel(struct fixture *f, int which)
{
	int64_t twos[] = {2, 2}, ones[] = {1, 1};
	struct value *x[3];
	dim d[4], zero, one;

	if (which >= ALL_SHAPES - TEXTS)
		return shape_of_text(f, shape_texts[which - (ALL_SHAPES - TEXTS)]);
	new_graph(f);
	zero = dim_const(&f->g->dims, 0);
	one = dim_const(&f->g->dims, 1);
	if (which >= SHAPES)
		return attention_of(f, which - SHAPES);
	switch (which) {
	case 0:
		x[0] = INPUT(f, DT_F32, 7, 37);
		x[1] = INPUT(f, DT_F32, 37);
		return add_map_text(&f->b, "(a, b) -> max(a + b * 2, 0)", DT_NONE, 2, x, 0, NULL);
	case 1:
		x[0] = INPUT(f, DT_F32, 13, 29);
		x[1] = INPUT(f, DT_F32, 29, 71);
		return add_op(f, OP_matmul, 2, x, NULL);
	case 2:
		return add_reduce(&f->b, REDUCE_SUM, INPUT(f, DT_F32, 11, 101), 1, (int64_t[]){1},
				  false);
	case 3:
		return add_reduce(&f->b, REDUCE_MAX, INPUT(f, DT_F32, 11, 101), 1, (int64_t[]){0},
				  false);
	case 4:
		x[0] = INPUT(f, DT_F32, 5, 50, 7);
		return add_op(f, OP_softmax, 1, x, &(struct attrs_softmax){.axis = 1});
	case 5:
		x[0] = INPUT(f, DT_F32, 5, 133);
		return add_op(f, OP_softmax, 1, x, &(struct attrs_softmax){.axis = 1, .log = true});
	case 6: return add_transpose(&f->b, INPUT(f, DT_F32, 3, 9, 21), (int[]){1, 2, 0});
	case 7:
		d[0] = d[3] = zero, d[1] = d[2] = one;
		return add_pad(&f->b, INPUT(f, DT_F32, 2, 5, 7, 3), d, d, 0.5);
	case 8:
		x[0] = INPUT(f, DT_F32, 3, 17);
		x[1] = INPUT(f, DT_F32, 3, 1);
		x[2] = INPUT(f, DT_F32, 3, 40);
		return add_concat(&f->b, 1, 3, x);
	case 9:
		x[0] = INPUT(f, DT_F32, 2, 9, 9, 8);
		x[1] = INPUT(f, DT_F32, 3, 3, 8, 24);
		return add_op(f, OP_conv, 2, x,
			      &(struct attrs_conv){
				      .group = 1, .stride = {2, twos}, .dilation = {2, ones}});
	case 10:
		x[0] = INPUT(f, DT_F32, 1, 9, 9, 20);
		return add_op(f, OP_pool, 1, x,
			      &(struct attrs_pool){.kind = REDUCE_MAX,
						   .size = {2, twos},
						   .stride = {2, twos},
						   .dilation = {2, ones}});
	case 11: return add_gather(&f->b, 0, INPUT(f, DT_F32, 3, 33), INPUT(f, DT_I64, 4, 3), 0, 0);
	case 12:
		x[0] = INPUT(f, DT_F32, 5, 33, 3);
		return add_op(f, OP_cumulate, 1, x, &(struct attrs_cumulate){.axis = 1});
	case 13:
		x[0] = INPUT(f, DT_F32, 5, 33);
		return add_op(f, OP_argreduce, 1, x,
			      &(struct attrs_argreduce){.kind = 1, .axis = 0});
	case 14:
		for (int i = 0; i < 3; i++)
			d[i] = dim_const(&f->g->dims, (int64_t[]){4, 15, 20}[i]);
		return add_reshape(&f->b, INPUT(f, DT_F32, 6, 5, 40), 3, d);
	case 15: return add_transpose(&f->b, INPUT(f, DT_F32, 35, 53), (int[]){1, 0});
	case 18:
		x[0] = INPUT(f, DT_F32, 13, 29);
		x[1] = WEIGHTS(f, 29, 71);
		return add_op(f, OP_matmul, 2, x, NULL);
	case 19: /* tiles of several rows of pixels */
		x[0] = INPUT(f, DT_F32, 2, 5, 5, 8);
		x[1] = WEIGHTS(f, 3, 3, 8, 24);
		return add_op(f, OP_conv, 2, x,
			      &(struct attrs_conv){
				      .group = 1, .stride = {2, ones}, .dilation = {2, ones}});
	case 20: /* as many products as groups */
		x[0] = INPUT(f, DT_F32, 1, 9, 9, 16);
		x[1] = WEIGHTS(f, 3, 3, 8, 40);
		return add_op(f, OP_conv, 2, x,
			      &(struct attrs_conv){
				      .group = 2, .stride = {2, twos}, .dilation = {2, ones}});
	case 21:
		x[0] = INPUT(f, DT_F32, 3, 9, 14);
		x[1] = WEIGHTS(f, 3, 14, 19);
		return add_op(f, OP_matmul, 2, x, NULL);
	case 16: return add_transpose(&f->b, INPUT(f, DT_F16, 35, 2, 20), (int[]){2, 1, 0});
	case 23: /* keeps a row */
		x[0] = INPUT(f, DT_F32, 3, 5, 133);
		return add_op(f, OP_softmax, 1, x, &(struct attrs_softmax){.axis = 2});
	case 22:
		x[0] = INPUT(f, DT_F32, 2, 9, 19, 37);
		x[1] = INPUT(f, DT_F32, 3, 3, 1, 37);
		return add_op(f, OP_conv, 2, x,
			      &(struct attrs_conv){
				      .group = 37, .stride = {2, twos}, .dilation = {2, ones}});
	case 24:
		x[0] = INPUT(f, DT_F32, 2, 6, 14, 37);
		return add_op(f, OP_winograd_input, 1, x,
			      &(struct attrs_winograd_input){.tile = 4});
	case 25: /* the last row and column of tiles stick out */
		x[0] = INPUT(f, DT_F32, 36, 12, 37);
		return add_op(f, OP_winograd_output, 1, x,
			      &(struct attrs_winograd_output){.tile = 4, .h = 7, .w = 10});
	case 26:
		x[0] = INPUT(f, DT_F32, 16, 12, 19);
		return add_op(f, OP_winograd_output, 1, x,
			      &(struct attrs_winograd_output){.tile = 2, .h = 3, .w = 6});
	case 27: /* three channels between each other */
		return add_transpose(&f->b, INPUT(f, DT_F32, 2, 3, 77), (int[]){0, 2, 1});
	case 28: return add_transpose(&f->b, INPUT(f, DT_F16, 2, 4, 33), (int[]){0, 2, 1});
	default:
		x[0] = INPUT(f, DT_F32, 5, 257);
		return add_op(f, OP_normalize, 1, x,
			      &(struct attrs_normalize){.axes = {1, (int64_t[]){1}}, .eps = 1e-5});
	}
}

/* Compiling takes long. Each shape has a share of the plans, the next one the next share, so that all tiles and
 * forms of loops are tried; HONE_ALL_PLANS tries each on each shape. The first plan is the chosen one. */
static bool is_tried(int plan, int shape)
{
	enum { SHARE = 4 };

	return !plan || (plan + shape) % SHARE == 0 || getenv("HONE_ALL_PLANS");
}

static void every_plan_gives_what_the_interpreter_gives(void **state)
{
	struct fixture *f = *state;
	static struct plan plans[1000];

	for (int l = 0; l < PLAN_LEVELS; l++) {
		int first = l < LEVELS ? 0 : ALL_SHAPES - TEXTS;

		for (int s = first; level_runs(f, levels[l]) && s < ALL_SHAPES; s++) {
			struct value *y = shape_of_kernel(f, s);
			hone_tensor want;
			struct kernel *k;
			int n;

			tame(f);
			want = interpreted(f, y);
			k = lower_node(f->g, y->def, &f->arena, &f->diag);
			assert_true(plan_choose(k, &f->target, &f->diag));
			plans[0] = k->plan;
			n = plan_enumerate(k, &f->target, &f->arena, plans + 1, 999);
			assert_in_range(n, 1, 998);
			for (int i = 0; i <= n; i++) {
				if (!is_tried(i, s))
					continue;
				k->plan = plans[i];
				if (!kernel_matches(f, k, y, want.data,
						    y->type.dtype == DT_BF16 ? 0x1p-7 : 3e-5, 1))
					fail_msg("%s kernel %d, plan %d on %s",
						 kernel_text(&f->arena, k, false), s, i,
						 f->target.spec);
			}
			free(want.data);
		}
	}
}

static void an_index_out_of_range_is_reported_and_reads_nothing(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		struct guarded held[3];
		void *buffers[3];
		struct value *x[2], *y;
		struct kernel *k;
		struct kernel_jit j;
		struct hone_fail fail;
		int64_t none = 0;

		if (!level_runs(f, levels[l]))
			continue;
		new_graph(f);
		x[0] = INPUT(f, DT_F32, 3, 33);
		x[1] = INPUT(f, DT_I64, 40);
		y = add_gather(&f->b, 0, x[0], x[1], 0, 0);
		k = lower_node(f->g, y->def, &f->arena, &f->diag);
		assert_true(plan_choose(k, &f->target, &f->diag));
		assert_true(kernel_jit_make(&j, k, &f->target, &f->diag));
		assert_true(j.abi.can_fail);
		for (int i = 0; i < 3; i++) {
			held[i] = guarded_alloc(
				(size_t)dtype_bytes(k->buffers.at[i].type.dtype,
						    type_count_const(&k->buffers.at[i].type)));
			buffers[i] = held[i].data;
			memset(buffers[i], 0, held[i].size);
			if (k->buffers.at[i].value == x[1])
				((int64_t *)buffers[i])[37] = INT64_C(1) << 40;
		}
		assert_int_equal(kernel_jit_run(&j, buffers, &none, 1, &fail), HONE_FAIL_INDEX);
		assert_true(fail.found == INT64_C(1) << 40 && fail.bound == 3);
		for (int i = 0; i < 3; i++)
			guarded_free(&held[i]);
		kernel_jit_free(&j);
	}
}

/* ---- symbols ---- */

static void only_memory_functions(const char *bytes, const char *what)
{
	const Elf64_Ehdr *h = (const void *)bytes;
	const Elf64_Shdr *s = (const void *)(bytes + h->e_shoff);

	for (int i = 0; i < h->e_shnum; i++) {
		const Elf64_Sym *symbols = (const void *)(bytes + s[i].sh_offset);
		const char *names = bytes + s[s[i].sh_link].sh_offset;

		for (size_t n = 1;
		     s[i].sh_type == SHT_SYMTAB && n < s[i].sh_size / sizeof(*symbols); n++) {
			const char *name = names + symbols[n].st_name;

			if (symbols[n].st_shndx == SHN_UNDEF && strcmp(name, "memcpy") &&
			    strcmp(name, "memset"))
				fail_msg("%s needs %s", what, name);
		}
	}
}

static void add_kernel(struct fixture *f, struct emitter *e, struct value *y, int number)
{
	struct kernel *k = lower_node(f->g, y->def, &f->arena, &f->diag);
	struct kernel_abi abi;

	assert_true(k && plan_choose(k, &f->target, &f->diag) && kernel_abi_of(k, &f->arena, &abi));
	assert_true(emit_kernel(e, k, &abi, arena_printf(&f->arena, "k%d", number), &f->diag));
}

/* All operations of type t and casts from it in one object. */
static void audit(struct fixture *f, enum dtype t)
{
	LLVMMemoryBufferRef object;
	struct emitter e;
	int n = 0;

	emitter_open(&e, &f->target, &f->arena, "audit");
	for (int op = 0; op < EXPR_SCALAR_COUNT; op++) {
		struct value *y = operation(f, (enum expr_op)op, t, ELEMENTS);

		if (y)
			add_kernel(f, &e, y, n++);
	}
	for (int to = 0; to < TYPES; to++) {
		new_graph(f);
		if (types[to] != t)
			add_kernel(f, &e, add_cast(&f->b, INPUT(f, t, ELEMENTS), types[to]), n++);
	}
	assert_true(emitter_finish(&e, LLVMObjectFile, &object, &f->diag));
	only_memory_functions(LLVMGetBufferStart(object),
			      arena_printf(&f->arena, "%s on %s", dtype_name(t), f->target.spec));
	LLVMDisposeMemoryBuffer(object);
	emitter_close(&e);
}

static void objects_of_all_levels_need_no_library(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		level_runs(f, levels[l]);
		for (int t = 0; t < TYPES; t++)
			audit(f, types[t]);
	}
}

/* ---- targets ---- */

static void a_resolved_target_reads_back(void **state)
{
	struct fixture *f = *state;
	struct target a, b;

	assert_true(target_resolve("native", NULL, &f->arena, &a, &f->diag));
	assert_true(target_resolve(a.spec, NULL, &f->arena, &b, &f->diag));
	assert_string_equal(a.spec, b.spec);
	assert_string_equal(a.features, b.features);
	assert_true(a.l2 == b.l2 && a.vnni == b.vnni && a.cpu_bits == b.cpu_bits);
	assert_false(target_resolve("x86-64-v9", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3+amx", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3,l1=-5", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3", "aarch64-linux-gnu", &f->arena, &b, &f->diag));
	assert_int_equal(f->diag.errors, 4);
}

static void levels_are_sorted_and_read_back(void **state)
{
	struct fixture *f = *state;
	struct targets a, b;

	assert_true(
		targets_resolve("v3,l1=16384,x86-64-v4,v4+vnni,v2", NULL, &f->arena, &a, &f->diag));
	assert_int_equal(a.count, 4);
	assert_string_equal(target_level(&f->arena, &a.at[0]), "x86-64-v4+vnni");
	assert_string_equal(target_level(&f->arena, &a.at[1]), "x86-64-v4");
	assert_string_equal(target_level(&f->arena, &a.at[2]), "x86-64-v3");
	assert_string_equal(target_level(&f->arena, &a.at[3]), "x86-64-v2");
	assert_true(a.at[2].l1 == 16384 && a.at[3].l1 != 16384);
	assert_true(targets_resolve(a.spec, NULL, &f->arena, &b, &f->diag));
	assert_string_equal(a.spec, b.spec);
	assert_false(targets_resolve("v3,v4,v3", NULL, &f->arena, &b, &f->diag));
	assert_false(targets_resolve("v3,neon", NULL, &f->arena, &b, &f->diag));
	assert_false(targets_resolve("v3,", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3,v4", NULL, &f->arena, &a.at[0], &f->diag));
	assert_int_equal(f->diag.errors, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_resolved_target_reads_back, start, finish),
		cmocka_unit_test_setup_teardown(levels_are_sorted_and_read_back, start, finish),
		cmocka_unit_test_setup_teardown(every_plan_gives_what_the_interpreter_gives, start,
						finish),
		cmocka_unit_test_setup_teardown(an_index_out_of_range_is_reported_and_reads_nothing,
						start, finish),
		cmocka_unit_test_setup_teardown(
			every_operation_of_every_type_is_as_the_oracle_has_it, start, finish),
		cmocka_unit_test_setup_teardown(every_cast_is_as_the_oracle_has_it, start, finish),
		cmocka_unit_test_setup_teardown(objects_of_all_levels_need_no_library, start,
						finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
