/* machine.h: what one core of this machine can do, measured: arithmetic by instruction set, and the bandwidth of each level
 * of memory. Many short measurements, so that other work on the machine disturbs only some of them. */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

#include <stdint.h>

enum unit {
	UNIT_F32_128, /* SSE mul and add (no FMA), or NEON FMA */
	UNIT_F32_256, /* AVX2 FMA */
	UNIT_F32_512, /* AVX-512 FMA */
	UNIT_VNNI,    /* vpdpbusd, 512 bits */
	UNIT_BF16,    /* vdpbf16ps, 512 bits */
	UNIT_AMX_I8,  /* tdpbusd, 16x16x64 tiles */
	UNIT_AMX_BF16,
	UNIT_COUNT
};
extern const char *const unit_names[UNIT_COUNT];

/* Operations per second in 1e9, a multiply-add counted as 2; 0 when this processor does not have it. */
double machine_compute(enum unit u);
/* The same from one measurement of about a millisecond: what this core does at the moment. */
double machine_pace(enum unit u);

enum level { LEVEL_L1, LEVEL_L2, LEVEL_L3, LEVEL_DRAM, LEVEL_COUNT };
extern const char *const level_names[LEVEL_COUNT];

struct bandwidth {
	int64_t bytes; /* what was read: half of the level, at most 8 times L2 for L3; DRAM: 4 times L3, at most 256 MB */
	double read; /* GB/s */
	double copy; /* GB/s, bytes read and bytes written added */
};
/* sizes: bytes of L1, L2 and L3 for one core. A level that is smaller than the one before gets zeros. */
void machine_bandwidths(const int64_t sizes[3], struct bandwidth out[LEVEL_COUNT]);

#endif
