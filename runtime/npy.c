/* npy.c: "\x93NUMPY", version, header length, a Python dict literal, then the elements. */
#include "runtime/npy.h"
#include "runtime/dtype.h"
#include "runtime/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "npy.c takes the elements as they are: little-endian machines only"
#endif

static const char magic[6] = "\x93NUMPY";

struct kind {
	char code[3];
	uint8_t dtype;
};

static const struct kind kinds[] = {
	{"f2", HONE_F16}, {"f4", HONE_F32},  {"f8", HONE_F64},  {"i1", HONE_I8},  {"i2", HONE_I16},
	{"i4", HONE_I32}, {"i8", HONE_I64},  {"u1", HONE_U8},   {"u2", HONE_U16}, {"u4", HONE_U32},
	{"u8", HONE_U64}, {"b1", HONE_BOOL}, {"V2", HONE_BF16},
};

enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* ---- the header: a dict of descr, fortran_order and shape, in any order ---- */

struct header {
	const char *at, *end;
	char *text;
	size_t text_size;
	bool fortran;
	int seen; /* bits: descr, fortran_order, shape */
};

static void skip_space(struct header *h)
{
	while (h->at < h->end &&
	       (*h->at == ' ' || *h->at == '\n' || *h->at == '\t' || *h->at == '\r'))
		h->at++;
}

/* Takes `word` if it comes next. */
static bool accept(struct header *h, const char *word)
{
	size_t length = strlen(word);

	skip_space(h);
	if ((size_t)(h->end - h->at) < length || memcmp(h->at, word, length))
		return false;
	h->at += length;
	return true;
}

static bool bad(struct header *h, const char *why)
{
	return rt_say(h->text, h->text_size, "not a valid .npy header: %s", why);
}

/* 'text' or "text" without escapes. */
static bool parse_string(struct header *h, const char **start, size_t *length)
{
	const char *close;

	skip_space(h);
	if (h->at == h->end || (*h->at != '\'' && *h->at != '"'))
		return bad(h, "expected a quoted name");
	close = memchr(h->at + 1, *h->at, (size_t)(h->end - h->at - 1));
	if (!close)
		return bad(h, "a quote is not closed");
	*start = h->at + 1;
	*length = (size_t)(close - *start);
	h->at = close + 1;
	return true;
}

static bool parse_descr(struct header *h, struct npy *t)
{
	const char *s;
	size_t n;

	skip_space(h);
	if (h->at < h->end && *h->at == '[')
		return rt_say(h->text, h->text_size, "structured arrays are not supported");
	if (!parse_string(h, &s, &n))
		return false;
	if (n == 3 && *s == '>' && s[2] != '1')
		return rt_say(h->text, h->text_size,
			      "big-endian elements (\"%.3s\") are not supported", s);
	for (int i = 0; n == 3 && memchr("<>|=", *s, 4) && i < KINDS; i++) {
		if (!memcmp(kinds[i].code, s + 1, 2)) {
			t->dtype = kinds[i].dtype;
			return true;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (s[i] < ' ' || s[i] > '~')
			return bad(h, "descr holds a character that is not printable");
	}
	return rt_say(h->text, h->text_size, "elements of type \"%.*s\" are not supported",
		      n < 40 ? (int)n : 40, s);
}

static bool parse_dim(struct header *h, int64_t *value)
{
	skip_space(h);
	if (h->at == h->end || *h->at < '0' || *h->at > '9')
		return bad(h, "expected a dim in shape");
	for (*value = 0; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++) {
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, *h->at - '0', value))
			return bad(h, "a dim is too large");
	}
	if (h->at < h->end && *h->at == 'L') /* Python 2 */
		h->at++;
	return true;
}

