/* loops_rows.c: what a row is read for more than once is computed once. In
 *
 *	for i par, j par { y[i, j] = exp(x[i, j] - max r { x[i, r] }) / sum r { exp(x[i, r] - max r { x[i, r] }) } }
 *
 * the reductions over the row r and the value at j contain the same expression, apart from the name of the axis.
 * The one that costs most to repeat goes into a local row:
 *
 *	for i par {
 *	  for r par { %t[r] = exp(x[i, r] - max r { x[i, r] }) }
 *	  for j par { y[i, j] = %t[j] / sum r { %t[r] } } } */
#include "backend/loops_plan.h"

enum { CONTEXTS_MAX = 16, ROW_AXES_MAX = 4, ROW_MAX = 1 << 20 };

struct rows {
	struct nest *n;
	int first, count; /* the loops of the row: the innermost ones */
	int axes[ROW_AXES_MAX];
	axis_set set;
	/* the value and the bodies of the reductions over the row, all as functions of the loops' axes */
	const struct expr *context[CONTEXTS_MAX];
	int contexts, stamp;
	const struct expr *best;
	double benefit;
};

static bool is_row_reduction(const struct rows *r, const struct expr *e)
{
	const struct axis *axes = r->n->k->exprs->axes;

	if (e->op != EXPR_REDUCE || e->axis_count != r->count ||
	    (note_of(&r->n->info, e)->axes & r->set))
		return false;
	for (int i = 0; i < r->count; i++) {
		if (axes[e->axes[i]].extent != axes[r->axes[i]].extent)
			return false;
	}
	return true;
}

/* e of a reduction as a function of the loops' axes. */
static const struct expr *at_loops(struct rows *r, const struct expr *reduce)
{
	struct expr_pool *p = r->n->k->exprs;
	const struct expr *with[ROW_AXES_MAX];

	for (int i = 0; i < r->count; i++)
		with[i] = expr_axis(p, r->axes[i]);
	return expr_bind_axes(p, reduce->arg[0], r->count, reduce->axes, with);
}

static void find_contexts(struct rows *r, const struct expr *e)
{
	struct note *n = note_of(&r->n->info, e);

	if (n->scanned == r->stamp)
		return;
	n->scanned = r->stamp;
	if (is_row_reduction(r, e) && r->contexts < CONTEXTS_MAX)
		r->context[r->contexts++] = at_loops(r, e);
	for (int i = 0; i < e->count; i++)
		find_contexts(r, e->arg[i]);
}

/* Counts in note->seen[0] the contexts that contain a node which could be kept. */
static void count_nodes(struct rows *r, const struct expr *e, bool guarded)
{
	struct note *n = note_of(&r->n->info, e);

	if (n->scanned == r->stamp || !(n->axes & r->set) || (n->unsafe && guarded))
		return;
	n->scanned = r->stamp;
	n->seen[0]++;
	for (int i = 0; i < e->count && e->op != EXPR_REDUCE && e->op != EXPR_LOAD; i++)
		count_nodes(r, e->arg[i], guarded || (e->op == EXPR_SELECT && i > 0));
}

/* Work for each element of the row. */
static double row_weight(struct rows *r, const struct expr *e)
{
	struct note *n = note_of(&r->n->info, e);
	double sum = 1;

	if (n->scanned == r->stamp || !(n->axes & r->set))
		return 0;
	n->scanned = r->stamp;
	if (e->op == EXPR_REDUCE)
		return (double)n->work;
	if (e->op == EXPR_LOAD || e->op == EXPR_AXIS)
		return 1;
	if (e->op >= EXPR_EXP && e->op <= EXPR_ERF)
		sum = 16;
	for (int i = 0; i < e->count; i++)
		sum += row_weight(r, e->arg[i]);
	return sum;
}

/* Whether a load of e runs along memory with the row. */
static bool is_contiguous(struct rows *r, const struct expr *e)
{
	bool uses;

	if (e->op == EXPR_LOAD) {
		dim coef = access_coef(&r->n->info, note_of(&r->n->info, e)->access,
				       r->axes[r->count - 1], &uses);

		return uses && coef && dim_is(coef, 1);
	}
	for (int i = 0; i < e->count; i++) {
		if (is_contiguous(r, e->arg[i]))
			return true;
	}
	return false;
}

static void find_best(struct rows *r, const struct expr *e)
{
	struct note *n = note_of(&r->n->info, e);
	double weight, benefit;

	if (n->seen[0] >= 2 && (n->axes & r->set) == r->set && e->op != EXPR_LOAD &&
	    dtype_is_float((enum dtype)e->type)) {
		r->stamp++;
		weight = row_weight(r, e);
		/* repeated; or once, with one store, and loaded each time */
		benefit = n->seen[0] * weight - (weight + 1 + n->seen[0]);
		if (benefit > r->benefit && is_contiguous(r, e)) {
			r->best = e;
			r->benefit = benefit;
		}
	}
	for (int i = 0; i < e->count && e->op != EXPR_REDUCE && e->op != EXPR_LOAD; i++)
		find_best(r, e->arg[i]);
}

/* ---- rewriting ---- */

static const struct expr *row_load(struct rows *r, int local, const int *axes)
{
	struct expr_pool *p = r->n->k->exprs;
	const struct expr *at[ROW_AXES_MAX];

	for (int i = 0; i < r->count; i++)
		at[i] = expr_axis(p, axes[i]);
	return expr_load(p, r->n->k->buffers.at[local].type.dtype, local, r->count, at);
}

