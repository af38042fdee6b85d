/* fuse_attention.c: attention out of its parts, as exporters write it:
 *
 *	%s = matmul(%q, %kt)  %e = .. maps of %s ..  %p = softmax(%e) over the last axis  %y = matmul(%p, %v)
 *		=>   transpose(attention(%q', %k', %v', ..) e)
 *
 * of [B,H,T,D] or [H,T,D]. The maps become the expression from score to score, with their other operands (masks,
 * biases) as they are. Factors of q and k move into it; heads of k and v that are repeated (expand and reshape)
 * are read once; a constant mask that is 0 or -inf by the diagonal becomes a comparison of positions, so that the
 * driver can leave out what it hides. Only f32, and heads of a size that the driver takes: the parts are faster than
 * attention by plain loops. */
#include "passes/fuse.h"

#include <math.h>

enum {
	HEAD_MAX = 1024,
	OPERANDS_MAX = 12,
	DEPTH_MAX = 12,
	SCORE = 0,
	QUERY = 1,
	KEY = 2,
	FIRST_OPERAND = 3
};

#define HIDDEN (-1e9)

struct scoring {
	struct pass_context *c;
	struct builder b;
	struct type scores;   /* of the softmax */
	struct node *product; /* the matmul of q and k */
	struct value *operands[OPERANDS_MAX];
	int count;
	bool bad;
};

/* ---- the expression ---- */

/* Whether t has the dims of the scores, apart from 1s in front. */
static bool has_scores(const struct scoring *s, const struct type *t)
{
	int more = t->rank - s->scores.rank;

	for (int i = 0; i < more; i++)
		if (!dim_is(t->dims[i], 1))
			return false;
	for (int i = 0; i < s->scores.rank && more >= 0; i++)
		if (t->dims[more + i] != s->scores.dims[i])
			return false;
	return more >= 0;
}

/* What is looked through: maps that round nothing, and reshapes that add or drop 1s in front. */
static bool is_open(const struct scoring *s, const struct value *v)
{
	const struct node *n = v->def;

	if (!n || !has_scores(s, &v->type) || v->type.dtype != s->scores.dtype)
		return false;
	if (n->op == OP_reshape)
		return has_scores(s, &value_now(n->in[0])->type);
	return n->op == OP_map && n->in_count <= 8;
}

/* The matmul that the maps of v begin with; sets bad when there are two. */
static struct node *find_product(struct scoring *s, struct value *v, int depth)
{
	struct node *n = v->def, *found = NULL;

	if (n && n->op == OP_matmul && type_equal(&v->type, &s->scores))
		return n;
	if (depth == DEPTH_MAX || !is_open(s, v))
		return NULL;
	for (int i = 0; i < n->in_count; i++) {
		struct node *one = find_product(s, value_now(n->in[i]), depth + 1);

		s->bad |= one && found && one != found;
		found = one ? one : found;
	}
	return found;
}

static const struct expr *operand(struct scoring *s, struct value *v)
{
	struct expr_pool *p = &s->c->graph->exprs;
	int more = v->type.rank - s->scores.rank, i = 0;
	union scalar x;

	if (v->type.dtype == s->scores.dtype && splat_value(v, &x))
		return expr_real(p, v->type.dtype, x.f);
	for (int k = 0; k < more; k++)
		s->bad |= !dim_is(v->type.dims[k], 1);
	if (more > 0 && !s->bad)
		v = add_reshape(&s->b, v, s->scores.rank, v->type.dims + more);
	while (i < s->count && s->operands[i] != v)
		i++;
	s->bad |= !v || i == OPERANDS_MAX;
	if (s->bad)
		return expr_int(p, s->scores.dtype, 0);
	if (i == s->count)
		s->operands[s->count++] = v;
	return expr_param(p, dtype_compute(v->type.dtype), FIRST_OPERAND + i);
}

static const struct expr *look(struct scoring *s, struct value *v, int depth)
{
	struct expr_pool *p = &s->c->graph->exprs;
	const struct expr *with[8];

	if (v->def == s->product)
		return expr_param(p, s->scores.dtype, SCORE);
	if (!find_product(s, v, depth))
		return operand(s, v);
	for (int i = 0; i < v->def->in_count; i++)
		with[i] = look(s, value_now(v->def->in[i]), depth + 1);
	return v->def->op == OP_reshape ? with[0] : expr_bind_params(p, v->def->expr, with);
}

