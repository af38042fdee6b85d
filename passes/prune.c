/* prune: channels, attention heads and hidden neurons that matter least leave the model, so that it is smaller and
 * faster as an ordinary dense one; blocks of weights become zero. An argument such as "channels=0.5" or "macs=0.5" asks for it; without one
 * nothing is done. docs/compress.md teaches the use, architecture.md the mechanism. */
#include "passes/prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

enum { ALL = (1 << UNIT_KINDS) - 1 };

/* What may be asked: name=ratio. */
static const struct {
	const char *name;
	int kinds; /* of units, as bits */
	const char *what;
} asks[] = {
	{"channels", 1 << UNIT_CHANNEL, "the share of channels to remove"},
	{"heads", 1 << UNIT_HEAD, "the share of attention heads to remove"},
	{"ffn", 1 << UNIT_FFN, "the share of hidden neurons to remove"},
	{"", ALL, "the share of all of them to remove"},
	{"macs", 0, "the share of multiply-adds to keep"},
	{"block:1x16", 0, "the share of blocks of weights to make zero"},
};
enum { ASKS = sizeof(asks) / sizeof(*asks) };

static bool bad_option(struct prune *p, const char *text, const char *expected)
{
	return diag_add(p->c->diag, DIAG_USAGE, (struct loc){0}, "--prune %s: %s", text, expected);
}

/* "repair=off" and the like. False: it is none. */
static bool read_switch(struct prune *p, const char *text)
{
	p->no_repair = p->no_repair || !strcmp(text, "repair=off");
	p->mask = p->mask || !strcmp(text, "mask=on");
	return !strcmp(text, "repair=off") || !strcmp(text, "mask=on");
}

/* "name=0.5", or "0.5" alone. */
static bool read_ask(struct prune *p, const char *text)
{
	const char *equals = strchr(text, '='), *number = equals ? equals + 1 : text;
	size_t length = equals ? (size_t)(equals - text) : 0;
	char *end;
	double ratio = strtod(number, &end);
	int i = 0;

	if (read_switch(p, text))
		return true;
	while (i < ASKS && (strlen(asks[i].name) != length || memcmp(asks[i].name, text, length)))
		i++;
	if (i == ASKS)
		return bad_option(p, text,
				  "expected channels=, heads=, ffn=, macs=, block:1x16=, a number, "
				  "repair=off or mask=on");
	if (!*number || *end || !(ratio > 0 && ratio < 1))
		return bad_option(
			p, text,
			arena_printf(p->c->scratch, "expected %s, between 0 and 1", asks[i].what));
	if (!asks[i].kinds)
		*(asks[i].name[0] == 'b' ? &p->blocks : &p->macs) = ratio;
	for (int k = 0; k < UNIT_KINDS; k++)
		if (asks[i].kinds >> k & 1)
			p->ratio[k] = ratio;
	return true;
}

static bool read_options(struct prune *p)
{
	char *at = arena_text(p->c->scratch, p->c->argument);

	if (!*at)
		return bad_option(p, "",
				  "expected channels=R, heads=R, ffn=R, macs=R, block:1x16=R or R");
	while (*at) {
		size_t length = strcspn(at, ";");
		char *next = at + length + (at[length] == ';');

		at[length] = 0;
		if (!read_ask(p, at))
			return false;
		at = next;
	}
	return true;
}

/* ---- the pass ---- */

static bool wanted(const struct prune *p)
{
	for (int g = 0; g < p->group_count; g++)
		if (p->groups[g].unit_count > 1 && (p->macs > 0 || p->ratio[p->groups[g].kind] > 0))
			return true;
	for (int i = 0; i < p->consumers.count; i++)
		if (p->blocks > 0 && prune_has_blocks(&p->consumers.at[i]))
			return true;
	return diag_add(p->c->diag, DIAG_UNSUPPORTED, (struct loc){0},
			"--prune: the model has nothing of the kind to remove");
}

/* Sizes that inputs do not tell: costs do not depend much on them. */
static int64_t *typical_symbols(struct prune *p)
{
	struct dim_pool *d = &p->c->graph->dims;
	int64_t *symbols = ARENA_ARRAY(p->c->scratch, int64_t, d->symbol_count + 1);

	if (p->c->calibration)
		return calibration_symbols(p->c->calibration, p->c->graph, p->c->scratch);
	for (int i = 0; i < d->symbol_count; i++) {
		symbols[i] = d->symbols[i].min > 16 ? d->symbols[i].min : 16;
		if (symbols[i] > d->symbols[i].max)
			symbols[i] = d->symbols[i].max;
	}
	return symbols;
}

/* One share of a sum of squares of another, as a relative error. */
static double relative(const struct prune_error *e)
{
	return e->norm > 0 ? sqrt(e->difference / e->norm) : e->difference > 0 ? INFINITY : 0;
}

