/* quantize_weight.c: modes int8-weight and int4-weight: weights and tables of few bits, all arithmetic in f32. They
 * stay packed in the compiled model, and are unpacked where they are read:
 *
 *	%w = const f32[K,N]        =>   %w = map(const i8[K,N], const f32[N]) (a: i8, b: f32) -> f32(a) * b
 *	%y = matmul(%x, %w)             %y = matmul(%x, %w)
 *
 *	%w = const f32[K,N]        =>   %b = map(const i4[K/32,32,N], const bf16[K/32,1,N]) (a: i32, b: f32) -> f32(a) * b
 *	                                %w: f32[K,N] = reshape(%b)
 *
 * Blocks of 4 bits lie along the input channels of products and convolutions, and in rows of tables (of gather). Where
 * the axis is no multiple of the block, a smaller block or 8 bits are taken. With calibration inputs, rounding errors of
 * 4 bits are made up for (quantize_compensate.c). */
#include "passes/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32, BLOCK_LEAST = 8, BLOCK_MOST = 1024, STRIP = 16, TABLE_LEAST = 512 };
enum { TAKE }; /* of the kinds of gather (ir/op_gather.c) */

struct weighing {
	struct quantizing *q;
	int64_t block;        /* of 4 bits; 0: 8 bits */
	int count, wide;      /* what was quantized; of that, to 8 bits because no block fits */
	double before, after; /* bytes */
};

/* ---- 4 bits ---- */

/* A block of each of STRIP columns: element i of column c is x[i * STRIP + c]. */
struct strip {
	int64_t length;
	float *x;
	int8_t *q, *best_q;
	float scale[STRIP], error[STRIP];
};

/* To bf16, with ties away from zero; scales are never NaN. */
static uint16_t to_bf16(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, 4);
	return (uint16_t)((bits + 0x8000) >> 16);
}

static float from_bf16(uint16_t x)
{
	uint32_t bits = (uint32_t)x << 16;
	float f;

	memcpy(&f, &bits, 4);
	return f;
}

/* Rounds all to multiples -8..7 of their scales: product and square are sums over x * q and q * q. Adding and
 * subtracting 1.5 * 2^23 rounds to even. */
static void round_strip(struct strip *s, const float *scale, float *product, float *square)
{
	const float magic = 12582912.0f;
	float inverse[STRIP];

	for (int c = 0; c < STRIP; c++) {
		inverse[c] = scale[c] != 0 ? 1 / scale[c] : 0;
		product[c] = square[c] = 0;
	}
	for (int64_t i = 0; i < s->length; i++) {
		const float *x = s->x + i * STRIP;
		int8_t *q = s->q + i * STRIP;

		for (int c = 0; c < STRIP; c++) {
			float r = x[c] * inverse[c];

			r = r < -8 ? -8 : r > 7 ? 7 : r;
			r = r + magic - magic;
			product[c] += x[c] * r;
			square[c] += r * r;
			q[c] = (int8_t)r;
		}
	}
}

/* Tries scales; where the square of the error is the smallest so far they are kept. The part of it that changes with
 * the scale is scale^2 * sum q^2 - 2 * scale * sum x q. */
static void try_scales(struct strip *s, const float *from)
{
	float product[STRIP], square[STRIP], scale[STRIP];

	round_strip(s, from, product, square);
	for (int c = 0; c < STRIP; c++) { /* the best scale for these q */
		float x = square[c] > 0 ? product[c] / square[c] : from[c];

		scale[c] = from_bf16(to_bf16(x));
	}
	round_strip(s, scale, product, square);
	for (int c = 0; c < STRIP; c++) {
		float error = scale[c] * (scale[c] * square[c] - 2 * product[c]);

		if (error >= s->error[c])
			continue;
		s->error[c] = error;
		s->scale[c] = scale[c];
		for (int64_t i = 0; i < s->length; i++)
			s->best_q[i * STRIP + c] = s->q[i * STRIP + c];
	}
}

