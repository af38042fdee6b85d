/* packing.c: writes constants in panels. */
#include "backend/packing.h"

#include <string.h>

/* Panels a multiple of a page apart would meet in the same lines of L1 when a tile reads several. */
int64_t packing_panel_spread(int64_t steps)
{
	return (steps * STEP_BYTES % 4096 ? steps : steps + 1) * STEP_BYTES;
}

int64_t packing_panel_bytes(const struct packing *p)
{
	return packing_panel_spread(p->steps + p->sums);
}

static int64_t panel_count(const struct packing *p)
{
	int64_t n = (p->columns + PANEL - 1) / PANEL;

	for (int i = 0; i < p->batch_count; i++)
		n *= p->batch[i].extent;
	return n;
}

static int64_t lines_of(int64_t count, int64_t bytes)
{
	return (count * bytes + STEP_BYTES - 1) / STEP_BYTES;
}

int64_t packing_table_lines(const struct packing *p)
{
	return lines_of(panel_count(p), sizeof(struct packing_entry));
}

int64_t packing_bytes(const struct packing *p)
{
	return p->sparse ? (packing_table_lines(p) + p->lines) * STEP_BYTES
			 : panel_count(p) * packing_panel_bytes(p);
}

/* An index in C order, its address and its place. */
struct walk {
	int64_t index[PACKING_AXES_MAX], at, place;
};

