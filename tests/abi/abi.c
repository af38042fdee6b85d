/* abi.c: the C interface of compiled models, as a user's program has it: docs/abi.md's guarantees, one test each.
 * abi FOLDER: the libraries rows.so, pick.so, found.so, work.so, exit.so are in FOLDER. */
#define _GNU_SOURCE
#include "runtime/hone.h"
#include "tests/support/allocations.h"

#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(sizeof(hone_dim) == 24, "hone_dim");
_Static_assert(sizeof(hone_io) == 40, "hone_io");
_Static_assert(sizeof(hone_tensor) == 104, "hone_tensor");
_Static_assert(sizeof(hone_options) == 56, "hone_options");

static int passed, failed, skipped;
static const char *folder;

#define CHECK(condition)                                                               \
	do {                                                                           \
		if (!(condition)) {                                                    \
			printf("failed: %s:%d: %s\n", __func__, __LINE__, #condition); \
			failed++;                                                      \
			return;                                                        \
		}                                                                      \
	} while (0)

/* ---- helpers ---- */

static const hone_model *model_of(const char *name)
{
	const hone_model *(*get)(void);
	char path[4096];
	void *handle;

	snprintf(path, sizeof(path), "%s/%s.so", folder, name);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		printf("cannot load: %s\n", dlerror());
		exit(1);
	}
	*(void **)&get = dlsym(handle, "hone_model_get");
	return get();
}

static hone_tensor tensor(int dtype, void *data, int64_t size, int rank, const int64_t *dims)
{
	hone_tensor t = {.data = data, .size = size, .rank = rank, .dtype = dtype};

	for (int i = 0; i < rank; i++)
		t.dims[i] = dims[i];
	return t;
}

#define DIMS(...)                                                           \
	(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]) { __VA_ARGS__ }

/* `size` bytes that end at a page that cannot be touched. */
static unsigned char *guarded(int64_t size)
{
	int64_t pages = (size + 4095) / 4096 * 4096;
	unsigned char *at = mmap(NULL, (size_t)pages + 4096, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(at + pages, 4096, PROT_NONE);
	return at + pages - size;
}

static void fill(float *x, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		x[i] = (float)((i * 7919 + 13) % 1000) / 500 - 1;
}

static hone_context *context_of(const hone_model *m, const hone_options *o)
{
	hone_context *c = NULL;
	char text[256] = "";

	if (hone_context_create(m, o, &c, text, sizeof(text)) != HONE_OK)
		printf("no context: %s\n", text);
	return c;
}

/* ---- tests ---- */

static void buffers_are_not_touched_past_their_end(void)
{
	static const int64_t sizes[] = {1, 2, 15, 16, 17, 31, 33, 100};
	hone_context *c = context_of(model_of("rows"), NULL);

	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 8; k++) {
			int64_t n = sizes[i], t = sizes[k];
			float *x = (float *)guarded(n * t * 4), *y = (float *)guarded(n * t * 4),
			      *z = (float *)guarded(n * 20), sum = 0;
			hone_tensor in = tensor(HONE_F32, x, n * t * 4, DIMS(n, t)),
				    out[2] = {{.data = y, .size = n * t * 4},
					      {.data = z, .size = n * 20}};

			fill(x, n * t);
			CHECK(hone_run(c, &in, out) == HONE_OK);
			CHECK(out[0].rank == 2 && out[0].dims[0] == n && out[0].dims[1] == t &&
			      out[0].dtype == HONE_F32);
			for (int64_t j = 0; j < t; j++)
				sum += y[(n - 1) * t + j];
			CHECK(sum > 0.999f && sum < 1.001f);
		}
	hone_context_destroy(c);
	passed++;
}