static void report_groups(const struct prune *p, struct report_section *s)
{
	static const char *const columns[] = {"axis", "kind", "units", "stay", NULL};
	static const char *const kinds[UNIT_KINDS] = {"channels", "heads", "ffn"};
	struct report_table *t = report_table(s, REPORT_TABLE, "groups", columns);

	for (int i = 0; i < p->group_count; i++) {
		const struct prune_group *g = &p->groups[i];
		const struct prune_axis *axis = &p->axes[g->on[0].axis];

		if (g->keep == g->unit_count)
			continue;
		report_row(t, (struct report_cell[]){
				      {.text = arena_printf(p->c->scratch, "%s:%d",
							    axis->value->name ? axis->value->name
									      : "?",
							    axis->axis)},
				      {.text = kinds[g->kind]},
				      {.number = g->unit_count},
				      {.number = g->keep}});
	}
}

/* repaired: NULL: nothing was repaired, or the repair was taken back. */
static void report_result(const struct prune *p, double before, double after,
			  const struct prune_error *plain, const struct prune_error *repaired)
{
	struct report_section *s = report_section(p->c->report, "prune", "structured pruning");
	const struct calibration *k = p->c->calibration;
	const struct prune_error *best = repaired ? repaired : plain;

	report_change(s, "macs", before, after);
	report_groups(p, s);
	if (!k) {
		diag_add(p->c->diag, DIAG_WARNING, (struct loc){0},
			 "--prune without --calibrate: what goes was chosen by weights alone, "
			 "nothing was "
			 "repaired and the error is not known");
		return;
	}
	report_number(s, "error_without_repair", relative(plain));
	report_number(s, "error", relative(best));
	if (best->rows)
		report_number(s, "agreement", (double)best->agreeing / (double)best->rows);
	if (k->progress || p->c->report)
		fprintf(stderr,
			"prune: %.1f %% of the multiply-adds stay; error %.4f, %.4f without "
			"repair\n",
			100 * after / before, relative(best), relative(plain));
}

static bool find(struct prune *p)
{
	if (!pass_dead_code(p->c))
		return false;
	prune_separate_constants(p);
	prune_find_axes(p);
	prune_find_units(p);
	p->symbols = typical_symbols(p);
	prune_find_consumers(p);
	return wanted(p);
}

static double macs_after(const struct prune *p) { return prune_macs(p) - prune_block_macs(p); }

static bool emit(struct prune *p)
{
	if (!prune_emit(p))
		return false;
	if (p->blocks > 0)
		prune_clear_blocks(p);
	return true;
}

/* Whether the repair makes the error smaller, else it is taken back. */
static bool keep_repair(struct prune *p, const struct prune_error *plain,
			const struct prune_error *repaired)
{
	struct report_section *s = report_section(p->c->report, "prune", "structured pruning");
	bool keep = relative(repaired) <= relative(plain);

	report_text(s, "repair", keep ? "kept" : "taken back");
	report_number(s, "not_repaired", p->unrepaired);
	if (keep)
		return true;
	report_number(s, "error_with_repair", relative(repaired));
	diag_add(p->c->diag, DIAG_WARNING, (struct loc){0},
		 "--prune: the repair was taken back, since it makes the error larger on samples "
		 "that it was not fitted to (%.4f, without %.4f): give more samples",
		 relative(repaired), relative(plain));
	prune_uninstall(p);
	return false;
}

/* Emits, measures, repairs, measures again. */
static bool emit_repaired(struct prune *p, double before)
{
	struct prune_error plain = {0}, repaired = {0};
	double after = macs_after(p);

	if (!prune_keep_whole(p) || !emit(p) || !prune_measure_error(p, &plain) ||
	    !prune_repair(p) || !prune_measure_error(p, &repaired))
		return false;
	report_result(p, before, after, &plain,
		      keep_repair(p, &plain, &repaired) ? &repaired : NULL);
	return true;
}

static bool emit_plain(struct prune *p, double before)
{
	struct prune_error plain = {0};
	double after = macs_after(p);

	if (!(p->mask ? prune_emit_mask(p) : emit(p)) ||
	    (p->c->calibration && !prune_measure_error(p, &plain)))
		return false;
	report_result(p, before, after, &plain, NULL);
	return true;
}

static bool run(struct prune *p)
{
	const struct calibration *k = p->c->calibration;
	double before;

	if (!read_options(p) || !find(p) || (k && !prune_measure(p)))
		return false;
	before = prune_macs(p);
	if (!k || !prune_order(p))
		prune_score(p);
	if (!prune_choose(p))
		return false;
	return k && !p->no_repair && !p->mask ? emit_repaired(p, before) : emit_plain(p, before);
}

bool pass_prune(struct pass_context *c)
{
	struct prune p = {.c = c};
	bool ok;

	if (!c->argument)
		return true;
	ok = run(&p);
	prune_forget(&p);
	return ok && pass_dead_code(c);
}
