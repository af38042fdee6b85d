/* loops_access.c: addresses, loads and stores. An address is built from the outside in: what does not change
 * in the inner loops is added before them (prefixes, memoized by loop level); block and unroll copies are
 * constant displacements. */
#include "backend/loops.h"

#include <string.h>

/* Where a copy of an access is. Packed types have an element index instead of a pointer. */
struct place {
	const struct access *a;
	LLVMValueRef at; /* of lane 0, without `offsets`: from + shift */
	LLVMValueRef from;
	int64_t shift;
	LLVMValueRef offsets; /* elements, one for each lane, or NULL */
	LLVMValueRef
		stride; /* elements from lane to lane when there are no offsets; NULL: all lanes are one */
};

static bool packed(enum dtype t) { return dtype_bits(t) < 8; }

bool gen_masks_cheap(struct gen *g, int bits)
{
	return g->e->target->isa == ISA_X86_V4 || (g->e->target->isa == ISA_X86_V3 && bits >= 32);
}

static LLVMValueRef advance(struct gen *g, const struct access *a, LLVMValueRef at, LLVMValueRef by)
{
	int64_t zero;

	if (gen_constant(by, &zero) && !zero)
		return at;
	if (packed(a->type))
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
	LLVMValueRef at = packed(a->type) ? gen_i64(g, 0) : g->base[a->buffer];

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
			at = advance(g, a, at, more);
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

static struct place place_of(struct gen *g, struct access *a, struct copy c)
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
		p.at = advance(g, a, p.at, sum);
	p.from = p.at;
	p.shift = shift;
	p.at = advance(g, a, p.at, gen_i64(g, shift));
	return p;
}

static LLVMValueRef lane_place(struct gen *g, const struct place *p, int lane)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef by = gen_i64(g, 0);

	if (p->offsets)
		by = LLVMBuildExtractElement(b, p->offsets,
					     LLVMConstInt(g->e->i32, (unsigned)lane, 0), "");
	else if (p->stride)
		by = LLVMBuildMul(b, p->stride, gen_i64(g, lane), "");
	return advance(g, p->a, p->at, by);
}

/* Where a load that must not happen reads instead. */
static LLVMValueRef zeros(struct gen *g)
{
	LLVMValueRef v = LLVMGetNamedGlobal(g->e->module, "hone.zeros");
	LLVMTypeRef type = LLVMArrayType2(g->e->i64, LANES_MAX);

	if (v)
		return v;
	v = LLVMAddGlobal(g->e->module, type, "hone.zeros");
	LLVMSetInitializer(v, LLVMConstNull(type));
	LLVMSetLinkage(v, LLVMInternalLinkage);
	LLVMSetGlobalConstant(v, 1);
	LLVMSetAlignment(v, 64);
	return v;
}

static unsigned element_bytes(enum dtype t)
{
	return dtype_bits(t) < 8 ? 1 : (unsigned)dtype_bits(t) / 8;
}

static LLVMValueRef plain_load(struct gen *g, enum dtype t, int lanes, LLVMValueRef at)
{
	LLVMValueRef v = LLVMBuildLoad2(g->e->builder, memory_type(g->e, t, lanes), at, "");

	LLVMSetAlignment(v, element_bytes(t));
	return v;
}

/* ---- packed elements: index / per is the byte ---- */

static LLVMValueRef byte_of(struct gen *g, const struct access *a, LLVMValueRef index,
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

static LLVMValueRef load_packed(struct gen *g, const struct access *a, LLVMValueRef index,
				LLVMValueRef mask)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef shift, at = byte_of(g, a, index, &shift), v,
			    rest = value_int(g->e, DT_I32, 1, 32 - dtype_bits(a->type));

	if (mask)
		at = LLVMBuildSelect(b, mask, at, zeros(g), "");
	v = LLVMBuildZExt(b, plain_load(g, DT_U8, 1, at), g->e->i32, "");
	v = LLVMBuildShl(b, LLVMBuildLShr(b, v, shift, ""), rest, "");
	return dtype_class(a->type) == DTYPE_SIGNED ? LLVMBuildAShr(b, v, rest, "")
						    : LLVMBuildLShr(b, v, rest, "");
}

