/* run_emit.c: the run function: the program of a model as straight calls of kernels with real control flow. */
#include "backend/profile.h"
#include "backend/run_emit.h"

#include <stddef.h>
#include <string.h>

#define FAIL_FIELD(field) (offsetof(struct hone_frame, fail) + offsetof(struct hone_fail, field))

LLVMBasicBlockRef run_block(struct run_emitter *r, const char *name)
{
	return LLVMAppendBasicBlockInContext(r->e->context, r->function, name);
}

void run_goto(struct run_emitter *r, LLVMBasicBlockRef to) { LLVMBuildBr(r->e->builder, to); }

/* ---- places ---- */

LLVMValueRef run_slot_address(struct run_emitter *r, LLVMValueRef slot)
{
	LLVMValueRef values = LLVMBuildLoad2(
		r->e->builder, r->e->ptr,
		frame_field(r->e, r->frame, offsetof(struct hone_frame, values)), "");

	return LLVMBuildGEP2(r->e->builder, r->e->ptr, values, &slot, 1, "");
}

LLVMValueRef run_slot(struct run_emitter *r, int slot)
{
	return LLVMBuildLoad2(r->e->builder, r->e->ptr, run_slot_address(r, const_i64(r->e, slot)),
			      "");
}

void run_set_slot(struct run_emitter *r, int slot, LLVMValueRef pointer)
{
	LLVMBuildStore(r->e->builder, pointer, run_slot_address(r, const_i64(r->e, slot)));
}

static LLVMValueRef constant_pointer(struct run_emitter *r, int constant)
{
	LLVMValueRef offset = const_i64(r->e, r->p->constants->at[constant].offset), weights;

	weights = LLVMBuildLoad2(r->e->builder, r->e->ptr,
				 frame_field(r->e, r->frame, offsetof(struct hone_frame, weights)),
				 "");
	return LLVMBuildGEP2(r->e->builder, r->e->i8, weights, &offset, 1, "");
}

LLVMValueRef run_pointer(struct run_emitter *r, const struct value *v)
{
	const struct place *at = &r->p->places[v->id];

	if (at->kind == PLACE_SLOT)
		return run_slot(r, at->slot);
	if (at->kind != PLACE_CONST)
		BUG("value %d has no place", v->id);
	return constant_pointer(r, at->constant);
}

LLVMValueRef run_scalar(struct run_emitter *r, const struct value *v, LLVMTypeRef type)
{
	LLVMValueRef x = LLVMBuildLoad2(r->e->builder, type, run_pointer(r, v), "");

	LLVMSetAlignment(x, 1);
	return x;
}

/* ---- words ---- */

static LLVMValueRef word_address(struct run_emitter *r, int word)
{
	LLVMValueRef words =
		LLVMBuildLoad2(r->e->builder, r->e->ptr,
			       frame_field(r->e, r->frame, offsetof(struct hone_frame, words)), "");
	LLVMValueRef at = const_i64(r->e, word);

	return LLVMBuildGEP2(r->e->builder, r->e->i64, words, &at, 1, "");
}

LLVMValueRef run_word(struct run_emitter *r, dim d)
{
	if (dim_is_const(d))
		return const_i64(r->e, d->value);
	return LLVMBuildLoad2(r->e->builder, r->e->i64, word_address(r, program_word(r->p, d)), "");
}

void run_bind_symbol(struct run_emitter *r, int symbol, LLVMValueRef value)
{
	LLVMBuildStore(r->e->builder, value, word_address(r, r->p->symbol_word[symbol]));
}

/* ---- failures ---- */

void run_fail_if(struct run_emitter *r, LLVMValueRef bad)
{
	LLVMBasicBlockRef good = run_block(r, "");

	LLVMBuildCondBr(r->e->builder, bad, r->fail, good);
	LLVMPositionBuilderAtEnd(r->e->builder, good);
}

static void store_field(struct run_emitter *r, size_t offset, LLVMValueRef value)
{
	LLVMBuildStore(r->e->builder, value, frame_field(r->e, r->frame, offset));
}

/* if (bad) { fail = {code, node, found, bound}; goto fail } */
static void fail_with(struct run_emitter *r, LLVMValueRef bad, int code, LLVMValueRef node,
		      LLVMValueRef found, LLVMValueRef bound)
{
	LLVMBasicBlockRef block = run_block(r, ""), good = run_block(r, "");

	LLVMBuildCondBr(r->e->builder, bad, block, good);
	LLVMPositionBuilderAtEnd(r->e->builder, block);
	store_field(r, FAIL_FIELD(code), const_i32(r->e, code));
	store_field(r, FAIL_FIELD(node), node);
	store_field(r, FAIL_FIELD(found), found);
	store_field(r, FAIL_FIELD(bound), bound);
	run_goto(r, r->fail);
	LLVMPositionBuilderAtEnd(r->e->builder, good);
}

