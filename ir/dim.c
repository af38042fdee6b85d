/* dim.c: interned dims in polynomial normal form.
 * A sum is a constant plus terms (coefficient, monomial) sorted by the monomial's id; a monomial is an atom
 * (a symbol or one of the other operations) or a product of atoms sorted by id. So equal polynomials are
 * the same node. */
#include "ir/dim.h"
#include "ir/dim_private.h"

#include <stdio.h>
#include <string.h>

enum {
	TERMS_MAX = 32
}; /* a sum that would have more stays unexpanded: products give an opaque atom */

struct dim_table {
	struct dim_node **slot;
	int size;
};

struct poly {
	int64_t constant;
	int count;
	bool full; /* ran out of room: the result is unusable */
	int64_t coef[TERMS_MAX];
	dim mono[TERMS_MAX];
};

void dim_pool_init(struct dim_pool *p, struct arena *a)
{
	*p = (struct dim_pool){.arena = a};
	p->table = ARENA_NEW(a, struct dim_table);
	p->table->size = 64;
	p->table->slot = ARENA_ARRAY(a, struct dim_node *, 64);
}

int symbol_find(const struct dim_pool *p, const char *name)
{
	for (int i = 0; i < p->symbol_count; i++)
		if (!strcmp(p->symbols[i].name, name))
			return i;
	return -1;
}

int symbol_add(struct dim_pool *p, const struct symbol *s)
{
	const char *unique = s->name;

	for (int i = 1; symbol_find(p, unique) >= 0; i++)
		unique = arena_printf(p->arena, "%s_%d", s->name, i);
	if (p->symbol_count == p->symbol_room)
		p->symbols = arena_grow(p->arena, p->symbols, &p->symbol_room, sizeof(*p->symbols));
	p->symbols[p->symbol_count] = *s;
	p->symbols[p->symbol_count].name = arena_text(p->arena, unique);
	return p->symbol_count++;
}

/* ---- interning ---- */

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u ^ (h >> 29); }

static uint64_t hash(const struct dim_node *d)
{
	uint64_t h = mix((uint64_t)d->kind + 17, (uint64_t)d->value);

	for (int i = 0; i < d->count; i++)
		h = mix(mix(h, (uint64_t)d->arg[i]->id), d->coef ? (uint64_t)d->coef[i] : 0);
	return h ^ h >> 32;
}

