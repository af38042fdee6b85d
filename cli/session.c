/* session.c: loading models for the subcommands. */
#include "cli/session.h"
#include "cli/calibrate.h"
#include "cli/measure.h"
#include "cli/report.h"

#include "ir/text.h"
#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_suffix(const char *path, const char *suffix)
{
	size_t n = strlen(path), m = strlen(suffix);

	return n >= m && !strcmp(path + n - m, suffix);
}

bool is_library(const char *path) { return has_suffix(path, ".so") || strstr(path, ".so."); }

/* Adds an argument of a pass to the list. Commas separate passes there, so the text's own become `;`. */
static void add_argument(struct session *s, const char *pass, const char *value)
{
	char *text = arena_printf(&s->arena, "%s=%s", pass, value);

	for (char *at = text; *at; at++)
		*at = *at == ',' ? ';' : *at;
	s->arguments = s->arguments ? arena_printf(&s->arena, "%s,%s", s->arguments, text) : text;
}

static bool read_pass_options(struct session *s)
{
	if (s->max_error != 0 && !s->quantize)
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"--max-error is for --quantize auto");
	if (s->winograd)
		add_argument(s, "winograd", s->winograd);
	if (s->prune)
		add_argument(s, "prune", s->prune);
	if (s->quantize)
		add_argument(s, "quantize",
			     s->max_error != 0 ? arena_printf(&s->arena, "%s,max-error=%.17g",
							      s->quantize, s->max_error)
					       : s->quantize);
	if (s->early_exit)
		add_argument(s, "early_exit", s->early_exit);
	return true;
}

/* Whether a pass that measures is asked for. */
static bool measures(const struct session *s)
{
	return s->prune || s->quantize || s->early_exit ||
	       (s->passes && (strstr(s->passes, "prune") || strstr(s->passes, "quantize") ||
			      strstr(s->passes, "early_exit")));
}

enum parsed session_parse(struct session *s, const struct command *c, int argc, char **argv,
			  const struct option *own, const char *more)
{
	const struct option shared[] = {
		{"shape", OPTION_LIST, &s->shapes, "INPUT=DIMS",
		 "fix an input's shape: input=1x3x224x224"},
		{"dim", OPTION_LIST, &s->dims, "NAME=N|A..B",
		 "fix a symbolic dim, or give its range"},
		{"cpu", OPTION_TEXT, &s->cpu, "LEVEL",
		 "native (default), x86-64-v2, -v3, -v4, v4+vnni, neon; ,l1= ,l2= ,l3="
		 "; compile takes several: v2,v3,v4"},
		{"target", OPTION_TEXT, &s->triple, "TRIPLE", "e.g. aarch64-linux-gnu (objects)"},
		{"passes", OPTION_TEXT, &s->passes, "A,B,..",
		 "run these passes instead of the default ones"},
		{"stop-after", OPTION_TEXT, &s->stop_after, "PASS", "run the pipeline only so far"},
		{"print-before", OPTION_TEXT, &s->print_before, "PASS",
		 "print the IR to stderr before a pass, or `all`"},
		{"print-after", OPTION_TEXT, &s->print_after, "PASS", "the same after it"},
		{"winograd", OPTION_TEXT, &s->winograd, "on|off|2|4",
		 "3x3 convolutions by F(2x2,3x3), F(4x4,3x3): where it is faster (on), never, all"},
		{"prune", OPTION_TEXT, &s->prune, "channels=R,..",
		 "remove a share of channels, heads=, ffn=, all (R), of weights in block:1x16=, or "
		 "keep a share of macs= (docs/compress.md)"},
		{"quantize", OPTION_TEXT, &s->quantize, "MODE",
		 "weights and activations of few bits: int8-dynamic, .. (docs/compress.md)"},
		{"max-error", OPTION_REAL, &s->max_error, "E",
		 "of --quantize auto: relative error of the outputs that is allowed"},
		{"early-exit", OPTION_TEXT, &s->early_exit, "agree=A,..",
		 "let clear inputs leave early; also rule=, exits=, heads= (docs/early-exit.md)"},
		{"calibrate", OPTION_LIST, &s->calibrate, "FILE..",
		 "inputs to measure on: .npz, [NAME=].npy, a folder, or random:N"},
		{"held-out", OPTION_LIST, &s->held_out, "FILE..",
		 "inputs that no pass sees, to measure the result on for --report"},
		{"report", OPTION_TEXT, &s->report, "FILE",
		 "what the passes measured: a page (.html) or .json"},
		{"verify-each", OPTION_FLAG, &s->verify_each, NULL,
		 "check the IR's invariants after every pass"},
		{"check", OPTION_FLAG, &s->check, NULL,
		 "compare results before and after every pass on random inputs"},
		{"time-passes", OPTION_FLAG, &s->time_passes, NULL,
		 "print the time of each pass to stderr"},
		{"reproduce", OPTION_TEXT, &s->reproduce, "DIR",
		 "where a failing pass leaves what is needed to replay it"},
		{"memory-limit", OPTION_INT, &s->memory_limit, "MB",
		 "what reading the model, or samples, may take (default 1 GB + 8 x file)"},
		{"json", OPTION_FLAG, &s->json, NULL, "machine-readable output"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed result =
		options_parse(c, argc, argv, own, shared, more, &s->rest, &s->arena, &s->diag);

	if (result != PARSED_OK)
		return result;
	if (s->rest.count != 1) {
		diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
			 "hone %s takes one model, found %d (see hone %s --help)", c->name,
			 s->rest.count, c->name);
		return PARSED_ERROR;
	}
	s->path = s->rest.at[0];
	if (!read_pass_options(s))
		return PARSED_ERROR;
	return PARSED_OK;
}

static bool load_text(struct session *s)
{
	void *bytes;
	size_t size;
	char text[512];

	if (!rt_file_read(s->path, &bytes, &size, text, sizeof(text)))
		return diag_add(&s->diag, DIAG_FILE, (struct loc){0}, "%s", text);
	s->graph = graph_parse(bytes, size, s->path, &s->arena, &s->diag);
	free(bytes);
	return s->graph != NULL;
}

static bool load_onnx(struct session *s)
{
	struct model_options options = {.memory_limit = (uint64_t)s->memory_limit << 20};
	struct import_options import = {s->shapes.count, s->dims.count, s->shapes.at, s->dims.at};

	if (!model_read(s->path, &options, &s->arena, &s->model, &s->diag))
		return false;
	s->graph = import_model(s->model, &import, &s->arena, &s->diag);
	return s->graph != NULL;
}

static bool resolve_targets(struct session *s)
{
	const char *cpu = s->cpu ? s->cpu : "native";

	if (!targets_resolve(cpu, s->triple, &s->arena, &s->targets, &s->diag))
		return false;
	if (s->targets.count > 1 && !s->many_levels)
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"--cpu %s: several levels are for hone compile; give one", cpu);
#ifdef HONE_SANITIZE_EMITTED
	for (int i = 0; i < s->targets.count; i++)
		s->targets.at[i].sanitize = HONE_SANITIZE_EMITTED;
#endif
	s->target = s->targets.at[0];
	return true;
}

