/* compare.h: --check: runs the graph before and after each pass on random inputs and compares. */
#ifndef PASSES_COMPARE_H
#define PASSES_COMPARE_H

#include "passes/passes.h"

struct comparison {
	struct graph *graph;
	struct arena arena;
	int input_count, output_count;
	hone_tensor *inputs, *expected; /* expected: malloc'ed data */
};

/* Chooses inputs on which the graph runs and keeps its outputs. False when there are none (a note says so);
 * then nothing is compared. The interpreter runs it, whatever engine the passes have. */
bool comparison_begin(struct comparison *k, struct graph *g);
/* Runs the graph as it is now; a difference over the tolerance is reported. */
bool comparison_check(struct comparison *k, const struct pass *p, struct diag *d);
void comparison_end(struct comparison *k);

#endif
