/* The main of standalone executables, on y = factor * x, x f32[N,3] and n i64[2]. */
#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/program.h"
#include "runtime/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int32_t setup(struct hone_frame *f, int32_t stage)
{
	(void)stage;
	f->words[1] = f->words[0] * 12;
	return 0;
}

static int32_t run(struct hone_frame *f)
{
	const float *x = f->values[0];
	float *y = f->values[1];

	if (*(const int64_t *)f->values[2] == 77) {
		f->fail = (struct hone_fail){HONE_FAIL_INDEX, 0, 77, 5};
		return HONE_FAIL_INDEX;
	}
	for (int64_t i = 0; i < f->words[0] * 3; i++)
		y[i] = x[i] * (float)f->params[0];
	return 0;
}

static const struct hone_symbol symbols[] = {{"N", 0, 100}};
static const struct hone_slot slots[] = {{HONE_SLOT_INPUT, 0, -1, 0, 0, 0},
					 {HONE_SLOT_OUTPUT, 0, -1, 0, 0, 0},
					 {HONE_SLOT_INPUT, 1, -1, 0, 0, 0}};
static const char *const nodes[] = {"node \"g\" (Gather)"};
static const struct hone_dim_ref x_ref[] = {{0, 0, 0}, {3, -1, 0}}, n_ref[] = {{2, -1, 0}};
static const struct hone_dim_ref *const input_refs[] = {x_ref, n_ref};
static const struct hone_output_ref output_refs[] = {{0, 1, 1, 0, x_ref, x_ref}};
static const struct hone_program program = {
	.word_count = 2,
	.symbol_count = 1,
	.slot_count = 3,
	.node_count = 1,
	.input_symbol_count = 1,
	.symbols = symbols,
	.slots = slots,
	.nodes = nodes,
	.input_dims = input_refs,
	.outputs = output_refs,
	.setup = setup,
	.run = run,
};
static const hone_dim x_dims[] = {{0, 100, "N"}, {3, 3, NULL}}, n_dims[] = {{2, 2, NULL}};
static const hone_io inputs[] = {{"x:0", HONE_F32, 2, x_dims, -1, NULL},
				 {"n", HONE_I64, 1, n_dims, -1, NULL}};
static const hone_io outputs[] = {{"y", HONE_F32, 2, x_dims, -1, NULL}};
static const hone_param params[] = {{"factor", 2, 0, 10}};
static const hone_model model = {
	.size = sizeof(model),
	.abi_version = HONE_ABI_VERSION,
	.name = "times",
	.signature = "{}",
	.compiler = "hone",
	.passes = "none",
	.cpu = "x86-64-v2",
	.hash = "00",
	.input_count = 2,
	.output_count = 1,
	.param_count = 1,
	.inputs = inputs,
	.outputs = outputs,
	.params = params,
	.context_create = hone_rt_context_create,
	.output_dims = hone_rt_output_dims,
	.run = hone_rt_run,
	.set_param = hone_rt_set_param,
	.error = hone_rt_error,
	.context_destroy = hone_rt_context_destroy,
	.program = &program,
};

static char directory[] = "/tmp/test_exe_XXXXXX";

static int enter(void **state)
{
	const float x[] = {1, 2, 3, 4, 5, 6};
	const int64_t n[] = {1, 2}, bad[] = {77, 0}, dims[] = {2, 3};
	const struct file_part raw = {x, sizeof(x)}, cut = {x, 20};

	(void)state;
	return mkdtemp(directory) && !chdir(directory) &&
			       npy_write_file("x.npy", HONE_F32, 2, dims, x, NULL, 0) &&
			       npy_write_file("n.npy", HONE_I64, 1, dims, n, NULL, 0) &&
			       npy_write_file("bad.npy", HONE_I64, 1, dims, bad, NULL, 0) &&
			       rt_file_write("x.raw", &raw, 1, NULL, 0) &&
			       rt_file_write("cut.raw", &cut, 1, NULL, 0)
		       ? 0
		       : -1;
}

