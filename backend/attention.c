/* attention.c: the function of an attention kernel. */
#include "backend/attention.h"

#include <math.h>

static LLVMValueRef i64_of(struct attention_gen *g, int64_t x) { return tile_i64(g->e, x); }

static LLVMValueRef mul(struct attention_gen *g, LLVMValueRef a, int64_t by)
{
	return LLVMBuildMul(g->e->builder, a, i64_of(g, by), "");
}

static LLVMValueRef add(struct attention_gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(g->e->builder, a, b, "");
}

static LLVMValueRef smaller(struct attention_gen *g, LLVMValueRef a, LLVMValueRef b)
{
	LLVMBuilderRef l = g->e->builder;

	return a == b ? a : LLVMBuildSelect(l, LLVMBuildICmp(l, LLVMIntSLT, a, b, ""), a, b, "");
}

static LLVMValueRef larger(struct attention_gen *g, LLVMValueRef a, LLVMValueRef b)
{
	LLVMBuilderRef l = g->e->builder;

	return a == b ? a : LLVMBuildSelect(l, LLVMBuildICmp(l, LLVMIntSGT, a, b, ""), a, b, "");
}

/* Row r of a part of scratch. */
static LLVMValueRef part(struct attention_gen *g, int64_t at, LLVMValueRef r, int64_t row)
{
	return tile_at(g->e, g->scratch, r ? mul(g, r, row) : NULL, at);
}

/* The mask of the last vector of `count` elements; NULL when it is whole. */
static LLVMValueRef last_mask(struct attention_gen *g, int64_t count)
{
	int lanes = g->plan->lanes;

	if (count % lanes == 0)
		return NULL;
	return tile_mask(g->e, i64_of(g, 0), i64_of(g, count % lanes), lanes);
}

static LLVMValueRef splat(struct attention_gen *g, LLVMValueRef v)
{
	return value_splat(g->e, v, g->plan->lanes);
}

static LLVMValueRef real(struct attention_gen *g, double x)
{
	return emit_real(g->e, DT_F32, g->plan->lanes, x);
}

static LLVMValueRef scalar(struct attention_gen *g, LLVMValueRef p)
{
	LLVMValueRef v = LLVMBuildLoad2(g->e->builder, g->e->f32, p, "");

	LLVMSetAlignment(v, 4);
	return v;
}

/* ---- packed keys ---- */

/* `lanes` keys from `key` on become column `at` of a panel: at + d * panel holds element d of each. Keys from
 * `count` on repeat the last one: their scores are never used. */
static void pack_vector(struct attention_gen *g, LLVMValueRef key, LLVMValueRef at, int64_t panel)
{
	struct emitter *e = g->e;
	LLVMBuilderRef b = e->builder;
	int lanes = g->plan->lanes;
	bool unit = dim_is(g->a->kt.unit, 1);
	int64_t whole = unit ? g->a->depth / lanes * lanes : 0;
	LLVMValueRef row[64], tile[64], to, v;
	struct count_loop l;

	for (int i = 0; i < lanes; i++) {
		LLVMValueRef j = add(g, key, i64_of(g, i));

		j = smaller(g, j, LLVMBuildSub(b, g->keys, i64_of(g, 1), ""));
		row[i] = tile_at(e, g->kt, LLVMBuildMul(b, j, g->k_row, ""), 0);
	}
	count_open(e, &l, i64_of(g, 0), i64_of(g, whole), lanes, 0, NULL);
	for (int i = 0; i < lanes; i++)
		tile[i] = tile_load(e, tile_at(e, row[i], mul(g, l.index, 4), 0), lanes, NULL);
	tile_transpose(e, tile, lanes);
	to = tile_at(e, at, mul(g, l.index, panel), 0);
	for (int i = 0; i < lanes; i++)
		tile_store(e, tile_at(e, to, NULL, i * panel), tile[i], lanes, NULL);
	count_close(e, &l, NULL);
	if (whole == g->a->depth)
		return;
	count_open(e, &l, i64_of(g, whole), i64_of(g, g->a->depth), 1, 0, NULL);
	v = LLVMGetUndef(vector_of(e->f32, lanes));
	for (int i = 0; i < lanes; i++)
		v = LLVMBuildInsertElement(
			b, v,
			scalar(g, tile_at(e, row[i], LLVMBuildMul(b, l.index, g->k_unit, ""), 0)),
			LLVMConstInt(e->i32, (unsigned)i, 0), "");
	tile_store(e, tile_at(e, at, mul(g, l.index, panel), 0), v, lanes, NULL);
	count_close(e, &l, NULL);
}

