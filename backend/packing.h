/* packing.h: constants as a contraction reads them: panels of 16 columns, the same on every level. */
#ifndef BACKEND_PACKING_H
#define BACKEND_PACKING_H

#include "ir/kernel.h"

enum { PANEL = 16 /* columns */, STEP_BYTES = PANEL * 4, PACKING_AXES_MAX = 12 };

/* How the packed operand stands in memory: panels of 16 columns, [batch..][n / 16][k / group][16][group], zeros past
 * n and past each run of k. The group of a column has 4 bytes: an f32, two bf16, four bytes, eight elements of 4 bits.
 * Panels for products of bytes end with the sum of each column, i32[16]; unsigned bytes stand there less 128. */
struct packing {
	int buffer; /* of the kernel; -1: nothing is packed */
	enum dtype type;
	bool widen;       /* elements become f32 */
	int64_t elements; /* of the constant */
	int group;
	int sums; /* whether columns are summed */
	int64_t run,
		steps; /* elements of k between which groups do not reach; groups in all of k */
	int64_t columns, column_stride, start; /* strides in elements of the constant */
	int batch_count, k_count;
	struct packing_axis {
		int64_t extent, stride;
	} batch[PACKING_AXES_MAX], k[PACKING_AXES_MAX];
};
int64_t packing_panel_bytes(const struct packing *p);
int64_t packing_bytes(const struct packing *p);
/* Writes the panels of a constant in order; false: write failed. */
bool packing_write(const struct packing *p, const void *from,
		   bool (*write)(void *self, const void *data, int64_t size), void *self);
enum { PACKINGS_MAX = 3 }; /* an operand, its scales and its zeros */
/* What a kernel's plan wants in panels (contract_plan.c): their number, 0 when its driver packs nothing. */
int contract_packings(const struct kernel *k, struct packing out[PACKINGS_MAX]);

#endif
