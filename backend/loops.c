/* loops.c: the loops driver: functions, tasks, statements and loops. No LLVM pass runs after it, so loops,
 * vectors, hoisting and unrolling are all written out here. */
#include "backend/loops.h"
#include "runtime/program.h"

#include <stddef.h>

LLVMValueRef gen_i64(struct gen *g, int64_t x)
{
	return LLVMConstInt(g->e->i64, (unsigned long long)x, 1);
}

bool gen_constant(LLVMValueRef v, int64_t *x)
{
	if (!LLVMIsAConstantInt(v))
		return false;
	*x = LLVMConstIntGetSExtValue(v);
	return true;
}

LLVMBasicBlockRef gen_block(struct gen *g, const char *name)
{
	return LLVMAppendBasicBlockInContext(g->e->context, g->fn, name);
}

static LLVMValueRef symbol_word(void *self, int symbol)
{
	struct gen *g = self;

	for (int i = 0; i < g->info.words.count; i++) {
		dim d = g->info.words.at[i];

		if (d->kind == DIM_SYMBOL && d->value == symbol)
			return g->word[i];
	}
	BUG("kernel %s: no word for symbol %d", g->k->name, symbol);
}

LLVMValueRef gen_dim(struct gen *g, dim d)
{
	if (dim_is_const(d))
		return gen_i64(g, d->value);
	for (int i = 0; i < g->info.words.count; i++) {
		if (g->info.words.at[i] == d)
			return g->word[i];
	}
	return emit_dim(g->e, d, symbol_word, g);
}

/* ---- loops ---- */

LLVMValueRef gen_round_down(struct gen *g, LLVMValueRef low, LLVMValueRef high, int64_t step)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef n = LLVMBuildSub(b, high, low, ""), rest;

	if (step == 1)
		return high;
	rest = (step & (step - 1)) ? LLVMBuildSRem(b, n, gen_i64(g, step), "")
				   : LLVMBuildAnd(b, n, gen_i64(g, step - 1), "");
	return LLVMBuildSub(b, high, rest, "");
}

bool loop_open(struct gen *g, struct loop *l, LLVMValueRef low, LLVMValueRef high, int64_t step,
	       int count, const LLVMValueRef *initial)
{
	LLVMBuilderRef b = g->e->builder;
	int64_t first, last;
	bool known = gen_constant(low, &first) && gen_constant(high, &last);

	if (low == high || (known && first >= last))
		return false;
	*l = (struct loop){.low = low, .high = high, .step = step, .count = count};
	l->value = ARENA_ARRAY(&g->arena, LLVMValueRef, count + 1);
	l->initial = arena_copy(&g->arena, initial, sizeof(*initial) * (size_t)count);
	l->mark = memo_mark(g);
	g->depth++;
	if (known && last - first <= step) {
		l->once = true;
		l->index = low;
		for (int i = 0; i < count; i++)
			l->value[i] = initial[i];
		return true;
	}
	l->before = LLVMGetInsertBlock(b);
	l->body = gen_block(g, "loop");
	l->after = gen_block(g, "after");
	if (known)
		LLVMBuildBr(b, l->body);
	else
		LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, low, high, ""), l->body, l->after);
	LLVMPositionBuilderAtEnd(b, l->body);
	l->index = LLVMBuildPhi(b, g->e->i64, "");
	LLVMAddIncoming(l->index, &low, &l->before, 1);
	for (int i = 0; i < count; i++) {
		l->value[i] = LLVMBuildPhi(b, LLVMTypeOf(initial[i]), "");
		LLVMAddIncoming(l->value[i], &l->initial[i], &l->before, 1);
	}
	if (known)
		l->before = NULL;
	return true;
}

/* Tells how often the loop runs: else LLVM takes every loop to run 32 times, and where sums wait in registers spills them
 * for constants of a loop of two rows that is nested deeper. */
static void weigh(struct gen *g, const struct loop *l, LLVMValueRef branch)
{
	LLVMContextRef c = g->e->context;
	LLVMMetadataRef part[3];
	int64_t first, last, more;

	if (!gen_constant(l->low, &first) || !gen_constant(l->high, &last))
		return;
	more = (last - first + l->step - 1) / l->step - 1; /* at least 1 */
	part[0] = LLVMMDStringInContext2(c, "branch_weights", 14);
	part[1] = LLVMValueAsMetadata(
		value_int(g->e, DT_I32, 1, more < INT32_MAX ? more : INT32_MAX));
	part[2] = LLVMValueAsMetadata(value_int(g->e, DT_I32, 1, 1));
	LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(c, "prof", 4),
			LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, part, 3)));
}

