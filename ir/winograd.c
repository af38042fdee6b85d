/* winograd.c: the points of F(m x m, 3x3), and what follows from them for the weights. */
#include "ir/winograd.h"

#include <math.h>
#include <stddef.h>

/* p^2. For m = 4 the points +-sqrt(2), +-sqrt(1/2): the errors of f32 results are twice those of the direct sum,
 * half of those of the usual +-1, +-2 (measured on random data), at the same number of operations. */
static const double squares2[] = {1}, squares4[] = {2, 0.5};

const double *winograd_squares(int64_t m) { return m == 2 ? squares2 : m == 4 ? squares4 : NULL; }

bool winograd_has_tile(int64_t m) { return winograd_squares(m) != NULL; }

/* Row p of G is (1, p, p^2) over the product of p's distances from the other finite points. */
void winograd_weights(int64_t m, double g[WINOGRAD_PATCH_MAX][3])
{
	const double *squares = winograd_squares(m);
	int pairs = (int)m / 2;
	double product = 1;

	for (int i = 0; i < pairs; i++)
		product *= -squares[i];
	g[0][0] = 1 / product;
	g[0][1] = g[0][2] = 0;
	for (int i = 0; i < pairs; i++) {
		double distances = 2 * squares[i], p = sqrt(squares[i]);

		for (int j = 0; j < pairs; j++)
			distances *= j == i ? 1 : squares[i] - squares[j];
		for (int minus = 0; minus < 2; minus++) {
			double *row = g[1 + 2 * i + minus];

			row[0] = 1 / distances;
			row[1] = (minus ? -p : p) / distances;
			row[2] = squares[i] / distances;
		}
	}
	g[m + 1][0] = g[m + 1][1] = 0;
	g[m + 1][2] = 1;
}
