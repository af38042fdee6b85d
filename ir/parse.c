/* parse.c: graphs from text. Result types are read after what makes them, for they may hold symbols that
 * the node binds; they are compared with what inference gives.
 *
 *	function  := func @name ( inputs ) -> ( outputs ) [dims ( symbols )] { {statement} return [values] }
 *	input     := %name ["name of the interface"] : type
 *	statement := [results =] op [!"node name"]  |  require dim == dim ["what"] [!"node name"]
 *	results   := %name [: type] {, %name [: type]}
 *	op        := const tensor | param ( "name" , number )
 *	           | return_if %condition ( [values] ) | return_if expr ( [values] )
 *	           | opname [( [values] )] [attrs] [( params ) -> expr] [dims ( symbols )] [regions]
 *	regions   := [do ( inputs )] block [else block]
 *	block     := { {statement} yield [values] }
 * Statements end with their line or with `;`. */
#include "ir/parse.h"
#include "ir/attr_rows.h"
#include "ir/print.h"

#include <string.h>

enum { RESULTS_MAX = 1024, SYMBOLS_MAX = 64 };

/* A name on the left, and where its type stands in the text. */
struct result {
	const char *name;
	bool has_type;
	enum dtype dtype;
	struct lexer type;
	int line;
};

struct statement {
	struct {
		struct result *at;
		int count, room;
	} results;
	struct {
		struct value **at;
		int count, room;
	} operands;
	enum op_id op;
	int line;
	void *attrs;
	bool given[16];
	const struct expr *expr;
	int symbols[SYMBOLS_MAX], symbol_count;
	struct region *regions[2];
	struct type type; /* of a const */
	const char *node;
};

static bool parse_block(struct parser *p, struct region *r, const char *last);
static bool parse_statement(struct parser *p, struct builder *b);

/* ---- values ---- */

static bool parse_value(struct parser *p, struct value **out)
{
	const char *name = parse_name(p, &p->scratch, TOKEN_VALUE, "a value such as %x");
	struct name_entry *e = name ? names_find(&p->values, name) : NULL;

	if (!name)
		return false;
	if (!e)
		return parse_fail(p, "there is no value %%%s here", name);
	*out = e->value;
	return true;
}

/* Values, separated by commas; none when the token is no value. */
static bool parse_values(struct parser *p, struct statement *s)
{
	struct value *v;

	if (!next_kind(p, TOKEN_VALUE))
		return true;
	do {
		if (!parse_value(p, &v))
			return false;
		ARENA_PUSH(&p->scratch, &s->operands, v);
	} while (parse_maybe(p, ","));
	return true;
}

static void see_value(struct parser *p, const char *name, struct value *v)
{
	names_add(&p->values, name, v);
}

static bool end_of_statement(struct parser *p)
{
	if (parse_maybe(p, ";") || p->lx.token.first || next_is(p, "}") || next_kind(p, TOKEN_END))
		return true;
	return parse_expected(p, "the end of the statement");
}

/* !"node name" */
static bool parse_origin(struct parser *p, const char **out)
{
	*out = NULL;
	if (!parse_maybe(p, "!"))
		return true;
	*out = parse_name(p, p->graph->arena, TOKEN_STRING, "the node's name in quotes");
	return *out != NULL;
}

/* ---- the parts of a statement ---- */

static bool parse_results(struct parser *p, struct statement *s)
{
	if (!next_kind(p, TOKEN_VALUE))
		return true;
	do {
		struct result r = {.line = p->lx.token.line};

		r.name = parse_name(p, &p->scratch, TOKEN_VALUE, "a name such as %x");
		if (!r.name)
			return false;
		if (s->results.count == RESULTS_MAX)
			return parse_fail(p, "over %d results", RESULTS_MAX);
		if (parse_maybe(p, ":")) {
			r.has_type = true;
			r.type = p->lx;
			if (!parse_skip_type(p, &r.dtype))
				return false;
		}
		ARENA_PUSH(&p->scratch, &s->results, r);
	} while (parse_maybe(p, ","));
	return parse_sign(p, "=");
}

