/* lex.h: the tokens of the text forms: graphs, scalar expressions and kernels. */
#ifndef IR_LEX_H
#define IR_LEX_H

#include "ir/arena.h"

#include <stdbool.h>

enum token_kind {
	TOKEN_END,
	TOKEN_NAME,   /* conv, f32, N, block_0.q */
	TOKEN_VALUE,  /* %x; the text is without the % */
	TOKEN_GLOBAL, /* @main */
	TOKEN_INT,    /* 12, 0x1f */
	TOKEN_REAL,   /* 0.5, 1e-05 */
	TOKEN_STRING, /* "..." with \" \\ \n \t \xHH; the text is between the quotes, escapes unread */
	TOKEN_SIGN, /* punctuation and operators */
	TOKEN_BAD,  /* a byte or an unfinished string that begins no token */
};

struct token {
	enum token_kind kind;
	const char *text;
	int length, line;
	bool first;    /* first of its line: ends the statement before it */
	bool overflow; /* INT: over 64 bits; REAL never: it becomes inf */
	uint64_t integer;
	double real; /* also of an INT */
};

/* Copying it saves the place. `token` is the one to be read next. */
struct lexer {
	const char *at, *end;
	int line;
	struct token token;
};

/* Starts at the first token. Texts are at most 1 GB. */
void lex_begin(struct lexer *l, const char *text, size_t length, int line);
void lex_next(struct lexer *l);

/* Whether the token is this name or sign. */
bool token_is(const struct token *t, const char *text);

/* A copy of a token's text; of a string, with its escapes read. NULL for a string with a bad escape. */
const char *token_text(struct arena *a, const struct token *t);

/* How messages show a token: `"conv"`, or `the end of the text`. */
const char *token_shown(struct arena *a, const struct token *t);

#endif
