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

/* Runs fn(arg, 0..chunks-1, worker), 1 <= chunks < 2^31, and returns after the last. One caller
 * at a time. */
void rt_pool_run(struct pool *p, int64_t chunks, pool_fn *fn, void *arg);

/* Ends and joins the workers. */
void rt_pool_stop(struct pool *p);

#endif
