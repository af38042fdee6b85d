/* npz.c: reading .npz. */
#include "cli/npz.h"

#include "runtime/file.h"
#include "runtime/npy.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct zip {
	const char *path;
	const unsigned char *bytes;
	size_t size;
	uint64_t room; /* what members may still take, inflated */
	struct arena *arena;
	struct diag *diag;
};

/* One row of the central directory. */
struct member {
	const char *name;
	unsigned method;
	uint64_t packed, size, offset, crc;
};

enum { END_BYTES = 22, ROW_BYTES = 46, LOCAL_BYTES = 30 };

static uint64_t little(const unsigned char *p, int bytes)
{
	uint64_t x = 0;

	for (int i = bytes - 1; i >= 0; i--)
		x = x << 8 | p[i];
	return x;
}

static bool bad(const struct zip *z, const char *what)
{
	return diag_add(z->diag, DIAG_FILE, (struct loc){.file = z->path},
			"not a readable .npz: %s", what);
}

/* The end record, which a comment of up to 64 KB may follow. NULL: none. */
static const unsigned char *find_end(const struct zip *z)
{
	for (size_t back = END_BYTES; back <= z->size && back <= END_BYTES + 65535; back++)
		if (little(z->bytes + z->size - back, 4) == 0x06054b50)
			return z->bytes + z->size - back;
	return NULL;
}

/* Sizes that do not fit 32 bits stand in the zip64 field, in this order, where the row has all ones. */
static void widen(struct member *m, const unsigned char *extra, size_t length)
{
	uint64_t *wide[] = {&m->size, &m->packed, &m->offset};

	while (length >= 4) {
		size_t n = (size_t)little(extra + 2, 2), at = 4;

		if (n + 4 > length)
			return;
		for (int i = 0; little(extra, 2) == 1 && i < 3; i++)
			if (*wide[i] == 0xffffffff && at + 8 <= n + 4) {
				*wide[i] = little(extra + at, 8);
				at += 8;
			}
		extra += n + 4;
		length -= n + 4;
	}
}

static bool read_row(const struct zip *z, size_t *at, struct member *m)
{
	const unsigned char *row;
	size_t name, extra, comment;

	if (*at > z->size || z->size - *at < ROW_BYTES)
		return bad(z, "its directory is cut off");
	row = z->bytes + *at;
	if (little(row, 4) != 0x02014b50)
		return bad(z, "its directory is broken");
	name = (size_t)little(row + 28, 2);
	extra = (size_t)little(row + 30, 2);
	comment = (size_t)little(row + 32, 2);
	if (z->size - *at - ROW_BYTES < name + extra + comment)
		return bad(z, "its directory is cut off");
	m->method = (unsigned)little(row + 10, 2);
	m->crc = little(row + 16, 4);
	m->packed = little(row + 20, 4);
	m->size = little(row + 24, 4);
	m->offset = little(row + 42, 4);
	m->name = arena_printf(z->arena, "%.*s", (int)name, (const char *)row + ROW_BYTES);
	widen(m, row + ROW_BYTES + name, extra);
	*at += ROW_BYTES + name + extra + comment;
	return true;
}

static bool inflate_member(const unsigned char *from, const struct member *m, unsigned char *to)
{
	z_stream s = {.next_in = (unsigned char *)(uintptr_t)from, .next_out = to};
	uint64_t in = m->packed, out = m->size;
	int status = inflateInit2(&s, -MAX_WBITS);

	while (status == Z_OK) {
		if (!s.avail_in)
			in -= s.avail_in = (unsigned)(in < 1u << 30 ? in : 1u << 30);
		if (!s.avail_out)
			out -= s.avail_out = (unsigned)(out < 1u << 30 ? out : 1u << 30);
		status = inflate(&s, Z_NO_FLUSH);
	}
	inflateEnd(&s);
	return status == Z_STREAM_END && s.total_out == m->size;
}

/* Whether the inflated member may be held; counts it. Several rows of a directory may name the same bytes. */
static bool take_room(struct zip *z, const struct member *m)
{
	if (m->size > z->room)
		return diag_add(z->diag, DIAG_FILE, (struct loc){.file = z->path},
				"its arrays take more memory than is allowed (--memory-limit)");
	z->room -= m->size;
	return true;
}

