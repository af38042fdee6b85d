/* amx_emulator.c: the AMX instructions that have a VEX encoding: configuration, movement, products of bytes and bf16.
 * Source: Intel SDM vol. 2, LDTILECFG to TILEZERO, and 2.3 for the VEX prefix. What an instruction refuses with #UD
 * or #GP ends the process with a message: emitted code must never do it. */
#define _GNU_SOURCE /* REG_RIP */
#include "tests/support/amx_emulator.h"

#include "runtime/context.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool emulated, refused;
static atomic_long executed;

/* ---- what the runtime asks ---- */

uint64_t __real_hone_cpu_detect(void);
uint64_t __wrap_hone_cpu_detect(void);
bool __real_rt_cpu_allow_amx(void);
bool __wrap_rt_cpu_allow_amx(void);

uint64_t __wrap_hone_cpu_detect(void)
{
	return __real_hone_cpu_detect() | (emulated || refused ? HONE_CPU_AMX : 0);
}

bool __wrap_rt_cpu_allow_amx(void) { return !refused && (emulated || __real_rt_cpu_allow_amx()); }

void amx_refuse_permission(bool refuse) { refused = refuse; }

long amx_emulated_count(void) { return executed; }

#ifdef __x86_64__

#include <ucontext.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

struct tile {
	int rows, bytes; /* 0: not configured */
	unsigned char data[ROWS][ROW_BYTES];
};

/* XTILECFG and XTILEDATA of a thread. */
static _Thread_local struct {
	bool configured;
	unsigned char config[64];
	struct tile tile[TILES];
} state;

_Noreturn static void refuse(const char *why)
{
	static const char head[] = "AMX emulator: ";
	ssize_t written = write(2, head, sizeof(head) - 1);

	written += write(2, why, strlen(why)) + write(2, "\n", 1);
	_exit(written > 0 ? 70 : 71);
}

static void need(bool ok, const char *what)
{
	if (!ok)
		refuse(what);
}

/* ---- configuration ---- */

static void release(void) { memset(&state, 0, sizeof(state)); }

/* Bytes: 0 palette, 1 start row, 16..31 bytes of a row of each tile (u16), 48..55 rows of each. */
static void load_config(const unsigned char *from)
{
	release();
	need(from[0] <= 1, "ldtilecfg: no such palette");
	if (!from[0])
		return;
	memcpy(state.config, from, sizeof(state.config));
	state.configured = true;
	for (int i = 1; i < 64; i++)
		need(!from[i] || (i >= 16 && i < 32) || (i >= 48 && i < 56),
		     "ldtilecfg: a reserved byte, or a start row");
	for (int i = 0; i < TILES; i++) {
		int bytes = from[16 + 2 * i] | from[17 + 2 * i] << 8, rows = from[48 + i];

		need(bytes <= ROW_BYTES && rows <= ROWS && !bytes == !rows,
		     "ldtilecfg: rows or bytes of a tile");
		state.tile[i].rows = rows;
		state.tile[i].bytes = bytes;
	}
}

/* ---- movement ---- */

static struct tile *tile_of(int number)
{
	need(state.configured && number < TILES && state.tile[number].rows,
	     "a tile that is not configured");
	return &state.tile[number];
}

static void tile_zero(int number) { memset(tile_of(number)->data, 0, ROWS * ROW_BYTES); }

static void tile_load(int number, const char *from, int64_t stride)
{
	struct tile *t = tile_of(number);

	memset(t->data, 0, sizeof(t->data));
	for (int r = 0; r < t->rows; r++)
		memcpy(t->data[r], from + r * stride, (size_t)t->bytes);
}

static void tile_store(int number, char *to, int64_t stride)
{
	const struct tile *t = tile_of(number);

	for (int r = 0; r < t->rows; r++)
		memcpy(to + r * stride, t->data[r], (size_t)t->bytes);
}

/* ---- products: c += a * b ---- */

static float lane_float(const unsigned char *row, int i)
{
	float x;

	memcpy(&x, row + 4 * i, 4);
	return x;
}

/* Numbers below 2^-126 count as 0, and become it. */
static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

static float from_bf16(const unsigned char *p)
{
	uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;
	float x;

	memcpy(&x, &bits, 4);
	return flushed(x);
}

/* Even and odd k are summed apart, each by fused multiply-adds, then added to each other, then to c. */
static void row_bf16(struct tile *c, const struct tile *a, const struct tile *b, int m)
{
	for (int n = 0; n < c->bytes / 4; n++) {
		float sum[2] = {0, 0}, both;

		for (int k = 0; k < a->bytes / 4; k++)
			for (int i = 0; i < 2; i++)
				sum[i] = flushed(fmaf(from_bf16(&a->data[m][4 * k + 2 * i]),
						      from_bf16(&b->data[k][4 * n + 2 * i]),
						      sum[i]));
		both = flushed(sum[0] + sum[1]);
		both = flushed(flushed(lane_float(c->data[m], n)) + both);
		memcpy(&c->data[m][4 * n], &both, 4);
	}
}

static int byte_of(unsigned char x, bool is_signed) { return is_signed ? (signed char)x : x; }

static void row_bytes(struct tile *c, const struct tile *a, const struct tile *b, int m,
		      bool signed_a, bool signed_b)
{
	for (int n = 0; n < c->bytes / 4; n++) {
		uint32_t sum;

		memcpy(&sum, &c->data[m][4 * n], 4);
		for (int k = 0; k < a->bytes; k++)
			sum += (uint32_t)(byte_of(a->data[m][k], signed_a) *
					  byte_of(b->data[k / 4][4 * n + k % 4], signed_b));
		memcpy(&c->data[m][4 * n], &sum, 4);
	}
}