/* Packs the panels of keys from `begin` (a panel's first) up to `end`. */
static void pack_keys(struct attention_gen *g, LLVMValueRef begin, LLVMValueRef end)
{
	int lanes = g->plan->lanes, vectors = g->plan->vectors;
	int64_t panel = 4 * (int64_t)lanes * vectors;
	struct count_loop l;
	LLVMValueRef at;

	count_open(g->e, &l, begin, end, lanes * vectors, 0, NULL);
	at = part(g, g->a->key_at, l.index, 4 * g->a->depth);
	for (int v = 0; v < vectors; v++)
		pack_vector(g, add(g, l.index, i64_of(g, (int64_t)v * lanes)),
			    tile_at(g->e, at, NULL, 4 * (int64_t)lanes * v), panel);
	count_close(g->e, &l, NULL);
}

/* ---- a tile ---- */

struct rows {
	bool direct;               /* keys are not packed */
	int count;                 /* of the tile: those from `valid` on repeat the last one */
	LLVMValueRef first, valid; /* the query of the first */
	LLVMValueRef begin, end;   /* its keys */
};

/* The query of row r. */
static LLVMValueRef query_of(struct attention_gen *g, const struct rows *t, LLVMValueRef r)
{
	LLVMValueRef most = LLVMBuildSub(g->e->builder, t->valid, i64_of(g, 1), "");

	return add(g, t->first, smaller(g, r, most));
}

/* for r of the tile, { for vectors of a row of `count` elements } */
static void open_rows(struct attention_gen *g, const struct rows *t, struct count_loop *l)
{
	count_open(g->e, l, i64_of(g, 0), i64_of(g, t->count), 1, 0, NULL);
}

static void close_loop(struct attention_gen *g, struct count_loop *l)
{
	count_close(g->e, l, NULL);
}

static void copy_queries(struct attention_gen *g, const struct rows *t)
{
	int64_t lanes = g->plan->lanes, depth = g->a->depth;
	struct count_loop l;

	open_rows(g, t, &l);
	for (int64_t d = 0; d < depth; d += lanes) {
		LLVMValueRef mask = d + lanes > depth ? last_mask(g, depth) : NULL;
		LLVMValueRef from = tile_at(
			g->e, g->q,
			LLVMBuildMul(g->e->builder, query_of(g, t, l.index), g->q_row, ""), 4 * d);

		tile_store(g->e,
			   tile_at(g->e, part(g, g->a->query_at, l.index, g->a->query_row), NULL,
				   4 * d),
			   tile_load(g->e, from, (int)lanes, mask), (int)lanes, NULL);
	}
	close_loop(g, &l);
}

/* The parts of a tile's state: maximum, sum and scale of each row. */
enum { STATE_MAX, STATE_SUM, STATE_SCALE };

static LLVMValueRef state(struct attention_gen *g, int which, LLVMValueRef r)
{
	int64_t lanes = g->plan->lanes, bytes = 4 * ((g->plan->rows + lanes - 1) / lanes * lanes);

	return part(g, g->a->state_at + which * bytes, r, 4);
}

static void fill_state(struct attention_gen *g, const struct rows *t)
{
	int64_t lanes = g->plan->lanes;
	struct count_loop l;

	for (int64_t r = 0; r < t->count; r += lanes) {
		tile_store(g->e, state(g, STATE_MAX, i64_of(g, r)), real(g, -INFINITY), (int)lanes,
			   NULL);
		tile_store(g->e, state(g, STATE_SUM, i64_of(g, r)), real(g, 0), (int)lanes, NULL);
	}
	open_rows(g, t, &l);
	for (int64_t x = 0; x < g->a->sum_row; x += 4 * lanes)
		tile_store(g->e,
			   tile_at(g->e, part(g, g->a->sum_at, l.index, g->a->sum_row), NULL, x),
			   real(g, 0), (int)lanes, NULL);
	close_loop(g, &l);
}

