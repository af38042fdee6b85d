/* op_movement.c: operators that only move elements: reshape, transpose, slice, expand, pad, concat. Each is
 * index arithmetic in a load; concat and, alone, pad store into boxes: a nest for each. */
#include "ir/op.h"

typedef const struct expr *index_list[HONE_MAX_RANK];

/* ---- reshape ---- */

bool infer_reshape(struct graph *g, struct node *n, struct diag *d)
{
	const struct dims *to = &ATTRS(reshape, n)->dims;
	int from[ELEMS_MAX];
	int64_t count;

	if (!op_begin(g, n, d) || !op_result(n, d, 0, n->in[0]->type.dtype, to->count, to->at))
		return false;
	for (int i = 0; i < to->count; i++)
		if (dim_upper(to->at[i]) < 0)
			return BAD(d, n, "dims must not be negative, found %s",
				   op_type(g, d, n->out[0]));
	count = type_count_const(&n->in[0]->type);
	if (count >= 0 && type_count_const(&n->out[0]->type) >= 0 &&
	    count != type_count_const(&n->out[0]->type))
		return BAD(d, n, "cannot view %s as %s: the numbers of elements differ",
			   op_type(g, d, n->in[0]), op_type(g, d, n->out[0]));
	if (!graph_require(g, d, n, type_count(g, &n->in[0]->type), type_count(g, &n->out[0]->type),
			   "numbers of elements before and after"))
		return false;
	if (n->in[0]->elems && elems_count(&n->out[0]->type) >= 0) {
		for (int i = 0; i < elems_count(&n->out[0]->type); i++)
			from[i] = i;
		elems_permute(g, n, from);
	}
	return true;
}

/* One run of axes of x and of y with the same number of elements: x's [x0, x1), y's [y0, y1). */
struct segment {
	int x0, x1, y0, y1;
};

static dim product(struct dim_pool *p, const struct type *t, int from, int to)
{
	dim d = dim_const(p, 1);

	for (int i = from; i < to; i++)
		d = dim_mul(p, d, t->dims[i]);
	return d;
}

/* The shortest segment from s->x0, s->y0 on; all that is left when no shorter one is proved. */
static void find_segment(struct dim_pool *p, const struct type *x, const struct type *y,
			 struct segment *s)
{
	int best = 2 * HONE_MAX_RANK + 1;

	s->x1 = x->rank;
	s->y1 = y->rank;
	for (int i = s->x0 + 1; i <= x->rank; i++)
		for (int j = s->y0 + 1; j <= y->rank; j++)
			if (i - s->x0 + j - s->y0 < best &&
			    product(p, x, s->x0, i) == product(p, y, s->y0, j)) {
				best = i - s->x0 + j - s->y0;
				s->x1 = i;
				s->y1 = j;
			}
}

/* x's indices in a segment: y's joined to one linear index, which is split by x's dims. */
static void map_segment(struct expr_pool *p, const struct type *x, const struct type *y,
			const struct segment *s, const struct expr *const *in,
			const struct expr **out)
{
	const struct expr *linear = expr_index(p, 0);
	int first = s->x0;

	for (int j = s->y0; j < s->y1; j++)
		linear = index_add(p, index_mul(p, linear, expr_dim(p, y->dims[j])), in[j]);
	while (first < s->x1 && dim_is(x->dims[first], 1))
		out[first++] = expr_index(p, 0);
	for (int i = s->x1 - 1; i > first; i--) {
		out[i] = index_rem(p, linear, expr_dim(p, x->dims[i]));
		linear = index_div(p, linear, expr_dim(p, x->dims[i]));
	}
	if (first < s->x1)
		out[first] = linear;
}

void reshape_index(struct expr_pool *p, const struct type *x, const struct type *y,
		   const struct expr *const *at, const struct expr **from)
{
	struct segment s = {0, 0, 0, 0};

	for (;;) {
		while (s.x0 < x->rank && dim_is(x->dims[s.x0], 1))
			from[s.x0++] = expr_index(p, 0);
		while (s.y0 < y->rank && dim_is(y->dims[s.y0], 1))
			s.y0++;
		if (s.x0 == x->rank)
			return;
		find_segment(p->dims, x, y, &s);
		map_segment(p, x, y, &s, at, from);
		s.x0 = s.x1;
		s.y0 = s.y1;
	}
}

