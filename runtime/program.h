/* program.h: what emitted code and the runtime share. Private to one compiled library: both sides are
 * built by the same compiler version, so it may change freely between versions.
 *
 * The emitted code is three kinds of function:
 *   setup   turns dims into words and checks them        (stage 0: input dims; stage k: after bind k)
 *   run     the program: calls kernels, control flow, binds symbols, hands over outputs
 *   kernel  computes tasks begin..end-1 of one kernel
 * Words are int64: first the symbols, then every derived extent, stride and size. A slot is a place
 * for one value; values[slot] points at its data while it lives. */
#ifndef RUNTIME_PROGRAM_H
#define RUNTIME_PROGRAM_H

#include "runtime/hone.h"

/* Why a run stopped. Kernels set code, found and bound (atomically: the first writer's or any other's
 * values); run() adds the node. */
enum hone_fail_code {
	HONE_FAIL_NONE,
	HONE_FAIL_INDEX,  /* found: the index; bound: the extent it must be below */
	HONE_FAIL_CHECK,  /* node: index in program.checks */
	HONE_FAIL_SYMBOL, /* found: the value; bound: the largest allowed; node: the binding node */
	HONE_FAIL_MEMORY, /* found: bytes that could not be had */
	HONE_FAIL_OUTPUT, /* node: the output; found: bytes it has; bound: bytes it needs */
	HONE_FAIL_CALL    /* a call routine refused its arguments; node: the node */
};

struct hone_fail {
	int32_t code, node;
	int64_t found, bound;
};

/* The part of a context that emitted code reads and writes, by field offset. */
struct hone_frame {
	int64_t *words;
	void **values;                /* [slot_count] */
	const unsigned char *weights; /* constants, each at its offset, aligned to 64 */
	const double *params;
	struct hone_fail fail;
};

/* worker: 0..threads-1, the one that computes these tasks (picks its part of a per-worker slot). */
typedef void hone_kernel_fn(struct hone_frame *, void *const *buffers, const int64_t *words,
			    int64_t begin, int64_t end, int64_t worker);
/* 0, or 1 + the index of the check that failed. Fills the words of one stage. */
typedef int32_t hone_setup_fn(struct hone_frame *, int32_t stage);
/* 0, or a hone_fail_code with frame->fail filled. */
typedef int32_t hone_run_fn(struct hone_frame *);

enum hone_slot_kind {
	HONE_SLOT_ARENA,   /* placed by setup at its (largest) size: bytes in words[bytes_word] */
	HONE_SLOT_DYNAMIC, /* grown on demand by hone_rt_reserve; bytes_word: its bound, or -1 */
	HONE_SLOT_INPUT,   /* the caller's buffer of input `io` */
	HONE_SLOT_OUTPUT,  /* the caller's buffer of output `io`, written in place */
	HONE_SLOT_UNSET    /* run() sets the pointer itself (constants, carried values) */
};

struct hone_slot {
	int32_t kind, io, bytes_word;
	int32_t first, last; /* steps of the program between which it lives, both included */
	int32_t per_worker; /* 1: one copy for each worker (kernel scratch), bytes rounded up to 64 apart */
};

/* A symbol's value is words[its index]. */
struct hone_symbol {
	const char *name;
	int64_t min, max;
};

/* A dim that is known before the run: word >= 0: words[word]; else the constant. */
struct hone_dim_ref {
	int64_t constant;
	int32_t word, pad;
};

struct hone_check {
	const char *text; /* e.g. `node "Add_3": dims of %a (N) and %b (M) must be equal` */
	int32_t left_word, right_word;
};

struct hone_output_ref {
	int32_t dims_stage; /* 0: dims known after stage 0; else they depend on data */
	int32_t bytes_word; /* largest size in bytes, or -1 when it has no bound */
	int32_t direct; /* 1: a kernel writes into the caller's buffer; 0: hone_rt_output copies */
	int32_t pad;
	const struct hone_dim_ref *dims;     /* actual dims, valid after the run */
	const struct hone_dim_ref *max_dims; /* upper bounds after stage 0; constant -1: no bound */
};

