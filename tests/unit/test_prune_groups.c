/* test_prune_groups.c: the dependency groups of --prune: which elements of which axes can only be removed together. */
#include "passes/passes.h"
#include "passes/prune.h"
#include "tests/unit/graph_fixture.h"

static void describe_group(struct fixture *f, const struct prune *p, const struct prune_group *g,
			   const char **text)
{
	static const char *const kinds[UNIT_KINDS] = {"channels", "heads", "ffn"};

	*text = arena_printf(&f->arena, "%s%d %s:", *text, g->unit_count, kinds[g->kind]);
	for (int i = 0; i < g->on_count; i++) {
		const struct prune_axis *a = &p->axes[g->on[i].axis];

		*text = arena_printf(&f->arena, "%s %s.%d", *text, a->value->name, a->axis);
		if (g->on[i].count > 1)
			*text = arena_printf(&f->arena, "%s*%d", *text, g->on[i].count);
	}
	*text = arena_printf(&f->arena, "%s\n", *text);
}

/* One line for each group: its units, and the axes with the elements that one unit has on each. */
static const char *groups_of(struct fixture *f)
{
	struct pass_context c = {.graph = f->g, .scratch = &f->arena, .diag = &f->diag};
	struct prune p = {.c = &c};
	const char *text = "";

	prune_find_axes(&p);
	prune_find_units(&p);
	for (int i = 0; i < p.group_count; i++)
		describe_group(f, &p, &p.groups[i], &text);
	return text;
}

static void check(const char *text, const char *groups)
{
	struct fixture f;

	begin(&f, text);
	assert_string_equal(groups_of(&f), groups);
	end(&f);
}

static void a_residual_sum_ties_what_it_adds(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,4,4,3]) -> (%y: f32[N,4,4,5]) {\n"
	      "  %w1: f32[1,1,3,8] = const random(1)\n"
	      "  %w2: f32[3,3,8,8] = const random(2)\n"
	      "  %w3: f32[1,1,8,5] = const random(3)\n"
	      "  %a: f32[N,4,4,8] = conv(%x, %w1)\n"
	      "  %p: f32[N,6,6,8] = pad(%a) {lo=[0,1,1,0], hi=[0,1,1,0]}\n"
	      "  %c: f32[N,4,4,8] = conv(%p, %w2)\n"
	      "  %s: f32[N,4,4,8] = map(%a, %c) (a: f32, c: f32) -> a + c\n"
	      "  %y: f32[N,4,4,5] = conv(%s, %w3)\n"
	      "  return %y\n"
	      "}\n",
	      "8 channels: w1.3 w2.2 w2.3 w3.2 a.3 p.3 c.3 s.3\n");
}

static void a_concat_keeps_its_parts_apart(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,2,2,3]) -> (%y: f32[N,2,2,5]) {\n"
	      "  %w1: f32[1,1,3,4] = const random(1)\n"
	      "  %w2: f32[1,1,3,6] = const random(2)\n"
	      "  %w3: f32[1,1,10,5] = const random(3)\n"
	      "  %a: f32[N,2,2,4] = conv(%x, %w1)\n"
	      "  %b: f32[N,2,2,6] = conv(%x, %w2)\n"
	      "  %c: f32[N,2,2,10] = concat(%a, %b) {axis=3}\n"
	      "  %y: f32[N,2,2,5] = conv(%c, %w3)\n"
	      "  return %y\n"
	      "}\n",
	      "4 channels: w1.3 w3.2 a.3 c.3\n"
	      "6 channels: w2.3 w3.2 b.3 c.3\n");
}

static void a_depthwise_convolution_passes_channels_on(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,4,4,3]) -> (%y: f32[N,2,2,5]) {\n"
	      "  %w1: f32[1,1,3,8] = const random(1)\n"
	      "  %w2: f32[3,3,1,8] = const random(2)\n"
	      "  %w3: f32[1,1,8,5] = const random(3)\n"
	      "  %a: f32[N,4,4,8] = conv(%x, %w1)\n"
	      "  %d: f32[N,2,2,8] = conv(%a, %w2) {group=8}\n"
	      "  %y: f32[N,2,2,5] = conv(%d, %w3)\n"
	      "  return %y\n"
	      "}\n",
	      "8 channels: w1.3 w2.3 w3.2 a.3 d.3\n");
}