static void store_packed(struct gen *g, const struct access *a, LLVMValueRef index,
			 LLVMValueRef value)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef shift, at = byte_of(g, a, index, &shift), old,
			    field = value_int(g->e, DT_I32, 1, (1 << dtype_bits(a->type)) - 1);

	old = LLVMBuildZExt(b, plain_load(g, DT_U8, 1, at), g->e->i32, "");
	old = LLVMBuildAnd(b, old, LLVMBuildNot(b, LLVMBuildShl(b, field, shift, ""), ""), "");
	value = LLVMBuildShl(b, LLVMBuildAnd(b, value, field, ""), shift, "");
	LLVMBuildStore(b, LLVMBuildTrunc(b, LLVMBuildOr(b, old, value, ""), g->e->i8, ""), at);
}

/* ---- masked access ---- */

static LLVMValueRef masked(struct gen *g, const char *name, LLVMTypeRef vector, int count,
			   LLVMValueRef *arg, int where, unsigned align)
{
	return emit_masked(g->e, name, vector, count, arg, where, align);
}

static LLVMValueRef pointers(struct gen *g, const struct place *p)
{
	LLVMValueRef by = p->offsets;

	if (!by)
		by = LLVMBuildMul(g->e->builder, value_lanes(g->e, g->lanes),
				  gen_splat(g, p->stride), "");
	return LLVMBuildGEP2(g->e->builder, memory_type(g->e, p->a->type, 1), p->at, &by, 1, "");
}

static bool hardware_gather(struct gen *g, enum dtype t)
{
	return g->e->target->isa == ISA_X86_V4 && dtype_bits(t) >= 32;
}

static LLVMValueRef gather(struct gen *g, const struct place *p, LLVMValueRef mask)
{
	LLVMBuilderRef b = g->e->builder;
	enum dtype t = p->a->type;
	LLVMTypeRef type =
		packed(t) ? vector_of(g->e->i32, g->lanes) : memory_type(g->e, t, g->lanes);
	LLVMValueRef v = LLVMGetPoison(type);

	if (hardware_gather(g, t) && (mask || p->offsets)) {
		LLVMValueRef arg[3] = {pointers(g, p), NULL, LLVMConstNull(type)};

		arg[1] =
			mask ? gen_splat(g, mask) : LLVMConstAllOnes(vector_of(g->e->i1, g->lanes));
		return masked(g, "llvm.masked.gather", type, 3, arg, 0, element_bytes(t));
	}
	for (int i = 0; i < g->lanes; i++) {
		LLVMValueRef lane = LLVMConstInt(g->e->i32, (unsigned)i, 0),
			     at = lane_place(g, p, i), one, use = mask;

		if (mask && LLVMGetTypeKind(LLVMTypeOf(mask)) == LLVMVectorTypeKind)
			use = LLVMBuildExtractElement(b, mask, lane, "");
		if (packed(t)) {
			one = load_packed(g, p->a, at, use);
		} else {
			if (use)
				at = LLVMBuildSelect(b, use, at, zeros(g), "");
			one = plain_load(g, t, 1, at);
		}
		v = LLVMBuildInsertElement(b, v, one, lane, "");
	}
	return v;
}

static LLVMValueRef load_one(struct gen *g, const struct place *p, LLVMValueRef mask)
{
	enum dtype t = p->a->type;

	if (mask)
		mask = gen_any(g, mask);
	if (packed(t))
		return load_packed(g, p->a, p->at, mask);
	return plain_load(g, t, 1,
			  mask ? LLVMBuildSelect(g->e->builder, mask, p->at, zeros(g), "") : p->at);
}

