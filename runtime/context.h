/* context.h: one user's instance of a compiled model, as the runtime's files share it.
 *
 * Memory of a context, from low to high addresses. Each part starts at a multiple of 64.
 *
 *   struct context, words, values, params ... placement scratch, pool   the header: one allocation
 *   arena: the HONE_SLOT_ARENA slots at the offsets of place.c          malloc: a second one, kept
 *   chunks of HONE_SLOT_DYNAMIC slots                                   malloc: one per slot, kept
 *
 * With caller memory (options.memory) the three follow each other in it, nothing is malloc'ed. */
#ifndef RUNTIME_CONTEXT_H
#define RUNTIME_CONTEXT_H

#include "runtime/place.h"
#include "runtime/pool.h"
#include "runtime/program.h"
#include "runtime/system.h"

#include <stdbool.h>

/* What a dynamic slot owns: `size` bytes and 64 of slack, or nothing (data NULL). */
struct chunk {
	unsigned char *data;
	int64_t size;
};

struct context {
	hone_context head; /* first: what the user's pointer points at */
	const struct hone_program *program;
	struct hone_frame frame;
	hone_options options;
	int64_t header_bytes;

	/* Arrays of the header. */
	double *params;
	int64_t *seen;         /* [input][HONE_MAX_RANK]: the dims that `bound` speaks of */
	int64_t *input_bytes;  /* for those dims */
	int64_t *output_bytes; /* for those dims, the largest; -1: no bound */
	int32_t *io_slots;     /* the INPUT and OUTPUT slots */
	int32_t io_slot_count;
	bool bound;  /* words hold setup's results for `seen` */
	bool placed; /* and values[] the arena slots' places for them */
	struct placement placement;
	struct chunk *chunks; /* [slot] */

	unsigned char *arena;
	int64_t arena_size, arena_room; /* bytes that these dims need; bytes that are there */
	hone_tensor *outputs;           /* the caller's, during a run */
	struct pool *pool;              /* NULL: one thread, or the caller's parallel_for */
	char text[512];
};

/* Largest dim taken: products of a dim with an element size never overflow. */
#define MAX_DIM ((int64_t)1 << 40)

static inline int64_t round_up_64(int64_t bytes) { return (bytes + 63) & ~(int64_t)63; }

static inline struct context *context_of(struct hone_frame *f)
{
	return (struct context *)((char *)f - offsetof(struct context, frame));
}

static inline bool rt_same_text(const char *x, const char *y)
{
	while (*x && *x == *y)
		x++, y++;
	return *x == *y;
}

static inline int64_t dim_value(const struct hone_dim_ref *r, const int64_t *words)
{
	return r->word >= 0 ? words[r->word] : r->constant;
}

/* Sets the context's error text; returns `status`. */
hone_status rt_error(struct context *c, hone_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- arguments.c ---- */

/* Checks rank and dims of the inputs; when they differ from `seen` binds the input symbols and
 * calls setup for stage 0. Reads nothing else of the tensors. */
hone_status rt_bind(struct context *c, const hone_tensor *inputs);

/* Checks pointers, dtypes, sizes and reserved fields too. */
hone_status rt_take_inputs(struct context *c, const hone_tensor *inputs);

/* Fills dtype, rank and dims of the outputs whose dims are known, and finds a buffer for those that
 * kernels write directly. */
hone_status rt_take_outputs(struct context *c, hone_tensor *outputs);

/* Fills dims of one output from the words. */
void rt_fill_dims(const struct context *c, int32_t output, hone_tensor *t,
		  const struct hone_dim_ref *dims);

/* ---- dynamic.c ---- */

/* Bytes that the dynamic slots need at most, as far as they have bounds. */
int64_t rt_dynamic_bytes(const struct context *c);

/* Forgets (caller memory) or frees all chunks. */
void rt_dynamic_drop(struct context *c);

/* ---- cpu.c ---- */

/* Writes the names of the features in `missing` into text, separated by ", ". */
void rt_cpu_names(uint64_t missing, char *text, size_t size);

/* Asks the operating system for the AMX registers; false if it refuses. */
bool rt_cpu_allow_amx(void);

#endif
