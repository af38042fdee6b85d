/* test_wire: the first walk over protobuf bytes. */
#include "frontend/wire.h"
#include "tests/support/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static struct message new_message(void) { return (struct message){.arena = &arena}; }

static bool scan(const struct message *m, enum wire_root root, size_t limit, struct wire *w,
		 struct diag *d)
{
	return wire_scan(m->at, m->size, root, limit, w, (struct loc){.file = "m"}, d);
}

/* Whether a model of these bytes is refused with a text that holds `why`. */
static void assert_refused(const struct message *m, enum wire_root root, const char *why)
{
	struct wire w;
	struct diag d = {0};

	assert_false(scan(m, root, 0, &w, &d));
	assert_int_equal(d.errors, 1);
	assert_int_equal(diag_exit_status(&d), 4);
	assert_non_null(strstr(d.messages[0].text, why));
	diag_reset(&d);
}

/* Graphs within attributes within nodes within graphs, `depth` messages in all, the outermost a
 * model. */
static struct message nested(int depth)
{
	struct message m = new_message();

	for (int level = depth - 1; level > 0; level--) {
		struct message outer = new_message();

		put_message(&outer,
			    level == 1       ? 7
			    : level % 3 == 2 ? 1
			    : level % 3 == 0 ? 5
					     : 6,
			    &m);
		m = outer;
	}
	return m;
}

static void raw_data_is_left_out_and_replaced_by_the_tensors_index(void **state)
{
	struct message m = new_message();
	const uint8_t expected[] = {2 << 3, 1, 9 << 3 | 2, 4, 0, 0, 0, 0};
	struct diag d = {0};
	struct wire w;

	(void)state;
	put_number(&m, 2, 1);
	put_data(&m, 9, "abcdefgh", 8);
	assert_true(scan(&m, WIRE_TENSOR, 0, &w, &d));
	assert_int_equal(w.skeleton_size, sizeof(expected));
	assert_memory_equal(w.skeleton, expected, sizeof(expected));
	assert_int_equal(w.tensors.count, 1);
	assert_int_equal(w.tensors.at[0].count, 1);
	assert_int_equal(w.spans.at[0].at, 4);
	assert_int_equal(w.spans.at[0].size, 8);
	wire_free(&w);
}

static void a_run_of_unpacked_numbers_is_one_span(void **state)
{
	struct message m = new_message();
	struct diag d = {0};
	struct wire w;

	(void)state;
	for (int i = 0; i < 5; i++)
		put_number(&m, 7, i);
	put_data(&m, 7, "\1\2", 2);
	assert_true(scan(&m, WIRE_TENSOR, 0, &w, &d));
	assert_int_equal(w.tensors.at[0].count, 2);
	assert_false(w.spans.at[0].packed);
	assert_int_equal(w.spans.at[0].size, 10);
	assert_true(w.spans.at[1].packed);
	assert_int_equal(w.spans.at[1].at, 12);
	assert_int_equal(w.spans.at[1].size, 2);
	wire_free(&w);
}

static void unknown_fields_and_documentation_are_left_out(void **state)
{
	struct message m = new_message();
	struct diag d = {0};
	struct wire w;

	(void)state;
	put_text(&m, 6, "a long story");
	put_text(&m, 4711, "from the future");
	put_number(&m, 1, 8);
	assert_true(scan(&m, WIRE_MODEL, 0, &w, &d));
	assert_int_equal(w.skeleton_size, 2);
	wire_free(&w);
}

