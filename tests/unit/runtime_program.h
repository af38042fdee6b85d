/* runtime_program.h: a program written by hand, for tests of the runtime, and calls of it:
 *   t[n,c] = 2 * x[n,c] + shift          (kernel, an arena slot)
 *   y[m,c] = t[i[m],c]                   (kernel, writes the caller's buffer; checks the index)
 *   z[k]   = positions of t > 0          (a dynamic slot, handed over at the return) */
#ifndef TESTS_UNIT_RUNTIME_PROGRAM_H
#define TESTS_UNIT_RUNTIME_PROGRAM_H

#include "runtime/context.h"
#include "runtime/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the program ---- */

enum { N, M, K, X_BYTES, Y_BYTES, LIMIT, SCRATCH, WORDS };
enum { X, I, Y, T, Z, PER_WORKER, SLOTS };

static inline int32_t setup(struct hone_frame *f, int32_t stage)
{
	int64_t *w = f->words;

	if (stage)
		return 0;
	w[X_BYTES] = w[N] * 16;
	w[Y_BYTES] = w[M] * 16;
	w[LIMIT] = 63;
	w[SCRATCH] = 40;
	return w[N] == w[LIMIT] && w[M] != 1 ? 1 : 0;
}

static inline void scale(struct hone_frame *f, void *const *b, const int64_t *w, int64_t begin,
			 int64_t end, int64_t worker)
{
	const float *x = b[0];
	float *t = b[1];
	int64_t *scratch = (int64_t *)((char *)b[2] + worker * 64);

	(void)w;
	for (int k = 0; k < 5; k++)
		scratch[k] = worker;
	for (int64_t i = begin * 4; i < end * 4; i++)
		t[i] = 2 * x[i] + (float)f->params[0];
	for (int k = 0; k < 5; k++)
		assert_int_equal(scratch[k], worker);
}

static inline void gather(struct hone_frame *f, void *const *b, const int64_t *w, int64_t begin,
			  int64_t end, int64_t worker)
{
	const float *t = b[0];
	const int64_t *index = b[1];
	float *y = b[2];

	(void)worker;
	for (int64_t m = begin; m < end; m++) {
		int64_t i = index[m] < 0 ? index[m] + w[N] : index[m];

		if (i < 0 || i >= w[N]) {
			f->fail.found = index[m];
			f->fail.bound = w[N];
			__atomic_store_n(&f->fail.code, HONE_FAIL_INDEX, __ATOMIC_RELEASE);
			return;
		}
		memcpy(y + m * 4, t + i * 4, 16);
	}
}

static inline int32_t run(struct hone_frame *f)
{
	void *first[] = {f->values[X], f->values[T], f->values[PER_WORKER]};
	void *second[] = {f->values[T], f->values[I], f->values[Y]};
	const float *t = f->values[T];
	int64_t *z, count = f->words[N] * 4;

	hone_rt_fork(f, scale, first, 3, f->words, f->words[N]);
	hone_rt_fork(f, gather, second, 3, f->words, f->words[M]);
	if (f->fail.code) {
		f->fail.node = 1;
		return f->fail.code;
	}
	f->words[K] = 0;
	for (int64_t i = 0; i < count; i++) {
		if (!(t[i] > 0))
			continue;
		if (hone_rt_reserve(f, Z, (f->words[K] + 1) * 8)) {
			f->fail.node = 2;
			return f->fail.code;
		}
		z = f->values[Z];
		z[f->words[K]++] = i;
	}
	return hone_rt_output(f, 1, f->words[K] ? f->values[Z] : NULL, f->words[K] * 8);
}

static const struct hone_symbol symbols[] = {{"N", 0, 64}, {"M", 1, 16}, {"K", 0, INT64_MAX}};
static const struct hone_slot slots[] = {
	[X] = {HONE_SLOT_INPUT, 0, -1, 0, 3, 0},
	[I] = {HONE_SLOT_INPUT, 1, -1, 0, 3, 0},
	[Y] = {HONE_SLOT_OUTPUT, 0, -1, 0, 3, 0},
	[T] = {HONE_SLOT_ARENA, 0, X_BYTES, 0, 3, 0},
	[Z] = {HONE_SLOT_DYNAMIC, 0, -1, 2, 3, 0},
	[PER_WORKER] = {HONE_SLOT_ARENA, 0, SCRATCH, 0, 0, 1},
};
static const struct hone_check checks[] = {
	{"node \"Add_3\": dims of %a (N) and %b (63) must differ", N, LIMIT}};
static const char *const nodes[] = {"node \"Mul_1\" (Mul)", "node \"Gather_5\" (Gather)",
				    "node \"NonZero_7\" (NonZero)"};
