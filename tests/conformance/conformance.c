/* conformance.c: runs ONNX's backend tests, each in a process of its own, a few at a time. Every case passes, or
 * fails, or is skipped because the importer refuses its model; there is no list of names. */
#define _GNU_SOURCE
#include "tests/conformance/conformance.h"
#include "tests/support/amx_emulator.h"
#include "tests/support/sanitized.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 20               /* a case may take */
#define MEMORY ((rlim_t)4 << 30) /* bytes of address space */
#define ENOUGH 600               /* cases that must pass in a full run */
#define MAX_JOBS 64
#define DOCS "docs/conformance.md"

static const char *const groups[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};

struct options {
	const char *data, *only, *cpu, *emulator, *runtime;
	int jobs, every; /* every: one case of so many */
	bool write_docs, list;
	struct how how;
};

/* ---- finding the cases ---- */

static int by_name(const struct dirent **x, const struct dirent **y)
{
	return strcmp((*x)->d_name, (*y)->d_name);
}

static int is_case(const struct dirent *e) { return !strncmp(e->d_name, "test_", 5); }

static void find_cases(const struct options *o, struct arena *a, struct cases *all)
{
	int number = 0;

	for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
		struct dirent **entries;
		int count = scandir(arena_printf(a, "%s/%s", o->data, groups[g]), &entries, is_case,
				    by_name);

		for (int i = 0; i < count; i++) {
			struct test_case t = {groups[g], arena_text(a, entries[i]->d_name), NULL};

			if (number++ % o->every == 0 && (!o->only || strstr(t.name, o->only)))
				ARENA_PUSH(a, all, t);
			free(entries[i]);
		}
		if (count >= 0)
			free(entries);
	}
}

static bool share_outcomes(struct cases *all)
{
	size_t size = ((size_t)all->count + 1) * sizeof(struct outcome);
	struct outcome *shared =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return false;
	for (int i = 0; i < all->count; i++)
		all->at[i].outcome = &shared[i];
	return true;
}

/* ---- a case in its own process ---- */

struct job {
	pid_t pid; /* 0: free */
	struct test_case *test;
	FILE *messages; /* its stderr */
};

_Noreturn static void child(const struct options *o, const struct test_case *t, FILE *messages)
{
	struct arena a = {0};

	alarm(SECONDS);
#if !SANITIZED
	setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY, MEMORY});
#endif
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (messages)
		dup2(fileno(messages), 2);
	case_run(arena_printf(&a, "%s/%s/%s", o->data, t->group, t->name), &o->how, t->outcome);
	fflush(NULL);
	_exit(0);
}

static void start(const struct options *o, struct job *job, struct test_case *t)
{
	job->test = t;
	job->messages = tmpfile();
	fflush(NULL);
	job->pid = fork();
	if (!job->pid)
		child(o, t, job->messages);
}

/* How a process ended that should have exited with 0, and the first line that it said. */
static void judge_end(const struct job *job, int end)
{
	struct outcome *r = job->test->outcome;
	char line[512] = "";

	if (WIFEXITED(end) && !WEXITSTATUS(end) && r->status != STATUS_NONE)
		return;
	if (job->messages) {
		rewind(job->messages);
		if (fgets(line, sizeof(line), job->messages))
			line[strcspn(line, "\n")] = 0;
	}
	r->status = STATUS_FAILED;
	if (WIFSIGNALED(end) && WTERMSIG(end) == SIGALRM)
		snprintf(r->text, sizeof(r->text), "no end after %d s, while %s", SECONDS,
			 r->stage);
	else if (WIFSIGNALED(end))
		snprintf(r->text, sizeof(r->text), "killed by signal %d (%s) while %s%s%s",
			 WTERMSIG(end), strsignal(WTERMSIG(end)), r->stage, *line ? ": " : "",
			 line);
	else
		snprintf(r->text, sizeof(r->text), "exit status %d while %s%s%s", WEXITSTATUS(end),
			 r->stage, *line ? ": " : "", line);
}

/* Waits for one of them. False: none runs. */
static bool finish_one(struct job *jobs, int count)
{
	int end;
	pid_t pid = waitpid(-1, &end, 0);

	for (int i = 0; pid > 0 && i < count; i++) {
		if (jobs[i].pid != pid)
			continue;
		judge_end(&jobs[i], end);
		if (jobs[i].messages)
			fclose(jobs[i].messages);
		jobs[i].pid = 0;
	}
	return pid > 0;
}

