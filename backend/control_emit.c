/* control_emit.c: if, loop and scan in the run function.
 *
 * A branch's result is a pointer to the value the branch made. A carried value has two buffers: at the end of
 * an iteration all next values are copied into the buffers of the other parity, then the parameters point at
 * them; so no next value is overwritten while another one still reads it. */
#include "backend/run_emit.h"

#include <string.h>

static void set_pointer(struct run_emitter *r, const struct value *v, LLVMValueRef pointer)
{
	run_set_slot(r, r->p->places[v->id].slot, pointer);
}

/* Symbols of results whose dims differ between branches or iterations take the dims of `from`, in order. */
static void bind_dims(struct run_emitter *r, const struct node *n, const struct value *to,
		      const struct value *from)
{
	for (int i = 0; i < to->type.rank; i++) {
		dim d = to->type.dims[i];

		for (int k = 0; d->kind == DIM_SYMBOL && k < n->symbol_count; k++)
			if (n->symbols[k] == d->value)
				run_bind_symbol(r, n->symbols[k], run_word(r, from->type.dims[i]));
	}
}

bool run_if(struct run_emitter *r, const struct node *n)
{
	struct emitter *e = r->e;
	LLVMBasicBlockRef block[2] = {run_block(r, "then"), run_block(r, "else")},
			  join = run_block(r, "join");
	LLVMValueRef c = run_scalar(r, n->in[0], e->i8);

	LLVMBuildCondBr(e->builder,
			LLVMBuildICmp(e->builder, LLVMIntNE, c, LLVMConstNull(e->i8), ""), block[0],
			block[1]);
	for (int k = 0; k < 2; k++) {
		const struct region *region = n->regions[k];

		LLVMPositionBuilderAtEnd(e->builder, block[k]);
		if (!run_region(r, region))
			return false;
		for (int i = 0; i < n->out_count; i++) {
			set_pointer(r, n->out[i], run_pointer(r, region->results[i]));
			bind_dims(r, n, n->out[i], region->results[i]);
		}
		run_goto(r, join);
	}
	LLVMPositionBuilderAtEnd(e->builder, join);
	run_stage(r, n);
	return true;
}

/* ---- loops ---- */

struct loop {
	struct run_emitter *r;
	const struct node *n;
	const struct region *region;
	int carried, first_init, first_param, first_result; /* where carried values begin */
	LLVMValueRef counter;                               /* alloca i64 */
	LLVMBasicBlockRef head, body, exit;
};

static LLVMValueRef alloca_i64(struct run_emitter *r, const char *name)
{
	LLVMBasicBlockRef at = LLVMGetInsertBlock(r->e->builder);
	LLVMValueRef slot;

	LLVMPositionBuilderAtEnd(r->e->builder, r->entry);
	slot = LLVMBuildAlloca(r->e->builder, r->e->i64, name);
	LLVMPositionBuilderAtEnd(r->e->builder, at);
	return slot;
}

static LLVMValueRef count_of(struct loop *l)
{
	return LLVMBuildLoad2(l->r->e->builder, l->r->e->i64, l->counter, "");
}

static bool is_dynamic(struct run_emitter *r, int slot)
{
	return r->p->slots.at[slot].kind == HONE_SLOT_DYNAMIC;
}

static LLVMValueRef bytes_of(struct run_emitter *r, const struct value *v)
{
	return run_word(r, program_bytes(r->p, &v->type));
}

/* Parameters point at the initial values; stacked outputs begin empty. */
static void begin_loop(struct loop *l)
{
	struct run_emitter *r = l->r;

	l->counter = alloca_i64(r, "counter");
	LLVMBuildStore(r->e->builder, const_i64(r->e, 0), l->counter);
	for (int i = 0; i < l->carried; i++) {
		const struct value *init = l->n->in[l->first_init + i],
				   *param = l->region->params[l->first_param + i];

		set_pointer(r, param, run_pointer(r, init));
		bind_dims(r, l->n, param, init);
	}
	run_stage(r, l->n);
	for (int i = l->carried; i < l->n->out_count; i++) {
		const struct carry *c = program_carry(r->p, l->n, i);

		if (is_dynamic(r, c->slots[0]))
			run_reserve(r, const_i64(r->e, c->slots[0]), const_i64(r->e, 0));
	}
	l->head = run_block(r, "head");
	l->body = run_block(r, "body");
	l->exit = run_block(r, "exit");
	run_goto(r, l->head);
	LLVMPositionBuilderAtEnd(r->e->builder, l->head);
}

/* Appends the element that result `i` of the region made in this iteration. */
static void stack_output(struct loop *l, int i)
{
	struct run_emitter *r = l->r;
	struct emitter *e = r->e;
	const struct value *y = l->region->results[l->first_result + i];
	const struct carry *c = program_carry(r->p, l->n, i);
	LLVMValueRef bytes = bytes_of(r, y), at = LLVMBuildMul(e->builder, count_of(l), bytes, ""),
		     to;

	if (is_dynamic(r, c->slots[0]))
		run_reserve(r, const_i64(e, c->slots[0]), LLVMBuildAdd(e->builder, at, bytes, ""));
	to = run_slot(r, c->slots[0]);
	run_copy(r, LLVMBuildGEP2(e->builder, e->i8, to, &at, 1, ""), run_pointer(r, y), bytes);
}

static LLVMValueRef buffer_slot(struct loop *l, int i)
{
	struct emitter *e = l->r->e;
	const struct carry *c = program_carry(l->r->p, l->n, i);
	LLVMValueRef odd = LLVMBuildTrunc(e->builder, count_of(l), e->i1, "");

	return LLVMBuildSelect(e->builder, odd, const_i64(e, c->slots[1]),
			       const_i64(e, c->slots[0]), "");
}

