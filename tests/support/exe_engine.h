/* exe_engine.h: an engine that compiles a standalone executable and runs it as a process of its own, perhaps
 * through an emulator: for targets that this process cannot run. */
#ifndef TESTS_EXE_ENGINE_H
#define TESTS_EXE_ENGINE_H

#include "backend/target.h"
#include "ir/engine.h"

struct exe_engine {
	const struct target *target;
	const char *runtime;  /* libhone_runtime.a for the target; NULL: this machine's */
	const char *emulator; /* what runs the executable, words separated by spaces; "" for none */
};

/* Inputs and outputs travel as .npy files; a graph with types that they lack is refused at compilation
 * (DIAG_UNSUPPORTED). There are no probes. *how and the engine live as long as `a`. */
struct engine *exe_engine(const struct exe_engine *how, struct arena *a);

#endif
