/* figures.c: what a graph will take once compiled, for `hone info`. */
#include "backend/compile.h"
#include "backend/program.h"
#include "runtime/place.h"

/* The value of every symbol: its minimum, at least 1. */
static int64_t *least_symbols(const struct program *p, struct arena *a)
{
	const struct dim_pool *pool = &p->graph->dims;
	int64_t *symbols = ARENA_ARRAY(a, int64_t, pool->symbol_count + 1);

	for (int i = 0; i < pool->symbol_count; i++)
		symbols[i] = pool->symbols[i].min > 1 ? pool->symbols[i].min : 1;
	return symbols;
}

static int64_t live_bytes(const struct program *p, const int64_t *symbols, struct arena *a)
{
	int64_t *step = ARENA_ARRAY(a, int64_t, p->step_count + 2), most = 0;

	for (int i = 0; i < p->slots.count; i++) {
		const struct slot *s = &p->slots.at[i];

		for (int k = s->first; s->kind == HONE_SLOT_ARENA && !s->per_worker &&
				       k <= s->last && k <= p->step_count;
		     k++)
			step[k] += dim_eval(s->bytes, symbols);
	}
	for (int k = 0; k <= p->step_count; k++)
		most = step[k] > most ? step[k] : most;
	return most;
}

/* Places the slots as a context does. */
static int64_t planned_bytes(const struct program *p, const int64_t *symbols, struct arena *a)
{
	int count = p->slots.count;
	struct hone_slot *slots = ARENA_ARRAY(a, struct hone_slot, count + 1);
	struct hone_program table = {.slot_count = count, .slots = slots};
	int64_t *words = ARENA_ARRAY(a, int64_t, count + 1);
	struct placement at = {.offsets = ARENA_ARRAY(a, int64_t, count + 1),
			       .other = ARENA_ARRAY(a, int64_t, count + 1),
			       .order = ARENA_ARRAY(a, int64_t, count + 1),
			       .spare = ARENA_ARRAY(a, int64_t, count + 1),
			       .live = ARENA_ARRAY(a, int64_t, count + 1)};

	for (int i = 0; i < count; i++) {
		const struct slot *s = &p->slots.at[i];

		slots[i] = (struct hone_slot){.kind = s->kind,
					      .io = s->io,
					      .bytes_word = i,
					      .first = s->first,
					      .last = s->last,
					      .per_worker = s->per_worker};
		words[i] = s->kind == HONE_SLOT_ARENA ? dim_eval(s->bytes, symbols) : 0;
	}
	return rt_place(&table, words, 1, &at);
}

bool graph_figures(struct graph *g, const struct target *t, struct graph_figures *out,
		   struct diag *d)
{
	struct arena a = {0};
	struct program *p = program_layout(g, t, 0, NULL, &a, d);

	if (p) {
		const int64_t *symbols = least_symbols(p, &a);

		*out = (struct graph_figures){.kernels = p->sites.count,
					      .functions = p->functions.count,
					      .weight_bytes = p->constants->bytes,
					      .live_bytes = live_bytes(p, symbols, &a),
					      .arena_bytes = planned_bytes(p, symbols, &a)};
		for (int i = 0; i < p->slots.count; i++)
			out->dynamic |= p->slots.at[i].kind == HONE_SLOT_DYNAMIC;
	}
	arena_free(&a);
	return p != NULL;
}
