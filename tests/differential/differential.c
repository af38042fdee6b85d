/* differential.c: random graphs, run by the interpreter (the oracle) and by others, and compared:
 *   text     the interpreter on the graph printed and parsed
 *   group    the interpreter on the graph after the pass group
 *   native   the code generator in-process
 *   passes   the same, after the default pipeline
 *   threads  the same with every kernel forked: 1, 2 and 3 threads must give the same bits
 * Each case runs in a process of its own, so that a crash or a hang is a failed case. A case that fails is
 * tried again with fewer steps; the shortest that fails is printed: its seed, the first difference, the text.
 *
 *	differential [--seed N] [--count N] [--only VARIANT] [--cpu CPU] [--steps N]
 *	             [--emulator COMMAND [--runtime ARCHIVE]]   native and passes by executables */
#include "tests/differential/generate.h"

#include "backend/compile.h"
#include "ir/interp.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "tests/support/amx_emulator.h"
#include "tests/support/exe_engine.h"
#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long ull;

enum outcome { PASSED, FAILED, SKIPPED };
enum variant {
	VARIANT_TEXT,
	VARIANT_GROUP,
	VARIANT_NATIVE,
	VARIANT_PASSES,
	VARIANT_THREADS,
	VARIANT_COUNT
};
static const char *const variant_names[] = {"text", "group", "native", "passes", "threads"};

struct options {
	uint64_t seed;
	int count, steps, only; /* only: -1: all variants; steps: 0: drawn */
	const char *cpu, *emulator, *runtime;
};

/* What one engine made of a case. */
struct answer {
	bool compiled, ran;
	hone_tensor outputs[MAX_OUTPUTS], bounds[MAX_OUTPUTS];
	struct diag diag;
};

static void answer_free(struct answer *a)
{
	for (int i = 0; i < MAX_OUTPUTS; i++) {
		free(a->outputs[i].data);
		free(a->bounds[i].data);
	}
	diag_reset(&a->diag);
}

static void answer_of(struct answer *a, struct engine *e, struct graph *g,
		      const hone_tensor *inputs)
{
	struct engine_program *p = e->compile(e, g, 0, NULL, &a->diag);

	a->compiled = p != NULL;
	if (!p)
		return;
	a->ran = e == &interpreter
			 ? interpreter_run_bounds(p, inputs, a->outputs, a->bounds, &a->diag)
			 : e->run(p, inputs, a->outputs, NULL, NULL, &a->diag);
	e->release(p);
}

/* ---- comparing ---- */

/* The distance of floats next to x in type t. */
static double spacing(enum dtype t, double x)
{
	if (t == DT_F32)
		return fmax((double)(nextafterf(fabsf((float)x), INFINITY) - fabsf((float)x)),
			    0x1p-149);
	if (t == DT_BF16)
		return fmax(ldexp(1, ilogb(x ? x : 1) - 7), 0x1p-133);
	return nextafter(fabs(x), INFINITY) - fabs(x);
}

static double allowed(const struct generator *g, enum dtype t, double oracle,
		      const hone_tensor *bounds, int64_t i)
{
	switch (g->judge) {
	case JUDGE_ULP: return (g->tolerance + 0.5) * spacing(t, oracle);
	case JUDGE_BOUNDS: return bounds->data ? 0x1p-23 * ((const double *)bounds->data)[i] : 0;
	case JUDGE_BF16:
		return bounds->data ? 0x1p-23 * ((const double *)bounds->data)[i] +
					      spacing(DT_BF16, oracle)
				    : 0;
	case JUDGE_ABS: return g->tolerance;
	default: return 0;
	}
}

static bool same_element(const struct generator *g, enum dtype t, union scalar x,
			 union scalar oracle, const hone_tensor *bounds, bool judged, int64_t i)
{
	if (!dtype_is_float(t))
		return x.i == oracle.i;
	if (isnan(oracle.f) || isnan(x.f))
		return isnan(oracle.f) && isnan(x.f);
	if (x.f == oracle.f)
		return true;
	return judged && fabs(x.f - oracle.f) <= allowed(g, t, oracle.f, bounds, i);
}

static void print_shape(const hone_tensor *x)
{
	printf(" %s[", dtype_name((enum dtype)x->dtype));
	for (int i = 0; i < x->rank; i++)
		printf("%s%lld", i ? "," : "", (long long)x->dims[i]);
	printf("]");
}

