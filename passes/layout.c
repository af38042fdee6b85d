/* layout: spatial operators are channels-last, and importers of channels-first models wrap each of them in
 * transposes. This pass moves transposes towards the results, past every operator that does not care about
 * the order of its axes, until they meet their inverse:
 *
 *	%1 = transpose %x {perm=p}  %y = op %1      =>   %2 = op' %x  %y = transpose %2 {perm=p'}
 *
 * A transpose moves only where all operands of full rank that are no constants come from transposes of the
 * same perm, or are inputs that a convolution reads transposed anyway, so their number does not grow;
 * constants are transposed at compile time (fold_constants), and operands with less axes, or none that
 * changes places, are reshaped. Movement is one way, so it ends. Past a reshape that joins axes which are
 * apart (a channel shuffle) it moves but for a transpose that brings them together.
 * A flattened operand of a matmul by a constant passes its transpose on to the rows of that constant.
 * Last, transposes that move only axes of size 1 become reshapes. */
#include "passes/group.h"

#include <string.h>

/* ---- operands ---- */

/* The first transpose of each value, by its id: of those visited so far. */
struct transposes {
	struct node **at;
	int room;
};

static struct node *transpose_of(const struct transposes *t, const struct value *v)
{
	return v->id < t->room ? t->at[v->id] : NULL;
}

static const int64_t *perm_of(const struct value *v)
{
	return v->def && v->def->op == OP_transpose ? ATTRS_OF(transpose, v->def)->perm.at : NULL;
}

static void invert(const int64_t *perm, int rank, int64_t *out)
{
	for (int i = 0; i < rank; i++)
		out[perm[i]] = i;
}

/* Whether v, of `rank` axes, stays the same elements in the same order when its axes are permuted: only
 * axes of size 1 change places. */
static bool keeps_order(const struct type *t, const int64_t *perm)
{
	int64_t last = -1;

	for (int i = 0; i < t->rank; i++) {
		if (dim_is(t->dims[perm[i]], 1))
			continue;
		if (perm[i] < last)
			return false;
		last = perm[i];
	}
	return true;
}

/* A transpose of v by this perm that n may read; NULL when there is none. */
static struct value *find_transposed(const struct transposes *t, const struct value *v,
				     const int64_t *perm, const struct node *n)
{
	struct node *made = transpose_of(t, v);

	if (!made || made->parent != n->parent ||
	    memcmp(ATTRS_OF(transpose, made)->perm.at, perm, (size_t)v->type.rank * sizeof(*perm)))
		return NULL;
	return made->out[0];
}

/* What `inverse` makes of an operand that does not come from a transpose: it is broadcast to `rank` axes. */
static struct value *permute_operand(struct builder *b, const struct transposes *t, struct value *v,
				     const int64_t *inverse, int rank)
{
	dim dims[HONE_MAX_RANK];
	bool ones = true;
	struct value *made = v->type.rank == rank && b->before
				     ? find_transposed(t, v, inverse, b->before)
				     : NULL;

	if (made)
		return made;

	for (int i = 0; i < v->type.rank; i++)
		ones = ones && dim_is(v->type.dims[i], 1);
	if (!v->type.rank || (ones && v->type.rank == rank))
		return v;
	v = add_leading_ones(b, v, rank);
	if (!v || !keeps_order(&v->type, inverse))
		return add_transpose_perm(b, v, inverse);
	for (int i = 0; i < rank; i++)
		dims[i] = v->type.dims[inverse[i]];
	return add_reshape(b, v, rank, dims);
}

/* The perm that all operands of full rank share; NULL when there is none. */
static const int64_t *common_perm(struct dim_pool *p, const struct transposes *t,
				  const struct node *n, int rank)
{
	const int64_t *perm = NULL;
	bool computed =
		false; /* what was transposed is no input: else two inputs would push each other around */

	for (int i = 0; i < n->in_count && !perm; i++)
		if (n->in[i]->type.rank == rank && (perm = perm_of(n->in[i])) != NULL)
			computed = n->in[i]->def->in[0]->def != NULL;
	for (int i = 0; perm && i < n->in_count; i++) {
		const struct value *v = n->in[i];
		const int64_t *other = perm_of(v);
		int64_t inverse[HONE_MAX_RANK];
		struct type wide = {.rank = rank};
		int more = rank - v->type.rank;

		if (value_const(v))
			continue;
		if (v->type.rank == rank && other) {
			if (memcmp(other, perm, (size_t)rank * sizeof(*perm)))
				return NULL;
			continue;
		}
		invert(perm, rank, inverse);
		if (v->type.rank == rank && computed && !v->def &&
		    find_transposed(t, v, inverse, n))
			continue;
		/* not transposed: only where it is a reshape */
		for (int k = 0; k < rank; k++)
			wide.dims[k] = k < more ? dim_const(p, 1) : v->type.dims[k - more];
		if (!keeps_order(&wide, inverse))
			return NULL;
	}
	return perm;
}

