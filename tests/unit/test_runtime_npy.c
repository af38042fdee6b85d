/* .npy files: what NumPy writes is read, what is written is what NumPy writes, damage is named. */
#include "runtime/file.h"
#include "runtime/npy.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* A file of the given version in memory, at an address that is a multiple of 64. */
static unsigned char *make_file(int version, const char *dict, const void *data, size_t size,
				size_t *total)
{
	size_t start = version == 1 ? 10 : 12, n = strlen(dict);
	unsigned char *b = aligned_alloc(64, (start + n + size + 63) / 64 * 64 + 64);

	memset(b, 0, start);
	memcpy(b, "\x93NUMPY", 6);
	b[6] = (unsigned char)version;
	b[8] = (unsigned char)n;
	memcpy(b + start, dict, n);
	memcpy(b + start + n, data, size);
	*total = start + n + size;
	return b;
}

static void read_ok(int version, const char *dict, const void *data, size_t size, int32_t dtype,
		    int32_t rank, const int64_t *dims, const void *wanted)
{
	char text[200] = "";
	size_t total;
	unsigned char *b = make_file(version, dict, data, size, &total);
	struct npy t;

	if (!npy_read(&t, b, total, text, sizeof(text)))
		fail_msg("%s: %s", dict, text);
	assert_int_equal(t.dtype, dtype);
	assert_int_equal(t.rank, rank);
	for (int32_t k = 0; k < rank; k++)
		assert_int_equal(t.dims[k], dims[k]);
	assert_int_equal(t.size, size);
	assert_memory_equal(t.data, wanted, size);
	npy_free(&t);
	free(b);
}

static void read_fails(const char *dict, size_t size, const char *why)
{
	static const char data[64];
	char text[200] = "";
	size_t total;
	unsigned char *b = make_file(1, dict, data, size, &total);
	struct npy t;

	assert_false(npy_read(&t, b, total, text, sizeof(text)));
	if (!strstr(text, why))
		fail_msg("%s: \"%s\" does not say \"%s\"", dict, text, why);
	free(b);
}

static void versions_types_and_orders_are_read(void **state)
{
	const int32_t c[] = {0, 1, 2, 3, 4, 5}, fortran[] = {0, 3, 1, 4, 2, 5};
	const int64_t dims[] = {2, 3}, three[] = {1, 2, 3}, empty[] = {0, 4}, six[] = {6};

	(void)state;
	for (int version = 1; version <= 3; version++)
		read_ok(version, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }   \n",
			c, 24, HONE_I32, 2, dims, c);
	read_ok(1, "{\"shape\": (2,3,),\"fortran_order\":True,\"descr\":\"<i4\"}", fortran, 24,
		HONE_I32, 2, dims, c);
	read_ok(1, "{'descr': '<u4', 'fortran_order': True, 'shape': (1, 2, 3)}", fortran, 24,
		HONE_U32, 3, three, c);
	read_ok(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (6L,)}", c, 24, HONE_F32, 1,
		six, c);
	read_ok(1, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", c, 8, HONE_F64, 0, NULL,
		c);
	read_ok(1, "{'descr': '|b1', 'fortran_order': False, 'shape': (0, 4)}", c, 0, HONE_BOOL, 2,
		empty, c);
	read_ok(1, "{'descr': '<V2', 'fortran_order': False, 'shape': (6,)}", c, 12, HONE_BF16, 1,
		six, c);
	read_ok(1, "{'descr': '=f2', 'fortran_order': False, 'shape': (6,)}", c, 12, HONE_F16, 1,
		six, c);
}

static void damage_is_named(void **state)
{
	char text[100];
	struct npy t;

	(void)state;
	read_fails("", 0, "it is not a dict");
	read_fails("{'descr': '<f4', 'fortran_order': False}", 0, "missing");
	read_fails("{'descr': '<f4', 'descr': '<f4'}", 0, "a key comes twice");
	read_fails("{'color': 1}", 0, "an unknown key");
	read_fails("{'descr': '<f4", 0, "a quote is not closed");
	read_fails("{'descr' '<f4'}", 0, "expected a colon");
	read_fails("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4, "big-endian");
	read_fails("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, "type \"<c8\"");
	read_fails("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4,
		   "structured");
	read_fails("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", 4,
		   "neither True nor False");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': 1}", 4,
		   "shape is not a tuple");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", 4,
		   "shape is not a tuple");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, "expected a dim");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", 4,
		   "expected a comma");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4,
		   "more than 8 dims");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4,
		   "too large");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 2)}", 4,
		   "too large");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 4,
		   "the file holds 4 bytes of data, its dims need 8");
	read_fails("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4,
		   "text after the dict");
	assert_false(npy_read(&t, "\x93NUMPY\x01\x00\xff\xff", 10, text, sizeof(text)));
	assert_string_equal(text, "the .npy header is cut off");
	assert_false(npy_read(&t, "\x93NUMPY\x04\x00\x00\x00", 10, text, sizeof(text)));
	assert_string_equal(text, ".npy version 4.0 is not supported");
	assert_false(npy_read(&t, "PK\x03\x04zzzzzz", 10, text, sizeof(text)));
	assert_string_equal(text, "not a .npy file");
}