/* The element of the largest magnitude becomes -8 or, when that costs the others less, something smaller. */
static void fit_strip(struct strip *s)
{
	static const float at[] = {-8, -7.2f, -6.4f, 7, 6.2f};
	float most[STRIP] = {0}, scale[STRIP];

	for (int64_t i = 0; i < s->length; i++)
		for (int c = 0; c < STRIP; c++) {
			float x = s->x[i * STRIP + c];

			most[c] = fabsf(x) > fabsf(most[c]) ? x : most[c];
		}
	for (int c = 0; c < STRIP; c++) {
		s->error[c] = INFINITY;
		s->scale[c] = 0;
	}
	memset(s->best_q, 0, (size_t)s->length * STRIP);
	for (size_t k = 0; k < sizeof(at) / sizeof(*at); k++) {
		for (int c = 0; c < STRIP; c++)
			scale[c] = from_bf16(to_bf16(most[c] / at[k]));
		try_scales(s, scale);
	}
}

/* A tensor as [outer, length, inner]: blocks lie along the middle axis, all of it. */
struct blocks {
	int64_t outer, length, inner;
	const float *data;
	unsigned char *nibbles;
	uint16_t *scales;     /* [outer, inner] */
	const double *factor; /* of compensation, for a matrix [outer * length, inner]; or NULL */
};

/* Element i of block `column`, which counts [outer, inner]. */
static int64_t position(const struct blocks *b, int64_t column, int64_t i)
{
	return (column / b->inner * b->length + i) * b->inner + column % b->inner;
}

static void put_nibble(const struct blocks *b, int64_t at, int q)
{
	b->nibbles[at / 2] |= (unsigned char)((q & 15) << at % 2 * 4);
}

/* Scales of a row of blocks that begins at w. */
static void fit_scales(const struct blocks *b, struct strip *s, const float *w, uint16_t *scales)
{
	for (int64_t first = 0; first < b->inner; first += STRIP) {
		int64_t width = b->inner - first < STRIP ? b->inner - first : STRIP;

		for (int64_t i = 0; i < b->length; i++)
			memcpy(s->x + i * STRIP, w + i * b->inner + first, (size_t)width * 4);
		fit_strip(s);
		for (int64_t c = 0; c < width; c++)
			scales[first + c] = to_bf16(s->scale[c]);
	}
}

/* Row by row, each error made up for by the rows that follow. */
static void quantize_compensated(const struct blocks *b, struct strip *s, struct arena *scratch)
{
	int rows = (int)(b->outer * b->length);
	float *w = arena_copy(scratch, b->data, (size_t)(rows * b->inner) * 4),
	      *error = ARENA_ARRAY(scratch, float, b->inner);

	for (int k = 0; k < rows; k++) {
		const uint16_t *scales = b->scales + k / b->length * b->inner;
		float *row = w + k * b->inner;

		if (k % b->length == 0)
			fit_scales(b, s, row, b->scales + k / b->length * b->inner);
		for (int64_t n = 0; n < b->inner; n++) {
			float scale = from_bf16(scales[n]),
			      r = scale != 0 ? rintf(row[n] / scale) : 0;

			r = r < -8 ? -8 : r > 7 ? 7 : r;
			error[n] = row[n] - r * scale;
			put_nibble(b, k * b->inner + n, (int)r);
		}
		compensation_row(b->factor, rows, k, rows, error, w, b->inner);
	}
}

static void quantize_blocks(const struct blocks *b, struct arena *scratch)
{
	int64_t columns = b->outer * b->inner, room = b->length * STRIP;
	struct strip s = {.length = b->length,
			  .x = ARENA_ARRAY(scratch, float, room),
			  .q = ARENA_ARRAY(scratch, int8_t, room),
			  .best_q = ARENA_ARRAY(scratch, int8_t, room)};

	if (b->factor) {
		quantize_compensated(b, &s, scratch);
		return;
	}
	for (int64_t first = 0; first < columns; first += STRIP) {
		int width = columns - first < STRIP ? (int)(columns - first) : STRIP;

		for (int64_t i = 0; i < b->length; i++)
			for (int c = 0; c < width; c++)
				memcpy(&s.x[i * STRIP + c],
				       (const char *)b->data + position(b, first + c, i) * 4, 4);
		fit_strip(&s);
		for (int c = 0; c < width; c++)
			b->scales[first + c] = to_bf16(s.scale[c]);
		for (int64_t i = 0; i < b->length; i++)
			for (int c = 0; c < width; c++)
				put_nibble(b, position(b, first + c, i), s.best_q[i * STRIP + c]);
	}
}

