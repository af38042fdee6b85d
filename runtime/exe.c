/* exe.c: main() of a standalone executable. Messages go to stderr, `error:` first. */
#define _GNU_SOURCE
#include "runtime/dtype.h"
#include "runtime/element.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_DONE, EXIT_RUN, EXIT_USAGE, EXIT_FILE = 4 };
enum { SHOWN = 8, LARGEST_REPEAT = 1000000, LARGEST_THREADS = 1024 };

typedef long long ll; /* for %lld */

struct exe {
	const hone_model *model;
	hone_tensor *in, *out;
	struct npy *files;   /* [input]: what in[] points into */
	bool *given;         /* [input] */
	const char **paths;  /* [output]: where it goes, or NULL */
	const char **params; /* [argument]: NAME=VALUE */
	int param_count, output_paths;
	long threads, repeat;
	bool info, help;
	char text[600];
};

__attribute__((format(printf, 2, 3))) static int complain(int status, const char *format, ...)
{
	va_list args;

	fputs("error: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

/* ---- --help and --info ---- */

static void print_type(FILE *f, const hone_io *io)
{
	fprintf(f, "%s[", rt_dtype_name(io->dtype));
	for (int32_t k = 0; k < io->rank; k++) {
		const hone_dim *d = &io->dims[k];

		fputs(k ? "," : "", f);
		if (d->min == d->max)
			fprintf(f, "%lld", (ll)d->min);
		else
			fputs(d->symbol ? d->symbol : "?", f);
	}
	fputc(']', f);
}

static void print_ios(FILE *f, const char *title, const hone_io *ios, int32_t count)
{
	for (int32_t i = 0; i < count; i++) {
		fprintf(f, "%-8s%s: ", i ? "" : title, ios[i].name);
		print_type(f, &ios[i]);
		fputc('\n', f);
	}
}

static void print_params(FILE *f, const hone_model *m)
{
	for (int32_t i = 0; i < m->param_count; i++)
		fprintf(f, "%-8s%s = %g (%g..%g)\n", i ? "" : "params", m->params[i].name,
			m->params[i].initial, m->params[i].min, m->params[i].max);
}

static int print_info(const hone_model *m)
{
	printf("model   %s\n", m->name);
	print_ios(stdout, "inputs", m->inputs, m->input_count);
	print_ios(stdout, "outputs", m->outputs, m->output_count);
	print_params(stdout, m);
	printf("weights %lld bytes\ncpu     %s\nmade by %s, passes %s\nhash    %s\n",
	       (ll)m->weight_bytes, m->cpu, m->compiler, m->passes, m->hash);
	return EXIT_DONE;
}

static int print_help(const hone_model *m, const char *program)
{
	printf("usage: %s --input FILE ... [--output FILE ...] [options]\n"
	       "Runs the model \"%s\".\n\n"
	       "  --input [NAME=]FILE       an input, in model order or by name: .npy, or raw "
	       "bytes\n"
	       "  --input NAME:2x3=FILE     raw bytes with these dims\n"
	       "  --output [NAME=]FILE      an output: .npy, or raw bytes; without any, outputs "
	       "are printed\n"
	       "  --param NAME=VALUE        sets a parameter\n"
	       "  --threads N               uses N threads (default 1)\n"
	       "  --repeat N                runs N times and prints the time\n"
	       "  --info                    says what the model takes and gives\n\n"
	       "Exit status: 0 done, 1 the run failed, 2 usage, 4 a bad or unreadable file.\n\n",
	       program, m->name);
	print_ios(stdout, "inputs", m->inputs, m->input_count);
	print_ios(stdout, "outputs", m->outputs, m->output_count);
	print_params(stdout, m);
	return EXIT_DONE;
}

/* ---- arguments ---- */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && !strcmp(s + n - k, end);
}

/* 2x3x4, or nothing for rank 0, up to `end`. */
static bool parse_dims(const char *s, const char *end, hone_tensor *t)
{
	for (t->rank = 0; s < end; t->rank++) {
		char *stop;

		if (t->rank == HONE_MAX_RANK || *s < '0' || *s > '9')
			return false;
		errno = 0;
		t->dims[t->rank] = strtoll(s, &stop, 10);
		if (errno || stop > end || (stop < end && (*stop != 'x' || stop + 1 == end)))
			return false;
		s = stop + (stop < end);
	}
	return true;
}

/* Splits NAME=FILE and NAME:2x3=FILE; names may hold : and =, so they are looked for one by one.
 * Returns the number of the name, -1 if there is none; *file is then the whole. With `t` takes
 * dims. */
static int32_t split_name(const hone_io *ios, int32_t count, const char *spec, const char **file,
			  hone_tensor *t, bool *has_dims)
{
	*file = spec;
	for (int32_t i = 0; i < count; i++) {
		size_t n = strlen(ios[i].name);
		const char *equal;
		hone_tensor dims = {0};

		if (strncmp(spec, ios[i].name, n))
			continue;
		if (spec[n] == '=') {
			*file = spec + n + 1;
			return i;
		}
		equal = spec[n] == ':' && t ? strchr(spec + n, '=') : NULL;
		if (!equal || !parse_dims(spec + n + 1, equal, &dims))
			continue;
		memcpy(t->dims, dims.dims, sizeof(dims.dims));
		t->rank = dims.rank;
		*has_dims = true;
		*file = equal + 1;
		return i;
	}
	return -1;
}

static int load_npy(struct exe *e, int32_t i, const char *path, const hone_tensor *wanted)
{
	struct npy *f = &e->files[i];
	hone_tensor *t = &e->in[i];

	if (!npy_read_file(f, path, e->text, sizeof(e->text)))
		return complain(EXIT_FILE, "%s", e->text);
	if (wanted)
		return complain(EXIT_USAGE, "%s: dims are given for raw files only", path);
	t->data = (void *)f->data;
	t->size = f->size;
	t->dtype = f->dtype;
	t->rank = f->rank;
	memcpy(t->dims, f->dims, sizeof(t->dims));
	return EXIT_DONE;
}

/* Raw bytes: dims from the argument, or the model's, of which one may be symbolic. */
static int load_raw(struct exe *e, int32_t i, const char *path, const hone_tensor *wanted)
{
	const hone_io *io = &e->model->inputs[i];
	hone_tensor *t = &e->in[i];
	size_t size;
	int32_t open = -1;
	int64_t bytes;

	if (!rt_file_read(path, &e->files[i].owned, &size, e->text, sizeof(e->text)))
		return complain(EXIT_FILE, "%s", e->text);
	if (wanted)
		*t = *wanted;
	else
		t->rank = io->rank;
	for (int32_t k = 0; !wanted && k < io->rank; k++) {
		t->dims[k] = io->dims[k].min;
		if (io->dims[k].min == io->dims[k].max)
			continue;
		if (open >= 0)
			return complain(EXIT_USAGE,
					"%s: more than one dim of input \"%s\" is open; give them: "
					"%s:2x3=%s",
					path, io->name, io->name, path);
		open = k;
		t->dims[k] = 1;
	}
	bytes = rt_tensor_bytes(io->dtype, t->rank, t->dims);
	if (open >= 0 && bytes > 0 && size % (size_t)bytes == 0) {
		t->dims[open] = (int64_t)(size / (size_t)bytes);
		bytes = (int64_t)size;
	}
	if (bytes < 0 || (uint64_t)bytes != size)
		return complain(EXIT_FILE, "%s: the file has %zu bytes, input \"%s\" needs %s%lld",
				path, size, io->name, open >= 0 ? "a multiple of " : "", (ll)bytes);
	t->data = e->files[i].owned;
	t->size = bytes;
	t->dtype = io->dtype;
	return EXIT_DONE;
}

static int add_input(struct exe *e, const char *spec)
{
	const hone_model *m = e->model;
	hone_tensor dims = {0};
	bool has_dims = false;
	const char *path;
	int32_t i = split_name(m->inputs, m->input_count, spec, &path, &dims, &has_dims);

	if (i < 0) {
		for (i = 0; i < m->input_count && e->given[i];)
			i++;
	}
	if (i == m->input_count)
		return complain(EXIT_USAGE, "--input %s: the model has %d inputs", spec,
				m->input_count);
	if (e->given[i])
		return complain(EXIT_USAGE, "--input %s: input \"%s\" is given twice", spec,
				m->inputs[i].name);
	e->given[i] = true;
	return (ends_with(path, ".npy") ? load_npy : load_raw)(e, i, path, has_dims ? &dims : NULL);
}

static int add_output(struct exe *e, const char *spec)
{
	const hone_model *m = e->model;
	const char *path;
	int32_t i = split_name(m->outputs, m->output_count, spec, &path, NULL, NULL);

	if (i < 0) {
		for (i = 0; i < m->output_count && e->paths[i];)
			i++;
	}
	if (i == m->output_count)
		return complain(EXIT_USAGE, "--output %s: the model has %d outputs", spec,
				m->output_count);
	if (e->paths[i])
		return complain(EXIT_USAGE, "--output %s: output \"%s\" is given twice", spec,
				m->outputs[i].name);
	e->paths[i] = path;
	e->output_paths++;
	return EXIT_DONE;
}

static int read_count(const char *option, const char *s, long max, long *value)
{
	char *end;

	errno = 0;
	*value = strtol(s, &end, 10);
	if (errno || *end || end == s || *value < 1 || *value > max)
		return complain(EXIT_USAGE, "%s %s: expected 1..%ld", option, s, max);
	return EXIT_DONE;
}

static int add_value(struct exe *e, const char *option, const char *value)
{
	if (!strcmp(option, "--input"))
		return add_input(e, value);
	if (!strcmp(option, "--output"))
		return add_output(e, value);
	if (!strcmp(option, "--threads"))
		return read_count(option, value, LARGEST_THREADS, &e->threads);
	if (!strcmp(option, "--repeat"))
		return read_count(option, value, LARGEST_REPEAT, &e->repeat);
	e->params[e->param_count++] = value;
	return EXIT_DONE;
}

/* --input and --output take one value or more. */
static int read_arguments(struct exe *e, int argc, char **argv)
{
	static const char valued[][12] = {"--input", "--output", "--threads", "--repeat",
					  "--param"};

	for (int i = 1; i < argc; i++) {
		const char *option = argv[i];
		size_t k = 0;
		int status;

		if (!strcmp(option, "--help") || !strcmp(option, "-h"))
			e->help = true;
		else if (!strcmp(option, "--info"))
			e->info = true;
		if (e->help || e->info)
			return EXIT_DONE;
		while (k < sizeof(valued) / sizeof(*valued) && strcmp(valued[k], option))
			k++;
		if (k == sizeof(valued) / sizeof(*valued))
			return complain(EXIT_USAGE, "unknown argument %s (try --help)", option);
		do {
			if (++i >= argc)
				return complain(EXIT_USAGE, "%s needs a value", option);
			status = add_value(e, option, argv[i]);
			if (status)
				return status;
		} while (k < 2 && i + 1 < argc && strncmp(argv[i + 1], "--", 2));
	}
	for (int32_t i = 0; i < e->model->input_count; i++) {
		if (!e->given[i])
			return complain(EXIT_USAGE, "input \"%s\" is missing (try --help)",
					e->model->inputs[i].name);
	}
	return EXIT_DONE;
}

/* ---- the run ---- */

static void *allocate_output(void *self, int32_t output, int64_t size)
{
	(void)self;
	(void)output;
	return aligned_alloc(64, ((size_t)size + 127) / 64 * 64);
}

static int set_params(struct exe *e, hone_context *c)
{
	for (int i = 0; i < e->param_count; i++) {
		const char *equal = strrchr(e->params[i], '=');
		char name[256], *end;
		double value;

		if (!equal || (size_t)(equal - e->params[i]) >= sizeof(name))
			return complain(EXIT_USAGE, "--param %s: expected NAME=VALUE",
					e->params[i]);
		memcpy(name, e->params[i], (size_t)(equal - e->params[i]));
		name[equal - e->params[i]] = 0;
		value = strtod(equal + 1, &end);
		if (*end || end == equal + 1)
			return complain(EXIT_USAGE, "--param %s: expected a number", e->params[i]);
		if (hone_rt_set_param(c, name, value) != HONE_OK)
			return complain(EXIT_USAGE, "%s", hone_rt_error(c));
	}
	return EXIT_DONE;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int run(struct exe *e, hone_context *c)
{
	double best = 0, first = 0, sum = 0;

	for (long i = 0; i < e->repeat; i++) {
		double start = now_us(), time;

		if (hone_rt_run(c, e->in, e->out) != HONE_OK)
			return complain(EXIT_RUN, "%s", hone_rt_error(c));
		time = now_us() - start;
		if (!i)
			first = time;
		else
			sum += time;
		if (i == 1 || (i && time < best))
			best = time;
	}
	if (e->repeat > 1)
		fprintf(stderr, "first run %.1f us, then %ld runs: %.1f us mean, %.1f us least\n",
			first, e->repeat - 1, sum / (double)(e->repeat - 1), best);
	return EXIT_DONE;
}

static void print_output(const hone_io *io, const hone_tensor *t)
{
	int64_t count = 1;

	printf("%s: %s[", io->name, rt_dtype_name(t->dtype));
	for (int32_t k = 0; k < t->rank; k++) {
		printf("%s%lld", k ? "," : "", (ll)t->dims[k]);
		count *= t->dims[k];
	}
	fputs("] =", stdout);
	for (int64_t i = 0; i < count && i < SHOWN && rt_is_plain(t->dtype); i++) {
		if (rt_is_float(t->dtype))
			printf(" %.7g", rt_load_double(t->dtype, t->data, i));
		else if (t->dtype == HONE_U64)
			printf(" %llu", ((const unsigned long long *)t->data)[i]);
		else
			printf(" %lld", (ll)rt_load_int(t->dtype, t->data, i));
	}
	puts(count > SHOWN || !rt_is_plain(t->dtype) ? " ..." : "");
}

static int write_outputs(struct exe *e)
{
	const hone_model *m = e->model;

	for (int32_t i = 0; i < m->output_count; i++) {
		const hone_tensor *t = &e->out[i];
		int64_t bytes = rt_tensor_bytes(t->dtype, t->rank, t->dims);
		struct file_part all = {t->data, bytes > 0 ? (size_t)bytes : 0};
		bool ok = true;

		if (!e->output_paths)
			print_output(&m->outputs[i], t);
		else if (e->paths[i] && ends_with(e->paths[i], ".npy"))
			ok = npy_write_file(e->paths[i], t->dtype, t->rank, t->dims, t->data,
					    e->text, sizeof(e->text));
		else if (e->paths[i])
			ok = rt_file_write(e->paths[i], &all, 1, e->text, sizeof(e->text));
		if (!ok)
			return complain(EXIT_FILE, "%s", e->text);
	}
	if (fflush(stdout) || ferror(stdout))
		return complain(EXIT_FILE, "standard output: %s", strerror(errno));
	return EXIT_DONE;
}

static int create_and_run(struct exe *e)
{
	hone_options o = {
		.size = sizeof(o), .threads = (uint32_t)e->threads, .allocate = allocate_output};
	hone_context *c;
	int status;

	if (hone_rt_context_create(e->model, &o, &c, e->text, sizeof(e->text)) != HONE_OK)
		return complain(EXIT_RUN, "%s", e->text);
	status = set_params(e, c);
	if (!status)
		status = run(e, c);
	hone_rt_context_destroy(c);
	return status ? status : write_outputs(e);
}

static bool make_tables(struct exe *e, int argc)
{
	size_t in = (size_t)e->model->input_count + 1, out = (size_t)e->model->output_count + 1;

	e->in = calloc(in, sizeof(*e->in));
	e->files = calloc(in, sizeof(*e->files));
	e->given = calloc(in, sizeof(*e->given));
	e->out = calloc(out, sizeof(*e->out));
	e->paths = calloc(out, sizeof(*e->paths));
	e->params = calloc((size_t)argc + 1, sizeof(*e->params));
	return e->in && e->files && e->given && e->out && e->paths && e->params;
}

static void free_tables(struct exe *e)
{
	for (int32_t i = 0; e->files && i < e->model->input_count; i++)
		npy_free(&e->files[i]);
	for (int32_t i = 0; e->out && i < e->model->output_count; i++)
		free(e->out[i].data);
	free(e->in);
	free(e->files);
	free(e->given);
	free(e->out);
	free(e->paths);
	free(e->params);
}

int hone_exe_main(const hone_model *m, int argc, char **argv)
{
	struct exe e = {.model = m, .threads = 1, .repeat = 1};
	int status = EXIT_RUN;

	if (!make_tables(&e, argc))
		complain(status, "out of memory");
	else
		status = read_arguments(&e, argc, argv);
	if (!status && e.help)
		status = print_help(m, argv[0]);
	else if (!status && e.info)
		status = print_info(m);
	else if (!status)
		status = create_and_run(&e);
	free_tables(&e);
	return status;
}
