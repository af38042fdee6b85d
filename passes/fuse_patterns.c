/* fuse_patterns: operators recognized from their parts.
 *   - x * scale + shift, per channel, behind a conv or matmul by constant weights: the scale goes into the
 *     weights (a map of constants, which fold_constants computes), the shift stays as a bias. This takes
 *     batch normalization, Gemm's alpha and biases away. Whatever the form: the maps are joined into one
 *     expression, and it is asked whether that is affine in x.
 *   - normalize and softmax as exporters write them out: fuse_rows.c; attention: fuse_attention.c,
 *     fuse_projections.c; third powers; products by a reciprocal. */
#include "passes/fuse.h"

/* e = scale * x + shift, where x is parameter `param` and neither holds it; false when it is no such thing. */
struct affine_in {
	const struct expr *scale, *shift; /* NULL: 0 */
};

static const struct expr *plus(struct expr_pool *p, enum expr_op op, const struct expr *a,
			       const struct expr *b)
{
	if (!a || !b)
		return b ? (op == EXPR_SUB ? expr_unary(p, EXPR_NEG, b) : b) : a;
	return expr_binary(p, op, a, b);
}

static const struct expr *times(struct expr_pool *p, enum expr_op op, const struct expr *a,
				const struct expr *b)
{
	return a ? expr_binary(p, op, a, b) : NULL;
}

static bool as_affine(struct expr_pool *p, const struct expr *e, int param, int depth,
		      struct affine_in *out)
{
	struct affine_in a, b;

	if (!expr_reads(e, param)) {
		*out = (struct affine_in){NULL, e};
		return true;
	}
	if (e->op == EXPR_PARAM) {
		*out = (struct affine_in){expr_int(p, e->type, 1), NULL};
		return true;
	}
	if (depth > 16 || (e->op != EXPR_ADD && e->op != EXPR_SUB && e->op != EXPR_MUL &&
			   e->op != EXPR_DIV && e->op != EXPR_NEG))
		return false;
	if (!as_affine(p, e->arg[0], param, depth + 1, &a) ||
	    (e->count == 2 && !as_affine(p, e->arg[1], param, depth + 1, &b)))
		return false;
	switch (e->op) {
	case EXPR_NEG:
		*out = (struct affine_in){expr_unary(p, EXPR_NEG, a.scale),
					  a.shift ? expr_unary(p, EXPR_NEG, a.shift) : NULL};
		return true;
	case EXPR_ADD:
	case EXPR_SUB:
		*out = (struct affine_in){plus(p, e->op, a.scale, b.scale),
					  plus(p, e->op, a.shift, b.shift)};
		return true;
	case EXPR_MUL:
		if (!a.scale)
			*out = (struct affine_in){times(p, EXPR_MUL, b.scale, a.shift),
						  times(p, EXPR_MUL, b.shift, a.shift)};
		else if (!b.scale)
			*out = (struct affine_in){times(p, EXPR_MUL, a.scale, b.shift),
						  times(p, EXPR_MUL, a.shift, b.shift)};
		return !a.scale || !b.scale;
	default:
		if (b.scale)
			return false;
		*out = (struct affine_in){times(p, EXPR_DIV, a.scale, b.shift),
					  times(p, EXPR_DIV, a.shift, b.shift)};
		return true;
	}
}

/* A constant that is one number for each of the last axis's elements, or one for all. */
static bool is_per_channel(const struct value *v, const struct value *x)
{
	const struct type *t = &v->type;

	if (!value_const(v) || t->rank > x->type.rank)
		return false;
	for (int i = 0; i < t->rank - 1; i++)
		if (!dim_is(t->dims[i], 1))
			return false;
	return !t->rank || dim_is(t->dims[t->rank - 1], 1) ||
	       t->dims[t->rank - 1] == x->type.dims[x->type.rank - 1];
}

/* The only operand of a map that is not constant: its number, with all others per channel. -1: none. */
static int data_operand(const struct node *n)
{
	int data = -1;

	for (int i = 0; i < n->in_count; i++) {
		if (value_const(n->in[i]))
			continue;
		if (data >= 0)
			return -1;
		data = i;
	}
	for (int i = 0; i < n->in_count; i++)
		if (i != data && (data < 0 || !is_per_channel(n->in[i], n->in[data])))
			return -1;
	return data >= 0 && same_dims(&n->in[data]->type, &n->out[0]->type) ? data : -1;
}

