/* tile_emit.c: counted loops, vectors in memory, and the inner loop of register tiles. */
#include "backend/tile_emit.h"

enum { UNROLL = 4 };

LLVMValueRef tile_i64(struct emitter *e, int64_t x)
{
	return LLVMConstInt(e->i64, (unsigned long long)x, 1);
}

/* ---- loops ---- */

static LLVMBasicBlockRef block_after(struct emitter *e, const char *name)
{
	LLVMValueRef fn = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->builder));

	return LLVMAppendBasicBlockInContext(e->context, fn, name);
}

void count_open(struct emitter *e, struct count_loop *l, LLVMValueRef low, LLVMValueRef high,
		int64_t step, int count, const LLVMValueRef *initial)
{
	LLVMBuilderRef b = e->builder;

	*l = (struct count_loop){.high = high, .step = step, .count = count};
	l->before = LLVMGetInsertBlock(b);
	l->body = block_after(e, "turn");
	l->after = block_after(e, "done");
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, low, high, ""), l->body, l->after);
	LLVMPositionBuilderAtEnd(b, l->body);
	l->index = LLVMBuildPhi(b, e->i64, "");
	LLVMAddIncoming(l->index, &low, &l->before, 1);
	for (int i = 0; i < count; i++) {
		l->initial[i] = initial[i];
		l->value[i] = LLVMBuildPhi(b, LLVMTypeOf(initial[i]), "");
		LLVMAddIncoming(l->value[i], &l->initial[i], &l->before, 1);
	}
}

void count_close(struct emitter *e, struct count_loop *l, const LLVMValueRef *next)
{
	LLVMBuilderRef b = e->builder;
	LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
	LLVMValueRef index = LLVMBuildAdd(b, l->index, tile_i64(e, l->step), "");

	LLVMAddIncoming(l->index, &index, &latch, 1);
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, index, l->high, ""), l->body, l->after);
	LLVMMoveBasicBlockAfter(l->after, latch);
	LLVMPositionBuilderAtEnd(b, l->after);
	for (int i = 0; i < l->count; i++) {
		LLVMValueRef result = LLVMBuildPhi(b, LLVMTypeOf(next[i]), "");
		LLVMValueRef from[2] = {next[i], l->initial[i]};
		LLVMBasicBlockRef block[2] = {latch, l->before};

		LLVMAddIncoming(l->value[i], (LLVMValueRef *)&next[i], &latch, 1);
		LLVMAddIncoming(result, from, block, 2);
		l->value[i] = result;
	}
}

/* ---- memory ---- */

LLVMValueRef tile_at(struct emitter *e, LLVMValueRef p, LLVMValueRef bytes, int64_t more)
{
	LLVMValueRef by = tile_i64(e, more);

	if (bytes)
		p = LLVMBuildGEP2(e->builder, e->i8, p, &bytes, 1, "");
	return more ? LLVMBuildGEP2(e->builder, e->i8, p, &by, 1, "") : p;
}

LLVMValueRef tile_load(struct emitter *e, LLVMValueRef p, int lanes, LLVMValueRef mask)
{
	LLVMTypeRef type = vector_of(e->f32, lanes);
	LLVMValueRef v, arg[3] = {p, mask, LLVMConstNull(type)};

	if (mask)
		return emit_masked(e, "llvm.masked.load", type, 3, arg, 0, 4);
	v = LLVMBuildLoad2(e->builder, type, p, "");
	LLVMSetAlignment(v, 4);
	return v;
}

void tile_store(struct emitter *e, LLVMValueRef p, LLVMValueRef v, int lanes, LLVMValueRef mask)
{
	LLVMValueRef arg[3] = {v, p, mask};

	if (mask)
		emit_masked(e, "llvm.masked.store", vector_of(e->f32, lanes), 3, arg, 1, 4);
	else
		LLVMSetAlignment(LLVMBuildStore(e->builder, v, p), 4);
}

LLVMValueRef tile_mask(struct emitter *e, LLVMValueRef first, LLVMValueRef count, int lanes)
{
	LLVMBuilderRef b = e->builder;
	LLVMValueRef left = LLVMBuildSub(b, count, first, "");

	return LLVMBuildICmp(b, LLVMIntSLT, value_lanes(e, lanes), value_splat(e, left, lanes), "");
}