/* ---- operators ---- */

/* map(transpose(%x), ..)   =>   transpose(map(%x, ..)) */
static struct value *sink_map(struct pass_context *c, struct node *n, const struct transposes *t)
{
	struct builder b = build_before(c, n);
	int rank = n->out[0]->type.rank;
	const int64_t *perm = common_perm(&c->graph->dims, t, n, rank);
	int64_t inverse[HONE_MAX_RANK];
	struct value **in;

	if (!perm)
		return NULL;
	invert(perm, rank, inverse);
	in = ARENA_ARRAY(c->scratch, struct value *, n->in_count);
	for (int i = 0; i < n->in_count; i++) {
		bool moved = n->in[i]->type.rank == rank && perm_of(n->in[i]);

		in[i] = moved ? n->in[i]->def->in[0]
			      : permute_operand(&b, t, n->in[i], inverse, rank);
	}
	return add_transpose_perm(&b, add_like(&b, n, in, n->attrs), perm);
}

/* concat(transpose(%x), ..) {axis=k}   =>   transpose(concat(%x, ..) {axis=perm[k]}) */
static struct value *sink_concat(struct pass_context *c, struct node *n, const struct transposes *t)
{
	struct builder b = build_before(c, n);
	int rank = n->out[0]->type.rank;
	const int64_t *perm = common_perm(&c->graph->dims, t, n, rank);
	int64_t inverse[HONE_MAX_RANK];
	struct value **in = ARENA_ARRAY(c->scratch, struct value *, n->in_count);

	if (!perm)
		return NULL;
	invert(perm, rank, inverse);
	for (int i = 0; i < n->in_count; i++)
		in[i] = perm_of(n->in[i]) ? n->in[i]->def->in[0]
					  : permute_operand(&b, t, n->in[i], inverse, rank);
	return add_transpose_perm(
		&b, add_concat(&b, (int)perm[ATTRS_OF(concat, n)->axis], n->in_count, in), perm);
}

static void permute_dims(const dim *from, const int64_t *perm, int rank, dim *to)
{
	for (int i = 0; i < rank; i++)
		to[perm[i]] = from[i];
}

/* The next node that reads what n makes; NULL: none near. */
static const struct node *reader_of(const struct node *n)
{
	enum { SCAN = 96 };
	int scanned = 0;

	for (const struct node *m = n->next; m && scanned < SCAN; m = m->next, scanned++)
		for (int i = 0; i < m->in_count; i++)
			if (m->in[i] == n->out[0])
				return m;
	return NULL;
}

/* Whether a contraction comes next, past which no transpose moves. */
static bool ends_at_contraction(const struct node *n)
{
	const struct node *m = reader_of(n);

	return m && (m->op == OP_conv || node_is_byte_factor(m));
}

/* pad(transpose(%x))   =>   transpose(pad(%x))   with lo and hi permuted. An input's transpose stays before
 * its pad, and any before a convolution's: nothing could cancel it, and the pad may then be part of the
 * convolution. */
static struct value *sink_pad(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct attrs_pad a = *ATTRS_OF(pad, n);
	const int64_t *perm = perm_of(n->in[0]);
	dim lo[HONE_MAX_RANK], hi[HONE_MAX_RANK];
	struct value *in[2] = {NULL};

	if (!perm || !n->in[0]->def->in[0]->def || ends_at_contraction(n))
		return NULL;
	permute_dims(a.lo.at, perm, a.lo.count, lo);
	permute_dims(a.hi.at, perm, a.hi.count, hi);
	a.lo.at = lo;
	a.hi.at = hi;
	in[0] = n->in[0]->def->in[0];
	in[1] = n->in_count == 2 ? n->in[1] : NULL;
	return add_transpose_perm(&b, add_like(&b, n, in, &a), perm);
}