void loop_close(struct gen *g, struct loop *l, const LLVMValueRef *next)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
	LLVMValueRef index, branch;

	memo_release(g, l->mark);
	g->depth--;
	if (l->once) {
		for (int i = 0; i < l->count; i++)
			l->value[i] = next[i];
		return;
	}
	index = LLVMBuildAdd(b, l->index, gen_i64(g, l->step), "");
	LLVMAddIncoming(l->index, &index, &latch, 1);
	for (int i = 0; i < l->count; i++)
		LLVMAddIncoming(l->value[i], (LLVMValueRef *)&next[i], &latch, 1);
	branch = LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, index, l->high, ""), l->body,
				 l->after);
	weigh(g, l, branch);
	LLVMMoveBasicBlockAfter(l->after, latch);
	LLVMPositionBuilderAtEnd(b, l->after);
	for (int i = 0; i < l->count; i++) {
		LLVMValueRef result = LLVMBuildPhi(b, LLVMTypeOf(next[i]), "");

		LLVMAddIncoming(result, (LLVMValueRef *)&next[i], &latch, 1);
		if (l->before)
			LLVMAddIncoming(result, &l->initial[i], &l->before, 1);
		l->value[i] = result;
	}
}

static int axis_index(struct gen *g, int axis)
{
	axis_set bit = axis_bit(&g->info, axis);
	int i = 0;

	while (!(bit >> i & 1))
		i++;
	return i;
}

LLVMValueRef axis_now(struct gen *g, int axis) { return g->axis[axis_index(g, axis)]; }

void axis_bind(struct gen *g, int axis, LLVMValueRef value)
{
	int i = axis_index(g, axis);

	g->axis[i] = value;
	g->level[i] = g->depth;
	g->bound |= axis_bit(&g->info, axis);
}

void axis_unbind(struct gen *g, int axis) { g->bound &= ~axis_bit(&g->info, axis); }

struct axis_value axis_rebind(struct gen *g, int axis, LLVMValueRef value)
{
	int i = axis_index(g, axis);
	struct axis_value was = {g->axis[i], g->level[i]};

	axis_bind(g, axis, value);
	return was;
}

void axis_restore(struct gen *g, int axis, struct axis_value was)
{
	int i = axis_index(g, axis);

	g->axis[i] = was.value;
	g->level[i] = was.level;
}

/* ---- statements ---- */

static void emit_list(struct gen *g, const struct stmt *s);

static void emit_iteration(struct gen *g, const struct stmt *s, LLVMValueRef value)
{
	axis_bind(g, s->axis, value);
	emit_list(g, s->body);
	axis_unbind(g, s->axis);
}

static void simple_loop(struct gen *g, const struct stmt *s, LLVMValueRef low, LLVMValueRef high,
			int64_t step)
{
	struct loop l;

	if (!loop_open(g, &l, low, high, step, 0, NULL))
		return;
	emit_iteration(g, s, l.index);
	loop_close(g, &l, NULL);
}

/* Tasks begin at multiples of groups, so what divides the extent divides each part. */
static bool divides(struct gen *g, const struct stmt *s, int64_t n)
{
	struct dim_pool *p = g->k->exprs->dims;

	return dim_divides(p, dim_const(p, n), g->k->exprs->axes[s->axis].extent);
}

