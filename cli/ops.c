/* ops.c: hone ops: the tables of operators as text, Markdown (docs/ops.md is made by it) or JSON. */
#include "cli/commands.h"
#include "cli/json.h"

#include "frontend/import.h"

static void print_onnx(bool markdown)
{
	struct import_doc row;

	printf(markdown ? "## ONNX operators\n\n| operator | since opset | attributes | "
			  "|\n|---|---|---|---|\n"
			: "ONNX operators\n");
	for (int i = 0; import_doc_row(i, &row); i++) {
		const char *dot = *row.domain ? "." : "";

		if (markdown)
			printf("| %s%s%s | %d%s | %s | %s |\n", row.domain, dot, row.op, row.since,
			       row.until ? "-" : "", row.attrs ? row.attrs : "",
			       row.doc ? row.doc : "");
		else
			printf("  %s%s%-28s since %-3d %s\n", row.domain, dot, row.op, row.since,
			       row.doc ? row.doc : "");
	}
}

static void print_core(bool markdown)
{
	printf(markdown ? "\n## Core operators\n\n| operator | attributes | meaning "
			  "|\n|---|---|---|\n"
			: "\nCore operators (the graph IR)\n");
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_row *o = &op_table[i];

		printf(markdown ? "| %s | " : "  %-11s ", o->name);
		for (int k = 0; markdown && k < o->attr_count; k++)
			printf("%s%s", k ? ", " : "", o->attrs[k].name);
		printf(markdown ? " | %s |\n" : "%s\n", o->doc);
	}
}

static void print_json(void)
{
	struct import_doc row;

	printf("{\"onnx\":[");
	for (int i = 0; import_doc_row(i, &row); i++) {
		printf("%s{", i ? "," : "");
		json_field(true, "domain", row.domain);
		json_field(false, "op", row.op);
		json_field(false, "attributes", row.attrs ? row.attrs : "");
		json_field(false, "note", row.doc ? row.doc : "");
		printf(",\"since\":%d,\"until\":%d}", row.since, row.until);
	}
	printf("],\"core\":[");
	for (int i = 0; i < OP_COUNT; i++) {
		printf("%s{", i ? "," : "");
		json_field(true, "op", op_table[i].name);
		json_field(false, "meaning", op_table[i].doc);
		printf("}");
	}
	printf("]}\n");
}

int command_ops(int argc, char **argv)
{
	struct arena a = {0};
	struct diag d = {0};
	struct list rest = {0};
	bool markdown = false, json = false;
	const struct option own[] = {{"markdown", OPTION_FLAG, &markdown, NULL, "as docs/ops.md"},
				     {"json", OPTION_FLAG, &json, NULL, "machine-readable output"},
				     {NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed =
		options_parse(command_row("ops"), argc, argv, own, NULL, NULL, &rest, &a, &d);
	int status;

	if (parsed == PARSED_OK && json) {
		print_json();
	} else if (parsed == PARSED_OK) {
		if (markdown)
			printf("# Operators\n\nMade by `hone ops --markdown`; `./dev gates` checks "
			       "that it is fresh.\n\n");
		print_onnx(markdown);
		print_core(markdown);
	}
	diag_print(&d, stderr, false);
	status = diag_exit_status(&d);
	diag_reset(&d);
	arena_free(&a);
	return status;
}
