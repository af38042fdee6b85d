/* prune.h: between the files of the pass prune.
 *   prune.c         options, and the order of the steps
 *   prune_axes.c, prune_ties.c   which indices of which axes go together, by union over all operators
 *   prune_units.c   units that can be removed, in groups; multiply-adds
 *   prune_order.c, prune_choose.c   importance, and what is removed
 *   prune_budget.c  a budget of multiply-adds
 *   prune_emit.c    the graph without what was removed
 *   prune_measure.c activations and errors on calibration inputs
 *   prune_blocks.c  blocks of 1x16 weights that become zero
 *   prune_repair.c, prune_known.c, prune_fit.c, prune_install.c   weights that make up for what was removed
 *
 * An *element* is an index of an axis of constant size of a value. The elements that can only be removed together
 * are a *unit* (a channel, a neuron, a head); units with elements on the same axes, equally many on each, are a
 * *group*. Removing a unit leaves its terms out of the sums of contractions and changes nothing else. */
#ifndef PASSES_PRUNE_H
#define PASSES_PRUNE_H

#include "passes/patterns.h"

#include <string.h>

enum unit_kind { UNIT_CHANNEL, UNIT_HEAD, UNIT_FFN, UNIT_KINDS };

/* An axis of constant size above 1 of a value. */
struct prune_axis {
	struct value *value;
	int axis, first, size; /* elements first .. first + size - 1 */
};

struct prune_group {
	enum unit_kind kind;
	int unit_count, keep; /* keep: how many stay */
	int *units;           /* by position in the axes; then by rising score */
	struct {
		int axis, count; /* elements of one unit on that axis */
	} *on;
	int on_count;
};

struct prune_unit {
	int group;
	double score; /* importance; larger is kept */
	bool is_removed;
};

/* What outputs differ from those of the whole model, on samples that were not used to repair. */
struct prune_error {
	double difference, norm; /* sums of squares */
	int64_t rows, agreeing;  /* of outputs [N,C]: whose largest entry is the same */
};

/* A contraction of a value by constant weights: y[..,n] = sum over k of x[..,k] * w[..,k,n]. */
struct prune_consumer {
	struct node *node;
	int source;          /* of x; -1: nothing of x may go, nor blocks */
	int k_first, k_size; /* elements of x's last axis */
	int n_first;         /* the first element of y's last axis; -1: not tracked */
	struct value *cleared,
		*uncleared; /* its weights with and without blocks of zeros; NULL: no blocks */
};

/* What contractions read, behind pads of other axes: rows of its last axis. */
struct prune_source {
	struct value *value;
	int first, size; /* elements of its last axis */
	/* measured: over `rows` rows, sums of x[i] and x[i]^2; NULL: not */
	double rows, *sum, *square;
	double *moment; /* [size,size] sums of x[i] x[j]; NULL: not measured, it is large */
	double *inverse, *weight; /* [size,size], of prune_order.c */
};

/* A constant that was made for a use of its own. */
struct prune_copy {
	struct value *copy, *original;
};

/* What stood where prune_install put repaired weights. */
struct prune_installed {
	struct node *weights; /* the constant */
	void *attrs;
	struct node *sum; /* the map that adds a number to each output */
	int operand;      /* the constant of sum that was `bias`; NULL: sum is new */
	struct value *bias;
};

struct prune {
	struct pass_context *c;
	/* asked for; negative: not */
	double ratio[UNIT_KINDS], macs, blocks;
	bool no_repair, mask;
	/* prune_axes.c */
	struct prune_axis *axes;
	int axis_count, element_count, value_count;
	int *axis_of;     /* [value id][HONE_MAX_RANK]: number of the axis, or -1 */
	int *root;        /* by element */
	int64_t *symbols; /* the value that each symbol of the dims is taken to have, for costs */
	unsigned char *flags; /* by root */
	/* prune_units.c */
	struct prune_unit *units;
	int unit_count, *unit_of; /* unit_of: by root; -1: stays */
	struct prune_group *groups;
	int group_count;
	int *kept; /* by axis: elements that stay */
	struct {
		struct prune_copy *at;
		int count, room;
	} copies;
	/* prune_choose.c, prune_repair.c */
	struct value **whole; /* by value id: the same value in the copy of the whole model */
	int output_count;
	float **expected; /* [sample][output], of the whole model; malloc'ed */
	struct {
		struct prune_consumer *at;
		int count, room;
	} consumers;
	struct {
		struct prune_source *at;
		int count, room;
	} sources;
	struct {
		struct prune_installed *at;
		int count, room;
	} installed;
	int unrepaired; /* contractions for which the repair was no better */
};

