/* fuse_rows.c: normalize and softmax out of their parts. Exporters differ in how they write them, so the maps
 * behind a node are joined into one expression, down to reductions and other leaves, and that is matched:
 *
 *	(x - m) / sqrt(v + eps)     m = sum x / n, v = sum (x - m)^2 / n        normalize
 *	x / sqrt(v + eps)           v = sum x * x / n                           normalize {rms}
 *	e / sum e                   e = exp(x - max x)                          softmax
 *
 * A product with 1 / sqrt(..), or with the reciprocal of n, is the same thing. */
#include "passes/fuse.h"

enum { LEAVES_MAX = 12, DEPTH_MAX = 8, REDUCES_MAX = 4 };

struct leaves {
	struct expr_pool *p;
	struct value *at[LEAVES_MAX];
	int count;
	bool full;
	const struct value *stop; /* not looked through: x */
};

static const struct expr *leaf(struct leaves *l, struct value *v)
{
	int i = 0;

	while (i < l->count && l->at[i] != v)
		i++;
	if (i == LEAVES_MAX) {
		l->full = true;
		i = 0;
	} else if (i == l->count) {
		l->at[l->count++] = v;
	}
	return expr_param(l->p, dtype_compute(v->type.dtype), i);
}

/* v as an expression over leaves; maps are looked through, where they round nothing. */
static const struct expr *look(struct leaves *l, struct value *v, int depth)
{
	struct node *n = value_def(v, OP_map);
	const struct expr *with[4];

	if (!n || v == l->stop || depth == DEPTH_MAX || n->in_count > 4 ||
	    (v->type.dtype != DT_F32 && v->type.dtype != DT_F64))
		return leaf(l, v);
	for (int i = 0; i < n->in_count; i++)
		with[i] = look(l, value_now(n->in[i]), depth + 1);
	return expr_bind_params(l->p, n->expr, with);
}

/* The reduce behind a leaf, of this kind, that keeps its axes; its operand has the dims of `like`. */
static struct node *reduce_leaf(const struct leaves *l, const struct expr *e, enum reduce_kind kind,
				const struct type *like)
{
	struct node *n = e->op == EXPR_PARAM ? value_def(l->at[e->index], OP_reduce) : NULL;

	if (!n || ATTRS_OF(reduce, n)->kind != (int64_t)kind || !ATTRS_OF(reduce, n)->keep)
		return NULL;
	return type_equal(&value_now(n->in[0])->type, like) ? n : NULL;
}

/* e = (sum of something over axes) / (their number of elements): the reduce. */
static struct node *mean_leaf(const struct leaves *l, const struct expr *e, const struct type *like)
{
	double divisor, count = 1;
	struct node *n;
	int axes[HONE_MAX_RANK], axis_count;

	if ((e->op != EXPR_DIV && e->op != EXPR_MUL) || e->arg[1]->op != EXPR_LITERAL)
		return NULL;
	divisor = e->op == EXPR_DIV ? e->arg[1]->f : 1 / e->arg[1]->f;
	n = reduce_leaf(l, e->arg[0], REDUCE_SUM, like);
	if (!n)
		return NULL;
	axis_count = reduce_axes_of(n, axes);
	for (int i = 0; i < axis_count; i++) {
		if (!dim_is_const(like->dims[axes[i]]))
			return NULL;
		count *= (double)like->dims[axes[i]]->value;
	}
	return divisor > count * (1 - 1e-6) && divisor < count * (1 + 1e-6) ? n : NULL;
}

