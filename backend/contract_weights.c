/* contract_weights.c: sums of products by weights of few bits, (q - zero) * scale. They stay as they are in memory: with
 * few rows each vector is made f32 when it is multiplied, so that what counts is the bytes that are read; with more
 * rows than a tile has, the panels of a tile of columns are made f32 once, in scratch memory that stays in L2, and the
 * tiles are those of f32.
 * A block's scale multiplies the block's sum; one that is the same in all of k, the whole sum (contract.c). */
#include "backend/contract_code.h"

/* ---- factors of columns ---- */

LLVMValueRef contract_block_at(struct coder *c, int depth, LLVMValueRef index)
{
	LLVMBuilderRef b = c->g.e->builder;
	int64_t block = c->weights.b.block;

	if (depth == c->weights.k_count - 1)
		index = LLVMBuildUDiv(b, index, gen_i64(&c->g, block), "");
	else
		index = LLVMBuildMul(
			b, index,
			gen_i64(&c->g, c->weights.k[depth].panel_step * c->weights.mac->k / block),
			"");
	return c->block ? LLVMBuildAdd(b, c->block, index, "") : index;
}

/* Of a panel of factors of blocks. */
static int64_t factors_bytes(struct coder *c, const struct access *at)
{
	int group = contract_factors_group(at);

	return packing_panel_spread((contract_blocks(&c->weights) + group - 1) / group);
}

/* The factor of block number `block` for vector u. */
static LLVMValueRef block_factor(struct coder *c, const struct access *at, LLVMValueRef panel,
				 LLVMValueRef block, int u)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	int lanes = c->plan->lanes, group = contract_factors_group(at);
	int64_t bytes = factors_bytes(c, at);
	LLVMValueRef step = LLVMBuildUDiv(b, block, gen_i64(g, group), ""), v, by;

	step = contract_offset(c, panel, LLVMBuildMul(b, step, gen_i64(g, STEP_BYTES), ""));
	if (group == 1)
		return contract_load_panel(c, step, bytes, u, vector_of(g->e->f32, lanes));
	v = contract_load_panel(c, step, bytes, u, vector_of(g->e->i32, lanes));
	by = LLVMBuildAnd(b, LLVMBuildNot(b, block, ""), gen_i64(g, 1), "");
	by = LLVMBuildTrunc(b, LLVMBuildMul(b, by, gen_i64(g, 16), ""), g->e->i32, "");
	v = LLVMBuildShl(b, v, gen_splat(g, by), "");
	v = LLVMBuildAnd(b, v, value_int(g->e, DT_I32, lanes, (int32_t)0xffff0000), "");
	return LLVMBuildBitCast(b, v, vector_of(g->e->f32, lanes), "");
}

/* Zeros that are the same in all of k, for all vectors of the tile. */
static void column_zeros(struct coder *c)
{
	struct gen *g = &c->g;
	const struct contract_operand *o = &c->weights.b;
	LLVMValueRef tail = g->tail, v;

	for (int u = 0; u < c->tile.vectors; u++) {
		c->zero[u] = NULL;
		if (!o->zero || o->zeros_at)
			continue;
		if (c->tile.partial && u == c->tile.vectors - 1)
			g->tail = c->tail;
		v = gen_vector(g, o->zero, (struct copy){0, u});
		g->tail = tail;
		c->zero[u] = o->zero->type == DT_F32
				     ? v
				     : LLVMBuildSIToFP(g->e->builder, v,
						       vector_of(g->e->f32, c->plan->lanes), "");
	}
}

static void block_zeros(struct coder *c, LLVMValueRef block)
{
	for (int u = 0; c->zeros && u < c->tile.vectors; u++)
		c->zero[u] = block_factor(c, c->weights.b.zeros_at, c->zeros, block, u);
}

static LLVMValueRef factors_panel(struct coder *c, const struct access *at)
{
	return at ? contract_panel(c, at, factors_bytes(c, at)) : NULL;
}

void contract_weights_begin(struct coder *c)
{
	c->block = NULL;
	c->scales = factors_panel(c, c->weights.b.scales_at);
	c->zeros = factors_panel(c, c->weights.b.zeros_at);
	column_zeros(c);
}

/* ---- elements ---- */

/* The numbers of 4 bits as f32, which one instruction looks up by the low bits of each lane. */
static LLVMValueRef look_up(struct coder *c, LLVMValueRef v, bool is_signed)
{
	struct emitter *e = c->g.e;
	LLVMValueRef table[PANEL], args[2];

	for (int i = 0; i < PANEL; i++)
		table[i] = LLVMConstReal(e->f32, is_signed && i > 7 ? i - 16 : i);
	args[0] = LLVMConstVector(table, PANEL);
	args[1] = v;
	return emit_intrinsic(e, "llvm.x86.avx512.permvar.sf.512", 0, NULL, 2, args);
}

