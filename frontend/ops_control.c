/* ops_control.c: If, Loop and Scan: subgraphs become regions. */
#include "frontend/import_private.h"

#include <string.h>

static const struct onnx_graph *subgraph(struct site *s, const char *name)
{
	const struct onnx_attr *a = site_attr(s, name);
	if (a && a->kind == ONNX_ATTR_GRAPH)
		return a->graphs;
	site_invalid(s, "attribute \"%s\" should be a graph", name);
	return NULL;
}

/* The constant truth value of v, if it has one. */
static bool known_bool(const struct value *v, bool *out)
{
	const struct tensor *t = value_const(v);
	if (t && type_count_const(&v->type) == 1)
		*out = tensor_element(t, type_of(v), 0).i != 0;
	else if (v->elems && type_count_const(&v->type) == 1 && v->elems[0] &&
		 dim_is_const(v->elems[0]))
		*out = v->elems[0]->value != 0;
	else
		return false;
	return true;
}

/* Stacked results must have one size in all turns: not one that is only found inside. `stages`: how
 * many binding nodes there were before the region. */
static bool check_stacked(struct site *s, const struct region *r, int first, int stages)
{
	for (int i = first; i < r->result_count; i++) {
		const struct type *t = &r->results[i]->type;
		for (int k = 0; k < t->rank; k++)
			if (dim_stage(t->dims[k]) > stages)
				return site_unsupported(
					s,
					"axis %d of the stacked result \"%s\" has a size that is "
					"only "
					"known inside of the body; declare it in the model",
					k, r->results[i]->name ? r->results[i]->name : "");
	}
	return true;
}

/* ---- If ---- */

/* Symbols for the dims in which the branches differ. */
static int *join_symbols(struct site *s, struct region *const *r, int *count)
{
	int *symbols = SITE_ARRAY(s, int, s->out_count *HONE_MAX_RANK);
	*count = 0;
	for (int i = 0; i < s->out_count; i++) {
		const struct type *a = &r[0]->results[i]->type, *b = &r[1]->results[i]->type;
		for (int k = 0; a->rank == b->rank && k < a->rank; k++)
			if (a->dims[k] != b->dims[k])
				symbols[(*count)++] = graph_symbol(s->g, "J", INT64_MAX, NULL);
	}
	return symbols;
}

static bool import_if(struct site *s)
{
	const struct onnx_graph *graphs[2] = {subgraph(s, "then_branch"),
					      subgraph(s, "else_branch")};
	struct region *regions[2];
	bool truth;
	if (!graphs[0] || !graphs[1])
		return false;
	for (int i = 0; i < 2; i++)
		if (graphs[i]->output_count != s->out_count || graphs[i]->input_count)
			return site_invalid(s, "a branch has %d results, the node %d",
					    graphs[i]->output_count, s->out_count);
	if (known_bool(s->in[0], &truth))
		return import_subgraph(s, graphs[!truth], s->b->region, NULL, s->out);
	struct value *condition = reshape(s, s->in[0], 0, NULL);
	for (int i = 0; i < 2; i++) {
		struct value **results = SITE_ARRAY(s, struct value *, s->out_count);
		regions[i] = region_new(s->g);
		if (!import_subgraph(s, graphs[i], regions[i], NULL, results))
			return false;
		region_set_results(s->g, regions[i], s->out_count, results);
	}
	for (int i = 0; i < s->out_count; i++) {
		const struct type *a = &regions[0]->results[i]->type,
				  *b = &regions[1]->results[i]->type;
		if (a->dtype != b->dtype || a->rank != b->rank)
			return site_unsupported(
				s, "the branches give \"%s\" as %s and as %s", s->node->outputs[i],
				type_text(s->g, s->g->arena, a), type_text(s->g, s->g->arena, b));
	}
	int count;
	int *symbols = join_symbols(s, regions, &count);
	struct node_spec spec = {.op = OP_if,
				 .in_count = 1,
				 .in = &condition,
				 .region_count = 2,
				 .regions = regions,
				 .out_count = s->out_count,
				 .symbol_count = count,
				 .symbols = symbols};
	struct node *n = graph_add(s->b, &spec);
	if (!n)
		return false;
	memcpy(s->out, n->out, sizeof(*s->out) * (size_t)s->out_count);
	return true;
}

