/* winograd: convolutions by 3x3 windows as transforms around a batched matmul (ir/winograd.h):
 *
 *	%y = conv(%x, const %w)    =>    %p = pad(%x)                        whole tiles, where they are none
 *	                                 %v: f32[P,T,C] = winograd_input(%p) {tile=m}
 *	                                 %z: f32[P,T,M] = matmul(%v, const G w G^T)      P = (m + 2)^2
 *	                                 %y = winograd_output(%z) {tile=m, h, w}
 *
 * of f32, with stride, dilation and group 1. A pad in front is widened: what it adds is not more work than a border.
 *
 * Cost, in multiplications that a core does in the time of a step (s: pixels of a result, t: tiles, both of all
 * images; a batch of unknown size counts as 1):
 *	direct      9 s C M                        + 9 C M weights      both less what blocks of zeros leave out
 *	Winograd    P t C M + transforms           + P C M weights
 * A weight is read from far away, once in a run: WEIGHT_COST. So the weights, of which there are P / 9 times as many,
 * decide on small planes, where each is used for few tiles. A transform reads and writes its elements once:
 * ELEMENT_COST each. MEMORY: where the cost is nearly the same, less weights are better.
 * Fewer than CHANNELS_MIN channels, on either side, leave panels of the matmul unused. */
#include "ir/lower.h"
#include "ir/winograd.h"
#include "passes/patterns.h"

#include <string.h>

enum { PAD_CONSTANT }; /* of attrs.h */
enum {
	CHANNELS_MIN = 32,
	WEIGHT_COST = 16, /* 4 bytes: one core multiplies 58 G/s and reads 15 GB/s beyond its L2 */
	ELEMENT_COST = 6, /* 4 bytes, and the additions between reading and writing */
};

static const double gain_min = 1.2;

struct shape {
	double n, c, m; /* images, input and output channels */
	double kept;    /* share of the blocks of 1x16 weights that are not all zero */
	int64_t h, w;   /* of the result */
};

/* ---- cost ---- */

static double direct_cost(const struct shape *s)
{
	return 9 * s->c * s->m * s->kept * (s->n * (double)(s->h * s->w) + WEIGHT_COST);
}

static int64_t whole(int64_t x, int64_t tile) { return (x + tile - 1) / tile * tile; }

static double winograd_cost(const struct shape *s, int64_t tile)
{
	double points = (double)((tile + 2) * (tile + 2));
	double pixels = s->n * (double)(whole(s->h, tile) * whole(s->w, tile)),
	       tiles = pixels / (double)(tile * tile);

	return points * s->c * s->m * (tiles + WEIGHT_COST) +
	       ELEMENT_COST * (pixels + points * tiles) * (s->c + s->m);
}

/* The tile of the least cost that gains enough; 0: none. */
static int64_t choose_tile(const struct shape *s)
{
	double best = direct_cost(s) / gain_min;
	int64_t tile = 0;

	if (s->c < CHANNELS_MIN || s->m < CHANNELS_MIN)
		return 0;
	for (int64_t t = 2; t <= WINOGRAD_TILE_MAX; t += 2) {
		double cost = winograd_cost(s, t);

		if (cost < best) {
			best = cost;
			tile = t;
		}
	}
	return tile;
}

/* ---- the convolution ---- */

static bool all_ones(struct ints list)
{
	for (int i = 0; i < list.count; i++)
		if (list.at[i] != 1)
			return false;
	return true;
}

/* Of blocks of 16 neighbours along the last axis, as the contraction driver leaves them out. */
static double kept_share(const struct value *w)
{
	const struct tensor *t = value_const(w);
	int64_t width = w->type.dims[3]->value, rows = type_count_const(&w->type) / width, kept = 0,
		blocks = 0;
	const char *at = t->data;
	uint32_t bits;

	if (t->kind != TENSOR_BYTES)
		return 1;
	for (int64_t row = 0; row < rows; row++)
		for (int64_t from = 0; from < width; from += 16, blocks++) {
			int64_t i = from, end = from + 16 < width ? from + 16 : width;

			do {
				memcpy(&bits, at + (row * width + i) * 4, 4);
			} while (!(bits << 1) && ++i < end);
			kept += i < end;
		}
	return (double)kept / (double)blocks;
}

/* Whether n is of the form; then its shape. */
static bool is_candidate(const struct node *n, struct shape *s)
{
	const struct attrs_conv *a = n->attrs;
	const struct type *w, *y;

	if (n->op != OP_conv || n->out[0]->type.rank != 4 || n->out[0]->type.dtype != DT_F32 ||
	    !value_const(n->in[1]) || a->group != 1 || !all_ones(a->stride) ||
	    !all_ones(a->dilation))
		return false;
	w = &n->in[1]->type;
	y = &n->out[0]->type;
	if (w->dtype != DT_F32 || !dim_is(w->dims[0], 3) || !dim_is(w->dims[1], 3) ||
	    !dim_is_const(w->dims[2]) || !dim_is_const(w->dims[3]) || !dim_is_const(y->dims[1]) ||
	    !dim_is_const(y->dims[2]) || y->dims[1]->value < 1 || y->dims[2]->value < 1)
		return false;
	*s = (struct shape){.kept = kept_share(n->in[1]),
			    .n = dim_is_const(y->dims[0]) ? (double)y->dims[0]->value : 1,
			    .c = (double)w->dims[2]->value,
			    .m = (double)w->dims[3]->value,
			    .h = y->dims[1]->value,
			    .w = y->dims[2]->value};
	return true;
}

