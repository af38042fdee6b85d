/* loops_value.c: expressions of a kernel as code, each at the outermost place where its axes are known. */
#include "backend/loops.h"
#include "runtime/program.h"

#include <stddef.h>

/* ---- memos ---- */

int memo_mark(struct gen *g) { return g->log.count; }

void memo_release(struct gen *g, int mark)
{
	while (g->log.count > mark) {
		struct memo **list = g->log.at[--g->log.count];

		*list = (*list)->next;
	}
}

void memo_forget_changeable(struct gen *g, int mark)
{
	for (int i = mark; i < g->log.count; i++) {
		for (struct memo *m = *g->log.at[i]; m; m = m->next)
			m->dead |= m->changeable;
	}
}

void memo_add(struct gen *g, struct memo **list, struct memo m)
{
	struct memo *own = arena_copy(&g->arena, &m, sizeof(m));

	own->next = *list;
	*list = own;
	ARENA_PUSH(&g->arena, &g->log, list);
}

static LLVMValueRef memo_find(const struct memo *m, struct copy c)
{
	for (; m; m = m->next) {
		if (!m->dead && m->b == c.b && m->u == c.u)
			return m->value;
	}
	return NULL;
}

/* ---- copies and vectors ---- */

bool gen_depends(struct gen *g, axis_set axes, int axis)
{
	return axis >= 0 && (axes & axis_bit(&g->info, axis));
}

bool gen_in_block(struct gen *g, axis_set axes)
{
	return gen_depends(g, axes, g->block_axis) || gen_depends(g, axes, g->block_outer);
}

int gen_block_step(const struct gen *g, int axis, int b)
{
	if (axis < 0)
		return 0;
	if (axis == g->block_axis)
		return g->block_outer < 0 ? b : b % g->block_inner;
	return axis == g->block_outer ? b / g->block_inner : 0;
}

bool gen_is_vector(struct gen *g, const struct note *n)
{
	return g->lanes > 1 && gen_depends(g, n->axes, g->vector_axis);
}

struct copy gen_copy_of(struct gen *g, axis_set axes, struct copy c)
{
	int u = gen_depends(g, axes, g->vector_axis) ? c.u : 0;

	if (!gen_in_block(g, axes))
		return (struct copy){0, u};
	if (g->block_outer >= 0 && !gen_depends(g, axes, g->block_outer))
		return (struct copy){c.b % g->block_inner, u};
	if (g->block_outer >= 0 && !gen_depends(g, axes, g->block_axis))
		return (struct copy){c.b - c.b % g->block_inner, u};
	return (struct copy){c.b, u};
}

static bool is_vector_type(LLVMValueRef v)
{
	return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
}

/* Puts the builder right behind the definition of v. */
static void go_behind(struct gen *g, LLVMValueRef v)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef next;

	if (!LLVMIsAInstruction(v)) {
		LLVMPositionBuilderBefore(b, LLVMGetFirstInstruction(g->entry));
		return;
	}
	next = LLVMGetNextInstruction(v);
	while (next && LLVMIsAPHINode(next))
		next = LLVMGetNextInstruction(next);
	if (next)
		LLVMPositionBuilderBefore(b, next);
	else
		LLVMPositionBuilderAtEnd(b, LLVMGetInstructionParent(v));
}

LLVMValueRef gen_splat(struct gen *g, LLVMValueRef v)
{
	LLVMBasicBlockRef here;
	LLVMValueRef to;

	if (g->lanes == 1 || is_vector_type(v))
		return v;
	if (LLVMIsConstant(v))
		return value_splat(g->e, v, g->lanes);
	for (int i = g->splats.count - 1; i >= 0 && i > g->splats.count - 200; i--) {
		if (g->splats.from[i] == v &&
		    LLVMGetVectorSize(LLVMTypeOf(g->splats.to[i])) == (unsigned)g->lanes)
			return g->splats.to[i];
	}
	here = LLVMGetInsertBlock(g->e->builder);
	go_behind(g, v);
	to = value_splat(g->e, v, g->lanes);
	LLVMPositionBuilderAtEnd(g->e->builder, here);
	if (g->splats.count == g->splats.room) {
		g->splats.to_room = g->splats.room;
		g->splats.from = arena_grow(&g->arena, g->splats.from, &g->splats.room, sizeof(v));
		g->splats.to = arena_grow(&g->arena, g->splats.to, &g->splats.to_room, sizeof(v));
	}
	g->splats.from[g->splats.count] = v;
	g->splats.to[g->splats.count++] = to;
	return to;
}