static bool same_shape(const hone_tensor *a, const hone_tensor *b)
{
	return a->dtype == b->dtype && a->rank == b->rank &&
	       !memcmp(a->dims, b->dims, sizeof(*a->dims) * (size_t)a->rank);
}

static bool same_output(const struct generator *g, int output, const struct answer *a,
			const struct answer *oracle)
{
	const hone_tensor *x = &a->outputs[output], *y = &oracle->outputs[output];
	enum dtype t = (enum dtype)y->dtype;
	bool judged = output == g->graph->body->result_count - 1 && g->judge != JUDGE_EXACT;

	if (!same_shape(x, y)) {
		printf("output %d is", output);
		print_shape(x);
		printf(", expected");
		print_shape(y);
		printf("\n");
		return false;
	}
	for (int64_t i = 0; i < dims_count(y->rank, y->dims); i++) {
		union scalar found = element_load(t, x->data, i),
			     expected = element_load(t, y->data, i);

		if (same_element(g, t, found, expected, &oracle->bounds[output], judged, i))
			continue;
		if (dtype_is_float(t))
			printf("output %d, element %lld (%s): %.9g, expected %.9g, allowed %.3g\n",
			       output, (long long)i, judged ? g->subject : "exact", found.f,
			       expected.f,
			       judged ? allowed(g, t, expected.f, &oracle->bounds[output], i) : 0);
		else
			printf("output %d, element %lld: %lld, expected %lld\n", output,
			       (long long)i, (long long)found.i, (long long)expected.i);
		return false;
	}
	return true;
}

static bool same_answer(const struct generator *g, const struct answer *a,
			const struct answer *oracle)
{
	if (a->ran != oracle->ran) {
		printf("%s, but the oracle %s\n", a->ran ? "it ran" : "it failed",
		       oracle->ran ? "ran" : "failed");
		diag_print(a->ran ? &oracle->diag : &a->diag, stdout, false);
		return false;
	}
	for (int i = 0; a->ran && i < g->graph->body->result_count; i++) {
		if (!same_output(g, i, a, oracle))
			return false;
	}
	return true;
}

/* ---- one case ---- */

static const char *text_of(struct generator *g) { return graph_text(g->graph, &g->arena); }

static struct graph *reparsed(struct generator *g, struct diag *d)
{
	const char *text = text_of(g), *again;
	struct graph *other = graph_parse(text, strlen(text), "differential.hir", &g->arena, d);

	if (!other)
		return NULL;
	again = graph_text(other, &g->arena);
	if (strcmp(text, again)) {
		diag_add(d, DIAG_INTERNAL, (struct loc){0}, "printed again it differs:\n%s", again);
		return NULL;
	}
	return other;
}

/* The graph of a variant; NULL: reported. */
static struct graph *varied(struct generator *g, enum variant v, struct engine *e, struct diag *d)
{
	struct pipeline_options o = {.passes = v == VARIANT_GROUP ? "group" : NULL,
				     .verify_each = true};

	if (v == VARIANT_TEXT)
		return reparsed(g, d);
	if (v == VARIANT_NATIVE)
		return g->graph;
	return pipeline_run(g->graph, &o, e, d) ? g->graph : NULL;
}

/* Passes drop what nobody reads, and with it the error that it would have ended with (an index out of range). */
static bool lost_an_error(enum variant v, const struct answer *a, const struct answer *oracle)
{
	return (v == VARIANT_GROUP || v == VARIANT_PASSES) && a->ran && !oracle->ran;
}

/* Whether all that was reported is that something is not supported. */
static bool only_unsupported(const struct diag *d)
{
	return d->errors > 0 && d->worst == DIAG_UNSUPPORTED;
}

static enum outcome judge_variant(struct generator *g, enum variant v, struct engine *native)
{
	struct engine *e = v == VARIANT_TEXT || v == VARIANT_GROUP ? &interpreter : native;
	struct answer oracle = {0}, a = {0};
	enum outcome result = FAILED;
	struct graph *graph;

	answer_of(&oracle, &interpreter, g->graph, g->inputs);
	graph = varied(g, v, &interpreter, &a.diag);
	if (graph)
		answer_of(&a, e, graph, g->inputs);
	if (!oracle.compiled)
		diag_print(&oracle.diag, stdout, false);
	else if (a.compiled && lost_an_error(v, &a, &oracle))
		result = SKIPPED;
	else if (a.compiled)
		result = same_answer(g, &a, &oracle) ? PASSED : FAILED;
	else
		diag_print(&a.diag, stdout, false);
	if (only_unsupported(oracle.compiled ? &a.diag : &oracle.diag) && !a.compiled)
		result = SKIPPED;
	if (oracle.ran == false && oracle.diag.worst == DIAG_INTERNAL)
		result = FAILED;
	answer_free(&oracle);
	answer_free(&a);
	return result;
}

