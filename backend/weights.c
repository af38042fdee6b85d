/* weights.c: the weights, written as a stream: they never pass through LLVM and are never in memory twice. Either as
 * a relocatable ELF64 object, or straight into a linked file, where an object and the linker's script (link.c) only
 * kept room for them: a linker has its input and its output in memory, and would copy each byte once more.
 * Follows the System V ABI, chapter 4 (object files): one read-only section, one global hidden symbol. */
#include "backend/modules.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Opens a file to write the weights to, by large blocks: fewer calls, and whole pages. The buffer must outlive it. */
static FILE *open_stream(const char *path, const char *mode, struct arena *buffer)
{
	enum { BLOCK = 1 << 20 };
	FILE *f = fopen(path, mode);

	if (f)
		setvbuf(f, arena_alloc(buffer, BLOCK), _IOFBF, BLOCK);
	return f;
}

static bool write_stream(void *self, const void *data, int64_t size)
{
	FILE *out = self;

	return size == 0 || fwrite(data, 1, (size_t)size, out) == (size_t)size;
}

static const char names[] = "\0" WEIGHTS_SECTION "\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack";
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

static bool write_object(const struct program *p, const char *symbol, bool hollow, FILE *out)
{
	static const unsigned char zeros[WEIGHTS_HOLLOW];
	Elf64_Ehdr file;
	Elf64_Shdr sections[SECTION_COUNT] = {0};
	Elf64_Sym symbols[2] = {{0}};
	uint64_t strings = strlen(symbol) + 2,
		 weights = hollow ? WEIGHTS_HOLLOW
				  : (uint64_t)p->constants->bytes; /* a multiple of 64 */
	uint64_t end;

	fill_headers(&file, sections, weights, strings, p->target->isa == ISA_NEON);
	end = sections[SECTION_STACK].sh_offset;
	symbols[1] = (Elf64_Sym){.st_name = 1,
				 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
				 .st_other = STV_HIDDEN,
				 .st_shndx = SECTION_WEIGHTS,
				 .st_size = weights};
	return write_stream(out, &file, sizeof(file)) &&
	       (hollow ? write_stream(out, zeros, sizeof(zeros))
		       : program_write_weights(p, write_stream, out)) &&
	       write_stream(out, symbols, sizeof(symbols)) && write_stream(out, zeros, 1) &&
	       write_stream(out, symbol, (int64_t)strings - 1) &&
	       write_stream(out, names, sizeof(names)) &&
	       write_stream(out, zeros, (int64_t)(file.e_shoff - end)) &&
	       write_stream(out, sections, sizeof(sections));
}

/* Closes a file that was written to; false: reported. */
static bool finish(FILE *out, bool ok, const char *path, struct diag *d)
{
	int error = errno;

	if (out && fclose(out) && ok) {
		ok = false;
		error = errno;
	}
	return ok || diag_add(d, DIAG_FILE, (struct loc){.file = path}, "cannot write: %s",
			      strerror(error));
}

bool weights_write_object(const struct program *p, const struct emit_options *o, bool hollow,
			  const char *path, struct diag *d)
{
	struct arena scratch = {0};
	const char *symbol = weights_symbol(&scratch, o);
	FILE *out = open_stream(path, "wb", &scratch);
	bool ok = finish(out, out && write_object(p, symbol, hollow, out), path, d);

	if (!ok)
		unlink(path);
	arena_free(&scratch);
	return ok;
}

/* ---- in a linked file ---- */

static bool read_at(FILE *f, uint64_t at, void *out, size_t size)
{
	return at <= INT64_MAX && !fseeko(f, (off_t)at, SEEK_SET) && fread(out, size, 1, f) == 1;
}

static bool is_weights(FILE *f, const Elf64_Shdr *s, const Elf64_Shdr *strings)
{
	char name[sizeof(WEIGHTS_SECTION)];

	return s->sh_name < strings->sh_size &&
	       read_at(f, strings->sh_offset + s->sh_name, name, sizeof(name)) &&
	       !memcmp(name, WEIGHTS_SECTION, sizeof(name));
}

/* Where the file has a section of exactly so many bytes for the weights; 0: nowhere. */
static uint64_t find_room(FILE *f, uint64_t bytes)
{
	Elf64_Ehdr h;
	Elf64_Shdr s, strings;

	if (!read_at(f, 0, &h, sizeof(h)) || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_shentsize != sizeof(s) ||
	    !read_at(f, h.e_shoff + h.e_shstrndx * sizeof(s), &strings, sizeof(s)))
		return 0;
	for (int i = 1; i < h.e_shnum; i++) {
		if (!read_at(f, h.e_shoff + (uint64_t)i * sizeof(s), &s, sizeof(s)))
			return 0;
		if (is_weights(f, &s, &strings))
			return s.sh_type == SHT_PROGBITS && s.sh_size == bytes ? s.sh_offset : 0;
	}
	return 0;
}

bool weights_fit(const struct program *p, const char *path)
{
	FILE *f = fopen(path, "rb");
	bool fit = f && find_room(f, (uint64_t)p->constants->bytes);

	if (f)
		fclose(f);
	return fit;
}

bool weights_fill(const struct program *p, const char *path, struct diag *d)
{
	struct arena scratch = {0};
	FILE *f = open_stream(path, "r+b", &scratch);
	uint64_t at = f ? find_room(f, (uint64_t)p->constants->bytes) : 0;
	bool ok = finish(f,
			 at && !fseeko(f, (off_t)at, SEEK_SET) &&
				 program_write_weights(p, write_stream, f),
			 path, d);

	arena_free(&scratch);
	return ok;
}