struct hone_program {
	uint64_t cpu; /* required features: bits of enum hone_cpu */
	int32_t word_count, symbol_count, slot_count, step_count, check_count, node_count;
	int32_t input_symbol_count,
		pad; /* the first symbols are bound by inputs, the rest by nodes */
	const struct hone_symbol *symbols;
	const struct hone_slot *slots;
	const struct hone_check *checks;
	const char *const *nodes; /* names for messages: `node "x" (Gather)` */
	const struct hone_dim_ref *const
		*input_dims; /* [input][axis]: constant, or the symbol it binds */
	const struct hone_output_ref *outputs;
	const unsigned char *weights;
	hone_setup_fn *setup;
	hone_run_fn *run;
	const struct hone_program
		*next; /* the same model for processors that lack `cpu`; NULL: none */
};

/* Processor features that a program can require; checked by baseline code before any other. */
enum hone_cpu {
	HONE_CPU_V2 = 1 << 0,   /* SSE4.2, POPCNT, SSSE3, CX16 */
	HONE_CPU_V3 = 1 << 1,   /* AVX2, FMA, F16C, BMI1, BMI2, LZCNT, MOVBE */
	HONE_CPU_V4 = 1 << 2,   /* AVX512 F BW CD DQ VL */
	HONE_CPU_VNNI = 1 << 3, /* AVX512_VNNI */
	HONE_CPU_BF16 = 1 << 4, /* AVX512_BF16 */
	HONE_CPU_FP16 = 1 << 5, /* AVX512_FP16 */
	HONE_CPU_AMX = 1 << 6   /* AMX TILE, INT8, BF16 */
};

/* The features of this processor and operating system. runtime/cpu.c */
uint64_t hone_cpu_detect(void);

/* ---- called from emitted code (hidden symbols in the library; absolute ones under LLJIT) ---- */

/* Makes values[slot] point at `bytes` bytes (64-aligned, with 64 bytes of slack). Keeps and reuses the chunk;
 * when it grows it keeps what it holds, at a new address.
 * Returns 0 or HONE_FAIL_MEMORY (then fail is filled). */
int32_t hone_rt_reserve(struct hone_frame *, int32_t slot, int64_t bytes);

/* At a return: hands the value at `data` to output `io`, whose dims are now in the words: finds or
 * allocates the caller's buffer, checks its size, copies `bytes`. 0 or a fail code. */
int32_t hone_rt_output(struct hone_frame *, int32_t io, const void *data, int64_t bytes);

/* Runs kernel tasks 0..tasks-1, on several threads when the context has them. */
void hone_rt_fork(struct hone_frame *, hone_kernel_fn *, void *const *buffers, int32_t buffer_count,
		  const int64_t *words, int64_t tasks);

/* ---- `call` routines: what is not a loop nest ---- */

struct hone_array {
	void *data; /* contiguous */
	int32_t dtype, rank;
	int64_t dims[HONE_MAX_RANK];
};

/* One call of a routine. `bound` receives the values of the symbols the node binds. */
struct hone_call {
	const struct hone_array *in;
	struct hone_array *out;
	const int64_t *attrs;
	void *scratch;
	int64_t *bound;
	int32_t in_count, out_count;
};

/* 0 or a hone_fail_code. */
typedef int32_t hone_call_fn(const struct hone_call *);

struct hone_call_row {
	const char *name;
	hone_call_fn *fn;
	/* Bytes of scratch for these dims (data pointers are not read). */
	int64_t (*scratch)(const struct hone_call *);
};

/* The table of runtime/calls.c, ended by a row with name NULL. Each routine is also a symbol
 * hone_call_NAME, which emitted code calls. */
extern const struct hone_call_row hone_calls[];
const struct hone_call_row *hone_call_find(const char *name);

#endif
