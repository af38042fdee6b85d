/* math_table.c: erf of f32 from a table of polynomials, where one instruction looks up 16 of them (vpermps of
 * AVX-512). The axis is cut at multiples of 1/4; around each lies a polynomial of degree 5, interpolated at
 * Chebyshev nodes (error below 1.2e-8). It replaces two polynomials and an exponential. The coefficients are
 * computed here with + - * / of f64 only, so that every machine gets the same. */
#include "backend/math_emit.h"

enum { PIECES = 16, TERMS = 6 };

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

static void erf_piece(int piece, double *c)
{
	static const double nodes[TERMS] = {-0.96592582628906829, -0.70710678118654752,
					    -0.25881904510252076, 0.25881904510252076,
					    0.70710678118654752,  0.96592582628906829};
	static const double nodes0[TERMS - 1] = {-0.95105651629515357, -0.58778525229247313, 0,
						 0.58778525229247313, 0.95105651629515357};
	double x[TERMS], y[TERMS];

	if (piece) {
		for (int i = 0; i < TERMS; i++) {
			x[i] = nodes[i] / 8;
			y[i] = erf_series(piece / 4.0 + x[i]);
		}
		interpolate(TERMS, x, y, c);
		if (piece == PIECES - 1)
			c[0] = 1 - 0x1p-24; /* the sum at its end, erf of all above, rounds to 1 */
		return;
	}
	for (int i = 0; i < TERMS - 1;
	     i++) { /* erf(x) / x: small results are as good as large ones */
		x[i] = (nodes0[i] + 1) / 16;
		y[i] = x[i] > 0 ? erf_series(x[i]) / x[i] : 1.1283791670955125739;
	}
	interpolate(TERMS - 1, x, y, c + 1);
	c[0] = 0;
}

LLVMValueRef math_erf_table(struct fx *f, LLVMValueRef x)
{
	struct emitter *e = f->e;
	double c[PIECES][TERMS];
	LLVMValueRef size = fx_min(f, 3.8749998, fx_abs(f, x)), big, d, sum = NULL, lane[PIECES],
		     arg[2];

	for (int i = 0; i < PIECES; i++)
		erf_piece(i, c[i]);
	big = fx_add(f, size, fx_real(f, 0x1.8p21)); /* rounded to a multiple of 1/4 */
	d = fx_sub(f, size, fx_sub(f, big, fx_real(f, 0x1.8p21)));
	arg[1] = fx_bits(f, big); /* the lowest four bits count */
	for (int k = TERMS - 1; k >= 0; k--) {
		for (int i = 0; i < PIECES; i++)
			lane[i] = LLVMConstReal(e->f32, (double)(float)c[i][k]);
		arg[0] = LLVMConstVector(lane, PIECES);
		arg[0] = emit_intrinsic(e, "llvm.x86.avx512.permvar.sf.512", 0, NULL, 2, arg);
		sum = sum ? fx_fma(f, sum, d, arg[0]) : arg[0];
	}
	return fx_copysign(f, sum, x);
}
