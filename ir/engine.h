/* engine.h: something that runs a graph. Two implement it: the interpreter (ir/interp.c, slow and
 * obviously right: the oracle) and the code generator in-process (backend/jit.c). The command hands one
 * to passes, which calibrate and fold with it; passes never see the backend. */
#ifndef IR_ENGINE_H
#define IR_ENGINE_H

#include "ir/graph.h"
#include "runtime/hone.h"

/* Receives a probed value while the model runs; the tensor is only valid during the call. */
typedef void engine_probe_fn(void *self, int probe, const hone_tensor *value);

struct engine_program; /* a compiled graph; belongs to its engine */

struct engine {
	const char *name;
	/* Prepares a graph, which must outlive the program. probes: values streamed out at each run. NULL: reported. */
	struct engine_program *(*compile)(struct engine *e, struct graph *g, int probe_count,
					  struct value *const *probes, struct diag *d);
	/* Runs it. inputs and outputs in the graph's order; outputs[i].data is malloc'ed here (NULL before)
	 * and the caller frees it. False: reported to d (a run-time error of the model, with node name). */
	bool (*run)(struct engine_program *p, const hone_tensor *inputs, hone_tensor *outputs,
		    engine_probe_fn *probe, void *self, struct diag *d);
	bool (*set_param)(struct engine_program *p, const char *name, double value);
	void (*release)(struct engine_program *p);
	void *self;
};

/* The interpreter. No state: one const table for all. */
extern struct engine interpreter;

/* For each output element: the sum of magnitudes of the terms of the last float sum that made it, for the
 * differential tolerance (n + 8) * eps * sum|terms|. NULL data where the op is no sum. */
bool interpreter_run_bounds(struct engine_program *p, const hone_tensor *inputs,
			    hone_tensor *outputs, hone_tensor *bounds, struct diag *d);

#endif
