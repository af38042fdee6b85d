/* test_model_files.c: external data, and files of one tensor. */
#define _DEFAULT_SOURCE /* mkdtemp */
#include "ir/graph.h"
#include "tests/unit/model_fixture.h"

#include <unistd.h>

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

/* Pages of files in memory: of this process's mappings. */
static long file_pages(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d %*d %ld", &pages), 1);
	fclose(f);
	return pages;
}

static void a_mapped_tensor_at_rest_takes_no_memory_and_keeps_its_bytes(void **state)
{
	enum { BYTES = 4 << 20 };
	char *bytes = arena_alloc(&arena, BYTES), path[] = "/tmp/test_model.XXXXXX";
	struct message t = tensor("w", ONNX_FLOAT, BYTES / 4), m;
	struct tensor rests = {.kind = TENSOR_BYTES, .size = BYTES};
	struct diag d = {0};
	long before;

	(void)state;
	for (int i = 0; i < BYTES; i++)
		bytes[i] = (char)(i * 7);
	put_data(&t, 9, bytes, BYTES);
	m = model_with_tensor(&t);
	close(mkstemp(path));
	write_file("/tmp", path + strlen("/tmp/"), m.at, m.size);
	assert_true(model_read(path, NULL, &arena, &model, &d));
	rests.data = model->graph.initializers[0].data;
	rests.mapped = model->graph.initializers[0].mapped ? rests.data : NULL;
	assert_memory_equal(rests.data, bytes, BYTES);
	before = file_pages();
	tensor_rest(&rests);
	assert_in_range(file_pages(), 0, before - BYTES * 3 / 4 / sysconf(_SC_PAGESIZE));
	assert_memory_equal(rests.data, bytes, BYTES);
	model_close(model);
	unlink(path);
}

static void a_tensor_in_memory_of_its_own_keeps_its_bytes_at_rest(void **state)
{
	enum { BYTES = 1 << 20 };
	char *bytes = arena_alloc(&arena, BYTES);
	struct message t = tensor("w", ONNX_FLOAT, BYTES / 4);
	struct tensor moved = {.kind = TENSOR_BYTES, .size = BYTES};
	const struct onnx_tensor *read;

	(void)state;
	memset(bytes, 42, BYTES);
	put_data(&t, 9, bytes, BYTES);
	read = read_back(&t);
	assert_false(read->mapped);
	moved.data = read->data;
	tensor_rest(&moved);
	assert_memory_equal(read->data, bytes, BYTES);
	moved.mapped = bytes; /* where its data was before */
	tensor_rest(&moved);
	assert_memory_equal(read->data, bytes, BYTES);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(external_data_is_mapped),
		cmocka_unit_test(a_mapped_tensor_at_rest_takes_no_memory_and_keeps_its_bytes),
		cmocka_unit_test(a_tensor_in_memory_of_its_own_keeps_its_bytes_at_rest),
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
