/* call.h: the call driver: a kernel that is one call of a runtime routine. */
#ifndef BACKEND_CALL_H
#define BACKEND_CALL_H

#include "backend/loops.h"

bool kernel_is_call(const struct kernel *k);
/* The dims that the call reads, and the bytes of scratch it needs; false: scratch without a bound. */
bool call_words(const struct kernel *k, struct arena *a, int *count, const dim **words,
		dim *scratch);
bool emit_call(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
	       LLVMValueRef fn, struct diag *d);

#endif
