/* first.c: first LIBRARY START: loads a compiled model, runs it once on zeros and prints, as JSON, the milliseconds since
 * START (CLOCK_REALTIME seconds, taken before this process was started) and the process's peak memory. */
#define _POSIX_C_SOURCE 200809L
#include "runtime/hone.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

int main(int argc, char **argv)
{
	void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
	const hone_model *(*get)(void), *m;
	hone_options options = {.size = sizeof(options), .threads = 1, .allocate = allocate};
	hone_context *c;
	hone_tensor in = {0}, out[8] = {{0}};
	struct timespec t;
	char text[256];

	if (!library)
		return fail(argc == 3 ? dlerror() : "usage: first LIBRARY START");
	*(void **)&get = dlsym(library, "hone_model_get");
	if (!get || (m = get())->input_count != 1 || m->output_count > 8)
		return fail("not a model with one input");
	if (hone_context_create(m, &options, &c, text, sizeof(text)) != HONE_OK)
		return fail(text);
	in.dtype = m->inputs[0].dtype;
	in.rank = m->inputs[0].rank;
	in.size = in.dtype == HONE_I64 ? 8 : 4;
	for (int i = 0; i < in.rank; i++)
		in.size *= in.dims[i] = m->inputs[0].dims[i].min;
	in.data = calloc(1, (size_t)in.size);
	if (!in.data || hone_run(c, &in, out) != HONE_OK)
		return fail(hone_error(c));
	clock_gettime(CLOCK_REALTIME, &t);
	printf("{\"first_ms\": %.3f, \"peak_mb\": %.1f}\n",
	       ((double)t.tv_sec + (double)t.tv_nsec * 1e-9 - atof(argv[2])) * 1e3, peak_mb());
	return 0;
}