/* ---- Loop ---- */

struct loop {
	const struct onnx_graph *body;
	int carried, scans;
	struct value **in; /* trip, cond, carried.. */
	bool *open;        /* carried * HONE_MAX_RANK: the dim changes from turn to turn */
	int *symbols, symbol_count;
	struct region *region;
};

/* Scalar parameters of a body that wants them as vectors of one. */
static struct value *as_declared(struct site *s, struct value *v, const struct onnx_type *t)
{
	return t->kind == ONNX_KIND_TENSOR && t->rank == 1 ? insert_axis(s, v, 0) : v;
}

/* Imports the body with the dims of carried values as `open` says. */
static bool loop_body(struct site *outer, struct loop *l)
{
	struct graph *g = outer->g;
	struct builder b = {
		.graph = g, .region = region_new(g), .loc = outer->b->loc, .diag = outer->b->diag};
	struct site in = *outer, *s = &in;
	struct type number = type_make(DT_I64, 0, NULL), truth = type_make(DT_BOOL, 0, NULL);
	struct value **params = SITE_ARRAY(s, struct value *, l->carried + 2);
	struct value **results = SITE_ARRAY(s, struct value *, l->body->output_count);
	s->b = &b;
	l->region = b.region;
	l->symbol_count = 0;
	params[0] =
		as_declared(s, region_param(g, b.region, NULL, &number), &l->body->inputs[0].type);
	struct value *go = region_param(g, b.region, NULL, &truth);
	params[1] = as_declared(s, go, &l->body->inputs[1].type);
	for (int i = 0; i < l->carried; i++) {
		struct type t = l->in[i + 2]->type;
		for (int k = 0; k < t.rank; k++) {
			if (!l->open[i * HONE_MAX_RANK + k])
				continue;
			int symbol = graph_symbol(g, "L", INT64_MAX, NULL);
			l->symbols[l->symbol_count++] = symbol;
			t.dims[k] = dim_symbol(s->dims, symbol);
		}
		params[i + 2] = region_param(g, b.region, NULL, &t);
	}
	if (!import_subgraph(s, l->body, b.region, params, results))
		return false;
	results[0] = reshape(s, results[0], 0, NULL);
	region_set_results(g, b.region, l->body->output_count, results);
	return results[0] != NULL;
}

/* Marks dims that the body changes; true when there are new ones. */
static bool find_open(struct loop *l)
{
	bool found = false;
	for (int i = 0; i < l->carried; i++) {
		const struct type *p = &l->region->params[i + 2]->type,
				  *r = &l->region->results[i + 1]->type;
		for (int k = 0; p->rank == r->rank && k < p->rank; k++) {
			bool *open = &l->open[i * HONE_MAX_RANK + k];
			if (p->dims[k] == r->dims[k] || *open)
				continue;
			*open = found = true;
		}
	}
	return found;
}

/* The body, tried until the dims of carried values hold: first as all constant from turn to turn. A
 * try that is given up leaves no requirements, names or messages. */
static bool settle_body(struct site *s, struct loop *l)
{
	struct import *im = s->import;
	for (;;) {
		struct diag quiet = {0}, *d = s->b->diag;
		int required = s->g->requires.count, stages = s->g->stage_count;
		int names = im->taken.entries.count;
		s->b->diag = im->d = &quiet;
		bool ok = loop_body(s, l);
		s->b->diag = im->d = d;
		bool again = ok && find_open(l);
		for (int i = 0; !again && i < quiet.count; i++)
			diag_add(d, quiet.messages[i].kind, quiet.messages[i].loc, "%s",
				 quiet.messages[i].text);
		diag_reset(&quiet);
		if (!again)
			return ok;
		s->g->requires.count = required;
		s->g->stage_count = stages;
		names_back(&im->taken, names);
	}
}

