/* run_emit.h: shared by setup_emit.c, run_emit.c and control_emit.c: the run function being emitted. */
#ifndef BACKEND_RUN_EMIT_H
#define BACKEND_RUN_EMIT_H

#include "backend/program.h"

struct run_emitter {
	struct emitter *e;
	struct program *p;
	const struct emit_options *options;
	struct diag *diag;
	LLVMValueRef function, frame;
	LLVMBasicBlockRef entry; /* allocas */
	LLVMBasicBlockRef fail;  /* returns frame->fail.code */
	LLVMBasicBlockRef done;  /* returns 0 */
	LLVMValueRef setup;
	LLVMTypeRef setup_type, kernel_type;
	LLVMValueRef buffers; /* alloca: room for the largest kernel's buffers */
};

/* Field of struct hone_frame at a byte offset. */
LLVMValueRef frame_field(struct emitter *e, LLVMValueRef frame, size_t offset);
LLVMValueRef load_at(struct emitter *e, LLVMTypeRef type, LLVMValueRef pointer,
		     int64_t byte_offset);
LLVMValueRef const_i64(struct emitter *e, int64_t x);
LLVMValueRef const_i32(struct emitter *e, int32_t x);

LLVMValueRef declare_setup(struct emitter *e);

/* ---- run_emit.c ---- */
LLVMValueRef run_pointer(struct run_emitter *r, const struct value *v); /* the data of a value */
LLVMValueRef run_slot(struct run_emitter *r, int slot);                 /* values[slot] */
void run_set_slot(struct run_emitter *r, int slot, LLVMValueRef pointer);
LLVMValueRef run_slot_address(struct run_emitter *r, LLVMValueRef slot); /* &values[slot] */
LLVMValueRef run_word(struct run_emitter *r, dim d);                     /* a dim's value now */
void run_bind_symbol(struct run_emitter *r, int symbol,
		     LLVMValueRef value); /* words[symbol] = value */
void run_stage(struct run_emitter *r,
	       const struct node *n); /* setup(stage of n's symbols), checked */
void run_late_stage(struct run_emitter *r,
		    const struct node *n); /* the checks that need n's trip count */
void run_reserve(struct run_emitter *r, LLVMValueRef slot,
		 LLVMValueRef bytes);                      /* dynamic slot, checked */
void run_fail_if(struct run_emitter *r, LLVMValueRef bad); /* goes to fail when bad (i1) */
void run_copy(struct run_emitter *r, LLVMValueRef to, LLVMValueRef from, LLVMValueRef bytes);
LLVMBasicBlockRef run_block(struct run_emitter *r, const char *name);
void run_goto(struct run_emitter *r, LLVMBasicBlockRef to);
bool run_region(struct run_emitter *r, const struct region *region);
LLVMValueRef run_scalar(struct run_emitter *r, const struct value *v,
			LLVMTypeRef type); /* the first element */
/* Hands the given values to the outputs and leaves the function. */
void run_return(struct run_emitter *r, int count, struct value *const *values);

/* ---- control_emit.c ---- */
bool run_if(struct run_emitter *r, const struct node *n);
bool run_loop(struct run_emitter *r, const struct node *n);
bool run_scan(struct run_emitter *r, const struct node *n);

#endif