LLVMValueRef gen_vector(struct gen *g, const struct expr *e, struct copy c)
{
	return gen_splat(g, gen_value(g, e, c));
}

/* ---- conditions ---- */

LLVMValueRef gen_and(struct gen *g, LLVMValueRef a, LLVMValueRef b)
{
	if (!a || !b)
		return a ? a : b;
	if (is_vector_type(a) != is_vector_type(b)) {
		a = gen_splat(g, a);
		b = gen_splat(g, b);
	}
	return LLVMBuildAnd(g->e->builder, a, b, "");
}

LLVMValueRef gen_any(struct gen *g, LLVMValueRef mask)
{
	LLVMTypeRef type = LLVMTypeOf(mask);

	if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
		return mask;
	return emit_intrinsic(g->e, "llvm.vector.reduce.or", 1, &type, 1, &mask);
}

LLVMValueRef gen_condition(struct gen *g, struct copy c)
{
	int count = g->condition_count;
	LLVMValueRef all = NULL;

	for (int i = 0; i < count; i++) {
		LLVMValueRef one;

		g->condition_count = i; /* it was evaluated under those before it */
		one = gen_value(g, g->conditions[i].e, c);
		if (g->conditions[i].negate)
			one = LLVMBuildNot(g->e->builder, one, "");
		all = gen_and(g, all, one);
	}
	g->condition_count = count;
	return all;
}

static LLVMValueRef under(struct gen *g, const struct expr *condition, bool negate,
			  const struct expr *e, struct copy c)
{
	LLVMValueRef v;
	int mark;

	if (!note_of(&g->info, e)->unsafe || g->condition_count == DEPTH_MAX)
		return gen_value(g, e, c);
	mark = memo_mark(g);
	g->conditions[g->condition_count++] = (struct condition){condition, negate};
	v = gen_value(g, e, c);
	g->condition_count--;
	memo_release(g, mark);
	return v;
}

static LLVMValueRef emit_select(struct gen *g, const struct expr *e, struct copy c)
{
	LLVMValueRef test = gen_value(g, e->arg[0], c),
		     a = under(g, e->arg[0], false, e->arg[1], c);
	LLVMValueRef b = under(g, e->arg[0], true, e->arg[2], c);

	if (is_vector_type(test) || is_vector_type(a) || is_vector_type(b)) {
		test = gen_splat(g, test);
		a = gen_splat(g, a);
		b = gen_splat(g, b);
	}
	return LLVMBuildSelect(g->e->builder, test, a, b, "");
}

/* ---- checks ---- */

static void store_field(struct emitter *e, LLVMValueRef frame, size_t offset, LLVMValueRef value,
			unsigned align)
{
	LLVMValueRef at = LLVMConstInt(e->i64, offsetof(struct hone_frame, fail) + offset, 0),
		     store;

	store = LLVMBuildStore(e->builder, value,
			       LLVMBuildGEP2(e->builder, e->i8, frame, &at, 1, ""));
	LLVMSetAlignment(store, align);
	LLVMSetOrdering(store, LLVMAtomicOrderingMonotonic);
}

/* void hone.index_fail(frame, found, bound) */
static LLVMValueRef fail_function(struct emitter *e, LLVMTypeRef type)
{
	LLVMBasicBlockRef back;
	LLVMValueRef fn;

	if (!emit_helper(e, "hone.index_fail", type, &fn, &back))
		return fn;
	store_field(e, LLVMGetParam(fn, 0), offsetof(struct hone_fail, found), LLVMGetParam(fn, 1),
		    8);
	store_field(e, LLVMGetParam(fn, 0), offsetof(struct hone_fail, bound), LLVMGetParam(fn, 2),
		    8);
	store_field(e, LLVMGetParam(fn, 0), offsetof(struct hone_fail, code),
		    LLVMConstInt(e->i32, HONE_FAIL_INDEX, 0), 4);
	LLVMBuildRetVoid(e->builder);
	LLVMPositionBuilderAtEnd(e->builder, back);
	return fn;
}

