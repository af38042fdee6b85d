/* link.c: running the linker. Shared libraries need only libc.so; executables the C start files too. */
#define _GNU_SOURCE /* pipe2 */
#include "backend/modules.h"
#include "backend/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#ifdef __aarch64__
enum { host_is_arm = 1 };
#else
enum { host_is_arm = 0 };
#endif

struct command {
	const char **at;
	int count, room;
};

static void add(struct arena *a, struct command *c, const char *word) { ARENA_PUSH(a, c, word); }

static const char *find_on_path(struct arena *a, const char *name)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return access(name, X_OK) ? NULL : name;
	while (path && *path) {
		size_t n = strcspn(path, ":");
		const char *full = arena_printf(a, "%.*s/%s", (int)n, path, name);

		if (n && !access(full, X_OK))
			return full;
		path += n + (path[n] == ':');
	}
	return NULL;
}

static const char *find_linker(struct arena *a, const char *wanted)
{
	static const char *const candidates[] = {HONE_LINKER, "ld.lld", "lld", "ld"};

	if (wanted)
		return find_on_path(a, wanted);
	for (size_t i = 0; i < sizeof(candidates) / sizeof(*candidates); i++) {
		const char *found = find_on_path(a, candidates[i]);

		if (found)
			return found;
	}
	return NULL;
}

/* The first of the usual folders that has the file; NULL if none has. */
static const char *find_library(struct arena *a, const struct target *t, const char *file)
{
	const char *machine = t->isa == ISA_NEON ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
	const char *const folders[] = {arena_printf(a, "/usr/lib/%s", machine),
				       arena_printf(a, "/lib/%s", machine),
				       arena_printf(a, "/usr/%s/lib", machine),
				       "/usr/lib64",
				       "/lib64",
				       "/usr/lib",
				       "/lib"};
	size_t own = 3; /* the rest is of this machine's kind */

	if ((t->isa == ISA_NEON) == host_is_arm)
		own = sizeof(folders) / sizeof(*folders);
	for (size_t i = 0; i < own; i++) {
		const char *path = arena_printf(a, "%s/%s", folders[i], file);

		if (!access(path, R_OK))
			return path;
	}
	return NULL;
}

static const char *find_own_archive(struct arena *a, const char *name)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		char *slash;
		const char *path;

		self[n] = 0;
		slash = strrchr(self, '/');
		*slash = 0;
		path = arena_printf(a, "%s/../lib/hone/%s", self, name);
		if (!access(path, R_OK))
			return path;
	}
	return arena_printf(a, "%s/%s", HONE_RUNTIME_FOLDER, name);
}

/* An archive of the runtime: the one given, or libhone_runtime.a (with `none` libhone_runtime_none.a) beside an
 * installed command (first, so that it never takes that of a build tree it came from), or where the build made
 * it. NULL: reported. */
static const char *find_runtime(const struct target *t, struct arena *a, const char *wanted,
				struct diag *d)
{
	bool none = wanted && !strcmp(wanted, "none");
	const char *name = none ? "libhone_runtime_none.a" : "libhone_runtime.a", *found = wanted;

	if (!wanted || none) {
		if ((t->isa == ISA_NEON) != host_is_arm) {
			diag_add(d, DIAG_TOOLCHAIN, (struct loc){0},
				 "no runtime for %s here: give its %s with --runtime%s", t->triple,
				 name, none ? "" : ", or use --emit obj");
			return NULL;
		}
		found = find_own_archive(a, name);
	}
	if (!found || access(found, R_OK)) {
		diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "the runtime's archive %s is missing",
			 found ? found : name);
		return NULL;
	}
	return found;
}

/* Waits for the command's output to go on or to end; false if a signal asks to stop instead. */
static bool more(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	while (!signals_waiting()) {
		int found = poll(&wait, 1, 50);

		if (found > 0 || (found < 0 && errno != EINTR))
			return true;
	}
	return false;
}

/* The command's output, at most this much of it, for the message. */
static void read_all(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t n;
	char rest[4096];

	while (more(fd) && (n = read(fd, used + 1 < size ? text + used : rest,
				     used + 1 < size ? size - used - 1 : sizeof(rest))) > 0)
		used += used + 1 < size ? (size_t)n : 0;
	while (used && text[used - 1] == '\n')
		used--;
	text[used] = 0;
}

static bool run(struct arena *a, struct command *c, struct diag *d)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	char text[4000];
	int fds[2], status = 0, error;
	pid_t child;

	add(a, c, NULL);
	if (pipe2(fds, O_CLOEXEC))
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "cannot run %s: %s", c->at[0],
				strerror(errno));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, (sigemptyset(&none), &none));
	posix_spawnattr_setpgroup(&attributes, 0); /* to be stopped with what it started */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	error = posix_spawn(&child, c->at[0], &actions, &attributes, (char **)c->at, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(fds[1]);
	if (!error)
		read_all(fds[0], text, sizeof(text));
	close(fds[0]);
	if (error)
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "cannot run %s: %s", c->at[0],
				strerror(error));
	if (signals_waiting())
		kill(-child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (signals_waiting())
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "%s: interrupted", c->at[0]);
	if (status)
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "the linker %s failed: %s",
				c->at[0], text);
	return true;
}

