/* golden: runs the tests that are text files, NAME.hir in tests/ir:
 *
 *	# RUN: parse            prints what was read; with pass names (group,dead_code): after those passes;
 *	...                     `kernels`: the kernels of the function's nodes
 *	# EXPECT
 *	...                     the text wanted; without this part, the input itself apart from comments
 *
 * Every graph must pass the verifier and read back to the same text. A test of errors has `# ERROR: text`
 * at the end of the line that is wrong, or alone on the line after it.
 *
 * golden [--update] FILE...: --update writes what came out after # EXPECT. */
#include "ir/lower.h"
#include "ir/text.h"
#include "ir/verify.h"
#ifdef HONE_PASSES
#include "passes/passes.h"
#endif

#include <stdlib.h>
#include <string.h>

enum verdict { PASSED, FAILED, SKIPPED };

struct test {
	const char *path;
	char *text;         /* the whole file */
	size_t input_size;  /* up to the line # EXPECT */
	const char *expect; /* NULL: the input */
	const char *run;
	struct arena arena;
	struct diag diag;
};

static char *read_file(const char *path)
{
	FILE *in = fopen(path, "rb");
	char *text = NULL;
	size_t size = 0, n;

	if (!in)
		return NULL;
	do {
		text = realloc(text, size + 65537);
		if (!text)
			exit(70);
		n = fread(text + size, 1, 65536, in);
		size += n;
	} while (n);
	text[size] = '\0';
	fclose(in);
	return text;
}

static enum verdict fail(struct test *t, const char *why, const char *got)
{
	printf("FAIL %s: %s\n%s", t->path, why, got ? got : "");
	diag_print(&t->diag, stdout, false);
	return FAILED;
}

/* ---- the text wanted ---- */

static const char *expected(struct test *t)
{
	char *out, *to;
	const char *end = t->text + t->input_size;

	if (t->expect)
		return t->expect;
	out = to = arena_alloc(&t->arena, t->input_size + 2);
	for (const char *line = t->text; line < end;) {
		const char *next = memchr(line, '\n', (size_t)(end - line));

		next = next ? next + 1 : end;
		if (*line != '#' && *line != '\n') {
			memcpy(to, line, (size_t)(next - line));
			to += next - line;
		}
		line = next;
	}
	return out;
}

static bool update(const struct test *t, const char *got)
{
	FILE *out = fopen(t->path, "wb");

	if (!out)
		return false;
	fwrite(t->text, 1, t->input_size, out);
	fprintf(out, "# EXPECT\n%s", got);
	return fclose(out) == 0;
}

/* ---- errors ---- */

static bool was_reported(const struct test *t, int line, const char *text, size_t length)
{
	for (int i = 0; i < t->diag.count; i++) {
		const struct diag_message *m = &t->diag.messages[i];
		const char *wanted = strndup(text, length);
		bool found = wanted && strstr(m->text, wanted) &&
			     (m->loc.line == line || m->loc.line == line - 1);

		free((void *)wanted);
		if (found)
			return true;
	}
	return false;
}

/* Whether the file has # ERROR: lines; each must have been reported. */
static bool check_errors(struct test *t, bool *any)
{
	const char *at = t->text;
	int line = 1;
	bool ok = true;

	*any = false;
	for (; *at; line++) {
		const char *end = strchr(at, '\n'), *mark;

		end = end ? end : at + strlen(at);
		mark = strstr(at, "# ERROR: ");
		if (mark && mark < end) {
			*any = true;
			if (!was_reported(t, line, mark + 9, (size_t)(end - mark - 9))) {
				printf("FAIL %s:%d: not reported: %.*s\n", t->path, line,
				       (int)(end - mark - 9), mark + 9);
				ok = false;
			}
		}
		at = *end ? end + 1 : end;
	}
	return ok;
}

/* ---- running ---- */

/* Samples for passes that measure: seeded random numbers, symbolic sizes are 4. */
static bool make_samples(struct test *t, const struct graph *g, struct calibration *k)
{
	enum { SAMPLES = 200 };
	hone_tensor *in = ARENA_ARRAY(&t->arena, hone_tensor, g->body->param_count + 1);

	k->engine = &interpreter;
	k->inputs = in;
	for (int i = 0; i < g->body->param_count; i++) {
		const struct type *type = &g->body->params[i]->type;
		struct tensor random = {.kind = TENSOR_RANDOM, .seed = (uint64_t)i + 1};
		int64_t count = 1;

		in[i].dtype = (int32_t)type->dtype;
		in[i].rank = type->rank;
		for (int j = 0; j < type->rank; j++) {
			in[i].dims[j] = dim_is_const(type->dims[j]) ? type->dims[j]->value
					: j                         ? 4
								    : 1;
			in[i].dims[j] *= j ? 1 : SAMPLES;
			count *= in[i].dims[j];
		}
		in[i].size = dtype_bytes(type->dtype, count);
		in[i].data =
			(void *)(uintptr_t)tensor_bytes(&random, type->dtype, count, &t->arena);
	}
	return calibration_check(k, g, &t->diag);
}

