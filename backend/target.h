/* target.h: what code is generated for. `native` is resolved once to an explicit level with cache sizes, so
 * that the same flags give the same bytes; named levels never look at the host. A library may hold several
 * levels, of which the runtime takes the best that the processor has. */
#ifndef BACKEND_TARGET_H
#define BACKEND_TARGET_H

#include "ir/diag.h"

#include <stdint.h>

enum isa { ISA_X86_V2, ISA_X86_V3, ISA_X86_V4, ISA_NEON };

struct target {
	enum isa isa;
	bool vnni, bf16, fp16, amx;
	bool host;          /* runs on this machine */
	int vector_bytes;   /* 16, 32, 64 */
	int64_t l1, l2, l3; /* bytes a core can use */
	bool half_wide;     /* 64-byte vectors take as long as two of 32 bytes; by `tune` */
	double bf16_rate;   /* multiply-adds of vdpbf16ps in the time of one of f32; by `tune` */
	const char *triple; /* "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu" */
	const char *tune;   /* LLVM CPU name for scheduling */
	const char *
		features; /* LLVM feature string: features are taken from here, never from a CPU name */
	const char *
		spec; /* the resolved --cpu text, e.g. "x86-64-v4+vnni,l1=32768,l2=1048576,l3=16777216" */
	uint64_t cpu_bits; /* enum hone_cpu bits that a machine must have (0 on aarch64) */
	double fork_work;  /* operations from which a kernel is given to several threads */
	int sanitize;      /* 0, or SANITIZE_ADDRESS, SANITIZE_THREAD: instrument emitted code */
};
enum { SANITIZE_NONE, SANITIZE_ADDRESS, SANITIZE_THREAD };

/* The levels of one library, the best first. */
enum { TARGETS_MAX = 8 };
struct targets {
	int count;
	struct target at[TARGETS_MAX];
	const char *spec; /* of all, in this order: a --cpu text that gives the same again */
};

/* cpu: levels separated by commas: "native", "x86-64-v2|v3|v4[+vnni][+bf16][+amx]" (also v2, v3, v4), "neon",
 * each with optional settings ",l1=,l2=,l3=,tune=" after it.
 * triple: NULL for the host's. Strings live in `a`. */
bool targets_resolve(const char *cpu, const char *triple, struct arena *a, struct targets *out,
		     struct diag *d);
/* The same for exactly one level; more are reported. */
bool target_resolve(const char *cpu, const char *triple, struct arena *a, struct target *out,
		    struct diag *d);

/* The level's name without settings, e.g. "x86-64-v4+vnni". */
const char *target_level(struct arena *a, const struct target *t);

#endif