static int leave(void **state)
{
	static const char names[][8] = {"x.npy", "n.npy", "bad.npy", "x.raw", "cut.raw",
					"y.npy", "y.raw", "out",     "err"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink(names[i]);
	return chdir("/") || rmdir(directory);
}

static char out[4096], err[4096];

static void read_text(const char *path, char text[4096])
{
	void *bytes;
	size_t size;

	assert_true(rt_file_read(path, &bytes, &size, NULL, 0));
	size = size < 4095 ? size : 4095;
	memcpy(text, bytes, size);
	text[size] = 0;
	free(bytes);
}

/* Runs the executable's main on a command line of words; returns the status. */
static int execute(const char *line)
{
	char copy[512], *argv[40] = {"times"};
	int argc = 1, status = -1;
	pid_t child;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	fflush(NULL);
	child = fork();
	if (!child) {
		if (!freopen("out", "w", stdout) || !freopen("err", "w", stderr))
			_exit(99);
		status = hone_exe_main(&model, argc, argv);
		fflush(NULL);
		_exit(status);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	read_text("out", out);
	read_text("err", err);
	return WEXITSTATUS(status);
}

static void expect(const char *line, int status, const char *message)
{
	int got = execute(line);

	if (got != status || (message && strcmp(err, message)))
		fail_msg("%s: status %d, \"%s\"; expected %d, \"%s\"", line, got, err, status,
			 message ? message : "anything");
}

static void outputs_are_printed_or_written(void **state)
{
	struct npy t;
	void *bytes;
	size_t size;

	(void)state;
	expect("--input x.npy --input n.npy", 0, "");
	assert_string_equal(out, "y: f32[2,3] = 2 4 6 8 10 12\n");
	expect("--input n=n.npy x:0=x.raw --param factor=0.5", 0, "");
	assert_string_equal(out, "y: f32[2,3] = 0.5 1 1.5 2 2.5 3\n");
	expect("--input x:0:2x3=x.raw n.npy --output y.npy --threads 2", 0, "");
	assert_true(npy_read_file(&t, "y.npy", NULL, 0));
	assert_true(t.rank == 2 && t.dims[0] == 2 && ((const float *)t.data)[5] == 12);
	npy_free(&t);
	expect("--input x.npy n.npy --output y=y.raw --repeat 3", 0, NULL);
	assert_non_null(strstr(err, "first run"));
	assert_true(rt_file_read("y.raw", &bytes, &size, NULL, 0));
	assert_true(size == 24 && ((const float *)bytes)[5] == 12);
	free(bytes);
}

static void help_and_info_describe_the_model(void **state)
{
	(void)state;
	expect("--help", 0, "");
	assert_non_null(
		strstr(out, "inputs  x:0: f32[N,3]\n        n: i64[2]\noutputs y: f32[N,3]\n"));
	expect("--info", 0, "");
	assert_non_null(strstr(out, "params  factor = 2 (0..10)\n"));
}

static void mistakes_are_usage_errors(void **state)
{
	(void)state;
	expect("", 2, "error: input \"x:0\" is missing (try --help)\n");
	expect("--frobnicate", 2, "error: unknown argument --frobnicate (try --help)\n");
	expect("--input", 2, "error: --input needs a value\n");
	expect("--input x.npy n.npy x.npy", 2, "error: --input x.npy: the model has 2 inputs\n");
	expect("--input n=n.npy n=n.npy", 2,
	       "error: --input n=n.npy: input \"n\" is given twice\n");
	expect("--input x.npy n.npy --threads 0", 2, "error: --threads 0: expected 1..1024\n");
	expect("--input x.npy n.npy --repeat x", 2, "error: --repeat x: expected 1..1000000\n");
	expect("--input x.npy n.npy --param a", 2, "error: --param a: expected NAME=VALUE\n");
	expect("--input x.npy n.npy --param factor=99", 2,
	       "error: parameter \"factor\" is 99, expected 0..10\n");
	expect("--input x.npy n.npy --output a b", 2,
	       "error: --output b: the model has 1 outputs\n");
}

static void bad_files_and_failed_runs_have_their_status(void **state)
{
	(void)state;
	expect("--input none.npy", 4, "error: none.npy: No such file or directory\n");
	expect("--input cut.raw", 4,
	       "error: cut.raw: the file has 20 bytes, input \"x:0\" needs a multiple of 12\n");
	expect("--input x:0:5=x.raw", 4,
	       "error: x.raw: the file has 24 bytes, input \"x:0\" needs 20\n");
	expect("--input x.npy n.npy --output /dev/full", 4,
	       "error: /dev/full: No space left on device\n");
	expect("--input n.npy n.npy", 1,
	       "error: input \"x:0\": dtype is i64 (7), expected f32 (1)\n");
	expect("--input x.npy bad.npy", 1,
	       "error: node \"g\" (Gather): index 77 is out of range [-5, 4]\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outputs_are_printed_or_written),
		cmocka_unit_test(help_and_info_describe_the_model),
		cmocka_unit_test(mistakes_are_usage_errors),
		cmocka_unit_test(bad_files_and_failed_runs_have_their_status),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
