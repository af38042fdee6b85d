/* interp_code.c: kernels to blocks of instructions.
 * Scopes are the bodies of loops, reductions, `when`s and the arms of selects. An expression is placed in
 * the outermost scope in which all it needs is there, so what does not change in a loop is computed before it:
 *  - it needs the scopes of the axes it reads;
 *  - what reads variables, or buffers that the kernel writes, stays in the scope of its statement and is
 *    computed again for each statement (impure);
 *  - what may fail (loads, checks: unsafe) does not leave a scope that may not be entered (guarded). */
#include "ir/interp.h"

#include <string.h>

struct scope {
	struct scope *parent;
	int depth;
	bool guarded; /* may be skipped */
	int hides;    /* depth of the scope of the same axis that this one hides, or -1 */
	struct block block;
};

/* An expression that has been computed. Valid while its scope is open. */
struct known {
	struct known *next;
	const struct scope *scope;
	int reg, stmt; /* stmt: number of the only statement it is good for, or 0 */
};

enum { IMPURE = 1, UNSAFE = 2 };

/* What compiling knows about an expression. Parts are valid when their stamp is the current one. */
struct fact {
	struct known *known;
	int known_stamp; /* kernel */
	int need_stamp;  /* set of open axes */
	int depth, flags;
	int sum, sum_stamp; /* the sum of a reduction: number, kernel */
};

struct code_memo {
	struct fact *facts; /* by expression id */
	int *axis_depth;    /* of the open scope of each axis, 0: none */
	int *axis_reg;
	int kernel, needs; /* stamps */
};

struct compiler {
	struct arena *arena;
	struct code *code;
	const struct kernel *kernel;
	struct code_memo *memo;
	struct scope *root, *scope;
	const bool *written; /* buffers that the kernel writes */
	int *var_reg;
	int stmt, stmt_depth;
};

struct code_memo *code_memo_new(struct arena *a, const struct expr_pool *p)
{
	struct code_memo *m = ARENA_NEW(a, struct code_memo);

	m->facts = ARENA_ARRAY(a, struct fact, p->count + 1);
	m->axis_depth = ARENA_ARRAY(a, int, p->axis_count + 1);
	m->axis_reg = ARENA_ARRAY(a, int, p->axis_count + 1);
	m->needs = 1;
	return m;
}

static int new_reg(struct compiler *c) { return c->code->reg_count++; }

static struct instr *push(struct compiler *c, enum instr_op op, int dst, int a, int b)
{
	struct block *block = &c->scope->block;
	struct instr i = {.op = (uint8_t)op, .dst = dst, .a = a, .b = b};

	ARENA_PUSH(c->arena, block, i);
	return &block->at[block->count - 1];
}

static void open_scope(struct compiler *c, bool guarded)
{
	struct scope *s = ARENA_NEW(c->arena, struct scope);

	s->parent = c->scope;
	s->depth = c->scope ? c->scope->depth + 1 : 0;
	s->guarded = guarded;
	s->hides = -1;
	c->scope = s;
}

/* Returns the block, or NULL when nothing was put into it. */
static const struct block *close_scope(struct compiler *c)
{
	struct scope *s = c->scope;

	c->scope = s->parent;
	return s->block.count ? &s->block : NULL;
}

/* Opens the scope of a loop; returns the depth of the scope of the same axis that it hides, for close_loop. */
static int open_loop(struct compiler *c, int axis)
{
	int before = c->memo->axis_depth[axis];

	open_scope(c, dim_lower(c->kernel->exprs->axes[axis].extent) < 1);
	c->scope->hides = before ? before : -1;
	c->memo->axis_depth[axis] = c->scope->depth;
	c->memo->axis_reg[axis] = new_reg(c);
	c->memo->needs++;
	return before;
}

/* The register that holds a dim from the start. */
static int preset_dim(struct compiler *c, dim size)
{
	struct preset p = {.size = size};

	for (int i = 0; i < c->code->presets.count; i++) {
		if (c->code->presets.at[i].size == size)
			return c->code->presets.at[i].reg;
	}
	p.reg = new_reg(c);
	ARENA_PUSH(c->arena, &c->code->presets, p);
	return p.reg;
}

static void close_loop(struct compiler *c, int axis, int before, int before_reg)
{
	int reg = c->memo->axis_reg[axis], extent;
	const struct block *body = close_scope(c);

	c->memo->axis_depth[axis] = before;
	c->memo->axis_reg[axis] = before_reg;
	c->memo->needs++;
	if (!body)
		return;
	extent = preset_dim(c, c->kernel->exprs->axes[axis].extent);
	push(c, I_FOR, reg, extent, 0)->body = body;
}

