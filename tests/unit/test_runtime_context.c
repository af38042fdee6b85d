/* Contexts, arguments, placement and threads of the runtime, on a program written by hand:
 *   t[n,c] = 2 * x[n,c] + shift          (kernel, an arena slot)
 *   y[m,c] = t[i[m],c]                   (kernel, writes the caller's buffer; checks the index)
 *   z[k]   = positions of t > 0          (a dynamic slot, handed over at the return) */
#include "runtime/context.h"
#include "runtime/table.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/seccomp.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- every allocation of this program is counted ---- */

static _Atomic long allocations;

#ifndef SANITIZED
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	allocations++;
	return __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	allocations++;
	return __libc_memalign(alignment, size);
}
#endif

/* ---- the program ---- */

enum { N, M, K, X_BYTES, Y_BYTES, LIMIT, SCRATCH, WORDS };
enum { X, I, Y, T, Z, PER_WORKER, SLOTS };

static int32_t setup(struct hone_frame *f, int32_t stage)
{
	int64_t *w = f->words;

	if (stage)
		return 0;
	w[X_BYTES] = w[N] * 16;
	w[Y_BYTES] = w[M] * 16;
	w[LIMIT] = 63;
	w[SCRATCH] = 40;
	return w[N] == w[LIMIT] && w[M] != 1 ? 1 : 0;
}

static void scale(struct hone_frame *f, void *const *b, const int64_t *w, int64_t begin,
		  int64_t end, int64_t worker)
{
	const float *x = b[0];
	float *t = b[1];
	int64_t *scratch = (int64_t *)((char *)b[2] + worker * 64);

	(void)w;
	for (int k = 0; k < 5; k++)
		scratch[k] = worker;
	for (int64_t i = begin * 4; i < end * 4; i++)
		t[i] = 2 * x[i] + (float)f->params[0];
	for (int k = 0; k < 5; k++)
		assert_int_equal(scratch[k], worker);
}

static void gather(struct hone_frame *f, void *const *b, const int64_t *w, int64_t begin,
		   int64_t end, int64_t worker)
{
	const float *t = b[0];
	const int64_t *index = b[1];
	float *y = b[2];

	(void)worker;
	for (int64_t m = begin; m < end; m++) {
		int64_t i = index[m] < 0 ? index[m] + w[N] : index[m];

		if (i < 0 || i >= w[N]) {
			f->fail.found = index[m];
			f->fail.bound = w[N];
			__atomic_store_n(&f->fail.code, HONE_FAIL_INDEX, __ATOMIC_RELEASE);
			return;
		}
		memcpy(y + m * 4, t + i * 4, 16);
	}
}

static int32_t run(struct hone_frame *f)
{
	void *first[] = {f->values[X], f->values[T], f->values[PER_WORKER]};
	void *second[] = {f->values[T], f->values[I], f->values[Y]};
	const float *t = f->values[T];
	int64_t *z, count = f->words[N] * 4;

	hone_rt_fork(f, scale, first, f->words, f->words[N]);
	hone_rt_fork(f, gather, second, f->words, f->words[M]);
	if (f->fail.code) {
		f->fail.node = 1;
		return f->fail.code;
	}
	f->words[K] = 0;
	for (int64_t i = 0; i < count; i++) {
		if (!(t[i] > 0))
			continue;
		if (hone_rt_reserve(f, Z, (f->words[K] + 1) * 8)) {
			f->fail.node = 2;
			return f->fail.code;
		}
		z = f->values[Z];
		z[f->words[K]++] = i;
	}
	return hone_rt_output(f, 1, f->words[K] ? f->values[Z] : NULL, f->words[K] * 8);
}