static void run_all(const struct options *o, struct cases *all)
{
	struct job jobs[MAX_JOBS] = {0};
	int next = 0;

	while (next < all->count) {
		int free_job = 0;

		while (free_job < o->jobs && jobs[free_job].pid)
			free_job++;
		if (free_job < o->jobs) {
			start(o, &jobs[free_job], &all->at[next++]);
			if (jobs[free_job].pid > 0)
				continue;
			jobs[free_job].pid = 0;
			snprintf(all->at[next - 1].outcome->text, 64,
				 "no process could be started");
			all->at[next - 1].outcome->status = STATUS_FAILED;
		} else if (!finish_one(jobs, o->jobs)) {
			return;
		}
	}
	while (finish_one(jobs, o->jobs))
		;
}

/* ---- command ---- */

static bool is_full(const struct options *o) { return !o->only && o->every == 1; }

static bool read_options(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--interpret")) {
			o->how.interpret = true;
			continue;
		} else if (!strcmp(argv[i], "--export")) {
			o->how.export = true;
			continue;
		} else if (!strcmp(argv[i], "--write-docs")) {
			o->write_docs = true;
			continue;
		} else if (!strcmp(argv[i], "--list")) {
			o->list = true;
			continue;
		} else if (!value) {
			return false;
		} else if (!strcmp(argv[i], "--data")) {
			o->data = value;
		} else if (!strcmp(argv[i], "--only")) {
			o->only = value;
		} else if (!strcmp(argv[i], "--passes")) {
			o->how.passes = value;
		} else if (!strcmp(argv[i], "--cpu")) {
			o->cpu = value;
		} else if (!strcmp(argv[i], "--jobs")) {
			o->jobs = atoi(value);
		} else if (!strcmp(argv[i], "--every")) {
			o->every = atoi(value);
		} else if (!strcmp(argv[i], "--emulator")) {
			o->emulator = value;
		} else if (!strcmp(argv[i], "--runtime")) {
			o->runtime = value;
		} else {
			return false;
		}
		i++;
	}
	return o->data && o->jobs > 0 && o->jobs <= MAX_JOBS && o->every > 0 &&
	       !(o->write_docs && !is_full(o));
}

static bool write_docs(const struct cases *all)
{
	FILE *out = fopen(DOCS, "w");

	if (out)
		report_write_docs(all, out);
	if (out && !fclose(out))
		return true;
	perror(DOCS);
	return false;
}

static void list(const struct cases *all)
{
	static const char *const names[] = {"-", "passed", "failed", "skipped"};

	for (int i = 0; i < all->count; i++)
		printf("%-8s %s/%s\n", names[all->at[i].outcome->status], all->at[i].group,
		       all->at[i].name);
}

int main(int argc, char **argv)
{
	struct options o = {.jobs = 2, .every = 1, .cpu = "native"};
	struct exe_engine exe;
	struct arena a = {0};
	struct diag d = {0};
	struct cases all = {0};
	struct target target;
	int passed, failed;

	if (!read_options(argc, argv, &o)) {
		fprintf(stderr,
			"usage: conformance --data FOLDER [--only TEXT] [--interpret] [--export] "
			"[--passes A,B] [--cpu LEVEL]\n"
			"                   [--jobs N] [--list] [--every N] [--emulator "
			"COMMAND [--runtime ARCHIVE]]\n"
			"                   [--write-docs (not with --only or --every)]\n");
		return 2;
	}
	if (strstr(o.cpu, "amx")) /* inherited by the process of each case */
		amx_start();
	if (!target_resolve(o.cpu, NULL, &a, &target, &d)) {
		diag_print(&d, stderr, false);
		return diag_exit_status(&d);
	}
#ifdef HONE_SANITIZE_EMITTED
	target.sanitize = HONE_SANITIZE_EMITTED;
#endif
	o.how.target = &target;
	exe = (struct exe_engine){&target, o.runtime, o.emulator};
	if (o.emulator)
		o.how.exe = &exe;
	find_cases(&o, &a, &all);
	if (!share_outcomes(&all))
		return 1;
	run_all(&o, &all);
	if (o.list)
		list(&all);
	report_print(&all, stdout);
	passed = cases_with(&all, STATUS_PASSED);
	failed = cases_with(&all, STATUS_FAILED);
	if (is_full(&o) && passed < ENOUGH)
		printf("only %d cases passed; at least %d must\n", passed, ENOUGH);
	if (o.write_docs && !write_docs(&all))
		failed += !failed;
	printf("%d passed, %d failed, %d skipped\n", passed, failed,
	       cases_with(&all, STATUS_SKIPPED));
	arena_free(&a);
	diag_reset(&d);
	return failed || (is_full(&o) && passed < ENOUGH);
}
