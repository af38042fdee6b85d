/* generate.h: random graphs for the differential test. The same seed and number of steps give the same graph,
 * and fewer steps a prefix of it: so a failing case is shrunk by taking fewer steps.
 *
 * Nearly all graphs are exact: floats hold whole numbers small enough that every sum and product is a whole
 * number that the type holds, so all engines must agree on every bit, whatever order they add in. A few end
 * in one inexact operation, judged by the tolerance it names. */
#ifndef TESTS_DIFFERENTIAL_GENERATE_H
#define TESTS_DIFFERENTIAL_GENERATE_H

#include "ir/graph.h"

enum judge {
	JUDGE_EXACT,
	JUDGE_ULP,    /* at most `tolerance` units in the last place of the oracle's value */
	JUDGE_BOUNDS, /* eps * the oracle's bounds: a float sum */
	/* A sum of products of bf16, rounded to bf16: the bounds, and the next number in bf16. vdpbf16ps rounds each of
	 * its two additions, which the bounds cover, and takes numbers below 2^-126 as 0: inputs are larger. */
	JUDGE_BF16,
	JUDGE_ABS, /* at most `tolerance` away */
};

#define MAX_ITEMS 48
#define MAX_INPUTS 48
#define MAX_SYMBOLS 16
#define MAX_OUTPUTS 4

/* A value to build on. mag: a bound on |x| of a float, all whole numbers. */
struct item {
	struct value *v;
	double mag;
	bool open; /* its dims are known only at run time */
};

struct generator {
	uint64_t random;
	struct arena arena;
	struct diag diag;
	struct graph *graph;
	struct builder b;
	int64_t symbols[MAX_SYMBOLS]; /* their values in this case */
	struct item items[MAX_ITEMS];
	int count;
	hone_tensor inputs[MAX_INPUTS];
	double low, high;
	bool special;     /* inputs hold NaN and infinities too */
	enum judge judge; /* of the last output; the others are exact */
	double tolerance;
	const char *subject; /* the operation judged */
};

/* Makes graph and inputs. False: nothing came of it. */
bool generate(struct generator *g, uint64_t seed, int steps);
void generate_free(struct generator *g);

/* ---- between generate.c and generate_ops.c ---- */

uint64_t draw(struct generator *g);
int draw_below(struct generator *g, int n);
bool draw_one_in(struct generator *g, int n);
int64_t draw_size(struct generator *g);
int64_t size_of(const struct generator *g, dim d);
int64_t count_of(const struct generator *g, const struct value *v);
/* The largest mag that values of a type may have to be exact. */
double exact_limit(enum dtype t);
/* A new input, or now and then a constant. mag < 0: reals from g->low to g->high, not whole numbers. */
struct item add_input(struct generator *g, enum dtype t, int rank, const dim *dims, double mag);
/* The same; now and then a constant as large as texts print, in which most blocks of 16 neighbours are zero. */
struct item add_weights(struct generator *g, enum dtype t, int rank, const dim *dims, double mag);
/* An integer tensor whose elements are 0..below-1. */
struct value *add_indices(struct generator *g, int rank, const dim *dims, int64_t below);
/* Puts v among the items; false when it is NULL (or too much). */
bool keep(struct generator *g, struct value *v, double mag);
struct item pick(struct generator *g);
dim constant(struct generator *g, int64_t x);

/* generate_ops.c: one step from a picked item; false when it does not apply. */
bool step_any(struct generator *g);
/* Ends in one inexact operation, which sets judge and tolerance. */
bool step_inexact(struct generator *g);
/* generate_attention.c: ends in attention over inputs of its own. */
bool inexact_attention(struct generator *g, struct item x);
/* generate_weights.c: ends in a product by weights of few bits. */
bool inexact_weights(struct generator *g, struct item x);
/* generate_map.c */
bool step_map(struct generator *g);
bool step_cast(struct generator *g);
bool step_function(struct generator *g);

#endif
