/* prune_axes.c: which indices go together. Every index of every axis of constant size is an element; each operator
 * says which elements of its operands and results are one, and which it needs as they are; the rest is union-find.
 * So concat and slice are offsets, residual sums and depthwise convolutions couple by themselves, and q, k, v and
 * the projections around attention come out as one group.
 *
 * A reshape that splits or merges axes keeps only one of the many prunable: [C] as [H,D] by whole heads, or by
 * the same d in all heads. The outer one is tried first; where it is needed as it is, the next.
 *
 * Source: the dependency graphs of DepGraph (Fang et al. 2023), zero-invariant groups of OTOv2 (Chen et al. 2023). */
#include "passes/prune.h"

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

static void tie(struct prune *p, int a, int b)
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

static int axis_number(const struct prune *p, const struct value *v, int axis)
{
	return v->id < p->value_count ? p->axis_of[v->id * HONE_MAX_RANK + axis] : -1;
}

int prune_first(const struct prune *p, const struct value *v, int axis)
{
	int i = axis_number(p, v, axis);

	return i < 0 ? -1 : p->axes[i].first;
}

static void flag_axis(struct prune *p, const struct value *v, int axis, int flag)
{
	int i = axis_number(p, v, axis);

	for (int k = 0; i >= 0 && k < p->axes[i].size; k++)
		p->flags[find(p, p->axes[i].first + k)] |= (unsigned char)flag;
}

static void fix_axis(struct prune *p, const struct value *v, int axis)
{
	flag_axis(p, v, axis, AXIS_HARD);
}

static void fix(struct prune *p, const struct value *v)
{
	for (int i = 0; v && v->type.kind == TYPE_TENSOR && i < v->type.rank; i++)
		fix_axis(p, v, i);
}

/* v[.., i + v_at, ..] and w[.., i + w_at, ..] are one, for count indices. */
static void tie_range(struct prune *p, const struct value *v, int axis, int v_at,
		      const struct value *w, int other, int w_at, int count)
{
	int a = prune_first(p, v, axis), b = prune_first(p, w, other);

	if (a < 0 || b < 0) {
		fix_axis(p, v, axis);
		fix_axis(p, w, other);
		return;
	}
	for (int i = 0; i < count; i++)
		tie(p, a + v_at + i, b + w_at + i);
}

/* The whole axes are one. */
static void tie_axes(struct prune *p, const struct value *v, int axis, const struct value *w,
		     int other)
{
	int i = axis_number(p, v, axis), j = axis_number(p, w, other);

	if (i < 0 && j < 0)
		return;
	if (i < 0 || j < 0 || p->axes[i].size != p->axes[j].size) {
		fix_axis(p, v, axis);
		fix_axis(p, w, other);
		return;
	}
	tie_range(p, v, axis, 0, w, other, 0, p->axes[i].size);
}

/* x broadcasts to y: axes of size 1 have no elements. `from`: axes of y behind those that x has. */
static void tie_broadcast(struct prune *p, const struct value *x, const struct value *y, int from)
{
	int shift = y->type.rank - from - x->type.rank;

	for (int i = 0; i < x->type.rank; i++)
		if (!dim_is(x->type.dims[i], 1))
			tie_axes(p, x, i, y, i + shift);
}

/* ---- operators ---- */

static void fix_node(struct prune *p, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		fix(p, n->in[i]);
	for (int i = 0; i < n->out_count; i++)
		fix(p, n->out[i]);
}

static void tie_map(struct prune *p, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		tie_broadcast(p, n->in[i], n->out[0], 0);
}

static void tie_matmul(struct prune *p, const struct node *n)
{
	const struct value *a = n->in[0], *w = n->in[1], *y = n->out[0];
	int ra = a->type.rank, rw = w->type.rank, ry = y->type.rank;
	bool weights = value_const(w) != NULL;

	for (int i = 0; i < ry - 2; i++) {
		int ia = i - (ry - ra), iw = i - (ry - rw);

		if (ia >= 0 && !dim_is(a->type.dims[ia], 1))
			tie_axes(p, a, ia, y, i);
		if (iw >= 0 && !dim_is(w->type.dims[iw], 1))
			tie_axes(p, w, iw, y, i);
		if (!weights && ia >= 0 && iw >= 0)
			flag_axis(p, y, i, AXIS_HEAD);
	}
	tie_axes(p, a, ra - 2, y, ry - 2);
	tie_axes(p, w, rw - 1, y, ry - 1);
	tie_axes(p, a, ra - 1, w, rw - 2);
	if (weights)
		flag_axis(p, a, ra - 1, AXIS_SUMMED);
}

