/* contract_tile.c: sums in the tile registers of AMX. Up to 2 x 2 tiles of 16 rows of A and 16 columns of B; a turn of the
 * innermost k loads a tile of A (rows of up to 64 bytes, as far apart as rows of A are) and one of B (steps of a
 * panel), and multiplies each with each. The sums wait in scratch memory, row by row, for the epilogue or the next
 * pass over k. What is left of k is copied, with zeros behind it, since tiles have one shape.
 * Scratch memory: the configuration, the copies, the sums.
 * Source: Intel SDM vol. 1 chapter 18, vol. 2 LDTILECFG, TILELOADD, TDPBUSD, TDPBF16PS. */
#include "backend/contract_code.h"

#include <string.h>

/* Tile registers: sums 0..3, then those of A, of B. */
enum { TILE_A = 4, TILE_B = 6, ACROSS = 2 };
/* Offsets in scratch memory. */
enum { AT_CONFIG = 0, AT_A = 64, AT_B = AT_A + 2 * TILE_BYTES };
_Static_assert(CONTRACT_TILE_SCRATCH == AT_B + ACROSS * TILE_BYTES, "room for the copies");

static LLVMValueRef call_tile(struct coder *c, const char *name, int count, LLVMValueRef *args)
{
	struct emitter *e = c->g.e;
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));

	if (!id)
		BUG("no intrinsic %s", name);
	return LLVMBuildCall2(e->builder, LLVMIntrinsicGetType(e->context, id, NULL, 0),
			      LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0), args,
			      (unsigned)count, "");
}

static LLVMValueRef tile_number(struct coder *c, int number)
{
	return LLVMConstInt(c->g.e->i8, (unsigned)number, 0);
}

static void call_memory(struct coder *c, const char *name, int number, LLVMValueRef at,
			LLVMValueRef stride)
{
	LLVMValueRef args[3] = {tile_number(c, number), at, stride};

	call_tile(c, name, 3, args);
}

static LLVMValueRef scratch_at(struct coder *c, int64_t offset)
{
	return gen_scratch(&c->g, dim_const(c->g.k->exprs->dims, offset));
}

/* ---- shape ---- */

/* Rows of tile t (0 or 1) of sums; 0: it is not used. Lines of pixels are tiles of their own. */
static int rows_of(int outer, int inner, int t)
{
	if (outer > 1)
		return inner;
	if (inner <= TILE_ROWS)
		return t ? 0 : inner;
	return t ? inner / 2 : inner - inner / 2;
}

/* The first of them among the tile's rows. */
static int first_row(const struct coder *c, int t)
{
	return t ? rows_of(c->tile.outer, c->tile.inner, 0) : 0;
}

static int tile_count(const struct coder *c)
{
	return rows_of(c->tile.outer, c->tile.inner, 1) ? 2 : 1;
}

/* Bytes 0 palette, 16.. of a row of each tile (u16), 48.. rows of each. valid: rows of tile 0; NULL: by inner. */
void contract_tile_shape(struct coder *c, int outer, int inner, LLVMValueRef valid)
{
	struct emitter *e = c->g.e;
	int turn = contract_turn(&c->c) / c->c.mac->k;
	LLVMValueRef bytes[64], v, at = scratch_at(c, AT_CONFIG), s;
	unsigned char config[64] = {1};

	for (int i = 0; i < TILE_B + ACROSS; i++) {
		int t = i < TILE_A ? i / ACROSS : i - TILE_A, rows = rows_of(outer, inner, t);

		rows = i >= TILE_B ? turn : rows ? rows : rows_of(outer, inner, 0);
		config[16 + 2 * i] = (unsigned char)(i >= TILE_A && i < TILE_B ? 4 * turn : 64);
		config[48 + i] = (unsigned char)rows;
	}
	for (int i = 0; i < 64; i++)
		bytes[i] = LLVMConstInt(e->i8, config[i], 0);
	v = LLVMConstVector(bytes, 64);
	for (int i = 0; valid && i < TILE_B; i++)
		v = LLVMBuildInsertElement(e->builder, v,
					   LLVMBuildTrunc(e->builder, valid, e->i8, ""),
					   LLVMConstInt(e->i32, 48 + (unsigned)i, 0), "");
	s = LLVMBuildStore(e->builder, v, at);
	LLVMSetAlignment(s, 64);
	call_tile(c, "llvm.x86.ldtilecfg", 1, &at);
}

void contract_tile_release(struct coder *c) { call_tile(c, "llvm.x86.tilerelease", 0, NULL); }

/* ---- operands ---- */

static LLVMValueRef row_stride(struct coder *c)
{
	struct gen *g = &c->g;
	const struct access *a = c->c.a.at;
	int loop = c->c.count - 1;
	bool used;

	if (loop <= c->c.n)
		return gen_i64(g, 0);
	return LLVMBuildMul(
		g->e->builder,
		gen_dim(g, access_coef(&g->info, a, c->c.loops[loop].loop->axis, &used)),
		gen_i64(g, dtype_bits(a->type) / 8), "");
}

static LLVMValueRef bytes_mask(struct coder *c, int bytes)
{
	LLVMValueRef lane[64];

	for (int i = 0; i < 64; i++)
		lane[i] = LLVMConstInt(c->g.e->i1, i < bytes, 0);
	return LLVMConstVector(lane, 64);
}

