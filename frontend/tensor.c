/* tensor.c: one TensorProto to struct onnx_tensor. Every size is checked before it is used.
 * Follows onnx.proto, message TensorProto: which of raw_data and the typed fields holds which dtype. */
#include "frontend/reader.h"

#include <inttypes.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw data is used as it is");

static const struct {
	const char *name;
	int bits;
	int field; /* the typed field for its data, 0: none */
	int unit;  /* bytes that one number of that field makes */
} dtypes[ONNX_DTYPES] = {
	[ONNX_UNDEFINED] = {"undefined", 0, 0, 0},
	[ONNX_FLOAT] = {"float", 32, WIRE_FLOAT_DATA, 4},
	[ONNX_UINT8] = {"uint8", 8, WIRE_INT32_DATA, 1},
	[ONNX_INT8] = {"int8", 8, WIRE_INT32_DATA, 1},
	[ONNX_UINT16] = {"uint16", 16, WIRE_INT32_DATA, 2},
	[ONNX_INT16] = {"int16", 16, WIRE_INT32_DATA, 2},
	[ONNX_INT32] = {"int32", 32, WIRE_INT32_DATA, 4},
	[ONNX_INT64] = {"int64", 64, WIRE_INT64_DATA, 8},
	[ONNX_STRING] = {"string", 0, 0, 0},
	[ONNX_BOOL] = {"bool", 8, WIRE_INT32_DATA, 1},
	[ONNX_FLOAT16] = {"float16", 16, WIRE_INT32_DATA, 2},
	[ONNX_DOUBLE] = {"double", 64, WIRE_DOUBLE_DATA, 8},
	[ONNX_UINT32] = {"uint32", 32, WIRE_UINT64_DATA, 4},
	[ONNX_UINT64] = {"uint64", 64, WIRE_UINT64_DATA, 8},
	[ONNX_COMPLEX64] = {"complex64", 64, WIRE_FLOAT_DATA, 4},
	[ONNX_COMPLEX128] = {"complex128", 128, WIRE_DOUBLE_DATA, 8},
	[ONNX_BFLOAT16] = {"bfloat16", 16, WIRE_INT32_DATA, 2},
	[ONNX_FLOAT8E4M3FN] = {"float8e4m3fn", 8, WIRE_INT32_DATA, 1},
	[ONNX_FLOAT8E4M3FNUZ] = {"float8e4m3fnuz", 8, WIRE_INT32_DATA, 1},
	[ONNX_FLOAT8E5M2] = {"float8e5m2", 8, WIRE_INT32_DATA, 1},
	[ONNX_FLOAT8E5M2FNUZ] = {"float8e5m2fnuz", 8, WIRE_INT32_DATA, 1},
	[ONNX_UINT4] = {"uint4", 4, WIRE_INT32_DATA, 1},
	[ONNX_INT4] = {"int4", 4, WIRE_INT32_DATA, 1},
	[ONNX_FLOAT4E2M1] = {"float4e2m1", 4, WIRE_INT32_DATA, 1},
	[ONNX_FLOAT8E8M0] = {"float8e8m0", 8, WIRE_INT32_DATA, 1},
	[ONNX_UINT2] = {"uint2", 2, WIRE_INT32_DATA, 1},
	[ONNX_INT2] = {"int2", 2, WIRE_INT32_DATA, 1},
};

static bool known(int32_t dtype) { return dtype > 0 && dtype < ONNX_DTYPES; }

int onnx_dtype_bits(int32_t dtype) { return known(dtype) ? dtypes[dtype].bits : 0; }

const char *onnx_dtype_name(int32_t dtype)
{
	return known(dtype) ? dtypes[dtype].name : dtype ? "unknown type" : "undefined";
}

/* "float[2,3]", for messages; lives as long as they do. */
static const char *type_text(struct reader *r, const struct onnx_tensor *t)
{
	const char *text = arena_printf(&r->d->arena, "%s[", onnx_dtype_name(t->dtype));

	for (int i = 0; i < t->rank; i++)
		text = arena_printf(&r->d->arena, "%s%s%" PRId64, text, i ? "," : "", t->dims[i]);
	return arena_printf(&r->d->arena, "%s]", text);
}

#define FAIL(r, t, format, ...)                                                                \
	diag_add((r)->d, DIAG_FILE, (r)->at, "tensor \"%s\": " format, (t)->name, __VA_ARGS__)

