/* canonicalize: local rewrites to one form: movement here, maps in canonicalize_map.c, then control flow.
 * Each rewrite makes the graph smaller or moves it one way only; rewrite_graph bounds their number. */
#include "passes/canonicalize.h"

#include <string.h>

/* ---- transpose ---- */

/* %y = transpose %x {perm=[0,1,2]}   =>   %x
 * %1 = transpose %x {perm=p}  %y = transpose %1 {perm=q}   =>   %y = transpose %x {perm[i]=p[q[i]]} */
static struct value *transpose_transpose(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct ints perm = ATTRS_OF(transpose, n)->perm;
	struct node *inner = value_def(n->in[0], OP_transpose);
	int64_t both[HONE_MAX_RANK];

	if (perm_is_identity(perm))
		return n->in[0];
	if (!inner)
		return NULL;
	for (int i = 0; i < perm.count; i++)
		both[i] = ATTRS_OF(transpose, inner)->perm.at[perm.at[i]];
	return add_transpose_perm(&b, inner->in[0], both);
}

/* ---- constants that only get other dims ---- */

/* %y = reshape|transpose|slice|expand (const splat(s))   =>   const splat(s) of y's dims
 * %y = reshape (const bytes)                            =>   const of the same bytes */
static struct value *move_const(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct tensor *t = value_const(n->in[0]);

	if (!t || type_bytes_const(&n->out[0]->type) < 0)
		return NULL;
	if (t->kind == TENSOR_SPLAT || (n->op == OP_reshape && t->kind == TENSOR_BYTES))
		return add_const(&b, &n->out[0]->type, t);
	return NULL;
}

/* ---- reshape ---- */

/* %y: T = reshape %x: T                 =>   %x
 * %1 = reshape %x  %y = reshape %1       =>   %y = reshape %x */
static struct value *reshape_reshape(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct node *inner = value_def(n->in[0], OP_reshape);
	const struct dims *dims = &ATTRS_OF(reshape, n)->dims;

	if (type_equal(&n->in[0]->type, &n->out[0]->type))
		return n->in[0];
	return inner ? add_reshape(&b, inner->in[0], dims->count, dims->at) : NULL;
}

/* %1 = transpose %x  %y = reshape %1     =>   %y = reshape %x
 * where the transpose moves only axes of size 1, and so no element. */
static struct value *reshape_transpose(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct node *inner = value_def(n->in[0], OP_transpose);
	const struct dims *dims = &ATTRS_OF(reshape, n)->dims;
	int64_t last = -1;

	if (!inner)
		return NULL;
	for (int i = 0; i < inner->out[0]->type.rank; i++) {
		int64_t from = ATTRS_OF(transpose, inner)->perm.at[i];

		if (dim_is(inner->out[0]->type.dims[i], 1))
			continue;
		if (from < last)
			return NULL;
		last = from;
	}
	return add_reshape(&b, inner->in[0], dims->count, dims->at);
}

/* %1 = reshape %x  %2 = map(%1)  %y = reshape %2   =>   %y = reshape (map(%x)) */
static struct value *reshape_map(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct node *map = value_def(n->in[0], OP_map), *inner;
	const struct dims *dims = &ATTRS_OF(reshape, n)->dims;
	struct value *x;

	if (!map || map->in_count != 1 || expr_is_costly(map->expr))
		return NULL;
	inner = value_def(value_now(map->in[0]), OP_reshape);
	if (!inner)
		return NULL;
	x = value_now(inner->in[0]);
	return add_reshape(&b, add_map(&b, map->expr, map->out[0]->type.dtype, 1, &x), dims->count,
			   dims->at);
}

/* %1 = reshape %x  %y = normalize %1     =>   %y = reshape (normalize %x)
 * where the axes that are normalized are the last ones of %1, and together those of %x. */
