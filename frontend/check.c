/* check.c: names and order of a model's graphs and functions.
 *   - in a graph the names of inputs, initializers and node outputs are unique (an initializer may
 *     give an input its default), and no node output hides an outer value that exists by then;
 *   - what a node or a graph's output reads is defined before, in its graph or one around it;
 *   - functions have unique names, do not call themselves, and nest at most 64 calls deep;
 *   - no operator set is imported in two versions.
 * Follows the ONNX IR specification ("Graphs", "Names Within a Graph") and onnx.checker. */
#include "frontend/reader.h"

#include <string.h>

#define CALLS_MAX 64

enum maker { FROM_INPUT, FROM_INITIALIZER, FROM_NODE, FROM_FUNCTION };

/* The nodes of one graph or function body, and those around it. */
struct scope {
	struct scope *outer;
	const struct onnx_node *nodes;
	int count;
	int current;        /* node that is being checked */
	struct name *names; /* all of this scope, newest first */
};

struct name {
	const char *text;
	struct name *in_bucket, *in_scope;
	const struct scope *scope;
	enum maker maker;
	int index; /* of the node or function */
	bool defined;
};

struct checker {
	const struct onnx_model *m;
	struct arena arena;
	struct diag *d;
	struct loc at;
	struct name **buckets;
	size_t mask;
	int8_t *depth; /* per function: levels of calls from it on; 0 not known yet */
	bool *busy;    /* per function: being walked */
};

/* How many graphs an attribute holds. */
static int graph_count(const struct onnx_attr *a) { return a->graphs ? a->count : 0; }

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static size_t bucket_of(const struct checker *c, const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return (size_t)(h ^ h >> 32) & c->mask;
}

/* The innermost name of that text. */
static struct name *find(const struct checker *c, const char *text)
{
	struct name *n = c->buckets[bucket_of(c, text)];

	while (n && strcmp(n->text, text))
		n = n->in_bucket;
	return n;
}

static bool add(struct checker *c, struct scope *s, const char *text, enum maker maker, int index)
{
	struct name *old = find(c, text), *n;
	struct name **bucket = &c->buckets[bucket_of(c, text)];

	if (!*text)
		return diag_add(c->d, DIAG_FILE, c->at, "an %s without a name",
				maker == FROM_INPUT ? "input" : "initializer");
	if (old && old->scope == s && maker == FROM_INITIALIZER && old->maker == FROM_INPUT) {
		old->maker = FROM_INITIALIZER;
		return true;
	}
	if (old && (old->scope == s || (old->defined && maker == FROM_NODE)))
		return diag_add(c->d, DIAG_FILE, c->at, "the name \"%s\" is defined twice", text);
	n = ARENA_NEW(&c->arena, struct name);
	*n = (struct name){text, *bucket, s->names, s, maker, index, maker != FROM_NODE};
	*bucket = s->names = n;
	return true;
}

/* Forgets the names of a scope that ends: each is the first of its bucket when its turn comes. */
static void end_scope(struct checker *c, struct scope *s)
{
	for (struct name *n = s->names; n; n = n->in_scope)
		c->buckets[bucket_of(c, n->text)] = n->in_bucket;
}

/* A list of nodes of one scope still to look at, each at most once. */
struct todo {
	const struct scope *scope;
	bool *seen;
	int *at, count;
};

static void todo_add_inputs(const struct checker *c, struct todo *t, const struct onnx_node *n)
{
	for (int i = 0; i < n->input_count; i++) {
		const struct name *x = find(c, n->inputs[i]);

		if (x && x->scope == t->scope && x->maker == FROM_NODE && !t->seen[x->index]) {
			t->seen[x->index] = true;
			t->at[t->count++] = x->index;
		}
	}
	for (int i = 0; i < n->attr_count; i++) {
		const struct onnx_attr *a = &n->attrs[i];

		for (int g = 0; g < graph_count(a); g++)
			for (int k = 0; k < a->graphs[g].node_count; k++)
				todo_add_inputs(c, t, &a->graphs[g].nodes[k]);
	}
}

/* Whether node `from` of the scope needs, over any number of nodes, the result of node `of`. */
static bool needs(struct checker *c, const struct scope *s, int from, int of)
{
	struct todo t = {.scope = s};

	t.seen = ARENA_ARRAY(&c->arena, bool, s->count);
	t.at = ARENA_ARRAY(&c->arena, int, s->count);
	t.seen[from] = true;
	t.at[t.count++] = from;
	while (t.count && !t.seen[of])
		todo_add_inputs(c, &t, &s->nodes[t.at[--t.count]]);
	return t.seen[of];
}