bool read_text(struct reader *r, const ProtobufCBinaryData *p, struct onnx_text *out)
{
	char *copy = reader_array(r, p->len + 1, 1);

	if (!copy)
		return false;
	if (p->len)
		memcpy(copy, p->data, p->len);
	*out = (struct onnx_text){copy, p->len};
	return true;
}

/* Checks dims and sets count. `*dims` may stay where protobuf-c put them. */
static bool read_dims(struct reader *r, const char *name, size_t rank, const int64_t *dims,
		      int64_t *count)
{
	*count = 1;
	if (rank > ONNX_RANK_MAX)
		return diag_add(r->d, DIAG_UNSUPPORTED, r->at,
				"tensor \"%s\" has rank %zu; the most is %d", name, rank,
				ONNX_RANK_MAX);
	for (size_t i = 0; i < rank; i++)
		if (dims[i] < 0)
			return diag_add(r->d, DIAG_FILE, r->at,
					"tensor \"%s\": dim %zu is negative: %" PRId64, name, i,
					dims[i]);
	for (size_t i = 0; i < rank; i++)
		if (__builtin_mul_overflow(*count, dims[i], count) || *count > INT64_MAX / 16)
			return diag_add(r->d, DIAG_FILE, r->at,
					"tensor \"%s\": the product of its dims overflows", name);
	return true;
}

static bool read_strings(struct reader *r, const Onnx__TensorProto *p, struct onnx_tensor *out)
{
	struct onnx_text *strings;

	if (p->n_string_data != (size_t)out->count)
		return FAIL(r, out, "holds %zu strings, %s needs %" PRId64, p->n_string_data,
			    type_text(r, out), out->count);
	strings = READER_ARRAY(r, struct onnx_text, out->count);
	for (size_t i = 0; strings && i < p->n_string_data; i++)
		if (!read_text(r, &p->string_data[i], &strings[i]))
			return false;
	out->strings = strings;
	return strings;
}

/* A decimal number of external_data; absent: *value stays. */
static bool read_entry(struct reader *r, const struct onnx_tensor *t, const Onnx__TensorProto *p,
		       const char *key, uint64_t *value, bool *given)
{
	const char *s = NULL;
	uint64_t v = 0;

	for (size_t i = 0; i < p->n_external_data; i++)
		if (!strcmp(text_or_empty(p->external_data[i]->key), key))
			s = text_or_empty(p->external_data[i]->value);
	*given = s;
	if (!s)
		return true;
	for (const char *c = s; *c || c == s; c++)
		if (*c < '0' || *c > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, *c - '0', &v))
			return FAIL(r, t, "external data: %s is \"%s\", not a number of bytes", key,
				    s);
	*value = v;
	return true;
}

static bool read_external(struct reader *r, const Onnx__TensorProto *p, struct onnx_tensor *out)
{
	const char *location = "";
	uint64_t offset = 0, length = 0;
	const struct onnx_mapping *m;
	bool has_offset, has_length;

	for (size_t i = 0; i < p->n_external_data; i++)
		if (!strcmp(text_or_empty(p->external_data[i]->key), "location"))
			location = text_or_empty(p->external_data[i]->value);
	if (!read_entry(r, out, p, "offset", &offset, &has_offset) ||
	    !read_entry(r, out, p, "length", &length, &has_length))
		return false;
	if (out->dtype == ONNX_STRING)
		return FAIL(r, out, "strings cannot be external data (\"%s\")", location);
	if (!r->folder_of)
		return FAIL(r, out, "its data is external (\"%s\"), which is not possible here",
			    location);
	if (has_length && length != out->size)
		return FAIL(r, out, "external data of %" PRIu64 " bytes, %s needs %zu", length,
			    type_text(r, out), out->size);
	m = external_map(r->folder_of, location, r->arena, r->mappings, r->at, r->d);
	if (!m)
		return diag_add(r->d, DIAG_NOTE, r->at, "tensor \"%s\" needs it", out->name);
	if (offset > m->size || out->size > m->size - offset)
		return FAIL(r, out,
			    "external data \"%s\" has %" PRIu64
			    " bytes, needed are %zu from byte %" PRIu64,
			    location, m->size, out->size, offset);
	if (out->size) {
		out->data = m->bytes + offset;
		out->mapped = true;
	}
	return true;
}

