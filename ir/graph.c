/* graph.c: making graphs: values, nodes, regions, symbols, requirements. */
#include "ir/graph.h"
#include "ir/attr_rows.h"

#include <string.h>

struct graph *graph_new(struct arena *a, const char *name)
{
	struct graph *g = ARENA_NEW(a, struct graph);

	g->arena = a;
	g->name = arena_text(a, name);
	dim_pool_init(&g->dims, a);
	expr_pool_init(&g->exprs, a, &g->dims);
	g->body = region_new(g);
	return g;
}

static struct value *value_new(struct graph *g, const char *name)
{
	struct value *v = ARENA_NEW(g->arena, struct value);

	v->id = g->value_count++;
	v->name = name ? arena_text(g->arena, name) : NULL;
	return v;
}

struct region *region_new(struct graph *g) { return ARENA_NEW(g->arena, struct region); }

struct value *region_param(struct graph *g, struct region *r, const char *name,
			   const struct type *type)
{
	struct value *v = value_new(g, name);
	struct value **params = ARENA_ARRAY(g->arena, struct value *, r->param_count + 1);

	v->type = *type;
	v->region = r;
	v->index = r->param_count;
	if (r->param_count)
		memcpy(params, r->params, (size_t)r->param_count * sizeof(*params));
	params[r->param_count++] = v;
	r->params = params;
	return v;
}

struct value *graph_input(struct graph *g, const char *name, const struct type *type)
{
	const char **names = ARENA_ARRAY(g->arena, const char *, g->body->param_count + 1);
	struct value *v = region_param(g, g->body, name, type);

	if (v->index)
		memcpy(names, g->input_names, (size_t)v->index * sizeof(*names));
	names[v->index] = arena_text(g->arena, name);
	g->input_names = names;
	return v;
}

void region_set_results(struct graph *g, struct region *r, int count, struct value *const *values)
{
	r->result_count = count;
	r->results = ARENA_ARRAY(g->arena, struct value *, count);
	for (int i = 0; i < count; i++)
		r->results[i] = values[i];
}

void graph_set_outputs(struct graph *g, int count, struct value *const *values,
		       const char *const *names)
{
	region_set_results(g, g->body, count, values);
	g->output_names = ARENA_ARRAY(g->arena, const char *, count);
	for (int i = 0; i < count; i++)
		g->output_names[i] = arena_text(g->arena, names[i]);
}

int graph_symbol(struct graph *g, const char *name, int64_t max, dim bound)
{
	if (bound && dim_is_const(bound)) {
		max = bound->value < max ? bound->value : max;
		bound = NULL;
	}
	return symbol_add(&g->dims, &(struct symbol){.name = name,
						     .min = 0,
						     .max = max,
						     .bound = bound,
						     .binding = SYMBOL_NODE,
						     .stage = g->stage_count + 1});
}

/* ---- nodes ---- */

static void link_node(struct node *n, struct region *r, struct node *before)
{
	n->parent = r;
	n->next = before;
	n->prev = before ? before->prev : r->last;
	if (n->prev)
		n->prev->next = n;
	else
		r->first = n;
	if (before)
		before->prev = n;
	else
		r->last = n;
}

void node_remove(struct node *n)
{
	struct region *r = n->parent;

	if (n->prev)
		n->prev->next = n->next;
	else
		r->first = n->next;
	if (n->next)
		n->next->prev = n->prev;
	else
		r->last = n->prev;
	n->prev = n->next = NULL;
	n->parent = NULL;
}

void node_move_before(struct node *n, struct node *before)
{
	node_remove(n);
	link_node(n, before->parent, before);
}

static bool fits(const struct node_spec *s, struct loc at, struct diag *d)
{
	const struct op_row *o = &op_table[s->op];

	if (s->in_count < o->min_in || (o->max_in >= 0 && s->in_count > o->max_in))
		return diag_add(d, DIAG_FILE, at, "%s takes %d to %d operands, found %d", o->name,
				o->min_in, o->max_in, s->in_count);
	if (s->region_count != o->regions)
		return diag_add(d, DIAG_FILE, at, "%s takes %d regions, found %d", o->name,
				o->regions, s->region_count);
	if (!(o->flags & OP_EXPR) != !s->expr)
		return diag_add(d, DIAG_FILE, at, "%s %s an expression", o->name,
				s->expr ? "takes no" : "needs");
	if (s->symbol_count && !(o->flags & OP_BINDS))
		return diag_add(d, DIAG_FILE, at, "%s binds no symbols", o->name);
	for (int i = 0; i < s->in_count; i++)
		if (!s->in[i])
			return false; /* its making was reported */
	return true;
}

static struct node *node_new(struct graph *g, const struct node_spec *s, struct loc at)
{
	const struct op_row *o = &op_table[s->op];
	struct node *n = ARENA_NEW(g->arena, struct node);

