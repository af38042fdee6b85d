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

/* Reads all arrays into `a`; *count of them. NULL: reported. */
struct npz_array *npz_read(const char *path, struct arena *a, int *count, struct diag *d);

#endif
