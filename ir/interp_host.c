/* interp_host.c: host tensors and their elements. */
#include "ir/interp.h"

#include <stdlib.h>
#include <string.h>

/* ---- elements ---- */

#define LOAD_AS(type, field)                                          \
	do {                                                          \
		type v;                                               \
		memcpy(&v, data + i * (int64_t)sizeof(v), sizeof(v)); \
		x.field = v;                                          \
	} while (0)

static unsigned packed_bits(enum dtype t, const unsigned char *data, int64_t i)
{
	int bits = dtype_bits(t), per = 8 / bits;

	return data[i / per] >> (int)(i % per) * bits & ((1u << bits) - 1);
}

static int64_t packed_load(enum dtype t, const unsigned char *data, int64_t i)
{
	int64_t x = packed_bits(t, data, i), sign = (int64_t)1 << (dtype_bits(t) - 1);

	return dtype_class(t) == DTYPE_SIGNED ? (x ^ sign) - sign : x;
}

union scalar element_load(enum dtype t, const unsigned char *data, int64_t i)
{
	union scalar x = {0};
	uint16_t half;

	switch (t) {
	case DT_F32: LOAD_AS(float, f); break;
	case DT_F64: LOAD_AS(double, f); break;
	case DT_I64:
	case DT_U64: LOAD_AS(int64_t, i); break;
	case DT_I32: LOAD_AS(int32_t, i); break;
	case DT_I16: LOAD_AS(int16_t, i); break;
	case DT_I8: LOAD_AS(int8_t, i); break;
	case DT_U32: LOAD_AS(uint32_t, i); break;
	case DT_U16: LOAD_AS(uint16_t, i); break;
	case DT_U8: LOAD_AS(uint8_t, i); break;
	case DT_BOOL: x.i = data[i] != 0; break;
	case DT_F16:
	case DT_BF16:
		memcpy(&half, data + i * 2, sizeof(half));
		x.f = dtype_decode_float(t, half);
		break;
	case DT_I4:
	case DT_U4:
	case DT_I2:
	case DT_U2: x.i = packed_load(t, data, i); break;
	default: x.f = dtype_decode_float(t, data[i]); break;
	}
	return x;
}

static void packed_store(enum dtype t, unsigned char *data, int64_t i, int64_t x)
{
	int bits = dtype_bits(t), per = 8 / bits, shift = (int)(i % per) * bits;
	unsigned mask = ((1u << bits) - 1) << shift;

	data[i / per] = (unsigned char)((data[i / per] & ~mask) | (((unsigned)x << shift) & mask));
}

void element_store(enum dtype t, unsigned char *data, int64_t i, union scalar x)
{
	uint16_t half;
	float f;

	switch (t) {
	case DT_F32:
		f = (float)x.f;
		memcpy(data + i * 4, &f, sizeof(f));
		break;
	case DT_F64: memcpy(data + i * 8, &x.f, 8); break;
	/* the low bytes come first: hosts are little endian, as the formats are */
	case DT_I64:
	case DT_U64: memcpy(data + i * 8, &x.i, 8); break;
	case DT_I32:
	case DT_U32: memcpy(data + i * 4, &x.i, 4); break;
	case DT_I16:
	case DT_U16: memcpy(data + i * 2, &x.i, 2); break;
	case DT_I8:
	case DT_U8: data[i] = (unsigned char)x.i; break;
	case DT_BOOL: data[i] = x.i != 0; break;
	case DT_F16:
	case DT_BF16:
		half = (uint16_t)dtype_encode_float(t, x.f);
		memcpy(data + i * 2, &half, sizeof(half));
		break;
	case DT_I4:
	case DT_U4:
	case DT_I2:
	case DT_U2: packed_store(t, data, i, x.i); break;
	default: data[i] = (unsigned char)dtype_encode_float(t, x.f); break;
	}
}

/* ---- tensors ---- */

int64_t dims_count(int rank, const int64_t *dims)
{
	int64_t count = 1;

	for (int i = 0; i < rank; i++) {
		if (dims[i] == 0)
			return 0;
	}
	for (int i = 0; i < rank; i++) {
		if (__builtin_mul_overflow(count, dims[i], &count))
			return INT64_MAX;
	}
	return count;
}

struct host *host_wrap(enum dtype t, int rank, const int64_t *dims, void *data)
{
	struct host *h = calloc(1, sizeof(*h));

	if (!h) {
		out_of_memory(sizeof(*h));
		return NULL;
	}
	h->refs = 1;
	h->dtype = t;
	h->rank = rank;
	if (rank)
		memcpy(h->dims, dims, sizeof(*dims) * (size_t)rank);
	h->bytes = dtype_bytes(t, host_count(h));
	h->data = data;
	return h;
}

struct host *host_new(enum dtype t, int rank, const int64_t *dims, int64_t *wanted)
{
	struct host *h = host_wrap(t, rank, dims, NULL);

	if (h->bytes < PTRDIFF_MAX / 2)
		h->data = calloc(1, h->bytes ? (size_t)h->bytes : 1);
	h->owned = true;
	if (h->data)
		return h;
	*wanted = h->bytes;
	free(h);
	return NULL;
}

struct host *host_keep(struct host *h)
{
	h->refs++;
	return h;
}

void host_drop(struct host *h)
{
	if (!h || --h->refs)
		return;
	if (h->owned)
		free(h->data);
	free(h);
}

int64_t host_count(const struct host *h) { return dims_count(h->rank, h->dims); }

hone_tensor host_tensor(const struct host *h)
{
	hone_tensor t = {
		.data = h->data, .size = h->bytes, .rank = h->rank, .dtype = (int32_t)h->dtype};

	memcpy(t.dims, h->dims, sizeof(t.dims));
	return t;
}

void host_copy(struct host *to, int64_t at, const struct host *from, int64_t from_at, int64_t count)
{
	int64_t size = dtype_bits(to->dtype) / 8;

	if (size && count)
		memcpy(to->data + at * size, from->data + from_at * size, (size_t)(count * size));
	for (int64_t i = 0; !size && i < count; i++)
		element_store(to->dtype, to->data, at + i,
			      element_load(from->dtype, from->data, from_at + i));
}
