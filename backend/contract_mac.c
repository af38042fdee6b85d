/* contract_mac.c: the rows of contract_mac.h. */
#include "backend/contract_mac.h"

#include "ir/plan.h"

#include <string.h>

static int lanes_of(LLVMValueRef v) { return (int)LLVMGetVectorSize(LLVMTypeOf(v)); }

static LLVMValueRef i32_splat(struct emitter *e, int lanes, uint32_t x)
{
	return value_int(e, DT_I32, lanes, (int32_t)x);
}

/* A call of an intrinsic of one fixed type. LLVM 22 declares vpdpbusd with vectors of bytes, 19 with the same bits as
 * i32: what the declaration asks for is what it gets. */
static LLVMValueRef call_fixed(struct emitter *e, const char *name, int count, LLVMValueRef *args)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMTypeRef type, want[3];

	if (!id)
		BUG("no intrinsic %s", name);
	type = LLVMIntrinsicGetType(e->context, id, NULL, 0);
	LLVMGetParamTypes(type, want);
	for (int i = 0; i < count; i++)
		args[i] = LLVMBuildBitCast(e->builder, args[i], want[i], "");
	return LLVMBuildCall2(e->builder, type, LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0),
			      args, (unsigned)count, "");
}

/* ---- f32 ---- */

static bool everywhere(const struct target *t)
{
	(void)t;
	return true;
}

static void whole(struct emitter *e, LLVMValueRef v, LLVMValueRef *part)
{
	(void)e;
	part[0] = v;
}

/* ---- bf16: the upper half of an f32 ---- */

static bool bf16_pays(const struct target *t) { return t->bf16 && t->bf16_rate > 1; }

static LLVMValueRef bf16_dot(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum)
{
	LLVMValueRef args[3] = {sum, a, b};

	return call_fixed(e, "llvm.x86.avx512bf16.dpbf16ps.512", 3, args);
}

static void bf16_halves(struct emitter *e, LLVMValueRef v, LLVMValueRef *part)
{
	int lanes = lanes_of(v);
	LLVMTypeRef type = vector_of(e->f32, lanes);

	part[0] = LLVMBuildShl(e->builder, v, i32_splat(e, lanes, 16), "");
	part[1] = LLVMBuildAnd(e->builder, v, i32_splat(e, lanes, 0xffff0000), "");
	for (int i = 0; i < 2; i++)
		part[i] = LLVMBuildBitCast(e->builder, part[i], type, "");
}

/* ---- bytes ---- */

static bool has_vnni(const struct target *t) { return t->vnni; }

static LLVMValueRef i8_dot(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum)
{
	LLVMValueRef args[3] = {sum, a, b};

	return call_fixed(e, "llvm.x86.avx512.vpdpbusd.512", 3, args);
}

static bool has_madd(const struct target *t) { return t->isa != ISA_NEON; }

/* Bytes 0 and 2, and bytes 1 and 3, of each lane as two i16. (maddubs would take bytes, but saturates.) */
static void i16_unsigned(struct emitter *e, LLVMValueRef v, LLVMValueRef *part)
{
	int lanes = lanes_of(v) * 2;
	LLVMTypeRef type = vector_of(LLVMInt16TypeInContext(e->context), lanes);
	LLVMValueRef x = LLVMBuildBitCast(e->builder, v, type, "");

	part[0] = LLVMBuildAnd(e->builder, x, value_int(e, DT_I16, lanes, 255), "");
	part[1] = LLVMBuildLShr(e->builder, x, value_int(e, DT_I16, lanes, 8), "");
}

static void i16_signed(struct emitter *e, LLVMValueRef v, LLVMValueRef *part)
{
	int lanes = lanes_of(v) * 2;
	LLVMTypeRef type = vector_of(LLVMInt16TypeInContext(e->context), lanes);
	LLVMValueRef x = LLVMBuildBitCast(e->builder, v, type, ""),
		     eight = value_int(e, DT_I16, lanes, 8);

	part[0] = LLVMBuildAShr(e->builder, LLVMBuildShl(e->builder, x, eight, ""), eight, "");
	part[1] = LLVMBuildAShr(e->builder, x, eight, "");
}

static LLVMValueRef i16_madd(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum)
{
	LLVMValueRef args[2] = {a, b};
	int lanes = lanes_of(sum);
	const char *name = lanes == 16  ? "llvm.x86.avx512.pmaddw.d.512"
			   : lanes == 8 ? "llvm.x86.avx2.pmadd.wd"
					: "llvm.x86.sse2.pmadd.wd";

	return LLVMBuildAdd(e->builder, call_fixed(e, name, 2, args), sum, "");
}

static void i32_unsigned(struct emitter *e, LLVMValueRef v, LLVMValueRef *part)
{
	int lanes = lanes_of(v);

	for (unsigned i = 0; i < 4; i++) {
		part[i] = LLVMBuildLShr(e->builder, v, i32_splat(e, lanes, 8 * i), "");
		part[i] = LLVMBuildAnd(e->builder, part[i], i32_splat(e, lanes, 255), "");
	}
}

static void i32_signed(struct emitter *e, LLVMValueRef v, LLVMValueRef *part)
{
	int lanes = lanes_of(v);

	for (unsigned i = 0; i < 4; i++) {
		part[i] = LLVMBuildShl(e->builder, v, i32_splat(e, lanes, 24 - 8 * i), "");
		part[i] = LLVMBuildAShr(e->builder, part[i], i32_splat(e, lanes, 24), "");
	}
}

static LLVMValueRef i32_mul(struct emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum)
{
	return LLVMBuildAdd(e->builder, LLVMBuildMul(e->builder, a, b, ""), sum, "");
}

/* ---- tiles ---- */

static bool has_amx(const struct target *t) { return t->amx; }

const struct mac mac_table[MAC_COUNT] = {
	[MAC_I8_TILE] = {.integer = true, .tiles = true, .k = 4, .offered = has_amx},
	[MAC_BF16_TILE] = {.storage = DT_BF16, .tiles = true, .k = 2, .offered = has_amx},
	[MAC_I8_DOT] = {true, false, DT_NONE, 4, 1, 1, 0, 0, has_vnni, whole, whole, i8_dot},
	[MAC_I8_MADD] = {true, false, DT_NONE, 4, 2, 4, 2, 0, has_madd, i16_unsigned, i16_signed,
			 i16_madd},
	[MAC_I8_MUL] = {true, false, DT_NONE, 4, 4, 8, 7, 0, everywhere, i32_unsigned, i32_signed,
			i32_mul},
	[MAC_BF16_DOT] = {false, false, DT_BF16, 2, 1, 1, 0, 0, bf16_pays, whole, whole, bf16_dot},
	[MAC_BF16_FMA] = {false, false, DT_BF16, 2, 2, 2, 2, 0, everywhere, bf16_halves,
			  bf16_halves, emit_fma},
	[MAC_W8_F32] =
		{.k = 4, .parts = 1, .work = 4, .split = 12, .bits = 8, .offered = everywhere},
	[MAC_W4_F32] =
		{.k = 8, .parts = 1, .work = 8, .split = 16, .bits = 4, .offered = everywhere},
	[MAC_F32] = {false, false, DT_NONE, 1, 1, 1, 0, 0, everywhere, whole, whole, emit_fma},
};