/* Groups of a grouped convolution go as a whole: all their inputs and outputs. */
static void tie_conv_groups(struct prune *p, const struct node *n, int groups)
{
	const struct value *x = n->in[0], *y = n->out[0];
	int r = x->type.rank, cx = prune_first(p, x, r - 1), cy = prune_first(p, y, r - 1);
	int i = axis_number(p, x, r - 1), j = axis_number(p, y, r - 1);

	if (i < 0 || j < 0) {
		fix_axis(p, x, r - 1);
		fix_axis(p, y, r - 1);
		return;
	}
	for (int g = 0; g < groups; g++) {
		int in = p->axes[i].size / groups, out = p->axes[j].size / groups;

		for (int k = 0; k < in; k++)
			tie(p, cx + g * in + k, cx + g * in);
		for (int k = 0; k < out; k++)
			tie(p, cy + g * out + k, cx + g * in);
	}
}

static void tie_conv(struct prune *p, const struct node *n)
{
	const struct value *x = n->in[0], *w = n->in[1], *y = n->out[0];
	int r = x->type.rank, groups = (int)ATTRS_OF(conv, n)->group;

	tie_axes(p, x, 0, y, 0);
	for (int i = 1; i < r - 1; i++) {
		fix_axis(p, x, i);
		fix_axis(p, w, i - 1);
		fix_axis(p, y, i);
	}
	tie_axes(p, w, r - 1, y, r - 1);
	flag_axis(p, y, r - 1, AXIS_CONV);
	flag_axis(p, x, r - 1, AXIS_CONV);
	if (groups > 1) {
		fix_axis(p, w, r - 2);
		tie_conv_groups(p, n, groups);
		return;
	}
	tie_axes(p, x, r - 1, w, r - 2);
	if (value_const(w))
		flag_axis(p, x, r - 1, AXIS_SUMMED);
}

/* Heads of q by those of k: each k head goes with all q heads that read it. */
static void tie_attention_heads(struct prune *p, const struct node *n)
{
	const struct value *q = n->in[0], *k = n->in[1], *v = n->in[2], *y = n->out[0];
	int i = axis_number(p, q, 2), j = axis_number(p, k, 2), share;

	tie_axes(p, q, 2, y, 2);
	tie_axes(p, k, 2, v, 2);
	flag_axis(p, q, 2, AXIS_HEAD);
	if (dim_is(k->type.dims[2], 1))
		return; /* all q heads read the only one */
	if (i < 0 || j < 0) {
		fix_axis(p, q, 2);
		fix_axis(p, k, 2);
		return;
	}
	share = p->axes[i].size / p->axes[j].size;
	for (int h = 0; h < p->axes[i].size; h++)
		tie(p, p->axes[i].first + h, p->axes[j].first + h / share);
}

static void tie_attention(struct prune *p, const struct node *n)
{
	static const int score[4] = {0, 2, 1, -1}; /* axes of y under [B,H,T,S] */
	const struct value *q = n->in[0], *k = n->in[1], *v = n->in[2], *y = n->out[0];

	tie_axes(p, q, 0, y, 0);
	tie_axes(p, k, 0, y, 0);
	tie_axes(p, v, 0, y, 0);
	tie_axes(p, q, 1, y, 1);
	tie_axes(p, q, 3, k, 3);
	tie_axes(p, v, 3, y, 3);
	flag_axis(p, q, 3, AXIS_HEAD);
	flag_axis(p, v, 3, AXIS_HEAD);
	for (int i = 0; i < 3; i++)
		fix_axis(p, n->in[i], 1);
	tie_attention_heads(p, n);
	for (int i = 3; i < n->in_count; i++)
		for (int a = 0, r = n->in[i]->type.rank; a < r; a++) {
			int to = score[4 - r + a];

			if (dim_is(n->in[i]->type.dims[a], 1))
				continue;
			if (to < 0)
				fix_axis(p, n->in[i], a);
			else
				tie_axes(p, n->in[i], a, y, to);
		}
}

