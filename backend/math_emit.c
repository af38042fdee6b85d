/* math_emit.c: arithmetic in short names, and the choice how a math function is emitted: exp, log, tanh and
 * erf of f32 in line in f32; all others as a function of the module, called once per vector, that computes
 * in f64 (f32 results are then right to half an ulp or little more). */
#include "backend/math_emit.h"

#include <string.h>

LLVMValueRef fx_real(struct fx *f, double x) { return emit_real(f->e, f->t, f->lanes, x); }
LLVMTypeRef fx_int_type(struct fx *f)
{
	return vector_of(f->t == DT_F64 ? f->e->i64 : f->e->i32, f->lanes);
}
LLVMValueRef fx_int(struct fx *f, int64_t x)
{
	return value_int(f->e, f->t == DT_F64 ? DT_I64 : DT_I32, f->lanes, x);
}
LLVMValueRef fx_add(struct fx *f, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildFAdd(f->e->builder, a, b, "");
}
LLVMValueRef fx_sub(struct fx *f, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildFSub(f->e->builder, a, b, "");
}
LLVMValueRef fx_mul(struct fx *f, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildFMul(f->e->builder, a, b, "");
}
LLVMValueRef fx_div(struct fx *f, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildFDiv(f->e->builder, a, b, "");
}
LLVMValueRef fx_neg(struct fx *f, LLVMValueRef a) { return LLVMBuildFNeg(f->e->builder, a, ""); }
LLVMValueRef fx_fma(struct fx *f, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
	return emit_fma(f->e, a, b, c);
}

static LLVMValueRef unary(struct fx *f, const char *name, LLVMValueRef a)
{
	LLVMTypeRef type = LLVMTypeOf(a);

	return emit_intrinsic(f->e, name, 1, &type, 1, &a);
}

LLVMValueRef fx_abs(struct fx *f, LLVMValueRef a) { return unary(f, "llvm.fabs", a); }
LLVMValueRef fx_sqrt(struct fx *f, LLVMValueRef a) { return unary(f, "llvm.sqrt", a); }
LLVMValueRef fx_round(struct fx *f, LLVMValueRef a) { return unary(f, "llvm.roundeven", a); }
LLVMValueRef fx_trunc(struct fx *f, LLVMValueRef a) { return unary(f, "llvm.trunc", a); }
LLVMValueRef fx_min(struct fx *f, double c, LLVMValueRef a)
{
	return emit_clamp(f->e, false, fx_real(f, c), a);
}
LLVMValueRef fx_max(struct fx *f, double c, LLVMValueRef a)
{
	return emit_clamp(f->e, true, fx_real(f, c), a);
}

LLVMValueRef fx_select(struct fx *f, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(f->e->builder, c, a, b, "");
}

LLVMValueRef fx_test(struct fx *f, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildFCmp(f->e->builder, p, a, b, "");
}

LLVMValueRef fx_test_real(struct fx *f, LLVMRealPredicate p, LLVMValueRef a, double b)
{
	return LLVMBuildFCmp(f->e->builder, p, a, fx_real(f, b), "");
}

LLVMValueRef fx_bits(struct fx *f, LLVMValueRef a)
{
	return LLVMBuildBitCast(f->e->builder, a, fx_int_type(f), "");
}

LLVMValueRef fx_from_bits(struct fx *f, LLVMValueRef a)
{
	return LLVMBuildBitCast(f->e->builder, a, value_type(f->e, f->t, f->lanes), "");
}

LLVMValueRef fx_copysign(struct fx *f, LLVMValueRef size, LLVMValueRef sign)
{
	LLVMBuilderRef b = f->e->builder;
	LLVMValueRef top = fx_int(f, f->t == DT_F64 ? INT64_MIN : INT32_MIN);

	sign = LLVMBuildAnd(b, fx_bits(f, sign), top, "");
	size = LLVMBuildAnd(b, fx_bits(f, size), LLVMBuildNot(b, top, ""), "");
	return fx_from_bits(f, LLVMBuildOr(b, size, sign, ""));
}

