/* op_winograd.c: winograd_input, winograd_output: the transforms around the products of F(m x m, 3x3) (winograd.h).
 *
 * Why they are core ops: each element of their results is a fixed linear combination of up to (m + 2)^2 elements.
 * Composed of slices and maps that would be (m + 2)^2 kernels, each of which reads all of x; as a matmul it would
 * multiply by a matrix that is mostly 0 and +-1. Here all results of a tile are stored by one iteration, whose
 * expressions share their parts: rows are combined, then columns. The products between them are a matmul, so
 * a convolution needs no kernel of its own. Only the pass winograd makes them. */
#include "ir/op.h"
#include "ir/winograd.h"

#include <math.h>

enum { PATCH = WINOGRAD_PATCH_MAX };

typedef const struct expr *patch[PATCH][PATCH];

static bool check_tile(const struct node *n, struct diag *d, int64_t tile)
{
	if (winograd_has_tile(tile))
		return true;
	return BAD(d, n, "tile must be 2 or 4, found %lld", (long long)tile);
}

/* ---- linear combinations ---- */

/* sum + c * x; sum may be NULL: 0. */
static const struct expr *add_scaled(struct expr_pool *p, const struct expr *sum, double c,
				     const struct expr *x)
{
	enum dtype t = (enum dtype)x->type;

	if (c == -1 && sum)
		return expr_binary(p, EXPR_SUB, sum, x);
	if (c != 1)
		x = expr_binary(p, EXPR_MUL, x, expr_real(p, t, c));
	return sum ? expr_binary(p, EXPR_ADD, x, sum) : x;
}

/* The coefficients of the product of (x - squares[i]) but for i = `without`, lowest first; returns their number. */
static int polynomial(const double *squares, int pairs, int without, double *c)
{
	int count = 1;

	c[0] = 1;
	for (int i = 0; i < pairs; i++) {
		if (i == without)
			continue;
		c[count] = 0;
		for (int k = count++; k >= 0; k--)
			c[k] = (k ? c[k - 1] : 0) - squares[i] * c[k];
	}
	return count;
}

/* sum over k of c[k] * x[from + 2 k], highest first: there c is 1. */
static const struct expr *every_other(struct expr_pool *p, int count, const double *c,
				      const struct expr *const *x, int from)
{
	const struct expr *sum = NULL;

	for (int k = count - 1; k >= 0; k--)
		sum = add_scaled(p, sum, c[k], x[from + 2 * k]);
	return sum;
}

/* y = B^T x. Row p of B^T is the polynomial with all points but p as roots: for a pair of points an even part
 * plus or minus p times an odd one. */
static void input_vector(struct expr_pool *p, int64_t m, const struct expr *const *x,
			 const struct expr **y)
{
	const double *squares = winograd_squares(m);
	int pairs = (int)m / 2, count;
	double c[PATCH];

	count = polynomial(squares, pairs, -1, c);
	y[0] = every_other(p, count, c, x, 0);
	y[m + 1] = every_other(p, count, c, x, 1);
	for (int i = 0; i < pairs; i++) {
		const struct expr *even, *odd;

		count = polynomial(squares, pairs, i, c);
		even = every_other(p, count, c, x, 2);
		odd = every_other(p, count, c, x, 1);
		y[1 + 2 * i] = add_scaled(p, even, sqrt(squares[i]), odd);
		y[2 + 2 * i] = add_scaled(p, even, -sqrt(squares[i]), odd);
	}
}

/* y = A^T x: y[k] = sum of p^k x[p] over the points p; infinity counts for the last. */
static void output_vector(struct expr_pool *p, int64_t m, const struct expr *const *x,
			  const struct expr **y)
{
	const double *squares = winograd_squares(m);
	int pairs = (int)m / 2;

	for (int k = 0; k < m; k++) {
		y[k] = k == 0 ? x[0] : k == m - 1 ? x[m + 1] : NULL;
		for (int i = pairs - 1; i >= 0; i--) {
			const struct expr *both = expr_binary(p, k % 2 ? EXPR_SUB : EXPR_ADD,
							      x[1 + 2 * i], x[2 + 2 * i]);

			y[k] = add_scaled(p, y[k], pow(sqrt(squares[i]), k), both);
		}
	}
}

