/* early_exit_emit.c: the graph with exits, of operators that exist already: at each cut
 *   logits = head(h), confidence = rule(logits)
 *   y, index, confidence of all rows = scatter(.., rows, ..)
 *   keep = nonzero(!(confidence >= threshold)) dims(K <= rows so far)
 *   return_if K == 0 (y, index, confidence)
 *   rows and every value that is read later = gather(.., keep)
 * and what follows the cut is copied for K rows. A model of batch 1 needs none of the scatters and gathers.
 * To be timed (early_exit_time.c), all rows are kept, and where to return is a parameter. */
#include "passes/early_exit.h"

#include "ir/attr_rows.h"

#include <math.h>
#include <string.h>

/* ---- copies for some of the rows ---- */

static void substitute(const struct exits *x, enum op_id op, void *attrs, dim symbol)
{
	for (int i = 0; i < op_table[op].attr_count; i++) {
		const struct attr_row *r = &op_table[op].attrs[i];
		void *field = (char *)attrs + r->offset;
		const struct dims *old = field;
		dim *at;

		if (r->kind == ATTR_DIM && *(dim *)field)
			*(dim *)field = exits_rows(x, *(dim *)field, symbol);
		if (r->kind != ATTR_DIMS || !old->count)
			continue;
		at = ARENA_ARRAY(x->c->graph->arena, dim, old->count);
		for (int k = 0; k < old->count; k++)
			at[k] = exits_rows(x, old->at[k], symbol);
		((struct dims *)field)->at = at;
	}
}

struct node *exits_copy(const struct exits *x, struct builder *b, const struct node *n, dim symbol,
			struct value **map)
{
	struct value **in = ARENA_ARRAY(x->c->scratch, struct value *, n->in_count);
	struct loc before = b->loc;
	struct node *copy;
	void *attrs;

	if (x->batch->kind != DIM_SYMBOL)
		return node_clone(b, n, map);
	attrs = attrs_copy(n->op, n->attrs, x->c->graph->arena);
	for (int i = 0; i < n->in_count; i++)
		in[i] = n->in[i] && map[n->in[i]->id] ? map[n->in[i]->id] : n->in[i];
	substitute(x, n->op, attrs, symbol);
	b->loc = n->loc;
	copy = graph_add(b, &(struct node_spec){.op = n->op,
						.in_count = n->in_count,
						.out_count = n->out_count,
						.in = in,
						.attrs = attrs,
						.expr = n->expr});
	b->loc = before;
	for (int i = 0; copy && i < n->out_count; i++)
		map[n->out[i]->id] = copy->out[i];
	return copy;
}

/* ---- heads and rules ---- */

static struct value *add_floats(struct exits *x, struct builder *b, int rows, int columns,
				const float *at)
{
	struct dim_pool *p = &x->c->graph->dims;
	dim dims[2] = {dim_const(p, rows), dim_const(p, columns)};
	struct type type = rows ? type_make(DT_F32, 2, dims) : type_make(DT_F32, 1, dims + 1);
	size_t bytes = (size_t)(rows ? rows : 1) * (size_t)columns * sizeof(float);

	return add_bytes(b, &type, arena_copy(x->c->graph->arena, at, bytes));
}

static struct value *add_softmax(struct builder *b, struct value *logits)
{
	struct attrs_softmax attrs = {.axis = 1};
	struct node *n;

	if (!logits)
		return NULL;
	n = graph_add(b, &(struct node_spec){
				 .op = OP_softmax, .in_count = 1, .in = &logits, .attrs = &attrs});
	return n ? n->out[0] : NULL;
}

static struct value *add_head(struct exits *x, struct builder *b, const struct cut *cut,
			      struct value *feature)
{
	struct value *in[2] = {feature,
			       add_floats(x, b, cut->feature_count, x->classes, cut->weights)};
	struct node *n;

	if (!in[0] || !in[1])
		return NULL;
	n = graph_add(b, &(struct node_spec){.op = OP_matmul, .in_count = 2, .in = in});
	return n ? add_binary(b, EXPR_ADD, n->out[0], add_floats(x, b, 0, x->classes, cut->bias))
		 : NULL;
}

/* The largest probability less the second. */
static struct value *add_margin(struct exits *x, struct builder *b, struct value *probabilities)
{
	struct dim_pool *p = &x->c->graph->dims;
	struct attrs_topk attrs = {.k = dim_const(p, 2), .axis = 1, .largest = 1, .sorted = 1};
	dim rows = probabilities->type.dims[0], size[2] = {rows, dim_const(p, 1)};
	struct node *n = graph_add(
		b, &(struct node_spec){
			   .op = OP_topk, .in_count = 1, .in = &probabilities, .attrs = &attrs});
	struct value *parts[2];