static bool run_pass(struct test *t, struct graph *g, const char *name, size_t length, bool *known)
{
#ifdef HONE_PASSES
	struct arena scratch = {0};
	const struct pass *pass = pass_by_name(name, length);
	struct calibration samples = {0};
	struct pass_context c = {
		.graph = g, .scratch = &scratch, .engine = &interpreter, .diag = &t->diag};
	bool ok;

	*known = pass != NULL;
	if (pass)
		c.argument = pass_argument(arena_printf(&t->arena, "%.*s", (int)length, name), pass,
					   &t->arena);
	if (c.argument && (!strncmp(name, "early_exit", 10) || !strncmp(name, "quantize", 8))) {
		c.calibration = &samples;
		if (!make_samples(t, g, &samples))
			return false;
	}
	ok = pass && pass->run(&c) && graph_verify(g, DIAG_INTERNAL, &t->diag);
	arena_free(&scratch);
	return ok;
#else
	(void)t, (void)g, (void)name, (void)length;
	*known = false;
	return false;
#endif
}

static bool run_passes(struct test *t, struct graph *g, bool *known)
{
	*known = true;
	if (!strcmp(t->run, "parse") || !strcmp(t->run, "verify") || !strcmp(t->run, "kernels"))
		return true;
	for (const char *at = t->run; *at;) {
		size_t length = strcspn(at, ",");

		if (!run_pass(t, g, at, length, known))
			return false;
		at += length + (at[length] == ',');
	}
	return true;
}

/* The kernels of the nodes that have one. */
static const char *kernels_text(struct test *t, struct graph *g)
{
	const char *out = "";

	for (const struct node *n = g->body->first; n; n = n->next) {
		struct kernel *k;

		if (!(op_table[n->op].flags & OP_LOWERS))
			continue;
		k = lower_node(g, n, &t->arena, &t->diag);
		if (!k)
			return NULL;
		out = arena_printf(&t->arena, "%s%s", out, kernel_text(&t->arena, k, false));
	}
	return out;
}

/* A graph's text must read back to itself. */
static bool round_trips(struct test *t, const char *text, const char **again)
{
	struct arena a = {0};
	struct graph *g = graph_parse(text, strlen(text), t->path, &a, &t->diag);
	bool same;

	*again = g ? graph_text(g, &t->arena) : "";
	same = g && !strcmp(text, *again) && graph_verify(g, DIAG_INTERNAL, &t->diag);
	arena_free(&a);
	return same;
}

static enum verdict run(struct test *t, bool updating)
{
	const char *got, *again;
	struct graph *g = graph_parse(t->text, t->input_size, t->path, &t->arena, &t->diag);
	bool errors, known = true,
		     ok = g && graph_verify(g, DIAG_FILE, &t->diag) && run_passes(t, g, &known);

	if (!known) {
		printf("skip %s: no pass of %s\n", t->path, t->run);
		return SKIPPED;
	}
	if (!check_errors(t, &errors))
		return fail(t, "the errors are", NULL);
	if (errors)
		return ok ? fail(t, "no error", NULL) : PASSED;
	if (!ok)
		return fail(t, "does not run", NULL);
	got = graph_text(g, &t->arena);
	if (!round_trips(t, got, &again))
		return fail(t, "printed and read back, it is another text", again);
	if (!strcmp(t->run, "kernels"))
		got = kernels_text(t, g);
	if (!got)
		return fail(t, "does not lower", NULL);
	if (updating && strcmp(got, expected(t)))
		return update(t, got) ? PASSED : FAILED;
	return strcmp(got, expected(t)) ? fail(t, "the text is", got) : PASSED;
}

static enum verdict test_file(const char *path, bool updating)
{
	struct test t = {.path = path, .text = read_file(path), .run = "parse"};
	const char *mark = t.text ? strstr(t.text, "# EXPECT\n") : NULL;
	enum verdict v;

	if (!t.text) {
		printf("FAIL %s: cannot be read\n", path);
		return FAILED;
	}
	t.input_size = mark ? (size_t)(mark - t.text) : strlen(t.text);
	t.expect = mark ? mark + 9 : NULL;
	if (!strncmp(t.text, "# RUN: ", 7))
		t.run = arena_printf(&t.arena, "%.*s", (int)strcspn(t.text + 7, "\n"), t.text + 7);
	v = run(&t, updating);
	diag_reset(&t.diag);
	arena_free(&t.arena);
	free(t.text);
	return v;
}

int main(int argc, char **argv)
{
	int count[3] = {0};
	bool updating = argc > 1 && !strcmp(argv[1], "--update");

	for (int i = updating ? 2 : 1; i < argc; i++)
		count[test_file(argv[i], updating)]++;
	printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
	return count[FAILED] != 0;
}
