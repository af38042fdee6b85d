/* prune_order.c: the order in which the units of a group go, when what stays makes up for each.
 *
 * Of a source with centered moments G, let H = (G + ridge)^-1 and V = sum over its consumers of W W', each scaled to an
 * output variance of 1. When the elements B go and the weights of the others are repaired, the outputs are off by
 *
 *	trace(H[B,B]^-1 V[B,B])
 *
 * (Hassibi and Stork 1993, Optimal Brain Surgeon, for blocks). The unit for which that is least goes first; then
 * H -= K H[B,:] and V = (1 - K) V (1 - K)' with K = H[:,B] H[B,B]^-1 say the same of what is left. Only the rows and
 * columns of the group's own elements are needed. */
#include "passes/linalg.h"
#include "passes/prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ridge = 1e-3; /* of the mean of G's diagonal */

/* What a group has in a source: its elements, unit after unit. */
struct part {
	int source, size;
	int *elements; /* [size], in the source */
	int *first;    /* by unit of the group, one more at the end: the first of its elements */
	double *h, *v; /* [size,size] */
};

struct elimination {
	struct prune *p;
	struct prune_group *group;
	struct part *parts;
	int part_count, block_max;
	bool *gone;                 /* by unit of the group */
	double *block, *k, *column; /* [block_max,block_max], [size_max,block_max] twice */
};

/* ---- of a source ---- */

static double centered(const struct prune_source *s, int i, int j)
{
	return s->moment[(int64_t)i * s->size + j] - s->sum[i] * s->sum[j] / s->rows;
}