/* ---- masks by the diagonal ---- */

/* 1: nothing is hidden, 0: hidden, -1: neither. Exporters write large numbers for -inf: beside a score that is not
 * hidden exp of them is 0, as long as scores are below 1e9. */
static int shows(const struct tensor *t, enum dtype type, int64_t i)
{
	union scalar x = tensor_element(t, type, i);

	if (type == DT_BOOL)
		return x.i != 0;
	return x.f == 0 ? 1 : x.f <= HIDDEN ? 0 : -1;
}

/* v, a constant [1,..,T,S], shows key j to query i where j <= i + *ahead, for an *ahead >= 0. */
static bool is_diagonal(const struct value *v, int64_t *ahead)
{
	const struct tensor *t = value_const(v);
	const struct type *type = &v->type;
	int64_t rows, columns, shown = 0;

	if (!t || type->rank < 2 || type_count_const(type) < 1 ||
	    (type->dtype != DT_F32 && type->dtype != DT_F64 && type->dtype != DT_BOOL))
		return false;
	for (int i = 0; i < type->rank - 2; i++)
		if (!dim_is(type->dims[i], 1))
			return false;
	rows = type->dims[type->rank - 2]->value;
	columns = type->dims[type->rank - 1]->value;
	if (rows < 2 || columns < 2)
		return false;
	while (shown < columns && shows(t, type->dtype, shown) == 1)
		shown++;
	*ahead = shown - 1;
	for (int64_t i = 0; i < rows && shown > 0; i++)
		for (int64_t j = 0; j < columns; j++)
			if (shows(t, type->dtype, i * columns + j) != (j <= i + *ahead))
				return false;
	return shown > 0;
}

struct diagonal {
	int param;
	const struct expr *shown;
};

/* s + mask  =>  shown ? s : -inf     mask ? s : -3e38  =>  shown ? s : -inf */
static const struct expr *hide(struct expr_pool *p, const struct expr *e, void *self)
{
	const struct diagonal *d = self;
	const struct expr *none;

	for (int i = 0; e->op == EXPR_ADD && i < 2; i++)
		if (e->arg[i]->op == EXPR_PARAM && e->arg[i]->index == d->param)
			return expr_select(p, d->shown, e->arg[1 - i],
					   expr_real(p, (enum dtype)e->type, -INFINITY));
	if (e->op != EXPR_SELECT || e->arg[0]->op != EXPR_PARAM || e->arg[0]->index != d->param)
		return NULL;
	none = e->arg[2];
	return none->op == EXPR_LITERAL && none->f <= HIDDEN
		       ? expr_select(p, d->shown, e->arg[1],
				     expr_real(p, (enum dtype)e->type, -INFINITY))
		       : NULL;
}

static bool reads_param(const struct expr *e, void *self)
{
	return e->op == EXPR_PARAM && e->index == *(const int *)self;
}

/* Masks by the diagonal become comparisons; operands that are read no more leave the list. */
static const struct expr *hide_by_position(struct scoring *s, const struct expr *e)
{
	struct expr_pool *p = &s->c->graph->exprs;
	const struct expr *i = expr_param(p, DT_I64, QUERY), *j = expr_param(p, DT_I64, KEY);
	const struct expr *with[FIRST_OPERAND + OPERANDS_MAX];
	int count = 0;

	with[SCORE] = expr_param(p, s->scores.dtype, SCORE);
	with[QUERY] = i;
	with[KEY] = j;
	for (int k = 0; k < s->count; k++) {
		struct diagonal d = {.param = FIRST_OPERAND + k};
		int64_t ahead;

		if (is_diagonal(s->operands[k], &ahead)) {
			d.shown = expr_binary(p, EXPR_LE, j,
					      expr_binary(p, EXPR_ADD, i, expr_index(p, ahead)));
			e = expr_rewrite(p, e, hide, &d);
		}
		with[d.param] = expr_param(p, dtype_compute(s->operands[k]->type.dtype),
					   FIRST_OPERAND + count);
		if (expr_any(e, reads_param, &d.param))
			s->operands[count++] = s->operands[k];
	}
	s->count = count;
	return expr_bind_params(p, e, with);
}

/* ---- q, k and v ---- */

