/* The call routines: expected values are NumPy's and those of the ONNX operators' examples. */
#include "runtime/calls.h"
#include "runtime/element.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) ((int32_t)(sizeof(a) / sizeof(*(a))))

/* Calls a routine of the table with exactly the scratch that it asks for. */
static int32_t invoke(const char *name, struct hone_array *in, int32_t in_count,
		      struct hone_array *out, int32_t out_count, const int64_t *attrs,
		      int64_t *bound)
{
	const struct hone_call_row *r = hone_call_find(name);
	struct hone_call c = {in, out, attrs, NULL, bound, in_count, out_count};
	int64_t bytes;
	int32_t code;

	assert_non_null(r);
	bytes = r->scratch(&c);
	assert_true(bytes >= 0);
	c.scratch = malloc((size_t)bytes + 1);
	code = r->fn(&c);
	free(c.scratch);
	return code;
}

static void check_ints(const int64_t *got, const int64_t *wanted, int32_t count)
{
	for (int32_t i = 0; i < count; i++) {
		if (got[i] != wanted[i])
			fail_msg("[%d] is %lld, expected %lld", i, (long long)got[i],
				 (long long)wanted[i]);
	}
}

static void topk_takes_nan_first_and_ties_by_position(void **state)
{
	float x[] = {1, NAN, 3, 3, -0.0f, 0, -INFINITY, 2}, y[4];
	int64_t at[4], bound;
	struct hone_array in = {x, HONE_F32, 1, {8}};
	struct hone_array out[] = {{y, HONE_F32, 1, {4}}, {at, HONE_I64, 1, {4}}};

	(void)state;
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){0, 1, 1, 4}, &bound), 0);
	check_ints(at, (int64_t[]){1, 2, 3, 7}, 4);
	assert_true(isnan(y[0]) && y[1] == 3 && y[3] == 2);
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){-1, 0, 1, -1}, &bound), 0);
	check_ints(at, (int64_t[]){6, 4, 5, 0}, 4);
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){0, 1, 1, 9}, &bound),
			 HONE_FAIL_CALL);
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){0, 1, 1, 5}, &bound),
			 HONE_FAIL_CALL);
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){3, 1, 1, 4}, &bound),
			 HONE_FAIL_CALL);
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){-3, 1, 1, 4}, &bound),
			 HONE_FAIL_CALL);
}

static void topk_works_along_an_inner_axis(void **state)
{
	int32_t x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, y[6];
	int64_t at[6], bound;
	struct hone_array in = {x, HONE_I32, 3, {2, 3, 2}};
	struct hone_array out[] = {{y, HONE_I32, 3, {2, 1, 2}}, {at, HONE_I64, 3, {2, 1, 2}}};

	(void)state;
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){1, 1, 1, 1}, &bound), 0);
	check_ints(at, (int64_t[]){2, 2, 2, 2}, 4);
	assert_int_equal(y[0], 4);
	assert_int_equal(y[3], 11);
	out[0].dims[1] = out[1].dims[1] = 0;
	assert_int_equal(invoke("topk", &in, 1, out, 2, (int64_t[]){1, 1, 1, 0}, &bound), 0);
}

static void topk_agrees_with_sort(void **state)
{
	enum { N = 300 };
	int16_t x[N], sorted[N], top[N];
	int64_t at[N], top_at[N], bound;
	struct hone_array in = {x, HONE_I16, 1, {N}};
	struct hone_array a[] = {{sorted, HONE_I16, 1, {N}}, {at, HONE_I64, 1, {N}}};
	struct hone_array b[] = {{top, HONE_I16, 1, {N}}, {top_at, HONE_I64, 1, {N}}};

	(void)state;
	for (int i = 0; i < N; i++)
		x[i] = (int16_t)(i * 7919 % 101 - 50);
	for (int64_t descending = 0; descending < 2; descending++) {
		assert_int_equal(invoke("sort", &in, 1, a, 2, (int64_t[]){0, descending}, &bound),
				 0);
		for (int64_t k = 0; k <= N; k += 37) {
			b[0].dims[0] = b[1].dims[0] = k;
			assert_int_equal(invoke("topk", &in, 1, b, 2,
						(int64_t[]){0, descending, 1, k}, &bound),
					 0);
			check_ints(top_at, at, (int32_t)k);
			assert_memory_equal(top, sorted, (size_t)k * 2);
		}
	}
	for (int i = 1; i < N; i++)
		assert_true(sorted[i - 1] > sorted[i] ||
			    (sorted[i - 1] == sorted[i] && at[i - 1] < at[i]));
	assert_int_equal(invoke("argsort", &in, 1, &b[1], 1, (int64_t[]){0, 1}, &bound), 0);
	check_ints(top_at, at, N);
}

