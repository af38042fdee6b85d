/* packing.c: writes constants in panels. */
#include "backend/packing.h"

int64_t packing_bytes(const struct packing *p)
{
	int64_t n = (p->columns + PANEL - 1) / PANEL * PANEL * 4;

	for (int i = 0; i < p->batch_count; i++)
		n *= p->batch[i].extent;
	for (int i = 0; i < p->k_count; i++)
		n *= p->k[i].extent;
	return n;
}

/* The next index in C order; false after the last. Keeps *at, the address, with it. */
static bool advance(const struct packing_axis *axes, int count, int64_t *index, int64_t *at)
{
	for (int i = count - 1; i >= 0; i--) {
		*at += axes[i].stride;
		if (++index[i] < axes[i].extent)
			return true;
		*at -= axes[i].extent * axes[i].stride;
		index[i] = 0;
	}
	return false;
}

static bool write_panel(const struct packing *p, const float *from, int64_t width,
			bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	enum { ROWS = 256 };
	float block[ROWS][PANEL];
	int64_t index[PACKING_AXES_MAX] = {0}, at = 0;
	bool more = true;

	while (more) {
		int rows = 0;

		for (; rows < ROWS && more; rows++) {
			for (int j = 0; j < PANEL; j++)
				block[rows][j] = j < width ? from[at + j * p->column_stride] : 0;
			more = advance(p->k, p->k_count, index, &at);
		}
		if (!write(self, block, (int64_t)sizeof(block[0]) * rows))
			return false;
	}
	return true;
}

bool packing_write(const struct packing *p, const float *from,
		   bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	int64_t index[PACKING_AXES_MAX] = {0}, at = p->start;

	if (!packing_bytes(p))
		return true;
	do {
		for (int64_t n = 0; n < p->columns; n += PANEL) {
			int64_t left = p->columns - n;

			if (!write_panel(p, from + at + n * p->column_stride,
					 left < PANEL ? left : PANEL, write, self))
				return false;
		}
	} while (advance(p->batch, p->batch_count, index, &at));
	return true;
}
