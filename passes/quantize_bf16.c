/* quantize_bf16.c: mode bf16: contractions multiply bf16 and add in f32; all else stays f32. Weights are rounded here, what
 * they are multiplied by where it is made, once for all that read it: others then read the rounded values too, so that
 * one tensor of half the size is stored. Results of the model and its inputs stay as they are.
 *
 *	%y: f32 = matmul(%x, const f32)
 *	=>  %h: bf16 = map(%x) (a: f32) -> bf16(a)
 *	    %y: f32 = matmul(%h, const bf16) {wide}
 *	    %d: f32 = map(%h) (a: f32) -> a              for other readers of %x
 *
 * Source: Kalamkar et al. 2019, "A study of bfloat16 for deep learning training". */
#include "passes/quantize.h"

#include <string.h>

struct rounding {
	struct quantizing *q;
	int room;              /* of both, by value id */
	struct value **narrow; /* %h of %x */
	struct value **wide;   /* %d of %x */
};

/* ---- weights ---- */

/* To nearest even; a NaN keeps its sign and stays one. */
static uint16_t round_bits(uint32_t x)
{
	if ((x & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(x >> 16 | 0x40);
	return (uint16_t)((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

static struct value *round_weight(struct builder *b, const struct layer *l)
{
	const struct type *w = &l->weight->type;
	struct type type = type_make(DT_BF16, w->rank, w->dims);
	int64_t count = l->rows * l->columns;
	uint16_t *data = arena_alloc(b->graph->arena, (size_t)count * sizeof(*data));

	for (int64_t i = 0; i < count; i++) {
		uint32_t bits; /* the model's bytes may be unaligned */

		memcpy(&bits, (const char *)l->data + i * 4, 4);
		data[i] = round_bits(bits);
	}
	return add_bytes(b, &type, data);
}

/* ---- activations ---- */

/* %h of x; NULL: refused. */
static struct value *rounded(struct rounding *r, struct value *x)
{
	struct builder b = build_after(r->q, x);
	struct value *h;

	if (x->id < r->room && r->narrow[x->id])
		return r->narrow[x->id];
	h = add_cast(&b, x, DT_BF16);
	if (!h || x->id >= r->room)
		return h;
	r->narrow[x->id] = h;
	if (x->def)
		r->wide[x->id] = add_cast(&b, h, DT_F32);
	return h;
}

/* Other readers take the rounded values. */
static bool read_rounded(struct node *n, void *self)
{
	const struct rounding *r = self;

	for (int i = 0; i < n->in_count; i++) {
		struct value *x = n->in[i] ? value_now(n->in[i]) : NULL;

		if (x && x->id < r->room && r->wide[x->id] && n != r->narrow[x->id]->def)
			n->in[i] = r->wide[x->id];
	}
	return true;
}

/* A result of the model is not rounded, and stored anyway. */
static void keep_results(struct rounding *r, const struct region *body)
{
	for (int i = 0; i < body->result_count; i++) {
		struct value *x = value_now(body->results[i]);

		if (x->id < r->room)
			r->wide[x->id] = NULL;
	}
}

/* ---- the mode ---- */

static void set_wide(struct node *n)
{
	if (n->op == OP_conv)
		((struct attrs_conv *)n->attrs)->wide = true;
	else
		((struct attrs_matmul *)n->attrs)->wide = true;
}

static bool narrow_layer(struct rounding *r, struct layer *l)
{
	struct builder b = build_before(r->q->c, l->node);
	struct value *in = value_now(l->node->in[0]), *x = layer_origin(in, true),
		     *h = rounded(r, x), *weight = round_weight(&b, l);

	in = h ? move_again(&b, in, x, h) : NULL;
	if (!in || !weight)
		return false;
	set_wide(l->node);
	return layer_replace(r->q, l, in, weight);
}

bool quantize_bf16(struct quantizing *q)
{
	struct rounding r = {.q = q, .room = q->c->graph->value_count};

	if (*q->option)
		return quantize_bad_option(q, "no option of bf16");
	r.narrow = ARENA_ARRAY(q->c->scratch, struct value *, r.room);
	r.wide = ARENA_ARRAY(q->c->scratch, struct value *, r.room);
	for (int i = 0; i < q->layers.count; i++)
		if (layer_suits_bytes(&q->layers.at[i]) && !narrow_layer(&r, &q->layers.at[i]))
			return false;
	graph_resolve(q->c->graph);
	keep_results(&r, q->c->graph->body);
	return graph_walk(q->c->graph, read_rounded, &r);
}