/* Rows i and i ^ s of a square whose blocks of s beside the diagonal change places: of two vectors of n lanes, what
 * the first becomes (low), and the second. */
static LLVMValueRef swap_blocks(struct emitter *e, LLVMValueRef a, LLVMValueRef b, int n, int s,
				bool low)
{
	LLVMValueRef index[64];

	for (int i = 0; i < n; i++) {
		int from = low ? (i & s ? n + (i ^ s) : i) : (i & s ? n + i : i ^ s);

		index[i] = LLVMConstInt(e->i32, (unsigned)from, 0);
	}
	return LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(index, (unsigned)n), "");
}

void tile_transpose(struct emitter *e, LLVMValueRef *row, int n)
{
	for (int s = n / 2; s >= 1; s /= 2)
		for (int i = 0; i < n; i++) {
			LLVMValueRef a = row[i], b = row[i ^ s];

			if (i & s)
				continue;
			row[i] = swap_blocks(e, a, b, n, s, true);
			row[i ^ s] = swap_blocks(e, a, b, n, s, false);
		}
}

/* A transposition that adds the two rows of each swap at once, so that their number halves. */
LLVMValueRef tile_sums(struct emitter *e, LLVMValueRef *row, int n)
{
	for (int s = n / 2; s >= 1; s /= 2)
		for (int i = 0; i < s; i++)
			row[i] = LLVMBuildFAdd(e->builder,
					       swap_blocks(e, row[i], row[i ^ s], n, s, true),
					       swap_blocks(e, row[i], row[i ^ s], n, s, false), "");
	return row[0];
}

/* ---- the tile ---- */

/* One s: loads the vectors of b, then multiplies them by each row's element. */
static void step(struct emitter *e, const struct tile *t, LLVMValueRef a, LLVMValueRef b,
		 int64_t offset, LLVMValueRef *acc)
{
	LLVMValueRef vector[TILE_VALUES];

	for (int v = 0; v < t->vectors; v++)
		vector[v] = tile_load(e, tile_at(e, b, NULL, 4 * (int64_t)t->lanes * v), t->lanes,
				      v == t->vectors - 1 ? t->mask : NULL);
	for (int r = 0; r < t->rows; r++) {
		LLVMValueRef x = LLVMBuildLoad2(e->builder, e->f32,
						tile_at(e, a, NULL, r * t->a_row + offset), "");

		LLVMSetAlignment(x, 4);
		x = value_splat(e, x, t->lanes);
		for (int v = 0; v < t->vectors; v++)
			acc[r * t->vectors + v] =
				emit_fma(e, x, vector[v], acc[r * t->vectors + v]);
	}
}

/* The turns from low to high, `unroll` of them at a time. */
static void turns(struct emitter *e, const struct tile *t, LLVMValueRef low, LLVMValueRef high,
		  int unroll, LLVMValueRef *acc)
{
	LLVMBuilderRef b = e->builder;
	LLVMValueRef next[TILE_VALUES], a, at;
	int count = t->rows * t->vectors;
	struct count_loop l;

	count_open(e, &l, low, high, unroll, count, acc);
	for (int i = 0; i < count; i++)
		next[i] = l.value[i];
	a = tile_at(e, t->a, LLVMBuildMul(b, l.index, tile_i64(e, 4), ""), 0);
	at = tile_at(e, t->b, LLVMBuildMul(b, l.index, t->b_step, ""), 0);
	for (int u = 0; u < unroll; u++) {
		if (u)
			at = tile_at(e, at, t->b_step, 0);
		step(e, t, a, at, 4 * u, next);
	}
	count_close(e, &l, next);
	for (int i = 0; i < count; i++)
		acc[i] = l.value[i];
}

void emit_tile(struct emitter *e, const struct tile *t, LLVMValueRef *acc)
{
	LLVMValueRef whole = LLVMBuildAnd(e->builder, t->k, tile_i64(e, -UNROLL), "");

	turns(e, t, tile_i64(e, 0), whole, UNROLL, acc);
	if (whole != t->k)
		turns(e, t, whole, t->k, 1, acc);
}
