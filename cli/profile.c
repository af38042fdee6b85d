/* profile.c: what the kernels of a model take, beside what the machine allows.
 *
 * The bound of a kernel is the roofline of Williams, Waterman and Patterson (2009): the larger of operations / peak and
 * the time to move its bytes once. Bytes fill the levels of memory from the smallest: as many as a level holds move at
 * its bandwidth, since they may be there from the run before, the rest at that of the next. Peak and bandwidths are
 * measured (machine.h) and multiplied by the threads. */
#include "cli/profile.h"
#include "cli/json.h"
#include "cli/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct roof {
	double f32, int8; /* 1e9 operations per second */
	enum unit unit;
	struct bandwidth level[LEVEL_COUNT];
	int64_t size[LEVEL_COUNT];
	int threads;
};

struct line {
	const struct profile_row *row;
	double bound; /* ms */
	bool compute; /* bound by arithmetic */
	int level;
};

/* ---- the roof ---- */

static struct roof measure_roof(const struct target *t, int threads)
{
	struct roof r = {.threads = threads};

	r.unit = t->isa == ISA_X86_V4   ? UNIT_F32_512
		 : t->isa == ISA_X86_V3 ? UNIT_F32_256
					: UNIT_F32_128;
	r.f32 = machine_compute(r.unit);
	r.int8 = t->vnni ? machine_compute(UNIT_VNNI) : r.f32;
	r.size[LEVEL_L1] = t->l1;
	r.size[LEVEL_L2] = t->l2;
	r.size[LEVEL_L3] = t->l3;
	r.size[LEVEL_DRAM] = INT64_MAX;
	machine_bandwidths(r.size, r.level);
	return r;
}

/* A level that could not be measured, or that a disturbance made slower than a larger one, has the larger one's rate. */
static double bandwidth(const struct roof *r, int level)
{
	double most = 0;

	for (int i = level; i < LEVEL_COUNT; i++) {
		most = r->level[i].read > most ? r->level[i].read : most;
		most = r->level[i].copy > most ? r->level[i].copy : most;
	}
	return most;
}

/* Time to move `bytes` once, in ms; *level: the smallest that holds them. */
static double move_ms(const struct roof *r, double bytes, int *level)
{
	double ms = 0, below = 0;

	for (*level = 0;; ++*level) {
		double held = bytes < (double)r->size[*level] ? bytes : (double)r->size[*level];

		ms += (held - below) / (bandwidth(r, *level) * 1e6 * r->threads);
		below = held;
		if (held >= bytes)
			return ms;
	}
}

static double peak(const struct roof *r, const struct kernel *k)
{
	for (int i = 0; i < k->buffers.count; i++) {
		enum dtype t = k->buffers.at[i].type.dtype;

		if (k->buffers.at[i].role == BUFFER_IN && (t == DT_I8 || t == DT_U8))
			return r->int8;
		if (t == DT_F64)
			return r->f32 / 2;
	}
	return r->f32;
}

static struct line line_of(const struct roof *r, const struct profile_row *row)
{
	struct line l = {.row = row};
	double calls = row->calls > 1 ? row->calls : 1,
	       bytes = row->work.in_bytes + row->work.out_bytes,
	       compute = row->work.operations / (peak(r, row->kernel) * 1e6 * r->threads), memory;

	memory = calls * move_ms(r, bytes / calls, &l.level);
	l.compute = compute >= memory;
	l.bound = l.compute ? compute : memory;
	return l;
}

/* ---- measuring ---- */

enum { RUNS_MAX = 2000 };

static bool one_run(struct session *s, hone_context *c, const struct tensors *in,
		    struct tensors *out, bool counting)
{
	hone_status status;

	profile_start(s->profile, counting);
	status = hone_run(c, in->at, out->at);
	profile_stop(s->profile);
	return status == HONE_OK ||
	       diag_add(&s->diag, DIAG_DIFFER, (struct loc){.file = s->path}, "%s", hone_error(c));
}