/* Reads a type that was skipped before. */
static bool parse_type_at(struct parser *p, const struct result *r, struct type *out)
{
	struct lexer now = p->lx;

	p->lx = r->type;
	if (!parse_type(p, out))
		return false;
	p->lx = now;
	return true;
}

/* What the result's type tells of attributes that are not given. */
static bool imply_attrs(struct parser *p, struct statement *s)
{
	const struct op_row *o = &op_table[s->op];
	const struct result *r = s->results.count ? &s->results.at[0] : NULL;
	struct type type;

	for (int i = 0; i < o->attr_count; i++) {
		const struct attr_row *row = &o->attrs[i];
		void *field = (char *)s->attrs + row->offset;

		if (s->given[i])
			continue;
		if (attr_is_implied(s->op, row) && r && r->has_type) {
			if (!parse_type_at(p, r, &type))
				return false;
			if (row->kind == ATTR_DTYPE) {
				if (s->op != OP_map ||
				    (s->expr && type.dtype != (enum dtype)s->expr->type))
					*(int64_t *)field = type.dtype;
			} else {
				*(struct dims *)field = (struct dims){
					type.rank,
					arena_copy(p->graph->arena, type.dims, sizeof(type.dims))};
			}
		} else if (row->initial[0] == '!') {
			p->lx.token.line = s->line;
			return parse_fail(p,
					  attr_is_implied(s->op, row)
						  ? "%s needs `%s`, or the type of its result"
						  : "%s needs the attribute %s",
					  o->name, row->name);
		}
	}
	return true;
}

static bool parse_expression(struct parser *p, struct statement *s)
{
	int n = s->operands.count, count = 0, before = p->locals.entries.count;
	enum dtype *types = ARENA_ARRAY(&p->scratch, enum dtype, n + 3), want = DT_NONE;
	int *index = ARENA_ARRAY(&p->scratch, int, n + 3);
	struct lexer ahead = p->lx;
	int named = 0;

	for (int i = 0; i < n; i++) {
		types[i] = dtype_compute(s->operands.at[i]->type.dtype);
		index[i] = i;
	}
	if (s->results.count && s->results.at[0].has_type)
		want = dtype_compute(s->results.at[0].dtype);
	count = n;
	if (s->op == OP_attention) { /* (s, i, j, ...) or, without positions, (s, ...) */
		want = n ? types[0] : DT_NONE;
		types[1] = types[2] = DT_I64;
		index[1] = 1;
		index[2] = 2;
		for (; ahead.token.kind != TOKEN_END && !token_is(&ahead.token, ")");
		     lex_next(&ahead))
			named += token_is(&ahead.token, ":");
		if (n >= 3 && named == n - 2) {
			for (int i = 1; i < n - 2; i++) {
				types[i] = types[i + 2];
				index[i] = i + 2;
			}
			count = n - 2;
		}
	}
	if (!parse_params(p, count, types, index))
		return false;
	s->expr = parse_scalar(p, want);
	names_back(&p->locals, before);
	return s->expr != NULL;
}

static bool parse_region_params(struct parser *p, struct region *r)
{
	struct type type;
	const char *name;

	if (!parse_sign(p, "("))
		return false;
	while (!next_is(p, ")")) {
		name = parse_name(p, &p->scratch, TOKEN_VALUE, "a parameter such as %x");
		if (!name || !parse_sign(p, ":") || !parse_type(p, &type))
			return false;
		if (r->param_count == RESULTS_MAX)
			return parse_fail(p, "over %d parameters", RESULTS_MAX);
		see_value(p, name, region_param(p->graph, r, names_claim(&p->taken, name), &type));
		if (!parse_maybe(p, ","))
			break;
	}
	return parse_sign(p, ")");
}