static bool same_bits(int threads, const struct generator *g, const struct answer *a,
		      const struct answer *one)
{
	if (!a->compiled || a->ran != one->ran) {
		printf("%d threads: %s\n", threads, a->compiled ? "ran as one did not" : "");
		diag_print(&a->diag, stdout, false);
		return false;
	}
	for (int i = 0; a->ran && i < g->graph->body->result_count; i++) {
		const hone_tensor *x = &a->outputs[i], *y = &one->outputs[i];
		int64_t bits = dims_count(y->rank, y->dims) * dtype_bits((enum dtype)y->dtype);

		if (same_shape(x, y) && (bits < 8 || !memcmp(x->data, y->data, (size_t)(bits / 8))))
			continue;
		printf("output %d: not the same bits with %d threads as with one\n", i, threads);
		return false;
	}
	return true;
}

/* Every kernel that has tasks is forked, however small. */
static enum outcome judge_threads(struct generator *g, struct target *t)
{
	struct answer one = {0}, a;
	enum outcome result = PASSED;
	struct engine *jit;
	struct graph *graph;

	t->fork_work = 0;
	jit = jit_engine(t, NULL, &g->arena);
	graph = varied(g, VARIANT_PASSES, &interpreter, &one.diag);
	if (graph)
		answer_of(&one, jit, graph, g->inputs);
	if (!one.compiled) {
		diag_print(&one.diag, stdout, false);
		result = only_unsupported(&one.diag) ? SKIPPED : FAILED;
	}
	for (int threads = 2; threads <= 3 && result == PASSED; threads++) {
		a = (struct answer){0};
		jit_use_threads(jit, threads);
		answer_of(&a, jit, graph, g->inputs);
		result = same_bits(threads, g, &a, &one) ? PASSED : FAILED;
		answer_free(&a);
	}
	answer_free(&one);
	return result;
}

static int steps_of(const struct options *o, uint64_t seed)
{
	return o->steps ? o->steps : 1 + (int)(seed * 7 % 9);
}

static enum outcome run_case(const struct options *o, uint64_t seed, int steps, enum variant v)
{
	struct generator g;
	struct target target;
	enum outcome result = SKIPPED;

	if (generate(&g, seed, steps)) {
		const struct exe_engine exe = {&target, o->runtime, o->emulator};
		struct engine *native = NULL;

		if (!graph_verify(g.graph, DIAG_INTERNAL, &g.diag)) {
			diag_print(&g.diag, stdout, false);
			result = FAILED;
		} else {
			if (target_resolve(o->cpu, NULL, &g.arena, &target, &g.diag))
				native = o->emulator ? exe_engine(&exe, &g.arena)
						     : jit_engine(&target, NULL, &g.arena);
			result = !native                ? FAILED
				 : v == VARIANT_THREADS ? judge_threads(&g, &target)
							: judge_variant(&g, v, native);
		}
	}
	generate_free(&g);
	return result;
}

/* In a child; what it prints goes to the file `out`. */
static enum outcome guarded(const struct options *o, uint64_t seed, int steps, enum variant v,
			    FILE *out)
{
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child < 0)
		return FAILED;
	if (child == 0) {
		enum outcome result;

		if (dup2(fileno(out), STDOUT_FILENO) < 0)
			_exit(FAILED);
		alarm(120);
		result = run_case(o, seed, steps, v);
		fflush(NULL);
		_exit((int)result);
	}
	if (waitpid(child, &status, 0) < 0)
		return FAILED;
	if (WIFEXITED(status) && WEXITSTATUS(status) <= SKIPPED)
		return (enum outcome)WEXITSTATUS(status);
	fseek(out, 0, SEEK_END);
	if (WIFSIGNALED(status))
		fprintf(out, "ended by signal %d (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		fprintf(out, "ended with exit status %d\n", WEXITSTATUS(status));
	return FAILED;
}

/* A fresh temporary file, or stdout when there is none. */
static FILE *scratch_file(void)
{
	FILE *f = tmpfile();

	return f ? f : stdout;
}

