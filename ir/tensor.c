/* tensor.c: the data of constants. */
#define _DEFAULT_SOURCE /* madvise */
#include "ir/graph.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A counter-based generator: splitmix64 (Steele, Lea and Flood 2014) of seed and position. */
static uint64_t noise(uint64_t seed, uint64_t i)
{
	uint64_t z = seed * 0xd1342543de82ef95u + (i + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Floats in [-1, 1) in steps of 2^-10 (exact in f16 up to rounding), integers in [-8, 8) or [0, 16). */
static union scalar random_element(enum dtype t, uint64_t seed, int64_t i)
{
	uint64_t r = noise(seed, (uint64_t)i);

	switch (dtype_class(t)) {
	case DTYPE_FLOAT: return (union scalar){.f = (double)(int64_t)(r >> 53) / 1024 - 1};
	case DTYPE_SIGNED:
		return (union scalar){.i = (int64_t)(r >> 60) - (dtype_bits(t) < 4 ? 2 : 8)};
	case DTYPE_UNSIGNED: return (union scalar){.i = (int64_t)(r >> 60)};
	default: return (union scalar){.i = (int64_t)(r >> 63)};
	}
}

static uint64_t read_bits(const unsigned char *data, int bits, int64_t i)
{
	uint64_t x = 0;

	if (bits < 8)
		return data[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
	memcpy(&x, data + i * (bits / 8),
	       (size_t)bits / 8); /* little endian hosts only, as everywhere here */
	return x;
}

static union scalar decode(enum dtype t, uint64_t bits)
{
	int width = dtype_bits(t);
	float f;
	double d;

	if (t == DT_F64) {
		memcpy(&d, &bits, 8);
		return (union scalar){.f = d};
	}
	if (t == DT_F32) {
		memcpy(&f, &bits, 4);
		return (union scalar){.f = (double)f};
	}
	if (dtype_is_float(t))
		return (union scalar){.f = dtype_decode_float(t, (uint32_t)bits)};
	if (dtype_class(t) == DTYPE_SIGNED && width < 64)
		return (union scalar){.i = (int64_t)(bits << (64 - width)) >> (64 - width)};
	return (union scalar){.i = t == DT_BOOL ? bits != 0 : (int64_t)bits};
}

union scalar tensor_element(const struct tensor *t, enum dtype type, int64_t i)
{
	switch (t->kind) {
	case TENSOR_SPLAT: return t->splat;
	case TENSOR_RANDOM: return random_element(type, t->seed, i);
	default: return decode(type, read_bits(t->data, dtype_bits(type), i));
	}
}

static void write_element(unsigned char *data, enum dtype t, int64_t i, union scalar v)
{
	int width = dtype_bits(t);
	uint64_t bits = (uint64_t)v.i;
	float f = (float)v.f;

	if (t == DT_F64) {
		memcpy(&bits, &v.f, 8);
	} else if (t == DT_F32) {
		bits = 0;
		memcpy(&bits, &f, 4);
	} else if (dtype_is_float(t)) {
		bits = dtype_encode_float(t, v.f);
	}
	if (width < 8)
		data[i * width / 8] |=
			(unsigned char)((bits & ((1u << width) - 1)) << (i * width % 8));
	else
		memcpy(data + i * (width / 8), &bits, (size_t)width / 8);
}

const void *tensor_bytes(const struct tensor *t, enum dtype type, int64_t count, struct arena *a)
{
	unsigned char *data;

	if (t->kind == TENSOR_BYTES)
		return t->data;
	data = arena_alloc(a, (size_t)dtype_bytes(type, count));
	for (int64_t i = 0; i < count; i++)
		write_element(data, type, i, tensor_element(t, type, i));
	return data;
}

/* Whole pages only: the others hold parts of the neighbours. Whether the system takes them makes no difference to what
 * is read. */
void tensor_rest(const struct tensor *t)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)t->data,
		  end = (from + (uintptr_t)t->size) / page * page;

	from = (from + page - 1) / page * page;
	if (t->mapped && t->mapped == t->data && from < end)
		madvise((void *)from, end - from, MADV_DONTNEED);
}

const struct tensor *value_const(const struct value *v)
{
	return v && v->def && v->def->op == OP_const
		       ? ((const struct attrs_const *)v->def->attrs)->data
		       : NULL;
}
