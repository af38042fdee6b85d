/* math_fmod.c: C's fmod, exactly: the rest of repeated subtraction of the divisor times powers of two. Each difference is exact,
 * since what is subtracted is at most the rest and more than half of it. f32 is computed in f64, where its rest is
 * exact and fits back. One call for each lane: it is rare. */
#include "backend/math_emit.h"

/* 2^k for -1022 <= k <= 1023, k an i64. */
static LLVMValueRef power(struct emitter *e, LLVMValueRef k)
{
	LLVMValueRef bits = LLVMBuildAdd(e->builder, k, LLVMConstInt(e->i64, 1023, 0), "");

	bits = LLVMBuildShl(e->builder, bits, LLVMConstInt(e->i64, 52, 0), "");
	return LLVMBuildBitCast(e->builder, bits, e->f64, "");
}

static LLVMValueRef exponent(struct emitter *e, LLVMValueRef positive)
{
	LLVMValueRef bits = LLVMBuildBitCast(e->builder, positive, e->i64, "");

	return LLVMBuildLShr(e->builder, bits, LLVMConstInt(e->i64, 52, 0), "");
}

static LLVMValueRef absolute(struct emitter *e, LLVMValueRef x)
{
	return emit_intrinsic(e, "llvm.fabs", 1, &e->f64, 1, &x);
}

/* The body over finite |x| and y > 0: two loops. */
static void fill_loop(struct emitter *e, LLVMValueRef fn, LLVMValueRef rest, LLVMValueRef y,
		      LLVMBasicBlockRef done)
{
	LLVMBuilderRef b = e->builder;
	LLVMBasicBlockRef head = LLVMAppendBasicBlockInContext(e->context, fn, "head"),
			  body = LLVMAppendBasicBlockInContext(e->context, fn, "body");
	LLVMBasicBlockRef grow = LLVMAppendBasicBlockInContext(e->context, fn, "grow"),
			  subtract = LLVMAppendBasicBlockInContext(e->context, fn, "subtract");
	LLVMValueRef one = LLVMConstInt(e->i64, 1, 0), r, k, half, t, twice;

	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	r = LLVMBuildLoad2(b, e->f64, rest, "");
	LLVMBuildCondBr(b, LLVMBuildFCmp(b, LLVMRealOGE, r, y, ""), body, done);
	LLVMPositionBuilderAtEnd(b, body);
	/* y * 2^k has r's exponent, or one less: from there at most a few doublings (53 when y is denormal) */
	k = LLVMBuildSub(b, LLVMBuildSub(b, exponent(e, r), exponent(e, y), ""), one, "");
	k = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, k, LLVMConstInt(e->i64, 0, 0), ""),
			    LLVMConstInt(e->i64, 0, 0), k, "");
	half = LLVMBuildLShr(b, k, one, "");
	t = LLVMBuildFMul(b, LLVMBuildFMul(b, y, power(e, half), ""),
			  power(e, LLVMBuildSub(b, k, half, "")), "");
	LLVMBuildBr(b, grow);
	LLVMPositionBuilderAtEnd(b, grow);
	k = LLVMBuildPhi(b, e->f64, "");
	twice = LLVMBuildFAdd(b, k, k, "");
	LLVMAddIncoming(k, (LLVMValueRef[]){t, twice}, (LLVMBasicBlockRef[]){body, grow}, 2);
	LLVMBuildCondBr(b, LLVMBuildFCmp(b, LLVMRealOLE, twice, r, ""), grow, subtract);
	LLVMPositionBuilderAtEnd(b, subtract);
	LLVMBuildStore(b, LLVMBuildFSub(b, r, k, ""), rest);
	LLVMBuildBr(b, head);
}

static void fill(struct emitter *e, LLVMValueRef fn)
{
	LLVMBuilderRef b = e->builder;
	LLVMValueRef x = LLVMGetParam(fn, 0), y = absolute(e, LLVMGetParam(fn, 1)),
		     rest = LLVMBuildAlloca(b, e->f64, "rest"), ok, r, args[2];
	LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(e->context, fn, "loop"),
			  done = LLVMAppendBasicBlockInContext(e->context, fn, "done");
	LLVMBasicBlockRef bad = LLVMAppendBasicBlockInContext(e->context, fn, "bad");

	LLVMBuildStore(b, absolute(e, x), rest);
	ok = LLVMBuildAnd(b, LLVMBuildFCmp(b, LLVMRealOGT, y, LLVMConstReal(e->f64, 0), ""),
			  LLVMBuildFCmp(b, LLVMRealOLT, absolute(e, x),
					LLVMConstReal(e->f64, __builtin_inf()), ""),
			  "");
	LLVMBuildCondBr(b, ok, loop, bad);
	LLVMPositionBuilderAtEnd(b, bad); /* x infinite, y zero, or a NaN */
	LLVMBuildRet(b, LLVMConstReal(e->f64, __builtin_nan("")));
	LLVMPositionBuilderAtEnd(b, loop);
	fill_loop(e, fn, rest, y, done);
	LLVMPositionBuilderAtEnd(b, done);
	r = LLVMBuildLoad2(b, e->f64, rest, "");
	args[0] = r;
	args[1] = x;
	LLVMBuildRet(b, emit_intrinsic(e, "llvm.copysign", 1, &e->f64, 2, args));
}

LLVMValueRef emit_fmod(struct emitter *e, enum dtype t, int lanes, LLVMValueRef a, LLVMValueRef b)
{
	LLVMTypeRef params[2] = {e->f64, e->f64}, type = LLVMFunctionType(e->f64, params, 2, 0);
	LLVMValueRef out = LLVMGetPoison(value_type(e, t, lanes)), fn, args[2], y;
	LLVMBasicBlockRef back;

	if (emit_helper(e, "hone.fmod", type, &fn, &back)) {
		fill(e, fn);
		LLVMPositionBuilderAtEnd(e->builder, back);
	}
	for (int i = 0; i < lanes; i++) {
		LLVMValueRef at = LLVMConstInt(e->i32, (unsigned)i, 0);

		args[0] = lanes == 1 ? a : LLVMBuildExtractElement(e->builder, a, at, "");
		args[1] = lanes == 1 ? b : LLVMBuildExtractElement(e->builder, b, at, "");
		for (int k = 0; k < 2; k++)
			args[k] = emit_cast(e, EXPR_CAST, t, DT_F64, 1, args[k]);
		y = emit_cast(e, EXPR_CAST, DT_F64, t, 1,
			      LLVMBuildCall2(e->builder, type, fn, args, 2, ""));
		out = lanes == 1 ? y : LLVMBuildInsertElement(e->builder, out, y, at, "");
	}
	return out;
}
