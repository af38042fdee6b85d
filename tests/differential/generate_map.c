/* generate_map.c: random scalar expressions. */
#include "tests/differential/generate.h"

#include <math.h>

#define OPERANDS 3

/* An expression and a bound on its magnitude when it is a float. */
struct part {
	const struct expr *e;
	double mag;
};

struct maker {
	struct generator *g;
	struct expr_pool *p;
	int count; /* of operands */
	struct part operands[OPERANDS];
};

static struct part make(struct maker *m, enum dtype t, int depth);

static struct part literal(struct maker *m, enum dtype t)
{
	int x = draw_below(m->g, 9) - (dtype_class(t) == DTYPE_UNSIGNED ? 0 : 4);

	if (t == DT_BOOL)
		x = x > 0;
	return (struct part){expr_int(m->p, t, x), fabs((double)x)};
}

/* Brings any value into t. Integers become floats after they are clamped. */
static struct part convert(struct maker *m, struct part x, enum dtype t)
{
	enum dtype from = x.e->type;
	enum expr_op op = draw_one_in(m->g, 3) ? EXPR_SAT_CAST : EXPR_CAST;

	if (from == t)
		return x;
	if (dtype_is_float(t) && dtype_is_int(from)) {
		x.e = expr_binary(m->p, EXPR_MIN, x.e, expr_int(m->p, from, 9));
		if (dtype_class(from) == DTYPE_SIGNED)
			x.e = expr_binary(m->p, EXPR_MAX, x.e, expr_int(m->p, from, -9));
		x.mag = 9;
	} else if (from == DT_BOOL) {
		x.mag = 1;
	}
	return (struct part){expr_cast(m->p, op, t, x.e), x.mag};
}

static struct part leaf(struct maker *m, enum dtype t)
{
	struct part x = m->operands[draw_below(m->g, m->count)];

	if (draw_one_in(m->g, 4))
		return literal(m, t);
	for (int i = 0; x.e->type != t && i < m->count; i++)
		x = m->operands[i];
	return convert(m, x, t);
}

static struct part make_bool(struct maker *m, int depth)
{
	static const enum expr_op compare[] = {EXPR_LT, EXPR_LE, EXPR_GT,
					       EXPR_GE, EXPR_EQ, EXPR_NE};
	static const enum expr_op logic[] = {EXPR_AND, EXPR_OR, EXPR_XOR};
	enum dtype t = m->operands[draw_below(m->g, m->count)].e->type;
	struct part a, b;

	if (draw_one_in(m->g, 4)) {
		a = make(m, DT_BOOL, depth - 1);
		b = make(m, DT_BOOL, depth - 1);
		if (draw_one_in(m->g, 3))
			return (struct part){expr_unary(m->p, EXPR_NOT, a.e), 1};
		return (struct part){expr_binary(m->p, logic[draw_below(m->g, 3)], a.e, b.e), 1};
	}
	a = make(m, t, depth - 1);
	b = make(m, t, depth - 1);
	return (struct part){expr_binary(m->p, compare[draw_below(m->g, 6)], a.e, b.e), 1};
}

static struct part make_float(struct maker *m, enum dtype t, int depth)
{
	static const enum expr_op unary[] = {EXPR_NEG,  EXPR_ABS,   EXPR_FLOOR,
					     EXPR_CEIL, EXPR_TRUNC, EXPR_RNE};
	struct part a = make(m, t, depth - 1), b = make(m, t, depth - 1);
	double limit = exact_limit(t);