static bool is_float_type(const struct value *v)
{
	return v->type.dtype == DT_F32 || v->type.dtype == DT_F64;
}

/* A constant of exactly one axis, or none: so that its map with the weights has their dims. */
static struct value *flatten_const(struct builder *b, struct value *v)
{
	return v->type.rank > 1 ? add_reshape(b, v, 1, &v->type.dims[v->type.rank - 1]) : v;
}

/* A map of the constants of n; `first` stands for its operand `data`. */
static struct value *map_constants(struct builder *b, const struct expr *e, struct value *first,
				   const struct node *n, int data)
{
	struct value **in = ARENA_ARRAY(b->graph->arena, struct value *, n->in_count);

	for (int i = 0; i < n->in_count; i++)
		in[i] = i == data ? first : flatten_const(b, n->in[i]);
	return add_map(b, e, DT_NONE, n->in_count, in);
}

/* %1 = conv(%x, const w)  %y = map(%1, const s, const t) (c, s, t) -> c * s + t
 *	=>   %2 = map(s, t) -> s  %3 = map(w, %2) -> w * s  %4 = conv(%x, %3)
 *	     %5 = map(s, t) -> t  %y = map(%4, %5) -> c + t */
static struct value *scale_weights(struct pass_context *c, struct node *n, const int *uses,
				   int use_count)
{
	struct builder b = build_before(c, n);
	struct expr_pool *p = &c->graph->exprs;
	int data = data_operand(n);
	struct node *conv = data >= 0 ? n->in[data]->def : NULL;
	struct affine_in a = {NULL, NULL};
	struct value *in[2], *pair[2], *zero;

	if (!conv || (conv->op != OP_conv && conv->op != OP_matmul) || !value_const(conv->in[1]) ||
	    !is_float_type(n->out[0]) || n->in[data]->type.dtype != n->out[0]->type.dtype)
		return NULL;
	if (n->in[data]->id < use_count && uses[n->in[data]->id] != 1)
		return NULL;
	if (!as_affine(p, n->expr, data, 0, &a) || !a.scale || expr_is_literal(a.scale, 1))
		return NULL;
	in[0] = conv->in[0];
	zero = add_scalar_real(&b, n->out[0]->type.dtype,
			       0); /* stands where scale and shift do not read */
	pair[0] = conv->in[1];
	pair[1] = map_constants(&b, a.scale, zero, n, data);
	if (!pair[1])
		return NULL;
	in[1] = add_map(&b,
			expr_binary(p, EXPR_MUL, expr_param(p, a.scale->type, 0),
				    expr_param(p, a.scale->type, 1)),
			DT_NONE, 2, pair);
	if (!in[1] || !type_equal(&in[1]->type, &conv->in[1]->type))
		return NULL;
	b.loc = conv->loc;
	pair[0] = add_like(&b, conv, in, conv->attrs);
	b.loc = n->loc;
	if (!pair[0] || !a.shift)
		return pair[0];
	if (a.shift->op == EXPR_LITERAL)
		return add_map(&b,
			       expr_binary(p, EXPR_ADD, expr_param(p, a.shift->type, 0), a.shift),
			       DT_NONE, 1, pair);
	pair[1] = map_constants(&b, a.shift, zero, n, data);
	return pair[1] ? add_map(&b,
				 expr_binary(p, EXPR_ADD, expr_param(p, a.shift->type, 0),
					     expr_param(p, a.shift->type, 1)),
				 DT_NONE, 2, pair)
		       : NULL;
}

enum { JOINED_MAX = 16 };

/* n with m, the map that makes its operand i, in place: a map of both. NULL: too many operands. */
static struct value *join_maps(struct pass_context *c, const struct node *n, int i,
			       const struct node *m)
{
	struct builder b = build_before(c, (struct node *)n);
	struct expr_pool *p = &c->graph->exprs;
	const struct expr *with[JOINED_MAX], *deep[JOINED_MAX];
	struct value *in[JOINED_MAX];
	int count = 0;

	if (n->in_count + m->in_count > JOINED_MAX)
		return NULL;
	for (int j = 0; j < m->in_count + n->in_count; j++) {
		struct value *v = j < m->in_count ? m->in[j] : n->in[j - m->in_count];
		const struct expr **to = j < m->in_count ? &deep[j] : &with[j - m->in_count];
		int k = 0;

		if (j == m->in_count + i) {
			*to = expr_bind_params(p, m->expr, deep);
			continue;
		}
		while (k < count && in[k] != v)
			k++;
		in[k] = v;
		count += k == count;
		*to = expr_param(p, dtype_compute(v->type.dtype), k);
	}
	return add_map(&b, expr_bind_params(p, n->expr, with), n->out[0]->type.dtype, count, in);
}

