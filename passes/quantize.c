/* quantize: weights and activations of few bits (--quantize). An argument such as "int8:percentile=99.9" names the mode
 * and its options; without one nothing is done. Each mode is a row of the table below and has a file of its own. */
#include "passes/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct quantize_mode quantize_modes[] = {
	{"int8",
	 "i8 weights, u8 activations by their range on calibration inputs; minmax, percentile=P",
	 true, quantize_int8},
	{"int8-dynamic", "i8 weights, u8 activations by their range at run time", false,
	 quantize_int8_dynamic},
	{"auto", "int8 where the outputs stay within --max-error, the other layers as they are",
	 true, quantize_auto},
	{"int8-weight", "weights and tables i8, all arithmetic in f32", false,
	 quantize_int8_weight},
	{"int4-weight",
	 "the same in i4 with a scale for each :B weights (32); better with --calibrate", false,
	 quantize_int4_weight},
	{"bf16", "products of bf16, sums and all else in f32", false, quantize_bf16},
	{NULL, NULL, false, NULL},
};

/* ---- options ---- */

static bool usage(const struct pass_context *c, const char *what, const char *detail)
{
	return diag_add(c->diag, DIAG_USAGE, (struct loc){0}, "--quantize: %s%s", what, detail);
}

bool quantize_bad_option(const struct quantizing *q, const char *expected)
{
	return diag_add(q->c->diag, DIAG_USAGE, (struct loc){0}, "--quantize: \"%s\": expected %s",
			q->option, expected);
}

static bool unknown_mode(const struct pass_context *c, const char *name)
{
	const char *all = "";

	for (const struct quantize_mode *m = quantize_modes; m->name; m++)
		all = arena_printf(c->scratch, "%s%s%s", all, *all ? ", " : "", m->name);
	return usage(c, arena_printf(c->scratch, "there is no mode \"%s\"; there are: ", name),
		     all);
}

/* "MODE[:OPTION][;max-error=E]" */
static bool read_argument(struct quantizing *q, const struct quantize_mode **mode)
{
	char *at = arena_text(q->c->scratch, q->c->argument), *rest = strchr(at, ';'), *end;
	const char *error = "max-error=";

	if (rest) {
		*rest++ = 0;
		if (strncmp(rest, error, strlen(error)))
			return usage(q->c, "unknown option ", rest);
		q->max_error = strtod(rest + strlen(error), &end);
		if (*end || !(q->max_error > 0))
			return usage(q->c, "--max-error takes a number above 0, found ",
				     rest + strlen(error));
	}
	rest = strchr(at, ':');
	q->option = rest ? rest + 1 : "";
	if (rest)
		*rest = 0;
	for (const struct quantize_mode *m = quantize_modes; m->name; m++)
		if (!strcmp(m->name, at)) {
			*mode = m;
			return true;
		}
	return unknown_mode(q->c, at);
}

/* ---- layers ---- */

static int64_t extent_or_one(dim d) { return dim_is_const(d) ? d->value : 1; }

static bool add_layer(struct node *n, void *self)
{
	struct quantizing *q = self;
	const struct tensor *t;
	struct layer l = {.node = n};
	const struct type *w;

	if (n->op != OP_matmul && n->op != OP_conv)
		return true;
	w = &n->in[1]->type;
	t = value_const(n->in[1]);
	if (!t || t->kind == TENSOR_SPLAT || w->dtype != DT_F32 || w->rank < 2 ||
	    value_const(n->in[0]) || type_count_const(w) <= 0)
		return true;
	l.weight = n->in[1];
	l.columns = w->dims[w->rank - 1]->value;
	l.rows = type_count_const(w) / l.columns;
	l.k = n->op == OP_conv ? l.rows : w->dims[w->rank - 2]->value;
	l.work = (double)l.k;
	for (int i = 0; i < n->out[0]->type.rank; i++)
		l.work *= (double)extent_or_one(n->out[0]->type.dims[i]);
	l.data = tensor_bytes(t, DT_F32, l.rows * l.columns, q->c->scratch);
	ARENA_PUSH(q->c->scratch, &q->layers, l);
	return true;
}

bool layer_replace(struct quantizing *q, struct layer *l, struct value *x, struct value *weight)
{
	struct builder b = build_before(q->c, l->node);
	struct value *in[2] = {x ? x : l->node->in[0], weight ? weight : l->weight}, *y;

	y = add_like(&b, l->node, in, l->node->attrs);
	if (!y)
		return false;
	y->name = l->node->out[0]->name;
	value_replace(l->node->out[0], y);
	node_remove(l->node);
	l->node = y->def;
	q->c->changes++;
	return true;
}

