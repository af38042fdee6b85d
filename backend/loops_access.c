/* loops_access.c: addresses. One is built from the outside in: what does not change
 * in the inner loops is added before them (prefixes, memoized by loop level); block and unroll copies are
 * constant displacements. */
#include "backend/loops_access.h"

#include <string.h>

bool gen_masks_cheap(struct gen *g, int bits)
{
	return g->e->target->isa == ISA_X86_V4 || (g->e->target->isa == ISA_X86_V3 && bits >= 32);
}

LLVMValueRef gen_advance(struct gen *g, const struct access *a, LLVMValueRef at, LLVMValueRef by)
{
	int64_t zero;

	if (gen_constant(by, &zero) && !zero)
		return at;
	if (is_packed(a->type))
		return LLVMBuildAdd(g->e->builder, at, by, "");
	return LLVMBuildGEP2(g->e->builder, memory_type(g->e, a->type, 1), at, &by, 1, "");
}

static bool is_axis(const struct expr *e, int axis)
{
	return e->op == EXPR_AXIS && e->index == axis;
}

/* The loop level from which a term is known; -1: not yet or not always the same there. */
static int term_level(struct gen *g, const struct term *t)
{
	const struct note *n = note_of(&g->info, t->value);
	int level = 0;

	if ((n->axes & ~g->bound) || n->unsafe || n->buffers || n->vars)
		return -1;
	if (t->value->op != EXPR_AXIS &&
	    (gen_depends(g, n->axes, g->vector_axis) || gen_in_block(g, n->axes)))
		return -1;
	for (int i = 0; i < g->info.axis_count; i++) {
		if ((n->axes >> i & 1) && g->level[i] > level)
			level = g->level[i];
	}
	return level;
}

/* A term that is a constant in this iteration: a displacement, no arithmetic. */
static bool constant_term(struct gen *g, const struct term *t, int64_t *shift)
{
	int64_t value;

	if (t->value->op != EXPR_AXIS || !dim_is_const(t->coef) ||
	    !(axis_bit(&g->info, t->value->index) & g->bound) ||
	    !gen_constant(axis_now(g, t->value->index), &value))
		return false;
	*shift = value * t->coef->value;
	return true;
}

static LLVMValueRef scaled(struct gen *g, LLVMValueRef v, dim coef)
{
	LLVMValueRef c = gen_dim(g, coef);

	if (dim_is(coef, 1))
		return v;
	if (LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind)
		c = gen_splat(g, c);
	return LLVMBuildMul(g->e->builder, v, c, "");
}

static LLVMValueRef sum_of(struct gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return a ? LLVMBuildAdd(g->e->builder, a, b, "") : b;
}

/* The value of a term for iteration 0 of copy 0. */
static LLVMValueRef base_value(struct gen *g, const struct term *t)
{
	if (t->value->op == EXPR_AXIS)
		return axis_now(g, t->value->index);
	return gen_value(g, t->value, (struct copy){0, 0});
}

/* Adds the terms known at `level`; NULL: there are none. */
static LLVMValueRef terms_at(struct gen *g, const struct access *a, int level)
{
	LLVMValueRef sum = NULL;
	int64_t shift;

	if (level == 0 && !dim_is_const(a->constant))
		sum = gen_dim(g, a->constant);
	for (int i = 0; i < a->count; i++) {
		if (term_level(g, &a->terms[i]) == level && !constant_term(g, &a->terms[i], &shift))
			sum = sum_of(g, sum,
				     scaled(g, base_value(g, &a->terms[i]), a->terms[i].coef));
	}
	return sum;
}

static LLVMValueRef prefix(struct gen *g, struct access *a)
{
	LLVMValueRef at = is_packed(a->type) ? gen_i64(g, 0) : g->base[a->buffer];

	for (int level = 0; level <= g->depth; level++) {
		const struct memo *m = a->memo;
		LLVMValueRef more;

		while (m && m->level != level)
			m = m->next;
		if (m) {
			at = m->value;
			continue;
		}
		more = terms_at(g, a, level);
		if (more) {
			at = gen_advance(g, a, at, more);
			memo_add(g, &a->memo, (struct memo){.value = at, .level = (int16_t)level});
		}
	}
	return at;
}

void gen_access_prefix(struct gen *g, struct access *a) { prefix(g, a); }

