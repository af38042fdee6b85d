/* export.c: from a graph to the messages of onnx.proto: one function for each core operator, the table is below. */
#include "frontend/export_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Field numbers of onnx.proto. */
enum {
	MODEL_IR_VERSION = 1,
	MODEL_PRODUCER = 2,
	MODEL_PRODUCER_VERSION = 3,
	MODEL_GRAPH = 7,
	MODEL_OPSET = 8,
	OPSET_VERSION = 2,
	GRAPH_NODE = 1,
	GRAPH_NAME = 2,
	GRAPH_INITIALIZER = 5,
	GRAPH_INPUT = 11,
	GRAPH_OUTPUT = 12,
	NODE_INPUT = 1,
	NODE_OUTPUT = 2,
	NODE_NAME = 3,
	NODE_OP = 4,
	NODE_ATTRIBUTE = 5,
	ATTRIBUTE_NAME = 1,
	ATTRIBUTE_F = 2,
	ATTRIBUTE_I = 3,
	ATTRIBUTE_S = 4,
	ATTRIBUTE_G = 6,
	ATTRIBUTE_INTS = 8,
	ATTRIBUTE_TYPE = 20,
	VALUE_NAME = 1,
	VALUE_TYPE = 2,
	TYPE_OF_TENSOR = 1,
	TENSOR_TYPE_ELEMENT = 1,
	TENSOR_TYPE_SHAPE = 2,
	SHAPE_DIM = 1,
	DIM_VALUE = 1,
	DIM_PARAM = 2,
};

/* What ONNX has no operator for has no row. */
static export_fn *const table[OP_COUNT] = {
	[OP_const] = export_const,
	[OP_shape] = export_shape,
	[OP_bind] = export_bind,
	[OP_iota] = export_iota,
	[OP_map] = export_map,
	[OP_reduce] = export_reduce,
	[OP_argreduce] = export_argreduce,
	[OP_cumulate] = export_cumulate,
	[OP_softmax] = export_softmax,
	[OP_normalize] = export_normalize,
	[OP_matmul] = export_matmul,
	[OP_conv] = export_conv,
	[OP_pool] = export_pool,
	[OP_attention] = export_attention,
	[OP_reshape] = export_reshape,
	[OP_transpose] = export_transpose,
	[OP_slice] = export_slice,
	[OP_expand] = export_expand,
	[OP_pad] = export_pad,
	[OP_concat] = export_concat,
	[OP_gather] = export_gather,
	[OP_scatter] = export_scatter,
	[OP_nonzero] = export_nonzero,
	[OP_topk] = export_topk,
	[OP_if] = export_if,
	[OP_loop] = export_loop,
	[OP_scan] = export_scan,
};

/* ---- nodes ---- */

bool out_refuse(struct exporter *x, const char *format, ...)
{
	char text[256];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	return diag_add(x->diag, DIAG_UNSUPPORTED, x->node->loc, "cannot be written as ONNX: %s",
			text);
}

static void put_attr(struct proto *node, struct arena *a, const struct out_attr *o)
{
	/* AttributeProto.AttributeType */
	static const int types[] = {
		[OUT_REAL] = 1, [OUT_INT] = 2, [OUT_TEXT] = 3, [OUT_GRAPH] = 5, [OUT_INTS] = 7};
	struct proto p = {.arena = a};

	proto_text(&p, ATTRIBUTE_NAME, o->name);
	switch (o->kind) {
	case OUT_INT: proto_int(&p, ATTRIBUTE_I, o->i); break;
	case OUT_REAL: proto_float(&p, ATTRIBUTE_F, (float)o->f); break;
	case OUT_TEXT: proto_text(&p, ATTRIBUTE_S, o->text); break;
	case OUT_GRAPH: proto_message(&p, ATTRIBUTE_G, o->graph); break;
	case OUT_INTS:
		for (int i = 0; i < o->count; i++)
			proto_int(&p, ATTRIBUTE_INTS, o->ints[i]);
		break;
	}
	proto_int(&p, ATTRIBUTE_TYPE, types[o->kind]);
	proto_message(node, NODE_ATTRIBUTE, &p);
}

void out_add(struct exporter *x, const struct out_node *n)
{
	const char *origin = x->node && x->node->loc.node ? x->node->loc.node : n->op;
	struct proto p = {.arena = x->arena};

	for (int i = 0; i < n->in_count; i++) {
		if (!n->in[i])
			return;
		proto_text(&p, NODE_INPUT, n->in[i]);
	}
	for (int i = 0; i < n->out_count; i++)
		proto_text(&p, NODE_OUTPUT, n->out[i]);
	proto_text(&p, NODE_NAME, names_claim(&x->node_names, origin));
	proto_text(&p, NODE_OP, n->op);
	for (int i = 0; i < n->attr_count; i++)
		put_attr(&p, x->arena, &n->attrs[i]);
	proto_message(&x->body->nodes, GRAPH_NODE, &p);
	x->out->node_count++;
}

