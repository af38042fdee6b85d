/* hone.h: the C interface of a compiled model. Stable, versioned, C99, usable from any language.
 *
 * A compiled library exports hone_model_get() and hone_model_NAME(); both return one constant table
 * that holds the model's description and the functions behind the calls below. Any number of
 * contexts may be made from it and used at the same time from different threads; one context is for
 * one thread at a time. Nothing here aborts, exits or prints.
 *
 *	const hone_model *m = hone_model_get();
 *	hone_context *c;
 *	char text[256];
 *	if (hone_context_create(m, NULL, &c, text, sizeof(text)) != HONE_OK) ...
 *	float x[64], y[10];
 *	hone_tensor in = {.data = x, .size = sizeof(x), .dims = {1, 1, 8, 8}, .rank = 4, .dtype = HONE_F32};
 *	hone_tensor out = {.data = y, .size = sizeof(y)};
 *	if (hone_run(c, &in, &out) != HONE_OK) puts(hone_error(c));
 *	hone_context_destroy(c);
 */
#ifndef HONE_H
#define HONE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HONE_ABI_VERSION 1
#define HONE_MAX_RANK 8

typedef enum {
	HONE_OK,
	HONE_ERROR_ARGUMENT, /* a NULL, a wrong dtype or rank, a buffer that is too small */
	HONE_ERROR_SHAPE,    /* dims that the model does not take */
	HONE_ERROR_MEMORY,   /* no memory, or the caller's memory is too small */
	HONE_ERROR_CPU,    /* the processor lacks an instruction set the library was compiled for */
	HONE_ERROR_DATA,   /* an input's values: an index out of range, dims computed from data */
	HONE_ERROR_VERSION /* header and library are of different ABI versions */
} hone_status;

/* ONNX TensorProto.DataType codes. */
enum {
	HONE_F32 = 1,
	HONE_U8 = 2,
	HONE_I8 = 3,
	HONE_U16 = 4,
	HONE_I16 = 5,
	HONE_I32 = 6,
	HONE_I64 = 7,
	HONE_STRING = 8,
	HONE_BOOL = 9,
	HONE_F16 = 10,
	HONE_F64 = 11,
	HONE_U32 = 12,
	HONE_U64 = 13,
	HONE_BF16 = 16,
	HONE_F8E4M3FN = 17,
	HONE_F8E4M3FNUZ = 18,
	HONE_F8E5M2 = 19,
	HONE_F8E5M2FNUZ = 20,
	HONE_U4 = 21,
	HONE_I4 = 22,
	HONE_U2 = 25,
	HONE_I2 = 26
};

/* One dim of an input or output: min == max means constant; symbol is NULL when it has no name.
 * max is INT64_MAX when there is no bound. */
typedef struct {
	int64_t min, max;
	const char *symbol;
} hone_dim;

typedef struct {
	const char *name;
	int32_t dtype, rank;
	const hone_dim *dims;
	int32_t alias; /* an output that may continue this input's buffer (KV cache); -1: none */
	void *reserved;
} hone_io;

typedef struct {
	const char *name;
	double initial, min, max;
} hone_param;

/* A contiguous tensor in the caller's memory; `size` is the buffer's size in bytes. */
typedef struct {
	void *data;
	int64_t size, dims[HONE_MAX_RANK];
	int32_t rank, dtype;
	void *reserved[2]; /* zero */
} hone_tensor;

/* Runs fn(arg, task, worker) for every task in 0..n-1, worker in 0..threads-1, and returns after the last. */
typedef void hone_parallel_for(void *self, int64_t n,
			       void (*fn)(void *arg, int64_t task, int32_t worker), void *arg);

/* Returns `size` bytes aligned to 64 for output number `output`, or NULL. Called from hone_run for
 * outputs whose `data` is NULL; the memory stays the caller's. */
typedef void *hone_allocate(void *self, int32_t output, int64_t size);

typedef struct {
	uint32_t size;       /* sizeof(hone_options), for later versions */
	uint32_t threads;    /* 0 or 1: the calling thread alone */
	void *memory;        /* the caller's arena, aligned to 64, or NULL: malloc */
	int64_t memory_size; /* its bytes: hone_arena_bytes() says how many are needed */
	hone_parallel_for *parallel_for; /* the caller's threads, or NULL for a pool of our own */
	void *parallel_self;
	hone_allocate
		*allocate; /* for outputs with data == NULL, or NULL: such a call is an error */
	void *allocate_self;
} hone_options;

