/* import.c: the walk over an ONNX model that makes the graph IR: names to values, functions
 * inlined, one importer called for each node. Errors do not stop it: nodes that depend on a failed
 * one are skipped in silence, so that one run tells all. */
#include "frontend/import_private.h"

#include <string.h>

/* Nodes after inlining; functions that call functions multiply. */
#define NODE_LIMIT 10000000

static bool import_nodes(struct import *im, struct scope *scope, struct builder *b,
			 const struct onnx_node *nodes, int count);

static struct scope *scope_new(struct import *im)
{
	struct scope *scope = ARENA_NEW(im->arena, struct scope);
	scope->values.arena = scope->types.arena = im->arena;
	return scope;
}

static struct site make_site(struct import *im, const struct scope *scope, struct builder *b,
			     const struct onnx_node *n)
{
	return (struct site){.import = im,
			     .scope = scope,
			     .node = n,
			     .b = b,
			     .g = im->graph,
			     .dims = &im->graph->dims,
			     .opset = scope_opset(im, scope, n->domain),
			     .in_count = n->input_count,
			     .out_count = n->output_count};
}

/* ---- constants ---- */

struct value *import_tensor(struct site *s, const struct onnx_tensor *t)
{
	dim dims[HONE_MAX_RANK];
	enum dtype type = import_dtype(t->dtype);
	if (type == DT_NONE) {
		site_unsupported(s, "tensor \"%s\" has element type %s", t->name,
				 onnx_dtype_name(t->dtype));
		return NULL;
	}
	for (int i = 0; i < t->rank; i++)
		dims[i] = dim_int(s, t->dims[i]);
	struct type full = type_make(type, t->rank, dims);
	static const char none[1];
	struct tensor data = {.kind = TENSOR_BYTES,
			      .data = t->size ? t->data : none,
			      .size = (int64_t)t->size,
			      .mapped = t->mapped ? t->data : NULL};
	return add_const(s->b, &full, &data);
}

struct value *import_sparse(struct site *s, const struct onnx_sparse *sparse)
{
	const struct onnx_tensor *v = &sparse->values, *at = &sparse->indices;
	int bits = onnx_dtype_bits(v->dtype);
	int64_t count = 1;
	for (int i = 0; i < sparse->rank; i++)
		if (__builtin_mul_overflow(count, sparse->dims[i], &count) ||
		    count > INT64_C(1) << 32) {
			site_unsupported(s, "sparse tensor \"%s\" is too large", v->name);
			return NULL;
		}
	if (bits < 8) {
		site_unsupported(s, "sparse tensor \"%s\" of %s", v->name,
				 onnx_dtype_name(v->dtype));
		return NULL;
	}
	size_t size = (size_t)bits / 8;
	uint8_t *data = arena_array(s->g->arena, (size_t)count + 1, size);
	for (int64_t i = 0; i < v->count; i++) {
		int64_t place = 0, part;
		for (int k = 0; k < (at->rank == 2 ? sparse->rank : 1); k++) {
			int64_t row = at->rank == 2 ? i * sparse->rank + k : i;
			memcpy(&part, (const uint8_t *)at->data + row * 8, 8);
			place = at->rank == 2 ? place * sparse->dims[k] + part : part;
		}
		memcpy(data + (size_t)place * size, (const uint8_t *)v->data + (size_t)i * size,
		       size);
	}
	struct onnx_tensor dense = {.name = v->name,
				    .dtype = v->dtype,
				    .rank = sparse->rank,
				    .dims = sparse->dims,
				    .count = count,
				    .data = data,
				    .size = (size_t)count * size};
	return import_tensor(s, &dense);
}

static void name_value(struct import *im, struct value *v, const char *name)
{
	if (!v->name)
		v->name = names_claim(&im->taken, name_identifier(im->arena, name));
}

static void define(struct import *im, struct scope *scope, const char *name, struct value *v)
{
	if (v)
		name_value(im, v, name);
	names_add(&scope->values, name, v);
}

static void import_initializers(struct import *im, struct scope *scope, struct builder *b,
				const struct onnx_graph *g)
{
	for (int i = 0; i < g->initializer_count + g->sparse_count; i++) {
		bool dense = i < g->initializer_count;
		const struct onnx_sparse *sparse =
			dense ? NULL : &g->sparse[i - g->initializer_count];
		const char *name = dense ? g->initializers[i].name : sparse->values.name;
		struct onnx_node n = {.name = name, .op = "initializer", .domain = ""};
		struct site s = make_site(im, scope, b, &n);
		b->loc = (struct loc){.file = im->model->path, .node = n.name, .op = n.op};
		define(im, scope, name,
		       dense ? import_tensor(&s, &g->initializers[i]) : import_sparse(&s, sparse));
	}
	for (int i = 0; i < g->value_count; i++)
		names_add(&scope->types, g->values[i].name, (void *)(uintptr_t)&g->values[i].type);
}