LLVMValueRef fx_poly(struct fx *f, LLVMValueRef x, int n, const double *c)
{
	LLVMValueRef sum = fx_real(f, c[n - 1]);

	for (int i = n - 2; i >= 0; i--)
		sum = fx_fma(f, sum, x, fx_real(f, c[i]));
	return sum;
}

LLVMValueRef fx_any(struct fx *f, LLVMValueRef mask)
{
	LLVMTypeRef type = LLVMTypeOf(mask);

	return f->lanes == 1 ? mask
			     : emit_intrinsic(f->e, "llvm.vector.reduce.or", 1, &type, 1, &mask);
}

static LLVMValueRef compute(struct fx *f, enum expr_op op, LLVMValueRef x, LLVMValueRef y)
{
	switch (op) {
	case EXPR_EXP: return math_exp(f, x);
	case EXPR_LOG: return math_log(f, x);
	case EXPR_LOG1P: return math_log1p(f, x);
	case EXPR_POW: return math_pow(f, x, y);
	case EXPR_SIN:
	case EXPR_COS:
	case EXPR_TAN: return math_circular(f, op, x);
	case EXPR_ASIN: return math_asin(f, x);
	case EXPR_ACOS: return math_acos(f, x);
	case EXPR_ATAN: return math_atan(f, x);
	case EXPR_SINH: return math_sinh(f, x);
	case EXPR_COSH: return math_cosh(f, x);
	case EXPR_TANH: return math_tanh(f, x);
	case EXPR_ASINH: return math_asinh(f, x);
	case EXPR_ACOSH: return math_acosh(f, x);
	case EXPR_ATANH: return math_atanh(f, x);
	case EXPR_ERF: return math_erf(f, x);
	default: BUG("no math function for %s", scalar_text(op));
	}
}

/* The body of a helper: widened to f64. */
static LLVMValueRef compute_wide(struct emitter *e, enum expr_op op, enum dtype t, int lanes,
				 LLVMValueRef *arg, int count)
{
	struct fx f = {e, DT_F64, lanes};
	LLVMValueRef wide[2] = {NULL, NULL}, y;

	for (int i = 0; i < count; i++)
		wide[i] = emit_cast(e, EXPR_CAST, t, DT_F64, lanes, arg[i]);
	y = compute(&f, op, wide[0], wide[1]);
	return emit_cast(e, EXPR_CAST, DT_F64, t, lanes, y);
}

LLVMValueRef emit_math(struct emitter *e, enum expr_op op, enum dtype t, int lanes,
		       LLVMValueRef *arg)
{
	struct fx f = {e, t, lanes};
	bool narrow = t == DT_F32 &&
		      (op == EXPR_EXP || op == EXPR_LOG || op == EXPR_TANH || op == EXPR_ERF);
	int count = op == EXPR_POW ? 2 : 1;
	LLVMTypeRef value = value_type(e, t, lanes), params[2] = {value, value}, type;
	LLVMBasicBlockRef back;
	LLVMValueRef fn, inner[2];
	char *name;

	if (narrow || (t == DT_F64 && op == EXPR_EXP))
		return compute(&f, op, arg[0], NULL);
	name = arena_printf(e->arena, "hone.%s.%s.%d", scalar_text(op), dtype_name(t), lanes);
	type = LLVMFunctionType(value, params, (unsigned)count, 0);
	if (emit_helper(e, name, type, &fn, &back)) {
		for (int i = 0; i < count; i++)
			inner[i] = LLVMGetParam(fn, (unsigned)i);
		LLVMBuildRet(e->builder, compute_wide(e, op, t, lanes, inner, count));
		LLVMPositionBuilderAtEnd(e->builder, back);
	}
	return LLVMBuildCall2(e->builder, type, fn, arg, (unsigned)count, "");
}
