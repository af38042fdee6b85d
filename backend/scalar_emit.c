/* scalar_emit.c: scalar.def as LLVM IR; its head states the semantics. */
#include "backend/scalar_emit.h"

#include <math.h>
#include <string.h>

LLVMTypeRef vector_of(LLVMTypeRef t, int lanes)
{
	return lanes == 1 ? t : LLVMVectorType(t, (unsigned)lanes);
}

static LLVMTypeRef int_of(struct emitter *e, int bits)
{
	return LLVMIntTypeInContext(e->context, (unsigned)bits);
}

LLVMTypeRef value_type(struct emitter *e, enum dtype t, int lanes)
{
	LLVMTypeRef one;

	if (t == DT_BOOL)
		one = e->i1;
	else if (dtype_is_float(t))
		one = t == DT_F64 ? e->f64 : e->f32;
	else
		one = int_of(e, dtype_bits(t));
	return vector_of(one, lanes);
}

LLVMTypeRef memory_type(struct emitter *e, enum dtype t, int lanes)
{
	int bits = dtype_bits(t);

	if (t == DT_F32 || t == DT_F64)
		return value_type(e, t, lanes);
	return vector_of(int_of(e, bits < 8 ? 8 : bits), lanes);
}

LLVMValueRef value_splat(struct emitter *e, LLVMValueRef scalar, int lanes)
{
	LLVMTypeRef type = vector_of(LLVMTypeOf(scalar), lanes);
	LLVMValueRef v;

	if (lanes == 1)
		return scalar;
	if (LLVMIsConstant(scalar)) {
		LLVMValueRef all[64];

		for (int i = 0; i < lanes; i++)
			all[i] = scalar;
		return LLVMConstVector(all, (unsigned)lanes);
	}
	v = LLVMBuildInsertElement(e->builder, LLVMGetPoison(type), scalar,
				   LLVMConstInt(e->i32, 0, 0), "");
	return LLVMBuildShuffleVector(e->builder, v, LLVMGetPoison(type),
				      LLVMConstNull(vector_of(e->i32, lanes)), "");
}

LLVMValueRef emit_real(struct emitter *e, enum dtype t, int lanes, double x)
{
	return value_splat(e, LLVMConstReal(value_type(e, t, 1), x), lanes);
}

LLVMValueRef value_int(struct emitter *e, enum dtype t, int lanes, int64_t x)
{
	if (dtype_is_float(t))
		return emit_real(e, t, lanes, (double)x);
	return value_splat(e, LLVMConstInt(value_type(e, t, 1), (unsigned long long)x, 1), lanes);
}

LLVMValueRef value_lanes(struct emitter *e, int lanes)
{
	LLVMValueRef all[64];

	for (int i = 0; i < lanes; i++)
		all[i] = LLVMConstInt(e->i64, (unsigned)i, 0);
	return lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
}

LLVMValueRef emit_intrinsic(struct emitter *e, const char *name, int type_count, LLVMTypeRef *types,
			    int count, LLVMValueRef *args)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef fn;
	LLVMTypeRef type;

	if (!id)
		BUG("no intrinsic %s", name);
	fn = LLVMGetIntrinsicDeclaration(e->module, id, types, (size_t)type_count);
	type = LLVMIntrinsicGetType(e->context, id, types, (size_t)type_count);
	return LLVMBuildCall2(e->builder, type, fn, args, (unsigned)count, "");
}

static LLVMValueRef one_type(struct emitter *e, const char *name, int count, LLVMValueRef *args)
{
	LLVMTypeRef t = LLVMTypeOf(args[0]);

	return emit_intrinsic(e, name, 1, &t, count, args);
}

/* Their alignment is an operand before LLVM 22, an attribute of the pointer from then on. */
LLVMValueRef emit_masked(struct emitter *e, const char *name, LLVMTypeRef vector, int count,
			 LLVMValueRef *arg, int where, unsigned align)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMTypeRef types[2] = {vector, LLVMTypeOf(arg[where])},
		    type = LLVMIntrinsicGetType(e->context, id, types, 2);
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->module, id, types, 2), all[5], call;
	bool operand = LLVMCountParamTypes(type) == (unsigned)count + 1;
	int n = 0;

	for (int i = 0; i < count; i++) {
		all[n++] = arg[i];
		if (operand && i == where)
			all[n++] = LLVMConstInt(e->i32, align, 0);
	}
	call = LLVMBuildCall2(e->builder, type, fn, all, (unsigned)n, "");
	if (!operand)
		LLVMSetInstrParamAlignment(call, (LLVMAttributeIndex)(where + 1), align);
	return call;
}