/* out (k x 3) = g (k x 3) times in (3 x 3) transposed: applied twice, G in G^T. */
static void multiply_weights(int k, double g[WINOGRAD_PATCH_MAX][3], int columns,
			     double in[WINOGRAD_PATCH_MAX][WINOGRAD_PATCH_MAX],
			     double out[WINOGRAD_PATCH_MAX][WINOGRAD_PATCH_MAX])
{
	for (int i = 0; i < k; i++)
		for (int j = 0; j < columns; j++)
			out[j][i] = g[i][0] * in[0][j] + g[i][1] * in[1][j] + g[i][2] * in[2][j];
}

/* G w G^T of each pair of channels, in f64, rounded once. */
static struct value *transform_weights(struct pass_context *c, struct builder *b, struct node *n,
				       int64_t tile)
{
	const struct type *t = &n->in[1]->type;
	int size = (int)tile + 2;
	int64_t pairs = t->dims[2]->value * t->dims[3]->value;
	const char *w = tensor_bytes(value_const(n->in[1]), DT_F32, pairs * 9, c->scratch);
	float *u = arena_alloc(c->graph->arena, (size_t)(pairs * size * size) * sizeof(*u));
	dim dims[3] = {dim_const(&c->graph->dims, size * size), t->dims[2], t->dims[3]};
	struct type type = type_make(DT_F32, 3, dims);
	double g[WINOGRAD_PATCH_MAX][3];

	winograd_weights(tile, g);
	for (int64_t i = 0; i < pairs; i++) {
		double x[WINOGRAD_PATCH_MAX][WINOGRAD_PATCH_MAX],
			half[WINOGRAD_PATCH_MAX][WINOGRAD_PATCH_MAX];

		for (int k = 0; k < 9; k++) {
			float at; /* the model's bytes may be unaligned */

			memcpy(&at, w + (k * pairs + i) * 4, 4);
			x[k / 3][k % 3] = at;
		}
		multiply_weights(size, g, 3, x, half);
		multiply_weights(size, g, size, half, x);
		for (int k = 0; k < size * size; k++)
			u[k * pairs + i] = (float)x[k / size][k % size];
	}
	tensor_rest(value_const(n->in[1]));
	return add_bytes(b, &type, u);
}

/* x with so many rows and columns of 0 more behind it. A pad with zeros is widened: another one, as others may read it. */
static struct value *widen(struct builder *b, struct value *x, int64_t rows, int64_t columns)
{
	struct dim_pool *p = &b->graph->dims;
	const struct node *n = value_def(x, OP_pad);
	const struct attrs_pad *pad = n ? n->attrs : NULL;
	dim lo[4], hi[4];

	if (!rows && !columns)
		return x;
	if (pad &&
	    (n->in_count != 1 || pad->value != 0 || pad->kind != PAD_CONSTANT || !pad_is_box(n)))
		pad = NULL;
	for (int i = 0; i < 4; i++) {
		lo[i] = pad ? pad->lo.at[i] : dim_const(p, 0);
		hi[i] = pad ? pad->hi.at[i] : dim_const(p, 0);
	}
	hi[1] = dim_add(p, hi[1], dim_const(p, rows));
	hi[2] = dim_add(p, hi[2], dim_const(p, columns));
	return add_pad(b, pad ? n->in[0] : x, lo, hi, 0);
}

static struct value *add_op(struct builder *b, enum op_id op, const void *attrs, int count,
			    struct value *const *in)
{
	struct node *n;

	for (int i = 0; i < count; i++)
		if (!in[i])
			return NULL;
	n = graph_add(b,
		      &(struct node_spec){.op = op, .in_count = count, .in = in, .attrs = attrs});
	return n ? n->out[0] : NULL;
}

static struct value *rewrite(struct pass_context *c, struct node *n, void *self)
{
	struct builder b = build_before(c, n);
	struct value *in[2];
	struct shape s;
	int64_t tile;

	if (!is_candidate(n, &s))
		return NULL;
	tile = *(int64_t *)self ? *(int64_t *)self : choose_tile(&s);
	if (!tile)
		return NULL;
	in[0] = widen(&b, n->in[0], whole(s.h, tile) - s.h, whole(s.w, tile) - s.w);
	in[0] = add_op(&b, OP_winograd_input, &(struct attrs_winograd_input){.tile = tile}, 1, in);
	in[1] = transform_weights(c, &b, n, tile);
	in[0] = add_op(&b, OP_matmul, NULL, 2, in);
	return add_op(&b, OP_winograd_output,
		      &(struct attrs_winograd_output){.tile = tile, .h = s.h, .w = s.w}, 1, in);
}

/* Arguments: on (the default; where it is faster), off, or the tile of every convolution that has the form. */
bool pass_winograd(struct pass_context *c)
{
	int64_t tile = 0;

	if (c->argument && !strcmp(c->argument, "off"))
		return true;
	if (c->argument && strcmp(c->argument, "on") != 0) {
		tile = c->argument[0] - '0';
		if (!winograd_has_tile(tile) || c->argument[1])
			return diag_add(c->diag, DIAG_USAGE, (struct loc){0},
					"winograd takes on, off, 2 or 4, found \"%s\"",
					c->argument);
	}
	rewrite_graph(c, rewrite, &tile);
	return true;
}