/* ---- types that the model declares ---- */

static bool check_declared(struct site *s, int o, const struct value *v)
{
	const struct onnx_type *t = scope_type(s->scope, s->node->outputs[o]);
	if (!t || t->kind != ONNX_KIND_TENSOR)
		return true;
	if (t->dtype != ONNX_UNDEFINED && (int32_t)v->type.dtype != t->dtype)
		return site_invalid(s, "the model declares \"%s\" as %s, but it is %s",
				    s->node->outputs[o], onnx_dtype_name(t->dtype),
				    dtype_name(v->type.dtype));
	if (t->rank < 0)
		return true;
	const char *text = type_text(s->g, s->g->arena, &v->type);
	if (t->rank != v->type.rank)
		return site_invalid(s, "the model declares \"%s\" with %d axes, but it is %s",
				    s->node->outputs[o], t->rank, text);
	for (int i = 0; i < t->rank; i++)
		if (t->dims[i].value >= 0 && dim_is_const(v->type.dims[i]) &&
		    v->type.dims[i]->value != t->dims[i].value)
			return site_invalid(
				s, "the model declares axis %d of \"%s\" as %lld, but it is %s", i,
				s->node->outputs[o], (long long)t->dims[i].value, text);
	return true;
}

/* ---- nodes ---- */

/* False without a message when an operand's node has failed. */
static bool find_operands(struct site *s)
{
	s->in = SITE_ARRAY(s, struct value *, s->in_count);
	s->out = SITE_ARRAY(s, struct value *, s->out_count);
	while (s->in_count && !*s->node->inputs[s->in_count - 1])
		s->in_count--;
	for (int i = 0; i < s->in_count; i++) {
		const char *name = s->node->inputs[i];
		if (!*name)
			continue;
		struct name_entry *e = scope_find(s->scope, name);
		if (!e)
			return site_invalid(s, "operand \"%s\" is not defined", name);
		if (!e->value)
			return false;
		s->in[i] = e->value;
	}
	return true;
}

/* Dims that depend on data become constant where the model declares them. */
static struct value *settle(struct site *s, int o, struct value *v)
{
	dim dims[HONE_MAX_RANK];
	memcpy(dims, v->type.dims, sizeof(dims));
	if (!declared_hint(s, o, v->type.rank, dims))
		return NULL;
	return reshape(s, v, v->type.rank, dims);
}

static bool finish(struct import *im, struct scope *scope, struct site *s, bool ok)
{
	for (int i = 0; i < s->out_count; i++) {
		const char *name = s->node->outputs[i];
		struct value *v = ok ? s->out[i] : NULL;
		if (!*name)
			continue;
		if (ok && !v)
			ok = site_unsupported(s, "output %d, \"%s\", is not supported", i, name);
		if (v && (!check_declared(s, i, v) || !(v = settle(s, i, v)))) {
			ok = false;
			v = NULL;
		}
		define(im, scope, name, v);
	}
	return ok;
}

static bool import_call(struct site *s, const struct onnx_function *f)
{
	struct import *im = s->import;
	struct scope *body = scope_new(im);
	body->function = f;
	body->call = s->node;
	body->caller = s->scope;
	body->depth = s->scope->depth + 1;
	if (body->depth > IMPORT_DEPTH)
		return site_unsupported(s, "functions call each other more than %d deep",
					IMPORT_DEPTH);
	if (s->in_count > f->input_count || s->out_count > f->output_count)
		return site_invalid(s, "the function has %d operands and %d results",
				    f->input_count, f->output_count);
	for (int i = 0; i < s->in_count; i++)
		if (s->in[i])
			names_add(&body->values, f->inputs[i], s->in[i]);
	/* an absent operand stays absent inside: nodes name it like "" */
	for (int i = 0; i < f->input_count; i++)
		if (!site_in(s, i))
			names_add(&body->types, f->inputs[i], NULL);
	if (!import_nodes(im, body, s->b, f->nodes, f->node_count))
		return false;
	for (int i = 0; i < s->out_count; i++) {
		struct name_entry *e = scope_find(body, f->outputs[i]);
		if (!e || !e->value)
			return e ? false
				 : site_invalid(s, "function output \"%s\" is not defined",
						f->outputs[i]);
		s->out[i] = e->value;
	}
	return true;
}

