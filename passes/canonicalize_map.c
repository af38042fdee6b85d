/* canonicalize_map.c: rewrites of maps: operands that are constants, repeated, expanded or not read;
 * cheaper forms of some functions. */
#include "passes/canonicalize.h"

#include <math.h>
#include <string.h>

static bool is_storage(const struct value *v)
{
	return dtype_compute(v->type.dtype) != v->type.dtype;
}

/* The same map on fewer or other operands. NULL when its dims would change: then it declines. */
static struct value *remake(struct pass_context *c, struct node *n, const struct expr *e, int count,
			    struct value **in)
{
	struct builder b = build_before(c, n);
	dim whole[HONE_MAX_RANK];
	int rank = 0;

	for (int i = 0; i < count; i++) {
		const struct type *t = &in[i]->type;

		for (int k = rank; k < t->rank; k++) /* grows to the left */
			memmove(whole + 1, whole, (size_t)k * sizeof(*whole)),
				whole[0] = dim_const(&c->graph->dims, 1);
		rank = t->rank > rank ? t->rank : rank;
		for (int k = 0; k < t->rank; k++)
			whole[rank - t->rank + k] = dim_broadcast(
				&c->graph->dims, whole[rank - t->rank + k], t->dims[k]);
	}
	if (rank != n->out[0]->type.rank ||
	    (rank && memcmp(whole, n->out[0]->type.dims, (size_t)rank * sizeof(dim))))
		return NULL;
	return add_map(&b, e, n->out[0]->type.dtype, count, in);
}

/* %y = map(%x) (a: t) -> a                =>   %x     of the same type */
static struct value *map_param(struct pass_context *c, struct node *n)
{
	(void)c;
	if (n->expr->op != EXPR_PARAM ||
	    !type_equal(&n->in[n->expr->index]->type, &n->out[0]->type))
		return NULL;
	return n->in[n->expr->index];
}

/* map(%x, const splat(s)) (a, b) -> e     =>   map(%x) (a) -> e[b := s]
 * map(%x, %x) (a, b) -> e                 =>   map(%x) (a) -> e[b := a]
 * operands that e does not read are dropped. Each only where the dims stay. */
static struct value *map_operands(struct pass_context *c, struct node *n)
{
	struct expr_pool *p = &c->graph->exprs;
	const struct expr **with = ARENA_ARRAY(c->scratch, const struct expr *, n->in_count + 1);
	struct value **in = ARENA_ARRAY(c->scratch, struct value *, n->in_count + 1);
	int count = 0;

	for (int i = 0; i < n->in_count; i++) {
		enum dtype t = dtype_compute(n->in[i]->type.dtype);
		bool shapes =
			n->in[i]->type.rank == n->out[0]->type.rank && n->out[0]->type.rank > 0;
		union scalar s;
		int k = 0;

		if (!shapes && splat_value(n->in[i], &s)) {
			with[i] = dtype_is_float(t) ? expr_real(p, t, s.f) : expr_int(p, t, s.i);
			continue;
		}
		while (k < count && in[k] != n->in[i])
			k++;
		with[i] = expr_param(p, t, k);
		if (k == count)
			in[count++] = n->in[i];
	}
	return count == n->in_count ? NULL
				    : remake(c, n, expr_bind_params(p, n->expr, with), count, in);
}

/* The same for operands of full rank, and those not read, one at a time: the dims may need the others. */
static struct value *map_operand(struct pass_context *c, struct node *n)
{
	struct expr_pool *p = &c->graph->exprs;
	const struct expr **with = ARENA_ARRAY(c->scratch, const struct expr *, n->in_count + 1);
	struct value **in = ARENA_ARRAY(c->scratch, struct value *, n->in_count + 1);

	for (int i = 0; i < n->in_count; i++) {
		union scalar s = {0};
		bool splat = splat_value(n->in[i], &s);
		struct value *made;
		int count = 0;

		if (!splat && expr_reads(n->expr, i))
			continue;
		for (int k = 0; k < n->in_count; k++) {
			enum dtype t = dtype_compute(n->in[k]->type.dtype);

			if (k == i)
				with[k] = dtype_is_float(t) ? expr_real(p, t, s.f)
							    : expr_int(p, t, s.i);
			else
				with[k] = expr_param(p, t, count), in[count++] = n->in[k];
		}
		made = remake(c, n, expr_bind_params(p, n->expr, with), count, in);
		if (made)
			return made;
	}
	return NULL;
}

/* map() -> s                              =>   const splat(s), expanded */
static struct value *map_literal(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct type scalar = type_make(n->out[0]->type.dtype, 0, NULL);
	struct tensor t = {.kind = TENSOR_SPLAT};
	struct value *v;

	if (n->expr->op != EXPR_LITERAL ||
	    (is_storage(n->out[0]) && dtype_bits(n->out[0]->type.dtype) != 16))
		return NULL;
	t.splat.i = n->expr->i;
	if (is_storage(n->out[0])) {
		t.splat.f = dtype_decode_float(scalar.dtype,
					       dtype_encode_float(scalar.dtype, n->expr->f));
	} else if (dtype_is_float(scalar.dtype)) {
		t.splat.f = n->expr->f;
	}
	if (type_bytes_const(&n->out[0]->type) >= 0)
		return add_const(&b, &n->out[0]->type, &t);
	v = add_const(&b, &scalar, &t);
	return v ? add_expand(&b, v, n->out[0]->type.rank, n->out[0]->type.dims) : NULL;
}

/* %1 = expand %x  map(%1, %z)             =>   map(%x, %z)       map broadcasts
 * %1 = reshape %x: [A,B] to [1,A,B]  map(%1, %z)   =>   map(%x, %z)
 * where the others still give all the dims. */
