/* report.c: reports as JSON. */
#include "cli/report.h"

#include "cli/json.h"
#include "cli/output.h"
#include "cli/report_html.h"

#include <math.h>
#include <string.h>

/* ---- JSON ---- */

static void write_number(FILE *out, double x)
{
	if (isfinite(x))
		fprintf(out, "%.9g", x);
	else
		fprintf(out, "null");
}

static void write_key(FILE *out, const char *before, const char *name)
{
	fprintf(out, "%s", before);
	json_write(out, name);
	putc(':', out);
}

static void write_fact(FILE *out, const struct report_fact *f)
{
	if (f->kind == REPORT_TEXT) {
		json_write(out, f->text);
	} else if (f->kind == REPORT_NUMBER) {
		write_number(out, f->number);
	} else {
		fprintf(out, "{\"before\":");
		write_number(out, f->before);
		fprintf(out, ",\"after\":");
		write_number(out, f->number);
		putc('}', out);
	}
}

/* The cells of a row from column `first` on. */
static void write_row(FILE *out, const struct report_table *t, const struct report_cell *row,
		      int first)
{
	putc('{', out);
	for (int i = first; i < t->column_count; i++) {
		write_key(out, i > first ? "," : "", t->columns[i]);
		if (row[i].text)
			json_write(out, row[i].text);
		else
			write_number(out, row[i].number);
	}
	putc('}', out);
}

static void write_rows(FILE *out, const struct report_table *t)
{
	for (int i = 0; i < t->rows.count; i++) {
		fprintf(out, "%s", i ? ",\n" : "\n");
		write_row(out, t, t->rows.at[i], 0);
	}
}

/* Rows of equal first text are the points of a line. */
static void write_lines(FILE *out, const struct report_table *t)
{
	const char *line = NULL;

	for (int i = 0; i < t->rows.count; i++) {
		const struct report_cell *row = t->rows.at[i];
		bool starts = !line || strcmp(line, row[0].text);

		if (starts) {
			fprintf(out, "%s\n{", line ? "]}," : "");
			line = row[0].text;
			write_key(out, "", t->columns[0]);
			json_write(out, line);
			fprintf(out, ",\"points\":[");
		}
		fprintf(out, "%s", starts ? "" : ",");
		write_row(out, t, row, 1);
	}
	fprintf(out, "%s", line ? "]}" : "");
}

static void write_section(FILE *out, const struct report_section *s)
{
	const char *before = "";

	putc('{', out);
	for (int i = 0; i < s->facts.count; i++, before = ",") {
		write_key(out, before, s->facts.at[i].name);
		write_fact(out, &s->facts.at[i]);
	}
	for (int i = 0; i < s->tables.count; i++, before = ",") {
		const struct report_table *t = s->tables.at[i];

		write_key(out, before, t->name);
		putc('[', out);
		if (t->form == REPORT_CURVE)
			write_lines(out, t);
		else
			write_rows(out, t);
		putc(']', out);
	}
	putc('}', out);
}

static bool write_json(FILE *out, void *self)
{
	const struct report *r = self;

	putc('{', out);
	for (int i = 0; i < r->sections.count; i++) {
		write_key(out, i ? ",\n" : "", r->sections.at[i]->pass);
		write_section(out, r->sections.at[i]);
	}
	fprintf(out, "}\n");
	return true;
}

/* ---- the file ---- */

static bool ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);

	return n > m && !strcmp(text + n - m, with);
}

bool report_path_check(const char *path, struct diag *d)
{
	return ends(path, ".json") || ends(path, ".html") ||
	       diag_add(d, DIAG_USAGE, (struct loc){0},
			"--report %s: expected FILE.json or FILE.html", path);
}

bool report_write(const struct report *r, const char *path, struct diag *d)
{
	return output_write(path, ends(path, ".html") ? report_html : write_json, (void *)r, d);
}
