/* report.c: what the run found, for the terminal and for docs/conformance.md. The same results give the same text. */
#include "tests/conformance/conformance.h"

#include "ir/arena.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* One line with counts: an operator, a group of cases or a reason. */
struct row {
	const char *name;
	int counts[4]; /* by enum status */
};

struct rows {
	struct row *at;
	int count, room;
};

static void row_add(struct rows *rows, struct arena *a, const char *name, enum status status)
{
	int i = 0;

	while (i < rows->count && strcmp(rows->at[i].name, name))
		i++;
	if (i == rows->count) {
		struct row row = {.name = arena_text(a, name)};

		ARENA_PUSH(a, rows, row);
	}
	rows->at[i].counts[status]++;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct row *)x)->name, ((const struct row *)y)->name);
}

static int by_skips(const void *x, const void *y)
{
	int nx = ((const struct row *)x)->counts[STATUS_SKIPPED],
	    ny = ((const struct row *)y)->counts[STATUS_SKIPPED];

	return nx != ny ? ny - nx : by_name(x, y);
}

static void sort(struct rows *rows, int (*compare)(const void *, const void *))
{
	if (rows->count)
		qsort(rows->at, (size_t)rows->count, sizeof(*rows->at), compare);
}

int cases_with(const struct cases *all, enum status status)
{
	int n = 0;

	for (int i = 0; i < all->count; i++)
		n += all->at[i].outcome->status == status;
	return n;
}

static struct rows reasons(const struct cases *all, struct arena *a)
{
	struct rows rows = {0};

	for (int i = 0; i < all->count; i++)
		if (all->at[i].outcome->status == STATUS_SKIPPED)
			row_add(&rows, a, all->at[i].outcome->text, STATUS_SKIPPED);
	sort(&rows, by_skips);
	return rows;
}

void report_print(const struct cases *all, FILE *out)
{
	struct arena a = {0};
	struct rows rows = reasons(all, &a);

	if (rows.count)
		fprintf(out, "skipped before anything was compiled, because:\n");
	for (int i = 0; i < rows.count; i++)
		fprintf(out, "%5d  %s\n", rows.at[i].counts[STATUS_SKIPPED], rows.at[i].name);
	for (int i = 0; i < all->count; i++)
		if (all->at[i].outcome->status == STATUS_FAILED)
			fprintf(out, "failed: %s/%s: %s\n", all->at[i].group, all->at[i].name,
				all->at[i].outcome->text);
	arena_free(&a);
}

/* ---- the operators of a case ---- */

/* Whether the case is named after the operator: "test_reduce_sum_square_..." begins with ReduceSumSquare. The number
 * of letters that are equal, or 0. */
static size_t name_matches(const char *name, const char *op, size_t op_length)
{
	size_t n = 0;

	for (name += strlen("test_"); *name && n < op_length; name++) {
		if (*name == '_')
			continue;
		if (tolower((unsigned char)*name) != tolower((unsigned char)op[n]))
			return 0;
		n++;
	}
	return n == op_length ? n : 0;
}

/* A node test whose operator is expanded to simpler ones belongs to the operator: that of the case it expands. */
static const struct test_case *unexpanded(const struct cases *all, const struct test_case *t)
{
	const char *end = strstr(t->name, "_expanded");

	for (int i = 0; end && i < all->count; i++)
		if (strlen(all->at[i].name) == (size_t)(end - t->name) &&
		    !strncmp(all->at[i].name, t->name, (size_t)(end - t->name)) &&
		    !strcmp(all->at[i].group, t->group))
			return &all->at[i];
	return t;
}

static void add_operators(struct rows *rows, struct arena *a, const struct cases *all,
			  const struct test_case *t)
{
	const char *ops = unexpanded(all, t)->outcome->ops;
	const char *best = NULL;
	size_t best_length = 0;

	for (const char *at = ops; *at; at += strcspn(at, ","), at += *at == ',') {
		size_t length = strcspn(at, ","), match = name_matches(t->name, at, length);

		if (match > best_length) {
			best = at;
			best_length = match;
		}
	}
	if (best && !strcmp(t->group, "node")) {
		row_add(rows, a, arena_printf(a, "%.*s", (int)best_length, best),
			t->outcome->status);
		return;
	}
	for (const char *at = ops; *at; at += strcspn(at, ","), at += *at == ',')
		row_add(rows, a, arena_printf(a, "%.*s", (int)strcspn(at, ","), at),
			t->outcome->status);
}

/* ---- docs ---- */

static void print_table(const struct rows *rows, const char *what, FILE *out)
{
	fprintf(out, "| %s | passed | failed | skipped |\n| --- | ---: | ---: | ---: |\n", what);
	for (int i = 0; i < rows->count; i++)
		fprintf(out, "| %s | %d | %d | %d |\n", rows->at[i].name,
			rows->at[i].counts[STATUS_PASSED], rows->at[i].counts[STATUS_FAILED],
			rows->at[i].counts[STATUS_SKIPPED]);
	fprintf(out, "\n");
}

void report_write_docs(const struct cases *all, FILE *out)
{
	struct arena a = {0};
	struct rows groups = {0}, operators = {0}, why = reasons(all, &a);

	for (int i = 0; i < all->count; i++) {
		row_add(&groups, &a, all->at[i].group, all->at[i].outcome->status);
		add_operators(&operators, &a, all, &all->at[i]);
	}
	for (int i = 0; i < all->count; i++)
		row_add(&groups, &a, "all", all->at[i].outcome->status);
	sort(&operators, by_name);
	fprintf(out, "# Conformance\n\n"
		     "ONNX's backend tests (those of Debian's libonnx-testdata, ONNX 1.12), each "
		     "compiled to native code and\n"
		     "run, judged at ONNX's own tolerances. Written by `tests/conformance/run "
		     "--write-docs`; not edited by hand.\n\n"
		     "A case is skipped when the importer refuses its model (exit status 3 of the "
		     "command), before anything is\n"
		     "compiled, or when its data contradicts the types its own model declares; all "
		     "else that is not the\n"
		     "expected result counts as failed. bfloat16 results may be one unit in the "
		     "last place above the data,\n"
		     "which was cut off where hone rounds to nearest.\n\n");
	print_table(&groups, "cases", out);
	fprintf(out, "## By operator\n\nA node test counts for the operator it is named after, "
		     "also in its expanded form; any other\n"
		     "test for every operator in its model.\n\n");
	print_table(&operators, "operator", out);
	if (why.count)
		fprintf(out, "## Why cases are skipped\n\n| cases | reason |\n| ---: | --- |\n");
	for (int i = 0; i < why.count; i++)
		fprintf(out, "| %d | %s |\n", why.at[i].counts[STATUS_SKIPPED], why.at[i].name);
	for (int i = 0, first = 1; i < all->count; i++) {
		if (all->at[i].outcome->status != STATUS_FAILED)
			continue;
		fprintf(out, "%s- %s/%s: %s\n", first ? "\n## Failures\n\n" : "", all->at[i].group,
			all->at[i].name, all->at[i].outcome->text);
		first = 0;
	}
	arena_free(&a);
}