static void zero(struct attention_gen *g, LLVMValueRef *acc, int count)
{
	for (int i = 0; i < count; i++)
		acc[i] = real(g, 0);
}

/* The products of the tile's queries with the block's keys. */
static void products(struct attention_gen *g, const struct rows *t, LLVMValueRef block,
		     LLVMValueRef count)
{
	int lanes = g->plan->lanes, vectors = g->plan->vectors;
	struct tile tile = {.rows = t->count,
			    .vectors = vectors,
			    .lanes = lanes,
			    .a = part(g, g->a->query_at, NULL, 0),
			    .b_step = i64_of(g, 4 * (int64_t)lanes * vectors),
			    .k = i64_of(g, g->a->depth),
			    .a_row = g->a->query_row};
	LLVMValueRef acc[TILE_VALUES], to;
	struct count_loop l;

	count_open(g->e, &l, i64_of(g, 0), count, lanes * vectors, 0, NULL);
	tile.b = part(g, g->a->key_at, add(g, block, l.index), 4 * g->a->depth);
	zero(g, acc, t->count * vectors);
	emit_tile(g->e, &tile, acc);
	to = part(g, g->a->score_at, l.index, 4);
	for (int i = 0; i < t->count * vectors; i++)
		tile_store(
			g->e,
			tile_at(g->e, to, NULL,
				i / vectors * g->a->score_row + 4 * (int64_t)lanes * (i % vectors)),
			acc[i], lanes, NULL);
	close_loop(g, &l);
}

/* The same, a row at a time and without packed keys: dot products of the query with as many keys as a vector has
 * lanes, whose lanes are then added. Keys past the end repeat the last one: their scores are never used. */
static void dot_products(struct attention_gen *g, const struct rows *t, LLVMValueRef block,
			 LLVMValueRef count)
{
	struct emitter *e = g->e;
	int lanes = g->plan->lanes;
	int64_t depth = g->a->depth, whole = depth / lanes * lanes;
	LLVMValueRef last = LLVMBuildSub(e->builder, g->keys, i64_of(g, 1), ""), key[64], acc[64],
		     query, q, mask;
	struct count_loop l, r, c;

	count_open(e, &l, i64_of(g, 0), count, lanes, 0, NULL);
	for (int i = 0; i < lanes; i++) {
		LLVMValueRef j = add(g, add(g, block, l.index), i64_of(g, i));

		j = LLVMBuildMul(e->builder, smaller(g, j, last), g->k_row, "");
		key[i] = tile_at(e, g->kt, j, 0);
	}
	open_rows(g, t, &r);
	query = part(g, g->a->query_at, r.index, g->a->query_row);
	zero(g, acc, lanes);
	count_open(e, &c, i64_of(g, 0), i64_of(g, 4 * whole), 4 * lanes, lanes, acc);
	q = tile_load(e, tile_at(e, query, c.index, 0), lanes, NULL);
	for (int i = 0; i < lanes; i++)
		acc[i] = emit_fma(e, q, tile_load(e, tile_at(e, key[i], c.index, 0), lanes, NULL),
				  c.value[i]);
	count_close(e, &c, acc);
	mask = last_mask(g, depth);
	q = mask ? tile_load(e, tile_at(e, query, NULL, 4 * whole), lanes, NULL) : NULL;
	for (int i = 0; i < lanes; i++) {
		acc[i] = c.value[i];
		if (mask)
			acc[i] = emit_fma(
				e, q,
				tile_load(e, tile_at(e, key[i], NULL, 4 * whole), lanes, mask),
				acc[i]);
	}
	tile_store(e,
		   tile_at(e, part(g, g->a->score_at, r.index, g->a->score_row), mul(g, l.index, 4),
			   0),
		   tile_sums(e, acc, lanes), lanes, NULL);
	close_loop(g, &r);
	close_loop(g, &l);
}

