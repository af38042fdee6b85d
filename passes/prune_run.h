/* prune_run.h: running the graph of the pass prune on calibration inputs, with values added to it for one run. */
#ifndef PASSES_PRUNE_RUN_H
#define PASSES_PRUNE_RUN_H

#include "passes/prune.h"

struct prune_run {
	struct prune *p;
	struct builder b; /* adds at the end of the body */
	struct node *end; /* the last node before those added */
	struct {
		struct value **at;
		int count, room;
	} probes;
	void *self;                            /* of the callback */
	const struct calibration_known *known; /* where it starts; NULL: from the inputs */
};

/* Values that a run kept for those that follow. */
struct prune_known {
	struct {
		struct value **at;
		int count, room;
	} values;
	int first;            /* probe */
	hone_tensor *tensors; /* [sample][value] */
};

/* Begins a run; prune_run_end removes the nodes that were added since. */
struct prune_run prune_run_begin(struct prune *p, void *self);
void prune_run_end(struct prune_run *r);
/* Adds a probe. False: v is NULL, since what makes it was refused (reported). */
bool prune_run_probe(struct prune_run *r, struct value *v);
/* Calls fn(run, sample, probe, value). False: reported. */
bool prune_run_all(struct prune_run *r, calibration_fn *fn);

/* Adds probes for what is alive before `end`, the first node that changes after this run: what the body has there, and the
 * whole model; none where that is too much. */
void prune_known_open(struct prune_run *r, const struct node *end, struct prune_known *k);
/* Takes the value of such a probe. */
void prune_known_take(struct prune_known *k, int sample, int probe, const hone_tensor *t);
void prune_known_close(const struct prune *p, struct prune_known *k);

/* x as rows of its last axis [R,C], and how many rows that are in a sample. */
struct value *prune_rows(struct prune_run *r, struct value *x);
double prune_row_count(const struct prune *p, const struct value *x);
/* The sums over rows [C] of x [R,C]. */
struct value *prune_sum_rows(struct prune_run *r, struct value *x);
/* x' t of rows x [R,K] and t [R,N]. */
struct value *prune_product(struct prune_run *r, struct value *x, struct value *t);

/* Whether a sample is one to fit on, or one to measure the error on; all are both where there are few. */
bool prune_is_fit(const struct prune *p, int sample);
bool prune_is_held_back(const struct prune *p, int sample);
/* Whether there are samples for each alone. */
bool prune_holds_back(const struct prune *p);

/* sum[i] += t[i]; t is f32. */
void prune_add_to(double *sum, const hone_tensor *t);

#endif
