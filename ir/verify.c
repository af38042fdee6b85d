/* verify.c: the invariants of a graph.
 *
 * Lists      nodes of a region are linked both ways and name it as parent; regions name their owner
 * Counts     operands, results, regions and symbols are as many as the op table says
 * Values     ids are unique and below value_count; result i of a node names it and i; parameters name their
 *            region; names are unique; what was replaced is read no more
 * Dominance  a value is read only after the node that makes it, in its region or one inside; a group holds
 *            no return_if and no regions
 * Types      inference, done again, gives the same types; dims hold only symbols that are bound by then
 * Symbols    a symbol is bound by one node at most, and only a symbol of that kind
 * Elements   known elements belong to integer tensors with as many, at most 64
 * Interface  inputs and outputs have names
 * Inference checks attributes, expressions and the shapes of regions. */
#include "ir/verify.h"
#include "ir/names.h"

#include <string.h>

enum { DEPTH_MAX = 1000 }; /* of regions: deeper ones are a cycle */

struct verifier {
	struct graph *g;
	enum diag_kind kind;
	struct diag *d;
	struct arena scratch;
	struct names names;
	struct value **seen;    /* by id: the value, from its definition on */
	unsigned char *visible; /* by id: whether it may be read here */
	unsigned char *bound;   /* by symbol: whether a node has bound it */
	unsigned char *ready;   /* by symbol: whether dims may hold it here */
	bool ok;
	int depth;
};

#define FAIL(v, at, ...) ((v)->ok = diag_add((v)->d, (v)->kind, (at), __VA_ARGS__))

static const char *value_name(struct verifier *v, const struct value *x)
{
	return x->name ? x->name : arena_printf(&v->scratch, "v%d", x->id);
}

/* ---- symbols in dims ---- */

static bool dim_ready(struct verifier *v, dim d, int *steps)
{
	if (!d)
		return false;
	if (d->kind == DIM_SYMBOL)
		return d->value >= 0 && d->value < v->g->dims.symbol_count && v->ready[d->value];
	for (int i = 0; i < d->count; i++)
		if (--*steps > 0 && !dim_ready(v, d->arg[i], steps))
			return false;
	return true;
}

static void check_dim(struct verifier *v, dim d, struct loc at, const char *where)
{
	int steps =
		10000; /* dims are trees in name only: a shared part would be walked again and again */

	if (!dim_ready(v, d, &steps))
		FAIL(v, at, "%s: the dim %s holds a symbol that is not bound yet", where,
		     d ? dim_text(&v->g->dims, &v->scratch, d) : "(none)");
}

static void check_type(struct verifier *v, const struct value *x, struct loc at)
{
	const struct type *t = &x->type;
	const char *name = arena_printf(&v->scratch, "%%%s", value_name(v, x));

	for (int i = 0; t && t->kind != TYPE_TENSOR; i++) {
		t = t->elem;
		if (!t || i == DEPTH_MAX) {
			FAIL(v, at, "%s: a %s of nothing", name,
			     x->type.kind == TYPE_SEQUENCE ? "sequence" : "optional");
			return;
		}
	}
	if (t->rank < 0 || t->rank > HONE_MAX_RANK || dtype_class(t->dtype) == DTYPE_INVALID) {
		FAIL(v, at, "%s has no valid type", name);
		return;
	}
	for (int i = 0; i < t->rank; i++)
		check_dim(v, t->dims[i], at, name);
}

static void check_elems(struct verifier *v, const struct value *x, struct loc at)
{
	int64_t count;

	if (!x->elems || !v->ok)
		return;
	count = type_count_const(&x->type);
	if (x->type.kind != TYPE_TENSOR || count < 0 || count > 64 ||
	    !(dtype_is_int(x->type.dtype) || x->type.dtype == DT_BOOL)) {
		FAIL(v, at, "%%%s has known elements, but is no small integer tensor",
		     value_name(v, x));
		return;
	}
	for (int64_t i = 0; i < count; i++)
		if (x->elems[i])
			check_dim(v, x->elems[i], at, "a known element");
}

/* ---- values ---- */

/* A value at its definition; it is visible from here. */
static void define(struct verifier *v, struct value *x, struct loc at)
{
	if (!x || x->id < 0 || x->id >= v->g->value_count) {
		FAIL(v, at, "a value has no valid id");
		return;
	}
	if (v->seen[x->id])
		FAIL(v, at, "the id %d belongs to %%%s and %%%s", x->id,
		     value_name(v, v->seen[x->id]), value_name(v, x));
	v->seen[x->id] = x;
	v->visible[x->id] = 1;
	if (x->name && names_find(&v->names, x->name))
		FAIL(v, at, "two values are named %%%s", x->name);
	if (x->name)
		names_add(&v->names, x->name, x);
	check_type(v, x, at);
	check_elems(v, x, at);
}

