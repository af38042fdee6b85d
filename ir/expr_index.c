/* expr_index.c: index arithmetic: affine forms, bounds, and the simplifications that undo reshapes. */
#include "ir/expr.h"

#include <string.h>

/* ---- affine forms ---- */

static bool affine_add_term(struct expr_pool *p, struct affine *a, const struct expr *term,
			    dim coef)
{
	int i = 0;

	while (i < a->count && a->term[i]->id < term->id)
		i++;
	if (i < a->count && a->term[i] == term) {
		a->coef[i] = dim_add(p->dims, a->coef[i], coef);
		if (dim_is(a->coef[i], 0)) {
			a->count--;
			memmove(a->term + i, a->term + i + 1,
				(size_t)(a->count - i) * sizeof(*a->term));
			memmove(a->coef + i, a->coef + i + 1,
				(size_t)(a->count - i) * sizeof(*a->coef));
		}
		return true;
	}
	if (dim_is(coef, 0))
		return true;
	if (a->count == AFFINE_MAX)
		return false;
	memmove(a->term + i + 1, a->term + i, (size_t)(a->count - i) * sizeof(*a->term));
	memmove(a->coef + i + 1, a->coef + i, (size_t)(a->count - i) * sizeof(*a->coef));
	a->term[i] = term;
	a->coef[i] = coef;
	a->count++;
	return true;
}

/* The value of e as a dim when it does not depend on axes, loads or variables; else NULL. */
static dim as_dim(struct expr_pool *p, const struct expr *e)
{
	if (e->op == EXPR_LITERAL)
		return dim_const(p->dims, e->i);
	return e->op == EXPR_DIM ? e->size : NULL;
}

static bool affine_add(struct expr_pool *p, struct affine *out, const struct expr *e, dim scale)
{
	dim factor;

	switch (e->op) {
	case EXPR_LITERAL:
	case EXPR_DIM:
		out->constant =
			dim_add(p->dims, out->constant, dim_mul(p->dims, scale, as_dim(p, e)));
		return true;
	case EXPR_ADD:
		return affine_add(p, out, e->arg[0], scale) && affine_add(p, out, e->arg[1], scale);
	case EXPR_SUB:
		return affine_add(p, out, e->arg[0], scale) &&
		       affine_add(p, out, e->arg[1],
				  dim_mul(p->dims, scale, dim_const(p->dims, -1)));
	case EXPR_MUL:
		factor = as_dim(p, e->arg[1]);
		if (factor)
			return affine_add(p, out, e->arg[0], dim_mul(p->dims, scale, factor));
		factor = as_dim(p, e->arg[0]);
		if (factor)
			return affine_add(p, out, e->arg[1], dim_mul(p->dims, scale, factor));
		break;
	default: break;
	}
	return affine_add_term(p, out, e, scale);
}

bool expr_affine(struct expr_pool *p, const struct expr *e, struct affine *out)
{
	out->count = 0;
	out->constant = dim_const(p->dims, 0);
	return affine_add(p, out, e, dim_const(p->dims, 1));
}

const struct expr *affine_expr(struct expr_pool *p, const struct affine *a)
{
	const struct expr *sum = NULL, *constant = expr_dim(p, a->constant);

	for (int i = 0; i < a->count; i++) {
		const struct expr *t =
			expr_binary(p, EXPR_MUL, a->term[i], expr_dim(p, a->coef[i]));

		sum = sum ? expr_binary(p, EXPR_ADD, sum, t) : t;
	}
	return sum ? expr_binary(p, EXPR_ADD, sum, constant) : constant;
}

dim affine_coef(struct expr_pool *p, const struct expr *e, int axis)
{
	struct affine a;
	dim coef = dim_const(p->dims, 0);

	if (!expr_affine(p, e, &a))
		return NULL;
	for (int i = 0; i < a.count; i++) {
		if (a.term[i]->op == EXPR_AXIS && a.term[i]->index == axis)
			coef = a.coef[i];
		else if (a.term[i]->op != EXPR_AXIS && expr_uses_axis(a.term[i], axis))
			return NULL;
	}
	return coef;
}

