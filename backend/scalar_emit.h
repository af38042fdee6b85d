/* scalar_emit.h: the operations of scalar.def, casts and storage types as LLVM IR, for one value (lanes 1)
 * or a vector. A bool is an i1 in registers and a byte 0 or 1 in memory. Nothing built here can become a
 * library call on any of the levels. */
#ifndef BACKEND_SCALAR_EMIT_H
#define BACKEND_SCALAR_EMIT_H

#include "backend/emit.h"

/* The LLVM type of values of compute type t, and of elements of type t in memory (packed types: i8). */
LLVMTypeRef value_type(struct emitter *e, enum dtype t, int lanes);
LLVMTypeRef memory_type(struct emitter *e, enum dtype t, int lanes);
LLVMTypeRef vector_of(LLVMTypeRef t, int lanes); /* t itself for 1 lane */

LLVMValueRef value_int(struct emitter *e, enum dtype t, int lanes,
		       int64_t x); /* also of float types */
LLVMValueRef emit_real(struct emitter *e, enum dtype t, int lanes, double x);
LLVMValueRef value_splat(struct emitter *e, LLVMValueRef scalar, int lanes);
/* 0, 1, 2, .. as i64. */
LLVMValueRef value_lanes(struct emitter *e, int lanes);

/* A call of an LLVM intrinsic overloaded on `types`. */
LLVMValueRef emit_intrinsic(struct emitter *e, const char *name, int type_count, LLVMTypeRef *types,
			    int count, LLVMValueRef *args);
/* llvm.masked.{load,store,gather,scatter} of `vector`: `where` is the index of the pointer among the `count`
 * operands, align that of an element in bytes. */
LLVMValueRef emit_masked(struct emitter *e, const char *name, LLVMTypeRef vector, int count,
			 LLVMValueRef *arg, int where, unsigned align);
/* a * b + c: one rounding where the level has FMA. */
LLVMValueRef emit_fma(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);

/* One operation of scalar.def over operands of type `operand`. */
LLVMValueRef emit_scalar(struct emitter *e, enum expr_op op, enum dtype operand, int lanes,
			 LLVMValueRef *arg);
/* EXPR_CAST, EXPR_SAT_CAST, EXPR_BITS_CAST between compute types. */
LLVMValueRef emit_cast(struct emitter *e, enum expr_op op, enum dtype from, enum dtype to,
		       int lanes, LLVMValueRef x);
/* max or min of which constant `c` is known not to be NaN: one compare and select. */
LLVMValueRef emit_clamp(struct emitter *e, bool max, LLVMValueRef c, LLVMValueRef x);

/* Between memory form and compute value; not for packed types. */
LLVMValueRef emit_decode(struct emitter *e, enum dtype storage, int lanes, LLVMValueRef x);
LLVMValueRef emit_encode(struct emitter *e, enum dtype storage, int lanes, LLVMValueRef x);

/* Opens internal function `name` once per module: true when it must be filled now: then the builder stands in
 * its entry, and *back is where it stood. */
bool emit_helper(struct emitter *e, const char *name, LLVMTypeRef type, LLVMValueRef *fn,
		 LLVMBasicBlockRef *back);

/* math_*.c: the float functions of scalar.def from EXPR_EXP to EXPR_ERF, and fmod (C's). t is f32 or f64. */
LLVMValueRef emit_math(struct emitter *e, enum expr_op op, enum dtype t, int lanes,
		       LLVMValueRef *arg);
LLVMValueRef emit_fmod(struct emitter *e, enum dtype t, int lanes, LLVMValueRef a, LLVMValueRef b);

#endif
