/* cpu.c: which instruction sets the processor has and the operating system saves.
 * Source: Intel SDM vol. 2 CPUID, vol. 1 chapters 13 and 18; x86-64 psABI 3.1.1 for the levels;
 * Linux Documentation/arch/x86/xstate.rst for AMX. Baseline code only. */
#define _GNU_SOURCE
#include "runtime/context.h"

#if defined(__linux__) && !defined(HONE_FREESTANDING)
#define HAS_SYSTEM /* that can be asked for AMX registers */
#endif

#ifdef __x86_64__
#include <cpuid.h>
#ifdef HAS_SYSTEM
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

struct leaf {
	uint32_t a, b, c, d;
};

static struct leaf read_leaf(uint32_t number, uint32_t sub)
{
	struct leaf l = {0};

	__get_cpuid_count(number, sub, &l.a, &l.b, &l.c,
			  &l.d); /* leaves zeros above the last leaf */
	return l;
}

static uint32_t enabled_states(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	(void)high;
	return low;
}

static bool has(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

static bool system_knows_amx(void)
{
#ifdef HAS_SYSTEM
	uint64_t known = 0;

	return !syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &known) &&
	       (known >> XFEATURE_XTILEDATA & 1);
#else
	return false;
#endif
}

#define BIT(n) (1u << (n))

uint64_t hone_cpu_detect(void)
{
	struct leaf one = read_leaf(1, 0), seven = read_leaf(7, 0), sub = read_leaf(7, 1);
	struct leaf ext = read_leaf(0x80000001u, 0);
	uint32_t states = has(one.c, BIT(27)) ? enabled_states() : 0; /* OSXSAVE */
	uint64_t found = 0;

	/* SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT */
	if (has(one.c, BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23)))
		found |= HONE_CPU_V2;
	/* FMA MOVBE AVX F16C; BMI1 AVX2 BMI2; LZCNT; XMM and YMM state */
	if (found & HONE_CPU_V2 && has(one.c, BIT(12) | BIT(22) | BIT(28) | BIT(29)) &&
	    has(seven.b, BIT(3) | BIT(5) | BIT(8)) && has(ext.c, BIT(5)) && has(states, 0x6))
		found |= HONE_CPU_V3;
	/* AVX512 F DQ CD BW VL; opmask and ZMM state */
	if (found & HONE_CPU_V3 && has(seven.b, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31)) &&
	    has(states, 0xe6))
		found |= HONE_CPU_V4;
	if (found & HONE_CPU_V4) {
		found |= has(seven.c, BIT(11)) ? HONE_CPU_VNNI : 0;
		found |= has(sub.a, BIT(5)) ? HONE_CPU_BF16 : 0;
		found |= has(seven.d, BIT(23)) ? HONE_CPU_FP16 : 0;
	}
	/* AMX BF16 TILE INT8; tile configuration and data state */
	if (found & HONE_CPU_V4 && has(seven.d, BIT(22) | BIT(24) | BIT(25)) &&
	    has(states, BIT(17) | BIT(18)) && system_knows_amx())
		found |= HONE_CPU_AMX;
	return found;
}

bool rt_cpu_allow_amx(void)
{
#ifdef HAS_SYSTEM
	return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
#else
	return false;
#endif
}

#else /* other processors have one level only */

uint64_t hone_cpu_detect(void) { return 0; }

bool rt_cpu_allow_amx(void) { return false; }
#endif

static const char names[][24] = {
	"x86-64-v2 (SSE4.2)",
	"x86-64-v3 (AVX2, FMA)",
	"x86-64-v4 (AVX-512)",
	"AVX512_VNNI",
	"AVX512_BF16",
	"AVX512_FP16",
	"AMX",
};

static size_t append(char *text, size_t size, size_t at, const char *more)
{
	for (; *more && at + 1 < size; more++)
		text[at++] = *more;
	text[at] = 0;
	return at;
}

void rt_cpu_names(uint64_t missing, char *text, size_t size)
{
	size_t at = 0;

	text[0] = 0;
	for (size_t i = 0; i < 64; i++) {
		if (!(missing >> i & 1))
			continue;
		at = append(text, size, at, at ? ", " : "");
		at = append(text, size, at, i < sizeof(names) / sizeof(*names) ? names[i] : "?");
	}
}
