/* test_emit.c: kernels as machine code against the interpreter: every scalar operation and cast, on all levels
 * this machine has. Buffers end at a page that faults. The objects of all levels are searched for symbols that
 * they would need from a library. */
#include "tests/unit/kernel_fixture.h"

#include <elf.h>

static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "neon"};
enum { LEVELS = 4, ELEMENTS = 67 };

static const enum dtype types[] = {
	DT_F32,        DT_F64, DT_F16, DT_BF16, DT_F8E4M3FN, DT_F8E4M3FNUZ, DT_F8E5M2,
	DT_F8E5M2FNUZ, DT_I64, DT_I32, DT_I16,  DT_I8,       DT_U64,        DT_U32,
	DT_U16,        DT_U8,  DT_I4,  DT_U4,   DT_I2,       DT_U2,         DT_BOOL};
enum { TYPES = sizeof(types) / sizeof(*types) };

static void check_value(struct fixture *f, struct value *y, double tolerance, const char *what)
{
	hone_tensor want;
	struct kernel *k;

	assert_non_null(y);
	want = interpreted(f, y);
	k = lower_node(f->g, y->def, &f->arena, &f->diag);
	assert_non_null(k);
	assert_true(plan_choose(k, &f->target, &f->diag));
	if (!kernel_matches(f, k, y, want.data, tolerance, 1e-37))
		fail_msg("%s on %s", what, f->target.spec);
	free(want.data);
}

/* ---- scalar operations ---- */

/* The node of an operation over fresh inputs of type t; NULL when it does not take the type. */
static struct value *operation(struct fixture *f, enum expr_op op, enum dtype t, int64_t count)
{
	enum dtype operands[3] = {t, t, t};
	struct value *x, *y;

	if (op == EXPR_SELECT || dtype_compute(t) != t || scalar_result(op, operands) == DT_NONE)
		return NULL;
	new_graph(f);
	x = INPUT(f, t, count);
	if (scalar_arity(op) == 1)
		return add_unary(&f->b, op, x);
	y = INPUT(f, t, count);
	return add_binary(&f->b, op, x, y);
}

static double tolerance_of(enum expr_op op, enum dtype t)
{
	double ulp = t == DT_F64 ? 0x1p-52 : 0x1p-23;

	if (op < EXPR_EXP || op > EXPR_ERF)
		return 0;
	return t == DT_F64 ? (op == EXPR_POW ? 1e-12 : 2e-14) : 2.5 * ulp;
}

static void every_operation_of_every_type_is_as_the_oracle_has_it(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		if (!level_runs(f, levels[l]))
			continue;
		for (int op = 0; op < EXPR_SCALAR_COUNT; op++) {
			for (int t = 0; t < TYPES; t++) {
				struct value *y =
					operation(f, (enum expr_op)op, types[t], ELEMENTS);

				if (y)
					check_value(f, y, tolerance_of((enum expr_op)op, types[t]),
						    arena_printf(&f->arena, "%s of %s",
								 scalar_text((enum expr_op)op),
								 dtype_name(types[t])));
			}
		}
	}
}

static void every_cast_is_as_the_oracle_has_it(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		if (!level_runs(f, levels[l]))
			continue;
		for (int from = 0; from < TYPES; from++) {
			for (int to = 0; to < TYPES; to++) {
				struct value *x;

				new_graph(f);
				x = INPUT(f, types[from], ELEMENTS);
				if (from != to)
					check_value(f, add_cast(&f->b, x, types[to]), 0,
						    arena_printf(&f->arena, "cast %s to %s",
								 dtype_name(types[from]),
								 dtype_name(types[to])));
			}
		}
	}
}

/* ---- indices ---- */

static void an_index_out_of_range_is_reported_and_reads_nothing(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		struct guarded held[3];
		void *buffers[3];
		struct value *x[2], *y;
		struct kernel *k;
		struct kernel_jit j;
		struct hone_fail fail;
		int64_t none = 0;

		if (!level_runs(f, levels[l]))
			continue;
		new_graph(f);
		x[0] = INPUT(f, DT_F32, 3, 33);
		x[1] = INPUT(f, DT_I64, 40);
		y = add_gather(&f->b, 0, x[0], x[1], 0, 0);
		k = lower_node(f->g, y->def, &f->arena, &f->diag);
		assert_true(plan_choose(k, &f->target, &f->diag));
		assert_true(kernel_jit_make(&j, k, &f->target, &f->diag));
		assert_true(j.abi.can_fail);
		for (int i = 0; i < 3; i++) {
			held[i] = guarded_alloc(
				(size_t)dtype_bytes(k->buffers.at[i].type.dtype,
						    type_count_const(&k->buffers.at[i].type)));
			buffers[i] = held[i].data;
			memset(buffers[i], 0, held[i].size);
			if (k->buffers.at[i].value == x[1])
				((int64_t *)buffers[i])[37] = INT64_C(1) << 40;
		}
		assert_int_equal(kernel_jit_run(&j, buffers, &none, 1, &fail), HONE_FAIL_INDEX);
		assert_true(fail.found == INT64_C(1) << 40 && fail.bound == 3);
		for (int i = 0; i < 3; i++)
			guarded_free(&held[i]);
		kernel_jit_free(&j);
	}
}

/* ---- symbols ---- */