/* %1 = map(%x, const s) -> f  %y = map(%1, const t) -> g   =>   map(%x, s, t) -> g(f)   both affine per channel */
static struct value *join_affine(struct pass_context *c, struct node *n, const int *uses,
				 int use_count)
{
	struct expr_pool *p = &c->graph->exprs;
	int data = data_operand(n), inner_data;
	struct node *m = data >= 0 ? value_def(n->in[data], OP_map) : NULL;
	struct affine_in a;

	if (!m || (m->out[0]->id < use_count && uses[m->out[0]->id] != 1))
		return NULL;
	inner_data = data_operand(m);
	if (inner_data < 0 || !m->in[inner_data]->def ||
	    m->out[0]->type.dtype != n->out[0]->type.dtype || !is_float_type(n->out[0]))
		return NULL;
	if (m->in[inner_data]->def->op != OP_conv && m->in[inner_data]->def->op != OP_matmul)
		return NULL;
	if (!as_affine(p, n->expr, data, 0, &a) || !as_affine(p, m->expr, inner_data, 0, &a))
		return NULL;
	return join_maps(c, n, data, m);
}

static bool is_reciprocal(const struct expr *e)
{
	return e->op == EXPR_DIV && expr_is_literal(e->arg[0], 1);
}

static const struct expr *one_division(struct expr_pool *p, const struct expr *e, void *self)
{
	(void)self;
	for (int i = 0; e->op == EXPR_MUL && i < 2; i++)
		if (is_reciprocal(e->arg[i]))
			return expr_binary(p, EXPR_DIV, e->arg[!i], e->arg[i]->arg[1]);
	return NULL;
}

struct reads {
	int param, products, others;
};

static bool count_reads(const struct expr *e, void *self)
{
	struct reads *r = self;

	for (int i = 0; i < e->count; i++)
		if (e->arg[i]->op == EXPR_PARAM && e->arg[i]->index == r->param)
			*(e->op == EXPR_MUL ? &r->products : &r->others) += 1;
	return false;
}

/* %1 = map(%x) -> 1 / d  %y = map(%a, %1) (a, b) -> a * b   =>   map(%x, %a) -> a / d
 * x * sigmoid(x): one rounding and one product less. Both have all the elements, so there are as many divisions as
 * before (a reciprocal per row would be cheaper than a quotient per element). */
static struct value *divide_once(struct pass_context *c, struct node *n, const int *uses,
				 int use_count)
{
	for (int i = 0; i < n->in_count && is_float_type(n->out[0]); i++) {
		struct node *m = value_def(n->in[i], OP_map);
		struct reads r = {.param = i};
		struct value *joined;

		if (!m || !is_reciprocal(m->expr) || m->out[0]->id >= use_count ||
		    uses[m->out[0]->id] != 1 || !type_equal(&m->out[0]->type, &n->out[0]->type))
			continue;
		expr_any(n->expr, count_reads, &r);
		joined = r.products == 1 && !r.others ? join_maps(c, n, i, m) : NULL;
		if (!joined)
			continue;
		joined->def->expr =
			expr_rewrite(&c->graph->exprs, joined->def->expr, one_division, NULL);
		return joined;
	}
	return NULL;
}

static bool is_read_once(const struct value *v, const int *uses, int use_count)
{
	return v->id >= use_count || uses[v->id] == 1;
}

/* Whether v is a convolution, or an affine map of one that was joined with it. */
static bool is_convolved(const struct value *v)
{
	int data = v->def && v->def->op == OP_map ? data_operand(v->def) : -1;

	return v->def && (v->def->op == OP_conv ||
			  (data >= 0 && value_def(v->def->in[data], OP_conv) != NULL));
}

