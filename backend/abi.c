/* abi.c: what the function of a kernel needs, and emission by driver. */
#include "backend/attention.h"
#include "backend/call.h"
#include "backend/contract.h"

static dim round_up(struct dim_pool *p, dim bytes)
{
	dim align = dim_const(p, 64);

	return dim_mul(p, dim_ceildiv(p, bytes, align), align);
}

static void add_scratch(struct kernel_abi *abi, struct dim_pool *p, struct arena *a, dim bytes)
{
	dim *words;

	if (dim_is(bytes, 0))
		return;
	words = ARENA_ARRAY(a, dim, abi->word_count + 1);
	for (int i = 0; i < abi->word_count; i++)
		words[i] = abi->words[i];
	abi->scratch_stride_word = abi->word_count;
	words[abi->word_count++] = round_up(p, bytes);
	abi->words = words;
	abi->scratch = abi->buffer_count++;
	abi->scratch_bytes = bytes;
}

static bool analyze(const struct kernel *k, struct arena *a, struct loops_info *info)
{
	struct contract c;

	return k->plan.driver == DRIVER_CONTRACT ? contract_analyze(k, a, info, &c)
						 : loops_analyze(k, a, info);
}

bool kernel_abi_of(const struct kernel *k, struct arena *a, struct kernel_abi *abi)
{
	struct dim_pool *p = k->exprs->dims;
	struct loops_info *info;
	dim scratch, one = dim_const(p, 1);

	*abi = (struct kernel_abi){.scratch = -1,
				   .bound = -1,
				   .scratch_stride_word = -1,
				   .tasks = one,
				   .buffer_count = k->buffers.count,
				   .scratch_bytes = dim_const(p, 0)};
	if (kernel_is_call(k)) {
		if (!call_words(k, a, &abi->word_count, &abi->words, &scratch))
			return false;
		add_scratch(abi, p, a, scratch);
		abi->can_fail = true;
		if (k->node && k->node->symbol_count)
			abi->bound = abi->buffer_count++;
		return true;
	}
	if (k->plan.driver == DRIVER_ATTENTION) {
		if (!attention_abi(k, a, abi, &scratch))
			return false;
		add_scratch(abi, p, a, scratch);
		return true;
	}
	info = ARENA_NEW(a, struct loops_info);
	if (!analyze(k, a, info))
		return false;
	abi->word_count = info->words.count;
	abi->words = info->words.at;
	abi->can_fail = info->can_fail;
	for (int i = 0; i < info->task_count; i++)
		abi->tasks = dim_mul(p, abi->tasks, info->tasks[i].count);
	add_scratch(abi, p, a, info->scratch_bytes);
	return true;
}

bool emit_kernel(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		 const char *name, struct diag *d)
{
	LLVMTypeRef params[6] = {e->ptr, e->ptr, e->ptr, e->i64, e->i64, e->i64};
	LLVMValueRef fn = LLVMGetNamedFunction(e->module, name);

	if (!fn)
		fn = emitter_function(e, name, LLVMFunctionType(e->void_, params, 6, 0), true);
	switch (k->plan.driver) {
	case DRIVER_CALL: return emit_call(e, k, abi, fn, d);
	case DRIVER_ATTENTION: return emit_attention(e, k, abi, fn, d);
	case DRIVER_CONTRACT: return emit_contract(e, k, abi, fn, d);
	default: return emit_loops(e, k, abi, fn, d);
	}
}