static const struct hone_symbol symbols[] = {{"N", 0, 64}, {"M", 1, 16}, {"K", 0, INT64_MAX}};
static const struct hone_slot slots[] = {
	[X] = {HONE_SLOT_INPUT, 0, -1, 0, 3, 0},
	[I] = {HONE_SLOT_INPUT, 1, -1, 0, 3, 0},
	[Y] = {HONE_SLOT_OUTPUT, 0, -1, 0, 3, 0},
	[T] = {HONE_SLOT_ARENA, 0, X_BYTES, 0, 3, 0},
	[Z] = {HONE_SLOT_DYNAMIC, 0, -1, 2, 3, 0},
	[PER_WORKER] = {HONE_SLOT_ARENA, 0, SCRATCH, 0, 0, 1},
};
static const struct hone_check checks[] = {
	{"node \"Add_3\": dims of %a (N) and %b (63) must differ", N, LIMIT}};
static const char *const nodes[] = {"node \"Mul_1\" (Mul)", "node \"Gather_5\" (Gather)",
				    "node \"NonZero_7\" (NonZero)"};
static const struct hone_dim_ref x_ref[] = {{0, N, 0}, {4, -1, 0}}, i_ref[] = {{0, M, 0}};
static const struct hone_dim_ref y_ref[] = {{0, M, 0}, {4, -1, 0}}, z_ref[] = {{0, K, 0}};
static const struct hone_dim_ref z_max[] = {{-1, -1, 0}};
static const struct hone_dim_ref *const input_refs[] = {x_ref, i_ref};
static const struct hone_output_ref output_refs[] = {{0, Y_BYTES, 1, 0, y_ref, y_ref},
						     {1, -1, 0, 0, z_ref, z_max}};
static const struct hone_program program = {
	.word_count = WORDS,
	.symbol_count = 3,
	.slot_count = SLOTS,
	.step_count = 4,
	.check_count = 1,
	.node_count = 3,
	.input_symbol_count = 2,
	.symbols = symbols,
	.slots = slots,
	.checks = checks,
	.nodes = nodes,
	.input_dims = input_refs,
	.outputs = output_refs,
	.setup = setup,
	.run = run,
};

static const hone_dim x_dims[] = {{0, 64, "N"}, {4, 4, NULL}}, i_dims[] = {{1, 16, "M"}};
static const hone_dim y_dims[] = {{1, 16, "M"}, {4, 4, NULL}}, z_dims[] = {{0, INT64_MAX, "K"}};
static const hone_io inputs[] = {{"x", HONE_F32, 2, x_dims, -1, NULL},
				 {"i", HONE_I64, 1, i_dims, -1, NULL}};
static const hone_io outputs[] = {{"y", HONE_F32, 2, y_dims, -1, NULL},
				  {"z", HONE_I64, 1, z_dims, -1, NULL}};
static const hone_param params[] = {{"shift", 0, -10, 10}};
static const hone_model model = {
	.size = sizeof(model),
	.abi_version = HONE_ABI_VERSION,
	.name = "test",
	.input_count = 2,
	.output_count = 2,
	.param_count = 1,
	.inputs = inputs,
	.outputs = outputs,
	.params = params,
	.arena_bytes = hone_rt_arena_bytes,
	.context_create = hone_rt_context_create,
	.output_dims = hone_rt_output_dims,
	.run = hone_rt_run,
	.set_param = hone_rt_set_param,
	.error = hone_rt_error,
	.context_destroy = hone_rt_context_destroy,
	.program = &program,
};

/* ---- one call's tensors ---- */

struct call {
	float x[256], y[64];
	int64_t i[16], z[256];
	hone_tensor in[2], out[2];
};

static void fill_call(struct call *c, int64_t n, int64_t m)
{
	memset(c, 0, sizeof(*c));
	for (int64_t k = 0; k < n * 4; k++)
		c->x[k] = (float)(k % 7 - 3);
	for (int64_t k = 0; k < m; k++)
		c->i[k] = n ? k * 5 % n : 0;
	c->in[0] = (hone_tensor){
		.data = c->x, .size = n * 16, .dims = {n, 4}, .rank = 2, .dtype = HONE_F32};
	c->in[1] = (hone_tensor){
		.data = c->i, .size = m * 8, .dims = {m}, .rank = 1, .dtype = HONE_I64};
	c->out[0] = (hone_tensor){.data = c->y, .size = sizeof(c->y)};
	c->out[1] = (hone_tensor){.data = c->z, .size = sizeof(c->z)};
}