static void arguments_are_checked(void)
{
	const hone_model *m = model_of("rows");
	hone_context *c = context_of(m, NULL);
	float x[64], y[64], z[64];
	hone_tensor out[2] = {{.data = y, .size = sizeof(y)}, {.data = z, .size = sizeof(z)}}, in,
		    bad;

	fill(x, 64);
	in = tensor(HONE_F32, x, 64 * 4, DIMS(4, 16));
	CHECK(hone_run(c, &in, out) == HONE_OK && !*hone_error(c));
	bad = in, bad.dtype = HONE_I32;
	CHECK(hone_run(c, &bad, out) == HONE_ERROR_ARGUMENT && strstr(hone_error(c), "\"x\""));
	bad = in, bad.rank = 1;
	CHECK(hone_run(c, &bad, out) != HONE_OK && strstr(hone_error(c), "\"x\""));
	bad = in, bad.size = 100;
	CHECK(hone_run(c, &bad, out) == HONE_ERROR_ARGUMENT);
	bad = in, bad.data = NULL;
	CHECK(hone_run(c, &bad, out) == HONE_ERROR_ARGUMENT);
	bad = in, bad.dims[0] = -1;
	CHECK(hone_run(c, &bad, out) != HONE_OK);
	bad = in, bad.dims[0] = (int64_t)1 << 40, bad.dims[1] = (int64_t)1 << 40;
	CHECK(hone_run(c, &bad, out) != HONE_OK);
	CHECK(hone_run(c, NULL, out) == HONE_ERROR_ARGUMENT &&
	      hone_run(c, &in, NULL) == HONE_ERROR_ARGUMENT);
	out[0].size = 4;
	CHECK(hone_run(c, &in, out) == HONE_ERROR_ARGUMENT && strstr(hone_error(c), "256"));
	out[0].size = sizeof(y), out[1].data = NULL;
	CHECK(hone_run(c, &in, out) == HONE_ERROR_ARGUMENT);
	out[1].data = z;
	CHECK(hone_run(c, &in, out) == HONE_OK);
	CHECK(hone_set_param(c, "no such", 1) == HONE_ERROR_ARGUMENT);
	hone_context_destroy(c);
	hone_context_destroy(NULL);
	passed++;
}

static void output_dims_are_known_before_the_run(void)
{
	hone_context *c = context_of(model_of("rows"), NULL);
	hone_tensor in = tensor(HONE_F32, NULL, 0, DIMS(3, 7)), out[2] = {{0}};

	CHECK(hone_output_dims(c, &in, out) == HONE_OK);
	CHECK(out[0].rank == 2 && out[0].dims[0] == 3 && out[0].dims[1] == 7 && out[0].size == 84);
	CHECK(out[1].dims[0] == 3 && out[1].dims[1] == 5 && out[1].size == 60);
	hone_context_destroy(c);
	passed++;
}

static void empty_tensors_are_ordinary(void)
{
	hone_context *c = context_of(model_of("rows"), NULL);
	float y[1], z[20];
	hone_tensor in = tensor(HONE_F32, NULL, 0, DIMS(0, 7)),
		    out[2] = {{.data = y, .size = 4}, {.data = z, .size = sizeof(z)}};

	CHECK(hone_run(c, &in, out) == HONE_OK && out[0].dims[0] == 0 && out[1].dims[0] == 0);
	in.dims[0] = 4, in.dims[1] = 0;
	CHECK(hone_run(c, &in, out) == HONE_OK && out[0].dims[1] == 0 && z[0] == 0);
	hone_context_destroy(c);
	passed++;
}

static void run_allocates_nothing_for_dims_it_has_seen(void)
{
	hone_context *c = context_of(model_of("rows"), NULL);
	float x[64], y[64], z[64];
	hone_tensor in = tensor(HONE_F32, x, sizeof(x), DIMS(4, 16)),
		    out[2] = {{.data = y, .size = sizeof(y)}, {.data = z, .size = sizeof(z)}};
	long before;

	if (SANITIZED) {
		skipped++;
		hone_context_destroy(c);
		return;
	}
	fill(x, 64);
	CHECK(hone_run(c, &in, out) == HONE_OK);
	before = allocation_count();
	for (int i = 0; i < 100; i++)
		CHECK(hone_run(c, &in, out) == HONE_OK);
	CHECK(allocation_count() == before);
	hone_context_destroy(c);
	passed++;
}

