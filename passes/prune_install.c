/* prune_install.c: repaired weights into the graph that was emitted. What is added to each output goes into the bias
 * that follows, or becomes one. */
#include "passes/prune.h"

int prune_bias_operand(const struct node *n, const struct value *y)
{
	const struct expr *e = n->op == OP_map && n->in_count == 2 ? n->expr : NULL;
	int i = e && n->in[0] == y;
	const struct type *t;

	if (!e || e->op != EXPR_ADD || e->arg[0]->op != EXPR_PARAM || e->arg[1]->op != EXPR_PARAM ||
	    e->arg[0]->index == e->arg[1]->index || n->in[1 - i] != y || !value_const(n->in[i]) ||
	    n->out[0]->type.dtype != DT_F32)
		return -1;
	t = &n->in[i]->type;
	return t->rank && t->dims[t->rank - 1] == y->type.dims[y->type.rank - 1] &&
			       type_count_const(t) == t->dims[t->rank - 1]->value
		       ? i
		       : -1;
}

struct node **prune_find_readers(const struct prune *p)
{
	struct graph *g = p->c->graph;
	int *uses = graph_count_uses(g, p->c->scratch);
	struct node **readers = ARENA_ARRAY(p->c->scratch, struct node *, g->value_count + 1);

	for (struct node *n = g->body->first; n; n = n->next)
		for (int i = 0; i < n->in_count; i++)
			if (n->in[i] && uses[n->in[i]->id] == 1)
				readers[n->in[i]->id] = n;
	return readers;
}

/* The old bias is returned. */
static struct value *add_to_bias(struct prune *p, struct node *n, int i, const float *shift,
				 bool only)
{
	struct graph *g = p->c->graph;
	struct builder b = build_before(p->c, n);
	struct value *old = n->in[i], *v;
	int64_t count = type_count_const(&old->type);
	const float *from = tensor_bytes(value_const(old), DT_F32, count, p->c->scratch);
	float *to = ARENA_ARRAY(g->arena, float, count);

	for (int64_t k = 0; k < count; k++)
		to[k] = prune_number(from, k) + shift[k];
	v = add_bytes(&b, &old->type, to);
	if (only) {
		v->name = old->name;
		old->name = NULL;
	}
	n->in[i] = v;
	return old;
}

/* %y' = map(%y, const) (a, b) -> a + b, which all read that read %y. */
static struct node *add_bias(struct prune *p, struct node *n, const float *shift)
{
	struct value *y = n->out[0], *sum;
	struct builder b = {p->c->graph, n->parent, n->next, n->loc, p->c->diag};
	struct type type = type_make(DT_F32, 1, &y->type.dims[y->type.rank - 1]);

	sum = add_binary(&b, EXPR_ADD, y, add_bytes(&b, &type, shift));
	value_replace(y, sum);
	graph_resolve(p->c->graph);
	sum->def->in[0] = y;
	y->forward = NULL;
	return sum->def;
}

void prune_install(struct prune *p, struct node *n, const float *weights, const float *shift)
{
	struct graph *g = p->c->graph;
	struct value *y = n->out[0];
	struct node **readers = prune_find_readers(p), *reader = readers[y->id], *w = n->in[1]->def;
	struct attrs_const *attrs = arena_copy(g->arena, w->attrs, sizeof(*attrs));
	struct tensor now = {
		.kind = TENSOR_BYTES, .data = weights, .size = type_bytes_const(&w->out[0]->type)};
	int bias = reader ? prune_bias_operand(reader, y) : -1;
	struct prune_installed was = {.weights = w, .attrs = w->attrs};

	attrs->data = arena_copy(g->arena, &now, sizeof(now));
	w->attrs = attrs;
	if (bias >= 0) {
		was.sum = reader;
		was.operand = bias;
		was.bias = add_to_bias(p, reader, bias, shift,
				       readers[reader->in[bias]->id] == reader);
	} else {
		was.sum = add_bias(p, n, shift);
	}
	ARENA_PUSH(p->c->scratch, &p->installed, was);
}

static void take_back(struct prune *p, const struct prune_installed *was)
{
	was->weights->attrs = was->attrs;
	if (was->bias) {
		struct value *now = was->sum->in[was->operand];

		if (now->name) {
			was->bias->name = now->name;
			now->name = NULL;
		}
		was->sum->in[was->operand] = was->bias;
		return;
	}
	value_replace(was->sum->out[0], was->sum->in[0]);
	graph_resolve(p->c->graph);
	node_remove(was->sum);
}

void prune_uninstall(struct prune *p)
{
	while (p->installed.count)
		take_back(p, &p->installed.at[--p->installed.count]);
}
