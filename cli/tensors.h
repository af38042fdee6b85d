/* tensors.h: inputs and outputs of the command: files, random values, comparison. */
#ifndef CLI_TENSORS_H
#define CLI_TENSORS_H

#include "cli/options.h"
#include "runtime/hone.h"

/* Tensors of a model's inputs or outputs, each owned (malloc'ed data). */
struct tensors {
	int count;
	hone_tensor *at;
};

/* Reads one .npy or TensorProto .pb file. */
bool tensor_read(const char *path, struct arena *a, hone_tensor *out, struct diag *d);
/* Writes .npy, or .pb by suffix. */
bool tensor_write(const char *path, const char *name, const hone_tensor *t, struct diag *d);

/* Inputs from FILE words in model order, or NAME=FILE. All must be given. */
bool inputs_read(const hone_model *m, const struct list *words, struct arena *a,
		 struct tensors *out, struct diag *d);
/* Seeded random inputs: floats in [-1, 1), integers in [0, 8). A symbolic dim has the size that a NAME=N of `dims` gives it,
 * else its minimum, but at least 1. */
bool inputs_random(const hone_model *m, int64_t seed, const struct list *dims, struct tensors *out,
		   struct diag *d);
/* Fills a tensor of dtype, rank and dims with such values; the data is in `a`. */
bool tensor_random(hone_tensor *t, int64_t seed, struct arena *a);
/* A hone_allocate that gives malloc'ed memory, for tensors_free. */
void *output_allocate(void *self, int32_t output, int64_t size);
void tensors_free(struct tensors *t);

int64_t tensor_count(const hone_tensor *t);
/* "f32[1,8]" */
const char *tensor_type_text(struct arena *a, const hone_tensor *t);
/* Element i as a number (integers up to 2^53 exactly). */
double tensor_number(const hone_tensor *t, int64_t i);

/* Compares as numpy.testing.assert_allclose does: |x - y| <= atol + rtol * |y|, NaN equals NaN, integers and bool
 * exactly; reports the first difference. */
bool tensors_match(const char *name, const hone_tensor *actual, const hone_tensor *expected,
		   double rtol, double atol, struct diag *d);

#endif