/* (), (2,), (2, 3), (2, 3,) */
static bool parse_shape(struct header *h, struct npy *t)
{
	bool comma = true;

	if (!accept(h, "("))
		return bad(h, "shape is not a tuple");
	while (!accept(h, ")")) {
		if (!comma)
			return bad(h, "expected a comma in shape");
		if (t->rank == HONE_MAX_RANK)
			return rt_say(h->text, h->text_size, "more than %d dims are not supported",
				      HONE_MAX_RANK);
		if (!parse_dim(h, &t->dims[t->rank++]))
			return false;
		comma = accept(h, ",");
	}
	return (t->rank != 1 || comma) || bad(h, "shape is not a tuple");
}

static bool parse_item(struct header *h, struct npy *t)
{
	static const char names[][16] = {"descr", "fortran_order", "shape"};
	const char *s;
	size_t n;
	int key = 0;

	if (!parse_string(h, &s, &n))
		return false;
	while (key < 3 && (strlen(names[key]) != n || memcmp(names[key], s, n)))
		key++;
	if (key == 3)
		return bad(h, "an unknown key");
	if (h->seen & 1 << key)
		return bad(h, "a key comes twice");
	h->seen |= 1 << key;
	if (!accept(h, ":"))
		return bad(h, "expected a colon");
	if (key == 0)
		return parse_descr(h, t);
	if (key == 2)
		return parse_shape(h, t);
	h->fortran = accept(h, "True");
	return h->fortran || accept(h, "False") ||
	       bad(h, "fortran_order is neither True nor False");
}

static bool parse_dict(struct header *h, struct npy *t)
{
	bool comma = true;

	if (!accept(h, "{"))
		return bad(h, "it is not a dict");
	while (!accept(h, "}")) {
		if (!comma)
			return bad(h, "expected a comma");
		if (!parse_item(h, t))
			return false;
		comma = accept(h, ",");
	}
	skip_space(h);
	if (h->at != h->end)
		return bad(h, "text after the dict");
	return h->seen == 7 || bad(h, "descr, fortran_order or shape is missing");
}

/* ---- the file ---- */

/* Finds where the header begins and ends. */
static bool find_header(const unsigned char *b, size_t size, struct header *h)
{
	size_t start, length;

	if (size < 10 || memcmp(b, magic, sizeof(magic)))
		return rt_say(h->text, h->text_size, "not a .npy file");
	if (b[6] < 1 || b[6] > 3 || b[7])
		return rt_say(h->text, h->text_size, ".npy version %d.%d is not supported", b[6],
			      b[7]);
	start = b[6] == 1 ? 10 : 12;
	if (size < start)
		return rt_say(h->text, h->text_size, "the .npy header is cut off");
	length = b[8] | (size_t)b[9] << 8;
	if (b[6] > 1)
		length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
	if (length > size - start)
		return rt_say(h->text, h->text_size, "the .npy header is cut off");
	h->at = (const char *)b + start;
	h->end = h->at + length;
	return true;
}

/* Copies elements from Fortran to C order: an odometer over C order, with Fortran's strides. */
static void to_c_order(const struct npy *t, const unsigned char *from, unsigned char *to,
		       int64_t element)
{
	int64_t at[HONE_MAX_RANK] = {0}, strides[HONE_MAX_RANK], offset = 0, stride = element;

	for (int32_t k = 0; k < t->rank; k++) {
		strides[k] = stride;
		stride *= t->dims[k];
	}
	for (int64_t done = 0; done < t->size; done += element) {
		memcpy(to + done, from + offset, (size_t)element);
		for (int32_t k = t->rank - 1; k >= 0; k--) {
			offset += strides[k];
			if (++at[k] < t->dims[k])
				break;
			offset -= strides[k] * t->dims[k];
			at[k] = 0;
		}
	}
}

/* Points t->data at the elements, or at a copy in C order or of better alignment. */
static bool take_data(struct npy *t, const unsigned char *from, bool fortran, struct header *h)
{
	int64_t element = rt_dtype_bits(t->dtype) / 8;

	t->data = from;
	if (!t->size || ((!fortran || t->rank < 2) && (uintptr_t)from % (uintptr_t)element == 0))
		return true;
	t->owned = malloc((size_t)t->size + 64);
	if (!t->owned)
		return rt_say(h->text, h->text_size, "no memory for %lld bytes",
			      (long long)t->size);
	if (fortran)
		to_c_order(t, from, t->owned, element);
	else
		memcpy(t->owned, from, (size_t)t->size);
	t->data = t->owned;
	return true;
}

