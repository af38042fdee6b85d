/* parse_const.c: the data of constants.
 *	tensor := random ( integer ) | splat ( element ) | [ element {, element} ]
 *	        | file ( "name" , offset , size )
 * data(N bytes, hash) stands for bytes that a print left out: it cannot be read. */
#include "ir/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool parse_element_int(struct parser *p, enum dtype t, int64_t *out)
{
	int bits = t == DT_BOOL ? 1 : dtype_bits(t);
	struct token at = p->lx.token;
	bool minus = next_is(p, "-");
	uint64_t most = UINT64_MAX >> (64 - bits);

	if (t == DT_BOOL && (next_is(p, "true") || next_is(p, "false"))) {
		*out = next_is(p, "true");
		lex_next(&p->lx);
		return true;
	}
	if (minus)
		lex_next(&p->lx);
	if (!next_kind(p, TOKEN_INT))
		return parse_expected(p, "an integer");
	if (dtype_class(t) == DTYPE_SIGNED)
		most = (most >> 1) + (minus ? 1 : 0);
	else if (minus)
		most = 0;
	if (p->lx.token.overflow || p->lx.token.integer > most) {
		p->lx.token = minus ? at : p->lx.token;
		return parse_fail(p, "the number does not fit %s", dtype_name(t));
	}
	*out = (int64_t)(minus ? 0 - p->lx.token.integer : p->lx.token.integer);
	lex_next(&p->lx);
	return true;
}

static bool parse_element(struct parser *p, enum dtype t, union scalar *out)
{
	if (t == DT_STRING)
		return parse_fail(p, "constants of strings cannot be written");
	return dtype_is_float(t) ? parse_real(p, &out->f) : parse_element_int(p, t, &out->i);
}

/* The value as it is once stored in the type. */
static union scalar round_to(enum dtype t, union scalar x)
{
	if (t == DT_F32)
		x.f = (double)(float)x.f;
	else if (dtype_is_float(t) && t != DT_F64)
		x.f = dtype_decode_float(t, dtype_encode_float(t, x.f));
	return x;
}

static void store(unsigned char *data, enum dtype t, int64_t i, union scalar x)
{
	int bits = dtype_bits(t);
	uint64_t raw = (uint64_t)x.i;
	float f;

	if (t == DT_F64) {
		memcpy(&raw, &x.f, 8);
	} else if (t == DT_F32) {
		f = (float)x.f;
		raw = 0;
		memcpy(&raw, &f, 4);
	} else if (dtype_is_float(t)) {
		raw = dtype_encode_float(t, x.f);
	}
	if (bits < 8)
		data[i * bits / 8] |= (unsigned char)((raw & ((1u << bits) - 1)) << (i * bits % 8));
	else
		memcpy(data + i * (bits / 8), &raw, (size_t)bits / 8);
}

static bool parse_elements(struct parser *p, const struct type *type, int64_t count,
			   struct tensor *out)
{
	union scalar x;
	unsigned char *data;
	int64_t i = 0;

	if (type->dtype == DT_STRING)
		return parse_fail(p, "constants of strings cannot be written");
	/* Each element takes a byte of text or more, so a count over what is left is wrong, and never allocated. */
	if (count > p->lx.end - p->lx.at)
		return parse_fail(p, "%lld elements are wanted, the text has fewer",
				  (long long)count);
	out->size = dtype_bytes(type->dtype, count);
	out->data = data = arena_alloc(p->graph->arena, (size_t)out->size);
	while (!next_is(p, "]")) {
		if (i == count)
			return parse_fail(p, "over %lld elements", (long long)count);
		if (!parse_element(p, type->dtype, &x))
			return false;
		store(data, type->dtype, i++, x);
		if (!parse_maybe(p, ","))
			break;
	}
	if (i < count && next_is(p, "]"))
		return parse_fail(p, "%lld elements are wanted, found %lld", (long long)count,
				  (long long)i);
	return parse_sign(p, "]");
}

