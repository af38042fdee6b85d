/* fuzz_npy.c: any bytes are a tensor or one line of text; every byte of a tensor can be read. */
#include "runtime/npy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char text[200] = "";
	struct npy t;
	volatile uint8_t sum = 0;

	if (!npy_read(&t, bytes, size, text, sizeof(text))) {
		if (!strlen(text) || t.owned)
			abort();
		return 0;
	}
	if (t.rank < 0 || t.rank > HONE_MAX_RANK || t.size < 0)
		abort();
	for (int64_t i = 0; i < t.size; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)t.data)[i]);
	npy_free(&t);
	return 0;
}
