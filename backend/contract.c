/* contract.c: code of a contraction. A task's loops, from the outside in:
 *
 *	batch, outer n
 *	  n by tiles of columns
 *	    passes over k (plan.k_step), when B's part for the tile would not stay in L2
 *	      m by tiles of rows
 *	        the tile: sums in registers, all of k (or of the pass), then the epilogue
 *
 * The sums of the tile are in contract_step.c. */
#include "backend/contract_code.h"

static bool through_scratch(const struct coder *c)
{
	return c->plan->tile_epilogue || c->plan->k_step || c->c.mac->tiles;
}

static int n_axis(const struct coder *c) { return c->c.loops[c->c.n].loop->axis; }

static int width_of(const struct coder *c) { return contract_width(&c->c, c->tile.vectors); }

static int sum_count(const struct coder *c)
{
	return contract_height(&c->c, c->tile.outer * c->tile.inner) * width_of(c);
}

LLVMValueRef contract_panel(struct coder *c, const struct access *of, int64_t panel_bytes)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	int64_t stride = panel_bytes;
	LLVMValueRef at = LLVMBuildUDiv(b, axis_now(g, n_axis(c)), gen_i64(g, PANEL), ""), by;

	at = contract_offset(c, g->base[of->buffer], LLVMBuildMul(b, at, gen_i64(g, stride), ""));
	stride *= (contract_extent(g->k, &c->c, c->c.n)->value + PANEL - 1) / PANEL;
	for (int i = c->c.n - 1; i >= 0; i--) {
		int axis = c->c.loops[i].loop->axis;

		if (!contract_uses(&g->info, c->c.b.at, axis))
			continue;
		by = LLVMBuildMul(b, axis_now(g, axis), gen_i64(g, stride), "");
		at = contract_offset(c, at, by);
		stride *= contract_extent(g->k, &c->c, i)->value;
	}
	return at;
}

/* ---- sums in scratch memory ---- */

static LLVMValueRef sums_base(struct coder *c)
{
	return gen_scratch(
		&c->g, dim_const(c->g.k->exprs->dims, contract_sums_offset(&c->weights, c->plan)));
}

static LLVMValueRef waiting_at(struct coder *c, LLVMValueRef base, int64_t vector)
{
	return contract_offset(c, base, gen_i64(&c->g, vector * c->plan->lanes * 4));
}

static LLVMValueRef load_sum(struct coder *c, LLVMValueRef base, int64_t vector)
{
	LLVMValueRef v = LLVMBuildLoad2(c->g.e->builder, contract_sum_type(c),
					waiting_at(c, base, vector), "");

	LLVMSetAlignment(v, 4 * (unsigned)c->plan->lanes);
	return v;
}

static void store_sums(struct coder *c, LLVMValueRef base)
{
	for (int i = 0; i < sum_count(c); i++) {
		LLVMValueRef s =
			LLVMBuildStore(c->g.e->builder, c->sums[i], waiting_at(c, base, i));

		LLVMSetAlignment(s, 4 * (unsigned)c->plan->lanes);
	}
}

/* Zeros, or what the pass before left. */
static void begin_sums(struct coder *c, LLVMValueRef base)
{
	LLVMBuilderRef b = c->g.e->builder;
	int count = sum_count(c);
	LLVMValueRef zero = LLVMConstNull(contract_sum_type(c));
	LLVMBasicBlockRef from, load, join;

	for (int i = 0; i < count; i++)
		c->sums[i] = zero;
	if (!c->first)
		return;
	from = LLVMGetInsertBlock(b);
	load = gen_block(&c->g, "go_on");
	join = gen_block(&c->g, "begin");
	LLVMBuildCondBr(b, c->first, join, load);
	LLVMPositionBuilderAtEnd(b, load);
	for (int i = 0; i < count; i++)
		c->sums[i] = load_sum(c, base, i);
	LLVMBuildBr(b, join);
	LLVMPositionBuilderAtEnd(b, join);
	for (int i = 0; i < count; i++) {
		LLVMValueRef phi = LLVMBuildPhi(b, contract_sum_type(c), "");

		LLVMAddIncoming(phi, &zero, &from, 1);
		LLVMAddIncoming(phi, &c->sums[i], &load, 1);
		c->sums[i] = phi;
	}
}

