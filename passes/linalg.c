/* linalg.c: Cholesky, normal equations, and the binomial bound. */
#include "passes/linalg.h"

#include "ir/arena.h"

#include <math.h>
#include <stdlib.h>

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

/* ---- panels of columns, which stay in the cache ---- */

enum { PANEL = 16 };

static double *panel_new(int n)
{
	double *z = malloc((size_t)n * PANEL * sizeof(*z) + 1);

	if (!z)
		out_of_memory((size_t)n * PANEL * sizeof(*z));
	return z;
}

static int panel_width(int m, int first) { return m - first < PANEL ? m - first : PANEL; }

/* Columns first.. of b [n,m], and zeros. */
static void panel_load(double *z, const double *b, int n, int m, int first)
{
	int width = panel_width(m, first);

	for (int i = 0; i < n; i++)
		for (int c = 0; c < PANEL; c++)
			z[(int64_t)i * PANEL + c] = c < width ? b[(int64_t)i * m + first + c] : 0;
}

static void panel_store(double *b, const double *z, int n, int m, int first)
{
	for (int i = 0; i < n; i++)
		for (int c = 0; c < panel_width(m, first); c++)
			b[(int64_t)i * m + first + c] = z[(int64_t)i * PANEL + c];
}

/* sum[c] += row[j] * z[j][c] over j < count */
static void panel_add(double *sum, const double *row, const double *z, int count)
{
	double s[PANEL];

	for (int c = 0; c < PANEL; c++)
		s[c] = sum[c];
	for (int j = 0; j < count; j++)
		for (int c = 0; c < PANEL; c++)
			s[c] += row[j] * z[(int64_t)j * PANEL + c];
	for (int c = 0; c < PANEL; c++)
		sum[c] = s[c];
}

/* Forward by rows of L; backward by rows as well, which are columns of L'. */
static void solve_panel(const double *l, int n, double *z)
{
	for (int i = 0; i < n; i++) {
		const double *row = l + (int64_t)i * n;
		double sum[PANEL] = {0}, *at = z + (int64_t)i * PANEL;

		panel_add(sum, row, z, i);
		for (int c = 0; c < PANEL; c++)
			at[c] = (at[c] - sum[c]) / row[i];
	}
	for (int i = n - 1; i >= 0; i--) {
		const double *row = l + (int64_t)i * n;
		double x[PANEL];

		for (int c = 0; c < PANEL; c++)
			x[c] = z[(int64_t)i * PANEL + c] /= row[i];
		for (int j = 0; j < i; j++)
			for (int c = 0; c < PANEL; c++)
				z[(int64_t)j * PANEL + c] -= row[j] * x[c];
	}
}

void cholesky_solve(const double *l, int n, double *b, int m)
{
	double *z = panel_new(n);

	for (int first = 0; first < m; first += PANEL) {
		panel_load(z, b, n, m, first);
		solve_panel(l, n, z);
		panel_store(b, z, n, m, first);
	}
	free(z);
}

double quadratic_form(const double *a, int n, const double *b, int m)
{
	double *z = panel_new(n), all = 0;

	for (int first = 0; first < m; first += PANEL) {
		panel_load(z, b, n, m, first);
		for (int i = 0; i < n; i++) {
			const double *row = a + (int64_t)i * n, *at = z + (int64_t)i * PANEL;
			double sum[PANEL] = {0};

			panel_add(sum, row, z, i);
			for (int c = 0; c < PANEL; c++)
				all += at[c] * (2 * sum[c] + row[i] * at[c]);
		}
	}
	free(z);
	return all;
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
