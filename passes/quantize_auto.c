/* quantize_auto.c: which layers to quantize, so that the outputs stay within an allowed error. Each layer is quantized
 * alone and the error of the outputs measured; then as many of the least harmful are taken together as the error
 * allows, found by bisection on measured errors. */
#include "passes/quantize.h"

#include <stdlib.h>

static const double DEFAULT_ERROR = 0.01;

struct rank {
	int layer;
	double error;
};

static int by_error(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	return x->error != y->error ? (x->error < y->error ? -1 : 1) : x->layer - y->layer;
}

/* The suited layers by the error of each alone; returns their number, -1: reported. alone: by layer. */
static int rank_layers(struct static_plan *p, struct rank *ranks, double *alone)
{
	int count = 0, layers = p->q->layers.count;
	bool *one = ARENA_ARRAY(p->q->c->scratch, bool, layers + 1);

	for (int i = 0; i < layers; i++) {
		if (p->activation[i] < 0)
			continue;
		one[i] = true;
		if (!static_errors(p, 1, &one, LAYER_SAMPLES, &alone[i]))
			return -1;
		one[i] = false;
		ranks[count++] = (struct rank){i, alone[i]};
	}
	qsort(ranks, (size_t)count, sizeof(*ranks), by_error);
	return count;
}

static void choose_first(const struct rank *ranks, int count, bool *chosen, int layers)
{
	for (int i = 0; i < layers; i++)
		chosen[i] = false;
	for (int i = 0; i < count; i++)
		chosen[ranks[i].layer] = true;
}

bool quantize_auto(struct quantizing *q)
{
	int layers = q->layers.count, count, low = 0, high;
	struct rank *ranks = ARENA_ARRAY(q->c->scratch, struct rank, layers + 1);
	double *alone = ARENA_ARRAY(q->c->scratch, double, layers + 1), error, best = 0;
	bool *chosen = ARENA_ARRAY(q->c->scratch, bool, layers + 1);
	double allowed = q->max_error > 0 ? q->max_error : DEFAULT_ERROR;
	struct static_plan p;

	if (*q->option)
		return quantize_bad_option(q, "no option of auto");
	if (!static_open(&p, q, (struct range_rule){.percentile = 100}))
		return false;
	if (!static_has_outputs(&p))
		return diag_add(
			q->c->diag, DIAG_UNSUPPORTED, (struct loc){0},
			"--quantize auto: the model has no output of floats whose error could "
			"be measured; use int8");
	count = high = rank_layers(&p, ranks, alone);
	if (count <= 0)
		return count == 0;
	while (low < high) { /* the first `low` fit; more than `high` do not */
		int middle = high == count && low == 0 ? count : (low + high + 1) / 2;

		choose_first(ranks, middle, chosen, layers);
		bool *one = chosen;
		if (!static_errors(&p, 1, &one, ERROR_SAMPLES, &error))
			return false;
		if (error <= allowed) {
			low = middle;
			best = error;
		} else {
			high = middle - 1;
		}
	}
	if (!low)
		return diag_add(
			q->c->diag, DIAG_USAGE, (struct loc){0},
			"--quantize auto: no layer can be quantized within an error of %g: the "
			"least that one makes is %g; raise --max-error",
			allowed, ranks[0].error);
	choose_first(ranks, low, chosen, layers);
	quantize_report(&p, chosen, "error", alone, best);
	return static_commit(&p, chosen);
}