static void check_call(const struct call *c, float shift)
{
	int64_t n = c->in[0].dims[0], m = c->in[1].dims[0], count = 0;

	assert_int_equal(c->out[0].rank, 2);
	assert_int_equal(c->out[0].dtype, HONE_F32);
	assert_int_equal(c->out[0].dims[0], m);
	assert_int_equal(c->out[0].dims[1], 4);
	for (int64_t k = 0; k < m * 4; k++)
		assert_true(c->y[k] == 2 * c->x[c->i[k / 4] * 4 + k % 4] + shift);
	for (int64_t k = 0; k < n * 4; k++) {
		if (2 * c->x[k] + shift > 0)
			assert_int_equal(c->z[count++], k);
	}
	assert_int_equal(c->out[1].rank, 1);
	assert_int_equal(c->out[1].dtype, HONE_I64);
	assert_int_equal(c->out[1].dims[0], count);
}

static hone_context *make(const hone_options *o)
{
	hone_context *c;
	char text[256] = "";

	assert_int_equal(hone_context_create(&model, o, &c, text, sizeof(text)), HONE_OK);
	assert_string_equal(hone_error(c), "");
	return c;
}

/* ---- tests ---- */

static void run_computes_for_many_dims(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	for (int64_t n = 1; n < 63; n += 7) {
		for (int64_t m = 1; m <= 16; m += 5) {
			fill_call(&a, n, m);
			assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
			check_call(&a, 0);
		}
	}
	hone_context_destroy(c);
}

static void expect(hone_context *c, struct call *a, hone_status status, const char *text)
{
	assert_int_equal(hone_run(c, a->in, a->out), status);
	assert_string_equal(hone_error(c), text);
	fill_call(a, 3, 2);
	assert_int_equal(hone_run(c, a->in, a->out), HONE_OK);
	assert_string_equal(hone_error(c), "");
	check_call(a, 0);
}

static void bad_inputs_are_named(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	fill_call(&a, 3, 2);
	a.in[0].dims[1] = 5;
	expect(c, &a, HONE_ERROR_SHAPE, "input \"x\": dim 1 is 5, expected 4");
	a.in[0].dims[0] = 65;
	expect(c, &a, HONE_ERROR_SHAPE, "input \"x\": dim 0 (N) is 65, expected 0..64");
	a.in[1].dims[0] = 0;
	expect(c, &a, HONE_ERROR_SHAPE, "input \"i\": dim 0 (M) is 0, expected 1..16");
	a.in[0].dims[0] = -1;
	expect(c, &a, HONE_ERROR_SHAPE, "input \"x\": dim 0 (N) is -1, expected 0..64");
	a.in[0].rank = 3;
	expect(c, &a, HONE_ERROR_ARGUMENT, "input \"x\": rank is 3, expected 2");
	a.in[0].dtype = HONE_F64;
	expect(c, &a, HONE_ERROR_ARGUMENT, "input \"x\": dtype is f64 (11), expected f32 (1)");
	a.in[0].size--;
	expect(c, &a, HONE_ERROR_ARGUMENT, "input \"x\": its buffer has 47 bytes, 48 are needed");
	a.in[1].data = NULL;
	expect(c, &a, HONE_ERROR_ARGUMENT, "input \"i\": data is NULL");
	a.in[1].reserved[1] = &a;
	expect(c, &a, HONE_ERROR_ARGUMENT, "input \"i\": the reserved fields are not zero");
	assert_int_equal(hone_run(c, NULL, a.out), HONE_ERROR_ARGUMENT);
	assert_string_equal(hone_error(c), "inputs is NULL");
	fill_call(&a, 63, 2);
	expect(c, &a, HONE_ERROR_SHAPE,
	       "node \"Add_3\": dims of %a (N) and %b (63) must differ (63 and 63)");
	hone_context_destroy(c);
}