bool lower_reshape(struct lowering *l, const struct node *n)
{
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	reshape_index(exprs_of(l), &n->in[0]->type, &n->out[0]->type, at, from);
	lower_store(l, n->out[0], at, lower_load(l, n->in[0], from));
	return true;
}

/* ---- transpose ---- */

bool infer_transpose(struct graph *g, struct node *n, struct diag *d)
{
	const struct ints *perm = &ATTRS(transpose, n)->perm;
	dim dims[HONE_MAX_RANK];
	int from[ELEMS_MAX], at[HONE_MAX_RANK], seen = 0;

	if (!op_begin(g, n, d) || !op_list(n, d, "perm", perm->count, n->in[0]->type.rank))
		return false;
	for (int i = 0; i < perm->count; i++) {
		if (!op_axis(n, d, perm->at[i], perm->count))
			return false;
		if (seen & 1 << perm->at[i])
			return BAD(d, n, "perm names axis %d twice", (int)perm->at[i]);
		seen |= 1 << perm->at[i];
		dims[i] = n->in[0]->type.dims[perm->at[i]];
	}
	if (!op_result(n, d, 0, n->in[0]->type.dtype, perm->count, dims))
		return false;
	if (!n->in[0]->elems || elems_count(&n->out[0]->type) < 0)
		return true;
	for (int i = 0; i < elems_count(&n->out[0]->type); i++) {
		int source[HONE_MAX_RANK] = {0};

		elems_coordinates(&n->out[0]->type, i, at);
		for (int k = 0; k < perm->count; k++)
			source[perm->at[k]] = at[k];
		from[i] = 0;
		for (int k = 0; k < perm->count; k++)
			from[i] = from[i] * (int)n->in[0]->type.dims[k]->value + source[k];
	}
	elems_permute(g, n, from);
	return true;
}

bool lower_transpose(struct lowering *l, const struct node *n)
{
	const struct ints *perm = &ATTRS(transpose, n)->perm;
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	for (int i = 0; i < perm->count; i++)
		from[perm->at[i]] = at[i];
	lower_store(l, n->out[0], at, lower_load(l, n->in[0], from));
	return true;
}

/* ---- slice ---- */

static int64_t step_of(const struct node *n, int axis)
{
	const struct ints *step = &ATTRS(slice, n)->step;

	return step->count ? step->at[axis] : 1;
}

/* All positions at, at + step, .. of an axis lie in 0..whole-1 (nothing to check when size is 0). */
static bool check_slice(struct graph *g, struct node *n, struct diag *d, int axis)
{
	struct dim_pool *p = &g->dims;
	const struct attrs_slice *a = ATTRS(slice, n);
	dim one = dim_const(p, 1), zero = dim_const(p, 0), size = a->size.at[axis];
	dim whole = n->in[0]->type.dims[axis];
	dim first = a->at.at[axis];
	dim last = dim_add(p, first,
			   dim_mul(p, dim_sub(p, size, one), dim_const(p, step_of(n, axis))));
	dim low = step_of(n, axis) > 0 ? first : last, high = step_of(n, axis) > 0 ? last : first;

	if (dim_is(size, 0))
		return true;
	if (first == zero && size == whole && step_of(n, axis) == 1)
		return true;
	if (!op_at_most(g, n, d, zero, size, "size of a slice"))
		return false;
	high = dim_add(p, high, one);
	if (dim_lower(size) < 1 && dim_lower(low) < 0)
		low = dim_select(p, size, zero, zero, low);
	if (dim_lower(size) < 1 && dim_lower(dim_sub(p, whole, high)) < 0)
		high = dim_select(p, size, zero, zero, high);
	return op_at_most(g, n, d, zero, low, "start of a slice") &&
	       op_at_most(g, n, d, high, whole, "end of a slice");
}

static void slice_elems(struct graph *g, struct node *n)
{
	const struct attrs_slice *a = ATTRS(slice, n);
	const struct type *x = &n->in[0]->type;
	int count = elems_count(&n->out[0]->type), from[ELEMS_MAX], at[HONE_MAX_RANK];

	if (!n->in[0]->elems || count < 0)
		return;
	for (int k = 0; k < x->rank; k++)
		if (!dim_is_const(a->at.at[k]))
			return;
	for (int i = 0; i < count; i++) {
		elems_coordinates(&n->out[0]->type, i, at);
		from[i] = 0;
		for (int k = 0; k < x->rank; k++)
			from[i] = (int)(from[i] * x->dims[k]->value + a->at.at[k]->value +
					at[k] * step_of(n, k));
	}
	elems_permute(g, n, from);
}