struct keep {
	struct rows *r;
	int local;
};

static const struct expr *keep_node(struct expr_pool *p, const struct expr *e, void *self)
{
	struct keep *k = self;
	const struct expr *with[ROW_AXES_MAX], *best = k->r->best, *body;

	if (e == best)
		return row_load(k->r, k->local, k->r->axes);
	if (!is_row_reduction(k->r, e))
		return NULL;
	for (int i = 0; i < k->r->count; i++)
		with[i] = expr_axis(p, e->axes[i]);
	body = expr_rewrite(p, at_loops(k->r, e), keep_node, self);
	body = expr_bind_axes(p, body, k->r->count, k->r->axes, with);
	return body == e->arg[0]
		       ? NULL
		       : expr_reduce(p, (enum reduce_kind)e->reduce, e->axis_count, e->axes, body);
}

/* The loops that fill the local. */
static struct stmt *filling_loops(struct rows *r, int local)
{
	struct kernel *k = r->n->k;
	struct stmt *inner = ARENA_NEW(k->arena, struct stmt);
	const struct expr **index = ARENA_ARRAY(k->arena, const struct expr *, r->count),
			  *with[ROW_AXES_MAX];
	int axes[ROW_AXES_MAX];

	for (int i = 0; i < r->count; i++) {
		const struct axis *axis = &k->exprs->axes[r->axes[i]];

		axes[i] = axis_add(k->exprs, axis->name, axis->extent);
		index[i] = with[i] = expr_axis(k->exprs, axes[i]);
	}
	*inner = (struct stmt){.kind = STMT_STORE,
			       .buffer = local,
			       .rank = r->count,
			       .combine = -1,
			       .index = index,
			       .value = expr_bind_axes(k->exprs, r->best, r->count, r->axes, with)};
	for (int i = r->count - 1; i >= 0; i--) {
		struct stmt *loop = ARENA_NEW(k->arena, struct stmt);

		*loop = (struct stmt){
			.kind = STMT_FOR, .body = inner, .axis = axes[i], .par = true};
		inner = loop;
	}
	return inner;
}

static void keep_best(struct rows *r)
{
	struct kernel *k = r->n->k;
	struct type type = {.dtype = (enum dtype)r->best->type, .rank = r->count};
	struct stmt *row = r->n->loops[r->first], *store = r->n->loops[r->n->count - 1]->body,
		    *rest = ARENA_NEW(k->arena, struct stmt), *fill;
	struct keep keep = {.r = r};

	for (int i = 0; i < r->count; i++)
		type.dims[i] = k->exprs->axes[r->axes[i]].extent;
	keep.local = kernel_local(k, "row", &type);
	fill = filling_loops(r, keep.local);
	store->value = expr_rewrite(k->exprs, store->value, keep_node, &keep);
	*rest = *row;
	*row = *fill;
	row->next = rest;
	r->n->loops[r->first] = rest;
}

/* The innermost loops over which a reduction runs too. */
static bool find_row(struct rows *r, const struct expr *e, int depth)
{
	const struct nest *n = r->n;

	if (e->op == EXPR_REDUCE && e->axis_count <= ROW_AXES_MAX && e->axis_count <= n->count) {
		r->count = e->axis_count;
		r->first = n->count - r->count;
		r->set = 0;
		for (int i = 0; i < r->count; i++) {
			r->axes[i] = n->loops[r->first + i]->axis;
			r->set |= axis_bit(&r->n->info, r->axes[i]);
		}
		if (is_row_reduction(r, e))
			return true;
	}
	for (int i = 0; i < e->count && depth < 24; i++) {
		if (find_row(r, e->arg[i], depth + 1))
			return true;
	}
	return false;
}

static void forget_counts(struct rows *r, const struct expr *e)
{
	struct note *n = note_of(&r->n->info, e);

	if (n->scanned == r->stamp)
		return;
	n->scanned = r->stamp;
	n->seen[0] = 0;
	for (int i = 0; i < e->count; i++)
		forget_counts(r, e->arg[i]);
}

static bool keep_one(struct rows *r, const struct expr *value)
{
	r->best = NULL;
	r->benefit = 0;
	r->contexts = 0;
	r->context[r->contexts++] = value;
	r->stamp++;
	find_contexts(r, value);
	r->stamp++;
	for (int i = 0; i < r->contexts; i++)
		forget_counts(r, r->context[i]);
	for (int i = 0; i < r->contexts; i++) {
		r->stamp++;
		count_nodes(r, r->context[i], false);
	}
	for (int i = 0; i < r->contexts; i++)
		find_best(r, r->context[i]);
	if (r->best)
		keep_best(r);
	return r->best != NULL;
}

bool loops_keep_rows(struct nest *n)
{
	struct rows r = {.n = n, .stamp = 1000};
	struct stmt *store = n->loops[n->count - 1]->body;
	int64_t elements = 1;
	int kept = 0;

	if (!store || store->next || store->kind != STMT_STORE || !find_row(&r, store->value, 0))
		return false;
	for (int i = 0; i < r.count; i++) {
		dim extent = n->k->exprs->axes[r.axes[i]].extent;

		elements *= dim_is_const(extent) ? extent->value : 1;
		if (elements > ROW_MAX || (dim_is_const(extent) && extent->value < 2))
			return false;
	}
	while (kept < 4 && keep_one(&r, store->value))
		kept++;
	return kept > 0;
}
