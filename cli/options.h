/* options.h: one way to declare, parse and document the options of every subcommand. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "ir/diag.h"

enum option_kind {
	OPTION_FLAG,     /* *(bool *)at = true */
	OPTION_TEXT,     /* *(const char **)at = the value */
	OPTION_OPTIONAL, /* the same, "" without one: a value only after `=` */
	OPTION_INT,      /* *(int64_t *)at */
	OPTION_REAL,     /* *(double *)at */
	OPTION_LIST,     /* appended to *(struct list *)at; takes all words up to the next option */
};

struct list {
	const char **at;
	int count, room;
};

struct option {
	const char *name; /* without the dashes; "o" means -o */
	enum option_kind kind;
	void *at;
	const char *value, *help; /* value: what stands for it in the help, e.g. "FILE" */
};

/* A subcommand. run gets its own words, and returns the exit status. */
struct command {
	const char *name, *usage, *summary;
	int (*run)(int argc, char **argv);
};
extern const struct command commands[]; /* ended by a name of NULL */

/* What parsing found. */
enum parsed { PARSED_OK, PARSED_HELP, PARSED_ERROR };

/* Parses argv[1..]; words that belong to no option go to `rest`. --help prints usage, summary and options
 * (`more`: a paragraph after them, may be NULL). Up to two tables, each ended by a name of NULL. */
enum parsed options_parse(const struct command *c, int argc, char **argv, const struct option *own,
			  const struct option *shared, const char *more, struct list *rest,
			  struct arena *a, struct diag *d);

#endif