static LLVMValueRef exponential(struct attention_gen *g, LLVMValueRef x)
{
	LLVMValueRef arg[3] = {x}; /* as many as any operation may read */

	return emit_scalar(g->e, EXPR_EXP, DT_F32, g->plan->lanes, arg);
}

/* The new maxima of the rows, and what sums so far are scaled by. A row without any score above -inf counts
 * from 0, so that nothing becomes a NaN that is none in the end. */
static void new_maxima(struct attention_gen *g, const struct rows *t, LLVMValueRef block,
		       LLVMValueRef count)
{
	LLVMBuilderRef b = g->e->builder;
	int lanes = g->plan->lanes;
	struct count_loop l;

	open_rows(g, t, &l);
	LLVMSetAlignment(
		LLVMBuildStore(b,
			       attention_scores(g,
						part(g, g->a->score_at, l.index, g->a->score_row),
						query_of(g, t, l.index), block, count,
						scalar(g, state(g, STATE_MAX, l.index))),
			       state(g, STATE_SCALE, l.index)),
		4);
	close_loop(g, &l);
	for (int r = 0; r < t->count; r += lanes) {
		LLVMValueRef at = i64_of(g, r), old, max, none, scale;

		old = tile_load(g->e, state(g, STATE_MAX, at), lanes, NULL);
		max = tile_load(g->e, state(g, STATE_SCALE, at), lanes, NULL);
		none = LLVMBuildFCmp(b, LLVMRealOEQ, max, real(g, -INFINITY), "");
		tile_store(g->e, state(g, STATE_MAX, at), max, lanes, NULL);
		max = LLVMBuildSelect(b, none, real(g, 0), max, "");
		scale = exponential(g, LLVMBuildFSub(b, old, max, ""));
		tile_store(g->e, state(g, STATE_SCALE, at), scale, lanes, NULL);
		old = tile_load(g->e, state(g, STATE_SUM, at), lanes, NULL);
		tile_store(g->e, state(g, STATE_SUM, at), LLVMBuildFMul(b, old, scale, ""), lanes,
			   NULL);
	}
}

/* Scores become weights, exp(score - maximum), which are added to the rows' sums. */
static void weights(struct attention_gen *g, const struct rows *t, LLVMValueRef count)
{
	LLVMBuilderRef b = g->e->builder;
	int lanes = g->plan->lanes;
	LLVMValueRef max, none, sum, p, v, row, at;
	struct count_loop l, m;

	open_rows(g, t, &l);
	row = part(g, g->a->score_at, l.index, g->a->score_row);
	max = scalar(g, state(g, STATE_MAX, l.index));
	none = LLVMBuildFCmp(b, LLVMRealOEQ, max, emit_real(g->e, DT_F32, 1, -INFINITY), "");
	max = splat(g, LLVMBuildSelect(b, none, emit_real(g->e, DT_F32, 1, 0), max, ""));
	sum = real(g, 0);
	count_open(g->e, &m, i64_of(g, 0), count, lanes, 1, &sum);
	p = tile_at(g->e, row, mul(g, m.index, 4), 0);
	v = exponential(g, LLVMBuildFSub(b, tile_load(g->e, p, lanes, NULL), max, ""));
	tile_store(g->e, p, v, lanes, NULL);
	sum = LLVMBuildFAdd(b, m.value[0], v, "");
	count_close(g->e, &m, &sum);
	sum = m.value[0];
	for (int half = lanes / 2; half; half /= 2) {
		LLVMValueRef index[64];

		for (int i = 0; i < lanes; i++)
			index[i] = LLVMConstInt(g->e->i32, (unsigned)((i + half) % lanes), 0);
		sum = LLVMBuildFAdd(b, sum,
				    LLVMBuildShuffleVector(b, sum, LLVMGetUndef(LLVMTypeOf(sum)),
							   LLVMConstVector(index, (unsigned)lanes),
							   ""),
				    "");
	}
	at = state(g, STATE_SUM, l.index);
	sum = LLVMBuildExtractElement(b, sum, LLVMConstInt(g->e->i32, 0, 0), "");
	LLVMSetAlignment(LLVMBuildStore(b, LLVMBuildFAdd(b, scalar(g, at), sum, ""), at), 4);
	close_loop(g, &l);
}