static void bad_outputs_are_named(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	fill_call(&a, 3, 2);
	a.out[0].size = 31;
	expect(c, &a, HONE_ERROR_ARGUMENT, "output \"y\": its buffer has 31 bytes, 32 are needed");
	a.out[0].data = NULL;
	expect(c, &a, HONE_ERROR_ARGUMENT,
	       "output \"y\": data is NULL and options.allocate is not set");
	a.out[1].data = NULL;
	expect(c, &a, HONE_ERROR_ARGUMENT,
	       "output \"z\": data is NULL and options.allocate is not set");
	a.out[1].size = 8;
	expect(c, &a, HONE_ERROR_ARGUMENT, "output \"z\": its buffer has 8 bytes, 32 are needed");
	assert_int_equal(hone_run(c, a.in, NULL), HONE_ERROR_ARGUMENT);
	hone_context_destroy(c);
}

static void index_out_of_range_names_the_node(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	fill_call(&a, 10, 4);
	a.i[2] = 12;
	expect(c, &a, HONE_ERROR_DATA,
	       "node \"Gather_5\" (Gather): index 12 is out of range [-10, 9]");
	fill_call(&a, 0, 1);
	expect(c, &a, HONE_ERROR_DATA,
	       "node \"Gather_5\" (Gather): index 0 is out of range: the axis is empty");
	hone_context_destroy(c);
}

static void output_dims_does_not_run(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	fill_call(&a, 10, 4);
	assert_int_equal(hone_output_dims(c, a.in, a.out), HONE_OK);
	assert_int_equal(a.out[0].dims[0], 4);
	assert_int_equal(a.out[0].size, 64);
	assert_int_equal(a.out[1].dims[0], -1);
	assert_int_equal(a.out[1].size, -1);
	fill_call(&a, 10, 4);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 0);
	hone_context_destroy(c);
}

static void *give(void *self, int32_t output, int64_t size)
{
	void **blocks = self;

	blocks[output] = aligned_alloc(64, (size_t)(size + 63) / 64 * 64);
	return blocks[output];
}

static void *give_nothing(void *self, int32_t output, int64_t size)
{
	(void)self, (void)output, (void)size;
	return NULL;
}

static void outputs_without_data_are_allocated(void **state)
{
	void *blocks[2] = {NULL, NULL};
	hone_options o = {.size = sizeof(o), .allocate = give, .allocate_self = blocks};
	hone_context *c = make(&o);
	struct call a;

	(void)state;
	fill_call(&a, 10, 4);
	a.out[0].data = a.out[1].data = NULL;
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	assert_ptr_equal(a.out[0].data, blocks[0]);
	assert_ptr_equal(a.out[1].data, blocks[1]);
	memcpy(a.y, blocks[0], 64);
	memcpy(a.z, blocks[1], (size_t)a.out[1].size);
	check_call(&a, 0);
	free(blocks[0]);
	free(blocks[1]);
	hone_context_destroy(c);
	o.allocate = give_nothing;
	c = make(&o);
	fill_call(&a, 10, 4);
	a.out[1].data = NULL;
	assert_int_equal(hone_run(c, a.in, a.out), HONE_ERROR_MEMORY);
	hone_context_destroy(c);
}

static void params_are_checked_and_used(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	assert_int_equal(hone_set_param(c, "shift", 1), HONE_OK);
	fill_call(&a, 9, 3);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 1);
	assert_int_equal(hone_set_param(c, "shift", 11), HONE_ERROR_ARGUMENT);
	assert_string_equal(hone_error(c), "parameter \"shift\" is 11, expected -10..10");
	assert_int_equal(hone_set_param(c, "shift", 0.0 / 0.0), HONE_ERROR_ARGUMENT);
	assert_int_equal(hone_set_param(c, "lift", 1), HONE_ERROR_ARGUMENT);
	assert_string_equal(hone_error(c), "the model has no parameter \"lift\"");
	assert_int_equal(hone_set_param(c, NULL, 1), HONE_ERROR_ARGUMENT);
	hone_context_destroy(c);
}

