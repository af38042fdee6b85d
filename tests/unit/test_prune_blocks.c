/* test_prune_blocks.c: --prune block:1x16: which weights become zero, and least squares under their pattern. */
#include "passes/linalg.h"
#include "passes/passes.h"
#include "passes/prune.h"
#include "tests/unit/graph_fixture.h"

#include <math.h>
#include <stdlib.h>

static bool prune(struct fixture *f, const char *arguments)
{
	struct pipeline_options o = {
		.passes = "prune", .arguments = arguments, .verify_each = true};

	return pipeline_run(f->g, &o, &interpreter, &f->diag);
}

/* The weights of the contraction that makes result i. */
static const float *weights_of(struct fixture *f, int i, int *rows, int *columns)
{
	const struct node *n = f->g->body->results[i]->def;
	const struct type *t = &n->in[1]->type;
	int64_t count = type_count_const(t);

	*columns = (int)t->dims[t->rank - 1]->value;
	*rows = (int)count / *columns;
	return tensor_bytes(value_const(n->in[1]), DT_F32, count, &f->arena);
}

/* The sum of squares of a block of w [.., columns]. */
static double block(const float *w, int columns, int k, int first)
{
	double sum = 0;

	for (int n = first; n < first + 16 && n < columns; n++)
		sum += (double)w[k * columns + n] * w[k * columns + n];
	return sum;
}

static const char two_layers[] = "func @f(%x: f32[N,32]) -> (%a: f32[N,48], %y: f32[N,40]) {\n"
				 "  %w1: f32[32,48] = const random(1)\n"
				 "  %w2: f32[48,40] = const random(2)\n"
				 "  %a: f32[N,48] = matmul(%x, %w1)\n"
				 "  %y: f32[N,40] = matmul(%a, %w2)\n"
				 "  return %a, %y\n"
				 "}\n";

static void the_largest_rows_of_each_16_columns_stay(void **state)
{
	struct fixture before, f;
	int rows, columns;

	(void)state;
	begin(&before, two_layers);
	begin(&f, two_layers);
	assert_true(prune(&f, "prune=block:1x16=0.75"));
	for (int layer = 0; layer < 2; layer++) {
		const float *whole = weights_of(&before, layer, &rows, &columns),
			    *w = weights_of(&f, layer, &rows, &columns);

		for (int first = 0; first < columns; first += 16) {
			double least = INFINITY, most = 0;
			int kept = 0;

			for (int k = 0; k < rows; k++) {
				double was = block(whole, columns, k, first),
				       is = block(w, columns, k, first);

				assert_true(is == 0 || is == was);
				kept += is != 0;
				least = is != 0 && was < least ? was : least;
				most = is == 0 && was > most ? was : most;
			}
			assert_int_equal(kept, rows / 4);
			assert_true(most <= least);
		}
	}
	end(&before);
	end(&f);
}

static bool has_zeros(struct fixture *f, int result)
{
	int rows, columns;
	const float *w = weights_of(f, result, &rows, &columns);

	for (int k = 0; k < rows; k++)
		for (int first = 0; first < columns; first += 16)
			if (block(w, columns, k, first) == 0)
				return true;
	return false;
}

static void narrow_and_grouped_weights_and_other_readers_keep_all(void **state)
{
	struct fixture f;
	const struct value *other;

	(void)state;
	begin(&f, "func @f(%x: f32[N,32], %i: f32[N,5,5,32]) -> (%a: f32[N,16], %b: f32[N,12], "
		  "%c: f32[N,48], %d: f32[N,4,4,32], %e: f32[32]) {\n"
		  "  %w1: f32[32,16] = const random(1)\n"
		  "  %w2: f32[32,12] = const random(2)\n"
		  "  %w3: f32[16,48] = const random(3)\n"
		  "  %w4: f32[2,2,1,32] = const random(4)\n"
		  "  %a: f32[N,16] = matmul(%x, %w1)\n"
		  "  %b: f32[N,12] = matmul(%x, %w2)\n"
		  "  %c: f32[N,48] = matmul(%a, %w3)\n"
		  "  %d: f32[N,4,4,32] = conv(%i, %w4) {group=32}\n"
		  "  %e: f32[32] = reduce(%w1) {kind=sum, axes=[1]}\n"
		  "  return %a, %b, %c, %d, %e\n"
		  "}\n");
	assert_true(prune(&f, "prune=block:1x16=0.5"));
	assert_true(has_zeros(&f, 0));
	for (int i = 1; i < 4; i++)
		assert_false(has_zeros(&f, i));
	other = f.g->body->results[4]->def->in[0];
	assert_int_equal(value_const(other)->kind, TENSOR_RANDOM);
	end(&f);
}

static void a_model_without_such_weights_is_an_error(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, "func @f(%x: f32[N,8]) -> (%y: f32[N,16]) {\n"
		  "  %w: f32[8,16] = const random(1)\n"
		  "  %y: f32[N,16] = matmul(%x, %w)\n"
		  "  return %y\n"
		  "}\n");
	assert_false(prune(&f, "prune=block:1x16=0.5"));
	assert_int_equal(diag_exit_status(&f.diag), 3);
	end(&f);
}

static void other_blocks_and_shares_are_usage_errors(void **state)
{
	static const char *const wrong[] = {"prune=block:4x4=0.5", "prune=block:1x16=1.5",
					    "prune=block:1x16", "prune=block:1x16="};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct fixture f;

		begin(&f, two_layers);
		assert_false(prune(&f, wrong[i]));
		assert_int_equal(diag_exit_status(&f.diag), 2);
		end(&f);
	}
}

/* At the solution what is left over is orthogonal to every row that stays. */
static void least_squares_keep_the_pattern(void **state)
{
	enum { K = 24, N = 20, SAMPLES = 60 };
	static double xx[K * K], xt[K * N], w[K * N], x[SAMPLES * K], t[SAMPLES * N];
	static float pattern[K * N];

	(void)state;
	srand(1);
	for (int i = 0; i < SAMPLES * K; i++)
		x[i] = rand() % 200 / 100.0 - 1;
	for (int i = 0; i < SAMPLES * N; i++)
		t[i] = rand() % 200 / 100.0 - 1;
	for (int i = 0; i < K * N; i++)
		pattern[i] = (i / N * 7 + i % N / 16 * 5) % 3 ? 0 : 1;
	for (int s = 0; s < SAMPLES; s++)
		normal_add(xx, xt, K, N, x + (ptrdiff_t)s * K, t + (ptrdiff_t)s * N);
	memcpy(w, xt, sizeof(w));
	assert_true(prune_solve_blocks(xx, w, K, N, pattern));
	for (int i = 0; i < K; i++) {
		for (int j = 0; j < N; j++) {
			double left = xt[i * N + j];

			for (int k = 0; k < K; k++)
				left -= xx[i > k ? i * K + k : k * K + i] * w[k * N + j];
			if (pattern[i * N + j] == 0)
				assert_true(w[i * N + j] == 0);
			else
				assert_true(fabs(left) < 1e-9);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_rows_of_each_16_columns_stay),
		cmocka_unit_test(narrow_and_grouped_weights_and_other_readers_keep_all),
		cmocka_unit_test(a_model_without_such_weights_is_an_error),
		cmocka_unit_test(other_blocks_and_shares_are_usage_errors),
		cmocka_unit_test(least_squares_keep_the_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
