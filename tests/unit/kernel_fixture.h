/* kernel_fixture.h: small graphs with data, their kernels as machine code, and the interpreter's results. */
#ifndef TESTS_UNIT_KERNEL_FIXTURE_H
#define TESTS_UNIT_KERNEL_FIXTURE_H

#include "tests/support/kernel_jit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static inline int start(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return 0;
}

static inline int finish(void **state)
{
	struct fixture *f = *state;

	diag_reset(&f->diag);
	arena_free(&f->arena);
	free(f);
	return 0;
}

static inline bool level_runs(struct fixture *f, const char *cpu)
{
	assert_true(target_resolve(cpu, NULL, &f->arena, &f->target, &f->diag));
	return f->target.host;
}

static inline void new_graph(struct fixture *f)
{
	f->g = graph_new(&f->arena, "f");
	f->b = (struct builder){.graph = f->g, .region = f->g->body, .diag = &f->diag};
	f->input_count = 0;
}

static inline uint64_t next_random(struct fixture *f)
{
	f->random = f->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return f->random >> 11;
}

/* Element i of a test input: edges first, then random values of all sizes. */
static inline void fill(struct fixture *f, enum dtype t, int64_t i, void *data)
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
static inline void add_data(struct fixture *f, enum dtype t, int rank, const int64_t *sizes)
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

static inline struct value *input(struct fixture *f, enum dtype t, int rank, const int64_t *sizes)
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

/* ---- comparing ---- */

static inline double element(enum dtype t, const void *data, int64_t i)
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
static inline bool equal(enum dtype t, int64_t count, const void *got, const void *want,
			 double tolerance, double unit)
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
static inline bool kernel_matches(struct fixture *f, struct kernel *k, const struct value *y,
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

static inline hone_tensor interpreted(struct fixture *f, struct value *y)
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

#endif