/* ---- what layers read ---- */

bool layer_suits_bytes(const struct layer *l)
{
	const struct node *n = l->node;
	int64_t groups = n->op == OP_conv ? ATTRS_OF(conv, n)->group : 1;

	return l->k >= 8 && l->columns / groups >= 8;
}

struct value *layer_origin(struct value *x, bool pools)
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

struct builder build_after(struct quantizing *q, struct value *x)
{
	struct region *r = x->def ? x->def->parent : x->region;

	return (struct builder){q->c->graph, r, x->def ? x->def->next : r->first,
				x->def ? x->def->loc : (struct loc){0}, q->c->diag};
}

struct value *move_again(struct builder *b, struct value *x, const struct value *from,
			 struct value *with)
{
	struct value *moved;

	if (x == from)
		return with;
	moved = move_again(b, value_now(x->def->in[0]), from, with);
	return moved ? add_like(b, x->def, &moved, x->def->attrs) : NULL;
}

/* ---- weights ---- */

/* The bytes of models may be unaligned. */
static float load_float(const float *at, int64_t i)
{
	float x;

	memcpy(&x, (const char *)at + i * 4, 4);
	return x;
}

float *layer_column_range(const struct layer *l, struct arena *a)
{
	float *most = ARENA_ARRAY(a, float, l->columns);

	for (int64_t i = 0; i < l->rows; i++)
		for (int64_t k = 0; k < l->columns; k++) {
			float x = fabsf(load_float(l->data, i * l->columns + k));

			most[k] = x > most[k] ? x : most[k];
		}
	return most;
}

int8_t quantize_round(float x, float scale, int limit)
{
	float r = scale > 0 ? rintf(x / scale) : 0;

	return (int8_t)(r > (float)limit ? limit : r < -(float)limit ? -limit : (int)r);
}

struct value *quantize_weight(struct builder *b, const struct layer *l)
{
	struct arena *a = b->graph->arena;
	const struct type *w = &l->weight->type;
	float *scale = layer_column_range(l, a);
	int8_t *bytes = arena_alloc(a, (size_t)(l->rows * l->columns));
	struct type narrow = type_make(DT_I8, w->rank, w->dims),
		    row = type_make(DT_F32, 1, w->dims + w->rank - 1);
	struct value *in[2];

	for (int64_t k = 0; k < l->columns; k++)
		scale[k] /= 127;
	for (int64_t i = 0; i < l->rows; i++)
		for (int64_t k = 0; k < l->columns; k++)
			bytes[i * l->columns + k] = quantize_round(
				load_float(l->data, i * l->columns + k), scale[k], 127);
	in[0] = add_bytes(b, &narrow, bytes);
	in[1] = add_bytes(b, &row, scale);
	return add_map_text(b, "(a, b) -> f32(a) * b", DT_F32, 2, in, 0, NULL);
}

struct value *add_dequantize(struct builder *b, struct value *q, struct value *scale,
			     struct value *zero)
{
	struct value *in[3] = {q, scale, zero};

	return add_map_text(b, "(a, b, c) -> f32(i32(a) - i32(c)) * b", DT_F32, 3, in, 0, NULL);
}

struct value *add_quantize(struct builder *b, struct value *x, struct value *scale,
			   struct value *zero)
{
	struct value *in[3] = {x, add_map_text(b, "(a) -> 1 / a", DT_F32, 1, &scale, 0, NULL),
			       zero};

	return add_map_text(b, "(a, b, c) -> u8(rne(a * b) + f32(c))", DT_U8, 3, in, 0, NULL);
}

/* ---- the pass ---- */

bool pass_quantize(struct pass_context *c)
{
	struct quantizing q = {.c = c};
	const struct quantize_mode *mode = NULL;

	if (!c->argument)
		return true;
	if (!read_argument(&q, &mode))
		return false;
	if (mode->calibrates && !c->calibration)
		return diag_add(c->diag, DIAG_USAGE, (struct loc){0},
				"--quantize %s needs inputs to calibrate on: --calibrate FILE..",
				mode->name);
	if (!pass_dead_code(c)) /* what was fused away is no layer */
		return false;
	graph_walk(c->graph, add_layer, &q);
	if (!q.layers.count)
		diag_add(c->diag, DIAG_WARNING, (struct loc){0},
			 "--quantize %s: the model has no product by a constant f32 weight; it is "
			 "left as it is",
			 mode->name);
	if (!mode->run(&q))
		return false;
	graph_resolve(c->graph);
	return pass_dead_code(c);
}