static bool read_tensor(struct npy *t, const unsigned char *bytes, size_t size, struct header *h)
{
	size_t left;

	if (!find_header(bytes, size, h) || !parse_dict(h, t))
		return false;
	left = size - (size_t)((const unsigned char *)h->end - bytes);
	t->size = rt_tensor_bytes(t->dtype, t->rank, t->dims);
	if (t->size < 0)
		return rt_say(h->text, h->text_size, "the dims are too large");
	if ((uint64_t)t->size != left)
		return rt_say(h->text, h->text_size,
			      "the file holds %zu bytes of data, its dims need %lld", left,
			      (long long)t->size);
	return take_data(t, (const unsigned char *)h->end, h->fortran, h);
}

bool npy_read(struct npy *t, const void *bytes, size_t size, char *text, size_t text_size)
{
	struct header h = {.text = text, .text_size = text_size};

	memset(t, 0, sizeof(*t));
	if (read_tensor(t, bytes, size, &h))
		return true;
	memset(t, 0, sizeof(*t));
	return false;
}

bool npy_read_file(struct npy *t, const char *path, char *text, size_t text_size)
{
	char why[200];
	void *bytes;
	size_t size;

	memset(t, 0, sizeof(*t));
	if (!rt_file_read(path, &bytes, &size, text, text_size))
		return false;
	if (!npy_read(t, bytes, size, why, sizeof(why))) {
		free(bytes);
		return rt_say(text, text_size, "%s: %s", path, why);
	}
	if (t->owned)
		free(bytes);
	else
		t->owned = bytes;
	return true;
}

void npy_free(struct npy *t)
{
	free(t->owned);
	memset(t, 0, sizeof(*t));
}

/* Version 1.0, padded so that the data begin at a multiple of 64. Returns the header's bytes. */
static size_t make_header(char out[512], const char *descr, int32_t rank, const int64_t *dims)
{
	size_t room = 512, n = 10, total;

	n += (size_t)snprintf(out + n, room - n,
			      "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
	for (int32_t k = 0; k < rank; k++)
		n += (size_t)snprintf(out + n, room - n,
				      k + 1 < rank ? "%lld, "
				      : rank == 1  ? "%lld,"
						   : "%lld",
				      (long long)dims[k]);
	n += (size_t)snprintf(out + n, room - n, "), }");
	total = (n + 1 + 63) / 64 * 64;
	memset(out + n, ' ', total - n - 1);
	out[total - 1] = '\n';
	memcpy(out, magic, sizeof(magic));
	out[6] = 1;
	out[7] = 0;
	out[8] = (char)((total - 10) & 255);
	out[9] = (char)((total - 10) >> 8);
	return total;
}

bool npy_write_file(const char *path, int32_t dtype, int32_t rank, const int64_t *dims,
		    const void *data, char *text, size_t text_size)
{
	int64_t size = rt_tensor_bytes(dtype, rank, dims);
	char header[512], descr[4];
	struct file_part parts[2] = {{header, 0}, {data, (size_t)size}};
	int i = 0;

	while (i < KINDS && kinds[i].dtype != dtype)
		i++;
	if (i == KINDS)
		return rt_say(text, text_size, "%s: .npy has no type for %s", path,
			      rt_dtype_name(dtype));
	if (size < 0)
		return rt_say(text, text_size, "%s: not a tensor", path);
	snprintf(descr, sizeof(descr), "%c%s", rt_dtype_bits(dtype) == 8 ? '|' : '<',
		 kinds[i].code);
	parts[0].size = make_header(header, descr, rank, dims);
	return rt_file_write(path, parts, 2, text, text_size);
}