/* Reports that `x`, the result of a later node, is read by the current node of x's scope. */
static bool report_later(struct checker *c, const struct name *x)
{
	const struct scope *s = x->scope;
	const struct onnx_node *maker = &s->nodes[x->index];

	if (x->index == s->current)
		return diag_add(c->d, DIAG_FILE, c->at,
				"the graph has a cycle: \"%s\" is made from itself", x->text);
	/* the search is linear in the graph: not worth it for messages that are dropped */
	if (s->current < s->count && c->d->count < DIAG_MAX && needs(c, s, x->index, s->current))
		return diag_add(
			c->d, DIAG_FILE, c->at,
			"the graph has a cycle: \"%s\" comes from node \"%s\" (%s), which needs "
			"the result of this one",
			x->text, maker->name, maker->op);
	return diag_add(
		c->d, DIAG_FILE, c->at,
		"reads \"%s\" before it is made by node \"%s\" (%s): the nodes must be sorted",
		x->text, maker->name, maker->op);
}

static bool check_read(struct checker *c, const char *text)
{
	const struct name *x = find(c, text);

	if (!x)
		return diag_add(c->d, DIAG_FILE, c->at, "reads \"%s\", which nothing defines",
				text);
	return x->defined || report_later(c, x);
}

static bool check_graph(struct checker *c, struct scope *outer, const struct onnx_graph *g);

static bool check_node(struct checker *c, struct scope *s, const struct onnx_node *n)
{
	struct loc outer = c->at;
	bool ok = true;

	c->at.node = n->name;
	c->at.op = n->op;
	for (int i = 0; i < n->input_count; i++)
		if (*n->inputs[i])
			ok &= check_read(c, n->inputs[i]);
	for (int i = 0; i < n->attr_count; i++) {
		const struct onnx_attr *a = &n->attrs[i];

		for (int g = 0; g < graph_count(a); g++)
			ok &= check_graph(c, s, &a->graphs[g]);
	}
	for (int i = 0; i < n->output_count; i++) {
		struct name *x = find(c, n->outputs[i]);

		if (x && x->scope == s)
			x->defined = true;
	}
	c->at = outer;
	return ok;
}

/* Enters the outputs of all nodes, not yet defined, so that a use before the definition is told from
 * an unknown name; then the nodes one by one. */
static bool check_nodes(struct checker *c, struct scope *s)
{
	struct loc outer = c->at;
	bool ok = true;

	for (int i = 0; i < s->count; i++) {
		const struct onnx_node *n = &s->nodes[i];

		c->at.node = n->name;
		c->at.op = n->op;
		for (int k = 0; k < n->output_count; k++)
			if (*n->outputs[k])
				ok &= add(c, s, n->outputs[k], FROM_NODE, i);
	}
	c->at = outer;
	for (s->current = 0; s->current < s->count; s->current++)
		ok &= check_node(c, s, &s->nodes[s->current]);
	return ok;
}

static bool check_output(struct checker *c, const char *name)
{
	const struct name *x = find(c, name);

	if (!*name)
		return diag_add(c->d, DIAG_FILE, c->at, "an output without a name");
	return (x && x->defined) ||
	       diag_add(c->d, DIAG_FILE, c->at, "nothing defines the output \"%s\"", name);
}

static bool check_graph(struct checker *c, struct scope *outer, const struct onnx_graph *g)
{
	struct scope s = {.outer = outer, .nodes = g->nodes, .count = g->node_count};
	bool ok = true;

	for (int i = 0; i < g->input_count; i++)
		ok &= add(c, &s, g->inputs[i].name, FROM_INPUT, i);
	for (int i = 0; i < g->initializer_count; i++)
		ok &= add(c, &s, g->initializers[i].name, FROM_INITIALIZER, i);
	for (int i = 0; i < g->sparse_count; i++)
		ok &= add(c, &s, g->sparse[i].values.name, FROM_INITIALIZER, i);
	ok &= check_nodes(c, &s);
	for (int i = 0; i < g->output_count; i++)
		ok &= check_output(c, g->outputs[i].name);
	end_scope(c, &s);
	return ok;
}

static bool check_function(struct checker *c, const struct onnx_function *f)
{
	struct scope s = {.nodes = f->nodes, .count = f->node_count};
	bool ok = true;

	for (int i = 0; i < f->input_count; i++)
		ok &= add(c, &s, f->inputs[i], FROM_INPUT, i);
	ok &= check_nodes(c, &s);
	for (int i = 0; i < f->output_count; i++)
		ok &= check_output(c, f->outputs[i]);
	end_scope(c, &s);
	return ok || diag_add(c->d, DIAG_NOTE, c->at, "in function \"%s\"", f->name);
}

/* Functions are names of their own: domain, newline, name. */
static const char *function_key(struct checker *c, const char *domain, const char *name)
{
	return arena_printf(&c->arena, "%s\n%s", domain, name);
}

