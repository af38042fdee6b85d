/* test_plans.c: every plan that a driver offers for some kernels, as machine code against the interpreter, on all
 * levels this machine has. */
#include "tests/unit/kernel_fixture.h"

#include "ir/text.h"
#include "tests/support/amx_emulator.h"

/* The last two have multiply-adds of their own: they are for the shapes that use them. */
static const char *const levels[] = {
	"x86-64-v2",         "x86-64-v3", "x86-64-v4", "neon", "x86-64-v4+vnni+bf16,tune=znver4",
	"x86-64-v4+vnni+amx"};
enum { LEVELS = 4, NARROW_LEVELS = sizeof(levels) / sizeof(*levels) };

/* ---- shapes ---- */

/* Functions of one node, without their last line. */
static const char *const shapes[] = {
	/* elementwise */
	"func @f(%a: f32[7,37], %b: f32[37]) -> (%y: f32[7,37]) {\n"
	"%y: f32[7,37] = map(%a, %b) (a: f32, b: f32) -> max(a + b * 2.0, 0.0)\n",
	/* reductions */
	"func @f(%x: f32[11,101]) -> (%y: f32[11]) {\n"
	"%y: f32[11] = reduce(%x) {kind=sum, axes=[1]}\n",
	"func @f(%x: f32[11,101]) -> (%y: f32[101]) {\n"
	"%y: f32[101] = reduce(%x) {kind=max, axes=[0]}\n",
	"func @f(%x: f32[5,33]) -> (%y: i64[33]) {\n"
	"%y: i64[33] = argreduce(%x) {kind=argmax}\n",
	"func @f(%x: f32[5,33,3]) -> (%y: f32[5,33,3]) {\n"
	"%y: f32[5,33,3] = cumulate(%x) {axis=1}\n",
	/* rows */
	"func @f(%x: f32[5,50,7]) -> (%y: f32[5,50,7]) {\n"
	"%y: f32[5,50,7] = softmax(%x) {axis=1}\n",
	"func @f(%x: f32[5,133]) -> (%y: f32[5,133]) {\n"
	"%y: f32[5,133] = softmax(%x) {axis=1, log}\n",
	"func @f(%x: f32[3,5,133]) -> (%y: f32[3,5,133]) {\n"
	"%y: f32[3,5,133] = softmax(%x) {axis=2}\n",
	"func @f(%x: f32[5,257]) -> (%y: f32[5,257]) {\n"
	"%y: f32[5,257] = normalize(%x) {axes=[1]}\n",
	/* products and windows; constants may be stored in another order */
	"func @f(%a: f32[13,29], %b: f32[29,71]) -> (%y: f32[13,71]) {\n"
	"%y: f32[13,71] = matmul(%a, %b)\n",
	"func @f(%x: f32[13,29]) -> (%y: f32[13,71]) {\n"
	"%w: f32[29,71] = const random(3)\n"
	"%y: f32[13,71] = matmul(%x, %w)\n",
	"func @f(%x: f32[3,9,14]) -> (%y: f32[3,9,19]) {\n"
	"%w: f32[3,14,19] = const random(3)\n"
	"%y: f32[3,9,19] = matmul(%x, %w)\n",
	"func @f(%a: f32[2,9,9,8], %b: f32[3,3,8,24]) -> (%y: f32[2,4,4,24]) {\n"
	"%y: f32[2,4,4,24] = conv(%a, %b) {stride=[2,2], dilation=[1,1]}\n",
	"func @f(%x: f32[2,5,5,8]) -> (%y: f32[2,3,3,24]) {\n"
	"%w: f32[3,3,8,24] = const random(3)\n"
	"%y: f32[2,3,3,24] = conv(%x, %w) {stride=[1,1], dilation=[1,1]}\n",
	"func @f(%x: f32[1,9,9,16]) -> (%y: f32[1,4,4,40]) {\n"
	"%w: f32[3,3,8,40] = const random(3)\n"
	"%y: f32[1,4,4,40] = conv(%x, %w) {stride=[2,2], dilation=[1,1], group=2}\n",
	"func @f(%a: f32[2,9,19,37], %b: f32[3,3,1,37]) -> (%y: f32[2,4,9,37]) {\n"
	"%y: f32[2,4,9,37] = conv(%a, %b) {stride=[2,2], dilation=[1,1], group=37}\n",
	"func @f(%x: f32[1,9,9,20]) -> (%y: f32[1,4,4,20]) {\n"
	"%y: f32[1,4,4,20] = pool(%x) {kind=max, size=[2,2], stride=[2,2], dilation=[1,1]}\n",
	/* Winograd: the last row and column of tiles stick out */
	"func @f(%x: f32[2,6,14,37]) -> (%y: f32[36,6,37]) {\n"
	"%y: f32[36,6,37] = winograd_input(%x) {tile=4}\n",
	"func @f(%x: f32[36,12,37]) -> (%y: f32[2,7,10,37]) {\n"
	"%y: f32[2,7,10,37] = winograd_output(%x) {tile=4, h=7, w=10}\n",
	"func @f(%x: f32[16,12,19]) -> (%y: f32[2,3,6,19]) {\n"
	"%y: f32[2,3,6,19] = winograd_output(%x) {tile=2, h=3, w=6}\n",
	/* movement */
	"func @f(%x: f32[3,9,21]) -> (%y: f32[9,21,3]) {\n"
	"%y: f32[9,21,3] = transpose(%x) {perm=[1,2,0]}\n",
	"func @f(%x: f32[35,53]) -> (%y: f32[53,35]) {\n"
	"%y: f32[53,35] = transpose(%x) {perm=[1,0]}\n",
	"func @f(%x: f16[35,2,20]) -> (%y: f16[20,2,35]) {\n"
	"%y: f16[20,2,35] = transpose(%x) {perm=[2,1,0]}\n",
	"func @f(%x: f32[2,3,77]) -> (%y: f32[2,77,3]) {\n"
	"%y: f32[2,77,3] = transpose(%x) {perm=[0,2,1]}\n",
	"func @f(%x: f16[2,4,33]) -> (%y: f16[2,33,4]) {\n"
	"%y: f16[2,33,4] = transpose(%x) {perm=[0,2,1]}\n",
	"func @f(%x: f32[2,5,7,3]) -> (%y: f32[2,7,9,3]) {\n"
	"%y: f32[2,7,9,3] = pad(%x) {lo=[0,1,1,0], hi=[0,1,1,0], value=0.5}\n",
	"func @f(%a: f32[3,17], %b: f32[3,1], %c: f32[3,40]) -> (%y: f32[3,58]) {\n"
	"%y: f32[3,58] = concat(%a, %b, %c) {axis=1}\n",
	"func @f(%x: f32[6,5,40]) -> (%y: f32[4,15,20]) {\n"
	"%y: f32[4,15,20] = reshape(%x)\n",
	"func @f(%a: i64[4,3], %b: f32[3,33]) -> (%y: f32[4,3,33]) {\n"
	"%y: f32[4,3,33] = gather(%b, %a)\n",
	/* attention: heads that share keys and a mask, causal, a window of keys, one query */
	"func @f(%a: f32[2,9,4,20], %b: f32[2,37,2,20], %c: f32[2,37,2,24], %d: f32[2,1,1,37]) -> "
	"(%y: f32[2,9,4,24]) {\n"
	"%y: f32[2,9,4,24] = attention(%a, %b, %c, %d) (s: f32, a: f32) -> s * 0.25 + a\n",
	"func @f(%a: f32[1,33,2,16], %b: f32[1,33,2,16], %c: f32[1,33,2,16]) -> (%y: "
	"f32[1,33,2,16]) {\n"
	"%y: f32[1,33,2,16] = attention(%a, %b, %c) (s: f32, i: i64, j: i64) -> j <= i ? s * 0.25 "
	": -inf\n",
	"func @f(%a: f32[1,5,2,8], %b: f32[1,70,1,8], %c: f32[1,70,1,8]) -> (%y: f32[1,5,2,8]) {\n"
	"%y: f32[1,5,2,8] = attention(%a, %b, %c) (s: f32, i: i64, j: i64) -> j <= i + 50 & i + 37 "
	"< j ? s * 0.25 : -inf\n",
	"func @f(%a: f32[1,1,3,33], %b: f32[1,67,3,33], %c: f32[1,67,3,5], %d: f32[3,1,67]) -> "
	"(%y: f32[1,1,3,5]) {\n"
	"%y: f32[1,1,3,5] = attention(%a, %b, %c, %d) (s: f32, a: f32) -> s * 0.25 + a\n",
};