static void only_memory_functions(const char *bytes, const char *what)
{
	const Elf64_Ehdr *h = (const void *)bytes;
	const Elf64_Shdr *s = (const void *)(bytes + h->e_shoff);

	for (int i = 0; i < h->e_shnum; i++) {
		const Elf64_Sym *symbols = (const void *)(bytes + s[i].sh_offset);
		const char *names = bytes + s[s[i].sh_link].sh_offset;

		for (size_t n = 1;
		     s[i].sh_type == SHT_SYMTAB && n < s[i].sh_size / sizeof(*symbols); n++) {
			const char *name = names + symbols[n].st_name;

			if (symbols[n].st_shndx == SHN_UNDEF && strcmp(name, "memcpy") &&
			    strcmp(name, "memset"))
				fail_msg("%s needs %s", what, name);
		}
	}
}

static void add_kernel(struct fixture *f, struct emitter *e, struct value *y, int number)
{
	struct kernel *k = lower_node(f->g, y->def, &f->arena, &f->diag);
	struct kernel_abi abi;

	assert_true(k && plan_choose(k, &f->target, &f->diag) && kernel_abi_of(k, &f->arena, &abi));
	assert_true(emit_kernel(e, k, &abi, arena_printf(&f->arena, "k%d", number), &f->diag));
}

/* All operations of type t and casts from it in one object. */
static void audit(struct fixture *f, enum dtype t)
{
	LLVMMemoryBufferRef object;
	struct emitter e;
	int n = 0;

	emitter_open(&e, &f->target, &f->arena, "audit");
	for (int op = 0; op < EXPR_SCALAR_COUNT; op++) {
		struct value *y = operation(f, (enum expr_op)op, t, ELEMENTS);

		if (y)
			add_kernel(f, &e, y, n++);
	}
	for (int to = 0; to < TYPES; to++) {
		new_graph(f);
		if (types[to] != t)
			add_kernel(f, &e, add_cast(&f->b, INPUT(f, t, ELEMENTS), types[to]), n++);
	}
	assert_true(emitter_finish(&e, LLVMObjectFile, &object, &f->diag));
	only_memory_functions(LLVMGetBufferStart(object),
			      arena_printf(&f->arena, "%s on %s", dtype_name(t), f->target.spec));
	LLVMDisposeMemoryBuffer(object);
	emitter_close(&e);
}

static void objects_of_all_levels_need_no_library(void **state)
{
	struct fixture *f = *state;

	for (int l = 0; l < LEVELS; l++) {
		level_runs(f, levels[l]);
		for (int t = 0; t < TYPES; t++)
			audit(f, types[t]);
	}
}

/* ---- targets ---- */

static void a_resolved_target_reads_back(void **state)
{
	struct fixture *f = *state;
	struct target a, b;

	assert_true(target_resolve("native", NULL, &f->arena, &a, &f->diag));
	assert_true(target_resolve(a.spec, NULL, &f->arena, &b, &f->diag));
	assert_string_equal(a.spec, b.spec);
	assert_string_equal(a.features, b.features);
	assert_true(a.l2 == b.l2 && a.vnni == b.vnni && a.cpu_bits == b.cpu_bits);
	assert_false(target_resolve("x86-64-v9", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3+amx", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3,l1=-5", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3", "aarch64-linux-gnu", &f->arena, &b, &f->diag));
	assert_int_equal(f->diag.errors, 4);
}

static void levels_are_sorted_and_read_back(void **state)
{
	struct fixture *f = *state;
	struct targets a, b;

	assert_true(
		targets_resolve("v3,l1=16384,x86-64-v4,v4+vnni,v2", NULL, &f->arena, &a, &f->diag));
	assert_int_equal(a.count, 4);
	assert_string_equal(target_level(&f->arena, &a.at[0]), "x86-64-v4+vnni");
	assert_string_equal(target_level(&f->arena, &a.at[1]), "x86-64-v4");
	assert_string_equal(target_level(&f->arena, &a.at[2]), "x86-64-v3");
	assert_string_equal(target_level(&f->arena, &a.at[3]), "x86-64-v2");
	assert_true(a.at[2].l1 == 16384 && a.at[3].l1 != 16384);
	assert_true(targets_resolve(a.spec, NULL, &f->arena, &b, &f->diag));
	assert_string_equal(a.spec, b.spec);
	assert_false(targets_resolve("v3,v4,v3", NULL, &f->arena, &b, &f->diag));
	assert_false(targets_resolve("v3,neon", NULL, &f->arena, &b, &f->diag));
	assert_false(targets_resolve("v3,", NULL, &f->arena, &b, &f->diag));
	assert_false(target_resolve("v3,v4", NULL, &f->arena, &a.at[0], &f->diag));
	assert_int_equal(f->diag.errors, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_resolved_target_reads_back, start, finish),
		cmocka_unit_test_setup_teardown(levels_are_sorted_and_read_back, start, finish),
		cmocka_unit_test_setup_teardown(an_index_out_of_range_is_reported_and_reads_nothing,
						start, finish),
		cmocka_unit_test_setup_teardown(
			every_operation_of_every_type_is_as_the_oracle_has_it, start, finish),
		cmocka_unit_test_setup_teardown(every_cast_is_as_the_oracle_has_it, start, finish),
		cmocka_unit_test_setup_teardown(objects_of_all_levels_need_no_library, start,
						finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