static LLVMValueRef load_vector(struct gen *g, const struct place *p, LLVMValueRef mask)
{
	LLVMTypeRef type = memory_type(g->e, p->a->type, g->lanes);
	LLVMValueRef arg[3] = {p->at, mask, LLVMConstNull(type)};

	if (!mask)
		return plain_load(g, p->a->type, g->lanes, p->at);
	if (LLVMGetTypeKind(LLVMTypeOf(mask)) != LLVMVectorTypeKind)
		return plain_load(g, p->a->type, g->lanes,
				  LLVMBuildSelect(g->e->builder, mask, p->at, zeros(g), ""));
	return masked(g, "llvm.masked.load", type, 3, arg, 0, element_bytes(p->a->type));
}

/* True for checked indices of an extent that is not 0. */
static LLVMValueRef checks_exist(struct gen *g, const struct access *a, struct copy c)
{
	LLVMValueRef all = NULL;

	for (int i = 0; i < a->check_count; i++) {
		const struct expr *bound = a->checks[i]->arg[1];
		LLVMValueRef v;

		if (bound->op == EXPR_LITERAL ? bound->i > 0
					      : bound->op == EXPR_DIM && dim_lower(bound->size) > 0)
			continue;
		v = gen_value(g, bound, c);
		all = gen_and(g, all,
			      LLVMBuildICmp(g->e->builder, LLVMIntSGT, v,
					    LLVMConstNull(LLVMTypeOf(v)), ""));
	}
	return all;
}

static bool is_one(LLVMValueRef v)
{
	int64_t x;

	return v && gen_constant(v, &x) && x == 1;
}

/* A matrix of lanes x lanes, transposed by swapping ever smaller blocks beside the diagonal. */
static void transpose(struct gen *g, LLVMValueRef *row)
{
	LLVMValueRef low[LANES_MAX], high[LANES_MAX];
	int n = g->lanes;

	for (int s = n / 2; s >= 1; s /= 2) {
		for (int i = 0; i < n; i++) {
			low[i] = LLVMConstInt(g->e->i32, (unsigned)(i & s ? n + (i ^ s) : i), 0);
			high[i] = LLVMConstInt(g->e->i32, (unsigned)(i & s ? n + i : i ^ s), 0);
		}
		for (int i = 0; i < n; i++) {
			LLVMValueRef a = row[i], b = row[i ^ s];

			if (i & s)
				continue;
			row[i] = LLVMBuildShuffleVector(g->e->builder, a, b,
							LLVMConstVector(low, (unsigned)n), "");
			row[i ^ s] = LLVMBuildShuffleVector(g->e->builder, a, b,
							    LLVMConstVector(high, (unsigned)n), "");
		}
	}
}

/* Loads that are contiguous along the block axis, not along the vectors: all copies at once as rows of a square,
 * which is transposed. NULL: not of that form. */
static LLVMValueRef load_square(struct gen *g, struct note *n, struct copy c)
{
	struct access *a = n->access;
	LLVMValueRef row[LANES_MAX], result = NULL;
	struct place p;
	bool uses;
	dim coef;

	if (g->block != g->lanes || g->lanes < 4 || g->tail || !a->safe || packed(a->type))
		return NULL;
	coef = access_coef(&g->info, a, g->block_axis, &uses);
	if (!coef || !dim_is(coef, 1) || !gen_depends(g, n->axes, g->vector_axis))
		return NULL;
	coef = access_coef(&g->info, a, g->vector_axis, &uses);
	if (!coef || dim_is(coef, 0) || dim_is(coef, 1))
		return NULL;
	p = place_of(g, a, (struct copy){0, c.u});
	for (int i = 0; i < g->lanes; i++)
		row[i] = plain_load(g, a->type, g->lanes, lane_place(g, &p, i));
	transpose(g, row);
	for (int i = 0; i < g->lanes; i++) {
		LLVMValueRef v = emit_decode(g->e, a->type, g->lanes, row[i]);

		if (i == c.b)
			result = v; /* gen_value remembers this one */
		else
			memo_add(g, &n->memo,
				 (struct memo){.value = v,
					       .b = (int16_t)i,
					       .u = (int16_t)c.u,
					       .changeable = n->buffers || n->vars});
	}
	return result;
}

