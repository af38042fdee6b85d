/* math_exp.c: exponentials, logarithms and what is made of them.
 * Sources: exp by 2^n * p(r), Cody and Waite 1980 ch. 6; log as in fdlibm's e_log.c and e_logf.c (its
 * argument reduction and coefficients); tanh near 0 as in Cephes' tanhf. Polynomials of exp: interpolated
 * at Chebyshev nodes on +-ln(2)/2, relative error 2e-19 (f64), 9e-9 (f32). */
#include "backend/math_emit.h"

static const double exp64[] = {
	0.5,
	0.16666666666666671438,
	0.041666666666666670074,
	0.0083333333333255446996,
	0.0013888888888883326674,
	0.00019841269876864354929,
	0.000024801587327007186731,
	2.7557252833516909748e-6,
	2.7557271810219799569e-7,
	2.5106274733573294687e-8,
	2.0915442297780115216e-9,
};
static const double exp32[] = {
	0.5,
	0.16666573381900846023,
	0.041666550110305124444,
	0.0083637738744055734983,
	0.001392692661402190648,
};

#define LN2_HIGH_64 6.93147180369123816490e-01
#define LN2_LOW_64 1.90821492927058770002e-10
#define LN2_HIGH_32 0.693359375
#define LN2_LOW_32 -2.12194440e-4

/* 2^n for an integral float n whose power is a normal number: n is added into the low bits of a big number. */
static LLVMValueRef power_of_two(struct fx *f, LLVMValueRef n)
{
	bool wide = f->t == DT_F64;
	LLVMValueRef bits = fx_bits(f, fx_add(f, n, fx_real(f, wide ? 0x1.8p52 : 0x1.8p23)));

	bits = LLVMBuildAdd(f->e->builder, bits, fx_int(f, wide ? 1023 : 127), "");
	return fx_from_bits(f, LLVMBuildShl(f->e->builder, bits, fx_int(f, wide ? 52 : 23), ""));
}

/* p * 2^floor(n) in one instruction where there is one; else n is integral. */
static LLVMValueRef scale(struct fx *f, LLVMValueRef p, LLVMValueRef n)
{
	struct emitter *e = f->e;
	int bits = f->lanes * dtype_bits(f->t);
	LLVMValueRef half, arg[5];

	if (e->target->isa == ISA_X86_V4 && bits == 512) {
		arg[0] = p;
		arg[1] = n;
		arg[2] = p;
		arg[3] = LLVMConstAllOnes(f->t == DT_F64 ? e->i8 : e->i16);
		arg[4] = LLVMConstInt(e->i32, 4, 0);
		return emit_intrinsic(e,
				      f->t == DT_F64 ? "llvm.x86.avx512.mask.scalef.pd.512"
						     : "llvm.x86.avx512.mask.scalef.ps.512",
				      0, NULL, 5, arg);
	}
	half = fx_round(f, fx_mul(f, n, fx_real(f, 0.5)));
	p = fx_mul(f, p, power_of_two(f, half));
	return fx_mul(f, p, power_of_two(f, fx_sub(f, n, half)));
}

/* (p + p q) * 2^n for f32 p near 1 and 2^23 n as an integer. In two steps, since 2^n may be no normal number: a half goes to
 * p's exponent, by the rest is multiplied. q may be NaN. */
static LLVMValueRef scale_bits(struct fx *f, LLVMValueRef p, LLVMValueRef q, LLVMValueRef n)
{
	LLVMBuilderRef b = f->e->builder;
	LLVMValueRef exponent = fx_int(f, -(INT64_C(1) << 23)), half, rest;

	half = LLVMBuildAnd(b, LLVMBuildAShr(b, n, fx_int(f, 1), ""), exponent, "");
	rest = LLVMBuildAdd(b, LLVMBuildSub(b, n, half, ""), fx_int(f, INT64_C(127) << 23), "");
	p = fx_from_bits(f, LLVMBuildAdd(b, fx_bits(f, p), half, ""));
	return fx_mul(f, fx_fma(f, p, q, p), fx_from_bits(f, rest));
}

/* x between low and high, beyond which exp is 0 or infinity. The sign of a negated x is left to those who multiply by it,
 * where it costs nothing. */