	for (int i = 0; n && i < 2; i++) {
		dim at[2] = {dim_const(p, 0), dim_const(p, i)};

		parts[i] = add_reshape(b, add_slice(b, n->out[0], at, size, NULL), 1, &rows);
	}
	return n ? add_binary(b, EXPR_SUB, parts[0], parts[1]) : NULL;
}

/* The state of the rows that are still there. */
struct rows {
	dim symbol;
	struct value **map;    /* by value id: what is made of it for these rows */
	struct value *numbers; /* i64[rows]: which rows of the input; NULL: all */
	struct value *winner,
		*streak; /* patience: the last head's class, heads in a row that said so */
	struct value *y, *index, *confidence; /* of all rows; NULL before the first exit */
	struct emission *to;
};

static struct value *add_patience(struct exits *x, struct builder *b, struct rows *r,
				  struct value *logits)
{
	struct attrs_argreduce attrs = {.kind = 1, .axis = 1};
	struct node *n = graph_add(
		b, &(struct node_spec){
			   .op = OP_argreduce, .in_count = 1, .in = &logits, .attrs = &attrs});
	struct value *in[3] = {n ? n->out[0] : NULL, r->winner, r->streak};

	r->streak = r->winner ? add_map_text(b, "(c, d, s) -> c == d ? s + 1.0 : 1.0", DT_F32, 3,
					     in, 0, NULL)
			      : add_map_text(b, "(c) -> f32(1)", DT_F32, 1, in, 0, NULL);
	r->winner = in[0];
	return add_map_text(b, "(s) -> s / n", DT_NONE, 1, &r->streak, 1,
			    (struct named_real[]){{"n", x->cut_count}});
}

static struct value *add_confidence(struct exits *x, struct builder *b, struct rows *r,
				    struct value *logits)
{
	struct value *p, *sum;
	struct named_real n = {"n", log(x->classes)};
	int64_t axis = 1;

	if (!logits)
		return NULL;
	if (x->rule == RULE_PATIENCE)
		return add_patience(x, b, r, logits);
	p = add_softmax(b, logits);
	if (x->rule == RULE_MARGIN)
		return p ? add_margin(x, b, p) : NULL;
	if (x->rule == RULE_CONFIDENCE)
		return add_reduce(b, REDUCE_MAX, p, 1, &axis, false);
	sum = add_reduce(b, REDUCE_SUM,
			 add_map_text(b, "(p) -> p > 0 ? p * log(p) : 0", DT_NONE, 1, &p, 0, NULL),
			 1, &axis, false);
	return add_map_text(b, "(s) -> max(1 + s / n, 0)", DT_NONE, 1, &sum, 1, &n);
}

/* ---- the steps at a cut ---- */

static struct value *place(struct builder *b, const struct rows *r, struct value *all,
			   struct value *rows)
{
	struct value *in[3] = {all, r->numbers, rows};
	struct node *n;

	if (!all || !r->numbers)
		return rows;
	n = rows ? graph_add(b, &(struct node_spec){.op = OP_scatter, .in_count = 3, .in = in})
		 : NULL;
	return n ? n->out[0] : NULL;
}

/* Notes what these rows answer: exit number `index`. */
static bool answer(struct exits *x, struct builder *b, struct rows *r, struct value *y,
		   struct value *confidence, int index)
{
	struct value *number = add_expand(b, add_scalar_int(b, DT_I32, index), 1, &r->symbol);

	(void)x;
	r->y = place(b, r, r->y, y);
	r->index = place(b, r, r->index, number);
	r->confidence = place(b, r, r->confidence, confidence);
	return r->y && r->index && r->confidence;
}

static struct value *add_param(struct builder *b, const char *name, double initial)
{
	struct attrs_param attrs = {.name = name, .initial = initial, .type = DT_F32};
	struct node *n = graph_add(b, &(struct node_spec){.op = OP_param, .attrs = &attrs});

	return n ? n->out[0] : NULL;
}

static bool add_return(struct builder *b, const struct rows *r, struct value *stop)
{
	struct value *in[4] = {stop, r->y, r->index, r->confidence};

	return stop &&
	       graph_add(b, &(struct node_spec){.op = OP_return_if, .in_count = 4, .in = in});
}

/* Where a timed run may end. */
static bool add_stop(struct builder *b, struct rows *r)
{
	struct emission *to = r->to;
	struct value *on;

	if (!to->stop_names)
		return true;
	on = add_param(b, to->stop_names[to->stop_count++], 0);
	return add_return(b, r, add_map_text(b, "(s) -> s > 0.5", DT_NONE, 1, &on, 0, NULL));
}

static struct value *keep_rows(struct builder *b, struct value *v, struct value *keep)
{
	struct attrs_gather attrs = {.sorted = 1};
	struct value *in[2] = {v, keep};
	struct node *n = graph_add(
		b, &(struct node_spec){.op = OP_gather, .in_count = 2, .in = in, .attrs = &attrs});