/* A constant along one axis of n's result at most, which `perm` made of the last one: with that axis alone, or none.
 * NULL: it is not like that. */
static struct value *along_last(struct builder *b, struct value *v, int rank, const int64_t *perm)
{
	const struct type *t = &v->type;
	struct type flat = type_make(t->dtype, 0, NULL);

	if (!value_const(v) || t->rank > rank)
		return NULL;
	for (int i = 0; i < t->rank; i++) {
		if (dim_is(t->dims[i], 1))
			continue;
		if (flat.rank || perm[rank - t->rank + i] != rank - 1)
			return NULL;
		flat = type_make(t->dtype, 1, &t->dims[i]);
	}
	return type_equal(&flat, t) ? v : add_const(b, &flat, value_const(v));
}

/* %1 = conv(..)  %2 = transpose %1  %y = map(%2, const s: [C,1,1]) (c, s) -> c * s
 *	=>   %3 = map(%1, s': [C]) (c, s) -> c * s  %y = transpose %3
 * Importers of channels-first models put a transpose there: so that the scale gets to the weights before anybody looks
 * at them. */
static struct value *scale_first(struct pass_context *c, struct node *n, const int *uses,
				 int use_count)
{
	struct builder b = build_before(c, n);
	int data = -1, rank = n->out[0]->type.rank;
	struct value **in = ARENA_ARRAY(c->scratch, struct value *, n->in_count);
	const int64_t *perm;
	struct node *moved;
	struct affine_in a;

	for (int i = 0; i < n->in_count; i++)
		if (value_def(n->in[i], OP_transpose))
			data = i;
	moved = data >= 0 ? n->in[data]->def : NULL;
	if (!moved || !same_dims(&n->in[data]->type, &n->out[0]->type) ||
	    !is_float_type(n->out[0]) || !is_convolved(moved->in[0]) ||
	    !is_read_once(n->in[data], uses, use_count) ||
	    !is_read_once(moved->in[0], uses, use_count) ||
	    !as_affine(&c->graph->exprs, n->expr, data, 0, &a))
		return NULL;
	perm = ATTRS_OF(transpose, moved)->perm.at;
	for (int i = 0; i < n->in_count; i++) {
		in[i] = i == data ? moved->in[0] : along_last(&b, n->in[i], rank, perm);
		if (!in[i])
			return NULL;
	}
	return add_transpose_perm(&b, add_map(&b, n->expr, n->out[0]->type.dtype, n->in_count, in),
				  perm);
}

static const struct expr *third_power(struct expr_pool *p, const struct expr *e, void *self)
{
	(void)self;
	if (e->op != EXPR_POW || !expr_is_literal(e->arg[1], 3))
		return NULL;
	return expr_binary(p, EXPR_MUL, expr_binary(p, EXPR_MUL, e->arg[0], e->arg[0]), e->arg[0]);
}

/* pow(x, 3)   =>   x * x * x, as gelu by tanh has it: at most 1 ulp off, and a fraction of the cost */
static struct value *multiply_out(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct expr *e = expr_rewrite(&c->graph->exprs, n->expr, third_power, NULL);

	return e == n->expr ? NULL : add_map(&b, e, n->out[0]->type.dtype, n->in_count, n->in);
}

struct fusing {
	const int *uses;
	int use_count;
};

static struct value *fuse(struct pass_context *c, struct node *n, void *self)
{
	const struct fusing *f = self;
	struct value *v;

	if (n->op == OP_matmul)
		return fuse_attention(c, n, f->uses, f->use_count);
	if (n->op == OP_attention)
		return fuse_projections(c, n, f->uses, f->use_count);
	if (n->op != OP_map)
		return NULL;
	v = multiply_out(c, n);
	v = v ? v : fuse_rows(c, n);
	v = v ? v : scale_first(c, n, f->uses, f->use_count);
	v = v ? v : divide_once(c, n, f->uses, f->use_count);
	v = v ? v : join_affine(c, n, f->uses, f->use_count);
	return v ? v : scale_weights(c, n, f->uses, f->use_count);
}

bool pass_fuse_patterns(struct pass_context *c)
{
	struct fusing f = {graph_count_uses(c->graph, c->scratch), c->graph->value_count};
	int errors = c->diag->errors;

	rewrite_graph(c, fuse, &f);
	return c->diag->errors == errors;
}
