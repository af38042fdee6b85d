/* setup_emit.c: the setup function: from symbols to words, one stage at a time, and the checks of that stage.
 *
 *	int32_t setup(frame, stage) { switch (stage) { case 0: words[7] = words[0] * 64; ... } } */
#include "backend/run_emit.h"

#include <stddef.h>

LLVMValueRef const_i64(struct emitter *e, int64_t x)
{
	return LLVMConstInt(e->i64, (unsigned long long)x, 1);
}

LLVMValueRef const_i32(struct emitter *e, int32_t x)
{
	return LLVMConstInt(e->i32, (unsigned long long)x, 1);
}

LLVMValueRef frame_field(struct emitter *e, LLVMValueRef frame, size_t offset)
{
	LLVMValueRef at = const_i64(e, (int64_t)offset);

	return LLVMBuildGEP2(e->builder, e->i8, frame, &at, 1, "");
}

LLVMValueRef load_at(struct emitter *e, LLVMTypeRef type, LLVMValueRef pointer, int64_t byte_offset)
{
	LLVMValueRef at = const_i64(e, byte_offset);

	if (byte_offset)
		pointer = LLVMBuildGEP2(e->builder, e->i8, pointer, &at, 1, "");
	return LLVMBuildLoad2(e->builder, type, pointer, "");
}

struct setup_emitter {
	struct emitter *e;
	struct program *p;
	LLVMValueRef words;
};

static LLVMValueRef symbol_value(void *self, int symbol)
{
	struct setup_emitter *s = self;

	return load_at(s->e, s->e->i64, s->words, (int64_t)s->p->symbol_word[symbol] * 8);
}

static void store_word(struct setup_emitter *s, int word, LLVMValueRef value)
{
	LLVMValueRef at = const_i64(s->e, (int64_t)word * 8);

	LLVMBuildStore(s->e->builder, value,
		       LLVMBuildGEP2(s->e->builder, s->e->i8, s->words, &at, 1, ""));
}

static bool is_symbol_word(const struct program *p, int word)
{
	return word < p->graph->dims.symbol_count;
}

static bool reads_late(const struct program *p, dim d)
{
	if (d->kind == DIM_SYMBOL)
		return p->is_late[d->value];
	for (int i = 0; i < d->count; i++)
		if (reads_late(p, d->arg[i]))
			return true;
	return false;
}

/* The stage at which a check can be made: that of its last symbol; one with a loop's trip count only after the
 * loop, in the late stage that follows all others. */
static int stage_of_check(const struct program *p, const struct require *q)
{
	int left = dim_stage(q->left), right = dim_stage(q->right),
	    stage = left > right ? left : right;

	return reads_late(p, q->left) || reads_late(p, q->right) ? p->stage_count + stage : stage;
}

/* Returns 1 + i from the function when check i of this stage fails. */
static void emit_checks(struct setup_emitter *s, LLVMValueRef function, int stage)
{
	struct emitter *e = s->e;
	struct graph *g = s->p->graph;

	for (int i = 0; i < g->requires.count; i++) {
		LLVMBasicBlockRef bad, good;
		LLVMValueRef equal;

		if (stage_of_check(s->p, &g->requires.at[i]) != stage)
			continue;
		bad = LLVMAppendBasicBlockInContext(e->context, function, "");
		good = LLVMAppendBasicBlockInContext(e->context, function, "");
		equal = LLVMBuildICmp(
			e->builder, LLVMIntEQ,
			load_at(e, e->i64, s->words, (int64_t)s->p->check_left[i] * 8),
			load_at(e, e->i64, s->words, (int64_t)s->p->check_right[i] * 8), "");
		LLVMBuildCondBr(e->builder, equal, good, bad);
		LLVMPositionBuilderAtEnd(e->builder, bad);
		LLVMBuildRet(e->builder, const_i32(e, 1 + i));
		LLVMPositionBuilderAtEnd(e->builder, good);
	}
}

/* LLVM schedules a block in quadratic time. */
enum { WORDS_IN_BLOCK = 32 };

static void begin_block(struct setup_emitter *s, LLVMValueRef function)
{
	LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(s->e->context, function, "");

	LLVMBuildBr(s->e->builder, next);
	LLVMPositionBuilderAtEnd(s->e->builder, next);
}

static void emit_stage(struct setup_emitter *s, LLVMValueRef function, int stage)
{
	struct emitter *e = s->e;

	int stored = 0;

	for (int i = 0; i < s->p->words.count && stage <= s->p->stage_count; i++) {
		dim d = s->p->words.at[i];

		if (is_symbol_word(s->p, i) || dim_stage(d) != stage)
			continue;
		store_word(s, i, emit_dim(e, d, symbol_value, s));
		if (++stored % WORDS_IN_BLOCK == 0)
			begin_block(s, function);
	}
	emit_checks(s, function, stage);
	LLVMBuildRet(e->builder, const_i32(e, 0));
}

LLVMValueRef declare_setup(struct emitter *e)
{
	LLVMTypeRef params[2] = {e->ptr, e->i32};
	LLVMValueRef f = LLVMGetNamedFunction(e->module, "setup");

	return f ? f : emitter_function(e, "setup", LLVMFunctionType(e->i32, params, 2, 0), false);
}

LLVMValueRef emit_setup(struct emitter *e, struct program *p)
{
	LLVMValueRef f = declare_setup(e);
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(e->context, f, "entry");
	LLVMBasicBlockRef other = LLVMAppendBasicBlockInContext(e->context, f, "other");
	struct setup_emitter s = {.e = e, .p = p};
	LLVMValueRef choice;

	LLVMPositionBuilderAtEnd(e->builder, entry);
	s.words = LLVMBuildLoad2(
		e->builder, e->ptr,
		frame_field(e, LLVMGetParam(f, 0), offsetof(struct hone_frame, words)), "words");
	choice = LLVMBuildSwitch(e->builder, LLVMGetParam(f, 1), other,
				 (unsigned)p->stage_count * 2 + 1);
	for (int stage = 0; stage <= p->stage_count * 2; stage++) {
		LLVMBasicBlockRef block = LLVMAppendBasicBlockInContext(e->context, f, "");

		LLVMAddCase(choice, const_i32(e, stage), block);
		LLVMPositionBuilderAtEnd(e->builder, block);
		emit_stage(&s, f, stage);
	}
	LLVMPositionBuilderAtEnd(e->builder, other);
	LLVMBuildRet(e->builder, const_i32(e, 0));
	return f;
}
