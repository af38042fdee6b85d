/* canonicalize_weights.c: transposes of weights of few bits, which come as [columns, k] from PyTorch, become those of
 * the constants that they are made of. */
#include "passes/canonicalize.h"

/* A map of constants, one of them of few bits. */
static bool is_weight(const struct node *n)
{
	bool narrow = false;

	for (int i = 0; n && i < n->in_count; i++) {
		if (!value_const(n->in[i]))
			return false;
		narrow |=
			dtype_is_int(n->in[i]->type.dtype) && dtype_bits(n->in[i]->type.dtype) <= 8;
	}
	return narrow;
}

/* Where the axes of y begin in x, of which each is one or several neighbours; first[rank of y] is x's rank. False: they
 * are not, or not known to be. */
static bool find_parts(const struct type *x, const struct type *y, int *first)
{
	int at = 0;

	for (int i = 0; i < y->rank; i++) {
		int64_t size = 1;

		first[i] = at;
		if (!dim_is_const(y->dims[i]))
			return false;
		while (at < x->rank && (size < y->dims[i]->value || at == first[i])) {
			if (!dim_is_const(x->dims[at]))
				return false;
			size *= x->dims[at++]->value;
		}
		if (size != y->dims[i]->value)
			return false;
	}
	first[y->rank] = x->rank;
	return at == x->rank;
}

/* v, which broadcasts to `rank` axes, with all of them, transposed. A scalar stays one. */
static struct value *turn(struct builder *b, struct value *v, int rank, const int64_t *perm)
{
	dim dims[HONE_MAX_RANK];
	int more = rank - v->type.rank;

	if (!v->type.rank)
		return v;
	for (int i = 0; i < rank; i++)
		dims[i] = i < more ? dim_const(&b->graph->dims, 1) : v->type.dims[i - more];
	v = more ? add_reshape(b, v, rank, dims) : v;
	return v ? add_transpose_perm(b, v, perm) : NULL;
}

/* %w = map(const, const) (..) -> e   %y = transpose %w   =>   %y = map(transpose const, transpose const) (..) -> e
 * also with a reshape between them that joins neighbouring axes, which then comes last. */
struct value *transpose_weights(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct node *joined = value_def(n->in[0], OP_reshape),
		    *m = value_def(joined ? joined->in[0] : n->in[0], OP_map);
	const struct type *x = m ? &m->out[0]->type : NULL;
	struct ints perm = ATTRS_OF(transpose, n)->perm;
	struct value **in, *y;
	int first[HONE_MAX_RANK + 1], count = 0;
	int64_t moved[HONE_MAX_RANK];

	if (!is_weight(m) || !find_parts(x, &n->in[0]->type, first))
		return NULL;
	for (int i = 0; i < perm.count; i++)
		for (int k = first[perm.at[i]]; k < first[perm.at[i] + 1]; k++)
			moved[count++] = k;
	in = ARENA_ARRAY(c->scratch, struct value *, m->in_count);
	for (int i = 0; i < m->in_count; i++) {
		in[i] = turn(&b, m->in[i], x->rank, moved);
		if (!in[i])
			return NULL;
	}
	y = add_map(&b, m->expr, x->dtype, m->in_count, in);
	return y && joined ? add_reshape(&b, y, n->out[0]->type.rank, n->out[0]->type.dims) : y;
}
