/* passes.c: hone passes: the table of passes and the default order. */
#include "cli/commands.h"
#include "cli/json.h"

#include "passes/passes.h"

static const char *tolerance(enum pass_tolerance t)
{
	return t == PASS_EXACT ? "exact" : t == PASS_REASSOCIATES ? "reassociates" : "lossy";
}

static void print_passes(bool markdown)
{
	if (markdown)
		printf("# Passes\n\nMade by `hone passes --markdown`; `./dev gates` checks that it "
		       "is fresh.\n\n| pass | results | what it does |\n|---|---|---|\n");
	for (const struct pass *p = pass_table; p->name; p++)
		printf(markdown ? "| %s | %s | %s |\n" : "  %-22s %-13s %s\n", p->name,
		       tolerance(p->tolerance), p->summary);
	printf(markdown ? "\nThe default pipeline: " : "\ndefault pipeline: ");
	for (int i = 0; default_pipeline[i]; i++)
		printf("%s%s", i ? ", " : "", default_pipeline[i]);
	printf(markdown ? ".\n" : "\n");
}

static void print_json(void)
{
	printf("{\"passes\":[");
	for (const struct pass *p = pass_table; p->name; p++) {
		printf("%s{", p == pass_table ? "" : ",");
		json_field(true, "name", p->name);
		json_field(false, "results", tolerance(p->tolerance));
		json_field(false, "summary", p->summary);
		printf("}");
	}
	printf("],\"default\":[");
	for (int i = 0; default_pipeline[i]; i++) {
		printf("%s", i ? "," : "");
		json_text(default_pipeline[i]);
	}
	printf("]}\n");
}

int command_passes(int argc, char **argv)
{
	struct arena a = {0};
	struct diag d = {0};
	struct list rest = {0};
	bool markdown = false, json = false;
	const struct option own[] = {
		{"markdown", OPTION_FLAG, &markdown, NULL, "as docs/passes.md"},
		{"json", OPTION_FLAG, &json, NULL, "machine-readable output"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed =
		options_parse(command_row("passes"), argc, argv, own, NULL, NULL, &rest, &a, &d);
	int status;

	if (parsed == PARSED_OK && json)
		print_json();
	else if (parsed == PARSED_OK)
		print_passes(markdown);
	diag_print(&d, stderr, false);
	status = diag_exit_status(&d);
	diag_reset(&d);
	arena_free(&a);
	return status;
}