bool infer_slice(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_slice *a = ATTRS(slice, n);
	const struct type *x;

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	if (!op_list(n, d, "at", a->at.count, x->rank) ||
	    !op_list(n, d, "size", a->size.count, x->rank) ||
	    (a->step.count && !op_list(n, d, "step", a->step.count, x->rank)))
		return false;
	for (int k = 0; k < x->rank; k++) {
		if (step_of(n, k) == 0 || step_of(n, k) > INT32_MAX || step_of(n, k) < -INT32_MAX)
			return BAD(d, n, "step must not be 0, and fit 32 bits, found %lld",
				   (long long)step_of(n, k));
		if (!check_slice(g, n, d, k))
			return false;
	}
	if (!op_result(n, d, 0, x->dtype, x->rank, a->size.at))
		return false;
	slice_elems(g, n);
	return true;
}

bool lower_slice(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_slice *a = ATTRS(slice, n);
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	for (int k = 0; k < a->at.count; k++)
		from[k] = index_add(p, expr_dim(p, a->at.at[k]),
				    index_mul(p, at[k], expr_index(p, step_of(n, k))));
	lower_store(l, n->out[0], at, lower_load(l, n->in[0], from));
	return true;
}

/* ---- expand ---- */

bool infer_expand(struct graph *g, struct node *n, struct diag *d)
{
	const struct dims *to = &ATTRS(expand, n)->dims;
	const struct type *x;
	int at[HONE_MAX_RANK], count;
	dim *elems;

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	if (x->rank > to->count)
		return BAD(d, n, "cannot expand %s to rank %d", op_type(g, d, n->in[0]), to->count);
	if (!op_result(n, d, 0, x->dtype, to->count, to->at))
		return false;
	for (int k = 0; k < x->rank; k++)
		if (!op_broadcasts(g, n, d, x->dims[k], to->at[to->count - x->rank + k],
				   "dims before and after"))
			return false;
	count = elems_count(&n->out[0]->type);
	if (!n->in[0]->elems || count < 0)
		return true;
	elems = elems_new(g, n);
	for (int i = 0; i < count; i++) {
		elems_coordinates(&n->out[0]->type, i, at);
		elems[i] = elems_broadcast(n->in[0], to->count, at);
	}
	n->out[0]->elems = elems;
	return true;
}

bool lower_expand(struct lowering *l, const struct node *n)
{
	const struct type *y = &n->out[0]->type;
	index_list at;

	lower_open(l, y, at);
	lower_store(l, n->out[0], at, lower_load_broadcast(l, n->in[0], y->rank, y->dims, at));
	return true;
}

/* ---- pad ---- */

enum { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP };

bool infer_pad(struct graph *g, struct node *n, struct diag *d)
{
	struct dim_pool *p = &g->dims;
	const struct attrs_pad *a = ATTRS(pad, n);
	const struct type *x;
	dim dims[HONE_MAX_RANK], zero = dim_const(p, 0);

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	if (!op_list(n, d, "lo", a->lo.count, x->rank) ||
	    !op_list(n, d, "hi", a->hi.count, x->rank))
		return false;
	if (n->in_count == 2 && n->in[1] && !op_scalar(g, n, d, 1, x->dtype))
		return false;
	for (int k = 0; k < x->rank; k++) {
		bool none = a->lo.at[k] == zero && a->hi.at[k] == zero;

		if (!none && a->kind != PAD_CONSTANT &&
		    !op_at_most(g, n, d, dim_const(p, 1), x->dims[k],
				"an axis padded from its own elements"))
			return false;
		dims[k] = op_clamp(g, dim_add(p, dim_add(p, x->dims[k], a->lo.at[k]), a->hi.at[k]));
	}
	return op_result(n, d, 0, x->dtype, x->rank, dims);
}

