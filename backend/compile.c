/* compile.c: from a graph to a file: objects in a folder beside the output, linked, renamed into place. */
#define _GNU_SOURCE /* mkdtemp */
#include "backend/compile.h"
#include "backend/modules.h"
#include "backend/signals.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A C identifier from a file name: "my-model.v2.so" gives my_model_v2. */
static const char *identifier(struct arena *a, const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path,
		   *dot = strrchr(base, '.');
	size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
	char *out = arena_alloc(a, n + 2);

	if (!n || isdigit((unsigned char)base[0]))
		*out = '_';
	for (size_t i = 0, shift = *out == '_'; i < n; i++)
		out[i + shift] = isalnum((unsigned char)base[i]) ? base[i] : '_';
	return out;
}

static bool file_error(struct diag *d, const char *path, const char *what)
{
	return diag_add(d, DIAG_FILE, (struct loc){.file = path}, "%s: %s", what, strerror(errno));
}

struct build {
	const struct compile_options *o;
	struct emit_options emit;
	struct program *p[TARGETS_MAX]; /* by level */
	struct arena arena;
	struct modules modules[TARGETS_MAX];
	const char *folder; /* temporary, beside the output */
	const char *objects[TARGETS_MAX * MODULES_MAX + 1];
	int object_count;
	const char *weights; /* one of the objects; NULL: the model has none */
	struct diag *diag;
};

static bool write_file(struct build *b, const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");
	bool ok = f && fwrite(data, 1, size, f) == size;

	if (f && fclose(f))
		ok = false;
	return ok || file_error(b->diag, path, "cannot write");
}

/* The message is for whoever calls with a signal handler of their own: else the program ends at signals_release. */
static bool interrupted(struct build *b)
{
	if (signals_waiting())
		diag_add(b->diag, DIAG_FILE, (struct loc){0}, "interrupted");
	return signals_waiting();
}

static bool write_modules(struct build *b, const struct modules *m)
{
	for (int i = 0; i < m->count; i++) {
		const char *path = arena_printf(&b->arena, "%s/%d.o", b->folder, b->object_count);

		b->objects[b->object_count++] = path;
		if (interrupted(b) || !write_file(b, path, LLVMGetBufferStart(m->object[i]),
						  LLVMGetBufferSize(m->object[i])))
			return false;
	}
	return true;
}

/* Who keeps the objects, or wants one, gets the weights in them. */
static bool is_hollow(const struct build *b) { return b->o->kind != EMIT_OBJ && !b->o->save_temps; }

static bool write_weights(struct build *b, bool hollow)
{
	return weights_write_object(b->p[0], &b->emit, hollow, b->weights, b->diag) &&
	       !interrupted(b);
}

static bool write_objects(struct build *b)
{
	for (int i = 0; i < b->o->targets->count; i++) {
		if (!write_modules(b, &b->modules[i]))
			return false;
	}
	if (b->p[0]->constants->bytes) {
		b->weights = arena_printf(&b->arena, "%s/weights.o", b->folder);
		b->objects[b->object_count++] = b->weights;
		return write_weights(b, is_hollow(b));
	}
	return !interrupted(b);
}

static bool write_text(struct build *b, const char *path)
{
	FILE *f = fopen(path, "wb");
	bool ok = f;

	for (int i = 0; ok && i < b->modules[0].count; i++) {
		size_t size = LLVMGetBufferSize(b->modules[0].object[i]);

		ok = fwrite(LLVMGetBufferStart(b->modules[0].object[i]), 1, size, f) == size;
	}
	if (f && fclose(f))
		ok = false;
	return ok || file_error(b->diag, path, "cannot write");
}

static bool write_header(struct build *b, const char *path)
{
	FILE *f = fopen(path, "wb");
	bool ok = f && header_write(b->p[0], &b->emit, f);

	if (f && fclose(f))
		ok = false;
	return ok || file_error(b->diag, path, "cannot write");
}

/* The folder with all that is in it: a linker that was stopped leaves files of its own. */
static void remove_temporaries(struct build *b)
{
	DIR *folder = opendir(b->folder);
	const struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		unlinkat(dirfd(folder), entry->d_name, 0); /* fails for . and .. */
	if (folder)
		closedir(folder);
	rmdir(b->folder);
}

static bool make_folder(struct build *b, const char *output)
{
	char *folder = arena_printf(&b->arena, "%s.XXXXXX", output);

	if (!mkdtemp(folder))
		return file_error(b->diag, output, "cannot write beside it");
	b->folder = folder;
	return true;
}

/* With room for the weights, which are written there afterwards; false: the linker cannot, or something is wrong that
 * linking the whole object shows again, and reports. */
static bool link_hollow(struct build *b, struct link_options link, const char *file)
{
	struct diag ignored = {0};
	bool ok;

	link.weights = b->p[0]->constants->bytes;
	ok = link_objects(&b->o->targets->at[0], &link, b->object_count, b->objects, file,
			  &b->arena, &ignored) &&
	     weights_fit(b->p[0], file);
	diag_reset(&ignored);
	return ok;
}

static bool link_model(struct build *b, const struct link_options *link, const char *file)
{
	if (b->weights && is_hollow(b)) {
		if (link_hollow(b, *link, file))
			return weights_fill(b->p[0], file, b->diag);
		if (interrupted(b) || !write_weights(b, false))
			return false;
	}
	return link_objects(&b->o->targets->at[0], link, b->object_count, b->objects, file,
			    &b->arena, b->diag);
}