static bool import_loop(struct site *s)
{
	struct loop l = {.body = subgraph(s, "body"),
			 .carried = s->in_count > 2 ? s->in_count - 2 : 0};
	if (!l.body)
		return false;
	l.scans = l.body->output_count - 1 - l.carried;
	if (l.body->input_count != l.carried + 2 || l.scans < 0 ||
	    s->out_count > l.carried + l.scans)
		return site_invalid(s, "the body has %d inputs and %d outputs, the node %d and %d",
				    l.body->input_count, l.body->output_count, s->in_count,
				    s->out_count);
	l.in = SITE_ARRAY(s, struct value *, l.carried + 2);
	l.open = SITE_ARRAY(s, bool, l.carried *HONE_MAX_RANK);
	l.symbols = SITE_ARRAY(s, int, l.carried *HONE_MAX_RANK + 1);
	l.in[0] = site_in(s, 0) ? reshape(s, cast_to(s, s->in[0], DT_I64), 0, NULL)
				: int_scalar(s, DT_I64, INT64_MAX);
	l.in[1] = site_in(s, 1) ? reshape(s, s->in[1], 0, NULL) : int_scalar(s, DT_BOOL, 1);
	for (int i = 0; i < l.carried; i++)
		if (!(l.in[i + 2] = s->in[i + 2]))
			return site_invalid(s, "operand %d is missing", i + 2);
	int stages = s->g->stage_count;
	if (!l.in[0] || !l.in[1] || !settle_body(s, &l) ||
	    !check_stacked(s, l.region, l.carried + 1, stages))
		return false;
	if (l.scans)
		l.symbols[l.symbol_count++] = graph_symbol(s->g, "turns", INT64_MAX, NULL);
	struct node_spec spec = {.op = OP_loop,
				 .in_count = l.carried + 2,
				 .in = l.in,
				 .region_count = 1,
				 .regions = &l.region,
				 .out_count = l.carried + l.scans,
				 .symbol_count = l.symbol_count,
				 .symbols = l.symbols};
	struct node *n = graph_add(s->b, &spec);
	if (!n)
		return false;
	memcpy(s->out, n->out, sizeof(*s->out) * (size_t)s->out_count);
	return true;
}

/* ---- Scan ---- */

/* The scan over operands states.. and xs.. (already with the scanned axis first): results states..,
 * ys... */
static struct node *add_scan(struct site *s, const struct onnx_graph *body, int states, int count,
			     struct value *const *in)
{
	struct graph *g = s->g;
	struct region *region = region_new(g);
	struct value **params = SITE_ARRAY(s, struct value *, count);
	struct value **results = SITE_ARRAY(s, struct value *, body->output_count);
	for (int i = 0; i < count; i++) {
		struct type t = in[i]->type;
		if (i >= states && t.rank == 0) {
			site_invalid(s, "operand %d has no axis to scan over", i);
			return NULL;
		}
		if (i >= states)
			t = type_make(t.dtype, t.rank - 1, t.dims + 1);
		params[i] = region_param(g, region, NULL, &t);
	}
	int stages = g->stage_count;
	if (!import_subgraph(s, body, region, params, results))
		return NULL;
	region_set_results(g, region, body->output_count, results);
	if (!check_stacked(s, region, 0, stages))
		return NULL;
	struct attrs_scan a = {.carried = states, .length = in[states]->type.dims[0]};
	struct node_spec spec = {.op = OP_scan,
				 .in_count = count,
				 .in = in,
				 .attrs = &a,
				 .region_count = 1,
				 .regions = &region,
				 .out_count = body->output_count};
	return graph_add(s->b, &spec);
}

/* Opset 8: operands and results have a batch axis first, and the scanned axis second: a scan over
 * the batch whose body is the scan proper. */
