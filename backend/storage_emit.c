/* storage_emit.c: f16, bf16 and the four f8 types to and from f32. Rounding is to nearest, ties to even; f8
 * saturates. Where the level has no instruction, integer arithmetic on the bits does it.
 * Source: IEEE 754; OCP 8-bit Floating Point Specification 1.0; ONNX Cast-19 for the FNUZ kinds. */
#include "backend/scalar_emit.h"

/* A small float format: 1 sign bit, exponent, `mantissa` bits. */
struct format {
	int mantissa, bias, width;
	uint32_t largest; /* code of the largest finite value */
	bool infinite;    /* has infinities (then the exponent of all ones is special) */
	bool saturate;    /* too large values become `largest` */
	bool fnuz;        /* NaN is the code of -0, and there is no -0 */
	uint32_t nan;
};

static struct format format_of(enum dtype t)
{
	switch (t) {
	case DT_F16: return (struct format){10, 15, 16, 0x7bff, true, false, false, 0x7e00};
	case DT_F8E4M3FN: return (struct format){3, 7, 8, 0x7e, false, true, false, 0x7f};
	case DT_F8E4M3FNUZ: return (struct format){3, 8, 8, 0x7f, false, true, true, 0x80};
	case DT_F8E5M2: return (struct format){2, 15, 8, 0x7b, true, true, false, 0x7f};
	default: return (struct format){2, 16, 8, 0x7f, false, true, true, 0x80}; /* F8E5M2FNUZ */
	}
}

/* What the functions below work with: 32-bit lanes. */
struct bits {
	struct emitter *e;
	int lanes;
};

static LLVMValueRef num(struct bits *b, uint32_t x) { return value_int(b->e, DT_U32, b->lanes, x); }
static LLVMValueRef as_float(struct bits *b, LLVMValueRef x)
{
	return LLVMBuildBitCast(b->e->builder, x, value_type(b->e, DT_F32, b->lanes), "");
}
static LLVMValueRef as_int(struct bits *b, LLVMValueRef x)
{
	return LLVMBuildBitCast(b->e->builder, x, value_type(b->e, DT_U32, b->lanes), "");
}
static LLVMValueRef and_(struct bits *b, LLVMValueRef x, uint32_t mask)
{
	return LLVMBuildAnd(b->e->builder, x, num(b, mask), "");
}
static LLVMValueRef select_(struct bits *b, LLVMValueRef c, LLVMValueRef x, LLVMValueRef y)
{
	return LLVMBuildSelect(b->e->builder, c, x, y, "");
}
static float power(int exponent)
{
	union {
		uint32_t i;
		float f;
	} u = {.i = (uint32_t)(127 + exponent) << 23};

	return u.f;
}

/* The exponent field is moved into f32's place and rebased by a multiplication, which also makes
 * denormals right. */
static LLVMValueRef decode_small(struct bits *b, const struct format *f, LLVMValueRef code)
{
	LLVMBuilderRef bd = b->e->builder;
	uint32_t magnitude = (1u << (f->width - 1)) - 1;
	LLVMValueRef size = and_(b, code, magnitude), x, sign, special;

	x = as_float(b, LLVMBuildShl(bd, size, num(b, (uint32_t)(23 - f->mantissa)), ""));
	x = as_int(b, LLVMBuildFMul(bd, x, emit_real(b->e, DT_F32, b->lanes, power(127 - f->bias)),
				    ""));
	if (f->infinite) {
		special = LLVMBuildICmp(bd, LLVMIntUGT, size, num(b, f->largest), "");
		x = select_(b, special, LLVMBuildOr(bd, x, num(b, 0x7f800000), ""), x);
	} else {
		special = LLVMBuildICmp(bd, LLVMIntEQ, f->fnuz ? code : size, num(b, f->nan), "");
		x = select_(b, special, num(b, 0x7fc00000), x);
	}
	sign = LLVMBuildShl(bd, and_(b, code, magnitude + 1), num(b, (uint32_t)(32 - f->width)),
			    "");
	return as_float(b, LLVMBuildOr(bd, x, sign, ""));
}

/* Normal results round on the bits; denormal ones by adding a power of two whose last mantissa bit is the
 * format's smallest step. */