/* Rows of `bytes` bytes from `from` on, with zeros behind them, to rows of 64 bytes. */
static void copy_rows(struct coder *c, LLVMValueRef from, LLVMValueRef stride, LLVMValueRef rows,
		      int bytes, LLVMValueRef to)
{
	struct emitter *e = c->g.e;
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef type = vector_of(e->i8, 64);
	LLVMValueRef arg[3] = {NULL, bytes_mask(c, bytes), LLVMConstNull(type)}, v;
	struct loop l;

	if (!loop_open(&c->g, &l, gen_i64(&c->g, 0), rows, 1, 0, NULL))
		return;
	arg[0] = contract_offset(c, from, LLVMBuildMul(b, l.index, stride, ""));
	v = emit_masked(e, "llvm.masked.load", type, 3, arg, 0, 1);
	v = LLVMBuildStore(
		b, v, contract_offset(c, to, LLVMBuildMul(b, l.index, gen_i64(&c->g, 64), "")));
	LLVMSetAlignment(v, 64);
	loop_close(&c->g, &l, NULL);
}

static void load_a(struct coder *c, int t, int count)
{
	struct gen *g = &c->g;
	LLVMValueRef at = gen_address(g, c->c.a.load, (struct copy){first_row(c, t), 0}),
		     stride = row_stride(c), to;
	int rows = rows_of(c->tile.outer, c->tile.inner, t);

	if (count < contract_turn(&c->c)) {
		to = scratch_at(c, AT_A + t * TILE_BYTES);
		copy_rows(c, at, stride, c->tile.valid ? c->tile.valid : gen_i64(g, rows),
			  count * dtype_bits(c->c.a.at->type) / 8, to);
		at = to;
		stride = gen_i64(g, 64);
	}
	call_memory(c, "llvm.x86.tileloadd64", TILE_A + t, at, stride);
}

/* What is left of k: its last step is whole in memory. Behind it other panels begin, whose bf16 may be no numbers. */
static LLVMValueRef copy_steps(struct coder *c, int u, LLVMValueRef from, int steps)
{
	struct emitter *e = c->g.e;
	LLVMTypeRef type = vector_of(e->i32, PANEL);
	LLVMValueRef to = scratch_at(c, AT_B + u * TILE_BYTES), v, s;

	for (int i = 0; i < contract_turn(&c->c) / c->c.mac->k; i++) {
		LLVMValueRef by = gen_i64(&c->g, i * STEP_BYTES);

		v = LLVMConstNull(type);
		if (i < steps) {
			v = LLVMBuildLoad2(e->builder, type, contract_offset(c, from, by), "");
			LLVMSetAlignment(v, STEP_BYTES);
		}
		s = LLVMBuildStore(e->builder, v, contract_offset(c, to, by));
		LLVMSetAlignment(s, STEP_BYTES);
	}
	return to;
}

static void load_b(struct coder *c, int u, LLVMValueRef step, int count)
{
	LLVMValueRef at = contract_offset(c, step, gen_i64(&c->g, u * contract_panel_bytes(c)));

	if (count < contract_turn(&c->c))
		at = copy_steps(c, u, at, (count + c->c.mac->k - 1) / c->c.mac->k);
	call_memory(c, "llvm.x86.tileloadd64", TILE_B + u, at, gen_i64(&c->g, STEP_BYTES));
}

static void add_product(struct coder *c, int t, int u)
{
	LLVMValueRef args[3] = {tile_number(c, t * ACROSS + u), tile_number(c, TILE_A + t),
				tile_number(c, TILE_B + u)};

	call_tile(c,
		  !c->c.mac->integer         ? "llvm.x86.tdpbf16ps"
		  : c->c.a.at->type == DT_I8 ? "llvm.x86.tdpbssd"
					     : "llvm.x86.tdpbusd",
		  3, args);
}

void contract_tile_multiply(struct coder *c, LLVMValueRef step, int count)
{
	for (int t = 0; t < tile_count(c); t++) {
		load_a(c, t, count);
		for (int u = 0; u < c->tile.vectors; u++) {
			if (!t)
				load_b(c, u, step, count);
			add_product(c, t, u);
		}
	}
}

/* ---- sums ---- */

static void each_sum(struct coder *c, LLVMValueRef base, const char *intrinsic)
{
	int64_t row = (int64_t)c->tile.vectors * TILE_ROWS * 4;

	for (int t = 0; t < tile_count(c); t++)
		for (int u = 0; u < c->tile.vectors; u++)
			call_memory(c, intrinsic, t * ACROSS + u,
				    contract_offset(c, base,
						    gen_i64(&c->g, first_row(c, t) * row +
									   (int64_t)u * 64)),
				    gen_i64(&c->g, row));
}

static void zero_sums(struct coder *c)
{
	for (int t = 0; t < tile_count(c); t++)
		for (int u = 0; u < c->tile.vectors; u++) {
			LLVMValueRef number = tile_number(c, t * ACROSS + u);

			call_tile(c, "llvm.x86.tilezero", 1, &number);
		}
}

void contract_tile_begin(struct coder *c, LLVMValueRef base)
{
	LLVMBuilderRef b = c->g.e->builder;
	LLVMBasicBlockRef begin, go_on, join;

	if (!c->first) {
		zero_sums(c);
		return;
	}
	begin = gen_block(&c->g, "begin");
	go_on = gen_block(&c->g, "go_on");
	join = gen_block(&c->g, "join");
	LLVMBuildCondBr(b, c->first, begin, go_on);
	LLVMPositionBuilderAtEnd(b, begin);
	zero_sums(c);
	LLVMBuildBr(b, join);
	LLVMPositionBuilderAtEnd(b, go_on);
	each_sum(c, base, "llvm.x86.tileloadd64");
	LLVMBuildBr(b, join);
	LLVMPositionBuilderAtEnd(b, join);
}

void contract_tile_store(struct coder *c, LLVMValueRef base)
{
	each_sum(c, base, "llvm.x86.tilestored64");
}
