/* first.c: first LIBRARY: loads a compiled model, runs it once on zeros and prints, as JSON, the milliseconds from the start of
 * the process and from opening the library to that result, the process's peak memory, and the latency of later runs. */
#define _POSIX_C_SOURCE 200809L
#include "runtime/hone.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fail(const char *text)
{
	fprintf(stderr, "first: %s\n", text);
	return 1;
}

static void *allocate(void *self, int32_t output, int64_t size)
{
	(void)self;
	(void)output;
	return aligned_alloc(64, ((size_t)size + 63) / 64 * 64);
}

/* Not getrusage: that counts what the process held before it became this program. */
static double peak_mb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	double kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lf", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb / 1024;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Zeros for the model's one input. */
static hone_tensor zeros(const hone_io *io)
{
	hone_tensor t = {.dtype = io->dtype, .rank = io->rank};

	t.size = t.dtype == HONE_I64 ? 8 : 4;
	for (int i = 0; i < t.rank; i++)
		t.size *= t.dims[i] = io->dims[i].min;
	t.data = calloc(1, (size_t)t.size);
	return t;
}

static int measure(const char *path, double start)
{
	double before_load = now_ms();
	void *library = dlopen(path, RTLD_NOW);
	const hone_model *(*get)(void), *m;
	hone_options options = {.size = sizeof(options), .threads = 1, .allocate = allocate};
	hone_context *c;
	hone_tensor in, out[8] = {{0}};
	double first, load, steady = 1e30, peak;
	char text[256];

	if (!library)
		return fail(dlerror());
	*(void **)&get = dlsym(library, "hone_model_get");
	if (!get || (m = get())->input_count != 1 || m->output_count > 8)
		return fail("not a model with one input");
	if (hone_context_create(m, &options, &c, text, sizeof(text)) != HONE_OK)
		return fail(text);
	in = zeros(&m->inputs[0]);
	if (!in.data || hone_run(c, &in, out) != HONE_OK)
		return fail(hone_error(c));
	first = now_ms() - start;
	load = now_ms() - before_load;
	peak = peak_mb();
	for (int i = 0; i < 5; i++) {
		double before = now_ms();

		hone_run(c, &in, out);
		steady = now_ms() - before < steady ? now_ms() - before : steady;
	}
	printf("{\"first_ms\": %.3f, \"load_ms\": %.3f, \"steady_ms\": %.3f, \"peak_mb\": %.1f}\n",
	       first, load, steady, peak);
	return 0;
}

/* The first time it notes the time and becomes itself again, so that loading the program counts, but no fork of a large one. */
int main(int argc, char **argv)
{
	char start[64];

	if (argc == 3)
		return measure(argv[1], atof(argv[2]));
	if (argc != 2)
		return fail("usage: first LIBRARY");
	snprintf(start, sizeof(start), "%.6f", now_ms());
	execl("/proc/self/exe", argv[0], argv[1], start, (char *)NULL);
	return fail("cannot start itself");
}