bool session_load(struct session *s)
{
	if (!resolve_targets(s))
		return false;
	return has_suffix(s->path, ".hir") ? load_text(s) : load_onnx(s);
}

/* Samples for the passes, and the engine that runs them: always for this machine, whatever is compiled for. */
static bool read_calibration(struct session *s)
{
	struct targets *here = ARENA_NEW(&s->arena, struct targets);

	if (s->calibrate.count && !measures(s))
		return diag_add(
			&s->diag, DIAG_USAGE, (struct loc){0},
			"--calibrate is for passes that measure: give --prune, --quantize or "
			"--early-exit too");
	if (!s->calibrate.count)
		return true;
	s->calibration.progress = isatty(2);
	if (!calibrate_read(s->graph, &s->calibrate, (uint64_t)s->memory_limit << 20, &s->arena,
			    &s->calibration, &s->diag) ||
	    !targets_resolve("native", NULL, &s->arena, here, &s->diag))
		return false;
	s->calibration.engine = jit_engine(&here->at[0], NULL, &s->arena);
	return true;
}

static void observe(void *self, const char *pass, const struct graph *g, int changes, double ms)
{
	struct session *s = self;

	if (s->report)
		measure_observe(s, pass);
	if (s->observe)
		s->observe(s->observe_self, pass, g, changes, ms);
}

/* What is written beside the result: first the model as a whole, then what each pass said. */
static void begin_report(struct session *s)
{
	struct report_section *r;

	s->measured.arena = &s->arena;
	r = report_section(&s->measured, "model", "the model");
	report_text(r, "name", strrchr(s->path, '/') ? strrchr(s->path, '/') + 1 : s->path);
	report_text(r, "cpu", s->target.spec);
	if (s->arguments)
		report_text(r, "passes", s->arguments);
}

struct session session_again(const struct session *s)
{
	return (struct session){.path = s->path,
				.shapes = s->shapes,
				.dims = s->dims,
				.cpu = s->cpu,
				.triple = s->triple,
				.many_levels = s->many_levels,
				.passes = s->passes,
				.memory_limit = s->memory_limit};
}

bool session_prepare(struct session *s)
{
	struct pipeline_options options = {.passes = s->passes,
					   .stop_after = s->stop_after,
					   .print_before = s->print_before,
					   .print_after = s->print_after,
					   .arguments = s->arguments,
					   .verify_each = s->verify_each,
					   .check = s->check,
					   .time = s->time_passes,
					   .reproduce = s->reproduce,
					   .observe = s->report || s->observe ? observe : NULL,
					   .self = s};

	if (s->held_out.count && !s->report)
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"--held-out is for --report FILE");
	if ((s->report && !report_path_check(s->report, &s->diag)) || !session_load(s) ||
	    !read_calibration(s) || (s->held_out.count && !measure_read(s)))
		return false;
	if (s->calibrate.count)
		options.calibration = &s->calibration;
	if (s->report) {
		begin_report(s);
		options.report = &s->measured;
	}
	return pipeline_run(s->graph, &options, &interpreter, &s->diag) &&
	       (!s->report ||
		(measure_model(s) && report_write(&s->measured, s->report, &s->diag)));
}

bool session_compile(struct session *s)
{
	if (is_library(s->path)) {
		s->library = library_open(s->path, &s->compiled, &s->diag);
		return s->library != NULL;
	}
	if (!session_prepare(s))
		return false;
	if (!s->target.host)
		return diag_add(&s->diag, DIAG_USAGE, (struct loc){0},
				"this machine does not run code for %s", s->target.spec);
	s->engine = jit_engine(&s->target, s->profile, &s->arena);
	s->program = s->engine->compile(s->engine, s->graph, 0, NULL, &s->diag);
	if (!s->program)
		return false;
	s->compiled = jit_model(s->program);
	return true;
}

int session_end(struct session *s, int status)
{
	diag_print(&s->diag, stderr, isatty(2));
	if (s->diag.errors)
		status = diag_exit_status(&s->diag);
	if (s->program)
		s->engine->release(s->program);
	library_close(s->library);
	model_close(s->model);
	diag_reset(&s->diag);
	arena_free(&s->arena);
	return status;
}
