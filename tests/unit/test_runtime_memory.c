/* test_runtime_memory.c: what the runtime allocates, touches and places. */
#include "tests/support/allocations.h"
#include "tests/unit/runtime_program.h"

#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Memory that ends at a page which faults. */
static unsigned char *guarded(size_t size)
{
	size_t page = 4096, room = (size + page - 1) / page * page;
	unsigned char *p =
		mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + room, page, PROT_NONE), 0);
	return p + room - size;
}

static void caller_memory_is_enough_and_nothing_is_allocated(void **state)
{
	struct call a;
	hone_options o = {.size = sizeof(o)};
	hone_context *c;
	long before;

	(void)state;
	fill_call(&a, 62, 16);
	o.memory_size = hone_arena_bytes(&model, a.in, 1);
	assert_true(o.memory_size > 62 * 16);
	o.memory_size += 256 * 8 + 64; /* z has no bound: the caller's guess */
	o.memory_size = (o.memory_size + 63) / 64 * 64;
	o.memory = guarded((size_t)o.memory_size);
	before = allocation_count();
	assert_int_equal(hone_context_create(&model, &o, &c, NULL, 0), HONE_OK);
	for (int64_t n = 1; n < 63; n++) {
		fill_call(&a, n, n % 16 + 1);
		assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
		check_call(&a, 0);
	}
	hone_context_destroy(c);
	assert_int_equal(allocation_count(), before);
}

static void small_caller_memory_says_what_is_needed(void **state)
{
	struct call a;
	hone_options o = {.size = sizeof(o)};
	hone_context *c;
	char text[100];

	(void)state;
	fill_call(&a, 8, 2);
	o.memory_size = hone_arena_bytes(&model, a.in, 1);
	o.memory = guarded((size_t)o.memory_size);
	c = make(&o);
	a.in[0].dims[0] = 2;
	a.i[1] = 1;
	for (int k = 0; k < 64; k++)
		a.x[k] = -1; /* z is empty and needs no chunk */
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	fill_call(&a, 62, 2);
	snprintf(text, sizeof(text), "options.memory has %lld bytes, %lld are needed",
		 (long long)o.memory_size, (long long)hone_arena_bytes(&model, a.in, 1));
	assert_int_equal(hone_run(c, a.in, a.out), HONE_ERROR_MEMORY);
	assert_string_equal(hone_error(c), text);
	fill_call(&a, 8, 2);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_ERROR_MEMORY);
	assert_string_equal(
		hone_error(c),
		"node \"NonZero_7\" (NonZero): options.memory has no room for 8 bytes more");
	hone_context_destroy(c);
}

static void buffers_are_not_touched_past_their_end(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	fill_call(&a, 5, 3);
	a.in[0].data = memcpy(guarded(80), a.x, 80);
	a.in[1].data = memcpy(guarded(24), a.i, 24);
	a.out[0].data = guarded(48);
	a.out[0].size = 48;
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	memcpy(a.y, a.out[0].data, 48);
	check_call(&a, 0);
	hone_context_destroy(c);
}

static void same_dims_allocate_nothing(void **state)
{
	hone_context *c = make(NULL);
	struct call a;
	long before;

	(void)state;
	fill_call(&a, 40, 7);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	before = allocation_count();
	for (int k = 0; k < 100; k++)
		assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	assert_int_equal(allocation_count(), before);
	hone_context_destroy(c);
}

/* In strict mode the kernel kills at any call but read, write and exit. */
static void same_dims_make_no_system_call(void **state)
{
#if !SANITIZED
	hone_context *c = make(NULL);
	struct call a;
	int status = 1;
	pid_t child;

	(void)state;
	fill_call(&a, 40, 7);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	child = fork();
	if (!child) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(0);
		for (int k = 0; k < 10; k++)
			status = hone_run(c, a.in, a.out) == HONE_OK ? 0 : 1;
		syscall(SYS_exit, status);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	hone_context_destroy(c);
#else
	(void)state;
	skip();
#endif
}

static void caller_memory_holds_the_pool(void **state)
{
	struct call a;
	hone_options o = {.size = sizeof(o), .threads = 3};
	hone_context *c;

	(void)state;
	fill_call(&a, 61, 16);
	o.memory_size = (hone_arena_bytes(&model, a.in, 3) + 256 * 8 + 127) / 64 * 64;
	o.memory = guarded((size_t)o.memory_size);
	c = make(&o);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 0);
	hone_context_destroy(c);
}

