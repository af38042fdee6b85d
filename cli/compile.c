/* compile.c: hone compile. */
#include "backend/signals.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"

#include "ir/text.h"
#include "runtime/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EMIT_IR = EMIT_HEADER + 1 };

static const struct {
	const char *name, *suffix;
	int kind;
} kinds[] = {{"so", ".so", EMIT_SO},     {"obj", ".o", EMIT_OBJ},       {"asm", ".s", EMIT_ASM},
	     {"llvm", ".ll", EMIT_LLVM}, {"header", ".h", EMIT_HEADER}, {"ir", ".hir", EMIT_IR},
	     {"exe", "", EMIT_EXE}};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* From --emit, else from the output's suffix; a name without one is an executable. -1: reported. */
static int find_kind(const char *emit, const char *output, struct diag *d)
{
	const char *base = strrchr(output, '/') ? strrchr(output, '/') + 1 : output;

	for (int i = 0; emit && i < KINDS; i++)
		if (!strcmp(emit, kinds[i].name))
			return kinds[i].kind;
	if (emit) {
		diag_add(d, DIAG_USAGE, (struct loc){0},
			 "--emit %s: expected so, exe, obj, asm, llvm, ir or header", emit);
		return -1;
	}
	for (int i = 0; i < KINDS - 1; i++) {
		size_t n = strlen(base), m = strlen(kinds[i].suffix);

		if (n > m && !strcmp(base + n - m, kinds[i].suffix))
			return kinds[i].kind;
	}
	if (!strchr(base, '.'))
		return EMIT_EXE;
	diag_add(d, DIAG_USAGE, (struct loc){0},
		 "%s: its suffix says no kind of output; add --emit so|exe|obj|asm|llvm|ir|header",
		 output);
	return -1;
}

/* Small constants stand in the text, big ones in OUTPUT.bin beside it. Both are written under temporary names. */
static bool write_ir(struct session *s, const char *output)
{
	const char *base = strrchr(output, '/') ? strrchr(output, '/') + 1 : output;
	const char *side_path = arena_printf(&s->arena, "%s.bin", output);
	const char *text_new = arena_printf(&s->arena, "%s.new", output),
		   *side_new = arena_printf(&s->arena, "%s.new", side_path);
	struct text_side side = {.name = arena_printf(&s->arena, "%s.bin", base),
				 .out = fopen(side_new, "wb")};
	FILE *text = fopen(text_new, "w");
	bool ok = text && side.out, side_made = false;

	if (ok) {
		graph_print(s->graph, text, &side);
		ok = !ferror(text) && !ferror(side.out);
	}
	if (text && fclose(text))
		ok = false;
	if (side.out && fclose(side.out))
		ok = false;
	if (signals_waiting()) {
		ok = false;
		errno = EINTR;
	}
	if (ok && side.offset)
		ok = side_made = !rename(side_new, side_path);
	if (ok && !rename(text_new, output)) {
		unlink(side_new);
		return true;
	}
	diag_add(&s->diag, DIAG_FILE, (struct loc){.file = output}, "cannot write: %s",
		 strerror(errno));
	unlink(text_new);
	unlink(side_made ? side_path : side_new);
	return false;
}

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u ^ h >> 29; }

/* A hash of the model's bytes, eight at a time, and of the flags: names what a library was made from. */
static const char *hash_of(struct session *s, int argc, char **argv)
{
	uint64_t h = 0xcbf29ce484222325u, words[8192];
	FILE *f = fopen(s->path, "rb");
	size_t n;

	while (f && (n = fread(words, 1, sizeof(words), f)) > 0) {
		memset((char *)words + n, 0, -n % 8);
		for (size_t i = 0; i < (n + 7) / 8; i++)
			h = mix(h, words[i]);
		h = mix(h, n);
	}
	if (f)
		fclose(f);
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], s->path) && strcmp(argv[i], "-o") && strcmp(argv[i - 1], "-o"))
			for (const char *c = argv[i]; *c; c++)
				h = mix(h, (unsigned char)*c);
	return arena_printf(&s->arena, "%016" PRIx64, h);
}

static void print_report(const struct session *s, const char *output,
			 const struct compile_report *r)
{
	if (!s->json)
		return;
	printf("{");
	json_field(true, "output", output);
	json_field(false, "cpu", s->targets.spec);
	printf(",\"bytes\":%" PRId64 ",\"weight_bytes\":%" PRId64 ",\"object_bytes\":%" PRId64
	       ",\"kernels\":%d,\"functions\":%d,\"layout_ms\":%.1f,\"emit_ms\":%.1f,\"link_ms\":%."
	       "1f}\n",
	       r->file_bytes, r->weight_bytes, r->code_bytes, r->kernels, r->functions,
	       r->layout_ms, r->emit_ms, r->link_ms);
}

static const char *pipeline_text(struct session *s)
{
	const char *out = "";

	if (s->passes)
		return s->passes;
	for (int i = 0; default_pipeline[i]; i++)
		out = arena_printf(&s->arena, "%s%s%s", out, i ? "," : "", default_pipeline[i]);
	return out;
}

static bool compile(struct session *s, struct compile_options *o, const char *emit,
		    const char *output, int argc, char **argv)
{
	struct compile_report report;
	sigset_t before;
	int kind;
	bool ok;

	if (!output)
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"where to write? Give -o FILE");
	kind = find_kind(emit, output, &s->diag);
	if (kind < 0 || !session_prepare(s))
		return false;
	if (kind == EMIT_IR) {
		signals_hold(&before);
		ok = write_ir(s, output);
		signals_release(&before);
		return ok;
	}
	o->kind = (enum emit_kind)kind;
	o->targets = &s->targets;
	o->passes = pipeline_text(s);
	o->hash = hash_of(s, argc, argv);
	if (!compile_graph(s->graph, o, output, &report, &s->diag))
		return false;
	print_report(s, output, &report);
	return true;
}

int command_compile(int argc, char **argv)
{
	struct session s = {.many_levels = true};
	struct compile_options o = {0};
	const char *output = NULL, *emit = NULL;
	const struct option own[] = {
		{"o", OPTION_TEXT, &output, "FILE", "the output; its suffix says the kind"},
		{"emit", OPTION_TEXT, &emit, "KIND", "so, exe, obj, asm, llvm, ir or header"},
		{"name", OPTION_TEXT, &o.name, "NAME",
		 "model name in hone_model_NAME (default: from the output)"},
		{"prefix", OPTION_TEXT, &o.prefix, "TEXT", "put before every global symbol"},
		{"linker", OPTION_TEXT, &o.linker, "PROGRAM",
		 "instead of the one found when hone was built"},
		{"runtime", OPTION_TEXT, &o.runtime, "none|FILE",
		 "none: a freestanding object; or libhone_runtime.a of another --target"},
		{"save-temps", OPTION_FLAG, &o.save_temps, NULL,
		 "keep the objects beside the output"},
		{"keep-symbols", OPTION_FLAG, &o.keep_symbols, NULL,
		 "do not strip: perf shows kernels by the names that bench --profile gives"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed =
		session_parse(&s, command_row("compile"), argc, argv, own,
			      "Dims stay symbolic unless fixed. The result needs nothing of hone, "
			      "LLVM or ONNX where it runs.\n"
			      "  hone compile model.onnx -o libmodel.so\n"
			      "  hone compile model.onnx -o model --emit exe --cpu x86-64-v3\n"
			      "  hone compile model.onnx -o libmodel.so --cpu x86-64-v2,x86-64-v3,"
			      "x86-64-v4");
	bool ok = parsed == PARSED_OK && compile(&s, &o, emit, output, argc, argv);

	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