static LLVMValueRef call_runtime(struct run_emitter *r, const char *name, int count,
				 LLVMValueRef *args, LLVMTypeRef *types, LLVMTypeRef result)
{
	LLVMTypeRef type = LLVMFunctionType(result, types, (unsigned)count, 0);
	LLVMValueRef f = LLVMGetNamedFunction(r->e->module, name);

	if (!f) {
		f = LLVMAddFunction(r->e->module, name, type);
		LLVMSetVisibility(f, LLVMHiddenVisibility);
	}
	return LLVMBuildCall2(r->e->builder, type, f, args, (unsigned)count, "");
}

static LLVMValueRef is_nonzero(struct run_emitter *r, LLVMValueRef x)
{
	return LLVMBuildICmp(r->e->builder, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
}

static void call_setup(struct run_emitter *r, int stage)
{
	struct emitter *e = r->e;
	LLVMValueRef args[2] = {r->frame, const_i32(e, stage)}, failed, check;

	failed = LLVMBuildCall2(e->builder, r->setup_type, r->setup, args, 2, "");
	check = LLVMBuildSub(e->builder, failed, const_i32(e, 1), "");
	fail_with(r, is_nonzero(r, failed), HONE_FAIL_CHECK, check, const_i64(e, 0),
		  const_i64(e, 0));
}

void run_stage(struct run_emitter *r, const struct node *n)
{
	if (n->symbol_count)
		call_setup(r, r->p->graph->dims.symbols[n->symbols[0]].stage);
}

void run_late_stage(struct run_emitter *r, const struct node *n)
{
	if (n->symbol_count)
		call_setup(r, r->p->stage_count + r->p->graph->dims.symbols[n->symbols[0]].stage);
}

void run_reserve(struct run_emitter *r, LLVMValueRef slot, LLVMValueRef bytes)
{
	struct emitter *e = r->e;
	LLVMValueRef args[3] = {r->frame, LLVMBuildTrunc(e->builder, slot, e->i32, ""), bytes};
	LLVMTypeRef types[3] = {e->ptr, e->i32, e->i64};

	run_fail_if(r, is_nonzero(r, call_runtime(r, "hone_rt_reserve", 3, args, types, e->i32)));
}

void run_copy(struct run_emitter *r, LLVMValueRef to, LLVMValueRef from, LLVMValueRef bytes)
{
	LLVMBuildMemCpy(r->e->builder, to, 1, from, 1, bytes);
}

/* ---- kernels ---- */

static LLVMValueRef kernel_function(struct run_emitter *r, int function)
{
	const char *name = function_symbol(r->p, r->options, function);
	LLVMValueRef f = LLVMGetNamedFunction(r->e->module, name);

	if (!f) {
		f = LLVMAddFunction(r->e->module, name, r->kernel_type);
		LLVMSetVisibility(f, LLVMHiddenVisibility);
	}
	return f;
}

static void store_buffer(struct run_emitter *r, int index, LLVMValueRef pointer)
{
	LLVMValueRef at = const_i64(r->e, index);

	LLVMBuildStore(r->e->builder, pointer,
		       LLVMBuildGEP2(r->e->builder, r->e->ptr, r->buffers, &at, 1, ""));
}

static LLVMValueRef buffer_pointer(struct run_emitter *r, const struct site *s, int buffer)
{
	for (int i = 0; i < s->packed_count; i++)
		if (s->packed[i].buffer == buffer)
			return constant_pointer(r, s->packed[i].constant);
	return run_pointer(r, s->kernel->buffers.at[buffer].value);
}

static void store_buffers(struct run_emitter *r, const struct site *s)
{
	const struct kernel *k = s->kernel;

	for (int i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i].role != BUFFER_LOCAL)
			store_buffer(r, i, buffer_pointer(r, s, i));
	if (s->scratch_slot >= 0)
		store_buffer(r, s->abi.scratch, run_slot(r, s->scratch_slot));
	if (s->bound_slot >= 0)
		store_buffer(r, s->abi.bound, run_slot(r, s->bound_slot));
}

/* Dynamic results get their memory just before the kernel that writes them. */
static void reserve_results(struct run_emitter *r, const struct node *n)
{
	for (int i = 0; i < n->out_count; i++) {
		const struct place *at = &r->p->places[n->out[i]->id];

		if (at->kind == PLACE_SLOT && r->p->slots.at[at->slot].kind == HONE_SLOT_DYNAMIC)
			run_reserve(r, const_i64(r->e, at->slot),
				    run_word(r, program_bytes(r->p, &n->out[i]->type)));
	}
}