/* Sums of values so far are scaled to the new maximum. */
static void scale_sums(struct attention_gen *g, const struct rows *t)
{
	int64_t lanes = g->plan->lanes;
	struct count_loop l;
	LLVMValueRef scale, p;

	open_rows(g, t, &l);
	scale = splat(g, scalar(g, state(g, STATE_SCALE, l.index)));
	for (int64_t x = 0; x < g->a->sum_row; x += 4 * lanes) {
		p = tile_at(g->e, part(g, g->a->sum_at, l.index, g->a->sum_row), NULL, x);
		tile_store(g->e, p,
			   LLVMBuildFMul(g->e->builder, tile_load(g->e, p, (int)lanes, NULL), scale,
					 ""),
			   (int)lanes, NULL);
	}
	close_loop(g, &l);
}

/* Adds weights times values, some columns of v at a time: more of them where there are few rows, so that enough sums
 * are under way. */
static void values(struct attention_gen *g, const struct rows *t, LLVMValueRef block,
		   LLVMValueRef count)
{
	int lanes = g->plan->lanes;
	int64_t columns = (g->a->width + lanes - 1) / lanes;
	int most = t->direct && t->count <= 4 ? 8 / t->count : g->plan->vectors;
	LLVMValueRef acc[TILE_VALUES];

	for (int64_t c = 0; c < columns; c += most) {
		int64_t left = columns - c;
		int vectors = left < most ? (int)left : most;
		LLVMValueRef from = part(g, g->a->sum_at + 4 * lanes * c, NULL, 0);
		struct tile tile = {
			.rows = t->count,
			.vectors = vectors,
			.lanes = lanes,
			.a = part(g, g->a->score_at, NULL, 0),
			.a_row = g->a->score_row,
			.b = tile_at(g->e, g->v, LLVMBuildMul(g->e->builder, block, g->v_row, ""),
				     4 * lanes * c),
			.b_step = g->v_row,
			.k = count,
			.mask = c + vectors == columns ? last_mask(g, g->a->width) : NULL};

		for (int i = 0; i < t->count * vectors; i++)
			acc[i] = tile_load(g->e,
					   tile_at(g->e, from, NULL,
						   i / vectors * g->a->sum_row +
							   4 * (int64_t)lanes * (i % vectors)),
					   lanes, NULL);
		emit_tile(g->e, &tile, acc);
		for (int i = 0; i < t->count * vectors; i++)
			tile_store(g->e,
				   tile_at(g->e, from, NULL,
					   i / vectors * g->a->sum_row +
						   4 * (int64_t)lanes * (i % vectors)),
				   acc[i], lanes, NULL);
	}
}

/* y = sums of values / sums of weights, for the rows that are. */
static void store_rows(struct attention_gen *g, const struct rows *t)
{
	LLVMBuilderRef b = g->e->builder;
	int64_t lanes = g->plan->lanes, width = g->a->width;
	LLVMValueRef one = emit_real(g->e, DT_F32, 1, 1), scale, to, v;
	struct count_loop l;

	count_open(g->e, &l, i64_of(g, 0), t->valid, 1, 0, NULL);
	scale = splat(g, LLVMBuildFDiv(b, one, scalar(g, state(g, STATE_SUM, l.index)), ""));
	to = tile_at(g->e, g->y, LLVMBuildMul(b, add(g, t->first, l.index), g->y_row, ""), 0);
	for (int64_t x = 0; x < width; x += lanes) {
		v = tile_load(
			g->e,
			tile_at(g->e, part(g, g->a->sum_at, l.index, g->a->sum_row), NULL, 4 * x),
			(int)lanes, NULL);
		tile_store(g->e, tile_at(g->e, to, NULL, 4 * x), LLVMBuildFMul(b, v, scale, ""),
			   (int)lanes, x + lanes > width ? last_mask(g, width) : NULL);
	}
	close_loop(g, &l);
}

