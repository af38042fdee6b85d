/* machine.c: what one core of this machine can do: f32 FMA peaks and read bandwidth by level.
 * Compiled on the spot by bench/run (cc -O2 -march=native); prints JSON. x86-64 only. */
#define _POSIX_C_SOURCE 200809L
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 7 };

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Twelve independent chains of FMA on vectors of `lanes`: named variables, for gcc keeps an array in
 * memory; the asm keeps the compiler from merging or dropping steps. */
#define STEP(fma, v)                            \
	do {                                    \
		v = fma(v, a, b);               \
		__asm__ volatile("" : "+v"(v)); \
	} while (0)
#define FMA_PEAK(name, vector, lanes, set1, fma, features)                                     \
	__attribute__((target(features))) static double name(void)                             \
	{                                                                                      \
		const vector a = set1(0.999f), b = set1(0.001f);                               \
		vector c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, \
		       c9 = a;                                                                 \
		vector c10 = a, c11 = a;                                                       \
		const long repeats = 20000000;                                                 \
		const double start = seconds();                                                \
                                                                                               \
		for (long r = 0; r < repeats; r++) {                                           \
			STEP(fma, c0);                                                         \
			STEP(fma, c1);                                                         \
			STEP(fma, c2);                                                         \
			STEP(fma, c3);                                                         \
			STEP(fma, c4);                                                         \
			STEP(fma, c5);                                                         \
			STEP(fma, c6);                                                         \
			STEP(fma, c7);                                                         \
			STEP(fma, c8);                                                         \
			STEP(fma, c9);                                                         \
			STEP(fma, c10);                                                        \
			STEP(fma, c11);                                                        \
		}                                                                              \
		return 2.0 * lanes * 12 * (double)repeats / (seconds() - start) * 1e-9;        \
	}

FMA_PEAK(fma_avx2, __m256, 8, _mm256_set1_ps, _mm256_fmadd_ps, "avx2,fma")
FMA_PEAK(fma_avx512, __m512, 16, _mm512_set1_ps, _mm512_fmadd_ps, "avx512f")

/* GB/s of reading `bytes` (a multiple of 512) again and again, about 4 GB in all. */
__attribute__((target("avx2"))) static double read_bandwidth(const char *p, size_t bytes)
{
	const long repeats = (long)(((size_t)4 << 30) / bytes) + 1;
	const double start = seconds();

	for (long r = 0; r < repeats; r++)
		for (size_t i = 0; i < bytes; i += 256)
			for (size_t j = i; j < i + 256; j += 32) {
				__m256i v = _mm256_load_si256((const void *)(p + j));

				__asm__ volatile("" : : "v"(v));
			}
	return (double)bytes * (double)repeats / (seconds() - start) * 1e-9;
}

static long cache(int name, long fallback)
{
	const long size = sysconf(name);

	return size > 0 ? size : fallback;
}

int main(void)
{
	const long l1 = cache(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
		   l2 = cache(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
	const long l3 = cache(_SC_LEVEL3_CACHE_SIZE, 16 << 20);
	const size_t sizes[4] = {(size_t)l1 / 2, (size_t)l2 / 2, (size_t)l3 / 4, (size_t)l3 * 8};
	double avx2 = 0, avx512 = 0, read[4] = {0};
	char *p = aligned_alloc(4096, sizes[3] & ~(size_t)4095);

	if (!p)
		return 1;
	memset(p, 1, sizes[3] & ~(size_t)4095);
	for (int i = 0; i < ROUNDS; i++) {
		double v;

		if (__builtin_cpu_supports("avx2") && (v = fma_avx2()) > avx2)
			avx2 = v;
		if (__builtin_cpu_supports("avx512f") && (v = fma_avx512()) > avx512)
			avx512 = v;
		for (int k = 0; k < 4; k++)
			if ((v = read_bandwidth(p, sizes[k] & ~(size_t)4095)) > read[k])
				read[k] = v;
	}
	printf("{\"f32_avx2_gflops\": %.1f, \"f32_avx512_gflops\": %.1f, \"l1_gbs\": %.1f, "
	       "\"l2_gbs\": %.1f, "
	       "\"l3_gbs\": %.1f, \"dram_gbs\": %.1f}\n",
	       avx2, avx512, read[0], read[1], read[2], read[3]);
	free(p);
	return 0;
}
