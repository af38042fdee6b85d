/* prune_choose.c: importance, and what is removed.
 *
 * A unit's score is the share of its weights in the sums that read it: w[k,n]^2, times the variance of x[k] where
 * activations were measured (as Wanda, Sun et al. 2023, but the mean is repaired), without them also the share in the
 * sums that make it.
 * A ratio takes the least of each group; a budget of multiply-adds is spent by prune_budget.c. */
#include "passes/prune.h"

#include <math.h>
#include <stdlib.h>

/* ---- consumers ---- */

/* x behind pads that leave its last axis as it is. */
static struct value *unpadded(struct value *x)
{
	for (;;) {
		struct node *n = value_def(x, OP_pad);
		int last = x->type.rank - 1;

		if (!n || n->in_count > 1 || ATTRS_OF(pad, n)->kind ||
		    ATTRS_OF(pad, n)->value != 0 || !dim_is(ATTRS_OF(pad, n)->lo.at[last], 0) ||
		    !dim_is(ATTRS_OF(pad, n)->hi.at[last], 0))
			return x;
		x = n->in[0];
	}
}

static int source_number(struct prune *p, int *of_value, struct value *v)
{
	int last = v->type.rank - 1;

	if (of_value[v->id])
		return of_value[v->id] - 1;
	ARENA_PUSH(p->c->scratch, &p->sources,
		   ((struct prune_source){.value = v,
					  .first = prune_first(p, v, last),
					  .size = (int)v->type.dims[last]->value}));
	of_value[v->id] = p->sources.count;
	return p->sources.count - 1;
}

/* Whether any unit has an element on this axis. */
static bool may_shrink(const struct prune *p, int first, int size)
{
	for (int i = 0; i < size; i++)
		if (p->unit_of[p->root[first + i]] >= 0)
			return true;
	return false;
}

void prune_find_consumers(struct prune *p)
{
	int *of_value = ARENA_ARRAY(p->c->scratch, int, p->value_count);

	for (struct node *n = p->c->graph->body->first; n; n = n->next) {
		struct value *x = n->in_count ? n->in[0] : NULL;
		struct prune_consumer c = {.node = n};
		int last = x ? x->type.rank - 1 : 0;

		if ((n->op != OP_matmul && (n->op != OP_conv || ATTRS_OF(conv, n)->group != 1)) ||
		    !value_const(n->in[1]) || x->type.dtype != DT_F32 ||
		    prune_first(p, x, last) < 0 || (n->op == OP_matmul && n->in[1]->type.rank != 2))
			continue;
		c.k_first = prune_first(p, x, last);
		c.k_size = (int)x->type.dims[last]->value;
		c.n_first = prune_first(p, n->out[0], n->out[0]->type.rank - 1);
		c.source = -1;
		if (may_shrink(p, c.k_first, c.k_size) || (p->blocks > 0 && prune_has_blocks(&c)))
			c.source = source_number(p, of_value, unpadded(x));
		ARENA_PUSH(p->c->scratch, &p->consumers, c);
	}
}

/* ---- scores ---- */

/* Adds sums of squares of weights [..,K,N]: to k by row, to n by column. */
static void add_squares(const struct prune *p, const struct prune_consumer *c, double *k, double *n)
{
	const struct value *w = c->node->in[1];
	int64_t columns = w->type.dims[w->type.rank - 1]->value, count = type_count_const(&w->type);
	const float *at = tensor_bytes(value_const(w), DT_F32, count, p->c->scratch);

	for (int64_t i = 0; i < count / columns; i++)
		for (int64_t j = 0; j < columns; j++) {
			double weight = prune_number(at, i * columns + j), square = weight * weight;

			k[i % c->k_size] += square;
			n[j] += square;
		}
}

/* Shares of the units that these elements belong to. */
static void add_shares(struct prune *p, int first, const double *at, int count)
{
	double sum = 0;

	for (int i = 0; i < count; i++)
		sum += at[i];
	for (int i = 0; i < count && sum > 0 && first >= 0; i++) {
		int unit = p->unit_of[p->root[first + i]];

		if (unit >= 0)
			p->units[unit].score += at[i] / sum;
	}
}

static void score_consumer(struct prune *p, const struct prune_consumer *c)
{
	const struct value *w = c->node->in[1];
	int columns = (int)w->type.dims[w->type.rank - 1]->value;
	double *k = calloc((size_t)c->k_size, sizeof(*k)), *n = calloc((size_t)columns, sizeof(*n));
	const struct prune_source *s = c->source >= 0 ? &p->sources.at[c->source] : NULL;

	if (!k || !n)
		out_of_memory((size_t)(c->k_size + columns) * sizeof(*k));
	add_squares(p, c, k, n);
	for (int i = 0; i < c->k_size && s && s->sum; i++)
		k[i] *= fmax(0, s->square[i] - s->sum[i] * s->sum[i] / s->rows);
	add_shares(p, c->k_first, k, c->k_size);
	if (!p->c->calibration)
		add_shares(p, c->n_first, n, columns);
	free(k);
	free(n);
}

static struct prune_unit *sorting; /* qsort takes no context */

static int by_score(const void *x, const void *y)
{
	int a = *(const int *)x, b = *(const int *)y;

	if (sorting[a].score != sorting[b].score)
		return sorting[a].score < sorting[b].score ? -1 : 1;
	return a < b ? -1 : a > b;
}

void prune_score(struct prune *p)
{
	for (int i = 0; i < p->unit_count; i++)
		p->units[i].score = 0;
	for (int i = 0; i < p->consumers.count; i++)
		score_consumer(p, &p->consumers.at[i]);
	sorting = p->units;
	for (int g = 0; g < p->group_count; g++)
		qsort(p->groups[g].units, (size_t)p->groups[g].unit_count, sizeof(int), by_score);
}

/* ---- sizes ---- */

int prune_step(const struct prune_group *g)
{
	if (g->kind == UNIT_HEAD)
		return 1;
	return g->unit_count >= 64 ? 16 : g->unit_count >= 32 ? 8 : g->unit_count >= 8 ? 4 : 1;
}

/* The multiple of the step nearest to what stays, the smaller of two; at least one step. */
static int keep_of(const struct prune_group *g, double ratio)
{
	int step = prune_step(g), keep;

	keep = (int)ceil(g->unit_count * (1 - ratio) / step - 0.5 - 1e-9) * step;
	return keep < step ? step : keep < g->unit_count ? keep : g->unit_count;
}

/* An eighth always stays. */
static int least_of(const struct prune_group *g) { return (g->unit_count + 7) / 8; }

int prune_least(const struct prune *p, const struct prune_group *g)
{
	return p->macs > 0 ? least_of(g) : keep_of(g, p->ratio[g->kind]);
}

void prune_set_keep(struct prune *p, struct prune_group *g, int keep)
{
	for (int i = 0; i < g->on_count; i++)
		p->kept[g->on[i].axis] -= (g->keep - keep) * g->on[i].count;
	g->keep = keep;
}

/* ---- all together ---- */

bool prune_choose(struct prune *p)
{
	double whole = prune_macs(p);

	for (int g = 0; g < p->group_count; g++)
		if (p->ratio[p->groups[g].kind] > 0)
			prune_set_keep(p, &p->groups[g],
				       keep_of(&p->groups[g], p->ratio[p->groups[g].kind]));
	if (p->macs > 0 && !prune_spend(p, whole))
		return false;
	for (int g = 0; g < p->group_count; g++)
		for (int i = 0; i < p->groups[g].unit_count - p->groups[g].keep; i++)
			p->units[p->groups[g].units[i]].is_removed = true;
	return true;
}
