/* parse_common.c: tokens, dims, types and symbols, for all parsers. */
#include "ir/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool parse_fail(struct parser *p, const char *format, ...)
{
	struct loc at = p->at;
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (p->lines) {
		at.line = p->lx.token.line;
		return diag_add(p->diag, DIAG_FILE, at, "%s", text);
	}
	return diag_add(p->diag, DIAG_FILE, at, "in `%s`, column %d: %s", p->whole,
			(int)(p->lx.token.text - p->whole) + 1, text);
}

bool parse_expected(struct parser *p, const char *what)
{
	if (p->lx.token.kind == TOKEN_BAD && *p->lx.token.text == '"')
		return parse_fail(p, "a text that does not end on its line");
	return parse_fail(p, "expected %s, found %s", what, token_shown(&p->scratch, &p->lx.token));
}

bool parse_maybe(struct parser *p, const char *text)
{
	if (!next_is(p, text))
		return false;
	lex_next(&p->lx);
	return true;
}

bool parse_sign(struct parser *p, const char *text)
{
	char what[32];

	if (parse_maybe(p, text))
		return true;
	snprintf(what, sizeof(what), "`%s`", text);
	return parse_expected(p, what);
}

const char *parse_name(struct parser *p, struct arena *a, enum token_kind kind, const char *what)
{
	const char *text;

	if (p->lx.token.kind != kind) {
		parse_expected(p, what);
		return NULL;
	}
	text = token_text(a, &p->lx.token);
	if (!text) {
		parse_fail(p, "a bad escape in a text: there are \\\" \\\\ \\n \\t and \\xHH");
		return NULL;
	}
	lex_next(&p->lx);
	return text;
}

bool parse_int(struct parser *p, int64_t *out)
{
	bool minus = parse_maybe(p, "-");
	const struct token *t = &p->lx.token;
	uint64_t most = (uint64_t)INT64_MAX + (minus ? 1 : 0);

	if (t->kind != TOKEN_INT)
		return parse_expected(p, "an integer");
	if (t->overflow || t->integer > most)
		return parse_fail(p, "the number %.*s does not fit 64 bits",
				  t->length > 40 ? 40 : t->length, t->text);
	*out = minus ? (int64_t)(0 - t->integer) : (int64_t)t->integer;
	lex_next(&p->lx);
	return true;
}

bool parse_real(struct parser *p, double *out)
{
	bool minus = parse_maybe(p, "-");

	if (next_kind(p, TOKEN_INT) || next_kind(p, TOKEN_REAL))
		*out = p->lx.token.real;
	else if (next_is(p, "inf"))
		*out = __builtin_inf();
	else if (next_is(p, "nan"))
		*out = __builtin_nan("");
	else
		return parse_expected(p, "a number");
	if (minus)
		*out = -*out;
	lex_next(&p->lx);
	return true;
}

bool parse_enter(struct parser *p, int max)
{
	if (p->depth >= max)
		return parse_fail(p, "nested over %d deep", max);
	p->depth++;
	return true;
}

/* ---- dims ---- */

static dim parse_dim_symbol(struct parser *p)
{
	const char *name = parse_name(p, p->dims->arena, p->lx.token.kind, "a dim");
	int symbol;

	if (!name)
		return NULL;
	symbol = symbol_find(p->dims, name);
	if (symbol < 0 && p->declares)
		symbol = symbol_add(
			p->dims,
			&(struct symbol){.name = name, .max = INT64_MAX, .binding = SYMBOL_INPUT});
	if (symbol < 0) {
		parse_fail(
			p,
			"there is no symbol %s here; symbols come from input types and dims(...)",
			name);
		return NULL;
	}
	return dim_symbol(p->dims, symbol);
}

/* floordiv(a, b) ceildiv(a, b) mod(a, b) min(a, b, ...) max(a, b, ...) select(a, b, then, otherwise) */
static dim parse_dim_call(struct parser *p, const char *name)
{
	dim arg[4], (*two)(struct dim_pool *, dim, dim) = NULL;
	int count = 0, want = strcmp(name, "select") ? 2 : 4;

	two = !strcmp(name, "floordiv")  ? dim_floordiv
	      : !strcmp(name, "ceildiv") ? dim_ceildiv
	      : !strcmp(name, "mod")     ? dim_mod
	      : !strcmp(name, "min")     ? dim_min
	      : !strcmp(name, "max")     ? dim_max
					 : NULL;
	do {
		arg[count] = parse_dim(p);
		if (!arg[count++])
			return NULL;
	} while (count < want && parse_maybe(p, ","));
	if (count < want) {
		parse_fail(p, "%s takes %d operands, found %d", name, want, count);
		return NULL;
	}
	if (!parse_sign(p, ")"))
		return NULL;
	return two ? two(p->dims, arg[0], arg[1])
		   : dim_select(p->dims, arg[0], arg[1], arg[2], arg[3]);
}

