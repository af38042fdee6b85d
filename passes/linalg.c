/* linalg.c: Cholesky, normal equations, and the binomial bound. */
#include "passes/linalg.h"

#include <math.h>

/* row[j..j+3] less the products of row and of rows j..j+3 over their first j columns: four sums at a time, each in the
 * order of k. */
static void subtract_four(double *row, const double *others, int n, int j)
{
	const double *o0 = others, *o1 = o0 + n, *o2 = o1 + n, *o3 = o2 + n;
	double s0 = row[j], s1 = row[j + 1], s2 = row[j + 2], s3 = row[j + 3];

	for (int k = 0; k < j; k++) {
		s0 -= row[k] * o0[k];
		s1 -= row[k] * o1[k];
		s2 -= row[k] * o2[k];
		s3 -= row[k] * o3[k];
	}
	row[j] = s0;
	row[j + 1] = s1;
	row[j + 2] = s2;
	row[j + 3] = s3;
}

bool cholesky_factor(double *a, int n)
{
	for (int i = 0; i < n; i++) {
		double *row = a + (int64_t)i * n;

		for (int j = 0; j <= i; j += 4) {
			const double *others = a + (int64_t)j * n;
			bool four = j + 4 <= i;

			if (four)
				subtract_four(row, others, n, j);
			for (int m = j; m < j + 4 && m <= i; m++, others += n) {
				double sum = row[m];

				for (int k = four ? j : 0; k < m; k++)
					sum -= row[k] * others[k];
				if (i != m)
					row[m] = sum / others[m];
				else if (!(sum > 0))
					return false;
				else
					row[m] = sqrt(sum);
			}
		}
	}
	return true;
}

static void subtract_row(double *to, const double *from, double scale, int m)
{
	for (int k = 0; k < m; k++)
		to[k] -= scale * from[k];
}

static void divide_row(double *row, double by, int m)
{
	for (int k = 0; k < m; k++)
		row[k] /= by;
}

void cholesky_solve(const double *l, int n, double *b, int m)
{
	for (int i = 0; i < n; i++) {
		for (int j = 0; j < i; j++)
			subtract_row(b + (int64_t)i * m, b + (int64_t)j * m, l[(int64_t)i * n + j],
				     m);
		divide_row(b + (int64_t)i * m, l[(int64_t)i * n + i], m);
	}
	for (int i = n - 1; i >= 0; i--) {
		for (int j = i + 1; j < n; j++)
			subtract_row(b + (int64_t)i * m, b + (int64_t)j * m, l[(int64_t)j * n + i],
				     m);
		divide_row(b + (int64_t)i * m, l[(int64_t)i * n + i], m);
	}
}

void normal_add(double *a, double *b, int n, int m, const double *x, const double *y)
{
	for (int i = 0; i < n; i++) {
		for (int j = 0; j <= i; j++)
			a[(int64_t)i * n + j] += x[i] * x[j];
		for (int j = 0; j < m; j++)
			b[(int64_t)i * m + j] += x[i] * y[j];
	}
}

/* The chance of at most `failures` failures. */
static double binomial_cdf(int failures, int trials, double p)
{
	double sum = 0;

	for (int i = 0; i <= failures; i++)
		sum += exp(lgamma(trials + 1.0) - lgamma(i + 1.0) - lgamma(trials - i + 1.0) +
			   i * log(p) + (trials - i) * log1p(-p));
	return sum;
}

double binomial_upper(int failures, int trials, double confidence)
{
	double low = 0, high = 1;

	if (failures >= trials)
		return 1;
	for (int i = 0; i < 60; i++) {
		double p = (low + high) / 2;

		if (binomial_cdf(failures, trials, p) > 1 - confidence)
			low = p;
		else
			high = p;
	}
	return high;
}

int binomial_trials(double rate, double confidence)
{
	return (int)ceil(log(1 - confidence) / log(rate));
}
