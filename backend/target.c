/* target.c: --cpu texts to targets. Levels follow the x86-64 psABI 3.1.1; features always come from the
 * feature string, because a virtual machine may report any CPU name. */
#define _GNU_SOURCE
#include "backend/target.h"
#include "runtime/program.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEATURES_V2 "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+sahf"
#define FEATURES_V3 FEATURES_V2 ",+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"
#define FEATURES_V4 FEATURES_V3 ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"

/* The levels. Cache sizes are those of common machines of that age; never the host's. */
static const struct level {
	const char *name, *alias, *features, *tune;
	enum isa isa;
	int vector_bytes;
	uint64_t bits;
	int64_t l1, l2, l3;
} levels[] = {
	{"x86-64-v2", "v2", FEATURES_V2, "x86-64-v2", ISA_X86_V2, 16, HONE_CPU_V2, 32768, 262144,
	 8 << 20},
	{"x86-64-v3", "v3", FEATURES_V3, "x86-64-v3", ISA_X86_V3, 32, HONE_CPU_V2 | HONE_CPU_V3,
	 32768, 262144, 8 << 20},
	{"x86-64-v4", "v4", FEATURES_V4, "x86-64-v4", ISA_X86_V4, 64,
	 HONE_CPU_V2 | HONE_CPU_V3 | HONE_CPU_V4, 32768, 1048576, 16 << 20},
	{"neon", "neon", "+neon,+fp-armv8", "generic", ISA_NEON, 16, 0, 32768, 524288, 4 << 20},
};
enum { LEVELS = sizeof(levels) / sizeof(*levels) };

/* What may follow a level with a plus sign. */
static const struct extra {
	const char *name, *features;
	uint64_t bit;
	size_t field;
} extras[] = {
	{"vnni", ",+avx512vnni", HONE_CPU_VNNI, offsetof(struct target, vnni)},
	{"bf16", ",+avx512bf16", HONE_CPU_BF16, offsetof(struct target, bf16)},
	{"fp16", ",+avx512fp16", HONE_CPU_FP16, offsetof(struct target, fp16)},
	{"amx", ",+amx-tile,+amx-int8,+amx-bf16", HONE_CPU_AMX, offsetof(struct target, amx)},
};
enum { EXTRAS = sizeof(extras) / sizeof(*extras) };

static bool *extra_field(struct target *t, const struct extra *x)
{
	return (bool *)((char *)t + x->field);
}

static void take_extra(struct arena *a, struct target *t, const struct extra *x)
{
	if (*extra_field(t, x))
		return;
	*extra_field(t, x) = true;
	t->features = arena_printf(a, "%s%s", t->features, x->features);
	t->cpu_bits |= x->bit;
	if (t->amx && !t->vnni) /* every processor with AMX has it */
		take_extra(a, t, &extras[0]);
}

static void take_level(struct target *t, const struct level *l)
{
	t->isa = l->isa;
	t->vector_bytes = l->vector_bytes;
	t->features = l->features;
	t->tune = l->tune;
	t->cpu_bits = l->bits;
	t->l1 = l->l1;
	t->l2 = l->l2;
	t->l3 = l->l3;
}

static int64_t host_cache(int name, int64_t otherwise)
{
	long size = sysconf(name);

	return size > 0 ? size : otherwise;
}

/* The scheduling model of the host: its name is only trusted where it fits the features found. */
static const char *host_tune(struct arena *a, const struct target *t)
{
	char *name = LLVMGetHostCPUName();
	const char *tune = t->tune;

	if (t->amx)
		tune = "sapphirerapids";
	else if (t->isa == ISA_X86_V4 && (!strncmp(name, "znver", 5) || strstr(name, "lake")))
		tune = arena_text(a, name);
	LLVMDisposeMessage(name);
	return tune;
}

static bool resolve_native(struct arena *a, struct target *t, struct diag *d)
{
#ifdef __aarch64__
	take_level(t, &levels[3]);
#else
	uint64_t have = hone_cpu_detect();
	int level = -1;

	for (int i = 0; i < 3; i++) {
		if ((have & levels[i].bits) == levels[i].bits)
			level = i;
	}
	if (level < 0)
		return diag_add(d, DIAG_UNSUPPORTED, (struct loc){0},
				"this processor lacks x86-64-v2 (SSE4.2), the lowest level hone "
				"compiles for");
	take_level(t, &levels[level]);
	for (int i = 0; i < EXTRAS; i++) {
		if (have & extras[i].bit)
			take_extra(a, t, &extras[i]);
	}
#endif
	t->tune = host_tune(a, t);
	t->l1 = host_cache(_SC_LEVEL1_DCACHE_SIZE, t->l1);
	t->l2 = host_cache(_SC_LEVEL2_CACHE_SIZE, t->l2);
	t->l3 = host_cache(_SC_LEVEL3_CACHE_SIZE, t->l3);
	return true;
}