/* ---- where an expression belongs ---- */

static void needs_of(struct compiler *c, const struct expr *e);

static void needs_of_reduce(struct compiler *c, const struct expr *e, struct fact *f)
{
	int hidden[HONE_MAX_RANK * 2], n = e->axis_count;
	bool any = false;

	for (int k = 0; k < n && k < HONE_MAX_RANK * 2; k++) {
		hidden[k] = c->memo->axis_depth[e->axes[k]];
		c->memo->axis_depth[e->axes[k]] = 0;
		any |= hidden[k] != 0;
	}
	if (any) /* the body was perhaps looked at for the hidden axes */
		c->memo->needs++;
	needs_of(c, e->arg[0]);
	f->depth = c->memo->facts[e->arg[0]->id].depth;
	f->flags = c->memo->facts[e->arg[0]->id].flags;
	for (int k = 0; k < n && k < HONE_MAX_RANK * 2; k++)
		c->memo->axis_depth[e->axes[k]] = hidden[k];
	if (any)
		c->memo->needs++;
}

static void needs_of(struct compiler *c, const struct expr *e)
{
	struct fact *f = &c->memo->facts[e->id], *g;

	if (f->need_stamp == c->memo->needs)
		return;
	f->depth = f->flags = 0;
	if (e->op == EXPR_AXIS)
		f->depth = c->memo->axis_depth[e->index];
	else if (e->op == EXPR_VAR)
		f->flags = IMPURE;
	else if (e->op == EXPR_CHECK)
		f->flags = UNSAFE;
	else if (e->op == EXPR_LOAD)
		f->flags = UNSAFE | (c->written[e->index] ? IMPURE : 0);
	else if (e->op == EXPR_REDUCE)
		needs_of_reduce(c, e, f);
	for (int i = 0; e->op != EXPR_REDUCE && i < e->count; i++) {
		needs_of(c, e->arg[i]);
		g = &c->memo->facts[e->arg[i]->id];
		f->depth = g->depth > f->depth ? g->depth : f->depth;
		f->flags |= g->flags;
	}
	if ((f->flags & IMPURE) && f->depth < c->stmt_depth)
		f->depth = c->stmt_depth;
	f->need_stamp = c->memo->needs;
}

static struct scope *home_of(struct compiler *c, const struct expr *e, int extra)
{
	struct fact *f = &c->memo->facts[e->id];
	struct scope *s = c->scope;

	needs_of(c, e);
	while (s->depth > f->depth && !(((f->flags | extra) & UNSAFE) && s->guarded))
		s = s->parent;
	return s;
}

/* The register of e if it is known in scope `at`, else -1. */
static int find_known(struct compiler *c, const struct expr *e, const struct scope *at)
{
	struct fact *f = &c->memo->facts[e->id];
	const struct scope *s;
	int hidden; /* scopes of this depth and deeper are behind a hidden axis */

	if (f->known_stamp != c->memo->kernel)
		return -1;
	for (struct known *k = f->known; k; k = k->next) {
		if (k->stmt && k->stmt != c->stmt)
			continue;
		hidden = INT32_MAX;
		for (s = at; s && s != k->scope && s->depth > k->scope->depth; s = s->parent) {
			if (s->hides >= 0 && s->hides < hidden)
				hidden = s->hides;
		}
		if (s == k->scope && s->depth < hidden)
			return k->reg;
	}
	return -1;
}

static void add_known(struct compiler *c, const struct expr *e, const struct scope *at, int reg)
{
	struct fact *f = &c->memo->facts[e->id];
	struct known *k = ARENA_NEW(c->arena, struct known);

	if (f->known_stamp != c->memo->kernel)
		f->known = NULL;
	f->known_stamp = c->memo->kernel;
	k->next = f->known;
	k->scope = at;
	k->reg = reg;
	k->stmt = f->flags & IMPURE ? c->stmt : 0;
	f->known = k;
}

/* ---- expressions ---- */

static int emit(struct compiler *c, const struct expr *e);

static int preset_literal(struct compiler *c, const struct expr *e)
{
	struct preset p = {.literal = e};
	int reg = find_known(c, e, c->root);

	if (reg >= 0)
		return reg;
	p.reg = new_reg(c);
	ARENA_PUSH(c->arena, &c->code->presets, p);
	needs_of(c, e);
	add_known(c, e, c->root, p.reg);
	return p.reg;
}

/* The register with the offset of element index[0..rank) of a buffer, or -1 for rank 0. The term of each axis
 * is computed, checked and added where its index is known, the outermost first. */
