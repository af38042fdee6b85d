/* call_random.c: random numbers from a counter: element i depends on the seed and i alone.
 * Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
 * log, sin, cos, exp and sqrt are written out: the runtime has no libm, and the same seed gives the
 * same numbers on every machine. */
#include "runtime/calls.h"
#include "runtime/element.h"

#include <string.h>

struct random4 {
	uint32_t x[4];
};

static struct random4 philox(uint64_t seed, uint64_t counter)
{
	struct random4 r = {{(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0}};
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

	for (int round = 0; round < 10; round++) {
		uint64_t a = 0xD2511F53ULL * r.x[0], b = 0xCD9E8D57ULL * r.x[2];

		r = (struct random4){{(uint32_t)(b >> 32) ^ r.x[1] ^ k0, (uint32_t)b,
				      (uint32_t)(a >> 32) ^ r.x[3] ^ k1, (uint32_t)a}};
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	return r;
}

/* 53 bits in [0, 1). */
static double to_unit(uint32_t high, uint32_t low)
{
	return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

/* x > 0, normal: x = 2^e * m, 1/sqrt(2) <= m < sqrt(2); log m = 2 atanh((m - 1) / (m + 1)). */
static double log_of(double x)
{
	uint64_t bits;
	int e;
	double m, s, s2, sum = 0;

	memcpy(&bits, &x, sizeof(bits));
	e = (int)(bits >> 52) - 1023;
	bits = (bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL;
	memcpy(&m, &bits, sizeof(m));
	if (m > 1.4142135623730951) {
		m /= 2;
		e++;
	}
	s = (m - 1) / (m + 1);
	s2 = s * s;
	for (int n = 21; n >= 1; n -= 2)
		sum = sum * s2 + 1.0 / n;
	return e * 0.69314718055994531 + 2 * s * sum;
}

/* exp(x) for x <= 0: 2^n * exp(r), |r| <= log(2) / 2, by its series. */
static double exp_of(double x)
{
	double r, sum = 1, scale;
	int n;
	uint64_t bits;

	if (!(x > -700))
		return x != x ? x : 0;
	n = (int)(x * 1.4426950408889634 - 0.5);
	r = x - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10;
	for (int k = 14; k >= 1; k--)
		sum = 1 + sum * r / k;
	bits = (uint64_t)(n + 1023) << 52;
	memcpy(&scale, &bits, sizeof(scale));
	return sum * scale;
}

/* x > 0, normal: Newton's iteration from half the exponent. */
static double sqrt_of(double x)
{
	uint64_t bits;
	double y;

	if (x <= 0)
		return 0;
	memcpy(&bits, &x, sizeof(bits));
	bits = (bits >> 1) + (1023ULL << 51);
	memcpy(&y, &bits, sizeof(y));
	for (int i = 0; i < 5; i++)
		y = 0.5 * (y + x / y);
	return y;
}

/* cos(2 pi t), 0 <= t < 1: by the series of sin or cos within an eighth of a turn. */
static double cos_of_turn(double t)
{
	int quarter = (int)(t * 4 + 0.5);
	double a = (t - quarter * 0.25) * 6.283185307179586, a2 = a * a, sum = 1;
	bool sine = quarter & 1;

	for (int n = 18; n >= 2; n -= 2)
		sum = 1 - sum * a2 / (sine ? n * (n + 1) : (n - 1) * n);
	if (sine)
		sum *= a;
	return quarter == 1 || quarter == 2 ? -sum : sum;
}

static double from_attr(int64_t bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

enum { UNIFORM, NORMAL, BERNOULLI };

/* Rounding up to b itself would leave the range [a, b). */
static double uniform(int32_t dtype, double u, double a, double b)
{
	double x = a + (b - a) * u;
	uint64_t cell = 0;

	rt_store_double(dtype, &cell, 0, x);
	return rt_is_float(dtype) && a < b && rt_load_double(dtype, &cell, 0) >= b ? a : x;
}

int32_t hone_call_random(const struct hone_call *c)
{
	const struct hone_array *p = c->in_count && c->in[0].rank >= 0 ? &c->in[0] : NULL;
	struct hone_array *out = &c->out[0];
	double a = from_attr(c->attrs[2]), b = from_attr(c->attrs[3]);
	int64_t kind = c->attrs[0], count = 1;

	if (!rt_is_plain(out->dtype) || (rt_is_float(out->dtype) && element_size(out->dtype) < 2) ||
	    kind < 0 || kind > BERNOULLI || (p && !rt_is_plain(p->dtype)))
		return HONE_FAIL_CALL;
	for (int32_t i = 0; i < out->rank; i++)
		count *= out->dims[i];
	for (int64_t i = 0; i < count; i++) {
		struct random4 r = philox((uint64_t)c->attrs[1], (uint64_t)i);
		double u = to_unit(r.x[0], r.x[1]), x;

		if (kind == UNIFORM)
			x = uniform(out->dtype, u, a, b);
		else if (kind == NORMAL) /* Box and Muller; 1 - u is never 0 */
			x = a +
			    b * sqrt_of(-2 * log_of(1 - u)) * cos_of_turn(to_unit(r.x[2], r.x[3]));
		else
			x = u < (p ? rt_load_double(p->dtype, p->data, i) : a);
		rt_store_double(out->dtype, out->data, i, x);
	}
	return 0;
}

int64_t hone_scratch_random(const struct hone_call *c)
{
	(void)c;
	return 0;
}

/* Running sums of exp(logit - largest) of one row; false if they are no probabilities. */
static bool sum_row(const struct hone_array *x, int64_t row, int64_t classes, double *sums)
{
	double max = 0, sum = 0;

	for (int64_t k = 0; k < classes; k++) {
		double logit = rt_load_double(x->dtype, x->data, row * classes + k);

		if (!k || logit > max)
			max = logit;
	}
	for (int64_t k = 0; k < classes; k++) {
		sum += exp_of(rt_load_double(x->dtype, x->data, row * classes + k) - max);
		sums[k] = sum;
	}
	return sum > 0;
}

int32_t hone_call_multinomial(const struct hone_call *c)
{
	const struct hone_array *x = &c->in[0];
	struct hone_array *out = &c->out[0];
	double *sums = c->scratch;
	int64_t classes, samples;

	if (x->rank != 2 || out->rank != 2 || !rt_is_float(x->dtype) ||
	    out->dims[0] != x->dims[0] || (out->dtype != HONE_I32 && out->dtype != HONE_I64))
		return HONE_FAIL_CALL;
	classes = x->dims[1];
	samples = out->dims[1];
	for (int64_t i = 0; i < x->dims[0] * samples; i++) {
		struct random4 r = philox((uint64_t)c->attrs[0], (uint64_t)i);
		int64_t low = 0, high = classes - 1;
		double u;

		if (i % samples == 0 && !sum_row(x, i / samples, classes, sums))
			return HONE_FAIL_CALL;
		u = to_unit(r.x[0], r.x[1]) * sums[classes - 1];
		while (low < high) { /* the first sum above u */
			int64_t mid = (low + high) / 2;

			if (sums[mid] > u)
				high = mid;
			else
				low = mid + 1;
		}
		rt_store_double(out->dtype, out->data, i, (double)low);
	}
	return 0;
}

int64_t hone_scratch_multinomial(const struct hone_call *c) { return 8 * c->in[0].dims[1]; }
