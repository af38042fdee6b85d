/* calls.c: the table of call routines. A compiled library names its routines directly and so links
 * only those it uses; the table is for the compiler and the interpreter. */
#include "runtime/calls.h"

#include <string.h>

#define ROUTINE(name) {#name, hone_call_##name, hone_scratch_##name},
const struct hone_call_row hone_calls[] = {
	HONE_CALL_ROUTINES(ROUTINE){NULL, NULL, NULL},
};
#undef ROUTINE

const struct hone_call_row *hone_call_find(const char *name)
{
	for (const struct hone_call_row *r = hone_calls; r->name; r++) {
		if (!strcmp(r->name, name))
			return r;
	}
	return NULL;
}