static LLVMValueRef find_loaded(const struct access *a, const struct place *p, int lanes)
{
	for (const struct loaded *l = a->loaded; l; l = l->next) {
		if (l->from == p->from && l->shift == p->shift && l->lanes == lanes)
			return l->value;
	}
	return NULL;
}

static void add_loaded(struct gen *g, struct access *a, const struct place *p, int lanes,
		       LLVMValueRef value)
{
	struct loaded *l = ARENA_NEW(&g->arena, struct loaded);

	*l = (struct loaded){a->loaded, p->from, value, p->shift, lanes};
	if (!a->loaded)
		ARENA_PUSH(&g->arena, &g->reused, a);
	a->loaded = l;
}

void gen_forget_loaded(struct gen *g)
{
	while (g->reused.count)
		g->reused.at[--g->reused.count]->loaded = NULL;
}

static LLVMValueRef load_at(struct gen *g, const struct place *p, bool vector, LLVMValueRef mask)
{
	const struct access *a = p->a;
	LLVMValueRef v;

	if (!vector)
		v = load_one(g, p, mask);
	else if (!p->offsets && is_one(p->stride) && !packed(a->type))
		v = load_vector(g, p, mask);
	else
		v = gather(g, p, mask);
	return packed(a->type) ? v : emit_decode(g->e, a->type, vector ? g->lanes : 1, v);
}

LLVMValueRef gen_load(struct gen *g, const struct expr *e, struct copy c)
{
	struct note *n = note_of(&g->info, e);
	struct access *a = n->access;
	LLVMValueRef square = load_square(g, n, c);
	struct place p = square ? (struct place){0} : place_of(g, a, c);
	bool vector = p.offsets || p.stride, reuse;
	LLVMValueRef mask = a->safe || square
				    ? NULL
				    : gen_and(g, gen_condition(g, c), checks_exist(g, a, c)),
		     v;
	int lanes = vector ? g->lanes : 1;

	if (square)
		return square;
	if (vector)
		mask = gen_and(g, mask, g->tail);
	reuse = g->reuse && !p.offsets && (!mask || mask == g->tail);
	v = reuse ? find_loaded(a, &p, lanes) : NULL;
	if (v)
		return v;
	v = load_at(g, &p, vector, mask);
	if (reuse)
		add_loaded(g, a, &p, lanes, v);
	return v;
}

LLVMValueRef gen_address(struct gen *g, const struct expr *load, struct copy c)
{
	return place_of(g, note_of(&g->info, load)->access, c).at;
}

LLVMValueRef gen_load_memory(struct gen *g, enum dtype t, LLVMValueRef at)
{
	struct access a = {.type = t};
	struct place p = {.a = &a, .at = at};

	return load_vector(g, &p, g->tail);
}

/* ---- stores ---- */

struct pending {
	struct place place;
	LLVMValueRef value, mask; /* value in memory form */
};

static void store_lane(struct gen *g, const struct access *a, LLVMValueRef at, LLVMValueRef value)
{
	LLVMValueRef s;

	if (packed(a->type)) {
		store_packed(g, a, at, value);
		return;
	}
	s = LLVMBuildStore(g->e->builder, value, at);
	LLVMSetAlignment(s, element_bytes(a->type));
}

static void store_one(struct gen *g, const struct pending *w)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMBasicBlockRef then, join;

	if (!w->mask) {
		store_lane(g, w->place.a, w->place.at, w->value);
		return;
	}
	then = gen_block(g, "store");
	join = gen_block(g, "stored");
	LLVMBuildCondBr(b, gen_any(g, w->mask), then, join);
	LLVMPositionBuilderAtEnd(b, then);
	store_lane(g, w->place.a, w->place.at, w->value);
	LLVMBuildBr(b, join);
	LLVMPositionBuilderAtEnd(b, join);
}