LLVMValueRef emit_fma(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
	LLVMValueRef args[3] = {a, b, c};

	if (e->target->isa == ISA_X86_V2) /* fma would be a call of libm */
		return LLVMBuildFAdd(e->builder, LLVMBuildFMul(e->builder, a, b, ""), c, "");
	return one_type(e, "llvm.fma", 3, args);
}

bool emit_helper(struct emitter *e, const char *name, LLVMTypeRef type, LLVMValueRef *fn,
		 LLVMBasicBlockRef *back)
{
	*fn = LLVMGetNamedFunction(e->module, name);
	if (*fn)
		return false;
	*back = LLVMGetInsertBlock(e->builder);
	*fn = emitter_function(e, name, type, false);
	LLVMPositionBuilderAtEnd(e->builder,
				 LLVMAppendBasicBlockInContext(e->context, *fn, "entry"));
	return true;
}

/* ---- integers ---- */

/* Quotient or remainder without traps: a zero divisor gives 0; -1 is done by negation. */
static LLVMValueRef divide(struct emitter *e, enum dtype t, int lanes, bool remainder,
			   LLVMValueRef a, LLVMValueRef b)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef zero = value_int(e, t, lanes, 0), one = value_int(e, t, lanes, 1);
	LLVMValueRef is_zero = LLVMBuildICmp(bd, LLVMIntEQ, b, zero, ""), bad = is_zero,
		     is_minus = NULL, safe, r;
	bool is_signed = dtype_class(t) == DTYPE_SIGNED;

	if (is_signed) {
		is_minus = LLVMBuildICmp(bd, LLVMIntEQ, b, value_int(e, t, lanes, -1), "");
		bad = LLVMBuildOr(bd, bad, is_minus, "");
	}
	safe = LLVMBuildSelect(bd, bad, one, b, "");
	if (remainder)
		r = is_signed ? LLVMBuildSRem(bd, a, safe, "") : LLVMBuildURem(bd, a, safe, "");
	else
		r = is_signed ? LLVMBuildSDiv(bd, a, safe, "") : LLVMBuildUDiv(bd, a, safe, "");
	if (!remainder && is_signed)
		r = LLVMBuildSelect(bd, is_minus, LLVMBuildNeg(bd, a, ""), r, "");
	return LLVMBuildSelect(bd, is_zero, zero, r, "");
}

static LLVMValueRef int_mod(struct emitter *e, enum dtype t, int lanes, LLVMValueRef a,
			    LLVMValueRef b)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef r = divide(e, t, lanes, true, a, b), zero = value_int(e, t, lanes, 0), wrong;

	if (dtype_class(t) != DTYPE_SIGNED)
		return r;
	wrong = LLVMBuildAnd(bd, LLVMBuildICmp(bd, LLVMIntNE, r, zero, ""),
			     LLVMBuildICmp(bd, LLVMIntSLT, LLVMBuildXor(bd, r, b, ""), zero, ""),
			     "");
	return LLVMBuildSelect(bd, wrong, LLVMBuildAdd(bd, r, b, ""), r, "");
}

static LLVMValueRef shift(struct emitter *e, enum expr_op op, enum dtype t, int lanes,
			  LLVMValueRef a, LLVMValueRef b)
{
	LLVMBuilderRef bd = e->builder;
	int bits = dtype_bits(t);
	LLVMValueRef in = LLVMBuildICmp(bd, LLVMIntULT, b, value_int(e, t, lanes, bits), "");
	LLVMValueRef zero = value_int(e, t, lanes, 0), safe;

	if (op == EXPR_SHR && dtype_class(t) == DTYPE_SIGNED) {
		safe = LLVMBuildSelect(bd, in, b, value_int(e, t, lanes, bits - 1), "");
		return LLVMBuildAShr(bd, a, safe, "");
	}
	safe = LLVMBuildSelect(bd, in, b, zero, "");
	a = op == EXPR_SHL ? LLVMBuildShl(bd, a, safe, "") : LLVMBuildLShr(bd, a, safe, "");
	return LLVMBuildSelect(bd, in, a, zero, "");
}

static LLVMIntPredicate int_predicate(enum expr_op op, bool is_signed)
{
	switch (op) {
	case EXPR_LT: return is_signed ? LLVMIntSLT : LLVMIntULT;
	case EXPR_LE: return is_signed ? LLVMIntSLE : LLVMIntULE;
	case EXPR_GT: return is_signed ? LLVMIntSGT : LLVMIntUGT;
	case EXPR_GE: return is_signed ? LLVMIntSGE : LLVMIntUGE;
	case EXPR_EQ: return LLVMIntEQ;
	default: return LLVMIntNE;
	}
}