enum { PREFIX_NONE, PREFIX_66, PREFIX_F3, PREFIX_F2 };

static void product(int opcode, int prefix, int number_c, int number_a, int number_b)
{
	struct tile *c = tile_of(number_c);
	const struct tile *a = tile_of(number_a), *b = tile_of(number_b);

	need(number_c != number_a && number_a != number_b && number_c != number_b,
	     "a product of a tile with itself");
	need(c->rows == a->rows && c->bytes == b->bytes && a->bytes == b->rows * 4 &&
		     c->bytes % 4 == 0,
	     "a product of tiles that do not fit");
	for (int m = 0; m < c->rows; m++) {
		if (opcode == 0x5c)
			row_bf16(c, a, b, m);
		else
			row_bytes(c, a, b, m, prefix == PREFIX_F2 || prefix == PREFIX_F3,
				  prefix == PREFIX_F2 || prefix == PREFIX_66);
	}
}

/* ---- decoding ---- */

struct instruction {
	const unsigned char *at; /* next byte */
	int prefix, opcode, mod, reg, rm, vvvv;
	bool r, x, b;        /* the high bits of reg, of the index, of rm and the base */
	int64_t base, index; /* index: times its scale */
};

static int64_t greg(const ucontext_t *u, int number)
{
	static const int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
				    REG_R12, REG_R13, REG_R14, REG_R15};

	return u->uc_mcontext.gregs[order[number]];
}

static int64_t displacement(struct instruction *i, int bytes)
{
	int32_t wide = 0;

	if (bytes == 1)
		return (signed char)*i->at++;
	memcpy(&wide, i->at, 4);
	i->at += 4;
	return wide;
}

/* The memory operand: base with displacement, and the index. */
static void decode_memory(struct instruction *i, const ucontext_t *u)
{
	int base = i->rm;

	if (i->rm == 4) {
		int sib = *i->at++, index = (sib >> 3 & 7) | (i->x ? 8 : 0);

		base = sib & 7;
		if (index != 4)
			i->index = (int64_t)((uint64_t)greg(u, index) << (sib >> 6));
		if (base == 5 && i->mod == 0) {
			i->base = displacement(i, 4);
			return;
		}
	} else if (base == 5 && i->mod == 0) { /* from the next instruction on */
		i->base = displacement(i, 4);
		i->base += (int64_t)(uintptr_t)i->at;
		return;
	}
	i->base = greg(u, base | (i->b ? 8 : 0));
	if (i->mod)
		i->base += displacement(i, i->mod == 1 ? 1 : 4);
}

/* VEX.128.prefix.0F38.W0 opcode: false for any other. */
static bool decode(struct instruction *i, const unsigned char *at, const ucontext_t *u)
{
	*i = (struct instruction){0};
	if (at[0] != 0xc4 || (at[1] & 31) != 2 || at[2] & 0x84)
		return false;
	i->r = !(at[1] & 0x80);
	i->x = !(at[1] & 0x40);
	i->b = !(at[1] & 0x20);
	i->vvvv = ~at[2] >> 3 & 15;
	i->prefix = at[2] & 3;
	i->opcode = at[3];
	i->mod = at[4] >> 6;
	i->reg = (at[4] >> 3 & 7) | (i->r ? 8 : 0);
	i->rm = at[4] & 7;
	i->at = at + 5;
	if (i->mod != 3)
		decode_memory(i, u);
	return true;
}

static void *address(int64_t at) { return (void *)(uintptr_t)at; }

/* Opcode 49: configuration and zeros. */
static bool execute_control(const struct instruction *i)
{
	if (i->mod == 3 && i->prefix == PREFIX_NONE && !i->reg && !i->rm)
		release();
	else if (i->mod == 3 && i->prefix == PREFIX_F2 && !i->rm)
		tile_zero(i->reg);
	else if (i->mod != 3 && i->prefix == PREFIX_NONE && !i->reg)
		load_config(address(i->base + i->index));
	else if (i->mod != 3 && i->prefix == PREFIX_66 && !i->reg)
		memcpy(address(i->base + i->index), state.config, sizeof(state.config));
	else
		return false;
	return true;
}

static bool execute(const struct instruction *i)
{
	if (i->opcode == 0x49)
		return execute_control(i);
	if (i->opcode == 0x4b && i->mod != 3 && i->rm == 4 && i->prefix != PREFIX_NONE) {
		if (i->prefix == PREFIX_F3)
			tile_store(i->reg, address(i->base), i->index);
		else /* F2, and 66 for data that is not used again */
			tile_load(i->reg, address(i->base), i->index);
		return true;
	}
	if (i->mod != 3 || (i->opcode != 0x5e && (i->opcode != 0x5c || i->prefix != PREFIX_F3)))
		return false;
	product(i->opcode, i->prefix, i->reg, i->rm | (i->b ? 8 : 0), i->vvvv);
	return true;
}

static void on_illegal(int number, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	struct instruction i;

	(void)info;
	if (!decode(&i, address(u->uc_mcontext.gregs[REG_RIP]), u) || !execute(&i)) {
		signal(number, SIG_DFL); /* it comes again, and ends the process */
		return;
	}
	executed++;
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)i.at;
}

enum amx amx_start(void)
{
	struct sigaction a = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO | SA_NODEFER};

	if (!(__real_hone_cpu_detect() & HONE_CPU_V4))
		return AMX_NONE;
	if (__real_hone_cpu_detect() & HONE_CPU_AMX && __real_rt_cpu_allow_amx())
		return AMX_NATIVE;
	emulated = !sigaction(SIGILL, &a, NULL);
	return emulated ? AMX_EMULATED : AMX_NONE;
}

#else

enum amx amx_start(void) { return AMX_NONE; }

#endif