static int emit_offset(struct compiler *c, int buffer, int rank, const struct expr *const *index)
{
	struct scope *saved = c->scope, *home[HONE_MAX_RANK];
	int offset = -1, next, reg;
	bool done[HONE_MAX_RANK] = {false};

	for (int i = 0; i < rank; i++)
		home[i] = home_of(c, index[i], UNSAFE);
	for (int round = 0; round < rank; round++) {
		next = -1;
		for (int i = 0; i < rank; i++) {
			if (!done[i] && (next < 0 || home[i]->depth < home[next]->depth))
				next = i;
		}
		done[next] = true;
		reg = emit(c, index[next]);
		c->scope = home[next];
		push(c, I_SCALE, new_reg(c), reg, buffer)->c = next;
		reg = c->code->reg_count - 1;
		if (offset >= 0) {
			push(c, I_ADD_I64, new_reg(c), offset, reg);
			reg = c->code->reg_count - 1;
		}
		offset = reg;
		c->scope = saved;
	}
	return offset;
}

static int emit_load(struct compiler *c, const struct expr *e)
{
	enum dtype t = c->kernel->buffers.at[e->index].type.dtype;
	int offset = emit_offset(c, e->index, e->count, e->arg), dst = new_reg(c);

	push(c, t == DT_F32 && offset >= 0 ? I_LOAD_F32 : I_LOAD, dst, offset, e->index)->type =
		(uint8_t)t;
	return dst;
}

static int emit_select(struct compiler *c, const struct expr *e)
{
	int condition = emit(c, e->arg[0]), dst = new_reg(c), value[2];
	const struct block *arm[2];
	struct instr *i;

	for (int k = 0; k < 2; k++) {
		open_scope(c, true);
		value[k] = emit(c, e->arg[k + 1]);
		arm[k] = close_scope(c);
	}
	i = push(c, arm[0] || arm[1] ? I_BRANCH : I_SELECT, dst, condition, value[0]);
	i->c = value[1];
	i->body = arm[0];
	i->other = arm[1];
	return dst;
}

static void push_sum(struct compiler *c, enum instr_op op, const struct expr *e, int dst, int a)
{
	struct instr *i = push(c, op, dst, a, 0);

	i->reduce = e->reduce;
	i->type = e->type;
	i->from = e->arg[0]->type;
}

static int emit_reduce(struct compiler *c, const struct expr *e)
{
	int sum = c->code->sum_count++, n = e->axis_count, dst = new_reg(c), value;
	int *before = ARENA_ARRAY(c->arena, int, n * 2 + 1);

	c->memo->facts[e->id].sum = sum;
	c->memo->facts[e->id].sum_stamp = c->memo->kernel;
	push_sum(c, I_BEGIN, e, sum, 0);
	for (int k = 0; k < n; k++) {
		before[n + k] = c->memo->axis_reg[e->axes[k]];
		before[k] = open_loop(c, e->axes[k]);
	}
	value = emit(c, e->arg[0]);
	push_sum(c, I_STEP, e, sum, value);
	for (int k = n - 1; k >= 0; k--)
		close_loop(c, e->axes[k], before[k], before[n + k]);
	push_sum(c, I_END, e, dst, sum);
	return dst;
}

/* The instruction that computes ADD, SUB or MUL of a type in line; I_EVAL if there is none. */
static enum instr_op inline_op(const struct expr *e)
{
	if (e->op > EXPR_MUL)
		return I_EVAL;
	if (e->type == DT_F32)
		return I_ADD_F32 + (e->op - EXPR_ADD);
	return e->type == DT_I64 ? I_ADD_I64 + (e->op - EXPR_ADD) : I_EVAL;
}

static int emit_scalar(struct compiler *c, const struct expr *e)
{
	int reg[3] = {0}, dst;
	struct instr *i;

	for (int k = 0; k < e->count && k < 3; k++)
		reg[k] = emit(c, e->arg[k]);
	dst = new_reg(c);
	i = push(c, e->op == EXPR_CHECK ? I_CHECK : inline_op(e), dst, reg[0], reg[1]);
	i->c = reg[2];
	i->scalar = e->op;
	i->from = e->arg[0]->type;
	i->type = e->type;
	return dst;
}

static int emit_new(struct compiler *c, const struct expr *e)
{
	switch (e->op) {
	case EXPR_LOAD: return emit_load(c, e);
	case EXPR_SELECT: return emit_select(c, e);
	case EXPR_REDUCE: return emit_reduce(c, e);
	case EXPR_PARAM: BUG("kernel %s reads an unbound parameter", c->kernel->name);
	default: return emit_scalar(c, e);
	}
}