static void call_kernel(struct run_emitter *r, const struct site *s)
{
	struct emitter *e = r->e;
	LLVMValueRef words = word_address(r, s->word_base), tasks = run_word(r, s->abi.tasks),
		     f = kernel_function(r, s->function);
	LLVMValueRef whole[6] = {r->frame,        r->buffers, words,
				 const_i64(e, 0), tasks,      const_i64(e, 0)};
	LLVMValueRef fork[6] = {r->frame, f,    r->buffers, const_i32(e, s->abi.buffer_count),
				words,    tasks};
	LLVMTypeRef types[6] = {e->ptr, e->ptr, e->ptr, e->i32, e->ptr, e->i64};

	if (s->forks && !dim_is(s->abi.tasks, 1))
		call_runtime(r, "hone_rt_fork", 6, fork, types, e->void_);
	else
		LLVMBuildCall2(e->builder, r->kernel_type, f, whole, 6, "");
}

/* Symbols that the kernel bound: from its buffer to the words, within their bounds. */
static void take_symbols(struct run_emitter *r, const struct site *s)
{
	const struct node *n = s->node;

	for (int i = 0; i < n->symbol_count && s->bound_slot >= 0; i++)
		run_bind_symbol(r, n->symbols[i],
				load_at(r->e, r->e->i64, run_slot(r, s->bound_slot), i * 8));
	if (s->bound_slot >= 0)
		run_stage(r, n);
}

/* In code that this process runs: the profile's address and function are constants. */
static void mark(struct run_emitter *r, const struct site *s, int end)
{
	struct emitter *e = r->e;
	LLVMTypeRef types[4] = {e->ptr, e->ptr, e->i32, e->i32}, type;
	LLVMValueRef args[4], address;

	if (!r->options->profile)
		return;
	type = LLVMFunctionType(e->void_, types, 4, 0);
	address = LLVMConstIntToPtr(const_i64(e, (int64_t)(uintptr_t)r->options->profile), e->ptr);
	args[0] = address;
	args[1] = r->frame;
	args[2] = const_i32(e, (int32_t)(s - r->p->sites.at));
	args[3] = const_i32(e, end);
	address = LLVMConstIntToPtr(const_i64(e, (int64_t)(uintptr_t)profile_mark), e->ptr);
	LLVMBuildCall2(e->builder, type, address, args, 4, "");
}

static void run_site(struct run_emitter *r, const struct site *s)
{
	struct emitter *e = r->e;
	LLVMValueRef code;

	if (!s)
		return;
	reserve_results(r, s->node);
	store_buffers(r, s);
	mark(r, s, 0);
	call_kernel(r, s);
	mark(r, s, 1);
	if (s->abi.can_fail) {
		code = LLVMBuildLoad2(e->builder, e->i32,
				      frame_field(e, r->frame, FAIL_FIELD(code)), "");
		store_field(r, FAIL_FIELD(node), const_i32(e, s->origin));
		run_fail_if(r, is_nonzero(r, code));
	}
	take_symbols(r, s);
}

/* ---- single nodes ---- */

static void run_bind(struct run_emitter *r, const struct node *n)
{
	struct emitter *e = r->e;
	enum dtype t = n->in[0]->type.dtype;
	LLVMTypeRef type = t == DT_I32 ? e->i32 : e->i64;
	LLVMValueRef data = run_pointer(r, n->in[0]), x, max, bad;
	int origin = program_origin(r->p, n);

	for (int i = 0; i < n->symbol_count; i++) {
		x = load_at(e, type, data, (int64_t)i * (t == DT_I32 ? 4 : 8));
		LLVMSetAlignment(x, 1);
		x = LLVMBuildSExt(e->builder, x, e->i64, "");
		max = const_i64(e, r->p->graph->dims.symbols[n->symbols[i]].max);
		bad = LLVMBuildOr(e->builder,
				  LLVMBuildICmp(e->builder, LLVMIntSLT, x, const_i64(e, 0), ""),
				  LLVMBuildICmp(e->builder, LLVMIntSGT, x, max, ""), "");
		fail_with(r, bad, HONE_FAIL_SYMBOL, const_i32(e, origin), x, max);
		run_bind_symbol(r, n->symbols[i], x);
	}
	run_stage(r, n);
}

static void run_param(struct run_emitter *r, const struct node *n)
{
	struct emitter *e = r->e;
	const struct attrs_param *attrs = n->attrs;
	enum dtype t = n->out[0]->type.dtype;
	LLVMValueRef params =
		LLVMBuildLoad2(e->builder, e->ptr,
			       frame_field(e, r->frame, offsetof(struct hone_frame, params)), "");
	LLVMValueRef x = load_at(e, e->f64, params, (int64_t)program_param(r->p, attrs->name) * 8);

	if (t == DT_F32)
		x = LLVMBuildFPTrunc(e->builder, x, e->f32, "");
	else if (t == DT_I64)
		x = LLVMBuildFPToSI(e->builder, x, e->i64, "");
	LLVMBuildStore(e->builder, x, run_pointer(r, n->out[0]));
}

