/* test_runtime_context.c: contexts and their arguments. */
#include "tests/unit/runtime_program.h"

#include "tests/support/amx_emulator.h"

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

#ifdef __x86_64__
static void the_next_level_is_taken_where_amx_is_refused(void **state)
{
	struct hone_program second = program, first = program;
	hone_model m = model;
	hone_context *c;
	struct call a;

	(void)state;
	first.cpu = HONE_CPU_AMX;
	first.setup = never;
	m.program = &first;
	amx_refuse_permission(true);
	expect_refusal(&m, NULL, HONE_ERROR_CPU, "compiled for AMX, which");
	first.next = &second;
	assert_int_equal(hone_context_create(&m, NULL, &c, NULL, 0), HONE_OK);
	fill_call(&a, 3, 2);
	assert_int_equal(hone_run(c, a.in, a.out), HONE_OK);
	check_call(&a, 0);
	hone_context_destroy(c);
	amx_refuse_permission(false);
}
#endif

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
		cmocka_unit_test(the_first_level_that_the_processor_has_is_taken),
#ifdef __x86_64__
		cmocka_unit_test(the_next_level_is_taken_where_amx_is_refused),
#endif
		cmocka_unit_test(detected_levels_are_cumulative),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