static void check_read(struct verifier *v, const struct value *x, struct loc at, const char *what,
		       int i)
{
	if (!x)
		FAIL(v, at, "%s %d is missing", what, i);
	else if (x->id < 0 || x->id >= v->g->value_count || v->seen[x->id] != x ||
		 !v->visible[x->id])
		FAIL(v, at, "%s %d reads %%%s, which is not defined here", what, i,
		     value_name(v, x));
	else if (x->forward)
		FAIL(v, at, "%s %d reads %%%s, which was replaced", what, i, value_name(v, x));
}

/* ---- nodes ---- */

static void check_counts(struct verifier *v, const struct node *n)
{
	const struct op_row *o = &op_table[n->op];

	if (n->in_count < o->min_in || (o->max_in >= 0 && n->in_count > o->max_in))
		FAIL(v, n->loc, "%s takes %d to %d operands, found %d", o->name, o->min_in,
		     o->max_in, n->in_count);
	if (n->out_count < 0 || (o->outs >= 0 && n->out_count != o->outs))
		FAIL(v, n->loc, "%s has %d results, found %d", o->name, o->outs, n->out_count);
	if (n->region_count != o->regions)
		FAIL(v, n->loc, "%s has %d regions, found %d", o->name, o->regions,
		     n->region_count);
	if (!(o->flags & OP_EXPR) != !n->expr)
		FAIL(v, n->loc, "%s %s an expression", o->name, n->expr ? "takes no" : "needs");
	if (n->symbol_count && !(o->flags & OP_BINDS))
		FAIL(v, n->loc, "%s binds no symbols", o->name);
	if (!n->attrs)
		FAIL(v, n->loc, "%s has no attributes", o->name);
}

static void bind_symbols(struct verifier *v, const struct node *n)
{
	for (int i = 0; i < n->symbol_count; i++) {
		int s = n->symbols[i];

		if (s < 0 || s >= v->g->dims.symbol_count) {
			FAIL(v, n->loc, "there is no symbol %d", s);
			continue;
		}
		if (v->g->dims.symbols[s].binding != SYMBOL_NODE)
			FAIL(v, n->loc, "the symbol %s is bound by the interface",
			     v->g->dims.symbols[s].name);
		if (v->bound[s])
			FAIL(v, n->loc, "the symbol %s is bound twice", v->g->dims.symbols[s].name);
		if (v->g->dims.symbols[s].bound)
			check_dim(v, v->g->dims.symbols[s].bound, n->loc, "the bound of a symbol");
		v->bound[s] = v->ready[s] = 1;
	}
}

static void check_attr_dims(struct verifier *v, const struct node *n)
{
	const struct op_row *o = &op_table[n->op];

	for (int i = 0; i < o->attr_count; i++) {
		const struct attr_row *row = &o->attrs[i];
		const void *field = (const char *)n->attrs + row->offset;
		const struct dims *list = field;

		if (row->kind == ATTR_DIM)
			check_dim(v, *(const dim *)field, n->loc, row->name);
		for (int k = 0; row->kind == ATTR_DIMS && k < list->count; k++)
			check_dim(v, list->at[k], n->loc, row->name);
	}
}

static bool is_unready_dim(const struct expr *e, void *self)
{
	struct verifier *v = self;
	int steps = 10000;

	return e->op == EXPR_DIM && !dim_ready(v, e->size, &steps);
}

/* What a node's results were before they were inferred again. */
struct before {
	struct type type;
	const dim *elems;
};

/* Infers again and compares; leaves the node and the requirements as they were. */
static void check_inference(struct verifier *v, struct node *n)
{
	struct before *old = ARENA_ARRAY(&v->scratch, struct before, n->out_count);
	struct diag d = {0};
	int required = v->g->requires.count;
	struct type *now;
	bool ok;

	for (int i = 0; i < n->out_count; i++)
		old[i] = (struct before){n->out[i]->type, n->out[i]->elems};
	ok = op_table[n->op].infer(v->g, n, &d);
	for (int i = 0; i < n->out_count; i++) {
		now = ARENA_NEW(&v->scratch, struct type);
		*now = n->out[i]->type;
		n->out[i]->type = old[i].type;
		n->out[i]->elems = old[i].elems;
		if (ok && !type_equal(now, &old[i].type))
			FAIL(v, n->loc, "%%%s is %s, but %s gives %s", value_name(v, n->out[i]),
			     type_text(v->g, &v->scratch, &old[i].type), op_table[n->op].name,
			     type_text(v->g, &v->scratch, now));
	}
	v->g->requires.count = required;
	if (!ok)
		FAIL(v, n->loc, "%s", d.count ? d.messages[0].text : "inference fails");
	diag_reset(&d);
}