static bool link_output(struct build *b, const char *file)
{
	const struct compile_options *o = b->o;
	const struct target *t = &o->targets->at[0];
	struct link_options link = {.executable = o->kind == EMIT_EXE,
				    .linker = o->linker,
				    .runtime = o->runtime,
				    .export_prefix = b->emit.prefix,
				    .keep_symbols = o->keep_symbols};

	if (o->kind == EMIT_OBJ)
		return link_relocatable(t, &link, b->object_count, b->objects, file, &b->arena,
					b->diag);
	if (o->runtime && !strcmp(o->runtime, "none"))
		return diag_add(b->diag, DIAG_USAGE, (struct loc){0},
				"--runtime none makes freestanding objects: use --emit obj");
	return link_model(b, &link, file);
}

static bool make_file(struct build *b, const char *file)
{
	switch (b->o->kind) {
	case EMIT_HEADER: return write_header(b, file);
	case EMIT_ASM:
	case EMIT_LLVM: return write_text(b, file);
	default: return write_objects(b) && link_output(b, file);
	}
}

static void fill_report(struct build *b, const char *output, struct compile_report *r)
{
	struct stat info;

	r->weight_bytes = b->p[0]->constants->bytes;
	r->kernels = b->p[0]->sites.count;
	r->file_bytes = stat(output, &info) ? 0 : info.st_size;
	for (int i = 0; i < b->o->targets->count; i++) {
		r->functions += b->p[i]->functions.count;
		for (int k = 0; k < b->modules[i].count; k++)
			r->code_bytes += (int64_t)LLVMGetBufferSize(b->modules[i].object[k]);
	}
}

static bool publish(struct build *b, const char *file, const char *output)
{
	if (b->o->kind == EMIT_EXE)
		chmod(file, 0755);
	if (rename(file, output))
		return file_error(b->diag, output, "cannot write");
	return true;
}

/* "_x86_64_v4_vnni" where there are several levels. */
static const char *level_suffix(struct build *b, int i)
{
	char *name;

	if (b->o->targets->count == 1)
		return "";
	name = arena_printf(&b->arena, "_%s", target_level(&b->arena, &b->o->targets->at[i]));
	for (char *c = name; *c; c++)
		*c = *c == '-' || *c == '+' ? '_' : *c;
	return name;
}

/* The modules of every level; the first level's hold the model and its entry points. */
static bool emit_levels(struct build *b)
{
	bool text = b->o->kind == EMIT_LLVM;
	LLVMCodeGenFileType type = b->o->kind == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
	int count = b->o->targets->count;

	if (count > 1 && (text || type == LLVMAssemblyFile))
		return diag_add(b->diag, DIAG_USAGE, (struct loc){0},
				"--emit asm and llvm show one level; give one to --cpu");
	for (int i = 0; i < count; i++) {
		b->emit.level = level_suffix(b, i);
		b->emit.is_next = i > 0;
		b->emit.next_level = i + 1 < count ? level_suffix(b, i + 1) : NULL;
		if (!modules_emit(b->p[i], &b->emit, type, text, 2, &b->modules[i], b->diag))
			return false;
	}
	return true;
}

static bool build(struct build *b, const char *output, struct compile_report *r)
{
	bool ok;
	const char *file;
	sigset_t before;
	double start = now_ms();

	if (b->o->kind != EMIT_HEADER && !emit_levels(b))
		return false;
	r->emit_ms = now_ms() - start;
	signals_hold(&before);
	if (!make_folder(b, output)) {
		signals_release(&before);
		return false;
	}
	file = arena_printf(&b->arena, "%s/output", b->folder);
	start = now_ms();
	ok = make_file(b, file) && !interrupted(b) && publish(b, file, output);
	r->link_ms = now_ms() - start;
	if (ok)
		fill_report(b, output, r);
	if (!(ok && b->o->save_temps))
		remove_temporaries(b);
	signals_release(&before);
	return ok;
}

bool compile_graph(struct graph *g, const struct compile_options *o, const char *output,
		   struct compile_report *report, struct diag *d)
{
	struct build b = {.o = o, .diag = d};
	struct compile_report r = {0};
	double start = now_ms();
	bool ok;

	b.emit = (struct emit_options){.name = identifier(&b.arena, o->name ? o->name : output),
				       .prefix = o->prefix ? o->prefix : "",
				       .passes = o->passes ? o->passes : "",
				       .hash = o->hash ? o->hash : "",
				       .cpu = o->targets->spec,
				       .executable = o->kind == EMIT_EXE};
	ok = programs_layout(g, o->targets, &b.arena, b.p, d);
	r.layout_ms = now_ms() - start;
	ok = ok && build(&b, output, &r);
	for (int i = 0; i < TARGETS_MAX; i++)
		modules_free(&b.modules[i]);
	arena_free(&b.arena);
	if (report)
		*report = r;
	return ok;
}

/* ---- reports ---- */

bool dump_kernels(struct graph *g, const struct target *t, FILE *out, struct diag *d)
{
	struct arena a = {0};
	struct program *p = program_layout(g, t, 0, NULL, &a, d);

	for (int i = 0; p && i < p->sites.count; i++)
		fprintf(out, "# %s\n%s\n", p->nodes.at[p->sites.at[i].origin],
			kernel_text(&a, p->sites.at[i].kernel, false));
	arena_free(&a);
	return p != NULL;
}