static bool sum_is_right(const struct member *m, const unsigned char *bytes)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	(void)m, (void)bytes;
	return true;
#else
	return crc32_z(0, bytes, (size_t)m->size) == m->crc;
#endif
}

/* The member's bytes, unpacked and checked, in the arena. NULL: reported. */
static const unsigned char *unpack(struct zip *z, const struct member *m)
{
	const unsigned char *local, *from;
	unsigned char *to;
	uint64_t skip;

	if (m->offset > z->size || z->size - m->offset < LOCAL_BYTES)
		return bad(z, "a member is missing"), NULL;
	local = z->bytes + m->offset;
	if (little(local, 4) != 0x04034b50)
		return bad(z, "a member is missing"), NULL;
	skip = LOCAL_BYTES + little(local + 26, 2) + little(local + 28, 2);
	if (z->size - m->offset < skip || z->size - m->offset - skip < m->packed)
		return bad(z, "a member is cut off"), NULL;
	/* deflate packs at most 1032 to 1: a larger size is a lie */
	if (m->method == 0 ? m->size != m->packed : m->size / 1040 > m->packed)
		return bad(z, "a member's size is wrong"), NULL;
	if (!take_room(z, m))
		return NULL;
	from = local + skip;
	to = arena_alloc(z->arena, (size_t)m->size + 64);
	if (m->method == 0)
		memcpy(to, from, (size_t)m->size);
	else if (m->method != 8)
		return bad(z, "a member is packed by a method other than deflate"), NULL;
	else if (!inflate_member(from, m, to))
		return bad(z, "a member cannot be inflated"), NULL;
	if (!sum_is_right(m, to))
		return bad(z, "a member's checksum is wrong"), NULL;
	return to;
}

static bool read_array(struct zip *z, const struct member *m, struct npz_array *out)
{
	const unsigned char *bytes = unpack(z, m);
	size_t length = strlen(m->name);
	char text[256];
	struct npy npy;

	if (!bytes)
		return false;
	if (!npy_read(&npy, bytes, (size_t)m->size, text, sizeof(text)))
		return diag_add(z->diag, DIAG_FILE, (struct loc){.file = z->path}, "%s: %s",
				m->name, text);
	out->name = length > 4 && !strcmp(m->name + length - 4, ".npy")
			    ? arena_printf(z->arena, "%.*s", (int)length - 4, m->name)
			    : m->name;
	out->tensor = (hone_tensor){.size = npy.size, .rank = npy.rank, .dtype = npy.dtype};
	memcpy(out->tensor.dims, npy.dims, sizeof(npy.dims));
	/* in place where the elements lie as they must */
	out->tensor.data = npy.owned ? arena_copy(z->arena, npy.data, (size_t)npy.size + !npy.size)
				     : (void *)(uintptr_t)npy.data;
	npy_free(&npy);
	return true;
}

static struct npz_array *read_all(struct zip *z, int *count)
{
	const unsigned char *end = find_end(z);
	struct npz_array *out;
	size_t at;

	if (!end)
		return bad(z, "no zip archive"), NULL;
	*count = (int)little(end + 10, 2);
	at = (size_t)little(end + 16, 4);
	out = ARENA_ARRAY(z->arena, struct npz_array, *count + 1);
	for (int i = 0; i < *count; i++) {
		struct member m = {0};

		if (!read_row(z, &at, &m) || !read_array(z, &m, &out[i]))
			return NULL;
	}
	return out;
}

struct npz_array *npz_parse(const char *path, const void *bytes, size_t size, uint64_t limit,
			    struct arena *a, int *count, struct diag *d)
{
	struct zip z = {.path = path,
			.bytes = bytes,
			.size = size,
			.room = limit ? limit : (1ull << 30) + 8 * (uint64_t)size,
			.arena = a,
			.diag = d};

	*count = 0;
	return read_all(&z, count);
}

struct npz_array *npz_read(const char *path, uint64_t limit, struct arena *a, int *count,
			   struct diag *d)
{
	struct npz_array *out;
	char text[512];
	void *bytes;
	size_t size;

	if (!rt_file_read(path, &bytes, &size, text, sizeof(text))) {
		diag_add(d, DIAG_FILE, (struct loc){0}, "%s", text);
		return NULL;
	}
	out = npz_parse(path, bytes, size, limit, a, count, d);
	free(bytes);
	return out;
}