static struct value *normalize_reshape(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dim_pool *p = &c->graph->dims;
	struct node *inner = value_def(n->in[0], OP_reshape);
	struct attrs_normalize a = *ATTRS_OF(normalize, n);
	const struct type *x, *y = &n->out[0]->type;
	dim lead = dim_const(p, 1), now = lead;
	int64_t axes[HONE_MAX_RANK];
	struct value *v;
	int first = -1;

	if (!inner || n->in_count != 1)
		return NULL;
	x = &inner->in[0]->type;
	for (int i = 0; i < a.axes.count; i++)
		if (a.axes.at[i] != y->rank - a.axes.count + i)
			return NULL;
	for (int64_t i = 0; i < y->rank - a.axes.count; i++)
		lead = dim_mul(p, lead, y->dims[i]);
	for (int i = 0; i < x->rank; i++) {
		if (now == lead)
			first = i;
		now = dim_mul(p, now, x->dims[i]);
	}
	if (first < 0)
		return NULL;
	a.axes = (struct ints){x->rank - first, axes};
	for (int i = 0; i < a.axes.count; i++)
		axes[i] = first + i;
	v = inner->in[0];
	return add_reshape(&b, add_like(&b, n, &v, &a), y->rank, y->dims);
}

/* ---- slice ---- */

/* %y: T = slice %x: T {step=1}           =>   %x
 * %1 = slice %x {at=a, step=s}  %y = slice %1 {at=b, step=t}   =>   slice %x {at=a+b*s, step=s*t} */
static struct value *slice_slice(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dim_pool *p = &c->graph->dims;
	struct node *inner = value_def(n->in[0], OP_slice);
	const struct attrs_slice *a = ATTRS_OF(slice, n);
	int64_t step[HONE_MAX_RANK];
	dim at[HONE_MAX_RANK];
	bool same = type_equal(&n->in[0]->type, &n->out[0]->type), steps = false;

	for (int i = 0; i < a->at.count; i++)
		same = same && slice_step(n, i) == 1;
	if (same)
		return n->in[0];
	if (!inner)
		return NULL;
	for (int i = 0; i < a->at.count; i++) {
		step[i] = slice_step(inner, i) * slice_step(n, i);
		steps = steps || step[i] != 1;
		if (step[i] > INT32_MAX || step[i] < -INT32_MAX)
			return NULL;
		at[i] = dim_add(p, ATTRS_OF(slice, inner)->at.at[i],
				dim_mul(p, a->at.at[i], dim_const(p, slice_step(inner, i))));
	}
	return add_slice(&b, inner->in[0], at, a->size.at, steps ? step : NULL);
}

/* %1 = concat %a, %b, .. {axis=k}  %y = slice %1   =>   slice %b   where it reads only from %b */
static struct value *slice_concat(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dim_pool *p = &c->graph->dims;
	struct node *inner = value_def(n->in[0], OP_concat);
	const struct attrs_slice *a = ATTRS_OF(slice, n);
	dim at[HONE_MAX_RANK], start = dim_const(p, 0), first, end;
	int64_t axis;

	if (!inner)
		return NULL;
	axis = ATTRS_OF(concat, inner)->axis;
	if (slice_step(n, (int)axis) != 1)
		return NULL;
	memcpy(at, a->at.at, (size_t)a->at.count * sizeof(*at));
	first = at[axis];
	end = dim_add(p, first, a->size.at[axis]);
	for (int i = 0; i < inner->in_count; i++) {
		dim next = dim_add(p, start, inner->in[i]->type.dims[axis]);

		if (dim_lower(dim_sub(p, first, start)) >= 0 &&
		    dim_lower(dim_sub(p, next, end)) >= 0) {
			at[axis] = dim_sub(p, first, start);
			return add_slice(&b, inner->in[i], at, a->size.at,
					 a->step.count ? a->step.at : NULL);
		}
		start = next;
	}
	return NULL;
}

/* ---- expand, pad, concat ---- */

/* %y: T = expand %x: T                   =>   %x
 * %1 = expand %x  %y = expand %1         =>   %y = expand %x */
static struct value *expand_expand(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct node *inner = value_def(n->in[0], OP_expand);
	const struct dims *dims = &ATTRS_OF(expand, n)->dims;

	if (type_equal(&n->in[0]->type, &n->out[0]->type))
		return n->in[0];
	return inner ? add_expand(&b, inner->in[0], dims->count, dims->at) : NULL;
}

enum { PAD_CONSTANT };