/* The next index; false after the last. */
static bool advance(const struct packing_axis *axes, int count, struct walk *w)
{
	for (int i = count - 1; i >= 0; i--) {
		w->at += axes[i].stride;
		w->place += axes[i].index;
		if (++w->index[i] < axes[i].extent)
			return true;
		w->at -= axes[i].extent * axes[i].stride;
		w->place -= axes[i].extent * axes[i].index;
		w->index[i] = 0;
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

	if (p->group == 1 && stride == 4) {
		memcpy(step, from, (size_t)width * 4);
		return;
	}
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
	int64_t left = p->run, bytes = source_bytes(p);
	struct walk w = {0};
	bool more = true;

	while (more) {
		int steps = 0;

		memset(block, 0, sizeof(block));
		for (; steps < STEPS && more; steps++) {
			for (int j = 0; j < p->group && left; j++, left--) {
				put_row(p, from + w.at * bytes, width, j, block[steps], sums);
				more = advance(p->k, p->k_count, &w);
			}
			if (!left)
				left = p->run;
		}
		if (!write(self, block, (int64_t)steps * STEP_BYTES))
			return false;
	}
	left = packing_panel_bytes(p) - (p->steps + p->sums) * STEP_BYTES;
	memset(block, 0, sizeof(*block));
	return (!p->sums || write(self, sums, sizeof(sums))) && (!left || write(self, block, left));
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

/* Calls panel(self, panel's first element, its columns) for each panel in order; stops at false. */
static bool each_panel(const struct packing *p, const char *from,
		       bool (*panel)(const struct packing *p, const char *from, int64_t width,
				     void *self),
		       void *self)
{
	struct walk w = {.at = p->start};
	int64_t bytes = source_bytes(p);

	if (!panel_count(p))
		return true;
	do {
		for (int64_t n = 0; n < p->columns; n += PANEL) {
			int64_t left = p->columns - n;

			if (!panel(p, from + (w.at + n * p->column_stride) * bytes,
				   left < PANEL ? left : PANEL, self))
				return false;
		}
	} while (advance(p->batch, p->batch_count, &w));
	return true;
}

struct sink {
	bool (*write)(void *self, const void *data, int64_t size);
	void *self;
};

static bool write_dense(const struct packing *p, const char *from, int64_t width, void *self)
{
	struct sink *s = self;

	return write_panel(p, from, width, s->write, s->self);
}

/* ---- sparse panels ---- */

static bool is_zero(const struct packing *p, const char *from, int64_t width)
{
	uint32_t bits, any = 0;

	for (int64_t i = 0; i < width; i++, from += p->column_stride * 4) {
		memcpy(&bits, from, 4);
		any |= bits << 1; /* -0 is zero */
	}
	return !any;
}

struct count {
	int64_t every; /* a sample: one of so many rows, from `skip` on */
	int64_t skip;
	struct sparsity seen;
};

static bool count_panel(const struct packing *p, const char *from, int64_t width, void *self)
{
	struct count *c = self;
	struct walk w = {0};
	int64_t kept = 0;

	do {
		if (c->skip-- > 0)
			continue;
		c->skip = c->every - 1;
		c->seen.rows++;
		kept += !is_zero(p, from + w.at * 4, width);
	} while (advance(p->k, p->k_count, &w));
	c->seen.kept += kept;
	c->seen.lines += kept + lines_of(kept, 4);
	return true;
}

struct sparsity packing_sparsity(const struct packing *p, const void *from, double least)
{
	enum { SAMPLES = 2048 };
	int64_t rows = panel_count(p) * p->steps;
	struct count some = {.every = rows / SAMPLES | 1}, all = {.every = 1};

	each_panel(p, from, count_panel, &some);
	if ((double)(some.seen.rows - some.seen.kept) < least * (double)some.seen.rows)
		return (struct sparsity){.rows = rows, .kept = rows};
	each_panel(p, from, count_panel, &all);
	return all.seen;
}

struct table {
	struct sink *to;
	int64_t line, filled;
	struct packing_entry block[STEP_BYTES / sizeof(struct packing_entry)];
};

static bool flush_table(struct table *t)
{
	bool ok = !t->filled || t->to->write(t->to->self, t->block, sizeof(t->block));

	memset(t->block, 0, sizeof(t->block));
	t->filled = 0;
	return ok;
}

static bool write_entry(const struct packing *p, const char *from, int64_t width, void *self)
{
	struct table *t = self;
	struct count c = {.every = 1};

	count_panel(p, from, width, &c);
	t->block[t->filled++] = (struct packing_entry){(int32_t)t->line, (int32_t)c.seen.kept};
	t->line += c.seen.lines;
	return t->filled < (int64_t)(sizeof(t->block) / sizeof(*t->block)) || flush_table(t);
}

/* Calls write for every kept row, in blocks; or for the places. */
static bool write_kept(const struct packing *p, const char *from, int64_t width, bool places,
		       struct sink *to)
{
	char block[4096] = {0};
	int64_t size = places ? 4 : STEP_BYTES, filled = 0;
	struct walk w = {0};
	int32_t none[PANEL];

	do {
		const char *row = from + w.at * 4;

		if (is_zero(p, row, width))
			continue;
		if (places)
			memcpy(block + filled, &(int32_t){(int32_t)w.place}, 4);
		else
			put_row(p, row, width, 0, block + filled, none);
		filled += size;
		if (filled < (int64_t)sizeof(block))
			continue;
		if (!to->write(to->self, block, filled))
			return false;
		memset(block, 0, sizeof(block));
		filled = 0;
	} while (advance(p->k, p->k_count, &w));
	return to->write(to->self, block, lines_of(filled, 1) * STEP_BYTES);
}

static bool write_sparse(const struct packing *p, const char *from, int64_t width, void *self)
{
	return write_kept(p, from, width, true, self) && write_kept(p, from, width, false, self);
}

static bool write_panels(const struct packing *p, const void *from, struct sink *to)
{
	struct table t = {.to = to, .line = p->sparse ? packing_table_lines(p) : 0};

	if (!p->sparse)
		return each_panel(p, from, write_dense, to);
	return each_panel(p, from, write_entry, &t) && flush_table(&t) &&
	       each_panel(p, from, write_sparse, to);
}

bool packing_write(const struct packing *p, const void *from,
		   bool (*write)(void *self, const void *data, int64_t size), void *self)
{
	struct sink to = {write, self};
	struct arena scratch = {0};
	bool ok = write_panels(p, convert(p, from, &scratch), &to);

	arena_free(&scratch);
	return ok;
}