static bool is_word(const char *text, size_t length, const char *word)
{
	return strlen(word) == length && !memcmp(text, word, length);
}

/* level := NAME ("+" EXTRA)* */
static bool parse_level(const char *text, size_t length, struct arena *a, struct target *t,
			struct diag *d)
{
	size_t n = strcspn(text, "+,");

	if (is_word(text, n, "native")) {
		if (!resolve_native(a, t, d))
			return false;
	} else {
		int i = 0;

		while (i < LEVELS && !is_word(text, n, levels[i].name) &&
		       !is_word(text, n, levels[i].alias))
			i++;
		if (i == LEVELS)
			return diag_add(
				d, DIAG_USAGE, (struct loc){0},
				"--cpu: unknown level \"%.*s\"; use native, x86-64-v2, x86-64-v3, "
				"x86-64-v4 (+vnni +bf16 +fp16 +amx) or neon",
				(int)n, text);
		take_level(t, &levels[i]);
	}
	while (n < length) {
		const char *word = text + n + 1;
		size_t m = strcspn(word, "+,");
		int i = 0;

		while (i < EXTRAS && !is_word(word, m, extras[i].name))
			i++;
		if (i == EXTRAS || t->isa != ISA_X86_V4)
			return diag_add(d, DIAG_USAGE, (struct loc){0},
					"--cpu: \"+%.*s\" is not an extension of this level",
					(int)m, word);
		take_extra(a, t, &extras[i]);
		n += 1 + m;
	}
	return true;
}

/* setting := ("l1" | "l2" | "l3") "=" BYTES | "tune" "=" NAME */
static bool parse_setting(const char *text, size_t length, struct arena *a, struct target *t,
			  struct diag *d)
{
	char *copy = arena_printf(a, "%.*s", (int)length, text), *value = strchr(copy, '='), *end;
	int64_t *size = NULL;

	if (value) {
		*value++ = 0;
		if (!strcmp(copy, "tune") && *value &&
		    strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(value)) {
			t->tune = value;
			return true;
		}
		size = !strcmp(copy, "l1")   ? &t->l1
		       : !strcmp(copy, "l2") ? &t->l2
		       : !strcmp(copy, "l3") ? &t->l3
					     : NULL;
	}
	if (size) {
		*size = strtoll(value, &end, 10);
		if (!*end && *size > 0 && *size <= INT64_C(1) << 40)
			return true;
	}
	return diag_add(d, DIAG_USAGE, (struct loc){0},
			"--cpu: bad setting \"%.*s\"; use l1=, l2= or l3= with bytes, or tune=NAME",
			(int)length, text);
}

const char *target_level(struct arena *a, const struct target *t)
{
	const char *text = "";

	for (int i = 0; i < LEVELS; i++) {
		if (levels[i].isa == t->isa)
			text = levels[i].name;
	}
	for (int i = 0; i < EXTRAS; i++) {
		if (*extra_field((struct target *)t, &extras[i]))
			text = arena_printf(a, "%s+%s", text, extras[i].name);
	}
	return text;
}

static const char *spec_text(struct arena *a, const struct target *t)
{
	return arena_printf(a, "%s,l1=%lld,l2=%lld,l3=%lld,tune=%s", target_level(a, t),
			    (long long)t->l1, (long long)t->l2, (long long)t->l3, t->tune);
}

static bool runs_here(const struct target *t)
{
#if defined(__x86_64__)
	return t->isa != ISA_NEON && (hone_cpu_detect() & t->cpu_bits) == t->cpu_bits;
#elif defined(__aarch64__)
	return t->isa == ISA_NEON;
#else
	return false;
#endif
}

#ifdef __aarch64__
enum { host_is_arm = 1 };
#else
enum { host_is_arm = 0 };
#endif

static bool is_arm(const char *triple)
{
	return !strncmp(triple, "aarch64", 7) || !strncmp(triple, "arm64", 5);
}

static bool is_setting(const char *text, size_t length)
{
	return memchr(text, '=', length) != NULL;
}

