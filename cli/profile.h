/* profile.h: hone bench --profile. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "backend/profile.h"
#include "cli/session.h"
#include "cli/tensors.h"

/* Runs the compiled model (made with s->profile) for some seconds and prints a table of its kernels, the slowest
 * first, or JSON. trace: a file for the last run as a Chrome trace, or "". False: reported. */
bool profile_report(struct session *s, const struct tensors *in, int threads, double seconds,
		    const char *trace);

#endif