static bool parse_regions(struct parser *p, struct statement *s)
{
	for (int i = 0; i < op_table[s->op].regions; i++) {
		int before = p->values.entries.count;

		s->regions[i] = region_new(p->graph);
		if (i && !parse_maybe(p, "else"))
			return parse_expected(p, "`else`");
		if (parse_maybe(p, "do") && !parse_region_params(p, s->regions[i]))
			return false;
		if (!parse_block(p, s->regions[i], "yield"))
			return false;
		names_back(&p->values, before);
	}
	return true;
}

static bool parse_const(struct parser *p, struct statement *s)
{
	struct tensor *t = ARENA_NEW(p->graph->arena, struct tensor);

	if (!s->results.count || !s->results.at[0].has_type)
		return parse_fail(p, "a constant needs the type of its result");
	if (!parse_type_at(p, &s->results.at[0], &s->type) || !parse_tensor(p, &s->type, t))
		return false;
	((struct attrs_const *)s->attrs)->data = t;
	s->given[0] = true;
	return true;
}

/* param("name" [, initial]) */
static bool parse_param(struct parser *p, struct statement *s)
{
	struct attrs_param *a = s->attrs;

	a->name = parse_sign(p, "(")
			  ? parse_name(p, p->graph->arena, TOKEN_STRING, "the parameter's name")
			  : NULL;
	if (!a->name || (parse_maybe(p, ",") && !parse_real(p, &a->initial)))
		return false;
	s->given[0] = s->given[1] = true;
	return parse_sign(p, ")");
}

/* %condition (values), or a condition over dims: it becomes a map without operands. */
static bool parse_return_if(struct parser *p, struct statement *s, struct builder *b)
{
	const struct expr *e;
	struct value *condition;

	if (next_kind(p, TOKEN_VALUE)) {
		if (!parse_value(p, &condition))
			return false;
	} else {
		e = parse_scalar(p, DT_BOOL);
		b->loc = (struct loc){
			.file = p->at.file, .line = s->line, .op = op_table[s->op].name};
		condition = e ? add_map(b, e, DT_NONE, 0, NULL) : NULL;
		if (!condition)
			return false;
		condition->name = names_claim(&p->taken, "if");
	}
	ARENA_PUSH(&p->scratch, &s->operands, condition);
	return parse_sign(p, "(") && parse_values(p, s) && parse_sign(p, ")");
}

static bool parse_op(struct parser *p, struct statement *s, struct builder *b)
{
	const struct op_row *o = &op_table[s->op];

	if (s->op == OP_const)
		return parse_const(p, s);
	if (s->op == OP_return_if)
		return parse_return_if(p, s, b);
	if (s->op == OP_param && !parse_param(p, s))
		return false;
	if (s->op != OP_param && parse_maybe(p, "(") &&
	    (!parse_values(p, s) || !parse_sign(p, ")")))
		return false;
	if (o->attr_count && next_is(p, "{") && !parse_attrs(p, s->op, s->attrs, s->given))
		return false;
	if ((o->flags & OP_EXPR) && !parse_expression(p, s))
		return false;
	if (parse_maybe(p, "dims") &&
	    !parse_symbols(p, SYMBOL_NODE, SYMBOLS_MAX, s->symbols, &s->symbol_count))
		return false;
	if (!parse_regions(p, s))
		return false;
	/* After the regions is as good a place. */
	if (o->regions && !s->symbol_count && parse_maybe(p, "dims"))
		return parse_symbols(p, SYMBOL_NODE, SYMBOLS_MAX, s->symbols, &s->symbol_count);
	return true;
}

/* ---- nodes ---- */

