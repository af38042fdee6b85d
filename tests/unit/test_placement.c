/* test_placement.c: operands of pads and concats are computed where these want them. */
#include "backend/placement.h"
#include "ir/lower.h"
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
	struct placement **placed;
};

static void parse(struct fixture *f, const char *text)
{
	*f = (struct fixture){0};
	f->g = graph_parse(text, strlen(text), "test", &f->arena, &f->diag);
	if (!f->g)
		diag_print(&f->diag, stderr, false);
	assert_non_null(f->g);
	f->placed = placement_find(f->g, 0, NULL, &f->arena);
}

static void finish(struct fixture *f)
{
	diag_reset(&f->diag);
	arena_free(&f->arena);
}

static struct node *node_at(struct fixture *f, int number)
{
	struct node *n = f->g->body->first;

	while (number-- > 0)
		n = n->next;
	return n;
}

static struct kernel *kernel_of(struct fixture *f, int number)
{
	struct kernel *k = lower_node(f->g, node_at(f, number), &f->arena, &f->diag);

	assert_non_null(k);
	placement_apply(k, f->placed);
	return k;
}

static void computed_operands_of_a_concat_are_placed_and_nothing_is_copied(void **state)
{
	struct fixture f;
	struct kernel *k;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4]) -> (%y: f32[N,8]) dims(N) {\n"
		  "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %b: f32[N,4] = map(%x) (a: f32) -> a * 2.0\n"
		  "  %y: f32[N,8] = concat(%a, %b) {axis=1}\n  return %y\n}\n");
	assert_ptr_equal(f.placed[node_at(&f, 1)->out[0]->id]->host, f.g->body->results[0]);
	k = kernel_of(&f, 1);
	assert_non_null(strstr(kernel_text(&f.arena, k, false), "[i, j + 4] ="));
	assert_null(kernel_of(&f, 2)->body);
	finish(&f);
}

static void inputs_and_second_homes_are_copied(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4]) -> (%y: f32[N,8], %z: f32[N,8]) dims(N) {\n"
		  "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %y: f32[N,8] = concat(%x, %a) {axis=1}\n"
		  "  %z: f32[N,8] = concat(%a, %x) {axis=1}\n  return %y, %z\n}\n");
	assert_null(f.placed[f.g->body->params[0]->id]);
	assert_ptr_equal(f.placed[node_at(&f, 0)->out[0]->id]->host, f.g->body->results[1]);
	assert_non_null(kernel_of(&f, 1)->body->next); /* copies both */
	assert_non_null(kernel_of(&f, 2)->body);       /* copies the input only */
	assert_null(kernel_of(&f, 2)->body->next);
	finish(&f);
}

static void a_concat_in_a_concat_adds_its_offset(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4]) -> (%y: f32[N,12]) dims(N) {\n"
		  "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %b: f32[N,4] = map(%x) (a: f32) -> a * 2.0\n"
		  "  %c: f32[N,8] = concat(%a, %b) {axis=1}\n"
		  "  %d: f32[N,4] = map(%x) (a: f32) -> a - 1.0\n"
		  "  %y: f32[N,12] = concat(%d, %c) {axis=1}\n  return %y\n}\n");
	assert_ptr_equal(f.placed[node_at(&f, 1)->out[0]->id]->host, f.g->body->results[0]);
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 1), false), "[i, j + 8] ="));
	assert_null(kernel_of(&f, 2)->body);
	assert_null(kernel_of(&f, 4)->body);
	finish(&f);
}

static void results_and_operands_of_calls_keep_a_place_of_their_own(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f,
	      "func @f(%x: f32[N,4]) -> (%y: f32[N,8], %a: f32[N,4], %v: f32[N,2]) dims(N) {\n"
	      "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
	      "  %b: f32[N,4] = map(%x) (a: f32) -> a * 2.0\n"
	      "  %y: f32[N,8] = concat(%a, %b) {axis=1}\n"
	      "  %v: f32[N,2], %i: i64[N,2] = topk(%b) {k=2, axis=1}\n  return %y, %a, %v\n}\n");
	assert_null(f.placed[node_at(&f, 0)->out[0]->id]);
	assert_null(f.placed[node_at(&f, 1)->out[0]->id]);
	finish(&f);
}

static void a_block_of_concats_lives_in_the_last_of_them(void **state)
{
	struct fixture f;
	const struct placement *p;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4]) -> (%y: f32[N,20]) dims(N) {\n"
		  "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %b: f32[N,4] = map(%a) (a: f32) -> a * 2.0\n"
		  "  %c: f32[N,8] = concat(%a, %b) {axis=1}\n"
		  "  %d: f32[N,8] = map(%c) (a: f32) -> a - 1.0\n"
		  "  %e: f32[N,4] = map(%x) (a: f32) -> a - 1.0\n"
		  "  %y: f32[N,20] = concat(%e, %a, %b, %d) {axis=1}\n  return %y\n}\n");
	p = f.placed[node_at(&f, 2)->out[0]->id];
	assert_ptr_equal(p->host, f.g->body->results[0]);
	assert_true(dim_is(p->offset[1], 4));
	assert_null(kernel_of(&f, 2)->body);
	assert_null(kernel_of(&f, 5)->body);
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 3), false),
			       "[i, j + 12] = %c[i, j + 4] - 1.0"));
	finish(&f);
}