/* Whether `v` fits `unit` bytes, as a signed or as an unsigned number. */
static bool fits(int64_t v, int unit)
{
	return unit >= 4 || (v >= -((int64_t)1 << (8 * unit - 1)) && v < (int64_t)1 << (8 * unit));
}

/* Reads one number of a typed field at *at and stores `unit` bytes of it; the walk of wire.c saw to
 * it that fields end where they should, but not that packed varints do. */
static bool decode_one(const uint8_t **at, const uint8_t *end, const struct onnx_tensor *t,
		       uint8_t *out)
{
	int field = dtypes[t->dtype].field, unit = dtypes[t->dtype].unit;
	int64_t number;
	uint64_t v;

	if (field == WIRE_FLOAT_DATA || field == WIRE_DOUBLE_DATA) {
		if (end - *at < unit)
			return false;
		memcpy(out, *at, (size_t)unit);
		*at += unit;
		return true;
	}
	if (!wire_varint(at, end, &v))
		return false;
	number = field == WIRE_INT32_DATA ? (int32_t)(uint32_t)v : (int64_t)v;
	if (t->dtype == ONNX_BOOL)
		number = number != 0;
	if (t->dtype == ONNX_UINT32 ? v > UINT32_MAX : !fits(number, unit))
		return false;
	memcpy(out, &number, (size_t)unit);
	return true;
}

static bool decode_span(struct reader *r, const struct wire_span *s, const struct onnx_tensor *t,
			uint8_t *out, size_t *done)
{
	const uint8_t *at = r->wire.bytes + s->at, *end = at + s->size;
	size_t unit = (size_t)dtypes[t->dtype].unit;
	uint64_t tag;

	while (at < end) {
		if (!s->packed && !wire_varint(&at, end, &tag))
			return FAIL(r, t, "bad data at byte %zu", s->at);
		if (*done == t->size)
			return FAIL(r, t, "holds more than the %zu values that %s needs",
				    *done / unit, type_text(r, t));
		if (!decode_one(&at, end, t, out + *done))
			return FAIL(r, t, "value %zu is damaged or out of the range of %s",
				    *done / unit, onnx_dtype_name(t->dtype));
		*done += unit;
	}
	return true;
}

/* Decodes the numbers of float_data, int32_data, ... to raw data in the arena. */
static bool decode(struct reader *r, const struct wire_tensor *w, struct onnx_tensor *out)
{
	const struct wire_span *spans = &r->wire.spans.at[w->first];
	size_t unit = (size_t)dtypes[out->dtype].unit, room = 0, done = 0;
	uint8_t *data;

	for (uint32_t i = 0; i < w->count; i++) {
		if (spans[i].size && (int)spans[i].field != dtypes[out->dtype].field)
			return FAIL(r, out, "data in field %u, %s has its data in field %d",
				    (unsigned)spans[i].field, type_text(r, out),
				    dtypes[out->dtype].field);
		room += spans[i].size;
	}
	if (out->size / unit > room) /* every number takes a byte or more */
		return FAIL(r, out, "%zu bytes of data for %zu values of %s", room,
			    out->size / unit, type_text(r, out));
	data = reader_array(r, out->size, 1);
	if (!data)
		return false;
	for (uint32_t i = 0; i < w->count; i++)
		if (!decode_span(r, &spans[i], out, data, &done))
			return false;
	if (done != out->size)
		return FAIL(r, out, "holds %zu values, %s needs %zu", done / unit,
			    type_text(r, out), out->size / unit);
	out->data = data;
	return true;
}

static const struct wire_tensor *find_wire(const struct reader *r, const Onnx__TensorProto *p)
{
	uint32_t index = 0;

	for (size_t i = 0; i < p->raw_data.len && i < 4; i++)
		index |= (uint32_t)p->raw_data.data[i] << (8 * i);
	return index < r->wire.tensors.count ? &r->wire.tensors.at[index] : NULL;
}

static bool check_bools(struct reader *r, const struct onnx_tensor *t)
{
	const uint8_t *bytes = t->data;

	for (size_t i = 0; i < t->size; i++)
		if (bytes[i] > 1)
			return FAIL(r, t, "value %zu is %u, a bool is 0 or 1", i, bytes[i]);
	return true;
}

