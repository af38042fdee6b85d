/* math_trig.c: circular functions and their inverses in f64.
 * Sources: fdlibm k_sin.c, k_cos.c, e_rem_pio2.c, e_asin.c, e_acos.c (coefficients); Cephes atan.c; reduction modulo pi/2 by
 * Cody and Waite in three parts up to 1e5, beyond that exactly: Payne and Hanek, ACM SIGNUM 18 (1983). */
#include "backend/math_emit.h"

/* 2/pi, the bits after the point, most significant word first; the word before stands for the zeros before the point. */
static const uint64_t two_over_pi[] = {
	0,
	0xa2f9836e4e441529,
	0xfc2757d1f534ddc0,
	0xdb6295993c439041,
	0xfe5163abdebbc561,
	0xb7246e3a424dd2e0,
	0x06492eea09d1921c,
	0xfe1deb1cb129a73e,
	0xe88235f52ebb4484,
	0xe99c7026b45f7e41,
	0x3991d639835339f4,
	0x9c845f8bbdf9283b,
	0x1ff897ffde05980f,
	0xef2f118b5a0a6d1f,
	0x6d367ecf27cb09b7,
	0x4f463f669e5fea2d,
	0x7527bac7ebe5f17b,
	0x3d0739f78a5292ea,
	0x6bfb5fb11f8d5d08,
	0x56033046fc7b6bab,
	0xf0cfbc209af4361d,
};
enum { PI_WORDS = sizeof(two_over_pi) / sizeof(*two_over_pi) };

static LLVMValueRef pi_table(struct emitter *e)
{
	LLVMValueRef v = LLVMGetNamedGlobal(e->module, "hone.two_over_pi"), word[PI_WORDS];
	LLVMTypeRef type = LLVMArrayType2(e->i64, PI_WORDS);

	if (v)
		return v;
	for (int i = 0; i < PI_WORDS; i++)
		word[i] = LLVMConstInt(e->i64, two_over_pi[i], 0);
	v = LLVMAddGlobal(e->module, type, "hone.two_over_pi");
	LLVMSetInitializer(v, LLVMConstArray2(e->i64, word, PI_WORDS));
	LLVMSetLinkage(v, LLVMInternalLinkage);
	LLVMSetGlobalConstant(v, 1);
	LLVMSetAlignment(v, 8);
	return v;
}

/* 64 bits of the table from bit `at` on. */
static LLVMValueRef pi_bits(struct emitter *e, LLVMValueRef at)
{
	LLVMBuilderRef b = e->builder;
	LLVMValueRef word = LLVMBuildLShr(b, at, LLVMConstInt(e->i64, 6, 0), ""), shift, high, low,
		     next;

	shift = LLVMBuildAnd(b, at, LLVMConstInt(e->i64, 63, 0), "");
	next = LLVMBuildAdd(b, word, LLVMConstInt(e->i64, 1, 0), "");
	high = LLVMBuildLoad2(b, e->i64, LLVMBuildGEP2(b, e->i64, pi_table(e), &word, 1, ""), "");
	low = LLVMBuildLoad2(b, e->i64, LLVMBuildGEP2(b, e->i64, pi_table(e), &next, 1, ""), "");
	high = LLVMBuildShl(b, high, shift, "");
	low = LLVMBuildLShr(b, LLVMBuildLShr(b, low, LLVMConstInt(e->i64, 1, 0), ""),
			    LLVMBuildSub(b, LLVMConstInt(e->i64, 63, 0), shift, ""), "");
	return LLVMBuildOr(b, high, low, "");
}

/* x = r + q * pi/2 for one finite x with |x| >= 1, exactly: {f64 r, i64 q modulo 4}.
 * |x| = m * 2^k with a 53-bit integer m. The bits of 2/pi above 2^-(k-2) give multiples of 4 and are skipped; of the next 192, w,
 * the product m * w modulo 2^192 has the quadrant in its 2 top bits and the fraction below: 128 bits of it are kept. */
static LLVMValueRef reduce_exactly(struct emitter *e, LLVMValueRef x)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef wide = LLVMIntTypeInContext(e->context, 128), parts[2] = {e->f64, e->i64};
	LLVMTypeRef pair = LLVMStructTypeInContext(e->context, parts, 2, 0),
		    type = LLVMFunctionType(pair, &e->f64, 1, 0);
	LLVMBasicBlockRef back;
	LLVMValueRef fn, bits, m, at, product, fraction, q, r, low, negative, out, w[3];
