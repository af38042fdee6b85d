/* diag.c: collecting and printing messages. */
#include "ir/diag.h"

#include <stdarg.h>
#include <stdlib.h>

static char *format_text(struct arena *a, const char *format, va_list args)
{
	va_list again;
	char *text;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	text = arena_alloc(a, (size_t)n + 1);
	vsnprintf(text, (size_t)n + 1, format, again);
	va_end(again);
	return text;
}

bool diag_add(struct diag *d, enum diag_kind kind, struct loc at, const char *format, ...)
{
	struct diag_message *m;
	va_list args;

	if (kind >= DIAG_DIFFER)
		d->errors++;
	if (kind > d->worst)
		d->worst = kind;
	if (d->count == DIAG_MAX) {
		d->dropped++;
		return false;
	}
	m = &d->messages[d->count++];
	m->kind = kind;
	m->loc.line = at.line;
	m->loc.file = at.file ? arena_text(&d->arena, at.file) : NULL;
	m->loc.node = at.node ? arena_text(&d->arena, at.node) : NULL;
	m->loc.op = at.op ? arena_text(&d->arena, at.op) : NULL;
	va_start(args, format);
	m->text = format_text(&d->arena, format, args);
	va_end(args);
	return false;
}

static void print_message(const struct diag_message *m, FILE *out, bool color)
{
	static const char *const plain[] = {"note: ", "warning: ", "error: ", "internal error: "};
	static const char *const colored[] = {"\033[36mnote:\033[0m ", "\033[35mwarning:\033[0m ",
					      "\033[1;31merror:\033[0m ",
					      "\033[1;31minternal error:\033[0m "};
	int kind = m->kind == DIAG_INTERNAL ? 3 : m->kind >= DIAG_DIFFER ? 2 : (int)m->kind;

	fputs((color ? colored : plain)[kind], out);
	if (m->loc.file && m->loc.line)
		fprintf(out, "%s:%d: ", m->loc.file, m->loc.line);
	else if (m->loc.file)
		fprintf(out, "%s: ", m->loc.file);
	if (m->loc.node && m->loc.op)
		fprintf(out, "node \"%s\" (%s): ", m->loc.node, m->loc.op);
	else if (m->loc.node)
		fprintf(out, "node \"%s\": ", m->loc.node);
	else if (m->loc.op)
		fprintf(out, "%s: ", m->loc.op);
	fprintf(out, "%s\n", m->text);
}

void diag_print(const struct diag *d, FILE *out, bool color)
{
	for (int i = 0; i < d->count; i++)
		print_message(&d->messages[i], out, color);
	if (d->dropped)
		fprintf(out, "note: %d more messages were dropped\n", d->dropped);
}

int diag_exit_status(const struct diag *d)
{
	switch (d->worst) {
	case DIAG_DIFFER: return 1;
	case DIAG_USAGE: return 2;
	case DIAG_UNSUPPORTED: return 3;
	case DIAG_FILE: return 4;
	case DIAG_TOOLCHAIN: return 5;
	case DIAG_INTERNAL: return 70;
	default: return 0;
	}
}

void diag_reset(struct diag *d)
{
	arena_free(&d->arena);
	*d = (struct diag){0};
}

void bug(const char *file, int line, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "internal error: %s:%d: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(70);
}
