/* macs.h: multiply-adds and bytes of weights of a graph: what compression makes smaller, counted alike by everyone. */
#ifndef IR_MACS_H
#define IR_MACS_H

#include "ir/graph.h"

/* Multiply-adds of matmul, conv and attention (both of its products), 0 for others: elements of the result times the
 * summed length. symbols: the value of each symbol of the graph's dims. The loops around the node do not count. */
double node_macs(const struct node *n, const int64_t *symbols);

/* Of all nodes; those in a scan once for each of its steps. What `loop` and `if` do is not known here: once. */
double graph_macs(struct graph *g, const int64_t *symbols);

/* Bytes of all constants that the graph holds; the float ones as `parameters` (elements) where that is not NULL. */
int64_t graph_weight_bytes(struct graph *g, int64_t *parameters);

/* A value for each symbol: its least, but at least 1. In `a`. */
int64_t *graph_least_symbols(const struct graph *g, struct arena *a);

#endif