enum {
	AXIS_HARD = 1,   /* some operator needs it as it is */
	AXIS_SOFT = 2,   /* another axis of a reshape was chosen */
	AXIS_SUMMED = 4, /* a contraction by constant weights sums over it */
	AXIS_HEAD = 8,
	AXIS_CONV = 16
};

/* The number of the first element of an axis; -1: not tracked. */
int prune_first(const struct prune *p, const struct value *v, int axis);
/* Whether an element stays. */
bool prune_stays(const struct prune *p, int element);

/* Finds elements and what ties them. Constants must have one use each. */
void prune_find_axes(struct prune *p);
/* Finds units and groups. */
void prune_find_units(struct prune *p);
/* Multiply-adds of a node, and of the graph, with the axes as in p->kept. */
double prune_node_macs(const struct prune *p, const struct node *n);
double prune_macs(const struct prune *p);

/* Lists consumers and sources. */
void prune_find_consumers(struct prune *p);
/* Scores units, from weights and, where measured, moments. */
void prune_score(struct prune *p);
/* Orders the units of every group by what each costs after those before it, and scores them. False: not all sources
 * were measured. */
bool prune_order(struct prune *p);
/* How many units of a group stay at least. */
int prune_least(const struct prune *p, const struct prune_group *g);
/* How many units of a group go at a time: the machine likes multiples of 16 columns, of 8 where there are few. */
int prune_step(const struct prune_group *g);
/* `keep` units of a group stay. */
void prune_set_keep(struct prune *p, struct prune_group *g, int keep);
/* Shrinks groups until about the share p->macs of `whole` multiply-adds is left. False: reported. */
bool prune_spend(struct prune *p, double whole);
/* Number i of a constant, which may lie anywhere in a file: it need not be aligned. */
static inline float prune_number(const float *at, int64_t i)
{
	float x;

	memcpy(&x, (const char *)at + i * (int64_t)sizeof(x), sizeof(x));
	return x;
}
/* Zeros from the heap. */
void *prune_numbers(int64_t count, size_t size);
/* Decides which units go, and counts p->kept. False: reported. */
bool prune_choose(struct prune *p);

/* Whether blocks of a consumer's weights are cleared when blocks are asked for. */
bool prune_has_blocks(const struct prune_consumer *c);
/* Multiply-adds that cleared blocks save, of the units that stay. */
double prune_block_macs(const struct prune *p);
/* Clears the share p->blocks of the blocks of consumers' weights, in the graph that was emitted. */
void prune_clear_blocks(struct prune *p);
/* xt [k,n] becomes the least squares solution of xx [k,k] (lower half) w = xt that is zero in the blocks in which
 * `weights` are. False: not positive definite. */
bool prune_solve_blocks(const double *xx, double *xt, int k, int n, const float *weights);

/* Runs the graph on the calibration inputs: sums and squares of sources, and what the outputs should be. False:
 * reported. */
bool prune_measure(struct prune *p);
/* Adds what the outputs of the graph differ now. False: reported. */
bool prune_measure_error(struct prune *p, struct prune_error *e);
/* Frees what the measurements hold. */
void prune_forget(struct prune *p);
/* Copies the whole model to the end of the body, for prune_repair; dead code when it is done. False: reported. */
bool prune_keep_whole(struct prune *p);
/* Repairs the weights of the graph that was emitted. False: reported. */
bool prune_repair(struct prune *p);

/* Gives each use of a constant a constant of its own (the data is shared), so that what is removed for one use
 * is no matter of another. */
void prune_separate_constants(struct prune *p);
/* Takes what was removed out of the graph, in place: values keep their names. False: reported. */
bool prune_emit(struct prune *p);
/* Multiplies what was removed by zero instead, where sums read it. False: reported. */
bool prune_emit_mask(struct prune *p);

/* n, a contraction, gets these weights, and its result `shift` beside what it gets anyway: f32, in the graph's arena. */
void prune_install(struct prune *p, struct node *n, const float *weights, const float *shift);
/* Takes all that back. */
void prune_uninstall(struct prune *p);
/* n is a map(%y, const) (a, b) -> a + b with a number for each entry of the last axis: the operand that is the
 * constant. -1: it is not. */
int prune_bias_operand(const struct node *n, const struct value *y);
/* By value id: the only node that reads a value; NULL where there are several, or none in the body. */
struct node **prune_find_readers(const struct prune *p);

#endif