	switch (draw_below(m->g, 9)) {
	case 0:
	case 1:
		if (a.mag * b.mag <= limit)
			return (struct part){expr_binary(m->p, EXPR_MUL, a.e, b.e), a.mag * b.mag};
		break;
	case 2:
	case 3:
		if (a.mag + b.mag <= limit)
			return (struct part){expr_binary(m->p, EXPR_ADD, a.e, b.e), a.mag + b.mag};
		break;
	case 4:
		if (a.mag + b.mag <= limit)
			return (struct part){expr_binary(m->p, EXPR_SUB, a.e, b.e), a.mag + b.mag};
		break;
	case 5: return (struct part){expr_unary(m->p, unary[draw_below(m->g, 6)], a.e), a.mag};
	case 6: return (struct part){expr_unary(m->p, EXPR_SIGN, a.e), 1};
	case 7:
		b = (struct part){expr_int(m->p, t, 1 + draw_below(m->g, 7)), 7};
		return (struct part){
			expr_binary(m->p, draw_one_in(m->g, 2) ? EXPR_MOD : EXPR_REM, a.e, b.e), 7};
	default: break;
	}
	return (struct part){
		expr_binary(m->p, draw_one_in(m->g, 2) ? EXPR_MIN : EXPR_MAX, a.e, b.e),
		a.mag > b.mag ? a.mag : b.mag};
}

static struct part make_int(struct maker *m, enum dtype t, int depth)
{
	static const enum expr_op binary[] = {EXPR_ADD, EXPR_SUB, EXPR_MUL, EXPR_DIV, EXPR_MOD,
					      EXPR_REM, EXPR_MIN, EXPR_MAX, EXPR_AND, EXPR_OR,
					      EXPR_XOR, EXPR_SHL, EXPR_SHR};
	static const enum expr_op unary[] = {EXPR_NEG, EXPR_ABS, EXPR_SIGN, EXPR_INVERT};
	struct part a = make(m, t, depth - 1), b;

	if (draw_one_in(m->g, 4))
		return (struct part){expr_unary(m->p, unary[draw_below(m->g, 4)], a.e), 0};
	b = make(m, t, depth - 1);
	return (struct part){expr_binary(m->p, binary[draw_below(m->g, 13)], a.e, b.e), 0};
}

static struct part make(struct maker *m, enum dtype t, int depth)
{
	struct part c, a, b;

	if (depth <= 0 || draw_one_in(m->g, 5))
		return leaf(m, t);
	if (draw_one_in(m->g, 6)) {
		c = make(m, DT_BOOL, depth - 1);
		a = make(m, t, depth - 1);
		b = make(m, t, depth - 1);
		return (struct part){expr_select(m->p, c.e, a.e, b.e),
				     a.mag > b.mag ? a.mag : b.mag};
	}
	if (t == DT_BOOL)
		return make_bool(m, depth);
	return dtype_is_float(t) ? make_float(m, t, depth) : make_int(m, t, depth);
}

/* Another operand that broadcasts with x: an item of the same dims, or a new input some of whose dims are 1. */
static struct item other_operand(struct generator *g, struct item x)
{
	struct item y = pick(g);
	dim dims[HONE_MAX_RANK];
	int drop = draw_below(g, x.v->type.rank + 1), rank = x.v->type.rank - drop;

	if (y.v->type.rank == x.v->type.rank) {
		bool same = true;

		for (int i = 0; i < y.v->type.rank; i++)
			same &= y.v->type.dims[i] == x.v->type.dims[i];
		if (same)
			return y;
	}
	if (draw_one_in(g, 2)) {
		rank = x.v->type.rank;
		drop = 0;
	}
	for (int i = 0; i < rank; i++) {
		dims[i] = x.v->type.dims[drop + i];
		if (x.open || draw_one_in(g, 3))
			dims[i] = constant(g, 1);
	}
	return add_input(g, draw_one_in(g, 4) ? DT_F32 : x.v->type.dtype, rank, dims,
			 exact_limit(x.v->type.dtype) < 5 ? 2 : 5);
}

