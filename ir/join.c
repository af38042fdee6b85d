/* join.c: the kernels of a group's ops become one kernel.
 *
 * The ops are lowered in order, into the same kernel. An op whose kernel is pure (one par nest with one
 * store, lowers_to_pure) leaves no statement behind: its value is kept as an expression over its axes.
 *   - cheap: a load of it, by a later op, is that expression at the load's index;
 *   - costly (it holds a reduction, a transcendental function, or a load of something costly): a load of it
 *     is left as a placeholder until the nest that needs it is complete.
 * When a nest is complete, its placeholders are resolved, the last op's first:
 *   - one distinct load, not under a reduction and not in an index: substituted;
 *   - else the value is kept in a local. The nest's outermost axes at which all loads agree (each is the
 *     index of one axis of the value) are fixed; inside them the local is filled, then read:
 *	for n par { for c { s[c] = sum k {..} }; for c par { y[n,c] = s[c] / (sum j { s[j] }) } }
 *   - where no axis is fixed, the local holds all of the value; it must be small and of constant size, or the
 *     value must have no reduction (then it is computed again). Otherwise the group is refused.
 * An op that is not pure (concat, scatter, cumulate, attention) adds its statements. Its result is the
 * group's if it leaves the group, else a local, small and of constant size; later ops load from there.
 * Of an op that stores tiles (lowers_to_tiles) the statements are kept back: where the results of the group are computed
 * from it element by element, its stores store those instead.
 * Last come the nests of the group's pure results; results of equal dims share one nest. */
#include "ir/join.h"
#include "ir/op.h"

#include <string.h>

static const char element_by_element[] = "it is stored by tiles, and read otherwise";
static const char too_large[] = "it would be computed many times, and is too large to keep";

enum { PLACEHOLDER = 1 << 20, LOCAL_BYTES = 64 << 10, LOADS_MAX = 32 };

/* A value made inside the group. */
struct inner {
	struct value *v;
	bool pure, costly, reduces;
	int axes[HONE_MAX_RANK];
	const struct expr *value; /* pure */
	int buffer;               /* not pure, or kept whole */
	struct stmt *tiles;       /* stores of PLACEHOLDER + its number, kept back; it is costly */
};

struct join {
	struct lowering *l;
	const struct node *group;
	struct {
		struct inner *at;
		int count, room;
	} inner;
	struct kernel_builder out; /* where finished statements go */
};

static int find_inner(const struct join *j, const struct value *v)
{
	for (int i = 0; i < j->inner.count; i++)
		if (j->inner.at[i].v == v)
			return i;
	return -1;
}

const struct expr *join_load(struct lowering *l, struct value *v, const struct expr *const *index)
{
	int i = find_inner(l->join, v);
	const struct inner *x = i < 0 ? NULL : &l->join->inner.at[i];

	if (!x)
		return NULL;
	if (x->pure && !x->costly)
		return expr_bind_axes(exprs_of(l), x->value, v->type.rank, x->axes, index);
	return expr_load(exprs_of(l), value_compute(v),
			 x->pure || x->tiles ? PLACEHOLDER + i : x->buffer, v->type.rank, index);
}

/* Stores of the op being lowered go to a placeholder until it is known where its result lives. */
int join_buffer(struct lowering *l, struct value *v)
{
	(void)v;
	return PLACEHOLDER + l->join->inner.count;
}

static bool refuse(const struct join *j, const struct value *v, const char *why)
{
	return diag_add(j->l->diag, DIAG_UNSUPPORTED, v->def ? v->def->loc : j->group->loc,
			"%s cannot be joined with the others of its group: %s",
			v->def ? op_table[v->def->op].name : "this value", why);
}

static bool is_small(const struct type *t)
{
	int64_t count = type_count_const(t);

	return count >= 0 && dtype_bytes(t->dtype, count) <= LOCAL_BYTES;
}

/* ---- looking at expressions ---- */