static LLVMValueRef clamp(struct fx *f, double low, double high, LLVMValueRef x)
{
	if (!LLVMIsAInstruction(x) || LLVMGetInstructionOpcode(x) != LLVMFNeg)
		return fx_max(f, low, fx_min(f, high, x));
	return fx_neg(f, fx_max(f, -high, fx_min(f, -low, LLVMGetOperand(x, 0))));
}

/* With k the multiple of 1/16, or 1/8, nearest to x / ln(2): 2^floor(k) * 2^(k - floor(k)), of which a table has 16, or 8,
 * times a polynomial that is a short one, for its argument is at most ln(2)/32, or ln(2)/16: there the first term is
 * such that it meets x^4/24 best. Relative errors 1.1e-7 and 1.2e-7. */
static LLVMValueRef exp_table(struct fx *f, LLVMValueRef x)
{
	static const double powers[TABLE_MAX] = {1.0,
						 1.0442737824274138403,
						 1.0905077326652576592,
						 1.1387886347566916537,
						 1.1892071150027210667,
						 1.2418578120734840486,
						 1.2968395546510096659,
						 1.3542555469368927283,
						 1.4142135623730950488,
						 1.4768261459394993114,
						 1.5422108254079408236,
						 1.6104903319492543082,
						 1.6817928305074290861,
						 1.7562521603732994832,
						 1.8340080864093424635,
						 1.9152065613971472939};
	static const double q[] = {0.5, 0.16666666666666666667},
			    q8[] = {0.5000647, 0.16666666666666666667};
	const bool wide = math_table_size(f) == TABLE_MAX;
	LLVMBuilderRef b = f->e->builder;
	LLVMValueRef big = fx_real(f, wide ? 0x1.8p19 : 0x1.8p20), sum, k, r, power, p;
	double entries[TABLE_MAX];

	for (int i = 0; i < TABLE_MAX / (wide ? 1 : 2); i++)
		entries[i] = powers[wide ? i : 2 * i];
	sum = fx_fma(f, x, fx_real(f, 1.4426950408889634074), big);
	power = fx_look_up(f, entries, sum);
	k = fx_sub(f, sum, big);
	r = fx_fma(f, k, fx_real(f, -LN2_HIGH_32), x);
	r = fx_fma(f, k, fx_real(f, -LN2_LOW_32), r);
	p = fx_fma(f, fx_mul(f, r, r), fx_poly(f, r, 2, wide ? q : q8), r);
	if (wide)
		return scale(f, fx_fma(f, power, p, power), k);
	k = LLVMBuildShl(b, fx_bits(f, sum), fx_int(f, 20), ""); /* 8 k lies in the lowest bits */
	return scale_bits(f, power, p, LLVMBuildAnd(b, k, fx_int(f, -(INT64_C(1) << 23)), ""));
}

/* exp(x + low), where |low| is tiny; low may be NULL. */
static LLVMValueRef exp_of(struct fx *f, LLVMValueRef x, LLVMValueRef low)
{
	bool wide = f->t == DT_F64;
	LLVMValueRef n, r, p;

	x = clamp(f, wide ? -746 : -104, wide ? 710 : 89, x);
	if (math_table_size(f) && !low)
		return exp_table(f, x);
	n = fx_round(f, fx_mul(f, x, fx_real(f, 1.4426950408889634074)));
	r = fx_fma(f, n, fx_real(f, wide ? -LN2_HIGH_64 : -LN2_HIGH_32), x);
	r = fx_fma(f, n, fx_real(f, wide ? -LN2_LOW_64 : -LN2_LOW_32), r);
	if (low)
		r = fx_add(f, r, low);
	p = wide ? fx_poly(f, r, 11, exp64) : fx_poly(f, r, 5, exp32);
	p = fx_add(f, fx_fma(f, fx_mul(f, r, r), p, r), fx_real(f, 1));
	return scale(f, p, n);
}

LLVMValueRef math_exp(struct fx *f, LLVMValueRef x) { return exp_of(f, x, NULL); }

/* ---- logarithm ---- */