typedef struct hone_model hone_model;
typedef struct hone_context hone_context;

/* The table. Functions are called through the inline functions below. */
struct hone_model {
	uint32_t size, abi_version;
	const char *name;
	const char *signature; /* JSON: inputs, outputs, params */
	const char *compiler;  /* "hone 0.1.0" */
	const char *passes;    /* the pipeline that made it */
	const char *cpu;       /* the resolved --cpu */
	const char *hash;      /* of model and flags, hexadecimal */
	int32_t input_count, output_count, param_count, reserved_count;
	const hone_io *inputs, *outputs;
	const hone_param *params;
	int64_t weight_bytes;
	int64_t (*arena_bytes)(const hone_model *, const hone_tensor *inputs, int threads);
	hone_status (*context_create)(const hone_model *, const hone_options *, hone_context **,
				      char *text, size_t text_size);
	hone_status (*output_dims)(hone_context *, const hone_tensor *inputs, hone_tensor *outputs);
	hone_status (*run)(hone_context *, const hone_tensor *inputs, hone_tensor *outputs);
	hone_status (*set_param)(hone_context *, const char *name, double value);
	const char *(*error)(const hone_context *);
	void (*context_destroy)(hone_context *);
	const void *program; /* private */
	void *reserved[4];
};

/* A context begins with its model; the rest is private. */
struct hone_context {
	const hone_model *model;
};

/* The one entry point of a compiled library (also as hone_model_NAME). Never fails. */
const hone_model *hone_model_get(void);

/* Bytes of caller memory that a context needs for these input dims (only rank and dims are read) and
 * this many threads; -1 if the model does not take them. */
static inline int64_t hone_arena_bytes(const hone_model *m, const hone_tensor *inputs, int threads)
{
	return m->arena_bytes(m, inputs, threads);
}

/* Makes a context. options may be NULL. On failure *out is NULL and text says why (text may be NULL).
 * On a processor without the compiled level: HONE_ERROR_CPU. */
static inline hone_status hone_context_create(const hone_model *m, const hone_options *options,
					      hone_context **out, char *text, size_t text_size)
{
	*out = NULL;
	if (m->abi_version != HONE_ABI_VERSION) {
		static const char why[] = "header and library have different ABI versions";
		for (size_t i = 0; text && i < text_size && i < sizeof(why); i++)
			text[i] = i + 1 == text_size ? 0 : why[i];
		return HONE_ERROR_VERSION;
	}
	return m->context_create(m, options, out, text, text_size);
}

/* Fills dtype, rank, dims and size (bytes needed) of each output for these input dims, without
 * running. An output whose dims depend on data gets its largest size, or -1 dims and size -1 when it
 * has no bound. */
static inline hone_status hone_output_dims(hone_context *c, const hone_tensor *inputs,
					   hone_tensor *outputs)
{
	return c->model->output_dims(c, inputs, outputs);
}

/* Runs the model. inputs and outputs are in model order. Each output's dims, rank and dtype are filled
 * in; its data must hold `size` >= the needed bytes. Allocates nothing once these dims have been seen. */
static inline hone_status hone_run(hone_context *c, const hone_tensor *inputs, hone_tensor *outputs)
{
	return c->model->run(c, inputs, outputs);
}

/* Sets a parameter (exit threshold, keep ratio, width); HONE_ERROR_ARGUMENT for an unknown name. */
static inline hone_status hone_set_param(hone_context *c, const char *name, double value)
{
	return c->model->set_param(c, name, value);
}

/* The text of the last failed call on this context, with the node's name; "" if there was none. */
static inline const char *hone_error(const hone_context *c) { return c->model->error(c); }

/* Frees the context; NULL is fine. Caller memory is not touched afterwards. */
static inline void hone_context_destroy(hone_context *c)
{
	if (c)
		c->model->context_destroy(c);
}

#ifdef __cplusplus
}
#endif
#endif
