/* graph_fixture.h: a graph from its text, for tests of what is done to it. */
#ifndef TESTS_UNIT_GRAPH_FIXTURE_H
#define TESTS_UNIT_GRAPH_FIXTURE_H

#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct arena arena;
	struct diag diag;
	struct graph *g;
};

static inline void begin(struct fixture *f, const char *text)
{
	*f = (struct fixture){0};
	f->g = graph_parse(text, strlen(text), "test", &f->arena, &f->diag);
	if (!f->g)
		diag_print(&f->diag, stderr, false);
	assert_non_null(f->g);
}

static inline void end(struct fixture *f)
{
	diag_reset(&f->diag);
	arena_free(&f->arena);
}

#endif
