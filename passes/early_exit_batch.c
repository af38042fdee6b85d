/* early_exit_batch.c: models whose batch is a constant above 1. While exits are sought the body is a copy in which a symbol, at
 * most that large, stands for the batch, so that everything else knows rows as it does for a symbolic batch; exits are
 * then added to the original body. Where a dim is written out (a reshape's, an expand's, a slice's) axis 0 of what has
 * rows follows the operand's; a constant of a row for each sample becomes, at the start, a slice of as many rows. */
#include "ir/attr_rows.h"
#include "passes/early_exit.h"

struct lift {
	struct exits *x;
	struct builder b;
	struct value **map; /* of the original, by value id: the copy */
	int64_t rows;
};

static bool has_batch(const struct lift *l, const struct value *v)
{
	return v && v->type.kind == TYPE_TENSOR && v->type.rank && exits_is_batched(l->x, v);
}

/* The size of axis 0 as rows, where it is a multiple of the batch. */
static void to_rows(const struct lift *l, dim *size)
{
	struct dim_pool *p = &l->b.graph->dims;

	if (dim_is_const(*size) && (*size)->value > 0 && (*size)->value % l->rows == 0)
		*size = dim_mul(p, l->x->batch, dim_const(p, (*size)->value / l->rows));
}

static void lift_dims(const struct lift *l, enum op_id op, void *attrs, const struct value *in)
{
	struct dims *dims = NULL;

	if (!has_batch(l, in))
		return;
	if (op == OP_reshape)
		dims = &((struct attrs_reshape *)attrs)->dims;
	else if (op == OP_expand)
		dims = &((struct attrs_expand *)attrs)->dims;
	else if (op == OP_slice && dim_is(((struct attrs_slice *)attrs)->at.at[0], 0))
		dims = &((struct attrs_slice *)attrs)->size;
	if (!dims || !dims->count)
		return;
	dims->at = arena_copy(l->b.graph->arena, dims->at, (size_t)dims->count * sizeof(dim));
	to_rows(l, (dim *)&dims->at[0]);
}

/* A constant with a row for each sample, for `like` that has rows: as many rows of it, made before all others, where
 * compaction finds it. v itself where it is something else. */
static struct value *lift_constant(struct lift *l, const struct node *n, int i, struct value *v)
{
	struct graph *g = l->b.graph;
	struct builder first = l->b;
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	const struct tensor *data = value_const(v);
	const struct value *like = NULL;
	struct value *rows;

	for (int k = 0; k < n->in_count; k++)
		if (k != i && n->in[k] && has_batch(l, l->map[n->in[k]->id]))
			like = l->map[n->in[k]->id];
	if (!data || !like || !v->type.rank || like->type.rank != v->type.rank ||
	    !dim_is(v->type.dims[0], l->rows))
		return v;
	for (int k = 0; k < v->type.rank; k++) {
		at[k] = dim_const(&g->dims, 0);
		size[k] = k ? v->type.dims[k] : l->x->batch;
	}
	first.before = g->body->first;
	rows = add_slice(&first, add_const(&first, &v->type, data), at, size, NULL);
	if (rows)
		ARENA_PUSH(l->x->c->scratch, &l->x->origins, ((struct origin){rows, n->in[i]}));
	return rows;
}

static bool meets_by_rows(const struct node *n)
{
	return n->op == OP_map || n->op == OP_attention ||
	       (n->op == OP_concat && ATTRS_OF(concat, n)->axis != 0) ||
	       (n->op == OP_matmul && n->out[0]->type.rank > 2);
}

static bool lift_node(struct lift *l, const struct node *n)
{
	struct arena *scratch = l->x->c->scratch;
	struct value **in = ARENA_ARRAY(scratch, struct value *, n->in_count);
	struct node *copy;
	void *attrs;

	if (n->symbol_count)
		return false;
	if (n->op == OP_const || n->region_count) {
		copy = node_clone(&l->b, n, l->map);
	} else {
		attrs = attrs_copy(n->op, n->attrs, scratch);
		for (int i = 0; i < n->in_count; i++) {
			in[i] = n->in[i] ? l->map[n->in[i]->id] : NULL;
			if (in[i] && meets_by_rows(n) && !has_batch(l, in[i]))
				in[i] = lift_constant(l, n, i, in[i]);
		}
		if (n->in_count)
			lift_dims(l, n->op, attrs, in[0]);
		l->b.loc = n->loc;
		copy = graph_add(&l->b, &(struct node_spec){.op = n->op,
							    .in_count = n->in_count,
							    .out_count = n->out_count,
							    .in = in,
							    .attrs = attrs,
							    .expr = n->expr});
	}
	for (int i = 0; copy && i < n->out_count; i++) {
		copy->out[i]->name = n->out[i]->name; /* never in one body: as cuts they are told */
		l->map[n->out[i]->id] = copy->out[i];
		ARENA_PUSH(scratch, &l->x->origins, ((struct origin){copy->out[i], n->out[i]}));
	}
	return copy != NULL;
}

