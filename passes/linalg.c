/* linalg.c: Cholesky, normal equations, and the binomial bound. */
#include "passes/linalg.h"

#include <math.h>

bool cholesky_factor(double *a, int n)
{
	for (int i = 0; i < n; i++) {
		double *row = a + (int64_t)i * n;

		for (int j = 0; j <= i; j++) {
			const double *other = a + (int64_t)j * n;
			double sum = row[j];

			for (int k = 0; k < j; k++)
				sum -= row[k] * other[k];
			if (i != j)
				row[j] = sum / other[j];
			else if (!(sum > 0))
				return false;
			else
				row[j] = sqrt(sum);
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
