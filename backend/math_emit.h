/* math_emit.h: arithmetic in short names, for the math functions (math_*.c). All values have `lanes` lanes of
 * type `t` (f32 or f64); integers are of the same width. */
#ifndef BACKEND_MATH_EMIT_H
#define BACKEND_MATH_EMIT_H

#include "backend/scalar_emit.h"

struct fx {
	struct emitter *e;
	enum dtype t;
	int lanes;
};

LLVMValueRef fx_real(struct fx *f, double x);
LLVMValueRef fx_int(struct fx *f, int64_t x);
LLVMTypeRef fx_int_type(struct fx *f);
LLVMValueRef fx_add(struct fx *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fx_sub(struct fx *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fx_mul(struct fx *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fx_div(struct fx *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fx_fma(struct fx *f, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
LLVMValueRef fx_neg(struct fx *f, LLVMValueRef a);
LLVMValueRef fx_abs(struct fx *f, LLVMValueRef a);
LLVMValueRef fx_sqrt(struct fx *f, LLVMValueRef a);
LLVMValueRef fx_round(struct fx *f, LLVMValueRef a); /* to nearest, ties to even */
LLVMValueRef fx_trunc(struct fx *f, LLVMValueRef a);
LLVMValueRef fx_min(struct fx *f, double c, LLVMValueRef a); /* NaN stays */
LLVMValueRef fx_max(struct fx *f, double c, LLVMValueRef a);
LLVMValueRef fx_select(struct fx *f, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fx_test(struct fx *f, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef fx_test_real(struct fx *f, LLVMRealPredicate p, LLVMValueRef a, double b);
LLVMValueRef fx_bits(struct fx *f, LLVMValueRef a); /* to integer */
LLVMValueRef fx_from_bits(struct fx *f, LLVMValueRef a);
LLVMValueRef fx_copysign(struct fx *f, LLVMValueRef size, LLVMValueRef sign);
/* c[0] + c[1] x + .. + c[n-1] x^(n-1) */
LLVMValueRef fx_poly(struct fx *f, LLVMValueRef x, int n, const double *c);
/* table[i] where the lowest bits of x are i, of as many entries as math_table_size(f), which is not 0. */
LLVMValueRef fx_look_up(struct fx *f, const double *table, LLVMValueRef x);
/* Any lane of an i1 vector. */
LLVMValueRef fx_any(struct fx *f, LLVMValueRef mask);

LLVMValueRef math_exp(struct fx *f, LLVMValueRef x);
LLVMValueRef math_log(struct fx *f, LLVMValueRef x);
LLVMValueRef math_log1p(struct fx *f, LLVMValueRef x);
LLVMValueRef math_pow(struct fx *f, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef math_tanh(struct fx *f, LLVMValueRef x);
LLVMValueRef math_sinh(struct fx *f, LLVMValueRef x);
LLVMValueRef math_cosh(struct fx *f, LLVMValueRef x);
LLVMValueRef math_asinh(struct fx *f, LLVMValueRef x);
LLVMValueRef math_acosh(struct fx *f, LLVMValueRef x);
LLVMValueRef math_atanh(struct fx *f, LLVMValueRef x);
LLVMValueRef math_erf(struct fx *f, LLVMValueRef x);
/* Entries of a table that one instruction looks up: the lanes of f32 with AVX-512 or AVX2 (TABLE_MAX or half), or 0. */
enum { TABLE_MAX = 16 };
int math_table_size(const struct fx *f);
LLVMValueRef math_erf_table(struct fx *f, LLVMValueRef x);  /* of any size */
LLVMValueRef math_tanh_table(struct fx *f, LLVMValueRef x); /* of TABLE_MAX */
LLVMValueRef math_asin(struct fx *f, LLVMValueRef x);
LLVMValueRef math_acos(struct fx *f, LLVMValueRef x);
LLVMValueRef math_atan(struct fx *f, LLVMValueRef x);
LLVMValueRef math_circular(struct fx *f, enum expr_op op,
			   LLVMValueRef x); /* EXPR_SIN, COS, TAN; f64 only */

#endif
