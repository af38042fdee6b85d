/* quantize_bf16.c: mode bf16: contractions multiply bf16 and add in f32; all else is computed in f32. Weights and tables
 * are rounded here, what they are multiplied by where it is made, once for all that read it: others then read the rounded
 * values too, so that one tensor of half the size is stored. Results of the model and its inputs stay as they are.
 *
 *	%y: f32 = matmul(%x, const f32)
 *	=>  %h: bf16 = map(%x) (a: f32) -> bf16(a)
 *	    %y: f32 = matmul(%h, const bf16) {wide}
 *	    %d: f32 = map(%h) (a: f32) -> a              for other readers of %x
 *
 * Source: Kalamkar et al. 2019, "A study of bfloat16 for deep learning training". */
#include "passes/quantize.h"

#include <stdio.h>
#include <string.h>

struct rounding {
	struct quantizing *q;
	int room;              /* of both, by value id */
	struct value **narrow; /* %h of %x */
	struct value **wide;   /* %d of %x */
	struct {
		struct node **at;
		int count, room;
	} tables;
};

/* ---- weights ---- */

/* To nearest even; a NaN keeps its sign and stays one. */
static uint16_t round_bits(uint32_t x)
{
	if ((x & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(x >> 16 | 0x40);
	return (uint16_t)((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

/* A constant f32 tensor, in bf16. */
static struct value *round_constant(struct builder *b, const struct type *t, const void *from)
{
	struct type type = type_make(DT_BF16, t->rank, t->dims);
	int64_t count = type_count_const(t);
	uint16_t *data = arena_alloc(b->graph->arena, (size_t)count * sizeof(*data));

	for (int64_t i = 0; i < count; i++) {
		uint32_t bits; /* the model's bytes may be unaligned */

		memcpy(&bits, (const char *)from + i * 4, 4);
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
		     *h = rounded(r, x), *weight = round_constant(&b, &l->weight->type, l->data);

	in = h ? move_again(&b, in, x, h) : NULL;
	if (!in || !weight)
		return false;
	set_wide(l->node);
	return layer_replace(r->q, l, in, weight);
}

/* Large constants of which parts are taken (embeddings): %y = gather(const f32, %i)
 *	=>  %h: bf16 = gather(const bf16, %i)  %y: f32 = map(%h) (a: f32) -> a */
static bool add_table(struct node *n, void *self)
{
	enum { LEAST = 1 << 14 };
	struct rounding *r = self;
	const struct tensor *t = n->op == OP_gather ? value_const(n->in[0]) : NULL;

	if (t && t->kind != TENSOR_SPLAT && n->in[0]->type.dtype == DT_F32 &&
	    type_count_const(&n->in[0]->type) >= LEAST)
		ARENA_PUSH(r->q->c->scratch, &r->tables, n);
	return true;
}

static bool narrow_table(struct rounding *r, struct node *n)
{
	struct builder b = build_before(r->q->c, n);
	const struct type *t = &n->in[0]->type;
	struct value **in = arena_copy(r->q->c->scratch, n->in, (size_t)n->in_count * sizeof(*in)),
		     *y;

	in[0] = round_constant(
		&b, t,
		tensor_bytes(value_const(n->in[0]), DT_F32, type_count_const(t), r->q->c->scratch));
	y = in[0] ? add_like(&b, n, in, n->attrs) : NULL;
	y = y ? add_cast(&b, y, DT_F32) : NULL;
	if (!y)
		return false;
	y->name = n->out[0]->name;
	value_replace(n->out[0], y);
	node_remove(n);
	r->q->c->changes++;
	return true;
}

static void report(const struct rounding *r, int products)
{
	struct report_section *s = report_section(r->q->c->report, "quantize", "products of bf16");

	if (!products && !r->tables.count) {
		diag_add(r->q->c->diag, DIAG_WARNING, (struct loc){0},
			 "--quantize bf16: no product has sums of 8 or more and as many columns; "
			 "the model is left as it is");
		return;
	}
	report_text(s, "mode", "bf16");
	report_number(s, "layers_quantized", products);
	fprintf(stderr, "quantize: %d of %d layers and %d tables in bf16\n", products,
		r->q->layers.count, r->tables.count);
}

bool quantize_bf16(struct quantizing *q)
{
	struct rounding r = {.q = q, .room = q->c->graph->value_count};
	int products = 0;

	if (*q->option)
		return quantize_bad_option(q, "no option of bf16");
	r.narrow = ARENA_ARRAY(q->c->scratch, struct value *, r.room);
	r.wide = ARENA_ARRAY(q->c->scratch, struct value *, r.room);
	graph_walk(q->c->graph, add_table, &r);
	for (int i = 0; i < q->layers.count; i++) {
		if (!layer_suits_bytes(&q->layers.at[i]))
			continue;
		if (!narrow_layer(&r, &q->layers.at[i]))
			return false;
		products++;
	}
	graph_resolve(q->c->graph);
	keep_results(&r, q->c->graph->body);
	graph_walk(q->c->graph, read_rounded, &r);
	for (int i = 0; i < r.tables.count; i++)
		if (!narrow_table(&r, r.tables.at[i]))
			return false;
	report(&r, products);
	return true;
}