/* ---- the epilogue ---- */

/* load - zero is what counts, not what the multiply-adds took: with A = a + zero_a and B = b + zero_b,
 *	sum a * b = sum A * B - zero_a * sum b - zero_b * sum A,    sum b = sum B - K * zero_b
 * Vectors of i32; zeros are NULL where they are 0. */
struct correction {
	LLVMValueRef zero_a, zero_b, columns; /* sum b */
	LLVMValueRef scale;                   /* of weights, where it is the same in all of k */
};

static LLVMValueRef zero_of(struct coder *c, const struct contract_operand *o, int bias,
			    struct copy at)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef v = value_int(g->e, DT_I32, g->lanes, bias), zero;

	if (!o->zero)
		return v;
	zero = gen_vector(g, o->zero, at);
	return o->negated ? LLVMBuildSub(b, v, zero, "") : LLVMBuildAdd(b, v, zero, "");
}

/* Of vector u of the tile, which is vector `at` of those that are stored together. sums: below the last row. */
static struct correction column_correction(struct coder *c, const LLVMValueRef *sums, int u, int at)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	struct correction to = {0};
	LLVMValueRef count;

	if (c->c.b.scale && !c->c.b.scales_at)
		to.scale = gen_vector(g, c->c.b.scale, (struct copy){0, at});
	if (c->c.sums_a)
		to.zero_b = zero_of(c, &c->c.b, contract_bias_b(&c->c), (struct copy){0, at});
	if (!c->c.sums_b)
		return to;
	to.columns = c->panel ? contract_column_sums(c, u) : sums[u];
	if (to.zero_b) {
		count = LLVMBuildTrunc(b, gen_dim(g, c->c.k_total), g->e->i32, "");
		count = LLVMBuildMul(b, gen_splat(g, count), to.zero_b, "");
		to.columns = LLVMBuildSub(b, to.columns, count, "");
	}
	return to;
}

static LLVMValueRef corrected(struct coder *c, const struct correction *by, int row,
			      LLVMValueRef sum, LLVMValueRef row_sum)
{
	LLVMBuilderRef b = c->g.e->builder;
	LLVMValueRef zero;

	if (by->scale)
		sum = LLVMBuildFMul(b, sum, by->scale, "");
	if (by->columns) {
		zero = zero_of(c, &c->c.a, contract_bias_a(&c->c), (struct copy){row, 0});
		sum = LLVMBuildSub(b, sum, LLVMBuildMul(b, zero, by->columns, ""), "");
	}
	if (by->zero_b)
		sum = LLVMBuildSub(b, sum, LLVMBuildMul(b, row_sum, by->zero_b, ""), "");
	return sum;
}

/* Stores vectors from..to of all rows of the block, whose sums are at sums[row * width]; below: the sums of columns
 * that stand below all rows of the tile. */
static void store_vectors(struct coder *c, const LLVMValueRef *sums, const LLVMValueRef *below,
			  int from, int to, LLVMValueRef tail)
{
	int width = width_of(c);
	struct gen *g = &c->g;
	int mark = memo_mark(g);
	LLVMValueRef n = axis_now(g, n_axis(c)), tail_before = g->tail;
	struct axis_value was;

	if (from)
		n = LLVMBuildAdd(g->e->builder, n, gen_i64(g, (int64_t)from * g->lanes), "");
	g->depth++;
	g->unroll = to - from;
	g->tail = tail;
	was = axis_rebind(g, n_axis(c), n);
	for (int u = from; u < to; u++) {
		struct correction by = column_correction(c, below, u, u - from);

		for (int r = 0; r < g->block; r++) {
			const LLVMValueRef *row = &sums[r * width];

			memo_add(g, &note_of(&g->info, c->c.sum)->memo,
				 (struct memo){.value = corrected(c, &by, r, row[u],
								  by.zero_b ? row[c->tile.vectors]
									    : NULL),
					       .b = (int16_t)r,
					       .u = (int16_t)(u - from)});
		}
	}
	gen_store(g, c->c.store);
	axis_restore(g, n_axis(c), was);
	g->tail = tail_before;
	g->unroll = c->tile.vectors;
	g->depth--;
	memo_release(g, mark);
}