const char *out_node(struct exporter *x, const char *op, const char *name, int in_count,
		     const char *const *in, int attr_count, const struct out_attr *attrs)
{
	for (int i = 0; i < in_count; i++)
		if (!in[i])
			return NULL;
	if (!name)
		name = name_new(x, op);
	out_add(x, &(struct out_node){op, in_count, 1, attr_count, in, &name, attrs});
	return name;
}

static void export_node(struct exporter *x, struct node *n)
{
	x->node = n;
	if (!table[n->op])
		out_refuse(x, "the operator %s", op_table[n->op].name);
	else
		table[n->op](x, n);
	for (int i = 0; i < n->out_count; i++)
		dim_note(x, n->out[i]);
	x->node = NULL;
}

/* ---- graphs ---- */

static void put_value(struct exporter *x, struct proto *graph, int field, const char *name,
		      const struct type *t)
{
	struct proto shape = {.arena = x->arena}, tensor = shape, type = shape, value = shape;

	for (int i = 0; i < t->rank; i++) {
		struct proto d = {.arena = x->arena};

		if (dim_is_const(t->dims[i]))
			proto_int(&d, DIM_VALUE, t->dims[i]->value);
		else if (t->dims[i]->kind == DIM_SYMBOL)
			proto_text(&d, DIM_PARAM, x->graph->dims.symbols[t->dims[i]->value].name);
		proto_message(&shape, SHAPE_DIM, &d);
	}
	proto_int(&tensor, TENSOR_TYPE_ELEMENT, t->dtype);
	proto_message(&tensor, TENSOR_TYPE_SHAPE, &shape);
	proto_message(&type, TYPE_OF_TENSOR, &tensor);
	proto_text(&value, VALUE_NAME, name);
	proto_message(&value, VALUE_TYPE, &type);
	proto_message(graph, field, &value);
}

static void export_nodes(struct exporter *x, struct region *r)
{
	const struct node *outer = x->node;

	for (struct node *n = r->first; n; n = n->next)
		export_node(x, n);
	x->node = outer;
}

/* Result i as a tensor of the name `name` that this graph makes. */
static void put_result(struct exporter *x, struct value *v, const char *name)
{
	const char *tensor = value_plain(x, v);

	if (tensor && strcmp(tensor, name))
		OUT(x, "Identity", name, tensor);
}

const struct proto *out_region(struct exporter *x, struct region *r, const char *name,
			       bool has_inputs)
{
	struct body body = {.nodes = {.arena = x->arena},
			    .outer = x->body,
			    .slot_count = x->slots.count,
			    .source_count = x->sources.count};
	struct proto ends = {.arena = x->arena}, *p = ARENA_NEW(x->arena, struct proto);

	x->body = &body;
	for (int i = 0; i < r->param_count; i++) {
		struct value *v = r->params[i];

		value_set(x, v, name_new(x, v->name ? v->name : "in"));
		dim_note(x, v);
		if (has_inputs)
			put_value(x, &ends, GRAPH_INPUT, view_of(x, v)->name, &v->type);
	}
	export_nodes(x, r);
	for (int i = 0; i < r->result_count; i++) {
		const char *result = name_new(x, "out");

		put_result(x, r->results[i], result);
		put_value(x, &ends, GRAPH_OUTPUT, result, &r->results[i]->type);
	}
	*p = body.nodes;
	proto_text(p, GRAPH_NAME, name);
	if (p->size || ends.size)
		proto_append(p, &ends);
	for (; x->slots.count > body.slot_count; x->slots.count--)
		*x->slots.at[x->slots.count - 1] = NULL;
	x->sources.count = body.source_count;
	x->body = body.outer;
	return p;
}

/* ---- the model ---- */

/* One error for all that ends early: without it the rest would be refused part by part. */
static bool find_exit(struct node *n, void *self)
{
	(void)self;
	return n->op != OP_return_if && n->op != OP_param;
}

/* By value id: its reader, if there is one, once and in the same region. */
static bool find_reader(struct node *n, void *self)
{
	struct exporter *x = self;

	for (int i = 0; i < n->in_count; i++) {
		struct value *v = n->in[i];

		if (v && x->uses[v->id] == 1 && v->def && v->def->parent == n->parent)
			x->readers[v->id] = n;
	}
	return true;
}

static bool find_newer(struct node *n, void *self)
{
	int *opset = self;

	for (int i = 0; i < n->out_count; i++)
		if (dtype_bits(n->out[i]->type.dtype) == 4)
			*opset = 21; /* the first with 4-bit types */
	return true;
}

