/* tensors.c: tensors in files, in random, and side by side. */
#include "cli/tensors.h"

#include "frontend/tensor_pb.h"
#include "ir/dtype.h"
#include "ir/graph.h"
#include "runtime/npy.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_pb(const char *path)
{
	size_t n = strlen(path);

	return n > 3 && !strcmp(path + n - 3, ".pb");
}

static bool set_tensor(hone_tensor *out, int32_t dtype, int rank, const int64_t *dims,
		       const void *data, int64_t size)
{
	hone_tensor t = {.size = size, .rank = rank, .dtype = dtype};

	for (int i = 0; i < rank; i++)
		t.dims[i] = dims[i];
	*out = t; /* only now: dims may be out's own */
	out->data = aligned_alloc(64, (size_t)(size + 64) / 64 * 64);
	if (out->data && size)
		memcpy(out->data, data, (size_t)size);
	return out->data != NULL;
}

bool tensor_read(const char *path, struct arena *a, hone_tensor *out, struct diag *d)
{
	struct onnx_tensor pb;
	struct npy npy;
	char text[512];
	bool ok;

	if (is_pb(path)) {
		if (!tensor_pb_read(path, a, &pb, d))
			return false;
		if (pb.dtype == ONNX_STRING)
			return diag_add(d, DIAG_UNSUPPORTED, (struct loc){.file = path},
					"tensors of type string");
		return set_tensor(out, pb.dtype, pb.rank, pb.dims, pb.data, (int64_t)pb.size);
	}
	if (!npy_read_file(&npy, path, text, sizeof(text)))
		return diag_add(d, DIAG_FILE, (struct loc){0}, "%s", text);
	ok = set_tensor(out, npy.dtype, npy.rank, npy.dims, npy.data, npy.size);
	npy_free(&npy);
	return ok;
}

bool tensor_write(const char *path, const char *name, const hone_tensor *t, struct diag *d)
{
	struct onnx_tensor pb = {.name = name,
				 .dtype = t->dtype,
				 .rank = t->rank,
				 .dims = t->dims,
				 .count = tensor_count(t),
				 .data = t->data,
				 .size = (size_t)dtype_bytes(t->dtype, tensor_count(t))};
	char text[512];

	if (is_pb(path))
		return tensor_pb_write(path, &pb, d);
	if (!npy_write_file(path, t->dtype, t->rank, t->dims, t->data, text, sizeof(text)))
		return diag_add(d, DIAG_FILE, (struct loc){0}, "%s", text);
	return true;
}

static int input_number(const hone_model *m, const char *name, size_t length)
{
	for (int i = 0; i < m->input_count; i++)
		if (strlen(m->inputs[i].name) == length && !memcmp(m->inputs[i].name, name, length))
			return i;
	return -1;
}

bool inputs_read(const hone_model *m, const struct list *words, struct arena *a,
		 struct tensors *out, struct diag *d)
{
	out->count = m->input_count;
	out->at = calloc((size_t)m->input_count + 1, sizeof(*out->at));
	for (int i = 0; i < words->count; i++) {
		const char *word = words->at[i], *equals = strchr(word, '=');
		int number = equals ? input_number(m, word, (size_t)(equals - word)) : i;

		if (number < 0 || number >= m->input_count)
			return diag_add(d, DIAG_USAGE, (struct loc){0},
					"%s: the model has no such input (it has %d)", word,
					m->input_count);
		free(out->at[number].data);
		if (!tensor_read(equals ? equals + 1 : word, a, &out->at[number], d))
			return false;
	}
	for (int i = 0; i < m->input_count; i++)
		if (!out->at[i].data)
			return diag_add(d, DIAG_USAGE, (struct loc){0},
					"input \"%s\" is not given (--input FILE, or --random)",
					m->inputs[i].name);
	return true;
}

/* Bytes of one random element of a type, by the tensor module's generator. */
static bool fill_random(hone_tensor *t, int64_t seed)
{
	struct arena scratch = {0};
	struct tensor source = {.kind = TENSOR_RANDOM, .seed = (uint64_t)seed};
	const void *data = tensor_bytes(&source, t->dtype, tensor_count(t), &scratch);
	bool ok = set_tensor(t, t->dtype, t->rank, t->dims, data,
			     dtype_bytes(t->dtype, tensor_count(t)));

	for (int64_t i = 0; ok && i < tensor_count(t) && dtype_class(t->dtype) == DTYPE_SIGNED;
	     i++) {
		if (t->dtype == DT_I64)
			((int64_t *)t->data)[i] &= 7; /* often indices: not negative */
		else if (t->dtype == DT_I32)
			((int32_t *)t->data)[i] &= 7;
	}
	arena_free(&scratch);
	return ok;
}

