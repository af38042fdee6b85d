/* localize.c: makes the hidden symbols of a relocatable object local, so that several models, each with a copy of
 * the runtime, can be linked into one program. Linkers leave them global in what they join. Follows the System V
 * ABI, chapter 4: local symbols come first in a symbol table, and sh_info says how many there are. */
#define _GNU_SOURCE
#include "backend/modules.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct object {
	unsigned char *bytes;
	size_t size;
	Elf64_Shdr *sections;
	int section_count, table; /* table: number of the symbol table; 0: none */
	struct arena arena;
};

static bool inside(const struct object *o, uint64_t offset, uint64_t size)
{
	return offset <= o->size && size <= o->size - offset;
}

/* Finds the sections; false: no ELF64 object that this file understands. */
static bool read_sections(struct object *o)
{
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)o->bytes;

	if (o->size < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) ||
	    h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_type != ET_REL || h->e_shoff % 8 ||
	    !h->e_shnum || !inside(o, h->e_shoff, h->e_shnum * sizeof(Elf64_Shdr)))
		return false;
	o->sections = (Elf64_Shdr *)(o->bytes + h->e_shoff);
	o->section_count = h->e_shnum;
	for (int i = 1; i < o->section_count; i++) {
		const Elf64_Shdr *s = &o->sections[i];

		if (s->sh_type == SHT_NOBITS)
			continue;
		if (!inside(o, s->sh_offset, s->sh_size) || s->sh_type == SHT_SYMTAB_SHNDX)
			return false;
		if (s->sh_type == SHT_SYMTAB)
			o->table = i;
	}
	return true;
}

static bool is_local(const Elf64_Sym *s)
{
	return ELF64_ST_BIND(s->st_info) == STB_LOCAL ||
	       (ELF64_ST_VISIBILITY(s->st_other) == STV_HIDDEN && s->st_shndx != SHN_UNDEF);
}

/* Sorts the table; the new number of each symbol. */
static uint32_t *sort_symbols(struct object *o)
{
	Elf64_Shdr *table = &o->sections[o->table];
	size_t count = table->sh_size / sizeof(Elf64_Sym);
	Elf64_Sym *symbols = (Elf64_Sym *)(o->bytes + table->sh_offset),
		  *old = arena_copy(&o->arena, symbols, count * sizeof(*old));
	uint32_t *number = ARENA_ARRAY(&o->arena, uint32_t, count + 1), next = 0;

	for (int local = 1; local >= 0; local--) {
		for (size_t i = 0; i < count; i++) {
			if (is_local(&old[i]) != local)
				continue;
			number[i] = next;
			symbols[next] = old[i];
			if (local)
				symbols[next].st_info =
					ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(old[i].st_info));
			next++;
		}
		if (local)
			table->sh_info = next;
	}
	return number;
}

/* Relocations and groups name symbols by number. */
static void renumber(struct object *o, const uint32_t *number)
{
	for (int i = 1; i < o->section_count; i++) {
		Elf64_Shdr *s = &o->sections[i];
		Elf64_Rela *r = (Elf64_Rela *)(o->bytes + s->sh_offset);

		if (s->sh_link != (Elf64_Word)o->table)
			continue;
		if (s->sh_type == SHT_GROUP)
			s->sh_info = number[s->sh_info];
		for (size_t k = 0; s->sh_type == SHT_RELA && k < s->sh_size / sizeof(*r); k++)
			r[k].r_info = ELF64_R_INFO(number[ELF64_R_SYM(r[k].r_info)],
						   ELF64_R_TYPE(r[k].r_info));
	}
}

bool localize_hidden(const char *path, struct diag *d)
{
	struct object o = {0};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat info;
	bool ok = fd >= 0 && !fstat(fd, &info);

	if (ok) {
		o.size = (size_t)info.st_size;
		o.bytes = mmap(NULL, o.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ok = o.bytes != MAP_FAILED;
	}
	if (!ok) {
		diag_add(d, DIAG_FILE, (struct loc){.file = path}, "cannot read again: %s",
			 strerror(errno));
	} else {
		ok = read_sections(&o);
		if (!ok)
			diag_add(d, DIAG_TOOLCHAIN, (struct loc){.file = path},
				 "the linker made no object of the expected kind");
		else if (o.table)
			renumber(&o, sort_symbols(&o));
		munmap(o.bytes, o.size);
	}
	if (fd >= 0)
		close(fd);
	arena_free(&o.arena);
	return ok;
}
