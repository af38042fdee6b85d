/* placement.c: a value is stored by its kernel into the buffer of a larger one, at its offset; readers read it there.
 *
 *   pad      of more elements: its operand is the box inside; the pad's kernel fills the border only. A pad of the
 *            same value with a wider border all around holds the narrower one.
 *   concat   its operands lie side by side. A concat of what lies side by side in a later one is a box of that
 *            (dense blocks: concat(%a, %b), then concat(%a, %b, %c), live in one buffer).
 *   reshape  that is a kernel of its own: the result is all of the operand, or the operand all of the result.
 *
 * A value has one home: the pad that reads it, else the last concat that can take it. Any other copies it. Homes
 * may be placed in homes; offsets add up.
 *
 * Refused: what is no kernel's result in the same region (inputs, constants, results of control flow), what something else
 * than a kernel of loops reads (calls want contiguous arrays; control flow hands over pointers), function results,
 * elements smaller than a byte (two kernels' tasks would share one), dims that depend on data. */
#include "backend/placement.h"
#include "ir/lower.h"

#include <string.h>

struct finder {
	struct graph *g;
	struct arena *arena;
	struct placement **placed;
	bool *pinned; /* by value id: must be contiguous in a place of its own */
};

static bool is_call(const struct node *n)
{
	return n->op == OP_topk || n->op == OP_unique || n->op == OP_nms || n->op == OP_nonzero ||
	       n->op == OP_random;
}

static bool has_loops(const struct node *n)
{
	return (op_table[n->op].flags & OP_LOWERS) && !is_call(n);
}

static void pin_region(struct finder *f, const struct region *r, bool in_group)
{
	for (const struct node *n = r->first; n; n = n->next) {
		for (int i = 0; !has_loops(n) && i < n->in_count; i++)
			f->pinned[n->in[i]->id] = true;
		for (int i = 0; i < n->region_count; i++)
			pin_region(f, n->regions[i], n->op == OP_group);
	}
	for (int i = 0; !in_group && i < r->result_count; i++)
		f->pinned[r->results[i]->id] = true;
}

static bool depends_on_data(const struct type *t)
{
	for (int i = 0; i < t->rank; i++)
		if (dim_stage(t->dims[i]))
			return true;
	return false;
}

static bool can_place(const struct finder *f, const struct value *v, const struct node *host)
{
	if (!v->def || v->def->parent != host->parent || !has_loops(v->def) || f->pinned[v->id] ||
	    f->placed[v->id])
		return false;
	return dtype_bits(v->type.dtype) >= 8 && !depends_on_data(&v->type) &&
	       !depends_on_data(&host->out[0]->type);
}

static void place(struct finder *f, const struct value *v, struct node *host, const dim *offset)
{
	struct placement *p = ARENA_NEW(f->arena, struct placement);

	p->in = host->out[0];
	memcpy(p->offset, offset, (size_t)v->type.rank * sizeof(*offset));
	f->placed[v->id] = p;
}

/* ---- pads ---- */

static bool same_border(const struct node *m, const struct node *n)
{
	const struct attrs_pad *a = m->attrs, *b = n->attrs;
	enum { PAD_CONSTANT };

	return a->kind == PAD_CONSTANT && b->kind == PAD_CONSTANT && m->in_count == n->in_count &&
	       (n->in_count == 2 ? m->in[1] == n->in[1]
				 : !memcmp(&a->value, &b->value, sizeof(a->value)));
}

/* Whether pad n, of the same operand, is a box of pad `wide`; then offset is where. */
static bool holds_pad(struct finder *f, const struct node *wide, const struct node *n, dim *offset)
{
	const struct attrs_pad *a = wide->attrs, *b = n->attrs;

	for (int k = 0; k < a->lo.count; k++) {
		offset[k] = dim_sub(&f->g->dims, a->lo.at[k], b->lo.at[k]);
		if (dim_lower(offset[k]) < 0 ||
		    dim_lower(dim_sub(&f->g->dims, a->hi.at[k], b->hi.at[k])) < 0)
			return false;
	}
	return same_border(wide, n);
}

