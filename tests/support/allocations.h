/* allocations.h: how often this program has allocated. A program that reads it has the C library's allocator
 * behind functions that count, but where a sanitizer has put its own. */
#ifndef TESTS_SUPPORT_ALLOCATIONS_H
#define TESTS_SUPPORT_ALLOCATIONS_H

#include "tests/support/sanitized.h"

/* Always 0 under a sanitizer. */
long allocation_count(void);

#endif