static void expect_refusal(const hone_model *m, const hone_options *o, hone_status status,
			   const char *part)
{
	char text[256] = "";
	hone_context *c;

	assert_int_equal(hone_context_create(m, o, &c, text, sizeof(text)), status);
	assert_null(c);
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
	assert_int_equal(hone_context_create(m, o, &c, NULL, 0), status);
}

static void create_refuses_what_it_cannot_do(void **state)
{
	_Alignas(64) static unsigned char memory[256];
	struct {
		hone_options o;
		uint64_t more;
	} newer = {{.size = sizeof(newer)}, 0};
	hone_options o = {.size = 4};
	struct hone_program p = program;
	hone_model m = model;
	hone_context *c;

	(void)state;
	expect_refusal(&model, &o, HONE_ERROR_ARGUMENT, "options.size");
	o = (hone_options){.size = sizeof(o), .threads = 100000};
	expect_refusal(&model, &o, HONE_ERROR_ARGUMENT, "options.threads");
	o = (hone_options){.size = sizeof(o), .memory = memory + 1, .memory_size = 1 << 20};
	expect_refusal(&model, &o, HONE_ERROR_ARGUMENT, "not aligned");
	o = (hone_options){.size = sizeof(o), .memory = memory, .memory_size = sizeof(memory)};
	expect_refusal(&model, &o, HONE_ERROR_MEMORY, "has 256 bytes");
	newer.more = 1;
	expect_refusal(&model, &newer.o, HONE_ERROR_VERSION, "does not know");
	newer.more = 0;
	assert_int_equal(hone_context_create(&model, &newer.o, &c, NULL, 0), HONE_OK);
	hone_context_destroy(c);
	o = (hone_options){.size = 8, .threads = 1}; /* an older caller's options */
	assert_int_equal(hone_context_create(&model, &o, &c, NULL, 0), HONE_OK);
	hone_context_destroy(c);
	m.abi_version = 9;
	expect_refusal(&m, NULL, HONE_ERROR_VERSION, "ABI version");
	m = model;
	p.cpu = 1ULL << 40;
	m.program = &p;
	expect_refusal(&m, NULL, HONE_ERROR_CPU, "this processor or operating system lacks");
	assert_int_equal(hone_arena_bytes(&m, NULL, 1), -1);
}

/* setup of a level that must not be taken. */
static int32_t never(struct hone_frame *f, int32_t stage)
{
	(void)f;
	(void)stage;
	fail();
	return 1;
}

static void the_first_level_that_the_processor_has_is_taken(void **state)
{
	struct hone_program second = program, first = program;
	hone_model m = model;
	struct call c;
	hone_context *h = NULL;

	(void)state;
	first.cpu = UINT64_C(1) << 63; /* no processor has it */
	first.setup = never;
	first.next = &second;
	m.program = &first;
	assert_int_equal(hone_context_create(&m, NULL, &h, NULL, 0), HONE_OK);
	fill_call(&c, 3, 2);
	assert_int_equal(hone_run(h, c.in, c.out), HONE_OK);
	hone_context_destroy(h);
	second.cpu = first.cpu; /* now none is left */
	expect_refusal(&m, NULL, HONE_ERROR_CPU, "this processor or operating system lacks");
}

static void detected_levels_are_cumulative(void **state)
{
	uint64_t cpu = hone_cpu_detect();
	char text[200];

	(void)state;
	assert_true(!(cpu & HONE_CPU_V3) || cpu & HONE_CPU_V2);
	assert_true(!(cpu & HONE_CPU_V4) || cpu & HONE_CPU_V3);
	rt_cpu_names(HONE_CPU_V4 | HONE_CPU_AMX, text, sizeof(text));
	assert_string_equal(text, "x86-64-v4 (AVX-512), AMX");
	rt_cpu_names(UINT64_MAX, text, 8);
	assert_string_equal(text, "x86-64-");
}

