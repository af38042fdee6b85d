/* lex.c: reading tokens. Comments run from # to the end of the line. */
#include "ir/lex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c) { return is_letter(c) || is_digit(c) || c == '.'; }

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static char byte_at(const struct lexer *l, int i) { return l->end - l->at > i ? l->at[i] : '\0'; }

static void skip_blanks(struct lexer *l, struct token *t)
{
	for (; l->at < l->end; l->at++) {
		char c = *l->at;

		if (c == '#')
			while (l->at + 1 < l->end && l->at[1] != '\n')
				l->at++;
		else if (c == '\n') {
			l->line++;
			t->first = true;
		} else if (c != ' ' && c != '\t' && c != '\r')
			return;
	}
}

static void lex_string(struct lexer *l, struct token *t)
{
	t->kind = TOKEN_BAD;
	t->text = ++l->at;
	for (; l->at < l->end && *l->at != '\n'; l->at++) {
		if (*l->at == '"') {
			t->kind = TOKEN_STRING;
			t->length = (int)(l->at++ - t->text);
			return;
		}
		if (*l->at == '\\' && l->at + 1 < l->end && l->at[1] != '\n')
			l->at++;
	}
	t->text--;
	t->length = (int)(l->at - t->text);
}

static void lex_digits(struct lexer *l, struct token *t, int base)
{
	for (; l->at < l->end; l->at++) {
		int digit = hex_digit(*l->at);

		if (digit < 0 || digit >= base)
			return;
		t->overflow |= __builtin_mul_overflow(t->integer, (uint64_t)base, &t->integer) ||
			       __builtin_add_overflow(t->integer, (uint64_t)digit, &t->integer);
	}
}

/* digits [. digits] [e [+-] digits], or 0x digits. */
static void lex_number(struct lexer *l, struct token *t)
{
	char text[64], *copy = text;
	int exponent;

	t->kind = TOKEN_INT;
	if (byte_at(l, 0) == '0' && byte_at(l, 1) == 'x' && hex_digit(byte_at(l, 2)) >= 0) {
		l->at += 2;
		lex_digits(l, t, 16);
		t->real = (double)t->integer;
		t->length = (int)(l->at - t->text);
		return;
	}
	lex_digits(l, t, 10);
	if (byte_at(l, 0) == '.') {
		t->kind = TOKEN_REAL;
		for (l->at++; is_digit(byte_at(l, 0));)
			l->at++;
	}
	if (byte_at(l, 0) == 'e' || byte_at(l, 0) == 'E') {
		exponent = byte_at(l, 1) == '+' || byte_at(l, 1) == '-' ? 2 : 1;
		if (is_digit(byte_at(l, exponent))) {
			t->kind = TOKEN_REAL;
			for (l->at += exponent; is_digit(byte_at(l, 0));)
				l->at++;
		}
	}
	t->length = (int)(l->at - t->text);
	if (t->length >= (int)sizeof(text))
		copy = malloc((size_t)t->length + 1);
	if (!copy) {
		t->kind = TOKEN_BAD;
		return;
	}
	memcpy(copy, t->text, (size_t)t->length);
	copy[t->length] = '\0';
	t->real = strtod(copy, NULL);
	if (copy != text)
		free(copy);
}

static void lex_sign(struct lexer *l, struct token *t)
{
	static const char *const pairs[] = {"->", "<=", ">=", "==", "!=", "<<", ">>"};

	t->kind = TOKEN_SIGN;
	t->length = 1;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		if (byte_at(l, 0) == pairs[i][0] && byte_at(l, 1) == pairs[i][1])
			t->length = 2;
	if (!*l->at || !strchr("()[]{}<>,;:=!?+-*/&|^~", *l->at))
		t->kind = TOKEN_BAD;
	l->at += t->length;
}

void lex_next(struct lexer *l)
{
	struct token *t = &l->token;

	*t = (struct token){0};
	skip_blanks(l, t);
	t->line = l->line;
	t->text = l->at;
	if (l->at == l->end)
		return;
	if (*l->at == '"') {
		lex_string(l, t);
	} else if (is_digit(*l->at)) {
		lex_number(l, t);
	} else if (is_letter(*l->at) ||
		   ((*l->at == '%' || *l->at == '@') && is_name(byte_at(l, 1)))) {
		t->kind = *l->at == '%' ? TOKEN_VALUE : *l->at == '@' ? TOKEN_GLOBAL : TOKEN_NAME;
		if (t->kind != TOKEN_NAME)
			t->text = ++l->at;
		while (is_name(byte_at(l, 0)))
			l->at++;
		t->length = (int)(l->at - t->text);
	} else {
		lex_sign(l, t);
	}
}

void lex_begin(struct lexer *l, const char *text, size_t length, int line)
{
	if (length > 1 << 30)
		length = 1 << 30;
	*l = (struct lexer){.at = text, .end = text + length, .line = line};
	lex_next(l);
}

bool token_is(const struct token *t, const char *text)
{
	return (t->kind == TOKEN_NAME || t->kind == TOKEN_SIGN) &&
	       (size_t)t->length == strlen(text) && memcmp(t->text, text, (size_t)t->length) == 0;
}

/* One escape at s, after its backslash; its bytes are skipped. -1: bad. */
static int read_escape(const char **s, const char *end)
{
	char c = *(*s)++;
	int high, low;

	switch (c) {
	case 'n': return '\n';
	case 't': return '\t';
	case '"':
	case '\\': return c;
	case 'x':
		if (end - *s < 2)
			return -1;
		high = hex_digit((*s)[0]);
		low = hex_digit((*s)[1]);
		*s += 2;
		return high < 0 || low < 0 || (high | low) == 0 ? -1 : high * 16 + low;
	default: return -1;
	}
}

const char *token_text(struct arena *a, const struct token *t)
{
	char *text = arena_alloc(a, (size_t)t->length + 1), *to = text;
	const char *s = t->text, *end = s + t->length;
	int c;

	if (t->kind != TOKEN_STRING) {
		memcpy(text, s, (size_t)t->length);
		return text;
	}
	while (s < end) {
		c = (unsigned char)*s++;
		if (c == '\\' && s < end)
			c = read_escape(&s, end);
		if (c <= 0)
			return NULL;
		*to++ = (char)c;
	}
	return text;
}

const char *token_shown(struct arena *a, const struct token *t)
{
	const char *before = t->kind == TOKEN_VALUE ? "%" : t->kind == TOKEN_GLOBAL ? "@" : "";
	int length = t->length > 40 ? 40 : t->length;

	if (t->kind == TOKEN_END)
		return "the end of the text";
	if (t->kind == TOKEN_BAD && length == 1 && !isprint((unsigned char)*t->text))
		return arena_printf(a, "the byte 0x%02x", (unsigned char)*t->text);
	return arena_printf(a, "`%s%.*s`", before, length, t->text);
}
