/* profile.c: collects the times of kernels. */
#include "backend/profile.h"
#include "backend/program.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EVENTS_MAX = 1 << 20 };

/* A run's times: of each site, then these. */
enum { RUN, BETWEEN, EXTRA };

struct samples {
	double *at; /* rows of site_count + EXTRA */
	int count, room;
};

struct profile {
	struct arena arena;
	struct program *program;
	int count; /* sites */
	struct profile_row *rows;
	double *now; /* this run's row */
	struct samples runs;
	struct profile_event *events;
	int event_count, event_room;
	bool counting;
	double run_start, kernel_start;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct profile *profile_new(void)
{
	struct profile *p = calloc(1, sizeof(*p));

	if (!p)
		BUG("no memory for a profile");
	return p;
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	free(p->runs.at);
	free(p->events);
	arena_free(&p->arena);
	free(p);
}

/* ---- names ---- */

static bool is_in(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' '))
			return true;
	return false;
}

static const char *add_name(struct arena *a, const char *list, const struct node *n)
{
	const char *name = n->loc.node && *n->loc.node ? n->loc.node : n->loc.op;

	if (!name || is_in(list, name))
		return list;
	return *list ? arena_printf(a, "%s + %s", list, name) : name;
}

/* The ONNX nodes of a group are those of the ops in it. */
static const char *origin_of(struct arena *a, const struct node *n)
{
	const char *list = "";

	for (int i = 0; i < n->region_count; i++)
		for (const struct node *m = n->regions[i]->first; m; m = m->next)
			if (m->op != OP_const)
				list = add_name(a, list, m);
	if (!*list)
		list = add_name(a, list, n);
	return *list ? list : op_table[n->op].name;
}

void profile_attach(struct profile *p, struct program *program, const char *const *functions)
{
	p->program = program;
	p->count = program->sites.count;
	p->rows = ARENA_ARRAY(&p->arena, struct profile_row, p->count + 1);
	p->now = ARENA_ARRAY(&p->arena, double, p->count + EXTRA);
	for (int i = 0; i < p->count; i++) {
		const struct site *s = &program->sites.at[i];

		p->rows[i] = (struct profile_row){.function = functions[s->function],
						  .origin = origin_of(&p->arena, s->node),
						  .kernel = s->kernel};
	}
}

/* ---- a run ---- */

void profile_start(struct profile *p, bool counting)
{
	p->counting = counting;
	if (counting) {
		p->runs.count = 0;
		for (int i = 0; i < p->count; i++) {
			p->rows[i].calls = 0;
			p->rows[i].work = (struct kernel_work){0};
		}
	}
	memset(p->now, 0, (size_t)(p->count + EXTRA) * sizeof(*p->now));
	p->event_count = 0;
	p->run_start = now_ms();
}

static void *grown(void *at, int *room, size_t size)
{
	*room = *room ? 2 * *room : 64;
	at = realloc(at, (size_t)*room * size);
	if (!at)
		BUG("no memory for a profile");
	return at;
}

static void add_event(struct profile *p, int site, double start, double end)
{
	if (p->event_count == EVENTS_MAX)
		return;
	if (p->event_count == p->event_room)
		p->events = grown(p->events, &p->event_room, sizeof(*p->events));
	p->events[p->event_count++] =
		(struct profile_event){site, start - p->run_start, end - p->run_start};
}

static void count_work(struct profile_row *row, const struct hone_frame *frame)
{
	struct kernel_work w = kernel_work_of(row->kernel, frame->words);

	row->calls++;
	row->work.operations += w.operations;
	row->work.in_bytes += w.in_bytes;
	row->work.out_bytes += w.out_bytes;
}

void profile_mark(struct profile *p, struct hone_frame *frame, int32_t site, int32_t end)
{
	double now;

	if (!end) {
		p->kernel_start = now_ms();
		return;
	}
	now = now_ms();
	p->now[site] += now - p->kernel_start;
	if (p->counting)
		count_work(&p->rows[site], frame);
	else
		add_event(p, site, p->kernel_start, now);
}

void profile_stop(struct profile *p)
{
	int width = p->count + EXTRA;
	double run = now_ms() - p->run_start;

	p->now[p->count + RUN] = p->now[p->count + BETWEEN] = run;
	for (int i = 0; i < p->count; i++)
		p->now[p->count + BETWEEN] -= p->now[i];
	if (p->counting)
		return;
	if (p->runs.count == p->runs.room)
		p->runs.at = grown(p->runs.at, &p->runs.room, (size_t)width * sizeof(*p->runs.at));
	memcpy(p->runs.at + (size_t)p->runs.count++ * (size_t)width, p->now,
	       (size_t)width * sizeof(*p->now));
}

/* ---- results ---- */

static int compare(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

/* Column i of the runs: its median, and its least when best is not NULL. */
static double median(const struct profile *p, int i, double *best)
{
	struct arena scratch = {0};
	double *column = ARENA_ARRAY(&scratch, double, p->runs.count + 1), middle;

	for (int r = 0; r < p->runs.count; r++)
		column[r] = p->runs.at[(size_t)r * (size_t)(p->count + EXTRA) + (size_t)i];
	qsort(column, (size_t)p->runs.count, sizeof(*column), compare);
	middle = column[p->runs.count / 2];
	if (best)
		*best = column[0];
	arena_free(&scratch);
	return middle;
}

int profile_rows(struct profile *p, const struct profile_row **rows)
{
	for (int i = 0; i < p->count; i++)
		p->rows[i].ms = median(p, i, &p->rows[i].best);
	*rows = p->rows;
	return p->count;
}

int profile_events(const struct profile *p, const struct profile_event **events)
{
	*events = p->events;
	return p->event_count;
}

double profile_run_ms(const struct profile *p) { return median(p, p->count + RUN, NULL); }

double profile_between_ms(const struct profile *p) { return median(p, p->count + BETWEEN, NULL); }
