/* loops_load.c: loads: of vectors, by gathers, under masks, of squares that are transposed. */
#include "backend/loops_access.h"

#include <string.h>

LLVMValueRef gen_plain_load(struct gen *g, enum dtype t, int lanes, LLVMValueRef at)
{
	LLVMValueRef v = LLVMBuildLoad2(g->e->builder, memory_type(g->e, t, lanes), at, "");

	LLVMSetAlignment(v, gen_element_bytes(t));
	return v;
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

static LLVMValueRef load_packed(struct gen *g, const struct access *a, LLVMValueRef index,
				LLVMValueRef mask)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef shift, at = gen_packed_byte(g, a, index, &shift), v,
			    rest = value_int(g->e, DT_I32, 1, 32 - dtype_bits(a->type));

	if (mask)
		at = LLVMBuildSelect(b, mask, at, zeros(g), "");
	v = LLVMBuildZExt(b, gen_plain_load(g, DT_U8, 1, at), g->e->i32, "");
	v = LLVMBuildShl(b, LLVMBuildLShr(b, v, shift, ""), rest, "");
	return dtype_class(a->type) == DTYPE_SIGNED ? LLVMBuildAShr(b, v, rest, "")
						    : LLVMBuildLShr(b, v, rest, "");
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
		is_packed(t) ? vector_of(g->e->i32, g->lanes) : memory_type(g->e, t, g->lanes);
	LLVMValueRef v = LLVMGetPoison(type);

	if (hardware_gather(g, t) && (mask || p->offsets)) {
		LLVMValueRef arg[3] = {gen_pointers(g, p), NULL, LLVMConstNull(type)};

		arg[1] =
			mask ? gen_splat(g, mask) : LLVMConstAllOnes(vector_of(g->e->i1, g->lanes));
		return emit_masked(g->e, "llvm.masked.gather", type, 3, arg, 0,
				   gen_element_bytes(t));
	}
	for (int i = 0; i < g->lanes; i++) {
		LLVMValueRef lane = LLVMConstInt(g->e->i32, (unsigned)i, 0),
			     at = gen_lane_place(g, p, i), one, use = mask;

		if (mask && LLVMGetTypeKind(LLVMTypeOf(mask)) == LLVMVectorTypeKind)
			use = LLVMBuildExtractElement(b, mask, lane, "");
		if (is_packed(t)) {
			one = load_packed(g, p->a, at, use);
		} else {
			if (use)
				at = LLVMBuildSelect(b, use, at, zeros(g), "");
			one = gen_plain_load(g, t, 1, at);
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
	if (is_packed(t))
		return load_packed(g, p->a, p->at, mask);
	return gen_plain_load(
		g, t, 1, mask ? LLVMBuildSelect(g->e->builder, mask, p->at, zeros(g), "") : p->at);
}

static LLVMValueRef load_vector(struct gen *g, const struct place *p, LLVMValueRef mask)
{
	LLVMTypeRef type = memory_type(g->e, p->a->type, g->lanes);
	LLVMValueRef arg[3] = {p->at, mask, LLVMConstNull(type)};

	if (!mask)
		return gen_plain_load(g, p->a->type, g->lanes, p->at);
	if (LLVMGetTypeKind(LLVMTypeOf(mask)) != LLVMVectorTypeKind)
		return gen_plain_load(g, p->a->type, g->lanes,
				      LLVMBuildSelect(g->e->builder, mask, p->at, zeros(g), ""));
	return emit_masked(g->e, "llvm.masked.load", type, 3, arg, 0,
			   gen_element_bytes(p->a->type));
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

	if (g->block != g->lanes || g->lanes < 4 || g->tail || !a->safe || is_packed(a->type))
		return NULL;
	coef = access_coef(&g->info, a, g->block_axis, &uses);
	if (!coef || !dim_is(coef, 1) || !gen_depends(g, n->axes, g->vector_axis))
		return NULL;
	coef = access_coef(&g->info, a, g->vector_axis, &uses);
	if (!coef || dim_is(coef, 0) || dim_is(coef, 1))
		return NULL;
	p = gen_place(g, a, (struct copy){0, c.u});
	for (int i = 0; i < g->lanes; i++)
		row[i] = gen_plain_load(g, a->type, g->lanes, gen_lane_place(g, &p, i));
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

LLVMValueRef gen_load_at(struct gen *g, const struct place *p, bool vector, LLVMValueRef mask)
{
	const struct access *a = p->a;
	LLVMValueRef v;

	if (!vector)
		v = load_one(g, p, mask);
	else if (!p->offsets && gen_is_one(p->stride) && !is_packed(a->type))
		v = load_vector(g, p, mask);
	else
		v = gather(g, p, mask);
	return is_packed(a->type) ? v : emit_decode(g->e, a->type, vector ? g->lanes : 1, v);
}

LLVMValueRef gen_load(struct gen *g, const struct expr *e, struct copy c)
{
	struct note *n = note_of(&g->info, e);
	struct access *a = n->access;
	LLVMValueRef square = load_square(g, n, c);
	struct place p = square ? (struct place){0} : gen_place(g, a, c);
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
	v = gen_load_at(g, &p, vector, mask);
	if (reuse)
		add_loaded(g, a, &p, lanes, v);
	return v;
}

LLVMValueRef gen_address(struct gen *g, const struct expr *load, struct copy c)
{
	return gen_place(g, note_of(&g->info, load)->access, c).at;
}

LLVMValueRef gen_load_memory(struct gen *g, enum dtype t, LLVMValueRef at)
{
	struct access a = {.type = t};
	struct place p = {.a = &a, .at = at};

	return load_vector(g, &p, g->tail);
}
