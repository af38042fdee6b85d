/* test_text.c: what golden files cannot say of the text of graphs: names, side files, the verifier. */
#include "ir/text.h"
#include "ir/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct arena arena;
	struct diag diag;
};

static int setup(void **state)
{
	*state = test_calloc(1, sizeof(struct fixture));
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

static struct graph *parse(struct fixture *f, const char *text)
{
	struct graph *g = graph_parse(text, strlen(text), NULL, &f->arena, &f->diag);

	if (!g)
		diag_print(&f->diag, stderr, false);
	assert_non_null(g);
	return g;
}

static struct value *result(struct graph *g, int i)
{
	struct node *n = g->body->first;

	for (; i > 0; i--)
		n = n->next;
	return n->out[0];
}

#define TWO_MAPS                                     \
	"func @main(%x: f32[N]) -> (%z: f32[N]) {\n" \
	"  %y: f32[N] = map(%x) (a: f32) -> -a\n"    \
	"  %z: f32[N] = map(%y) (a: f32) -> -a\n"    \
	"  return %z\n"                              \
	"}\n"

static void names_from_a_model_become_names_of_the_text(void **state)
{
	struct fixture *f = *state;
	struct graph *g = parse(f, TWO_MAPS);

	g->body->params[0]->name = "a/b:0";
	result(g, 0)->name = "a_b_0";
	result(g, 1)->name = NULL;
	g->input_names[0] = "a/b:0";
	assert_string_equal(graph_text(g, &f->arena),
			    "func @main(%a_b_0 \"a/b:0\": f32[N]) -> (%z: f32[N]) {\n"
			    "  %a_b_0_1: f32[N] = map(%a_b_0) (a: f32) -> -a\n"
			    "  %v2: f32[N] = map(%a_b_0_1) (a: f32) -> -a\n"
			    "  return %v2\n"
			    "}\n");
}

static void big_constants_go_to_a_side_file(void **state)
{
	struct fixture *f = *state;
	struct graph *g = parse(f, "func @main() -> (%y: f32[100]) {\n  %y: f32[100] = const "
				   "random(1)\n  return %y\n}\n"),
		     *h;
	struct tensor *t = (struct tensor *)value_const(result(g, 0));
	const struct tensor *copy;
	char folder[] = "/tmp/hone-text-XXXXXX", *path, *bin;
	struct text_side side = {.name = "m.bin", .offset = 3};
	const char *text;
	char *printed = NULL;
	size_t size = 0;
	FILE *out;

	assert_non_null(mkdtemp(folder));
	path = arena_printf(&f->arena, "%s/m.hir", folder);
	bin = arena_printf(&f->arena, "%s/m.bin", folder);
	t->data = tensor_bytes(t, DT_F32, 100, &f->arena);
	t->size = 400;
	t->kind = TENSOR_BYTES;
	assert_non_null(strstr(graph_text(g, &f->arena), "const data(400 bytes, "));
	side.out = fopen(bin, "wb");
	fwrite("abc", 1, 3, side.out);
	out = open_memstream(&printed, &size);
	graph_print(g, out, &side);
	fclose(out);
	fclose(side.out);
	text = arena_text(&f->arena, printed);
	free(printed);
	assert_non_null(strstr(text, "const file(\"m.bin\", 64, 400)"));
	h = graph_parse(text, strlen(text), path, &f->arena, &f->diag);
	assert_non_null(h);
	copy = value_const(result(h, 0));
	assert_memory_equal(copy->data, t->data, 400);
	assert_int_equal(truncate(bin, 463), 0);
	assert_null(graph_parse(text, strlen(text), path, &f->arena, &f->diag));
	assert_int_equal(f->diag.worst, DIAG_FILE);
	unlink(bin);
	rmdir(folder);
}

static void expect_broken(struct fixture *f, struct graph *g, const char *why)
{
	assert_false(graph_verify(g, DIAG_INTERNAL, &f->diag));
	if (!strstr(f->diag.messages[0].text, why))
		fail_msg("found: %s", f->diag.messages[0].text);
	diag_reset(&f->diag);
}

static void the_verifier_finds_each_broken_invariant(void **state)
{
	struct fixture *f = *state;
	struct graph *g = parse(f, TWO_MAPS);
	struct value *y = result(g, 0), *z = result(g, 1);
	struct node *n = z->def;

	assert_true(graph_verify(g, DIAG_INTERNAL, &f->diag));
	n->in[0] = z;
	expect_broken(f, g, "operand 0 reads %z, which is not defined here");
	n->in[0] = y;
	z->type.dtype = DT_F64;
	expect_broken(f, g, "%z is f64[N], but map gives f32[N]");
	z->type.dtype = DT_F32;
	z->id = y->id;
	expect_broken(f, g, "belongs to %y and %z");
	z->id = 2;
	z->name = "y";
	expect_broken(f, g, "two values are named %y");
	z->name = "z";
	z->index = 1;
	expect_broken(f, g, "result 0 does not name its node");
	z->index = 0;
	value_replace(y, g->body->params[0]);
	expect_broken(f, g, "operand 0 reads %y, which was replaced");
	y->forward = NULL;
	n->prev = NULL;
	expect_broken(f, g, "the list of nodes is broken");
	n->prev = y->def;
	n->in_count = 0;
	expect_broken(f, g, "the expression reads something that is no operand");
	n->in_count = 1;
	n->expr = NULL;
	expect_broken(f, g, "map needs an expression");
}

static void symbols_are_bound_once_and_before_use(void **state)
{
	struct fixture *f = *state;
	struct graph *g = parse(f, "func @main(%m: bool[N]) -> (%k: i64[K]) {\n"
				   "  %k: i64[K] = nonzero(%m) dims(K <= N)\n"
				   "  %l: i64[L] = nonzero(%m) dims(L <= N)\n"
				   "  return %k\n}\n");
	struct node *k = g->body->first, *l = k->next;
	int symbol = l->symbols[0];

	assert_true(graph_verify(g, DIAG_INTERNAL, &f->diag));
	l->symbols[0] = k->symbols[0];
	expect_broken(f, g, "the symbol K is bound twice");
	l->symbols[0] = symbol;
	node_remove(k);
	g->body->results[0] = l->out[0];
	l->out[0]->type.dims[0] = dim_symbol(&g->dims, k->symbols[0]);
	expect_broken(f, g, "the dim K holds a symbol that is not bound yet");
}

static void what_a_region_makes_is_not_seen_after_it(void **state)
{
	struct fixture *f = *state;
	struct graph *g = parse(f, "func @main(%x: f32[N]) -> (%y: f32[N]) {\n"
				   "  %y = group { %a = map(%x) (a: f32) -> -a; yield %a }\n"
				   "  return %y\n}\n");

	g->body->results[0] = g->body->first->regions[0]->results[0];
	expect_broken(f, g, "the result 0 reads %a, which is not defined here");
}

static void dot_has_a_box_for_each_node(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	graph_dot(parse(f, TWO_MAPS), out);
	fclose(out);
	assert_non_null(strstr(text, "n0 [label=\"map %y\"];"));
	assert_non_null(strstr(text, "n0 -> n1 [label=\"f32[N]\"];"));
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_from_a_model_become_names_of_the_text),
		TEST(big_constants_go_to_a_side_file),
		TEST(the_verifier_finds_each_broken_invariant),
		TEST(symbols_are_bound_once_and_before_use),
		TEST(what_a_region_makes_is_not_seen_after_it),
		TEST(dot_has_a_box_for_each_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