static bool import_scan_8(struct site *s, const struct onnx_graph *body, int states)
{
	struct graph *g = s->g;
	int count = s->in_count - 1;
	struct value *const *in = s->in + 1;
	if (s->in[0])
		return site_unsupported(s, "sequence_lens");
	struct ints directions = attr_ints(s, "directions");
	for (int i = 0; i < directions.count; i++)
		if (directions.at[i])
			return site_unsupported(s, "directions");
	struct region *region = region_new(g);
	struct builder b = {.graph = g, .region = region, .loc = s->b->loc, .diag = s->b->diag};
	struct site inner = *s;
	struct value **params = SITE_ARRAY(s, struct value *, count);
	inner.b = &b;
	for (int i = 0; i < count; i++) {
		if (rank_of(in[i]) == 0)
			return site_invalid(s, "operand %d has no batch axis", i + 1);
		struct type t = type_make(type_of(in[i]), rank_of(in[i]) - 1, in[i]->type.dims + 1);
		params[i] = region_param(g, region, NULL, &t);
	}
	struct node *n = add_scan(&inner, body, states, count, params);
	if (!n)
		return false;
	region_set_results(g, region, n->out_count, n->out);
	struct attrs_scan a = {.carried = 0, .length = in[0]->type.dims[0]};
	struct node_spec spec = {.op = OP_scan,
				 .in_count = count,
				 .in = in,
				 .attrs = &a,
				 .region_count = 1,
				 .regions = &region,
				 .out_count = n->out_count};
	n = graph_add(s->b, &spec);
	if (!n)
		return false;
	memcpy(s->out, n->out, sizeof(*s->out) * (size_t)s->out_count);
	return true;
}

static bool import_scan(struct site *s)
{
	const struct onnx_graph *body = subgraph(s, "body");
	int64_t xs = attr_int(s, "num_scan_inputs", 0);
	int first = s->opset < 9, count = s->in_count - first;
	if (!body)
		return false;
	if (xs < 1 || xs > count || body->input_count != count || s->out_count > body->output_count)
		return site_invalid(s, "num_scan_inputs, operands and body do not fit each other");
	for (int i = first; i < s->in_count; i++)
		if (!s->in[i])
			return site_invalid(s, "operand %d is missing", i);
	int states = count - (int)xs, axis;
	if (states > body->output_count)
		return site_invalid(s, "the body has too few outputs");
	if (s->opset < 9)
		return import_scan_8(s, body, states);
	struct ints axes = attr_ints(s, "scan_input_axes"),
		    ways = attr_ints(s, "scan_input_directions");
	for (int i = 0; i < xs; i++) {
		struct value **v = &s->in[states + i];
		if (!site_axis(s, ints_or(axes, i, 0), rank_of(*v), &axis))
			return false;
		*v = move_axis(s, *v, axis, 0);
		*v = ints_or(ways, i, 0) ? flip_axis(s, *v, 0) : *v;
		if (!*v)
			return false;
	}
	struct node *n = add_scan(s, body, states, count, s->in);
	axes = attr_ints(s, "scan_output_axes");
	ways = attr_ints(s, "scan_output_directions");
	for (int i = 0; n && i < s->out_count; i++) {
		struct value *v = n->out[i];
		if (i >= states) {
			if (!site_axis(s, ints_or(axes, i - states, 0), rank_of(v), &axis))
				return false;
			v = ints_or(ways, i - states, 0) ? flip_axis(s, v, 0) : v;
			v = move_axis(s, v, 0, axis);
		}
		if (!site_out(s, i, v))
			return false;
	}
	return n != NULL;
}

const struct import_row ops_control[] = {
	{"", "If", 1, 0, 1, 1, import_if, "then_branch else_branch", "one of two subgraphs", NULL},
	{"", "Loop", 1, 0, 0, -1, import_loop, "body", "a subgraph again and again", NULL},
	{"", "Scan", 8, 8, 0, -1, import_scan, "body num_scan_inputs directions",
	 "a subgraph for each slice along an axis, in batches", NULL},
	{"", "Scan", 9, 0, 1, -1, import_scan,
	 "body num_scan_inputs scan_input_axes scan_input_directions scan_output_axes "
	 "scan_output_directions",
	 "a subgraph for each slice along an axis", NULL},
	{0},
};
