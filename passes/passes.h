/* passes.h: the passes and how they are run. One pass is one file; pipeline.c reads like a table of contents. */
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H

#include "ir/engine.h"
#include "ir/graph.h"
#include "passes/calibration.h"
#include "passes/report.h"

/* What a pass may do to results, and so how --check judges it. */
enum pass_tolerance {
	PASS_EXACT,        /* the same bits */
	PASS_REASSOCIATES, /* float sums in another order */
	PASS_LOSSY,        /* an approximation: the error is printed */
};

struct pass_context {
	struct graph *graph;
	struct arena *scratch; /* reset after the pass */
	struct engine *engine; /* for folding and calibration */
	struct diag *diag;
	const struct calibration *calibration; /* samples, or NULL */
	struct report *report;                 /* where to write what was measured, or NULL */
	int changes;                           /* a pass counts what it changed */
	const char *
		argument; /* the user's choice for this pass, its row says which there are; NULL: none */
};

struct pass {
	const char *name, *summary;
	enum pass_tolerance tolerance;
	/* false: failed, reported. */
	bool (*run)(struct pass_context *c);
};

/* Every pass, ended by a row with name NULL; and the order of the default pipeline. */
extern const struct pass pass_table[];
extern const char *const default_pipeline[]; /* names, ended by NULL */
/* The part of it whose result is still close to ONNX: up to the passes that arrange the graph for kernels. In `a`. */
const char *pipeline_for_export(struct arena *a);
/* The first `length` bytes of name; what follows an = is no part of it. */
const struct pass *pass_by_name(const char *name, size_t length);

struct pipeline_options {
	const char *passes;    /* "a,b=argument,c"; NULL: the default pipeline */
	const char *arguments; /* of passes, wherever they run: "a=argument,.."; NULL: none */
	const struct calibration *calibration;  /* samples for passes that measure; NULL: none */
	struct report *report;                  /* gets what passes measured; NULL: none */
	const char *stop_after;                 /* NULL: run all */
	const char *print_before, *print_after; /* a pass name, or "all"; NULL: none */
	bool verify_each;                       /* run the verifier after every pass */
	bool check; /* run the graph before and after each pass on random inputs and compare */
	bool time;  /* print the time of each pass to stderr */
	const char *reproduce; /* folder for a reproducer when a pass fails; NULL: none */
	/* Called after every pass that changed something (and once before the first, with name "import"). */
	void (*observe)(void *self, const char *pass, const struct graph *g, int changes,
			double ms);
	void *self;
};

/* The argument of a pass in a list like "group,winograd=4"; NULL: none. In `a`. */
const char *pass_argument(const char *list, const struct pass *p, struct arena *a);

bool pipeline_run(struct graph *g, const struct pipeline_options *o, struct engine *engine,
		  struct diag *d);

#endif
