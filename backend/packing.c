/* packing.c: writes constants in panels. */
#include "backend/packing.h"

#include <string.h>

int64_t packing_panel_bytes(const struct packing *p) { return (p->steps + p->sums) * STEP_BYTES; }

int64_t packing_bytes(const struct packing *p)
{
	int64_t n = (p->columns + PANEL - 1) / PANEL * packing_panel_bytes(p);

	for (int i = 0; i < p->batch_count; i++)
		n *= p->batch[i].extent;
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

/* Bytes of an element in the source: elements of 4 bits are spread to bytes before. */
static int64_t source_bytes(const struct packing *p) { return p->group == 8 ? 1 : 4 / p->group; }

/* Element j of all columns into a step; adds them up where there are sums. */
static void put_row(const struct packing *p, const char *from, int64_t width, int j, char *step,
		    int32_t *sums)
{
	int64_t stride = p->column_stride * source_bytes(p);

	for (int i = 0; i < width; i++, from += stride) {
		char *to = step + i * 4 + j * 4 / p->group;

		switch (p->group) {
		case 1: memcpy(to, from, 4); break;
		case 2: memcpy(to, from, 2); break;
		case 8: *to = (char)(*to | (*from & 15) << j % 2 * 4); break;
		default:
			*to = p->type == DT_U8 && p->sums ? (char)(*from ^ 0x80) : *from;
			sums[i] += (signed char)*to;
		}
	}
}

static bool write_panel(const struct packing *p, const char *from, int64_t width,
			bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	enum { STEPS = 256 };
	char block[STEPS][STEP_BYTES];
	int32_t sums[PANEL] = {0};
	int64_t index[PACKING_AXES_MAX] = {0}, at = 0, left = p->run, bytes = source_bytes(p);
	bool more = true;

	while (more) {
		int steps = 0;

		memset(block, 0, sizeof(block));
		for (; steps < STEPS && more; steps++) {
			for (int j = 0; j < p->group && left; j++, left--) {
				put_row(p, from + at * bytes, width, j, block[steps], sums);
				more = advance(p->k, p->k_count, index, &at);
			}
			if (!left)
				left = p->run;
		}
		if (!write(self, block, (int64_t)steps * STEP_BYTES))
			return false;
	}
	return !p->sums || write(self, sums, sizeof(sums));
}

/* Elements of a form of their own: bytes for those of 4 bits, or f32. */
static const void *convert(const struct packing *p, const void *from, struct arena *a)
{
	const struct tensor t = {.kind = TENSOR_BYTES, .data = from};
	bool whole = dtype_is_int(p->type);
	char *bytes;
	float *reals;

	if (!p->widen && p->group != 8)
		return from;
	bytes = arena_alloc(a, (size_t)(p->elements * (p->widen ? 4 : 1)));
	reals = (float *)bytes;
	for (int64_t i = 0; i < p->elements; i++) {
		union scalar x = tensor_element(&t, p->type, i);

		if (p->widen)
			reals[i] = whole ? (float)x.i : (float)x.f;
		else
			bytes[i] = (char)x.i;
	}
	return bytes;
}

static bool write_panels(const struct packing *p, const void *from,
			 bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	int64_t index[PACKING_AXES_MAX] = {0}, at = p->start, bytes = source_bytes(p);

	if (!packing_bytes(p))
		return true;
	do {
		for (int64_t n = 0; n < p->columns; n += PANEL) {
			int64_t left = p->columns - n;

			if (!write_panel(p,
					 (const char *)from + (at + n * p->column_stride) * bytes,
					 left < PANEL ? left : PANEL, write, self))
				return false;
		}
	} while (advance(p->batch, p->batch_count, index, &at));
	return true;
}

bool packing_write(const struct packing *p, const void *from,
		   bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	struct arena scratch = {0};
	bool ok = write_panels(p, convert(p, from, &scratch), write, self);

	arena_free(&scratch);
	return ok;
}
