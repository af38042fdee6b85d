/* test_amx_emulator.c: AMX instructions, by the handler of tests/support/amx_emulator.h where the processor has
 * none, against loops. */
#define _GNU_SOURCE
#include "tests/support/amx_emulator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef __x86_64__
#include <immintrin.h>

#define AMX __attribute__((target("amx-tile,amx-int8,amx-bf16")))

struct config {
	uint8_t palette, start, reserved[14];
	uint16_t bytes[16];
	uint8_t rows[16];
};

/* Tiles 1, 3: M rows of N i32; 4: M rows of K bytes; 6: K / 4 rows of 4 N bytes. */
static struct config shapes(int m, int n, int k)
{
	struct config c = {.palette = 1};

	c.rows[1] = c.rows[3] = c.rows[4] = (uint8_t)m;
	c.bytes[1] = c.bytes[3] = c.bytes[6] = (uint16_t)(4 * n);
	c.bytes[4] = (uint16_t)k;
	c.rows[6] = (uint8_t)(k / 4);
	return c;
}

enum { M = 5, N = 7, K = 24, A_STRIDE = 80, B_STRIDE = 72 };
static uint8_t a[M * A_STRIDE], b[K / 4 * B_STRIDE];
static int32_t start_value[M][16], found[M][16];

static void fill(void)
{
	srand(7);
	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = (uint8_t)rand();
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)rand();
	for (int i = 0; i < M * 16; i++)
		start_value[i / 16][i % 16] = rand();
}

/* which: the signs of a (bit 0) and b (bit 1) */
AMX static void tiles_bytes(int which)
{
	struct config c = shapes(M, N, K);

	_tile_loadconfig(&c);
	_tile_loadd(1, start_value, 64);
	_tile_loadd(4, a, A_STRIDE);
	_tile_stream_loadd(6, b, B_STRIDE);
	switch (which) {
	case 0: _tile_dpbuud(1, 4, 6); break;
	case 1: _tile_dpbsud(1, 4, 6); break;
	case 2: _tile_dpbusd(1, 4, 6); break;
	default: _tile_dpbssd(1, 4, 6); break;
	}
	_tile_stored(1, found, 64);
	_tile_release();
}

static int value(uint8_t x, int is_signed) { return is_signed ? (int8_t)x : x; }

static void products_of_bytes_are_exact(void **unused)
{
	(void)unused;
	amx_start();
	fill();
	for (int which = 0; which < 4; which++) {
		memset(found, 0x55, sizeof(found));
		tiles_bytes(which);
		for (int m = 0; m < M; m++) {
			for (int n = 0; n < N; n++) {
				uint32_t sum = (uint32_t)start_value[m][n];

				for (int k = 0; k < K; k++)
					sum += (uint32_t)(value(a[m * A_STRIDE + k], which & 1) *
							  value(b[k / 4 * B_STRIDE + 4 * n + k % 4],
								which & 2));
				assert_int_equal(found[m][n], (int32_t)sum);
			}
			for (int n = N; n < 16; n++) /* past the tile's columns */
				assert_int_equal(found[m][n], 0x55555555);
		}
	}
}

AMX static void tiles_bf16(float out[M][16])
{
	struct config c = shapes(M, N, K), again;

	_tile_loadconfig(&c);
	_tile_storeconfig(&again);
	assert_memory_equal(&c, &again, sizeof(c));
	_tile_zero(3);
	_tile_loadd(4, a, A_STRIDE);
	_tile_loadd(6, b, B_STRIDE);
	_tile_dpbf16ps(3, 4, 6);
	_tile_stored(3, out, 64);
	_tile_release();
}

static float upper(const uint8_t *p)
{
	uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;
	float x;

	memcpy(&x, &bits, 4);
	return x;
}

/* Small whole numbers: sums are exact in any order. */
static void products_of_bf16_are_sums_of_both_halves(void **unused)
{
	float out[M][16] = {{0}};

	(void)unused;
	amx_start();
	for (size_t i = 0; i < sizeof(a) + sizeof(b); i += 2) {
		float x = (float)(rand() % 17 - 8);
		uint32_t bits;

		memcpy(&bits, &x, 4);
		memcpy(i < sizeof(a) ? a + i : b + (i - sizeof(a)), (char *)&bits + 2, 2);
	}
	tiles_bf16(out);
	for (int m = 0; m < M; m++)
		for (int n = 0; n < N; n++) {
			float sum = 0;

			for (int k = 0; k < K / 2; k++)
				sum += upper(&a[m * A_STRIDE + 2 * k]) *
				       upper(&b[k / 2 * B_STRIDE + 4 * n + k % 2 * 2]);
			assert_true(out[m][n] == sum);
		}
}

/* 2^-127 is no normal f32: it counts as 0. So does a sum of that size. */
static void small_numbers_count_as_zero(void **unused)
{
	static const uint16_t bits[] = {0x0040, 0x3f80, 0x0080, 0x3f00};
	float out[M][16] = {{0}};

	(void)unused;
	amx_start();
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	for (int n = 0; n < 2; n++) /* 2^-127 * 1, and 2^-126 * 0.5 */
		memcpy(&b[4 * n], &bits[1 + 2 * n], 2);
	memcpy(&a[0], &bits[0], 2);
	memcpy(&a[A_STRIDE], &bits[2], 2);
	tiles_bf16(out);
	assert_true(out[0][0] == 0 && out[0][1] == 0 && out[1][1] == 0);
	assert_true(out[1][0] == 0x1p-126f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_of_bytes_are_exact),
		cmocka_unit_test(products_of_bf16_are_sums_of_both_halves),
		cmocka_unit_test(small_numbers_count_as_zero),
	};
	enum amx amx = amx_start();

	if (amx == AMX_NONE)
		return 0; /* no AVX-512, so that no AMX level runs either */
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return amx == AMX_EMULATED && !amx_emulated_count();
}
#else
int main(void) { return 0; }
#endif