static LLVMValueRef first_bad(struct gen *g, LLVMValueRef index, LLVMValueRef bad)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef found = gen_i64(g, 0);

	if (!is_vector_type(index))
		return index;
	for (int i = g->lanes - 1; i >= 0; i--) {
		LLVMValueRef lane = LLVMConstInt(g->e->i32, (unsigned)i, 0);

		found = LLVMBuildSelect(b, LLVMBuildExtractElement(b, bad, lane, ""),
					LLVMBuildExtractElement(b, index, lane, ""), found, "");
	}
	return found;
}

static LLVMValueRef emit_check(struct gen *g, const struct expr *e, struct copy c)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMTypeRef params[3] = {g->e->ptr, g->e->i64, g->e->i64},
		    type = LLVMFunctionType(g->e->void_, params, 3, 0);
	LLVMValueRef index = gen_value(g, e->arg[0], c), bound = gen_value(g, e->arg[1], c), mask,
		     bad, ok, args[3];
	LLVMBasicBlockRef cold = gen_block(g, "bad"), go = gen_block(g, "in");

	if (is_vector_type(index) || is_vector_type(bound)) {
		index = gen_splat(g, index);
		bound = gen_splat(g, bound);
	}
	ok = LLVMBuildICmp(b, LLVMIntULT, index, bound, "");
	bad = LLVMBuildNot(b, ok, "");
	mask = gen_condition(g, c);
	if (is_vector_type(index))
		mask = gen_and(g, mask, g->tail);
	else if (mask)
		mask = gen_any(g, mask);
	bad = gen_and(g, bad, mask);
	LLVMBuildCondBr(b, gen_any(g, bad), cold, go);
	LLVMPositionBuilderAtEnd(b, cold);
	args[0] = g->frame;
	args[1] = first_bad(g, index, bad);
	args[2] = is_vector_type(bound)
			  ? LLVMBuildExtractElement(b, bound, LLVMConstInt(g->e->i32, 0, 0), "")
			  : bound;
	LLVMBuildCall2(b, type, fail_function(g->e, type), args, 3, "");
	LLVMBuildBr(b, go);
	LLVMMoveBasicBlockAfter(go, LLVMGetInsertBlock(b));
	LLVMPositionBuilderAtEnd(b, go);
	return LLVMBuildSelect(b, ok, index, LLVMConstNull(LLVMTypeOf(index)), "");
}

/* ---- operations ---- */

static LLVMValueRef axis_value(struct gen *g, const struct note *n, struct copy c)
{
	LLVMBuilderRef b = g->e->builder;
	int i = 0;
	LLVMValueRef v;

	while (!(n->axes >> i & 1))
		i++;
	v = g->axis[i];
	if (gen_block_step(g, n->e->index, c.b))
		v = LLVMBuildAdd(b, v, gen_i64(g, gen_block_step(g, n->e->index, c.b)), "");
	if (n->e->index != g->vector_axis)
		return v;
	if (c.u)
		v = LLVMBuildAdd(b, v, gen_i64(g, (int64_t)c.u * g->lanes), "");
	return g->lanes == 1 ? v
			     : LLVMBuildAdd(b, gen_splat(g, v), value_lanes(g->e, g->lanes), "");
}

static bool is_float_mul(const struct expr *e)
{
	return e->op == EXPR_MUL && dtype_is_float((enum dtype)e->type);
}

static void same_shape(struct gen *g, int count, LLVMValueRef *arg)
{
	bool vector = false;

	for (int i = 0; i < count; i++)
		vector |= is_vector_type(arg[i]);
	for (int i = 0; vector && i < count; i++)
		arg[i] = gen_splat(g, arg[i]);
}