/* Groups stay equally large: one goes as a whole, with the channels that it reads. */
static void a_grouped_convolution_loses_whole_groups(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,2,2,3]) -> (%y: f32[N,2,2,5]) {\n"
	      "  %w1: f32[1,1,3,8] = const random(1)\n"
	      "  %w2: f32[1,1,4,6] = const random(2)\n"
	      "  %w3: f32[1,1,6,5] = const random(3)\n"
	      "  %a: f32[N,2,2,8] = conv(%x, %w1)\n"
	      "  %g: f32[N,2,2,6] = conv(%a, %w2) {group=2}\n"
	      "  %y: f32[N,2,2,5] = conv(%g, %w3)\n"
	      "  return %y\n"
	      "}\n",
	      "2 channels: w1.3*4 w2.3*3 w3.2*3 a.3*4 g.3*3\n");
}

/* A norm divides by a mean over all of its axis: none of it may go; hidden neurons behind it may. */
static void a_norm_needs_its_axis_whole(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,3]) -> (%y: f32[N,5]) {\n"
	      "  %w1: f32[3,8] = const random(1)\n"
	      "  %w2: f32[8,6] = const random(2)\n"
	      "  %w3: f32[6,5] = const random(3)\n"
	      "  %a: f32[N,8] = matmul(%x, %w1)\n"
	      "  %n: f32[N,8] = normalize(%a) {axes=[1]}\n"
	      "  %h: f32[N,6] = matmul(%n, %w2)\n"
	      "  %r: f32[N,6] = map(%h) (a: f32) -> max(a, 0.0)\n"
	      "  %y: f32[N,5] = matmul(%r, %w3)\n"
	      "  return %y\n"
	      "}\n",
	      "6 ffn: w2.1 w3.0 h.1 r.1\n");
}

static void a_reshape_to_heads_makes_units_of_whole_heads(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,L,4]) -> (%y: f32[N,L,4]) {\n"
	      "  %wq: f32[4,6] = const random(1)\n"
	      "  %wk: f32[4,6] = const random(2)\n"
	      "  %wv: f32[4,6] = const random(3)\n"
	      "  %wo: f32[6,4] = const random(4)\n"
	      "  %q: f32[N,L,6] = matmul(%x, %wq)\n"
	      "  %k: f32[N,L,6] = matmul(%x, %wk)\n"
	      "  %v: f32[N,L,6] = matmul(%x, %wv)\n"
	      "  %qh: f32[N,L,3,2] = reshape(%q)\n"
	      "  %kh: f32[N,L,3,2] = reshape(%k)\n"
	      "  %vh: f32[N,L,3,2] = reshape(%v)\n"
	      "  %a: f32[N,L,3,2] = attention(%qh, %kh, %vh) (s: f32) -> s * 0.5\n"
	      "  %r: f32[N,L,6] = reshape(%a)\n"
	      "  %y: f32[N,L,4] = matmul(%r, %wo)\n"
	      "  return %y\n"
	      "}\n",
	      "3 heads: wq.1*2 wk.1*2 wv.1*2 wo.0*2 q.2*2 k.2*2 v.2*2 qh.2 kh.2 vh.2 a.2 r.2*2\n");
}

static void what_an_input_or_a_result_has_stays(void **state)
{
	(void)state;
	check("func @f(%x: f32[N,8]) -> (%a: f32[N,6], %y: f32[N,8]) {\n"
	      "  %w1: f32[8,6] = const random(1)\n"
	      "  %w2: f32[6,8] = const random(2)\n"
	      "  %a: f32[N,6] = matmul(%x, %w1)\n"
	      "  %b: f32[N,8] = matmul(%a, %w2)\n"
	      "  %y: f32[N,8] = map(%x, %b) (x: f32, b: f32) -> x + b\n"
	      "  return %a, %y\n"
	      "}\n",
	      "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_residual_sum_ties_what_it_adds),
		cmocka_unit_test(a_concat_keeps_its_parts_apart),
		cmocka_unit_test(a_depthwise_convolution_passes_channels_on),
		cmocka_unit_test(a_grouped_convolution_loses_whole_groups),
		cmocka_unit_test(a_norm_needs_its_axis_whole),
		cmocka_unit_test(a_reshape_to_heads_makes_units_of_whole_heads),
		cmocka_unit_test(what_an_input_or_a_result_has_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
