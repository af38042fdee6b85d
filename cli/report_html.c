/* report_html.c: reports as one self-contained page: inline SVG (SVG 1.1), no script, nothing loaded; colours follow the
 * reader's light or dark setting. Names come from the model: every text is escaped. */
#include "cli/report_html.h"

#include "passes/report.h"

#include <math.h>
#include <string.h>

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<link rel=\"icon\" href=\"data:,\">\n"
	"<style>\n"
	":root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6773;--line:#d8dee6;--paper:#fff;"
	"--was:#a9b4c2;--is:#2f6fde;--c0:#2f6fde;--c1:#d9642c;--c2:#2a9d6c;--c3:#9a4fc4}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--soft:#98a3b1;--line:#38424f;"
	"--paper:#151a21;--was:#566273;--is:#6ea2ff;--c0:#6ea2ff;--c1:#ff9a66;--c2:#5fd3a0;"
	"--c3:#c894ec}}\n"
	"body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
	"max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
	"h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid "
	"var(--line)}h3{font-size:1rem;margin-bottom:.3rem}\n"
	"table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;"
	"font-variant-numeric:tabular-nums}th{color:var(--soft);font-weight:normal}\n"
	"svg{max-width:100%;height:auto;display:block}text{fill:var(--ink);font:12px "
	"system-ui,sans-serif}.soft{fill:var(--soft)}.was{fill:var(--was)}.is{fill:var(--is)}"
	".axis{stroke:var(--line)}.grid{overflow-x:auto}\n"
	"</style>\n";

static void write_text(FILE *out, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '&': fputs("&amp;", out); break;
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '"': fputs("&quot;", out); break;
		default: putc((unsigned char)*s < 32 ? ' ' : *s, out);
		}
}

/* An identifier as words. */
static void write_words(FILE *out, const char *name)
{
	for (; *name; name++)
		putc(*name == '_' ? ' ' : *name, out);
}

/* ---- numbers with units, by their names (passes/report.h) ---- */