static int emit(struct compiler *c, const struct expr *e)
{
	struct scope *saved = c->scope, *home;
	int reg;

	if (e->op == EXPR_LITERAL)
		return preset_literal(c, e);
	if (e->op == EXPR_DIM)
		return preset_dim(c, e->size);
	if (e->op == EXPR_AXIS)
		return c->memo->axis_reg[e->index];
	if (e->op == EXPR_VAR)
		return c->var_reg[e->index];
	home = home_of(c, e, 0);
	reg = find_known(c, e, home);
	if (reg >= 0)
		return reg;
	c->scope = home;
	reg = emit_new(c, e);
	c->scope = saved;
	needs_of(c, e);
	add_known(c, e, home, reg);
	return reg;
}

/* ---- statements ---- */

/* The outermost float sums that e is made of. */
static void find_sums(struct compiler *c, const struct expr *e, int room, int *count, int32_t *out)
{
	struct fact *f = &c->memo->facts[e->id];

	if (e->op == EXPR_REDUCE && e->reduce == REDUCE_SUM && dtype_is_float(e->type)) {
		for (int i = 0; i < *count; i++) {
			if (out[i] == f->sum)
				return;
		}
		if (*count < room && f->sum_stamp == c->memo->kernel)
			out[(*count)++] = f->sum;
		return;
	}
	for (int i = 0; e->op != EXPR_LOAD && i < e->count && *count < room; i++)
		find_sums(c, e->arg[i], room, count, out);
}

#define MAX_SUMS 8

static void emit_store(struct compiler *c, const struct stmt *s)
{
	int offset = emit_offset(c, s->buffer, s->rank, s->index), value = emit(c, s->value),
	    count = 0;
	enum dtype t = c->kernel->buffers.at[s->buffer].type.dtype;
	int32_t sums[MAX_SUMS + 1];
	struct instr *i;

	if (dtype_is_float(t))
		find_sums(c, s->value, MAX_SUMS, &count, sums);
	sums[count] = -1;
	i = push(c, I_STORE, 0, offset, s->buffer);
	i->c = value;
	i->type = (uint8_t)t;
	i->stmt = s;
	if (count) {
		i->sums = arena_copy(c->arena, sums, sizeof(*sums) * (size_t)(count + 1));
		c->code->float_sums[s->buffer] = true;
	}
}

static void emit_stmts(struct compiler *c, const struct stmt *s)
{
	int before, before_reg, reg;
	const struct block *body;

	for (; s; s = s->next) {
		c->stmt++;
		c->stmt_depth = c->scope->depth;
		c->memo->needs++;
		switch (s->kind) {
		case STMT_FOR:
			before_reg = c->memo->axis_reg[s->axis];
			before = open_loop(c, s->axis);
			emit_stmts(c, s->body);
			close_loop(c, s->axis, before, before_reg);
			break;
		case STMT_WHEN:
			reg = emit(c, s->value);
			open_scope(c, true);
			emit_stmts(c, s->body);
			body = close_scope(c);
			if (body)
				push(c, I_WHEN, 0, reg, 0)->body = body;
			break;
		case STMT_STORE: emit_store(c, s); break;
		case STMT_SET: push(c, I_MOVE, c->var_reg[s->var], emit(c, s->value), 0); break;
		case STMT_CALL: push(c, I_CALL, 0, 0, 0)->stmt = s; break;
		}
	}
}

static void mark_written(const struct stmt *s, bool *written)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_STORE)
			written[s->buffer] = true;
		for (int i = 0; s->kind == STMT_CALL && i < s->out_count; i++) {
			if (s->out[i] >= 0)
				written[s->out[i]] = true;
		}
		mark_written(s->body, written);
	}
}

struct code *code_compile(struct arena *a, const struct kernel *k, struct code_memo *memo)
{
	struct code *code = ARENA_NEW(a, struct code);
	bool *written = ARENA_ARRAY(a, bool, k->buffers.count + 1);
	struct compiler c = {
		.arena = a, .code = code, .kernel = k, .memo = memo, .written = written};

	code->kernel = k;
	code->float_sums = ARENA_ARRAY(a, bool, k->buffers.count + 1);
	memo->kernel++;
	memo->needs++;
	mark_written(k->body, written);
	c.var_reg = ARENA_ARRAY(a, int, k->vars.count + 1);
	for (int i = 0; i < k->vars.count; i++)
		c.var_reg[i] = new_reg(&c);
	open_scope(&c, false);
	c.root = c.scope;
	emit_stmts(&c, k->body);
	code->body = c.root->block;
	return code;
}