/* ---- keys that count ---- */

/* The keys that queries from `first` to `last` can see. */
static void find_keys(struct attention_gen *g, LLVMValueRef first, LLVMValueRef last,
		      LLVMValueRef *begin, LLVMValueRef *end)
{
	int panel = g->plan->lanes * g->plan->vectors;
	LLVMBuilderRef b = g->e->builder;

	*begin = i64_of(g, 0);
	*end = g->keys;
	for (int i = 0; i < g->a->end_count; i++)
		*end = smaller(g, *end, attention_index(g, g->a->end[i], last));
	for (int i = 0; i < g->a->begin_count; i++)
		*begin = larger(g, *begin, attention_index(g, g->a->begin[i], first));
	if (g->a->begin_count) /* of a panel */
		*begin = LLVMBuildMul(b, LLVMBuildUDiv(b, *begin, i64_of(g, panel), ""),
				      i64_of(g, panel), "");
}

static void emit_rows(struct attention_gen *g, int count, bool direct, LLVMValueRef first)
{
	LLVMBuilderRef b = g->e->builder;
	struct rows t = {.direct = direct, .count = count, .first = first};
	bool one = dim_is_const(g->a->keys) && g->a->keys->value <= g->plan->keys;
	LLVMValueRef keys;
	struct count_loop l;

	t.valid = smaller(g, i64_of(g, count), LLVMBuildSub(b, g->last, first, ""));
	find_keys(g, first, add(g, first, LLVMBuildSub(b, t.valid, i64_of(g, 1), "")), &t.begin,
		  &t.end);
	copy_queries(g, &t);
	fill_state(g, &t);
	count_open(g->e, &l, t.begin, t.end, g->plan->keys, 0, NULL);
	keys = smaller(g, i64_of(g, g->plan->keys), LLVMBuildSub(b, t.end, l.index, ""));
	if (direct)
		dot_products(g, &t, l.index, keys);
	else
		products(g, &t, l.index, keys);
	new_maxima(g, &t, l.index, keys);
	weights(g, &t, keys);
	if (!one)
		scale_sums(g, &t);
	values(g, &t, l.index, keys);
	close_loop(g, &l);
	store_rows(g, &t);
}

/* ---- tasks ---- */

/* Packs the keys that the task's queries see; not for so few queries that small tiles, which do not need it, do. */
static void emit_packing(struct attention_gen *g)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef fn = LLVMGetBasicBlockParent(LLVMGetInsertBlock(b)), begin, end, few;
	LLVMBasicBlockRef pack, join;
	int tail = g->plan->direct ? g->plan->tail : 0;

	if (tail >= g->plan->rows)
		return;
	pack = LLVMAppendBasicBlockInContext(g->e->context, fn, "pack");
	join = LLVMAppendBasicBlockInContext(g->e->context, fn, "packed");
	few = LLVMBuildICmp(b, LLVMIntSLE, LLVMBuildSub(b, g->last, g->first, ""), i64_of(g, tail),
			    "");
	LLVMBuildCondBr(b, few, join, pack);
	LLVMPositionBuilderAtEnd(b, pack);
	find_keys(g, g->first, LLVMBuildSub(b, g->last, i64_of(g, 1), ""), &begin, &end);
	pack_keys(g, begin, end);
	LLVMBuildBr(b, join);
	LLVMMoveBasicBlockAfter(join, LLVMGetInsertBlock(b));
	LLVMPositionBuilderAtEnd(b, join);
}

/* All whole tiles, then what remains: by small tiles while that is little. */
static void emit_queries(struct attention_gen *g)
{
	int rows = g->plan->rows, tail = g->plan->tail < rows ? g->plan->tail : rows;
	LLVMValueRef at = g->first;
	struct count_loop l;

	if (tail < rows) {
		count_open(g->e, &l, at, LLVMBuildSub(g->e->builder, g->last, i64_of(g, tail), ""),
			   rows, 1, &at);
		emit_rows(g, rows, false, l.index);
		at = add(g, l.index, i64_of(g, rows));
		count_close(g->e, &l, &at);
		at = l.value[0];
	}
	if (!tail)
		return;
	count_open(g->e, &l, at, g->last, tail, 0, NULL);
	emit_rows(g, tail, g->plan->direct, l.index);
	close_loop(g, &l);
}

