/* expr_parse.c: the scalar grammar. A text is read into a tree first; then types go up from the leaves,
 * and down to the literals, which take the type of the other operand, at the root that of the result.
 *
 *	expr    := binary [ ? expr : expr ]
 *	binary  := unary { operator unary }       precedence as in C: * /  + -  << >>  < <= > >=  == !=  & ^ |
 *	unary   := - unary | ! unary | ~ unary | primary
 *	primary := number | true | false | inf | nan | name | symbol | "symbol" | ( expr ) | block
 *	         | function ( expr {, expr} ) | TYPE ( expr ) | sat_TYPE ( expr ) | bits_TYPE ( expr )
 *	         | dim ( dim )
 *	         | check ( expr , expr ) | kind name < dim {, name < dim} { expr } | %buffer [ expr {, expr} ]
 *	block   := { name = expr ; ... expr }     names for parts that are used more than once
 * The last line but one is kernel IR's. */
#include "ir/parse.h"

#include <math.h>
#include <string.h>

enum ast_kind { AST_LITERAL, AST_BUILT, AST_OP, AST_CAST, AST_CHECK, AST_REDUCE };

struct ast {
	enum ast_kind kind;
	int op;          /* expr_op of OP and CAST; reduce_kind */
	enum dtype type; /* known from below, or DT_NONE; of a CAST: the type cast to */
	int count, axis_count;
	int depth, total; /* of the tree; of the expression, through names too */
	const struct expr *built;
	struct ast *arg[3];
	int axes[HONE_MAX_RANK * 2];
	bool is_real, minus, overflow;
	uint64_t integer;
	double real;
	struct token token; /* for messages */
};

static struct ast *parse_select(struct parser *p);
static struct ast *parse_block(struct parser *p);
static const struct expr *build(struct parser *p, struct ast *a, enum dtype want);

static struct ast *ast_new(struct parser *p, enum ast_kind kind, struct token at)
{
	struct ast *a = ARENA_NEW(&p->scratch, struct ast);

	a->kind = kind;
	a->token = at;
	return a;
}

static struct ast *fail_at(struct parser *p, struct token at)
{
	p->lx.token = at;
	return NULL;
}

static struct ast *ast_built(struct parser *p, const struct expr *e, int total, struct token at)
{
	struct ast *a;

	if (!e)
		return NULL;
	a = ast_new(p, AST_BUILT, at);
	a->built = e;
	a->total = total;
	a->type = (enum dtype)e->type;
	return a;
}

/* Gives a its operands. */
static struct ast *ast_operands(struct parser *p, struct ast *a, int count, struct ast *const *arg)
{
	a->count = count;
	for (int i = 0; i < count; i++) {
		if (!arg[i])
			return NULL;
		a->arg[i] = arg[i];
		a->depth = arg[i]->depth >= a->depth ? arg[i]->depth + 1 : a->depth;
		a->total = arg[i]->total >= a->total ? arg[i]->total + 1 : a->total;
	}
	if (a->depth <= SCALAR_NESTING_MAX && a->total <= SCALAR_DEPTH_MAX)
		return a;
	p->lx.token = a->token;
	parse_fail(p,
		   a->total > SCALAR_DEPTH_MAX
			   ? "an expression over %d deep"
			   : "nested over %d deep; name parts of it: { t = ...; ... }",
		   a->total > SCALAR_DEPTH_MAX ? SCALAR_DEPTH_MAX : SCALAR_NESTING_MAX);
	return NULL;
}

void parse_local(struct parser *p, const char *name, const struct expr *e, int depth)
{
	struct local *l = ARENA_NEW(&p->scratch, struct local);

	*l = (struct local){e, depth};
	names_add(&p->locals, name, l);
}

/* An operation over `count` operands; finds what type is known from them. */
static struct ast *ast_op(struct parser *p, int op, struct token at, int count,
			  struct ast *const *arg)
{
	struct ast *a = ast_new(p, AST_OP, at);
	enum dtype t[3];

	a->op = op;
	if (!ast_operands(p, a, count, arg))
		return NULL;
	for (int i = op == EXPR_SELECT ? 1 : 0; i < count; i++)
		a->type = a->type ? a->type : arg[i]->type;
	t[0] = t[1] = t[2] = a->type;
	if (op != EXPR_SELECT && a->type && scalar_result(op, t) == DT_BOOL)
		a->type = DT_BOOL;
	if (!a->type) { /* comparisons of literals only */
		t[0] = t[1] = DT_F32;
		if (op != EXPR_SELECT && scalar_result(op, t) == DT_BOOL)
			a->type = DT_BOOL;
	}
	return a;
}