	return n ? n->out[0] : NULL;
}

/* What v is for the rows that stay: of N * c rows by samples, then flat again. */
static struct value *keep_value(struct exits *x, struct builder *b, const struct rows *r,
				const struct value *v, struct value *now, dim symbol,
				struct value *keep)
{
	dim dims[HONE_MAX_RANK + 1];
	struct dim_pool *p = &x->c->graph->dims;
	int rank = v->type.rank;

	if (v->type.dims[0] == x->batch)
		return keep_rows(b, now, keep);
	if (rank >= HONE_MAX_RANK) {
		diag_add(x->c->diag, DIAG_UNSUPPORTED, v->def ? v->def->loc : (struct loc){0},
			 "--early-exit: rows of a value of rank %d cannot be told apart", rank);
		return NULL;
	}
	dims[0] = r->symbol;
	dims[1] = exits_rows(x, v->type.dims[0], dim_const(p, 1));
	for (int j = 1; j < rank; j++)
		dims[j + 1] = v->type.dims[j];
	now = keep_rows(b, add_reshape(b, now, rank + 1, dims), keep);
	dims[1] = exits_rows(x, v->type.dims[0], symbol);
	return now ? add_reshape(b, now, rank, dims + 1) : NULL;
}

/* The operands of n that are not `done`: in rows that stay. */
static bool keep_operands(struct exits *x, struct builder *b, struct rows *r, const struct node *n,
			  dim symbol, struct value *keep, bool *done)
{
	for (int k = 0; k < n->in_count; k++) {
		struct value *v = n->in[k], *now;

		if (!v || v->id >= x->value_count || done[v->id] || !exits_is_batched(x, v))
			continue;
		done[v->id] = true;
		now = r->map[v->id] ? r->map[v->id] : v;
		r->map[v->id] = keep_value(x, b, r, v, now, symbol, keep);
		if (!r->map[v->id])
			return false;
	}
	return true;
}

/* Every value of the original graph that nodes from `from` on read, and heads of exits behind `index`, and that was
 * made before. */
static bool keep_live(struct exits *x, struct builder *b, struct rows *r, int index, int from,
		      dim symbol, struct value *keep)
{
	bool *done = ARENA_ARRAY(x->c->scratch, bool, x->value_count + 1);

	for (int i = from; i < x->node_count; i++)
		for (int k = 0; k < x->nodes[i]->out_count; k++)
			done[x->nodes[i]->out[k]->id] = true;
	for (int i = 0; x->is_aside && i < x->value_count; i++)
		done[i] = done[i] || x->is_aside[i];
	for (int i = from; i < x->node_count; i++)
		if (!keep_operands(x, b, r, x->nodes[i], symbol, keep, done))
			return false;
	for (int i = index + 1; i < x->cut_count; i++)
		for (int k = 0; x->cuts[i].head && k < x->cuts[i].head->node_count; k++)
			if (!keep_operands(x, b, r, x->cuts[i].head->nodes[k], symbol, keep, done))
				return false;
	return true;
}

/* Which rows stay, as a new symbol's number of them; NULL: reported. */
static struct value *add_keep(struct exits *x, struct builder *b, const struct rows *r,
			      struct value *const *in, dim *symbol)
{
	struct graph *g = x->c->graph;
	struct value *go = add_map_text(b, "(c, t) -> !(c >= t)", DT_NONE, 2, in, 0, NULL);
	int number = graph_symbol(g, "K", INT64_MAX, r->symbol); /* NaN goes on */
	struct node *n = go ? graph_add(b, &(struct node_spec){.op = OP_nonzero,
							       .in_count = 1,
							       .in = &go,
							       .symbol_count = 1,
							       .symbols = &number})
			    : NULL;
	const struct expr *none;

	if (!n)
		return NULL;
	*symbol = dim_symbol(&g->dims, number);
	none = expr_binary(&g->exprs, EXPR_EQ, expr_dim(&g->exprs, *symbol),
			   expr_index(&g->exprs, 0));
	return add_return(b, r, add_map(b, none, DT_NONE, 0, NULL)) ? n->out[0] : NULL;
}

/* All rows stay, but only the confidence tells. */
static struct value *keep_all(struct builder *b, const struct rows *r, struct value *confidence)
{
	struct attrs_iota attrs = {.dims = {1, &r->symbol}, .type = DT_I64};
	struct node *n = graph_add(b, &(struct node_spec){.op = OP_iota, .attrs = &attrs});
	struct value *in[2] = {confidence, n ? n->out[0] : NULL};

	return add_map_text(b, "(c, i) -> c > 2.0 ? 0 : i", DT_NONE, 2, in, 0, NULL);
}

