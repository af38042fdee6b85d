/* test_model: reading models, good and bad, from bytes and files. */
#define _DEFAULT_SOURCE /* mkdtemp */
#include "frontend/model.h"
#include "frontend/tensor_pb.h"
#include "tests/support/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CORPUS "tests/fuzz/corpus/model/"

static struct arena arena;
static struct onnx_model *model;

static struct message new_message(void) { return (struct message){.arena = &arena}; }

/* Starts a tensor of one dim. */
static struct message tensor(const char *name, int dtype, int64_t dim)
{
	struct message t = new_message();

	put_text(&t, 8, name);
	put_number(&t, 2, dtype);
	put_number(&t, 1, dim);
	return t;
}

/* A node of at most one input ("" for none) and one output. */
static struct message node(const char *op, const char *input, const char *output)
{
	struct message n = new_message();

	put_text(&n, 4, op);
	if (*input)
		put_text(&n, 1, input);
	put_text(&n, 2, output);
	return n;
}

static void put_value(struct message *graph, int field, const char *name)
{
	struct message v = new_message();

	put_text(&v, 1, name);
	put_message(graph, field, &v);
}

static struct message model_of(const struct message *graph)
{
	struct message m = new_message(), opset = new_message();

	put_number(&m, 1, 8);
	put_number(&opset, 2, 17);
	put_message(&m, 8, &opset);
	put_message(&m, 7, graph);
	return m;
}

static bool read_model(const struct message *m, struct diag *d)
{
	return model_read_bytes(m->at, m->size, "m.onnx", NULL, &arena, &model, d);
}

static void assert_read(const struct message *m)
{
	struct diag d = {0};

	if (!read_model(m, &d)) {
		diag_print(&d, stderr, false);
		fail();
	}
	diag_reset(&d);
}

static void assert_refused_as(const struct message *m, int status, const char *why)
{
	struct diag d = {0};

	assert_false(read_model(m, &d));
	assert_int_equal(diag_exit_status(&d), status);
	if (!strstr(d.messages[0].text, why))
		fail_msg("expected \"%s\" in \"%s\"", why, d.messages[0].text);
	diag_reset(&d);
}

static void assert_refused(const struct message *m, const char *why)
{
	assert_refused_as(m, 4, why);
}

static struct message model_with_tensor(const struct message *t)
{
	struct message graph = new_message();

	put_message(&graph, 5, t);
	return model_of(&graph);
}

static void assert_tensor_refused(const struct message *t, const char *why)
{
	struct message m = model_with_tensor(t);

	assert_refused(&m, why);
}

/* The one initializer of a model that has it. */
static const struct onnx_tensor *read_back(const struct message *t)
{
	struct message m = model_with_tensor(t);

	assert_read(&m);
	return &model->graph.initializers[0];
}

static char *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *bytes;

	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*size = (size_t)ftell(f);
	rewind(f);
	bytes = malloc(*size);
	assert_int_equal(fread(bytes, 1, *size, f), *size);
	fclose(f);
	return bytes;
}

static void a_model_shows_its_graph(void **state)
{
	struct diag d = {0};
	const struct onnx_graph *g;

	(void)state;
	assert_true(model_read(CORPUS "test_Linear.onnx", NULL, &arena, &model, &d));
	g = &model->graph;
	assert_int_equal(g->node_count, 1);
	assert_string_equal(g->nodes[0].op, "Gemm");
	assert_non_null(node_attr(&g->nodes[0], "transB"));
	assert_null(node_attr(&g->nodes[0], "transC"));
	assert_int_equal(g->outputs[0].type.dtype, ONNX_FLOAT);
	assert_int_equal(g->outputs[0].type.rank, 2);
	assert_true(model_opset(model, "ai.onnx") > 0);
	assert_int_equal(model_opset(model, "ai.onnx"), model_opset(model, ""));
	assert_int_equal(model_opset(model, "no.such"), 0);
	model_close(model);
}

