/* system.c: memory of contexts, from libc or from nowhere. */
#include "runtime/system.h"
#include "runtime/pool.h"

#ifndef HONE_FREESTANDING

#include <stdlib.h>
#include <sys/mman.h>

/* Of large memory, the whole huge pages in it are asked for as such: a first run then takes one page fault for 2 MB, not
 * 512. What remains stays in small pages, so that no more is resident than is used. */
void *rt_allocate(int64_t bytes)
{
	enum { HUGE_PAGE = 2 << 20 };
	void *memory;

	if (bytes < HUGE_PAGE)
		return aligned_alloc(64, (size_t)bytes);
	/* C11 wants a multiple of the alignment; what is never touched is never resident */
	memory = aligned_alloc(HUGE_PAGE, ((size_t)bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (memory)
		madvise(memory, (size_t)bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return memory;
}

void rt_release(void *memory) { free(memory); }

int64_t rt_with_memory(int64_t bytes, int64_t (*use)(void *memory, void *self), void *self)
{
	void *memory = rt_allocate(bytes);
	int64_t result = memory ? use(memory, self) : -1;

	rt_release(memory);
	return result;
}

#else

void *rt_allocate(int64_t bytes)
{
	(void)bytes;
	return NULL;
}

void rt_release(void *memory) { (void)memory; }

int64_t rt_with_memory(int64_t bytes, int64_t (*use)(void *memory, void *self), void *self)
{
	return use(__builtin_alloca_with_align((size_t)bytes, 64 * 8), self);
}

/* The caller's parallel_for is the only way to several threads. */
size_t rt_pool_bytes(uint32_t threads)
{
	(void)threads;
	return 0;
}

struct pool *rt_pool_start(void *memory, uint32_t threads)
{
	(void)memory;
	(void)threads;
	return NULL;
}

void rt_pool_run(struct pool *p, int64_t chunks, pool_fn *fn, const void *arg, size_t bytes)
{
	(void)p;
	(void)bytes;
	for (int64_t i = 0; i < chunks; i++)
		fn((void *)arg, i, 0);
}

void rt_pool_stop(struct pool *p) { (void)p; }

#endif
