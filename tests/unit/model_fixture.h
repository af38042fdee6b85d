/* model_fixture.h: small models as bytes, for tests of reading them. */
#ifndef TESTS_UNIT_MODEL_FIXTURE_H
#define TESTS_UNIT_MODEL_FIXTURE_H

#include "frontend/model.h"
#include "frontend/tensor_pb.h"
#include "tests/support/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;
static struct onnx_model *model;

static inline struct message new_message(void) { return (struct message){.arena = &arena}; }

/* Starts a tensor of one dim. */
static inline struct message tensor(const char *name, int dtype, int64_t count)
{
	struct message t = new_message();

	put_text(&t, 8, name);
	put_number(&t, 2, dtype);
	put_number(&t, 1, count);
	return t;
}

/* A node of at most one input ("" for none) and one output. */
static inline struct message node(const char *op, const char *input, const char *output)
{
	struct message n = new_message();

	put_text(&n, 4, op);
	if (*input)
		put_text(&n, 1, input);
	put_text(&n, 2, output);
	return n;
}

static inline void put_value(struct message *graph, int field, const char *name)
{
	struct message v = new_message();

	put_text(&v, 1, name);
	put_message(graph, field, &v);
}

static inline struct message model_of(const struct message *graph)
{
	struct message m = new_message(), opset = new_message();

	put_number(&m, 1, 8);
	put_number(&opset, 2, 17);
	put_message(&m, 8, &opset);
	put_message(&m, 7, graph);
	return m;
}

static inline bool read_model(const struct message *m, struct diag *d)
{
	return model_read_bytes(m->at, m->size, "m.onnx", NULL, &arena, &model, d);
}

static inline void assert_read(const struct message *m)
{
	struct diag d = {0};

	if (!read_model(m, &d)) {
		diag_print(&d, stderr, false);
		fail();
	}
	diag_reset(&d);
}

static inline void assert_refused_as(const struct message *m, int status, const char *why)
{
	struct diag d = {0};

	assert_false(read_model(m, &d));
	assert_int_equal(diag_exit_status(&d), status);
	if (!strstr(d.messages[0].text, why))
		fail_msg("expected \"%s\" in \"%s\"", why, d.messages[0].text);
	diag_reset(&d);
}

static inline void assert_refused(const struct message *m, const char *why)
{
	assert_refused_as(m, 4, why);
}

static inline struct message model_with_tensor(const struct message *t)
{
	struct message graph = new_message();

	put_message(&graph, 5, t);
	return model_of(&graph);
}

static inline void assert_tensor_refused(const struct message *t, const char *why)
{
	struct message m = model_with_tensor(t);

	assert_refused(&m, why);
}

/* The one initializer of a model that has it. */
static inline const struct onnx_tensor *read_back(const struct message *t)
{
	struct message m = model_with_tensor(t);

	assert_read(&m);
	return &model->graph.initializers[0];
}

static inline int free_arena(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

#endif