/* slice(transpose(%x))   =>   transpose(slice(%x)) */
static struct value *sink_slice(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct attrs_slice *a = ATTRS_OF(slice, n);
	const int64_t *perm = perm_of(n->in[0]);
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	int64_t step[HONE_MAX_RANK];

	if (!perm)
		return NULL;
	permute_dims(a->at.at, perm, a->at.count, at);
	permute_dims(a->size.at, perm, a->at.count, size);
	for (int i = 0; i < a->at.count; i++)
		step[perm[i]] = slice_step(n, i);
	return add_transpose_perm(
		&b, add_slice(&b, n->in[0]->def->in[0], at, size, a->step.count ? step : NULL),
		perm);
}

static void sort(int64_t *at, int count)
{
	for (int i = 1; i < count; i++)
		for (int k = i; k > 0 && at[k] < at[k - 1]; k--) {
			int64_t swap = at[k];

			at[k] = at[k - 1];
			at[k - 1] = swap;
		}
}

/* The perm after axes are removed: `gone` are axes of x. Returns the rank that is left. */
static int perm_without(const int64_t *perm, int rank, unsigned gone, int64_t *out)
{
	int count = 0;

	for (int i = 0; i < rank; i++) {
		int before = 0;

		if (gone >> perm[i] & 1)
			continue;
		for (int k = 0; k < perm[i]; k++)
			before += !(gone >> k & 1);
		out[count++] = before;
	}
	return count;
}

/* reduce(transpose(%x)) {axes}   =>   transpose(reduce(%x) {perm[axes]})   and argreduce alike */
static struct value *sink_reduce(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct attrs_reduce a =
		n->op == OP_reduce ? *ATTRS_OF(reduce, n) : (struct attrs_reduce){0};
	struct attrs_argreduce one =
		n->op == OP_argreduce ? *ATTRS_OF(argreduce, n) : (struct attrs_argreduce){0};
	const int64_t *perm = perm_of(n->in[0]);
	int rank = n->in[0]->type.rank;
	int64_t axes[HONE_MAX_RANK], rest[HONE_MAX_RANK];
	unsigned gone = 0;
	bool keep = n->op == OP_reduce ? a.keep : one.keep;
	struct value *y;

	if (!perm)
		return NULL;
	if (n->op == OP_argreduce)
		a.axes = (struct ints){1, &one.axis};
	for (int i = 0; i < a.axes.count; i++) {
		axes[i] = perm[a.axes.at[i]];
		gone |= 1u << axes[i];
	}
	sort(axes, a.axes.count);
	if (!a.axes.count)
		gone = (1u << rank) - 1;
	a.axes.at = axes;
	one.axis = axes[0];
	y = add_like(&b, n, &n->in[0]->def->in[0], n->op == OP_reduce ? (const void *)&a : &one);
	if (keep)
		return add_transpose_perm(&b, y, perm);
	perm_without(perm, rank, gone, rest);
	return add_transpose_perm(&b, y, rest);
}

/* softmax and cumulate along an axis, normalize over axes: the axes are renamed */
static struct value *sink_rows(struct pass_context *c, struct node *n, const struct transposes *t)
{
	struct builder b = build_before(c, n);
	const int64_t *perm = perm_of(n->in[0]);
	int rank = n->in[0]->type.rank;
	int64_t axes[HONE_MAX_RANK], inverse[HONE_MAX_RANK];
	struct value *in[3];
	void *attrs = arena_copy(c->scratch, n->attrs, op_table[n->op].attrs_size);

	if (!perm)
		return NULL;
	in[0] = n->in[0]->def->in[0];
	invert(perm, rank, inverse);
	if (n->op == OP_softmax) {
		((struct attrs_softmax *)attrs)->axis = perm[ATTRS_OF(softmax, n)->axis];
	} else if (n->op == OP_cumulate) {
		((struct attrs_cumulate *)attrs)->axis = perm[ATTRS_OF(cumulate, n)->axis];
	} else {
		struct ints *list = &((struct attrs_normalize *)attrs)->axes;

		for (int i = 0; i < list->count; i++)
			axes[i] = perm[list->at[i]];
		sort(axes, list->count);
		list->at = axes;
	}
	for (int i = 1; i < n->in_count; i++) {
		if (!value_const(n->in[i]))
			return NULL;
		in[i] = permute_operand(&b, t, n->in[i], inverse, rank);
	}
	return add_transpose_perm(&b, add_like(&b, n, in, attrs), perm);
}

/* expand(transpose(%x)) to dims   =>   transpose(expand(%x)) of the same rank */
static struct value *sink_expand(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const int64_t *perm = perm_of(n->in[0]);
	const struct dims *to = &ATTRS_OF(expand, n)->dims;
	dim dims[HONE_MAX_RANK];

	if (!perm || to->count != n->in[0]->type.rank)
		return NULL;
	permute_dims(to->at, perm, to->count, dims);
	return add_transpose_perm(&b, add_expand(&b, n->in[0]->def->in[0], to->count, dims), perm);
}

