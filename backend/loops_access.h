/* loops_access.h: what loads and stores share. */
#ifndef BACKEND_LOOPS_ACCESS_H
#define BACKEND_LOOPS_ACCESS_H

#include "backend/loops.h"

/* Where a copy of an access is. Packed types have an element index instead of a pointer. */
struct place {
	const struct access *a;
	LLVMValueRef at; /* of lane 0, without `offsets`: from + shift */
	LLVMValueRef from;
	int64_t shift;
	LLVMValueRef offsets; /* elements, one for each lane, or NULL */
	LLVMValueRef
		stride; /* elements from lane to lane when there are no offsets; NULL: all lanes are one */
};

/* Whether several elements share a byte. */
static inline bool is_packed(enum dtype t) { return dtype_bits(t) < 8; }

/* Where copy c of an access is, in code before the builder's position. */
struct place gen_place(struct gen *g, struct access *a, struct copy c);
/* `at` and `by` elements more. */
LLVMValueRef gen_advance(struct gen *g, const struct access *a, LLVMValueRef at, LLVMValueRef by);
/* One lane's place; the places of all, as a vector of pointers. */
LLVMValueRef gen_lane_place(struct gen *g, const struct place *p, int lane);
LLVMValueRef gen_pointers(struct gen *g, const struct place *p);
/* The byte that holds a packed element, and by how many bits (i32) it is shifted there. */
LLVMValueRef gen_packed_byte(struct gen *g, const struct access *a, LLVMValueRef index,
			     LLVMValueRef *shift);
/* Bytes of an element in memory, at least 1: the alignment of accesses. */
unsigned gen_element_bytes(enum dtype t);
/* Whether v is the constant 1; v may be NULL. */
bool gen_is_one(LLVMValueRef v);

/* Loads (loops_load.c): lanes that lie one after the other, without a mask; and of any place, in the type of computing.
 * mask: one bit, a vector of them, or NULL. */
LLVMValueRef gen_plain_load(struct gen *g, enum dtype t, int lanes, LLVMValueRef at);
LLVMValueRef gen_load_at(struct gen *g, const struct place *p, bool vector, LLVMValueRef mask);
#endif