/* Whole groups of vectors, then single vectors, then the rest by a mask or one by one. */
static void vector_loop(struct gen *g, const struct stmt *s, const struct loops_nest *nest,
			LLVMValueRef low, LLVMValueRef high)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef whole, rest;
	int64_t group = (int64_t)nest->lanes * nest->unroll;
	struct loop l;

	g->vector_axis = s->axis;
	g->lanes = nest->lanes;
	g->unroll = nest->unroll;
	whole = divides(g, s, group) ? high : gen_round_down(g, low, high, group);
	simple_loop(g, s, low, whole, group);
	g->unroll = 1;
	rest = divides(g, s, nest->lanes) ? high : gen_round_down(g, whole, high, nest->lanes);
	if (nest->unroll > 1)
		simple_loop(g, s, whole, rest, nest->lanes);
	else
		rest = whole;
	if (nest->lanes > 1 && gen_masks_cheap(g, nest->tail_bits)) {
		if (loop_open(g, &l, rest, high, nest->lanes, 0, NULL)) {
			LLVMValueRef left = LLVMBuildSub(b, high, rest, "");

			g->tail = LLVMBuildICmp(b, LLVMIntULT, value_lanes(g->e, g->lanes),
						value_splat(g->e, left, g->lanes), "");
			emit_iteration(g, s, l.index);
			g->tail = NULL;
			loop_close(g, &l, NULL);
		}
	} else if (nest->lanes > 1) {
		g->lanes = 1;
		simple_loop(g, s, rest, high, 1);
	}
	g->vector_axis = -1;
	g->lanes = 1;
}

static void block_of(struct gen *g, const struct stmt *s, int block, LLVMValueRef low,
		     LLVMValueRef high)
{
	g->block_axis = s->axis;
	g->block = block;
	simple_loop(g, s, low, high, block);
	g->block_axis = -1;
	g->block = 1;
}

/* Blocks; what remains as one smaller block when its size is known, else one by one. */
static void block_loop(struct gen *g, const struct stmt *s, int block, LLVMValueRef low,
		       LLVMValueRef high)
{
	LLVMValueRef whole = gen_round_down(g, low, high, block);
	int64_t a, z;

	block_of(g, s, block, low, whole);
	if (gen_constant(whole, &a) && gen_constant(high, &z)) {
		if (z > a)
			block_of(g, s, (int)(z - a), whole, high);
	} else {
		simple_loop(g, s, whole, high, 1);
	}
}

static void once(struct gen *g, const struct stmt *s, int block, LLVMValueRef value)
{
	int mark = memo_mark(g), outer_axis = g->block_axis, outer = g->block;

	g->depth++;
	if (block > 1) {
		g->block_axis = s->axis;
		g->block = block;
	}
	emit_iteration(g, s, value);
	g->block_axis = outer_axis;
	g->block = outer;
	g->depth--;
	memo_release(g, mark);
}

/* The block that this task is; the last one may be smaller. */
static void task_block(struct gen *g, const struct stmt *s, int block, LLVMValueRef low,
		       LLVMValueRef high)
{
	LLVMBuilderRef b = g->e->builder;
	struct dim_pool *p = g->k->exprs->dims;
	dim extent = g->k->exprs->axes[s->axis].extent;
	LLVMBasicBlockRef full, part, join;
	LLVMValueRef test;

	if (dim_divides(p, dim_const(p, block), extent)) {
		once(g, s, block, low);
		return;
	}
	full = gen_block(g, "full");
	part = gen_block(g, "part");
	join = gen_block(g, "join");
	test = LLVMBuildICmp(b, LLVMIntSLE, LLVMBuildAdd(b, low, gen_i64(g, block), ""),
			     gen_dim(g, extent), "");
	LLVMBuildCondBr(b, test, full, part);
	LLVMPositionBuilderAtEnd(b, full);
	once(g, s, block, low);
	LLVMBuildBr(b, join);
	LLVMPositionBuilderAtEnd(b, part);
	if (dim_is_const(extent))
		once(g, s, (int)(extent->value % block), low);
	else
		simple_loop(g, s, low, high, 1);
	LLVMBuildBr(b, join);
	LLVMMoveBasicBlockAfter(join, LLVMGetInsertBlock(b));
	LLVMPositionBuilderAtEnd(b, join);
}