/* gather(transpose(%x), %i) {axis=k}   =>   transpose(gather(%x, %i) {axis=perm[k]})   for a vector %i */
static struct value *sink_gather(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct attrs_gather a = *ATTRS_OF(gather, n);
	const int64_t *perm = perm_of(n->in[0]);
	struct value *in[2];

	if (!perm || a.kind != 0 || a.batch != 0 || n->in[1]->type.rank != 1)
		return NULL;
	a.axis = perm[a.axis];
	in[0] = n->in[0]->def->in[0];
	in[1] = n->in[1];
	return add_transpose_perm(&b, add_like(&b, n, in, &a), perm);
}

/* ---- reshape ---- */

/* A run of axes of the operand that holds the same elements as a run of axes of the result. */
struct run {
	int x0, x1, y0, y1;
};

/* Grows r until both sides hold the same number of elements. */
static bool grow_run(struct dim_pool *p, const struct type *x, const struct type *y, struct run *r)
{
	dim left = x->dims[r->x0], right = y->dims[r->y0];

	r->x1 = r->x0 + 1;
	r->y1 = r->y0 + 1;
	while (left != right) {
		bool grow_x =
			!dim_is_const(left) || !dim_is_const(right) || left->value < right->value;

		if (grow_x && r->x1 < x->rank)
			left = dim_mul(p, left, x->dims[r->x1++]);
		else if (!grow_x && r->y1 < y->rank)
			right = dim_mul(p, right, y->dims[r->y1++]);
		else
			return false;
	}
	return true;
}

/* The runs of a reshape, in order; an axis of size 1 that one side has alone is one of its own. -1: unknown. */
static int find_runs(struct dim_pool *p, const struct type *x, const struct type *y,
		     struct run *runs)
{
	int count = 0, i = 0, j = 0;

	for (; i < x->rank || j < y->rank; count++) {
		bool one_x = i < x->rank && dim_is(x->dims[i], 1),
		     one_y = j < y->rank && dim_is(y->dims[j], 1);

		runs[count] = (struct run){i, i, j, j};
		if (one_x && !one_y)
			runs[count].x1++;
		else if (one_y && !one_x)
			runs[count].y1++;
		else if (i == x->rank || j == y->rank || !grow_run(p, x, y, &runs[count]))
			return -1;
		i = runs[count].x1;
		j = runs[count].y1;
	}
	return count;
}

/* The runs in the order in which their first axes stand in %x of %1 = transpose %x {perm}. */
static void sort_runs(const struct run *runs, int count, const int64_t *perm, int rank, int *order)
{
	int done = 0;

	for (int at = 0; at < rank; at++)
		for (int i = 0; i < count; i++)
			if (runs[i].x1 > runs[i].x0 && perm[runs[i].x0] == at)
				order[done++] = i;
	for (int i = 0; i < count; i++)
		if (runs[i].x1 == runs[i].x0)
			order[done++] = i;
}

/* %1 = transpose %x  %y = reshape %1   =>   %2 = transpose' %x  %3 = reshape %2  %y = transpose %3
 * where transpose' only brings the axes of each run, which the reshape splits or joins, together: mostly it is none. */
static struct value *sink_reshape(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const int64_t *perm = perm_of(n->in[0]);
	const struct type *t = &n->in[0]->type, *y = &n->out[0]->type;
	struct run runs[2 * HONE_MAX_RANK];
	int64_t inner[HONE_MAX_RANK], outer[HONE_MAX_RANK];
	int count, order[2 * HONE_MAX_RANK], before = 0, done = 0;
	dim dims[HONE_MAX_RANK];
	struct value *x;

	if (!perm)
		return NULL;
	count = find_runs(&c->graph->dims, t, y, runs);
	if (count <= 0)
		return NULL;
	sort_runs(runs, count, perm, t->rank, order);
	for (int i = 0; i < count; i++) {
		for (int k = runs[order[i]].x0; k < runs[order[i]].x1; k++)
			inner[before++] = perm[k];
		for (int k = runs[order[i]].y0; k < runs[order[i]].y1; k++) {
			dims[done] = y->dims[k];
			outer[k] = done++;
		}
	}
	if (perm_is_identity((struct ints){y->rank, outer}))
		return NULL;
	x = n->in[0]->def->in[0];
	if (!perm_is_identity((struct ints){t->rank, inner}))
		x = add_transpose_perm(&b, x, inner);
	return x ? add_transpose_perm(&b, add_reshape(&b, x, y->rank, dims), outer) : NULL;
}