static void a_padded_value_is_computed_inside_of_its_border(void **state)
{
	struct fixture f;
	struct kernel *k;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4]) -> (%y: f32[N,7], %z: f32[N,4]) dims(N) {\n"
		  "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %y: f32[N,7] = pad(%a) {lo=[0,1], hi=[0,2], value=5}\n"
		  "  %z: f32[N,4] = map(%a) (a: f32) -> a * 2.0\n  return %y, %z\n}\n");
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 0), false), "[i, j + 1] ="));
	k = kernel_of(&f, 1); /* the borders only */
	assert_non_null(strstr(kernel_text(&f.arena, k, false), "for i < N par, j < 1 par {\n"
								"    %y[i, j] = 5.0"));
	assert_non_null(strstr(kernel_text(&f.arena, k, false), "%y[i_1, j_1 + 5] = 5.0"));
	assert_null(k->body->next->next);
	assert_non_null(
		strstr(kernel_text(&f.arena, kernel_of(&f, 2), false), "%a[i, j + 1] * 2.0"));
	finish(&f);
}

static void a_wider_border_holds_the_narrower_of_the_same_value(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4]) -> (%r: f32[N,6], %s: f32[N,8], %t: f32[N,6]) dims(N) {\n"
		  "  %a: f32[N,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %p: f32[N,6] = pad(%a) {lo=[0,1], hi=[0,1]}\n"
		  "  %q: f32[N,8] = pad(%a) {lo=[0,2], hi=[0,2]}\n"
		  "  %m: f32[N,6] = pad(%a) {lo=[0,1], hi=[0,1], value=-1}\n"
		  "  %r: f32[N,6] = map(%p) (a: f32) -> a * 2.0\n"
		  "  %s: f32[N,8] = map(%q) (a: f32) -> a * 2.0\n"
		  "  %t: f32[N,6] = map(%m) (a: f32) -> a * 2.0\n  return %r, %s, %t\n}\n");
	assert_ptr_equal(f.placed[node_at(&f, 0)->out[0]->id]->host, node_at(&f, 2)->out[0]);
	assert_true(dim_is(f.placed[node_at(&f, 0)->out[0]->id]->offset[1], 2));
	assert_ptr_equal(f.placed[node_at(&f, 1)->out[0]->id]->host, node_at(&f, 2)->out[0]);
	assert_true(dim_is(f.placed[node_at(&f, 1)->out[0]->id]->offset[1], 1));
	assert_null(f.placed[node_at(&f, 3)->out[0]->id]); /* another value: a copy */
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 3), false),
			       "%m[i, j + 1] = %a[i, j + 2]"));
	finish(&f);
}

static void a_reshape_is_its_operand_under_other_dims(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f, "func @f(%x: f32[N,4,2]) -> (%y: f32[N,8], %z: f32[N,8]) dims(N) {\n"
		  "  %a: f32[N,4,2] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %y: f32[N,8] = reshape(%a) {dims=[N,8]}\n"
		  "  %b: f32[N,8] = reshape(%x) {dims=[N,8]}\n"
		  "  %z: f32[N,8] = map(%b) (a: f32) -> a * 2.0\n  return %y, %z\n}\n");
	assert_true(placement_is_view(node_at(&f, 1), f.placed));
	assert_true(placement_is_view(node_at(&f, 2), f.placed));
	assert_ptr_equal(f.placed[node_at(&f, 0)->out[0]->id]->host, f.g->body->results[0]);
	assert_ptr_equal(f.placed[node_at(&f, 2)->out[0]->id]->host, f.g->body->params[0]);
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 0), false), "%a[i, j, k] ="));
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 3), false), "= %b[i, j] * 2.0"));
	finish(&f);
}

static void a_reshape_in_a_box_is_index_arithmetic(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f, "func @f(%x: f32[3,2,2]) -> (%z: f32[5,5]) {\n"
		  "  %a: f32[3,2,2] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %b: f32[3,4] = reshape(%a) {dims=[3,4]}\n"
		  "  %p: f32[5,5] = pad(%b) {lo=[1,1], hi=[1,0]}\n"
		  "  %z: f32[5,5] = map(%p) (a: f32) -> a * 2.0\n  return %z\n}\n");
	assert_true(placement_is_view(node_at(&f, 1), f.placed));
	assert_ptr_equal(f.placed[node_at(&f, 0)->out[0]->id]->host, node_at(&f, 2)->out[0]);
	assert_non_null(strstr(kernel_text(&f.arena, kernel_of(&f, 0), false),
			       "%a[i + 1, j * 2 + k + 1] ="));
	finish(&f);
}

static void a_reshape_of_an_input_that_is_a_result_is_copied(void **state)
{
	struct fixture f;

	(void)state;
	parse(&f, "func @f(%x: f32[3,4]) -> (%y: f32[12], %z: f32[12]) {\n"
		  "  %y: f32[12] = reshape(%x) {dims=[12]}\n"
		  "  %a: f32[3,4] = map(%x) (a: f32) -> a + 1.0\n"
		  "  %z: f32[12] = reshape(%a) {dims=[12]}\n  return %y, %z\n}\n");
	assert_false(placement_is_view(node_at(&f, 0), f.placed));
	assert_true(placement_is_view(node_at(&f, 2), f.placed));
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(computed_operands_of_a_concat_are_placed_and_nothing_is_copied),
		cmocka_unit_test(inputs_and_second_homes_are_copied),
		cmocka_unit_test(a_concat_in_a_concat_adds_its_offset),
		cmocka_unit_test(a_block_of_concats_lives_in_the_last_of_them),
		cmocka_unit_test(a_padded_value_is_computed_inside_of_its_border),
		cmocka_unit_test(a_wider_border_holds_the_narrower_of_the_same_value),
		cmocka_unit_test(a_reshape_is_its_operand_under_other_dims),
		cmocka_unit_test(a_reshape_in_a_box_is_index_arithmetic),
		cmocka_unit_test(a_reshape_of_an_input_that_is_a_result_is_copied),
		cmocka_unit_test(results_and_operands_of_calls_keep_a_place_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