static void run_makes_no_system_call(void)
{
	hone_context *c = context_of(model_of("rows"), NULL);
	float x[64], y[64], z[64];
	hone_tensor in = tensor(HONE_F32, x, sizeof(x), DIMS(4, 16)),
		    out[2] = {{.data = y, .size = sizeof(y)}, {.data = z, .size = sizeof(z)}};
	int status;
	pid_t child;

	if (SANITIZED) {
		skipped++;
		hone_context_destroy(c);
		return;
	}
	fill(x, 64);
	CHECK(hone_run(c, &in, out) == HONE_OK);
	child = fork();
	if (child == 0) { /* anything but exit kills it */
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		syscall(SYS_exit, hone_run(c, &in, out));
	}
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	hone_context_destroy(c);
	passed++;
}

static void caller_memory_is_all_that_is_used(void)
{
	const hone_model *m = model_of("rows");
	float x[64], y[64], z[64];
	hone_tensor in = tensor(HONE_F32, x, sizeof(x), DIMS(4, 16)),
		    out[2] = {{.data = y, .size = sizeof(y)}, {.data = z, .size = sizeof(z)}};
	int64_t bytes = hone_arena_bytes(m, &in, 1);
	hone_options o = {.size = sizeof(o), .memory_size = bytes};
	hone_context *c;
	char text[256];
	long before;

	CHECK(bytes > 0);
	fill(x, 64);
	o.memory = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
	before = allocation_count();
	CHECK(hone_context_create(m, &o, &c, text, sizeof(text)) == HONE_OK);
	CHECK(hone_run(c, &in, out) == HONE_OK);
	CHECK(allocation_count() == before);
	in.dims[0] = 64, in.dims[1] = 1;
	hone_context_destroy(c);
	o.memory_size = bytes - 1;
	in.dims[0] = 4, in.dims[1] = 16;
	if (hone_context_create(m, &o, &c, text, sizeof(text)) == HONE_OK) {
		CHECK(hone_run(c, &in, out) == HONE_ERROR_MEMORY);
		CHECK(strstr(hone_error(c), "needed"));
		hone_context_destroy(c);
	}
	free(o.memory);
	passed++;
}

static void errors_of_the_data_name_the_node_and_pass(void)
{
	hone_context *c = context_of(model_of("pick"), NULL);
	float x[12], y[6];
	int64_t index[2] = {3, 4};
	hone_tensor in[2] = {tensor(HONE_F32, x, sizeof(x), DIMS(4, 3)),
			     tensor(HONE_I64, index, sizeof(index), DIMS(2))};
	hone_tensor out = {.data = y, .size = sizeof(y)};

	fill(x, 12);
	CHECK(hone_run(c, in, &out) == HONE_ERROR_DATA);
	CHECK(strstr(hone_error(c), "pick_rows") && strstr(hone_error(c), "4"));
	index[1] = -1;
	CHECK(hone_run(c, in, &out) == HONE_ERROR_DATA);
	index[1] = 0;
	CHECK(hone_run(c, in, &out) == HONE_OK && y[0] == x[9] && y[3] == x[0] && !*hone_error(c));
	in[0].dims[0] = 0, in[0].size = 0;
	CHECK(hone_run(c, in, &out) == HONE_ERROR_DATA);
	hone_context_destroy(c);
	passed++;
}

static void *give(void *self, int32_t output, int64_t size)
{
	void **given = self;

	given[output] = malloc((size_t)size + 1);
	return given[output];
}