static void copy_next(struct loop *l, int i)
{
	struct run_emitter *r = l->r;
	const struct value *next = l->region->results[l->first_result + i];
	LLVMValueRef slot = buffer_slot(l, i), bytes = bytes_of(r, next), to;

	if (is_dynamic(r, program_carry(r->p, l->n, i)->slots[0]))
		run_reserve(r, slot, bytes);
	to = LLVMBuildLoad2(r->e->builder, r->e->ptr, run_slot_address(r, slot), "");
	run_copy(r, to, run_pointer(r, next), bytes);
}

static void point_at_next(struct loop *l, int i)
{
	struct run_emitter *r = l->r;
	const struct value *param = l->region->params[l->first_param + i];
	LLVMValueRef to = LLVMBuildLoad2(r->e->builder, r->e->ptr,
					 run_slot_address(r, buffer_slot(l, i)), "");

	set_pointer(r, param, to);
	bind_dims(r, l->n, param, l->region->results[l->first_result + i]);
}

static void end_iteration(struct loop *l)
{
	struct run_emitter *r = l->r;
	struct emitter *e = r->e;

	for (int i = l->carried; i < l->n->out_count; i++)
		stack_output(l, i);
	for (int i = 0; i < l->carried; i++)
		copy_next(l, i);
	for (int i = 0; i < l->carried; i++)
		point_at_next(l, i);
	run_stage(r, l->n);
	LLVMBuildStore(e->builder, LLVMBuildAdd(e->builder, count_of(l), const_i64(e, 1), ""),
		       l->counter);
	run_goto(r, l->head);
}

/* Results point at the last parameters and at the stacks. A result's leading dim that is a symbol of the loop
 * is the number of iterations. */
static void finish_loop(struct loop *l)
{
	struct run_emitter *r = l->r;

	LLVMPositionBuilderAtEnd(r->e->builder, l->exit);
	for (int i = 0; i < l->n->out_count; i++) {
		const struct value *y = l->n->out[i];
		dim lead = y->type.rank ? y->type.dims[0] : NULL;

		if (i < l->carried) {
			const struct value *param = l->region->params[l->first_param + i];

			set_pointer(r, y, run_pointer(r, param));
			bind_dims(r, l->n, y, param);
			continue;
		}
		set_pointer(r, y, run_slot(r, program_carry(r->p, l->n, i)->slots[0]));
		for (int k = 0; lead && lead->kind == DIM_SYMBOL && k < l->n->symbol_count; k++)
			if (l->n->symbols[k] == lead->value)
				run_bind_symbol(r, l->n->symbols[k], count_of(l));
	}
	run_stage(r, l->n);
	run_late_stage(r, l->n);
}

bool run_loop(struct run_emitter *r, const struct node *n)
{
	struct emitter *e = r->e;
	struct loop l = {.r = r,
			 .n = n,
			 .region = n->regions[0],
			 .carried = n->in_count - 2,
			 .first_init = 2,
			 .first_param = 2,
			 .first_result = 1};
	LLVMValueRef go = alloca_i64(r, "go"), more;

	LLVMBuildStore(e->builder,
		       LLVMBuildZExt(e->builder, run_scalar(r, n->in[1], e->i8), e->i64, ""), go);
	begin_loop(&l);
	more = LLVMBuildICmp(e->builder, LLVMIntSLT, count_of(&l), run_scalar(r, n->in[0], e->i64),
			     "");
	more = LLVMBuildAnd(e->builder, more,
			    LLVMBuildICmp(e->builder, LLVMIntNE,
					  LLVMBuildLoad2(e->builder, e->i64, go, ""),
					  const_i64(e, 0), ""),
			    "");
	LLVMBuildCondBr(e->builder, more, l.body, l.exit);
	LLVMPositionBuilderAtEnd(e->builder, l.body);
	LLVMBuildStore(e->builder, count_of(&l), run_pointer(r, l.region->params[0]));
	LLVMBuildStore(
		e->builder,
		LLVMBuildTrunc(e->builder, LLVMBuildLoad2(e->builder, e->i64, go, ""), e->i8, ""),
		run_pointer(r, l.region->params[1]));
	if (!run_region(r, l.region))
		return false;
	LLVMBuildStore(
		e->builder,
		LLVMBuildZExt(e->builder, run_scalar(r, l.region->results[0], e->i8), e->i64, ""),
		go);
	end_iteration(&l);
	finish_loop(&l);
	return true;
}

bool run_scan(struct run_emitter *r, const struct node *n)
{
	struct emitter *e = r->e;
	const struct attrs_scan *attrs = n->attrs;
	struct loop l = {.r = r, .n = n, .region = n->regions[0], .carried = (int)attrs->carried};
	LLVMValueRef more;

	begin_loop(&l);
	more = LLVMBuildICmp(e->builder, LLVMIntSLT, count_of(&l), run_word(r, attrs->length), "");
	LLVMBuildCondBr(e->builder, more, l.body, l.exit);
	LLVMPositionBuilderAtEnd(e->builder, l.body);
	for (int i = l.carried; i < n->in_count;
	     i++) { /* elements are slices of the stacked inputs */
		LLVMValueRef at = LLVMBuildMul(e->builder, count_of(&l),
					       bytes_of(r, l.region->params[i]), "");

		set_pointer(r, l.region->params[i],
			    LLVMBuildGEP2(e->builder, e->i8, run_pointer(r, n->in[i]), &at, 1, ""));
	}
	if (!run_region(r, l.region))
		return false;
	end_iteration(&l);
	finish_loop(&l);
	return true;
}
