/* dtype.h: sizes and names of the element types (ONNX codes, hone.h). */
#ifndef RUNTIME_DTYPE_H
#define RUNTIME_DTYPE_H

#include <stdint.h>

/* Bits of one element; 0 for a code that is no element type. A string is a pointer. */
int32_t rt_dtype_bits(int32_t dtype);

/* "f32", "i64", ...; "?" for a code that is no element type. */
const char *rt_dtype_name(int32_t dtype);

/* Bytes of a contiguous tensor (4- and 2-bit elements are packed), or -1 if a dim is negative, the
 * rank or dtype is not one, or the product overflows. */
int64_t rt_tensor_bytes(int32_t dtype, int32_t rank, const int64_t *dims);

#endif
