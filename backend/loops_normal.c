/* loops_normal.c: rewrites the perfect par nests of a kernel, whose loops may stand in any order, so that they
 * vectorize better:
 *   order     a loop goes inside of those that a reduction depends on when the reduction does not depend
 *             on it: a softmax over a middle axis computes each sum once
 *   rows      what several reductions over a row read is kept in a local row (loops_rows.c)
 *   split     c < 768 read through c / 64 and c % 64 becomes c1 < 12, c2 < 64: no division is left
 *   collapse  i < A, j < B that every address uses as i * B + j becomes one loop of A * B: long vectors */
#include "backend/loops_plan.h"

static void find_loops(struct nest *n, struct stmt *s)
{
	n->count = 0;
	for (; s && s->kind == STMT_FOR && s->par && n->count < 32; s = s->body) {
		n->loops[n->count++] = s;
		if (!s->body || s->body->next)
			break;
	}
}

/* All expressions of the statements from s on. */
static void each_expr(const struct stmt *s, void (*fn)(const struct expr *e, void *self),
		      void *self)
{
	for (; s; s = s->next) {
		for (int i = 0; s->kind == STMT_STORE && i < s->rank; i++)
			fn(s->index[i], self);
		if (s->value)
			fn(s->value, self);
		each_expr(s->body, fn, self);
	}
}

static void map_exprs(struct stmt *s, const struct expr *(*fn)(const struct expr *e, void *self),
		      void *self)
{
	for (; s; s = s->next) {
		for (int i = 0; s->kind == STMT_STORE && i < s->rank; i++)
			s->index[i] = fn(s->index[i], self);
		if (s->value)
			s->value = fn(s->value, self);
		map_exprs(s->body, fn, self);
	}
}

/* ---- order ---- */

struct order {
	struct nest *n;
	int free_of[32]; /* for each loop: reductions that do not depend on it */
	int stamp;
};

static void count_reductions(const struct expr *e, void *self)
{
	struct order *o = self;
	struct note *note = note_of(&o->n->info, e);

	if (note->scanned == o->stamp)
		return;
	note->scanned = o->stamp;
	if (e->op == EXPR_REDUCE) {
		for (int i = 0; i < o->n->count; i++)
			o->free_of[i] +=
				!(note->axes & axis_bit(&o->n->info, o->n->loops[i]->axis));
	}
	for (int i = 0; i < e->count; i++)
		count_reductions(e->arg[i], self);
}

static void order_loops(struct nest *n)
{
	struct order o = {.n = n, .stamp = 1};

	each_expr(n->loops[n->count - 1]->body, count_reductions, &o);
	for (int i = 1; i < n->count;
	     i++) { /* stable insertion: the more are free of it, the further in */
		for (int j = i; j > 0 && o.free_of[j - 1] > o.free_of[j]; j--) {
			int axis = n->loops[j]->axis, count = o.free_of[j];

			n->loops[j]->axis = n->loops[j - 1]->axis;
			o.free_of[j] = o.free_of[j - 1];
			n->loops[j - 1]->axis = axis;
			o.free_of[j - 1] = count;
		}
	}
}

/* ---- replacing axes ---- */

struct binding {
	struct expr_pool *p;
	int count, axes[2];
	const struct expr *with[2];
};

static const struct expr *bind(const struct expr *e, void *self)
{
	struct binding *b = self;

	return expr_bind_axes(b->p, e, b->count, b->axes, b->with);
}

/* ---- split ---- */

struct division {
	struct nest *n;
	int loop;
	int64_t by; /* the smallest divisor found */
};

static void note_division(struct division *d, const struct expr *e)
{
	struct expr_pool *p = d->n->k->exprs;

	if ((e->op != EXPR_DIV && e->op != EXPR_REM && e->op != EXPR_MOD) ||
	    e->arg[0]->op != EXPR_AXIS || e->arg[1]->op != EXPR_LITERAL || e->arg[1]->i < 2)
		return;
	for (int i = 0; i < d->n->count; i++) {
		dim extent = p->axes[d->n->loops[i]->axis].extent;

		if (d->n->loops[i]->axis == e->arg[0]->index && dim_is_const(extent) &&
		    extent->value > e->arg[1]->i && extent->value % e->arg[1]->i == 0 &&
		    (!d->by || e->arg[1]->i < d->by)) {
			d->loop = i;
			d->by = e->arg[1]->i;
		}
	}
}

/* Divisions that are left in the address of a. */
static void scan_access(struct division *d, const struct access *a)
{
	for (int i = 0; i < a->count; i++)
		note_division(d, a->terms[i].value);
}

static void scan_loads(const struct expr *e, void *self)
{
	struct division *d = self;
	struct note *note = note_of(&d->n->info, e);

	if (note->scanned == 2)
		return;
	note->scanned = 2;
	if (e->op == EXPR_LOAD)
		scan_access(d, note->access);
	for (int i = 0; i < e->count; i++)
		scan_loads(e->arg[i], self);
}