static void functions_sparse_tensors_and_all_dtypes_are_read(void **state)
{
	struct diag d = {0};
	const struct onnx_tensor *t;
	int found = 0;

	(void)state;
	assert_true(model_read(CORPUS "every_dtype.onnx", NULL, &arena, &model, &d));
	assert_int_equal(model->function_count, 2);
	assert_string_equal(model->functions[0].nodes[0].attrs[0].ref, "a");
	assert_int_equal(model->functions[0].default_count, 1);
	assert_string_equal(model->functions[0].defaults[0].name, "b");
	assert_int_equal(model->graph.sparse_count, 1);
	assert_string_equal(model->graph.inputs[0].type.dims[0].symbol, "N");
	assert_int_equal(model->graph.inputs[0].type.dims[1].value, 3);
	for (t = model->graph.initializers; t < &model->graph.initializers[20]; t++) {
		if (t->dtype == ONNX_UINT4 && ++found)
			assert_memory_equal(t->data, "\x21\x03", 2);
		if (t->dtype == ONNX_BFLOAT16 && ++found)
			assert_memory_equal(t->data, "\x80\x3f\x00\x40\x40\x40", 6);
		if (t->dtype == ONNX_UINT32 && ++found)
			assert_memory_equal(t->data, "\1\0\0\0\2\0\0\0\3\0\0\0", 12);
		if (t->dtype == ONNX_STRING && ++found)
			assert_memory_equal(t->strings[1].at, "b\0c", 4);
	}
	assert_int_equal(found, 4);
	model_close(model);
}

static void no_beginning_of_a_model_is_a_model(void **state)
{
	static const char *const files[] = {CORPUS "test_loop13_seq.onnx",
					    CORPUS "every_dtype.onnx"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		size_t size;
		char *bytes = read_file(files[i], &size);

		for (size_t n = 0; n < size; n++) {
			struct arena a = {0};
			struct diag d = {0};
			char *exact = malloc(n ? n : 1); /* so that ASan sees its end */

			memcpy(exact, bytes, n);
			if (!model_read_bytes(exact, n, "m", NULL, &a, &model, &d))
				assert_true(d.errors > 0);
			else /* only what comes after the graph may be missing */
				assert_true(model->graph.node_count > 0);
			free(exact);
			diag_reset(&d);
			arena_free(&a);
		}
		free(bytes);
	}
}

static void garbage_and_nothing_are_no_models(void **state)
{
	struct message m = new_message(), empty = new_message();

	(void)state;
	put_bytes(&m, "%PDF-1.4 this is no model", 25);
	assert_refused(&m, "not a valid protobuf");
	assert_refused(&empty, "empty");
	m = new_message();
	put_number(&m, 1, 8);
	assert_refused(&m, "no graph");
	m = new_message();
	put_text(&m, 2, "pytorch");
	assert_refused(&m, "no ir_version");
}

static void raw_data_has_the_length_that_its_type_needs(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, 2);

	(void)state;
	put_data(&t, 9, "1234567", 7);
	assert_tensor_refused(&t, "holds 7 bytes, float[2] needs 8");
	t = tensor("w", ONNX_INT4, 3);
	put_data(&t, 9, "1234", 4);
	assert_tensor_refused(&t, "holds 4 bytes, int4[3] needs 2");
	t = tensor("w", ONNX_FLOAT, 2);
	assert_tensor_refused(&t, "holds 0 bytes");
	t = tensor("w", ONNX_FLOAT, 0);
	assert_int_equal(read_back(&t)->size, 0);
	t = tensor("w", ONNX_INT4, 3);
	put_data(&t, 9, "12", 2);
	assert_memory_equal(read_back(&t)->data, "12", 2);
}

static void bad_dims_are_refused(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, -1), m;

	(void)state;
	assert_tensor_refused(&t, "dim 0 is negative: -1");
	t = tensor("w", ONNX_FLOAT, INT64_MAX / 2);
	put_number(&t, 1, 4);
	assert_tensor_refused(&t, "overflows");
	t = tensor("w", ONNX_FLOAT, (int64_t)1 << 40);
	assert_tensor_refused(&t, "needs 4398046511104");
	t = tensor("w", ONNX_FLOAT, 1);
	for (int i = 0; i < 8; i++)
		put_number(&t, 1, 1);
	m = model_with_tensor(&t);
	assert_refused_as(&m, 3, "rank 9");
}