/* x = m * 2^k, m in [sqrt(1/2), sqrt(2)); for finite x > 0. */
static LLVMValueRef split(struct fx *f, LLVMValueRef x, LLVMValueRef *k)
{
	LLVMBuilderRef b = f->e->builder;
	bool wide = f->t == DT_F64;
	int shift = wide ? 52 : 23;
	int64_t root = wide ? INT64_C(0x3fe6a09e667f3bcd) : 0x3f3504f3;
	LLVMValueRef tiny = fx_test_real(f, LLVMRealOLT, x, wide ? 0x1p-1022 : 0x1p-126), bits, e;

	x = fx_select(f, tiny, fx_mul(f, x, fx_real(f, wide ? 0x1p54 : 0x1p25)), x);
	bits = LLVMBuildSub(b, fx_bits(f, x), fx_int(f, root), "");
	e = LLVMBuildAShr(b, bits, fx_int(f, shift), "");
	bits = LLVMBuildAnd(b, bits, fx_int(f, (INT64_C(1) << shift) - 1), "");
	bits = LLVMBuildAdd(b, bits, fx_int(f, root), "");
	if (wide) { /* no conversion from i64 below AVX-512: through the low bits of a big number */
		e = LLVMBuildAdd(b, e, fx_int(f, INT64_C(0x4338000000000000)), "");
		*k = fx_sub(f, fx_from_bits(f, e), fx_real(f, 0x1.8p52));
	} else {
		*k = LLVMBuildSIToFP(b, e, value_type(f->e, f->t, f->lanes), "");
	}
	*k = fx_sub(f, *k, fx_select(f, tiny, fx_real(f, wide ? 54 : 25), fx_real(f, 0)));
	return fx_from_bits(f, bits);
}

/* log(1 + r) = r - r^2/2 + rest; fdlibm. */
static LLVMValueRef log_rest(struct fx *f, LLVMValueRef r, LLVMValueRef half_square)
{
	static const double l64[] = {6.666666666666735130e-01, 3.999999999940941908e-01,
				     2.857142874366239149e-01, 2.222219843214978396e-01,
				     1.818357216161805012e-01, 1.531383769920937332e-01,
				     1.479819860511658591e-01};
	static const double l32[] = {0xaaaaaa.0p-24, 0xccce13.0p-25, 0x91e9ee.0p-25,
				     0xf89e26.0p-26};
	LLVMValueRef s = fx_div(f, r, fx_add(f, r, fx_real(f, 2))), z = fx_mul(f, s, s), p;

	p = f->t == DT_F64 ? fx_poly(f, z, 7, l64) : fx_poly(f, z, 4, l32);
	return fx_mul(f, s, fx_fma(f, p, z, half_square));
}

static LLVMValueRef log_special(struct fx *f, LLVMValueRef x, LLVMValueRef y)
{
	y = fx_select(f, fx_test_real(f, LLVMRealOEQ, x, __builtin_inf()), x, y);
	y = fx_select(f, fx_test_real(f, LLVMRealOEQ, x, 0), fx_real(f, -__builtin_inf()), y);
	return fx_select(f, fx_test_real(f, LLVMRealUGE, x, 0), y, fx_real(f, __builtin_nan("")));
}

LLVMValueRef math_log(struct fx *f, LLVMValueRef x)
{
	bool wide = f->t == DT_F64;
	LLVMValueRef k, r = fx_sub(f, split(f, x, &k), fx_real(f, 1)), h, y;

	h = fx_mul(f, fx_mul(f, fx_real(f, 0.5), r), r);
	y = fx_fma(f, k, fx_real(f, wide ? LN2_LOW_64 : 9.0580006145e-06), log_rest(f, r, h));
	y = fx_add(f, fx_sub(f, y, h), r);
	y = fx_fma(f, k, fx_real(f, wide ? LN2_HIGH_64 : 6.9313812256e-01), y);
	y = fx_select(f, fx_test(f, LLVMRealUNO, x, x), x, y);
	return log_special(f, x, y);
}

/* log(u) * x / (u - 1) with u = 1 + x rounded: the errors of u cancel (HP-15C handbook). */
LLVMValueRef math_log1p(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef one = fx_real(f, 1), u = fx_add(f, x, one), d = fx_sub(f, u, one), y;

	y = fx_mul(f, math_log(f, u), fx_div(f, x, d));
	y = fx_select(f, fx_test_real(f, LLVMRealOEQ, d, 0), x, y);
	return fx_select(f, fx_test_real(f, LLVMRealOEQ, x, __builtin_inf()), x, y);
}

