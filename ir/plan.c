/* plan.c: the names of the drivers, as plans print them. */
#include "ir/plan.h"

#include <stddef.h>

const char *const driver_names[DRIVER_COUNT + 1] = {"none",      "loops", "contract",
						    "attention", "call",  NULL};