static void sort_orders_every_type(void **state)
{
	uint64_t u[] = {UINT64_MAX, 0, 1ULL << 63, 5};
	uint16_t h[] = {0x3c00, 0xbc00, 0x7e00, 0x0001}; /* f16 1, -1, NaN, 6e-8 */
	uint8_t e[] = {0x38, 0xb8, 0x7f, 0x01};          /* f8e4m3fn 1, -1, NaN, 2^-9 */
	uint8_t z[] = {0x40, 0xc0, 0x80, 0x01};          /* f8e5m2fnuz 1, -1, NaN, 2^-17 */
	int64_t at[4], bound;
	struct hone_array in[] = {{u, HONE_U64, 1, {4}},
				  {h, HONE_F16, 1, {4}},
				  {e, HONE_F8E4M3FN, 1, {4}},
				  {z, HONE_F8E5M2FNUZ, 1, {4}}};
	struct hone_array out = {at, HONE_I64, 1, {4}};

	(void)state;
	assert_int_equal(invoke("argsort", &in[0], 1, &out, 1, (int64_t[]){0, 0}, &bound), 0);
	check_ints(at, (int64_t[]){1, 3, 2, 0}, 4);
	for (int i = 1; i < 4; i++) {
		assert_int_equal(invoke("argsort", &in[i], 1, &out, 1, (int64_t[]){0, 0}, &bound),
				 0);
		check_ints(at, (int64_t[]){1, 3, 0, 2}, 4);
	}
	assert_true(rt_load_double(HONE_F8E4M3FN, e, 3) == 0x1p-9);
	assert_true(rt_load_double(HONE_F8E5M2FNUZ, z, 0) == 1 &&
		    rt_load_double(HONE_F8E5M2FNUZ, z, 3) == 0x1p-17);
	in[0].dtype = HONE_I4;
	assert_int_equal(invoke("argsort", &in[0], 1, &out, 1, (int64_t[]){0, 0}, &bound),
			 HONE_FAIL_CALL);
}

static void nonzero_packs_rows(void **state)
{
	float x[] = {0, 1, -0.0f, NAN, 0, 2};
	int64_t at[12], bound = -1;
	struct hone_array in = {x, HONE_F32, 2, {2, 3}};
	struct hone_array out = {at, HONE_I64, 2, {2, 6}};

	(void)state;
	assert_int_equal(invoke("nonzero", &in, 1, &out, 1, NULL, &bound), 0);
	assert_int_equal(bound, 3);
	assert_int_equal(out.dims[1], 3);
	check_ints(at, (int64_t[]){0, 1, 1, 1, 0, 2}, 6);
	out = (struct hone_array){at, HONE_I64, 1, {6}};
	assert_int_equal(invoke("nonzero", &in, 1, &out, 1, NULL, &bound), 0);
	check_ints(at, (int64_t[]){1, 3, 5}, 3);
	out.dims[0] = 2;
	assert_int_equal(invoke("nonzero", &in, 1, &out, 1, NULL, &bound), HONE_FAIL_CALL);
	in.dims[0] = 0;
	out = (struct hone_array){at, HONE_I64, 2, {2, 0}};
	assert_int_equal(invoke("nonzero", &in, 1, &out, 1, NULL, &bound), 0);
	assert_int_equal(bound, 0);
	in = (struct hone_array){x + 1, HONE_F32, 0, {0}};
	out = (struct hone_array){at, HONE_I64, 2, {0, 1}};
	assert_int_equal(invoke("nonzero", &in, 1, &out, 1, NULL, &bound), 0);
	assert_int_equal(bound, 1);
}

