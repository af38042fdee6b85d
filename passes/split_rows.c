/* split_rows: a normalization over more than a row buffer holds (a group norm over all of an image) becomes its
 * parts: what reads the statistics would compute them again in each of its tasks.
 *   %y = normalize(%x) {axes, eps}   =>   m = sum x / n, v = sum (x - m)^2 / n, y = (x - m) / sqrt(v + eps) */
#include "passes/group.h"
#include "passes/patterns.h"

/* Elements that are normalized together; 0 when not known. */
static int64_t row_size(const struct node *n)
{
	const struct ints *axes = &ATTRS_OF(normalize, n)->axes;
	int64_t size = 1;

	for (int i = 0; i < axes->count; i++) {
		dim d = n->in[0]->type.dims[axes->at[i]];

		if (!dim_is_const(d))
			return 0;
		size *= d->value;
	}
	return size;
}

/* The mean over n's axes, which are kept. */
static struct value *mean(struct builder *b, const struct node *n, struct value *x, int64_t size)
{
	const struct ints *axes = &ATTRS_OF(normalize, n)->axes;
	struct value *sum = add_reduce(b, REDUCE_SUM, x, axes->count, axes->at, true);

	return add_map_text(b, "(a) -> a / n", DT_NONE, 1, &sum, 1,
			    (struct named_real[]){{"n", (double)size}});
}

static struct value *split(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	const struct attrs_normalize *a = ATTRS_OF(normalize, n);
	struct named_real eps = {"eps", a->eps};
	struct value *in[2] = {n->in[0]}, *square;
	int64_t size = row_size(n);

	if (size * 4 <= ROW_BYTES || n->in[0]->type.dtype != DT_F32)
		return NULL;
	if (!a->rms) {
		in[1] = mean(&b, n, in[0], size);
		in[0] = add_binary(&b, EXPR_SUB, in[0], in[1]);
	}
	square = add_binary(&b, EXPR_MUL, in[0], in[0]);
	in[1] = mean(&b, n, square, size);
	in[0] = add_map_text(&b, "(a, v) -> a * (1 / sqrt(v + eps))", DT_NONE, 2, in, 1, &eps);
	for (int i = 1; i < n->in_count; i++) {
		if (!n->in[i])
			continue;
		in[1] = n->in[i];
		in[0] = add_binary(&b, i == 1 ? EXPR_MUL : EXPR_ADD, in[0], in[1]);
	}
	return in[0];
}

static struct value *visit(struct pass_context *c, struct node *n, void *self)
{
	(void)self;
	return n->op == OP_normalize ? split(c, n) : NULL;
}

bool pass_split_rows(struct pass_context *c)
{
	int errors = c->diag->errors;

	rewrite_graph(c, visit, NULL);
	return c->diag->errors == errors;
}
