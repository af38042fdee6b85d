/* verify.h: the invariants of a graph, checked after every pass in tests and under --verify-each.
 * verify.c lists them at its head. */
#ifndef IR_VERIFY_H
#define IR_VERIFY_H

#include "ir/graph.h"

/* Reports each broken invariant as DIAG_INTERNAL (for a graph read from text: kind says which). */
bool graph_verify(struct graph *g, enum diag_kind kind, struct diag *d);

#endif
