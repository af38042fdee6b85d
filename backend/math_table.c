/* math_table.c: look-ups of f32; erf and tanh from tables of polynomials, where one instruction looks up as many of them as
 * a vector has lanes (vpermps: 8 with AVX2, 16 with AVX-512). The axis, times a scale, is cut in pieces at multiples of a
 * power of two; around each lies a polynomial, interpolated at Chebyshev nodes (errors below 1.3e-8). It replaces two
 * polynomials and an exponential. The coefficients are computed here with + - * / of f64 only, so that every machine gets
 * the same. */
#include "backend/math_emit.h"

enum { TERMS_MAX = 8 };

struct table {
	double (*fn)(double x); /* odd, tends to 1 */
	int terms;              /* of each polynomial */
	double step, scale;     /* piece i is around i * step / scale */
	double top; /* of the last piece in its middle, so that its end, the result for all above, rounds to 1; 0: as it is */
};

/* erf(x) = 2/sqrt(pi) exp(-x^2) (x + 2 x^3/3 + 4 x^5/15 + ..): all terms positive. */
static double erf_series(double x)
{
	double term = x, sum = x, power = 1, e = 1;

	for (int n = 1; n < 120; n++) {
		term *= 2 * x * x / (2 * n + 1);
		sum += term;
		power *= x * x / n;
		e += power;
	}
	return 1.1283791670955125739 * sum / e;
}

static double tanh_series(double x)
{
	double term = x, sinh = x, cosh = 1;

	for (int n = 2; n < 80; n += 2) {
		cosh += term * x / n;
		term *= x * x / n / (n + 1);
		sinh += term;
	}
	return sinh / cosh;
}

static double cos_series(double x)
{
	double term = 1, sum = 1;

	for (int n = 2; n < 40; n += 2) {
		term *= -x * x / n / (n - 1);
		sum += term;
	}
	return sum;
}

/* The polynomial of degree n - 1 through n points, by Newton's divided differences. */
static void interpolate(int n, const double *x, double *y, double *c)
{
	for (int k = 1; k < n; k++) {
		for (int i = n - 1; i >= k; i--)
			y[i] = (y[i] - y[i - 1]) / (x[i] - x[i - k]);
	}
	for (int i = 0; i < n; i++)
		c[i] = 0;
	for (int i = n - 1; i >= 0; i--) { /* c = c * (x - x[i]) + y[i] */
		for (int k = n - 1; k > 0; k--)
			c[k] = c[k - 1] - x[i] * c[k];
		c[0] = y[i] - x[i] * c[0];
	}
}

/* The polynomial of a piece, in the scaled distance from its middle. In the first one, from 0 to half a step, it is
 * that of fn(x) / x, times x: small results are as good as large ones. */
static void piece_terms(const struct table *t, int piece, bool last, double *c)
{
	double x[TERMS_MAX], y[TERMS_MAX], half = t->step / 2;
	int n = piece ? t->terms : t->terms - 1;

	for (int i = 0; i < n; i++) {
		double node = cos_series(3.14159265358979323846 * (2 * i + 1) / (2 * n)), at;

		x[i] = piece ? node * half : (node + 1) * half / 2;
		at = (piece * t->step + x[i]) / t->scale;
		y[i] = piece ? t->fn(at) : t->fn(at) / x[i];
	}
	interpolate(n, x, y, piece ? c : c + 1);
	if (!piece)
		c[0] = 0;
	if (last && t->top > 0)
		c[0] = t->top;
}

LLVMValueRef fx_look_up(struct fx *f, const double *table, LLVMValueRef x)
{
	const bool wide = f->lanes == TABLE_MAX;
	LLVMValueRef lane[TABLE_MAX], arg[2];

	for (int i = 0; i < f->lanes; i++)
		lane[i] = LLVMConstReal(f->e->f32, (double)(float)table[i]);
	arg[0] = LLVMConstVector(lane, (unsigned)f->lanes);
	arg[1] = fx_bits(f, x);
	return emit_intrinsic(f->e,
			      wide ? "llvm.x86.avx512.permvar.sf.512" : "llvm.x86.avx2.permps", 0,
			      NULL, 2, arg);
}

/* Horner's rule: the fewest operations, one after the other. */
static LLVMValueRef in_turn(struct fx *f, int n, LLVMValueRef *term, LLVMValueRef d)
{
	LLVMValueRef sum = term[n - 1];

	for (int k = n - 2; k >= 0; k--)
		sum = fx_fma(f, sum, d, term[k]);
	return sum;
}

/* All but the last two steps by Estrin's scheme, which joins neighbours again and again: more products and less deep, which
 * is faster where a core does two or more vectors in a cycle (GELU with AVX2 on Zen 3: 0.95 of the time). */
static LLVMValueRef in_pairs(struct fx *f, int n, LLVMValueRef *term, LLVMValueRef d)
{
	LLVMValueRef *rest = term + 2, x = d;

	for (n -= 2; n > 1; n = (n + 1) / 2) {
		for (int k = 0; k < n / 2; k++)
			rest[k] = fx_fma(f, rest[2 * k + 1], x, rest[2 * k]);
		if (n % 2)
			rest[n / 2] = rest[n - 1];
		if (n > 2)
			x = fx_mul(f, x, x);
	}
	return in_turn(f, 3, term, d);
}

static LLVMValueRef look_up(struct fx *f, const struct table *t, LLVMValueRef x)
{
	const int pieces = f->lanes;
	double c[TABLE_MAX][TERMS_MAX], entries[TABLE_MAX],
		round = 0x1.8p23 * t->step, last = (pieces - 0.5) * t->step * (1 - 0x1p-24);
	LLVMValueRef size = fx_abs(f, x), big, d, term[TERMS_MAX];

	for (int i = 0; i < pieces; i++)
		piece_terms(t, i, i == pieces - 1, c[i]);
	if (t->scale != 1)
		size = fx_mul(f, size, fx_real(f, t->scale));
	size = fx_min(f, last, size);
	big = fx_add(f, size, fx_real(f, round)); /* rounded to a multiple of the step */
	d = fx_sub(f, size, fx_sub(f, big, fx_real(f, round)));
	for (int k = 0; k < t->terms; k++) {
		for (int i = 0; i < pieces; i++)
			entries[i] = c[i][k];
		term[k] = fx_look_up(f, entries, big);
	}
	return fx_copysign(f, (pieces == TABLE_MAX ? in_turn : in_pairs)(f, t->terms, term, d), x);
}

int math_table_size(const struct fx *f)
{
	enum isa isa = f->e->target->isa;

	if (f->t != DT_F32)
		return 0;
	return isa == ISA_X86_V4 && f->lanes == 16                         ? 16
	       : (isa == ISA_X86_V3 || isa == ISA_X86_V4) && f->lanes == 8 ? 8
									   : 0;
}

LLVMValueRef math_erf_table(struct fx *f, LLVMValueRef x)
{
	const struct table wide = {erf_series, 6, 0.25, 1, 1 - 0x1p-24},
			   narrow = {erf_series, 8, 0.5, 1, 0};

	return look_up(f, f->lanes == 16 ? &wide : &narrow, x);
}

LLVMValueRef math_tanh_table(struct fx *f, LLVMValueRef x)
{
	return look_up(f, &(struct table){tanh_series, 8, 0.5, 0.86, 1}, x);
}
