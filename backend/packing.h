/* packing.h: constants as a contraction reads them: panels of 16 columns, the same on every level. */
#ifndef BACKEND_PACKING_H
#define BACKEND_PACKING_H

#include "ir/kernel.h"

enum { PANEL = 16 /* columns */, PACKING_AXES_MAX = 12 };

/* How the packed operand stands in memory: panels of 16 columns, [batch..][n / 16][k][16], zeros past n. */
struct packing {
	int buffer;                            /* of the kernel; -1: nothing is packed */
	int64_t columns, column_stride, start; /* strides in elements of the constant */
	int batch_count, k_count;
	struct packing_axis {
		int64_t extent, stride;
	} batch[PACKING_AXES_MAX], k[PACKING_AXES_MAX];
};
int64_t packing_bytes(const struct packing *p);
/* Writes the panels of a constant of f32 in order; false: write failed. */
bool packing_write(const struct packing *p, const float *from,
		   bool (*write)(void *self, const void *data, int64_t size), void *self);
/* The packing that a kernel's plan asks for (contract_plan.c); buffer -1 when its driver packs nothing. */
void contract_packing(const struct kernel *k, struct packing *out);

#endif