/* The largest block of at most `block` elements that divides the axis, in whole bytes of the panels; 0: none. */
static int64_t fitting_block(int64_t extent, int64_t block)
{
	for (; block >= BLOCK_LEAST; block -= 8)
		if (extent % block == 0)
			return block;
	return 0;
}

/* w in blocks along `axis`. factor: of compensation, or NULL. NULL: reported. */
static struct value *narrow_blocks(struct weighing *g, struct builder *b, const struct type *w,
				   const float *data, int axis, int64_t block, const double *factor)
{
	struct arena *a = b->graph->arena;
	struct dim_pool *pool = &b->graph->dims;
	int64_t count = type_count_const(w);
	struct blocks all = {
		.outer = 1, .length = block, .inner = 1, .data = data, .factor = factor};
	struct type q = {0}, s;
	dim dims[HONE_MAX_RANK];
	struct value *in[2], *y;

	for (int i = 0; i < w->rank; i++)
		dims[i + (i > axis)] = w->dims[i];
	dims[axis] = dim_const(pool, w->dims[axis]->value / block);
	dims[axis + 1] = dim_const(pool, block);
	for (int i = axis + 2; i <= w->rank; i++)
		all.inner *= dims[i]->value;
	all.outer = count / block / all.inner;
	all.nibbles = ARENA_ARRAY(a, unsigned char, dtype_bytes(DT_I4, count));
	all.scales = ARENA_ARRAY(a, uint16_t, all.outer *all.inner);
	quantize_blocks(&all, g->q->c->scratch);
	q = type_make(DT_I4, w->rank + 1, dims);
	dims[axis + 1] = dim_const(pool, 1);
	s = type_make(DT_BF16, w->rank + 1, dims);
	in[0] = add_bytes(b, &q, all.nibbles);
	in[1] = add_bytes(b, &s, all.scales);
	y = add_map_text(b, "(a, b) -> f32(a) * b", DT_F32, 2, in, 0, NULL);
	g->after += (double)dtype_bytes(DT_I4, count) + 2.0 * (double)(all.outer * all.inner);
	return y ? add_reshape(b, y, w->rank, w->dims) : NULL;
}

/* ---- 8 bits ---- */

/* A table with a scale for each row. NULL: reported. */
static struct value *narrow_rows(struct weighing *g, struct builder *b, const struct type *w,
				 const float *data)
{
	struct arena *a = b->graph->arena;
	int64_t rows = w->dims[0]->value, width = w->dims[1]->value;
	int8_t *bytes = arena_alloc(a, (size_t)(rows * width));
	float *scale = ARENA_ARRAY(a, float, rows),
	      *row = ARENA_ARRAY(g->q->c->scratch, float, width);
	dim dims[2] = {w->dims[0], dim_const(&b->graph->dims, 1)};
	struct type q = type_make(DT_I8, 2, w->dims), s = type_make(DT_F32, 2, dims);
	struct value *in[2];

	for (int64_t i = 0; i < rows; i++) {
		memcpy(row, (const char *)data + i * width * 4, (size_t)width * 4);
		for (int64_t k = 0; k < width; k++)
			scale[i] = fabsf(row[k]) > scale[i] ? fabsf(row[k]) : scale[i];
		scale[i] /= 127;
		for (int64_t k = 0; k < width; k++)
			bytes[i * width + k] = quantize_round(row[k], scale[i], 127);
	}
	in[0] = add_bytes(b, &q, bytes);
	in[1] = add_bytes(b, &s, scale);
	g->after += (double)(rows * width) + 4.0 * (double)rows;
	return add_map_text(b, "(a, b) -> f32(a) * b", DT_F32, 2, in, 0, NULL);
}

/* ---- what is quantized ---- */

/* n reads v instead of its operand i. */
static bool read_instead(struct weighing *g, struct node *n, int i, struct value *v)
{
	if (!v)
		return false;
	g->before += (double)type_bytes_const(&n->in[i]->type);
	g->count++;
	g->q->c->changes++;
	n->in[i] = v;
	return true;
}