/* Transforms the columns of x (n x n), then the rows of that: y (k x k). */
static void transform(struct expr_pool *p, int64_t m, int n, int k, patch x, patch y,
		      void (*vector)(struct expr_pool *p, int64_t m, const struct expr *const *x,
				     const struct expr **y))
{
	const struct expr *column[PATCH], *out[PATCH];
	patch half;

	for (int j = 0; j < n; j++) {
		for (int i = 0; i < n; i++)
			column[i] = x[i][j];
		vector(p, m, column, out);
		for (int i = 0; i < k; i++)
			half[i][j] = out[i];
	}
	for (int i = 0; i < k; i++)
		vector(p, m, half[i], y[i]);
}

/* ---- winograd_input ---- */

bool infer_winograd_input(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_winograd_input *a = ATTRS(winograd_input, n);
	struct dim_pool *p = &g->dims;
	dim tile, two = dim_const(p, 2), dims[3];
	const struct type *x;

	if (!op_begin(g, n, d) || !op_float(g, n, d, 0) || !op_rank(g, n, d, 0, 4, 4) ||
	    !check_tile(n, d, a->tile))
		return false;
	x = &n->in[0]->type;
	tile = dim_const(p, a->tile);
	dims[0] = dim_const(p, (a->tile + 2) * (a->tile + 2));
	dims[1] = x->dims[0];
	dims[2] = x->dims[3];
	for (int i = 1; i <= 2; i++) {
		dim inside = dim_sub(p, x->dims[i], two);

		if (!graph_require(g, d, n, dim_mod(p, inside, tile), dim_const(p, 0),
				   "rest of rows or columns less 2 over tiles"))
			return false;
		dims[1] = dim_mul(p, dims[1], op_clamp(g, dim_floordiv(p, inside, tile)));
	}
	return op_result(n, d, 0, x->dtype, 3, dims);
}

bool lower_winograd_input(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	int64_t m = ATTRS(winograd_input, n)->tile;
	int size = (int)m + 2;
	struct type space = n->in[0]->type;
	const struct expr *at[HONE_MAX_RANK], *tile;
	patch x, y;

	for (int i = 1; i <= 2; i++)
		space.dims[i] = dim_floordiv(p->dims,
					     dim_sub(p->dims, space.dims[i], dim_const(p->dims, 2)),
					     dim_const(p->dims, m));
	lower_open(l, &space, at);
	for (int i = 0; i < size; i++)
		for (int j = 0; j < size; j++) {
			const struct expr *from[4] = {at[0], NULL, NULL, at[3]};

			from[1] = index_add(p, index_mul(p, at[1], expr_index(p, m)),
					    expr_index(p, i));
			from[2] = index_add(p, index_mul(p, at[2], expr_index(p, m)),
					    expr_index(p, j));
			x[i][j] = lower_load(l, n->in[0], from);
		}
	transform(p, m, size, size, x, y, input_vector);
	tile = index_add(p, index_mul(p, at[0], expr_dim(p, space.dims[1])), at[1]);
	tile = index_add(p, index_mul(p, tile, expr_dim(p, space.dims[2])), at[2]);
	for (int i = 0; i < size; i++)
		for (int j = 0; j < size; j++) {
			const struct expr *to[3] = {expr_index(p, i * size + j), tile, at[3]};

			lower_store(l, n->out[0], to, y[i][j]);
		}
	return true;
}

/* ---- winograd_output ---- */

bool infer_winograd_output(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_winograd_output *a = ATTRS(winograd_output, n);
	struct dim_pool *p = &g->dims;
	dim tiles, dims[4];
	const struct type *z;

	if (!op_begin(g, n, d) || !op_float(g, n, d, 0) || !op_rank(g, n, d, 0, 3, 3) ||
	    !check_tile(n, d, a->tile))
		return false;
	if (a->h < 1 || a->w < 1 || a->h > INT32_MAX || a->w > INT32_MAX)
		return BAD(d, n, "h and w must be at least 1 and fit 32 bits");
	z = &n->in[0]->type;
	tiles = dim_const(p, ((a->h + a->tile - 1) / a->tile) * ((a->w + a->tile - 1) / a->tile));
	if (!graph_require(g, d, n, z->dims[0], dim_const(p, (a->tile + 2) * (a->tile + 2)),
			   "axis 0 and points of a tile") ||
	    !graph_require(g, d, n, dim_mod(p, z->dims[1], tiles), dim_const(p, 0),
			   "rest of axis 1 over tiles of a plane"))
		return false;
	dims[0] = dim_floordiv(p, z->dims[1], tiles);
	dims[1] = dim_const(p, a->h);
	dims[2] = dim_const(p, a->w);
	dims[3] = z->dims[2];
	return op_result(n, d, 0, z->dtype, 4, dims);
}