static void outputs_may_depend_on_data(void)
{
	const hone_model *m = model_of("found");
	void *given[2] = {NULL, NULL};
	hone_options o = {.size = sizeof(o), .allocate = give, .allocate_self = given};
	hone_context *c = context_of(m, NULL), *giving = context_of(m, &o);
	float x[5] = {0, 2, 0, -1, 0}, v[5];
	int64_t k[5];
	hone_tensor in = tensor(HONE_F32, x, sizeof(x), DIMS(5)),
		    out[2] = {{.data = k, .size = sizeof(k)}, {.data = v, .size = sizeof(v)}};

	CHECK(hone_output_dims(c, &in, out) == HONE_OK && out[0].dims[0] == 5 && out[0].size == 40);
	out[0].size = sizeof(k), out[1].size = sizeof(v);
	CHECK(hone_run(c, &in, out) == HONE_OK);
	CHECK(out[0].dims[0] == 2 && k[0] == 1 && k[1] == 3 && v[0] == 2 && v[1] == -1);
	out[0].size = 8;
	CHECK(hone_run(c, &in, out) == HONE_ERROR_ARGUMENT);
	out[0].data = NULL;
	CHECK(hone_run(c, &in, out) == HONE_ERROR_ARGUMENT);
	memset(out, 0, sizeof(out));
	CHECK(hone_run(giving, &in, out) == HONE_OK);
	CHECK(out[0].data == given[0] && out[0].dims[0] == 2 && ((int64_t *)given[0])[1] == 3);
	memset(x, 0, sizeof(x));
	out[0].data = k, out[0].size = sizeof(k), out[1].data = v, out[1].size = sizeof(v);
	CHECK(hone_run(giving, &in, out) == HONE_OK && out[0].dims[0] == 0);
	free(given[0]);
	free(given[1]);
	hone_context_destroy(c);
	hone_context_destroy(giving);
	passed++;
}

struct job {
	const hone_model *m;
	hone_options options;
	int64_t n;
	float *x, *image, *y, *c, total;
	bool ok;
};

static void run_job(struct job *j)
{
	hone_context *c = context_of(j->m, &j->options);
	hone_tensor in[2] = {tensor(HONE_F32, j->x, j->n * 64 * 64 * 4, DIMS(j->n, 64, 64)),
			     tensor(HONE_F32, j->image, j->n * 3200 * 4, DIMS(j->n, 20, 20, 8))};
	hone_tensor out[3] = {{.data = j->y, .size = j->n * 64 * 96 * 4},
			      {.data = j->c, .size = j->n * 5184 * 4},
			      {.data = &j->total, .size = 4}};

	j->ok = c != NULL;
	for (int i = 0; j->ok && i < 5; i++)
		j->ok = hone_run(c, in, out) == HONE_OK;
	hone_context_destroy(c);
}

static void make_job(struct job *j, const hone_model *m, int64_t n, uint32_t threads)
{
	*j = (struct job){
		.m = m, .n = n, .options = {.size = sizeof(hone_options), .threads = threads}};
	j->x = malloc((size_t)n * 64 * 64 * 4);
	j->image = malloc((size_t)n * 3200 * 4);
	j->y = malloc((size_t)n * 64 * 96 * 4);
	j->c = malloc((size_t)n * 5184 * 4);
	fill(j->x, n * 64 * 64);
	fill(j->image, n * 3200);
}

static void free_job(struct job *j)
{
	free(j->x);
	free(j->image);
	free(j->y);
	free(j->c);
}

static bool same_results(const struct job *a, const struct job *b)
{
	return a->ok && b->ok && !memcmp(a->y, b->y, (size_t)a->n * 64 * 96 * 4) &&
	       !memcmp(a->c, b->c, (size_t)a->n * 5184 * 4) && !memcmp(&a->total, &b->total, 4);
}

static void serial(void *self, int64_t n, void (*fn)(void *arg, int64_t task, int32_t worker),
		   void *arg)
{
	(*(int *)self)++;
	for (int64_t i = n - 1; i >= 0; i--) /* any order will do */
		fn(arg, i, (int32_t)(i % 2));
}

static void every_number_of_threads_gives_the_same_bits(void)
{
	const hone_model *m = model_of("work");
	struct job one, other;
	int calls = 0;

	make_job(&one, m, 3, 1);
	run_job(&one);
	CHECK(one.ok);
	for (uint32_t threads = 2; threads <= 4; threads++) {
		make_job(&other, m, 3, threads);
		run_job(&other);
		CHECK(same_results(&one, &other));
		free_job(&other);
	}
	make_job(&other, m, 3, 2);
	other.options.parallel_for = serial;
	other.options.parallel_self = &calls;
	run_job(&other);
	CHECK(same_results(&one, &other) && calls > 0);
	free_job(&other);
	free_job(&one);
	passed++;
}

