/* text.c: the texts of messages, without libc. */
#include "runtime/system.h"

struct out {
	char *text;
	size_t size, used; /* used: without the final 0; may be cut off */
};

static void put(struct out *o, char c)
{
	if (o->used + 1 < o->size)
		o->text[o->used++] = c;
}

static void put_text(struct out *o, const char *s)
{
	for (s = s ? s : "(null)"; *s; s++)
		put(o, *s);
}

static void put_unsigned(struct out *o, unsigned long long x)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + x % 10);
	while (x /= 10);
	while (n)
		put(o, digits[--n]);
}

static void put_signed(struct out *o, long long x)
{
	if (x < 0)
		put(o, '-');
	put_unsigned(o, x < 0 ? 0 - (unsigned long long)x : (unsigned long long)x);
}

/* d.ddd without zeros at the end: six digits, `point` of them before the point (0 and below: 0.00ddd). */
static void put_digits(struct out *o, long digits, int point)
{
	char d[6];
	int last = 5;

	for (int i = 5; i >= 0; i--, digits /= 10)
		d[i] = (char)('0' + digits % 10);
	while (last > 0 && d[last] == '0')
		last--;
	if (point <= 0)
		put_text(o, "0.");
	for (int i = point; i < 0; i++)
		put(o, '0');
	for (int i = 0; i <= last || i < point; i++) {
		if (i && i == point)
			put(o, '.');
		put(o, d[i]);
	}
}

/* %g: six significant digits. */
static void put_real(struct out *o, double x)
{
	int power = 0;
	long digits;

	if (x != x) {
		put_text(o, "nan");
		return;
	}
	if (x < 0)
		put(o, '-');
	x = x < 0 ? -x : x;
	if (x > 1.7976931348623157e308 || x == 0) {
		put_text(o, x ? "inf" : "0");
		return;
	}
	for (; x >= 10; x /= 10)
		power++;
	for (; x < 1; x *= 10)
		power--;
	digits = (long)(x * 100000 + 0.5);
	if (digits == 1000000) {
		digits = 100000;
		power++;
	}
	if (power >= -4 && power < 6) {
		put_digits(o, digits, power + 1);
		return;
	}
	put_digits(o, digits, 1);
	put_text(o, power < 0 ? "e-" : "e+");
	power = power < 0 ? -power : power;
	if (power < 10)
		put(o, '0');
	put_unsigned(o, (unsigned long long)power);
}

void rt_format(char *text, size_t size, const char *format, va_list args)
{
	struct out o = {text, size, 0};

	for (; *format; format++) {
		if (*format != '%') {
			put(&o, *format);
			continue;
		}
		switch (*++format) {
		case 's': put_text(&o, va_arg(args, const char *)); break;
		case 'd': put_signed(&o, va_arg(args, int)); break;
		case 'u': put_unsigned(&o, va_arg(args, unsigned)); break;
		case 'g': put_real(&o, va_arg(args, double)); break;
		case 'l': /* %lld */
			put_signed(&o, va_arg(args, long long));
			format += 2;
			break;
		case 'z': /* %zu */
			put_unsigned(&o, va_arg(args, size_t));
			format++;
			break;
		default: put(&o, *format);
		}
	}
	if (size)
		text[o.used] = 0;
}