static void typed_data_is_counted_and_in_range(void **state)
{
	struct message t = tensor("w", ONNX_INT8, 2);

	(void)state;
	put_number(&t, 5, -3);
	put_data(&t, 5, "\x07", 1);
	assert_memory_equal(read_back(&t)->data, "\xfd\x07", 2);
	t = tensor("w", ONNX_INT8, 1);
	put_number(&t, 5, 300);
	assert_tensor_refused(&t, "out of the range of int8");
	t = tensor("w", ONNX_INT8, 1);
	put_data(&t, 5, "\1\2", 2);
	assert_tensor_refused(&t, "more than the 1 values");
	t = tensor("w", ONNX_INT64, 2);
	put_data(&t, 7, "\xff\x01", 2);
	assert_tensor_refused(&t, "holds 1 values, int64[2] needs 2");
	t = tensor("w", ONNX_INT64, 1);
	put_data(&t, 7, "\xff", 1);
	assert_tensor_refused(&t, "damaged");
	t = tensor("w", ONNX_FLOAT, 1);
	put_data(&t, 5, "\1", 1);
	assert_tensor_refused(&t, "data in field 5, float[1] has its data in field 4");
	t = tensor("w", ONNX_INT64, (int64_t)1 << 50);
	put_data(&t, 7, "\1", 1);
	assert_tensor_refused(&t, "1 bytes of data for");
}

static void data_comes_in_one_way_only(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, 1);

	(void)state;
	put_data(&t, 9, "1234", 4);
	put_data(&t, 4, "1234", 4);
	assert_tensor_refused(&t, "more than one");
}

static void bools_are_0_or_1(void **state)
{
	struct message t = tensor("w", ONNX_BOOL, 2);

	(void)state;
	put_data(&t, 9, "\1\2", 2);
	assert_tensor_refused(&t, "value 1 is 2");
	t = tensor("w", ONNX_BOOL, 2);
	put_data(&t, 5, "\0\2", 2);
	assert_memory_equal(read_back(&t)->data, "\0\1", 2);
}

static void element_types_of_the_future_are_unsupported(void **state)
{
	struct message t = tensor("w", 99, 1), m;

	(void)state;
	m = model_with_tensor(&t);
	assert_refused_as(&m, 3, "element type 99");
	t = tensor("w", 0, 1);
	assert_tensor_refused(&t, "no valid element type");
}

/* A graph x -> first -> second -> y; where each reads and what each makes is told. */
static struct message chain(const char *read1, const char *made1, const char *read2,
			    const char *made2)
{
	struct message g = new_message(), a = node("Relu", read1, made1),
		       b = node("Abs", read2, made2);
	struct message with_x = new_message();

	put_text(&with_x, 1, "x");
	put_message(&g, 11, &with_x);
	put_message(&g, 1, &a);
	put_message(&g, 1, &b);
	put_value(&g, 12, "y");
	return model_of(&g);
}

static void graphs_are_sorted_acyclic_and_complete(void **state)
{
	struct message m = chain("x", "a", "a", "y");
	struct diag d = {0};

	(void)state;
	assert_read(&m);
	assert_string_equal(model->graph.nodes[0].name, "Relu_0");
	assert_string_equal(model->graph.nodes[1].name, "Abs_1");
	m = chain("b", "y", "x", "b");
	assert_refused(&m, "before it is made by node \"Abs_1\"");
	m = chain("b", "y", "y", "b");
	assert_refused(&m, "cycle");
	m = chain("a", "a", "a", "y");
	assert_refused(&m, "cycle");
	m = chain("x", "a", "lost", "y");
	assert_refused(&m, "reads \"lost\", which nothing defines");
	m = chain("x", "a", "a", "a");
	assert_refused(&m, "\"a\" is defined twice");
	m = chain("x", "a", "a", "x");
	assert_refused(&m, "\"x\" is defined twice");
	m = chain("x", "a", "a", "z");
	assert_refused(&m, "nothing defines the output \"y\"");
	m = chain("x", "a", "lost", "y");
	assert_false(read_model(&m, &d));
	assert_string_equal(d.messages[0].loc.node, "Abs_1");
	assert_string_equal(d.messages[0].loc.op, "Abs");
	assert_string_equal(d.messages[0].loc.file, "m.onnx");
	diag_reset(&d);
}

