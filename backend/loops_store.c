/* loops_store.c: stores: of vectors, spread, scattered, interleaved, of lanes one by one. */
#include "backend/loops_access.h"

static void store_packed(struct gen *g, const struct access *a, LLVMValueRef index,
			 LLVMValueRef value)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef shift, at = gen_packed_byte(g, a, index, &shift), old,
			    field = value_int(g->e, DT_I32, 1, (1 << dtype_bits(a->type)) - 1);

	old = LLVMBuildZExt(b, gen_plain_load(g, DT_U8, 1, at), g->e->i32, "");
	old = LLVMBuildAnd(b, old, LLVMBuildNot(b, LLVMBuildShl(b, field, shift, ""), ""), "");
	value = LLVMBuildShl(b, LLVMBuildAnd(b, value, field, ""), shift, "");
	LLVMBuildStore(b, LLVMBuildTrunc(b, LLVMBuildOr(b, old, value, ""), g->e->i8, ""), at);
}

struct pending {
	struct place place;
	LLVMValueRef value, mask; /* value in memory form */
};

static void store_lane(struct gen *g, const struct access *a, LLVMValueRef at, LLVMValueRef value)
{
	LLVMValueRef s;

	if (is_packed(a->type)) {
		store_packed(g, a, at, value);
		return;
	}
	s = LLVMBuildStore(g->e->builder, value, at);
	LLVMSetAlignment(s, gen_element_bytes(a->type));
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
		arg[1] = gen_advance(g, a, w->place.at, gen_i64(g, first));
		arg[2] = LLVMConstVector(is, (unsigned)g->lanes);
		emit_masked(g->e, "llvm.masked.store", type, 3, arg, 1, gen_element_bytes(a->type));
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
		store_lane(g, a, gen_lane_place(g, &w->place, only),
			   LLVMBuildExtractElement(g->e->builder, w->value,
						   LLVMConstInt(g->e->i32, (unsigned)only, 0), ""));
		return;
	}
	if (!w->place.offsets && gen_is_one(w->place.stride)) {
		if (mask)
			emit_masked(g->e, "llvm.masked.store", type, 3, arg, 1,
				    gen_element_bytes(a->type));
		else
			store_lane(g, a, w->place.at, w->value);
		return;
	}
	if (store_spread(g, w, mask))
		return;
	if (mask) {
		arg[1] = gen_pointers(g, &w->place);
		emit_masked(g->e, "llvm.masked.scatter", type, 3, arg, 1,
			    gen_element_bytes(a->type));
		return;
	}
	for (int i = 0; i < g->lanes; i++)
		store_lane(g, a, gen_lane_place(g, &w->place, i),
			   LLVMBuildExtractElement(g->e->builder, w->value,
						   LLVMConstInt(g->e->i32, (unsigned)i, 0), ""));
}

static void prepare(struct gen *g, const struct stmt *s, struct copy c, struct pending *w)
{
	struct access *a = store_access(&g->info, s);
	enum dtype compute = dtype_compute(a->type);
	bool vector;

	w->value = gen_value(g, s->value, c);
	w->place = gen_place(g, a, c);
	vector = w->place.offsets || w->place.stride;
	w->mask = gen_and(g, gen_condition(g, c), vector ? g->tail : NULL);
	if (vector)
		w->value = gen_splat(g, w->value);
	if (s->combine >= 0)
		w->value =
			gen_combine(g, (enum reduce_kind)s->combine, compute, vector ? g->lanes : 1,
				    gen_load_at(g, &w->place, vector, w->mask), w->value);
	if (!is_packed(a->type))
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
		store_lane(g, all[0].place.a, gen_advance(g, all[0].place.a, all[0].place.at, by),
			   v);
	}
}

static bool is_interleaved(struct gen *g, const struct stmt *s, const struct pending *all,
			   int blocks, int vectors)
{
	struct access *a = store_access(&g->info, s);
	int64_t stride;
	bool uses;
	dim coef = g->block_axis < 0 ? NULL : access_coef(&g->info, a, g->block_axis, &uses);

	if (blocks < 2 || blocks > 4 || g->block_outer >= 0 || g->lanes < 4 || is_packed(a->type) ||
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