#define NUM(v) LLVMConstInt(e->i64, (unsigned long long)(v), 1)
#define WIDE(v) LLVMBuildZExt(b, (v), wide, "")
#define WIDE_NUM(n) LLVMConstInt(wide, (n), 0)
#define REAL(v) LLVMConstReal(e->f64, (v))

	if (emit_helper(e, "hone.reduce_exactly", type, &fn, &back)) {
		bits = LLVMBuildBitCast(b, LLVMGetParam(fn, 0), e->i64, "");
		negative = LLVMBuildICmp(b, LLVMIntSLT, bits, NUM(0), "");
		m = LLVMBuildOr(b, LLVMBuildAnd(b, bits, NUM((INT64_C(1) << 52) - 1), ""),
				NUM(INT64_C(1) << 52), "");
		at = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, NUM(52), ""), NUM(0x7ff), "");
		at = LLVMBuildAdd(b, at, NUM(64 - 2 - 1075),
				  ""); /* k - 2 bits are skipped, after the 64 zeros */
		for (int i = 0; i < 3; i++)
			w[i] = pi_bits(e, LLVMBuildAdd(b, at, NUM(64 * i), ""));
		product =
			LLVMBuildShl(b, LLVMBuildMul(b, WIDE(m), WIDE(w[0]), ""), WIDE_NUM(64), "");
		product = LLVMBuildAdd(b, product, LLVMBuildMul(b, WIDE(m), WIDE(w[1]), ""), "");
		product = LLVMBuildAdd(b, product,
				       LLVMBuildLShr(b, LLVMBuildMul(b, WIDE(m), WIDE(w[2]), ""),
						     WIDE_NUM(64), ""),
				       "");
		fraction = LLVMBuildShl(b, product, WIDE_NUM(2),
					""); /* as a signed number: in [-1/2, 1/2) */
		q = LLVMBuildTrunc(b, LLVMBuildLShr(b, product, WIDE_NUM(126), ""), e->i64, "");
		q = LLVMBuildAdd(b, q,
				 LLVMBuildTrunc(b, LLVMBuildLShr(b, fraction, WIDE_NUM(127), ""),
						e->i64, ""),
				 "");
		low = LLVMBuildTrunc(b, LLVMBuildLShr(b, fraction, WIDE_NUM(1), ""), e->i64, "");
		low = LLVMBuildAnd(b, low, NUM(INT64_MAX), "");
		r = LLVMBuildTrunc(b, LLVMBuildLShr(b, fraction, WIDE_NUM(64), ""), e->i64, "");
		r = LLVMBuildFMul(b, LLVMBuildSIToFP(b, r, e->f64, ""), REAL(0x1p-64), "");
		r = LLVMBuildFAdd(
			b, r,
			LLVMBuildFMul(b, LLVMBuildSIToFP(b, low, e->f64, ""), REAL(0x1p-127), ""),
			"");
		r = LLVMBuildFMul(b, r, REAL(1.57079632679489661923), "");
		r = LLVMBuildSelect(b, negative, LLVMBuildFNeg(b, r, ""), r, "");
		q = LLVMBuildSelect(b, negative, LLVMBuildNeg(b, q, ""), q, "");
		out = LLVMBuildInsertValue(b, LLVMGetPoison(pair), r, 0, "");
		LLVMBuildRet(b, LLVMBuildInsertValue(b, out, q, 1, ""));
		LLVMPositionBuilderAtEnd(b, back);
	}
	return LLVMBuildCall2(b, type, fn, &x, 1, "");
#undef NUM
#undef WIDE
#undef WIDE_NUM
#undef REAL
}

static LLVMValueRef lane(struct fx *f, LLVMValueRef v, int i)
{
	return f->lanes == 1 ? v
			     : LLVMBuildExtractElement(f->e->builder, v,
						       LLVMConstInt(f->e->i32, (unsigned)i, 0), "");
}

static LLVMValueRef set_lane(struct fx *f, LLVMValueRef v, LLVMValueRef x, int i)
{
	return f->lanes == 1 ? x
			     : LLVMBuildInsertElement(f->e->builder, v, x,
						      LLVMConstInt(f->e->i32, (unsigned)i, 0), "");
}

