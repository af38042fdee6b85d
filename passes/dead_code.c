/* dead_code: removes what nothing reads: pure nodes without uses, binds whose symbols occur nowhere, control
 * flow without uses or effects, and single unused results of if, loop and scan.
 * Works backwards, so that chains go in one walk. */
#include "passes/patterns.h"

#include <string.h>

struct dead {
	struct pass_context *c;
	int *uses;          /* by value id */
	int *symbols;       /* nodes that mention a symbol, without the one that binds it */
	int *stamps, stamp; /* by dim id */
};

/* ---- mentions of symbols ---- */

/* Only symbols that nodes bind count. Dims are shared, so each is looked at once for a node. */
static void mention(struct dead *s, dim d, int by)
{
	if (!d || !dim_stage(d) || s->stamps[d->id] == s->stamp)
		return;
	s->stamps[d->id] = s->stamp;
	if (d->kind == DIM_SYMBOL)
		s->symbols[d->value] += by;
	for (int i = 0; i < d->count; i++)
		mention(s, d->arg[i], by);
}

static void mention_type(struct dead *s, const struct type *t, int by)
{
	for (int i = 0; t->kind == TYPE_TENSOR && i < t->rank; i++)
		mention(s, t->dims[i], by);
	if (t->kind != TYPE_TENSOR && t->elem)
		mention_type(s, t->elem, by);
}

struct expr_mentions {
	struct dead *s;
	int by;
};

static bool mention_expr(const struct expr *e, void *self)
{
	struct expr_mentions *m = self;

	if (e->op == EXPR_DIM)
		mention(m->s, e->size, m->by);
	return false;
}

/* All that a node says in dims, apart from the symbols it binds itself. */
static void mention_node(struct dead *s, const struct node *n, int by)
{
	int own[16], count = n->symbol_count < 16 ? n->symbol_count : 16;
	struct expr_mentions m = {s, by};

	s->stamp++;
	for (int i = 0; i < count; i++)
		own[i] = s->symbols[n->symbols[i]];
	for (int i = 0; i < n->out_count; i++)
		mention_type(s, &n->out[i]->type, by);
	for (int i = 0; i < op_table[n->op].attr_count; i++) {
		const struct attr_row *r = &op_table[n->op].attrs[i];
		const void *field = (const char *)n->attrs + r->offset;
		const struct dims *dims = field;

		if (r->kind == ATTR_DIM)
			mention(s, *(const dim *)field, by);
		for (int k = 0; r->kind == ATTR_DIMS && k < dims->count; k++)
			mention(s, dims->at[k], by);
	}
	if (n->expr)
		expr_any(n->expr, mention_expr, &m);
	for (int i = 0; i < n->region_count; i++)
		for (int k = 0; k < n->regions[i]->param_count; k++)
			mention_type(s, &n->regions[i]->params[k]->type, by);
	for (int i = 0; i < count; i++)
		s->symbols[n->symbols[i]] = own[i];
}

static bool mention_one(struct node *n, void *self)
{
	mention_node(self, n, 1);
	return true;
}

static void find_mentions(struct dead *s)
{
	struct graph *g = s->c->graph;

	s->symbols = ARENA_ARRAY(s->c->scratch, int, g->dims.symbol_count + 1);
	s->stamps = ARENA_ARRAY(s->c->scratch, int, g->dims.node_count + 1);
	graph_walk(g, mention_one, s);
	s->stamp++;
	for (int i = 0; i < g->requires.count; i++) {
		mention(s, g->requires.at[i].left, 1);
		mention(s, g->requires.at[i].right, 1);
	}
	for (int i = 0; i < g->dims.symbol_count; i++)
		mention(s, g->dims.symbols[i].bound, 1);
}

/* ---- removal ---- */

static bool has_effect(const struct region *r)
{
	for (const struct node *n = r->first; n; n = n->next) {
		if (n->op == OP_return_if || n->op == OP_random || n->op == OP_bind)
			return true;
		for (int i = 0; i < n->region_count; i++)
			if (has_effect(n->regions[i]))
				return true;
	}
	return false;
}

static bool is_dead(const struct dead *s, const struct node *n)
{
	for (int i = 0; i < n->out_count; i++)
		if (s->uses[n->out[i]->id])
			return false;
	for (int i = 0; i < n->symbol_count; i++)
		if (n->symbol_count > 16 || s->symbols[n->symbols[i]])
			return false;
	if (n->op == OP_bind || is_pure(n))
		return true;
	if (n->op != OP_if && n->op != OP_loop && n->op != OP_scan)
		return false;
	for (int i = 0; i < n->region_count; i++)
		if (has_effect(n->regions[i]))
			return false;
	return n->op != OP_loop; /* it might not end */
}

static void drop_uses(struct dead *s, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		if (n->in[i])
			s->uses[n->in[i]->id]--;
	mention_node(s, n, -1);
	for (int i = 0; i < n->region_count; i++) {
		const struct region *r = n->regions[i];

		for (const struct node *inner = r->first; inner; inner = inner->next)
			drop_uses(s, inner);
		for (int k = 0; k < r->result_count; k++)
			s->uses[r->results[k]->id]--;
	}
}

/* The number of results that come first and must stay: the carried ones. */
static int first_free_result(const struct node *n)
{
	if (n->op == OP_scan)
		return (int)ATTRS_OF(scan, n)->carried;
	return n->op == OP_loop ? n->in_count - 2 : 0;
}

/* Removes unused results: of an if, and stacked ones of a loop (not the last one, whose length is bound by
 * the node) or scan. */
static void drop_results(struct dead *s, struct node *n)
{
	int extra = n->op == OP_loop ? 1 : 0,
	    least = n->op == OP_loop ? first_free_result(n) + 1 : 0;

	if ((n->op == OP_if && n->symbol_count) ||
	    (n->op != OP_if && n->op != OP_loop && n->op != OP_scan))
		return;
	for (int i = n->out_count - 1; i >= first_free_result(n) && n->out_count > least; i--) {
		if (s->uses[n->out[i]->id])
			continue;
		for (int k = 0; k < n->region_count; k++) {
			struct region *r = n->regions[k];

			s->uses[r->results[i + extra]->id]--;
			r->result_count--;
			memmove(r->results + i + extra, r->results + i + extra + 1,
				(size_t)(r->result_count - i - extra) * sizeof(*r->results));
		}
		n->out_count--;
		memmove(n->out + i, n->out + i + 1, (size_t)(n->out_count - i) * sizeof(*n->out));
		for (int k = i; k < n->out_count; k++)
			n->out[k]->index = k;
		s->c->changes++;
	}
}

static void sweep(struct dead *s, struct region *r)
{
	struct node *prev;

	for (struct node *n = r->last; n; n = prev) {
		prev = n->prev;
		if (is_dead(s, n)) {
			drop_uses(s, n);
			node_remove(n);
			s->c->changes++;
			continue;
		}
		drop_results(s, n);
		for (int i = n->op == OP_group ? 1 : 0; i < n->region_count; i++)
			sweep(s, n->regions[i]);
	}
}

bool pass_dead_code(struct pass_context *c)
{
	struct dead s = {.c = c, .uses = graph_count_uses(c->graph, c->scratch)};

	find_mentions(&s);
	sweep(&s, c->graph->body);
	return true;
}