/* Whether a constant mask has this lane; NULL has all. -1: it is not constant. */
static int has_lane(LLVMValueRef mask, int i)
{
	LLVMValueRef lane = !mask                  ? NULL
			    : LLVMIsConstant(mask) ? LLVMGetAggregateElement(mask, (unsigned)i)
						   : mask;

	if (!lane)
		return 1;
	return LLVMIsAConstantInt(lane) ? (int)LLVMConstIntGetZExtValue(lane) : -1;
}

/* The only lane of a constant mask with one; -1: another mask. LLVM (19 and 22) makes such a masked store of
 * bytes or halves a store of 4 bytes, past the end of the buffer. */
static int only_lane(struct gen *g, LLVMValueRef mask)
{
	int only = -1;

	for (int i = 0; i < g->lanes; i++) {
		int has = has_lane(mask, i);

		if (has < 0 || (has && only >= 0))
			return -1;
		if (has)
			only = i;
	}
	return only;
}

/* Lanes `stride` elements apart, of a small constant stride: spread over that many vectors, each stored where its lanes
 * are. False: not of that form. */
static bool store_spread(struct gen *g, const struct pending *w, LLVMValueRef mask)
{
	enum { STRIDE_MAX = 4 };
	const struct access *a = w->place.a;
	LLVMTypeRef type = memory_type(g->e, a->type, g->lanes);
	LLVMValueRef from[LANES_MAX], is[LANES_MAX];
	int64_t stride;

	if (has_lane(mask, 0) < 0 || w->place.offsets || !gen_constant(w->place.stride, &stride) ||
	    stride < 2 || stride > STRIDE_MAX || g->lanes < 2 * STRIDE_MAX ||
	    dtype_bits(a->type) < 32 || g->e->target->isa != ISA_X86_V4)
		return false;
	for (int64_t first = 0; first < stride * g->lanes; first += g->lanes) {
		LLVMValueRef arg[3];

		for (int i = 0; i < g->lanes; i++) {
			int64_t lane = (first + i) / stride;
			bool used = (first + i) % stride == 0 && has_lane(mask, (int)lane);

			from[i] = used ? LLVMConstInt(g->e->i32, (uint64_t)lane, 0)
				       : LLVMGetPoison(g->e->i32);
			is[i] = LLVMConstInt(g->e->i1, used, 0);
		}
		arg[0] = LLVMBuildShuffleVector(g->e->builder, w->value, LLVMGetPoison(type),
						LLVMConstVector(from, (unsigned)g->lanes), "");
		arg[1] = advance(g, a, w->place.at, gen_i64(g, first));
		arg[2] = LLVMConstVector(is, (unsigned)g->lanes);
		masked(g, "llvm.masked.store", type, 3, arg, 1, element_bytes(a->type));
	}
	return true;
}

static void store_vector(struct gen *g, const struct pending *w)
{
	const struct access *a = w->place.a;
	LLVMTypeRef type = memory_type(g->e, a->type, g->lanes);
	LLVMValueRef mask = w->mask ? gen_splat(g, w->mask) : NULL,
		     arg[3] = {w->value, w->place.at, mask};
	int only = mask ? only_lane(g, mask) : -1;

	if (only >= 0) {
		store_lane(g, a, lane_place(g, &w->place, only),
			   LLVMBuildExtractElement(g->e->builder, w->value,
						   LLVMConstInt(g->e->i32, (unsigned)only, 0), ""));
		return;
	}
	if (!w->place.offsets && is_one(w->place.stride)) {
		if (mask)
			masked(g, "llvm.masked.store", type, 3, arg, 1, element_bytes(a->type));
		else
			store_lane(g, a, w->place.at, w->value);
		return;
	}
	if (store_spread(g, w, mask))
		return;
	if (mask) {
		arg[1] = pointers(g, &w->place);
		masked(g, "llvm.masked.scatter", type, 3, arg, 1, element_bytes(a->type));
		return;
	}
	for (int i = 0; i < g->lanes; i++)
		store_lane(g, a, lane_place(g, &w->place, i),
			   LLVMBuildExtractElement(g->e->builder, w->value,
						   LLVMConstInt(g->e->i32, (unsigned)i, 0), ""));
}

