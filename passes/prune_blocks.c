/* prune_blocks.c: blocks of 1x16 weights, a row of K by 16 columns of N, become zero, and the contraction driver leaves
 * them out (backend/contract_sparse.c). The graph stays as it is.
 *
 * In every 16 columns the same number of rows stays, those whose weights have the largest share of what is summed:
 * w[k,n]^2 summed over the columns, times the mean of x[k]^2 where activations were measured (Sun et al. 2023, "A simple
 * and effective pruning approach for large language models", with blocks in place of single weights). Rows that stay
 * make up for the others by least squares: prune_repair.c. */
#include "passes/linalg.h"
#include "passes/prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCK = 16,
	ROWS_MIN = 32 /* of K; fewer gain little, and the first layers of models have them */
};

/* Weights as a matrix [rows, columns]. */
struct matrix {
	int rows, columns;
	const float *at;
};

static struct matrix matrix_of(const struct prune *p, const struct prune_consumer *c)
{
	const struct value *w = c->node->in[1];
	int64_t count = type_count_const(&w->type);

	return (struct matrix){.columns = (int)w->type.dims[w->type.rank - 1]->value,
			       .rows = (int)(count / w->type.dims[w->type.rank - 1]->value),
			       .at = tensor_bytes(value_const(w), DT_F32, count, p->c->scratch)};
}

bool prune_has_blocks(const struct prune_consumer *c)
{
	const struct type *w = &c->node->in[1]->type;
	int64_t columns = w->dims[w->rank - 1]->value;

	return w->dtype == DT_F32 && columns >= BLOCK && type_count_const(w) / columns >= ROWS_MIN;
}

double prune_block_macs(const struct prune *p)
{
	double sum = 0;

	for (int i = 0; i < p->consumers.count; i++)
		if (prune_has_blocks(&p->consumers.at[i]))
			sum += prune_node_macs(p, p->consumers.at[i].node);
	return sum * p->blocks;
}

/* ---- choice ---- */

struct row {
	double score;
	int k;
};

static int by_score(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->score != b->score)
		return a->score < b->score ? -1 : 1;
	return a->k - b->k;
}

/* The sums of squares of what stays of x; NULL: not measured. */
static double *staying_squares(const struct prune *p, const struct prune_consumer *c)
{
	const double *square = c->source >= 0 ? p->sources.at[c->source].square : NULL;
	double *to = ARENA_ARRAY(p->c->scratch, double, c->k_size);
	int count = 0;

	if (!square)
		return NULL;
	for (int i = 0; i < c->k_size; i++)
		if (prune_stays(p, c->k_first + i))
			to[count++] = square[i];
	return to;
}

/* Columns first.. of w: rows lose their block, the least important first. square: of x, every `period` rows anew. */
static void clear_panel(const struct matrix *w, int first, int remove, const double *square,
			int period, struct row *rows, float *to)
{
	int end = first + BLOCK < w->columns ? first + BLOCK : w->columns;

	for (int k = 0; k < w->rows; k++) {
		rows[k] = (struct row){0, k};
		for (int n = first; n < end; n++) {
			double x = prune_number(w->at, (int64_t)k * w->columns + n);

			rows[k].score += x * x;
		}
		if (square)
			rows[k].score *= square[k % period];
	}
	qsort(rows, (size_t)w->rows, sizeof(*rows), by_score);
	for (int i = 0; i < remove; i++)
		memset(&to[(int64_t)rows[i].k * w->columns + first], 0,
		       (size_t)(end - first) * sizeof(*to));
}

/* The consumer's weights become these; others that read the same constant keep it. */
static void set_weights(struct prune *p, struct prune_consumer *c, const float *at, const int *uses)
{
	struct builder b = build_before(p->c, c->node);
	struct value *old = c->node->in[1];

	c->uncleared = old;
	c->cleared = c->node->in[1] = add_bytes(&b, &old->type, at);
	if (uses[old->id] == 1) {
		c->cleared->name = old->name;
		old->name = NULL;
	}
	p->c->changes++;
}

static void clear_blocks(struct prune *p, struct prune_consumer *c, const int *uses)
{
	struct matrix w = matrix_of(p, c);
	int remove = (int)floor(w.rows * p->blocks + 0.5), period;
	size_t bytes = (size_t)w.rows * (size_t)w.columns * sizeof(float);
	float *to = memcpy(arena_alloc(p->c->graph->arena, bytes), w.at, bytes);
	struct row *rows = ARENA_ARRAY(p->c->scratch, struct row, w.rows);
	const double *square = staying_squares(p, c);
	const struct type *t = &c->node->in[1]->type;

	period = (int)t->dims[t->rank - 2]->value;
	remove = remove < w.rows ? remove : w.rows - 1;
	for (int n = 0; n < w.columns; n += BLOCK)
		clear_panel(&w, n, remove, square, period, rows, to);
	set_weights(p, c, to, uses);
}

void prune_clear_blocks(struct prune *p)
{
	const int *uses = graph_count_uses(p->c->graph, p->c->scratch);

	for (int i = 0; i < p->consumers.count; i++)
		if (prune_has_blocks(&p->consumers.at[i]))
			clear_blocks(p, &p->consumers.at[i], uses);
}

/* ---- least squares ---- */

static bool has_block(const struct matrix *w, int k, int first)
{
	for (int n = first; n < first + BLOCK && n < w->columns; n++)
		if (prune_number(w->at, (int64_t)k * w->columns + n) != 0)
			return true;
	return false;
}

bool prune_solve_blocks(const double *xx, double *xt, int k, int n, const float *weights)
{
	const struct matrix w = {k, n, weights};
	double *a = malloc((size_t)k * (size_t)k * sizeof(*a)),
	       *b = malloc((size_t)k * BLOCK * sizeof(*b));
	int *rows = malloc((size_t)k * sizeof(*rows));
	bool ok = true;

	if (!a || !b || !rows)
		out_of_memory((size_t)k * (size_t)k * sizeof(*a));
	for (int first = 0; ok && first < n; first += BLOCK) {
		int width = n - first < BLOCK ? n - first : BLOCK, count = 0;

		for (int i = 0; i < k; i++)
			if (has_block(&w, i, first))
				rows[count++] = i;
		for (int i = 0; i < count; i++) {
			for (int j = 0; j <= i; j++)
				a[(int64_t)i * count + j] = xx[(int64_t)rows[i] * k + rows[j]];
			memcpy(&b[(int64_t)i * width], &xt[(int64_t)rows[i] * n + first],
			       (size_t)width * sizeof(*b));
		}
		ok = cholesky_factor(a, count);
		if (ok)
			cholesky_solve(a, count, b, width);
		for (int i = 0; i < k; i++)
			memset(&xt[(int64_t)i * n + first], 0, (size_t)width * sizeof(*xt));
		for (int i = 0; i < count; i++)
			memcpy(&xt[(int64_t)rows[i] * n + first], &b[(int64_t)i * width],
			       (size_t)width * sizeof(*b));
	}
	free(a);
	free(b);
	free(rows);
	return ok;
}
