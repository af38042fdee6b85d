/* kernel_jit.h: one kernel compiled and run in this process, beside the interpreter's answer. */
#ifndef TESTS_SUPPORT_KERNEL_JIT_H
#define TESTS_SUPPORT_KERNEL_JIT_H

#include "backend/emit.h"
#include "ir/engine.h"
#include "ir/lower.h"
#include "runtime/program.h"

/* Memory of exactly `size` bytes that ends at a page which faults. */
struct guarded {
	void *data, *map;
	size_t size, mapped;
};
struct guarded guarded_alloc(size_t size);
void guarded_free(struct guarded *g);

struct kernel_jit {
	struct arena arena;
	struct kernel *kernel;
	struct kernel_abi abi;
	hone_kernel_fn *fn;
	void *jit;
};

/* Emits k by its plan for t and loads it. False: reported in d. */
bool kernel_jit_make(struct kernel_jit *j, struct kernel *k, const struct target *t,
		     struct diag *d);
/* buffers: in kernel buffer order, without scratch. cuts: tasks are run in that many calls. Returns the fail code. */
int kernel_jit_run(struct kernel_jit *j, void *const *buffers, const int64_t *symbols, int cuts,
		   struct hone_fail *fail);
void kernel_jit_free(struct kernel_jit *j);

/* The object of k for t, any level. The caller disposes the buffer. */
LLVMMemoryBufferRef kernel_object(const struct kernel *k, const struct target *t,
				  LLVMCodeGenFileType type, struct diag *d);

#endif