static void store_block(struct coder *c, const LLVMValueRef *sums, const LLVMValueRef *below)
{
	int whole = c->tile.vectors - c->tile.partial;

	if (whole)
		store_vectors(c, sums, below, 0, whole, NULL);
	if (c->tile.partial)
		store_vectors(c, sums, below, whole, c->tile.vectors, c->tail);
}

static void set_block(struct gen *g, int outer_axis, int inner_axis, int outer, int inner)
{
	g->block = outer * inner;
	g->block_axis = g->block > 1 ? inner_axis : -1;
	g->block_outer = outer > 1 ? outer_axis : -1;
	g->block_inner = inner;
}

/* Row axis `which` (1: the inner) of the tile; -1: there is none. */
static int row_axis(const struct coder *c, int which)
{
	int i = c->c.count - 2 + which;

	return i > c->c.n ? c->c.loops[i].loop->axis : -1;
}

/* One row after the other, its sums from memory. */
static void store_rows(struct coder *c, LLVMValueRef base)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef sums[COPIES_MAX] = {NULL}, below[COPIES_MAX] = {NULL}, start[2], row,
		     zero = gen_i64(g, 0);
	struct axis_value was[2];
	struct loop l[2];
	int mark = memo_mark(g), size[2] = {c->tile.outer, c->tile.inner}, width = width_of(c),
	    rows = size[0] * size[1];

	set_block(g, -1, -1, 1, 1);
	for (int i = 0; i < 2; i++) {
		if (row_axis(c, i) >= 0)
			start[i] = axis_now(g, row_axis(c, i));
		loop_open(g, &l[i], zero, i && c->tile.valid ? c->tile.valid : gen_i64(g, size[i]),
			  1, 0, NULL);
		if (row_axis(c, i) >= 0 && size[i] > 1)
			was[i] = axis_rebind(g, row_axis(c, i),
					     LLVMBuildAdd(b, start[i], l[i].index, ""));
	}
	row = LLVMBuildMul(b, l[0].index, gen_i64(g, size[1]), "");
	row = LLVMBuildAdd(b, row, l[1].index, "");
	row = LLVMBuildMul(b, row, gen_i64(g, (int64_t)width * c->plan->lanes * 4), "");
	row = contract_offset(c, base, row);
	for (int u = 0; u < width; u++)
		sums[u] = load_sum(c, row, u);
	for (int u = 0; u < c->tile.vectors && contract_height(&c->c, rows) > rows; u++)
		below[u] = load_sum(c, base, (int64_t)rows * width + u);
	store_block(c, sums, below);
	for (int i = 1; i >= 0; i--) {
		if (row_axis(c, i) >= 0 && size[i] > 1)
			axis_restore(g, row_axis(c, i), was[i]);
		loop_close(g, &l[i], NULL);
	}
	memo_release(g, mark);
}

static void finish(struct coder *c, LLVMValueRef base)
{
	LLVMBuilderRef b = c->g.e->builder;
	LLVMBasicBlockRef done = NULL, then;

	if (!through_scratch(c)) {
		store_block(c, c->sums, &c->sums[c->tile.outer * c->tile.inner * width_of(c)]);
		return;
	}
	if (c->c.mac->tiles)
		contract_tile_store(c, base);
	else
		store_sums(c, base);
	if (c->last) {
		then = gen_block(&c->g, "finish");
		done = gen_block(&c->g, "done");
		LLVMBuildCondBr(b, c->last, then, done);
		LLVMPositionBuilderAtEnd(b, then);
	}
	store_rows(c, base);
	if (done) {
		LLVMBuildBr(b, done);
		LLVMMoveBasicBlockAfter(done, LLVMGetInsertBlock(b));
		LLVMPositionBuilderAtEnd(b, done);
	}
}