static LLVMValueRef encode_small(struct bits *b, const struct format *f, LLVMValueRef value)
{
	LLVMBuilderRef bd = b->e->builder;
	uint32_t drop = (uint32_t)(23 - f->mantissa);
	LLVMValueRef all = as_int(b, value), size = and_(b, all, 0x7fffffff), code, small, magic,
		     over, nan, sign;

	code = LLVMBuildAdd(bd, size, num(b, (1u << (drop - 1)) - 1), "");
	code = LLVMBuildAdd(bd, code, and_(b, LLVMBuildLShr(bd, size, num(b, drop), ""), 1), "");
	code = LLVMBuildSub(bd, LLVMBuildLShr(bd, code, num(b, drop), ""),
			    num(b, (uint32_t)(127 - f->bias) << f->mantissa), "");
	magic = emit_real(b->e, DT_F32, b->lanes, power(23 - f->mantissa + 1 - f->bias));
	small = LLVMBuildSub(bd, as_int(b, LLVMBuildFAdd(bd, as_float(b, size), magic, "")),
			     as_int(b, magic), "");
	code = select_(
		b, LLVMBuildICmp(bd, LLVMIntULT, size, num(b, (uint32_t)(128 - f->bias) << 23), ""),
		small, code);
	over = LLVMBuildOr(bd, LLVMBuildICmp(bd, LLVMIntSGT, code, num(b, f->largest), ""),
			   LLVMBuildICmp(bd, LLVMIntUGE, size, num(b, 0x7f800000), ""), "");
	code = select_(b, over, num(b, f->saturate ? f->largest : f->largest + 1), code);
	nan = LLVMBuildICmp(bd, LLVMIntUGT, size, num(b, 0x7f800000), "");
	sign = and_(b, LLVMBuildLShr(bd, all, num(b, (uint32_t)(32 - f->width)), ""),
		    1u << (f->width - 1));
	if (f->fnuz) {
		LLVMValueRef zero = LLVMBuildICmp(bd, LLVMIntEQ, code, num(b, 0), "");

		code = LLVMBuildOr(bd, code, select_(b, zero, num(b, 0), sign), "");
		return select_(b, nan, num(b, f->nan), code);
	}
	return LLVMBuildOr(bd, select_(b, nan, num(b, f->nan), code), sign, "");
}

static LLVMValueRef encode_bf16(struct bits *b, LLVMValueRef value)
{
	LLVMBuilderRef bd = b->e->builder;
	LLVMValueRef x = as_int(b, value), r, nan;

	r = LLVMBuildAdd(bd, x, num(b, 0x7fff), "");
	r = LLVMBuildAdd(bd, r, and_(b, LLVMBuildLShr(bd, x, num(b, 16), ""), 1), "");
	nan = LLVMBuildFCmp(bd, LLVMRealUNO, value, value, "");
	r = select_(b, nan, LLVMBuildOr(bd, x, num(b, 0x400000), ""), r);
	return LLVMBuildLShr(bd, r, num(b, 16), "");
}

static bool has_half(const struct emitter *e) { return e->target->isa != ISA_X86_V2; }

LLVMValueRef emit_decode(struct emitter *e, enum dtype storage, int lanes, LLVMValueRef x)
{
	struct bits b = {e, lanes};
	struct format f;

	if (storage == DT_BOOL)
		return LLVMBuildICmp(e->builder, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
	if (dtype_compute(storage) == storage)
		return x;
	if (storage == DT_F16 && has_half(e)) {
		x = LLVMBuildBitCast(e->builder, x, vector_of(e->f16, lanes), "");
		return LLVMBuildFPExt(e->builder, x, vector_of(e->f32, lanes), "");
	}
	x = LLVMBuildZExt(e->builder, x, vector_of(e->i32, lanes), "");
	if (storage == DT_BF16)
		return as_float(&b, LLVMBuildShl(e->builder, x, num(&b, 16), ""));
	f = format_of(storage);
	return decode_small(&b, &f, x);
}

LLVMValueRef emit_encode(struct emitter *e, enum dtype storage, int lanes, LLVMValueRef x)
{
	struct bits b = {e, lanes};
	struct format f;

	if (storage == DT_BOOL)
		return LLVMBuildZExt(e->builder, x, vector_of(e->i8, lanes), "");
	if (dtype_compute(storage) == storage)
		return x;
	if (storage == DT_F16 && has_half(e)) {
		x = LLVMBuildFPTrunc(e->builder, x, vector_of(e->f16, lanes), "");
		return LLVMBuildBitCast(e->builder, x, vector_of(e->i16, lanes), "");
	}
	if (storage == DT_BF16) {
		x = encode_bf16(&b, x);
	} else {
		f = format_of(storage);
		x = encode_small(&b, &f, x);
	}
	return LLVMBuildTrunc(e->builder, x, memory_type(e, storage, lanes), "");
}