/* Sums of products of bf16 and of bytes. In those of bf16 is a NaN behind the end of a row of odd length. */
static const char *const narrow_shapes[] = {
	"func @f(%x: bf16[13,29], %w: bf16[29,71]) -> (%y: bf16[13,71]) {\n"
	"%y: bf16[13,71] = matmul(%x, %w)\n",
	"func @f(%x: bf16[13,29]) -> (%y: bf16[13,71]) {\n"
	"%w: bf16[29,71] = const random(3)\n"
	"%y: bf16[13,71] = matmul(%x, %w)\n",
	"func @f(%x: bf16[2,5,7,5]) -> (%y: bf16[2,3,5,24]) {\n"
	"%w: bf16[3,3,5,24] = const random(3)\n"
	"%y: bf16[2,3,5,24] = conv(%x, %w)\n",
	"func @f(%x: u8[13,32]) -> (%y: i32[13,40]) {\n"
	"%w: i8[32,40] = const random(3)\n"
	"%y: i32[13,40] = group {\n"
	"%a: i32[13,32] = map(%x) (a: u8) -> i32(a)\n"
	"%b: i32[32,40] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[13,40] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: i8[13,31]) -> (%y: f32[13,40]) {\n"
	"%w: i8[31,40] = const random(3)\n"
	"%y: f32[13,40] = group {\n"
	"%a: i32[13,31] = map(%x) (a: i8) -> i32(a)\n"
	"%b: i32[31,40] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[13,40] = matmul(%a, %b)\n"
	"%e: f32[13,40] = map(%m) (a: i32) -> f32(a) * 0.5\n"
	"yield %e }\n",
	"func @f(%x: u8[13,30], %z: u8[]) -> (%y: i32[13,40]) {\n"
	"%w: u8[30,40] = const random(3)\n"
	"%v: u8[40] = const random(4)\n"
	"%y: i32[13,40] = group {\n"
	"%a: i32[13,30] = map(%x, %z) (a: u8, b: u8) -> i32(a) - i32(b)\n"
	"%b: i32[30,40] = map(%w, %v) (a: u8, b: u8) -> i32(a) - i32(b)\n"
	"%m: i32[13,40] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: i8[13,29], %z: i8[13,1], %w: u8[29,37], %v: u8[37]) -> (%y: i32[13,37]) {\n"
	"%y: i32[13,37] = group {\n"
	"%a: i32[13,29] = map(%x, %z) (a: i8, b: i8) -> i32(a) - i32(b)\n"
	"%b: i32[29,37] = map(%w, %v) (a: u8, b: u8) -> i32(a) - i32(b)\n"
	"%m: i32[13,37] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: u8[13,28], %w: i8[28,37]) -> (%y: i32[13,37]) {\n"
	"%y: i32[13,37] = group {\n"
	"%a: i32[13,28] = map(%x) (a: u8) -> i32(a)\n"
	"%b: i32[28,37] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[13,37] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: u8[3,9,14], %w: i8[3,14,19]) -> (%y: i32[3,9,19]) {\n"
	"%y: i32[3,9,19] = group {\n"
	"%a: i32[3,9,14] = map(%x) (a: u8) -> 7 + i32(a)\n"
	"%b: i32[3,14,19] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[3,9,19] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: u8[2,5,7,5]) -> (%y: u8[2,3,5,24]) {\n"
	"%w: i8[3,3,5,24] = const random(3)\n"
	"%y: u8[2,3,5,24] = group {\n"
	"%a: i32[2,5,7,5] = map(%x) (a: u8) -> i32(a) - 128\n"
	"%b: i32[3,3,5,24] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[2,3,5,24] = conv(%a, %b)\n"
	"%e: u8[2,3,5,24] = map(%m) (a: i32) -> u8(rne(f32(a) * 0.05) + 120.0)\n"
	"yield %e }\n",
};