static bool check_types(struct parser *p, const struct statement *s, const struct node *n)
{
	struct type type;

	for (int i = 0; i < n->out_count; i++) {
		const struct result *r = &s->results.at[i];

		if (!r->has_type)
			continue;
		if (!parse_type_at(p, r, &type))
			return false;
		if (type_equal(&type, &n->out[i]->type))
			continue;
		p->lx.token.line = r->line;
		return parse_fail(p, "%%%s is written as %s, but %s gives %s", r->name,
				  type_text(p->graph, &p->scratch, &type), op_table[n->op].name,
				  type_text(p->graph, &p->scratch, &n->out[i]->type));
	}
	return true;
}

static bool add_node(struct parser *p, struct statement *s, struct builder *b,
		     const char *const *names)
{
	const struct op_row *o = &op_table[s->op];
	int results = o->outs >= 0 ? o->outs : s->results.count;
	struct region *const *regions = s->regions;
	struct lexer after = p->lx;
	struct node *n;

	p->lx.token.line = s->line;
	if (s->results.count != results)
		return parse_fail(p, "%s has %d result%s, found %d names", o->name, results,
				  results == 1 ? "" : "s", s->results.count);
	b->loc = (struct loc){.file = p->at.file, .line = s->line, .node = s->node, .op = o->name};
	n = graph_add(b, &(struct node_spec){.op = s->op,
					     .in_count = s->operands.count,
					     .out_count = results,
					     .in = s->operands.at,
					     .attrs = s->attrs,
					     .expr = s->expr,
					     .region_count = o->regions,
					     .regions = regions,
					     .symbol_count = s->symbol_count,
					     .symbols = s->symbols,
					     .type = s->op == OP_const ? &s->type : NULL});
	if (!n || !check_types(p, s, n))
		return false;
	for (int i = 0; i < n->out_count; i++) {
		n->out[i]->name = arena_text(p->graph->arena, names[i]);
		see_value(p, s->results.at[i].name, n->out[i]);
	}
	p->lx = after;
	return true;
}

struct origin_search {
	const char *name; /* NULL: of a node that has none */
	struct node *found;
};

static bool find_origin(struct node *n, void *self)
{
	struct origin_search *s = self;

	if (s->name ? n->loc.node && !strcmp(n->loc.node, s->name) : !n->loc.node)
		s->found = n;
	return !s->found;
}

/* The node that a requirement came from. It may be gone: then one of that name that is in no region. */
static const struct node *origin_of(struct parser *p, const char *name)
{
	struct origin_search s = {.name = name};
	struct node *gone;

	graph_walk(p->graph, find_origin, &s);
	if (s.found)
		return s.found;
	gone = ARENA_NEW(p->graph->arena, struct node);
	gone->op = p->graph->body->last->op;
	gone->loc = (struct loc){.node = name, .op = "require"};
	return gone;
}

/* require left == right ["what"] [!"node"]: what inference did not find by itself. */
static bool parse_require(struct parser *p)
{
	const char *what = "dims", *name = NULL;
	struct require *r = NULL;
	dim left = parse_dim(p), right;

	right = left && parse_sign(p, "==") ? parse_dim(p) : NULL;
	if (!right)
		return false;
	if (next_kind(p, TOKEN_STRING))
		what = parse_name(p, p->graph->arena, TOKEN_STRING, "what must be equal");
	if (!what || !parse_origin(p, &name))
		return false;
	if (!p->graph->body->last)
		return parse_fail(p, "a requirement stands after the nodes it belongs to");
	for (int i = 0; i < p->graph->requires.count && !r; i++)
		if (p->graph->requires.at[i].left == left &&
		    p->graph->requires.at[i].right == right)
			r = &p->graph->requires.at[i];
	if (r)
		*r = (struct require){left, right, origin_of(p, name), what};
	else
		ARENA_PUSH(p->graph->arena, &p->graph->requires,
			   ((struct require){left, right, origin_of(p, name), what}));
	return end_of_statement(p);
}