static const struct hone_dim_ref x_ref[] = {{0, N, 0}, {4, -1, 0}}, i_ref[] = {{0, M, 0}};
static const struct hone_dim_ref y_ref[] = {{0, M, 0}, {4, -1, 0}}, z_ref[] = {{0, K, 0}};
static const struct hone_dim_ref z_max[] = {{-1, -1, 0}};
static const struct hone_dim_ref *const input_refs[] = {x_ref, i_ref};
static const struct hone_output_ref output_refs[] = {{0, Y_BYTES, 1, 0, y_ref, y_ref},
						     {1, -1, 0, 0, z_ref, z_max}};
static const struct hone_program program = {
	.word_count = WORDS,
	.symbol_count = 3,
	.slot_count = SLOTS,
	.step_count = 4,
	.check_count = 1,
	.node_count = 3,
	.input_symbol_count = 2,
	.symbols = symbols,
	.slots = slots,
	.checks = checks,
	.nodes = nodes,
	.input_dims = input_refs,
	.outputs = output_refs,
	.setup = setup,
	.run = run,
};

static const hone_dim x_dims[] = {{0, 64, "N"}, {4, 4, NULL}}, i_dims[] = {{1, 16, "M"}};
static const hone_dim y_dims[] = {{1, 16, "M"}, {4, 4, NULL}}, z_dims[] = {{0, INT64_MAX, "K"}};
static const hone_io inputs[] = {{"x", HONE_F32, 2, x_dims, -1, NULL},
				 {"i", HONE_I64, 1, i_dims, -1, NULL}};
static const hone_io outputs[] = {{"y", HONE_F32, 2, y_dims, -1, NULL},
				  {"z", HONE_I64, 1, z_dims, -1, NULL}};
static const hone_param params[] = {{"shift", 0, -10, 10}};
static const hone_model model = {
	.size = sizeof(model),
	.abi_version = HONE_ABI_VERSION,
	.name = "test",
	.input_count = 2,
	.output_count = 2,
	.param_count = 1,
	.inputs = inputs,
	.outputs = outputs,
	.params = params,
	.arena_bytes = hone_rt_arena_bytes,
	.context_create = hone_rt_context_create,
	.output_dims = hone_rt_output_dims,
	.run = hone_rt_run,
	.set_param = hone_rt_set_param,
	.error = hone_rt_error,
	.context_destroy = hone_rt_context_destroy,
	.program = &program,
};

/* ---- one call's tensors ---- */

struct call {
	float x[256], y[64];
	int64_t i[16], z[256];
	hone_tensor in[2], out[2];
};

static inline void fill_call(struct call *c, int64_t n, int64_t m)
{
	memset(c, 0, sizeof(*c));
	for (int64_t k = 0; k < n * 4; k++)
		c->x[k] = (float)(k % 7 - 3);
	for (int64_t k = 0; k < m; k++)
		c->i[k] = n ? k * 5 % n : 0;
	c->in[0] = (hone_tensor){
		.data = c->x, .size = n * 16, .dims = {n, 4}, .rank = 2, .dtype = HONE_F32};
	c->in[1] = (hone_tensor){
		.data = c->i, .size = m * 8, .dims = {m}, .rank = 1, .dtype = HONE_I64};
	c->out[0] = (hone_tensor){.data = c->y, .size = sizeof(c->y)};
	c->out[1] = (hone_tensor){.data = c->z, .size = sizeof(c->z)};
}

static inline void check_call(const struct call *c, float shift)
{
	int64_t n = c->in[0].dims[0], m = c->in[1].dims[0], count = 0;

	assert_int_equal(c->out[0].rank, 2);
	assert_int_equal(c->out[0].dtype, HONE_F32);
	assert_int_equal(c->out[0].dims[0], m);
	assert_int_equal(c->out[0].dims[1], 4);
	for (int64_t k = 0; k < m * 4; k++)
		assert_true(c->y[k] == 2 * c->x[c->i[k / 4] * 4 + k % 4] + shift);
	for (int64_t k = 0; k < n * 4; k++) {
		if (2 * c->x[k] + shift > 0)
			assert_int_equal(c->z[count++], k);
	}
	assert_int_equal(c->out[1].rank, 1);
	assert_int_equal(c->out[1].dtype, HONE_I64);
	assert_int_equal(c->out[1].dims[0], count);
}

static inline hone_context *make(const hone_options *o)
{
	hone_context *c;
	char text[256] = "";

	assert_int_equal(hone_context_create(&model, o, &c, text, sizeof(text)), HONE_OK);
	assert_string_equal(hone_error(c), "");
	return c;
}

#endif
