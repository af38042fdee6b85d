/* placement.c: an operand of a concat is stored by its kernel into the concat's buffer, at its offset; readers read it
 * there. An operand has one home: it is placed in the first concat that can take it, and copied to any other.
 *
 * Refused: what is no kernel's result in the same region (inputs, constants, results of control flow), what something else
 * than a kernel of loops reads (calls want contiguous arrays; control flow hands over pointers), function results,
 * elements smaller than a byte (two kernels' tasks would share one), dims that depend on data. */
#include "backend/placement.h"

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

static bool can_place(const struct finder *f, const struct value *v, const struct node *concat)
{
	if (!v->def || v->def->parent != concat->parent || !has_loops(v->def) || f->pinned[v->id] ||
	    f->placed[v->id])
		return false;
	for (int i = 0; i < v->type.rank; i++)
		if (dim_stage(concat->out[0]->type.dims[i]) || dim_stage(v->type.dims[i]))
			return false;
	return dtype_bits(v->type.dtype) >= 8;
}

static void place_operands(struct finder *f, const struct node *n)
{
	struct dim_pool *pool = &f->g->dims;
	int64_t axis = ((const struct attrs_concat *)n->attrs)->axis;
	dim at = dim_const(pool, 0);

	for (int i = 0; i < n->in_count; i++) {
		const struct value *v = n->in[i];
		struct placement *p;

		if (can_place(f, v, n)) {
			p = ARENA_NEW(f->arena, struct placement);
			p->host = n->out[0];
			for (int k = 0; k < v->type.rank; k++)
				p->offset[k] = k == axis ? at : dim_const(pool, 0);
			f->placed[v->id] = p;
		}
		at = dim_add(pool, at, v->type.dims[axis]);
	}
}

static void find_in_region(struct finder *f, const struct region *r)
{
	for (const struct node *n = r->first; n; n = n->next) {
		if (n->op == OP_concat)
			place_operands(f, n);
		for (int i = 0; n->op != OP_group && i < n->region_count; i++)
			find_in_region(f, n->regions[i]);
	}
}

/* A concat's result may be placed in another concat: the offsets add up, and the outermost is the host. Results of later
 * nodes have been decided later, so one step towards the host per turn ends. */
static void find_root(struct finder *f, struct placement *p)
{
	const struct placement *outer;

	while ((outer = f->placed[p->host->id])) {
		for (int i = 0; i < p->host->type.rank; i++)
			p->offset[i] = dim_add(&f->g->dims, p->offset[i], outer->offset[i]);
		p->host = outer->host;
	}
}

struct placement **placement_find(struct graph *g, struct arena *a)
{
	struct finder f = {.g = g, .arena = a};

	f.placed = ARENA_ARRAY(a, struct placement *, g->value_count + 1);
	f.pinned = ARENA_ARRAY(a, bool, g->value_count + 1);
	pin_region(&f, g->body, false);
	find_in_region(&f, g->body);
	for (int i = 0; i < g->value_count; i++)
		if (f.placed[i])
			find_root(&f, f.placed[i]);
	return f.placed;
}

/* ---- kernels ---- */

struct mover {
	struct kernel *k;
	struct placement **of; /* by buffer: NULL or where it is */
};

static void move_index(struct mover *m, int buffer, int rank, const struct expr *const *index,
		       const struct expr **out)
{
	for (int i = 0; i < rank; i++)
		out[i] = index_add(m->k->exprs, index[i],
				   expr_dim(m->k->exprs, m->of[buffer]->offset[i]));
}

static const struct expr *move_load(struct expr_pool *p, const struct expr *e, void *self)
{
	struct mover *m = self;
	const struct expr *index[HONE_MAX_RANK];

	if (e->op != EXPR_LOAD || !m->of[e->index])
		return NULL;
	move_index(m, e->index, e->count, e->arg, index);
	return expr_load(p, (enum dtype)e->type, e->index, e->count, index);
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
				ARENA_ARRAY(m->k->arena, const struct expr *, s->rank);

			move_index(m, s->buffer, s->rank, s->index, index);
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
			  .of = ARENA_ARRAY(k->arena, struct placement *, k->buffers.count)};
	bool any = false;

	for (int i = 0; i < k->buffers.count; i++) {
		struct buffer *b = &k->buffers.at[i];

		m.of[i] = b->value ? placed[b->value->id] : NULL;
		any |= m.of[i] != NULL;
	}
	if (!any)
		return;
	kernel_map_exprs(k, move_expr, &m);
	for (int i = 0; i < k->buffers.count; i++) {
		if (m.of[i]) {
			k->buffers.at[i].value = m.of[i]->host;
			k->buffers.at[i].type = m.of[i]->host->type;
		}
	}
	move_stores(&m, &k->body);
}
