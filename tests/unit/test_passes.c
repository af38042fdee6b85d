/* test_passes.c: facts about the runner and the default pipeline that golden files do not show. */
#include "ir/lower.h"
#include "ir/verify.h"
#include "passes/passes.h"
#include "tests/unit/graph_fixture.h"

struct counts {
	enum op_id op;
	int kernels, ops;
};

static bool count(struct node *n, void *self)
{
	struct counts *c = self;

	c->ops += n->op == c->op;
	c->kernels += (op_table[n->op].flags & OP_LOWERS) &&
		      (!n->parent->owner || n->parent->owner->op != OP_group);
	return true;
}

static struct counts count_nodes(struct graph *g, enum op_id op)
{
	struct counts c = {.op = op};

	graph_walk(g, count, &c);
	return c;
}

static bool run(struct fixture *f, const char *passes)
{
	struct pipeline_options o = {.passes = passes, .verify_each = true, .check = true};
	bool ok = pipeline_run(f->g, &o, &interpreter, &f->diag);

	if (!ok)
		diag_print(&f->diag, stderr, false);
	return ok;
}

static bool lower_one(struct node *n, void *self)
{
	struct fixture *f = self;

	if (!(op_table[n->op].flags & OP_LOWERS) ||
	    (n->parent->owner && n->parent->owner->op == OP_group))
		return true;
	return lower_node(f->g, n, &f->arena, &f->diag) != NULL;
}

/* ---- the table and the runner ---- */

static void default_pipeline_names_passes_of_the_table(void **state)
{
	(void)state;
	for (int i = 0; default_pipeline[i]; i++)
		assert_non_null(pass_by_name(default_pipeline[i], strlen(default_pipeline[i])));
	assert_null(pass_by_name("grou", 4));
	assert_null(pass_by_name("group,", 6));
}

static const char small[] = "func @f(%x: f32[4]) -> (%y: f32[4]) {\n"
			    "  %y: f32[4] = map(%x) (a: f32) -> a + 1.0\n"
			    "  return %y\n}\n";

static void unknown_pass_is_a_usage_error(void **state)
{
	struct fixture f;
	struct pipeline_options o = {.passes = "dead_code,nonsense"};

	(void)state;
	begin(&f, small);
	assert_false(pipeline_run(f.g, &o, &interpreter, &f.diag));
	assert_int_equal(diag_exit_status(&f.diag), 2);
	end(&f);
	o = (struct pipeline_options){.passes = "dead_code", .stop_after = "group"};
	begin(&f, small);
	assert_false(pipeline_run(f.g, &o, &interpreter, &f.diag));
	assert_int_equal(diag_exit_status(&f.diag), 2);
	end(&f);
}

struct seen {
	int calls, changed;
	char first[32];
};

static void observe(void *self, const char *pass, const struct graph *g, int changes, double ms)
{
	struct seen *s = self;

	(void)g;
	(void)ms;
	if (!s->calls++)
		snprintf(s->first, sizeof(s->first), "%s", pass);
	else
		s->changed += changes > 0;
}

static void observer_sees_the_import_and_then_changes_only(void **state)
{
	struct fixture f;
	struct seen seen = {0};
	struct pipeline_options o = {.observe = observe, .self = &seen};

	(void)state;
	begin(&f, small);
	assert_true(pipeline_run(f.g, &o, &interpreter, &f.diag));
	assert_string_equal(seen.first, "import");
	assert_int_equal(seen.changed, seen.calls - 1);
	end(&f);
}

static void stop_after_stops_at_the_last_of_that_name(void **state)
{
	struct fixture f;
	struct pipeline_options o = {.stop_after = "dead_code"};

	(void)state;
	begin(&f,
	      "func @f(%x: f32[4]) -> (%z: f32[4]) {\n  %y: f32[4] = map(%x) (a: f32) -> exp(a)\n"
	      "  %z: f32[4] = map(%y) (a: f32) -> a + 1.0\n  return %z\n}\n");
	assert_true(pipeline_run(f.g, &o, &interpreter, &f.diag));
	assert_int_equal(count_nodes(f.g, OP_group).ops, 0);
	end(&f);
}

