/* plan.h: how a kernel is computed: a driver and its parameters. Chosen by backend/, printed after the
 * kernel, read back by the parser. */
#ifndef IR_PLAN_H
#define IR_PLAN_H

#include <stdint.h>

enum driver {
	DRIVER_NONE,  /* not chosen yet */
	DRIVER_LOOPS, /* vectorized nests: takes every kernel that is not a call */
	DRIVER_CALL,  /* a runtime routine */
	DRIVER_COUNT
};
extern const char *const driver_names[DRIVER_COUNT + 1];

/* One entry for each store or set of the kernel, in order. */
struct loops_plan {
	int count;
	struct loops_nest {
		int vector_axis; /* axis id vectorized over, or -1: scalar */
		int lanes;       /* elements in a vector */
		int unroll;      /* vectors computed together along it */
		int tail_bits; /* the narrowest element in memory along it: decides how tails are masked */
		int block_axis,
			block; /* an outer axis of which `block` iterations share loads (register block); -1: none */
	} *nests;
};

struct plan {
	enum driver driver;
	union {
		struct loops_plan loops;
	};
};

#endif
