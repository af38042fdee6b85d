/* fuse_projections.c: the projections of attention as one matrix product:
 *
 *	%q = map(matmul(%x, const wq), const bq) (m, b) -> m + b    and %k, %v alike
 *	attention(reshape(%q), reshape(%k), reshape(%v), ..)
 *		=>   %y = map(matmul(%x, concat(wq, wk, wv)), concat(bq, bk, bv)) (m, b) -> m + b
 *		     attention(reshape(slice(%y)), ..)
 *
 * The slices cost nothing: the attention driver reads rows at any distance. fold_constants joins the weights. */
#include "passes/fuse.h"

struct projection {
	struct node *matmul, *reshape;
	struct value *bias; /* NULL: none */
};

static bool read_once(const struct value *v, const int *uses, int use_count)
{
	return v->id < use_count && uses[v->id] == 1;
}

/* n = a + b of a matmul's result and a constant for each column. */
static struct value *bias_of(const struct node *n, struct value **sum)
{
	const struct expr *e = n->expr;

	if (n->in_count != 2 || e->op != EXPR_ADD || e->arg[0]->op != EXPR_PARAM ||
	    e->arg[1]->op != EXPR_PARAM || e->arg[0] == e->arg[1])
		return NULL;
	for (int i = 0; i < 2; i++) {
		struct value *b = value_now(n->in[i]), *m = value_now(n->in[1 - i]);

		if (value_const(b) && b->type.rank == 1 && b->type.dtype == m->type.dtype &&
		    value_def(m, OP_matmul) && b->type.dims[0] == m->type.dims[m->type.rank - 1]) {
			*sum = m;
			return b;
		}
	}
	return NULL;
}

static bool find_projection(struct value *v, const int *uses, int use_count, struct projection *x)
{
	struct value *y, *m;

	*x = (struct projection){.reshape = value_def(v, OP_reshape)};
	if (!x->reshape || !read_once(v, uses, use_count))
		return false;
	y = m = value_now(x->reshape->in[0]);
	if (!read_once(y, uses, use_count))
		return false;
	if (value_def(y, OP_map))
		x->bias = bias_of(y->def, &m);
	x->matmul = value_def(m, OP_matmul);
	return x->matmul && (m == y || (x->bias && read_once(m, uses, use_count))) &&
	       value_const(value_now(x->matmul->in[1])) && x->matmul->in[1]->type.rank == 2;
}

/* All three of one operand and with biases alike. */
static bool find_projections(const struct node *n, const int *uses, int use_count,
			     struct projection *x)
{
	for (int i = 0; i < 3; i++)
		if (!find_projection(value_now(n->in[i]), uses, use_count, &x[i]) ||
		    value_now(x[i].matmul->in[0]) != value_now(x[0].matmul->in[0]) ||
		    !x[i].bias != !x[0].bias || !dim_is_const(x[i].matmul->in[1]->type.dims[1]))
			return false;
	return true;
}

/* The columns of one projection. */
static struct value *columns(struct builder *b, struct value *y, dim first, dim count)
{
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	int last = y->type.rank - 1;

	for (int i = 0; i < last; i++) {
		at[i] = dim_const(&b->graph->dims, 0);
		size[i] = y->type.dims[i];
	}
	at[last] = first;
	size[last] = count;
	return add_slice(b, y, at, size, NULL);
}

struct value *fuse_projections(struct pass_context *c, struct node *n, const int *uses,
			       int use_count)
{
	struct builder b = build_before(c, n);
	struct dim_pool *p = &c->graph->dims;
	struct projection x[3];
	struct value *pair[2], *list[3], *y, **in;
	dim at = dim_const(p, 0);

	if (!find_projections(n, uses, use_count, x))
		return NULL;
	for (int i = 0; i < 3; i++)
		list[i] = value_now(x[i].matmul->in[1]);
	b.loc = x[0].matmul->loc;
	pair[0] = value_now(x[0].matmul->in[0]);
	pair[1] = add_concat(&b, 1, 3, list);
	y = pair[1] ? add_like(&b, x[0].matmul, pair, x[0].matmul->attrs) : NULL;
	if (x[0].bias && y) {
		for (int i = 0; i < 3; i++)
			list[i] = x[i].bias;
		y = add_binary(&b, EXPR_ADD, y, add_concat(&b, 0, 3, list));
	}
	b.loc = n->loc;
	in = ARENA_ARRAY(c->scratch, struct value *, n->in_count);
	for (int i = 0; i < n->in_count && y; i++) {
		in[i] = value_now(n->in[i]);
		if (i < 3) {
			const struct type *t = &in[i]->type;
			dim count = x[i].matmul->in[1]->type.dims[1];

			in[i] = columns(&b, y, at, count);
			in[i] = in[i] ? add_reshape(&b, in[i], t->rank, t->dims) : NULL;
			at = dim_add(p, at, count);
		}
		if (!in[i])
			return NULL;
	}
	return y ? add_like(&b, n, in, n->attrs) : NULL;
}
