/* npz.h: the arrays of a NumPy .npz file: a zip archive of .npy members, stored or deflated.
 * Source: PKWARE APPNOTE 6.3.9, sections 4.3 to 4.5 (zip64 included); inflation is zlib's. */
#ifndef CLI_NPZ_H
#define CLI_NPZ_H

#include "ir/diag.h"
#include "runtime/hone.h"

/* One array; its data is in the arena that it was read into. */
struct npz_array {
	const char *name; /* without .npy */
	hone_tensor tensor;
};

/* Reads all arrays into `a`; *count of them. limit: most bytes that they may take, inflated; 0: 1 GB + 8 * the file.
 * NULL: reported. */
struct npz_array *npz_read(const char *path, uint64_t limit, struct arena *a, int *count,
			   struct diag *d);
/* The same from bytes; path is for messages. */
struct npz_array *npz_parse(const char *path, const void *bytes, size_t size, uint64_t limit,
			    struct arena *a, int *count, struct diag *d);

#endif