static void tie_pool(struct prune *p, const struct node *n)
{
	int r = n->out[0]->type.rank;

	tie_axes(p, n->in[0], 0, n->out[0], 0);
	tie_axes(p, n->in[0], r - 1, n->out[0], r - 1);
	for (int i = 1; i < r - 1; i++) {
		fix_axis(p, n->in[0], i);
		fix_axis(p, n->out[0], i);
	}
}

static void tie_normalize(struct prune *p, const struct node *n)
{
	const struct ints *axes = &ATTRS_OF(normalize, n)->axes;

	for (int i = 0; i < n->in_count; i++)
		if (n->in[i])
			tie_broadcast(p, n->in[i], n->out[0], 0);
	for (int i = 0; i < axes->count; i++)
		fix_axis(p, n->out[0], (int)axes->at[i]);
}

/* What is along `axis` of the operand stays; the other axes pass through. */
static void tie_except(struct prune *p, const struct node *n, int axis)
{
	for (int i = 0; i < n->in[0]->type.rank; i++)
		tie_axes(p, n->in[0], i, n->out[0], i);
	fix_axis(p, n->in[0], axis);
}

static void tie_reduce(struct prune *p, const struct node *n, const int *axes, int count, bool keep)
{
	for (int i = 0, to = 0; i < n->in[0]->type.rank; i++) {
		bool reduced = false;

		for (int k = 0; k < count; k++)
			reduced = reduced || axes[k] == i;
		if (reduced)
			fix_axis(p, n->in[0], i);
		else
			tie_axes(p, n->in[0], i, n->out[0], to);
		to += !reduced || keep;
	}
}

static void tie_transpose(struct prune *p, const struct node *n)
{
	for (int i = 0; i < n->out[0]->type.rank; i++)
		tie_axes(p, n->in[0], (int)ATTRS_OF(transpose, n)->perm.at[i], n->out[0], i);
}

static void tie_slice(struct prune *p, const struct node *n)
{
	const struct attrs_slice *a = ATTRS_OF(slice, n);
	const struct value *x = n->in[0], *y = n->out[0];

	for (int i = 0; i < x->type.rank; i++) {
		if (x->type.dims[i] == y->type.dims[i] && slice_step(n, i) == 1) {
			tie_axes(p, x, i, y, i);
		} else if (dim_is_const(a->at.at[i]) && dim_is_const(y->type.dims[i]) &&
			   y->type.dims[i]->value > 1 && slice_step(n, i) == 1) {
			tie_range(p, x, i, (int)a->at.at[i]->value, y, i, 0,
				  (int)y->type.dims[i]->value);
		} else {
			fix_axis(p, x, i);
			fix_axis(p, y, i);
		}
	}
}

static void tie_pad(struct prune *p, const struct node *n)
{
	const struct attrs_pad *a = ATTRS_OF(pad, n);
	const struct value *x = n->in[0], *y = n->out[0];

	if (n->in_count > 1)
		fix(p, n->in[1]);
	for (int i = 0; i < x->type.rank; i++) {
		if (dim_is(a->lo.at[i], 0) && dim_is(a->hi.at[i], 0)) {
			tie_axes(p, x, i, y, i);
		} else if (!a->kind && dim_is_const(a->lo.at[i]) && dim_is_const(a->hi.at[i]) &&
			   a->lo.at[i]->value >= 0 && a->hi.at[i]->value >= 0 &&
			   axis_number(p, x, i) >= 0) {
			tie_range(p, x, i, 0, y, i, (int)a->lo.at[i]->value,
				  (int)x->type.dims[i]->value);
		} else {
			fix_axis(p, x, i);
			fix_axis(p, y, i);
		}
	}
}