static void unique_flat_sorted_or_by_appearance(void **state)
{
	float x[] = {2, 1, 1, 3, 4, 3}, y[6];
	int64_t first[6], inverse[6], count[6], bound;
	struct hone_array in = {x, HONE_F32, 1, {6}};
	struct hone_array full[] = {{y, HONE_F32, 1, {6}},
				    {first, HONE_I64, 1, {6}},
				    {inverse, HONE_I64, 1, {6}},
				    {count, HONE_I64, 1, {6}}},
			  out[4];

	(void)state;
	memcpy(out, full, sizeof(out));
	assert_int_equal(invoke("unique", &in, 1, out, 4, (int64_t[]){UNIQUE_FLAT, 1}, &bound), 0);
	assert_int_equal(bound, 4);
	assert_memory_equal(y, ((float[]){1, 2, 3, 4}), 16);
	check_ints(first, (int64_t[]){1, 0, 3, 4}, 4);
	check_ints(inverse, (int64_t[]){1, 0, 0, 2, 3, 2}, 6);
	check_ints(count, (int64_t[]){2, 1, 2, 1}, 4);
	assert_int_equal(out[0].dims[0], 4);
	assert_int_equal(out[2].dims[0], 6);
	memcpy(out, full, sizeof(out));
	assert_int_equal(invoke("unique", &in, 1, out, 4, (int64_t[]){UNIQUE_FLAT, 0}, &bound), 0);
	assert_memory_equal(y, ((float[]){2, 1, 3, 4}), 16);
	check_ints(first, (int64_t[]){0, 1, 3, 4}, 4);
	check_ints(inverse, (int64_t[]){0, 1, 1, 2, 3, 2}, 6);
	check_ints(count, (int64_t[]){1, 2, 2, 1}, 4);
	memcpy(out, full, sizeof(out));
	out[1].rank = out[2].rank = -1;
	assert_int_equal(invoke("unique", &in, 1, out, 3, (int64_t[]){UNIQUE_FLAT, 1}, &bound), 0);
	in.dims[0] = 0;
	memcpy(out, full, sizeof(out));
	assert_int_equal(invoke("unique", &in, 1, out, 4, (int64_t[]){UNIQUE_FLAT, 1}, &bound), 0);
	assert_int_equal(bound, 0);
}

static void unique_along_an_axis_compares_slices(void **state)
{
	int8_t x[] = {1, 1, 0, 1, 1, 1, 0, 1, 2, 2, 2, 2}, y[12]; /* columns 112 112 002 112 */
	int64_t first[4], inverse[4], count[4], bound;
	struct hone_array in = {x, HONE_I8, 2, {3, 4}};
	struct hone_array out[] = {{y, HONE_I8, 2, {3, 4}},
				   {first, HONE_I64, 1, {4}},
				   {inverse, HONE_I64, 1, {4}},
				   {count, HONE_I64, 1, {4}}};

	(void)state;
	assert_int_equal(invoke("unique", &in, 1, out, 4, (int64_t[]){1, 1}, &bound), 0);
	assert_int_equal(bound, 2);
	assert_int_equal(out[0].dims[0], 3);
	assert_int_equal(out[0].dims[1], 2);
	assert_memory_equal(y, ((int8_t[]){0, 1, 0, 1, 2, 2}), 6);
	check_ints(first, (int64_t[]){2, 0}, 2);
	check_ints(inverse, (int64_t[]){1, 1, 0, 1}, 4);
	check_ints(count, (int64_t[]){1, 3}, 2);
	assert_int_equal(invoke("unique", &in, 1, out, 4, (int64_t[]){2, 1}, &bound),
			 HONE_FAIL_CALL);
}

/* ONNX NonMaxSuppression examples. */
static int64_t run_nms(float *boxes, float *scores, int64_t *count, const float *iou,
		       const float *score, int64_t center, int64_t *out, int64_t room)
{
	int64_t bound;
	struct hone_array in[] = {{boxes, HONE_F32, 3, {1, 6, 4}},
				  {scores, HONE_F32, 3, {1, 1, 6}},
				  {count, HONE_I64, count ? 1 : -1, {1}},
				  {(float *)iou, HONE_F32, iou ? 1 : -1, {1}},
				  {(float *)score, HONE_F32, score ? 0 : -1, {0}}};
	struct hone_array to = {out, HONE_I64, 2, {room, 3}};

	if (invoke("nms", in, COUNT(in), &to, 1, &center, &bound))
		return -1;
	assert_int_equal(to.dims[0], bound);
	return bound;
}

