/* dim_emit.c: the value of a dim in code, the same as dim_eval gives (saturating; division by zero is 0). */
#include "backend/scalar_emit.h"

struct source {
	struct emitter *e;
	LLVMValueRef (*symbol)(void *self, int symbol);
	void *self;
};

static LLVMValueRef num(struct emitter *e, int64_t x)
{
	return LLVMConstInt(e->i64, (unsigned long long)x, 1);
}

static LLVMValueRef add_sat(struct emitter *e, LLVMValueRef a, LLVMValueRef b)
{
	LLVMValueRef arg[2] = {a, b};

	return emit_intrinsic(e, "llvm.sadd.sat", 1, &e->i64, 2, arg);
}

static LLVMValueRef mul_sat(struct emitter *e, LLVMValueRef a, LLVMValueRef b)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef arg[2] = {a, b},
		     pair = emit_intrinsic(e, "llvm.smul.with.overflow", 1, &e->i64, 2, arg), limit;

	limit = LLVMBuildICmp(bd, LLVMIntSLT, LLVMBuildXor(bd, a, b, ""), num(e, 0), "");
	limit = LLVMBuildSelect(bd, limit, num(e, INT64_MIN), num(e, INT64_MAX), "");
	return LLVMBuildSelect(bd, LLVMBuildExtractValue(bd, pair, 1, ""), limit,
			       LLVMBuildExtractValue(bd, pair, 0, ""), "");
}

/* floor(a / b), 0 for b = 0; *rest: a - b * that. */
static LLVMValueRef floor_div(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef *rest)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef zero = num(e, 0), none = LLVMBuildICmp(bd, LLVMIntEQ, b, zero, ""), q, r, down,
		     arg[2];
	LLVMValueRef minus = LLVMBuildICmp(bd, LLVMIntEQ, b, num(e, -1), ""), safe;

	safe = LLVMBuildSelect(bd, LLVMBuildOr(bd, none, minus, ""), num(e, 1), b, "");
	q = LLVMBuildSDiv(bd, a, safe, "");
	r = LLVMBuildSRem(bd, a, safe, "");
	down = LLVMBuildAnd(bd, LLVMBuildICmp(bd, LLVMIntNE, r, zero, ""),
			    LLVMBuildICmp(bd, LLVMIntSLT, LLVMBuildXor(bd, r, safe, ""), zero, ""),
			    "");
	q = LLVMBuildSelect(bd, down, LLVMBuildSub(bd, q, num(e, 1), ""), q, "");
	*rest = LLVMBuildSelect(bd, down, LLVMBuildAdd(bd, r, safe, ""), r, "");
	arg[0] = zero;
	arg[1] = a;
	q = LLVMBuildSelect(bd, minus, emit_intrinsic(e, "llvm.ssub.sat", 1, &e->i64, 2, arg), q,
			    "");
	return LLVMBuildSelect(bd, none, zero, q, "");
}

static LLVMValueRef value_of(struct source *s, dim d);

static LLVMValueRef quotient(struct source *s, dim d)
{
	LLVMBuilderRef b = s->e->builder;
	LLVMValueRef n = value_of(s, d->arg[1]), rest,
		     q = floor_div(s->e, value_of(s, d->arg[0]), n, &rest), up;
	LLVMValueRef zero = num(s->e, 0), is_zero = LLVMBuildICmp(b, LLVMIntEQ, n, zero, "");

	if (d->kind == DIM_FLOORDIV)
		return q;
	if (d->kind == DIM_MOD)
		return LLVMBuildSelect(b, is_zero, zero, rest, "");
	up = LLVMBuildZExt(b, LLVMBuildICmp(b, LLVMIntNE, rest, zero, ""), s->e->i64, "");
	return LLVMBuildSelect(b, is_zero, zero, add_sat(s->e, q, up), "");
}

static LLVMValueRef value_of(struct source *s, dim d)
{
	LLVMBuilderRef b = s->e->builder;
	LLVMValueRef sum, x, y;

	switch (d->kind) {
	case DIM_CONST: return num(s->e, d->value);
	case DIM_SYMBOL: return s->symbol(s->self, (int)d->value);
	case DIM_SUM:
		sum = num(s->e, d->value);
		for (int i = 0; i < d->count; i++)
			sum = add_sat(s->e, sum,
				      mul_sat(s->e, num(s->e, d->coef[i]), value_of(s, d->arg[i])));
		return sum;
	case DIM_PRODUCT:
		sum = value_of(s, d->arg[0]);
		for (int i = 1; i < d->count; i++)
			sum = mul_sat(s->e, sum, value_of(s, d->arg[i]));
		return sum;
	case DIM_FLOORDIV:
	case DIM_CEILDIV:
	case DIM_MOD: return quotient(s, d);
	case DIM_MIN:
	case DIM_MAX:
		x = value_of(s, d->arg[0]);
		y = value_of(s, d->arg[1]);
		return LLVMBuildSelect(
			b, LLVMBuildICmp(b, d->kind == DIM_MIN ? LLVMIntSLT : LLVMIntSGT, x, y, ""),
			x, y, "");
	case DIM_SELECT:
		x = LLVMBuildICmp(b, LLVMIntEQ, value_of(s, d->arg[0]), value_of(s, d->arg[1]), "");
		return LLVMBuildSelect(b, x, value_of(s, d->arg[2]), value_of(s, d->arg[3]), "");
	}
	BUG("dim kind %d", (int)d->kind);
}

LLVMValueRef emit_dim(struct emitter *e, dim d, LLVMValueRef (*symbol)(void *self, int symbol),
		      void *self)
{
	struct source s = {e, symbol, self};

	return value_of(&s, d);
}