/* ---- power: exp(y * log x), the logarithm and the product as sums of two numbers ---- */

static LLVMValueRef log_pair(struct fx *f, LLVMValueRef x, LLVMValueRef *low)
{
	LLVMValueRef k, r = fx_sub(f, split(f, x, &k), fx_real(f, 1)), h, a, b, high;

	h = fx_mul(f, fx_mul(f, fx_real(f, 0.5), r), r);
	b = fx_sub(f, log_rest(f, r, h), h);
	b = fx_fma(f, k, fx_real(f, LN2_LOW_64), b);
	a = fx_mul(f, k, fx_real(f, LN2_HIGH_64)); /* exact */
	high = fx_add(f, a, r);
	*low = fx_add(f,
		      fx_select(f, fx_test_real(f, LLVMRealOEQ, k, 0), fx_real(f, 0),
				fx_sub(f, r, fx_sub(f, high, a))),
		      b);
	a = fx_add(f, high, *low);
	*low = fx_sub(f, *low, fx_sub(f, a, high));
	return a;
}

LLVMValueRef math_pow(struct fx *f, LLVMValueRef x, LLVMValueRef y)
{
	LLVMBuilderRef b = f->e->builder;
	LLVMValueRef size = fx_abs(f, x), low, high = log_pair(f, size, &low), p, rest, r, whole,
		     half, odd, negative, bad;

	high = log_special(f, size, fx_select(f, fx_test(f, LLVMRealUNO, x, x), x, high));
	p = fx_mul(f, y, high);
	rest = fx_fma(f, y, low,
		      f->e->target->isa == ISA_X86_V2 ? fx_real(f, 0)
						      : fx_fma(f, y, high, fx_neg(f, p)));
	bad = fx_test_real(f, LLVMRealOLT, fx_abs(f, p), 800); /* infinities have no rest */
	r = exp_of(f, p, fx_select(f, bad, rest, fx_real(f, 0)));
	r = fx_select(f, fx_test_real(f, LLVMRealOEQ, size, 1), fx_real(f, 1), r);
	r = fx_select(f, fx_test(f, LLVMRealUNO, y, y), y, r);
	whole = fx_test(f, LLVMRealOEQ, fx_trunc(f, y), y);
	half = fx_mul(f, y, fx_real(f, 0.5));
	odd = LLVMBuildAnd(b, whole, fx_test(f, LLVMRealONE, fx_trunc(f, half), half), "");
	negative = LLVMBuildICmp(b, LLVMIntSLT, fx_bits(f, x), fx_int(f, 0), "");
	r = fx_select(f, LLVMBuildAnd(b, negative, odd, ""), fx_neg(f, r), r);
	bad = LLVMBuildAnd(b, fx_test_real(f, LLVMRealOLT, x, 0), LLVMBuildNot(b, whole, ""), "");
	bad = LLVMBuildAnd(b, bad, fx_test_real(f, LLVMRealONE, x, -__builtin_inf()), "");
	bad = LLVMBuildAnd(b, bad, fx_test_real(f, LLVMRealONE, fx_abs(f, y), __builtin_inf()), "");
	r = fx_select(f, bad, fx_real(f, __builtin_nan("")), r);
	bad = LLVMBuildOr(b, fx_test_real(f, LLVMRealOEQ, y, 0), fx_test_real(f, LLVMRealOEQ, x, 1),
			  "");
	return fx_select(f, bad, fx_real(f, 1), r);
}

/* ---- hyperbolic ---- */

/* sinh for |x| <= 1: Taylor. */
static LLVMValueRef sinh_small(struct fx *f, LLVMValueRef x)
{
	static const double c[] = {
		1 / 6.0,        1 / 120.0,        1 / 5040.0,          1 / 362880.0,
		1 / 39916800.0, 1 / 6227020800.0, 1 / 1307674368000.0, 1 / 355687428096000.0};
	LLVMValueRef z = fx_mul(f, x, x);

	return fx_fma(f, fx_mul(f, x, z), fx_poly(f, z, 8, c), x);
}

