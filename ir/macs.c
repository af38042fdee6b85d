/* macs.c: multiply-adds and bytes of weights. */
#include "ir/macs.h"

static double elements(const struct type *t, const int64_t *symbols)
{
	double count = 1;

	for (int i = 0; i < t->rank; i++)
		count *= (double)dim_eval(t->dims[i], symbols);
	return count;
}

double node_macs(const struct node *n, const int64_t *symbols)
{
	const struct type *a, *b, *out;
	double length = 1;

	if (n->op != OP_matmul && n->op != OP_conv && n->op != OP_attention)
		return 0;
	a = &n->in[0]->type;
	b = &n->in[1]->type;
	out = &n->out[0]->type;
	if (n->op == OP_attention)
		return (elements(a, symbols) + elements(out, symbols)) *
		       (double)dim_eval(b->dims[1], symbols);
	if (n->op == OP_matmul)
		length = (double)dim_eval(a->dims[a->rank - 1], symbols);
	for (int i = 0; n->op == OP_conv && i + 1 < b->rank; i++)
		length *= (double)dim_eval(b->dims[i], symbols);
	return elements(out, symbols) * length;
}

/* How often a node runs: once for each step of the scans around it. */
static double times_of(const struct node *n, const int64_t *symbols)
{
	double times = 1;

	for (const struct node *o = n->parent->owner; o; o = o->parent->owner)
		if (o->op == OP_scan)
			times *= (double)dim_eval(((const struct attrs_scan *)o->attrs)->length,
						  symbols);
	return times;
}

struct sum {
	const int64_t *symbols;
	double macs;
	int64_t bytes, parameters;
};

static bool add_macs(struct node *n, void *self)
{
	struct sum *s = self;
	double macs = node_macs(n, s->symbols);

	s->macs += macs > 0 ? macs * times_of(n, s->symbols) : 0;
	return true;
}

double graph_macs(struct graph *g, const int64_t *symbols)
{
	struct sum s = {.symbols = symbols};

	graph_walk(g, add_macs, &s);
	return s.macs;
}

static bool add_bytes(struct node *n, void *self)
{
	struct sum *s = self;
	enum dtype t;
	int64_t count;

	if (n->op != OP_const)
		return true;
	t = n->out[0]->type.dtype;
	count = type_count_const(&n->out[0]->type);
	s->bytes += dtype_bytes(t, count);
	s->parameters += dtype_is_float(t) ? count : 0;
	return true;
}

int64_t graph_weight_bytes(struct graph *g, int64_t *parameters)
{
	struct sum s = {0};

	graph_walk(g, add_bytes, &s);
	if (parameters)
		*parameters = s.parameters;
	return s.bytes;
}

int64_t *graph_least_symbols(const struct graph *g, struct arena *a)
{
	int64_t *symbols = ARENA_ARRAY(a, int64_t, g->dims.symbol_count + 1);

	for (int i = 0; i < g->dims.symbol_count; i++)
		symbols[i] = g->dims.symbols[i].min > 1 ? g->dims.symbols[i].min : 1;
	return symbols;
}