static bool run_all(struct session *s, const struct tensors *in, int threads, double seconds)
{
	hone_options options = {
		.size = sizeof(options), .threads = (uint32_t)threads, .allocate = output_allocate};
	struct tensors out = {s->compiled->output_count,
			      calloc((size_t)s->compiled->output_count + 1, sizeof(hone_tensor))};
	hone_context *c = NULL;
	char text[512] = "";
	bool ok = hone_context_create(s->compiled, &options, &c, text, sizeof(text)) == HONE_OK ||
		  diag_add(&s->diag, DIAG_DIFFER, (struct loc){0}, "%s", text);
	struct timespec start, now;

	ok = ok && one_run(s, c, in, &out, true);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; ok && i < RUNS_MAX; i++) {
		ok = one_run(s, c, in, &out, false);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (i >= 4 && (double)(now.tv_sec - start.tv_sec) +
					      (double)(now.tv_nsec - start.tv_nsec) * 1e-9 >
				      seconds)
			break;
	}
	hone_context_destroy(c);
	tensors_free(&out);
	return ok;
}

/* ---- printing ---- */

static int by_time(const void *x, const void *y)
{
	const struct line *a = x, *b = y;

	if (a->row->ms != b->row->ms)
		return a->row->ms < b->row->ms ? 1 : -1;
	return a->row < b->row ? -1 : 1;
}

struct sum {
	double ms, best, calls, operations, bytes, bound;
};

static struct sum sum_of(const struct line *l)
{
	const struct kernel_work *w = &l->row->work;

	return (struct sum){
		l->row->ms, l->row->best, l->row->calls, w->operations, w->in_bytes + w->out_bytes,
		l->bound};
}

static void add_to(struct sum *a, struct sum b)
{
	a->ms += b.ms;
	a->best += b.best;
	a->calls += b.calls;
	a->operations += b.operations;
	a->bytes += b.bytes;
	a->bound += b.bound;
}

static void print_sum(struct sum m, double run, const char *by, const char *what)
{
	double rate = m.ms > 0 ? 1 / m.ms / 1e6 : 0;

	printf("%9.4f %9.4f %5.1f %5.4g %8.4g %7.1f %8.4g %6.1f %9.4f %5.1f %-5s %s\n", m.ms,
	       m.best, 100 * m.ms / run, m.calls, m.operations / 1e6, m.operations * rate,
	       m.bytes / 1e6, m.bytes * rate, m.bound, m.ms > 0 ? 100 * m.bound / m.ms : 0, by,
	       what);
}

/* The nodes' names with what they share with the first, up to its last slash, left out from the second on. */
static const char *short_origin(struct arena *a, const char *origin)
{
	const char *end = strstr(origin, " + "), *slash = origin;
	const char *out;
	size_t shared;

	for (const char *c = origin; *c && c != end; c++)
		slash = *c == '/' ? c + 1 : slash;
	shared = (size_t)(slash - origin);
	if (!end || !shared)
		return origin;
	out = arena_printf(a, "%.*s", (int)(end - origin), origin);
	for (const char *at = end; at; at = end) {
		at += 3;
		end = strstr(at, " + ");
		if (!strncmp(at, origin, shared))
			at += shared;
		out = arena_printf(a, "%s + %.*s", out, end ? (int)(end - at) : (int)strlen(at),
				   at);
	}
	return out;
}

static void print_head(const struct roof *r, const struct session *s)
{
	printf("# %s for %s, %d thread%s; measured on one core: %.1f GFLOP/s (%s)", s->path,
	       s->target.spec, r->threads, r->threads > 1 ? "s" : "", r->f32, unit_names[r->unit]);
	for (int i = 0; i < LEVEL_COUNT; i++)
		printf(", %s %.0f GB/s", level_names[i], bandwidth(r, i));
	printf("\n# ms, rates and roof: of the median of each kernel; best: its fastest\n# bound: "
	       "the larger of operations / peak and bytes / bandwidth; roof: bound / "
	       "time, %%; "
	       "by: what bounds\n");
	printf("%9s %9s %5s %5s %8s %7s %8s %6s %9s %5s %-5s %s\n", "ms", "best", "%", "calls",
	       "MFLOP", "GFLOP/s", "MB", "GB/s", "bound ms", "roof", "by",
	       "kernel, driver, ONNX nodes");
}

