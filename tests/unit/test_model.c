/* test_model.c: reading models, good and bad: their bytes, graphs, attributes and functions. */
#include "tests/unit/model_fixture.h"

#define CORPUS "tests/fuzz/corpus/model/"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_model_shows_its_graph),
		cmocka_unit_test(functions_sparse_tensors_and_all_dtypes_are_read),
		cmocka_unit_test(no_beginning_of_a_model_is_a_model),
		cmocka_unit_test(garbage_and_nothing_are_no_models),
		cmocka_unit_test(graphs_are_sorted_acyclic_and_complete),
		cmocka_unit_test(subgraphs_see_outer_names),
		cmocka_unit_test(attributes_have_values),
		cmocka_unit_test(functions_are_unique_and_not_recursive),
		cmocka_unit_test(memory_is_limited_as_the_caller_says),
	};

	return cmocka_run_group_tests(tests, NULL, free_arena);
}
