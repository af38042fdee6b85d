/* early_exit_time.c: how long the model takes up to each cut, and each exit with its head, confidence and compaction. One
 * program has an exit at every cut, where all rows stay; parameters end its runs at ever later places, and the
 * differences are the times of what lies between. */
#include "passes/early_exit.h"

/* The times of the parts from those of runs up to each of `count` places. Who goes further is no faster: where a time says
 * so, the run before was disturbed. */
static void read_times(struct exits *x, double *at, int count)
{
	bool keeps = x->batch->kind == DIM_SYMBOL;
	double last = 0;

	for (int i = count - 2; i >= 0; i--)
		at[i] = at[i] < at[i + 1] ? at[i] : at[i + 1];
	x->ms = 0;
	for (int i = 0; i < x->cut_count; i++) {
		struct cut *cut = &x->cuts[i];

		x->ms += at[0] - last;
		cut->ms = x->ms;
		cut->answer_ms = at[1] - at[0];
		cut->keep_ms = keeps ? at[2] - at[1] : 0;
		last = at[keeps ? 2 : 1];
		at += keeps ? 3 : 2;
	}
	x->ms += at[0] - last;
	x->answer_ms = at[1] - at[0];
}

bool exits_time(struct exits *x)
{
	struct pass_context *c = x->c;
	const char *names[3 * CUTS_MAX + 2] = {NULL};
	double ms[3 * CUTS_MAX + 2];
	struct graph saved = body_set_aside(c->graph);
	struct emission to = {
		.stop_names = names,
		.rows = x->batch,
		.map = ARENA_ARRAY(c->scratch, struct value *, saved.value_count + 1)};
	bool ok;

	for (int i = 0; i <= 3 * CUTS_MAX; i++)
		names[i] = arena_printf(c->graph->arena, "stop.%d", i);
	ok = body_copy(c, saved.body, to.map) && exits_emit(x, &to);
	if (ok) {
		names[to.stop_count] = NULL; /* to the end */
		ok = calibration_time(c, to.stop_count + 1, names, ms);
	}
	body_restore(c->graph, &saved);
	if (ok)
		read_times(x, ms, to.stop_count + 1);
	return ok;
}