static void print_table(struct session *s, const struct roof *r, const struct line *lines,
			int count)
{
	struct sum all = {0}, by_driver[DRIVER_COUNT] = {{0}};
	double run = profile_run_ms(s->profile);
	char text[160];

	print_head(r, s);
	for (int i = 0; i < count; i++) {
		const struct profile_row *row = lines[i].row;
		const char *name = strrchr(row->function, '_');
		enum driver driver = row->kernel->plan.driver;

		snprintf(text, sizeof(text), "%s %s %s", name ? name + 1 : row->function,
			 driver_names[driver], short_origin(&s->arena, row->origin));
		print_sum(sum_of(&lines[i]), run,
			  lines[i].compute ? "peak" : level_names[lines[i].level], text);
		add_to(&by_driver[driver], sum_of(&lines[i]));
		add_to(&all, sum_of(&lines[i]));
	}
	for (int i = 0; i < DRIVER_COUNT; i++)
		if (by_driver[i].calls > 0) {
			snprintf(text, sizeof(text), "all of driver %s", driver_names[i]);
			print_sum(by_driver[i], run, "", text);
		}
	print_sum(all, run, "", "all kernels");
	printf("%9.4f %9s %5.1f the whole run (median), of which %.4f ms between kernels\n", run,
	       "", 100.0, profile_between_ms(s->profile));
}

static void print_row_json(const struct line *l, bool first)
{
	const struct profile_row *row = l->row;

	printf("%s{", first ? "" : ",");
	json_field(true, "function", row->function);
	json_field(false, "driver", driver_names[row->kernel->plan.driver]);
	json_field(false, "nodes", row->origin);
	json_field(false, "bound_by", l->compute ? "peak" : level_names[l->level]);
	printf(",\"ms\":%.6f,\"best_ms\":%.6f,\"calls\":%.0f,\"operations\":%.0f,\"in_bytes\":%.0f,"
	       "\"out_bytes\":%."
	       "0f,"
	       "\"gflops\":%.3f,\"bound_ms\":%.6f,\"roof_percent\":%.2f}",
	       row->ms, row->best, row->calls, row->work.operations, row->work.in_bytes,
	       row->work.out_bytes, row->ms > 0 ? row->work.operations / row->ms / 1e6 : 0,
	       l->bound, row->ms > 0 ? 100 * l->bound / row->ms : 0);
}

static void print_json(const struct session *s, const struct roof *r, const struct line *lines,
		       int count)
{
	printf("{");
	json_field(true, "model", s->path);
	json_field(false, "cpu", s->target.spec);
	printf(",\"threads\":%d,\"run_ms\":%.6f,\"between_ms\":%.6f,\"peak_gflops\":%.1f,"
	       "\"bandwidth_gbs\":{",
	       r->threads, profile_run_ms(s->profile), profile_between_ms(s->profile), r->f32);
	for (int i = 0; i < LEVEL_COUNT; i++)
		printf("%s\"%s\":%.1f", i ? "," : "", level_names[i], bandwidth(r, i));
	printf("},\"kernels\":[");
	for (int i = 0; i < count; i++)
		print_row_json(&lines[i], i == 0);
	printf("]}\n");
}

/* The Trace Event Format of Chrome's about:tracing and Perfetto: complete events, in microseconds. */
static bool write_trace(struct session *s, const struct profile_row *rows, const char *path)
{
	const struct profile_event *events;
	int count = profile_events(s->profile, &events);
	FILE *out = fopen(path, "w");
	bool ok = out != NULL;

	if (out) {
		fprintf(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
		for (int i = 0; i < count; i++) {
			const struct profile_row *row = &rows[events[i].row];

			fprintf(out,
				"%s\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,"
				"\"name\":",
				i ? "," : "", events[i].start * 1e3,
				(events[i].end - events[i].start) * 1e3);
			json_write(out, row->origin);
			fprintf(out, ",\"args\":{\"function\":");
			json_write(out, row->function);
			fprintf(out, ",\"driver\":\"%s\"}}",
				driver_names[row->kernel->plan.driver]);
		}
		fprintf(out, "\n]}\n");
		ok = fclose(out) == 0;
	}
	return ok || diag_add(&s->diag, DIAG_FILE, (struct loc){.file = path}, "cannot write: %s",
			      strerror(errno));
}

bool profile_report(struct session *s, const struct tensors *in, int threads, double seconds,
		    const char *trace)
{
	struct roof roof = measure_roof(&s->target, threads);
	const struct profile_row *rows;
	struct line *lines;
	int count;

	if (!run_all(s, in, threads, seconds))
		return false;
	count = profile_rows(s->profile, &rows);
	lines = ARENA_ARRAY(&s->arena, struct line, count + 1);
	for (int i = 0; i < count; i++)
		lines[i] = line_of(&roof, &rows[i]);
	qsort(lines, (size_t)count, sizeof(*lines), by_time);
	if (s->json)
		print_json(s, &roof, lines, count);
	else
		print_table(s, &roof, lines, count);
	return !*trace || write_trace(s, rows, trace);
}