/* Weights that have blocks of zeros, see zero_blocks. */
static const char *const sparse_shapes[] = {
	"func @f(%x: f32[13,29]) -> (%y: f32[13,71]) {\n"
	"%w: f32[29,71] = const random(3)\n"
	"%y: f32[13,71] = matmul(%x, %w)\n",
	"func @f(%x: f32[1,40], %b: f32[100]) -> (%y: f32[1,100]) {\n"
	"%w: f32[40,100] = const random(3)\n"
	"%y: f32[1,100] = group {\n"
	"%m: f32[1,100] = matmul(%x, %w)\n"
	"%e: f32[1,100] = map(%m, %b) (m: f32, b: f32) -> max(m + b, 0)\n"
	"yield %e }\n",
	"func @f(%x: f32[3,9,14]) -> (%y: f32[3,9,19]) {\n"
	"%w: f32[3,14,19] = const random(3)\n"
	"%y: f32[3,9,19] = matmul(%x, %w)\n",
	"func @f(%x: f32[33,24], %r: f32[33,48]) -> (%y: f32[33,48]) {\n"
	"%w: f32[48,24] = const random(3)\n"
	"%y: f32[33,48] = group {\n"
	"%t: f32[24,48] = transpose(%w) {perm=[1,0]}\n"
	"%m: f32[33,48] = matmul(%x, %t)\n"
	"%e: f32[33,48] = map(%m, %r) (m: f32, r: f32) -> 0.5 * m * (1 + erf(m)) + r\n"
	"yield %e }\n",
	"func @f(%x: f32[2,5,7,8]) -> (%y: f32[2,3,5,24]) {\n"
	"%w: f32[3,3,8,24] = const random(3)\n"
	"%y: f32[2,3,5,24] = conv(%x, %w)\n",
	"func @f(%x: f32[2,5,7,24]) -> (%y: f32[2,5,7,40]) {\n"
	"%w: f32[1,1,24,40] = const random(3)\n"
	"%y: f32[2,5,7,40] = conv(%x, %w)\n",
	"func @f(%x: f32[1,9,9,8]) -> (%y: f32[1,4,4,48]) {\n"
	"%w: f32[3,3,4,48] = const random(3)\n"
	"%y: f32[1,4,4,48] = conv(%x, %w) {stride=[2,2], group=2}\n",
};
/* Weights of few bits: a scale for each column, or for each block of k; with zeros, by rows of one and of many. */
static const char *const weight_shapes[] = {
	"func @f(%x: f32[1,61]) -> (%y: f32[1,40]) {\n"
	"%q: i8[61,40] = const random(3)\n"
	"%s: f32[40] = const random(4)\n"
	"%y: f32[1,40] = group {\n"
	"%w: f32[61,40] = map(%q, %s) (a: i8, b: f32) -> f32(a) * b\n"
	"%m: f32[1,40] = matmul(%x, %w)\n"
	"yield %m }\n",
	"func @f(%x: f32[13,61]) -> (%y: f32[13,37]) {\n"
	"%q: u8[61,37] = const random(3)\n"
	"%z: u8[37] = const random(5)\n"
	"%s: f32[37] = const random(4)\n"
	"%y: f32[13,37] = group {\n"
	"%w: f32[61,37] = map(%q, %z, %s) (a: u8, z: u8, b: f32) -> f32(i32(a) - i32(z)) * b\n"
	"%m: f32[13,37] = matmul(%x, %w)\n"
	"%e: f32[13,37] = map(%m) (a: f32) -> max(a + 0.5, 0.0)\n"
	"yield %e }\n",
	"func @f(%x: f32[1,96]) -> (%y: f32[1,40]) {\n"
	"%q: i4[3,32,40] = const random(3)\n"
	"%s: bf16[3,1,40] = const random(4)\n"
	"%y: f32[1,40] = group {\n"
	"%d: f32[3,32,40] = map(%q, %s) (a: i32, b: f32) -> f32(a) * b\n"
	"%w: f32[96,40] = reshape(%d)\n"
	"%m: f32[1,40] = matmul(%x, %w)\n"
	"yield %m }\n",
	"func @f(%x: f32[13,96]) -> (%y: f32[13,37]) {\n"
	"%q: u4[6,16,37] = const random(3)\n"
	"%z: u4[6,1,37] = const random(5)\n"
	"%s: f16[6,1,37] = const random(4)\n"
	"%y: f32[13,37] = group {\n"
	"%d: f32[6,16,37] = map(%q, %z, %s) (a: u32, z: u32, b: f32) -> f32(i32(a) - i32(z)) * b\n"
	"%w: f32[96,37] = reshape(%d)\n"
	"%m: f32[13,37] = matmul(%x, %w)\n"
	"yield %m }\n",
	"func @f(%x: f32[2,5,6,16]) -> (%y: f32[2,3,4,24]) {\n"
	"%q: i4[3,3,2,8,24] = const random(3)\n"
	"%s: f32[3,3,2,1,24] = const random(4)\n"
	"%y: f32[2,3,4,24] = group {\n"
	"%d: f32[3,3,2,8,24] = map(%q, %s) (a: i32, b: f32) -> f32(a) * b\n"
	"%w: f32[3,3,16,24] = reshape(%d)\n"
	"%m: f32[2,3,4,24] = conv(%x, %w)\n"
	"yield %m }\n",
	"func @f(%x: f32[2,5,6,5]) -> (%y: f32[2,3,4,24]) {\n"
	"%q: i8[3,3,5,24] = const random(3)\n"
	"%s: f32[24] = const random(4)\n"
	"%y: f32[2,3,4,24] = group {\n"
	"%d: f32[3,3,5,24] = map(%q, %s) (a: i8, b: f32) -> f32(a) * b\n"
	"%m: f32[2,3,4,24] = conv(%x, %d)\n"
	"yield %m }\n",
	"func @f(%x: bf16[3,4,64]) -> (%y: f32[3,4,19]) {\n"
	"%q: i4[3,2,32,19] = const random(3)\n"
	"%s: bf16[3,2,1,19] = const random(4)\n"
	"%y: f32[3,4,19] = group {\n"
	"%a: f32[3,4,64] = map(%x) (a: f32) -> a\n"
	"%d: f32[3,2,32,19] = map(%q, %s) (a: i32, b: f32) -> f32(a) * b\n"
	"%w: f32[3,64,19] = reshape(%d)\n"
	"%m: f32[3,4,19] = matmul(%a, %w)\n"
	"yield %m }\n",
};

