/* graph_edit.c: changing graphs: replacement of values, copies, walks, use counts. */
#include "ir/graph.h"
#include "ir/attr_rows.h"

#include <string.h>

void value_replace(struct value *old, struct value *with)
{
	with = value_now(with);
	if (old != with)
		old->forward = with;
}

struct value *value_now(struct value *v)
{
	struct value *last = v;

	while (last && last->forward)
		last = last->forward;
	while (v && v->forward) { /* shorten the path for the next time */
		struct value *next = v->forward;

		v->forward = last;
		v = next;
	}
	return last;
}

static void resolve_region(struct region *r)
{
	for (struct node *n = r->first; n; n = n->next) {
		for (int i = 0; i < n->in_count; i++)
			n->in[i] = value_now(n->in[i]);
		for (int i = 0; i < n->region_count; i++)
			resolve_region(n->regions[i]);
	}
	for (int i = 0; i < r->result_count; i++)
		r->results[i] = value_now(r->results[i]);
}

void graph_resolve(struct graph *g) { resolve_region(g->body); }

static bool walk_region(struct region *r, bool (*fn)(struct node *n, void *self), void *self)
{
	struct node *next;

	for (struct node *n = r->first; n; n = next) {
		next = n->next;
		if (!fn(n, self))
			return false;
		for (int i = 0; i < n->region_count; i++)
			if (!walk_region(n->regions[i], fn, self))
				return false;
	}
	return true;
}

bool graph_walk(struct graph *g, bool (*fn)(struct node *n, void *self), void *self)
{
	return walk_region(g->body, fn, self);
}

static void count_region(const struct region *r, int *uses)
{
	for (const struct node *n = r->first; n; n = n->next) {
		for (int i = 0; i < n->in_count; i++)
			uses[n->in[i]->id]++;
		for (int i = 0; i < n->region_count; i++)
			count_region(n->regions[i], uses);
	}
	for (int i = 0; i < r->result_count; i++)
		uses[r->results[i]->id]++;
}

int *graph_count_uses(struct graph *g, struct arena *a)
{
	int *uses = ARENA_ARRAY(a, int, g->value_count + 1);

	count_region(g->body, uses);
	return uses;
}

/* ---- copies ---- */

static struct value *mapped(struct value **map, struct value *v)
{
	return map[v->id] ? map[v->id] : v;
}

static struct region *clone_region(struct builder *b, const struct region *r, struct value **map)
{
	struct region *copy = region_new(b->graph);
	struct builder inside = {.graph = b->graph, .region = copy, .diag = b->diag};
	struct value **results;

	for (int i = 0; i < r->param_count; i++)
		map[r->params[i]->id] =
			region_param(b->graph, copy, r->params[i]->name, &r->params[i]->type);
	for (const struct node *n = r->first; n; n = n->next)
		if (!node_clone(&inside, n, map))
			return NULL;
	results = ARENA_ARRAY(b->graph->arena, struct value *, r->result_count);
	for (int i = 0; i < r->result_count; i++)
		results[i] = mapped(map, r->results[i]);
	region_set_results(b->graph, copy, r->result_count, results);
	return copy;
}

struct node *node_clone(struct builder *b, const struct node *n, struct value **map)
{
	struct arena *a = b->graph->arena;
	struct value **in = ARENA_ARRAY(a, struct value *, n->in_count);
	struct region **regions = ARENA_ARRAY(a, struct region *, n->region_count);
	struct loc before = b->loc;
	struct node *copy;

	for (int i = 0; i < n->in_count; i++)
		in[i] = mapped(map, n->in[i]);
	for (int i = 0; i < n->region_count; i++) {
		regions[i] = clone_region(b, n->regions[i], map);
		if (!regions[i])
			return NULL;
	}
	b->loc = n->loc;
	copy = graph_add(b,
			 &(struct node_spec){.op = n->op,
					     .in_count = n->in_count,
					     .out_count = n->out_count,
					     .in = in,
					     .attrs = n->attrs,
					     .expr = n->expr,
					     .region_count = n->region_count,
					     .regions = regions,
					     .type = n->op == OP_const ? &n->out[0]->type : NULL});
	b->loc = before;
	for (int i = 0; copy && i < n->out_count; i++)
		map[n->out[i]->id] = copy->out[i];
	return copy;
}
