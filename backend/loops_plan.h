/* loops_plan.h: normal form of a kernel, before its plan is chosen. */
#ifndef BACKEND_LOOPS_PLAN_H
#define BACKEND_LOOPS_PLAN_H

#include "backend/call.h"

/* Rewrites k's loops into an equivalent form that vectorizes better: see loops_normal.c. */
void loops_normalize(struct kernel *k);

#endif
