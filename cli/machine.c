/* machine.c: measured peaks of one core. Intrinsics in functions with their own target, chosen at run time, so that one
 * binary measures all levels the processor has. */
#include "cli/machine.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

const char *const unit_names[UNIT_COUNT] = {"f32 128 bits", "f32 AVX2", "f32 AVX-512", "int8 VNNI",
					    "bf16 dot",     "int8 AMX", "bf16 AMX"};
const char *const level_names[LEVEL_COUNT] = {"L1", "L2", "L3", "DRAM"};

/* Short measurements and many of them: where other processes take turns with this one, some are undisturbed. */
enum {
	REPEATS = 60,
	STEPS = 100000,
	PACE_STEPS = 4 * STEPS,
	PART = 4 << 20,
	DRAM_MOST = 256 << 20
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- arithmetic: twelve independent chains in named variables (an array would live in memory); the asm keeps the
 * compiler from merging or dropping steps ---- */

#define EACH_CHAIN(DO)                                                                        \
	DO(c0) DO(c1) DO(c2) DO(c3) DO(c4) DO(c5) DO(c6) DO(c7) DO(c8) DO(c9) DO(c10) DO(c11)
#define CHAINS(name, features, vector, operand, start, operand_start, step)     \
	__attribute__((target(features))) static void name(long steps)          \
	{                                                                       \
		const operand a = operand_start;                                \
		vector c0 = start, c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0; \
		vector c6 = c0, c7 = c0, c8 = c0, c9 = c0, c10 = c0, c11 = c0;  \
                                                                                \
		for (long i = 0; i < steps; i++) {                              \
			EACH_CHAIN(step)                                        \
		}                                                               \
	}
#define KEEP(c) __asm__ volatile("" : REGISTER(c));

#if defined(__x86_64__)
#define REGISTER(c) "+v"(c)
#define STEP_SSE(c)           \
	c = _mm_mul_ps(c, a); \
	KEEP(c)               \
	c = _mm_add_ps(c, a); \
	KEEP(c)
#define STEP_AVX2(c)                  \
	c = _mm256_fmadd_ps(c, a, a); \
	KEEP(c)
#define STEP_AVX512(c)                \
	c = _mm512_fmadd_ps(c, a, a); \
	KEEP(c)
#define STEP_VNNI(c)                      \
	c = _mm512_dpbusd_epi32(c, a, a); \
	KEEP(c)
#define STEP_BF16(c)                   \
	c = _mm512_dpbf16_ps(c, a, a); \
	KEEP(c)
CHAINS(chains_128, "sse4.2", __m128, __m128, a, _mm_set1_ps(0.5f), STEP_SSE)
CHAINS(chains_256, "avx2,fma", __m256, __m256, a, _mm256_set1_ps(0.5f), STEP_AVX2)
CHAINS(chains_512, "avx512f", __m512, __m512, a, _mm512_set1_ps(0.5f), STEP_AVX512)
CHAINS(chains_vnni, "avx512f,avx512vnni", __m512i, __m512i, a, _mm512_set1_epi8(1), STEP_VNNI)
CHAINS(chains_bf16, "avx512f,avx512bw,avx512bf16", __m512, __m512bh, _mm512_setzero_ps(),
       (__m512bh)_mm512_set1_epi16(0x3f00), STEP_BF16)

/* Tiles 0 to 3 accumulate the product of tiles 4 and 5, all of 16 rows of 64 bytes, all zero. */
#define TILES(name, features, step)                                    \
	__attribute__((target(features))) static void name(long steps) \
	{                                                              \
		struct {                                               \
			uint8_t palette, start, reserved[14];          \
			uint16_t row_bytes[16];                        \
			uint8_t rows[16];                              \
		} config = {.palette = 1};                             \
                                                                       \
		for (int i = 0; i < 6; i++) {                          \
			config.row_bytes[i] = 64;                      \
			config.rows[i] = 16;                           \
		}                                                      \
		_tile_loadconfig(&config);                             \
		_tile_zero(0);                                         \
		_tile_zero(1);                                         \
		_tile_zero(2);                                         \
		_tile_zero(3);                                         \
		_tile_zero(4);                                         \
		_tile_zero(5);                                         \
		for (long i = 0; i < steps; i++) {                     \
			step(0, 4, 5);                                 \
			step(1, 4, 5);                                 \
			step(2, 4, 5);                                 \
			step(3, 4, 5);                                 \
		}                                                      \
		_tile_release();                                       \
	}
TILES(tiles_i8, "amx-tile,amx-int8", _tile_dpbusd)
TILES(tiles_bf16, "amx-tile,amx-bf16", _tile_dpbf16ps)

/* CPUID leaf 7: AMX-BF16 is bit 22 of edx, AMX-TILE 24, AMX-INT8 25. Linux asks for permission to use the tiles. */
static bool has_amx(int bit)
{
	enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> bit & 1 && d >> 24 & 1 &&
	       syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool has(enum unit u)
{
	switch (u) {
	case UNIT_F32_128: return true;
	case UNIT_F32_256: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	case UNIT_F32_512: return __builtin_cpu_supports("avx512f");
	case UNIT_VNNI: return __builtin_cpu_supports("avx512vnni");
	case UNIT_BF16: return __builtin_cpu_supports("avx512bf16");
	case UNIT_AMX_I8: return has_amx(25);
	case UNIT_AMX_BF16: return has_amx(22);
	default: return false;
	}
}

static const struct {
	void (*run)(long steps);
	double operations; /* in one step of all chains or tiles */
} units[UNIT_COUNT] = {
	[UNIT_F32_128] = {chains_128, 12 * 4 * 2},
	[UNIT_F32_256] = {chains_256, 12 * 8 * 2},
	[UNIT_F32_512] = {chains_512, 12 * 16 * 2},
	[UNIT_VNNI] = {chains_vnni, 12 * 64 * 2},
	[UNIT_BF16] = {chains_bf16, 12 * 32 * 2},
	[UNIT_AMX_I8] = {tiles_i8, 4 * 16 * 16 * 64 * 2},
	[UNIT_AMX_BF16] = {tiles_bf16, 4 * 16 * 16 * 32 * 2},
};
#elif defined(__aarch64__)
#define REGISTER(c) "+w"(c)
#define STEP_NEON(c)            \
	c = vfmaq_f32(a, c, a); \
	KEEP(c)
CHAINS(chains_128, "+simd", float32x4_t, float32x4_t, a, vdupq_n_f32(0.5f), STEP_NEON)

static bool has(enum unit u) { return u == UNIT_F32_128; }

static const struct {
	void (*run)(long steps);
	double operations;
} units[UNIT_COUNT] = {[UNIT_F32_128] = {chains_128, 12 * 4 * 2}};
#else
#error "machine.c knows x86-64 and aarch64"
#endif

static double compute(enum unit u, long steps)
{
	double start = seconds();

	units[u].run(steps);
	return units[u].operations * (double)steps / (seconds() - start) * 1e-9;
}

double machine_compute(enum unit u)
{
	double best = 0;

	for (int i = 0; has(u) && i < REPEATS; i++) {
		double rate = compute(u, STEPS);

		best = rate > best ? rate : best;
	}
	return best;
}

double machine_pace(enum unit u) { return has(u) ? compute(u, PACE_STEPS) : 0; }

/* ---- memory: blocks of 512 bytes, unrolled: a loop around each load would be what is measured ---- */

#define UNROLLED _Pragma("GCC unroll 32")

/* A function that loads each vector v of n bytes from p, and does something `more` with it. */
#define WALK(declaration, features, vector, load, more)                               \
	__attribute__((target(features))) static void declaration                     \
	{                                                                             \
		for (size_t i = 0; i < n; i += 512)                                   \
			UNROLLED for (size_t j = i; j < i + 512; j += sizeof(vector)) \
			{                                                             \
				vector v = load((const void *)(p + j));               \
                                                                                      \
				__asm__ volatile("" : : INPUT(v));                    \
				more                                                  \
			}                                                             \
	}
#define READER(name, features, vector, load)                          \
	WALK(name(const char *p, size_t n), features, vector, load, )
#define COPIER(name, features, vector, load, store)                           \
	WALK(name(char *to, const char *p, size_t n), features, vector, load, \
	     store((void *)(to + j), v);)

#if defined(__x86_64__)
#define INPUT(v) "v"(v)
READER(read_128, "sse4.2", __m128i, _mm_load_si128)
READER(read_256, "avx2", __m256i, _mm256_load_si256)
READER(read_512, "avx512f", __m512i, _mm512_load_si512)
COPIER(copy_128, "sse4.2", __m128i, _mm_load_si128, _mm_store_si128)
COPIER(copy_256, "avx2", __m256i, _mm256_load_si256, _mm256_store_si256)
COPIER(copy_512, "avx512f", __m512i, _mm512_load_si512, _mm512_store_si512)

static void read_bytes(const char *p, size_t n)
{
	(has(UNIT_F32_512) ? read_512 : has(UNIT_F32_256) ? read_256 : read_128)(p, n);
}

static void copy_bytes(char *to, const char *p, size_t n)
{
	(has(UNIT_F32_512) ? copy_512 : has(UNIT_F32_256) ? copy_256 : copy_128)(to, p, n);
}
#else
#define INPUT(v) "w"(v)
#define LOAD(p) vld1q_u8(p)
#define STORE(p, v) vst1q_u8(p, v)
READER(read_bytes, "+simd", uint8x16_t, LOAD)
COPIER(copy_bytes, "+simd", uint8x16_t, LOAD, STORE)
#endif

static int ascending(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

/* GB/s of reading n bytes, or of copying the first half of them to the second, part after part: the upper quartile of the parts, for
 * some are interrupted and some lie in a smaller level. */
static double rate(char *p, size_t n, bool copy)
{
	size_t space = copy ? n / 2 : n, part = space < PART ? space : PART, at = 0;
	int times = (int)(PART / part);
	double rates[REPEATS];

	for (int k = 0; k < REPEATS; k++) {
		double start = seconds();

		for (int i = 0; i < times; i++) {
			if (copy)
				copy_bytes(p + space + at, p + at, part);
			else
				read_bytes(p + at, part);
		}
		rates[k] = (copy ? 2 : 1) * (double)part * times / (seconds() - start) * 1e-9;
		at = at + 2 * part > space ? 0 : at + part;
	}
	qsort(rates, REPEATS, sizeof(*rates), ascending);
	return rates[REPEATS * 3 / 4];
}

void machine_bandwidths(const int64_t sizes[3], struct bandwidth out[LEVEL_COUNT])
{
	int64_t before = 0, most = 0, sizes_all[LEVEL_COUNT];
	char *p;

	for (int i = 0; i < LEVEL_COUNT; i++) {
		int64_t n = i == LEVEL_DRAM ? most * 4 : sizes[i] / 2;

		if (i == LEVEL_L3 && n > 8 * sizes[LEVEL_L2])
			n = 8 * sizes[LEVEL_L2]; /* a shared L3 may not be all ours */
		if (i == LEVEL_DRAM && n > DRAM_MOST)
			n = DRAM_MOST;

		most = i < LEVEL_DRAM && sizes[i] > most ? sizes[i] : most;
		sizes_all[i] = n > before ? n & ~(int64_t)4095 : 0;
		before = n > before ? n : before;
	}
	memset(out, 0, LEVEL_COUNT * sizeof(*out));
	p = aligned_alloc(4096, (size_t)sizes_all[LEVEL_DRAM]);
	if (!p)
		return;
	memset(p, 1, (size_t)sizes_all[LEVEL_DRAM]);
	for (int i = 0; i < LEVEL_COUNT; i++) {
		size_t n = (size_t)sizes_all[i];

		if (n)
			out[i] = (struct bandwidth){sizes_all[i], rate(p, n, false),
						    rate(p, n, true)};
	}
	free(p);
}