static bool is_reduce(const struct expr *e, void *self)
{
	const struct join *j = self;

	if (e->op == EXPR_LOAD && e->index >= PLACEHOLDER)
		return j->inner.at[e->index - PLACEHOLDER].reduces;
	return e->op == EXPR_REDUCE;
}

static bool is_costly(const struct expr *e, void *self)
{
	(void)self;
	return e->op == EXPR_REDUCE || (e->op == EXPR_LOAD && e->index >= PLACEHOLDER) ||
	       (e->op >= EXPR_EXP && e->op <= EXPR_ERF);
}

/* The distinct loads of one placeholder in some expressions. */
struct loads {
	int placeholder, count;
	const struct expr *at[LOADS_MAX]; /* count may be more: then they are too many */
	bool in_index;
	unsigned char *seen; /* by expression id: bit 0 outside, bit 1 inside of an index */
};

static void find_loads(struct loads *s, const struct expr *e, bool in_index)
{
	unsigned char bit = in_index ? 2 : 1;

	if (s->seen[e->id] & bit)
		return;
	if (e->op == EXPR_LOAD && e->index == s->placeholder) {
		s->in_index |= in_index;
		if (!s->seen[e->id] && ++s->count <= LOADS_MAX)
			s->at[s->count - 1] = e;
	}
	s->seen[e->id] |= bit;
	in_index |= e->op == EXPR_LOAD || e->op == EXPR_CHECK;
	for (int i = 0; i < e->count; i++)
		find_loads(s, e->arg[i], in_index);
}

/* Replaces loads of one placeholder: by the value, or by loads of a local at the axes that are not fixed. */
struct replacement {
	const struct inner *x;
	int placeholder;
	int local; /* -1: by the value */
	int kept_count, kept[HONE_MAX_RANK];
};

static const struct expr *replace_load(struct expr_pool *p, const struct expr *e, void *self)
{
	const struct replacement *r = self;
	const struct expr *index[HONE_MAX_RANK];

	if (e->op != EXPR_LOAD || e->index != r->placeholder)
		return NULL;
	if (r->local < 0)
		return expr_bind_axes(p, r->x->value, e->count, r->x->axes, e->arg);
	for (int i = 0; i < r->kept_count; i++)
		index[i] = e->arg[r->kept[i]];
	return expr_load(p, e->type, r->local, r->kept_count, index);
}

/* ---- nests ---- */

/* A local that is filled inside of the nest's first `depth` axes. */
struct fill {
	int depth, local, rank, axes[HONE_MAX_RANK];
	const struct expr *value;
};

/* par loops over axes with stores in them. `slots` are all expressions in it, for rewriting. */
struct nest {
	int axis_count, axes[HONE_MAX_RANK];
	struct {
		struct stmt **at;
		int count, room;
	} stores;
	struct {
		struct fill **at;
		int count, room;
	} fills;
	struct {
		const struct expr ***at;
		int count, room;
	} slots;
};

static void add_store(struct join *j, struct nest *n, struct stmt *s)
{
	struct arena *a = j->l->kernel->arena;

	ARENA_PUSH(a, &n->stores, s);
	ARENA_PUSH(a, &n->slots, &s->value);
	for (int i = 0; i < s->rank; i++)
		ARENA_PUSH(a, &n->slots, &s->index[i]);
}

static void nest_loads(struct join *j, const struct nest *n, int placeholder, struct loads *s)
{
	struct arena scratch = {0};

	*s = (struct loads){.placeholder = placeholder};
	s->seen = arena_alloc(&scratch, (size_t)exprs_of(j->l)->count);
	for (int i = 0; i < n->slots.count; i++)
		find_loads(s, *n->slots.at[i], false);
	arena_free(&scratch);
	s->seen = NULL;
}

static void replace_in_nest(struct join *j, struct nest *n, struct replacement *r)
{
	for (int i = 0; i < n->slots.count; i++)
		*n->slots.at[i] = expr_rewrite(exprs_of(j->l), *n->slots.at[i], replace_load, r);
}