/* Adds copies * coef: a constant into *shift, else to *sum. */
static void add_copies(struct gen *g, int64_t copies, dim coef, int64_t *shift, LLVMValueRef *sum)
{
	if (dim_is_const(coef))
		*shift += copies * coef->value;
	else if (copies)
		*sum = sum_of(
			g, *sum,
			LLVMBuildMul(g->e->builder, gen_dim(g, coef), gen_i64(g, copies), ""));
}

struct place gen_place(struct gen *g, struct access *a, struct copy c)
{
	struct place p = {.a = a, .at = prefix(g, a)};
	int64_t shift = dim_is_const(a->constant) ? a->constant->value : 0, more;
	LLVMValueRef sum = NULL;
	bool vector = false;

	for (int i = 0; i < a->count; i++) {
		const struct term *t = &a->terms[i];
		const struct note *n = note_of(&g->info, t->value);

		if (t->value->op == EXPR_AXIS) {
			if (constant_term(g, t, &more))
				shift += more;
			add_copies(g, gen_block_step(g, t->value->index, c.b), t->coef, &shift,
				   &sum);
			if (is_axis(t->value, g->vector_axis)) {
				add_copies(g, (int64_t)c.u * g->lanes, t->coef, &shift, &sum);
				p.stride = g->lanes > 1 ? gen_dim(g, t->coef) : NULL;
			}
		} else if (term_level(g, t) < 0) {
			LLVMValueRef v = scaled(g, gen_value(g, t->value, c), t->coef);

			if (gen_is_vector(g, n)) {
				p.offsets = p.offsets ? LLVMBuildAdd(g->e->builder, p.offsets,
								     gen_splat(g, v), "")
						      : gen_splat(g, v);
				vector = true;
			} else {
				sum = sum_of(g, sum, v);
			}
		}
	}
	if (vector && p.stride) {
		LLVMValueRef lanes = value_lanes(g->e, g->lanes);

		lanes = LLVMBuildMul(g->e->builder, lanes, gen_splat(g, p.stride), "");
		p.offsets = LLVMBuildAdd(g->e->builder, p.offsets, lanes, "");
		p.stride = NULL;
	}
	if (sum)
		p.at = gen_advance(g, a, p.at, sum);
	p.from = p.at;
	p.shift = shift;
	p.at = gen_advance(g, a, p.at, gen_i64(g, shift));
	return p;
}

LLVMValueRef gen_lane_place(struct gen *g, const struct place *p, int lane)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef by = gen_i64(g, 0);

	if (p->offsets)
		by = LLVMBuildExtractElement(b, p->offsets,
					     LLVMConstInt(g->e->i32, (unsigned)lane, 0), "");
	else if (p->stride)
		by = LLVMBuildMul(b, p->stride, gen_i64(g, lane), "");
	return gen_advance(g, p->a, p->at, by);
}

LLVMValueRef gen_store_address(struct gen *g, const struct stmt *s, struct copy c)
{
	return gen_place(g, store_access(&g->info, s), c).at;
}

bool gen_is_one(LLVMValueRef v)
{
	int64_t x;

	return v && gen_constant(v, &x) && x == 1;
}

unsigned gen_element_bytes(enum dtype t)
{
	return dtype_bits(t) < 8 ? 1 : (unsigned)dtype_bits(t) / 8;
}

LLVMValueRef gen_pointers(struct gen *g, const struct place *p)
{
	LLVMValueRef by = p->offsets;

	if (!by)
		by = LLVMBuildMul(g->e->builder, value_lanes(g->e, g->lanes),
				  gen_splat(g, p->stride), "");
	return LLVMBuildGEP2(g->e->builder, memory_type(g->e, p->a->type, 1), p->at, &by, 1, "");
}

LLVMValueRef gen_packed_byte(struct gen *g, const struct access *a, LLVMValueRef index,
			     LLVMValueRef *shift)
{
	LLVMBuilderRef b = g->e->builder;
	int per = 8 / dtype_bits(a->type), log = per == 2 ? 1 : 2;
	LLVMValueRef byte = LLVMBuildLShr(b, index, gen_i64(g, log), "");

	*shift = LLVMBuildMul(b, LLVMBuildAnd(b, index, gen_i64(g, per - 1), ""),
			      gen_i64(g, dtype_bits(a->type)), "");
	*shift = LLVMBuildTrunc(b, *shift, g->e->i32, "");
	return LLVMBuildGEP2(b, g->e->i8, g->base[a->buffer], &byte, 1, "");
}