	n->op = s->op;
	n->loc = at;
	n->expr = s->expr;
	n->in_count = s->in_count;
	n->in = ARENA_ARRAY(g->arena, struct value *, s->in_count);
	for (int i = 0; i < s->in_count; i++)
		n->in[i] = value_now(s->in[i]);
	n->attrs =
		s->attrs ? attrs_copy(s->op, s->attrs, g->arena) : attrs_default(s->op, g->arena);
	n->region_count = s->region_count;
	n->regions = ARENA_ARRAY(g->arena, struct region *, s->region_count);
	for (int i = 0; i < s->region_count; i++) {
		n->regions[i] = s->regions[i];
		n->regions[i]->owner = n;
	}
	n->symbol_count = s->symbol_count;
	if (s->symbol_count)
		n->symbols = arena_copy(g->arena, s->symbols,
					(size_t)s->symbol_count * sizeof(*s->symbols));
	n->out_count = o->outs >= 0 ? o->outs : s->out_count;
	n->out = ARENA_ARRAY(g->arena, struct value *, n->out_count);
	for (int i = 0; i < n->out_count; i++) {
		n->out[i] = value_new(g, NULL);
		n->out[i]->def = n;
		n->out[i]->index = i;
		if (s->type)
			n->out[i]->type = *s->type;
	}
	return n;
}

/* Whether an element of this type can hold the value that was worked out for it: a constant in range, or any size in a
 * type of 32 bits or more (that sizes fit is taken for granted). */
static bool holds(enum dtype t, dim d)
{
	int bits = dtype_bits(t);

	if (t == DT_BOOL || bits == 64)
		return true;
	if (!dim_is_const(d))
		return bits == 32;
	if (dtype_class(t) == DTYPE_UNSIGNED)
		return d->value >= 0 && d->value < INT64_C(1) << bits;
	return d->value >= -(INT64_C(1) << (bits - 1)) && d->value < INT64_C(1) << (bits - 1);
}

/* Symbolic elements that grew too large to be worth keeping (a chain of shape arithmetic can double each
 * time) are dropped: then the value is read at run time. */
static void drop_large_elems(struct graph *g, struct value *v)
{
	enum { SIZE_MAX_KEPT = 256 };
	int64_t count = v->elems ? type_count_const(&v->type) : 0;
	dim *kept;

	if (count <= 0 || count > 64)
		return;
	kept = arena_copy(g->arena, v->elems, (size_t)count * sizeof(*v->elems));
	for (int64_t i = 0; i < count; i++)
		if (kept[i] && (kept[i]->size > SIZE_MAX_KEPT || !holds(v->type.dtype, kept[i])))
			kept[i] = NULL;
	v->elems = kept;
}

struct node *graph_add(struct builder *b, const struct node_spec *spec)
{
	struct graph *g = b->graph;
	int required = g->requires.count;
	struct node *n;

	if (!fits(spec, b->loc, b->diag))
		return NULL;
	n = node_new(g, spec, b->loc);
	if (!op_table[n->op].infer(g, n, b->diag)) {
		g->requires.count = required;
		return NULL;
	}
	for (int i = 0; i < n->out_count; i++)
		drop_large_elems(g, n->out[i]);
	if (n->symbol_count)
		g->stage_count++;
	link_node(n, b->region, b->before);
	return n;
}

/* ---- requirements ---- */

bool graph_require(struct graph *g, struct diag *d, const struct node *n, dim left, dim right,
		   const char *what)
{
	dim difference = dim_sub(&g->dims, left, right);
	struct arena scratch = {0};

	if (dim_is(difference, 0))
		return true;
	if (dim_lower(difference) > 0 || dim_upper(difference) < 0) {
		diag_add(d, DIAG_FILE, n->loc, "%s: %s must be equal to %s", what,
			 dim_text(&g->dims, &scratch, left), dim_text(&g->dims, &scratch, right));
		arena_free(&scratch);
		return false;
	}
	for (int i = 0; i < g->requires.count; i++)
		if (g->requires.at[i].left == left && g->requires.at[i].right == right)
			return true;
	ARENA_PUSH(g->arena, &g->requires, ((struct require){left, right, n, what}));
	return true;
}

/* ---- types ---- */

struct type type_make(enum dtype t, int rank, const dim *dims)
{
	struct type type = {.kind = TYPE_TENSOR, .dtype = t, .rank = rank};

	for (int i = 0; i < rank && i < HONE_MAX_RANK; i++)
		type.dims[i] = dims[i];
	return type;
}

bool type_equal(const struct type *a, const struct type *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind != TYPE_TENSOR)
		return type_equal(a->elem, b->elem);
	if (a->dtype != b->dtype || a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dims[i] != b->dims[i])
			return false;
	return true;
}

const char *type_text(const struct graph *g, struct arena *a, const struct type *t)
{
	const char *out;

	if (t->kind != TYPE_TENSOR)
		return arena_printf(a, "%s<%s>", t->kind == TYPE_SEQUENCE ? "sequence" : "optional",
				    type_text(g, a, t->elem));
	out = arena_printf(a, "%s[", dtype_name(t->dtype));
	for (int i = 0; i < t->rank; i++)
		out = arena_printf(a, "%s%s%s", out, i ? "," : "",
				   dim_text(&g->dims, a, t->dims[i]));
	return arena_printf(a, "%s]", out);
}

dim type_count(struct graph *g, const struct type *t)
{
	dim n = dim_const(&g->dims, 1);

	for (int i = 0; i < t->rank; i++)
		n = dim_mul(&g->dims, n, t->dims[i]);
	return n;
}

int64_t type_count_const(const struct type *t)
{
	int64_t n = 1;
	bool empty = false;

	for (int i = 0; i < t->rank; i++) {
		if (!dim_is_const(t->dims[i]))
			return -1;
		empty |= t->dims[i]->value == 0;
	}
	for (int i = 0; i < t->rank && !empty; i++)
		if (__builtin_mul_overflow(n, t->dims[i]->value, &n))
			return INT64_MAX;
	return empty ? 0 : n;
}