static LLVMValueRef int_op(struct emitter *e, enum expr_op op, enum dtype t, int lanes,
			   LLVMValueRef *arg)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef a = arg[0], b = arg[1], zero = value_int(e, t, lanes, 0);
	bool is_signed = dtype_class(t) == DTYPE_SIGNED;

	switch (op) {
	case EXPR_ADD: return LLVMBuildAdd(bd, a, b, "");
	case EXPR_SUB: return LLVMBuildSub(bd, a, b, "");
	case EXPR_MUL: return LLVMBuildMul(bd, a, b, "");
	case EXPR_DIV: return divide(e, t, lanes, false, a, b);
	case EXPR_REM: return divide(e, t, lanes, true, a, b);
	case EXPR_MOD: return int_mod(e, t, lanes, a, b);
	case EXPR_NEG: return LLVMBuildNeg(bd, a, "");
	case EXPR_ABS:
		if (!is_signed)
			return a;
		return LLVMBuildSelect(bd, LLVMBuildICmp(bd, LLVMIntSLT, a, zero, ""),
				       LLVMBuildNeg(bd, a, ""), a, "");
	case EXPR_SIGN:
		b = LLVMBuildZExt(
			bd, LLVMBuildICmp(bd, is_signed ? LLVMIntSGT : LLVMIntUGT, a, zero, ""),
			LLVMTypeOf(a), "");
		if (!is_signed)
			return b;
		return LLVMBuildOr(bd, b,
				   LLVMBuildSExt(bd, LLVMBuildICmp(bd, LLVMIntSLT, a, zero, ""),
						 LLVMTypeOf(a), ""),
				   "");
	case EXPR_MIN:
	case EXPR_MAX:
		return LLVMBuildSelect(
			bd,
			LLVMBuildICmp(bd,
				      int_predicate(op == EXPR_MIN ? EXPR_LT : EXPR_GT, is_signed),
				      a, b, ""),
			a, b, "");
	case EXPR_AND: return LLVMBuildAnd(bd, a, b, "");
	case EXPR_OR: return LLVMBuildOr(bd, a, b, "");
	case EXPR_XOR: return LLVMBuildXor(bd, a, b, "");
	case EXPR_INVERT: return LLVMBuildNot(bd, a, "");
	case EXPR_SHL:
	case EXPR_SHR: return shift(e, op, t, lanes, a, b);
	case EXPR_LT:
	case EXPR_LE:
	case EXPR_GT:
	case EXPR_GE:
	case EXPR_EQ:
	case EXPR_NE: return LLVMBuildICmp(bd, int_predicate(op, is_signed), a, b, "");
	default: BUG("integer %s", scalar_text(op));
	}
}

/* ---- bool: false < true; min is and, max is or ---- */

static LLVMValueRef bool_op(struct emitter *e, enum expr_op op, LLVMValueRef *arg)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef a = arg[0], b = arg[1];

	switch (op) {
	case EXPR_MIN:
	case EXPR_AND:
	case EXPR_MUL: return LLVMBuildAnd(bd, a, b, "");
	case EXPR_MAX:
	case EXPR_OR:
	case EXPR_ADD: return LLVMBuildOr(bd, a, b, "");
	case EXPR_XOR:
	case EXPR_NE: return LLVMBuildXor(bd, a, b, "");
	case EXPR_EQ: return LLVMBuildNot(bd, LLVMBuildXor(bd, a, b, ""), "");
	case EXPR_NOT: return LLVMBuildNot(bd, a, "");
	case EXPR_LT:
	case EXPR_LE:
	case EXPR_GT:
	case EXPR_GE: return LLVMBuildICmp(bd, int_predicate(op, false), a, b, "");
	default: BUG("bool %s", scalar_text(op));
	}
}

/* ---- floats ---- */

LLVMValueRef emit_clamp(struct emitter *e, bool max, LLVMValueRef c, LLVMValueRef x)
{
	return LLVMBuildSelect(e->builder,
			       LLVMBuildFCmp(e->builder, max ? LLVMRealOGT : LLVMRealOLT, c, x, ""),
			       c, x, "");
}

