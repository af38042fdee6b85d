/* dump.c: hone dump: the IR after passes, as text, as a drawing, as kernels. */
#include "cli/commands.h"
#include "cli/session.h"

#include "ir/text.h"

#include <string.h>

struct dump_options {
	const char *after, *output;
	bool dot, kernels;
	FILE *out;
};

static void observe(void *self, const char *pass, const struct graph *g, int changes, double ms)
{
	const struct dump_options *o = self;

	(void)ms;
	if (strcmp(o->after, "all"))
		return;
	fprintf(o->out, "# after %s (%d changes)\n", pass, changes);
	graph_print(g, o->out, NULL);
	fprintf(o->out, "\n");
}

static bool dump(struct session *s, struct dump_options *o)
{
	bool all;

	if (!o->after)
		o->after = "";
	all = !strcmp(o->after, "all");
	if (!strcmp(o->after, "import"))
		s->passes = "";
	else if (*o->after && !all)
		s->stop_after = o->after;
	s->observe = observe;
	s->observe_self = o;
	if (!session_prepare(s))
		return false;
	if (o->kernels)
		return dump_kernels(s->graph, &s->target, o->out, &s->diag);
	if (o->dot)
		graph_dot(s->graph, o->out);
	else if (!all)
		graph_print(s->graph, o->out, NULL);
	return true;
}

int command_dump(int argc, char **argv)
{
	struct session s = {0};
	struct dump_options o = {.out = stdout};
	const struct option own[] = {
		{"after", OPTION_TEXT, &o.after, "PASS|all|import",
		 "the IR after this pass, after each that changed something, or as read"},
		{"dot", OPTION_FLAG, &o.dot, NULL, "as a Graphviz graph"},
		{"kernels", OPTION_FLAG, &o.kernels, NULL, "the kernels with their plans"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed = session_parse(&s, command_row("dump"), argc, argv, own,
					   "Without options: the IR after the whole pipeline.");
	bool ok = parsed == PARSED_OK && dump(&s, &o);

	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
