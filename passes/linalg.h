/* linalg.h: dense linear algebra in f64 for passes that fit something to calibration data.
 * Matrices are in C order. Sums run in a fixed order: the same data gives the same bits. */
#ifndef PASSES_LINALG_H
#define PASSES_LINALG_H

#include <stdbool.h>
#include <stdint.h>

/* a [n,n], symmetric, becomes its lower Cholesky factor: a = L L'. What is above the diagonal is left.
 * False: not positive definite.
 * Source: Golub and Van Loan, Matrix Computations, 4.2 (by rows, as dot products: four at a time). */
bool cholesky_factor(double *a, int n);
/* b [n,m] becomes the x of L L' x = b. */
void cholesky_solve(const double *l, int n, double *b, int m);

/* The sum over the columns v of b [n,m] of v' a v; a [n,n] is symmetric, of it the lower half is read. */
double quadratic_form(const double *a, int n, const double *b, int m);

/* a [n,n] += x x', b [n,m] += x y' for one sample x [n], y [m]; of a only the lower half. */
void normal_add(double *a, double *b, int n, int m, const double *x, const double *y);

/* The upper end of the one-sided interval of Clopper and Pearson (1934): the largest probability of a failure
 * for which `failures` or fewer in `trials` still has a chance of 1 - confidence. */
double binomial_upper(int failures, int trials, double confidence);
/* The least number of trials without a failure that shows a rate of successes of at least `rate`. */
int binomial_trials(double rate, double confidence);

#endif
