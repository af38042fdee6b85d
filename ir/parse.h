/* parse.h: what the parsers of graphs, scalar expressions and kernels share. Private to ir/.
 * Functions that return bool or a pointer report their failure; nothing goes on after the first. */
#ifndef IR_PARSE_H
#define IR_PARSE_H

#include "ir/graph.h"
#include "ir/lex.h"
#include "ir/names.h"
#include "ir/text.h"

#define NESTING_MAX 64         /* regions, types, dims */
#define SCALAR_NESTING_MAX 256 /* scalar expressions; the printer names parts of deeper ones */
#define SCALAR_DEPTH_MAX 4096  /* of an expression, through names too */

/* What a name in a scalar expression stands for. */
struct local {
	const struct expr *expr;
	int depth;
};

struct parser {
	struct lexer lx;
	struct diag *diag;
	struct loc at; /* of messages; the line is the token's when `lines` */
	bool lines;
	const char *whole; /* the text, shown in messages when it is one expression */
	struct arena scratch;
	struct dim_pool *dims;
	struct expr_pool *exprs;
	int depth, region_depth;
	bool declares; /* an unknown symbol in a dim is a new one of an input */

	/* scalar expressions */
	struct names locals; /* names to struct local * */
	int constant_count;
	const struct named_real *constants;
	/* A leaf %NAME (kernels): NULL when there are none here. Called with the name as token. */
	const struct expr *(*value_leaf)(struct parser *p);

	/* graphs */
	struct graph *graph;
	struct names values; /* names in sight to struct value * */
	struct names taken;  /* names given so far */
	int last_line;       /* of the last return or yield */
	void *self;          /* kernel parser's */
};

/* Reports at the token to be read next. */
bool parse_fail(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "expected WHAT, found TOKEN" */
bool parse_expected(struct parser *p, const char *what);

static inline bool next_is(const struct parser *p, const char *text)
{
	return token_is(&p->lx.token, text);
}
static inline bool next_kind(const struct parser *p, enum token_kind kind)
{
	return p->lx.token.kind == kind;
}
/* Reads the token when it is this sign or word. */
bool parse_maybe(struct parser *p, const char *text);
bool parse_sign(struct parser *p, const char *text);
/* The text of a token of this kind, in `a`; NULL reported as "expected WHAT". */
const char *parse_name(struct parser *p, struct arena *a, enum token_kind kind, const char *what);
bool parse_int(struct parser *p, int64_t *out);
bool parse_real(struct parser *p, double *out);
/* Counts nesting; every true return is followed by parse_leave. */
bool parse_enter(struct parser *p, int max);
static inline void parse_leave(struct parser *p) { p->depth--; }

dim parse_dim(struct parser *p);
bool parse_dtype(struct parser *p, enum dtype *out);
bool parse_type(struct parser *p, struct type *out);
/* Skips a type without reading it; *out is its element type, DT_NONE for sequences. */
bool parse_skip_type(struct parser *p, enum dtype *out);
/* `dims(1 <= N <= 64, K <= N + 1, T)`, after the word dims. Symbols are added; at most `room`. */
bool parse_symbols(struct parser *p, enum symbol_binding binding, int room, int *symbols,
		   int *count);

/* One scalar expression over p->locals. want: type of literals at the root, or DT_NONE. */
const struct expr *parse_scalar(struct parser *p, enum dtype want);

void parse_local(struct parser *p, const char *name, const struct expr *e, int depth);
/* `(a: f32, b) -> `: parameter i of type types[i] stands for EXPR_PARAM index[i] (index NULL: i). */
bool parse_params(struct parser *p, int type_count, const enum dtype *types, const int *index);

/* expr_text to a file. known: the parser will be told the type of literals at the root. */
void expr_print(FILE *out, const struct expr_pool *pool, const struct expr *e, bool known,
		expr_name_fn *name, void *self);

/* parse_const.c: what follows the word `const`: the data of a tensor of this type. */
bool parse_tensor(struct parser *p, const struct type *type, struct tensor *out);
/* parse_attr.c: `{name=value, ...}` into the attributes of op; given[i]: row i was there. */
bool parse_attrs(struct parser *p, enum op_id op, void *attrs, bool *given);

#endif