/* More than one tile of AMX each way, with and without rests. */
static const char *const tile_shapes[] = {
	"func @f(%x: u8[45,200]) -> (%y: i32[45,40]) {\n"
	"%w: i8[200,40] = const random(3)\n"
	"%y: i32[45,40] = group {\n"
	"%a: i32[45,200] = map(%x) (a: u8) -> i32(a)\n"
	"%b: i32[200,40] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[45,40] = matmul(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: i8[2,64,135]) -> (%y: f32[2,64,32]) {\n"
	"%w: u8[135,32] = const random(3)\n"
	"%y: f32[2,64,32] = group {\n"
	"%a: i32[2,64,135] = map(%x) (a: i8) -> i32(a) + 3\n"
	"%b: i32[135,32] = map(%w) (a: u8) -> i32(a) - 128\n"
	"%m: i32[2,64,32] = matmul(%a, %b)\n"
	"%e: f32[2,64,32] = map(%m) (a: i32) -> f32(a) * 0.5\n"
	"yield %e }\n",
	"func @f(%x: bf16[39,70]) -> (%y: bf16[39,35]) {\n"
	"%w: bf16[70,35] = const random(3)\n"
	"%y: bf16[39,35] = matmul(%x, %w)\n",
	"func @f(%x: u8[1,9,20,32]) -> (%y: i32[1,7,18,24]) {\n"
	"%w: i8[3,3,32,24] = const random(3)\n"
	"%y: i32[1,7,18,24] = group {\n"
	"%a: i32[1,9,20,32] = map(%x) (a: u8) -> i32(a)\n"
	"%b: i32[3,3,32,24] = map(%w) (a: i8) -> i32(a)\n"
	"%m: i32[1,7,18,24] = conv(%a, %b)\n"
	"yield %m }\n",
	"func @f(%x: bf16[1,7,9,20]) -> (%y: bf16[1,5,7,24]) {\n"
	"%w: bf16[3,3,20,24] = const random(3)\n"
	"%y: bf16[1,5,7,24] = conv(%x, %w)\n",
};
enum {
	SPARSE_SHAPES = sizeof(sparse_shapes) / sizeof(*sparse_shapes),
	WEIGHT_SHAPES = sizeof(weight_shapes) / sizeof(*weight_shapes),
	TILE_SHAPES = sizeof(tile_shapes) / sizeof(*tile_shapes),
	SHAPES = sizeof(shapes) / sizeof(*shapes),
	NARROW_SHAPES = sizeof(narrow_shapes) / sizeof(*narrow_shapes)
};