static bool contains(int count, const int *axes, int axis)
{
	for (int i = 0; i < count; i++)
		if (axes[i] == axis)
			return true;
	return false;
}

/* An axis that is no loop of the nest or its fills: a reduction's. */
static bool is_reduced_axis(const struct expr *e, void *self)
{
	const struct nest *n = self;

	if (e->op != EXPR_AXIS || contains(n->axis_count, n->axes, e->index))
		return false;
	for (int i = 0; i < n->fills.count; i++)
		if (contains(n->fills.at[i]->rank, n->fills.at[i]->axes, e->index))
			return false;
	return true;
}

/* One load, that is made once for each iteration: the value can take its place. */
static bool is_single(const struct loads *s, struct nest *n)
{
	return s->count == 1 && !s->in_index && !expr_any(s->at[0], is_reduced_axis, n);
}

/* The axis of the value at which all loads read the nest's axis; -1 if there is none. */
static int agreed_axis(const struct loads *s, int rank, int axis)
{
	for (int k = 0; k < rank; k++) {
		bool all = true;

		for (int i = 0; i < s->count && all; i++)
			all = s->at[i]->arg[k]->op == EXPR_AXIS && s->at[i]->arg[k]->index == axis;
		if (all)
			return k;
	}
	return -1;
}

/* Keeps inner value x in a local inside of the outer axes at which its loads agree. False (not reported)
 * when they agree on none. */
static bool keep_part(struct join *j, struct nest *n, const struct inner *x, const struct loads *s)
{
	struct kernel *k = j->l->kernel;
	struct fill *f = ARENA_NEW(k->arena, struct fill);
	struct type t = type_make(value_compute(x->v), 0, NULL);
	struct replacement r = {.x = x, .placeholder = s->placeholder};
	const struct expr *index[HONE_MAX_RANK] = {NULL};

	while (s->count <= LOADS_MAX && f->depth < n->axis_count) {
		int at = agreed_axis(s, x->v->type.rank, n->axes[f->depth]);

		if (at < 0)
			break;
		index[at] = expr_axis(k->exprs, n->axes[f->depth++]);
	}
	if (!f->depth && !is_small(&x->v->type))
		return false;
	for (int i = 0; i < x->v->type.rank; i++) {
		if (index[i])
			continue;
		r.kept[r.kept_count++] = i;
		f->axes[f->rank++] = lower_axis(j->l, "f", x->v->type.dims[i]);
		index[i] = expr_axis(k->exprs, f->axes[f->rank - 1]);
		t.dims[t.rank++] = x->v->type.dims[i];
	}
	r.local = f->local = kernel_local(k, "t", &t);
	replace_in_nest(j, n, &r);
	f->value = expr_bind_axes(k->exprs, x->value, x->v->type.rank, x->axes, index);
	ARENA_PUSH(k->arena, &n->fills, f);
	ARENA_PUSH(k->arena, &n->slots, &f->value);
	return true;
}

static bool resolve(struct join *j, struct nest *n)
{
	for (int i = j->inner.count - 1; i >= 0; i--) {
		const struct inner *x = &j->inner.at[i];
		struct replacement r = {.x = x, .placeholder = PLACEHOLDER + i, .local = -1};
		struct loads s;

		if (!x->costly || x->tiles)
			continue;
		nest_loads(j, n, PLACEHOLDER + i, &s);
		if (!s.count)
			continue;
		if (is_single(&s, n)) {
			replace_in_nest(j, n, &r);
		} else if (!keep_part(j, n, x, &s)) {
			if (x->reduces)
				return refuse(j, x->v, too_large);
			replace_in_nest(j, n, &r);
		}
	}
	return true;
}

static void emit_fill(struct kernel_builder *b, const struct fill *f)
{
	const struct expr *index[HONE_MAX_RANK];
	struct kernel_builder in = *b, after = *b;

	for (int i = 0; i < f->rank; i++) {
		struct kernel_builder next = k_for(&in, f->axes[i], true);

		if (i == 0)
			after = next;
		index[i] = expr_axis(b->kernel->exprs, f->axes[i]);
	}
	k_store(&in, f->local, f->rank, index, f->value, -1);
	*b = f->rank ? after : in;
}

