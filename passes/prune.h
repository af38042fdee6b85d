/* prune.h: between the files of the pass prune.
 *   prune.c         options, and the order of the steps
 *   prune_axes.c    which indices of which axes go together, by union over all operators
 *   prune_units.c   units that can be removed, in groups; multiply-adds
 *   prune_choose.c  importance, and what is removed
 *   prune_repair.c  second moments of activations, and weights by least squares from them
 *   prune_emit.c    the graph without what was removed
 *
 * An *element* is an index of an axis of constant size of a value. The elements that can only be removed together
 * are a *unit* (a channel, a neuron, a head); units with elements on the same axes, equally many on each, are a
 * *group*. Removing a unit leaves its terms out of the sums of contractions and changes nothing else. */
#ifndef PASSES_PRUNE_H
#define PASSES_PRUNE_H

#include "passes/patterns.h"

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

/* A contraction of a value by constant weights: y = .. x[.., k] * w[.., k, n]. */
struct prune_consumer {
	struct node *node;
	int source;          /* of x */
	int k_first, k_size; /* elements of x's last axis */
	int n_first;         /* elements of y's last axis; -1: not tracked */
};

/* What contractions read, behind pads of other axes: a matrix of rows of its last axis. */
struct prune_source {
	struct value *value;
	int first, size; /* elements of its last axis */
	double *moment;  /* [size,size] sums of x[i] x[j] over rows; NULL: not measured */
	double rows;
};

/* A constant that was made for a use of its own. */
struct prune_copy {
	struct value *copy, *original;
};

struct prune {
	struct pass_context *c;
	/* asked for; negative: not */
	double ratio[UNIT_KINDS], macs;
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
	struct {
		struct prune_consumer *at;
		int count, room;
	} consumers;
	struct {
		struct prune_source *at;
		int count, room;
	} sources;
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
/* Decides which units go, and counts p->kept. False: reported. */
bool prune_choose(struct prune *p);

/* Gives each use of a constant a constant of its own (the data is shared), so that what is removed for one use
 * is no matter of another. */
void prune_separate_constants(struct prune *p);
/* Takes what was removed out of the graph, in place: values keep their names. False: reported. */
bool prune_emit(struct prune *p);

#endif