static void emit_task(struct attention_gen *g, LLVMValueRef task)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef chunks = attention_dim(g, g->a->chunks), heads = attention_dim(g, g->a->heads);
	LLVMValueRef chunk = LLVMBuildURem(b, task, chunks, "");

	task = LLVMBuildUDiv(b, task, chunks, "");
	g->head = LLVMBuildURem(b, task, heads, "");
	g->batch = LLVMBuildUDiv(b, task, heads, "");
	g->first = mul(g, chunk, g->plan->chunk);
	g->last = smaller(g, add(g, g->first, i64_of(g, g->plan->chunk)),
			  attention_dim(g, g->a->queries));
	g->q = attention_base(g, &g->a->q);
	g->kt = attention_base(g, &g->a->kt);
	g->v = attention_base(g, &g->a->v);
	g->y = attention_base(g, &g->a->y);
	emit_packing(g);
	emit_queries(g);
}

/* ---- the function ---- */

static LLVMValueRef element(struct attention_gen *g, LLVMTypeRef type, LLVMValueRef p, int64_t i)
{
	LLVMValueRef at = i64_of(g, i), v;

	v = LLVMBuildLoad2(g->e->builder, type, LLVMBuildGEP2(g->e->builder, type, p, &at, 1, ""),
			   "");
	LLVMSetAlignment(v, 8);
	return v;
}

static LLVMValueRef stride(struct attention_gen *g, dim d)
{
	return mul(g, attention_dim(g, d), 4);
}

static void open_function(struct attention_gen *g, LLVMValueRef fn)
{
	struct emitter *e = g->e;
	LLVMValueRef buffers = LLVMGetParam(fn, 1), words = LLVMGetParam(fn, 2), bytes;
	int count = g->a->k->buffers.count;

	LLVMPositionBuilderAtEnd(e->builder,
				 LLVMAppendBasicBlockInContext(e->context, fn, "entry"));
	g->word = ARENA_ARRAY(g->arena, LLVMValueRef, g->abi->word_count + 1);
	g->base = ARENA_ARRAY(g->arena, LLVMValueRef, count + 1);
	for (int i = 0; i < g->abi->word_count; i++)
		g->word[i] = element(g, e->i64, words, i);
	for (int i = 0; i < count; i++)
		g->base[i] = element(g, e->ptr, buffers, i);
	bytes = LLVMBuildMul(e->builder, g->word[g->abi->scratch_stride_word], LLVMGetParam(fn, 5),
			     "");
	g->scratch = tile_at(e, element(g, e->ptr, buffers, g->abi->scratch), bytes, 0);
	g->keys = attention_dim(g, g->a->keys);
	g->q_row = stride(g, g->a->q.row);
	g->k_row = stride(g, g->a->kt.row);
	g->k_unit = stride(g, g->a->kt.unit);
	g->v_row = stride(g, g->a->v.row);
	g->y_row = stride(g, g->a->y.row);
}

bool emit_attention(struct emitter *e, const struct kernel *k, const struct kernel_abi *abi,
		    LLVMValueRef fn, struct diag *d)
{
	struct arena scratch = {0};
	struct attention a;
	struct attention_gen g = {
		.e = e, .a = &a, .plan = &k->plan.attention, .abi = abi, .arena = &scratch};
	bool ok = attention_analyze(k, &scratch, &a);
	struct count_loop l;

	if (ok) {
		attention_layout(&a);
		open_function(&g, fn);
		count_open(e, &l, LLVMGetParam(fn, 3), LLVMGetParam(fn, 4), 1, 0, NULL);
		emit_task(&g, l.index);
		count_close(e, &l, NULL);
		LLVMBuildRetVoid(e->builder);
	} else {
		diag_add(d, DIAG_INTERNAL, (struct loc){0}, "kernel %s is no attention", k->name);
	}
	arena_free(&scratch);
	return ok;
}
