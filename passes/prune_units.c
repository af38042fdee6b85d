/* prune_units.c: the units that can be removed, in groups, and what contractions cost. */
#include "passes/prune.h"

#include <string.h>

bool prune_stays(const struct prune *p, int element)
{
	int unit = p->unit_of[p->root[element]];

	return unit < 0 || !p->units[unit].is_removed;
}

/* ---- units ---- */

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u ^ h >> 29; }

static enum unit_kind kind_of(int flags)
{
	return flags & AXIS_HEAD ? UNIT_HEAD : flags & AXIS_CONV ? UNIT_CHANNEL : UNIT_FFN;
}

/* A unit may go when nothing needs its elements, and the sums that lose its terms are those of weights. */
static bool may_go(const struct prune *p, int root)
{
	return !(p->flags[root] & (AXIS_HARD | AXIS_SOFT)) && (p->flags[root] & AXIS_SUMMED);
}

/* Numbers the units by their first elements; shape[unit]: a hash of the axes that they have elements on. */
static uint64_t *number_units(struct prune *p)
{
	uint64_t *shape = ARENA_ARRAY(p->c->scratch, uint64_t, p->element_count + 1);

	p->unit_of = ARENA_ARRAY(p->c->scratch, int, p->element_count + 1);
	memset(p->unit_of, -1, (size_t)(p->element_count + 1) * sizeof(int));
	for (int i = 0; i < p->axis_count; i++)
		for (int k = 0; k < p->axes[i].size; k++) {
			int root = p->root[p->axes[i].first + k];

			if (!may_go(p, root))
				continue;
			if (p->unit_of[root] < 0)
				p->unit_of[root] = p->unit_count++;
			shape[p->unit_of[root]] = mix(shape[p->unit_of[root]] | 1, (uint64_t)i);
		}
	p->units = ARENA_ARRAY(p->c->scratch, struct prune_unit, p->unit_count + 1);
	return shape;
}

/* Units of one shape are a group. Open addressing by the shape. */
static void number_groups(struct prune *p, const uint64_t *shape)
{
	int room = 16;
	int *table; /* shape -> 1 + a unit of that shape */

	while (room < 2 * p->unit_count)
		room *= 2;
	table = ARENA_ARRAY(p->c->scratch, int, room);
	p->groups = ARENA_ARRAY(p->c->scratch, struct prune_group, p->unit_count + 1);
	for (int u = 0; u < p->unit_count; u++) {
		int at = (int)(shape[u] >> 32) & (room - 1);

		while (table[at] && shape[table[at] - 1] != shape[u])
			at = (at + 1) & (room - 1);
		if (!table[at]) {
			table[at] = u + 1;
			p->units[u].group = p->group_count++;
		}
		p->units[u].group = p->units[table[at] - 1].group;
		p->groups[p->units[u].group].unit_count++;
	}
}

static void list_units(struct prune *p)
{
	int *list = ARENA_ARRAY(p->c->scratch, int, p->unit_count + 1), *next = list;

	for (int g = 0; g < p->group_count; g++) {
		p->groups[g].units = next;
		next += p->groups[g].unit_count;
		p->groups[g].keep = p->groups[g].unit_count;
		p->groups[g].unit_count = 0;
	}
	for (int u = 0; u < p->unit_count; u++) {
		struct prune_group *g = &p->groups[p->units[u].group];

		list[g->units - list + g->unit_count++] = u;
	}
}

/* The axes of each group's first unit, which are those of all. */
static void list_axes(struct prune *p)
{
	struct arena *a = p->c->scratch;
	int *counts = ARENA_ARRAY(a, int, p->group_count + 1);

	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < p->axis_count; i++)
			for (int k = 0; k < p->axes[i].size; k++) {
				int root = p->root[p->axes[i].first + k], u = p->unit_of[root];
				struct prune_group *g =
					u < 0 ? NULL : &p->groups[p->units[u].group];

				if (!g || u != g->units[0])
					continue;
				g->kind = kind_of(p->flags[root]);
				if (!pass) {
					counts[p->units[u].group]++;
					continue;
				}
				if (!g->on)
					g->on = arena_array(a, (size_t)counts[p->units[u].group],
							    sizeof(*g->on));
				if (!g->on_count || g->on[g->on_count - 1].axis != i)
					g->on[g->on_count++].axis = i;
				g->on[g->on_count - 1].count++;
			}
}

void prune_find_units(struct prune *p)
{
	number_groups(p, number_units(p));
	list_units(p);
	list_axes(p);
	p->kept = ARENA_ARRAY(p->c->scratch, int, p->axis_count + 1);
	for (int i = 0; i < p->axis_count; i++)
		p->kept[i] = p->axes[i].size;
}

/* ---- multiply-adds ---- */

static double extent(const struct prune *p, const struct value *v, int axis)
{
	int i = p->axis_of[v->id * HONE_MAX_RANK + axis];

	return i >= 0 ? p->kept[i] : (double)dim_eval(v->type.dims[axis], p->symbols);
}

double prune_node_macs(const struct prune *p, const struct node *n)
{
	const struct value *w;
	double count = 1;

	if (n->op != OP_matmul && n->op != OP_conv && n->op != OP_attention)
		return 0;
	for (int i = 0; i < n->out[0]->type.rank; i++)
		count *= extent(p, n->out[0], i);
	if (n->op == OP_matmul)
		return count * extent(p, n->in[0], n->in[0]->type.rank - 1);
	w = n->in[1];
	if (n->op == OP_conv) {
		for (int i = 0; i < w->type.rank - 1; i++)
			count *= extent(p, w, i);
		return count;
	}
	return count * extent(p, w, 1) * (1 + extent(p, w, 3) / extent(p, n->out[0], 3));
}

double prune_macs(const struct prune *p)
{
	double sum = 0;

	for (const struct node *n = p->c->graph->body->first; n; n = n->next)
		sum += prune_node_macs(p, n);
	return sum;
}