/* ---- primaries ---- */

static const struct {
	const char *text;
	enum expr_op op;
	int arity, level; /* level: of infix operators, from 1 */
} infix[] = {
	{"|", EXPR_OR, 2, 1},   {"^", EXPR_XOR, 2, 2},  {"&", EXPR_AND, 2, 3},
	{"==", EXPR_EQ, 2, 4},  {"!=", EXPR_NE, 2, 4},  {"<", EXPR_LT, 2, 5},
	{"<=", EXPR_LE, 2, 5},  {">", EXPR_GT, 2, 5},   {">=", EXPR_GE, 2, 5},
	{"<<", EXPR_SHL, 2, 6}, {">>", EXPR_SHR, 2, 6}, {"+", EXPR_ADD, 2, 7},
	{"-", EXPR_SUB, 2, 7},  {"*", EXPR_MUL, 2, 8},  {"/", EXPR_DIV, 2, 8},
};

/* EXPR_SCALAR_COUNT if the name is no function. */
static int function_by_name(const struct token *t)
{
	for (int op = 0; op < EXPR_SCALAR_COUNT; op++) {
		const char *text = scalar_text((enum expr_op)op);

		if (t->kind == TOKEN_NAME && text[0] >= 'a' && text[0] <= 'z' && token_is(t, text))
			return op;
	}
	return EXPR_SCALAR_COUNT;
}

/* f32, sat_i8, bits_i32: the cast and its type. */
static bool cast_by_name(const struct token *t, int *op, enum dtype *type)
{
	static const struct {
		const char *prefix;
		int op;
	} casts[] = {{"sat_", EXPR_SAT_CAST}, {"bits_", EXPR_BITS_CAST}, {"", EXPR_CAST}};

	for (int i = 0; i < 3; i++) {
		int n = (int)strlen(casts[i].prefix);

		if (t->length > n && !memcmp(t->text, casts[i].prefix, (size_t)n)) {
			*op = casts[i].op;
			*type = dtype_by_name(t->text + n, (size_t)(t->length - n));
			if (*type)
				return true;
		}
	}
	return false;
}

/* The operands after the opening parenthesis. */
static struct ast *parse_call(struct parser *p, int op, struct token at)
{
	struct ast *arg[3];
	int count = 0, want = scalar_arity((enum expr_op)op);

	do {
		arg[count] = parse_select(p);
		if (!arg[count++])
			return NULL;
	} while (count < want && parse_maybe(p, ","));
	if (count < want || next_is(p, ",")) {
		parse_fail(p, "%s takes %d operand%s", scalar_text((enum expr_op)op), want,
			   want == 1 ? "" : "s");
		return NULL;
	}
	return parse_sign(p, ")") ? ast_op(p, op, at, count, arg) : NULL;
}

static struct ast *parse_cast(struct parser *p, int op, enum dtype type, struct token at)
{
	struct ast *a = ast_new(p, AST_CAST, at), *x = parse_select(p);

	if (!x || !parse_sign(p, ")"))
		return NULL;
	if (dtype_compute(type) != type || type == DT_STRING) {
		fail_at(p, at);
		parse_fail(p, "nothing is computed in %s; its values are %s here", dtype_name(type),
			   dtype_name(dtype_compute(type)));
		return NULL;
	}
	a->op = op;
	a->type = type;
	return ast_operands(p, a, 1, &x);
}

static struct ast *parse_check(struct parser *p, struct token at)
{
	struct ast *a = ast_new(p, AST_CHECK, at), *arg[2];

	a->type = DT_I64;
	arg[0] = parse_select(p);
	if (!arg[0] || !parse_sign(p, ","))
		return NULL;
	arg[1] = parse_select(p);
	return arg[1] && parse_sign(p, ")") ? ast_operands(p, a, 2, arg) : NULL;
}

/* name < dim {, name < dim} { expr }: the kind's name was read. */
static struct ast *parse_reduce(struct parser *p, int kind, struct token at)
{
	struct ast *a = ast_new(p, AST_REDUCE, at), *body;
	int before = p->locals.entries.count;
	const char *name;
	dim extent;

