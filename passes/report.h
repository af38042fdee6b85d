/* report.h: what passes measured, for `--report`. A report is a list of sections, one for each pass that has
 * something to say, in the order of the pipeline; the command writes it as JSON or as a page (cli/report*.c).
 *
 *   struct report_section *s = report_section(c->report, "prune", "structured pruning");
 *   static const char *const columns[] = {"node", "error", "choice", NULL};
 *   struct report_table *t = report_table(s, REPORT_BARS, "sensitivity", columns);
 *
 *   report_change(s, "macs", before, after);
 *   report_number(s, "error", error);
 *   report_row(t, (struct report_cell[]){{.text = name}, {.number = 0.01}, {.text = "int8"}});
 *
 * Every function takes NULL for what it adds to and then does nothing: a pass does not ask whether a report is
 * wanted, except before work that only a report needs. Texts are copied. The same model and flags give the same
 * report, but for times, whose names say so: they have the unit ms or end in latency. */
#ifndef PASSES_REPORT_H
#define PASSES_REPORT_H

#include "ir/arena.h"

/* How the page shows a table. */
enum report_form {
	REPORT_TABLE, /* as it is */
	REPORT_BARS, /* a bar for each row: the first number of the row; its name is the first text */
	REPORT_CURVE, /* lines: rows of equal first text are the points of one, x the second column, y the last */
};

/* One entry of a row: a text where that is not NULL, else the number. NaN is "not known". */
struct report_cell {
	const char *text;
	double number;
};

struct report_table {
	enum report_form form;
	const char *name;
	const char *const *columns; /* ended by NULL */
	int column_count;
	struct {
		const struct report_cell **at;
		int count, room;
	} rows;
	struct arena *arena;
};

/* One fact: a text, a number, or what a number was before and is now. */
struct report_fact {
	enum report_kind { REPORT_TEXT, REPORT_NUMBER, REPORT_CHANGE } kind;
	const char *name, *text;
	double before, number;
};

struct report_section {
	const char *pass, *title;
	struct {
		struct report_fact *at;
		int count, room;
	} facts;
	struct {
		struct report_table **at;
		int count, room;
	} tables;
	struct arena *arena;
};

/* Zero-initialize all but the arena, which holds everything. */
struct report {
	struct arena *arena;
	struct {
		struct report_section **at;
		int count, room;
	} sections;
};

/* The section of a pass, made if there is none yet. pass: an identifier, the key in JSON; title: the heading. */
struct report_section *report_section(struct report *r, const char *pass, const char *title);

/* Facts. Names are identifiers; those that the page knows how to draw and to write with a unit:
 *   size, weights        bytes
 *   macs                 multiply-adds
 *   latency, *_ms        milliseconds
 *   error*               relative to the root mean square of what was expected
 *   agreement, accuracy  shares of samples */
void report_text(struct report_section *s, const char *name, const char *text);
void report_number(struct report_section *s, const char *name, double number);
void report_change(struct report_section *s, const char *name, double before, double after);

/* A table; name and columns are identifiers, columns ended by NULL and copied. */
struct report_table *report_table(struct report_section *s, enum report_form form, const char *name,
				  const char *const *columns);
/* One cell for each column. */
void report_row(struct report_table *t, const struct report_cell *cells);

#endif