bool step_map(struct generator *g)
{
	struct maker m = {.g = g, .p = &g->graph->exprs, .count = 1 + draw_below(g, OPERANDS)};
	struct value *in[OPERANDS];
	struct item x = pick(g);
	struct part y;
	enum dtype t;

	for (int i = 0; i < m.count; i++) {
		struct item item = i ? other_operand(g, x) : x;

		if (!item.v)
			return false;
		in[i] = item.v;
		m.operands[i].e = expr_param(m.p, dtype_compute(item.v->type.dtype), i);
		m.operands[i].mag = item.mag;
	}
	t = m.operands[draw_below(g, m.count)].e->type;
	if (draw_one_in(g, 6))
		t = DT_BOOL;
	y = make(&m, t, 1 + draw_below(g, 4));
	return keep(g, add_map(&g->b, y.e, DT_NONE, m.count, in), y.mag);
}

/* A cast to a storage type, and to others. */
bool step_cast(struct generator *g)
{
	static const enum dtype types[] = {DT_F16, DT_BF16,       DT_F32,       DT_F64,    DT_I8,
					   DT_U8,  DT_I4,         DT_U4,        DT_I2,     DT_U2,
					   DT_I64, DT_U16,        DT_F8E4M3FN,  DT_F8E5M2, DT_BOOL,
					   DT_I32, DT_F8E4M3FNUZ, DT_F8E5M2FNUZ};
	enum dtype t = types[draw_below(g, (int)(sizeof(types) / sizeof(*types)))];
	struct item x = pick(g);
	struct value *v = x.v;

	if (dtype_is_float(t) && dtype_is_int(v->type.dtype)) {
		v = add_map_text(&g->b, "(a) -> sign(a)", DT_NONE, 1, &v, 0, NULL);
		x.mag = 1;
	}
	if (v && v->type.dtype == DT_BOOL)
		x.mag = 1;
	if (!v || v->type.dtype == t || (dtype_is_float(t) && x.mag > exact_limit(t)))
		return false;
	if (g->special && dtype_is_float(t) && dtype_bits(t) < 16)
		return false;
	return keep(g, add_cast(&g->b, v, t), x.mag);
}

/* ---- one inexact function, judged in units in the last place ---- */

/* The error that vector functions may have, in ULP of the exact result. */
static const struct function {
	enum expr_op op;
	double low, high, ulp;
} functions[] = {
	{EXPR_SQRT, 0, 9, 0.5},    {EXPR_EXP, -20, 20, 2},       {EXPR_LOG, 0.001, 50, 2},
	{EXPR_LOG1P, -0.9, 20, 2}, {EXPR_POW, 0.01, 5, 2},       {EXPR_SIN, -20, 20, 2},
	{EXPR_COS, -20, 20, 2},    {EXPR_TAN, -1.5, 1.5, 4},     {EXPR_ASIN, -1, 1, 4},
	{EXPR_ACOS, -1, 1, 4},     {EXPR_ATAN, -20, 20, 4},      {EXPR_SINH, -9, 9, 4},
	{EXPR_COSH, -9, 9, 4},     {EXPR_TANH, -9, 9, 4},        {EXPR_ASINH, -9, 9, 4},
	{EXPR_ACOSH, 1, 20, 4},    {EXPR_ATANH, -0.95, 0.95, 4}, {EXPR_ERF, -4, 4, 4},
	{EXPR_DIV, -9, 9, 0.5},
};

bool step_function(struct generator *g)
{
	const struct function *f =
		&functions[draw_below(g, (int)(sizeof(functions) / sizeof(*functions)))];
	struct expr_pool *p = &g->graph->exprs;
	enum dtype t = draw_one_in(g, 4) ? DT_F64 : DT_F32;
	struct item x = pick(g);
	const struct expr *a = expr_param(p, t, 0), *e;

	if (x.open)
		return false;
	g->low = f->low;
	g->high = f->high;
	x = add_input(g, t, x.v->type.rank, x.v->type.dims, -1);
	if (!x.v)
		return false;
	e = scalar_arity(f->op) == 2 ? expr_binary(p, f->op, a, expr_real(p, t, 1.75))
				     : expr_unary(p, f->op, a);
	g->judge = JUDGE_ULP;
	g->tolerance = f->ulp;
	g->subject = scalar_text(f->op);
	return keep(g, add_map(&g->b, e, DT_NONE, 1, &x.v), 1);
}