/* x = r + q * pi/2. Where a lane is large (rarely), lane by lane in a block of its own. */
static LLVMValueRef reduce(struct fx *f, LLVMValueRef x, LLVMValueRef *quadrant)
{
	enum { LARGE = 100000 };
	struct emitter *e = f->e;
	LLVMBuilderRef b = e->builder;
	LLVMValueRef fn = LLVMGetBasicBlockParent(LLVMGetInsertBlock(b)), size = fx_abs(f, x), n, r,
		     q, large, r2, q2, phi[2];
	LLVMBasicBlockRef from = LLVMGetInsertBlock(b),
			  slow = LLVMAppendBasicBlockInContext(e->context, fn, "large");
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(e->context, fn, "");

	n = fx_round(f, fx_mul(f, x, fx_real(f, 6.36619772367581382433e-01)));
	r = fx_fma(f, fx_neg(f, n), fx_real(f, 1.57079632673412561417e+00), x);
	r = fx_fma(f, fx_neg(f, n), fx_real(f, 6.07710050630396597660e-11), r);
	r = fx_fma(f, fx_neg(f, n), fx_real(f, 2.02226624871116645580e-21), r);
	r = fx_fma(f, fx_neg(f, n), fx_real(f, 8.47842766036889956997e-32), r);
	q = fx_bits(f, fx_add(f, n, fx_real(f, 0x1.8p52))); /* n in the low bits */
	large = LLVMBuildAnd(b, fx_test_real(f, LLVMRealOGT, size, LARGE),
			     fx_test_real(f, LLVMRealOLT, size, __builtin_inf()), "");
	LLVMBuildCondBr(b, fx_any(f, large), slow, done);
	LLVMPositionBuilderAtEnd(b, slow);
	r2 = r;
	q2 = q;
	for (int i = 0; i < f->lanes; i++) {
		LLVMValueRef is = lane(f, large, i), safe, pair;

		safe = LLVMBuildSelect(b, is, lane(f, x, i), LLVMConstReal(e->f64, 1), "");
		pair = reduce_exactly(e, safe);
		r2 = set_lane(f, r2,
			      LLVMBuildSelect(b, is, LLVMBuildExtractValue(b, pair, 0, ""),
					      lane(f, r2, i), ""),
			      i);
		q2 = set_lane(f, q2,
			      LLVMBuildSelect(b, is, LLVMBuildExtractValue(b, pair, 1, ""),
					      lane(f, q2, i), ""),
			      i);
	}
	slow = LLVMGetInsertBlock(b);
	LLVMBuildBr(b, done);
	LLVMPositionBuilderAtEnd(b, done);
	phi[0] = LLVMBuildPhi(b, LLVMTypeOf(r), "");
	LLVMAddIncoming(phi[0], (LLVMValueRef[]){r, r2}, (LLVMBasicBlockRef[]){from, slow}, 2);
	phi[1] = LLVMBuildPhi(b, LLVMTypeOf(q), "");
	LLVMAddIncoming(phi[1], (LLVMValueRef[]){q, q2}, (LLVMBasicBlockRef[]){from, slow}, 2);
	*quadrant = phi[1];
	return phi[0];
}

/* sin and cos of |r| <= pi/4. */
static LLVMValueRef small_sin(struct fx *f, LLVMValueRef r)
{
	static const double c[] = {-1.66666666666666324348e-01, 8.33333333332248946124e-03,
				   -1.98412698298579493134e-04, 2.75573137070700676789e-06,
				   -2.50507602534068634195e-08, 1.58969099521155010221e-10};
	LLVMValueRef z = fx_mul(f, r, r);

	return fx_fma(f, fx_mul(f, z, r), fx_poly(f, z, 6, c), r);
}

static LLVMValueRef small_cos(struct fx *f, LLVMValueRef r)
{
	static const double c[] = {4.16666666666666019037e-02, -1.38888888888741095749e-03,
				   2.48015872894767294178e-05, -2.75573143513906633035e-07,
				   2.08757232129817482790e-09, -1.13596475577881948265e-11};
	LLVMValueRef z = fx_mul(f, r, r), half = fx_mul(f, z, fx_real(f, 0.5)),
		     w = fx_sub(f, fx_real(f, 1), half), rest;

	rest = fx_sub(f, fx_sub(f, fx_real(f, 1), w), half); /* what rounding took from w */
	return fx_add(f, w, fx_fma(f, fx_mul(f, z, z), fx_poly(f, z, 6, c), rest));
}

LLVMValueRef math_circular(struct fx *f, enum expr_op op, LLVMValueRef x)
{
	LLVMBuilderRef b = f->e->builder;
	LLVMValueRef q, r = reduce(f, x, &q), s = small_sin(f, r), c = small_cos(f, r), odd, y,
			flip;

	odd = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, q, fx_int(f, 1), ""), fx_int(f, 0), "");
	if (op == EXPR_TAN)
		return fx_div(f, fx_select(f, odd, fx_neg(f, c), s), fx_select(f, odd, s, c));
	if (op == EXPR_COS)
		q = LLVMBuildAdd(b, q, fx_int(f, 1), ""); /* cos x = sin(x + pi/2) */
	y = op == EXPR_COS ? fx_select(f, odd, s, c) : fx_select(f, odd, c, s);
	flip = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, q, fx_int(f, 2), ""), fx_int(f, 0), "");
	return fx_select(f, flip, fx_neg(f, y), y);
}