bool tensor_random(hone_tensor *t, int64_t seed, struct arena *a)
{
	void *data;

	if (!fill_random(t, seed))
		return false;
	data = t->data;
	t->data = arena_copy(a, data, (size_t)t->size + !t->size);
	free(data);
	return true;
}

/* The size of a dim: by name from NAME=N words, else its least, but at least 1. */
static int64_t size_of(const hone_dim *size, const struct list *dims)
{
	for (int i = 0; size->symbol && i < dims->count; i++) {
		const char *equals = strchr(dims->at[i], '=');

		if (equals && strlen(size->symbol) == (size_t)(equals - dims->at[i]) &&
		    !memcmp(size->symbol, dims->at[i], strlen(size->symbol)))
			return strtoll(equals + 1, NULL, 10);
	}
	return size->min > 0 || size->max == 0 ? size->min : 1;
}

bool inputs_random(const hone_model *m, int64_t seed, const struct list *dims, struct tensors *out,
		   struct diag *d)
{
	out->count = m->input_count;
	out->at = calloc((size_t)m->input_count + 1, sizeof(*out->at));
	for (int i = 0; i < m->input_count; i++) {
		const hone_io *io = &m->inputs[i];

		out->at[i].dtype = io->dtype;
		out->at[i].rank = io->rank;
		for (int k = 0; k < io->rank; k++)
			out->at[i].dims[k] = size_of(&io->dims[k], dims);
		if (!fill_random(&out->at[i], seed + i))
			return diag_add(d, DIAG_INTERNAL, (struct loc){0},
					"no memory for input \"%s\"", io->name);
	}
	return true;
}

void *output_allocate(void *self, int32_t output, int64_t size)
{
	(void)self;
	(void)output;
	return aligned_alloc(64, (size_t)(size + 64) / 64 * 64);
}

void tensors_free(struct tensors *t)
{
	for (int i = 0; i < t->count && t->at; i++)
		free(t->at[i].data);
	free(t->at);
	*t = (struct tensors){0};
}

int64_t tensor_count(const hone_tensor *t)
{
	int64_t n = 1;

	for (int i = 0; i < t->rank; i++)
		n *= t->dims[i];
	return n;
}

const char *tensor_type_text(struct arena *a, const hone_tensor *t)
{
	const char *out = arena_printf(a, "%s[", dtype_name(t->dtype));

	for (int i = 0; i < t->rank; i++)
		out = arena_printf(a, "%s%s%" PRId64, out, i ? "," : "", t->dims[i]);
	return arena_printf(a, "%s]", out);
}

double tensor_number(const hone_tensor *t, int64_t i)
{
	struct tensor source = {.kind = TENSOR_BYTES, .data = t->data};
	union scalar v = tensor_element(&source, t->dtype, i);

	if (dtype_is_float(t->dtype))
		return v.f;
	return t->dtype == DT_U64 ? (double)(uint64_t)v.i : (double)v.i;
}

static bool element_matches(double x, double y, bool exact, double rtol, double atol)
{
	if (x == y || (isnan(x) && isnan(y)))
		return true;
	return !exact && isfinite(x) && isfinite(y) && fabs(x - y) <= atol + rtol * fabs(y);
}

bool tensors_match(const char *name, const hone_tensor *actual, const hone_tensor *expected,
		   double rtol, double atol, struct diag *d)
{
	struct arena scratch = {0};
	const char *found = tensor_type_text(&scratch, actual),
		   *wanted = tensor_type_text(&scratch, expected);
	bool exact = !dtype_is_float(expected->dtype), ok = !strcmp(found, wanted);
	int64_t differ = 0, first = 0, count = tensor_count(expected);

	if (!ok)
		diag_add(d, DIAG_DIFFER, (struct loc){0}, "output \"%s\": expected %s, found %s",
			 name, wanted, found);
	for (int64_t i = 0; ok && i < count; i++) {
		if (element_matches(tensor_number(actual, i), tensor_number(expected, i), exact,
				    rtol, atol))
			continue;
		first = differ++ ? first : i;
	}
	if (differ)
		ok = diag_add(d, DIAG_DIFFER, (struct loc){0},
			      "output \"%s\" %s: %" PRId64 " of %" PRId64
			      " elements differ; first at %" PRId64 ": expected %.9g, found %.9g",
			      name, wanted, differ, count, first, tensor_number(expected, first),
			      tensor_number(actual, first));
	arena_free(&scratch);
	return ok;
}
