/* bench.c: hone bench: latency percentiles of one model. */
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/profile.h"
#include "cli/session.h"
#include "cli/tensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

struct bench_options {
	struct list inputs;
	const char *threads, *profile;
	double seconds;
	int64_t seed;
};

struct bench_result {
	int threads, runs;
	double first, min, p50, p90, p99;
};

enum { RUNS_MAX = 100000 };

/* Runs until the time is over, at least 5 times. Outputs keep their buffers from the first run. */
static bool measure(struct session *s, const struct tensors *in, double seconds,
		    struct bench_result *r)
{
	hone_options options = {.size = sizeof(options),
				.threads = (uint32_t)r->threads,
				.allocate = output_allocate};
	struct tensors out = {s->compiled->output_count,
			      calloc((size_t)s->compiled->output_count + 1, sizeof(hone_tensor))};
	double *times = malloc(RUNS_MAX * sizeof(*times)), end, start;
	hone_context *c = NULL;
	char text[512] = "";
	bool ok = hone_context_create(s->compiled, &options, &c, text, sizeof(text)) == HONE_OK;

	if (!ok)
		diag_add(&s->diag, DIAG_DIFFER, (struct loc){0}, "%s", text);
	start = now_ms();
	if (ok && hone_run(c, in->at, out.at) != HONE_OK)
		ok = diag_add(&s->diag, DIAG_DIFFER, (struct loc){.file = s->path}, "%s",
			      hone_error(c));
	r->first = now_ms() - start;
	for (end = now_ms() + seconds * 1e3;
	     ok && r->runs < RUNS_MAX && (r->runs < 5 || now_ms() < end); r->runs++) {
		start = now_ms();
		hone_run(c, in->at, out.at);
		times[r->runs] = now_ms() - start;
	}
	if (ok) {
		qsort(times, (size_t)r->runs, sizeof(*times), compare);
		r->min = times[0];
		r->p50 = times[r->runs / 2];
		r->p90 = times[r->runs * 9 / 10];
		r->p99 = times[r->runs * 99 / 100];
	}
	hone_context_destroy(c);
	tensors_free(&out);
	free(times);
	return ok;
}

static void print_first(const struct session *s, const struct bench_result *r, bool more)
{
	printf("{");
	json_field(true, "model", s->path);
	json_field(false, "cpu", s->compiled->cpu);
	printf(",\"p50_ms\":%.6f,\"p90_ms\":%.6f,\"p99_ms\":%.6f,\"min_ms\":%.6f,\"first_ms\":%.6f,"
	       "\"threads\":%d,\"runs\":%d%s",
	       r->p50, r->p90, r->p99, r->min, r->first, r->threads, r->runs,
	       more ? ",\"more\":[" : "");
}

static void print_result(const struct session *s, const struct bench_result *r, int index,
			 int count)
{
	if (!s->json)
		printf("%d thread%s: p50 %.4f ms, p90 %.4f, p99 %.4f, min %.4f, first run %.4f (%d "
		       "runs)\n",
		       r->threads, r->threads > 1 ? "s" : "", r->p50, r->p90, r->p99, r->min,
		       r->first, r->runs);
	else if (index == 0)
		print_first(s, r, count > 1);
	else
		printf("%s{\"p50_ms\":%.6f,\"p90_ms\":%.6f,\"p99_ms\":%.6f,\"min_ms\":%.6f,"
		       "\"threads\":%d,\"runs\":%d}",
		       index > 1 ? "," : "", r->p50, r->p90, r->p99, r->min, r->threads, r->runs);
	if (s->json && index == count - 1)
		puts(count > 1 ? "]}" : "}");
}

/* "1,2" */
static int parse_threads(const char *text, int *threads, struct diag *d)
{
	int count = 0;
	char *end;

	while (count < 8) {
		long n = strtol(text, &end, 10);

		if (end == text || n < 1 || n > 256 || (*end && *end != ',')) {
			diag_add(d, DIAG_USAGE, (struct loc){0},
				 "--threads: expected numbers such as 1,2");
			return 0;
		}
		threads[count++] = (int)n;
		if (!*end)
			return count;
		text = end + 1;
	}
	return count;
}

static bool bench(struct session *s, const struct bench_options *o)
{
	struct tensors in = {0};
	int threads[8], count = parse_threads(o->threads, threads, &s->diag);
	bool ok = count != 0;

	if (ok && o->profile && is_library(s->path))
		ok = diag_add(
			&s->diag, DIAG_USAGE, (struct loc){.file = s->path},
			"--profile needs the model (.onnx or .hir): a compiled library has no "
			"marks around its kernels; see --keep-symbols for perf");
	if (ok && o->profile)
		s->profile = profile_new();
	ok = ok && session_compile(s);

	ok = ok && (o->inputs.count ? inputs_read(s->compiled, &o->inputs, &s->arena, &in, &s->diag)
				    : inputs_random(s->compiled, o->seed, &s->dims, &in, &s->diag));
	for (int i = 0; ok && i < count; i++) {
		struct bench_result r = {.threads = threads[i]};

		if (o->profile) {
			ok = profile_report(s, &in, threads[i], o->seconds, o->profile);
			continue;
		}
		ok = measure(s, &in, o->seconds, &r);
		if (ok)
			print_result(s, &r, i, count);
	}
	tensors_free(&in);
	profile_free(s->profile);
	return ok;
}

int command_bench(int argc, char **argv)
{
	struct session s = {0};
	struct bench_options o = {.threads = "1", .seconds = 1, .seed = 1};
	const struct option own[] = {
		{"threads", OPTION_TEXT, &o.threads, "1,2",
		 "thread counts to measure, one after the other"},
		{"seconds", OPTION_REAL, &o.seconds, "S", "how long each (default 1)"},
		{"input", OPTION_LIST, &o.inputs, "FILE..", "inputs (default: random ones)"},
		{"seed", OPTION_INT, &o.seed, "N", "for random inputs (default 1)"},
		{"profile", OPTION_OPTIONAL, &o.profile, "TRACE.json",
		 "time of each kernel beside its bound; a file gets a Chrome trace"},
		{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed = session_parse(&s, command_row("bench"), argc, argv, own, NULL);
	bool ok = parsed == PARSED_OK && bench(&s, &o);

	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