/* ---- the whole pipeline ---- */

/* Two residual blocks as imported from a channels-first model; the residual starts at the input. */
static const char blocks[] =
	"func @f(%x: f32[N,2,4,4]) -> (%y: f32[N,2,1,1]) {\n"
	"  %w: f32[3,3,2,2] = const random(1)\n  %v: f32[3,3,2,2] = const random(2)\n"
	"  %s: f32[2,1,1] = const random(3)\n  %o: f32[2,1,1] = const random(4)\n"
	"  %t1 = transpose(%x) {perm=[0,2,3,1]}\n  %p1 = pad(%t1) {lo=[0,1,1,0], hi=[0,1,1,0]}\n"
	"  %c1 = conv(%p1, %w)\n  %n1 = transpose(%c1) {perm=[0,3,1,2]}\n"
	"  %b1: f32[N,2,4,4] = map(%n1, %s, %o) (n: f32, s: f32, o: f32) -> (n - 0.25) * s + o\n"
	"  %a1: f32[N,2,4,4] = map(%b1, %x) (b: f32, x: f32) -> max(b + x, 0.0)\n"
	"  %t2 = transpose(%a1) {perm=[0,2,3,1]}\n  %p2 = pad(%t2) {lo=[0,1,1,0], hi=[0,1,1,0]}\n"
	"  %c2 = conv(%p2, %v)\n  %n2 = transpose(%c2) {perm=[0,3,1,2]}\n"
	"  %a2: f32[N,2,4,4] = map(%n2, %a1) (n: f32, a: f32) -> max(n + a, 0.0)\n"
	"  %y = reduce(%a2) {kind=max, axes=[2,3], keep=1}\n  return %y\n}\n";

/* A transpose, two convolutions and a reduction, and the borders of two pads. */
static void residual_blocks_become_one_kernel_for_each_convolution(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, blocks);
	assert_true(run(&f, NULL));
	assert_int_equal(count_nodes(f.g, OP_conv).ops, 2);
	assert_true(count_nodes(f.g, OP_conv).kernels <= 6);
	assert_true(count_nodes(f.g, OP_transpose).ops <=
		    2); /* the input's, which two kernels read */
	assert_true(graph_walk(f.g, lower_one, &f));
	end(&f);
}

static void running_the_pipeline_before_group_again_changes_nothing(void **state)
{
	struct fixture f;
	const char *first, *again;

	(void)state;
	begin(&f, blocks);
	assert_true(run(
		&f,
		"canonicalize,fold_constants,common_subexpressions,dead_code,layout,canonicalize,"
		"fold_constants,dead_code,fuse_patterns,fold_constants,canonicalize,common_"
		"subexpressions,dead_code"));
	first = graph_text(f.g, &f.arena);
	assert_true(run(&f, "canonicalize,fold_constants,common_subexpressions,dead_code,layout,"
			    "fuse_patterns,dead_code"));
	again = graph_text(f.g, &f.arena);
	assert_string_equal(first, again);
	end(&f);
}

static void groups_form_inside_of_branches(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, "func @f(%x: f32[N], %c: bool[]) -> (%y: f32[N]) {\n"
		  "  %y: f32[N] = if(%c) {\n"
		  "    %a: f32[N] = map(%x) (a: f32) -> exp(a)\n    %b: f32[N] = map(%a) (a: f32) "
		  "-> a * 2.0\n    yield %b\n"
		  "  } else {\n    yield %x\n  }\n  return %y\n}\n");
	assert_true(run(&f, NULL));
	assert_int_equal(count_nodes(f.g, OP_group).ops, 1);
	end(&f);
}

static void an_index_out_of_range_is_left_for_run_time(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, "func @f(%x: f32[2]) -> (%y: f32[1], %z: f32[2]) {\n"
		  "  %a: f32[2] = const [1.0, 2.0]\n  %i: i64[1] = const [7]\n"
		  "  %y: f32[1] = gather(%a, %i)\n"
		  "  %b: f32[2] = map(%a) (a: f32) -> a * 3.0\n"
		  "  %z: f32[2] = map(%x, %b) (x: f32, b: f32) -> x + b\n  return %y, %z\n}\n");
	assert_true(run(&f, "fold_constants,dead_code"));
	assert_int_equal(count_nodes(f.g, OP_gather).ops, 1);
	assert_int_equal(count_nodes(f.g, OP_map).ops, 1); /* the other was folded all the same */
	end(&f);
}