/* ---- side files ---- */

/* The name of a file beside the text. Only plain names: nothing outside of its folder can be read. */
static const char *beside(struct parser *p, const char *name)
{
	const char *slash = p->at.file ? strrchr(p->at.file, '/') : NULL;

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")) {
		parse_fail(p, "file(...) names a file beside the text, without a folder");
		return NULL;
	}
	if (!p->at.file) {
		parse_fail(p, "file(...) needs a text that was read from a file");
		return NULL;
	}
	return slash ? arena_printf(&p->scratch, "%.*s/%s", (int)(slash - p->at.file), p->at.file,
				    name)
		     : name;
}

static bool read_side(struct parser *p, const char *path, int64_t offset, int64_t size,
		      unsigned char *data)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int64_t done = 0;

	if (fd < 0)
		return parse_fail(p, "%s: %s", path, strerror(errno));
	while (done < size) {
		ssize_t n = pread(fd, data + done, (size_t)(size - done), (off_t)(offset + done));

		if (n <= 0)
			break;
		done += n;
	}
	close(fd);
	return done == size || parse_fail(p, "%s: %lld bytes at %lld cannot be read", path,
					  (long long)size, (long long)offset);
}

static bool parse_file(struct parser *p, const struct type *type, int64_t count, struct tensor *out)
{
	const char *name, *path;
	int64_t offset, size;
	unsigned char *data;
	struct stat status;

	if (!(name = parse_name(p, &p->scratch, TOKEN_STRING, "a file name")) ||
	    !parse_sign(p, ",") || !parse_int(p, &offset) || !parse_sign(p, ",") ||
	    !parse_int(p, &size))
		return false;
	if (type->dtype == DT_STRING || size != dtype_bytes(type->dtype, count))
		return parse_fail(p, "the constant has %lld bytes, the file gives %lld",
				  (long long)dtype_bytes(type->dtype, count), (long long)size);
	path = beside(p, name);
	if (!path)
		return false;
	if (stat(path, &status) || !S_ISREG(status.st_mode) || offset < 0 ||
	    size > status.st_size || offset > status.st_size - size)
		return parse_fail(p, "%s has no %lld bytes at %lld", path, (long long)size,
				  (long long)offset);
	data = arena_alloc(p->graph->arena, (size_t)size);
	out->data = data;
	out->size = size;
	return read_side(p, path, offset, size, data) && parse_sign(p, ")");
}

bool parse_tensor(struct parser *p, const struct type *type, struct tensor *out)
{
	int64_t count = type_count_const(type), seed = 0;

	if (count < 0 || type->kind != TYPE_TENSOR)
		return parse_fail(p, "a constant has constant dims");
	*out = (struct tensor){.kind = TENSOR_BYTES};
	if (parse_maybe(p, "["))
		return parse_elements(p, type, count, out);
	if (parse_maybe(p, "random")) {
		out->kind = TENSOR_RANDOM;
		if (!parse_sign(p, "("))
			return false;
		if (!next_kind(p, TOKEN_INT) || p->lx.token.overflow)
			return parse_int(p, &seed) && false;
		out->seed = p->lx.token.integer;
		lex_next(&p->lx);
		return parse_sign(p, ")");
	}
	if (parse_maybe(p, "splat")) {
		out->kind = TENSOR_SPLAT;
		if (!parse_sign(p, "(") || !parse_element(p, type->dtype, &out->splat))
			return false;
		out->splat = round_to(type->dtype, out->splat);
		return parse_sign(p, ")");
	}
	if (parse_maybe(p, "file"))
		return parse_sign(p, "(") && parse_file(p, type, count, out);
	if (next_is(p, "data"))
		return parse_fail(
			p,
			"data(...) stands for bytes that were not printed: it cannot be read back");
	return parse_expected(p, "`[`, random, splat or file");
}
