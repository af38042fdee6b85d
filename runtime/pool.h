/* pool.h: a fork-join pool of threads for one context. */
#ifndef RUNTIME_POOL_H
#define RUNTIME_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool;

typedef void pool_fn(void *arg, int64_t chunk, int32_t worker);

/* Bytes that rt_pool_start needs (a multiple of 64). */
size_t rt_pool_bytes(uint32_t threads);

/* Starts threads - 1 workers (the caller is the other one) in 64-aligned memory. NULL if the system
 * gives no more threads; then none is left running. */
struct pool *rt_pool_start(void *memory, uint32_t threads);

enum { POOL_ARG_BYTES = 128 };

/* Runs fn(copy of arg, 0..chunks-1, worker), 1 <= chunks < 2^31, and returns after the last. One caller
 * at a time. bytes, at most POOL_ARG_BYTES: of *arg, which is copied to where workers look for it anyway: every line
 * that they fetch from the caller's cache delays them. */
void rt_pool_run(struct pool *p, int64_t chunks, pool_fn *fn, const void *arg, size_t bytes);

/* Ends and joins the workers. */
void rt_pool_stop(struct pool *p);

#endif
