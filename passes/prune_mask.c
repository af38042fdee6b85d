/* prune_mask.c: zeros in place of what was removed (--prune ..,mask=on): the same results at the old size. It is the
 * reference for what is emitted, and what a training run goes on from. */
#include "passes/prune.h"

/* %x' = map(%x, const) (x, m) -> x * m, with m 0 where x's axis loses the element, else 1. */
static bool mask_operand(struct prune *p, struct node *n, int operand, int axis)
{
	struct builder b = build_before(p->c, n);
	struct value *x = n->in[operand], *pair[2] = {x, NULL};
	int first = prune_first(p, x, axis), removed = 0;
	dim dims[HONE_MAX_RANK];
	struct type type;
	float *mask;

	if (first < 0)
		return true;
	mask = ARENA_ARRAY(p->c->graph->arena, float, x->type.dims[axis]->value);
	for (int i = 0; i < x->type.dims[axis]->value; i++) {
		mask[i] = prune_stays(p, first + i);
		removed += !prune_stays(p, first + i);
	}
	if (!removed)
		return true;
	for (int i = 0; i < x->type.rank - axis; i++)
		dims[i] = i ? dim_const(&p->c->graph->dims, 1) : x->type.dims[axis];
	type = type_make(DT_F32, x->type.rank - axis, dims);
	pair[1] = add_cast(&b, add_bytes(&b, &type, mask), x->type.dtype);
	n->in[operand] = add_binary(&b, EXPR_MUL, pair[0], pair[1]);
	p->c->changes++;
	return n->in[operand] != NULL;
}

bool prune_emit_mask(struct prune *p)
{
	struct region *body = p->c->graph->body;
	bool ok = true;

	for (struct node *n = body->first; n && ok; n = n->next) {
		int last = n->in_count ? n->in[0]->type.rank - 1 : 0;

		if (n->op == OP_matmul || (n->op == OP_conv && ATTRS_OF(conv, n)->group == 1) ||
		    n->op == OP_attention)
			ok = mask_operand(p, n, 0, last);
	}
	return ok;
}