/* ---- ops that are not pure ---- */

/* The nest that s is, if it is par loops with one store in them. */
static bool as_nest(struct join *j, struct stmt *s, struct nest *n)
{
	*n = (struct nest){0};
	for (; s && s->kind == STMT_FOR && s->par && (!n->axis_count || !s->next); s = s->body) {
		if (n->axis_count == HONE_MAX_RANK)
			return false;
		n->axes[n->axis_count++] = s->axis;
	}
	if (!s || s->kind != STMT_STORE || (s->next && n->axis_count))
		return false;
	add_store(j, n, s);
	return true;
}

/* All expressions of a statement become slots of n, its loops the axes known to n. */
static bool collect(struct join *j, struct stmt *s, struct nest *n)
{
	struct arena *a = j->l->kernel->arena;
	bool fits = true;

	for (; s; s = s->next) {
		if (s->kind == STMT_FOR && n->axis_count < HONE_MAX_RANK)
			n->axes[n->axis_count++] = s->axis;
		else if (s->kind == STMT_FOR)
			fits = false;
		if (s->value)
			ARENA_PUSH(a, &n->slots, &s->value);
		for (int i = 0; i < s->rank; i++)
			ARENA_PUSH(a, &n->slots, &s->index[i]);
		fits &= collect(j, s->body, n);
	}
	return fits;
}

/* Any other statement: what it needs is substituted, or kept whole before it. */
static bool emit_other(struct join *j, struct stmt *s)
{
	struct nest n = {0};
	int axis_count;

	s->next = NULL;
	if (!collect(j, s, &n))
		return refuse(j, j->group->out[0], "too many loops");
	axis_count = n.axis_count;
	for (int i = j->inner.count - 1; i >= 0; i--) {
		const struct inner *x = &j->inner.at[i];
		struct replacement r = {.x = x, .placeholder = PLACEHOLDER + i, .local = -1};
		struct loads loads;

		if (!x->costly)
			continue;
		n.axis_count = axis_count;
		nest_loads(j, &n, PLACEHOLDER + i, &loads);
		if (!loads.count)
			continue;
		if (x->tiles)
			return refuse(j, x->v, element_by_element);
		if (!x->reduces || is_single(&loads, &n)) {
			replace_in_nest(j, &n, &r);
			continue;
		}
		n.axis_count = 0; /* no axis is fixed */
		if (!keep_part(j, &n, x, &loads))
			return refuse(j, x->v, too_large);
	}
	for (int i = n.fills.count - 1; i >= 0; i--)
		emit_fill(&j->out, n.fills.at[i]);
	*j->out.end = s;
	j->out.end = &s->next;
	return true;
}

/* ---- tiles ---- */

/* Whether a load of a value of this type reads the element that the nest computes. */
static bool reads_own(const struct nest *n, const struct expr *load, const struct type *t)
{
	bool all = load->count == n->axis_count;

	for (int i = 0; all && i < n->axis_count; i++)
		all = dim_is(t->dims[i], 1) ||
		      (load->arg[i]->op == EXPR_AXIS && load->arg[i]->index == n->axes[i]);
	return all;
}

/* The only load of a value of tiles that the nest needs: at the nest's own axes. NULL: it needs none, or *ok is false. */
static const struct inner *find_tiles(struct join *j, struct nest *n, bool *ok)
{
	const struct inner *found = NULL;

	for (int i = 0; i < j->inner.count; i++) {
		const struct inner *x = &j->inner.at[i];
		struct loads s;

		if (!x->tiles)
			continue;
		nest_loads(j, n, PLACEHOLDER + i, &s);
		if (!s.count)
			continue;
		*ok = !found && s.count == 1 && !s.in_index && !n->fills.count &&
		      reads_own(n, s.at[0], &x->v->type);
		if (!*ok)
			return refuse(j, x->v, element_by_element), NULL;
		found = x;
	}
	return found;
}

