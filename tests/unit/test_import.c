/* test_import.c: the importer: names, dims, options, opsets, functions, messages. Values are
 * checked by the conformance tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "frontend/import.h"

#include <string.h>

#define COUNT(list) ((int)(sizeof(list) / sizeof(*(list))))

static struct arena arena;
static struct diag diag;

static int reset(void **state)
{
	(void)state;
	arena_free(&arena);
	diag_reset(&diag);
	return 0;
}

static struct graph *import(struct onnx_model *m, int64_t opset, const struct import_options *o)
{
	struct onnx_opset *list = arena_alloc(&arena, sizeof(*list));

	*list = (struct onnx_opset){"", opset};
	m->path = "m.onnx";
	m->ir_version = 8;
	m->opsets = list;
	m->opset_count = 1;
	return import_model(m, o, &arena, &diag);
}

static struct onnx_value tensor(const char *name, int32_t dtype, int rank,
				const struct onnx_dim *dims)
{
	return (struct onnx_value){
		name, {.kind = ONNX_KIND_TENSOR, .dtype = dtype, .rank = rank, .dims = dims}};
}

static struct onnx_node node(const char *op, int inputs, const char *const *in,
			     const char *const *out, int attrs, const struct onnx_attr *attr)
{
	return (struct onnx_node){.name = op,
				  .op = op,
				  .domain = "",
				  .input_count = inputs,
				  .inputs = in,
				  .output_count = 1,
				  .outputs = out,
				  .attr_count = attrs,
				  .attrs = attr};
}

/* y = op(x) for x: f32[batch, 3] */
static struct graph *unary(const char *op, int64_t opset, int attrs, const struct onnx_attr *attr,
			   const struct import_options *o)
{
	static const char *const in[] = {"x"}, *const out[] = {"y"};
	static const struct onnx_dim dims[] = {{-1, "batch"}, {3, NULL}};
	struct onnx_value x = tensor("x", ONNX_FLOAT, 2, dims),
			  y = tensor("y", ONNX_FLOAT, -1, NULL);
	struct onnx_node n = node(op, 1, in, out, attrs, attr);
	struct onnx_model m = {.graph = {.node_count = 1,
					 .nodes = &n,
					 .input_count = 1,
					 .inputs = &x,
					 .output_count = 1,
					 .outputs = &y}};
	return import(&m, opset, o);
}

static const char *result_type(struct graph *g)
{
	assert_non_null(g);
	return type_text(g, &arena, &g->body->results[0]->type);
}

static void elementwise_operators_are_one_map(void **state)
{
	(void)state;
	struct graph *g = unary("Relu", 13, 0, NULL, NULL);
	assert_string_equal(result_type(g), "f32[batch,3]");
	assert_ptr_equal(g->body->first, g->body->last);
	assert_int_equal(g->body->first->op, OP_map);
	assert_string_equal(g->body->first->loc.node, "Relu");
	assert_string_equal(g->body->results[0]->name, "y");
}

static void attributes_take_the_place_of_defaults(void **state)
{
	(void)state;
	struct onnx_attr alpha = {.name = "alpha", .kind = ONNX_ATTR_FLOAT, .f = 0.5f};
	struct graph *g = unary("LeakyRelu", 13, 1, &alpha, NULL);
	assert_non_null(g);
	const char *text = expr_text(&arena, &g->exprs, g->body->first->expr, NULL, NULL);
	assert_non_null(strstr(text, "0.5"));
}

static void dim_option_fixes_a_symbol(void **state)
{
	(void)state;
	const char *dims[] = {"batch=4"};
	assert_string_equal(
		result_type(unary("Relu", 13, 0, NULL, &(struct import_options){0, 1, NULL, dims})),
		"f32[4,3]");
}

static void dim_option_bounds_a_symbol(void **state)
{
	(void)state;
	const char *dims[] = {"batch=1..64"};
	struct graph *g = unary("Relu", 13, 0, NULL, &(struct import_options){0, 1, NULL, dims});
	assert_string_equal(result_type(g), "f32[batch,3]");
	assert_int_equal(dim_upper(g->body->params[0]->type.dims[0]), 64);
}

static void shape_option_fixes_all_axes(void **state)
{
	(void)state;
	const char *shapes[] = {"x=7x3"};
	assert_string_equal(result_type(unary("Relu", 13, 0, NULL,
					      &(struct import_options){1, 0, shapes, NULL})),
			    "f32[7,3]");
}