static bool same_axes(const struct node *m, const struct node *n)
{
	int a[HONE_MAX_RANK], b[HONE_MAX_RANK], count = reduce_axes_of(m, a);

	if (count != reduce_axes_of(n, b))
		return false;
	for (int i = 0; i < count; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* e = d / sqrt(v + eps), or d * (1 / sqrt(v + eps)): its parts. */
static bool split_root(const struct expr *e, const struct expr **d, const struct expr **v,
		       double *eps)
{
	const struct expr *root = NULL;

	if (e->op == EXPR_DIV && e->arg[1]->op == EXPR_SQRT) {
		*d = e->arg[0];
		root = e->arg[1];
	}
	for (int i = 0; !root && e->op == EXPR_MUL && i < 2; i++) {
		const struct expr *f = e->arg[i];

		if (f->op == EXPR_DIV && expr_is_literal(f->arg[0], 1) &&
		    f->arg[1]->op == EXPR_SQRT) {
			*d = e->arg[1 - i];
			root = f->arg[1];
		}
	}
	if (!root || root->arg[0]->op != EXPR_ADD)
		return false;
	for (int i = 0; i < 2; i++)
		if (root->arg[0]->arg[i]->op == EXPR_LITERAL) {
			*eps = root->arg[0]->arg[i]->f;
			*v = root->arg[0]->arg[1 - i];
			return true;
		}
	return false;
}

static struct value *fuse_normalize(struct pass_context *c, struct node *n, struct leaves *l,
				    const struct expr *e)
{
	struct builder b = build_before(c, n);
	struct attrs_normalize a = {0};
	const struct expr *d, *v, *x;
	struct node *variance, *mean = NULL;
	int axes[HONE_MAX_RANK];
	int64_t wide[HONE_MAX_RANK];
	struct value *from;

	if (!split_root(e, &d, &v, &a.eps))
		return NULL;
	x = d->op == EXPR_SUB ? d->arg[0] : d;
	if (x->op != EXPR_PARAM)
		return NULL;
	from = l->at[x->index];
	if (!type_equal(&from->type, &n->out[0]->type))
		return NULL;
	variance = mean_leaf(l, v, &from->type);
	if (!variance ||
	    look(l, value_now(variance->in[0]), 0) != expr_binary(l->p, EXPR_MUL, d, d) || l->full)
		return NULL;
	if (d->op == EXPR_SUB) {
		mean = mean_leaf(l, d->arg[1], &from->type);
		if (!mean || value_now(mean->in[0]) != from || !same_axes(mean, variance))
			return NULL;
	}
	a.rms = !mean;
	a.axes.count = reduce_axes_of(variance, axes);
	a.axes.at = wide;
	for (int i = 0; i < a.axes.count; i++)
		wide[i] = axes[i];
	n = graph_add(&b, &(struct node_spec){
				  .op = OP_normalize, .in_count = 1, .in = &from, .attrs = &a});
	return n ? n->out[0] : NULL;
}

static struct value *fuse_softmax(struct pass_context *c, struct node *n, struct leaves *l,
				  const struct expr *e)
{
	struct builder b = build_before(c, n);
	struct attrs_softmax a = {0};
	const struct expr *top = e->op == EXPR_DIV ? e->arg[0] : NULL;
	struct node *sum, *max;
	struct value *from;
	int axes[HONE_MAX_RANK];

	if (!top || top->op != EXPR_EXP || top->arg[0]->op != EXPR_SUB ||
	    top->arg[0]->arg[0]->op != EXPR_PARAM)
		return NULL;
	from = l->at[top->arg[0]->arg[0]->index];
	sum = reduce_leaf(l, e->arg[1], REDUCE_SUM, &from->type);
	max = reduce_leaf(l, top->arg[0]->arg[1], REDUCE_MAX, &from->type);
	if (!sum || !max || value_now(max->in[0]) != from || !same_axes(sum, max) ||
	    reduce_axes_of(sum, axes) != 1 || look(l, value_now(sum->in[0]), 0) != top || l->full ||
	    !type_equal(&from->type, &n->out[0]->type))
		return NULL;
	a.axis = axes[0];
	n = graph_add(
		&b, &(struct node_spec){.op = OP_softmax, .in_count = 1, .in = &from, .attrs = &a});
	return n ? n->out[0] : NULL;
}

/* Matches with `stop` as x, which may be a map itself. */
static struct value *fuse_at(struct pass_context *c, struct node *n, const struct value *stop)
{
	struct leaves l = {.p = &c->graph->exprs, .stop = stop};
	const struct expr *e = look(&l, n->out[0], 0);
	struct value *v;

	if (l.full)
		return NULL;
	v = fuse_normalize(c, n, &l, e);
	return v ? v : fuse_softmax(c, n, &l, e);
}

/* The reduces that the maps behind v read, each once. Values before those are not looked at: in a residual network
 * there is no end to them. */
static void find_reduces(struct value *v, int depth, struct node **found, int *count)
{
	struct node *n = v->def;

	if (!n || depth == DEPTH_MAX)
		return;
	if (n->op == OP_reduce) {
		for (int i = 0; i < *count; i++)
			if (found[i] == n)
				return;
		if (*count < REDUCES_MAX)
			found[(*count)++] = n;
	}
	for (int i = 0; n->op == OP_map && i < n->in_count; i++)
		find_reduces(value_now(n->in[i]), depth + 1, found, count);
}

/* x is what a reduction in n's expression reads, or what the map read by it reads. */
struct value *fuse_rows(struct pass_context *c, struct node *n)
{
	struct node *found[REDUCES_MAX];
	struct value *v = NULL;
	int count = 0;

	if (n->expr->op != EXPR_DIV && n->expr->op != EXPR_MUL)
		return NULL;
	find_reduces(n->out[0], 0, found, &count);
	for (int i = 0; i < count && !v; i++) {
		struct value *x = value_now(found[i]->in[0]);
		struct node *m = value_def(x, OP_map);

		v = fuse_at(c, n, x);
		for (int k = 0; m && k < m->in_count && !v; k++)
			v = fuse_at(c, n, value_now(m->in[k]));
	}
	return v;
}
