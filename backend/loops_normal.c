/* loops_normal.c: loops of a kernel in the form that suits the driver. */
#include "backend/loops_plan.h"

void loops_normalize(struct kernel *k)
{
	(void)k;
}
