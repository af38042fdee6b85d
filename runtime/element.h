/* element.h: one element of any type, for routines that are not worth a version for each type. */
#ifndef RUNTIME_ELEMENT_H
#define RUNTIME_ELEMENT_H

#include "runtime/dtype.h"
#include "runtime/hone.h"

#include <stdbool.h>

/* True for the types that the functions below take: whole bytes, no strings. */
bool rt_is_plain(int32_t dtype);

static inline int64_t element_size(int32_t dtype) { return rt_dtype_bits(dtype) / 8; }

bool rt_is_float(int32_t dtype);

/* Element i as a double (64-bit integers are rounded) or as an integer (floats are truncated and
 * saturate, NaN gives 0). */
double rt_load_double(int32_t dtype, const void *data, int64_t i);
int64_t rt_load_int(int32_t dtype, const void *data, int64_t i);

/* Stores a value rounded to nearest even; integers truncate and saturate. f8 is not taken. */
void rt_store_double(int32_t dtype, void *data, int64_t i, double value);

/* A number whose unsigned order is the order of the elements: NaN last, -0 the same as +0. */
uint64_t rt_load_key(int32_t dtype, const void *data, int64_t i);

#endif
