/* run.c: hone run. */
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/tensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void print_output(struct arena *a, const char *name, const hone_tensor *t)
{
	int64_t count = tensor_count(t);

	printf("%s: %s", name, tensor_type_text(a, t));
	for (int64_t i = 0; i < count && i < 8; i++)
		printf("%s%.7g", i ? ", " : " = [", tensor_number(t, i));
	puts(count > 8 ? ", ..]" : count ? "]" : "");
}

static int output_number(const hone_model *m, const char *name, size_t length)
{
	for (int i = 0; i < m->output_count; i++)
		if (strlen(m->outputs[i].name) == length &&
		    !memcmp(m->outputs[i].name, name, length))
			return i;
	return -1;
}

static bool write_outputs(struct session *s, const struct list *words, const hone_tensor *outputs)
{
	const hone_model *m = s->compiled;

	for (int i = 0; i < words->count; i++) {
		const char *word = words->at[i], *equals = strchr(word, '=');
		int number = equals ? output_number(m, word, (size_t)(equals - word)) : i;

		if (number < 0 || number >= m->output_count)
			return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
					"%s: the model has no such output (it has %d)", word,
					m->output_count);
		if (!tensor_write(equals ? equals + 1 : word, m->outputs[number].name,
				  &outputs[number], &s->diag))
			return false;
	}
	for (int i = 0; !words->count && i < m->output_count; i++)
		print_output(&s->arena, m->outputs[i].name, &outputs[i]);
	return true;
}

static bool set_params(struct session *s, hone_context *c, const struct list *params)
{
	for (int i = 0; i < params->count; i++) {
		const char *word = params->at[i], *equals = strchr(word, '=');
		const char *name =
			equals ? arena_printf(&s->arena, "%.*s", (int)(equals - word), word) : word;
		char *end = NULL;
		double value = equals ? strtod(equals + 1, &end) : 0;

		if (!equals || !*(equals + 1) || *end || hone_set_param(c, name, value) != HONE_OK)
			return diag_add(
				&s->diag, DIAG_USAGE, (struct loc){0},
				"--param %s: expected NAME=VALUE with a name of the model's", word);
	}
	return true;
}

struct run_options {
	struct list inputs, outputs, params;
	bool random;
	int64_t seed, threads;
};

static bool run(struct session *s, const struct run_options *o)
{
	hone_options options = {.size = sizeof(options),
				.threads = (uint32_t)o->threads,
				.allocate = output_allocate};
	struct tensors in = {0}, out = {0};
	hone_context *context = NULL;
	char text[512];
	bool ok;

	if (!session_compile(s))
		return false;
	ok = o->random ? inputs_random(s->compiled, o->seed, &s->dims, &in, &s->diag)
		       : inputs_read(s->compiled, &o->inputs, &s->arena, &in, &s->diag);
	if (ok &&
	    hone_context_create(s->compiled, &options, &context, text, sizeof(text)) != HONE_OK)
		ok = diag_add(&s->diag, DIAG_DIFFER, (struct loc){0}, "%s", text);
	out.count = s->compiled->output_count;
	out.at = calloc((size_t)out.count + 1, sizeof(*out.at));
	ok = ok && set_params(s, context, &o->params);
	if (ok && hone_run(context, in.at, out.at) != HONE_OK)
		ok = diag_add(&s->diag, DIAG_DIFFER, (struct loc){.file = s->path}, "%s",
			      hone_error(context));
	ok = ok && write_outputs(s, &o->outputs, out.at);
	hone_context_destroy(context);
	tensors_free(&in);
	tensors_free(&out);
	return ok;
}

int command_run(int argc, char **argv)
{
	struct session s = {0};
	struct run_options o = {.seed = 1, .threads = 1};
	const struct option own[] = {
		{"input", OPTION_LIST, &o.inputs, "FILE..",
		 "inputs in model order, or NAME=FILE (.npy, .pb)"},
		{"output", OPTION_LIST, &o.outputs, "FILE..",
		 "outputs in the same way; without it they are printed"},
		{"random", OPTION_FLAG, &o.random, NULL, "random inputs"},
		{"seed", OPTION_INT, &o.seed, "N", "for them (default 1)"},
		{"param", OPTION_LIST, &o.params, "NAME=VALUE..", "set parameters of the model"},
		{"threads", OPTION_INT, &o.threads, "N", "threads (default 1)"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed = session_parse(&s, command_row("run"), argc, argv, own, NULL);
	bool ok = parsed == PARSED_OK && run(&s, &o);

	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