static bool starts(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

static bool ends(const char *name, const char *with)
{
	size_t n = strlen(name), m = strlen(with);

	return n >= m && !strcmp(name + n - m, with);
}

static void write_scaled(FILE *out, double x, const char *unit)
{
	static const char *const prefixes[] = {"", " k", " M", " G", " T"};
	int i = 0;

	for (; fabs(x) >= 1000 && i < 4; i++)
		x /= 1000;
	fprintf(out, "%.4g%s%s%s", x, prefixes[i], i || !*unit ? "" : " ", unit);
}

static void write_number(FILE *out, const char *name, double x)
{
	if (!isfinite(x))
		fputs("not known", out);
	else if (!strcmp(name, "size") || !strcmp(name, "weights") || ends(name, "_bytes"))
		write_scaled(out, x, "B");
	else if (!strcmp(name, "latency") || ends(name, "_ms"))
		fprintf(out, "%.4g ms", x);
	else if (!strcmp(name, "macs") && x > 1)
		write_scaled(out, x, "");
	else if (starts(name, "agreement") || starts(name, "accuracy") || starts(name, "error") ||
		 !strcmp(name, "at_least") || !strcmp(name, "wanted"))
		fprintf(out, "%.2f %%", 100 * x);
	else
		fprintf(out, "%.6g", x);
}

/* ---- drawings ---- */

enum { WIDTH = 720, LABEL = 250, ROW = 18 };

static void begin_svg(FILE *out, int height, const char *title)
{
	fprintf(out,
		"<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" xmlns=\"http://www.w3.org/"
		"2000/svg\"><title>",
		WIDTH, height, WIDTH);
	write_words(out, title);
	fputs("</title>\n", out);
}

static void write_bar(FILE *out, const char *class, int y, double share)
{
	double width = share > 0 ? share * (WIDTH - LABEL - 130) : 0;

	fprintf(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>", class,
		LABEL, y, fmax(width, 1), ROW - 5);
	fprintf(out, "<text class=\"soft\" x=\"%.1f\" y=\"%d\">", LABEL + fmax(width, 1) + 6,
		y + ROW - 7);
}

/* What was, above what is. */
static void draw_changes(FILE *out, const struct report_section *s)
{
	int count = 0, y = 4;

	for (int i = 0; i < s->facts.count; i++)
		count += s->facts.at[i].kind == REPORT_CHANGE;
	if (!count)
		return;
	begin_svg(out, count * (2 * ROW + 10) + 4, "before and after");
	for (int i = 0; i < s->facts.count; i++) {
		const struct report_fact *f = &s->facts.at[i];
		double most = fmax(f->before, f->number);

		if (f->kind != REPORT_CHANGE)
			continue;
		fprintf(out, "<text x=\"0\" y=\"%d\">", y + ROW + 3);
		write_words(out, f->name);
		if (f->before > 0)
			fprintf(out, " (%.3g times)", f->number / f->before);
		fputs("</text>", out);
		write_bar(out, "was", y, most > 0 ? f->before / most : 0);
		write_number(out, f->name, f->before);
		fputs("</text>", out);
		write_bar(out, "is", y + ROW - 2, most > 0 ? f->number / most : 0);
		write_number(out, f->name, f->number);
		fputs("</text>\n", out);
		y += 2 * ROW + 10;
	}
	fputs("</svg>\n", out);
}

/* The column of the first number. */
static int number_column(const struct report_table *t)
{
	for (int i = 0; i < t->column_count; i++)
		if (t->rows.count && !t->rows.at[0][i].text)
			return i;
	return 0;
}

static const char *row_name(const struct report_table *t, const struct report_cell *row)
{
	for (int i = 0; i < t->column_count; i++)
		if (row[i].text)
			return row[i].text;
	return "";
}

/* The end of a name says more than its beginning. */
static void write_short(FILE *out, const char *name)
{
	enum { MOST = 36 };
	size_t length = strlen(name);

	while (length > MOST &&
	       (name[length - MOST] & 0xc0) == 0x80) /* inside of a UTF-8 sequence */
		length--;
	if (strlen(name) > MOST)
		fputs("..", out);
	write_text(out, length > MOST ? name + length - MOST : name);
}

static void draw_bars(FILE *out, const struct report_table *t)
{
	int column = number_column(t);
	double most = 0;

	for (int i = 0; i < t->rows.count; i++)
		if (isfinite(t->rows.at[i][column].number))
			most = fmax(most, fabs(t->rows.at[i][column].number));
	begin_svg(out, t->rows.count * ROW + 4, t->name);
	for (int i = 0; i < t->rows.count; i++) {
		const struct report_cell *row = t->rows.at[i];
		double share = fabs(row[column].number) / (most > 0 ? most : 1);

		fprintf(out, "<text x=\"0\" y=\"%d\">", i * ROW + ROW - 5);
		write_short(out, row_name(t, row));
		fputs("</text>", out);
		write_bar(out, "is", i * ROW + 2, isfinite(share) ? share : 0);
		write_number(out, t->columns[column], row[column].number);
		for (int k = column + 1; k < t->column_count; k++)
			if (row[k].text) {
				fputs(", ", out);
				write_text(out, row[k].text);
			}
		fputs("</text>\n", out);
	}
	fputs("</svg>\n", out);
}

enum { PLOT_LEFT = 70, PLOT_TOP = 32, PLOT_HEIGHT = 260, PLOT_WIDTH = 480 };

struct plot {
	const struct report_table *table;
	int x, y; /* columns */
	double low[2], high[2];
};

static void find_range(struct plot *p, int axis, int column)
{
	p->low[axis] = INFINITY;
	p->high[axis] = -INFINITY;
	for (int i = 0; i < p->table->rows.count; i++) {
		double v = p->table->rows.at[i][column].number;

		if (isfinite(v)) {
			p->low[axis] = fmin(p->low[axis], v);
			p->high[axis] = fmax(p->high[axis], v);
		}
	}
	if (!(p->high[axis] > p->low[axis])) {
		p->low[axis] = isfinite(p->low[axis]) ? p->low[axis] - 0.5 : 0;
		p->high[axis] = p->low[axis] + 1;
	}
}

static double place_x(const struct plot *p, double v)
{
	return PLOT_LEFT + (v - p->low[0]) / (p->high[0] - p->low[0]) * PLOT_WIDTH;
}

static double place_y(const struct plot *p, double v)
{
	return PLOT_TOP + (p->high[1] - v) / (p->high[1] - p->low[1]) * PLOT_HEIGHT;
}

static void draw_axes(FILE *out, const struct plot *p)
{
	for (int i = 0; i <= 4; i++) {
		double x = p->low[0] + (p->high[0] - p->low[0]) * i / 4;
		double y = p->low[1] + (p->high[1] - p->low[1]) * i / 4;

		fprintf(out,
			"<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
			"<text class=\"soft\" x=\"0\" y=\"%.1f\">%.4g</text>"
			"<text class=\"soft\" x=\"%.1f\" y=\"%d\" "
			"text-anchor=\"middle\">%.3g</text>\n",
			PLOT_LEFT, PLOT_LEFT + PLOT_WIDTH, place_y(p, y), place_y(p, y),
			place_y(p, y) + 4, y, place_x(p, x), PLOT_TOP + PLOT_HEIGHT + 18, x);
	}
	fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", PLOT_LEFT + PLOT_WIDTH / 2,
		PLOT_TOP + PLOT_HEIGHT + 36);
	write_words(out, p->table->columns[p->x]);
	fputs("</text><text x=\"0\" y=\"11\">", out);
	write_words(out, p->table->columns[p->y]);
	fputs("</text>\n", out);
}

