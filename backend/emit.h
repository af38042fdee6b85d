/* emit.h: kernel IR to LLVM IR. One module at a time; used alike by the in-process engine (jit.c) and the
 * file emitter (object.c). */
#ifndef BACKEND_EMIT_H
#define BACKEND_EMIT_H

#include "backend/target.h"
#include "ir/kernel.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

struct emitter {
	LLVMContextRef context;
	LLVMModuleRef module;
	LLVMBuilderRef builder;
	const struct target *target;
	struct arena *arena; /* scratch for names and tables; lives as long as the emitter */
	LLVMTypeRef i1, i8, i16, i32, i64, f16, bf16, f32, f64, ptr, void_;
};

/* Makes the context, module and builder; frees them. */
void emitter_open(struct emitter *e, const struct target *t, struct arena *a,
		  const char *module_name);
void emitter_close(struct emitter *e);
/* Adds a function with the target's attributes (target-cpu, target-features, prefer-vector-width, nounwind,
 * uwtable off; sanitizer attributes when asked) and internal or hidden linkage. */
LLVMValueRef emitter_function(struct emitter *e, const char *name, LLVMTypeRef type, bool visible);
/* Target machine at code generation level 1, position independent. One per thread. */
LLVMTargetMachineRef target_machine(const struct target *t, struct diag *d);
/* Runs the one pass that instruments sanitized functions (when asked), verifies, and emits an object (or
 * assembly) into *out (LLVMMemoryBufferRef, the caller disposes). */
bool emitter_finish(struct emitter *e, LLVMCodeGenFileType type, LLVMMemoryBufferRef *out,
		    struct diag *d);

/* How a kernel function is called: it is a hone_kernel_fn (runtime/program.h). */
struct kernel_abi {
	int word_count;
	const dim *words;  /* words[i] is read by the function as its word i */
	int buffer_count;  /* buffers[i] is kernel buffer i, in order, in and out; then scratch */
	int scratch;       /* index of the scratch buffer (per worker), -1 if none */
	dim scratch_bytes; /* of one worker: all locals and call scratch */
	int scratch_stride_word; /* the word that holds scratch_bytes rounded up to 64 */
	int bound; /* index of the i64 buffer that receives the symbols a call binds, -1 if none */
	dim tasks; /* number of tasks; constant 1 when it does not split */
	bool can_fail; /* may set frame->fail */
};

/* Chooses a plan for k (its cost model; deterministic) and stores it in k->plan. */
bool plan_choose(struct kernel *k, const struct target *t, struct diag *d);
/* All plans a driver offers for k: fills at most `room`, returns the number. For tests. */
int plan_enumerate(const struct kernel *k, const struct target *t, struct arena *a,
		   struct plan *out, int room);

/* What the function of a kernel with this plan needs; does not emit. Same order as emit_kernel. */
bool kernel_abi_of(const struct kernel *k, struct arena *a, struct kernel_abi *abi);
/* Emits k by its plan as function `name`. */
bool emit_kernel(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		 const char *name, struct diag *d);

/* The value of a dim in code: `word(self, d)` gives the LLVM value of a symbol. Overflow saturates. */
LLVMValueRef emit_dim(struct emitter *e, dim d, LLVMValueRef (*symbol)(void *self, int symbol),
		      void *self);

#endif