/* Element j of each lane, a number of `bits` bits, less the zero of vector u. */
static LLVMValueRef element(struct coder *c, LLVMValueRef v, int j, int u)
{
	struct emitter *e = c->g.e;
	LLVMBuilderRef b = e->builder;
	int bits = c->weights.mac->bits, lanes = c->plan->lanes, above = 32 - bits * (j + 1);
	bool is_signed = dtype_class(c->weights.b.at->type) == DTYPE_SIGNED;

	if (bits == 4 && lanes == PANEL && e->target->isa == ISA_X86_V4) {
		v = look_up(c, LLVMBuildLShr(b, v, value_int(e, DT_I32, lanes, bits * j), ""),
			    is_signed);
	} else {
		if (is_signed) {
			v = LLVMBuildShl(b, v, value_int(e, DT_I32, lanes, above), "");
			v = LLVMBuildAShr(b, v, value_int(e, DT_I32, lanes, 32 - bits), "");
		} else {
			v = LLVMBuildLShr(b, v, value_int(e, DT_I32, lanes, bits * j), "");
			v = LLVMBuildAnd(b, v, value_int(e, DT_I32, lanes, (1 << bits) - 1), "");
		}
		v = LLVMBuildSIToFP(b, v, vector_of(e->f32, lanes), "");
	}
	return c->zero[u] ? LLVMBuildFSub(b, v, c->zero[u], "") : v;
}

static LLVMValueRef load_lanes(struct coder *c, LLVMValueRef step, int u)
{
	int64_t panel = packing_panel_spread(c->weights.panel_steps);

	return contract_load_panel(c, step, panel, u, vector_of(c->g.e->i32, c->plan->lanes));
}

/* ---- few rows: in registers ---- */

/* Element k + j of row r, in all lanes. */
static LLVMValueRef row_element(struct coder *c, int r, int j)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	enum dtype t = c->c.a.at->type;
	LLVMValueRef at = gen_address(g, c->c.a.load, (struct copy){r, 0}), v;
	bool used;
	dim step = access_coef(&g->info, c->c.a.at, c->c.k[c->c.k_count - 1].axis, &used);
	LLVMValueRef by = LLVMBuildMul(b, gen_dim(g, step), gen_i64(g, j), "");

	at = LLVMBuildGEP2(b, memory_type(g->e, t, 1), at, &by, 1, "");
	v = LLVMBuildLoad2(b, memory_type(g->e, t, 1), at, "");
	LLVMSetAlignment(v, (unsigned)dtype_bits(t) / 8);
	return gen_splat(g, emit_decode(g->e, t, 1, v));
}

void contract_weights_multiply(struct coder *c, LLVMValueRef step, int count)
{
	int rows = c->tile.outer * c->tile.inner, vectors = c->tile.vectors;
	LLVMValueRef v[COPIES_MAX], w[COPIES_MAX];

	for (int u = 0; u < vectors; u++)
		v[u] = load_lanes(c, step, u);
	for (int j = 0; j < count; j++) {
		for (int u = 0; u < vectors; u++)
			w[u] = element(c, v[u], j, u);
		for (int r = 0; r < rows; r++) {
			LLVMValueRef a = row_element(c, r, j);

			for (int u = 0; u < vectors; u++)
				c->sums[r * vectors + u] =
					emit_fma(c->g.e, a, w[u], c->sums[r * vectors + u]);
		}
	}
}

void contract_weights_blocks(struct coder *c, LLVMValueRef panel, LLVMValueRef low,
			     LLVMValueRef high)
{
	struct gen *g = &c->g;
	int count = c->tile.outer * c->tile.inner * c->tile.vectors;
	int64_t block = c->weights.b.block;
	LLVMValueRef total[COPIES_MAX], scale[COPIES_MAX], number;
	struct loop l;

	if (!loop_open(g, &l, low, high, block, count, c->sums))
		return;
	number = contract_block_at(c, c->c.k_count - 1, l.index);
	block_zeros(c, number);
	for (int i = 0; i < count; i++) {
		total[i] = l.value[i];
		c->sums[i] = c->scales ? LLVMConstNull(contract_sum_type(c)) : total[i];
	}
	contract_inner_sum(c, panel, l.index,
			   LLVMBuildAdd(g->e->builder, l.index, gen_i64(g, block), ""));
	for (int u = 0; c->scales && u < c->tile.vectors; u++)
		scale[u] = block_factor(c, c->weights.b.scales_at, c->scales, number, u);
	for (int i = 0; c->scales && i < count; i++)
		c->sums[i] = emit_fma(g->e, c->sums[i], scale[i % c->tile.vectors], total[i]);
	loop_close(g, &l, c->sums);
	for (int i = 0; i < count; i++)
		c->sums[i] = l.value[i];
}

/* ---- many rows: in scratch memory ---- */

/* What unpacking walks along: where the packed elements are, and where the f32 go. */
struct unpacking {
	LLVMValueRef from, to;
	LLVMValueRef scale[COPIES_MAX]; /* NULL: 1 */
};