static void nms_suppresses_by_iou(void **state)
{
	float corners[] = {0, 0,  1, 1,  0, 0.1f,  1, 1.1f,  0, -0.1f, 1, 0.9f,
			   0, 10, 1, 11, 1, 11.1f, 0, 10.1f, 0, 100,   1, 101};
	float centers[] = {0.5f, 0.5f,  1, 1, 0.5f, 0.6f,  1, 1, 0.5f, 0.4f,   1, 1,
			   0.5f, 10.5f, 1, 1, 0.5f, 10.6f, 1, 1, 0.5f, 100.5f, 1, 1};
	float scores[] = {0.9f, 0.75f, 0.6f, 0.95f, 0.5f, 0.3f}, half = 0.5f, low = 0.4f, none = 0,
	      above = 1.5f;
	int64_t three = 3, two = 2, out[18];

	(void)state;
	assert_int_equal(run_nms(corners, scores, &three, &half, &none, 0, out, 6), 3);
	check_ints(out, (int64_t[]){0, 0, 3, 0, 0, 0, 0, 0, 5}, 9);
	assert_int_equal(run_nms(centers, scores, &three, &half, NULL, 1, out, 3), 3);
	check_ints(out, (int64_t[]){0, 0, 3, 0, 0, 0, 0, 0, 5}, 9);
	assert_int_equal(run_nms(corners, scores, &two, &half, NULL, 0, out, 6), 2);
	assert_int_equal(run_nms(corners, scores, &three, &half, &low, 0, out, 6), 2);
	assert_int_equal(run_nms(corners, scores, NULL, &half, NULL, 0, out, 6), 0);
	assert_int_equal(run_nms(corners, scores, &three, NULL, NULL, 0, out, 6), 3);
	assert_int_equal(run_nms(corners, scores, &three, &half, &none, 0, out, 2), -1);
	assert_int_equal(run_nms(corners, scores, &three, &above, &none, 0, out, 6), -1);
}