/* An operand as the transpose of another: v = scale * transpose(base) {perm}. */
struct source {
	struct value *base;
	int64_t perm[HONE_MAX_RANK];
	double scale;
};

/* The factor of a map x * c or x / c, where c is a literal or a constant; 0 when it is none. *data: the operand x. */
static double factor_of(const struct node *n, int *data)
{
	const struct expr *e = n->expr;
	bool product = e->op == EXPR_MUL;

	for (int i = 0; (product || e->op == EXPR_DIV) && i < (product ? 2 : 1); i++) {
		const struct expr *x = e->arg[i], *c = e->arg[1 - i];
		union scalar factor = {.f = c->op == EXPR_LITERAL ? c->f : 0};

		if (x->op != EXPR_PARAM || !type_equal(&n->in[x->index]->type, &n->out[0]->type))
			continue;
		if (c->op == EXPR_PARAM && !splat_value(value_now(n->in[c->index]), &factor))
			continue;
		*data = x->index;
		return product ? factor.f : 1 / factor.f;
	}
	return 0;
}

static struct source source_of(struct value *v, bool scaled)
{
	struct source x = {.base = v, .scale = 1};

	for (int i = 0; i < v->type.rank; i++)
		x.perm[i] = i;
	for (;;) {
		struct node *n = x.base->def;
		int from = 0;
		double factor = n && n->op == OP_map && scaled ? factor_of(n, &from) : 0;

		if (n && n->op == OP_transpose) {
			for (int i = 0; i < v->type.rank; i++)
				x.perm[i] = ATTRS_OF(transpose, n)->perm.at[x.perm[i]];
		} else if (factor != 0 && isfinite(factor)) {
			x.scale *= factor;
		} else {
			return x;
		}
		x.base = value_now(n->in[from]);
	}
}

/* base = reshape(expand([..,G,1,..] to [..,G,R,..])) to [..,G*R,..] at this axis: what is repeated, [..,G,..]. */
static struct value *unrepeated(struct scoring *s, struct value *base, int axis)
{
	struct node *r = value_def(base, OP_reshape);
	struct node *x = r ? value_def(value_now(r->in[0]), OP_expand) : NULL;
	const struct type *narrow, *wide, *y = &base->type;
	dim dims[HONE_MAX_RANK];

	if (!x)
		return NULL;
	narrow = &value_now(x->in[0])->type;
	wide = &x->out[0]->type;
	if (wide->rank != y->rank + 1 || narrow->rank != wide->rank ||
	    !dim_is(narrow->dims[axis + 1], 1))
		return NULL;
	for (int i = 0; i < wide->rank; i++)
		if (i != axis + 1 && narrow->dims[i] != wide->dims[i])
			return NULL;
	for (int i = 0; i < y->rank; i++) {
		dim d = wide->dims[i + (i > axis)];

		if (i == axis)
			d = dim_mul(&s->c->graph->dims, d, wide->dims[i + 1]);
		if (y->dims[i] != d)
			return NULL;
		dims[i] = narrow->dims[i + (i > axis)];
	}
	return add_reshape(&s->b, value_now(x->in[0]), y->rank, dims);
}

/* x as [B,T,H,D]: `order` are the axes B, T, H, D of the operand, of which B may be missing (-1). */
static struct value *arrange(struct scoring *s, const struct source *x, struct value *base,
			     const int *order)
{
	int64_t perm[4];
	dim dims[4];
	int count = 0;
	struct value *v;

	for (int i = 0; i < 4; i++)
		if (order[i] >= 0)
			perm[count++] = x->perm[order[i]];
	v = add_transpose_perm(&s->b, base, perm);
	if (!v || count == 4)
		return v;
	dims[0] = dim_const(&s->c->graph->dims, 1);
	for (int i = 0; i < 3; i++)
		dims[i + 1] = v->type.dims[i];
	return add_reshape(&s->b, v, 4, dims);
}

/* Whether v's leading axes are those of the scores: no broadcast. */
static bool same_batch(const struct scoring *s, const struct value *v)
{
	if (v->type.rank != s->scores.rank || v->type.dtype != s->scores.dtype)
		return false;
	for (int i = 0; i < s->scores.rank - 2; i++)
		if (v->type.dims[i] != s->scores.dims[i])
			return false;
	return true;
}