struct tile_value {
	int placeholder;
	const struct expr *value;
};

static const struct expr *replace_tile(struct expr_pool *p, const struct expr *e, void *self)
{
	const struct tile_value *t = self;

	(void)p;
	return e->op == EXPR_LOAD && e->index == t->placeholder ? t->value : NULL;
}

/* The list with each store of the placeholder replaced by the stores of the nest, at its index. */
static struct stmt *fill_tiles(struct join *j, const struct nest *n, int placeholder,
			       struct stmt *s)
{
	struct expr_pool *p = exprs_of(j->l);
	struct stmt *first = NULL, *next;
	struct kernel_builder b = {j->l->kernel, &first};

	for (; s; s = next) {
		struct tile_value t = {placeholder, s->value};

		next = s->next;
		if (s->kind != STMT_STORE || s->buffer != placeholder) {
			s->body = fill_tiles(j, n, placeholder, s->body);
			s->next = NULL;
			*b.end = s;
			b.end = &s->next;
			continue;
		}
		for (int i = 0; i < n->stores.count; i++) {
			const struct stmt *to = n->stores.at[i];
			const struct expr *e =
				expr_bind_axes(p, to->value, n->axis_count, n->axes, s->index);

			k_store(&b, to->buffer, s->rank, s->index,
				expr_rewrite(p, e, replace_tile, &t), -1);
		}
	}
	return first;
}

/* The statements of x, which store what the nest makes of it. */
static bool emit_tiles(struct join *j, const struct nest *n, const struct inner *x)
{
	struct stmt *next, *body = fill_tiles(j, n, PLACEHOLDER + (int)(x - j->inner.at), x->tiles);

	for (; body; body = next) {
		next = body->next;
		if (!emit_other(j, body))
			return false;
	}
	return true;
}

/* Fills were found from the last value to the first: of one depth the last found comes first. */
static bool emit_nest(struct join *j, struct nest *n)
{
	struct kernel_builder b = j->out;
	const struct inner *tiles;
	bool ok = true;

	if (!resolve(j, n))
		return false;
	tiles = find_tiles(j, n, &ok);
	if (tiles || !ok)
		return ok && emit_tiles(j, n, tiles);
	for (int depth = 0; depth <= n->axis_count; depth++) {
		for (int i = n->fills.count - 1; i >= 0; i--)
			if (n->fills.at[i]->depth == depth)
				emit_fill(&b, n->fills.at[i]);
		if (depth == 0)
			j->out = b;
		if (depth < n->axis_count) {
			struct kernel_builder after = k_for(&b, n->axes[depth], true);

			if (depth == 0)
				j->out = after;
		}
	}
	for (int i = 0; i < n->stores.count; i++) {
		const struct stmt *s = n->stores.at[i];

		k_store(&b, s->buffer, s->rank, s->index, s->value, s->combine);
	}
	if (!n->axis_count)
		j->out = b;
	return true;
}

/* ---- where results live ---- */

static bool is_result(const struct join *j, const struct value *v)
{
	const struct region *r = j->group->regions[0];

	for (int i = 0; i < r->result_count; i++)
		if (r->results[i] == v)
			return true;
	return false;
}

static void set_buffer(struct stmt *s, int from, int to)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_STORE && s->buffer == from)
			s->buffer = to;
		set_buffer(s->body, from, to);
	}
}

/* Where the result of an op that is not pure lives: the group's result, or a local. */
static bool place(struct join *j, struct inner *x)
{
	const struct region *r = j->group->regions[0];

	for (int i = 0; i < r->result_count; i++)
		if (r->results[i] == x->v) {
			x->buffer = kernel_buffer(j->l->kernel, BUFFER_OUT, j->group->out[i]);
			return true;
		}
	if (!is_small(&x->v->type))
		return refuse(j, x->v, "its result is too large to keep");
	x->buffer = kernel_local(j->l->kernel, "t", &x->v->type);
	return true;
}

/* ---- the group ---- */

