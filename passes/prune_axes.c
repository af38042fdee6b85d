/* prune_axes.c: which indices go together. Every index of every axis of constant size is an element; each operator
 * says which elements of its operands and results are one, and which it needs as they are (prune_ties.c); the rest is
 * union-find. So concat and slice are offsets, residual sums and depthwise convolutions couple by themselves, and q, k, v and
 * the projections around attention come out as one group.
 *
 * A reshape that splits or merges axes keeps only one of the many prunable: [C] as [H,D] by whole heads, or by
 * the same d in all heads. The outer one is tried first; where it is needed as it is, the next.
 *
 * Source: the dependency graphs of DepGraph (Fang et al. 2023), zero-invariant groups of OTOv2 (Chen et al. 2023). */
#include "passes/prune_axes.h"

#include <string.h>

/* A reshape between one axis and several: one[i] is many[0][i / inner0], many[1][i / inner1 % size1], .. */
struct choice {
	int one, many[HONE_MAX_RANK], count, chosen;
};

struct finder {
	struct prune *p;
	struct {
		struct choice *at;
		int count, room;
	} choices;
	bool again; /* the choices are known */
};

/* ---- union-find ---- */

static int find(struct prune *p, int e)
{
	while (p->root[e] != e) {
		p->root[e] = p->root[p->root[e]];
		e = p->root[e];
	}
	return e;
}

void prune_tie(struct prune *p, int a, int b)
{
	a = find(p, a);
	b = find(p, b);
	if (a > b) {
		int swap = a;

		a = b;
		b = swap;
	}
	p->root[b] = a;
	if (a != b)
		p->flags[a] |= p->flags[b];
}

int prune_axis_number(const struct prune *p, const struct value *v, int axis)
{
	return v->id < p->value_count ? p->axis_of[v->id * HONE_MAX_RANK + axis] : -1;
}

void prune_fix_element(struct prune *p, int element) { p->flags[find(p, element)] |= AXIS_HARD; }

int prune_first(const struct prune *p, const struct value *v, int axis)
{
	int i = prune_axis_number(p, v, axis);

	return i < 0 ? -1 : p->axes[i].first;
}

void prune_flag_axis(struct prune *p, const struct value *v, int axis, int flag)
{
	int i = prune_axis_number(p, v, axis);

	for (int k = 0; i >= 0 && k < p->axes[i].size; k++)
		p->flags[find(p, p->axes[i].first + k)] |= (unsigned char)flag;
}

void prune_fix_axis(struct prune *p, const struct value *v, int axis)
{
	prune_flag_axis(p, v, axis, AXIS_HARD);
}

void prune_fix(struct prune *p, const struct value *v)
{
	for (int i = 0; v && v->type.kind == TYPE_TENSOR && i < v->type.rank; i++)
		prune_fix_axis(p, v, i);
}

void prune_tie_range(struct prune *p, const struct value *v, int axis, int v_at,
		     const struct value *w, int other, int w_at, int count)
{
	int a = prune_first(p, v, axis), b = prune_first(p, w, other);

	if (a < 0 || b < 0) {
		prune_fix_axis(p, v, axis);
		prune_fix_axis(p, w, other);
		return;
	}
	for (int i = 0; i < count; i++)
		prune_tie(p, a + v_at + i, b + w_at + i);
}

void prune_tie_axes(struct prune *p, const struct value *v, int axis, const struct value *w,
		    int other)
{
	int i = prune_axis_number(p, v, axis), j = prune_axis_number(p, w, other);

	if (i < 0 && j < 0)
		return;
	if (i < 0 || j < 0 || p->axes[i].size != p->axes[j].size) {
		prune_fix_axis(p, v, axis);
		prune_fix_axis(p, w, other);
		return;
	}
	prune_tie_range(p, v, axis, 0, w, other, 0, p->axes[i].size);
}

void prune_tie_broadcast(struct prune *p, const struct value *x, const struct value *y, int from)
{
	int shift = y->type.rank - from - x->type.rank;

	for (int i = 0; i < x->type.rank; i++)
		if (!dim_is(x->type.dims[i], 1))
			prune_tie_axes(p, x, i, y, i + shift);
}

