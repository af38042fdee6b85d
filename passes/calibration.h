/* calibration.h: inputs of the kind that the model will see, and running the graph on them with probes.
 * Passes that measure (early_exit) take them from their context; the command reads them (cli/calibrate.c). */
#ifndef PASSES_CALIBRATION_H
#define PASSES_CALIBRATION_H

#include "ir/engine.h"
#include "ir/graph.h"

struct pass_context;

/* `count` samples. inputs: one tensor for each input of the graph, in its order; the samples lie along axis 0:
 * one entry of it where the model's axis 0 is symbolic, as many as it has where it is constant. */
struct calibration {
	struct engine *engine; /* runs the graph */
	int count;
	const hone_tensor *inputs;
	bool progress; /* draw a bar on stderr */
};

/* Whether the samples fit the graph's inputs: number, element types, dims, no NaN; sets count. Reported. */
bool calibration_check(struct calibration *k, const struct graph *g, struct diag *d);

/* The value of each symbol of the graph's dims in a sample; 1 where no input tells. In `a`. */
int64_t *calibration_symbols(const struct calibration *k, const struct graph *g, struct arena *a);

/* Receives the value of a probe in a sample; it is only valid during the call. */
typedef void calibration_fn(void *self, int sample, int probe, const hone_tensor *value);

/* Runs the graph on all samples, one after the other, and calls fn for each probe: a value of the function's
 * body. A copy of the graph goes through the rest of the pipeline first, so that it runs as fast as the
 * result will; the graph itself is not changed. False: reported. */
bool calibration_run(struct pass_context *c, int probe_count, struct value *const *probes,
		     calibration_fn *fn, void *self);

/* Values of the function's body that an earlier run gave, from which a run may start: what makes them is left out. Their
 * dims are constants or symbols. */
struct calibration_known {
	int count;
	struct value **values;
	hone_tensor *tensors; /* [sample][count] */
};

/* The same, starting from `known`; NULL: from the inputs. */
bool calibration_run_from(struct pass_context *c, const struct calibration_known *known,
			  int probe_count, struct value *const *probes, calibration_fn *fn,
			  void *self);

/* Times the graph, copied and arranged like that: ms[i] is the least time, over a few samples, of a run with the
 * parameter params[i] at 1 (NULL: none) and the others as they are. False: reported. */
bool calibration_time(struct pass_context *c, int count, const char *const *params, double *ms);

/* Copies `from` to the end of the graph's body; map[value id] gets what became of its values. False: reported. */
bool body_copy(struct pass_context *c, const struct region *from, struct value **map);

#endif