/* Of count numbers of w, from i and from j on. */
static double dot(const float *w, int64_t i, int64_t j, int count)
{
	double sum[4] = {0};
	int k = 0;

	for (; k + 4 <= count; k += 4)
		for (int c = 0; c < 4; c++)
			sum[c] += (double)prune_number(w, i + k + c) * prune_number(w, j + k + c);
	for (; k < count; k++)
		sum[0] += (double)prune_number(w, i + k) * prune_number(w, j + k);
	return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* v += W W' / the variance of x W; product: room for as much. */
static void add_consumer(const struct prune *p, const struct prune_source *s,
			 const struct prune_consumer *c, double *v, double *product)
{
	const struct value *w = c->node->in[1];
	int columns = (int)w->type.dims[w->type.rank - 1]->value, n = s->size;
	int64_t count = type_count_const(&w->type), block = (int64_t)n * columns;
	const float *at = tensor_bytes(value_const(w), DT_F32, count, p->c->scratch);
	double variance = 0;

	for (int i = 0; i < n; i++)
		for (int j = 0; j <= i; j++) {
			double sum = 0;

			for (int64_t k = 0; k < count; k += block)
				sum += dot(at, k + (int64_t)i * columns, k + (int64_t)j * columns,
					   columns);
			product[(int64_t)i * n + j] = sum;
			variance += sum * centered(s, i, j) * (i == j ? 1 : 2);
		}
	for (int i = 0; i < n && variance > 0; i++)
		for (int j = 0; j <= i; j++) {
			v[(int64_t)i * n + j] += product[(int64_t)i * n + j] / variance;
			v[(int64_t)j * n + i] = v[(int64_t)i * n + j];
		}
}

/* h [size,size] becomes the inverse. False: the source does not vary. */
static bool invert(const struct prune_source *s, double *h, double *factor)
{
	double mean = 0;
	int n = s->size;

	for (int i = 0; i < n; i++)
		mean += centered(s, i, i) / n;
	memset(h, 0, (size_t)n * (size_t)n * sizeof(*h));
	for (int i = 0; i < n; i++) {
		for (int j = 0; j <= i; j++)
			factor[(int64_t)i * n + j] =
				centered(s, i, j) + (i == j ? ridge * mean : 0);
		h[(int64_t)i * (n + 1)] = 1;
	}
	if (!(mean > 0) || !cholesky_factor(factor, n))
		return false;
	cholesky_solve(factor, n, h, n);
	return true;
}

static bool prepare(struct prune *p, int number)
{
	struct prune_source *s = &p->sources.at[number];
	int64_t count = (int64_t)s->size * s->size;
	double *room = prune_numbers(count, sizeof(double));
	bool ok;

	s->inverse = prune_numbers(count, sizeof(double));
	s->weight = prune_numbers(count, sizeof(double));
	for (int i = 0; i < p->consumers.count; i++)
		if (p->consumers.at[i].source == number)
			add_consumer(p, s, &p->consumers.at[i], s->weight, room);
	ok = invert(s, s->inverse, room);
	free(room);
	return ok;
}

/* ---- of a group ---- */

/* The elements of the group in the source; false: it has none there. */
static bool open_part(struct elimination *e, int number, struct part *t)
{
	struct prune *p = e->p;
	const struct prune_source *s = &p->sources.at[number];
	int units = e->group->unit_count, *position, *next;

	*t = (struct part){.source = number};
	t->first = ARENA_ARRAY(p->c->scratch, int, units + 1);
	position = ARENA_ARRAY(p->c->scratch, int, p->unit_count + 1); /* of a unit, from 1 */
	for (int i = 0; i < units; i++)
		position[e->group->units[i]] = i + 1;
	for (int i = 0; i < s->size; i++) {
		int unit = p->unit_of[p->root[s->first + i]];

		if (unit >= 0 && position[unit])
			t->first[position[unit]]++;
	}
	for (int i = 0; i < units; i++)
		t->first[i + 1] += t->first[i];
	t->size = t->first[units];
	t->elements = ARENA_ARRAY(p->c->scratch, int, t->size + 1);
	next = arena_copy(p->c->scratch, t->first, (size_t)units * sizeof(int));
	for (int i = 0; i < s->size; i++) {
		int unit = p->unit_of[p->root[s->first + i]];

		if (unit >= 0 && position[unit])
			t->elements[next[position[unit] - 1]++] = i;
	}
	return t->size > 0;
}

static void fill_part(const struct elimination *e, struct part *t)
{
	const struct prune_source *s = &e->p->sources.at[t->source];

	t->h = prune_numbers((int64_t)t->size * t->size, sizeof(double));
	t->v = prune_numbers((int64_t)t->size * t->size, sizeof(double));
	for (int i = 0; i < t->size; i++)
		for (int j = 0; j < t->size; j++) {
			int64_t at = (int64_t)t->elements[i] * s->size + t->elements[j];

			t->h[(int64_t)i * t->size + j] = s->inverse[at];
			t->v[(int64_t)i * t->size + j] = s->weight[at];
		}
}

/* The Cholesky factor of H[B,B] into e->block. */
static bool factor_block(struct elimination *e, const struct part *t, int first, int count)
{
	for (int i = 0; i < count; i++)
		for (int j = 0; j < count; j++)
			e->block[i * count + j] = t->h[(int64_t)(first + i) * t->size + first + j];
	return cholesky_factor(e->block, count);
}

/* trace(H[B,B]^-1 V[B,B]) */
static double cost_in(struct elimination *e, const struct part *t, int unit)
{
	int first = t->first[unit], count = t->first[unit + 1] - first;
	double sum = 0;

	if (count == 1)
		return t->v[(int64_t)first * (t->size + 1)] / t->h[(int64_t)first * (t->size + 1)];
	if (!count || !factor_block(e, t, first, count))
		return 0;
	for (int i = 0; i < count; i++)
		memcpy(e->column + i * count, t->v + (int64_t)(first + i) * t->size + first,
		       (size_t)count * sizeof(double));
	cholesky_solve(e->block, count, e->column, count);
	for (int i = 0; i < count; i++)
		sum += e->column[i * count + i];
	return sum;
}

static double cost(struct elimination *e, int unit)
{
	double sum = 0;

	for (int i = 0; i < e->part_count; i++)
		sum += cost_in(e, &e->parts[i], unit);
	return sum > 0 ? sum : 0;
}

/* a -= k b' with k, b [n,count] */
static void subtract_product(double *a, int n, const double *k, const double *b, int count)
{
	for (int i = 0; i < n; i++)
		for (int c = 0; c < count; c++) {
			double scale = k[i * count + c];

			for (int j = 0; j < n && scale != 0; j++)
				a[(int64_t)i * n + j] -= scale * b[j * count + c];
		}
}

/* H -= K H[B,:]; V = V - K V[B,:] - V[:,B] K' + K V[B,B] K', as V - K U' - U K' with U = V[:,B] - K V[B,B] / 2 */
static void eliminate_in(struct elimination *e, struct part *t, int unit)
{
	int first = t->first[unit], count = t->first[unit + 1] - first, n = t->size;
	double *row = e->column;

	if (!count || !factor_block(e, t, first, count))
		return;
	for (int i = 0; i < count; i++) /* K' = H[B,B]^-1 H[B,:], then K */
		memcpy(row + (int64_t)i * n, t->h + (int64_t)(first + i) * n,
		       (size_t)n * sizeof(double));
	cholesky_solve(e->block, count, row, n);
	for (int i = 0; i < n; i++)
		for (int c = 0; c < count; c++)
			e->k[i * count + c] = row[(int64_t)c * n + i];
	for (int i = 0; i < n; i++)
		for (int c = 0; c < count; c++)
			e->column[i * count + c] = t->h[(int64_t)i * n + first + c];
	subtract_product(t->h, n, e->k, e->column, count);
	for (int i = 0; i < n; i++)
		for (int c = 0; c < count; c++) {
			double u = t->v[(int64_t)i * n + first + c];

			for (int b = 0; b < count; b++)
				u -= e->k[i * count + b] *
				     t->v[(int64_t)(first + b) * n + first + c] / 2;
			e->column[i * count + c] = u;
		}
	subtract_product(t->v, n, e->k, e->column, count);
	subtract_product(t->v, n, e->column, e->k, count);
}

/* Puts the units in order, with what each costs. At least `stay` are not looked at further. */
static void order_units(struct elimination *e, int stay)
{
	struct prune *p = e->p;
	int count = e->group->unit_count, *order = ARENA_ARRAY(p->c->scratch, int, count), at = 0;
	double *costs = ARENA_ARRAY(p->c->scratch, double, count);

	while (at < count) {
		int best = -1;

		for (int i = 0; i < count; i++) {
			if (e->gone[i])
				continue;
			if (at < count - stay || best < 0)
				costs[i] = cost(e, i);
			if (best < 0 || costs[i] < costs[best])
				best = i;
			if (at >= count - stay)
				break; /* the rest in any order */
		}
		e->gone[best] = true;
		p->units[e->group->units[best]].score = costs[best];
		order[at++] = e->group->units[best];
		for (int i = 0; i < e->part_count && at <= count - stay; i++)
			eliminate_in(e, &e->parts[i], best);
	}
	memcpy(e->group->units, order, (size_t)count * sizeof(int));
}

static void order_group(struct prune *p, struct prune_group *g, int stay)
{
	struct elimination e = {.p = p, .group = g};
	int size_max = 1;

	e.parts = ARENA_ARRAY(p->c->scratch, struct part, p->sources.count);
	for (int i = 0; i < p->sources.count; i++)
		if (open_part(&e, i, &e.parts[e.part_count]))
			e.part_count++;
	for (int i = 0; i < e.part_count; i++) {
		fill_part(&e, &e.parts[i]);
		size_max = e.parts[i].size > size_max ? e.parts[i].size : size_max;
		for (int u = 0; u < g->unit_count; u++)
			if (e.parts[i].first[u + 1] - e.parts[i].first[u] > e.block_max)
				e.block_max = e.parts[i].first[u + 1] - e.parts[i].first[u];
	}
	e.gone = ARENA_ARRAY(p->c->scratch, bool, g->unit_count);
	e.block = prune_numbers((int64_t)e.block_max * e.block_max, sizeof(double));
	e.k = prune_numbers((int64_t)size_max * e.block_max, sizeof(double));
	e.column = prune_numbers((int64_t)size_max * e.block_max, sizeof(double));
	order_units(&e, stay);
	for (int i = 0; i < e.part_count; i++) {
		free(e.parts[i].h);
		free(e.parts[i].v);
	}
	free(e.block);
	free(e.k);
	free(e.column);
}

/* ---- all together ---- */

static void forget(struct prune *p)
{
	for (int i = 0; i < p->sources.count; i++) {
		free(p->sources.at[i].inverse);
		free(p->sources.at[i].weight);
		p->sources.at[i].inverse = p->sources.at[i].weight = NULL;
	}
}

bool prune_order(struct prune *p)
{
	bool ok = true;

	for (int i = 0; i < p->sources.count && ok; i++)
		ok = p->sources.at[i].moment && prepare(p, i);
	for (int i = 0; i < p->group_count && ok; i++)
		if (p->macs > 0 || p->ratio[p->groups[i].kind] > 0)
			order_group(p, &p->groups[i], prune_least(p, &p->groups[i]));
	forget(p);
	return ok;
}