static void set_inputs(struct exporter *x, struct proto *ends)
{
	struct graph *g = x->graph;

	for (int i = 0; i < g->body->param_count; i++) {
		names_add(&x->names, g->input_names[i], NULL);
		value_set(x, g->body->params[i], g->input_names[i]);
		dim_note(x, g->body->params[i]);
		put_value(x, ends, GRAPH_INPUT, g->input_names[i], &g->body->params[i]->type);
	}
	for (int i = 0; i < g->body->result_count; i++) {
		struct view *v = view_of(x, g->body->results[i]);

		names_add(&x->names, g->output_names[i], NULL);
		if (!v->output && !v->name && !value_const(g->body->results[i]))
			v->output = g->output_names[i];
		put_value(x, ends, GRAPH_OUTPUT, g->output_names[i], &g->body->results[i]->type);
	}
}

static void push(struct exporter *x, const void *data, size_t size)
{
	if (size)
		ARENA_PUSH(x->arena, &x->out->pieces, ((struct export_piece){data, size}));
}

/* ModelProto around the graph, whose length stands before it. */
static bool assemble(struct exporter *x, const struct proto *ends)
{
	struct proto head = {.arena = x->arena}, opset = head, *wraps;
	uint64_t size = x->body->nodes.size + ends->size;

	wraps = ARENA_ARRAY(x->arena, struct proto, x->constants.count + 1);
	for (int i = 0; i < x->constants.count; i++) {
		const struct initializer *c = &x->constants.at[i];

		wraps[i].arena = x->arena;
		proto_head(&wraps[i], GRAPH_INITIALIZER, c->head.size + c->size);
		size += wraps[i].size + c->head.size + c->size;
	}
	proto_int(&head, MODEL_IR_VERSION, x->opset > 17 ? 10 : 8);
	proto_text(&head, MODEL_PRODUCER, "hone");
	proto_text(&head, MODEL_PRODUCER_VERSION, HONE_VERSION);
	proto_int(&opset, OPSET_VERSION, x->opset);
	proto_message(&head, MODEL_OPSET, &opset);
	proto_head(&head, MODEL_GRAPH, size);
	if (size + head.size > INT32_MAX)
		return diag_add(x->diag, DIAG_UNSUPPORTED, (struct loc){.file = x->graph->file},
				"the model would have %" PRIu64
				" bytes as ONNX, which holds 2 GB in one file",
				size + head.size);
	push(x, head.at, head.size);
	push(x, x->body->nodes.at, x->body->nodes.size);
	for (int i = 0; i < x->constants.count; i++) {
		push(x, wraps[i].at, wraps[i].size);
		push(x, x->constants.at[i].head.at, x->constants.at[i].head.size);
		push(x, x->constants.at[i].data, x->constants.at[i].size);
	}
	push(x, ends->at, ends->size);
	return true;
}

static bool check_types(const struct graph *g, struct diag *d)
{
	for (int i = 0; i < g->body->param_count + g->body->result_count; i++) {
		const struct value *v = i < g->body->param_count
						? g->body->params[i]
						: g->body->results[i - g->body->param_count];

		if (v->type.kind != TYPE_TENSOR)
			return diag_add(d, DIAG_UNSUPPORTED, (struct loc){.file = g->file},
					"cannot be written as ONNX: inputs and outputs that are "
					"sequences");
	}
	return true;
}

bool export_model(struct graph *g, struct arena *a, struct exported *out, struct diag *d)
{
	struct body body = {.nodes = {.arena = a}};
	struct exporter x = {.graph = g,
			     .arena = a,
			     .diag = d,
			     .out = out,
			     .body = &body,
			     .names = {.arena = a},
			     .node_names = {.arena = a},
			     .opset = 17};
	struct proto ends = {.arena = a};
	int errors = d->errors;

	*out = (struct exported){0};
	if (!graph_walk(g, find_exit, NULL))
		return diag_add(d, DIAG_UNSUPPORTED, (struct loc){.file = g->file},
				"ONNX cannot express early exits: compile the model instead");
	if (!check_types(g, d))
		return false;
	graph_walk(g, find_newer, &x.opset);
	x.views = ARENA_ARRAY(a, struct view, g->value_count + 1);
	x.dim_count = g->dims.node_count;
	x.dims = ARENA_ARRAY(a, const char *, x.dim_count + 1);
	x.readers = ARENA_ARRAY(a, struct node *, g->value_count + 1);
	x.uses = graph_count_uses(g, a);
	graph_walk(g, find_reader, &x);
	set_inputs(&x, &ends);
	export_nodes(&x, g->body);
	for (int i = 0; i < g->body->result_count; i++)
		put_result(&x, g->body->results[i], g->output_names[i]);
	proto_text(&ends, GRAPH_NAME, g->name);
	out->opset = x.opset;
	return d->errors == errors && assemble(&x, &ends);
}
