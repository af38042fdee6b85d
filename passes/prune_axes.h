/* prune_axes.h: between prune_axes.c, which keeps the elements, and prune_ties.c, which says what operators do with them.
 * Axes that are not tracked (of symbolic size, or of size 1) may be passed everywhere. */
#ifndef PASSES_PRUNE_AXES_H
#define PASSES_PRUNE_AXES_H

#include "passes/prune.h"

/* The number of an axis in p->axes, or -1. */
int prune_axis_number(const struct prune *p, const struct value *v, int axis);

/* AXIS_* for all elements of an axis. */
void prune_flag_axis(struct prune *p, const struct value *v, int axis, int flag);
/* AXIS_HARD: for an element, an axis, all axes of a value (may be NULL), all operands and results of a node. */
void prune_fix_element(struct prune *p, int element);
void prune_fix_axis(struct prune *p, const struct value *v, int axis);
void prune_fix(struct prune *p, const struct value *v);
void prune_fix_node(struct prune *p, const struct node *n);

/* Two elements are one. */
void prune_tie(struct prune *p, int a, int b);
/* v[.., i + v_at, ..] and w[.., i + w_at, ..] are one, for count indices. */
void prune_tie_range(struct prune *p, const struct value *v, int axis, int v_at,
		     const struct value *w, int other, int w_at, int count);
/* The whole axes are one; where one is not tracked, or they differ in size, both are fixed. */
void prune_tie_axes(struct prune *p, const struct value *v, int axis, const struct value *w,
		    int other);
/* x broadcasts to y: axes of size 1 have no elements. `from`: axes of y behind those that x has. */
void prune_tie_broadcast(struct prune *p, const struct value *x, const struct value *y, int from);

/* Ties what the operator ties, but a reshape. */
void prune_tie_node(struct prune *p, const struct node *n);

#endif