static bool join_op(struct join *j, struct node *n)
{
	struct kernel *k = j->l->kernel;
	struct inner x = {.v = n->out_count ? n->out[0] : NULL};
	const struct stmt *store;
	struct stmt *s, *next;
	int count;

	if (n->op == OP_const || n->op == OP_param)
		return true;
	if (n->out_count != 1 || n->op == OP_group || (op_table[n->op].flags & OP_BINDS) ||
	    n->op == OP_random)
		return diag_add(j->l->diag, DIAG_UNSUPPORTED, n->loc,
				"%s cannot be part of a group", op_table[n->op].name);
	k->body = NULL;
	j->l->at = kernel_at_end(k);
	if (!lower_op(j->l, n))
		return false;
	store = kernel_pure_store(k, &count, x.axes);
	if (store && lowers_to_pure(n)) {
		x.pure = true;
		x.value = store->value;
		x.reduces = expr_any(x.value, is_reduce, j);
		x.costly = expr_any(x.value, is_costly, j);
		ARENA_PUSH(k->arena, &j->inner, x);
		return true;
	}
	if (lowers_to_tiles(n) && !is_result(j, n->out[0])) {
		x.tiles = k->body;
		x.costly = true;
		ARENA_PUSH(k->arena, &j->inner, x);
		return true;
	}
	if (!place(j, &x))
		return false;
	set_buffer(k->body, PLACEHOLDER + j->inner.count, x.buffer);
	for (s = k->body; s; s = next) {
		struct nest nest;

		next = s->next;
		if (as_nest(j, s, &nest) ? !emit_nest(j, &nest) : !emit_other(j, s))
			return false;
	}
	ARENA_PUSH(k->arena, &j->inner, x);
	return true;
}

static bool same_dims(const struct type *a, const struct type *b)
{
	return a->rank == b->rank && !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof(dim));
}

/* Whether result i is stored already: by an op that is not pure. */
static bool is_stored(const struct join *j, int i)
{
	int x = find_inner(j, j->group->regions[0]->results[i]);

	return x >= 0 && !j->inner.at[x].pure &&
	       j->l->kernel->buffers.at[j->inner.at[x].buffer].value == j->group->out[i];
}

/* The nest of result `first` and of all later ones of the same dims. */
static bool emit_results(struct join *j, int first, bool *done)
{
	struct kernel *k = j->l->kernel;
	const struct region *r = j->group->regions[0];
	const struct type *t = &j->group->out[first]->type;
	struct kernel_builder unused = {k, &(struct stmt *){NULL}};
	const struct expr *index[HONE_MAX_RANK];
	struct nest n = {.axis_count = t->rank};

	j->l->at = unused;
	lower_open(j->l, t, index);
	for (int i = 0; i < t->rank; i++)
		n.axes[i] = index[i]->index;
	for (int i = first; i < r->result_count; i++) {
		const struct expr *value;

		if (done[i] || !same_dims(t, &j->group->out[i]->type))
			continue;
		done[i] = true;
		value = lower_load(j->l, r->results[i], index);
		add_store(j, &n,
			  k_store(&j->l->at, kernel_buffer(k, BUFFER_OUT, j->group->out[i]),
				  t->rank, index, value, -1));
	}
	return emit_nest(j, &n);
}

bool lower_group(struct lowering *l, const struct node *n)
{
	struct join j = {.l = l, .group = n};
	struct stmt *body = NULL;
	bool *done = ARENA_ARRAY(l->kernel->arena, bool, n->out_count);

	j.out = (struct kernel_builder){l->kernel, &body};
	l->join = &j;
	for (struct node *inner = n->regions[0]->first; inner; inner = inner->next)
		if (!join_op(&j, inner))
			return false;
	for (int i = 0; i < n->out_count; i++)
		done[i] = is_stored(&j, i);
	for (int i = 0; i < n->out_count; i++)
		if (!done[i] && !emit_results(&j, i, done))
			return false;
	l->kernel->body = body;
	l->join = NULL;
	return true;
}
