/* compile.h: what the command asks of the backend: files, and an in-process engine. */
#ifndef BACKEND_COMPILE_H
#define BACKEND_COMPILE_H

#include "backend/target.h"
#include "ir/engine.h"

enum emit_kind { EMIT_SO, EMIT_EXE, EMIT_OBJ, EMIT_ASM, EMIT_LLVM, EMIT_HEADER };

struct compile_options {
	enum emit_kind kind;
	const struct targets *targets;
	const char *name;   /* model name: made a C identifier; NULL: from the output's file name */
	const char *prefix; /* put before every global symbol; NULL: none */
	const char *passes; /* recorded in the table */
	const char *hash;   /* of model and flags, hexadecimal */
	const char
		*linker; /* NULL: the one found when hone was built, then ld.lld, lld, cc on PATH */
	const char *
		runtime; /* the runtime's archive; NULL: the one built with hone (objects: none in them);
				"none": the freestanding one, in an object */
	bool save_temps;   /* keep objects beside the output */
	bool keep_symbols; /* do not strip: perf and debuggers see the kernels' names */
};

struct compile_report {
	int64_t weight_bytes, code_bytes, file_bytes;
	int kernels, functions; /* functions <= kernels: equal ones are emitted once */
	double layout_ms, emit_ms, link_ms;
};

/* Compiles g and writes `output` (beside, then renamed: on failure nothing is left). report may be NULL. */
bool compile_graph(struct graph *g, const struct compile_options *o, const char *output,
		   struct compile_report *report, struct diag *d);

/* The engine that compiles in-process through LLJIT: the same emitter as compile_graph. Lives in `a`.
 * profile: where the kernels of what is compiled next are timed (profile.h), or NULL. */
struct profile;
struct engine *jit_engine(const struct target *t, struct profile *profile, struct arena *a);
/* What it compiles next runs with so many threads (1 at first). */
void jit_use_threads(struct engine *jit, int threads);
/* The model of a program that this engine compiled; lives as long as the program. */
const hone_model *jit_model(const struct engine_program *p);

/* Text of every kernel with its plan, in program order (`hone dump --kernels`). */
bool dump_kernels(struct graph *g, const struct target *t, FILE *out, struct diag *d);

/* Static figures of a compiled graph for `hone info`, with one thread and all symbols at their minimum, at least 1. */
struct graph_figures {
	int kernels, functions;
	int64_t weight_bytes; /* as kernels read them: packed */
	int64_t live_bytes;   /* the values of the fullest step, inputs and outputs left out */
	int64_t arena_bytes;  /* what they and the kernels' scratch are planned to take */
	bool dynamic;         /* some values live in the dynamic arena; they are in neither */
};
bool graph_figures(struct graph *g, const struct target *t, struct graph_figures *out,
		   struct diag *d);

/* A model in a shared library made by hone. NULL: reported. Closed by library_close. */
struct library;
struct library *library_open(const char *path, const hone_model **model, struct diag *d);
void library_close(struct library *l);

/* Bytes of a library's file, and of the part that is mapped executable: kernels, run, setup and the runtime. */
struct library_sizes {
	int64_t file, code;
};
bool library_measure(const char *path, struct library_sizes *out, struct diag *d);

#endif