/* ---- inverses ---- */

/* (asin(s) - s) / s for z = s^2 <= 1/4. */
static LLVMValueRef asin_rest(struct fx *f, LLVMValueRef z)
{
	static const double p[] = {1.66666666666666657415e-01, -3.25565818622400915405e-01,
				   2.01212532134862925881e-01, -4.00555345006794114027e-02,
				   7.91534994289814532176e-04, 3.47933107596021167570e-05};
	static const double q[] = {1, -2.40339491173441421878e+00, 2.02094576023350569471e+00,
				   -6.88283971605453293030e-01, 7.70381505559019352791e-02};

	return fx_div(f, fx_mul(f, z, fx_poly(f, z, 6, p)), fx_poly(f, z, 5, q));
}

/* asin(a) for 0 <= a <= 1/2, and asin(sqrt((1 - a) / 2)), half of acos(a), above; NaN above 1. */
static LLVMValueRef half_angle(struct fx *f, LLVMValueRef a, LLVMValueRef *is_large)
{
	LLVMValueRef folded = fx_mul(f, fx_sub(f, fx_real(f, 1), a), fx_real(f, 0.5)), z, s;

	*is_large = fx_test_real(f, LLVMRealOGT, a, 0.5);
	z = fx_select(f, *is_large, folded, fx_mul(f, a, a));
	s = fx_select(f, *is_large, fx_sqrt(f, folded), a);
	return fx_fma(f, s, asin_rest(f, z), s);
}

LLVMValueRef math_asin(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef large, y = half_angle(f, fx_abs(f, x), &large);

	y = fx_select(f, large, fx_fma(f, fx_real(f, -2), y, fx_real(f, 1.57079632679489661923)),
		      y);
	return fx_copysign(f, y, x);
}

LLVMValueRef math_acos(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef large, y = half_angle(f, fx_abs(f, x), &large),
			    twice = fx_mul(f, y, fx_real(f, 2)), below, inner;

	below = fx_test_real(f, LLVMRealOLT, x, 0);
	inner = fx_sub(f, fx_real(f, 1.57079632679489661923), fx_copysign(f, y, x));
	twice = fx_select(f, below, fx_sub(f, fx_real(f, 3.14159265358979323846), twice), twice);
	return fx_select(f, large, twice, inner);
}

LLVMValueRef math_atan(struct fx *f, LLVMValueRef x)
{
	static const double p[] = {-6.485021904942025371773e1, -1.228866684490136173410e2,
				   -7.500855792314704667340e1, -1.615753718733365076637e1,
				   -8.750608600031904122785e-1};
	static const double q[] = {1.945506571482613964425e2, 4.853903996359136964868e2,
				   4.328810604912902668951e2, 1.650270098316988542046e2,
				   2.485846490142306297962e1, 1};
	LLVMValueRef a = fx_abs(f, x), one = fx_real(f, 1),
		     above = fx_test_real(f, LLVMRealOGT, a, 2.41421356237309504880);
	LLVMValueRef middle = fx_test_real(f, LLVMRealOGT, a, 0.66), top, bottom, t, z, y, base,
		     more;

	/* atan a = pi/2 - atan 1/a = pi/4 + atan (a - 1)/(a + 1) */
	top = fx_select(f, above, fx_real(f, -1), fx_select(f, middle, fx_sub(f, a, one), a));
	bottom = fx_select(f, above, a, fx_select(f, middle, fx_add(f, a, one), one));
	base = fx_select(
		f, above, fx_real(f, 1.57079632679489661923),
		fx_select(f, middle, fx_real(f, 7.85398163397448309616e-1), fx_real(f, 0)));
	more = fx_select(
		f, above, fx_real(f, 6.123233995736765886130e-17),
		fx_select(f, middle, fx_real(f, 3.061616997868382943065e-17), fx_real(f, 0)));
	t = fx_div(f, top, bottom);
	z = fx_mul(f, t, t);
	y = fx_div(f, fx_mul(f, z, fx_poly(f, z, 5, p)), fx_poly(f, z, 6, q));
	y = fx_add(f, base, fx_add(f, fx_fma(f, t, y, t), more));
	return fx_copysign(f, y, x);
}