static void lift_inputs(struct lift *l, const struct region *from)
{
	struct graph *g = l->b.graph;

	for (int i = 0; i < from->param_count; i++) {
		struct value *v = from->params[i], *copy;
		struct type type = v->type;

		if (type.kind == TYPE_TENSOR && type.rank && dim_is(type.dims[0], l->rows))
			type.dims[0] = l->x->batch;
		copy = region_param(g, g->body, v->name, &type);
		l->map[v->id] = copy;
		ARENA_PUSH(l->x->c->scratch, &l->x->origins, ((struct origin){copy, v}));
	}
}

/* Where rows get lost: the first node that reads them and has none. */
static const struct node *find_loss(const struct lift *l, const struct region *from)
{
	for (const struct node *n = from->first; n; n = n->next) {
		bool reads = false, has = false;

		for (int i = 0; i < n->in_count; i++)
			reads = reads || (n->in[i] && has_batch(l, l->map[n->in[i]->id]));
		for (int i = 0; i < n->out_count; i++)
			has = has || has_batch(l, l->map[n->out[i]->id]);
		if (reads && !has)
			return n;
	}
	return NULL;
}

static bool refuse(const struct lift *l, const struct node *n)
{
	return diag_add(l->x->c->diag, DIAG_UNSUPPORTED, n ? n->loc : (struct loc){0},
			"--early-exit: the rows of the constant batch of %d cannot be followed "
			"%s%s; give the model a symbolic batch",
			(int)l->rows, n ? "through this " : "from an input to the output",
			n ? op_table[n->op].name : "");
}

/* Copies the body; returns the node that does not allow it. */
static const struct node *lift_body(struct lift *l, const struct region *from)
{
	struct diag ignored = {0};
	const struct node *bad = NULL;

	l->b.diag = &ignored;
	for (const struct node *n = from->first; n && !bad; n = n->next)
		bad = lift_node(l, n) ? NULL : n;
	diag_reset(&ignored);
	return bad;
}

bool exits_lift(struct exits *x)
{
	struct graph *g = x->c->graph;
	const struct region *from = g->body;
	const struct type *y = &from->results[0]->type;
	struct lift l = {.x = x, .b = {.graph = g}};
	struct value **results = ARENA_ARRAY(x->c->scratch, struct value *, from->result_count);
	const struct node *bad;

	if (y->kind != TYPE_TENSOR || !y->rank || !dim_is_const(y->dims[0]) ||
	    y->dims[0]->value <= 1 || y->dims[0]->value > INT32_MAX)
		return true;
	l.rows = y->dims[0]->value;
	x->batch = dim_symbol(
		&g->dims,
		symbol_add(&g->dims, &(struct symbol){.name = "N", .min = 1, .max = l.rows}));
	l.map = ARENA_ARRAY(x->c->scratch, struct value *, g->value_count + 1);
	x->original = body_set_aside(g);
	l.b.region = g->body;
	x->fixed = (int)l.rows;
	lift_inputs(&l, from);
	bad = lift_body(&l, from);
	for (int i = 0; !bad && i < from->result_count; i++)
		results[i] = l.map[from->results[i]->id];
	if (!bad && results[0]->type.dims[0] == x->batch) {
		graph_set_outputs(g, from->result_count, results, g->output_names);
		return true;
	}
	return refuse(&l, bad ? bad : find_loss(&l, from));
}

void exits_lower(struct exits *x, struct value **map)
{
	struct graph *g = x->c->graph;
	int count = g->value_count; /* what was sought is known by the copy's numbers */

	if (!x->fixed)
		return;
	body_restore(g, &x->original);
	g->value_count = count;
	g->dims.symbols[x->batch->value].binding =
		SYMBOL_NODE; /* of nodes that are gone: no input has it */
	for (int i = 0; i < x->origins.count; i++)
		map[x->origins.at[i].copy->id] = x->origins.at[i].value;
}
