/* library.c: opening a compiled model. */
#include "backend/compile.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
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

/* Every target has 64-bit ELF files in the byte order of the machines hone runs on. */
bool library_measure(const char *path, struct library_sizes *out, struct diag *d)
{
	FILE *f = fopen(path, "rb");
	Elf64_Ehdr head;
	Elf64_Phdr part;
	bool ok = f && fread(&head, sizeof(head), 1, f) == 1 &&
		  !memcmp(head.e_ident, ELFMAG, SELFMAG) && head.e_ident[EI_CLASS] == ELFCLASS64 &&
		  head.e_phentsize == sizeof(part);

	*out = (struct library_sizes){0};
	for (int i = 0; ok && i < head.e_phnum; i++) {
		ok = !fseek(f, (long)head.e_phoff + i * (long)sizeof(part), SEEK_SET) &&
		     fread(&part, sizeof(part), 1, f) == 1;
		if (ok && part.p_type == PT_LOAD && part.p_flags & PF_X)
			out->code += (int64_t)part.p_filesz;
	}
	ok = ok && !fseek(f, 0, SEEK_END);
	if (ok)
		out->file = ftell(f);
	if (f)
		fclose(f);
	return ok || diag_add(d, DIAG_FILE, (struct loc){.file = path}, "cannot read: %s",
			      f ? "no 64-bit ELF file" : strerror(errno));
}