void prune_fix_node(struct prune *p, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		prune_fix(p, n->in[i]);
	for (int i = 0; i < n->out_count; i++)
		prune_fix(p, n->out[i]);
}

/* ---- reshape ---- */

static void tie_choice(struct prune *p, const struct choice *c)
{
	const struct prune_axis *one = &p->axes[c->one];
	int inner = 1;

	for (int k = c->count - 1; k >= 0; k--) {
		const struct prune_axis *many = &p->axes[c->many[k]];

		if (k == c->chosen)
			for (int i = 0; i < one->size; i++)
				prune_tie(p, one->first + i, many->first + i / inner % many->size);
		else
			prune_flag_axis(p, many->value, many->axis, AXIS_SOFT);
		inner *= many->size;
	}
}

/* Axes from..to of v that have elements; -1 when one has none and is not of size 1. */
static int list_axes(const struct prune *p, const struct value *v, int from, int to, int *list)
{
	int count = 0;

	for (int i = from; i < to; i++) {
		if (dim_is(v->type.dims[i], 1))
			continue;
		list[count] = prune_axis_number(p, v, i);
		if (list[count++] < 0)
			return -1;
	}
	return count;
}

/* The axes i0..i1 of x are j0..j1 of y, which have as many elements. */
static void tie_block(struct finder *f, const struct node *n, int i0, int i1, int j0, int j1)
{
	struct prune *p = f->p;
	int in[HONE_MAX_RANK], out[HONE_MAX_RANK];
	int ins = list_axes(p, n->in[0], i0, i1, in), outs = list_axes(p, n->out[0], j0, j1, out);
	const int *many = ins == 1 ? out : in;
	struct choice c = {.one = ins == 1 ? in[0] : out[0], .count = ins == 1 ? outs : ins};

	if ((ins == 1 && outs > 1) || (outs == 1 && ins > 1)) {
		memcpy(c.many, many, (size_t)c.count * sizeof(*many));
		if (!f->again)
			ARENA_PUSH(p->c->scratch, &f->choices, c);
		return;
	}
	for (int i = i0; i < i1; i++)
		prune_fix_axis(p, n->in[0], i);
	for (int j = j0; j < j1; j++)
		prune_fix_axis(p, n->out[0], j);
}

/* Grows i1 and j1 until the axes hold as many elements. False: cannot be told. */
static bool match_block(struct prune *p, const struct type *x, const struct type *y, int *i1,
			int *j1)
{
	struct dim_pool *d = &p->c->graph->dims;
	dim a = x->dims[(*i1)++], b = y->dims[(*j1)++];

	while (a != b) {
		bool more_x = *i1 < x->rank, more_y = *j1 < y->rank;

		if (more_x && more_y && dim_is_const(a) && dim_is_const(b))
			more_x = a->value < b->value;
		else if (more_x && more_y)
			more_x = dim_mul(d, a, x->dims[*i1]) == b;
		if (more_x)
			a = dim_mul(d, a, x->dims[(*i1)++]);
		else if (more_y)
			b = dim_mul(d, b, y->dims[(*j1)++]);
		else
			return false;
	}
	return true;
}

static void read_reshape(struct finder *f, const struct node *n)
{
	const struct type *x = &n->in[0]->type, *y = &n->out[0]->type;
	int i = 0, j = 0;

	for (;;) {
		int i0, j0;

		while (i < x->rank && dim_is(x->dims[i], 1))
			i++;
		while (j < y->rank && dim_is(y->dims[j], 1))
			j++;
		i0 = i;
		j0 = j;
		if (i == x->rank || j == y->rank) {
			tie_block(f, n, i0, x->rank, j0, y->rank);
			return;
		}
		if (x->dims[i] == y->dims[j]) {
			prune_tie_axes(f->p, n->in[0], i++, n->out[0], j++);
		} else if (match_block(f->p, x, y, &i, &j)) {
			tie_block(f, n, i0, i, j0, j);
		} else {
			tie_block(f, n, i0, x->rank, j0, y->rank);
			return;
		}
	}
}