/* %1 = transpose %x: [N,C,H,W]  %2 = reshape %1: [N,C*H*W]  %y = matmul(%2, const w)
 *	=>   %2 = reshape %x: [N,H*W*C]  %y = matmul(%2, w with its rows in that order) */
static struct value *flatten_matmul(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct node *flat = value_def(n->in[0], OP_reshape);
	const int64_t *perm = flat ? perm_of(flat->in[0]) : NULL;
	const struct type *t, *w = &n->in[1]->type;
	int64_t inner[HONE_MAX_RANK];
	dim dims[HONE_MAX_RANK];
	struct value *in[2];
	int rank;

	if (!perm || !value_const(n->in[1]) || w->rank != 2 || flat->out[0]->type.rank != 2)
		return NULL;
	t = &flat->in[0]->type;
	rank = t->rank;
	if (perm[0] != 0 || t->dims[0] != flat->out[0]->type.dims[0] || rank + 1 > HONE_MAX_RANK)
		return NULL;
	for (int i = 1; i < rank; i++) {
		dims[i - 1] = t->dims[i];
		if (!dim_is_const(t->dims[i]))
			return NULL;
		inner[perm[i] - 1] = i - 1;
	}
	dims[rank - 1] = w->dims[1];
	inner[rank - 1] = rank - 1;
	in[1] = add_transpose_perm(&b, add_reshape(&b, n->in[1], rank, dims), inner);
	in[1] = in[1] ? add_reshape(&b, in[1], 2, w->dims) : NULL;
	in[0] = add_reshape(&b, flat->in[0]->def->in[0], 2, flat->out[0]->type.dims);
	return in[0] && in[1] ? add_like(&b, n, in, n->attrs) : NULL;
}

/* ---- all together ---- */

/* %1 = transpose %x  %y = transpose %1   =>   one, or none */
static struct value *merge(struct pass_context *c, struct node *n, struct transposes *t)
{
	struct builder b = build_before(c, n);
	const int64_t *inner = perm_of(n->in[0]);
	struct ints perm = ATTRS_OF(transpose, n)->perm;
	int64_t both[HONE_MAX_RANK];

	if (perm_is_identity(perm))
		return n->in[0];
	for (int i = 0; inner && i < perm.count; i++)
		both[i] = inner[perm.at[i]];
	if (inner)
		return add_transpose_perm(&b, n->in[0]->def->in[0], both);
	if (n->in[0]->id < t->room && !(t->at[n->in[0]->id] && t->at[n->in[0]->id]->parent))
		t->at[n->in[0]->id] = n;
	return NULL;
}

static struct value *sink(struct pass_context *c, struct node *n, void *self)
{
	struct transposes *t = self;

	switch (n->op) {
	case OP_transpose: return merge(c, n, t);
	case OP_map: return node_is_byte_factor(n) ? NULL : sink_map(c, n, t);
	case OP_concat: return sink_concat(c, n, t);
	case OP_pad: return sink_pad(c, n);
	case OP_slice: return sink_slice(c, n);
	case OP_reduce:
	case OP_argreduce: return sink_reduce(c, n);
	case OP_softmax:
	case OP_cumulate:
	case OP_normalize: return sink_rows(c, n, t);
	case OP_expand: return sink_expand(c, n);
	case OP_gather: return sink_gather(c, n);
	case OP_reshape: return sink_reshape(c, n);
	case OP_matmul: return flatten_matmul(c, n);
	default: return NULL;
	}
}

/* %y = transpose %x, where only axes of size 1 move   =>   %y = reshape %x */
static struct value *as_reshape(struct pass_context *c, struct node *n, void *self)
{
	struct builder b = build_before(c, n);
	const struct type *y;

	(void)self;
	if (n->op != OP_transpose || value_const(n->in[0]) ||
	    !keeps_order(&n->in[0]->type, ATTRS_OF(transpose, n)->perm.at))
		return NULL;
	y = &n->out[0]->type;
	return add_reshape(&b, n->in[0], y->rank, y->dims);
}

bool pass_layout(struct pass_context *c)
{
	struct transposes t = {.room = c->graph->value_count * 4 + 1024};
	int errors = c->diag->errors;

	t.at = ARENA_ARRAY(c->scratch, struct node *, t.room);
	rewrite_graph(c, sink, &t);
	rewrite_graph(c, as_reshape, NULL);
	return c->diag->errors == errors;
}