	a->op = kind;
	while (!next_is(p, "{")) {
		if (a->axis_count == HONE_MAX_RANK * 2)
			return parse_fail(p, "over %d axes", HONE_MAX_RANK * 2), NULL;
		name = parse_name(p, p->exprs->arena, TOKEN_NAME, "an axis");
		if (!name || !parse_sign(p, "<") || !(extent = parse_dim(p)))
			return NULL;
		a->axes[a->axis_count] = axis_add(p->exprs, name, extent);
		parse_local(p, name, expr_axis(p->exprs, a->axes[a->axis_count++]), 0);
		if (!parse_maybe(p, ",") && !next_is(p, "{"))
			return parse_expected(p, "`,` or `{`"), NULL;
	}
	body = parse_sign(p, "{") ? parse_block(p) : NULL;
	names_back(&p->locals, before);
	if (!body)
		return NULL;
	a->type = kind >= REDUCE_ARGMIN ? DT_I64 : body->type;
	return ast_operands(p, a, 1, &body);
}

/* { name = expr ; ... expr }, after the brace. */
static struct ast *parse_block(struct parser *p)
{
	int before = p->locals.entries.count;
	struct lexer start;
	struct ast *a;

	for (;;) {
		struct token name = p->lx.token;
		const struct expr *e;

		start = p->lx;
		if (name.kind == TOKEN_NAME)
			lex_next(&p->lx);
		if (name.kind != TOKEN_NAME || !next_is(p, "=")) {
			p->lx = start;
			break;
		}
		lex_next(&p->lx);
		a = parse_select(p);
		e = a ? build(p, a, DT_NONE) : NULL;
		if (!e || !parse_sign(p, ";"))
			return NULL;
		parse_local(p, token_text(&p->scratch, &name), e, a->total);
	}
	a = parse_select(p);
	names_back(&p->locals, before);
	return a && parse_sign(p, "}") ? a : NULL;
}

static struct ast *parse_literal(struct parser *p)
{
	const struct token *t = &p->lx.token;
	struct ast *a = ast_new(p, AST_LITERAL, *t);

	a->is_real = t->kind == TOKEN_REAL;
	a->integer = t->integer;
	a->overflow = t->overflow;
	a->real = t->real;
	if (t->kind == TOKEN_NAME) {
		a->is_real = true;
		a->real = token_is(t, "inf") ? (double)INFINITY : (double)NAN;
	}
	lex_next(&p->lx);
	return a;
}

static struct ast *constant(struct parser *p, double value, struct token at)
{
	struct ast *a = ast_new(p, AST_LITERAL, at);

	a->is_real = true;
	a->real = value;
	return a;
}

/* What a plain name stands for: a local, a named constant, or a symbol. */
static struct ast *parse_plain_name(struct parser *p)
{
	struct token at = p->lx.token;
	const char *name = parse_name(p, &p->scratch, at.kind, "a name");
	struct name_entry *found;
	struct local *local;
	int symbol;

	if (!name)
		return NULL;
	found = at.kind == TOKEN_STRING ? NULL : names_find(&p->locals, name);
	if (found) {
		local = found->value;
		return ast_built(p, local->expr, local->depth, at);
	}
	for (int i = 0; i < p->constant_count && at.kind == TOKEN_NAME; i++)
		if (!strcmp(p->constants[i].name, name))
			return constant(p, p->constants[i].value, at);
	symbol = symbol_find(p->dims, name);
	if (symbol >= 0)
		return ast_built(p, expr_dim(p->exprs, dim_symbol(p->dims, symbol)), 0, at);
	fail_at(p, at);
	if (function_by_name(&at) < EXPR_SCALAR_COUNT)
		parse_fail(p, "%s is a function: %s(...)", name, name);
	else
		parse_fail(p, "there is no parameter, constant or symbol named %s", name);
	return NULL;
}

/* Function, cast, dim(...), check(...), reduction, true, false, inf, nan, or a plain name. */
static struct ast *parse_word(struct parser *p)
{
	struct lexer before = p->lx;
	struct token at = p->lx.token;
	enum dtype type;
	int op = function_by_name(&at);
	dim d;

