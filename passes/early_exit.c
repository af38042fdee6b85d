/* early_exit: heads at block boundaries, where inputs that are clear already leave; the others go on, compacted.
 * An argument such as "agree=0.99;rule=margin;exits=3" asks for it; without one nothing is done. docs/early-exit.md
 * teaches the use, architecture.md the mechanism. Sources: BranchyNet (Teerapittayanon et al. 2016), PABEE (Zhou et
 * al. 2020) for patience. */
#include "passes/early_exit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const exit_rules[RULE_COUNT] = {"confidence", "entropy", "margin", "patience"};

/* ---- options ---- */

static bool bad_option(struct exits *x, const char *expected)
{
	return diag_add(x->c->diag, DIAG_USAGE, (struct loc){0}, "--early-exit: expected %s",
			expected);
}

static bool read_option(struct exits *x, const char *name, const char *value)
{
	char *end;

	if (!strcmp(name, "agree")) {
		x->agree = strtod(value, &end);
		return (!*end && x->agree > 0 && x->agree < 1) ||
		       bad_option(x, "agree=A with 0 < A < 1");
	}
	if (!strcmp(name, "rule")) {
		for (int i = 0; i < RULE_COUNT; i++)
			if (!strcmp(value, exit_rules[i])) {
				x->rule = (enum exit_rule)i;
				return true;
			}
		return bad_option(x, "rule=confidence, entropy, margin or patience");
	}
	if (!strcmp(name, "heads")) {
		x->head_names = value;
		return *value || bad_option(x, "heads= and names of outputs");
	}
	if (strcmp(name, "exits"))
		return bad_option(x, "agree=, rule=, exits= and heads=");
	if (!strcmp(value, "auto"))
		return true;
	x->wanted = (int)strtol(value, &end, 10);
	if (*end || end == value) {
		x->wanted = 0;
		x->names = value;
		return *value || bad_option(x, "exits=auto, a number, or names joined by +");
	}
	return (x->wanted > 0 && x->wanted <= CUTS_MAX) || bad_option(x, "exits=1 to exits=10");
}

static bool read_options(struct exits *x)
{
	char *at = arena_text(x->c->scratch, x->c->argument);

	bool in_heads = false;

	x->agree = 0.99;
	while (*at) {
		size_t length = strcspn(at, ";");
		char *next = at + length + (at[length] == ';'), *equals;

		at[length] = 0;
		equals = strchr(at, '=');
		if (!equals && !in_heads)
			return bad_option(x, "agree=, rule=, exits= and heads=");
		if (!equals) { /* heads=a,b */
			x->head_names = arena_printf(x->c->scratch, "%s+%s", x->head_names, at);
			at = next;
			continue;
		}
		*equals = 0;
		in_heads = !strcmp(at, "heads");
		if (!read_option(x, at, equals + 1))
			return false;
		at = next;
	}
	return !x->head_names || !x->names || bad_option(x, "either heads= or names in exits=");
}

/* ---- the pass ---- */

static const char *cut_name(const struct cut *cut)
{
	return cut->value->name ? cut->value->name : "?";
}

static void print_result(const struct exits *x)
{
	fprintf(stderr,
		"early exit by %s: agreement %.4f on %d samples not used to fit (at least %.4f at "
		"95 %% "
		"confidence), mean work %.1f %%\n",
		exit_rules[x->rule], x->agreement, x->samples / 2, x->bound, 100 * x->mean_work);
	for (int i = 0; i < x->cut_count; i++)
		fprintf(stderr, "  exit %d after %.0f %% of the work at %%%s, threshold %.4f\n", i,
			100 * x->cuts[i].work, cut_name(&x->cuts[i]), x->cuts[i].threshold);
}

static void report_result(const struct exits *x)
{
	static const char *const columns[] = {"at", "macs", "exit_latency", "threshold", NULL};
	struct report_section *s = report_section(x->c->report, "early_exit", "early exit");
	struct report_table *t = report_table(s, REPORT_TABLE, "exits", columns);

	report_text(s, "rule", exit_rules[x->rule]);
	report_number(s, "agreement", x->agreement);
	report_number(s, "at_least", x->bound);
	report_change(s, "macs", x->work, x->work * x->mean_work);
	for (int i = 0; i < x->cut_count; i++) {
		const struct cut *cut = &x->cuts[i];

		report_row(t, (struct report_cell[]){
				      {.text = cut_name(cut)},
				      {.number = cut->work},
				      {.number = (cut->answer_ms + cut->keep_ms) / x->ms},
				      {.number = cut->threshold}});
	}
}

bool pass_early_exit(struct pass_context *c)
{
	struct exits x = {.c = c};
	struct emission to = {.map = NULL};
	struct value **old; /* outputs */
	const char **old_names;
	int old_count;

	if (!c->argument)
		return true;
	if (!read_options(&x))
		return false;
	if (!c->calibration)
		return diag_add(c->diag, DIAG_USAGE, (struct loc){0},
				"--early-exit needs inputs to calibrate on: --calibrate FILE..");
	old_count = c->graph->body->result_count;
	old = arena_copy(c->scratch, c->graph->body->results, (size_t)old_count * sizeof(*old));
	old_names = arena_copy(c->scratch, c->graph->output_names,
			       (size_t)old_count * sizeof(*old_names));
	if (!pass_dead_code(c) || !exits_lift(&x) || (x.head_names && !exits_take_heads(&x)) ||
	    !exits_find(&x) || !exits_fit(&x))
		return false;
	/* copies make new values, which have no entries */
	to.map = ARENA_ARRAY(c->scratch, struct value *, x.value_count + 1);
	to.rows = x.fixed ? dim_const(&c->graph->dims, x.fixed) : x.batch;
	exits_lower(&x, to.map);
	if (!x.cut_count)
		graph_set_outputs(c->graph, old_count, old, old_names);
	if (x.cut_count) {
		if (!exits_emit(&x, &to))
			return false;
		c->changes += x.cut_count;
		print_result(&x);
		report_result(&x);
	}
	/* the originals of what was copied, and the features of exits that are not used */
	return pass_dead_code(c);
}