static bool same_pad_value(const struct node *m, const struct node *n)
{
	const struct attrs_pad *a = ATTRS_OF(pad, m), *b = ATTRS_OF(pad, n);

	return a->kind == PAD_CONSTANT && b->kind == PAD_CONSTANT && m->in_count == n->in_count &&
	       (n->in_count == 2 ? m->in[1] == n->in[1]
				 : !memcmp(&a->value, &b->value, sizeof(a->value)));
}

/* %y = pad %x {lo=0, hi=0}               =>   %x
 * %1 = pad %x {lo=a, hi=b}  %y = pad %1 {lo=c, hi=d}   =>   pad %x {lo=a+c, hi=b+d}
 * of constant kind and one value, nothing cut off. */
static struct value *pad_pad(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dim_pool *p = &c->graph->dims;
	struct node *inner = value_def(n->in[0], OP_pad);
	const struct attrs_pad *a = ATTRS_OF(pad, n), *i = inner ? ATTRS_OF(pad, inner) : NULL;
	struct attrs_pad both = *a;
	dim lo[HONE_MAX_RANK], hi[HONE_MAX_RANK];
	struct value *in[2];
	bool none = true;

	for (int k = 0; k < a->lo.count; k++)
		none = none && dim_is(a->lo.at[k], 0) && dim_is(a->hi.at[k], 0);
	if (none)
		return n->in[0];
	if (!inner || !same_pad_value(inner, n))
		return NULL;
	for (int k = 0; k < a->lo.count; k++) {
		if (dim_lower(a->lo.at[k]) < 0 || dim_lower(a->hi.at[k]) < 0 ||
		    dim_lower(i->lo.at[k]) < 0 || dim_lower(i->hi.at[k]) < 0)
			return NULL;
		lo[k] = dim_add(p, a->lo.at[k], i->lo.at[k]);
		hi[k] = dim_add(p, a->hi.at[k], i->hi.at[k]);
	}
	both.lo.at = lo;
	both.hi.at = hi;
	in[0] = inner->in[0];
	in[1] = n->in_count == 2 ? n->in[1] : NULL;
	return add_like(&b, n, in, &both);
}

/* %y = concat %x                          =>   %x
 * %1 = concat %a, %b {axis=k}  %y = concat %1, %c {axis=k}   =>   concat %a, %b, %c {axis=k}
 * operands without elements are left out. */
static struct value *concat_flat(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	int64_t axis = ATTRS_OF(concat, n)->axis;
	int count = 0, total = 0;
	struct value **in;

	if (n->in_count == 1)
		return n->in[0];
	for (int i = 0; i < n->in_count; i++) {
		struct node *inner = value_def(n->in[i], OP_concat);

		total += inner && ATTRS_OF(concat, inner)->axis == axis ? inner->in_count : 1;
	}
	in = ARENA_ARRAY(c->scratch, struct value *, total);
	for (int i = 0; i < n->in_count; i++) {
		struct node *inner = value_def(n->in[i], OP_concat);
		bool flat = inner && ATTRS_OF(concat, inner)->axis == axis;

		for (int k = 0; k < (flat ? inner->in_count : 1); k++) {
			struct value *v = flat ? inner->in[k] : n->in[i];

			if (!dim_is(v->type.dims[axis], 0))
				in[count++] = v;
		}
	}
	if (count == 0 || (count == n->in_count && total == count))
		return NULL;
	return count == 1 ? in[0] : add_concat(&b, (int)axis, count, in);
}

/* ---- reduce, gather ---- */

/* %y = reduce %x over axes of size 1      =>   %y = reshape %x */
static struct value *reduce_nothing(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct type *y = &n->out[0]->type;
	int axes[HONE_MAX_RANK], count = reduce_axes_of(n, axes);

	for (int i = 0; i < count; i++)
		if (!dim_is(n->in[0]->type.dims[axes[i]], 1))
			return NULL;
	return add_reshape(&b, n->in[0], y->rank, y->dims);
}