/* Every way in which tiles stick out of a plane, against the interpreter's direct sums. */
static void winograd_computes_the_convolution(void **state)
{
	(void)state;
	for (int tile = 2; tile <= 4; tile += 2)
		for (int h = 1; h <= 9; h++)
			for (int w = 1; w <= 9; w++) {
				struct fixture f;
				char text[512], passes[64];

				snprintf(
					text, sizeof(text),
					"func @f(%%x: f32[2,%d,%d,3]) -> (%%y: f32[2,%d,%d,2]) {\n"
					"  %%w: f32[3,3,3,2] = const random(1)\n"
					"  %%p = pad(%%x) {lo=[0,1,1,0], hi=[0,1,1,0]}\n"
					"  %%y: f32[2,%d,%d,2] = conv(%%p, %%w)\n  return %%y\n}\n",
					h, w, h, w, h, w);
				snprintf(passes, sizeof(passes), "winograd=%d,dead_code", tile);
				begin(&f, text);
				assert_true(run(&f, passes));
				assert_int_equal(count_nodes(f.g, OP_winograd_output).ops, 1);
				assert_int_equal(count_nodes(f.g, OP_pad).ops, 1);
				end(&f);
			}
}

/* The output's transform of `want` tiles; 0: it stays a convolution. */
static void expect_tile(int channels, int size, int64_t want)
{
	struct fixture f;
	char text[512];
	int64_t tile = 0;

	snprintf(text, sizeof(text),
		 "func @f(%%x: f32[1,%d,%d,%d]) -> (%%y: f32[1,%d,%d,%d]) {\n"
		 "  %%w: f32[3,3,%d,%d] = const random(1)\n"
		 "  %%y: f32[1,%d,%d,%d] = conv(%%x, %%w)\n  return %%y\n}\n",
		 size + 2, size + 2, channels, size, size, channels, channels, channels, size, size,
		 channels);
	begin(&f, text);
	assert_true(pipeline_run(f.g, &(struct pipeline_options){.passes = "winograd"},
				 &interpreter, &f.diag));
	for (const struct node *n = f.g->body->first; n; n = n->next)
		if (n->op == OP_winograd_output)
			tile = ((const struct attrs_winograd_output *)n->attrs)->tile;
	assert_int_equal(tile, want);
	end(&f);
}

static void winograd_chooses_tiles_by_the_plane(void **state)
{
	(void)state;
	expect_tile(64, 56, 4);
	expect_tile(128, 28, 4);
	expect_tile(256, 14, 2);
	expect_tile(512, 7, 0);
	expect_tile(16, 112, 0);
}

static void winograd_refuses_an_unknown_argument(void **state)
{
	struct fixture f;
	struct pipeline_options o = {.passes = "winograd", .arguments = "winograd=3"};

	(void)state;
	begin(&f, small);
	assert_false(pipeline_run(f.g, &o, &interpreter, &f.diag));
	assert_int_equal(diag_exit_status(&f.diag), 2);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_pipeline_names_passes_of_the_table),
		cmocka_unit_test(unknown_pass_is_a_usage_error),
		cmocka_unit_test(observer_sees_the_import_and_then_changes_only),
		cmocka_unit_test(stop_after_stops_at_the_last_of_that_name),
		cmocka_unit_test(residual_blocks_become_one_kernel_for_each_convolution),
		cmocka_unit_test(running_the_pipeline_before_group_again_changes_nothing),
		cmocka_unit_test(groups_form_inside_of_branches),
		cmocka_unit_test(an_index_out_of_range_is_left_for_run_time),
		cmocka_unit_test(winograd_computes_the_convolution),
		cmocka_unit_test(winograd_chooses_tiles_by_the_plane),
		cmocka_unit_test(winograd_refuses_an_unknown_argument),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