static void tie_concat(struct prune *p, const struct node *n)
{
	const struct value *y = n->out[0];
	int axis = (int)ATTRS_OF(concat, n)->axis, first = prune_first(p, y, axis), at = 0;

	for (int i = 0; i < n->in_count; i++) {
		const struct value *x = n->in[i];

		for (int k = 0; k < y->type.rank; k++)
			if (k != axis)
				tie_axes(p, x, k, y, k);
		if (first < 0) {
			fix_axis(p, x, axis);
			continue;
		}
		if (x->type.dims[axis]->value > 1)
			tie_range(p, x, axis, 0, y, axis, at, (int)x->type.dims[axis]->value);
		else if (x->type.dims[axis]->value ==
			 1) /* such an axis has no elements: it stays */
			p->flags[find(p, first + at)] |= AXIS_HARD;
		at += (int)x->type.dims[axis]->value;
	}
}

static void tie_gather(struct prune *p, const struct node *n)
{
	const struct attrs_gather *a = ATTRS_OF(gather, n);
	const struct value *x = n->in[0], *y = n->out[0];
	int axis = (int)a->axis, wider = y->type.rank - x->type.rank;

	fix(p, n->in[1]);
	if (a->kind || a->batch) {
		fix(p, x);
		fix(p, y);
		return;
	}
	for (int i = 0; i < axis; i++)
		tie_axes(p, x, i, y, i);
	for (int i = axis + 1; i < x->type.rank; i++)
		tie_axes(p, x, i, y, i + wider);
	fix_axis(p, x, axis);
	for (int i = axis; i < axis + wider + 1; i++)
		fix_axis(p, y, i);
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
				tie(p, one->first + i, many->first + i / inner % many->size);
		else
			flag_axis(p, many->value, many->axis, AXIS_SOFT);
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
		list[count] = axis_number(p, v, i);
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
		fix_axis(p, n->in[0], i);
	for (int j = j0; j < j1; j++)
		fix_axis(p, n->out[0], j);
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
			tie_axes(f->p, n->in[0], i++, n->out[0], j++);
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
	struct prune *p = f->p;
	int axes[HONE_MAX_RANK], count;

	switch (n->op) {
	case OP_const: return;
	case OP_map: tie_map(p, n); return;
	case OP_matmul: tie_matmul(p, n); return;
	case OP_conv: tie_conv(p, n); return;
	case OP_attention: tie_attention(p, n); return;
	case OP_pool: tie_pool(p, n); return;
	case OP_normalize: tie_normalize(p, n); return;
	case OP_softmax: tie_except(p, n, (int)ATTRS_OF(softmax, n)->axis); return;
	case OP_cumulate: tie_except(p, n, (int)ATTRS_OF(cumulate, n)->axis); return;
	case OP_reduce:
		count = reduce_axes_of(n, axes);
		tie_reduce(p, n, axes, count, ATTRS_OF(reduce, n)->keep);
		return;
	case OP_argreduce:
		axes[0] = (int)ATTRS_OF(argreduce, n)->axis;
		tie_reduce(p, n, axes, 1, ATTRS_OF(argreduce, n)->keep);
		return;
	case OP_transpose: tie_transpose(p, n); return;
	case OP_slice: tie_slice(p, n); return;
	case OP_expand: tie_broadcast(p, n->in[0], n->out[0], 0); return;
	case OP_pad: tie_pad(p, n); return;
	case OP_concat: tie_concat(p, n); return;
	case OP_gather: tie_gather(p, n); return;
	case OP_reshape: read_reshape(f, n); return;
	default: fix_node(p, n); return;
	}
}

static bool fix_inside(struct node *n, void *self)
{
	struct prune *p = self;

	if (n->parent != p->c->graph->body)
		fix_node(p, n);
	for (int i = 0; i < n->region_count; i++) {
		for (int k = 0; k < n->regions[i]->param_count; k++)
			fix(p, n->regions[i]->params[k]);
		for (int k = 0; k < n->regions[i]->result_count; k++)
			fix(p, n->regions[i]->results[k]);
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
		fix(p, g->body->params[i]);
	for (int i = 0; i < g->body->result_count; i++)
		fix(p, g->body->results[i]);
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
