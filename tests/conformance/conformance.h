/* conformance.h: one case of ONNX's backend tests: a model with sets of inputs and expected outputs. */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include "tests/support/exe_engine.h"

#include <stdbool.h>
#include <stdio.h>

enum status {
	STATUS_NONE, /* the process ended without a result */
	STATUS_PASSED,
	STATUS_FAILED,
	STATUS_SKIPPED, /* refused by the importer, or data that is not for the model: nothing was compiled */
};

/* Lives in memory shared with the process that runs the case: it fills the parts as it goes. */
struct outcome {
	enum status status;
	char stage[32];  /* what it is doing: reported when it does not come back */
	char ops[512];   /* operators of the model's nodes, each once, separated by commas */
	char text[1024]; /* why it failed or was skipped */
};

struct how {
	const struct target *target;
	const char *passes; /* NULL: the default pipeline */
	bool interpret;     /* run the interpreter instead of native code */
	bool export;        /* run what is read back of the model as `hone compress` writes it */
	const struct exe_engine *exe; /* run executables, perhaps emulated; NULL: in-process */
};

/* Runs all test_data_set_N of the case in `folder`. */
void case_run(const char *folder, const struct how *how, struct outcome *out);

/* A case and what became of it. */
struct test_case {
	const char *group, *name; /* folders below the data's */
	struct outcome *outcome;
};

struct cases {
	struct test_case *at;
	int count, room;
};

/* report.c */
int cases_with(const struct cases *all, enum status status);
/* Reasons of skips with their counts, then each failure with its message. */
void report_print(const struct cases *all, FILE *out);
/* docs/conformance.md */
void report_write_docs(const struct cases *all, FILE *out);

#endif