/* Rows from `first` on that have its name: a line and its entry in the legend. The row after it. */
static int draw_line(FILE *out, const struct plot *p, int first, int number)
{
	const char *name = row_name(p->table, p->table->rows.at[first]);
	int i = first, legend = PLOT_TOP + 20 * number + 10;

	fprintf(out,
		"<polyline fill=\"none\" style=\"stroke:var(--c%d)\" stroke-width=\"2\" points=\"",
		number % 4);
	for (; i < p->table->rows.count && !strcmp(name, row_name(p->table, p->table->rows.at[i]));
	     i++) {
		double x = p->table->rows.at[i][p->x].number, y = p->table->rows.at[i][p->y].number;

		if (isfinite(x) && isfinite(y))
			fprintf(out, "%.1f,%.1f ", place_x(p, x), place_y(p, y));
	}
	fprintf(out,
		"\"/><line style=\"stroke:var(--c%d)\" stroke-width=\"2\" x1=\"%d\" x2=\"%d\" "
		"y1=\"%d\" y2=\"%d\"/><text x=\"%d\" y=\"%d\">",
		number % 4, PLOT_LEFT + PLOT_WIDTH + 20, PLOT_LEFT + PLOT_WIDTH + 44, legend,
		legend, PLOT_LEFT + PLOT_WIDTH + 50, legend + 4);
	write_text(out, name);
	fputs("</text>\n", out);
	return i;
}

static void draw_curve(FILE *out, const struct report_table *t)
{
	struct plot p = {.table = t, .x = 1, .y = t->column_count - 1};
	int number = 0;

	find_range(&p, 0, p.x);
	find_range(&p, 1, p.y);
	begin_svg(out, PLOT_TOP + PLOT_HEIGHT + 44, t->name);
	draw_axes(out, &p);
	for (int i = 0; i < t->rows.count;)
		i = draw_line(out, &p, i, number++);
	fputs("</svg>\n", out);
}

/* ---- sections ---- */

static void write_facts(FILE *out, const struct report_section *s)
{
	fputs("<table>\n", out);
	for (int i = 0; i < s->facts.count; i++) {
		const struct report_fact *f = &s->facts.at[i];

		if (f->kind == REPORT_CHANGE)
			continue;
		fputs("<tr><th>", out);
		write_words(out, f->name);
		fputs("</th><td>", out);
		if (f->kind == REPORT_TEXT)
			write_text(out, f->text);
		else
			write_number(out, f->name, f->number);
		fputs("</td></tr>\n", out);
	}
	fputs("</table>\n", out);
}

static void write_table(FILE *out, const struct report_table *t)
{
	fputs("<div class=\"grid\"><table>\n<tr>", out);
	for (int i = 0; i < t->column_count; i++) {
		fputs("<th>", out);
		write_words(out, t->columns[i]);
		fputs("</th>", out);
	}
	fputs("</tr>\n", out);
	for (int i = 0; i < t->rows.count; i++) {
		fputs("<tr>", out);
		for (int k = 0; k < t->column_count; k++) {
			fputs("<td>", out);
			if (t->rows.at[i][k].text)
				write_text(out, t->rows.at[i][k].text);
			else
				write_number(out, t->columns[k], t->rows.at[i][k].number);
			fputs("</td>", out);
		}
		fputs("</tr>\n", out);
	}
	fputs("</table></div>\n", out);
}

static void write_section(FILE *out, const struct report_section *s)
{
	fputs("<h2>", out);
	write_text(out, s->title);
	fputs("</h2>\n", out);
	draw_changes(out, s);
	write_facts(out, s);
	for (int i = 0; i < s->tables.count; i++) {
		const struct report_table *t = s->tables.at[i];

		if (!t->rows.count)
			continue;
		fputs("<h3>", out);
		write_words(out, t->name);
		fputs("</h3>\n", out);
		if (t->form == REPORT_BARS)
			draw_bars(out, t);
		else if (t->form == REPORT_CURVE)
			draw_curve(out, t);
		else
			write_table(out, t);
	}
}

bool report_html(FILE *out, void *self)
{
	const struct report *r = self;

	fprintf(out, "%s<title>hone report</title>\n</head>\n<body>\n<h1>hone report</h1>\n", head);
	for (int i = 0; i < r->sections.count; i++)
		write_section(out, r->sections.at[i]);
	fputs("</body>\n</html>\n", out);
	return true;
}
