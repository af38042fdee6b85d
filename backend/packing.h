/* packing.h: constants as a contraction reads them: panels of 16 columns, the same on every level. */
#ifndef BACKEND_PACKING_H
#define BACKEND_PACKING_H

#include "ir/kernel.h"

enum { PANEL = 16 /* columns */, STEP_BYTES = PANEL * 4, PACKING_AXES_MAX = 12 };

/* A sparse panel is found through the table in front of all of them. */
struct packing_entry {
	int32_t line; /* of STEP_BYTES, from the table on: where its places begin; its rows follow on a line */
	int32_t count;
};

/* How the packed operand stands in memory: panels of 16 columns, [batch..][n / 16][k / group][16][group], zeros past
 * n and past each run of k. The group of a column has 4 bytes: an f32, two bf16, four bytes, eight elements of 4 bits.
 * Panels for products of bytes end with the sum of each column, i32[16]; unsigned bytes stand there less 128.
 *
 * Sparse panels (f32 only) leave out rows of 16 zeros: a table of packing_entry, then of each panel the places of its
 * rows, i32[count], and the rows, f32[count][16]. A place is what k contributes to A's index: sum of index * k. */
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
		int64_t extent, stride, index;
	} batch[PACKING_AXES_MAX], k[PACKING_AXES_MAX];
	bool sparse;
	int64_t lines; /* of sparse panels, without the table */
};
int64_t packing_panel_bytes(const struct packing *p);
/* Bytes from one panel to the next, for panels of so many steps. */
int64_t packing_panel_spread(int64_t steps);
int64_t packing_bytes(const struct packing *p);
/* Lines in front of sparse panels. */
int64_t packing_table_lines(const struct packing *p);
/* Counts rows of 16 elements that are all zero; p: as the panels would be if they were dense, of f32. Where a sample
 * shows less than a share of `least` zeros, that is the answer: kept == rows. */
struct sparsity packing_sparsity(const struct packing *p, const void *from, double least);
/* Writes the panels of a constant in order; false: write failed. */
bool packing_write(const struct packing *p, const void *from,
		   bool (*write)(void *self, const void *data, int64_t size), void *self);
enum { PACKINGS_MAX = 3 }; /* an operand, its scales and its zeros */
/* What a kernel's plan wants in panels (contract_plan.c): their number, 0 when its driver packs nothing. */
int contract_packings(const struct kernel *k, struct packing out[PACKINGS_MAX]);

#endif