/* Sums need numbers of like size. */
static void tame(struct fixture *f)
{
	for (int i = 0; i < f->input_count; i++) {
		int64_t n = f->inputs[i].size / 4;

		for (int64_t k = 0; f->inputs[i].dtype == HONE_F32 && k < n; k++)
			((float *)f->inputs[i].data)[k] = (float)(next_random(f) % 2001) / 500 - 2;
		for (int64_t k = 0; f->inputs[i].dtype == HONE_I64 && k < n / 2; k++)
			((int64_t *)f->inputs[i].data)[k] = (int64_t)(next_random(f) % 3);
		for (int64_t k = 0; f->inputs[i].dtype == HONE_BF16 && k < n * 2; k++)
			((uint16_t *)f->inputs[i].data)[k] =
				(uint16_t)(0x3e80 + next_random(f) % 0x200 +
					   (next_random(f) % 2 << 15));
		if (f->inputs[i].dtype == HONE_BF16) /* behind the row before */
			((uint16_t *)f->inputs[i]
				 .data)[f->inputs[i].dims[f->inputs[i].rank - 1] * 3] = 0x7fc0;
	}
}

/* Makes about half of the blocks of 16 neighbours zero, along the last axis of a constant and along the one before: one
 * of them is that of the columns. */
static void zero_blocks(struct fixture *f)
{
	for (struct node *n = f->g->body->first; n; n = n->next) {
		const struct tensor *data = value_const(n->op == OP_const ? n->out[0] : NULL);
		const struct type *t = &n->out[0]->type;
		int64_t count = type_count_const(t), width = t->dims[t->rank - 1]->value;
		struct tensor *own = ARENA_NEW(&f->arena, struct tensor);
		float *at;

		if (!data)
			continue;
		at = memcpy(arena_alloc(&f->arena, (size_t)count * 4),
			    tensor_bytes(data, DT_F32, count, &f->arena), (size_t)count * 4);
		for (int64_t i = 0; i < count; i++)
			if ((i / width * 7 + i % width / 16 * 5) % 12 > 5 ||
			    (i % width * 7 + i / width / 16 * 5) % 12 > 5)
				at[i] = i % 2 ? -0.0F : 0;
		*own = (struct tensor){.kind = TENSOR_BYTES, .data = at, .size = count * 4};
		((struct attrs_const *)n->attrs)->data = own;
	}
}