static void emit_for(struct gen *g, const struct stmt *s)
{
	const struct loops_nest *nest = nest_inside(g->k, s->body);
	bool is_vector = nest && nest->vector_axis == s->axis && nest->lanes * nest->unroll > 1;
	bool is_block = nest && nest->block_axis == s->axis && nest->block > 1;
	LLVMValueRef low = gen_i64(g, 0), high = gen_dim(g, g->k->exprs->axes[s->axis].extent);
	int task = 0, mark = memo_mark(g);

	while (task < g->info.task_count && g->info.tasks[task].loop != s)
		task++;
	if (task < g->info.task_count) {
		low = g->task_low[task];
		high = g->task_high[task];
	}
	gen_hoist_stmt(g, s);
	if (is_block)
		g->most_block = nest->block;
	if (is_vector)
		vector_loop(g, s, nest, low, high);
	else if (task < g->info.task_count && is_block)
		task_block(g, s, nest->block, low, high);
	else if (is_block)
		block_loop(g, s, nest->block, low, high);
	else if (task < g->info.task_count)
		once(g, s, 1, low);
	else
		simple_loop(g, s, low, high, 1);
	if (is_block)
		g->most_block = 1;
	memo_release(g, mark);
}

/* The storage of a variable for copy c. It is a stack slot: variables are rare, and no pass makes registers
 * of it, but the loads hit the store buffer. */
static LLVMValueRef variable(struct gen *g, int var, struct copy c, LLVMTypeRef type)
{
	int i = c.b * g->unroll + c.u;
	LLVMBuilderRef b = g->e->builder;
	LLVMBasicBlockRef here = LLVMGetInsertBlock(b);

	if (g->vars[var][i] && g->var_types[var][i] == type)
		return g->vars[var][i];
	LLVMPositionBuilderBefore(b, LLVMGetBasicBlockTerminator(g->entry));
	g->vars[var][i] = LLVMBuildAlloca(b, type, "");
	g->var_types[var][i] = type;
	LLVMPositionBuilderAtEnd(b, here);
	return g->vars[var][i];
}

static LLVMTypeRef variable_type(struct gen *g, int var)
{
	bool vector = gen_depends(g, g->info.var_axes[var], g->vector_axis) && g->lanes > 1;

	return value_type(g->e, g->k->vars.at[var], vector ? g->lanes : 1);
}

LLVMValueRef gen_variable(struct gen *g, int var, struct copy c)
{
	LLVMTypeRef type = variable_type(g, var);

	return LLVMBuildLoad2(g->e->builder, type,
			      variable(g, var, gen_copy_of(g, g->info.var_axes[var], c), type), "");
}

static void emit_set(struct gen *g, const struct stmt *s)
{
	LLVMBuilderRef b = g->e->builder;
	axis_set axes = g->info.var_axes[s->var];
	int blocks = gen_in_block(g, axes) ? g->block : 1;
	int vectors = gen_depends(g, axes, g->vector_axis) ? g->unroll : 1;
	LLVMTypeRef type = variable_type(g, s->var);
	LLVMValueRef value[COPIES_MAX];

	for (int i = 0; i < blocks * vectors; i++) {
		struct copy c = {i / vectors, i % vectors};
		LLVMValueRef mask = gen_condition(g, c);

		value[i] = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? gen_vector(g, s->value, c)
								       : gen_value(g, s->value, c);
		if (mask)
			value[i] = LLVMBuildSelect(
				b, mask, value[i],
				LLVMBuildLoad2(b, type, variable(g, s->var, c, type), ""), "");
	}
	for (int i = 0; i < blocks * vectors; i++)
		LLVMBuildStore(b, value[i],
			       variable(g, s->var, (struct copy){i / vectors, i % vectors}, type));
}

static void emit_when(struct gen *g, const struct stmt *s)
{
	LLVMBuilderRef b = g->e->builder;
	axis_set axes = note_of(&g->info, s->value)->axes;
	LLVMBasicBlockRef then, join;
	LLVMValueRef test;
	int mark;

	if (gen_depends(g, axes, g->vector_axis) || gen_in_block(g, axes)) {
		mark = memo_mark(g);
		g->conditions[g->condition_count++] = (struct condition){s->value, false};
		emit_list(g, s->body);
		g->condition_count--;
		memo_release(g, mark);
		return;
	}
	test = gen_value(g, s->value, (struct copy){0, 0});
	then = gen_block(g, "then");
	join = gen_block(g, "join");
	LLVMBuildCondBr(b, test, then, join);
	LLVMPositionBuilderAtEnd(b, then);
	mark = memo_mark(g);
	emit_list(g, s->body);
	memo_release(g, mark);
	LLVMBuildBr(b, join);
	LLVMMoveBasicBlockAfter(join, LLVMGetInsertBlock(b));
	LLVMPositionBuilderAtEnd(b, join);
}

