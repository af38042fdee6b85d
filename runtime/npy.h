/* npy.h: tensors in NumPy's .npy format.
 * Source: NumPy Enhancement Proposal 1 and numpy/lib/format.py: versions 1.0, 2.0, 3.0. */
#ifndef RUNTIME_NPY_H
#define RUNTIME_NPY_H

#include "runtime/hone.h"

#include <stdbool.h>

/* A tensor that was read: C order, this machine's byte order. */
struct npy {
	int32_t dtype, rank; /* code of hone.h */
	int64_t dims[HONE_MAX_RANK];
	int64_t size; /* bytes of the data */
	const void *data;
	void *owned; /* freed by npy_free, or NULL */
};

/* Reads a tensor from bytes. data points into `bytes` if it can (C order, aligned), so they must
 * outlive *t. Takes the little-endian types f2 f4 f8 i1..i8 u1..u8 b1, and V2 as bf16. On failure
 * puts a line into text and returns false; *t is then empty. */
bool npy_read(struct npy *t, const void *bytes, size_t size, char *text, size_t text_size);

/* The same from a file; the text begins with its name. */
bool npy_read_file(struct npy *t, const char *path, char *text, size_t text_size);

void npy_free(struct npy *t);

/* Writes a contiguous tensor to a file, by a temporary name (file.h). bf16 is written as V2; f8,
 * 4- and 2-bit types and strings are refused. */
bool npy_write_file(const char *path, int32_t dtype, int32_t rank, const int64_t *dims,
		    const void *data, char *text, size_t text_size);

#endif
