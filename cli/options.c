/* options.c: parsing by tables. */
#include "cli/options.h"
#include "cli/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct option *find(const struct option *table, const char *name, size_t length)
{
	for (; table && table->name; table++)
		if (strlen(table->name) == length && !memcmp(table->name, name, length))
			return table;
	return NULL;
}

static void print_table(const struct option *o)
{
	for (; o && o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s%s%s", strlen(o->name) == 1 ? "-" : "--",
			 o->name,
			 o->kind == OPTION_OPTIONAL ? "[="
			 : o->value                 ? " "
						    : "",
			 o->value ? o->value : "", o->kind == OPTION_OPTIONAL ? "]" : "");
		printf("  %-28s %s\n", left, o->help);
	}
}

static void print_help(const struct command *c, const struct option *own,
		       const struct option *shared, const char *more)
{
	printf("usage: hone %s %s\n\n%s\n\n", c->name, c->usage, c->summary);
	print_table(own);
	print_table(shared);
	printf("  %-28s %s\n", "--help", "this text");
	if (more)
		printf("\n%s\n", more);
}

static bool usage_error(struct diag *d, const struct command *c, const char *word, const char *what)
{
	return diag_add(d, DIAG_USAGE, (struct loc){0}, "%s: %s (see hone %s --help)", word, what,
			c->name);
}

static bool set_value(const struct command *c, const struct option *o, const char *word,
		      const char *value, struct diag *d)
{
	char *end;

	errno = 0;
	switch (o->kind) {
	case OPTION_TEXT: *(const char **)o->at = value; return true;
	case OPTION_INT: *(int64_t *)o->at = strtoll(value, &end, 10); break;
	default: *(double *)o->at = strtod(value, &end); break;
	}
	return (*value && !*end && !errno) || usage_error(d, c, word, "takes a number");
}

struct words {
	int argc, at;
	char **argv;
};

/* One option, whose word is argv[at]; leaves `at` at its last word. `value` is what follows a `=`, or NULL. */
static bool take(const struct command *c, const struct option *o, struct words *w,
		 const char *value, struct arena *a, struct diag *d)
{
	const char *word = w->argv[w->at];

	if (o->kind == OPTION_FLAG) {
		*(bool *)o->at = true;
		return !value || usage_error(d, c, word, "takes no value");
	}
	if (o->kind == OPTION_OPTIONAL) {
		*(const char **)o->at = value ? value : "";
		return true;
	}
	if (!value) {
		if (w->at + 1 >= w->argc)
			return usage_error(d, c, word, "needs a value");
		value = w->argv[++w->at];
	}
	if (o->kind != OPTION_LIST)
		return set_value(c, o, word, value, d);
	ARENA_PUSH(a, (struct list *)o->at, value);
	while (w->at + 1 < w->argc && w->argv[w->at + 1][0] != '-')
		ARENA_PUSH(a, (struct list *)o->at, w->argv[++w->at]);
	return true;
}

enum parsed options_parse(const struct command *c, int argc, char **argv, const struct option *own,
			  const struct option *shared, const char *more, struct list *rest,
			  struct arena *a, struct diag *d)
{
	struct words w = {argc, 1, argv};

	for (; w.at < argc; w.at++) {
		const char *word = argv[w.at], *name = word + 1, *equals;
		const struct option *o;
		size_t length;

		if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
			print_help(c, own, shared, more);
			return PARSED_HELP;
		}
		if (word[0] != '-' || !word[1]) {
			ARENA_PUSH(a, rest, word);
			continue;
		}
		name += *name == '-';
		equals = strchr(name, '=');
		length = equals ? (size_t)(equals - name) : strlen(name);
		o = find(own, name, length);
		if (!o)
			o = find(shared, name, length);
		if (!o) {
			usage_error(d, c, word, "unknown option");
			return PARSED_ERROR;
		}
		if (!take(c, o, &w, equals ? equals + 1 : NULL, a, d))
			return PARSED_ERROR;
	}
	return PARSED_OK;
}

const struct command *command_row(const char *name)
{
	const struct command *c = commands;

	while (c->name && strcmp(c->name, name))
		c++;
	return c;
}