/* ---- the tile ---- */

/* Bytes of the sums of the tile. */
static LLVMValueRef sums_bytes(struct coder *c)
{
	int64_t row = (int64_t)width_of(c) * c->plan->lanes * 4;

	if (!c->tile.valid)
		return gen_i64(&c->g, (int64_t)sum_count(c) * c->plan->lanes * 4);
	return LLVMBuildMul(c->g.e->builder, c->tile.valid, gen_i64(&c->g, row), "");
}

static void emit_tile(struct coder *c, int outer, int inner)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef base = NULL;
	int mark = memo_mark(g);

	c->tile.outer = outer;
	c->tile.inner = inner;
	set_block(g, row_axis(c, 0), row_axis(c, 1), outer, inner);
	if (c->plan->k_step)
		base = LLVMBuildLoad2(b, g->e->ptr, c->waiting, "");
	else if (through_scratch(c))
		base = sums_base(c);
	if (c->c.mac->tiles)
		contract_tile_begin(c, base);
	else
		begin_sums(c, base);
	if (c->plan->packed >= 0 && !c->unpacked)
		c->panel = contract_panel(c, c->c.b.at, contract_panel_bytes(c));
	if (c->plan->prefetch_results)
		contract_prefetch_results(c);
	contract_prefetch_begin(c);
	contract_sum(c);
	contract_prefetch_end(c);
	memo_release(g, mark);
	finish(c, base);
	if (c->plan->k_step)
		LLVMBuildStore(b, contract_offset(c, base, sums_bytes(c)), c->waiting);
	set_block(g, -1, -1, 1, 1);
	memo_release(g, mark);
}

/* ---- loops ---- */

static void range_of(struct coder *c, int loop, LLVMValueRef *low, LLVMValueRef *high)
{
	const struct stmt *s = c->c.loops[loop].loop;

	*low = gen_i64(&c->g, 0);
	*high = gen_dim(&c->g, contract_extent(c->g.k, &c->c, loop));
	for (int i = 0; i < c->g.info.task_count; i++) {
		if (c->g.info.tasks[i].loop == s) {
			*low = c->g.task_low[i];
			*high = c->g.task_high[i];
		}
	}
}

static void emit_rows(struct coder *c, int loop, int outer);

/* Iterations low..high of a row loop by `size` at a time; part: the last of them may have fewer. */
static void row_loop(struct coder *c, int loop, LLVMValueRef low, LLVMValueRef high, int size,
		     int outer, bool part)
{
	struct gen *g = &c->g;
	int axis = c->c.loops[loop].loop->axis;
	bool leaf = loop == c->c.count - 1;
	struct loop l;

	if (leaf && c->c.mac->tiles && !c->one_shape && !part)
		contract_tile_shape(c, outer, size, NULL);
	if (!loop_open(g, &l, low, high, size, 0, NULL))
		return;
	axis_bind(g, axis, l.index);
	if (part) {
		c->tile.valid = LLVMBuildSub(g->e->builder, high, l.index, "");
		contract_tile_shape(c, outer, size, c->tile.valid);
	}
	if (leaf)
		emit_tile(c, outer, size);
	else
		emit_rows(c, loop + 1, loop == c->c.count - 2 ? size : 1);
	c->tile.valid = NULL;
	axis_unbind(g, axis);
	loop_close(g, &l, NULL);
}

/* What whole tiles leave of an unknown number of rows: one tile of as many rows as there are, or tiles of 4 and of 1. */
static void remaining_rows(struct coder *c, int loop, LLVMValueRef low, LLVMValueRef high, int size,
			   int outer)
{
	bool tiles = c->c.mac->tiles && loop == c->c.count - 1;
	int smaller = tiles ? TILE_ROWS : 4;
	LLVMValueRef whole = low;

	if (size > smaller) {
		whole = gen_round_down(&c->g, low, high, smaller);
		row_loop(c, loop, low, whole, smaller, outer, false);
	}
	row_loop(c, loop, whole, high, tiles ? TILE_ROWS : 1, outer, tiles);
}

