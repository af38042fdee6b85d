/* fuzz_npz.c: any bytes as an archive of calibration inputs. The reader must answer with arrays, each byte of which can
 * be read, or with one error, within its limit. Built with cli/npz.c, which leaves out checksums here. */
#include "cli/npz.h"

#include "ir/arena.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { LIMIT = 1 << 24 };

static void touch(const struct npz_array *array)
{
	volatile uint8_t sum = 0;

	if (array->tensor.rank < 0 || array->tensor.rank > HONE_MAX_RANK || !array->name)
		abort();
	for (int64_t i = 0; i < array->tensor.size; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)array->tensor.data)[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct arena a = {0};
	struct diag d = {0};
	int count = 0;
	struct npz_array *arrays = npz_parse("x.npz", bytes, size, LIMIT, &a, &count, &d);

	if ((arrays == NULL) != (d.errors == 1))
		abort();
	for (int i = 0; arrays && i < count; i++)
		touch(&arrays[i]);
	if (a.used > 4 * (size_t)LIMIT + (1 << 20))
		abort();
	diag_reset(&d);
	arena_free(&a);
	return 0;
}