static void place_padded(struct finder *f, struct node *n)
{
	struct value *v = n->in[0];
	struct node *other = f->placed[v->id] ? f->placed[v->id]->in->def : NULL;
	dim offset[HONE_MAX_RANK];

	if (!pad_is_box(n))
		return;
	if (other && holds_pad(f, other, n, offset) && can_place(f, n->out[0], other)) {
		place(f, n->out[0], other, offset);
		return;
	}
	if (other && holds_pad(f, n, other, offset) && can_place(f, other->out[0], n)) {
		place(f, other->out[0], n, offset);
		f->placed[v->id] = NULL;
	}
	if (can_place(f, v, n))
		place(f, v, n, ((const struct attrs_pad *)n->attrs)->lo.at);
}

/* Calls fn for the nodes of this operator outside of groups, in order. */
static void place_each(struct finder *f, const struct region *r, enum op_id op,
		       void (*fn)(struct finder *f, struct node *n))
{
	for (struct node *n = r->first; n; n = n->next) {
		if (n->op == op)
			fn(f, n);
		for (int i = 0; n->op != OP_group && i < n->region_count; i++)
			place_each(f, n->regions[i], op, fn);
	}
}

/* ---- concats ---- */

/* If all operands lie side by side in one later concat along the same axis, so does the result. */
static bool place_in_wider(struct finder *f, struct node *n)
{
	struct dim_pool *pool = &f->g->dims;
	int64_t axis = ((const struct attrs_concat *)n->attrs)->axis;
	const struct placement *first = f->placed[n->in[0]->id];
	struct node *host = first ? first->in->def : NULL;
	dim at;

	if (!host || host->op != OP_concat ||
	    ((const struct attrs_concat *)host->attrs)->axis != axis ||
	    !can_place(f, n->out[0], host))
		return false;
	at = first->offset[axis];
	for (int i = 0; i < n->in_count; i++) {
		const struct placement *p = f->placed[n->in[i]->id];

		if (!p || p->in != first->in || p->offset[axis] != at)
			return false;
		at = dim_add(pool, at, n->in[i]->type.dims[axis]);
	}
	place(f, n->out[0], host, first->offset);
	return true;
}

static void place_operands(struct finder *f, struct node *n)
{
	struct dim_pool *pool = &f->g->dims;
	int64_t axis = ((const struct attrs_concat *)n->attrs)->axis;
	dim offset[HONE_MAX_RANK];

	for (int k = 0; k < n->out[0]->type.rank; k++)
		offset[k] = dim_const(pool, 0);
	for (int i = 0; i < n->in_count; i++) {
		if (can_place(f, n->in[i], n))
			place(f, n->in[i], n, offset);
		offset[axis] = dim_add(pool, offset[axis], n->in[i]->type.dims[axis]);
	}
}

static void place_concats(struct finder *f, const struct region *r)
{
	for (struct node *n = r->last; n; n = n->prev) {
		if (n->op == OP_concat && !place_in_wider(f, n))
			place_operands(f, n);
		for (int i = 0; n->op != OP_group && i < n->region_count; i++)
			place_concats(f, n->regions[i]);
	}
}

/* ---- reshapes ---- */

static void place_whole(struct finder *f, const struct value *v, const struct value *in)
{
	struct placement *p = ARENA_NEW(f->arena, struct placement);

	p->in = in;
	p->whole = true;
	f->placed[v->id] = p;
}

/* A reshape of constant dims can be seen through where the home is a box: indices are divided by constants. */
static bool can_see_through(const struct finder *f, const struct value *home, const struct node *n)
{
	for (const struct placement *p; (p = f->placed[home->id]) != NULL; home = p->in)
		if (!p->whole)
			return type_count_const(&n->in[0]->type) >= 0;
	return true;
}

static void place_reshaped(struct finder *f, struct node *n)
{
	struct value *x = n->in[0], *y = n->out[0];

	if (can_place(f, x, n) && can_see_through(f, y, n))
		place_whole(f, x, y);
	else if (can_place(f, y, n) && !value_const(x) && can_see_through(f, x, n) &&
		 (x->def ? x->def->parent == n->parent : n->parent == f->g->body))
		place_whole(f, y, x);
}

bool placement_is_view(const struct node *n, struct placement *const *placed)
{
	const struct placement *x, *y;

	if (n->op != OP_reshape)
		return false;
	x = placed[n->in[0]->id];
	y = placed[n->out[0]->id];
	return (x && x->in == n->out[0]) || (y && y->in == n->in[0]);
}

static void find_host(struct finder *f, struct placement *p)
{
	const struct placement *outer;
	const struct value *v = p->in;

	p->contiguous = p->whole;
	for (; (outer = f->placed[v->id]) != NULL; v = outer->in)
		p->contiguous = p->contiguous && outer->whole;
	p->host = (struct value *)v;
}

