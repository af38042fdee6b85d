/* op_gather.c: gather and scatter: indices that are data. Each loaded index is checked against its axis; one
 * out of range fails the run.
 *
 *   take      y[p.., q.., s..] = x[p.., idx[q..], s..]; with batch: idx[b.., q..], b.. the first axes of p..
 *   elements  y[i..] = x[i.. with idx[i..] at axis]
 *   nd        y[b.., q.., s..] = x[b.., idx[b.., q.., 0], .., idx[b.., q.., k-1], s..]
 * scatter is the same with y and x changed over, updates in order: of equal indices the last one stays. */
#include "ir/op.h"

typedef const struct expr *index_list[HONE_MAX_RANK];

enum { KIND_TAKE, KIND_ELEMENTS, KIND_ND };

/* How the axes of data, indices and the picked elements belong together. */
struct shape {
	const struct type *x, *idx;
	int kind, axis, batch;
	int depth; /* nd: indices per element */
};

static struct shape shape_of(const struct node *n)
{
	struct shape s = {.x = &n->in[0]->type, .idx = &n->in[1]->type};

	if (n->op == OP_gather) {
		s.kind = (int)ATTRS(gather, n)->kind;
		s.axis = (int)ATTRS(gather, n)->axis;
		s.batch = (int)ATTRS(gather, n)->batch;
	} else {
		s.kind = (int)ATTRS(scatter, n)->kind;
		s.axis = (int)ATTRS(scatter, n)->axis;
	}
	if (s.kind == KIND_ND && s.idx->rank)
		s.depth = (int)s.idx->dims[s.idx->rank - 1]->value;
	return s;
}

/* ---- inference ---- */

static bool check_take(struct node *n, struct diag *d, const struct shape *s)
{
	if (!op_axis(n, d, s->axis, s->x->rank))
		return false;
	if (s->batch > s->axis || s->batch > s->idx->rank)
		return BAD(d, n,
			   "batch is %d, which is more than axis %d or the rank of the indices %d",
			   s->batch, s->axis, s->idx->rank);
	return true;
}

static bool check_elements(struct graph *g, struct node *n, struct diag *d, const struct shape *s)
{
	if (s->batch)
		return BAD(d, n, "gathering elements takes no batch");
	if (!op_axis(n, d, s->axis, s->x->rank) || !op_rank(g, n, d, 1, s->x->rank, s->x->rank))
		return false;
	for (int k = 0; k < s->x->rank; k++)
		if (k != s->axis &&
		    !op_at_most(g, n, d, s->idx->dims[k], s->x->dims[k], "dims of the indices"))
			return false;
	return true;
}

static bool check_nd(struct graph *g, struct node *n, struct diag *d, const struct shape *s)
{
	const struct type *idx = s->idx;

	if (!op_rank(g, n, d, 1, 1, HONE_MAX_RANK))
		return false;
	if (!dim_is_const(idx->dims[idx->rank - 1]))
		return BAD(d, n, "the last dim of the indices must be constant, found %s",
			   op_type(g, d, n->in[1]));
	if (idx->dims[idx->rank - 1]->value > s->x->rank - s->batch || s->batch > idx->rank - 1)
		return BAD(d, n, "indices %s do not fit %s with %d batch axes",
			   op_type(g, d, n->in[1]), op_type(g, d, n->in[0]), s->batch);
	return true;
}

/* Checks, and the dims of the elements that the indices pick. */
static bool picked(struct graph *g, struct node *n, struct diag *d, const struct shape *s,
		   int *rank, dim *dims)
{
	int count = 0, first = 0, last = 0;

	if (!op_integer(g, n, d, 1))
		return false;
	if (s->kind == KIND_TAKE       ? !check_take(n, d, s)
	    : s->kind == KIND_ELEMENTS ? !check_elements(g, n, d, s)
				       : !check_nd(g, n, d, s))
		return false;
	for (int k = 0; k < s->batch; k++)
		if (!graph_require(g, d, n, s->x->dims[k], s->idx->dims[k],
				   "batch dims of data and indices"))
			return false;
	if (s->kind == KIND_TAKE)
		first = s->axis, last = s->axis + 1;
	else
		last = s->kind == KIND_ND ? s->batch + s->depth : s->x->rank;
	if (first + s->idx->rank + s->x->rank - last > 2 * HONE_MAX_RANK)
		return BAD(d, n, "the result would have a rank over %d", HONE_MAX_RANK);
	for (int k = 0; k < first; k++)
		dims[count++] = s->x->dims[k];
	for (int k = s->kind == KIND_TAKE ? s->batch : 0; k < s->idx->rank - (s->kind == KIND_ND);
	     k++)
		dims[count++] = s->idx->dims[k];
	for (int k = last; k < s->x->rank; k++)
		dims[count++] = s->x->dims[k];
	*rank = count;
	return true;
}

/* Known elements of a vector or scalar taken out of a vector. */
static void take_elems(struct graph *g, struct node *n, const struct shape *s)
{
	int count = elems_count(&n->out[0]->type), from[ELEMS_MAX];

	if (s->kind != KIND_TAKE || s->x->rank != 1 || !n->in[0]->elems || !n->in[1]->elems ||
	    count < 0)
		return;
	for (int i = 0; i < count; i++) {
		dim at = n->in[1]->elems[i];

		if (!at || !dim_is_const(at) || at->value < 0 || at->value >= s->x->dims[0]->value)
			return;
		from[i] = (int)at->value;
	}
	elems_permute(g, n, from);
}

