/* test_runtime_threads.c: the fork-join pool, the caller's threads, contexts beside each other. */
#include "tests/unit/runtime_program.h"

#include <pthread.h>
#include <unistd.h>

static void thread_counts_give_the_same_bits(void **state)
{
	struct call a, b;

	(void)state;
	fill_call(&a, 61, 16);
	for (uint32_t threads = 1; threads <= 4; threads++) {
		hone_options o = {.size = sizeof(o), .threads = threads};
		hone_context *c = make(&o);

		for (int k = 0; k < 300; k++) {
			fill_call(&b, 61, 16);
			assert_int_equal(hone_run(c, b.in, b.out), HONE_OK);
			check_call(&b, 0);
			if (k % 100 == 50)
				usleep(2000); /* let the workers fall asleep */
		}
		hone_context_destroy(c);
	}
}

static void backwards(void *self, int64_t n, void (*fn)(void *arg, int64_t task, int32_t worker),
		      void *arg)
{
	++*(int *)self;
	while (n-- > 0)
		fn(arg, n, (int32_t)(n % 3));
}

static void callers_threads_are_used(void **state)
{
	int calls = 0;
	hone_options o = {.size = sizeof(o),
			  .threads = 3,
			  .parallel_for = backwards,
			  .parallel_self = &calls};
	hone_context *c = make(&o);
	struct call a;

	(void)state;
	fill_call(&a, 50, 9);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 0);
	assert_int_equal(calls, 2);
	hone_context_destroy(c);
}

static void *run_own_context(void *arg)
{
	hone_options o = {.size = sizeof(o), .threads = 2};
	hone_context *c = make(&o);
	struct call a;

	(void)arg;
	for (int k = 0; k < 200; k++) {
		fill_call(&a, k % 62 + 1, k % 16 + 1);
		assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
		check_call(&a, 0);
	}
	hone_context_destroy(c);
	return NULL;
}

static void contexts_run_at_the_same_time(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_own_context, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void count_chunk(void *arg, int64_t chunk, int32_t worker)
{
	int *seen = *(int **)arg;

	(void)worker;
	seen[chunk]++; /* a chunk belongs to one worker: no race */
}

static void every_chunk_runs_once(void **state)
{
	int seen[16], *at = seen;
	void *memory = aligned_alloc(64, rt_pool_bytes(3));
	struct pool *p = rt_pool_start(memory, 3);

	(void)state;
	assert_non_null(p);
	for (int round = 0; round < 20000; round++) {
		int chunks = round % 16 + 1;

		memset(seen, 0, sizeof(seen));
		rt_pool_run(p, chunks, count_chunk, &at, sizeof(at));
		for (int k = 0; k < 16; k++)
			assert_int_equal(seen[k], k < chunks);
	}
	rt_pool_stop(p);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thread_counts_give_the_same_bits),
		cmocka_unit_test(callers_threads_are_used),
		cmocka_unit_test(contexts_run_at_the_same_time),
		cmocka_unit_test(every_chunk_runs_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