/* Where y's position j + lo comes from, when j may be outside 0..n-1. */
static const struct expr *pad_source(struct expr_pool *p, int64_t kind, const struct expr *j, dim n)
{
	const struct expr *size = expr_dim(p, n), *one = expr_index(p, 1), *zero = expr_index(p, 0);
	const struct expr *last = index_sub(p, size, one), *period, *at;

	if (kind == PAD_WRAP)
		return expr_binary(p, EXPR_MOD, j, size);
	if (kind == PAD_REFLECT) { /* there and back again: 0 1 2 3 2 1 | 0 1 .. */
		period = expr_binary(p, EXPR_MAX, index_mul(p, last, expr_index(p, 2)), one);
		at = expr_binary(p, EXPR_MOD, j, period);
		j = expr_binary(p, EXPR_MIN, at, index_sub(p, period, at));
	}
	return expr_binary(p, EXPR_MAX, expr_binary(p, EXPR_MIN, j, last), zero);
}

static const struct expr *both(struct expr_pool *p, const struct expr *a, const struct expr *b)
{
	return a ? expr_binary(p, EXPR_AND, a, b) : b;
}

bool pad_is_box(const struct node *n)
{
	const struct attrs_pad *a = ATTRS(pad, n);

	for (int k = 0; k < a->lo.count; k++)
		if (dim_lower(a->lo.at[k]) < 0 || dim_lower(a->hi.at[k]) < 0)
			return false;
	return true;
}

static const struct expr *pad_value(struct lowering *l, const struct node *n)
{
	return n->in_count == 2 && n->in[1]
		       ? lower_load(l, n->in[1], NULL)
		       : expr_real(exprs_of(l), value_compute(n->in[0]), ATTRS(pad, n)->value);
}

/* As one nest, which others can be joined with. Constant padding selects between the element and the value. The
 * element's index is clamped, so the load is in range on either side unless x is empty: a select evaluates only
 * the loads of the chosen side. */
static void lower_pad_select(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_pad *a = ATTRS(pad, n);
	const struct type *x = &n->in[0]->type;
	const struct expr *inside = NULL, *value;
	index_list at, from;

	lower_open(l, &n->out[0]->type, at);
	for (int k = 0; k < x->rank; k++) {
		const struct expr *j = index_sub(p, at[k], expr_dim(p, a->lo.at[k]));

		from[k] = j;
		if (dim_upper(a->lo.at[k]) <= 0 && dim_upper(a->hi.at[k]) <= 0)
			continue;
		if (dim_upper(a->lo.at[k]) > 0)
			inside = both(p, inside, expr_binary(p, EXPR_GE, j, expr_index(p, 0)));
		if (dim_upper(a->hi.at[k]) > 0)
			inside = both(p, inside,
				      expr_binary(p, EXPR_LT, j, expr_dim(p, x->dims[k])));
		from[k] = pad_source(p, a->kind, j, x->dims[k]);
	}
	value = lower_load(l, n->in[0], from);
	if (inside && a->kind == PAD_CONSTANT)
		value = expr_select(p, inside, value, pad_value(l, n));
	lower_store(l, n->out[0], at, value);
}

static void lower_pad_inside(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_pad *a = ATTRS(pad, n);
	const struct expr *value;
	index_list at;

	l->at = kernel_at_end(l->kernel);
	lower_open(l, &n->in[0]->type, at);
	value = lower_load(l, n->in[0], at);
	for (int k = 0; k < a->lo.count; k++)
		at[k] = index_add(p, at[k], expr_dim(p, a->lo.at[k]));
	lower_store(l, n->out[0], at, value);
}

/* The slab of `size` from `start` on along axis k: inside x along the axes before, whole along those behind. */
static void lower_pad_slab(struct lowering *l, const struct node *n, int k, dim start, dim size)
{
	struct expr_pool *p = exprs_of(l);
	const struct attrs_pad *a = ATTRS(pad, n);
	const struct type *x = &n->in[0]->type;
	struct type slab = n->out[0]->type;
	index_list at, from;

	if (dim_is(size, 0))
		return;
	for (int i = 0; i < k; i++)
		slab.dims[i] = x->dims[i];
	slab.dims[k] = size;
	l->at = kernel_at_end(l->kernel);
	lower_open(l, &slab, at);
	at[k] = index_add(p, at[k], expr_dim(p, start));
	for (int i = 0; i < x->rank; i++) {
		bool none = dim_is(a->lo.at[i], 0) && dim_is(a->hi.at[i], 0);
		const struct expr *j = index_sub(p, at[i], expr_dim(p, a->lo.at[i]));

		from[i] = i < k || none ? at[i] : pad_source(p, a->kind, j, x->dims[i]);
		if (i < k)
			at[i] = index_add(p, at[i], expr_dim(p, a->lo.at[i]));
	}
	lower_store(l, n->out[0], at,
		    a->kind == PAD_CONSTANT ? pad_value(l, n) : lower_load(l, n->in[0], from));
}

