/* quantize_int8.c: modes whose products are of bytes: weights i8 with a scale for each output channel, activations u8
 * with one scale and zero point. Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
 * integer-arithmetic-only inference". */
#include "passes/quantize.h"

/* Each sum must be long enough to pay for quantizing its operand, and the tiles have columns. */
static bool suits(const struct layer *l)
{
	const struct node *n = l->node;
	int64_t groups = n->op == OP_conv ? ATTRS_OF(conv, n)->group : 1;

	return l->k >= 8 && l->columns / groups >= 8;
}

/* What x is moved from, with zeros at most added: quantized there, bytes are moved instead. pools:
 * through max pools too, as fits scales that are known to be positive. */
static struct value *origin(struct value *x, bool pools)
{
	for (;;) {
		struct node *n = x->def;
		bool moves =
			n &&
			(n->op == OP_transpose || n->op == OP_reshape ||
			 (pools && n->op == OP_pool && ATTRS_OF(pool, n)->kind == REDUCE_MAX) ||
			 (n->op == OP_pad && n->in_count == 1));

		if (!moves || !n->in[0]->def || n->parent != n->in[0]->def->parent)
			return x;
		x = value_now(n->in[0]);
	}
}

/* Where new nodes see x and are seen by all that reads it. */
static struct builder build_after(struct quantizing *q, struct value *x)
{
	struct region *r = x->def ? x->def->parent : x->region;

	return (struct builder){q->c->graph, r, x->def ? x->def->next : r->first,
				x->def ? x->def->loc : (struct loc){0}, q->c->diag};
}

/* x, moved as it is, from `with` instead of its origin. */
static struct value *move_again(struct builder *b, struct value *x, const struct value *from,
				struct value *with)
{
	struct value *moved;

	if (x == from)
		return with;
	moved = move_again(b, value_now(x->def->in[0]), from, with);
	return moved ? add_like(b, x->def, &moved, x->def->attrs) : NULL;
}

/* ---- ranges at run time ---- */

/* As ONNX DynamicQuantizeLinear: scale = (max - min) / 255 with 0 in the range. Kept for each value, since several
 * layers read the same. */
static struct value *quantize_dynamic(struct builder *b, struct value *x)
{
	struct value *low = add_reduce(b, REDUCE_MIN, x, 0, NULL, false),
		     *high = add_reduce(b, REDUCE_MAX, x, 0, NULL, false), *in[2] = {low, high},
		     *scale, *zero;

	/* a tensor of zeros: any scale but 0 */
	scale = add_map_text(b, "(a, b) -> max((max(b, 0) - min(a, 0)) / 255, 1e-30)", DT_F32, 2,
			     in, 0, NULL);
	in[1] = scale;
	zero = add_map_text(b, "(a, b) -> u8(rne(-min(a, 0) / b))", DT_U8, 2, in, 0, NULL);
	return add_dequantize(b, add_quantize(b, x, scale, zero), scale, zero);
}

bool quantize_int8_dynamic(struct quantizing *q)
{
	int room = q->c->graph->value_count;
	struct value **done = ARENA_ARRAY(q->c->scratch, struct value *, room);

	if (*q->option)
		return quantize_bad_option(q, "no option of int8-dynamic");
	for (int i = 0; i < q->layers.count; i++) {
		struct layer *l = &q->layers.at[i];
		struct value *in = value_now(l->node->in[0]), *x = origin(in, false), *made;
		struct builder after = build_after(q, x), b = build_before(q->c, l->node);

		if (!suits(l))
			continue;
		made = x->id < room ? done[x->id] : NULL;
		if (!made)
			made = quantize_dynamic(&after, x);
		if (x->id < room)
			done[x->id] = made;
		in = made ? move_again(&b, in, x, made) : NULL;
		if (!in || !layer_replace(q, l, in, quantize_weight(&b, l)))
			return false;
	}
	return true;
}