static bool split_loop(struct nest *n)
{
	struct division d = {.n = n};
	struct expr_pool *p = n->k->exprs;
	struct stmt *outer, *inner;
	struct binding b = {.p = p, .count = 1};
	int64_t extent;

	each_expr(n->loops[n->count - 1]->body, scan_loads, &d);
	for (int i = 0; i < n->info.stores.count; i++)
		scan_access(&d, n->info.stores.access[i]);
	if (!d.by || n->count == 32)
		return false;
	outer = n->loops[d.loop];
	extent = p->axes[outer->axis].extent->value;
	b.axes[0] = outer->axis;
	inner = arena_copy(n->k->arena, outer, sizeof(*outer));
	inner->axis = axis_add(p, p->axes[b.axes[0]].name, dim_const(p->dims, d.by));
	outer->axis = axis_add(p, p->axes[b.axes[0]].name, dim_const(p->dims, extent / d.by));
	inner->next = NULL;
	outer->body = inner;
	b.with[0] = index_add(p, index_mul(p, expr_axis(p, outer->axis), expr_index(p, d.by)),
			      expr_axis(p, inner->axis));
	map_exprs(inner->body, bind, &b);
	return true;
}

/* ---- collapse ---- */

struct pair {
	struct nest *n;
	int outer, inner; /* axes */
	dim size;         /* of the inner */
	bool fits;
};

static void check_access(struct pair *p, const struct access *a)
{
	bool uses_outer, uses_inner;
	dim outer = access_coef(&p->n->info, a, p->outer, &uses_outer),
	    inner = access_coef(&p->n->info, a, p->inner, &uses_inner);

	if (!uses_outer && !uses_inner)
		return;
	if (!outer || !inner || a->check_count ||
	    outer != dim_mul(p->n->k->exprs->dims, inner, p->size))
		p->fits = false;
}

static void check_pair(const struct expr *e, void *self)
{
	struct pair *p = self;
	struct note *note = note_of(&p->n->info, e);

	if (!(note->axes & (axis_bit(&p->n->info, p->outer) | axis_bit(&p->n->info, p->inner))) ||
	    !p->fits)
		return;
	if (e->op == EXPR_LOAD) {
		check_access(p, note->access);
		return;
	}
	if (e->op == EXPR_AXIS || e->op == EXPR_VAR)
		p->fits = false;
	for (int i = 0; i < e->count && p->fits; i++)
		check_pair(e->arg[i], self);
}

static void check_values(struct pair *p, const struct stmt *s)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_STORE)
			check_access(p, store_access(&p->n->info, s));
		if (s->kind == STMT_SET)
			p->fits = false;
		if (s->value)
			check_pair(s->value, p);
		check_values(p, s->body);
	}
}

static bool collapse_loops(struct nest *n)
{
	struct expr_pool *p = n->k->exprs;

	for (int i = n->count - 1; i > 0; i--) {
		struct stmt *outer = n->loops[i - 1], *inner = n->loops[i];
		struct pair pair = {n, outer->axis, inner->axis, p->axes[inner->axis].extent, true};
		struct binding b = {.p = p, .count = 2, .axes = {outer->axis, inner->axis}};
		const struct expr *both, *size = expr_dim(p, pair.size);

		check_values(&pair, n->loops[n->count - 1]->body);
		if (!pair.fits)
			continue;
		outer->axis = axis_add(p, p->axes[inner->axis].name,
				       dim_mul(p->dims, p->axes[outer->axis].extent, pair.size));
		both = expr_axis(p, outer->axis);
		b.with[0] = index_div(p, both, size);
		b.with[1] = index_rem(p, both, size);
		outer->body = inner->body;
		map_exprs(outer->body, bind, &b);
		return true;
	}
	return false;
}

/* ---- all nests ---- */

static bool rewrite(struct kernel *k, struct stmt *s, bool (*fn)(struct nest *n))
{
	struct arena scratch = {0};
	struct nest n = {.k = k};
	bool changed = false;

	find_loops(&n, s);
	if (n.count && loops_analyze(k, &scratch, &n.info))
		changed = fn(&n);
	arena_free(&scratch);
	return changed;
}

static bool order_once(struct nest *n)
{
	order_loops(n);
	return false;
}

static void normalize_list(struct kernel *k, struct stmt *s)
{
	for (; s; s = s->next) {
		struct stmt *inside = s->body;

		if (s->kind == STMT_FOR && s->par) {
			struct nest n = {.k = k};
			int rounds = 0;

			rewrite(k, s, order_once);
			rewrite(k, s, loops_keep_rows);
			while (rounds++ < 8 && rewrite(k, s, split_loop))
				;
			while (rounds++ < 40 && rewrite(k, s, collapse_loops))
				;
			find_loops(&n, s);
			inside = n.loops[n.count - 1]->body;
		}
		normalize_list(k, inside);
	}
}

void loops_normalize(struct kernel *k) { normalize_list(k, k->body); }