	if (token_is(&at, "inf") || token_is(&at, "nan"))
		return parse_literal(p);
	lex_next(&p->lx);
	if (token_is(&at, "true") || token_is(&at, "false"))
		return ast_built(p, expr_int(p->exprs, DT_BOOL, at.length == 4), 0, at);
	if (parse_maybe(p, "(")) {
		if (op < EXPR_SCALAR_COUNT)
			return parse_call(p, op, at);
		if (cast_by_name(&at, &op, &type))
			return parse_cast(p, op, type, at);
		if (token_is(&at, "check"))
			return parse_check(p, at);
		if (token_is(&at, "dim")) {
			d = parse_dim(p);
			return d && parse_sign(p, ")") ? ast_built(p, expr_dim(p->exprs, d), 0, at)
						       : NULL;
		}
	} else if (next_kind(p, TOKEN_NAME) && p->value_leaf) {
		for (int i = 0; i < REDUCE_KIND_COUNT; i++)
			if (token_is(&at, reduce_names[i]))
				return parse_reduce(p, i, at);
	}
	p->lx = before;
	return parse_plain_name(p);
}

static struct ast *parse_primary(struct parser *p)
{
	struct token at = p->lx.token;
	struct ast *a;

	switch (at.kind) {
	case TOKEN_INT:
	case TOKEN_REAL: return parse_literal(p);
	case TOKEN_NAME: return parse_word(p);
	case TOKEN_STRING: return parse_plain_name(p);
	case TOKEN_VALUE:
		if (p->value_leaf)
			return ast_built(p, p->value_leaf(p), 0, at);
		parse_fail(p, "an expression reads its parameters, not values of the graph");
		return NULL;
	default: break;
	}
	if (parse_maybe(p, "{"))
		return parse_block(p);
	if (parse_maybe(p, "(")) {
		a = parse_select(p);
		return a && parse_sign(p, ")") ? a : NULL;
	}
	parse_expected(p, "an operand");
	return NULL;
}

/* ---- operators ---- */

static struct ast *parse_unary(struct parser *p)
{
	struct token at = p->lx.token;
	int op = token_is(&at, "-")   ? EXPR_NEG
		 : token_is(&at, "!") ? EXPR_NOT
		 : token_is(&at, "~") ? EXPR_INVERT
				      : -1;
	struct ast *a;

	if (op < 0)
		return parse_primary(p);
	if (!parse_enter(p, SCALAR_NESTING_MAX))
		return NULL;
	lex_next(&p->lx);
	a = parse_unary(p);
	parse_leave(p);
	if (a && op == EXPR_NEG && a->kind == AST_LITERAL &&
	    !a->minus) { /* so that i64's least value can be written */
		a->minus = true;
		a->real = -a->real;
		return a;
	}
	return a ? ast_op(p, op, at, 1, &a) : NULL;
}

static int infix_at(const struct token *t, int level)
{
	for (int i = 0; i < (int)(sizeof(infix) / sizeof(*infix)); i++)
		if (infix[i].level >= level && token_is(t, infix[i].text))
			return i;
	return -1;
}

/* Operators of `level` and tighter ones; left to right. */
static struct ast *parse_binary(struct parser *p, int level)
{
	struct ast *arg[2];
	struct token at;
	int i;

	arg[0] = parse_unary(p);
	while (arg[0] && (i = infix_at(&p->lx.token, level)) >= 0) {
		at = p->lx.token;
		lex_next(&p->lx);
		arg[1] = parse_binary(p, infix[i].level + 1);
		arg[0] = arg[1] ? ast_op(p, infix[i].op, at, 2, arg) : NULL;
	}
	return arg[0];
}

static struct ast *parse_select(struct parser *p)
{
	struct ast *arg[3] = {NULL};
	struct token at;

	if (!parse_enter(p, SCALAR_NESTING_MAX))
		return NULL;
	arg[0] = parse_binary(p, 1);
	at = p->lx.token;
	if (arg[0] && parse_maybe(p, "?")) {
		arg[1] = parse_select(p);
		arg[2] = arg[1] && parse_sign(p, ":") ? parse_select(p) : NULL;
		arg[0] = arg[2] ? ast_op(p, EXPR_SELECT, at, 3, arg) : NULL;
	}
	parse_leave(p);
	return arg[0];
}

/* ---- types down, expressions up ---- */

static const struct expr *misfit(struct parser *p, const struct ast *a, enum dtype t)
{
	int n = a->token.length;

	p->lx.token = a->token;
	parse_fail(p, "%s%.*s does not fit %s", a->minus ? "-" : "", n > 40 ? 40 : n, a->token.text,
		   dtype_name(t));
	return NULL;
}