/* %y = gather %x, (const scalar i) {axis=k}   =>   %1 = slice %x {at[k]=i, size[k]=1}  %y = reshape %1 */
static struct value *gather_one(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dim_pool *p = &c->graph->dims;
	const struct attrs_gather *a = ATTRS_OF(gather, n);
	const struct type *x = &n->in[0]->type, *y = &n->out[0]->type;
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	union scalar i;

	if (a->kind != 0 || a->batch != 0 || type_count_const(&n->in[1]->type) != 1 ||
	    !splat_value(n->in[1], &i))
		return NULL;
	if (i.i < 0 || dim_lower(x->dims[a->axis]) <= i.i)
		return NULL;
	for (int k = 0; k < x->rank; k++) {
		at[k] = dim_const(p, k == a->axis ? i.i : 0);
		size[k] = k == a->axis ? dim_const(p, 1) : x->dims[k];
	}
	return add_reshape(&b, add_slice(&b, n->in[0], at, size, NULL), y->rank, y->dims);
}

static const struct rewrite move_rewrites[] = {
	{OP_transpose, transpose_transpose},
	{OP_transpose, move_const},
	{OP_transpose, transpose_weights},
	{OP_reshape, reshape_reshape},
	{OP_reshape, reshape_transpose},
	{OP_reshape, reshape_map},
	{OP_normalize, normalize_reshape},
	{OP_reshape, move_const},
	{OP_slice, slice_slice},
	{OP_slice, slice_concat},
	{OP_slice, move_const},
	{OP_expand, expand_expand},
	{OP_expand, move_const},
	{OP_pad, pad_pad},
	{OP_concat, concat_flat},
	{OP_reduce, reduce_nothing},
	{OP_gather, gather_one},
	{OP_COUNT, NULL},
};

static struct value *apply(struct pass_context *c, struct node *n, void *self)
{
	const struct rewrite *tables[2] = {move_rewrites, map_rewrites};

	(void)self;
	for (int i = 0; i < 2; i++)
		for (const struct rewrite *r = tables[i]; r->fn; r++) {
			struct value *with = r->op == n->op ? r->fn(c, n) : NULL;

			if (with)
				return with;
		}
	return NULL;
}

/* ---- control flow ---- */

static bool known_bool(const struct value *v, bool *out)
{
	union scalar x;

	if (v->elems && v->elems[0] && dim_is_const(v->elems[0]))
		*out = v->elems[0]->value != 0;
	else if (splat_value(v, &x))
		*out = x.i != 0;
	else
		return false;
	return true;
}

/* if (const true) { A } else { B }   =>   A   where the results have the types of A's */
static bool inline_if(struct node *n)
{
	struct region *r;
	struct node *next;
	bool taken;

	if (!known_bool(n->in[0], &taken))
		return false;
	r = n->regions[taken ? 0 : 1];
	for (int i = 0; i < n->out_count; i++)
		if (!type_equal(&n->out[i]->type, &r->results[i]->type))
			return false;
	for (struct node *inner = r->first; inner; inner = inner->next)
		if (inner->op == OP_return_if)
			return false;
	for (struct node *inner = r->first; inner; inner = next) {
		next = inner->next;
		node_move_before(inner, n);
	}
	for (int i = 0; i < n->out_count; i++)
		value_replace(n->out[i], r->results[i]);
	node_remove(n);
	return true;
}

/* return_if (const false) (..)        =>   nothing */
static bool never_returns(struct node *n)
{
	bool taken;

	if (!known_bool(n->in[0], &taken) || taken)
		return false;
	node_remove(n);
	return true;
}

static void simplify_control(struct pass_context *c, struct region *r)
{
	struct node *next;

	for (struct node *n = r->first; n; n = next) {
		struct node *prev = n->prev;

		next = n->next;
		node_resolve(n);
		if ((n->op == OP_if && inline_if(n)) ||
		    (n->op == OP_return_if && never_returns(n))) {
			c->changes++;
			next = prev ? prev->next : r->first;
			continue;
		}
		for (int i = 0; i < n->region_count; i++)
			simplify_control(c, n->regions[i]);
	}
}

bool pass_canonicalize(struct pass_context *c)
{
	int errors = c->diag->errors;

	simplify_control(c, c->graph->body);
	graph_resolve(c->graph);
	rewrite_graph(c, apply, NULL);
	return c->diag->errors == errors;
}
