/* prune_fit.h: new weights for a contraction by least squares, between prune_repair.c, which sums what they take, and
 * prune_fit.c, which solves. */
#ifndef PASSES_PRUNE_FIT_H
#define PASSES_PRUNE_FIT_H

#include "passes/prune.h"

/* Sums over rows of x [inputs] and t [outputs], what x should give. */
struct fit_sums {
	double rows, *xx, *xt, *x, *t, *tt; /* X'X, X'T, sums of x, t and t^2; NULL: not summed */
};

/* A contraction that is repaired: fitted to some samples and judged on others, where there are enough. */
struct fit {
	struct prune_consumer *consumer;
	int inputs, outputs;
	double row_step; /* rows in a sample */
	struct fit_sums fitted, held;
};

/* What the outputs of a contraction differ from what they should be, relative, on samples that were held back. */
struct fit_error {
	double before, after;
};

/* Room for sums, zeros, and its end. held: whether samples are held back. */
void fit_allocate(struct fit *f, bool held);
void fit_release(struct fit *f);

/* weights [inputs,outputs] become the solution of
 *	argmin |X W' + b' - T|^2 + ridge |W' - W|^2
 * shift [outputs] its b'. Sums are changed. False: the inputs do not vary. */
bool fit_solve(struct fit *f, float *weights, float *shift);
/* Of these weights and those before. Without samples that were held back 1 before, 0 after. */
struct fit_error fit_judge(const struct fit *f, const float *before, const float *weights,
			   const float *shift);

#endif