/* Memory that ends at a page which faults. */
static unsigned char *guarded(size_t size)
{
	size_t page = 4096, room = (size + page - 1) / page * page;
	unsigned char *p =
		mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + room, page, PROT_NONE), 0);
	return p + room - size;
}

static void caller_memory_is_enough_and_nothing_is_allocated(void **state)
{
	struct call a;
	hone_options o = {.size = sizeof(o)};
	hone_context *c;
	long before;

	(void)state;
	fill_call(&a, 62, 16);
	o.memory_size = hone_arena_bytes(&model, a.in, 1);
	assert_true(o.memory_size > 62 * 16);
	o.memory_size += 256 * 8 + 64; /* z has no bound: the caller's guess */
	o.memory_size = (o.memory_size + 63) / 64 * 64;
	o.memory = guarded((size_t)o.memory_size);
	before = allocations;
	assert_int_equal(hone_context_create(&model, &o, &c, NULL, 0), HONE_OK);
	for (int64_t n = 1; n < 63; n++) {
		fill_call(&a, n, n % 16 + 1);
		assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
		check_call(&a, 0);
	}
	hone_context_destroy(c);
	assert_int_equal(allocations, before);
}

static void small_caller_memory_says_what_is_needed(void **state)
{
	struct call a;
	hone_options o = {.size = sizeof(o)};
	hone_context *c;
	char text[100];

	(void)state;
	fill_call(&a, 8, 2);
	o.memory_size = hone_arena_bytes(&model, a.in, 1);
	o.memory = guarded((size_t)o.memory_size);
	c = make(&o);
	a.in[0].dims[0] = 2;
	a.i[1] = 1;
	for (int k = 0; k < 64; k++)
		a.x[k] = -1; /* z is empty and needs no chunk */
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	fill_call(&a, 62, 2);
	snprintf(text, sizeof(text), "options.memory has %lld bytes, %lld are needed",
		 (long long)o.memory_size, (long long)hone_arena_bytes(&model, a.in, 1));
	assert_int_equal(hone_run(c, a.in, a.out), HONE_ERROR_MEMORY);
	assert_string_equal(hone_error(c), text);
	fill_call(&a, 8, 2);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_ERROR_MEMORY);
	assert_string_equal(
		hone_error(c),
		"node \"NonZero_7\" (NonZero): options.memory has no room for 8 bytes more");
	hone_context_destroy(c);
}

static void buffers_are_not_touched_past_their_end(void **state)
{
	hone_context *c = make(NULL);
	struct call a;

	(void)state;
	fill_call(&a, 5, 3);
	a.in[0].data = memcpy(guarded(80), a.x, 80);
	a.in[1].data = memcpy(guarded(24), a.i, 24);
	a.out[0].data = guarded(48);
	a.out[0].size = 48;
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	memcpy(a.y, a.out[0].data, 48);
	check_call(&a, 0);
	hone_context_destroy(c);
}

static void same_dims_allocate_nothing(void **state)
{
	hone_context *c = make(NULL);
	struct call a;
	long before;

	(void)state;
	fill_call(&a, 40, 7);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	before = allocations;
	for (int k = 0; k < 100; k++)
		assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	assert_int_equal(allocations, before);
	hone_context_destroy(c);
}

/* In strict mode the kernel kills at any call but read, write and exit. */
static void same_dims_make_no_system_call(void **state)
{
#ifndef SANITIZED
	hone_context *c = make(NULL);
	struct call a;
	int status = 1;
	pid_t child;

	(void)state;
	fill_call(&a, 40, 7);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	child = fork();
	if (!child) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(0);
		for (int k = 0; k < 10; k++)
			status = hone_run(c, a.in, a.out) == HONE_OK ? 0 : 1;
		syscall(SYS_exit, status);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	hone_context_destroy(c);
#else
	(void)state;
	skip();
#endif
}