static uint32_t next_random(uint32_t *s) { return *s = *s * 1664525 + 1013904223; }

/* Returns the arena's size after checking that no two slots share a byte at a step. */
static int64_t place_randomly(int32_t count, uint32_t seed, int64_t *largest_live)
{
	struct hone_slot *s = calloc((size_t)count, sizeof(*s));
	int64_t *words = calloc((size_t)count, sizeof(*words)),
		*arrays = calloc((size_t)count * 5, 8), total;
	struct hone_program p = {.slot_count = count, .slots = s};
	struct placement at = {arrays, arrays + count, arrays + 2 * count, arrays + 3 * count,
			       arrays + 4 * count};

	for (int32_t i = 0; i < count; i++) {
		s[i].bytes_word = i;
		s[i].first = (int32_t)(next_random(&seed) >> 8) % count;
		s[i].last = s[i].first + (int32_t)(next_random(&seed) >> 20) % 8;
		s[i].kind = next_random(&seed) >> 28 ? HONE_SLOT_ARENA : HONE_SLOT_INPUT;
		words[i] = (next_random(&seed) >> 8) % 5000;
	}
	total = rt_place(&p, words, 1, &at);
	*largest_live = 0;
	for (int32_t step = 0; step < count + 8; step++) {
		int64_t live = 0;

		for (int32_t i = 0; i < count; i++) {
			if (s[i].kind == HONE_SLOT_ARENA && s[i].first <= step && step <= s[i].last)
				live += (words[i] + 63) / 64 * 64 + 64;
		}
		if (live > *largest_live)
			*largest_live = live;
	}
	for (int32_t i = 0; i < count; i++) {
		if (s[i].kind != HONE_SLOT_ARENA)
			continue;
		assert_int_equal(at.offsets[i] % 64, 0);
		assert_true(at.offsets[i] >= 0 && at.offsets[i] + words[i] + 64 <= total);
		for (int32_t k = 0; k < i; k++) {
			if (s[k].kind != HONE_SLOT_ARENA || s[k].last < s[i].first ||
			    s[i].last < s[k].first)
				continue;
			assert_true(at.offsets[i] + words[i] + 64 <= at.offsets[k] ||
				    at.offsets[k] + words[k] + 64 <= at.offsets[i]);
		}
	}
	free(s);
	free(words);
	free(arrays);
	return total;
}

static void slots_that_live_together_do_not_overlap(void **state)
{
	int64_t live;

	(void)state;
	for (uint32_t seed = 0; seed < 60; seed++) {
		int64_t total = place_randomly(1 + (int32_t)seed * 5, seed, &live);

		assert_true(total >= live && total <= live + live / 2);
	}
	place_randomly(3000, 7, &live);
}

static void a_dynamic_chunk_keeps_what_it_holds(void **state)
{
	hone_context *h = make(NULL);
	struct context *c = (struct context *)h;
	long before;

	(void)state;
	for (int64_t n = 1; n < 3000; n++) {
		assert_int_equal(hone_rt_reserve(&c->frame, Z, n * 8), 0);
		((int64_t *)c->frame.values[Z])[n - 1] = n;
		assert_int_equal((uintptr_t)c->frame.values[Z] % 64, 0);
	}
	for (int64_t n = 1; n < 3000; n++)
		assert_int_equal(((int64_t *)c->frame.values[Z])[n - 1], n);
	before = allocation_count();
	assert_int_equal(hone_rt_reserve(&c->frame, Z, 8), 0);
	assert_int_equal(allocation_count(), before);
	assert_int_equal(hone_rt_reserve(&c->frame, Z, INT64_MAX - 3), HONE_FAIL_MEMORY);
	assert_int_equal(hone_rt_reserve(&c->frame, Z, -8), HONE_FAIL_MEMORY);
	hone_context_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caller_memory_is_enough_and_nothing_is_allocated),
		cmocka_unit_test(small_caller_memory_says_what_is_needed),
		cmocka_unit_test(buffers_are_not_touched_past_their_end),
		cmocka_unit_test(same_dims_allocate_nothing),
		cmocka_unit_test(same_dims_make_no_system_call),
		cmocka_unit_test(caller_memory_holds_the_pool),
		cmocka_unit_test(slots_that_live_together_do_not_overlap),
		cmocka_unit_test(a_dynamic_chunk_keeps_what_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
