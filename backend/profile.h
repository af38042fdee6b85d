/* profile.h: times of the kernels of a model that was compiled in-process. The emitted run function calls
 * profile_mark before and after each kernel; nothing is emitted when no profile is asked for. */
#ifndef BACKEND_PROFILE_H
#define BACKEND_PROFILE_H

#include "ir/work.h"

#include <stdbool.h>

struct program;
struct hone_frame;

/* One use of a kernel in the program. */
struct profile_row {
	const char *function; /* its symbol */
	const char *origin;   /* the ONNX nodes it came from, joined by " + " */
	const struct kernel *kernel;
	struct kernel_work work; /* of all its calls in a run */
	double calls;    /* in a run: more than one inside a loop, 0 in a branch not taken */
	double ms, best; /* of a run: the median over the runs, and the least */
};

/* One call of a kernel in the last run that was kept: times in ms from the run's start. */
struct profile_event {
	int row;
	double start, end;
};

/* A profile is for one compiled program and one thread at a time. */
struct profile *profile_new(void);
void profile_free(struct profile *p);
/* Called by the in-process engine when it compiles: takes the program's sites, which must outlive the profile's use. */
void profile_attach(struct profile *p, struct program *program, const char *const *functions);
/* Around a run of the model. Work is counted while counting; those runs take longer and their times are dropped. */
void profile_start(struct profile *p, bool counting);
void profile_stop(struct profile *p);
/* The rows in program order, for the runs since the last call with counting; owned by the profile, until the next run. */
int profile_rows(struct profile *p, const struct profile_row **rows);
int profile_events(const struct profile *p, const struct profile_event **events);
/* Medians over the runs, in ms: of the run, and of what it spent outside kernels (marks included). */
double profile_run_ms(const struct profile *p);
double profile_between_ms(const struct profile *p);

/* What emitted code calls. end: 0 before, 1 after the kernel of this site. */
typedef void profile_mark_fn(struct profile *p, struct hone_frame *frame, int32_t site,
			     int32_t end);
profile_mark_fn profile_mark;

#endif