static bool add_executable_parts(const struct target *t, struct arena *a, struct command *c,
				 struct diag *d)
{
	static const char *const files[] = {"Scrt1.o", "crti.o"};

	add(a, c, "-pie");
	add(a, c, "-dynamic-linker");
	add(a, c,
	    t->isa == ISA_NEON ? "/lib/ld-linux-aarch64.so.1" : "/lib64/ld-linux-x86-64.so.2");
	for (int i = 0; i < 2; i++) {
		const char *path = find_library(a, t, files[i]);

		if (!path)
			return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0},
					"%s is missing: executables need the C library's "
					"development files (libc6-dev)",
					files[i]);
		add(a, c, path);
	}
	return true;
}

/* Only the entry points are exported, whatever the objects say. */
static bool write_version_script(const char *path, const char *prefix)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return false;
	fprintf(f, "{ global: %shone_model_get; %shone_model_*; local: *; };\n", prefix, prefix);
	return !fclose(f);
}

/* The room is zeros that nobody writes: lld leaves a hole in the file. It lies where the whole section would. */
static bool write_weights_script(const char *path, int64_t bytes)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return false;
	fprintf(f,
		"SECTIONS { " WEIGHTS_SECTION " : { *(" WEIGHTS_SECTION ") . += %" PRId64
		"; } } INSERT AFTER .rodata;\n",
		bytes - WEIGHTS_HOLLOW);
	return !fclose(f);
}

struct scripts {
	const char *version, *weights; /* paths; NULL: not made */
};

static bool add_scripts(struct arena *a, struct command *c, const struct link_options *o,
			const char *output, struct scripts *s, struct diag *d)
{
	bool ok = true;

	if (!o->executable) {
		s->version = arena_printf(a, "%s.map", output);
		add(a, c, arena_printf(a, "--version-script=%s", s->version));
		ok = write_version_script(s->version, o->export_prefix);
	}
	if (ok && o->weights) {
		s->weights = arena_printf(a, "%s.ld", output);
		add(a, c, "-T");
		add(a, c, s->weights);
		ok = write_weights_script(s->weights, o->weights);
	}
	return ok || diag_add(d, DIAG_FILE, (struct loc){.file = output},
			      "cannot write beside it: %s", strerror(errno));
}

static void remove_scripts(const struct scripts *s)
{
	if (s->version)
		unlink(s->version);
	if (s->weights)
		unlink(s->weights);
}

/* Code compiled with a sanitizer needs its runtime, which the process that loads the library has. */
static void add_libraries(const struct target *t, struct arena *a, struct command *c,
			  bool executable)
{
	const char *crtn = executable ? find_library(a, t, "crtn.o") : NULL;

	add(a, c, find_library(a, t, "libc.so.6"));
	if (crtn)
		add(a, c, crtn);
}

bool link_objects(const struct target *t, const struct link_options *o, int count,
		  const char *const *objects, const char *output, struct arena *a, struct diag *d)
{
	const char *program = find_linker(a, o->linker), *runtime;
	struct command c = {0};
	struct scripts scripts = {0};
	bool ok;

	if (!program)
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "no linker: %s not found",
				o->linker ? o->linker : "ld.lld and ld");
	runtime = find_runtime(t, a, o->runtime, d);
	if (!runtime)
		return false;
	if (!find_library(a, t, "libc.so.6"))
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0},
				"no C library for %s; --emit obj needs none", t->triple);
	add(a, &c, program);
	add(a, &c, "-o");
	add(a, &c, output);
	add(a, &c, "--gc-sections");
	if (!o->keep_symbols)
		add(a, &c, "-s");
	add(a, &c, "--build-id=none");
	add(a, &c, "-z");
	add(a, &c, "noexecstack");
	add(a, &c, "-z");
	add(a, &c, "relro");
	if (!o->executable)
		add(a, &c, "-shared");
	else if (!add_executable_parts(t, a, &c, d))
		return false;
	ok = add_scripts(a, &c, o, output, &scripts, d);
	for (int i = 0; i < count; i++)
		add(a, &c, objects[i]);
	add(a, &c, runtime);
	add_libraries(t, a, &c, o->executable);
	ok = ok && run(a, &c, d);
	remove_scripts(&scripts);
	return ok;
}

bool link_relocatable(const struct target *t, const struct link_options *o, int count,
		      const char *const *objects, const char *output, struct arena *a,
		      struct diag *d)
{
	const char *program = find_linker(a, o->linker), *runtime = NULL;
	struct command c = {0};

	if (!program)
		return diag_add(d, DIAG_TOOLCHAIN, (struct loc){0}, "no linker: %s not found",
				o->linker ? o->linker : "ld.lld and ld");
	if (o->runtime) {
		runtime = find_runtime(t, a, o->runtime, d);
		if (!runtime)
			return false;
	}
	add(a, &c, program);
	add(a, &c, "-r");
	add(a, &c, "-o");
	add(a, &c, output);
	for (int i = 0; i < count; i++)
		add(a, &c, objects[i]);
	if (runtime)
		add(a, &c, runtime);
	return run(a, &c, d) && localize_hidden(output, d);
}
