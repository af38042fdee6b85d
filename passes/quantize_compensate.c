/* quantize_compensate.c: rounding errors of a weight, made up for by its other rows. With X the layer's inputs on the
 * calibration samples, what counts is |X (W - Q)|^2: once a row of W is rounded, the rows after it take over what is
 * best of its error. Source: Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
 * Transformers": with (X'X)^-1 = U'U, U upper, the error e of row k adds -e U[k,j] / U[k,k] to each row j > k. */
#include "passes/linalg.h"
#include "passes/quantize.h"

#include <string.h>

enum { K_MOST = 1024, ROWS_FOR_EACH_K = 8 };

/* X'X of one input, the lower half. */
struct gram {
	double *sums, *row;
	int k;
	int64_t samples, seen, every; /* rows; one of `every` counts */
};

static int64_t tensor_rows(const hone_tensor *t)
{
	int64_t rows = 1;

	for (int i = 0; i < t->rank - 1; i++)
		rows *= t->dims[i];
	return rows;
}

static void add_rows(void *self, int sample, int probe, const hone_tensor *value)
{
	struct gram *g = &((struct gram *)self)[probe];
	const float *x = value->data;
	int64_t rows = tensor_rows(value), wanted = (int64_t)g->k * ROWS_FOR_EACH_K;

	(void)sample;
	if (!g->every)
		g->every = rows * g->samples / wanted > 1 ? rows * g->samples / wanted : 1;
	for (int64_t r = 0; r < rows; r++, x += g->k) {
		if (g->seen++ % g->every)
			continue;
		for (int i = 0; i < g->k; i++)
			g->row[i] = (double)x[i];
		for (int i = 0; i < g->k; i++) {
			double *to = g->sums + (int64_t)i * g->k, by = g->row[i];

			for (int j = 0; by != 0 && j <= i; j++)
				to[j] += by * g->row[j];
		}
	}
}

/* to [k,k] becomes the inverse of R, upper, where R R' = A: the Cholesky factor from the last row on. False: A, whose
 * lower half is given, is not positive definite. */
static bool inverse_factor(const double *a, int k, double *to, double *m)
{
	for (int i = 0; i < k; i++)
		for (int j = 0; j <= i; j++)
			m[(int64_t)i * k + j] = a[(int64_t)(k - 1 - j) * k + (k - 1 - i)];
	if (!cholesky_factor(m, k))
		return false;
	for (int i = k - 1; i >= 0; i--) {
		const double *r = m + (int64_t)(k - 1 - i) * k; /* R[i,j] is r[k - 1 - j] */
		double *row = to + (int64_t)i * k;

		for (int j = i + 1; j < k; j++) {
			const double *other = to + (int64_t)j * k;

			for (int n = j; n < k; n++)
				row[n] -= r[k - 1 - j] * other[n];
		}
		row[i] = 1;
		for (int n = i; n < k; n++)
			row[n] /= r[k - 1 - i];
	}
	return true;
}

/* Rows that were hardly seen must not take all: the diagonal grows by a hundredth of its mean. NULL: all zeros. */
static double *factor_of(const struct gram *g, struct arena *scratch)
{
	double *u = ARENA_ARRAY(scratch, double, (int64_t)g->k * g->k),
	       *m = ARENA_ARRAY(scratch, double, (int64_t)g->k * g->k), mean = 0;

	for (int i = 0; i < g->k; i++)
		mean += g->sums[(int64_t)i * g->k + i] / g->k;
	for (int i = 0; i < g->k; i++)
		g->sums[(int64_t)i * g->k + i] += mean / 100;
	return mean > 0 && inverse_factor(g->sums, g->k, u, m) ? u : NULL;
}

/* A matrix product, or a convolution that is one, in the function's body. */
static bool is_product(const struct quantizing *q, const struct layer *l)
{
	const struct type *w = &l->weight->type;

	return l->node->parent == q->c->graph->body && l->k <= K_MOST &&
	       (l->node->op == OP_conv ? ATTRS_OF(conv, l->node)->group == 1 &&
						 l->rows == w->dims[w->rank - 2]->value
				       : w->rank == 2);
}

bool compensation_measure(struct quantizing *q, const double **factors)
{
	int count = 0, *input = ARENA_ARRAY(q->c->scratch, int, q->layers.count + 1);
	struct value **probes = ARENA_ARRAY(q->c->scratch, struct value *, q->layers.count + 1);
	struct gram *grams = ARENA_ARRAY(q->c->scratch, struct gram, q->layers.count + 1);
	const double **made = ARENA_ARRAY(q->c->scratch, const double *, q->layers.count + 1);

	for (int i = 0; i < q->layers.count; i++) {
		struct layer *l = &q->layers.at[i];
		struct value *x = value_now(l->node->in[0]);
		int at = 0, k = (int)l->k;

		input[i] = -1;
		if (!is_product(q, l))
			continue;
		while (at < count && probes[at] != x)
			at++;
		input[i] = at;
		if (at < count)
			continue;
		probes[count] = x;
		grams[count++] = (struct gram){ARENA_ARRAY(q->c->scratch, double, (int64_t)k *k),
					       ARENA_ARRAY(q->c->scratch, double, k),
					       k,
					       q->c->calibration->count,
					       0,
					       0};
	}
	if (count && !calibration_run(q->c, count, probes, add_rows, grams))
		return false;
	for (int i = 0; i < count; i++)
		made[i] = factor_of(&grams[i], q->c->scratch);
	for (int i = 0; i < q->layers.count; i++)
		factors[i] = input[i] < 0 ? NULL : made[input[i]];
	return true;
}

void compensation_row(const double *u, int k, int row, int end, const float *error, float *w,
		      int64_t columns)
{
	const double *from = u + (int64_t)row * k;

	for (int j = row + 1; j < end; j++) {
		float by = (float)(from[j] / from[row]), *to = w + j * columns;

		for (int64_t n = 0; n < columns; n++)
			to[n] -= by * error[n];
	}
}
