/* runner.c: runs passes; printing, verifying, comparing, timing and reproducers are here and in no pass. */
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/compare.h"

#include <string.h>
#include <time.h>

struct runner {
	struct graph *g;
	const struct pipeline_options *o;
	struct engine *engine;
	struct diag *diag;
	struct arena scratch;
	struct comparison comparison;
	bool compares;
	char path[512], side[512]; /* of the reproducer, or empty */
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool names(const char *option, const struct pass *p)
{
	return option && (!strcmp(option, "all") || !strcmp(option, p->name));
}

static void print(const struct runner *r, const char *when, const struct pass *p)
{
	fprintf(stderr, "# %s %s\n", when, p->name);
	graph_print(r->g, stderr, NULL);
}

/* The graph before this pass and how to run it: it stays when the pass fails, or crashes. */
static bool write_reproducer(struct runner *r, const struct pass *p)
{
	struct text_side side = {.name = "reproduce.bin"};
	FILE *out;

	snprintf(r->path, sizeof(r->path), "%s/reproduce.hir", r->o->reproduce);
	snprintf(r->side, sizeof(r->side), "%s/reproduce.bin", r->o->reproduce);
	out = fopen(r->path, "w");
	side.out = fopen(r->side, "wb");
	if (!out || !side.out) {
		if (out)
			fclose(out);
		if (side.out)
			fclose(side.out);
		return diag_add(r->diag, DIAG_FILE, (struct loc){.file = r->path},
				"cannot write the reproducer");
	}
	fprintf(out,
		"# hone compile reproduce.hir --passes=%s --verify-each%s --emit ir -o out.hir\n# "
		"RUN: %s\n",
		p->name, r->compares ? " --check" : "", p->name);
	graph_print(r->g, out, &side);
	if (fclose(side.out) != 0) {
		fclose(out);
		return diag_add(r->diag, DIAG_FILE, (struct loc){.file = r->side},
				"cannot write the reproducer");
	}
	return fclose(out) == 0 || diag_add(r->diag, DIAG_FILE, (struct loc){.file = r->path},
					    "cannot write the reproducer");
}

static bool judge(struct runner *r, const struct pass *p, int changes)
{
	if (r->o->verify_each && !graph_verify(r->g, DIAG_INTERNAL, r->diag))
		return diag_add(r->diag, DIAG_INTERNAL, (struct loc){0},
				"the graph is wrong after pass %s", p->name);
	return !r->compares || !changes || comparison_check(&r->comparison, p, r->diag);
}

static bool run_pass(struct runner *r, const struct pass *p)
{
	struct pass_context c = {.graph = r->g,
				 .scratch = &r->scratch,
				 .engine = r->engine,
				 .diag = r->diag,
				 .calibration = r->o->calibration,
				 .report = r->o->report};
	double start, ms;
	bool ok;

	if (names(r->o->print_before, p))
		print(r, "before", p);
	if (r->o->reproduce && !write_reproducer(r, p))
		return false;
	c.argument = pass_argument(r->o->passes, p, &r->scratch);
	if (!c.argument)
		c.argument = pass_argument(r->o->arguments, p, &r->scratch);
	start = now_ms();
	ok = p->run(&c);
	ms = now_ms() - start;
	arena_free(&r->scratch);
	if (r->o->time)
		fprintf(stderr, "%-22s %8.2f ms %6d changes\n", p->name, ms, c.changes);
	if (ok && names(r->o->print_after, p) && c.changes)
		print(r, "after", p);
	ok = ok && judge(r, p, c.changes);
	if (!ok) {
		diag_add(r->diag, DIAG_NOTE, (struct loc){0}, "pass %s failed%s%s", p->name,
			 r->o->reproduce ? "; to replay it: " : "", r->path);
		return false;
	}
	if (c.changes && r->o->observe)
		r->o->observe(r->o->self, p->name, r->g, c.changes, ms);
	return true;
}

/* The passes to run, ended by NULL: those asked for, or the default ones. NULL: reported. */
static const struct pass **choose(struct runner *r, struct arena *a)
{
	struct {
		const struct pass **at;
		int count, room;
	} list = {0};
	const char *at = r->o->passes;

	for (int i = 0; !at && default_pipeline[i]; i++)
		ARENA_PUSH(a, &list,
			   pass_by_name(default_pipeline[i], strlen(default_pipeline[i])));
	while (at && *at) {
		size_t length = strcspn(at, ",");
		const struct pass *p = pass_by_name(at, length);

		if (!p && length) {
			diag_add(r->diag, DIAG_USAGE, (struct loc){0},
				 "there is no pass \"%.*s\" (see hone passes)", (int)length, at);
			return NULL;
		}
		if (p)
			ARENA_PUSH(a, &list, p);
		at += length + (at[length] == ',');
	}
	ARENA_PUSH(a, &list, NULL);
	return list.at;
}

/* How many passes to run, given --stop-after: up to the last of that name. -1: reported. */
static int find_end(struct runner *r, const struct pass *const *list)
{
	int count = 0, end = -1;

	for (; list[count]; count++)
		if (r->o->stop_after && !strcmp(r->o->stop_after, list[count]->name))
			end = count + 1;
	if (!r->o->stop_after)
		return count;
	if (end < 0)
		diag_add(r->diag, DIAG_USAGE, (struct loc){0}, "pass \"%s\" is not in the pipeline",
			 r->o->stop_after);
	return end;
}

static bool known_or_all(struct runner *r, const char *name)
{
	if (!name || !strcmp(name, "all") || pass_by_name(name, strlen(name)))
		return true;
	return diag_add(r->diag, DIAG_USAGE, (struct loc){0},
			"there is no pass \"%s\" (see hone passes)", name);
}

bool pipeline_run(struct graph *g, const struct pipeline_options *o, struct engine *engine,
		  struct diag *d)
{
	struct runner r = {.g = g, .o = o, .engine = engine, .diag = d};
	struct arena a = {0};
	const struct pass **list = choose(&r, &a);
	int end = list ? find_end(&r, list) : -1;
	bool ok = end >= 0 && known_or_all(&r, o->print_before) && known_or_all(&r, o->print_after);

	if (ok && o->observe)
		o->observe(o->self, "import", g, 0, 0);
	if (ok && o->check)
		r.compares = comparison_begin(&r.comparison, g);
	for (int i = 0; i < end && ok; i++)
		ok = run_pass(&r, list[i]);
	if (o->check)
		comparison_end(&r.comparison);
	if (ok && r.path[0]) {
		remove(r.path);
		remove(r.side);
	}
	arena_free(&a);
	return ok;
}
