/* group.h: the rules by which nodes become one kernel (group_rules.c), as group.c asks them. */
#ifndef PASSES_GROUP_H
#define PASSES_GROUP_H

#include "passes/patterns.h"

enum { ROW_BYTES = 64 << 10 }; /* what is kept of a row between its reductions */

/* Nodes that shall be one kernel, with one result. */
struct cluster {
	struct {
		struct node **at;
		int count, room;
	} nodes;
	struct value *result;
	bool removed;   /* nobody reads it: its nodes are gone */
	bool contracts; /* holds a matmul, conv, pool */
	bool reduces;   /* holds any sum: its values must be computed once */
	bool costly;    /* holds a transcendental function */
	bool computes;  /* holds a map */
	bool sealed;    /* elements moved after a reduction: no further reduction */
	bool tiled;     /* its result is stored by tiles: only maps can be computed there */
	bool closed;    /* its last node cannot be read inside of a group */
};

/* Whether n can stand in a group at all. */
bool node_groups(const struct node *n);
/* k becomes the cluster of n alone. */
void cluster_start(struct cluster *k, struct node *n);
/* Whether n, the last node of k, may take in `from`, which makes its operand i. */
bool cluster_takes(const struct cluster *k, const struct cluster *from, const struct node *n,
		   int i);
/* The properties of k, joined by those of `from`. */
void cluster_join(struct cluster *k, const struct cluster *from);
/* Whether n, between the cluster's result v and the node where all its readers meet (the last), may join;
 * then the cluster's properties take it in. */
bool cluster_takes_inner(struct cluster *k, const struct value *v, struct node *n, bool last);
/* Whether n makes i32 of bytes for a contraction, which is computed on the bytes themselves: so n stays with it, and
 * does not become a constant. */
bool node_is_byte_factor(const struct node *n);
/* Whether a contraction takes in a cluster of movement alone. */
bool contraction_takes(const struct cluster *from);
/* Whether computing it again for every reader costs about as much as reading it. */
bool cluster_is_cheap(const struct cluster *k);

#endif
