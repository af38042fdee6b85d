/* modules.h: a program as a list of objects in memory: one with run, setup and the tables, the others with kernel
 * functions. Used alike for files (compile.c) and in-process (jit.c). */
#ifndef BACKEND_MODULES_H
#define BACKEND_MODULES_H

#include "backend/program.h"

enum { MODULES_MAX = 64 };

struct modules {
	int count;
	LLVMMemoryBufferRef object[MODULES_MAX];
};

/* Emits everything, on up to `threads` threads. type: object or assembly; text: LLVM IR instead. False: reported,
 * nothing to free. */
bool modules_emit(struct program *p, const struct emit_options *o, LLVMCodeGenFileType type,
		  bool text, int threads, struct modules *out, struct diag *d);
void modules_free(struct modules *m);

#define WEIGHTS_SECTION ".hone.weights"
enum { WEIGHTS_HOLLOW = 64 };

/* A relocatable ELF object that holds the weights in a read-only section under weights_symbol, streamed to `path`.
 * hollow: the section has only its first WEIGHTS_HOLLOW bytes, as zeros; the linker adds the others. */
bool weights_write_object(const struct program *p, const struct emit_options *o, bool hollow,
			  const char *path, struct diag *d);
/* Whether a file that was linked with the hollow object has room for the weights. */
bool weights_fit(const struct program *p, const char *path);
/* Streams them into that room. */
bool weights_fill(const struct program *p, const char *path, struct diag *d);

struct link_options {
	bool executable;
	const char *linker; /* NULL: one that is found */
	const char *
		runtime; /* an archive; "none": the freestanding one; NULL: the one that is found */
	const char *export_prefix;
	int64_t weights; /* bytes that the section of a hollow object grows to; 0: there is none */
	bool keep_symbols; /* the symbol table stays: local names of kernels, for perf and debuggers */
};
/* Links objects (paths) with the runtime's archive into a shared library or executable at `output`. Room for weights
 * takes a linker that adds to its own script: lld and GNU ld do. */
bool link_objects(const struct target *t, const struct link_options *o, int count,
		  const char *const *objects, const char *output, struct arena *a, struct diag *d);
/* Joins objects into one relocatable object; with o->runtime, what they need of that archive too. */
bool link_relocatable(const struct target *t, const struct link_options *o, int count,
		      const char *const *objects, const char *output, struct arena *a,
		      struct diag *d);
/* Makes the hidden symbols of a relocatable object (path) local: what stays global are its entry points. */
bool localize_hidden(const char *path, struct diag *d);

/* Writes the typed header of one model. */
bool header_write(const struct program *p, const struct emit_options *o, FILE *out);

#endif