static LLVMValueRef tanh32(struct fx *f, LLVMValueRef x)
{
	static const double c[] = {-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2,
				   2.06390887954e-2, -5.70498872745e-3};
	LLVMValueRef size = fx_abs(f, x), z = fx_mul(f, x, x), small, big;

	small = fx_fma(f, fx_mul(f, x, z), fx_poly(f, z, 5, c), x);
	big = math_exp(f, fx_mul(f, fx_min(f, 10, size), fx_real(f, 2)));
	big = fx_sub(f, fx_real(f, 1), fx_div(f, fx_real(f, 2), fx_add(f, big, fx_real(f, 1))));
	return fx_select(f, fx_test_real(f, LLVMRealOLT, size, 0.625), small,
			 fx_copysign(f, big, x));
}

LLVMValueRef math_tanh(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef size = fx_abs(f, x), s, small, big;

	if (f->t == DT_F32)
		return math_table_size(f) == TABLE_MAX ? math_tanh_table(f, x) : tanh32(f, x);
	s = sinh_small(f, x);
	small = fx_div(f, s, fx_sqrt(f, fx_fma(f, s, s, fx_real(f, 1))));
	big = math_exp(f, fx_mul(f, fx_min(f, 30, size), fx_real(f, 2)));
	big = fx_sub(f, fx_real(f, 1), fx_div(f, fx_real(f, 2), fx_add(f, big, fx_real(f, 1))));
	return fx_select(f, fx_test_real(f, LLVMRealOLT, size, 1), small, fx_copysign(f, big, x));
}

/* exp(|x|) / 2 as a product that does not overflow early, and its reciprocal's half. */
static LLVMValueRef half_exp(struct fx *f, LLVMValueRef size, LLVMValueRef *inverse)
{
	LLVMValueRef root = math_exp(f, fx_mul(f, size, fx_real(f, 0.5)));
	LLVMValueRef e = fx_select(f, fx_test_real(f, LLVMRealOLT, size, 700), math_exp(f, size),
				   fx_real(f, 1));

	*inverse = fx_select(f, fx_test_real(f, LLVMRealOLT, size, 700),
			     fx_div(f, fx_real(f, 0.5), e), fx_real(f, 0));
	root = fx_mul(f, fx_mul(f, fx_real(f, 0.5), root), root);
	return fx_select(f, fx_test_real(f, LLVMRealOLT, size, 700), fx_mul(f, fx_real(f, 0.5), e),
			 root);
}

LLVMValueRef math_sinh(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef size = fx_abs(f, x), inverse, big = half_exp(f, size, &inverse);

	big = fx_copysign(f, fx_sub(f, big, inverse), x);
	big = fx_select(f, fx_test(f, LLVMRealUNO, x, x), x, big);
	return fx_select(f, fx_test_real(f, LLVMRealOLT, size, 1), sinh_small(f, x), big);
}

LLVMValueRef math_cosh(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef size = fx_abs(f, x), inverse, big = half_exp(f, size, &inverse);

	return fx_select(f, fx_test(f, LLVMRealUNO, x, x), x, fx_add(f, big, inverse));
}

LLVMValueRef math_asinh(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef size = fx_abs(f, x), one = fx_real(f, 1), z = fx_mul(f, size, size), small,
		     big;

	small = fx_add(f, size, fx_div(f, z, fx_add(f, one, fx_sqrt(f, fx_add(f, one, z)))));
	big = fx_add(f, math_log(f, size), fx_real(f, 0.69314718055994530942));
	small = fx_select(f, fx_test_real(f, LLVMRealOLT, size, 1e100), math_log1p(f, small), big);
	small = fx_select(f, fx_test_real(f, LLVMRealOLT, size, 1e-10), size, small);
	return fx_select(f, fx_test(f, LLVMRealUNO, x, x), x, fx_copysign(f, small, x));
}

