/* prune_fit.c: least squares for prune_repair.c, and whether the solution is better on rows that it was not fitted to. */
#include "passes/prune_fit.h"

#include "passes/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ridges, of the mean of the diagonal of X'X: at least this, and more when there are few rows for the inputs. */
static const double ridge = 1e-4, ridge_by_rows = 1e-2;

/* ---- sums ---- */

static struct fit_sums allocate(int64_t inputs, int64_t outputs)
{
	return (struct fit_sums){.xx = prune_numbers(inputs * inputs, sizeof(double)),
				 .xt = prune_numbers(inputs * outputs, sizeof(double)),
				 .x = prune_numbers(inputs, sizeof(double)),
				 .t = prune_numbers(outputs, sizeof(double)),
				 .tt = prune_numbers(outputs, sizeof(double))};
}

static void release(struct fit_sums *s)
{
	free(s->xx);
	free(s->xt);
	free(s->x);
	free(s->t);
	free(s->tt);
	*s = (struct fit_sums){0};
}

void fit_allocate(struct fit *f, bool held)
{
	f->fitted = allocate(f->inputs, f->outputs);
	f->held = held ? allocate(f->inputs, f->outputs) : (struct fit_sums){0};
}

void fit_release(struct fit *f)
{
	release(&f->fitted);
	release(&f->held);
}

/* ---- solutions ---- */

/* x' x and x' t about the means, and the ridge, which pulls to the weights w [inputs,outputs]. */
static bool center(const struct fit *f, const float *w)
{
	const struct fit_sums *s = &f->fitted;
	int k = f->inputs, n = f->outputs;
	double mean = 0, pull;

	for (int i = 0; i < k; i++)
		for (int j = 0; j <= i; j++)
			s->xx[(int64_t)i * k + j] -= s->x[i] * s->x[j] / s->rows;
	for (int i = 0; i < k; i++)
		mean += s->xx[(int64_t)i * (k + 1)] / k;
	pull = mean * (ridge + ridge_by_rows * k / s->rows);
	for (int i = 0; i < k; i++) {
		s->xx[(int64_t)i * (k + 1)] += pull;
		for (int j = 0; j < n; j++)
			s->xt[(int64_t)i * n + j] +=
				pull * w[(int64_t)i * n + j] - s->x[i] * s->t[j] / s->rows;
	}
	return mean > 0;
}

/* xt becomes the weights. */
static bool solve(const struct fit *f, const float *w)
{
	const struct fit_sums *s = &f->fitted;
	int k = f->inputs, n = f->outputs;

	if (!center(f, w))
		return false;
	if (f->consumer->cleared)
		return prune_solve_blocks(s->xx, s->xt, k, n, w);
	if (!cholesky_factor(s->xx, k))
		return false;
	cholesky_solve(s->xx, k, s->xt, n);
	return true;
}

bool fit_solve(struct fit *f, float *weights, float *shift)
{
	const struct fit_sums *s = &f->fitted;
	int k = f->inputs, n = f->outputs;

	if (!solve(f, weights))
		return false;
	for (int i = 0; i < k; i++)
		for (int j = 0; j < n; j++)
			s->t[j] -= s->x[i] * s->xt[(int64_t)i * n + j];
	for (int64_t i = 0; i < (int64_t)k * n; i++)
		weights[i] = (float)s->xt[i];
	for (int j = 0; j < n; j++)
		shift[j] = (float)(s->t[j] / s->rows);
	return true;
}

/* ---- judgement ---- */

/* |X W + b - T|^2, relative to |T|^2; shift: b, NULL: 0 */
static double error_of(const struct fit *f, const float *weights, const float *shift)
{
	const struct fit_sums *s = &f->held;
	int k = f->inputs, n = f->outputs;
	int64_t count = (int64_t)k * n;
	double *w = prune_numbers(count, sizeof(*w)), *y = prune_numbers(n, sizeof(*y));
	double all = 0, sum;

	for (int64_t i = 0; i < count; i++)
		w[i] = prune_number(weights, i);
	sum = quadratic_form(s->xx, k, w, n);
	for (int i = 0; i < k; i++)
		for (int j = 0; j < n; j++) {
			sum -= 2 * w[(int64_t)i * n + j] * s->xt[(int64_t)i * n + j];
			y[j] += s->x[i] * w[(int64_t)i * n + j];
		}
	for (int j = 0; j < n; j++) {
		double b = shift ? shift[j] : 0;

		sum += s->tt[j] + b * (2 * (y[j] - s->t[j]) + s->rows * b);
		all += s->tt[j];
	}
	free(w);
	free(y);
	return all > 0 ? sqrt(fmax(0, sum) / all) : sum > 0 ? INFINITY : 0;
}

struct fit_error fit_judge(const struct fit *f, const float *before, const float *weights,
			   const float *shift)
{
	if (!f->held.xx)
		return (struct fit_error){1, 0};
	return (struct fit_error){error_of(f, before, NULL), error_of(f, weights, shift)};
}