static void run_return_if(struct run_emitter *r, const struct node *n)
{
	struct emitter *e = r->e;
	LLVMBasicBlockRef leave = run_block(r, "return"), on = run_block(r, "");
	LLVMValueRef c = run_scalar(r, n->in[0], e->i8);

	LLVMBuildCondBr(e->builder, is_nonzero(r, c), leave, on);
	LLVMPositionBuilderAtEnd(e->builder, leave);
	run_return(r, n->in_count - 1, n->in + 1);
	LLVMPositionBuilderAtEnd(e->builder, on);
}

static bool run_node(struct run_emitter *r, const struct node *n)
{
	switch (n->op) {
	case OP_const: return true;
	case OP_param: run_param(r, n); return true;
	case OP_bind: run_bind(r, n); return true;
	case OP_return_if: run_return_if(r, n); return true;
	case OP_if: return run_if(r, n);
	case OP_loop: return run_loop(r, n);
	case OP_scan: return run_scan(r, n);
	default: run_site(r, program_site(r->p, n)); return true;
	}
}

bool run_region(struct run_emitter *r, const struct region *region)
{
	for (const struct node *n = region->first; n; n = n->next)
		if (!run_node(r, n))
			return false;
	return true;
}

/* A value that is in the caller's buffer already needs no copy. */
static bool is_in_place(const struct run_emitter *r, const struct value *v, int output)
{
	const struct place *at = &r->p->places[v->id];

	return at->kind == PLACE_SLOT && r->p->slots.at[at->slot].kind == HONE_SLOT_OUTPUT &&
	       r->p->slots.at[at->slot].io == output;
}

void run_return(struct run_emitter *r, int count, struct value *const *values)
{
	struct emitter *e = r->e;
	LLVMTypeRef types[4] = {e->ptr, e->i32, e->ptr, e->i64};

	for (int i = 0; i < count; i++) {
		LLVMValueRef args[4] = {r->frame, const_i32(e, i), NULL, NULL};

		if (is_in_place(r, values[i], i))
			continue;
		args[2] = run_pointer(r, values[i]);
		args[3] = run_word(r, program_bytes(r->p, &values[i]->type));
		run_fail_if(r, is_nonzero(r, call_runtime(r, "hone_rt_output", 4, args, types,
							  e->i32)));
	}
	run_goto(r, r->done);
}

/* ---- the function ---- */

static int most_buffers(const struct program *p)
{
	int most = 1;

	for (int i = 0; i < p->sites.count; i++)
		if (p->sites.at[i].abi.buffer_count + 2 > most)
			most = p->sites.at[i].abi.buffer_count + 2;
	return most;
}

LLVMValueRef emit_run(struct emitter *e, struct program *p, const struct emit_options *o,
		      struct diag *d)
{
	LLVMTypeRef kernel[6] = {e->ptr, e->ptr, e->ptr, e->i64, e->i64, e->i64},
		    setup[2] = {e->ptr, e->i32};
	struct run_emitter r = {.e = e, .p = p, .options = o, .diag = d};
	LLVMBasicBlockRef start;

	r.function = emitter_function(e, "run", LLVMFunctionType(e->i32, &e->ptr, 1, 0), false);
	r.frame = LLVMGetParam(r.function, 0);
	r.kernel_type = LLVMFunctionType(e->void_, kernel, 6, 0);
	r.setup_type = LLVMFunctionType(e->i32, setup, 2, 0);
	r.setup = declare_setup(e);
	r.entry = run_block(&r, "entry");
	start = run_block(&r, "start");
	r.fail = run_block(&r, "fail");
	r.done = run_block(&r, "done");
	LLVMPositionBuilderAtEnd(e->builder, r.entry);
	r.buffers =
		LLVMBuildArrayAlloca(e->builder, e->ptr, const_i32(e, most_buffers(p)), "buffers");
	LLVMPositionBuilderAtEnd(e->builder, r.fail);
	LLVMBuildRet(e->builder, LLVMBuildLoad2(e->builder, e->i32,
						frame_field(e, r.frame, FAIL_FIELD(code)), ""));
	LLVMPositionBuilderAtEnd(e->builder, r.done);
	LLVMBuildRet(e->builder, const_i32(e, 0));
	LLVMPositionBuilderAtEnd(e->builder, start);
	if (!run_region(&r, p->graph->body))
		return NULL;
	run_return(&r, p->output_count, p->results);
	LLVMPositionBuilderAtEnd(e->builder, r.entry);
	run_goto(&r, start);
	return r.function;
}