static void lengths_past_the_end_are_refused(void **state)
{
	struct message m = new_message(), inner = new_message();

	(void)state;
	put_bytes(&inner,
		  "\x0a\x05"
		  "abcd",
		  6); /* a node's input of 5 bytes, of which 4 are there */
	put_message(&m, 7, &inner);
	assert_refused(&m, WIRE_MODEL, "past the end");
	m = new_message();
	put_bytes(&m, "\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11); /* 2^64 - 1 */
	assert_refused(&m, WIRE_MODEL, "past the end");
}

static void bad_varints_are_refused(void **state)
{
	struct message m = new_message();

	(void)state;
	put_bytes(&m, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12); /* 11 bytes */
	assert_refused(&m, WIRE_MODEL, "no varint");
	m = new_message();
	put_bytes(&m, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11); /* 65 bits */
	assert_refused(&m, WIRE_MODEL, "no varint");
	m = new_message();
	put_bytes(&m, "\x08\x80", 2);
	assert_refused(&m, WIRE_MODEL, "no varint");
	m = new_message();
	put_bytes(&m, "\x0a\x01\x80", 3); /* dims, packed */
	assert_refused(&m, WIRE_TENSOR, "packed number that is no varint");
}

static void groups_and_wrong_wire_types_are_refused(void **state)
{
	struct message m = new_message();

	(void)state;
	put_bytes(&m, "\x3b\x3c", 2);
	assert_refused(&m, WIRE_MODEL, "group");
	m = new_message();
	put_number(&m, 7, 1); /* the graph as a number */
	assert_refused(&m, WIRE_MODEL, "wire type");
	m = new_message();
	put_bytes(&m, "\x02\x00", 2); /* field 0 */
	assert_refused(&m, WIRE_MODEL, "field number");
}

static void packed_floats_come_in_whole_numbers(void **state)
{
	struct message m = new_message();

	(void)state;
	put_data(&m, 4, "abcde", 5);
	assert_refused(&m, WIRE_TENSOR, "multiple");
}

static void names_with_a_nul_are_refused(void **state)
{
	struct message m = new_message();

	(void)state;
	put_data(&m, 8, "a\0b", 3);
	assert_refused(&m, WIRE_TENSOR, "NUL");
}

static void a_second_graph_is_refused(void **state)
{
	struct message m = new_message(), graph = new_message();

	(void)state;
	put_message(&m, 7, &graph);
	put_message(&m, 7, &graph);
	assert_refused(&m, WIRE_MODEL, "twice");
}

static void nesting_ends_at_64(void **state)
{
	struct message fits = nested(WIRE_NESTING), deeper = nested(WIRE_NESTING + 1);
	struct message much_deeper = nested(10000);
	struct diag d = {0};
	struct wire w;

	(void)state;
	assert_true(scan(&fits, WIRE_MODEL, 0, &w, &d));
	wire_free(&w);
	assert_refused(&deeper, WIRE_MODEL, "nested");
	assert_refused(&much_deeper, WIRE_MODEL, "nested");
}

static void memory_is_limited(void **state)
{
	struct message m = new_message();
	struct diag d = {0};
	struct wire w;

	(void)state;
	for (int i = 0; i < 1000; i++)
		put_data(&m, 9 + (i % 2 ? 1 : 2), i % 2 ? "12345678" : "1", i % 2 ? 8 : 1);
	assert_true(scan(&m, WIRE_TENSOR, 1 << 20, &w, &d));
	wire_free(&w);
	assert_false(scan(&m, WIRE_TENSOR, 1 << 10, &w, &d));
	diag_reset(&d);
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
		cmocka_unit_test(raw_data_is_left_out_and_replaced_by_the_tensors_index),
		cmocka_unit_test(a_run_of_unpacked_numbers_is_one_span),
		cmocka_unit_test(unknown_fields_and_documentation_are_left_out),
		cmocka_unit_test(lengths_past_the_end_are_refused),
		cmocka_unit_test(bad_varints_are_refused),
		cmocka_unit_test(groups_and_wrong_wire_types_are_refused),
		cmocka_unit_test(packed_floats_come_in_whole_numbers),
		cmocka_unit_test(names_with_a_nul_are_refused),
		cmocka_unit_test(a_second_graph_is_refused),
		cmocka_unit_test(nesting_ends_at_64),
		cmocka_unit_test(memory_is_limited),
	};

	return cmocka_run_group_tests(tests, NULL, free_arena);
}
