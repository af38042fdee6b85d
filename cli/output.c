/* output.c: written beside, then renamed. */
#include "cli/output.h"

#include "backend/signals.h"
#include "ir/arena.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool write_new(const char *path, bool (*write)(FILE *out, void *self), void *self)
{
	FILE *out = fopen(path, "wb");
	bool ok = out && write(out, self) && !ferror(out);

	if (out && fclose(out))
		ok = false;
	if (signals_waiting()) {
		ok = false;
		errno = EINTR;
	}
	return ok;
}

bool output_write(const char *path, bool (*write)(FILE *out, void *self), void *self,
		  struct diag *d)
{
	struct arena a = {0};
	const char *beside = arena_printf(&a, "%s.new", path);
	sigset_t before;
	bool ok;

	signals_hold(&before);
	ok = write_new(beside, write, self) && !rename(beside, path);
	if (!ok) {
		diag_add(d, DIAG_FILE, (struct loc){.file = path}, "cannot write: %s",
			 strerror(errno));
		unlink(beside);
	}
	signals_release(&before);
	arena_free(&a);
	return ok;
}