static void bad_options_are_usage_errors(void **state)
{
	static const char *const shapes[] = {"x=7x4", "x=7", "x=7x3x1", "x=ax3", "z=1x3", "x=-1x3"};
	static const char *const dims[] = {"batch=", "batch=4..", "batch=4..2", "other=3",
					   "batch=x"};
	for (int i = 0; i < COUNT(shapes); i++) {
		assert_null(unary("Relu", 13, 0, NULL,
				  &(struct import_options){1, 0, &shapes[i], NULL}));
		assert_int_equal(diag.worst, DIAG_USAGE);
		reset(state);
	}
	for (int i = 0; i < COUNT(dims); i++) {
		assert_null(
			unary("Relu", 13, 0, NULL, &(struct import_options){0, 1, NULL, &dims[i]}));
		assert_int_equal(diag.worst, DIAG_USAGE);
		reset(state);
	}
}

static void all_unsupported_nodes_are_told_at_once(void **state)
{
	(void)state;
	const char *in[] = {"x"}, *mid[] = {"m"}, *out[] = {"y"};
	struct onnx_attr odd = {.name = "odd", .kind = ONNX_ATTR_INT};
	struct onnx_node nodes[] = {node("NoSuchOp", 1, in, mid, 0, NULL),
				    node("Relu", 1, mid, out, 1, &odd),
				    node("Mish", 1, mid, in, 0, NULL)};
	struct onnx_model m = {.graph = {.node_count = 3, .nodes = nodes}};
	assert_null(import(&m, 13, NULL));
	assert_int_equal(diag.count, 3);
	assert_int_equal(diag.worst, DIAG_UNSUPPORTED);
	assert_non_null(strstr(diag.messages[1].text, "\"odd\""));
	assert_non_null(strstr(diag.messages[2].text, "opset 13"));
}

static void shape_arithmetic_stays_symbolic(void **state)
{
	(void)state;
	/* y = Reshape(x, Concat(Gather(Shape(x), 0), -1)) with x: f32[batch,3,4] */
	static const struct onnx_dim dims[] = {{-1, "batch"}, {3, NULL}, {4, NULL}};
	int64_t zero = 0, minus = -1, one = 1;
	struct onnx_tensor constants[] = {{.name = "zero",
					   .dtype = ONNX_INT64,
					   .rank = 1,
					   .dims = &one,
					   .count = 1,
					   .data = &zero,
					   .size = 8},
					  {.name = "rest",
					   .dtype = ONNX_INT64,
					   .rank = 1,
					   .dims = &one,
					   .count = 1,
					   .data = &minus,
					   .size = 8}};
	const char *in[] = {"x"}, *shape[] = {"s"}, *pick[] = {"s", "zero"}, *first[] = {"f"},
		   *join[] = {"f", "rest"};
	const char *whole[] = {"w"}, *last[] = {"x", "w"}, *out[] = {"y"};
	struct onnx_attr axis = {.name = "axis", .kind = ONNX_ATTR_INT};
	struct onnx_node nodes[] = {
		node("Shape", 1, in, shape, 0, NULL), node("Gather", 2, pick, first, 0, NULL),
		node("Concat", 2, join, whole, 1, &axis), node("Reshape", 2, last, out, 0, NULL)};
	struct onnx_value x = tensor("x", ONNX_FLOAT, 3, dims),
			  y = tensor("y", ONNX_FLOAT, -1, NULL);
	struct onnx_model m = {.graph = {.node_count = 4,
					 .nodes = nodes,
					 .input_count = 1,
					 .inputs = &x,
					 .output_count = 1,
					 .outputs = &y,
					 .initializer_count = 2,
					 .initializers = constants}};
	struct graph *g = import(&m, 13, NULL);
	/* -1 becomes the elements that are left, for all batches but 0 */
	assert_string_equal(arena_printf(&arena, "%.9s", result_type(g)), "f32[batch");
	assert_int_equal(g->stage_count, 0);
}

static void old_and_new_squeeze_are_the_same(void **state)
{
	(void)state;
	static const struct onnx_dim dims[] = {{1, NULL}, {5, NULL}, {1, NULL}};
	static const int64_t axes[] = {0, 2}, two = 2;
	struct onnx_attr attr = {.name = "axes", .kind = ONNX_ATTR_INTS, .count = 2, .ints = axes};
	struct onnx_tensor t = {.name = "a",
				.dtype = ONNX_INT64,
				.rank = 1,
				.dims = &two,
				.count = 2,
				.data = axes,
				.size = 16};
	const char *in[] = {"x", "a"}, *out[] = {"y"};
	struct onnx_value x = tensor("x", ONNX_FLOAT, 3, dims),
			  y = tensor("y", ONNX_FLOAT, -1, NULL);
	for (int i = 0; i < 2; i++) {
		struct onnx_node n = node("Squeeze", 1 + i, in, out, !i, &attr);
		struct onnx_model m = {.graph = {.node_count = 1,
						 .nodes = &n,
						 .input_count = 1,
						 .inputs = &x,
						 .output_count = 1,
						 .outputs = &y,
						 .initializer_count = i,
						 .initializers = &t}};
		assert_string_equal(result_type(import(&m, i ? 13 : 11, NULL)), "f32[5]");
	}
}