static bool narrow_layer(struct weighing *g, struct layer *l, const double *factor)
{
	struct builder b = build_before(g->q->c, l->node);
	const struct type *w = &l->weight->type;
	int64_t block = fitting_block(w->dims[w->rank - 2]->value, g->block);

	if (!layer_suits_bytes(l))
		return true;
	if (block)
		return read_instead(g, l->node, 1,
				    narrow_blocks(g, &b, w, l->data, w->rank - 2, block, factor));
	g->wide += g->block > 0;
	g->after += (double)(l->rows * l->columns) + 4.0 * (double)l->columns;
	return read_instead(g, l->node, 1, quantize_weight(&b, l));
}

/* A large constant table, rows of which are taken. */
static const struct tensor *table_of(const struct node *n)
{
	const struct type *w = n->op == OP_gather ? &n->in[0]->type : NULL;
	const struct tensor *t = w ? value_const(n->in[0]) : NULL;

	return t && t->kind != TENSOR_SPLAT && w->dtype == DT_F32 && w->rank == 2 &&
			       ATTRS_OF(gather, n)->kind == TAKE &&
			       ATTRS_OF(gather, n)->axis == 0 && type_count_const(w) >= TABLE_LEAST
		       ? t
		       : NULL;
}

static bool narrow_table(struct node *n, void *self)
{
	struct weighing *g = self;
	struct builder b = build_before(g->q->c, n);
	const struct tensor *t = table_of(n);
	const struct type *w = t ? &n->in[0]->type : NULL;
	const float *data;
	int64_t block;

	if (!t)
		return true;
	data = tensor_bytes(t, DT_F32, type_count_const(w), g->q->c->scratch);
	block = fitting_block(w->dims[1]->value, g->block);
	g->wide += g->block > 0 && !block;
	return read_instead(g, n, 0,
			    block ? narrow_blocks(g, &b, w, data, 1, block, NULL)
				  : narrow_rows(g, &b, w, data));
}

/* ---- the modes ---- */

static void report(const struct weighing *g)
{
	struct pass_context *c = g->q->c;
	struct report_section *s = report_section(c->report, "quantize", "weights of few bits");
	const char *wide =
		g->wide ? arena_printf(c->scratch, "; %d of them to 8 bits, since no block fits",
				       g->wide)
			: "";

	if (!g->count) {
		diag_add(c->diag, DIAG_WARNING, (struct loc){0},
			 "--quantize: the model has no weight that can be kept in few bits; it is "
			 "left as it is");
		return;
	}
	report_text(s, "mode", g->block ? "int4-weight" : "int8-weight");
	report_number(s, "weights_quantized", g->count);
	report_change(s, "weights", g->before, g->after);
	fprintf(stderr, "quantize: %d weights from %.1f to %.1f MB%s\n", g->count, g->before / 1e6,
		g->after / 1e6, wide);
}

static bool narrow_all(struct quantizing *q, int64_t block)
{
	struct weighing g = {.q = q, .block = block};
	const double **factors = ARENA_ARRAY(q->c->scratch, const double *, q->layers.count + 1);

	if (block && q->c->calibration && !compensation_measure(q, factors))
		return false;
	for (int i = 0; i < q->layers.count; i++)
		if (!narrow_layer(&g, &q->layers.at[i], factors[i]))
			return false;
	if (!graph_walk(q->c->graph, narrow_table, &g))
		return false;
	report(&g);
	return true;
}

bool quantize_tables(struct quantizing *q)
{
	struct weighing g = {.q = q};

	return graph_walk(q->c->graph, narrow_table, &g);
}

bool quantize_int8_weight(struct quantizing *q)
{
	if (*q->option)
		return quantize_bad_option(q, "no option of int8-weight");
	return narrow_all(q, 0);
}

bool quantize_int4_weight(struct quantizing *q)
{
	char *end = NULL;
	long block = *q->option ? strtol(q->option, &end, 10) : BLOCK;

	if ((end && *end) || block < BLOCK_LEAST || block > BLOCK_MOST || block % 8)
		return quantize_bad_option(q, "a block of 8 to 1024 weights, a multiple of 8");
	return narrow_all(q, block);
}
