/* pool.c: fork-join. Workers spin for 60 us after their last work, then sleep on a futex: waking a
 * sleeper takes about as long, and most forks of a model follow each other much closer.
 *
 * Every thread has a seat with chunks of its own: thread i of n those whose number is i modulo n, so that in a loop of
 * small kernels it finds its part of the weights in its own cache, while large kernels go through memory side by side
 * (slices of neighbours were 4 % slower). Who has none left takes the last of another's.
 *
 * `range` of a seat holds the chunks that nobody has taken. Taking one by compare-and-swap is what makes the job's
 * fields readable: they are written only while no chunk is taken or unfinished, before the store that makes chunks
 * available. A late worker finds nothing and never looks at the job; so a join waits for chunks, not for sleepers. */
#define _GNU_SOURCE
#include "runtime/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { SPIN_NS = 60000 };

struct seat {
	_Alignas(64) _Atomic uint64_t range; /* first << 32 | end, of chunks i * threads + seat;
	                                      * alone in the line that its thread spins on */
	_Alignas(64) struct pool *pool;
	pthread_t thread; /* of all but the caller's, which is the first */
	uint32_t number;
};

struct pool {
	_Alignas(64) unsigned char arg[POOL_ARG_BYTES];
	pool_fn *fn;
	uint32_t chunks, threads;
	_Alignas(64) _Atomic uint32_t done; /* finished chunks of the job; a futex */
	_Atomic uint32_t waiting;           /* the caller sleeps on it */
	_Alignas(64) _Atomic uint32_t sleepers;
	_Atomic uint32_t stop;
	_Atomic uint32_t epoch; /* one more for every time that sleepers are woken; a futex */
#ifndef __linux__
	pthread_mutex_t mutex;
	pthread_cond_t changed;
#endif
	struct seat seats[];
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

static bool is_empty(uint64_t range) { return range >> 32 >= (uint32_t)range; }

static bool has_chunks(struct seat *s)
{
	return !is_empty(atomic_load_explicit(&s->range, memory_order_acquire));
}

static bool is_done(struct pool *p)
{
	return atomic_load_explicit(&p->done, memory_order_acquire) == p->chunks;
}

/* Spins until the seat has chunks, or where there is none until the job is done; but not for long. */
static bool spin(struct pool *p, struct seat *seat)
{
	int64_t end = 0;

	for (uint32_t i = 1;; i++) {
		if (seat ? has_chunks(seat) : is_done(p))
			return true;
		pause_briefly();
		if (i % 64)
			continue;
		if (!end)
			end = now_ns() + SPIN_NS;
		else if (now_ns() >= end)
			return false;
	}
}

/* Takes a chunk of the seat: its thread the first one, others the last. */
static bool take(struct seat *s, bool mine, uint32_t *chunk)
{
	uint64_t range = atomic_load_explicit(&s->range, memory_order_acquire), rest;

	do {
		if (is_empty(range))
			return false;
		*chunk = mine ? (uint32_t)(range >> 32) : (uint32_t)range - 1;
		rest = mine ? range + ((uint64_t)1 << 32) : range - 1;
	} while (!atomic_compare_exchange_weak_explicit(
		&s->range, &range, rest, memory_order_acq_rel, memory_order_acquire));
	return true;
}

/* Takes and computes chunks until none is left. */
static void work(struct pool *p, uint32_t number)
{
	uint32_t finished = 0, chunks = 0, chunk;

	for (uint32_t i = 0; i < p->threads; i++) {
		uint32_t seat = (number + i) % p->threads;

		while (take(&p->seats[seat], i == 0, &chunk)) {
			chunks = p->chunks;
			p->fn(p->arg, (int64_t)chunk * p->threads + seat, (int32_t)number);
			finished++;
		}
	}
	if (finished && atomic_fetch_add(&p->done, finished) + finished == chunks &&
	    atomic_load(&p->waiting))
		wake_all(p, &p->done);
}

static void *worker_main(void *arg)
{
	struct seat *s = arg;
	struct pool *p = s->pool;

	for (;;) {
		uint32_t epoch = atomic_load(&p->epoch);

		work(p, s->number);
		if (atomic_load(&p->stop))
			return NULL;
		if (spin(p, s))
			continue;
		/* Either the publisher sees this sleeper, or the sleeper what is published. */
		atomic_fetch_add(&p->sleepers, 1);
		if (!has_chunks(s) && !atomic_load(&p->stop))
			sleep_on(p, &p->epoch, epoch);
		atomic_fetch_sub(&p->sleepers, 1);
	}
}

static void wake_sleepers(struct pool *p)
{
	if (!atomic_fetch_add(&p->sleepers,
			      0)) /* not a load: it must come after what was published */
		return;
	atomic_fetch_add(&p->epoch, 1);
	wake_all(p, &p->epoch);
}

/* Ends and joins the workers, of which threads - 1 were started. */
static void stop(struct pool *p, uint32_t threads)
{
	atomic_store(&p->stop, 1);
	wake_sleepers(p);
	for (uint32_t i = 1; i < threads; i++)
		pthread_join(p->seats[i].thread, NULL);
#ifndef __linux__
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->mutex);
#endif
}

void rt_pool_run(struct pool *p, int64_t chunks, pool_fn *fn, const void *arg, size_t bytes)
{
	uint32_t done;

	p->fn = fn;
	memcpy(p->arg, arg, bytes);
	p->chunks = (uint32_t)chunks;
	atomic_store_explicit(&p->waiting, 0, memory_order_relaxed);
	atomic_store_explicit(&p->done, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < p->threads && i < p->chunks; i++)
		atomic_store_explicit(&p->seats[i].range,
				      (p->chunks - i + p->threads - 1) / p->threads,
				      memory_order_release);
	wake_sleepers(p);
	work(p, 0);
	while (!spin(p, NULL)) {
		atomic_store(&p->waiting, 1);
		done = atomic_load(&p->done);
		if (done != p->chunks)
			sleep_on(p, &p->done, done);
	}
}

size_t rt_pool_bytes(uint32_t threads)
{
	return sizeof(struct pool) + threads * sizeof(struct seat);
}

struct pool *rt_pool_start(void *memory, uint32_t threads)
{
	struct pool *p = memory;
	sigset_t all, before;
	uint32_t started = 1;

	memset(p, 0, rt_pool_bytes(threads));
	p->threads = threads;
#ifndef __linux__
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->changed, NULL);
#endif
	sigfillset(&all); /* the program's signals are for its own threads */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; started < threads; started++) {
		struct seat *s = &p->seats[started];

		s->pool = p;
		s->number = started;
		if (pthread_create(&s->thread, NULL, worker_main, s))
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (started == threads)
		return p;
	stop(p, started);
	return NULL;
}

void rt_pool_stop(struct pool *p) { stop(p, p->threads); }
