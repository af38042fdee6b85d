/* session.h: what most subcommands begin with: a model read, imported and taken through the passes. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "backend/compile.h"
#include "cli/options.h"
#include "frontend/import.h"
#include "frontend/model.h"
#include "passes/passes.h"

struct session {
	struct arena arena;
	struct diag diag;
	/* options */
	struct list shapes, dims, calibrate, held_out, rest;
	const char *cpu, *triple, *passes, *stop_after, *print_before, *print_after, *reproduce;
	const char *winograd, *prune, *quantize, *early_exit, *report;
	double max_error;      /* of --quantize auto; 0: not given */
	const char *arguments; /* of passes, from these */
	bool verify_each, check, time_passes, json;
	int64_t memory_limit; /* MB */
	/* results */
	const char *path;
	struct targets
		targets; /* the levels asked for; several only where `many_levels` allows it */
	bool many_levels;
	struct target target;     /* the first of them */
	struct onnx_model *model; /* NULL for a .hir file or a library */
	struct graph *graph;
	struct library *library;
	const hone_model *compiled; /* of a library, or made in-process */
	struct engine *engine;
	struct engine_program *program;
	struct calibration calibration; /* count 0: none */
	struct calibration held;        /* the same, of --held-out */
	struct report measured;         /* by the passes, for --report */
	double macs_before, macs_after; /* of the model, and after the passes that change it */
	bool macs_fixed;                /* no later pass changes it */
	struct profile *profile; /* set before session_compile to have kernels timed; or NULL */
	void (*observe)(void *self, const char *pass, const struct graph *g, int changes,
			double ms);
	void *observe_self;
};

/* Parses the words of a subcommand with the shared options; on PARSED_OK the first word of rest is the model. */
enum parsed session_parse(struct session *s, const struct command *c, int argc, char **argv,
			  const struct option *own, const char *more);
/* Reads s->path (.onnx or .hir) into s->graph and resolves the target; no passes yet. */
bool session_load(struct session *s);
/* A session on the same model with the same sizes and target, before anything is read. */
struct session session_again(const struct session *s);
/* session_load and the pipeline. */
bool session_prepare(struct session *s);
/* A runnable model: opens a library, or prepares and compiles in-process. Fills s->compiled. */
bool session_compile(struct session *s);
bool is_library(const char *path);
/* Prints the messages, frees everything and gives the exit status (`status` when there was no error). */
int session_end(struct session *s, int status);

#endif
