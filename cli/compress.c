/* compress.c: hone compress: what the passes made of a model, as ONNX. */
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/session.h"

#include "frontend/export.h"

#include <inttypes.h>

static bool write_pieces(FILE *out, void *self)
{
	const struct exported *e = self;

	for (int i = 0; i < e->pieces.count; i++)
		if (fwrite(e->pieces.at[i].data, 1, e->pieces.at[i].size, out) !=
		    e->pieces.at[i].size)
			return false;
	return true;
}

static void print_result(const struct session *s, const struct exported *e, const char *output)
{
	int64_t bytes = 0;

	for (int i = 0; i < e->pieces.count; i++)
		bytes += (int64_t)e->pieces.at[i].size;
	if (s->json) {
		printf("{");
		json_field(true, "output", output);
		printf(",\"bytes\":%" PRId64 ",\"nodes\":%d,\"opset\":%" PRId64 "}\n", bytes,
		       e->node_count, e->opset);
	} else {
		printf("%s: %" PRId64 " bytes, %d nodes, opset %" PRId64 "\n", output, bytes,
		       e->node_count, e->opset);
	}
}

static bool compress(struct session *s, const char *output)
{
	struct exported e;

	if (!output)
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"where to write? Give -o FILE.onnx");
	if (s->early_exit)
		return diag_add(
			&s->diag, DIAG_USAGE, (struct loc){0},
			"ONNX cannot express early exits: --early-exit is for hone compile");
	if (!s->passes)
		s->passes = pipeline_for_export(&s->arena);
	if (!session_prepare(s) || !export_model(s->graph, &s->arena, &e, &s->diag) ||
	    !output_write(output, write_pieces, &e, &s->diag))
		return false;
	print_result(s, &e, output);
	return true;
}

int command_compress(int argc, char **argv)
{
	struct session s = {0};
	const char *output = NULL;
	const struct option own[] = {{"o", OPTION_TEXT, &output, "FILE.onnx", "the output"},
				     {NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed = session_parse(
		&s, command_row("compress"), argc, argv, own,
		"What ONNX has no operators for is an error that names all such nodes.\n"
		"docs/compress.md teaches the use.");
	bool ok = parsed == PARSED_OK && compress(&s, output);

	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