static struct value *shape_of_text(struct fixture *f, const char *text)
{
	text = arena_printf(&f->arena, "%sreturn %%y\n}\n", text);
	f->g = graph_parse(text, strlen(text), "shape", &f->arena, &f->diag);
	assert_non_null(f->g);
	f->input_count = 0;
	for (int i = 0; i < f->g->body->param_count; i++) {
		const struct type *t = &f->g->body->params[i]->type;
		int64_t sizes[4];

		for (int k = 0; k < t->rank; k++)
			sizes[k] = t->dims[k]->value;
		add_data(f, t->dtype, t->rank, sizes);
	}
	return f->g->body->results[0];
}

/* Compiling takes long. Each shape has a share of the plans, the next one the next share, so that all tiles and
 * forms of loops are tried; HONE_ALL_PLANS tries each on each shape. The first plan is the chosen one. */
static bool is_tried(int plan, int shape)
{
	enum { SHARE = 4 };

	return !plan || (plan + shape) % SHARE == 0 || getenv("HONE_ALL_PLANS");
}

static void check_plans(struct fixture *f, const char *text, int shape, bool sparse)
{
	static struct plan plans[1000];
	struct value *y = shape_of_text(f, text);
	hone_tensor want;
	struct kernel *k;
	int n;

	tame(f);
	if (sparse)
		zero_blocks(f);
	want = interpreted(f, y);
	k = lower_node(f->g, y->def, &f->arena, &f->diag);
	assert_true(plan_choose(k, &f->target, &f->diag));
	plans[0] = k->plan;
	n = plan_enumerate(k, &f->target, &f->arena, plans + 1, 999);
	assert_in_range(n, 1, 998);
	for (int i = 0; i <= n; i++) {
		if (!is_tried(i, shape))
			continue;
		k->plan = plans[i];
		if (!kernel_matches(f, k, y, want.data, y->type.dtype == DT_BF16 ? 0x1p-7 : 3e-5,
				    1))
			fail_msg("%s plan %d on %s", kernel_text(&f->arena, k, false), i,
				 f->target.spec);
	}
	free(want.data);
}

static void every_plan_gives_what_the_interpreter_gives(void **state)
{
	struct fixture *f = *state;

	enum amx amx = amx_start();

	for (int l = 0; l < NARROW_LEVELS; l++) {
		if (!level_runs(f, levels[l]))
			continue;
		for (int s = 0; l < LEVELS && s < SHAPES; s++)
			check_plans(f, shapes[s], s, false);
		for (int s = 0; s < NARROW_SHAPES; s++)
			check_plans(f, narrow_shapes[s], s, false);
		for (int s = 0; s < WEIGHT_SHAPES && l < LEVELS; s++)
			check_plans(f, weight_shapes[s], s, false);
		for (int s = 0; s < SPARSE_SHAPES && l < LEVELS; s++)
			check_plans(f, sparse_shapes[s], s, true);
		for (int s = 0; f->target.amx && s < TILE_SHAPES; s++)
			check_plans(f, tile_shapes[s], s, false);
	}
	assert_true(amx != AMX_EMULATED || amx_emulated_count() > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_plan_gives_what_the_interpreter_gives, start,
						finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