static void thread_counts_give_the_same_bits(void **state)
{
	struct call a, b;

	(void)state;
	fill_call(&a, 61, 16);
	for (uint32_t threads = 1; threads <= 4; threads++) {
		hone_options o = {.size = sizeof(o), .threads = threads};
		hone_context *c = make(&o);

		for (int k = 0; k < 300; k++) {
			fill_call(&b, 61, 16);
			assert_int_equal(hone_run(c, b.in, b.out), HONE_OK);
			check_call(&b, 0);
			if (k % 100 == 50)
				usleep(2000); /* let the workers fall asleep */
		}
		hone_context_destroy(c);
	}
}

static void caller_memory_holds_the_pool(void **state)
{
	struct call a;
	hone_options o = {.size = sizeof(o), .threads = 3};
	hone_context *c;

	(void)state;
	fill_call(&a, 61, 16);
	o.memory_size = (hone_arena_bytes(&model, a.in, 3) + 256 * 8 + 127) / 64 * 64;
	o.memory = guarded((size_t)o.memory_size);
	c = make(&o);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 0);
	hone_context_destroy(c);
}

static void backwards(void *self, int64_t n, void (*fn)(void *arg, int64_t task, int32_t worker),
		      void *arg)
{
	++*(int *)self;
	while (n-- > 0)
		fn(arg, n, (int32_t)(n % 3));
}

static void callers_threads_are_used(void **state)
{
	int calls = 0;
	hone_options o = {.size = sizeof(o),
			  .threads = 3,
			  .parallel_for = backwards,
			  .parallel_self = &calls};
	hone_context *c = make(&o);
	struct call a;

	(void)state;
	fill_call(&a, 50, 9);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 0);
	assert_int_equal(calls, 2);
	hone_context_destroy(c);
}

static void *run_own_context(void *arg)
{
	hone_options o = {.size = sizeof(o), .threads = 2};
	hone_context *c = make(&o);
	struct call a;

	(void)arg;
	for (int k = 0; k < 200; k++) {
		fill_call(&a, k % 62 + 1, k % 16 + 1);
		assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
		check_call(&a, 0);
	}
	hone_context_destroy(c);
	return NULL;
}

