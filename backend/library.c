/* library.c: opening a compiled model. */
#include "backend/compile.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct library {
	void *handle;
};

struct library *library_open(const char *path, const hone_model **model, struct diag *d)
{
	struct arena a = {0};
	const char *full = strchr(path, '/')
				   ? path
				   : arena_printf(&a, "./%s", path); /* not from the library path */
	struct library *l = calloc(1, sizeof(*l));
	const hone_model *(*get)(void);
	struct loc at = {.file = path};

	l->handle = dlopen(full, RTLD_NOW | RTLD_LOCAL);
	if (!l->handle) {
		diag_add(d, DIAG_FILE, at, "cannot load: %s", dlerror());
	} else {
		*(void **)&get = dlsym(l->handle, "hone_model_get");
		if (!get)
			diag_add(d, DIAG_FILE, at,
				 "is no library made by hone: it has no hone_model_get");
		else if ((*model = get())->abi_version != HONE_ABI_VERSION)
			diag_add(d, DIAG_FILE, at, "has ABI version %u, this hone has %d",
				 (*model)->abi_version, HONE_ABI_VERSION);
		else
			goto done;
		dlclose(l->handle);
	}
	free(l);
	l = NULL;
done:
	arena_free(&a);
	return l;
}

void library_close(struct library *l)
{
	if (l) {
		dlclose(l->handle);
		free(l);
	}
}
