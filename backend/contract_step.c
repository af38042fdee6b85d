/* contract_step.c: the sum of a tile: loops over k, in each step a vector of B for each vector of the tile and a few
 * bytes of A for each row (contract_mac.h). B is read once a step and A once a row; a row's address is a constant
 * displacement. Sums run over k in order, whatever the tile, so that results do not depend on how rows and columns
 * are cut. */
#include "backend/contract_code.h"

LLVMTypeRef contract_sum_type(struct coder *c)
{
	return vector_of(c->c.mac->integer ? c->g.e->i32 : c->g.e->f32, c->plan->lanes);
}

int64_t contract_panel_bytes(const struct coder *c)
{
	if (c->plan->sparse)
		return sizeof(struct packing_entry);
	if (c->unpacked)
		return contract_unpacked_panel(&c->weights, c->plan);
	return packing_panel_spread(c->c.panel_steps + c->c.mac->integer);
}

LLVMValueRef contract_offset(struct coder *c, LLVMValueRef base, LLVMValueRef bytes)
{
	return LLVMBuildGEP2(c->g.e->builder, c->g.e->i8, base, &bytes, 1, "");
}

LLVMValueRef contract_displaced(struct coder *c, LLVMValueRef base, int64_t bytes)
{
	return bytes ? contract_offset(c, base, gen_i64(&c->g, bytes)) : base;
}

/* ---- B ---- */

LLVMValueRef contract_load_panel(struct coder *c, LLVMValueRef step, int64_t panel_bytes, int u,
				 LLVMTypeRef type)
{
	int64_t column = (int64_t)u * c->plan->lanes;
	LLVMValueRef v;

	step = contract_displaced(c, step, column / PANEL * panel_bytes + column % PANEL * 4);
	v = LLVMBuildLoad2(c->g.e->builder, type, step, "");
	LLVMSetAlignment(v, 4 * (unsigned)(c->plan->lanes < PANEL ? c->plan->lanes : PANEL));
	return v;
}

LLVMValueRef contract_column_sums(struct coder *c, int u)
{
	return contract_load_panel(c,
				   contract_displaced(c, c->panel, c->c.panel_steps * STEP_BYTES),
				   contract_panel_bytes(c), u, contract_sum_type(c));
}

/* What changes bytes of another sign, of the first `count` of each lane. */
static LLVMValueRef flip_bytes(struct coder *c, LLVMValueRef v, int count)
{
	uint32_t flip = 0x80808080 >> 8 * (4 - count);
	int lanes = LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind ? c->plan->lanes : 1;

	return LLVMBuildXor(c->g.e->builder, v, value_int(c->g.e, DT_I32, lanes, (int32_t)flip),
			    "");
}

/* Rows k .. k + count - 1 of vector u, from where B is. */
static LLVMValueRef gather_rows(struct coder *c, int u, int count)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	enum dtype t = c->c.b.at->type;
	LLVMTypeRef type = vector_of(g->e->i32, c->plan->lanes);
	LLVMValueRef at = gen_address(g, c->c.b.load, (struct copy){0, u}), all = NULL, v;
	bool used;
	dim coef = access_coef(&g->info, c->c.b.at, c->c.k[c->c.k_count - 1].axis, &used);

	for (int j = 0; j < count; j++) {
		LLVMValueRef by = LLVMBuildMul(b, gen_dim(g, coef), gen_i64(g, j), ""),
			     from = LLVMBuildGEP2(b, memory_type(g->e, t, 1), at, &by, 1, "");

		v = LLVMBuildZExt(b, gen_load_memory(g, t, j ? from : at), type, "");
		if (j)
			v = LLVMBuildShl(
				b, v,
				value_int(g->e, DT_I32, c->plan->lanes, (int64_t)j * dtype_bits(t)),
				"");
		all = all ? LLVMBuildOr(b, all, v, "") : v;
	}
	return contract_bias_b(&c->c) ? flip_bytes(c, all, count) : all;
}

/* The parts of vector u of B. */
static void load_b(struct coder *c, LLVMValueRef step, int u, int count, LLVMValueRef *part)
{
	const struct mac *mac = c->c.mac;
	LLVMTypeRef type =
		mac->k > 1 ? vector_of(c->g.e->i32, c->plan->lanes) : contract_sum_type(c);

	mac->split_b(c->g.e,
		     step         ? contract_load_panel(c, step, contract_panel_bytes(c), u, type)
		     : mac->k > 1 ? gather_rows(c, u, count)
				  : gen_vector(&c->g, c->c.b.load, (struct copy){0, u}),
		     part);
}

/* ---- A ---- */

/* `count` elements of row r, which fill the low bits. */
static LLVMValueRef load_elements(struct coder *c, int r, int count)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	int bits = dtype_bits(c->c.a.at->type);
	LLVMValueRef at = gen_address(g, c->c.a.load, (struct copy){r, 0}), all = NULL, v;
	LLVMTypeRef type = count == c->c.mac->k ? g->e->i32 : memory_type(g->e, c->c.a.at->type, 1);

	for (int j = 0; j < (count == c->c.mac->k ? 1 : count); j++) {
		v = LLVMBuildLoad2(b, type, contract_displaced(c, at, (int64_t)j * bits / 8), "");
		LLVMSetAlignment(v, (unsigned)bits / 8);
		v = LLVMBuildZExt(b, v, g->e->i32, "");
		if (j)
			v = LLVMBuildShl(b, v, value_int(g->e, DT_I32, 1, (int64_t)j * bits), "");
		all = all ? LLVMBuildOr(b, all, v, "") : v;
	}
	return all;
}