/* A dim that may divide an index. One that may be 0 counts: the extent it divides is then 0 as well, and the
 * loop over it does not run. */
static bool is_divisor(dim d) { return dim_lower(d) >= 0 && !dim_is(d, 0); }

/* ---- bounds ---- */

struct bounds {
	dim low, high; /* NULL: none */
};

/* Bounds of one term as dims. Division and remainder by a positive dim keep them; anything else has none. */
static struct bounds term_bounds(struct expr_pool *p, const struct expr *e)
{
	struct bounds b = {NULL, NULL};
	dim zero = dim_const(p->dims, 0), one = dim_const(p->dims, 1), by;

	if (e->op == EXPR_AXIS) {
		b.low = zero;
		b.high = dim_sub(p->dims, p->axes[e->index].extent, one);
	} else if (e->op == EXPR_CHECK && (by = as_dim(p, e->arg[1]))) {
		b.low = zero;
		b.high = dim_max(p->dims, dim_sub(p->dims, by, one), zero);
	} else if (e->op == EXPR_REM && (by = as_dim(p, e->arg[1])) && is_divisor(by)) {
		b.low = zero; /* index_rem is only made of values known to be >= 0 */
		b.high = dim_sub(p->dims, by, one);
	}
	return b;
}

static struct bounds affine_bounds(struct expr_pool *p, const struct affine *a);

static struct bounds div_bounds(struct expr_pool *p, const struct expr *e)
{
	struct bounds b = {NULL, NULL}, x;
	struct affine a;
	dim by = as_dim(p, e->arg[1]);

	if (!by || !is_divisor(by) || !expr_affine(p, e->arg[0], &a))
		return b;
	x = affine_bounds(p, &a);
	if (x.low && dim_lower(x.low) >= 0) {
		b.low = dim_const(p->dims, 0);
		b.high = x.high ? dim_floordiv(p->dims, x.high, by) : NULL;
	}
	return b;
}

static struct bounds affine_bounds(struct expr_pool *p, const struct affine *a)
{
	struct bounds sum = {a->constant, a->constant};

	for (int i = 0; i < a->count; i++) {
		struct bounds t = a->term[i]->op == EXPR_DIV ? div_bounds(p, a->term[i])
							     : term_bounds(p, a->term[i]);
		dim c = a->coef[i], low = t.low, high = t.high;

		if (dim_upper(c) <= 0) {
			low = t.high;
			high = t.low;
		} else if (dim_lower(c) < 0) {
			low = high = NULL;
		}
		sum.low =
			sum.low && low ? dim_add(p->dims, sum.low, dim_mul(p->dims, c, low)) : NULL;
		sum.high = sum.high && high ? dim_add(p->dims, sum.high, dim_mul(p->dims, c, high))
					    : NULL;
	}
	return sum;
}

bool expr_range(const struct expr_pool *pool, const struct expr *e, int64_t *low, int64_t *high)
{
	struct expr_pool *p = (struct expr_pool *)pool; /* only interns dims */
	struct affine a;
	struct bounds b;

	if (e->type != DT_I64 || !expr_affine(p, e, &a))
		return false;
	b = affine_bounds(p, &a);
	if (!b.low || !b.high)
		return false;
	*low = dim_lower(b.low);
	*high = dim_upper(b.high);
	return *low > INT64_MIN && *high < INT64_MAX;
}

static bool affine_below(struct expr_pool *p, const struct affine *a, dim bound)
{
	struct bounds b = affine_bounds(p, a);
	dim room;

	if (!b.low || !b.high || dim_lower(b.low) < 0)
		return false;
	room = dim_sub(p->dims, dim_sub(p->dims, bound, b.high), dim_const(p->dims, 1));
	return dim_lower(room) >= 0;
}

bool expr_below(struct expr_pool *p, const struct expr *e, dim bound)
{
	struct affine a;

	return expr_affine(p, e, &a) && affine_below(p, &a, bound);
}