static LLVMValueRef float_extreme(struct emitter *e, bool max, LLVMValueRef a, LLVMValueRef b)
{
	LLVMValueRef r = emit_clamp(e, max, a, b); /* b when either is NaN */

	/* in this form AVX-512 masks the maximum itself */
	return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, LLVMRealORD, a, a, ""), r, a,
			       "");
}

/* fmod, with the divisor's sign where it is not zero. */
static LLVMValueRef float_mod(struct emitter *e, enum dtype t, int lanes, LLVMValueRef a,
			      LLVMValueRef b)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef r = emit_fmod(e, t, lanes, a, b), zero = emit_real(e, t, lanes, 0), wrong;

	wrong = LLVMBuildXor(bd, LLVMBuildFCmp(bd, LLVMRealOLT, r, zero, ""),
			     LLVMBuildFCmp(bd, LLVMRealOLT, b, zero, ""), "");
	wrong = LLVMBuildAnd(bd, wrong, LLVMBuildFCmp(bd, LLVMRealONE, r, zero, ""), "");
	return LLVMBuildSelect(bd, wrong, LLVMBuildFAdd(bd, r, b, ""), r, "");
}

static LLVMValueRef float_sign(struct emitter *e, enum dtype t, int lanes, LLVMValueRef a)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef zero = emit_real(e, t, lanes, 0), r;

	r = LLVMBuildSelect(bd, LLVMBuildFCmp(bd, LLVMRealOGT, a, zero, ""),
			    emit_real(e, t, lanes, 1), a, "");
	return LLVMBuildSelect(bd, LLVMBuildFCmp(bd, LLVMRealOLT, a, zero, ""),
			       emit_real(e, t, lanes, -1), r, "");
}

static LLVMValueRef float_op(struct emitter *e, enum expr_op op, enum dtype t, int lanes,
			     LLVMValueRef *arg)
{
	LLVMBuilderRef bd = e->builder;
	LLVMValueRef a = arg[0], b = arg[1];

	switch (op) {
	case EXPR_ADD: return LLVMBuildFAdd(bd, a, b, "");
	case EXPR_SUB: return LLVMBuildFSub(bd, a, b, "");
	case EXPR_MUL: return LLVMBuildFMul(bd, a, b, "");
	case EXPR_DIV: return LLVMBuildFDiv(bd, a, b, "");
	case EXPR_REM: return emit_fmod(e, t, lanes, a, b);
	case EXPR_MOD: return float_mod(e, t, lanes, a, b);
	case EXPR_NEG: return LLVMBuildFNeg(bd, a, "");
	case EXPR_ABS: return one_type(e, "llvm.fabs", 1, arg);
	case EXPR_SIGN: return float_sign(e, t, lanes, a);
	case EXPR_MIN:
	case EXPR_MAX: return float_extreme(e, op == EXPR_MAX, a, b);
	case EXPR_LT: return LLVMBuildFCmp(bd, LLVMRealOLT, a, b, "");
	case EXPR_LE: return LLVMBuildFCmp(bd, LLVMRealOLE, a, b, "");
	case EXPR_GT: return LLVMBuildFCmp(bd, LLVMRealOGT, a, b, "");
	case EXPR_GE: return LLVMBuildFCmp(bd, LLVMRealOGE, a, b, "");
	case EXPR_EQ: return LLVMBuildFCmp(bd, LLVMRealOEQ, a, b, "");
	case EXPR_NE: return LLVMBuildFCmp(bd, LLVMRealUNE, a, b, "");
	case EXPR_SQRT: return one_type(e, "llvm.sqrt", 1, arg);
	/* All levels have the instruction (SSE4.1 is in x86-64-v2). */
	case EXPR_FLOOR: return one_type(e, "llvm.floor", 1, arg);
	case EXPR_CEIL: return one_type(e, "llvm.ceil", 1, arg);
	case EXPR_TRUNC: return one_type(e, "llvm.trunc", 1, arg);
	case EXPR_RNE: return one_type(e, "llvm.roundeven", 1, arg);
	default: return emit_math(e, op, t, lanes, arg);
	}
}

LLVMValueRef emit_scalar(struct emitter *e, enum expr_op op, enum dtype operand, int lanes,
			 LLVMValueRef *arg)
{
	if (op == EXPR_SELECT)
		return LLVMBuildSelect(e->builder, arg[0], arg[1], arg[2], "");
	if (operand == DT_BOOL)
		return bool_op(e, op, arg);
	return dtype_is_float(operand) ? float_op(e, op, operand, lanes, arg)
				       : int_op(e, op, operand, lanes, arg);
}

/* ---- casts ---- */