/* An If-like node that reads "x" and makes "y"; its branch reads `read` and makes `made`. */
static struct message branching(const char *read, const char *made, const char *output)
{
	struct message g = new_message(), branch = new_message(), attr = new_message();
	struct message inner = node("Abs", read, made), outer = node("If", "x", "y");

	put_message(&branch, 1, &inner);
	put_value(&branch, 12, output);
	put_text(&attr, 1, "then_branch");
	put_number(&attr, 20, ONNX_ATTR_GRAPH);
	put_message(&attr, 6, &branch);
	put_message(&outer, 5, &attr);
	put_value(&g, 11, "x");
	put_message(&g, 1, &outer);
	put_value(&g, 12, "y");
	return model_of(&g);
}

static void subgraphs_see_outer_names(void **state)
{
	struct message m = branching("x", "inner", "inner");

	(void)state;
	assert_read(&m);
	assert_int_equal(model->graph.nodes[0].attrs[0].graphs[0].node_count, 1);
	m = branching("x", "y", "y"); /* not defined outside yet: a name of its own */
	assert_read(&m);
	m = branching("y", "inner", "inner");
	assert_refused(&m, "cycle");
	m = branching("x", "x", "x");
	assert_refused(&m, "defined twice");
	m = branching("x", "inner", "y");
	assert_refused(&m, "nothing defines the output");
}

static void attributes_have_values(void **state)
{
	struct message g = new_message(), n = node("Constant", "", "y"), attr = new_message(), m;
	struct message bad = n;

	(void)state;
	put_text(&attr, 1, "value");
	put_number(&attr, 20, ONNX_ATTR_TENSOR);
	bad.room = bad.size; /* so that it is copied when it grows */
	put_message(&bad, 5, &attr);
	put_message(&g, 1, &bad);
	m = model_of(&g);
	assert_refused(&m, "\"value\" lacks its value");
	g = new_message();
	put_text(&attr, 21, "outside");
	put_message(&n, 5, &attr);
	put_message(&g, 1, &n);
	m = model_of(&g);
	assert_refused(&m, "of a function, but is in none");
}

/* A model with a function that calls `callee`. */
static struct message with_function(const char *callee, int copies)
{
	struct message g = new_message(), m = model_of(&g), f = new_message();
	struct message n = node(callee, "x", "y");

	put_text(&n, 7, "my");
	put_text(&f, 1, "F");
	put_text(&f, 10, "my");
	put_text(&f, 4, "x");
	put_text(&f, 5, "y");
	put_message(&f, 7, &n);
	while (copies--)
		put_message(&m, 25, &f);
	return m;
}

static void functions_are_unique_and_not_recursive(void **state)
{
	struct message m = with_function("Other", 1);

	(void)state;
	assert_read(&m);
	m = with_function("F", 1);
	assert_refused(&m, "calls itself");
	m = with_function("Other", 2);
	assert_refused(&m, "defined twice");
}

static void memory_is_limited_as_the_caller_says(void **state)
{
	struct message g = new_message(), m, n = new_message();
	struct model_options options = {.memory_limit = 100000};
	struct diag d = {0};

	(void)state;
	put_text(&n, 4, "Relu");
	for (int i = 0; i < 1000; i++)
		put_message(&g, 1, &n);
	m = model_of(&g);
	assert_read(&m);
	assert_false(model_read_bytes(m.at, m.size, "m", &options, &arena, &model, &d));
	assert_int_equal(d.errors, 1);
	assert_non_null(strstr(d.messages[0].text, "limit of 100000 bytes"));
	diag_reset(&d);
}

/* A folder of its own, with model.onnx whose tensor "w" of 8 bytes is external. */
struct folder {
	char path[64], model[96];
};

static void write_file(const char *folder, const char *name, const void *bytes, size_t size)
{
	const char *path = arena_printf(&arena, "%s/%s", folder, name);
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	fclose(f);
}

static void put_entry(struct message *t, const char *key, const char *value)
{
	struct message e = new_message();

	put_text(&e, 1, key);
	put_text(&e, 2, value);
	put_message(t, 13, &e);
}

static struct folder make_folder(const char *location, const char *offset, const char *length)
{
	struct message t = tensor("w", ONNX_FLOAT, 2), m;
	struct folder f = {.path = "/tmp/test_model.XXXXXX"};

