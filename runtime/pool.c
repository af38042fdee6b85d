/* pool.c: fork-join. Workers spin for 60 us after their last work, then sleep on a futex: waking a
 * sleeper takes about as long, and most forks of a model follow each other much closer.
 *
 * `claim` holds the number of chunks of the current job that nobody has taken. Taking one by
 * compare-and-swap is what makes the job's fields readable: they are written only while no chunk
 * is taken or unfinished, before the store that makes chunks available. A late worker finds 0
 * and never looks at the job; so a join waits for chunks, not for sleepers. */
#define _GNU_SOURCE
#include "runtime/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { SPIN_NS = 60000 };

struct worker {
	struct pool *pool;
	pthread_t thread;
	int32_t number;
};

struct pool {
	_Alignas(64) _Atomic uint32_t epoch; /* one more for every job and at the stop; a futex */
	_Atomic uint32_t sleepers;
	_Atomic uint32_t stop;
	_Alignas(64) _Atomic int64_t claim;
	_Alignas(64) _Atomic uint32_t done; /* finished chunks of the job; a futex */
	_Atomic uint32_t waiting;           /* the caller sleeps on it */
	_Alignas(64) pool_fn *fn;
	void *arg;
	uint32_t chunks;
	uint32_t worker_count;
#ifndef __linux__
	pthread_mutex_t mutex;
	pthread_cond_t changed;
#endif
	struct worker workers[];
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

#ifdef __linux__
static void sleep_on(struct pool *p, _Atomic uint32_t *word, uint32_t value)
{
	(void)p;
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(struct pool *p, _Atomic uint32_t *word)
{
	(void)p;
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}
#else
static void sleep_on(struct pool *p, _Atomic uint32_t *word, uint32_t value)
{
	pthread_mutex_lock(&p->mutex);
	while (atomic_load(word) == value)
		pthread_cond_wait(&p->changed, &p->mutex);
	pthread_mutex_unlock(&p->mutex);
}

static void wake_all(struct pool *p, _Atomic uint32_t *word)
{
	(void)word;
	pthread_mutex_lock(&p->mutex);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}
#endif

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Spins until the word differs from `value`, but not for long. Returns the word. */
static uint32_t spin_on(_Atomic uint32_t *word, uint32_t value)
{
	int64_t end = 0;
	uint32_t seen;

	for (uint32_t i = 1;; i++) {
		seen = atomic_load_explicit(word, memory_order_acquire);
		if (seen != value)
			return seen;
		pause_briefly();
		if (i % 64)
			continue;
		if (!end)
			end = now_ns() + SPIN_NS;
		else if (now_ns() >= end)
			return seen;
	}
}

/* Takes and computes chunks until none is left. */
static void work(struct pool *p, int32_t number)
{
	int64_t left = atomic_load_explicit(&p->claim, memory_order_acquire);

	while (left > 0) {
		uint32_t chunks;

		if (!atomic_compare_exchange_weak_explicit(
			    &p->claim, &left, left - 1, memory_order_acq_rel, memory_order_acquire))
			continue;
		chunks = p->chunks;
		p->fn(p->arg, (int64_t)chunks - left, number);
		if (atomic_fetch_add(&p->done, 1) + 1 == chunks && atomic_load(&p->waiting))
			wake_all(p, &p->done);
		left = atomic_load_explicit(&p->claim, memory_order_acquire);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;

	for (;;) {
		uint32_t epoch = atomic_load(&p->epoch);

		work(p, w->number);
		if (atomic_load(&p->stop))
			return NULL;
		if (spin_on(&p->epoch, epoch) != epoch)
			continue;
		/* Either the publisher sees this sleeper, or the futex call sees the new epoch. */
		atomic_fetch_add(&p->sleepers, 1);
		sleep_on(p, &p->epoch, epoch);
		atomic_fetch_sub(&p->sleepers, 1);
	}
}

static void announce(struct pool *p)
{
	atomic_fetch_add(&p->epoch, 1);
	if (atomic_load(&p->sleepers))
		wake_all(p, &p->epoch);
}

void rt_pool_run(struct pool *p, int64_t chunks, pool_fn *fn, void *arg)
{
	uint32_t done;

	p->fn = fn;
	p->arg = arg;
	p->chunks = (uint32_t)chunks;
	atomic_store(&p->waiting, 0);
	atomic_store(&p->done, 0);
	atomic_store_explicit(&p->claim, chunks, memory_order_release);
	announce(p);
	work(p, 0);
	for (;;) {
		done = atomic_load(&p->done);
		if (done == p->chunks)
			return;
		if (spin_on(&p->done, done) != done)
			continue;
		atomic_store(&p->waiting, 1);
		done = atomic_load(&p->done);
		if (done != p->chunks)
			sleep_on(p, &p->done, done);
	}
}

size_t rt_pool_bytes(uint32_t threads)
{
	return (sizeof(struct pool) + (threads - 1) * sizeof(struct worker) + 63) & ~(size_t)63;
}

struct pool *rt_pool_start(void *memory, uint32_t threads)
{
	struct pool *p = memory;
	sigset_t all, before;

	memset(p, 0, rt_pool_bytes(threads));
#ifndef __linux__
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->changed, NULL);
#endif
	sigfillset(&all); /* the program's signals are for its own threads */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (uint32_t i = 0; i + 1 < threads; i++) {
		p->workers[i].pool = p;
		p->workers[i].number = (int32_t)i + 1;
		if (pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]))
			break;
		p->worker_count++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (p->worker_count + 1 == threads)
		return p;
	rt_pool_stop(p);
	return NULL;
}

void rt_pool_stop(struct pool *p)
{
	atomic_store(&p->stop, 1);
	announce(p);
	for (uint32_t i = 0; i < p->worker_count; i++)
		pthread_join(p->workers[i].thread, NULL);
#ifndef __linux__
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->mutex);
#endif
}