static LLVMValueRef along(struct coder *c, LLVMValueRef at, LLVMValueRef index, int64_t bytes)
{
	return contract_offset(c, at,
			       LLVMBuildMul(c->g.e->builder, index, gen_i64(&c->g, bytes), ""));
}

/* `count` elements of k of all columns. */
static void unpack_step(struct coder *c, const struct unpacking *at, int count)
{
	int64_t panel = contract_unpacked_panel(&c->weights, c->plan);
	int lanes = c->plan->lanes;

	for (int u = 0; u < c->tile.vectors; u++) {
		LLVMValueRef v = load_lanes(c, at->from, u), w, s;
		int64_t column = (int64_t)u * lanes;

		for (int j = 0; j < count; j++) {
			w = element(c, v, j, u);
			if (at->scale[u])
				w = LLVMBuildFMul(c->g.e->builder, w, at->scale[u], "");
			s = LLVMBuildStore(c->g.e->builder, w,
					   contract_displaced(c, at->to,
							      column / PANEL * panel +
								      column % PANEL * 4 +
								      (int64_t)j * STEP_BYTES));
			LLVMSetAlignment(s, 4 * (unsigned)lanes);
		}
	}
}

/* Steps of `count` elements from low to high. */
static void unpack_steps(struct coder *c, const struct unpacking *at, LLVMValueRef low,
			 LLVMValueRef high, int count)
{
	struct unpacking here = *at;
	int k = c->weights.mac->k;
	struct loop l;

	if (!loop_open(&c->g, &l, low, high, k, 0, NULL))
		return;
	here.from = along(c, at->from, l.index, STEP_BYTES / k);
	here.to = along(c, at->to, l.index, STEP_BYTES);
	unpack_step(c, &here, count);
	loop_close(&c->g, &l, NULL);
}

static void unpack_run(struct coder *c, const struct unpacking *at, LLVMValueRef low,
		       LLVMValueRef high)
{
	struct gen *g = &c->g;
	const struct contract *w = &c->weights;
	int rest = (int)(w->k[w->k_count - 1].extent->value % w->mac->k);
	LLVMValueRef whole = gen_round_down(g, low, high, w->mac->k), number;
	struct unpacking here = *at;
	struct loop l;

	if (!w->b.block) {
		unpack_steps(c, at, low, whole, w->mac->k);
		if (rest)
			unpack_steps(c, at, whole, high, rest);
		return;
	}
	if (!loop_open(g, &l, low, high, w->b.block, 0, NULL))
		return;
	number = contract_block_at(c, w->k_count - 1, l.index);
	block_zeros(c, number);
	for (int u = 0; c->scales && u < c->tile.vectors; u++)
		here.scale[u] = block_factor(c, w->b.scales_at, c->scales, number, u);
	unpack_steps(c, &here, l.index,
		     LLVMBuildAdd(g->e->builder, l.index, gen_i64(g, w->b.block), ""), w->mac->k);
	loop_close(g, &l, NULL);
}

/* Loop `depth` over k and those inside. */
static void unpack_loops(struct coder *c, int depth, const struct unpacking *at)
{
	struct gen *g = &c->g;
	const struct contract *w = &c->weights;
	LLVMValueRef low = gen_i64(g, 0), high = gen_dim(g, w->k[depth].extent), block = c->block;
	struct unpacking here = *at;
	struct loop l;

	if (depth == 0 && c->first) {
		low = c->k_low;
		high = c->k_high;
	}
	if (depth == w->k_count - 1) {
		unpack_run(c, at, low, high);
		return;
	}
	if (!loop_open(g, &l, low, high, 1, 0, NULL))
		return;
	if (w->b.block)
		c->block = contract_block_at(c, depth, l.index);
	here.from = along(c, at->from, l.index, w->k[depth].panel_step * STEP_BYTES);
	here.to = along(c, at->to, l.index, c->c.k[depth].panel_step * STEP_BYTES);
	unpack_loops(c, depth + 1, &here);
	c->block = block;
	loop_close(g, &l, NULL);
}

void contract_unpack(struct coder *c)
{
	struct gen *g = &c->g;
	struct unpacking at = {0};
	int mark = memo_mark(g);
	int64_t elements = 1;

	contract_weights_begin(c);
	at.from = contract_panel(c, c->c.b.at, packing_panel_spread(c->weights.panel_steps));
	c->c.mac = &mac_table[MAC_F32];
	c->c.b.block = 0;
	for (int i = c->c.k_count - 1; i >= 0; i--) {
		c->c.k[i].panel_step = elements;
		elements *= c->c.k[i].extent->value;
	}
	/* the loops over k count from the whole's beginning, scratch memory from the pass's */
	at.to = gen_scratch(g, dim_const(g->k->exprs->dims, 0));
	if (c->first)
		at.to = along(c, at.to, LLVMBuildNeg(g->e->builder, c->k_low, ""),
			      c->c.k[0].panel_step * STEP_BYTES);
	unpack_loops(c, 0, &at);
	c->panel = c->unpacked = at.to;
	memo_release(g, mark);
}