static void emit_list(struct gen *g, const struct stmt *s)
{
	int mark = memo_mark(g);

	for (; s; s = s->next) {
		switch (s->kind) {
		case STMT_FOR: emit_for(g, s); break;
		case STMT_STORE: gen_store(g, s); break;
		case STMT_SET: emit_set(g, s); break;
		case STMT_WHEN: emit_when(g, s); break;
		case STMT_CALL:
			diag_add(g->diag, DIAG_INTERNAL, (struct loc){0},
				 "kernel %s: a call inside loops", g->k->name);
			g->failed = true;
			break;
		}
		memo_forget_changeable(g, mark);
	}
	memo_release(g, mark);
}

/* ---- the function ---- */

static LLVMValueRef buffer_pointer(struct gen *g, int i)
{
	LLVMValueRef at = gen_i64(g, i);

	at = LLVMBuildGEP2(g->e->builder, g->e->ptr, g->buffers, &at, 1, "");
	return LLVMBuildLoad2(g->e->builder, g->e->ptr, at, "");
}

LLVMValueRef gen_scratch(struct gen *g, dim at)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef word = gen_i64(g, g->abi->scratch_stride_word), offset;

	word = LLVMBuildGEP2(b, g->e->i64, g->words_ptr, &word, 1, "");
	offset = LLVMBuildMul(b, LLVMBuildLoad2(b, g->e->i64, word, ""), g->worker, "");
	offset = LLVMBuildAdd(b, offset, gen_dim(g, at), "");
	return LLVMBuildGEP2(b, g->e->i8, buffer_pointer(g, g->abi->scratch), &offset, 1, "");
}

static LLVMValueRef buffer_base(struct gen *g, int i)
{
	return g->k->buffers.at[i].role == BUFFER_LOCAL ? gen_scratch(g, g->info.local_at[i])
							: buffer_pointer(g, i);
}

static void open_function(struct gen *g)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMBasicBlockRef start;

	g->frame = LLVMGetParam(g->fn, 0);
	g->buffers = LLVMGetParam(g->fn, 1);
	g->words_ptr = LLVMGetParam(g->fn, 2);
	g->begin = LLVMGetParam(g->fn, 3);
	g->end = LLVMGetParam(g->fn, 4);
	g->worker = LLVMGetParam(g->fn, 5);
	g->entry = gen_block(g, "entry");
	start = gen_block(g, "start");
	LLVMPositionBuilderAtEnd(b, g->entry);
	for (int i = 0; i < g->info.words.count; i++) {
		LLVMValueRef at = gen_i64(g, i);

		at = LLVMBuildGEP2(b, g->e->i64, g->words_ptr, &at, 1, "");
		g->word[i] = LLVMBuildLoad2(b, g->e->i64, at, "");
		LLVMSetAlignment(g->word[i], 8);
	}
	for (int i = 0; i < g->k->buffers.count; i++)
		g->base[i] = buffer_base(g, i);
	LLVMBuildBr(b, start);
	LLVMPositionBuilderAtEnd(b, start);
}

/* Returns from the task loop when another task has failed. */
static void stop_if_failed(struct gen *g, LLVMBasicBlockRef leave)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef at = gen_i64(g, offsetof(struct hone_frame, fail) +
					     offsetof(struct hone_fail, code)),
		     code;
	LLVMBasicBlockRef go = gen_block(g, "go");

	code = LLVMBuildLoad2(b, g->e->i32, LLVMBuildGEP2(b, g->e->i8, g->frame, &at, 1, ""), "");
	LLVMSetAlignment(code, 4);
	LLVMSetOrdering(code, LLVMAtomicOrderingMonotonic);
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, code, LLVMConstInt(g->e->i32, 0, 0), ""), go,
			leave);
	LLVMPositionBuilderAtEnd(b, go);
}