/* list := level ("," setting)* ("," list)? */
static bool parse_list(const char *text, struct arena *a, struct targets *out, struct diag *d)
{
	for (bool more = true; more;) {
		size_t n = strcspn(text, ",");

		if (out->count && is_setting(text, n)) {
			if (!parse_setting(text, n, a, &out->at[out->count - 1], d))
				return false;
		} else if (out->count == TARGETS_MAX) {
			return diag_add(d, DIAG_USAGE, (struct loc){0},
					"--cpu: more than %d levels", TARGETS_MAX);
		} else if (!parse_level(text, n, a, &out->at[out->count++], d)) {
			return false;
		}
		more = text[n] == ',';
		text += n + 1;
	}
	return true;
}

/* Processors on which an instruction is as fast as its level promises, or not at all: by scheduling model. */
static double bf16_rate(const char *tune)
{
	static const struct {
		const char *tune;
		double rate;
	} table[] = {
		{"znver4", 2},           {"znver5", 2},          {"cooperlake", 0.5},
		{"sapphirerapids", 0.5}, {"emeraldrapids", 0.5}, {"graniterapids", 0.5},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (!strcmp(tune, table[i].tune))
			return table[i].rate;
	return 1; /* a level without a name of a processor runs on all of them */
}

static bool resolve_triple(const char *triple, struct target *t, struct arena *a, struct diag *d)
{
	if (!triple)
		triple = t->isa == ISA_NEON ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
	t->triple = is_arm(triple) ? "aarch64-unknown-linux-gnu" : "x86_64-unknown-linux-gnu";
	if (strncmp(triple, "x86_64", 6) && !is_arm(triple))
		return diag_add(d, DIAG_UNSUPPORTED, (struct loc){0},
				"--target %s: hone compiles for x86_64 and aarch64 Linux", triple);
	if (is_arm(triple) != (t->isa == ISA_NEON))
		return diag_add(d, DIAG_USAGE, (struct loc){0},
				"--cpu %s does not belong to --target %s", target_level(a, t),
				triple);
	t->fork_work = 100000; /* about 20 us of vector work */
	t->bf16_rate = bf16_rate(t->tune);
	t->half_wide = !strcmp(t->tune, "znver4");
	t->spec = spec_text(a, t);
	t->host = runs_here(t);
	return true;
}

/* Whether x is tried before y: the higher level, then the one that needs more. */
static bool is_better(const struct target *x, const struct target *y)
{
	if (x->isa != y->isa)
		return x->isa > y->isa;
	return __builtin_popcountll(x->cpu_bits) > __builtin_popcountll(y->cpu_bits);
}

/* Best first; levels that need the same of a processor are one too many. */
static bool sort_levels(struct targets *list, struct arena *a, struct diag *d)
{
	for (int i = 1; i < list->count; i++) {
		for (int k = i; k > 0; k--) {
			struct target *x = &list->at[k - 1], *y = &list->at[k], t;

			if (x->isa == y->isa && x->cpu_bits == y->cpu_bits)
				return diag_add(d, DIAG_USAGE, (struct loc){0},
						"--cpu: level %s is given twice",
						target_level(a, x));
			if (!is_better(y, x))
				continue;
			t = *x;
			*x = *y;
			*y = t;
		}
	}
	return true;
}

bool targets_resolve(const char *cpu, const char *triple, struct arena *a, struct targets *out,
		     struct diag *d)
{
	*out = (struct targets){0};
	if (triple && is_arm(triple) && !strcmp(cpu, "native") && !host_is_arm)
		cpu = "neon";
	if (!parse_list(cpu, a, out, d))
		return false;
	for (int i = 0; i < out->count; i++) {
		if (!resolve_triple(triple, &out->at[i], a, d))
			return false;
		if (i && (out->at[i].isa == ISA_NEON) != (out->at[0].isa == ISA_NEON))
			return diag_add(d, DIAG_USAGE, (struct loc){0},
					"--cpu: levels of different processors");
	}
	if (!sort_levels(out, a, d))
		return false;
	out->spec = out->at[0].spec;
	for (int i = 1; i < out->count; i++)
		out->spec = arena_printf(a, "%s,%s", out->spec, out->at[i].spec);
	return true;
}

bool target_resolve(const char *cpu, const char *triple, struct arena *a, struct target *out,
		    struct diag *d)
{
	struct targets list;

	if (!targets_resolve(cpu, triple, a, &list, d))
		return false;
	*out = list.at[0];
	return list.count == 1 ||
	       diag_add(d, DIAG_USAGE, (struct loc){0},
			"--cpu %s: several levels are for hone compile; give one", cpu);
}