static void load_a(struct coder *c, int r, int count, LLVMValueRef *part)
{
	struct gen *g = &c->g;
	LLVMValueRef v;

	if (c->c.mac->k == 1) {
		v = gen_splat(g, gen_value(g, c->c.a.load, (struct copy){r, 0}));
	} else {
		v = value_splat(g->e, load_elements(c, r, count), c->plan->lanes);
		if (contract_bias_a(&c->c))
			v = flip_bytes(c, v, count);
	}
	c->c.mac->split_a(g->e, v, part);
}

/* ---- steps ---- */

void contract_add(struct coder *c, const LLVMValueRef *a, const LLVMValueRef *b, LLVMValueRef *sum)
{
	for (int i = 0; i < c->c.mac->parts; i++)
		*sum = c->c.mac->add(c->g.e, a[i], b[i], *sum);
}

/* Adds `count` elements of k, mac->k or what is left. */
static void multiply(struct coder *c, LLVMValueRef step, int count)
{
	const struct mac *mac = c->c.mac;
	LLVMValueRef a[PARTS_MAX], b[COPIES_MAX][PARTS_MAX],
		ones = value_int(c->g.e, DT_I32, c->plan->lanes, 0x01010101);
	int rows = c->tile.outer * c->tile.inner, width = contract_width(&c->c, c->tile.vectors),
	    height = contract_height(&c->c, rows);

	if (c->plan->prefetch && !c->unpacked)
		contract_prefetch_step(c, step);
	if (mac->bits) {
		contract_weights_multiply(c, step, count);
		return;
	}
	for (int u = 0; u < c->tile.vectors; u++)
		load_b(c, step, u, count, b[u]);
	if (width > c->tile.vectors)
		mac->split_b(c->g.e, ones, b[c->tile.vectors]);
	for (int r = 0; r < height; r++) {
		if (r < rows)
			load_a(c, r, count, a);
		else
			mac->split_a(c->g.e, ones, a);
		for (int u = 0; u < (r < rows ? width : c->tile.vectors); u++)
			contract_add(c, a, b[u], &c->sums[r * width + u]);
	}
}

static void sum_over(struct coder *c, int depth, LLVMValueRef panel);

/* Iterations low..high of loop `depth`, `step` of them at a time. */
static void k_loop(struct coder *c, int depth, LLVMValueRef panel, LLVMValueRef low,
		   LLVMValueRef high, int step)
{
	struct gen *g = &c->g;
	LLVMValueRef block = c->block, ahead = c->ahead;
	int mark = memo_mark(g), axis = c->c.k[depth].axis,
	    count = c->c.mac->tiles ? 0
				    : contract_height(&c->c, c->tile.outer * c->tile.inner) *
					      contract_width(&c->c, c->tile.vectors);
	bool inner = depth == c->c.k_count - 1;
	struct loop l;

	gen_hoist(g, c->c.a.load, 0, 0);
	gen_hoist(g, c->c.b.load, 0, 0);
	/* a part of a turn, whose number of elements is known, is the only one */
	if (loop_open(g, &l, low, high, inner && step > 1 ? contract_turn(&c->c) : step, count,
		      c->sums)) {
		for (int i = 0; i < count; i++)
			c->sums[i] = l.value[i];
		axis_bind(g, axis, l.index);
		if (panel) {
			int64_t by = inner ? STEP_BYTES / c->c.mac->k
					   : c->c.k[depth].panel_step * STEP_BYTES;

			panel = contract_offset(
				c, panel, LLVMBuildMul(g->e->builder, l.index, gen_i64(g, by), ""));
			contract_prefetch_advance(c, l.index, by);
		}
		if (!inner && c->c.b.block)
			c->block = contract_block_at(c, depth, l.index);
		if (inner && c->c.mac->tiles)
			contract_tile_multiply(c, panel, step);
		else if (inner)
			multiply(c, panel, step);
		else
			sum_over(c, depth + 1, panel);
		c->block = block;
		c->ahead = ahead;
		axis_unbind(g, axis);
		loop_close(g, &l, c->sums);
		for (int i = 0; i < count; i++)
			c->sums[i] = l.value[i];
	}
	memo_release(g, mark);
}

/* Whole turns, then what is left of one. */
void contract_inner_sum(struct coder *c, LLVMValueRef panel, LLVMValueRef low, LLVMValueRef high)
{
	struct gen *g = &c->g;
	int depth = c->c.k_count - 1, turn = contract_turn(&c->c);
	dim extent = c->c.k[depth].extent;
	LLVMValueRef whole;

	if (turn == 1) {
		k_loop(c, depth, panel, low, high, 1);
		return;
	}
	whole = gen_round_down(g, low, high, turn);
	k_loop(c, depth, panel, low, whole, turn);
	if (!dim_is_const(extent))
		k_loop(c, depth, panel, whole, high, 1);
	else if (extent->value % turn)
		k_loop(c, depth, panel, whole, high, (int)(extent->value % turn));
}

/* Loop `depth` over k and those inside. */
static void sum_over(struct coder *c, int depth, LLVMValueRef panel)
{
	LLVMValueRef low = gen_i64(&c->g, 0), high = gen_dim(&c->g, c->c.k[depth].extent);

	if (depth == 0 && c->first) {
		low = c->k_low;
		high = c->k_high;
	}
	if (depth < c->c.k_count - 1)
		k_loop(c, depth, panel, low, high, 1);
	else if (c->c.b.block)
		contract_weights_blocks(c, panel, low, high);
	else
		contract_inner_sum(c, panel, low, high);
}

void contract_sum(struct coder *c)
{
	if (c->c.mac->bits)
		contract_weights_begin(c);
	if (c->plan->sparse)
		contract_sparse_sum(c);
	else
		sum_over(c, 0, c->panel);
}
