/* interp_run.h: what interp.c and interp_flow.c share: a prepared graph and one run of it. */
#ifndef IR_INTERP_RUN_H
#define IR_INTERP_RUN_H

#include "ir/engine.h"
#include "ir/interp.h"

struct steps;

/* A node, ready to run. */
struct step {
	const struct node *node;
	const struct code *code; /* of ops with a kernel, else NULL */
	struct host *constant;   /* of const */
	int param;               /* of param: its number */
	struct steps **regions;  /* of control flow */
	const int *symbols;      /* all that it binds, also by the nodes in a group */
	int symbol_count;
	struct {
		int *at;
		int count, room;
	} release; /* values last used here */
};

struct steps {
	const struct region *region;
	int count;
	struct step *at;
};

struct run_param {
	const char *name;
	double value;
};

struct engine_program {
	struct arena arena;
	struct graph *graph;
	struct steps *body;
	int value_count;
	int *probe_of;   /* [value id]: 1 + the first probe of it, 0: none */
	int *probe_next; /* [probe]: 1 + the next probe of the same value */
	struct {
		struct run_param *at;
		int count, room;
	} params;
	struct {
		struct host **at;
		int count, room;
	} constants;
};

struct run {
	struct engine_program *program;
	struct host **values; /* [value id] */
	int64_t *symbols;
	struct diag *diag;
	engine_probe_fn *probe;
	void *self;
	double **bounds;        /* NULL, or [value id]: of outputs */
	bool *is_output;        /* [value id] */
	struct arena scratch;   /* freed at the end of the run */
	struct host **returned; /* by return_if: its values, each kept */
	int returned_count;
};

/* interp_prepare.c: compile and release of the engine; where messages about a node belong. */
struct engine_program *interp_prepare(struct engine *e, struct graph *g, int probe_count,
				      struct value *const *probes, struct diag *d);
void interp_release(struct engine_program *p);
struct loc step_loc(const struct graph *g, const struct node *n);

enum flow { FLOW_FAILED, FLOW_NEXT, FLOW_RETURN };

enum flow run_steps(struct run *r, const struct steps *s);
/* if, loop, scan, return_if, and groups of which a value is probed. */
enum flow run_control(struct run *r, const struct step *s);

/* Takes over the reference. The old value is dropped; probes are called. */
void run_set(struct run *r, const struct value *v, struct host *h);
void run_clear(struct run *r, const struct value *v);
/* A new tensor; NULL: reported at the node. */
struct host *run_alloc(struct run *r, const struct node *n, enum dtype t, int rank,
		       const int64_t *dims);
/* Gives a symbol its value, if that is in its range. */
bool run_bind(struct run *r, const struct node *n, int symbol, int64_t value);
/* Binds the symbols listed by `n` that are dims of v's type, then checks h's dims against the type. */
bool run_match(struct run *r, const struct node *n, const struct value *v, const struct host *h);
/* Checks the requirements that are decided at a stage, but for those on the symbol `unknown` (-1: none). */
bool run_require(struct run *r, int stage, int unknown);
/* The same at the stage of n's symbols, which are all bound. */
bool run_bound(struct run *r, const struct node *n);
/* Reports a run-time error at a node; false. */
bool run_error(struct run *r, const struct node *n, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