	assert_non_null(mkdtemp(f.path));
	snprintf(f.model, sizeof(f.model), "%s/model.onnx", f.path);
	put_number(&t, 14, 1);
	put_entry(&t, "location", location);
	put_entry(&t, "offset", offset);
	put_entry(&t, "length", length);
	m = model_with_tensor(&t);
	write_file(f.path, "model.onnx", m.at, m.size);
	write_file(f.path, "w.bin", "0123456789abcdef", 16);
	return f;
}

static void remove_folder(const struct folder *f)
{
	static const char *const names[] = {"model.onnx", "w.bin", "link", "sub"};

	for (int i = 0; i < 4; i++)
		unlink(arena_printf(&arena, "%s/%s", f->path, names[i]));
	assert_int_equal(rmdir(f->path), 0);
}

static void assert_external_refused(const char *location, const char *offset, const char *length,
				    const char *why)
{
	struct folder f = make_folder(location, offset, length);
	struct diag d = {0};

	assert_int_equal(symlink("/etc/passwd", arena_printf(&arena, "%s/link", f.path)), 0);
	assert_int_equal(symlink("/tmp", arena_printf(&arena, "%s/sub", f.path)), 0);
	assert_false(model_read(f.model, NULL, &arena, &model, &d));
	assert_int_equal(diag_exit_status(&d), 4);
	if (!strstr(d.messages[0].text, why))
		fail_msg("expected \"%s\" in \"%s\"", why, d.messages[0].text);
	diag_reset(&d);
	remove_folder(&f);
}

static void external_data_is_mapped(void **state)
{
	struct folder f = make_folder("./w.bin", "4", "8");
	struct diag d = {0};

	(void)state;
	assert_true(model_read(f.model, NULL, &arena, &model, &d));
	assert_memory_equal(model->graph.initializers[0].data, "456789ab", 8);
	model_close(model);
	remove_folder(&f);
}

static void external_data_stays_in_the_models_folder(void **state)
{
	(void)state;
	assert_external_refused("/etc/passwd", "0", "8", "absolute");
	assert_external_refused("../w.bin", "0", "8", "leads out");
	assert_external_refused("a/../../w.bin", "0", "8", "leads out");
	assert_external_refused("link", "0", "8", "symbolic link");
	assert_external_refused("sub/w.bin", "0", "8", "symbolic link");
	assert_external_refused(".", "0", "8", "not a regular file");
	assert_external_refused("", "0", "8", "without a location");
	assert_external_refused("lost.bin", "0", "8", "No such file");
}

static void external_data_lies_within_its_file(void **state)
{
	(void)state;
	assert_external_refused("w.bin", "12", "8", "has 16 bytes, needed are 8 from byte 12");
	assert_external_refused("w.bin", "18446744073709551615", "8", "has 16 bytes");
	assert_external_refused("w.bin", "18446744073709551616", "8", "not a number");
	assert_external_refused("w.bin", "-4", "8", "not a number");
	assert_external_refused("w.bin", "0", "4", "external data of 4 bytes, float[2] needs 8");
}

static void bytes_in_memory_have_no_external_data(void **state)
{
	struct message t = tensor("w", ONNX_FLOAT, 2);

	(void)state;
	put_number(&t, 14, 1);
	put_entry(&t, "location", "w.bin");
	assert_tensor_refused(&t, "not possible here");
}

static void what_cannot_be_opened_is_an_error(void **state)
{
	struct diag d = {0};

	(void)state;
	assert_false(model_read("/no/such.onnx", NULL, &arena, &model, &d));
	assert_false(model_read("/tmp", NULL, &arena, &model, &d));
	assert_false(model_read("/dev/null", NULL, &arena, &model, &d));
	assert_int_equal(d.errors, 3);
	assert_int_equal(diag_exit_status(&d), 4);
	diag_reset(&d);
}