LLVMValueRef math_acosh(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef t = fx_sub(f, x, fx_real(f, 1)), small, big;

	small = math_log1p(f, fx_add(f, t, fx_sqrt(f, fx_mul(f, t, fx_add(f, t, fx_real(f, 2))))));
	big = fx_add(f, math_log(f, x), fx_real(f, 0.69314718055994530942));
	small = fx_select(f, fx_test_real(f, LLVMRealOLT, x, 1e100), small, big);
	return fx_select(f, fx_test_real(f, LLVMRealULT, x, 1), fx_real(f, __builtin_nan("")),
			 small);
}

LLVMValueRef math_atanh(struct fx *f, LLVMValueRef x)
{
	LLVMValueRef size = fx_abs(f, x), one = fx_real(f, 1), y;

	y = fx_div(f, fx_add(f, size, size), fx_sub(f, one, size));
	y = fx_mul(f, fx_real(f, 0.5), math_log1p(f, y));
	y = fx_select(f, fx_test_real(f, LLVMRealOGT, size, 1), fx_real(f, __builtin_nan("")), y);
	return fx_select(f, fx_test(f, LLVMRealUNO, x, x), x, fx_copysign(f, y, x));
}

/* ---- error function ---- */

/* f32: njuffa's two polynomials, below 1 ulp. */
static LLVMValueRef erf32(struct fx *f, LLVMValueRef x)
{
	static const double s[] = {1.28379166e-1,  -3.76125336e-1, 1.12819925e-1,
				   -2.67681349e-2, 4.99119423e-3,  -5.96761703e-4};
	static const double l[] = {-1.28717512e-1, -6.34846687e-1, -1.06777877e-1, 2.42546219e-2,
				   -3.88396438e-3, 3.83197126e-4,  -1.72853470e-5};
	LLVMValueRef size = fx_abs(f, x), t = fx_min(f, 4, size), z = fx_mul(f, x, x), small, big;

	small = fx_fma(f, fx_poly(f, z, 6, s), x, x);
	big = fx_fma(f, fx_poly(f, t, 7, l), t, fx_neg(f, t));
	big = fx_copysign(f, fx_sub(f, fx_real(f, 1), math_exp(f, big)), x);
	return fx_select(f, fx_test_real(f, LLVMRealOGT, size, 0.927734375), big, small);
}

/* f64: erf(x)/x in x^2 up to 1; then 1 - exp(-x^2) q(u), u = (x-2)/(x+2). Both interpolated at Chebyshev nodes,
 * errors below 2e-19 and 2e-15 of erfc. */
LLVMValueRef math_erf(struct fx *f, LLVMValueRef x)
{
	static const double s[] = {
		1.1283791670955125738,     -0.37612638903183748056,     0.11283791670954878666,
		-0.026866170645076793248,  0.0052239776248180144673,    -0.00085483269808337899052,
		0.00012055331111642710923, -0.000014925595266831181565, 1.6461000484121368033e-6,
		-1.6350312701054695011e-7, 1.4659775274047435814e-8,    -1.137284885679167367e-9,
		5.9571761477489114044e-11};
	static const double q[] = {0.25539567631050574201,      -0.42718584741395719285,
				   0.24165819424247329902,      -0.078978581015991158136,
				   0.0037328924030990463397,    0.0069974617558338355838,
				   -0.00084714318455234661705,  -0.00098197752919486430165,
				   0.000043554043356344797069,  0.00017436968052957474618,
				   0.000027543139590179193922,  -0.000027664780919991034969,
				   -0.000014056738108271444601, 1.8647522610856834837e-6,
				   3.8675410696894272939e-6};
	LLVMValueRef size = fx_abs(f, x), t, u, small, big;

	if (f->t == DT_F32)
		return math_table_size(f) ? math_erf_table(f, x) : erf32(f, x);
	small = fx_mul(f, x, fx_poly(f, fx_mul(f, x, x), 13, s));
	t = fx_min(f, 6, size);
	u = fx_div(f, fx_sub(f, t, fx_real(f, 2)), fx_add(f, t, fx_real(f, 2)));
	big = fx_mul(f, math_exp(f, fx_neg(f, fx_mul(f, t, t))), fx_poly(f, u, 15, q));
	big = fx_copysign(f, fx_sub(f, fx_real(f, 1), big), x);
	return fx_select(f, fx_test_real(f, LLVMRealOGT, size, 1), big, small);
}
