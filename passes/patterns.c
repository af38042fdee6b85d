/* patterns.c: matchers and small changes that several passes share, and the walk that applies rewrites. */
#include "passes/patterns.h"

#include <string.h>

/* ---- asking ---- */

bool is_pure(const struct node *n) { return op_table[n->op].flags & OP_PURE; }

bool same_dims(const struct type *a, const struct type *b)
{
	return a->rank == b->rank &&
	       (!a->rank || !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof(dim)));
}

bool splat_value(const struct value *v, union scalar *out)
{
	const struct tensor *t = value_const(v);

	if (!t || v->type.dtype == DT_STRING ||
	    (t->kind != TENSOR_SPLAT && type_count_const(&v->type) != 1))
		return false;
	*out = tensor_element(t, v->type.dtype, 0);
	return true;
}

bool perm_is_identity(struct ints perm)
{
	for (int i = 0; i < perm.count; i++)
		if (perm.at[i] != i)
			return false;
	return true;
}

int reduce_axes_of(const struct node *n, int *axes)
{
	const struct attrs_reduce *a = ATTRS_OF(reduce, n);
	int count = a->axes.count ? a->axes.count : n->in[0]->type.rank;

	for (int i = 0; i < count; i++)
		axes[i] = a->axes.count ? (int)a->axes.at[i] : i;
	return count;
}

int64_t slice_step(const struct node *n, int axis)
{
	const struct ints *step = &ATTRS_OF(slice, n)->step;

	return step->count ? step->at[axis] : 1;
}

static bool is_function(const struct expr *e) { return e->op >= EXPR_EXP && e->op <= EXPR_ERF; }

static bool count_node(const struct expr *e, void *self)
{
	int *weight = self;

	*weight += is_function(e) ? 16 : e->op < EXPR_LITERAL;
	return *weight > 1000;
}

int expr_weight(const struct expr *e)
{
	int weight = 0;

	expr_any(e, count_node, &weight);
	return weight;
}

static bool test_costly(const struct expr *e, void *self)
{
	(void)self;
	return is_function(e);
}

bool expr_is_costly(const struct expr *e) { return expr_any(e, test_costly, NULL); }

static bool test_param(const struct expr *e, void *self)
{
	return e->op == EXPR_PARAM && e->index == *(const int *)self;
}

bool expr_reads(const struct expr *e, int i) { return expr_any(e, test_param, &i); }

int64_t type_bytes_const(const struct type *t)
{
	int64_t count = t->kind == TYPE_TENSOR && t->dtype != DT_STRING ? type_count_const(t) : -1;

	return count < 0 ? -1 : dtype_bytes(t->dtype, count);
}

/* ---- changing ---- */

struct builder build_before(struct pass_context *c, struct node *n)
{
	return (struct builder){c->graph, n->parent, n, n->loc, c->diag};
}

void node_resolve(struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		n->in[i] = value_now(n->in[i]);
}

struct value *add_transpose_perm(struct builder *b, struct value *x, const int64_t *perm)
{
	int narrow[HONE_MAX_RANK];

	if (!x || perm_is_identity((struct ints){x->type.rank, perm}))
		return x;
	for (int i = 0; i < x->type.rank; i++)
		narrow[i] = (int)perm[i];
	return add_transpose(b, x, narrow);
}

struct value *add_bytes(struct builder *b, const struct type *type, const void *data)
{
	return add_const(b, type,
			 &(struct tensor){.kind = TENSOR_BYTES,
					  .data = data,
					  .size = type_bytes_const(type)});
}

struct value *add_leading_ones(struct builder *b, struct value *v, int rank)
{
	dim dims[HONE_MAX_RANK];
	int more = rank - v->type.rank;

	if (more <= 0)
		return v;
	for (int i = 0; i < rank; i++)
		dims[i] = i < more ? dim_const(&b->graph->dims, 1) : v->type.dims[i - more];
	return add_reshape(b, v, rank, dims);
}

struct value *add_like(struct builder *b, const struct node *n, struct value *const *in,
		       const void *attrs)
{
	struct node *made = graph_add(b, &(struct node_spec){.op = n->op,
							     .in_count = n->in_count,
							     .in = in,
							     .attrs = attrs,
							     .expr = n->expr});

	return made ? made->out[0] : NULL;
}

struct graph body_set_aside(struct graph *g)
{
	struct graph saved = *g;

	g->body = region_new(g);
	g->requires.at = NULL;
	g->requires.count = g->requires.room = 0;
	return saved;
}

void body_restore(struct graph *g, const struct graph *saved)
{
	g->body = saved->body;
	g->value_count = saved->value_count;
	g->requires.at = saved->requires.at;
	g->requires.count = saved->requires.count;
	g->requires.room = saved->requires.room;
	g->input_names = saved->input_names;
	g->output_names = saved->output_names;
}

/* ---- the walk ---- */

struct walk {
	struct pass_context *c;
	rewrite_fn *rewrite;
	void *self;
	int64_t budget;
};

static bool count_one(struct node *n, void *self)
{
	(void)n;
	++*(int64_t *)self;
	return true;
}

static void walk(struct walk *w, struct region *r)
{
	struct node *n = r->first;

	while (n) {
		struct node *prev = n->prev, *next = n->next;
		struct value *with = NULL;

		node_resolve(n);
		if (w->budget > 0)
			with = w->rewrite(w->c, n, w->self);
		if (with && with != n->out[0] && type_equal(&with->type, &n->out[0]->type)) {
			w->budget--;
			w->c->changes++;
			if (!with->name && with->def && n->out[0]->name)
				with->name = n->out[0]->name;
			value_replace(n->out[0], with);
			node_remove(n);
			n = prev ? prev->next
				 : r->first; /* the first of the nodes that were added */
			continue;
		}
		for (int i = 0; i < n->region_count; i++)
			walk(w, n->regions[i]);
		n = next;
	}
}

void rewrite_graph(struct pass_context *c, rewrite_fn *rewrite, void *self)
{
	struct walk w = {c, rewrite, self, 0};

	graph_walk(c->graph, count_one, &w.budget);
	w.budget = w.budget * 8 + 64;
	walk(&w, c->graph->body);
	graph_resolve(c->graph);
}