/* In a function body, names of absent operands read as "". */
static const struct onnx_node *drop_absent(struct import *im, const struct scope *scope,
					   const struct onnx_node *n)
{
	while (scope->parent)
		scope = scope->parent;
	if (!scope->function || !scope->types.entries.count)
		return n;
	const char **inputs = ARENA_ARRAY(im->arena, const char *, n->input_count + 1);
	for (int i = 0; i < n->input_count; i++)
		inputs[i] = names_find(&scope->types, n->inputs[i]) ? "" : n->inputs[i];
	struct onnx_node *copy = arena_copy(im->arena, n, sizeof(*n));
	copy->inputs = inputs;
	return copy;
}

static bool import_node(struct import *im, struct scope *scope, struct builder *b,
			const struct onnx_node *n)
{
	n = drop_absent(im, scope, n);
	struct site s = make_site(im, scope, b, n);
	struct loc outer = b->loc;
	bool known;
	b->loc = (struct loc){.file = im->model->path, .node = n->name, .op = n->op};
	if (++im->node_count > NODE_LIMIT)
		return diag_add(im->d, DIAG_UNSUPPORTED, b->loc, "more than %d nodes", NODE_LIMIT);
	bool ok = find_operands(&s);
	const struct onnx_function *f = find_function(im->model, n->domain, n->op);
	if (ok && f) {
		ok = import_call(&s, f);
	} else if (ok) {
		s.row = import_find(n->domain, n->op, s.opset, &known);
		for (int i = 0; s.row && ok && i < s.row->min_in; i++)
			if (!site_in(&s, i))
				ok = site_invalid(&s, "operand %d is missing", i);
		ok = ok && s.row && s.row->import(&s);
	}
	ok = finish(im, scope, &s, ok);
	b->loc = outer;
	return ok;
}

static bool import_nodes(struct import *im, struct scope *scope, struct builder *b,
			 const struct onnx_node *nodes, int count)
{
	bool ok = true;
	for (int i = 0; i < count; i++) {
		ok &= import_node(im, scope, b, &nodes[i]);
		if (im->node_count > NODE_LIMIT)
			return false;
	}
	return ok;
}

bool import_subgraph(struct site *s, const struct onnx_graph *graph, struct region *region,
		     struct value *const *inputs, struct value **out)
{
	struct import *im = s->import;
	struct scope *scope = scope_new(im);
	scope->parent = s->scope;
	scope->graph = graph;
	scope->depth = s->scope->depth + 1;
	if (scope->depth > IMPORT_DEPTH)
		return site_unsupported(s, "subgraphs are nested more than %d deep", IMPORT_DEPTH);
	struct builder b = {.graph = s->g, .region = region, .loc = s->b->loc, .diag = s->b->diag};
	for (int i = 0; i < graph->input_count; i++)
		define(im, scope, graph->inputs[i].name, inputs[i]);
	import_initializers(im, scope, &b, graph);
	if (!import_nodes(im, scope, &b, graph->nodes, graph->node_count))
		return false;
	for (int i = 0; i < graph->output_count; i++) {
		struct name_entry *e = scope_find(scope, graph->outputs[i].name);
		if (!e)
			return site_invalid(s, "subgraph output \"%s\" is not defined",
					    graph->outputs[i].name);
		if (!e->value)
			return false;
		out[i] = e->value;
	}
	return true;
}

static bool import_outputs(struct import *im, const struct scope *scope)
{
	const struct onnx_graph *g = &im->model->graph;
	struct value **values = ARENA_ARRAY(im->arena, struct value *, g->output_count + 1);
	const char **names = ARENA_ARRAY(im->arena, const char *, g->output_count + 1);
	for (int i = 0; i < g->output_count; i++) {
		struct name_entry *e = scope_find(scope, g->outputs[i].name);
		if (!e)
			return diag_add(im->d, DIAG_FILE, (struct loc){.file = im->model->path},
					"output \"%s\" is not defined", g->outputs[i].name);
		if (!e->value)
			return false;
		values[i] = e->value;
		names[i] = g->outputs[i].name;
	}
	graph_set_outputs(im->graph, g->output_count, values, names);
	return true;
}

struct graph *import_model(const struct onnx_model *m, const struct import_options *options,
			   struct arena *a, struct diag *d)
{
	struct import im = {.model = m, .options = options, .arena = a, .d = d};
	im.taken.arena = im.symbols.arena = a;
	if (!import_check(&im))
		return NULL;
	im.graph = graph_new(a, "main");
	im.graph->file = m->path;
	struct scope *scope = scope_new(&im);
	scope->graph = &m->graph;
	struct builder b = {.graph = im.graph, .region = im.graph->body, .diag = d};
	if (!import_inputs(&im, scope))
		return NULL;
	import_initializers(&im, scope, &b, &m->graph);
	if (!import_nodes(&im, scope, &b, m->graph.nodes, m->graph.node_count))
		return NULL;
	return import_outputs(&im, scope) ? im.graph : NULL;
}