/* Whole tiles, then what is left: one smaller tile when its size is known. */
static void emit_rows(struct coder *c, int loop, int outer)
{
	struct gen *g = &c->g;
	const struct contract_plan *plan = c->plan;
	int size = loop == c->c.count - 1   ? plan->rows[1]
		   : loop == c->c.count - 2 ? plan->rows[0]
					    : 1;
	dim extent;
	LLVMValueRef low, high, whole;

	if (loop == c->c.count) { /* no rows at all */
		emit_tile(c, 1, 1);
		return;
	}
	extent = contract_extent(g->k, &c->c, loop);
	range_of(c, loop, &low, &high);
	whole = gen_round_down(g, low, high, size);
	row_loop(c, loop, low, whole, size, outer, false);
	if (size == 1)
		return;
	if (!dim_is_const(extent))
		remaining_rows(c, loop, whole, high, size, outer);
	else if (extent->value % size)
		row_loop(c, loop, whole, high, (int)(extent->value % size), outer, false);
}

/* Whether all tiles have the same rows: registers need not be configured again. */
static bool has_one_shape(const struct coder *c)
{
	int loop = c->c.count - 1;
	dim extent = loop > c->c.n ? contract_extent(c->g.k, &c->c, loop) : NULL;

	return !extent || (dim_is_const(extent) && extent->value % c->plan->rows[1] == 0);
}

/* The passes over k of one tile of columns. */
static void emit_passes(struct coder *c)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef high, end, step = gen_i64(g, c->plan->k_step);
	struct loop l;

	if (!c->plan->k_step) {
		if (c->plan->unpack)
			contract_unpack(c);
		contract_prefetch_columns(c);
		emit_rows(c, c->c.n + 1, 1);
		c->c = c->weights;
		c->unpacked = NULL;
		return;
	}
	high = gen_dim(g, c->c.k[0].extent);
	if (!loop_open(g, &l, gen_i64(g, 0), high, c->plan->k_step, 0, NULL))
		return;
	end = LLVMBuildAdd(b, l.index, step, "");
	c->first = LLVMBuildICmp(b, LLVMIntEQ, l.index, gen_i64(g, 0), "");
	c->last = LLVMBuildICmp(b, LLVMIntSGE, end, high, "");
	c->k_low = l.index;
	c->k_high = LLVMBuildSelect(b, c->last, high, end, "");
	LLVMBuildStore(b, sums_base(c), c->waiting);
	if (c->plan->unpack)
		contract_unpack(c);
	contract_prefetch_columns(c);
	emit_rows(c, c->c.n + 1, 1);
	c->c = c->weights;
	c->unpacked = NULL;
	c->first = c->last = NULL;
	loop_close(g, &l, NULL);
}

/* Columns low..high by tiles of `vectors`; partial: one tile, whose last vector is cut at `high`. */
static void column_loop(struct coder *c, LLVMValueRef low, LLVMValueRef high, int vectors,
			bool partial)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	int64_t step = (int64_t)vectors * g->lanes;
	struct loop l;

	if (!loop_open(g, &l, low, high, step, 0, NULL))
		return;
	axis_bind(g, n_axis(c), l.index);
	g->vector_axis = n_axis(c);
	g->unroll = vectors;
	c->tile = (struct tile){.vectors = vectors, .partial = partial};
	if (partial) {
		LLVMValueRef left = LLVMBuildSub(b, high, l.index, "");

		left = LLVMBuildSub(b, left, gen_i64(g, step - g->lanes), "");
		c->tail = LLVMBuildICmp(b, LLVMIntULT, value_lanes(g->e, g->lanes),
					value_splat(g->e, left, g->lanes), "");
		if (c->plan->packed < 0)
			g->tail = c->tail;
	}
	emit_passes(c);
	g->tail = NULL;
	g->vector_axis = -1;
	g->unroll = 1;
	axis_unbind(g, n_axis(c));
	loop_close(g, &l, NULL);
}