static void prepare(struct gen *g, const struct stmt *s, struct copy c, struct pending *w)
{
	struct access *a = store_access(&g->info, s);
	enum dtype compute = dtype_compute(a->type);
	bool vector;

	w->value = gen_value(g, s->value, c);
	w->place = place_of(g, a, c);
	vector = w->place.offsets || w->place.stride;
	w->mask = gen_and(g, gen_condition(g, c), vector ? g->tail : NULL);
	if (vector)
		w->value = gen_splat(g, w->value);
	if (s->combine >= 0)
		w->value =
			gen_combine(g, (enum reduce_kind)s->combine, compute, vector ? g->lanes : 1,
				    load_at(g, &w->place, vector, w->mask), w->value);
	if (!packed(a->type))
		w->value = emit_encode(g->e, a->type, vector ? g->lanes : 1, w->value);
}

/* Copies of the block that lie between each other in memory (three channels of pixels): element e of the whole is
 * lane e / n of copy e % n. */
static void store_interleaved(struct gen *g, const struct pending *all, int n, int step)
{
	LLVMValueRef index[LANES_MAX];

	for (int i = 0; i < n; i++) {
		LLVMValueRef v = all[0].value, by = gen_i64(g, (int64_t)i * g->lanes);

		for (int b = 1; b < n; b++) {
			for (int t = 0; t < g->lanes; t++) {
				int e = i * g->lanes + t, from = e % n == b ? g->lanes + e / n
								 : b == 1 && e % n == 0 ? e / n
											: t;

				index[t] = LLVMConstInt(g->e->i32, (unsigned)from, 0);
			}
			v = LLVMBuildShuffleVector(g->e->builder, v, all[b * step].value,
						   LLVMConstVector(index, (unsigned)g->lanes), "");
		}
		store_lane(g, all[0].place.a, advance(g, all[0].place.a, all[0].place.at, by), v);
	}
}

static bool is_interleaved(struct gen *g, const struct stmt *s, const struct pending *all,
			   int blocks, int vectors)
{
	struct access *a = store_access(&g->info, s);
	int64_t stride;
	bool uses;
	dim coef = g->block_axis < 0 ? NULL : access_coef(&g->info, a, g->block_axis, &uses);

	if (blocks < 2 || blocks > 4 || g->block_outer >= 0 || g->lanes < 4 || packed(a->type) ||
	    !coef || !dim_is(coef, 1))
		return false;
	for (int i = 0; i < blocks * vectors; i++) {
		if (all[i].mask || all[i].place.offsets || !all[i].place.stride ||
		    !gen_constant(all[i].place.stride, &stride) || stride != blocks)
			return false;
	}
	return true;
}

void gen_store(struct gen *g, const struct stmt *s)
{
	struct access *a = store_access(&g->info, s);
	axis_set axes = note_of(&g->info, s->value)->axes;
	struct pending all[COPIES_MAX];
	int blocks, vectors;

	for (int i = 0; i < a->count; i++)
		axes |= note_of(&g->info, a->terms[i].value)->axes;
	blocks = gen_in_block(g, axes) ? g->block : 1;
	vectors = gen_depends(g, axes, g->vector_axis) ? g->unroll : 1;
	/* all loads before the stores, which might alias them; a combining store reads what the one before wrote */
	for (int i = 0; i < blocks * vectors; i++)
		prepare(g, s, (struct copy){i / vectors, i % vectors}, &all[i]);
	if (is_interleaved(g, s, all, blocks, vectors)) {
		for (int u = 0; u < vectors; u++)
			store_interleaved(g, all + u, blocks, vectors);
		return;
	}
	for (int i = 0; i < blocks * vectors; i++) {
		if (all[i].place.offsets || all[i].place.stride)
			store_vector(g, &all[i]);
		else
			store_one(g, &all[i]);
	}
}

LLVMValueRef gen_store_address(struct gen *g, const struct stmt *s, struct copy c)
{
	return place_of(g, store_access(&g->info, s), c).at;
}