/* Whether the attention driver takes heads of this size. */
static bool fits(dim d) { return dim_is_const(d) && d->value > 0 && d->value <= HEAD_MAX; }

/* q, k and v of the op, and the factor of the scores. */
static bool arrange_operands(struct scoring *s, struct value *v, struct value **in, double *scale)
{
	static const int orders[2][2][4] = {{{-1, 1, 0, 2}, {-1, 2, 0, 1}},
					    {{0, 2, 1, 3}, {0, 3, 1, 2}}};
	const int(*order)[4] = orders[s->scores.rank == 4];
	struct value *q = value_now(s->product->in[0]), *kt = value_now(s->product->in[1]);
	struct source x[3];
	struct value *few[2] = {NULL, NULL};
	int head = s->scores.rank - 3;

	if (!same_batch(s, q) || !same_batch(s, kt) || !same_batch(s, v))
		return false;
	x[0] = source_of(q, true);
	x[1] = source_of(kt, true);
	x[2] = source_of(v, false);
	for (int i = 0; i < 2; i++)
		few[i] = unrepeated(s, x[1 + i].base, (int)x[1 + i].perm[head]);
	if (!few[0] || !few[1] ||
	    few[0]->type.dims[x[1].perm[head]] != few[1]->type.dims[x[2].perm[head]]) {
		few[0] = x[1].base;
		few[1] = x[2].base;
	}
	in[0] = arrange(s, &x[0], x[0].base, order[0]);
	in[1] = arrange(s, &x[1], few[0], order[1]);
	in[2] = arrange(s, &x[2], few[1], order[0]);
	*scale = x[0].scale * x[1].scale;
	return in[0] && in[1] && in[2] && fits(in[0]->type.dims[3]) && fits(in[2]->type.dims[3]);
}

/* ---- all together ---- */

/* [B,T,H,E] as the matmul had it. */
static struct value *result(struct scoring *s, struct value *y)
{
	if (s->scores.rank == 4)
		return add_transpose(&s->b, y, (int[]){0, 2, 1, 3});
	y = add_reshape(&s->b, y, 3, y->type.dims + 1);
	return y ? add_transpose(&s->b, y, (int[]){1, 0, 2}) : NULL;
}

struct value *fuse_attention(struct pass_context *c, struct node *n, const int *uses, int use_count)
{
	struct expr_pool *p = &c->graph->exprs;
	struct node *soft = value_def(n->in[0], OP_softmax), *made;
	struct scoring s = {.c = c, .b = build_before(c, n)};
	struct value *in[FIRST_OPERAND + OPERANDS_MAX], *from;
	const struct expr *e, *with[FIRST_OPERAND + OPERANDS_MAX];
	double scale;

	if (!soft || ATTRS_OF(softmax, soft)->log ||
	    (n->in[0]->id < use_count && uses[n->in[0]->id] != 1))
		return NULL;
	from = value_now(soft->in[0]);
	s.scores = from->type;
	if ((s.scores.rank != 3 && s.scores.rank != 4) ||
	    ATTRS_OF(softmax, soft)->axis != s.scores.rank - 1 || s.scores.dtype != DT_F32)
		return NULL;
	s.product = find_product(&s, from, 0);
	if (!s.product || s.bad || !arrange_operands(&s, n->in[1], in, &scale))
		return NULL;
	e = look(&s, from, 0);
	if (s.bad)
		return NULL;
	e = hide_by_position(&s, e);
	for (int i = 0; i < s.count; i++) {
		in[FIRST_OPERAND + i] = s.operands[i];
		with[FIRST_OPERAND + i] =
			expr_param(p, dtype_compute(s.operands[i]->type.dtype), FIRST_OPERAND + i);
	}
	with[SCORE] = expr_param(p, s.scores.dtype, SCORE);
	if (scale != 1)
		with[SCORE] =
			expr_binary(p, EXPR_MUL, with[SCORE], expr_real(p, s.scores.dtype, scale));
	with[QUERY] = expr_param(p, DT_I64, QUERY);
	with[KEY] = expr_param(p, DT_I64, KEY);
	made = graph_add(&s.b, &(struct node_spec){.op = OP_attention,
						   .in_count = FIRST_OPERAND + s.count,
						   .in = in,
						   .expr = expr_bind_params(p, e, with)});
	return made ? result(&s, made->out[0]) : NULL;
}