static struct value *map_broadcast(struct pass_context *c, struct node *n)
{
	struct value **in = ARENA_ARRAY(c->scratch, struct value *, n->in_count + 1);

	for (int i = 0; i < n->in_count; i++) {
		struct node *inner = value_def(n->in[i], OP_expand);
		const struct type *x, *t = &n->in[i]->type;
		bool drops = inner != NULL;
		struct value *made;

		if (!inner && (inner = value_def(n->in[i], OP_reshape)) != NULL) {
			x = &inner->in[0]->type;
			drops = x->rank < t->rank && !memcmp(t->dims + t->rank - x->rank, x->dims,
							     (size_t)x->rank * sizeof(dim));
			for (int k = 0; drops && k < t->rank - x->rank; k++)
				drops = dim_is(t->dims[k], 1);
		}
		if (!drops)
			continue;
		memcpy(in, n->in, (size_t)n->in_count * sizeof(*in));
		in[i] = inner->in[0];
		made = remake(c, n, n->expr, n->in_count, in);
		if (made)
			return made;
	}
	return NULL;
}

/* ---- maps of maps ---- */

static bool has_no_region_between(const struct node *inner, const struct node *n)
{
	return inner->parent == n->parent;
}

/* %1 = map(%x) (a) -> e  %y = map(%1, %z) (b, c) -> f   =>   map(%x, %z) (a, c) -> f[b := e]
 * for single elements, and where e only converts exactly (i32 to i64 and such) or is a copy. */
static bool joins(const struct node *inner, const struct node *n)
{
	const struct expr *e = inner->expr;

	if (inner->in_count > 4 || is_storage(inner->out[0]) || !has_no_region_between(inner, n))
		return false;
	if (type_count_const(&inner->out[0]->type) == 1 && type_count_const(&n->out[0]->type) == 1)
		return expr_weight(e) + expr_weight(n->expr) < 64;
	return e->op == EXPR_PARAM || (e->op == EXPR_CAST && e->arg[0]->op == EXPR_PARAM);
}

static struct value *map_map(struct pass_context *c, struct node *n)
{
	struct expr_pool *p = &c->graph->exprs;

	for (int i = 0; i < n->in_count && n->in_count < 12; i++) {
		struct node *inner = value_def(n->in[i], OP_map);
		int total = inner ? n->in_count + inner->in_count : 0, count = 0;
		const struct expr **with, **deep;
		struct value **in, *made;

		if (!inner || !joins(inner, n))
			continue;
		with = ARENA_ARRAY(c->scratch, const struct expr *, total);
		deep = ARENA_ARRAY(c->scratch, const struct expr *, total);
		in = ARENA_ARRAY(c->scratch, struct value *, total);
		for (int k = 0; k < inner->in_count; k++) {
			deep[k] = expr_param(p, dtype_compute(inner->in[k]->type.dtype), count);
			in[count++] = inner->in[k];
		}
		for (int k = 0; k < n->in_count; k++) {
			if (n->in[k] == n->in[i]) {
				with[k] = expr_bind_params(p, inner->expr, deep);
				continue;
			}
			with[k] = expr_param(p, dtype_compute(n->in[k]->type.dtype), count);
			in[count++] = n->in[k];
		}
		made = remake(c, n, expr_bind_params(p, n->expr, with), count, in);
		if (made)
			return made;
	}
	return NULL;
}

/* ---- the expression itself ---- */

static bool is_wide_cast(enum dtype from, enum dtype to)
{
	bool is_signed = dtype_class(from) == DTYPE_SIGNED;

	if (from == DT_BOOL)
		return to != DT_BOOL;
	if (dtype_is_float(from))
		return to == DT_F64;
	if (dtype_is_float(to))
		return dtype_bits(from) <= (to == DT_F64 ? 32 : 16);
	return dtype_bits(from) < dtype_bits(to) && (!is_signed || dtype_class(to) == DTYPE_SIGNED);
}

/* pow(x, 2) => x * x     pow(x, 1) => x     x / 2^k => x * 2^-k     u(t(x)) => u(x) where t loses nothing */
static const struct expr *cheaper(struct expr_pool *p, const struct expr *e, void *self)
{
	int exponent;

	(void)self;
	if (e->op == EXPR_POW && expr_is_literal(e->arg[1], 2))
		return expr_binary(p, EXPR_MUL, e->arg[0], e->arg[0]);
	if (e->op == EXPR_POW && expr_is_literal(e->arg[1], 1))
		return e->arg[0];
	if (e->op == EXPR_DIV && dtype_is_float(e->type) && e->arg[1]->op == EXPR_LITERAL &&
	    fabs(frexp(e->arg[1]->f, &exponent)) == 0.5 && exponent > -60 && exponent < 60)
		return expr_binary(p, EXPR_MUL, e->arg[0], expr_real(p, e->type, 1 / e->arg[1]->f));
	if (e->op == EXPR_CAST && e->arg[0]->op == EXPR_CAST &&
	    is_wide_cast(e->arg[0]->arg[0]->type, e->arg[0]->type) && e->type != DT_BOOL)
		return expr_cast(p, EXPR_CAST, e->type, e->arg[0]->arg[0]);
	return NULL;
}

static struct value *map_cheaper(struct pass_context *c, struct node *n)
{
	const struct expr *e = expr_rewrite(&c->graph->exprs, n->expr, cheaper, NULL);

	return e == n->expr ? NULL : remake(c, n, e, n->in_count, n->in);
}

const struct rewrite map_rewrites[] = {
	{OP_map, map_param},   {OP_map, map_literal},   {OP_map, map_operands},
	{OP_map, map_operand}, {OP_map, map_broadcast}, {OP_map, map_map},
	{OP_map, map_cheaper}, {OP_COUNT, NULL},
};