static int64_t bits_of(double x)
{
	int64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static void random_has_the_wanted_moments(void **state)
{
	enum { N = 20000 };
	double *x = malloc(N * 8), sum = 0, squares = 0;
	float *f = malloc(N * 4);
	struct hone_array out = {x, HONE_F64, 1, {N}};

	(void)state;
	assert_int_equal(invoke("random", NULL, 0, &out, 1,
				(int64_t[]){1, 42, bits_of(3), bits_of(2)}, NULL),
			 0);
	for (int i = 0; i < N; i++) {
		sum += x[i];
		squares += (x[i] - 3) * (x[i] - 3);
	}
	assert_true(fabs(sum / N - 3) < 0.05 && fabs(squares / N - 4) < 0.15);
	out = (struct hone_array){f, HONE_F32, 1, {N}};
	assert_int_equal(invoke("random", NULL, 0, &out, 1,
				(int64_t[]){0, 42, bits_of(-1), bits_of(1)}, NULL),
			 0);
	sum = 0;
	for (int i = 0; i < N; i++) {
		assert_true(f[i] >= -1 && f[i] < 1);
		sum += f[i];
	}
	assert_true(fabs(sum / N) < 0.02);
	sum = f[7];
	assert_int_equal(invoke("random", NULL, 0, &out, 1,
				(int64_t[]){0, 43, bits_of(-1), bits_of(1)}, NULL),
			 0);
	assert_true(sum != f[7]);
	assert_int_equal(
		invoke("random", NULL, 0, &out, 1, (int64_t[]){2, 1, bits_of(0.25), 0}, NULL), 0);
	sum = 0;
	for (int i = 0; i < N; i++)
		sum += f[i];
	assert_true(fabs(sum / N - 0.25) < 0.02);
	free(x);
	free(f);
}

static void multinomial_follows_the_logits(void **state)
{
	enum { N = 20000 };
	float logits[] = {logf(0.1f), logf(0.6f), -INFINITY, logf(0.3f)};
	int32_t *s = malloc(N * 4), seen[4] = {0};
	struct hone_array in = {logits, HONE_F32, 2, {1, 4}}, out = {s, HONE_I32, 2, {1, N}};

	(void)state;
	assert_int_equal(invoke("multinomial", &in, 1, &out, 1, (int64_t[]){5}, NULL), 0);
	for (int i = 0; i < N; i++)
		seen[s[i]]++;
	assert_true(abs(seen[0] - N / 10) < 200 && abs(seen[1] - N * 6 / 10) < 300 && seen[2] == 0);
	logits[0] = NAN;
	assert_int_equal(invoke("multinomial", &in, 1, &out, 1, (int64_t[]){5}, NULL),
			 HONE_FAIL_CALL);
	free(s);
}

/* The known answer of Random123 for key 0, counter 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8. */
static void random_is_philox4x32_10(void **state)
{
	double x;
	struct hone_array out = {&x, HONE_F64, 0, {0}};

	(void)state;
	assert_int_equal(
		invoke("random", NULL, 0, &out, 1, (int64_t[]){0, 0, bits_of(0), bits_of(1)}, NULL),
		0);
	assert_true(x == (double)(0x6627e8d5e169c58dULL >> 11) * 0x1p-53);
}

/* Every f16 and bf16 comes back as itself; halves round to even. */
static void small_floats_round_trip(void **state)
{
	static const int32_t types[] = {HONE_F16, HONE_BF16};
	uint16_t got;

	(void)state;
	for (int t = 0; t < 2; t++) {
		for (uint32_t i = 0; i < 65536; i++) {
			uint16_t bits = (uint16_t)i;
			double x = rt_load_double(types[t], &bits, 0);

			rt_store_double(types[t], &got, 0, x);
			if (x != x)
				assert_true(isnan(rt_load_double(types[t], &got, 0)));
			else
				assert_int_equal(got, bits);
		}
	}
	rt_store_double(HONE_F16, &got, 0, 1 + 0x1p-11);
	assert_int_equal(got, 0x3c00);
	rt_store_double(HONE_F16, &got, 0, 1 + 3 * 0x1p-11);
	assert_int_equal(got, 0x3c02);
	rt_store_double(HONE_F16, &got, 0, 65520);
	assert_int_equal(got, 0x7c00);
	rt_store_double(HONE_F16, &got, 0, 0x1p-25);
	assert_int_equal(got, 0);
	rt_store_double(HONE_F16, &got, 0, 0x1.8p-25);
	assert_int_equal(got, 1);
}

static void integers_saturate(void **state)
{
	int8_t i8;
	uint8_t u8;
	int64_t i64;
	uint64_t u64;

	(void)state;
	rt_store_double(HONE_I8, &i8, 0, -200);
	rt_store_double(HONE_U8, &u8, 0, 300);
	rt_store_double(HONE_I64, &i64, 0, 1e300);
	rt_store_double(HONE_U64, &u64, 0, 1e300);
	assert_int_equal(i8, -128);
	assert_int_equal(u8, 255);
	assert_true(i64 == INT64_MAX && u64 == UINT64_MAX);
	rt_store_double(HONE_I8, &i8, 0, NAN);
	assert_int_equal(i8, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topk_takes_nan_first_and_ties_by_position),
		cmocka_unit_test(topk_works_along_an_inner_axis),
		cmocka_unit_test(topk_agrees_with_sort),
		cmocka_unit_test(sort_orders_every_type),
		cmocka_unit_test(nonzero_packs_rows),
		cmocka_unit_test(unique_flat_sorted_or_by_appearance),
		cmocka_unit_test(unique_along_an_axis_compares_slices),
		cmocka_unit_test(nms_suppresses_by_iou),
		cmocka_unit_test(random_has_the_wanted_moments),
		cmocka_unit_test(random_is_philox4x32_10),
		cmocka_unit_test(multinomial_follows_the_logits),
		cmocka_unit_test(small_floats_round_trip),
		cmocka_unit_test(integers_saturate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