static void check_region(struct verifier *v, struct region *r, struct node *owner);

static void check_group(struct verifier *v, const struct node *n)
{
	for (const struct node *i = n->regions[0]->first; i; i = i->next)
		if (i->op == OP_return_if || i->region_count || i->symbol_count)
			FAIL(v, i->loc, "a group cannot hold %s", op_table[i->op].name);
}

static void check_node(struct verifier *v, struct node *n)
{
	struct loc at = n->loc;

	if ((int)n->op < 0 || n->op >= OP_COUNT) {
		FAIL(v, at, "a node has no valid operator");
		return;
	}
	check_counts(v, n);
	for (int i = 0; i < n->in_count; i++)
		check_read(v, n->in[i], at, "operand", i);
	if (!v->ok)
		return;
	check_attr_dims(v, n);
	if (n->expr && expr_any(n->expr, is_unready_dim, v))
		FAIL(v, at, "the expression reads a symbol that is not bound yet");
	bind_symbols(v, n);
	for (int i = 0; i < n->region_count && v->ok; i++)
		check_region(v, n->regions[i], n);
	if (v->ok && n->op == OP_group)
		check_group(v, n);
	for (int i = 0; i < n->out_count && v->ok; i++) {
		if (n->out[i] && (n->out[i]->def != n || n->out[i]->index != i))
			FAIL(v, at, "result %d does not name its node", i);
		define(v, n->out[i], at);
	}
	if (v->ok)
		check_inference(v, n);
}

/* What was defined inside of a region is not visible after it; symbols bound there are not ready. */
static void check_region(struct verifier *v, struct region *r, struct node *owner)
{
	struct loc at = owner ? owner->loc : (struct loc){.file = v->g->file};
	unsigned char *ready =
		arena_copy(&v->scratch, v->ready, (size_t)v->g->dims.symbol_count + 1);
	struct node *last = NULL;

	if (!r || r->owner != owner || v->depth == DEPTH_MAX) {
		FAIL(v, at, "a region does not name its owner, or regions are nested without end");
		return;
	}
	v->depth++;
	for (int i = 0; i < r->param_count; i++) {
		if (r->params[i] &&
		    (r->params[i]->def || r->params[i]->region != r || r->params[i]->index != i))
			FAIL(v, at, "parameter %d does not name its region", i);
		define(v, r->params[i], at);
	}
	for (struct node *n = r->first; n && v->ok; last = n, n = n->next) {
		if (n->prev != last || n->parent != r)
			FAIL(v, n->loc, "the list of nodes is broken");
		else
			check_node(v, n);
	}
	if (v->ok && r->last != last)
		FAIL(v, at, "a region does not know its last node");
	for (int i = 0; i < r->result_count && v->ok; i++)
		check_read(v, r->results[i], at, "the result", i);
	for (int i = 0; i < r->param_count && v->ok && owner; i++)
		v->visible[r->params[i]->id] = 0;
	for (struct node *n = r->first; n && v->ok && owner; n = n->next)
		for (int i = 0; i < n->out_count; i++)
			v->visible[n->out[i]->id] = 0;
	if (owner)
		memcpy(v->ready, ready, (size_t)v->g->dims.symbol_count);
	v->depth--;
}

bool graph_verify(struct graph *g, enum diag_kind kind, struct diag *d)
{
	struct verifier v = {.g = g, .kind = kind, .d = d, .ok = true};
	struct loc at = {.file = g->file};
	struct region *r = g->body;

	v.names.arena = &v.scratch;
	v.seen = ARENA_ARRAY(&v.scratch, struct value *, g->value_count + 1);
	v.visible = ARENA_ARRAY(&v.scratch, unsigned char, g->value_count + 1);
	v.bound = ARENA_ARRAY(&v.scratch, unsigned char, g->dims.symbol_count + 1);
	v.ready = ARENA_ARRAY(&v.scratch, unsigned char, g->dims.symbol_count + 1);
	for (int i = 0; i < g->dims.symbol_count; i++)
		v.ready[i] = g->dims.symbols[i].binding != SYMBOL_NODE;
	check_region(&v, r, NULL);
	for (int i = 0; i < r->param_count && v.ok; i++)
		if (!g->input_names || !g->input_names[i])
			FAIL(&v, at, "input %d has no name", i);
	for (int i = 0; i < r->result_count && v.ok; i++)
		if (!g->output_names || !g->output_names[i])
			FAIL(&v, at, "output %d has no name", i);
	arena_free(&v.scratch);
	return v.ok;
}