static void print_file(FILE *f)
{
	char line[4096];

	if (f == stdout)
		return;
	rewind(f);
	while (fgets(line, sizeof(line), f))
		fputs(line, stdout);
	fclose(f);
}

static void print_text(const struct options *o, uint64_t seed, int steps)
{
	struct generator g;

	(void)o;
	if (generate(&g, seed, steps))
		printf("%s", text_of(&g));
	generate_free(&g);
}

/* Prints the shortest prefix of a failing case that fails. */
static void report(const struct options *o, uint64_t seed, enum variant v)
{
	int steps = 0;
	FILE *out;

	do {
		steps++;
		out = scratch_file();
		if (guarded(o, seed, steps, v, out) == FAILED)
			break;
		if (out != stdout)
			fclose(out);
		out = NULL;
	} while (steps < steps_of(o, seed));
	printf("FAILED: --seed %llu --steps %d --count 1 --only %s\n", (ull)seed, steps,
	       variant_names[v]);
	if (!out) {
		printf("it did not fail again\n");
		return;
	}
	print_file(out);
	print_text(o, seed, steps);
}

/* Why cases were skipped, each reason once. */
struct reasons {
	struct {
		char text[200];
		int times;
	} at[16];
	int count;
};

static void add_reason(struct reasons *r, FILE *out)
{
	char line[200] = "nothing was generated", *part;
	int i = 0;

	rewind(out);
	if (fgets(line, sizeof(line), out))
		line[strcspn(line, "\n")] = 0;
	part = strrchr(line, '"') ? strrchr(line, '"') + 1 : line; /* without the node's name */
	while (i < r->count && strcmp(r->at[i].text, part))
		i++;
	if (i == 16)
		return;
	if (i == r->count)
		snprintf(r->at[r->count++].text, sizeof(r->at[0].text), "%s", part);
	r->at[i].times++;
}

static bool read_options(int argc, char **argv, struct options *o)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			o->seed = strtoull(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--count"))
			o->count = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--steps"))
			o->steps = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--cpu"))
			o->cpu = argv[i + 1];
		else if (!strcmp(argv[i], "--emulator"))
			o->emulator = argv[i + 1];
		else if (!strcmp(argv[i], "--runtime"))
			o->runtime = argv[i + 1];
		else if (!strcmp(argv[i], "--only"))
			for (o->only = 0; o->only < VARIANT_COUNT &&
					  strcmp(variant_names[o->only], argv[i + 1]);)
				o->only++;
		else
			return false;
	}
	return argc % 2 == 1 && o->only < VARIANT_COUNT;
}

static const char *const amx_texts[] = {
	[AMX_NONE] = "none here", [AMX_NATIVE] = "the processor's", [AMX_EMULATED] = "emulated"};

int main(int argc, char **argv)
{
	struct options o = {.seed = 1, .count = 200, .only = -1, .cpu = "native"};
	struct reasons reasons = {0};
	int outcomes[3] = {0};

	if (!read_options(argc, argv, &o)) {
		fprintf(stderr, "usage: differential [--seed N] [--count N] [--only "
				"text|group|native|passes|threads] [--cpu CPU] [--steps N] "
				"[--emulator COMMAND [--runtime ARCHIVE]]\n");
		return 2;
	}
	if (strstr(o.cpu, "amx")) /* inherited by the process of each case */
		printf("AMX: %s\n", amx_texts[amx_start()]);
	for (int i = 0; i < o.count; i++) {
		for (int v = 0; v < VARIANT_COUNT; v++) {
			uint64_t seed = o.seed + (uint64_t)i;
			FILE *out = scratch_file();
			enum outcome result = SKIPPED;

			if (o.only < 0 || v == o.only) {
				result =
					guarded(&o, seed, steps_of(&o, seed), (enum variant)v, out);
				outcomes[result]++;
				if (result == SKIPPED && out != stdout)
					add_reason(&reasons, out);
			}
			if (out != stdout)
				fclose(out);
			if (result == FAILED)
				report(&o, seed, (enum variant)v);
		}
	}
	for (int i = 0; i < reasons.count; i++)
		printf("skipped %d: %s\n", reasons.at[i].times, reasons.at[i].text);
	printf("%d passed, %d failed, %d skipped\n", outcomes[PASSED], outcomes[FAILED],
	       outcomes[SKIPPED]);
	return outcomes[FAILED] != 0;
}