static bool same(const struct dim_node *a, const struct dim_node *b)
{
	if (a->kind != b->kind || a->value != b->value || a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
		if (a->arg[i] != b->arg[i] || (a->coef && a->coef[i] != b->coef[i]))
			return false;
	return true;
}

static void grow_table(struct dim_pool *p)
{
	struct dim_table *t = p->table;
	struct dim_node **old = t->slot;
	int size = t->size;

	t->size *= 2;
	t->slot = ARENA_ARRAY(p->arena, struct dim_node *, t->size);
	for (int i = 0; i < size; i++) {
		uint64_t at;

		if (!old[i])
			continue;
		for (at = hash(old[i]); t->slot[at & (uint64_t)(t->size - 1)]; at++)
			;
		t->slot[at & (uint64_t)(t->size - 1)] = old[i];
	}
}

static dim intern(struct dim_pool *p, struct dim_node key)
{
	struct dim_table *t = p->table;
	uint64_t at = hash(&key);
	struct dim_node *d;

	for (; (d = t->slot[at & (uint64_t)(t->size - 1)]); at++)
		if (same(d, &key))
			return d;
	d = arena_copy(p->arena, &key, sizeof(key));
	d->id = p->node_count++;
	if (key.count) {
		d->arg = arena_copy(p->arena, key.arg, (size_t)key.count * sizeof(*key.arg));
		if (key.coef)
			d->coef = arena_copy(p->arena, key.coef,
					     (size_t)key.count * sizeof(*key.coef));
	}
	dim_summarize(p, d);
	t->slot[at & (uint64_t)(t->size - 1)] = d;
	if (p->node_count * 2 > t->size)
		grow_table(p);
	return d;
}

dim dim_const(struct dim_pool *p, int64_t value)
{
	return intern(p, (struct dim_node){.kind = DIM_CONST, .value = value});
}

dim dim_symbol(struct dim_pool *p, int symbol)
{
	const struct symbol *s = &p->symbols[symbol];

	if (s->min == s->max)
		return dim_const(p, s->min);
	return intern(p, (struct dim_node){.kind = DIM_SYMBOL, .value = symbol});
}

bool dim_is(dim d, int64_t value) { return d->kind == DIM_CONST && d->value == value; }

/* ---- polynomials ---- */

static void poly_add(struct poly *q, int64_t coef, dim mono)
{
	int i = 0, id = mono->id;

	while (i < q->count && q->mono[i]->id < id)
		i++;
	if (i < q->count && q->mono[i] == mono) {
		q->coef[i] = add_sat(q->coef[i], coef);
		if (q->coef[i] == 0) {
			q->count--;
			memmove(q->coef + i, q->coef + i + 1,
				(size_t)(q->count - i) * sizeof(*q->coef));
			memmove(q->mono + i, q->mono + i + 1,
				(size_t)(q->count - i) * sizeof(*q->mono));
		}
		return;
	}
	if (coef == 0)
		return;
	if (q->count == TERMS_MAX) {
		q->full = true;
		return;
	}
	memmove(q->coef + i + 1, q->coef + i, (size_t)(q->count - i) * sizeof(*q->coef));
	memmove(q->mono + i + 1, q->mono + i, (size_t)(q->count - i) * sizeof(*q->mono));
	q->coef[i] = coef;
	q->mono[i] = mono;
	q->count++;
}

static void poly_add_dim(struct poly *q, int64_t scale, dim d)
{
	if (d->kind == DIM_CONST) {
		q->constant = add_sat(q->constant, mul_sat(scale, d->value));
	} else if (d->kind == DIM_SUM) {
		q->constant = add_sat(q->constant, mul_sat(scale, d->value));
		for (int i = 0; i < d->count; i++)
			poly_add(q, mul_sat(scale, d->coef[i]), d->arg[i]);
	} else {
		poly_add(q, scale, d);
	}
}

static dim poly_dim(struct dim_pool *p, const struct poly *q)
{
	if (q->count == 0)
		return dim_const(p, q->constant);
	if (q->count == 1 && q->coef[0] == 1 && q->constant == 0)
		return q->mono[0];
	return intern(p, (struct dim_node){.kind = DIM_SUM,
					   .value = q->constant,
					   .count = q->count,
					   .coef = q->coef,
					   .arg = q->mono});
}

/* Two terms too many to expand: keep one operand as a factor of its own. */
static dim opaque(struct dim_pool *p, enum dim_kind kind, dim a, dim b)
{
	dim arg[2] = {a->id < b->id ? a : b, a->id < b->id ? b : a};

	return intern(p, (struct dim_node){.kind = kind, .count = 2, .arg = arg});
}

/* d as one term of a sum, when the terms of two sums together are too many. */
static dim wrap(struct dim_pool *p, dim d)
{
	return d->kind == DIM_SUM
		       ? intern(p, (struct dim_node){.kind = DIM_PRODUCT, .count = 1, .arg = &d})
		       : d;
}

dim dim_add(struct dim_pool *p, dim a, dim b)
{
	struct poly q = {0};

	poly_add_dim(&q, 1, a);
	poly_add_dim(&q, 1, b);
	return q.full ? dim_add(p, wrap(p, a), wrap(p, b)) : poly_dim(p, &q);
}

dim dim_sub(struct dim_pool *p, dim a, dim b)
{
	return dim_add(p, a, dim_mul(p, dim_const(p, -1), b));
}

/* The product of two monomials: their atoms, merged by id. */
static dim mono_mul(struct dim_pool *p, dim a, dim b)
{
	dim atoms[64];
	int n = 0, i = 0, j = 0;
	dim one_a[1] = {a}, one_b[1] = {b};
	const dim *x = a->kind == DIM_PRODUCT ? a->arg : one_a,
		  *y = b->kind == DIM_PRODUCT ? b->arg : one_b;
	int nx = a->kind == DIM_PRODUCT ? a->count : 1, ny = b->kind == DIM_PRODUCT ? b->count : 1;

	if (nx + ny > 64)
		return opaque(p, DIM_PRODUCT, a, b);
	while (i < nx || j < ny)
		atoms[n++] = j == ny || (i < nx && x[i]->id <= y[j]->id) ? x[i++] : y[j++];
	return intern(p, (struct dim_node){.kind = DIM_PRODUCT, .count = n, .arg = atoms});
}

static int term_count(dim d)
{
	return d->kind == DIM_CONST ? 0 : d->kind == DIM_SUM ? d->count : 1;
}

static void poly_mul_term(struct dim_pool *p, struct poly *q, int64_t coef, dim mono, dim b)
{
	if (b->kind == DIM_CONST) {
		poly_add(q, mul_sat(coef, b->value), mono);
	} else if (b->kind == DIM_SUM) {
		if (b->value)
			poly_add(q, mul_sat(coef, b->value), mono);
		for (int i = 0; i < b->count; i++)
			poly_add(q, mul_sat(coef, b->coef[i]), mono_mul(p, mono, b->arg[i]));
	} else {
		poly_add(q, coef, mono_mul(p, mono, b));
	}
}

dim dim_mul(struct dim_pool *p, dim a, dim b)
{
	struct poly q = {0};

	if (term_count(a) * term_count(b) > TERMS_MAX)
		return opaque(p, DIM_PRODUCT, a, b);
	if (a->kind == DIM_CONST) {
		poly_add_dim(&q, a->value, b);
	} else if (a->kind == DIM_SUM) {
		poly_add_dim(&q, a->value, b);
		for (int i = 0; i < a->count; i++)
			poly_mul_term(p, &q, a->coef[i], a->arg[i], b);
	} else {
		poly_mul_term(p, &q, 1, a, b);
	}
	return q.full ? opaque(p, DIM_PRODUCT, a, b) : poly_dim(p, &q);
}

/* ---- division ---- */

static int64_t floor_mod(int64_t a, int64_t b)
{
	return b == 0 || b == -1 ? 0 : a - b * floor_div(a, b);
}

/* mono / by when `by`'s atoms all occur in it: *out is NULL for 1. */
static bool mono_div(struct dim_pool *p, dim mono, dim by, dim *out)
{
	dim left[64], one_m[1] = {mono}, one_b[1] = {by};
	const dim *x = mono->kind == DIM_PRODUCT ? mono->arg : one_m,
		  *y = by->kind == DIM_PRODUCT ? by->arg : one_b;
	int nx = mono->kind == DIM_PRODUCT ? mono->count : 1,
	    ny = by->kind == DIM_PRODUCT ? by->count : 1, n = 0, j = 0;

	for (int i = 0; i < nx; i++) {
		if (j < ny && x[i] == y[j])
			j++;
		else if (n < 64)
			left[n++] = x[i];
	}
	if (j < ny)
		return false;
	*out = n == 0 ? NULL
	       : n == 1
		       ? left[0]
		       : intern(p, (struct dim_node){.kind = DIM_PRODUCT, .count = n, .arg = left});
	return true;
}

/* Splits a = by * quotient + rest, taking every term that divides exactly. by: a constant, or one monomial
 * with a coefficient. */
static bool split(struct dim_pool *p, dim a, dim by, struct poly *quotient, struct poly *rest)
{
	int64_t c = by->kind == DIM_CONST ? by->value : by->kind == DIM_SUM ? by->coef[0] : 1;
	dim mono = by->kind == DIM_CONST ? NULL : by->kind == DIM_SUM ? by->arg[0] : by;
	struct poly terms = {0};

	if (c == 0 || (by->kind == DIM_SUM && (by->count != 1 || by->value != 0)))
		return false;
	poly_add_dim(&terms, 1, a);
	for (int i = 0; i < terms.count; i++) {
		dim left = terms.mono[i];

		if (terms.coef[i] % c == 0 && (!mono || mono_div(p, terms.mono[i], mono, &left))) {
			if (left)
				poly_add(quotient, terms.coef[i] / c, left);
			else
				quotient->constant = add_sat(quotient->constant, terms.coef[i] / c);
		} else {
			poly_add(rest, terms.coef[i], terms.mono[i]);
		}
	}
	if (!mono) {
		quotient->constant = add_sat(quotient->constant, floor_div(terms.constant, c));
		rest->constant = floor_mod(terms.constant, c);
	} else {
		rest->constant = terms.constant;
	}
	return !quotient->full && !rest->full;
}

/* 0 <= a < by, proved by ranges, or as by - 1 - a >= 0. */
static bool is_below(struct dim_pool *p, dim a, dim by)
{
	if (dim_lower(a) < 0)
		return false;
	return dim_upper(a) < dim_lower(by) ||
	       dim_lower(dim_sub(p, dim_sub(p, by, a), dim_const(p, 1))) >= 0;
}

static dim make2(struct dim_pool *p, enum dim_kind kind, dim a, dim b)
{
	dim arg[2] = {a, b};

	return intern(p, (struct dim_node){.kind = kind, .count = 2, .arg = arg});
}

dim dim_floordiv(struct dim_pool *p, dim a, dim b)
{
	struct poly quotient = {0}, rest = {0};
	dim r;

	if (dim_is(b, 1))
		return a;
	if (a->kind == DIM_CONST && b->kind == DIM_CONST)
		return dim_const(p, floor_div(a->value, b->value));
	if (a == b)
		return dim_const(p, 1);
	if (!split(p, a, b, &quotient, &rest))
		return make2(p, DIM_FLOORDIV, a, b);
	r = poly_dim(p, &rest);
	if (is_below(p, r, b) || dim_is(r, 0)) /* 0 / b is 0, also for b == 0 */
		return poly_dim(p, &quotient);
	return dim_add(p, poly_dim(p, &quotient), make2(p, DIM_FLOORDIV, r, b));
}

dim dim_ceildiv(struct dim_pool *p, dim a, dim b)
{
	struct poly quotient = {0}, rest = {0};
	dim r;

	if (dim_is(b, 1))
		return a;
	if (a->kind == DIM_CONST && b->kind == DIM_CONST)
		return dim_const(p, b->value ? -floor_div(-a->value, b->value) : 0);
	if (!split(p, a, b, &quotient, &rest))
		return make2(p, DIM_CEILDIV, a, b);
	r = poly_dim(p, &rest);
	if (dim_is(r, 0))
		return poly_dim(p, &quotient);
	return dim_add(p, poly_dim(p, &quotient), make2(p, DIM_CEILDIV, r, b));
}

dim dim_mod(struct dim_pool *p, dim a, dim b)
{
	struct poly quotient = {0}, rest = {0};
	dim r = a;

	if (dim_is(b, 1) || a == b)
		return dim_const(p, 0);
	if (a->kind == DIM_CONST && b->kind == DIM_CONST)
		return dim_const(p, floor_mod(a->value, b->value));
	if (split(p, a, b, &quotient, &rest))
		r = poly_dim(p, &rest);
	if (dim_is(r, 0) || is_below(p, r, b))
		return r;
	return make2(p, DIM_MOD, r, b);
}

dim dim_min(struct dim_pool *p, dim a, dim b)
{
	if (a == b || dim_lower(dim_sub(p, b, a)) >= 0)
		return a;
	if (dim_lower(dim_sub(p, a, b)) >= 0)
		return b;
	return opaque(p, DIM_MIN, a, b);
}

dim dim_max(struct dim_pool *p, dim a, dim b)
{
	if (a == b || dim_lower(dim_sub(p, a, b)) >= 0)
		return a;
	if (dim_lower(dim_sub(p, b, a)) >= 0)
		return b;
	return opaque(p, DIM_MAX, a, b);
}

dim dim_select(struct dim_pool *p, dim a, dim b, dim then, dim otherwise)
{
	dim difference = dim_sub(p, a, b), arg[4] = {a, b, then, otherwise};

	if (dim_is(difference, 0))
		return then;
	if (then == otherwise || dim_lower(difference) > 0 || dim_upper(difference) < 0)
		return otherwise;
	return intern(p, (struct dim_node){.kind = DIM_SELECT, .count = 4, .arg = arg});
}

dim dim_broadcast(struct dim_pool *p, dim a, dim b)
{
	if (a == b || dim_is(b, 1))
		return a;
	if (dim_is(a, 1))
		return b;
	if (dim_lower(a) > 1)
		return a;
	if (dim_lower(b) > 1)
		return b;
	/* A constant 0 meets 1 or 0: the result is 0. */
	if (dim_is(a, 0) || dim_is(b, 0))
		return dim_const(p, 0);
	return dim_select(p, a, dim_const(p, 1), b, a);
}

bool dim_divides(struct dim_pool *p, dim b, dim a) { return dim_is(dim_mod(p, a, b), 0); }