/* What the tiles of one result have in common. */
struct output {
	const struct node *n;
	int64_t m, columns;             /* columns of tiles */
	const struct expr *at[2], *row; /* image, row of tiles */
};

/* The stores of the first `rows` x `columns` results of the tile in column `column`, over all channels. */
static void lower_tile(struct lowering *l, const struct output *o, const struct expr *column,
		       int64_t rows, int64_t columns)
{
	struct expr_pool *p = exprs_of(l);
	int size = (int)o->m + 2, axis = lower_axis(l, "o", o->n->out[0]->type.dims[3]);
	int64_t tile_rows = (ATTRS(winograd_output, o->n)->h + o->m - 1) / o->m;
	const struct expr *channel = expr_axis(p, axis), *tile;
	patch z, y;

	k_for(&l->at, axis, true);
	tile = index_add(p, index_mul(p, o->at[0], expr_index(p, tile_rows)), o->row);
	tile = index_add(p, index_mul(p, tile, expr_index(p, o->columns)), column);
	for (int i = 0; i < size; i++)
		for (int j = 0; j < size; j++) {
			const struct expr *from[3] = {expr_index(p, i * size + j), tile, channel};

			z[i][j] = lower_load(l, o->n->in[0], from);
		}
	transform(p, o->m, size, (int)o->m, z, y, output_vector);
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < columns; j++) {
			const struct expr *to[4] = {o->at[0], NULL, NULL, channel};

			to[1] = index_add(p, index_mul(p, o->row, expr_index(p, o->m)),
					  expr_index(p, i));
			to[2] = index_add(p, index_mul(p, column, expr_index(p, o->m)),
					  expr_index(p, j));
			lower_store(l, o->n->out[0], to, y[i][j]);
		}
}

/* Whole tiles of a row, then the last one if it sticks out. */
static void lower_row(struct lowering *l, const struct output *o, int64_t rows)
{
	struct expr_pool *p = exprs_of(l);
	int64_t w = ATTRS(winograd_output, o->n)->w, whole = w / o->m;
	struct kernel_builder after = l->at;

	if (whole) {
		int axis = lower_axis(l, "k", dim_const(p->dims, whole));

		after = k_for(&l->at, axis, true);
		lower_tile(l, o, expr_axis(p, axis), rows, o->m);
	}
	l->at = after;
	if (w % o->m)
		lower_tile(l, o, expr_index(p, whole), rows, w % o->m);
}

/* Rows of whole tiles, and the last row if it sticks out, are two branches of one loop over rows of tiles, so that
 * all rows are iterations of one nest. */
bool lower_winograd_output(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_winograd_output *a = ATTRS(winograd_output, n);
	struct output o = {.n = n, .m = a->tile, .columns = (a->w + a->tile - 1) / a->tile};
	int64_t whole = a->h / a->tile, rest = a->h % a->tile;
	struct type space = type_make(DT_F32, 2, n->out[0]->type.dims);
	const struct expr *last;
	struct kernel_builder after;

	space.dims[1] = dim_const(p->dims, whole + (rest != 0));
	lower_open(l, &space, o.at);
	o.row = o.at[1];
	if (!whole || !rest) {
		lower_row(l, &o, rest ? rest : o.m);
		return true;
	}
	last = expr_index(p, whole);
	after = k_when(&l->at, expr_binary(p, EXPR_LT, o.row, last));
	lower_row(l, &o, o.m);
	l->at = after;
	k_when(&l->at, expr_binary(p, EXPR_GE, o.row, last));
	lower_row(l, &o, rest);
	return true;
}