static void set_task(struct gen *g, int i, LLVMValueRef index)
{
	LLVMBuilderRef b = g->e->builder;
	const struct task_axis *t = &g->info.tasks[i];
	LLVMValueRef extent = gen_dim(g, g->k->exprs->axes[t->loop->axis].extent), end;

	if (t->step == 1) {
		g->task_low[i] = index;
		g->task_high[i] = LLVMBuildAdd(b, index, gen_i64(g, 1), "");
		return;
	}
	g->task_low[i] = LLVMBuildMul(b, index, gen_i64(g, t->step), "");
	end = LLVMBuildAdd(b, g->task_low[i], gen_i64(g, t->step), "");
	g->task_high[i] =
		LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, end, extent, ""), end, extent, "");
}

/* The task number as an index per task axis, counted like an odometer. */
static void emit_tasks(struct gen *g, void (*body)(struct gen *g, void *self), void *self)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMBasicBlockRef leave = gen_block(g, "leave");
	LLVMValueRef index[DEPTH_MAX], rest = g->begin, carry = NULL;
	int n = g->info.task_count;
	struct loop l;

	for (int i = n - 1; i > 0; i--) {
		LLVMValueRef count = gen_dim(g, g->info.tasks[i].count), zero = gen_i64(g, 0);

		/* a count is 0 only when there are no tasks: do not divide by it */
		count = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, count, zero, ""),
					gen_i64(g, 1), count, "");
		index[i] = LLVMBuildURem(b, rest, count, "");
		rest = LLVMBuildUDiv(b, rest, count, "");
	}
	index[0] = rest;
	if (loop_open(g, &l, g->begin, g->end, 1, n, index)) {
		if (g->info.can_fail)
			stop_if_failed(g, leave);
		for (int i = 0; i < n; i++)
			set_task(g, i, l.value[i]);
		body(g, self);
		for (int i = n - 1; i >= 0; i--) {
			LLVMValueRef next = l.value[i], wrap;

			next = LLVMBuildAdd(
				b, next,
				carry ? LLVMBuildZExt(b, carry, g->e->i64, "") : gen_i64(g, 1), "");
			wrap = i ? LLVMBuildICmp(b, LLVMIntEQ, next,
						 gen_dim(g, g->info.tasks[i].count), "")
				 : NULL;
			index[i] = wrap ? LLVMBuildSelect(b, wrap, gen_i64(g, 0), next, "") : next;
			carry = wrap;
		}
		loop_close(g, &l, index);
	}
	LLVMBuildBr(b, leave);
	LLVMMoveBasicBlockAfter(leave, LLVMGetInsertBlock(b));
	LLVMPositionBuilderAtEnd(b, leave);
	LLVMBuildRetVoid(b);
}

void gen_open(struct gen *g, struct emitter *e, const struct kernel *k,
	      const struct kernel_abi *abi, LLVMValueRef fn, struct diag *d)
{
	*g = (struct gen){.e = e,
			  .diag = d,
			  .k = k,
			  .abi = abi,
			  .fn = fn,
			  .vector_axis = -1,
			  .lanes = 1,
			  .unroll = 1,
			  .block_axis = -1,
			  .block_outer = -1,
			  .block_inner = 1,
			  .block = 1,
			  .most_block = 1};
}

void gen_function(struct gen *g, void (*body)(struct gen *g, void *self), void *self)
{
	const struct kernel *k = g->k;

	g->word = ARENA_ARRAY(&g->arena, LLVMValueRef, g->info.words.count + 1);
	g->base = ARENA_ARRAY(&g->arena, LLVMValueRef, k->buffers.count + 1);
	g->vars = arena_array(&g->arena, (size_t)k->vars.count + 1, sizeof(*g->vars));
	g->var_types = arena_array(&g->arena, (size_t)k->vars.count + 1, sizeof(*g->var_types));
	open_function(g);
	emit_tasks(g, body, self);
}

static void emit_body(struct gen *g, void *self)
{
	(void)self;
	emit_list(g, g->k->body);
}

bool emit_loops(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		LLVMValueRef fn, struct diag *d)
{
	struct gen g;
	bool ok;

	gen_open(&g, e, k, abi, fn, d);
	ok = loops_analyze(k, &g.arena, &g.info);
	if (ok) {
		gen_function(&g, emit_body, NULL);
		ok = !g.failed;
	} else {
		diag_add(d, DIAG_UNSUPPORTED, (struct loc){0},
			 "kernel %s has more than %d loop axes", k->name, AXES_MAX);
	}
	arena_free(&g.arena);
	return ok;
}