/* A pad that is a kernel of its own is a nest for the inside, which is no work when x is computed there
 * (backend/placement.c), and one for each slab of the border. */
bool lower_pad(struct lowering *l, const struct node *n)
{
	const struct attrs_pad *a = ATTRS(pad, n);
	const struct type *x = &n->in[0]->type;
	struct dim_pool *p = exprs_of(l)->dims;

	if (l->join || !pad_is_box(n)) {
		lower_pad_select(l, n);
		return true;
	}
	lower_pad_inside(l, n);
	for (int k = 0; k < x->rank; k++) {
		lower_pad_slab(l, n, k, dim_const(p, 0), a->lo.at[k]);
		lower_pad_slab(l, n, k, dim_add(p, a->lo.at[k], x->dims[k]), a->hi.at[k]);
	}
	return true;
}

/* ---- concat ---- */

static bool check_concat(struct graph *g, struct node *n, struct diag *d, int axis, dim *dims)
{
	const struct type *x = &n->in[0]->type;

	for (int i = 1; i < n->in_count; i++) {
		const struct type *t = &n->in[i]->type;

		if (!op_same_dtype(g, n, d, 0, i) || !op_rank(g, n, d, i, x->rank, x->rank))
			return false;
		for (int k = 0; k < x->rank; k++) {
			if (k == axis) {
				dims[k] = dim_add(&g->dims, dims[k], t->dims[k]);
				continue;
			}
			if (t->dims[k] != dims[k] &&
			    !graph_require(
				    g, d, n, dims[k], t->dims[k],
				    arena_printf(g->arena, "axis %d of operands 0 and %d", k, i)))
				return false;
			if (dim_is_const(t->dims[k]))
				dims[k] = t->dims[k];
		}
	}
	return true;
}

static void concat_elems(struct graph *g, struct node *n, int axis)
{
	int count = elems_count(&n->out[0]->type), at[HONE_MAX_RANK];
	dim *elems = elems_new(g, n);

	for (int i = 0; i < n->in_count; i++)
		if (type_count_const(&n->in[i]->type) < 0)
			return;
	for (int i = 0; i < count; i++) {
		int k = 0;

		elems_coordinates(&n->out[0]->type, i, at);
		while (k < n->in_count - 1 && at[axis] >= n->in[k]->type.dims[axis]->value)
			at[axis] -= (int)n->in[k++]->type.dims[axis]->value;
		elems[i] =
			n->in[k]->elems ? elems_broadcast(n->in[k], n->in[k]->type.rank, at) : NULL;
	}
	n->out[0]->elems = elems;
}

bool infer_concat(struct graph *g, struct node *n, struct diag *d)
{
	int64_t axis = ATTRS(concat, n)->axis;
	dim dims[HONE_MAX_RANK];
	const struct type *x;

	if (!op_begin(g, n, d))
		return false;
	x = &n->in[0]->type;
	if (!op_axis(n, d, axis, x->rank))
		return false;
	for (int k = 0; k < x->rank; k++)
		dims[k] = x->dims[k];
	if (!check_concat(g, n, d, (int)axis, dims) || !op_result(n, d, 0, x->dtype, x->rank, dims))
		return false;
	if (elems_count(&n->out[0]->type) >= 0)
		concat_elems(g, n, (int)axis);
	return true;
}

/* One nest for each operand, storing into its box of the result. */
bool lower_concat(struct lowering *l, const struct node *n)
{
	struct expr_pool *p = exprs_of(l);
	int64_t axis = ATTRS(concat, n)->axis;
	const struct expr *start = expr_index(p, 0);
	bool stored = false;

	for (int i = 0; i < n->in_count; i++) {
		const struct type *t = &n->in[i]->type;
		const struct expr *value;
		index_list at;

		/* of nothing but empty operands one is stored: the kernel has a result */
		if (dim_is(t->dims[axis], 0) && (stored || i + 1 < n->in_count))
			continue;
		stored = true;
		l->at = kernel_at_end(l->kernel);
		lower_open(l, t, at);
		value = lower_load(l, n->in[i], at);
		at[axis] = index_add(p, at[axis], start);
		lower_store(l, n->out[0], at, value);
		start = index_add(p, start, expr_dim(p, t->dims[axis]));
	}
	return true;
}