static void *run_in_thread(void *job)
{
	run_job(job);
	return NULL;
}

static void contexts_run_at_the_same_time(void)
{
	const hone_model *m = model_of("work");
	struct job jobs[4];
	pthread_t threads[4];

	for (int i = 0; i < 4; i++) {
		make_job(&jobs[i], m, 2, 1 + (uint32_t)(i % 2));
		pthread_create(&threads[i], NULL, run_in_thread, &jobs[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 1; i < 4; i++)
		CHECK(same_results(&jobs[0], &jobs[i]));
	for (int i = 0; i < 4; i++)
		free_job(&jobs[i]);
	passed++;
}

static void params_have_names_and_take_effect(void)
{
	const hone_model *m = model_of("exit");
	hone_context *c = context_of(m, NULL);
	float x[12], y[6];
	int32_t which[3];
	hone_tensor in = tensor(HONE_F32, x, sizeof(x), DIMS(3, 4)),
		    out[2] = {{.data = y, .size = sizeof(y)},
			      {.data = which, .size = sizeof(which)}};

	fill(x, 12);
	CHECK(m->param_count == 1 && !strcmp(m->params[0].name, "threshold"));
	CHECK(hone_set_param(c, "threshold", 0) == HONE_OK && hone_run(c, &in, out) == HONE_OK &&
	      which[0] + which[1] + which[2] == 0);
	CHECK(hone_set_param(c, "threshold", 2) == HONE_OK && hone_run(c, &in, out) == HONE_OK &&
	      which[0] + which[1] + which[2] == 3);
	hone_context_destroy(c);
	passed++;
}

static void the_table_describes_the_model(void)
{
	const hone_model *m = model_of("rows"), *other = model_of("pick");

	CHECK(m != other && m->abi_version == HONE_ABI_VERSION && m->size == sizeof(*m) &&
	      m->input_count == 1 && m->output_count == 2);
	CHECK(!strcmp(m->inputs[0].name, "x") && m->inputs[0].rank == 2 &&
	      m->inputs[0].dtype == HONE_F32);
	CHECK(m->inputs[0].dims[1].min == 0 && m->inputs[0].dims[1].max == INT64_MAX &&
	      !strcmp(m->inputs[0].dims[1].symbol, "T"));
	CHECK(strstr(m->signature, "\"inputs\":[{\"name\":\"x\"") && strstr(m->compiler, "hone ") &&
	      *m->cpu && strlen(m->hash) == 16);
	CHECK(m->weight_bytes > 0);
	for (int i = 0; i < 4; i++)
		CHECK(!m->reserved[i]);
	passed++;
}

static void another_abi_version_is_refused(void)
{
	hone_model changed = *model_of("rows");
	hone_options o = {.size = 4};
	hone_context *c;
	char text[64] = "";

	changed.abi_version++;
	CHECK(hone_context_create(&changed, NULL, &c, text, sizeof(text)) == HONE_ERROR_VERSION &&
	      !c && *text);
	changed.abi_version--;
	CHECK(hone_context_create(&changed, &o, &c, text, sizeof(text)) == HONE_ERROR_ARGUMENT &&
	      !c);
	passed++;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	folder = argv[1];
	the_table_describes_the_model();
	another_abi_version_is_refused();
	buffers_are_not_touched_past_their_end();
	arguments_are_checked();
	output_dims_are_known_before_the_run();
	empty_tensors_are_ordinary();
	run_allocates_nothing_for_dims_it_has_seen();
	run_makes_no_system_call();
	caller_memory_is_all_that_is_used();
	errors_of_the_data_name_the_node_and_pass();
	outputs_may_depend_on_data();
	params_have_names_and_take_effect();
	every_number_of_threads_gives_the_same_bits();
	contexts_run_at_the_same_time();
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed != 0;
}
