/* fixture.h: small graphs for the tests of lowering: made through the builders, run by the interpreter. */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

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

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct symbol s = {.name = "N", .min = 0, .max = INT64_MAX, .binding = SYMBOL_INPUT};

	f->g = graph_new(&f->arena, "f");
	f->b = (struct builder){.graph = f->g, .region = f->g->body, .diag = &f->diag};
	f->n = dim_symbol(&f->g->dims, symbol_add(&f->g->dims, &s));
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	diag_reset(&f->diag);
	arena_free(&f->arena);
	free(f);
	return 0;
}

/* ---- making ---- */

/* An f32 or i64 input of up to 4 dims (0 ends them) with the given data, or with values of its own. Its
 * first dim is N where `symbolic`. */
static inline struct value *input_of(struct fixture *f, enum dtype t, const int *sizes,
				     bool symbolic, const void *data)
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

static inline struct value *op(struct builder *b, enum op_id id, const void *attrs, int count, ...)
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

static inline dim size_of(struct builder *b, int64_t n) { return dim_const(&b->graph->dims, n); }

/* ---- running ---- */

/* Runs the graph for these values; outputs[i].data is to be freed. */
static inline bool run(struct fixture *f, int count, struct value *const *values,
		       hone_tensor *outputs)
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

static inline void expect_floats(struct fixture *f, struct value *v, int count, const float *want)
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

static inline void expect_ints(struct fixture *f, struct value *v, int count, const int64_t *want)
{
	hone_tensor y;

	assert_true(run(f, 1, &v, &y));
	assert_int_equal(y.size, (size_t)count * sizeof(int64_t));
	for (int i = 0; i < count; i++)
		assert_int_equal(((int64_t *)y.data)[i], want[i]);
	free(y.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