struct placement **placement_find(struct graph *g, int extra_count, struct value *const *extra,
				  struct arena *a)
{
	struct finder f = {.g = g, .arena = a};

	f.placed = ARENA_ARRAY(a, struct placement *, g->value_count + 1);
	f.pinned = ARENA_ARRAY(a, bool, g->value_count + 1);
	pin_region(&f, g->body, false);
	for (int i = 0; i < extra_count; i++)
		f.pinned[extra[i]->id] = true;
	place_each(&f, g->body, OP_pad, place_padded);
	place_concats(&f, g->body);
	place_each(&f, g->body, OP_reshape, place_reshaped);
	for (int i = 0; i < g->value_count; i++)
		if (f.placed[i])
			find_host(&f, f.placed[i]);
	return f.placed;
}

/* ---- kernels ---- */

struct mover {
	struct kernel *k;
	struct placement *const *placed;
	const struct value **of; /* by buffer: the value whose indices change, or NULL */
};

/* The index in the host for that of a placed value; returns its rank. */
static int move_index(const struct mover *m, const struct value *v, const struct expr *const *index,
		      const struct expr **out)
{
	struct expr_pool *p = m->k->exprs;
	const struct placement *home;

	memcpy(out, index, (size_t)v->type.rank * sizeof(*out));
	for (; (home = m->placed[v->id]) != NULL; v = home->in) {
		const struct expr *from[HONE_MAX_RANK];

		memcpy(from, out, (size_t)v->type.rank * sizeof(*from));
		if (home->whole)
			reshape_index(p, &home->in->type, &v->type, from, out);
		for (int i = 0; !home->whole && i < v->type.rank; i++)
			out[i] = index_add(p, from[i], expr_dim(p, home->offset[i]));
	}
	return v->type.rank;
}

static const struct expr *move_load(struct expr_pool *p, const struct expr *e, void *self)
{
	struct mover *m = self;
	const struct expr *index[HONE_MAX_RANK];
	int rank;

	if (e->op != EXPR_LOAD || !m->of[e->index])
		return NULL;
	rank = move_index(m, m->of[e->index], e->arg, index);
	return expr_load(p, (enum dtype)e->type, e->index, rank, index);
}

static const struct expr *move_expr(const struct expr *e, void *self)
{
	struct mover *m = self;

	return expr_rewrite(m->k->exprs, e, move_load, m);
}

static bool copies_to_itself(const struct kernel *k, const struct stmt *s)
{
	if (s->kind != STMT_STORE || s->combine >= 0 || s->value->op != EXPR_LOAD ||
	    k->buffers.at[s->value->index].value != k->buffers.at[s->buffer].value)
		return false;
	for (int i = 0; i < s->rank; i++)
		if (s->index[i] != s->value->arg[i])
			return false;
	return true;
}

/* Moves the stores and drops copies of a value to its own place, and loops that are left empty. */
static void move_stores(struct mover *m, struct stmt **list)
{
	while (*list) {
		struct stmt *s = *list;

		if (s->kind == STMT_STORE && m->of[s->buffer]) {
			const struct expr **index =
				ARENA_ARRAY(m->k->arena, const struct expr *, HONE_MAX_RANK);

			s->rank = move_index(m, m->of[s->buffer], s->index, index);
			s->index = index;
		}
		if (s->body)
			move_stores(m, &s->body);
		if (copies_to_itself(m->k, s) ||
		    ((s->kind == STMT_FOR || s->kind == STMT_WHEN) && !s->body))
			*list = s->next;
		else
			list = &s->next;
	}
}

void placement_apply(struct kernel *k, struct placement *const *placed)
{
	struct mover m = {.k = k,
			  .placed = placed,
			  .of = ARENA_ARRAY(k->arena, const struct value *, k->buffers.count)};

	for (int i = 0; i < k->buffers.count; i++) {
		const struct value *v = k->buffers.at[i].value;

		if (v && placed[v->id] && !placed[v->id]->contiguous)
			m.of[i] = v;
	}
	kernel_map_exprs(k, move_expr, &m);
	for (int i = 0; i < k->buffers.count; i++) {
		struct buffer *b = &k->buffers.at[i];
		const struct placement *p = b->value ? placed[b->value->id] : NULL;

		if (!p)
			continue;
		b->value = p->host;
		if (m.of[i])
			b->type = p->host->type;
	}
	move_stores(&m, &k->body);
}