/* x*y + z, z + x*y, x*y - z, z - x*y with one rounding. NULL: not of that form. */
static LLVMValueRef fused(struct gen *g, const struct expr *e, struct copy c)
{
	bool left = e->count == 2 && is_float_mul(e->arg[0]);
	const struct expr *mul, *other;
	LLVMValueRef arg[3];

	if ((e->op != EXPR_ADD && e->op != EXPR_SUB) || e->count != 2 ||
	    (!left && !is_float_mul(e->arg[1])))
		return NULL;
	mul = e->arg[left ? 0 : 1];
	other = e->arg[left ? 1 : 0];
	arg[0] = gen_value(g, mul->arg[0], c);
	arg[1] = gen_value(g, mul->arg[1], c);
	arg[2] = gen_value(g, other, c);
	same_shape(g, 3, arg);
	if (e->op == EXPR_SUB && left)
		arg[2] = LLVMBuildFNeg(g->e->builder, arg[2], "");
	else if (e->op == EXPR_SUB)
		arg[0] = LLVMBuildFNeg(g->e->builder, arg[0], "");
	return emit_fma(g->e, arg[0], arg[1], arg[2]);
}

/* Division of an index known to be >= 0 by a constant > 0: unsigned, and in 32 bits where it fits. */
static LLVMValueRef index_division(struct gen *g, const struct expr *e, struct copy c)
{
	LLVMBuilderRef b = g->e->builder;
	int64_t low, high;
	LLVMValueRef x, n;
	bool narrow;

	if ((e->op != EXPR_DIV && e->op != EXPR_REM && e->op != EXPR_MOD) || e->type != DT_I64 ||
	    e->arg[1]->op != EXPR_LITERAL || e->arg[1]->i <= 0 ||
	    !expr_range(g->k->exprs, e->arg[0], &low, &high) || low < 0)
		return NULL;
	narrow = high < INT32_MAX - LANES_MAX * COPIES_MAX && e->arg[1]->i < INT32_MAX;
	x = gen_value(g, e->arg[0], c);
	n = value_int(g->e, DT_I64, is_vector_type(x) ? g->lanes : 1, e->arg[1]->i);
	if (narrow) {
		LLVMTypeRef type = vector_of(g->e->i32, is_vector_type(x) ? g->lanes : 1);

		x = LLVMBuildTrunc(b, x, type, "");
		n = LLVMBuildTrunc(b, n, type, "");
	}
	x = e->op == EXPR_DIV ? LLVMBuildUDiv(b, x, n, "") : LLVMBuildURem(b, x, n, "");
	return narrow ? LLVMBuildZExt(b, x,
				      vector_of(g->e->i64,
						LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind
							? g->lanes
							: 1),
				      "")
		      : x;
}

static bool is_plain_real(const struct expr *e)
{
	return e->op == EXPR_LITERAL && dtype_is_float((enum dtype)e->type) && e->f == e->f;
}

static LLVMValueRef operation(struct gen *g, const struct expr *e, struct copy c)
{
	enum dtype from = (enum dtype)e->arg[0]->type;
	LLVMValueRef arg[3] = {0}, v = fused(g, e, c);
	int lanes;

	if (!v)
		v = index_division(g, e, c);
	if (v)
		return v;
	for (int i = 0; i < e->count; i++)
		arg[i] = gen_value(g, e->arg[i], c);
	same_shape(g, e->count, arg);
	lanes = is_vector_type(arg[0]) ? g->lanes : 1;
	if (e->op == EXPR_CAST || e->op == EXPR_SAT_CAST || e->op == EXPR_BITS_CAST)
		return emit_cast(g->e, (enum expr_op)e->op, from, (enum dtype)e->type, lanes,
				 arg[0]);
	if ((e->op == EXPR_MAX || e->op == EXPR_MIN) && is_plain_real(e->arg[1]))
		return emit_clamp(g->e, e->op == EXPR_MAX, arg[1], arg[0]);
	if ((e->op == EXPR_MAX || e->op == EXPR_MIN) && is_plain_real(e->arg[0]))
		return emit_clamp(g->e, e->op == EXPR_MAX, arg[0], arg[1]);
	return emit_scalar(g->e, (enum expr_op)e->op, from, lanes, arg);
}

