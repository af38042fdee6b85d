/* check.c: hone check: compiled results against given ones, or against the interpreter's. */
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/tensors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check_options {
	const char *data;
	double rtol, atol;
	int64_t seed;
	bool interpret;
};

/* DIR/input_0.pb, or .npy. */
static const char *data_path(struct session *s, const char *folder, const char *kind, int i)
{
	const char *pb = arena_printf(&s->arena, "%s/%s_%d.pb", folder, kind, i),
		   *npy = arena_printf(&s->arena, "%s/%s_%d.npy", folder, kind, i);

	return access(npy, R_OK) ? pb : npy;
}

static bool read_all(struct session *s, const char *folder, const char *kind, int count,
		     struct tensors *out)
{
	out->count = count;
	out->at = calloc((size_t)count + 1, sizeof(*out->at));
	for (int i = 0; i < count; i++)
		if (!tensor_read(data_path(s, folder, kind, i), &s->arena, &out->at[i], &s->diag))
			return false;
	return true;
}

static bool run_native(struct session *s, const struct tensors *in, struct tensors *out)
{
	hone_options options = {.size = sizeof(options), .threads = 1, .allocate = output_allocate};
	hone_context *c;
	char text[512];
	bool ok;

	if (hone_context_create(s->compiled, &options, &c, text, sizeof(text)) != HONE_OK)
		return diag_add(&s->diag, DIAG_DIFFER, (struct loc){0}, "%s", text);
	ok = hone_run(c, in->at, out->at) == HONE_OK ||
	     diag_add(&s->diag, DIAG_DIFFER, (struct loc){.file = s->path}, "%s", hone_error(c));
	hone_context_destroy(c);
	return ok;
}

/* The interpreter runs the graph as imported, before any pass. */
static bool run_interpreter(struct session *s, const struct tensors *in, struct tensors *out)
{
	struct session plain = session_again(s);
	struct engine_program *p = NULL;
	bool ok;

	if (is_library(s->path))
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"a library has no graph to interpret: give --data DIR");
	ok = session_load(&plain) &&
	     (p = interpreter.compile(&interpreter, plain.graph, 0, NULL, &plain.diag)) &&
	     interpreter.run(p, in->at, out->at, NULL, NULL, &plain.diag);
	if (p)
		interpreter.release(p);
	if (!ok)
		diag_add(&s->diag, plain.diag.worst ? plain.diag.worst : DIAG_INTERNAL,
			 (struct loc){0}, "the interpreter did not run: %s",
			 plain.diag.count ? plain.diag.messages[0].text : "no reason given");
	plain.diag.count = plain.diag.errors = 0;
	session_end(&plain, 0);
	return ok;
}

static bool compare(struct session *s, const struct check_options *o, const struct tensors *actual,
		    const struct tensors *expected)
{
	bool ok = true;

	for (int i = 0; i < expected->count; i++)
		ok &= tensors_match(s->compiled->outputs[i].name, &actual->at[i], &expected->at[i],
				    o->rtol, o->atol, &s->diag);
	return ok;
}

static bool check(struct session *s, const struct check_options *o)
{
	struct tensors in = {0}, actual = {0}, expected = {0};
	bool ok = session_compile(s);

	if (ok && o->data) {
		ok = read_all(s, o->data, "input", s->compiled->input_count, &in) &&
		     read_all(s, o->data, "output", s->compiled->output_count, &expected);
	} else if (ok) {
		expected.count = s->compiled->output_count;
		expected.at = calloc((size_t)expected.count + 1, sizeof(*expected.at));
		ok = inputs_random(s->compiled, o->seed, &s->dims, &in, &s->diag) &&
		     run_interpreter(s, &in, &expected);
	}
	if (ok) {
		actual.count = s->compiled->output_count;
		actual.at = calloc((size_t)actual.count + 1, sizeof(*actual.at));
		ok = o->interpret ? run_interpreter(s, &in, &actual) : run_native(s, &in, &actual);
	}
	ok = ok && compare(s, o, &actual, &expected);
	tensors_free(&in);
	tensors_free(&actual);
	tensors_free(&expected);
	return ok;
}

int command_check(int argc, char **argv)
{
	struct session s = {0};
	struct check_options o = {.rtol = 1e-3, .atol = 1e-7, .seed = 1};
	const struct option own[] = {
		{"data", OPTION_TEXT, &o.data, "DIR",
		 "input_0.pb.. and output_0.pb.. (or .npy); without it: random inputs, "
		 "interpreted"},
		{"rtol", OPTION_REAL, &o.rtol, "X",
		 "relative tolerance (default 1e-3, as ONNX's own tests)"},
		{"atol", OPTION_REAL, &o.atol, "X", "absolute tolerance (default 1e-7)"},
		{"seed", OPTION_INT, &o.seed, "N", "for random inputs (default 1)"},
		{"interpret", OPTION_FLAG, &o.interpret, NULL,
		 "check the interpreter instead of compiled code"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed = session_parse(&s, command_row("check"), argc, argv, own,
					   "Exit status 0: all outputs match, 1: values differ.");
	bool ok = parsed == PARSED_OK && check(&s, &o);

	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