/* ---- files, in a directory of their own ---- */

static char directory[] = "/tmp/test_npy_XXXXXX";

static int enter(void **state)
{
	(void)state;
	return mkdtemp(directory) && !chdir(directory) ? 0 : -1;
}

static int count_files(void)
{
	DIR *d = opendir(".");
	int count = 0;

	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}

static int leave(void **state)
{
	(void)state;
	return chdir("/") || rmdir(directory);
}

static void written_files_are_numpys(void **state)
{
	static const char wanted[] =
		"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
		"                                                          \n";
	const float x[] = {0, 1, 2, 3, 4, 5};
	const int64_t dims[] = {2, 3, 1, 1, 1, 1, 1, 1};
	char text[200] = "";
	void *bytes;
	size_t size;
	struct npy t;

	(void)state;
	assert_true(npy_write_file("x.npy", HONE_F32, 2, dims, x, text, sizeof(text)));
	assert_true(rt_file_read("x.npy", &bytes, &size, text, sizeof(text)));
	assert_int_equal(size, 128 + 24);
	assert_memory_equal(bytes, wanted, 128);
	assert_memory_equal((char *)bytes + 128, x, 24);
	free(bytes);
	for (int32_t rank = 0; rank <= 8; rank++) {
		int64_t count = rank == 0 ? 1 : rank == 1 ? 2 : 6;

		assert_true(npy_write_file("x.npy", HONE_F32, rank, dims, x, text, sizeof(text)));
		assert_true(npy_read_file(&t, "x.npy", text, sizeof(text)));
		assert_int_equal(t.rank, rank);
		assert_int_equal(t.size, count * 4);
		assert_memory_equal(t.data, x, (size_t)t.size);
		npy_free(&t);
	}
	assert_int_equal(count_files(), 1);
	unlink("x.npy");
	assert_false(npy_write_file("x.npy", HONE_I4, 1, dims, x, text, sizeof(text)));
	assert_string_equal(text, "x.npy: .npy has no type for i4");
	assert_int_equal(count_files(), 0);
}

static void a_failed_write_leaves_nothing(void **state)
{
	const int64_t dims[] = {100000};
	struct rlimit old, small;
	char text[200] = "";
	float *x = calloc(100000, 4);

	(void)state;
	assert_false(npy_write_file("/dev/full", HONE_F32, 1, dims, x, text, sizeof(text)));
	assert_string_equal(text, "/dev/full: No space left on device");
	assert_false(npy_write_file("no/x.npy", HONE_F32, 1, dims, x, text, sizeof(text)));
	assert_string_equal(text, "no/x.npy: No such file or directory");
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = old;
	small.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_false(npy_write_file("x.npy", HONE_F32, 1, dims, x, text, sizeof(text)));
	setrlimit(RLIMIT_FSIZE, &old);
	assert_string_equal(text, "x.npy: File too large");
	assert_int_equal(count_files(), 0);
	free(x);
}

static void unreadable_files_are_named(void **state)
{
	char text[200];
	struct npy t;

	(void)state;
	assert_false(npy_read_file(&t, "none.npy", text, sizeof(text)));
	assert_string_equal(text, "none.npy: No such file or directory");
	assert_false(npy_read_file(&t, ".", text, sizeof(text)));
	assert_string_equal(text, ".: Is a directory");
	assert_false(npy_read_file(&t, "/dev/null", text, sizeof(text)));
	assert_string_equal(text, "/dev/null: not a .npy file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_types_and_orders_are_read),
		cmocka_unit_test(damage_is_named),
		cmocka_unit_test(written_files_are_numpys),
		cmocka_unit_test(a_failed_write_leaves_nothing),
		cmocka_unit_test(unreadable_files_are_named),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