static void contexts_run_at_the_same_time(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_own_context, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void count_chunk(void *arg, int64_t chunk, int32_t worker)
{
	int *seen = arg;

	(void)worker;
	seen[chunk]++; /* a chunk belongs to one worker: no race */
}

static void every_chunk_runs_once(void **state)
{
	int seen[16];
	void *memory = aligned_alloc(64, rt_pool_bytes(3));
	struct pool *p = rt_pool_start(memory, 3);

	(void)state;
	assert_non_null(p);
	for (int round = 0; round < 20000; round++) {
		int chunks = round % 16 + 1;

		memset(seen, 0, sizeof(seen));
		rt_pool_run(p, chunks, count_chunk, seen);
		for (int k = 0; k < 16; k++)
			assert_int_equal(seen[k], k < chunks);
	}
	rt_pool_stop(p);
	free(memory);
}

static uint32_t next_random(uint32_t *s) { return *s = *s * 1664525 + 1013904223; }

/* Returns the arena's size after checking that no two slots share a byte at a step. */
static int64_t place_randomly(int32_t count, uint32_t seed, int64_t *largest_live)
{
	struct hone_slot *s = calloc((size_t)count, sizeof(*s));
	int64_t *words = calloc((size_t)count, sizeof(*words)),
		*arrays = calloc((size_t)count * 5, 8), total;
	struct hone_program p = {.slot_count = count, .slots = s};
	struct placement at = {arrays, arrays + count, arrays + 2 * count, arrays + 3 * count,
			       arrays + 4 * count};

	for (int32_t i = 0; i < count; i++) {
		s[i].bytes_word = i;
		s[i].first = (int32_t)(next_random(&seed) >> 8) % count;
		s[i].last = s[i].first + (int32_t)(next_random(&seed) >> 20) % 8;
		s[i].kind = next_random(&seed) >> 28 ? HONE_SLOT_ARENA : HONE_SLOT_INPUT;
		words[i] = (next_random(&seed) >> 8) % 5000;
	}
	total = rt_place(&p, words, 1, &at);
	*largest_live = 0;
	for (int32_t step = 0; step < count + 8; step++) {
		int64_t live = 0;

		for (int32_t i = 0; i < count; i++) {
			if (s[i].kind == HONE_SLOT_ARENA && s[i].first <= step && step <= s[i].last)
				live += (words[i] + 63) / 64 * 64 + 64;
		}
		if (live > *largest_live)
			*largest_live = live;
	}
	for (int32_t i = 0; i < count; i++) {
		if (s[i].kind != HONE_SLOT_ARENA)
			continue;
		assert_int_equal(at.offsets[i] % 64, 0);
		assert_true(at.offsets[i] >= 0 && at.offsets[i] + words[i] + 64 <= total);
		for (int32_t k = 0; k < i; k++) {
			if (s[k].kind != HONE_SLOT_ARENA || s[k].last < s[i].first ||
			    s[i].last < s[k].first)
				continue;
			assert_true(at.offsets[i] + words[i] + 64 <= at.offsets[k] ||
				    at.offsets[k] + words[k] + 64 <= at.offsets[i]);
		}
	}
	free(s);
	free(words);
	free(arrays);
	return total;
}

static void slots_that_live_together_do_not_overlap(void **state)
{
	int64_t live;

	(void)state;
	for (uint32_t seed = 0; seed < 60; seed++) {
		int64_t total = place_randomly(1 + (int32_t)seed * 5, seed, &live);

		assert_true(total >= live && total <= live + live / 2);
	}
	place_randomly(3000, 7, &live);
}

static void a_dynamic_chunk_keeps_what_it_holds(void **state)
{
	hone_context *h = make(NULL);
	struct context *c = (struct context *)h;
	long before;

	(void)state;
	for (int64_t n = 1; n < 3000; n++) {
		assert_int_equal(hone_rt_reserve(&c->frame, Z, n * 8), 0);
		((int64_t *)c->frame.values[Z])[n - 1] = n;
		assert_int_equal((uintptr_t)c->frame.values[Z] % 64, 0);
	}
	for (int64_t n = 1; n < 3000; n++)
		assert_int_equal(((int64_t *)c->frame.values[Z])[n - 1], n);
	before = allocations;
	assert_int_equal(hone_rt_reserve(&c->frame, Z, 8), 0);
	assert_int_equal(allocations, before);
	assert_int_equal(hone_rt_reserve(&c->frame, Z, INT64_MAX - 3), HONE_FAIL_MEMORY);
	assert_int_equal(hone_rt_reserve(&c->frame, Z, -8), HONE_FAIL_MEMORY);
	hone_context_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_computes_for_many_dims),
		cmocka_unit_test(bad_inputs_are_named),
		cmocka_unit_test(bad_outputs_are_named),
		cmocka_unit_test(index_out_of_range_names_the_node),
		cmocka_unit_test(output_dims_does_not_run),
		cmocka_unit_test(outputs_without_data_are_allocated),
		cmocka_unit_test(params_are_checked_and_used),
		cmocka_unit_test(create_refuses_what_it_cannot_do),
		cmocka_unit_test(detected_levels_are_cumulative),
		cmocka_unit_test(the_first_level_that_the_processor_has_is_taken),
		cmocka_unit_test(caller_memory_is_enough_and_nothing_is_allocated),
		cmocka_unit_test(small_caller_memory_says_what_is_needed),
		cmocka_unit_test(buffers_are_not_touched_past_their_end),
		cmocka_unit_test(same_dims_allocate_nothing),
		cmocka_unit_test(same_dims_make_no_system_call),
		cmocka_unit_test(thread_counts_give_the_same_bits),
		cmocka_unit_test(caller_memory_holds_the_pool),
		cmocka_unit_test(callers_threads_are_used),
		cmocka_unit_test(contexts_run_at_the_same_time),
		cmocka_unit_test(every_chunk_runs_once),
		cmocka_unit_test(slots_that_live_together_do_not_overlap),
		cmocka_unit_test(a_dynamic_chunk_keeps_what_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