bool infer_gather(struct graph *g, struct node *n, struct diag *d)
{
	dim dims[2 * HONE_MAX_RANK];
	struct shape s;
	int rank;

	if (!op_begin(g, n, d))
		return false;
	if (ATTRS(gather, n)->batch < 0 || ATTRS(gather, n)->batch > HONE_MAX_RANK)
		return BAD(d, n, "batch is out of range");
	s = shape_of(n);
	if (!picked(g, n, d, &s, &rank, dims) || !op_result(n, d, 0, s.x->dtype, rank, dims))
		return false;
	take_elems(g, n, &s);
	return true;
}

/* The update has the picked elements' dims, or broadcasts to them. */
bool infer_scatter(struct graph *g, struct node *n, struct diag *d)
{
	dim dims[2 * HONE_MAX_RANK];
	const struct type *update;
	struct shape s;
	int rank;

	if (!op_begin(g, n, d) || !op_same_dtype(g, n, d, 0, 2))
		return false;
	s = shape_of(n);
	update = &n->in[2]->type;
	if (ATTRS(scatter, n)->combine && s.x->dtype == DT_STRING)
		return BAD(d, n, "strings cannot be combined");
	if (ATTRS(scatter, n)->combine && ATTRS(scatter, n)->combine < 3 && s.x->dtype == DT_BOOL)
		return BAD(d, n, "bool has no sum or product");
	if (!picked(g, n, d, &s, &rank, dims))
		return false;
	if (update->rank > rank || rank > HONE_MAX_RANK)
		return BAD(d, n, "operand 2, %s, does not fit the %d axes that the indices pick",
			   op_type(g, d, n->in[2]), rank);
	for (int k = 0; k < update->rank; k++)
		if (!op_broadcasts(g, n, d, update->dims[k], dims[rank - update->rank + k],
				   "dims of the update and what the indices pick"))
			return false;
	return op_result(n, d, 0, s.x->dtype, s.x->rank, s.x->dims);
}

/* ---- lowering ---- */

/* idx at an index, checked to be below the extent of x's axis. */
static const struct expr *checked(struct lowering *l, const struct node *n,
				  const struct expr *const *at, dim extent)
{
	return expr_check(exprs_of(l), lower_load_index(l, n->in[1], at),
			  expr_dim(exprs_of(l), extent));
}

/* Where in x the picked element `at` (of `rank` axes) is. */
static void locate(struct lowering *l, const struct node *n, const struct shape *s,
		   const struct expr *const *at, const struct expr **from)
{
	int own = s->idx->rank - (s->kind == KIND_ND);
	index_list at_idx;

	switch (s->kind) {
	case KIND_TAKE:
		for (int k = 0; k < s->batch; k++)
			at_idx[k] = at[k];
		for (int k = s->batch; k < s->idx->rank; k++)
			at_idx[k] = at[s->axis + k - s->batch];
		for (int k = 0; k < s->x->rank; k++)
			from[k] = k < s->axis   ? at[k]
				  : k > s->axis ? at[k + s->idx->rank - s->batch - 1]
						: NULL;
		from[s->axis] = checked(l, n, at_idx, s->x->dims[s->axis]);
		break;
	case KIND_ELEMENTS:
		for (int k = 0; k < s->x->rank; k++)
			from[k] = at[k];
		from[s->axis] = checked(l, n, at, s->x->dims[s->axis]);
		break;
	default:
		for (int k = 0; k < own; k++)
			at_idx[k] = at[k];
		for (int k = 0; k < s->batch; k++)
			from[k] = at[k];
		for (int k = 0; k < s->depth; k++) {
			at_idx[own] = expr_index(exprs_of(l), k);
			from[s->batch + k] = checked(l, n, at_idx, s->x->dims[s->batch + k]);
		}
		for (int k = s->batch + s->depth; k < s->x->rank; k++)
			from[k] = at[own + k - s->batch - s->depth];
	}
}

bool lower_gather(struct lowering *l, const struct node *n)
{
	struct shape s = shape_of(n);
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	locate(l, n, &s, at, from);
	lower_store(l, n->out[0], at, lower_load(l, n->in[0], from));
	return true;
}

/* The type of what the indices pick: inference checked it. */
static struct type picked_type(const struct shape *s)
{
	struct type t = type_make(s->x->dtype, 0, NULL);
	int first = s->kind == KIND_TAKE ? s->axis : 0;
	int last = s->kind == KIND_TAKE ? s->axis + 1 : s->kind == KIND_ND ? s->depth : s->x->rank;

	for (int k = 0; k < first; k++)
		t.dims[t.rank++] = s->x->dims[k];
	for (int k = 0; k < s->idx->rank - (s->kind == KIND_ND); k++)
		t.dims[t.rank++] = s->idx->dims[k];
	for (int k = last; k < s->x->rank; k++)
		t.dims[t.rank++] = s->x->dims[k];
	return t;
}

/* y = x; then the updates one after the other, since two may go to one place. */
bool lower_scatter(struct lowering *l, const struct node *n)
{
	static const int combine[] = {-1, REDUCE_SUM, REDUCE_PROD, REDUCE_MIN, REDUCE_MAX};
	struct expr_pool *p = exprs_of(l);
	struct shape s = shape_of(n);
	struct type t = picked_type(&s);
	index_list at, to;

	lower_open(l, s.x, at);
	lower_store(l, n->out[0], at, lower_load(l, n->in[0], at));
	l->at = kernel_at_end(l->kernel);
	for (int k = 0; k < t.rank; k++) {
		int axis = lower_axis(l, "u", t.dims[k]);

		k_for(&l->at, axis, false);
		at[k] = expr_axis(p, axis);
	}
	locate(l, n, &s, at, to);
	lower_combine(l, n->out[0], to, lower_load_broadcast(l, n->in[2], t.rank, t.dims, at),
		      combine[ATTRS(scatter, n)->combine]);
	return true;
}