static bool int_fits(const struct ast *a, enum dtype t)
{
	int bits = dtype_bits(t);
	uint64_t most = UINT64_MAX >> (64 - bits);

	if (a->overflow || t == DT_BOOL)
		return !a->overflow && a->integer <= 1 && !a->minus;
	if (dtype_class(t) == DTYPE_UNSIGNED)
		return a->integer <= most && (!a->minus || a->integer == 0);
	return a->integer <= (most >> 1) + (a->minus ? 1 : 0);
}

static const struct expr *build_literal(struct parser *p, struct ast *a, enum dtype t)
{
	if (t == DT_NONE) {
		p->lx.token = a->token;
		parse_fail(p, "the type of %.*s is not known here; write for example f32(%.*s)",
			   a->token.length, a->token.text, a->token.length, a->token.text);
		return NULL;
	}
	if (dtype_is_float(t))
		return expr_real(p->exprs, t, a->real);
	if (a->is_real) { /* a named constant, or a literal such as 2.0 */
		if (!(fabs(a->real) < 9007199254740992.0) || a->real != floor(a->real))
			return misfit(p, a, t);
		a->minus = a->real < 0;
		a->integer = (uint64_t)fabs(a->real);
	}
	if (!int_fits(a, t))
		return misfit(p, a, t);
	return expr_int(p->exprs, t, a->minus ? (int64_t)(0 - a->integer) : (int64_t)a->integer);
}

/* T(literal) is a literal of that type; else its operand has a type of its own. */
static const struct expr *build_cast(struct parser *p, struct ast *a)
{
	struct ast *x = a->arg[0];
	enum dtype from = x->type;
	const struct expr *e;

	if (from == DT_NONE) {
		from = x->kind == AST_LITERAL && x->is_real && !dtype_is_float(a->type) ? DT_F64
											: a->type;
		if (a->op == EXPR_BITS_CAST) {
			p->lx.token = a->token;
			parse_fail(p,
				   "the type of the operand is not known; write for example "
				   "bits_%s(f32(...))",
				   dtype_name(a->type));
			return NULL;
		}
		if (a->op == EXPR_SAT_CAST)
			from = DT_F64;
	}
	e = build(p, x, from);
	if (!e)
		return NULL;
	e = expr_cast(p->exprs, (enum expr_op)a->op, a->type, e);
	if (!e) {
		p->lx.token = a->token;
		parse_fail(p, "no such cast from %s to %s", dtype_name(from), dtype_name(a->type));
	}
	return e;
}

static const struct expr *build_op(struct parser *p, struct ast *a, enum dtype want)
{
	enum expr_op op = (enum expr_op)a->op;
	enum dtype inner = DT_NONE, found[3] = {DT_NONE};
	const struct expr *arg[3] = {NULL}, *e;
	const char *text = scalar_text(op);

	for (int i = op == EXPR_SELECT ? 1 : 0; i < a->count; i++)
		inner = inner ? inner : a->arg[i]->type;
	if (!inner) /* literals only: comparisons of them are done in f64 */
		inner = a->type == DT_BOOL && op != EXPR_SELECT
				? (op == EXPR_NOT ? DT_BOOL : DT_F64)
				: want;
	for (int i = 0; i < a->count; i++) {
		arg[i] = build(p, a->arg[i], op == EXPR_SELECT && i == 0 ? DT_BOOL : inner);
		if (!arg[i])
			return NULL;
		found[i] = (enum dtype)arg[i]->type;
	}
	e = op == EXPR_SELECT ? expr_select(p->exprs, arg[0], arg[1], arg[2])
	    : a->count == 1   ? expr_unary(p->exprs, op, arg[0])
			      : expr_binary(p->exprs, op, arg[0], arg[1]);
	if (e)
		return e;
	p->lx.token = a->token;
	if (op == EXPR_SELECT)
		parse_fail(p, "`?` takes a bool and two values of one type, found %s ? %s : %s",
			   dtype_name(found[0]), dtype_name(found[1]), dtype_name(found[2]));
	else if (a->count == 2 && found[0] != found[1])
		parse_fail(p,
			   "`%s` takes operands of one type, found %s and %s; cast one, for "
			   "example %s(...)",
			   text, dtype_name(found[0]), dtype_name(found[1]), dtype_name(found[0]));
	else
		parse_fail(p, "`%s` does not take operands of type %s", text, dtype_name(found[0]));
	return NULL;
}

