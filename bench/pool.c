/* pool.c: what a fork costs. pool EMPTY.so THREADS: EMPTY.so is a model of many kernels that do nothing to speak of. Prints
 * medians: a fork and join while the workers spin, the same after they went to sleep, CPU time of an idle context, and
 * one run() of the empty model. */
#define _GNU_SOURCE
#include "runtime/hone.h"
#include "runtime/pool.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 20000, COLD_RUNS = 100, IDLE_US = 300000, FLOATS = 16 };

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static double median(double *times, int count)
{
	qsort(times, (size_t)count, sizeof(*times), by_value);
	return times[count / 2];
}

struct meeting {
	_Atomic int started;
	int threads;
};

/* A chunk that ends only when every thread has one: so that the time is that of reaching the others and back. */
static void meet(void *arg, int64_t chunk, int32_t worker)
{
	struct meeting *m = *(struct meeting **)arg;

	(void)chunk;
	(void)worker;
	atomic_fetch_add(&m->started, 1);
	while (atomic_load(&m->started) < m->threads)
		;
}

/* pause_us: between two forks; more than the workers spin for lets them sleep. */
static double fork_us(struct pool *p, int threads, int runs, useconds_t pause_us)
{
	double *times = malloc((size_t)runs * sizeof(*times)), result;

	for (int i = 0; i < runs; i++) {
		struct meeting m = {0, threads}, *at = &m;
		double start;

		if (pause_us)
			usleep(pause_us);
		start = now_us();
		rt_pool_run(p, threads, meet, &at, sizeof(at));
		times[i] = now_us() - start;
	}
	result = median(times, runs);
	free(times);
	return result;
}

static double cpu_us(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void measure_pool(int threads)
{
	void *memory = aligned_alloc(64, rt_pool_bytes((uint32_t)threads));
	struct pool *p = rt_pool_start(memory, (uint32_t)threads);
	double before;

	if (!p) {
		printf("no pool of %d threads\n", threads);
		exit(1);
	}
	printf("fork and join, %d threads\n", threads);
	printf("  hot            %8.2f us\n", fork_us(p, threads, RUNS, 0));
	printf("  after a sleep  %8.2f us\n", fork_us(p, threads, COLD_RUNS, 2000));
	before = cpu_us();
	usleep(IDLE_US);
	printf("  idle           %8.3f %% of a core\n", 100 * (cpu_us() - before) / IDLE_US);
	rt_pool_stop(p);
	free(memory);
}

static double run_us(const hone_model *m, int threads)
{
	hone_options o = {.size = sizeof(o), .threads = (uint32_t)threads};
	float x[FLOATS] = {0}, y[FLOATS];
	hone_tensor in = {
		.data = x, .size = sizeof(x), .dims = {FLOATS}, .rank = 1, .dtype = HONE_F32};
	hone_tensor out = {.data = y, .size = sizeof(y)};
	double *times = malloc(RUNS * sizeof(*times)), result;
	hone_context *c;
	char text[256];

	if (hone_context_create(m, &o, &c, text, sizeof(text)) != HONE_OK) {
		printf("%s\n", text);
		exit(1);
	}
	for (int i = 0; i < RUNS; i++) {
		double start = now_us();

		if (hone_run(c, &in, &out) != HONE_OK) {
			printf("%s\n", hone_error(c));
			exit(1);
		}
		times[i] = now_us() - start;
	}
	hone_context_destroy(c);
	result = median(times, RUNS);
	free(times);
	return result;
}

int main(int argc, char **argv)
{
	void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
	const hone_model *(*get)(void);
	int threads;

	if (!library) {
		fprintf(stderr, "usage: pool EMPTY.so THREADS\n");
		return 2;
	}
	*(void **)&get = dlsym(library, "hone_model_get");
	threads = atoi(argv[2]);
	measure_pool(threads);
	printf("run() of the empty model\n  1 thread       %8.2f us\n", run_us(get(), 1));
	printf("  %d threads      %8.2f us\n", threads, run_us(get(), threads));
	return 0;
}