static void declared_types_are_checked(void **state)
{
	(void)state;
	static const struct onnx_dim dims[] = {{2, NULL}, {3, NULL}},
				     wrong[] = {{2, NULL}, {4, NULL}};
	const char *in[] = {"x"}, *out[] = {"y"};
	struct onnx_node n = node("Relu", 1, in, out, 0, NULL);
	struct onnx_value x = tensor("x", ONNX_FLOAT, 2, dims),
			  y = tensor("y", ONNX_FLOAT, 2, wrong);
	struct onnx_model m = {.graph = {.node_count = 1,
					 .nodes = &n,
					 .input_count = 1,
					 .inputs = &x,
					 .output_count = 1,
					 .outputs = &y}};
	assert_null(import(&m, 13, NULL));
	assert_int_equal(diag.worst, DIAG_FILE);
	assert_string_equal(diag.messages[0].loc.node, "Relu");
}

static void functions_are_inlined_with_their_attributes(void **state)
{
	(void)state;
	static const struct onnx_dim dims[] = {{2, NULL}};
	const char *in[] = {"x"}, *out[] = {"y"}, *inner_in[] = {"a"}, *inner_out[] = {"b"},
		   *names[] = {"slope"};
	struct onnx_attr slope = {.name = "slope", .kind = ONNX_ATTR_FLOAT, .f = 0.25f};
	struct onnx_attr ref = {.name = "alpha", .kind = ONNX_ATTR_FLOAT, .ref = "slope"};
	struct onnx_opset opset = {"", 13};
	struct onnx_node body = node("LeakyRelu", 1, inner_in, inner_out, 1, &ref),
			 call = node("Leak", 1, in, out, 1, &slope);
	struct onnx_function f = {.name = "Leak",
				  .domain = "own",
				  .input_count = 1,
				  .inputs = inner_in,
				  .output_count = 1,
				  .outputs = inner_out,
				  .attr_count = 1,
				  .attrs = names,
				  .node_count = 1,
				  .nodes = &body,
				  .opset_count = 1,
				  .opsets = &opset};
	struct onnx_value x = tensor("x", ONNX_FLOAT, 1, dims),
			  y = tensor("y", ONNX_FLOAT, 1, dims);
	struct onnx_model m = {.function_count = 1,
			       .functions = &f,
			       .graph = {.node_count = 1,
					 .nodes = &call,
					 .input_count = 1,
					 .inputs = &x,
					 .output_count = 1,
					 .outputs = &y}};
	call.domain = "own";
	struct graph *g = import(&m, 13, NULL);
	assert_non_null(g);
	assert_non_null(
		strstr(expr_text(&arena, &g->exprs, g->body->first->expr, NULL, NULL), "0.25"));
}

static void a_function_that_calls_itself_is_refused(void **state)
{
	(void)state;
	static const struct onnx_dim dims[] = {{2, NULL}};
	const char *in[] = {"x"}, *out[] = {"y"};
	struct onnx_node call = node("Again", 1, in, out, 0, NULL);
	struct onnx_function f = {.name = "Again",
				  .domain = "",
				  .input_count = 1,
				  .inputs = in,
				  .output_count = 1,
				  .outputs = out,
				  .node_count = 1,
				  .nodes = &call};
	struct onnx_value x = tensor("x", ONNX_FLOAT, 1, dims),
			  y = tensor("y", ONNX_FLOAT, 1, dims);
	struct onnx_model m = {.function_count = 1,
			       .functions = &f,
			       .graph = {.node_count = 1,
					 .nodes = &call,
					 .input_count = 1,
					 .inputs = &x,
					 .output_count = 1,
					 .outputs = &y}};
	assert_null(import(&m, 13, NULL));
	assert_int_equal(diag.worst, DIAG_UNSUPPORTED);
}

static void every_row_has_its_doc(void **state)
{
	(void)state;
	struct import_doc row;
	int count = 0;
	for (; import_doc_row(count, &row); count++) {
		assert_true(row.doc && *row.doc && row.since >= 1);
		assert_true(!row.until || row.until >= row.since);
	}
	assert_true(count > 150);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, reset, reset)
	const struct CMUnitTest tests[] = {
		TEST(elementwise_operators_are_one_map),
		TEST(attributes_take_the_place_of_defaults),
		TEST(dim_option_fixes_a_symbol),
		TEST(dim_option_bounds_a_symbol),
		TEST(shape_option_fixes_all_axes),
		TEST(bad_options_are_usage_errors),
		TEST(all_unsupported_nodes_are_told_at_once),
		TEST(shape_arithmetic_stays_symbolic),
		TEST(old_and_new_squeeze_are_the_same),
		TEST(declared_types_are_checked),
		TEST(functions_are_inlined_with_their_attributes),
		TEST(a_function_that_calls_itself_is_refused),
		TEST(every_row_has_its_doc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