static void emit_columns(struct coder *c)
{
	struct gen *g = &c->g;
	int vectors = c->plan->vectors, lanes = c->plan->lanes;
	dim extent = contract_extent(g->k, &c->c, c->c.n);
	LLVMValueRef low, high, whole;
	int64_t rest;

	g->lanes = lanes;
	range_of(c, c->c.n, &low, &high);
	whole = gen_round_down(g, low, high, (int64_t)vectors * lanes);
	column_loop(c, low, whole, vectors, false);
	rest = dim_is_const(extent) ? extent->value % ((int64_t)vectors * lanes) : 0;
	if (rest && c->plan->packed >= 0) {
		column_loop(c, whole, high, (int)((rest + lanes - 1) / lanes), rest % lanes != 0);
	} else if (rest || !dim_is_const(extent)) {
		LLVMValueRef single = gen_round_down(g, whole, high, lanes);

		if (rest >= lanes || (!dim_is_const(extent) && vectors > 1))
			column_loop(c, whole, single, rest ? (int)(rest / lanes) : 1, false);
		if (rest % lanes || !dim_is_const(extent))
			column_loop(c, single, high, 1, true);
	}
	g->lanes = 1;
}

static void emit_batch(struct coder *c, int loop)
{
	struct gen *g = &c->g;
	LLVMValueRef low, high;
	struct loop l;

	if (loop == c->c.n) {
		emit_columns(c);
		return;
	}
	range_of(c, loop, &low, &high);
	if (!loop_open(g, &l, low, high, 1, 0, NULL))
		return;
	axis_bind(g, c->c.loops[loop].loop->axis, l.index);
	emit_batch(c, loop + 1);
	axis_unbind(g, c->c.loops[loop].loop->axis);
	loop_close(g, &l, NULL);
}

LLVMValueRef contract_variable(struct coder *c)
{
	LLVMBuilderRef b = c->g.e->builder;
	LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
	LLVMValueRef v;

	LLVMPositionBuilderBefore(b, LLVMGetBasicBlockTerminator(c->g.entry));
	v = LLVMBuildAlloca(b, c->g.e->ptr, "");
	LLVMPositionBuilderAtEnd(b, here);
	return v;
}

static void emit_task(struct gen *g, void *self)
{
	struct coder *c = self;
	int mark = memo_mark(g);

	if (c->plan->k_step && !c->waiting)
		c->waiting = contract_variable(c);
	/* axes of the sum that are 1, or part of the next one */
	for (int i = 0; i < c->c.sum->axis_count; i++)
		axis_bind(g, c->c.sum->axes[i], gen_i64(g, 0));
	for (int i = 0; i < c->c.k_count; i++)
		axis_unbind(g, c->c.k[i].axis);
	c->one_shape = has_one_shape(c);
	if (c->c.mac->tiles && c->one_shape)
		contract_tile_shape(c, c->plan->rows[0], c->plan->rows[1], NULL);
	emit_batch(c, 0);
	if (c->c.mac->tiles)
		contract_tile_release(c);
	for (int i = 0; i < c->c.sum->axis_count; i++)
		axis_unbind(g, c->c.sum->axes[i]);
	memo_release(g, mark);
}

bool emit_contract(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		   LLVMValueRef fn, struct diag *d)
{
	struct coder c = {.plan = &k->plan.contract};
	bool ok;

	gen_open(&c.g, e, k, abi, fn, d);
	ok = contract_analyze(k, &c.g.arena, &c.g.info, &c.c);
	c.weights = c.c;
	if (ok) {
		gen_function(&c.g, emit_task, &c);
		ok = !c.g.failed;
	} else {
		diag_add(d, DIAG_INTERNAL, (struct loc){0}, "kernel %s: no contraction", k->name);
	}
	arena_free(&c.g.arena);
	return ok;
}