static bool parse_statement(struct parser *p, struct builder *b)
{
	struct statement s = {.line = p->lx.token.line};
	const char **names;

	if (!b->region->owner && b->region == p->graph->body && parse_maybe(p, "require"))
		return parse_require(p);
	if (!parse_results(p, &s))
		return false;
	if (next_kind(p, TOKEN_NAME))
		s.op = op_by_name(p->lx.token.text, (size_t)p->lx.token.length);
	if (!next_kind(p, TOKEN_NAME) || s.op == OP_COUNT)
		return parse_expected(p, "an operator (`hone ops` lists them)");
	lex_next(&p->lx);
	/* The results' names come before those inside of regions. */
	names = ARENA_ARRAY(&p->scratch, const char *, s.results.count + 1);
	for (int i = 0; i < s.results.count; i++)
		names[i] = names_claim(&p->taken, s.results.at[i].name);
	s.attrs = attrs_default(s.op, &p->scratch);
	if (!parse_op(p, &s, b) || !parse_origin(p, &s.node))
		return false;
	if (!imply_attrs(p, &s) || !add_node(p, &s, b, names))
		return false;
	return end_of_statement(p);
}

/* Statements up to the word `last` and the values after it, which become the region's results. */
static bool parse_statements(struct parser *p, struct region *r, const char *last)
{
	struct builder b = {.graph = p->graph, .region = r, .diag = p->diag};
	struct statement s = {0};

	for (;;) {
		if (parse_maybe(p, ";"))
			continue;
		if (next_is(p, last))
			break;
		if (next_is(p, "}") || next_kind(p, TOKEN_END))
			return parse_expected(p, last);
		if (!parse_statement(p, &b))
			return false;
	}
	p->last_line = p->lx.token.line;
	lex_next(&p->lx);
	if (!p->lx.token.first && !parse_values(p, &s))
		return false;
	region_set_results(p->graph, r, s.operands.count, s.operands.at);
	while (parse_maybe(p, ";"))
		;
	return parse_sign(p, "}");
}

static bool parse_block(struct parser *p, struct region *r, const char *last)
{
	bool ok;

	if (!parse_sign(p, "{"))
		return false;
	if (p->region_depth == NESTING_MAX)
		return parse_fail(p, "regions nested over %d deep", NESTING_MAX);
	p->region_depth++;
	ok = parse_statements(p, r, last);
	p->region_depth--;
	return ok;
}

/* ---- the function ---- */

/* %name ["name of the interface"] : */
static bool parse_interface(struct parser *p, const char **name, const char **original)
{
	*name = parse_name(p, p->graph->arena, TOKEN_VALUE, "a name such as %x");
	if (!*name)
		return false;
	*original = *name;
	if (next_kind(p, TOKEN_STRING))
		*original = parse_name(p, p->graph->arena, TOKEN_STRING, "a name");
	return *original && parse_sign(p, ":");
}

static bool parse_inputs(struct parser *p)
{
	const char *name, *original;
	struct type type;

	while (!next_is(p, ")")) {
		struct value *v;

		if (!parse_interface(p, &name, &original) || !parse_type(p, &type))
			return false;
		if (names_find(&p->taken, name))
			return parse_fail(p, "the input %%%s is there already", name);
		if (p->graph->body->param_count == RESULTS_MAX)
			return parse_fail(p, "over %d inputs", RESULTS_MAX);
		v = graph_input(p->graph, original, &type);
		v->name = names_claim(&p->taken, name);
		see_value(p, name, v);
		if (!parse_maybe(p, ","))
			break;
	}
	return parse_sign(p, ")");
}

/* Outputs' types may hold symbols of the body, so they are only skipped here. */
static bool parse_outputs(struct parser *p, struct statement *s)
{
	const char *original;

	while (!next_is(p, ")")) {
		struct result r = {.line = p->lx.token.line, .has_type = true};
		const char *shown;

		if (!parse_interface(p, &shown, &original))
			return false;
		if (s->results.count == RESULTS_MAX)
			return parse_fail(p, "over %d outputs", RESULTS_MAX);
		r.name = original;
		r.type = p->lx;
		if (!parse_skip_type(p, &r.dtype))
			return false;
		ARENA_PUSH(&p->scratch, &s->results, r);
		if (!parse_maybe(p, ","))
			break;
	}
	return parse_sign(p, ")");
}