static bool check_calls(struct checker *c, int index, int depth);

static bool check_calls_of(struct checker *c, int index, int depth, const struct onnx_node *nodes,
			   int count)
{
	for (int i = 0; i < count; i++) {
		const struct onnx_node *n = &nodes[i];
		const struct name *x = find(c, function_key(c, n->domain, n->op));

		if (x && !check_calls(c, x->index, depth + 1))
			return false;
		if (x && c->depth[x->index] >= c->depth[index])
			c->depth[index] = (int8_t)(c->depth[x->index] + 1);
		for (int k = 0; k < n->attr_count; k++) {
			const struct onnx_attr *a = &n->attrs[k];

			for (int g = 0; g < graph_count(a); g++)
				if (!check_calls_of(c, index, depth, a->graphs[g].nodes,
						    a->graphs[g].node_count))
					return false;
		}
	}
	return true;
}

/* Depth first over the calls; what is done is not walked again, so this is linear. */
static bool check_calls(struct checker *c, int index, int depth)
{
	const struct onnx_function *f = &c->m->functions[index];

	if (c->busy[index])
		return diag_add(c->d, DIAG_FILE, c->at, "function \"%s\" calls itself", f->name);
	if (depth + c->depth[index] > CALLS_MAX + 1)
		return diag_add(c->d, DIAG_UNSUPPORTED, c->at,
				"function \"%s\" is called more than %d functions deep", f->name,
				CALLS_MAX);
	if (c->depth[index])
		return true;
	c->depth[index] = 1;
	c->busy[index] = true;
	if (!check_calls_of(c, index, depth, f->nodes, f->node_count))
		return false;
	c->busy[index] = false;
	return true;
}

static bool check_functions(struct checker *c)
{
	struct scope s = {0};
	bool ok = true;

	for (int i = 0; i < c->m->function_count; i++) {
		const struct onnx_function *f = &c->m->functions[i];

		if (!*f->name)
			ok = diag_add(c->d, DIAG_FILE, c->at, "a function without a name");
		ok &= add(c, &s, function_key(c, f->domain, f->name), FROM_FUNCTION, i);
	}
	c->depth = ARENA_ARRAY(&c->arena, int8_t, c->m->function_count);
	c->busy = ARENA_ARRAY(&c->arena, bool, c->m->function_count);
	for (int i = 0; ok && i < c->m->function_count; i++)
		ok = check_calls(c, i, 1);
	end_scope(c, &s);
	for (int i = 0; i < c->m->function_count; i++)
		ok &= check_function(c, &c->m->functions[i]);
	return ok;
}

static bool check_opsets(struct checker *c)
{
	struct scope s = {0};
	bool ok = true;

	for (int i = 0; i < c->m->opset_count; i++) {
		const struct onnx_opset *o = &c->m->opsets[i];
		const struct name *x = find(c, function_key(c, o->domain, ""));

		if (!x)
			add(c, &s, function_key(c, o->domain, ""), FROM_FUNCTION, i);
		else if (c->m->opsets[x->index].version != o->version)
			ok = diag_add(c->d, DIAG_FILE, c->at,
				      "it imports two versions of the operator set \"%s\"",
				      *o->domain ? o->domain : "ai.onnx");
	}
	end_scope(c, &s);
	return ok;
}

static size_t count_nodes(const struct onnx_node *nodes, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count; i++) {
		sum += (size_t)nodes[i].output_count;
		for (int k = 0; k < nodes[i].attr_count; k++) {
			const struct onnx_attr *a = &nodes[i].attrs[k];

			for (int g = 0; g < graph_count(a); g++)
				sum += count_nodes(a->graphs[g].nodes, a->graphs[g].node_count);
		}
	}
	return sum;
}

/* About how many names the table will hold at once. */
static size_t count_names(const struct onnx_model *m)
{
	size_t sum = (size_t)m->graph.input_count + (size_t)m->graph.initializer_count +
		     (size_t)m->function_count + count_nodes(m->graph.nodes, m->graph.node_count);

	for (int i = 0; i < m->function_count; i++)
		sum += count_nodes(m->functions[i].nodes, m->functions[i].node_count);
	return sum;
}

bool model_check(const struct onnx_model *m, struct diag *d)
{
	struct checker c = {.m = m, .d = d, .at = {.file = m->path}};
	size_t room = 64, names = count_names(m);
	bool ok;

	while (room < names)
		room *= 2;
	c.mask = room - 1;
	c.buckets = ARENA_ARRAY(&c.arena, struct name *, room);
	ok = check_opsets(&c);
	ok &= check_functions(&c);
	ok &= check_graph(&c, NULL, &m->graph);
	arena_free(&c.arena);
	return ok;
}
