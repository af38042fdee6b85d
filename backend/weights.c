/* weights.c: the weights as a relocatable ELF64 object, written as a stream: they never pass through LLVM and are
 * never in memory twice. Follows the System V ABI, chapter 4 (object files): one read-only section, one global
 * hidden symbol. */
#include "backend/modules.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool write_stream(void *self, const void *data, int64_t size)
{
	FILE *out = self;

	return size == 0 || fwrite(data, 1, (size_t)size, out) == (size_t)size;
}

static const char names[] = "\0.hone.weights\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack";
enum { NAME_WEIGHTS = 1, NAME_SYMTAB = 15, NAME_STRTAB = 23, NAME_SHSTRTAB = 31, NAME_STACK = 41 };
enum {
	SECTION_WEIGHTS = 1,
	SECTION_SYMTAB,
	SECTION_STRTAB,
	SECTION_SHSTRTAB,
	SECTION_STACK,
	SECTION_COUNT
};

static void fill_headers(Elf64_Ehdr *file, Elf64_Shdr *s, uint64_t weights, uint64_t strings,
			 bool arm)
{
	uint64_t at = 64;

	*file = (Elf64_Ehdr){.e_type = ET_REL,
			     .e_machine = arm ? EM_AARCH64 : EM_X86_64,
			     .e_version = EV_CURRENT,
			     .e_ehsize = sizeof(*file),
			     .e_shentsize = sizeof(*s),
			     .e_shnum = SECTION_COUNT,
			     .e_shstrndx = SECTION_SHSTRTAB};
	memcpy(file->e_ident, ELFMAG, SELFMAG);
	file->e_ident[EI_CLASS] = ELFCLASS64;
	file->e_ident[EI_DATA] = ELFDATA2LSB;
	file->e_ident[EI_VERSION] = EV_CURRENT;
	s[SECTION_WEIGHTS] = (Elf64_Shdr){.sh_name = NAME_WEIGHTS,
					  .sh_type = SHT_PROGBITS,
					  .sh_flags = SHF_ALLOC,
					  .sh_offset = at,
					  .sh_size = weights,
					  .sh_addralign = 64};
	at += weights;
	s[SECTION_SYMTAB] = (Elf64_Shdr){.sh_name = NAME_SYMTAB,
					 .sh_type = SHT_SYMTAB,
					 .sh_offset = at,
					 .sh_size = 2 * sizeof(Elf64_Sym),
					 .sh_link = SECTION_STRTAB,
					 .sh_info = 1,
					 .sh_addralign = 8,
					 .sh_entsize = sizeof(Elf64_Sym)};
	at += 2 * sizeof(Elf64_Sym);
	s[SECTION_STRTAB] = (Elf64_Shdr){.sh_name = NAME_STRTAB,
					 .sh_type = SHT_STRTAB,
					 .sh_offset = at,
					 .sh_size = strings,
					 .sh_addralign = 1};
	at += strings;
	s[SECTION_SHSTRTAB] = (Elf64_Shdr){.sh_name = NAME_SHSTRTAB,
					   .sh_type = SHT_STRTAB,
					   .sh_offset = at,
					   .sh_size = sizeof(names),
					   .sh_addralign = 1};
	at += sizeof(names);
	s[SECTION_STACK] = (Elf64_Shdr){
		.sh_name = NAME_STACK, .sh_type = SHT_PROGBITS, .sh_offset = at, .sh_addralign = 1};
	file->e_shoff = (at + 7) & ~(uint64_t)7;
}

static bool write_object(const struct program *p, const char *symbol, FILE *out)
{
	static const unsigned char zeros[8];
	Elf64_Ehdr file;
	Elf64_Shdr sections[SECTION_COUNT] = {0};
	Elf64_Sym symbols[2] = {{0}};
	uint64_t strings = strlen(symbol) + 2,
		 weights = (uint64_t)p->constants->bytes; /* a multiple of 64 */
	uint64_t end;

	fill_headers(&file, sections, weights, strings, p->target->isa == ISA_NEON);
	end = sections[SECTION_STACK].sh_offset;
	symbols[1] = (Elf64_Sym){.st_name = 1,
				 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
				 .st_other = STV_HIDDEN,
				 .st_shndx = SECTION_WEIGHTS,
				 .st_size = weights};
	return write_stream(out, &file, sizeof(file)) &&
	       program_write_weights(p, write_stream, out) &&
	       write_stream(out, symbols, sizeof(symbols)) && write_stream(out, zeros, 1) &&
	       write_stream(out, symbol, (int64_t)strings - 1) &&
	       write_stream(out, names, sizeof(names)) &&
	       write_stream(out, zeros, (int64_t)(file.e_shoff - end)) &&
	       write_stream(out, sections, sizeof(sections));
}

bool weights_write_object(const struct program *p, const struct emit_options *o, const char *path,
			  struct diag *d)
{
	struct arena scratch = {0};
	const char *symbol = weights_symbol(&scratch, o);
	FILE *out = fopen(path, "wb");
	bool ok = out && write_object(p, symbol, out);
	int error = errno;

	if (out && fclose(out) && ok) {
		ok = false;
		error = errno;
	}
	if (!ok) {
		unlink(path);
		diag_add(d, DIAG_FILE, (struct loc){.file = path}, "cannot write: %s",
			 strerror(error));
	}
	arena_free(&scratch);
	return ok;
}