static bool check_outputs(struct parser *p, const struct statement *s)
{
	struct region *r = p->graph->body;
	const char **names = ARENA_ARRAY(&p->scratch, const char *, s->results.count + 1);
	struct type type;

	p->lx.token.line = p->last_line;
	if (r->result_count != s->results.count)
		return parse_fail(p, "%d values returned for %d outputs", r->result_count,
				  s->results.count);
	for (int i = 0; i < s->results.count; i++) {
		names[i] = s->results.at[i].name;
		if (!parse_type_at(p, &s->results.at[i], &type))
			return false;
		if (type_equal(&type, &r->results[i]->type))
			continue;
		p->lx.token.line = s->results.at[i].line;
		return parse_fail(p, "the output %%%s is written as %s, but %%%s is %s", names[i],
				  type_text(p->graph, &p->scratch, &type), r->results[i]->name,
				  type_text(p->graph, &p->scratch, &r->results[i]->type));
	}
	graph_set_outputs(p->graph, r->result_count, r->results, names);
	return true;
}

/* Skips to after the parenthesis that closes the one just read. */
static void skip_parentheses(struct lexer *l)
{
	for (int open = 1; open > 0 && l->token.kind != TOKEN_END && !token_is(&l->token, "{");
	     lex_next(l)) {
		open += token_is(&l->token, "(");
		open -= token_is(&l->token, ")");
	}
}

/* The symbols of the clause after the outputs come first: their order and ranges hold in the inputs. */
static bool parse_clause_ahead(struct parser *p)
{
	struct lexer now = p->lx;
	int *symbols = ARENA_ARRAY(&p->scratch, int, RESULTS_MAX), count;
	bool ok = true;

	skip_parentheses(&p->lx);
	if (parse_maybe(p, "->") && parse_maybe(p, "(")) {
		skip_parentheses(&p->lx);
		if (parse_maybe(p, "dims"))
			ok = parse_symbols(p, SYMBOL_INPUT, RESULTS_MAX, symbols, &count);
	}
	if (ok)
		p->lx = now;
	return ok;
}

static bool parse_function(struct parser *p)
{
	struct statement s = {0};
	const char *name;

	if (!parse_sign(p, "func"))
		return false;
	name = parse_name(p, &p->scratch, TOKEN_GLOBAL, "a name such as @main");
	if (!name || !parse_sign(p, "("))
		return false;
	p->graph->name = arena_text(p->graph->arena, name);
	if (!parse_clause_ahead(p))
		return false;
	p->declares = true;
	if (!parse_inputs(p))
		return false;
	p->declares = false;
	if (!parse_sign(p, "->") || !parse_sign(p, "(") || !parse_outputs(p, &s))
		return false;
	if (parse_maybe(p, "dims") && parse_maybe(p, "("))
		skip_parentheses(&p->lx);
	if (!parse_block(p, p->graph->body, "return") || !check_outputs(p, &s))
		return false;
	return next_kind(p, TOKEN_END) || parse_expected(p, "the end of the text");
}

struct graph *graph_parse(const char *text, size_t length, const char *file, struct arena *a,
			  struct diag *d)
{
	struct graph *g = graph_new(a, "");
	struct parser p = {.diag = d,
			   .at = {.file = file},
			   .lines = true,
			   .dims = &g->dims,
			   .exprs = &g->exprs,
			   .graph = g};
	bool ok;

	g->file = file ? arena_text(a, file) : NULL;
	p.locals.arena = p.values.arena = &p.scratch;
	p.taken.arena = a;
	lex_begin(&p.lx, text, length, 1);
	ok = parse_function(&p);
	arena_free(&p.scratch);
	return ok ? g : NULL;
}