/* Rows that are sure return; the others go on. */
static bool leave(struct exits *x, struct builder *b, struct rows *r, struct value *confidence,
		  int index, int from)
{
	struct arena *a = x->c->graph->arena;
	bool timed = r->to->stop_names;
	struct value *in[2] = {confidence, NULL}, *stop, *keep;
	dim symbol = r->symbol;

	if (!timed)
		in[1] = add_param(b, arena_printf(a, "exit.%d.threshold", index),
				  x->cuts[index].threshold);
	if (x->batch->kind != DIM_SYMBOL) {
		if (timed)
			return true;
		stop = add_map_text(b, "(c, t) -> c >= t", DT_NONE, 2, in, 0, NULL);
		return add_return(b, r, stop ? add_reshape(b, stop, 0, NULL) : NULL);
	}
	keep = timed ? keep_all(b, r, confidence) : add_keep(x, b, r, in, &symbol);
	if (!keep || !keep_live(x, b, r, index, from, symbol, keep))
		return false;
	r->numbers = r->numbers ? keep_rows(b, r->numbers, keep) : keep;
	if (r->winner) {
		r->winner = keep_rows(b, r->winner, keep);
		r->streak = keep_rows(b, r->streak, keep);
	}
	r->symbol = symbol;
	return r->numbers && add_stop(b, r);
}

static struct value *add_logits(struct exits *x, struct builder *b, struct rows *r,
				const struct cut *cut)
{
	struct value *h = r->map[cut->value->id] ? r->map[cut->value->id] : cut->value, *feature;

	if (cut->head)
		return exits_copy_head(x, b, cut->head, r->symbol, r->map);
	feature = exits_feature(x, b, cut, h, r->symbol, r->map);
	return feature ? add_head(x, b, cut, feature) : NULL;
}

static bool add_exit(struct exits *x, struct builder *b, struct rows *r, int index)
{
	struct cut *cut = &x->cuts[index];
	struct value *logits, *confidence;

	b->loc = cut->value->def->loc; /* what is added has the origin of what it reads */
	logits = add_stop(b, r) ? add_logits(x, b, r, cut) : NULL;
	confidence = add_confidence(x, b, r, logits);
	return confidence &&
	       answer(x, b, r, x->softmax ? add_softmax(b, logits) : logits, confidence, index) &&
	       add_stop(b, r) && leave(x, b, r, confidence, index, cut->position + 1);
}

/* Copies what lies between two cuts. */
static bool copy_range(struct exits *x, struct builder *b, struct rows *r, int from, int to)
{
	for (int i = from; i < to; i++) {
		const struct node *n = x->nodes[i];
		bool batched = x->batch->kind != DIM_SYMBOL && n->op != OP_const;

		for (int k = 0; k < n->out_count; k++)
			batched = batched || exits_is_batched(x, n->out[k]);
		if (batched && !exits_copy(x, b, n, r->symbol, r->map))
			return false;
	}
	return true;
}

static void name_outputs(struct exits *x, const struct rows *r)
{
	struct graph *g = x->c->graph;
	struct value *results[3] = {r->y, r->index, r->confidence};
	const char **names = ARENA_ARRAY(g->arena, const char *, 3);

	names[0] = x->answer_name;
	names[1] = "exit_index";
	names[2] = "exit_confidence";
	graph_set_outputs(g, 3, results, names);
}

/* What a timed run returns before any exit has answered. */
static bool answer_nothing(struct exits *x, struct builder *b, struct rows *r)
{
	dim dims[2] = {r->symbol, dim_const(&x->c->graph->dims, x->classes)};

	r->y = add_expand(b, add_scalar_real(b, DT_F32, 0), 2, dims);
	r->index = add_expand(b, add_scalar_int(b, DT_I32, 0), 1, dims);
	r->confidence = add_expand(b, add_scalar_real(b, DT_F32, 0), 1, dims);
	return r->y && r->index && r->confidence;
}

bool exits_emit(struct exits *x, struct emission *to)
{
	struct graph *g = x->c->graph;
	struct builder b = {.graph = g, .region = g->body, .diag = x->c->diag};
	struct rows r = {.symbol = to->rows, .map = to->map, .to = to};
	struct value *logits;

	if (to->stop_names && !answer_nothing(x, &b, &r))
		return false;
	for (int i = 0; i < x->cut_count; i++) {
		int end = i + 1 < x->cut_count ? x->cuts[i + 1].position + 1 : x->node_count;

		if (!add_exit(x, &b, &r, i) || !copy_range(x, &b, &r, x->cuts[i].position + 1, end))
			return false;
	}
	logits = r.map[x->logits->id];
	b.loc = x->logits->def ? x->logits->def->loc : b.loc;
	if (!add_stop(&b, &r) || !answer(x, &b, &r, r.map[x->answer->id],
					 add_confidence(x, &b, &r, logits), x->cut_count))
		return false;
	name_outputs(x, &r);
	return true;
}