static void int_limits(enum dtype t, int64_t *low, uint64_t *high)
{
	int bits = dtype_bits(t);
	bool is_signed = dtype_class(t) == DTYPE_SIGNED;

	*low = is_signed ? (int64_t)(UINT64_MAX << (bits - 1)) : 0;
	*high = UINT64_MAX >> (64 - bits + is_signed);
}

static LLVMValueRef float_to_int(struct emitter *e, enum dtype from, enum dtype to, int lanes,
				 LLVMValueRef x)
{
	LLVMBuilderRef bd = e->builder;
	LLVMTypeRef types[2] = {value_type(e, to, lanes), LLVMTypeOf(x)};
	int64_t low;
	uint64_t high;

	if (dtype_bits(to) >= 32)
		return emit_intrinsic(
			e, dtype_class(to) == DTYPE_SIGNED ? "llvm.fptosi.sat" : "llvm.fptoui.sat",
			2, types, 1, &x);
	int_limits(to, &low, &high);
	x = LLVMBuildSelect(bd, LLVMBuildFCmp(bd, LLVMRealORD, x, x, ""), x,
			    emit_real(e, from, lanes, 0), "");
	x = emit_clamp(e, true, emit_real(e, from, lanes, (double)low), x);
	x = emit_clamp(e, false, emit_real(e, from, lanes, (double)high), x);
	return LLVMBuildTrunc(bd, LLVMBuildFPToSI(bd, x, vector_of(e->i32, lanes), ""), types[0],
			      "");
}

static LLVMValueRef int_resize(struct emitter *e, enum dtype from, enum dtype to, int lanes,
			       LLVMValueRef x)
{
	LLVMTypeRef type = value_type(e, to, lanes);

	if (dtype_bits(to) <= dtype_bits(from))
		return dtype_bits(to) == dtype_bits(from) ? x
							  : LLVMBuildTrunc(e->builder, x, type, "");
	return dtype_class(from) == DTYPE_SIGNED ? LLVMBuildSExt(e->builder, x, type, "")
						 : LLVMBuildZExt(e->builder, x, type, "");
}

/* Clamps x of type `from` to what `to` can hold. */
static LLVMValueRef int_clamp(struct emitter *e, enum dtype from, enum dtype to, int lanes,
			      LLVMValueRef x)
{
	LLVMValueRef arg[2] = {x};
	int64_t from_low, to_low;
	uint64_t from_high, to_high;

	int_limits(from, &from_low, &from_high);
	int_limits(to, &to_low, &to_high);
	if (to_low > from_low) {
		arg[1] = value_int(e, from, lanes, to_low);
		arg[0] = int_op(e, EXPR_MAX, from, lanes, arg);
	}
	if (to_high < from_high) {
		arg[1] = value_int(e, from, lanes, (int64_t)to_high);
		arg[0] = int_op(e, EXPR_MIN, from, lanes, arg);
	}
	return arg[0];
}

LLVMValueRef emit_cast(struct emitter *e, enum expr_op op, enum dtype from, enum dtype to,
		       int lanes, LLVMValueRef x)
{
	LLVMBuilderRef bd = e->builder;
	LLVMTypeRef type = value_type(e, to, lanes);

	if (from == to)
		return x;
	if (op == EXPR_BITS_CAST && from != DT_BOOL && to != DT_BOOL)
		return LLVMBuildBitCast(bd, x, type, "");
	if (to == DT_BOOL)
		return dtype_is_float(from)
			       ? LLVMBuildFCmp(bd, LLVMRealUNE, x, emit_real(e, from, lanes, 0), "")
			       : LLVMBuildICmp(bd, LLVMIntNE, x, value_int(e, from, lanes, 0), "");
	if (from == DT_BOOL)
		return dtype_is_float(to) ? LLVMBuildUIToFP(bd, x, type, "")
					  : LLVMBuildZExt(bd, x, type, "");
	if (dtype_is_float(from) && dtype_is_float(to))
		return to == DT_F64 ? LLVMBuildFPExt(bd, x, type, "")
				    : LLVMBuildFPTrunc(bd, x, type, "");
	if (dtype_is_float(from))
		return float_to_int(e, from, to, lanes, x);
	if (dtype_is_float(to))
		return dtype_class(from) == DTYPE_SIGNED ? LLVMBuildSIToFP(bd, x, type, "")
							 : LLVMBuildUIToFP(bd, x, type, "");
	if (op == EXPR_SAT_CAST)
		x = int_clamp(e, from, to, lanes, x);
	return int_resize(e, from, to, lanes, x);
}