/* ---- arithmetic ---- */

static const struct expr *simplify(struct expr_pool *p, const struct expr *e)
{
	struct affine a;

	return expr_affine(p, e, &a) ? affine_expr(p, &a) : e;
}

const struct expr *index_add(struct expr_pool *p, const struct expr *a, const struct expr *b)
{
	return simplify(p, expr_binary(p, EXPR_ADD, a, b));
}

const struct expr *index_sub(struct expr_pool *p, const struct expr *a, const struct expr *b)
{
	return simplify(p, expr_binary(p, EXPR_SUB, a, b));
}

const struct expr *index_mul(struct expr_pool *p, const struct expr *a, const struct expr *b)
{
	return simplify(p, expr_binary(p, EXPR_MUL, a, b));
}

/* Splits a = by * quotient + rest with 0 <= rest < by proved; false when it cannot. All terms whose
 * coefficient `by` divides go to the quotient. */
static bool split(struct expr_pool *p, const struct affine *a, dim by, struct affine *quotient,
		  struct affine *rest)
{
	struct dim_pool *d = p->dims;

	quotient->count = rest->count = 0;
	for (int i = 0; i < a->count; i++) {
		bool divides = dim_divides(d, by, a->coef[i]);

		if (!affine_add_term(p, divides ? quotient : rest, a->term[i],
				     divides ? dim_floordiv(d, a->coef[i], by) : a->coef[i]))
			return false;
	}
	rest->constant = dim_mod(d, a->constant, by);
	quotient->constant = dim_floordiv(d, a->constant, by);
	if (rest->constant->kind == DIM_MOD || dim_lower(rest->constant) < 0) {
		rest->constant = a->constant;
		quotient->constant = dim_const(d, 0);
	}
	return true;
}

/* Proved to be >= 0: then truncating division is floor, and terms that divide can be taken out of it. */
static bool is_natural(struct expr_pool *p, const struct affine *rest)
{
	struct bounds b = affine_bounds(p, rest);

	return b.low && dim_lower(b.low) >= 0;
}

const struct expr *index_div(struct expr_pool *p, const struct expr *a, const struct expr *b)
{
	dim by = as_dim(p, b);
	struct affine whole, quotient, rest;
	const struct expr *inner;

	if (!by || !is_divisor(by) || !expr_affine(p, a, &whole) || !is_natural(p, &whole))
		return expr_binary(p, EXPR_DIV, a, b);
	/* (x / c) / b = x / (c * b) */
	if (whole.count == 1 && dim_is(whole.constant, 0) && dim_is(whole.coef[0], 1) &&
	    whole.term[0]->op == EXPR_DIV) {
		dim c = as_dim(p, whole.term[0]->arg[1]);

		if (c && is_divisor(c))
			return index_div(p, whole.term[0]->arg[0],
					 expr_dim(p, dim_mul(p->dims, c, by)));
	}
	if (!split(p, &whole, by, &quotient, &rest) || !is_natural(p, &rest))
		return expr_binary(p, EXPR_DIV, a, b);
	if (affine_below(p, &rest, by))
		return affine_expr(p, &quotient);
	inner = expr_binary(p, EXPR_DIV, affine_expr(p, &rest), b);
	return quotient.count || !dim_is(quotient.constant, 0)
		       ? index_add(p, affine_expr(p, &quotient), inner)
		       : inner;
}

const struct expr *index_rem(struct expr_pool *p, const struct expr *a, const struct expr *b)
{
	dim by = as_dim(p, b);
	struct affine whole, quotient, rest;

	if (!by || !is_divisor(by) || !expr_affine(p, a, &whole) || !is_natural(p, &whole))
		return expr_binary(p, EXPR_REM, a, b);
	if (!split(p, &whole, by, &quotient, &rest) || !is_natural(p, &rest))
		return expr_binary(p, EXPR_REM, a, b);
	if (affine_below(p, &rest, by))
		return affine_expr(p, &rest);
	return expr_binary(p, EXPR_REM, affine_expr(p, &rest), b);
}