/* ---- all together ---- */

static void tie_node(struct finder *f, const struct node *n)
{
	if (n->op == OP_reshape)
		read_reshape(f, n);
	else
		prune_tie_node(f->p, n);
}

static bool fix_inside(struct node *n, void *self)
{
	struct prune *p = self;

	if (n->parent != p->c->graph->body)
		prune_fix_node(p, n);
	for (int i = 0; i < n->region_count; i++) {
		for (int k = 0; k < n->regions[i]->param_count; k++)
			prune_fix(p, n->regions[i]->params[k]);
		for (int k = 0; k < n->regions[i]->result_count; k++)
			prune_fix(p, n->regions[i]->results[k]);
	}
	return true;
}

static void add_axes(struct prune *p, struct value *v)
{
	if (v->type.kind != TYPE_TENSOR)
		return;
	for (int i = 0; i < v->type.rank; i++) {
		dim d = v->type.dims[i];

		if (!dim_is_const(d) || d->value < 2 || d->value > INT32_MAX - p->element_count ||
		    dtype_bits(v->type.dtype) % 8 || v->type.dtype == DT_STRING)
			continue;
		p->axis_of[v->id * HONE_MAX_RANK + i] = p->axis_count;
		p->axes[p->axis_count++] =
			(struct prune_axis){v, i, p->element_count, (int)d->value};
		p->element_count += (int)d->value;
	}
}

static void list_elements(struct prune *p)
{
	struct graph *g = p->c->graph;
	struct arena *a = p->c->scratch;

	p->value_count = g->value_count + 1;
	p->axis_of = ARENA_ARRAY(a, int, p->value_count *HONE_MAX_RANK);
	p->axes = ARENA_ARRAY(a, struct prune_axis, p->value_count * HONE_MAX_RANK);
	memset(p->axis_of, -1, (size_t)p->value_count * HONE_MAX_RANK * sizeof(int));
	for (int i = 0; i < g->body->param_count; i++)
		add_axes(p, g->body->params[i]);
	for (struct node *n = g->body->first; n; n = n->next)
		for (int i = 0; i < n->out_count; i++)
			add_axes(p, n->out[i]);
	p->root = ARENA_ARRAY(a, int, p->element_count + 1);
	p->flags = ARENA_ARRAY(a, unsigned char, p->element_count + 1);
}

static void tie_all(struct finder *f)
{
	struct prune *p = f->p;
	struct graph *g = p->c->graph;

	for (int i = 0; i < p->element_count; i++)
		p->root[i] = i;
	memset(p->flags, 0, (size_t)p->element_count);
	for (int i = 0; i < g->body->param_count; i++)
		prune_fix(p, g->body->params[i]);
	for (int i = 0; i < g->body->result_count; i++)
		prune_fix(p, g->body->results[i]);
	graph_walk(g, fix_inside, p);
	for (struct node *n = g->body->first; n; n = n->next)
		tie_node(f, n);
	f->again = true;
	for (int i = 0; i < f->choices.count; i++)
		tie_choice(p, &f->choices.at[i]);
}

/* Another axis where the chosen one is needed as it is. False: nothing to change. */
static bool choose_again(struct finder *f)
{
	struct prune *p = f->p;
	bool changed = false;

	for (int i = 0; i < f->choices.count; i++) {
		struct choice *c = &f->choices.at[i];
		const struct prune_axis *one = &p->axes[c->one];
		bool fixed = c->chosen + 1 < c->count;

		for (int k = 0; k < one->size && fixed; k++)
			fixed = p->flags[find(p, one->first + k)] & AXIS_HARD;
		c->chosen += fixed;
		changed = changed || fixed;
	}
	return changed;
}

void prune_find_axes(struct prune *p)
{
	struct finder f = {.p = p};

	list_elements(p);
	do
		tie_all(&f);
	while (choose_again(&f));
	for (int i = 0; i < p->element_count; i++)
		p->root[i] = find(p, i);
}
