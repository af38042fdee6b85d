/* winograd.h: minimal filtering of 3x3 windows, F(m x m, 3x3): a tile of m x m results of a convolution with
 * (m + 2)^2 products where the sum of products has 9 m^2. Cook-Toom with the points 0, +-p_i, infinity.
 *	y = A^T [(G g G^T) * (B^T d B)] A        d: (m + 2) x (m + 2) of the input, g: 3x3 weights
 * Source: Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"; Winograd 1980. */
#ifndef IR_WINOGRAD_H
#define IR_WINOGRAD_H

#include <stdbool.h>
#include <stdint.h>

enum { WINOGRAD_TILE_MAX = 4, WINOGRAD_PATCH_MAX = WINOGRAD_TILE_MAX + 2 };

/* Whether there are points for tiles of m x m. */
bool winograd_has_tile(int64_t m);
/* The p_i^2 (m / 2 of them) for a tile that exists. */
const double *winograd_squares(int64_t m);
/* G: (m + 2) x 3. */
void winograd_weights(int64_t m, double g[WINOGRAD_PATCH_MAX][3]);

#endif