/* Finds the data of a tensor whose type is known. */
static bool read_data(struct reader *r, const Onnx__TensorProto *p, struct onnx_tensor *out)
{
	const struct wire_tensor *w = find_wire(r, p);
	bool external = p->has_data_location && p->data_location;
	size_t raw = 0, raw_at = 0, typed = 0; /* bytes */

	for (uint32_t i = 0; w && i < w->count; i++) {
		const struct wire_span *s = &r->wire.spans.at[w->first + i];

		if (s->field == WIRE_RAW_DATA) {
			raw = s->size;
			raw_at = s->at;
		} else {
			typed += s->size;
		}
	}
	if ((raw > 0) + (typed > 0) + (p->n_string_data > 0) + external > 1)
		return FAIL(r, out, "has its data in %s",
			    "more than one of raw_data, typed fields and external files");
	if (external)
		return read_external(r, p, out);
	if (out->dtype == ONNX_STRING && (raw || typed))
		return FAIL(r, out, "strings in %s", "a field for numbers");
	if (out->dtype == ONNX_STRING)
		return read_strings(r, p, out);
	if (typed)
		return decode(r, w, out);
	if (raw != out->size)
		return FAIL(r, out, "holds %zu bytes, %s needs %zu", raw, type_text(r, out),
			    out->size);
	if (out->size) {
		out->data = r->wire.bytes + raw_at;
		out->mapped = r->mapped;
	}
	return true;
}

bool read_tensor(struct reader *r, const Onnx__TensorProto *p, struct onnx_tensor *out)
{
	*out = (struct onnx_tensor){.name = text_or_empty(p->name), .dtype = p->data_type};
	if (p->segment)
		return FAIL(r, out, "%s", "comes in segments, which no ONNX version ever used");
	if (out->dtype == ONNX_UNDEFINED || out->dtype < 0)
		return FAIL(r, out, "has no valid element type (data_type is %d)", out->dtype);
	if (!known(out->dtype))
		return diag_add(r->d, DIAG_UNSUPPORTED, r->at,
				"tensor \"%s\" has element type %d, which hone does not know",
				out->name, out->dtype);
	if (!read_dims(r, out->name, p->n_dims, p->dims, &out->count))
		return false;
	out->rank = (int)p->n_dims;
	out->dims = p->dims;
	out->size = (size_t)(((__int128)out->count * dtypes[out->dtype].bits + 7) / 8);
	if (!read_data(r, p, out))
		return false;
	return out->dtype != ONNX_BOOL || check_bools(r, out);
}

/* Whether every index lies in the dense shape. */
static bool check_indices(struct reader *r, const struct onnx_sparse *s, int64_t dense)
{
	const unsigned char *at = s->indices.data;
	int64_t index;

	for (int64_t i = 0; i < s->indices.count; i++) {
		int64_t end = s->indices.rank == 2 ? s->dims[i % s->rank] : dense;

		memcpy(&index, at + 8 * i, 8);
		if (index < 0 || index >= end)
			return FAIL(r, &s->values, "sparse index %" PRId64 " is not below %" PRId64,
				    index, end);
	}
	return true;
}

bool read_sparse(struct reader *r, const Onnx__SparseTensorProto *p, struct onnx_sparse *out)
{
	const struct onnx_tensor *v = &out->values, *x = &out->indices;
	int64_t dense;

	if (!p->values || !p->indices)
		return diag_add(r->d, DIAG_FILE, r->at,
				"a sparse tensor without values or indices");
	if (!read_tensor(r, p->values, &out->values) ||
	    !read_tensor(r, p->indices, &out->indices) ||
	    !read_dims(r, v->name, p->n_dims, p->dims, &dense))
		return false;
	out->rank = (int)p->n_dims;
	out->dims = p->dims;
	if (v->rank != 1)
		return FAIL(r, v, "values of a sparse tensor of rank %d, not 1", v->rank);
	if (x->dtype != ONNX_INT64 || x->rank < 1 || x->rank > 2 || x->dims[0] != v->dims[0] ||
	    (x->rank == 2 && x->dims[1] != out->rank))
		return FAIL(r, v,
			    "sparse indices are %s, not int64[%" PRId64 "] or int64[%" PRId64
			    ",%d]",
			    type_text(r, x), v->dims[0], v->dims[0], out->rank);
	return check_indices(r, out, dense);
}