static bool is_dim_call(const struct token *t)
{
	static const char *const names[] = {"floordiv", "ceildiv", "mod", "min", "max", "select"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (token_is(t, names[i]))
			return true;
	return false;
}

/* factor := integer | symbol | "symbol" | call | ( dim ) | - factor */
static dim parse_dim_factor(struct parser *p)
{
	struct lexer before = p->lx;
	int64_t value;
	dim d;

	if (next_kind(p, TOKEN_INT))
		return parse_int(p, &value) ? dim_const(p->dims, value) : NULL;
	if (parse_maybe(p, "-")) {
		d = NULL;
		if (next_kind(p, TOKEN_INT)) {
			p->lx = before;
			return parse_int(p, &value) ? dim_const(p->dims, value) : NULL;
		}
		if (parse_enter(p, NESTING_MAX)) {
			d = parse_dim_factor(p);
			parse_leave(p);
		}
		return d ? dim_mul(p->dims, dim_const(p->dims, -1), d) : NULL;
	}
	if (parse_maybe(p, "(")) {
		d = parse_dim(p);
		return d && parse_sign(p, ")") ? d : NULL;
	}
	if (is_dim_call(&p->lx.token)) {
		lex_next(&p->lx);
		if (parse_maybe(p, "("))
			return parse_dim_call(p, token_text(&p->scratch, &before.token));
		p->lx = before;
	}
	if (next_kind(p, TOKEN_NAME) || next_kind(p, TOKEN_STRING))
		return parse_dim_symbol(p);
	parse_expected(p, "a dim");
	return NULL;
}

/* Products and sums of what a text says can grow with each step; nobody writes such dims. */
static dim check_size(struct parser *p, dim d)
{
	if (d && d->size > 4096) {
		parse_fail(p, "a dim with over 4096 terms");
		return NULL;
	}
	return d;
}

static dim parse_dim_product(struct parser *p)
{
	dim d = parse_dim_factor(p), other;

	while (d && parse_maybe(p, "*")) {
		other = parse_dim_factor(p);
		d = other ? check_size(p, dim_mul(p->dims, d, other)) : NULL;
	}
	return d;
}

/* dim := product { (+|-) product };  product := factor { * factor } */
dim parse_dim(struct parser *p)
{
	bool minus;
	dim d, other;

	if (!parse_enter(p, NESTING_MAX))
		return NULL;
	d = parse_dim_product(p);
	while (d && (next_is(p, "+") || next_is(p, "-"))) {
		minus = next_is(p, "-");
		lex_next(&p->lx);
		other = parse_dim_product(p);
		d = other ? check_size(p, (minus ? dim_sub : dim_add)(p->dims, d, other)) : NULL;
	}
	parse_leave(p);
	return d;
}

/* ---- types ---- */

bool parse_dtype(struct parser *p, enum dtype *out)
{
	const struct token *t = &p->lx.token;

	*out = t->kind == TOKEN_NAME ? dtype_by_name(t->text, (size_t)t->length) : DT_NONE;
	if (*out == DT_NONE)
		return parse_expected(p, "an element type such as f32");
	lex_next(&p->lx);
	return true;
}

static bool is_container(const struct parser *p)
{
	return next_is(p, "sequence") || next_is(p, "optional");
}

/* The end of a container's type; of `>>` one half is left. */
static bool parse_angle(struct parser *p)
{
	struct token *t = &p->lx.token;

	if (!next_is(p, ">>"))
		return parse_sign(p, ">");
	t->text++;
	t->length--;
	return true;
}

/* type := dtype [ [ dim {, dim} ] ] | sequence < type > | optional < type > */
bool parse_type(struct parser *p, struct type *out)
{
	struct type *elem;
	enum dtype t;
	dim d;

	if (is_container(p)) {
		*out = (struct type){.kind = next_is(p, "sequence") ? TYPE_SEQUENCE
								    : TYPE_OPTIONAL};
		out->elem = elem = ARENA_NEW(p->dims->arena, struct type);
		lex_next(&p->lx);
		if (!parse_enter(p, NESTING_MAX))
			return false;
		if (!parse_sign(p, "<") || !parse_type(p, elem) || !parse_angle(p))
			return false;
		parse_leave(p);
		return true;
	}
	if (!parse_dtype(p, &t))
		return false;
	*out = (struct type){.kind = TYPE_TENSOR, .dtype = t};
	if (!parse_sign(p, "["))
		return false;
	while (!next_is(p, "]")) {
		if (out->rank == HONE_MAX_RANK)
			return parse_fail(p, "a tensor has at most %d axes", HONE_MAX_RANK);
		d = parse_dim(p);
		if (!d)
			return false;
		if (dim_is_const(d) && d->value < 0)
			return parse_fail(p, "a size cannot be negative: %lld",
					  (long long)d->value);
		out->dims[out->rank++] = d;
		if (!parse_maybe(p, ","))
			break;
	}
	return parse_sign(p, "]");
}

bool parse_skip_type(struct parser *p, enum dtype *out)
{
	int open = 0;

	*out = DT_NONE;
	if (!is_container(p) && !parse_dtype(p, out))
		return false;
	if (is_container(p))
		lex_next(&p->lx);
	if (!next_is(p, "[") && !next_is(p, "<"))
		return parse_expected(p, "`[` after the element type");
	do {
		if (next_kind(p, TOKEN_END) || next_kind(p, TOKEN_BAD) || next_is(p, "{") ||
		    next_is(p, "}"))
			return parse_expected(p, "the end of a type");
		if (next_is(p, "[") || next_is(p, "<") || next_is(p, "("))
			open++;
		if (next_is(p, "]") || next_is(p, ">") || next_is(p, ")"))
			open--;
		if (next_is(p, ">>"))
			open -= 2;
		lex_next(&p->lx);
	} while (open > 0);
	return true;
}

/* ---- symbols ---- */

/* symbol := [param] [integer <=] name [<= dim [<= integer]] */
static bool parse_symbol(struct parser *p, enum symbol_binding binding, int *out)
{
	struct symbol s = {.max = INT64_MAX, .binding = binding};
	struct lexer before = p->lx;
	dim bound;

	if (parse_maybe(p, "param") && !next_is(p, ",") && !next_is(p, ")") && !next_is(p, "<="))
		s.binding = SYMBOL_PARAM;
	else
		p->lx = before;
	if ((next_kind(p, TOKEN_INT) || next_is(p, "-")) &&
	    (!parse_int(p, &s.min) || !parse_sign(p, "<=")))
		return false;
	s.name = parse_name(p, p->dims->arena,
			    next_kind(p, TOKEN_STRING) ? TOKEN_STRING : TOKEN_NAME, "a symbol");
	if (!s.name)
		return false;
	if (symbol_find(p->dims, s.name) >= 0)
		return parse_fail(p, "the symbol %s is there already", s.name);
	if (parse_maybe(p, "<=")) {
		bound = parse_dim(p);
		if (!bound)
			return false;
		if (dim_is_const(bound))
			s.max = bound->value;
		else
			s.bound = bound;
		if (s.bound && parse_maybe(p, "<=") && !parse_int(p, &s.max))
			return false;
	}
	if (s.min < 0 || s.max < s.min)
		return parse_fail(p, "the range %lld <= %s <= %lld is empty or negative",
				  (long long)s.min, s.name, (long long)s.max);
	if (s.binding == SYMBOL_NODE)
		s.stage = p->graph->stage_count + 1;
	*out = symbol_add(p->dims, &s);
	return true;
}

bool parse_symbols(struct parser *p, enum symbol_binding binding, int room, int *symbols,
		   int *count)
{
	if (!parse_sign(p, "("))
		return false;
	for (*count = 0; !next_is(p, ")"); ++*count) {
		if (*count == room)
			return parse_fail(p, "at most %d symbols are possible here", room);
		if (!parse_symbol(p, binding, &symbols[*count]))
			return false;
		if (!parse_maybe(p, ",")) {
			++*count;
			break;
		}
	}
	return parse_sign(p, ")");
}