static void a_tensor_file_reads_back_as_written(void **state)
{
	const int64_t dims[] = {2, 3};
	const struct onnx_text words[] = {{"a", 1}, {"", 0}, {"b\0c", 3}};
	struct onnx_tensor t = {.name = "t",
				.dtype = ONNX_INT16,
				.rank = 2,
				.dims = dims,
				.count = 6,
				.data = "0123456789ab",
				.size = 12};
	struct onnx_tensor s = {
		.dtype = ONNX_STRING, .rank = 1, .dims = &dims[1], .count = 3, .strings = words};
	struct onnx_tensor back;
	char path[] = "/tmp/test_model.XXXXXX";
	struct diag d = {0};

	(void)state;
	close(mkstemp(path));
	assert_true(tensor_pb_write(path, &t, &d));
	assert_true(tensor_pb_read(path, &arena, &back, &d));
	assert_string_equal(back.name, "t");
	assert_int_equal(back.dims[1], 3);
	assert_memory_equal(back.data, t.data, 12);
	assert_int_equal((uintptr_t)back.data % 16, 0);
	assert_true(tensor_pb_write(path, &s, &d));
	assert_true(tensor_pb_read(path, &arena, &back, &d));
	assert_int_equal(back.strings[2].size, 3);
	assert_memory_equal(back.strings[2].at, "b\0c", 4);
	unlink(path);
}

static void a_failed_write_leaves_no_file(void **state)
{
	struct onnx_tensor t = {.dtype = ONNX_FLOAT, .count = 1, .data = "1234", .size = 4};
	struct diag d = {0};

	(void)state;
	assert_false(tensor_pb_write("/no/such/folder/t.pb", &t, &d));
	assert_false(tensor_pb_write("/tmp", &t, &d)); /* the rename fails */
	assert_int_equal(access(arena_printf(&arena, "/tmp.%d.tmp", (int)getpid()), F_OK), -1);
	assert_int_equal(diag_exit_status(&d), 4);
	diag_reset(&d);
}

static void a_sequence_file_is_no_tensor_but_reads_as_a_sequence(void **state)
{
	struct message m = new_message(), t = tensor("a", ONNX_FLOAT, 1);
	char path[] = "/tmp/test_model.XXXXXX";
	const struct onnx_tensor *list;
	struct onnx_tensor one;
	struct diag d = {0};
	int count;

	(void)state;
	put_data(&t, 9, "1234", 4);
	put_number(&m, 2, 1);
	put_message(&m, 3, &t);
	put_message(&m, 3, &t);
	close(mkstemp(path));
	write_file("/tmp", path + strlen("/tmp/"), m.at, m.size);
	assert_true(sequence_pb_read(path, &arena, &list, &count, &d));
	assert_int_equal(count, 2);
	assert_memory_equal(list[1].data, "1234", 4);
	assert_false(tensor_pb_read(path, &arena, &one, &d));
	assert_non_null(strstr(d.messages[0].text, "perhaps a SequenceProto"));
	diag_reset(&d);
	unlink(path);
}

static int free_arena(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_model_shows_its_graph),
		cmocka_unit_test(functions_sparse_tensors_and_all_dtypes_are_read),
		cmocka_unit_test(no_beginning_of_a_model_is_a_model),
		cmocka_unit_test(garbage_and_nothing_are_no_models),
		cmocka_unit_test(raw_data_has_the_length_that_its_type_needs),
		cmocka_unit_test(bad_dims_are_refused),
		cmocka_unit_test(typed_data_is_counted_and_in_range),
		cmocka_unit_test(data_comes_in_one_way_only),
		cmocka_unit_test(bools_are_0_or_1),
		cmocka_unit_test(element_types_of_the_future_are_unsupported),
		cmocka_unit_test(graphs_are_sorted_acyclic_and_complete),
		cmocka_unit_test(subgraphs_see_outer_names),
		cmocka_unit_test(attributes_have_values),
		cmocka_unit_test(functions_are_unique_and_not_recursive),
		cmocka_unit_test(memory_is_limited_as_the_caller_says),
		cmocka_unit_test(external_data_is_mapped),
		cmocka_unit_test(external_data_stays_in_the_models_folder),
		cmocka_unit_test(external_data_lies_within_its_file),
		cmocka_unit_test(bytes_in_memory_have_no_external_data),
		cmocka_unit_test(what_cannot_be_opened_is_an_error),
		cmocka_unit_test(a_tensor_file_reads_back_as_written),
		cmocka_unit_test(a_failed_write_leaves_no_file),
		cmocka_unit_test(a_sequence_file_is_no_tensor_but_reads_as_a_sequence),
	};

	return cmocka_run_group_tests(tests, NULL, free_arena);
}