static LLVMValueRef make_value(struct gen *g, const struct note *n, struct copy c)
{
	const struct expr *e = n->e;

	switch (e->op) {
	case EXPR_LITERAL:
		return dtype_is_float((enum dtype)e->type)
			       ? emit_real(g->e, (enum dtype)e->type, 1, e->f)
			       : value_int(g->e, (enum dtype)e->type, 1, e->i);
	case EXPR_DIM: return gen_dim(g, e->size);
	case EXPR_AXIS: return axis_value(g, n, c);
	case EXPR_VAR: return gen_variable(g, e->index, c);
	case EXPR_LOAD: return gen_load(g, e, c);
	case EXPR_CHECK: return emit_check(g, e, c);
	case EXPR_REDUCE: return gen_reduce(g, e, c);
	case EXPR_SELECT: return emit_select(g, e, c);
	case EXPR_PARAM: BUG("kernel %s reads a parameter", g->k->name);
	default: return operation(g, e, c);
	}
}

LLVMValueRef gen_value(struct gen *g, const struct expr *e, struct copy c)
{
	struct note *n = note_of(&g->info, e);
	LLVMValueRef v;

	c = gen_copy_of(g, n->axes, c);
	v = memo_find(n->memo, c);
	if (v)
		return v;
	v = make_value(g, n, c);
	memo_add(g, &n->memo,
		 (struct memo){.value = v,
			       .b = (int16_t)c.b,
			       .u = (int16_t)c.u,
			       .changeable = n->buffers || n->vars});
	return v;
}

/* ---- hoisting ---- */

struct hoist {
	struct gen *g;
	uint64_t buffers, vars; /* written inside the loop */
	bool runs;              /* its body is known to run at least once */
	int stamp;
};

static void hoist_ready(struct hoist *h, const struct note *n)
{
	struct gen *g = h->g;
	int blocks = gen_in_block(g, n->axes) ? g->block : 1;
	int vectors = gen_depends(g, n->axes, g->vector_axis) ? g->unroll : 1;

	for (int b = 0; b < blocks; b++) {
		for (int u = 0; u < vectors; u++)
			gen_value(g, n->e, (struct copy){b, u});
	}
}

static void hoist_expr(struct hoist *h, const struct expr *e, bool guarded)
{
	struct note *n = note_of(&h->g->info, e);
	bool free_of_loop =
		!(n->axes & ~h->g->bound) && !(n->buffers & h->buffers) && !(n->vars & h->vars);

	if (e->op == EXPR_LITERAL || e->op == EXPR_DIM || e->op == EXPR_AXIS || e->op == EXPR_VAR ||
	    n->seen[guarded] == h->stamp)
		return;
	n->seen[guarded] = h->stamp;
	if (free_of_loop && (!n->unsafe || (!guarded && h->runs))) {
		hoist_ready(h, n);
		return;
	}
	if (e->op == EXPR_LOAD)
		gen_access_prefix(h->g, n->access);
	for (int i = 0; i < e->count; i++)
		hoist_expr(h, e->arg[i],
			   guarded || (e->op == EXPR_SELECT && i > 0) || e->op == EXPR_REDUCE);
}

void gen_hoist(struct gen *g, const struct expr *e, uint64_t buffers, uint64_t vars)
{
	struct hoist h = {g, buffers, vars, false, ++g->hoists};

	hoist_expr(&h, e, false);
}

static void writes_of(const struct stmt *s, struct hoist *h)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_STORE)
			h->buffers |= bit_of(s->buffer);
		if (s->kind == STMT_SET)
			h->vars |= bit_of(s->var);
		writes_of(s->body, h);
	}
}

static void hoist_list(struct hoist *h, const struct stmt *s, bool guarded)
{
	for (; s; s = s->next) {
		if (s->value)
			hoist_expr(h, s->value, guarded);
		if (s->kind == STMT_STORE)
			gen_access_prefix(h->g, store_access(&h->g->info, s));
		if (s->body) /* inner loops may have no iteration */
			hoist_list(h, s->body,
				   guarded || s->kind == STMT_WHEN ||
					   dim_lower(h->g->k->exprs->axes[s->axis].extent) < 1);
	}
}

void gen_hoist_stmt(struct gen *g, const struct stmt *s)
{
	struct hoist h = {.g = g, .stamp = ++g->hoists};

	h.runs = dim_lower(g->k->exprs->axes[s->axis].extent) >= 1;
	for (int i = 0; i < g->info.task_count; i++)
		h.runs |= g->info.tasks[i].loop == s; /* a task has an iteration */
	writes_of(s->body, &h);
	hoist_list(&h, s->body, false);
}