static const struct expr *build(struct parser *p, struct ast *a, enum dtype want)
{
	const struct expr *arg[2];

	switch (a->kind) {
	case AST_LITERAL: return build_literal(p, a, want);
	case AST_BUILT: return a->built;
	case AST_CAST: return build_cast(p, a);
	case AST_OP: return build_op(p, a, want);
	case AST_REDUCE:
		arg[0] = build(p, a->arg[0], a->op >= REDUCE_ARGMIN ? DT_NONE : want);
		return arg[0] ? expr_reduce(p->exprs, (enum reduce_kind)a->op, a->axis_count,
					    a->axes, arg[0])
			      : NULL;
	case AST_CHECK:
		arg[0] = build(p, a->arg[0], DT_I64);
		arg[1] = arg[0] ? build(p, a->arg[1], DT_I64) : NULL;
		if (!arg[1])
			return NULL;
		if (arg[0]->type == DT_I64 && arg[1]->type == DT_I64)
			return expr_check(p->exprs, arg[0], arg[1]);
		p->lx.token = a->token;
		parse_fail(p, "check takes two i64 values");
		return NULL;
	}
	return NULL;
}

const struct expr *parse_scalar(struct parser *p, enum dtype want)
{
	struct token at = p->lx.token;
	struct ast *a = parse_select(p);
	struct lexer after = p->lx;
	const struct expr *e = a ? build(p, a, want) : NULL;

	if (!e)
		return NULL;
	p->lx = after;
	if (want && e->type != want) {
		p->lx.token = at;
		parse_fail(p, "the expression is %s, but %s is wanted; write %s(...)",
			   dtype_name(e->type), dtype_name(want), dtype_name(want));
		return NULL;
	}
	return e;
}

/* ---- expressions on their own ---- */

/* [ ( name [: type] {, name [: type]} ) -> ] */
bool parse_params(struct parser *p, int type_count, const enum dtype *types, const int *index)
{
	int count = 0;

	if (!parse_sign(p, "("))
		return false;
	while (!next_is(p, ")")) {
		const char *name = parse_name(p, &p->scratch, TOKEN_NAME, "a parameter");
		enum dtype t = count < type_count ? types[count] : DT_NONE;

		if (!name)
			return false;
		if (index && count == type_count)
			return parse_fail(p, "over %d parameters", count);
		if (parse_maybe(p, ":") && !parse_dtype(p, &t))
			return false;
		if (t == DT_NONE)
			return parse_fail(p, "the type of the parameter %s is not known", name);
		if (dtype_compute(t) != t)
			return parse_fail(p, "nothing is computed in %s; the parameter %s is %s",
					  dtype_name(t), name, dtype_name(dtype_compute(t)));
		if (count < type_count && t != types[count])
			return parse_fail(p, "the parameter %s is %s, but its operand is %s", name,
					  dtype_name(t), dtype_name(types[count]));
		parse_local(p, name, expr_param(p->exprs, t, index ? index[count] : count), 0);
		count++;
		if (!parse_maybe(p, ","))
			break;
	}
	if (type_count && count != type_count)
		return parse_fail(p, "%d parameters for %d operands", count, type_count);
	return parse_sign(p, ")") && parse_sign(p, "->");
}

/* Whether a parameter list begins here, rather than a parenthesis of the expression. */
static bool has_params(struct lexer l)
{
	if (!token_is(&l.token, "("))
		return false;
	while (l.token.kind != TOKEN_END && !token_is(&l.token, ")"))
		lex_next(&l);
	lex_next(&l);
	return token_is(&l.token, "->");
}

const struct expr *expr_parse(struct expr_pool *pool, const char *text, int type_count,
			      const enum dtype *types, enum dtype want, int constant_count,
			      const struct named_real *constants, struct loc at, struct diag *d)
{
	struct parser p = {.diag = d,
			   .at = at,
			   .whole = text,
			   .dims = pool->dims,
			   .exprs = pool,
			   .constant_count = constant_count,
			   .constants = constants};
	const struct expr *e = NULL;

	p.locals.arena = &p.scratch;
	lex_begin(&p.lx, text, strlen(text), 1);
	if (!has_params(p.lx) || parse_params(&p, type_count, types, NULL))
		e = parse_scalar(&p, want);
	if (e && !next_kind(&p, TOKEN_END)) {
		parse_expected(&p, "an operator or the end");
		e = NULL;
	}
	arena_free(&p.scratch);
	return e;
}
