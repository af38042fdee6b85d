/* kernel_jit.c: LLJIT around one kernel. */
#define _GNU_SOURCE
#include "tests/support/kernel_jit.h"

#include "backend/packing.h"

#include <llvm-c/LLJIT.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded guarded_alloc(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page + 1;
	struct guarded g = {.size = size, .mapped = (pages + 1) * page};

	g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect((char *)g.map + pages * page, page, PROT_NONE);
	g.data = (char *)g.map + pages * page - size;
	return g;
}

void guarded_free(struct guarded *g)
{
	if (g->map)
		munmap(g->map, g->mapped);
	g->map = NULL;
}

LLVMMemoryBufferRef kernel_object(const struct kernel *k, const struct target *t,
				  LLVMCodeGenFileType type, struct diag *d)
{
	struct arena a = {0};
	struct kernel_abi abi;
	struct emitter e;
	LLVMMemoryBufferRef out = NULL;

	emitter_open(&e, t, &a, "test");
	if (kernel_abi_of(k, &a, &abi) && emit_kernel(&e, k, &abi, "kernel", d)) {
		if (getenv("HONE_TEST_IR"))
			LLVMDumpModule(e.module);
		emitter_finish(&e, type, &out, d);
	}
	emitter_close(&e);
	arena_free(&a);
	return out;
}

bool kernel_jit_make(struct kernel_jit *j, struct kernel *k, const struct target *t, struct diag *d)
{
	LLVMMemoryBufferRef object;
	LLVMOrcLLJITRef jit;
	LLVMOrcExecutorAddress at = 0;
	LLVMErrorRef error;

	*j = (struct kernel_jit){.kernel = k};
	object = kernel_object(k, t, LLVMObjectFile, d);
	if (!object || !kernel_abi_of(k, &j->arena, &j->abi))
		return false;
	if (getenv("HONE_TEST_OBJECT")) {
		FILE *f = fopen(getenv("HONE_TEST_OBJECT"), "wb");

		fwrite(LLVMGetBufferStart(object), 1, LLVMGetBufferSize(object), f);
		fclose(f);
	}
	error = LLVMOrcCreateLLJIT(&jit, NULL);
	if (!error) {
		j->jit = jit;
		error = LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), object);
	}
	if (!error)
		error = LLVMOrcLLJITLookup(jit, &at, "kernel");
	if (error) {
		char *text = LLVMGetErrorMessage(error);

		diag_add(d, DIAG_INTERNAL, (struct loc){0}, "%s", text);
		LLVMDisposeErrorMessage(text);
		return false;
	}
	j->fn = (hone_kernel_fn *)(uintptr_t)at;
	return true;
}

struct fill {
	char *at;
};

static bool fill(void *self, const void *data, int64_t size)
{
	struct fill *f = self;

	memcpy(f->at, data, (size_t)size);
	f->at += size;
	return true;
}

/* The operands that the plan wants in panels take their place among the buffers; their number. */
static int pack_operands(const struct kernel *k, void **buffers, void **panels)
{
	struct packing p[PACKINGS_MAX];
	int count = contract_packings(k, p);

	for (int i = 0; i < count; i++) {
		struct fill f = {aligned_alloc(64, (size_t)packing_bytes(&p[i]) + 64)};

		panels[i] = f.at;
		packing_write(&p[i], buffers[p[i].buffer], fill, &f);
		buffers[p[i].buffer] = panels[i];
	}
	return count;
}

int kernel_jit_run(struct kernel_jit *j, void *const *buffers, const int64_t *symbols, int cuts,
		   struct hone_fail *fail)
{
	int64_t *words = calloc((size_t)j->abi.word_count + 1, 8),
		tasks = dim_eval(j->abi.tasks, symbols);
	void **all = calloc((size_t)j->abi.buffer_count + 1, sizeof(*all)), *scratch = NULL,
	     *panels[PACKINGS_MAX];
	struct hone_frame frame = {0};
	int64_t bound[16] = {0};
	int packed;

	for (int i = 0; i < j->abi.word_count; i++)
		words[i] = dim_eval(j->abi.words[i], symbols);
	for (int i = 0; i < j->kernel->buffers.count; i++)
		all[i] = buffers[i];
	packed = pack_operands(j->kernel, all, panels);
	if (j->abi.scratch >= 0)
		all[j->abi.scratch] = scratch =
			aligned_alloc(64, ((size_t)words[j->abi.scratch_stride_word] + 64) * 2);
	if (j->abi.bound >= 0)
		all[j->abi.bound] = bound;
	for (int i = cuts - 1; i >= 0; i--) /* in an order no loop would take */
		j->fn(&frame, all, words, tasks * i / cuts, tasks * (i + 1) / cuts, i & 1);
	*fail = frame.fail;
	free(words);
	free(all);
	free(scratch);
	for (int i = 0; i < packed; i++)
		free(panels[i]);
	return frame.fail.code;
}

void kernel_jit_free(struct kernel_jit *j)
{
	if (j->jit)
		LLVMOrcDisposeLLJIT(j->jit);
	arena_free(&j->arena);
	j->jit = NULL;
}
