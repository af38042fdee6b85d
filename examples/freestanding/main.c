/* main.c: a model in a program without a C library: an image of 64 pixels in, a digit out. All that it asks of the
 * system are two calls of Linux, to write and to exit; a kernel or a microcontroller has ways of its own. The model
 * works in the array `arena`; when that is too small, the error's text says how much is needed. */
#include "hone.h"

enum { IMAGE = 64, CLASSES = 10, ARENA = 1 << 16 };

static _Alignas(64) unsigned char arena[ARENA];

/* ---- the system ---- */

#if defined(__x86_64__)
static long system_call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}
enum { WRITE = 1, EXIT = 60 };
__asm__(".globl _start\n_start:\n\tand $-16, %rsp\n\tcall start\n");
#elif defined(__aarch64__)
static long system_call(long number, long a, long b, long c)
{
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
			 x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
enum { WRITE = 64, EXIT = 93 };
__asm__(".globl _start\n_start:\n\tbl start\n");
#endif

static void print(const char *text)
{
	long n = 0;

	while (text[n])
		n++;
	system_call(WRITE, 1, (long)text, n);
}

/* ---- what the model needs of us ---- */

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	while (size--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	if (t < f)
		return memcpy(to, from, size);
	while (size--)
		t[size] = f[size];
	return to;
}

void *memset(void *to, int value, size_t size)
{
	unsigned char *t = to;

	while (size--)
		*t++ = (unsigned char)value;
	return to;
}

/* ---- the program ---- */

/* A handwritten 3, 8x8 grey levels of 0..16. */
static const unsigned char three[IMAGE] = {
	0, 0,  7, 15, 13, 1,  0,  0, 0, 8,  13, 6, 15, 4, 0,  0,  0,  2, 1, 13, 13, 0,
	0, 0,  0, 0,  2,  15, 11, 1, 0, 0,  0,  0, 0,  1, 12, 12, 1,  0, 0, 0,  0,  0,
	1, 10, 8, 0,  0,  0,  8,  4, 5, 14, 9,  0, 0,  0, 7,  13, 13, 9, 0, 0,
};

static int classify(hone_context *context)
{
	float image[IMAGE], logits[CLASSES];
	hone_tensor in = {.data = image, .size = sizeof(image), .rank = 4, .dtype = HONE_F32};
	hone_tensor out = {.data = logits, .size = sizeof(logits)};
	int best = 0;

	in.dims[0] = in.dims[1] = 1;
	in.dims[2] = in.dims[3] = 8;
	for (int i = 0; i < IMAGE; i++)
		image[i] = three[i];
	if (hone_run(context, &in, &out) != HONE_OK)
		return -1;
	for (int i = 1; i < CLASSES; i++)
		best = logits[i] > logits[best] ? i : best;
	return best;
}

__attribute__((used, noreturn)) void start(void)
{
	hone_options options = {.size = sizeof(options), .memory = arena, .memory_size = ARENA};
	char text[200], answer[] = "digit ?\n";
	hone_context *context;
	int digit = -1;

	if (hone_context_create(hone_model_get(), &options, &context, text, sizeof(text)) !=
	    HONE_OK) {
		print(text);
	} else {
		digit = classify(context);
		if (digit < 0) {
			print(hone_error(context));
		} else {
			answer[6] = (char)('0' + digit);
			print(answer);
		}
	}
	system_call(EXIT, digit < 0, 0, 0);
	__builtin_unreachable();
}
