/* digits.c: runs a compiled digits library on the held-out images, all at once and one by one, and
 * compares its classes with the labels and with ONNX Runtime's.
 *
 *	digits_c digits.so images.npy labels.npy expected.npy
 *
 * Exit status 0: every class equals ONNX Runtime's and at least 97 % equal the labels. */
#define _POSIX_C_SOURCE 200809L
#include <hone.h>

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIXELS = 64, CLASSES = 10, REPEATS = 20 };

/* The data of a .npy file (version 1, C order) that holds `type` ("<f4"); its size goes to *bytes. */
static void *read_npy(const char *path, const char *type, long *bytes)
{
	unsigned char head[10];
	char text[4096];
	unsigned length;
	void *data = NULL;
	long start, end;
	FILE *f = fopen(path, "rb");

	if (!f || fread(head, 1, sizeof(head), f) != sizeof(head) || memcmp(head, "\x93NUMPY\1", 7))
		goto bad;
	length = head[8] | (unsigned)head[9] << 8;
	if (length >= sizeof(text) || fread(text, 1, length, f) != length)
		goto bad;
	text[length] = 0;
	if (!strstr(text, type) || strstr(text, "'fortran_order': True"))
		goto bad;
	start = ftell(f);
	fseek(f, 0, SEEK_END);
	end = ftell(f);
	fseek(f, start, SEEK_SET);
	data = malloc((size_t)(end - start) + 1);
	if (!data || fread(data, 1, (size_t)(end - start), f) != (size_t)(end - start))
		goto bad;
	fclose(f);
	*bytes = end - start;
	return data;
bad:
	fprintf(stderr, "error: %s: not a .npy file of %s in C order\n", path, type);
	exit(4);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *times, int n)
{
	qsort(times, (size_t)n, sizeof(*times), by_value);
	return times[n / 2];
}

static int class_of(const float *logits)
{
	int best = 0;

	for (int i = 1; i < CLASSES; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* Runs `count` images; returns the time in microseconds. */
static double run(hone_context *c, float *images, float *logits, int64_t count)
{
	hone_tensor in = {.data = images,
			  .size = count * PIXELS * (int64_t)sizeof(float),
			  .dims = {count, 1, 8, 8},
			  .rank = 4,
			  .dtype = HONE_F32};
	hone_tensor out = {.data = logits, .size = count * CLASSES * (int64_t)sizeof(float)};
	double start = now_us();

	if (hone_run(c, &in, &out) != HONE_OK) {
		fprintf(stderr, "error: %s\n", hone_error(c));
		exit(1);
	}
	return now_us() - start;
}

static const hone_model *load(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const hone_model *(*get)(void);

	if (!library) {
		fprintf(stderr, "error: %s\n", dlerror());
		exit(4);
	}
	*(void **)&get = dlsym(library, "hone_model_get");
	if (!get) {
		fprintf(stderr, "error: %s\n", dlerror());
		exit(4);
	}
	return get();
}

/* Prints accuracy, agreement and the largest difference; true if the run is as good as promised. */
static bool judge(const char *how, const float *logits, const float *expected,
		  const int64_t *labels, int64_t count)
{
	int64_t right = 0, same = 0;
	float worst = 0;

	for (int64_t i = 0; i < count; i++) {
		int class = class_of(logits + i * CLASSES);

		right += class == labels[i];
		same += class == class_of(expected + i * CLASSES);
	}
	for (int64_t i = 0; i < count * CLASSES; i++) {
		float difference = fabsf(logits[i] - expected[i]);

		if (!(difference <= worst)) /* a NaN counts, too */
			worst = difference;
	}
	printf("  %-11s %lld of %lld right (%.2f %%), %lld of %lld equal to ONNX Runtime, "
	       "largest difference %.1e\n",
	       how, (long long)right, (long long)count, 100.0 * (double)right / (double)count,
	       (long long)same, (long long)count, (double)worst);
	return same == count && right * 100 >= count * 97 && worst < 1e-3f;
}

int main(int argc, char **argv)
{
	long image_bytes, label_bytes, expected_bytes;
	float *images, *expected, *logits;
	int64_t *labels, count;
	hone_context *context;
	double *times;
	char text[256];
	bool good;

	if (argc != 5) {
		fprintf(stderr, "usage: %s digits.so images.npy labels.npy expected.npy\n",
			argv[0]);
		return 2;
	}
	images = read_npy(argv[2], "'<f4'", &image_bytes);
	labels = read_npy(argv[3], "'<i8'", &label_bytes);
	expected = read_npy(argv[4], "'<f4'", &expected_bytes);
	count = label_bytes / (long)sizeof(*labels);
	if (count == 0 || image_bytes != count * PIXELS * 4 ||
	    expected_bytes != count * CLASSES * 4) {
		fprintf(stderr,
			"error: images, labels and expected logits are of different counts\n");
		return 4;
	}
	if (hone_context_create(load(argv[1]), NULL, &context, text, sizeof(text)) != HONE_OK) {
		fprintf(stderr, "error: %s\n", text);
		return 1;
	}

	logits = malloc((size_t)expected_bytes);
	times = malloc((size_t)count * REPEATS * sizeof(*times));
	if (!logits || !times)
		return 1;
	for (int i = 0; i < REPEATS; i++)
		times[i] = run(context, images, logits, count);
	good = judge("all at once", logits, expected, labels, count);
	printf("  %-11s p50 %.1f us for %lld images\n", "", median(times, REPEATS),
	       (long long)count);

	memset(logits, 0, (size_t)expected_bytes);
	for (int64_t i = 0; i < count * REPEATS; i++) {
		int64_t k = i % count;

		times[i] = run(context, images + k * PIXELS, logits + k * CLASSES, 1);
	}
	good = judge("one by one", logits, expected, labels, count) && good;
	printf("  %-11s p50 %.2f us per image\n", "", median(times, (int)count * REPEATS));

	hone_context_destroy(context);
	free(times);
	free(logits);
	free(expected);
	free(labels);
	free(images);
	return good ? 0 : 1;
}
