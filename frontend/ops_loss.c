/* ops_loss.c: losses: what they need of log-probabilities is gathered by class and weighted. */
#include "frontend/site.h"

#include <string.h>

/* -weight[t] * x[n, t, ..] for targets t, 0 for ignored ones; then summed as `reduction` says. */
static struct value *nll(struct site *s, struct value *x, struct value *target,
			 struct value *weight)
{
	enum dtype t = type_of(x);
	const char *how = attr_text(s, "reduction", "mean");
	if (rank_of(x) < 2 || rank_of(target) != rank_of(x) - 1) {
		site_invalid(s, "expected scores [N,C,..] and targets [N,..]");
		return NULL;
	}
	const struct onnx_attr *ignore = site_attr(s, "ignore_index");
	struct named_real k = {"ignored", ignore ? (double)ignore->i : 0};
	target = cast_to(s, target, DT_I64);
	struct value *counts = ignore ? map_n(s, "a == ignored ? 0 : 1", DT_I64, 1, &target, 1, &k)
				      : splat(s, DT_I64, 1, rank_of(target), target->type.dims);
	struct value *label =
		ignore ? map_n(s, "a == ignored ? 0 : a", DT_I64, 1, &target, 1, &k) : target;
	struct value *picked = gather(s, GATHER_ELEMENTS, x, insert_axis(s, label, 1), 1, 0);
	picked = drop_axis(s, picked, 1);
	struct value *w = cast_to(s, counts, t);
	if (weight)
		w = map2(s, "a * b", t, w, gather(s, GATHER_TAKE, weight, label, 0, 0));
	struct value *loss = map2(s, "-a * b", t, picked, w);
	if (!strcmp(how, "none") || !loss)
		return loss;
	int axes[HONE_MAX_RANK], rank = rank_of(loss);
	for (int i = 0; i < rank; i++)
		axes[i] = i;
	struct value *sum = reduce_axes(s, REDUCE_SUM, widen(s, loss), rank, axes, false);
	if (!strcmp(how, "sum"))
		return cast_to(s, sum, t);
	if (!strcmp(how, "mean"))
		return map2(s, "a / b", t, sum,
			    reduce_axes(s, REDUCE_SUM, widen(s, w), rank, axes, false));
	site_invalid(s, "unknown reduction \"%s\"", how);
	return NULL;
}

static bool import_nll(struct site *s)
{
	return site_out(s, 0, nll(s, s->in[0], s->in[1], site_in(s, 2)));
}

static bool import_cross_entropy(struct site *s)
{
	if (rank_of(s->in[0]) < 2)
		return site_invalid(s, "expected scores [N,C,..]");
	struct value *log = softmax(s, s->in[0], 1, true);
	return log && site_out(s, 1, log) && site_out(s, 0, nll(s, log, s->in[1], site_in(s, 2)));
}

const struct import_row ops_loss[] = {
	{"", "NegativeLogLikelihoodLoss", 12, 0, 2, 3, import_nll, "ignore_index reduction",
	 "loss of log-probabilities", NULL},
	{"", "SoftmaxCrossEntropyLoss", 12, 0, 2, 3, import_cross_entropy, "ignore_index reduction",
	 "loss of scores", NULL},
	{0},
};
