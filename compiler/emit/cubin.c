#include "cubin.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT_SIZED = 4, ATTRIBUTE_FRAME_SIZE = 0x11, ATTRIBUTE_REGISTERS = 0x2f };

struct file {
	struct buf b;
	Elf64_Ehdr head;
};

static bool inside(const struct file *f, uint64_t at, uint64_t n)
{
	return at <= f->b.n && n <= f->b.n - at;
}

static bool section(const struct file *f, unsigned i, Elf64_Shdr *s)
{
	uint64_t at = f->head.e_shoff + (uint64_t)i * sizeof(*s);
	if (i >= f->head.e_shnum || !inside(f, at, sizeof(*s)))
		return false;
	memcpy(s, (const char *)f->b.p + at, sizeof(*s));
	return s->sh_type == SHT_NOBITS || inside(f, s->sh_offset, s->sh_size);
}

/* A name of a table of names, which ends in 0. */
static const char *text(const struct file *f, const Elf64_Shdr *names, uint64_t at)
{
	const char *p = (const char *)f->b.p + names->sh_offset;
	return at < names->sh_size && !p[names->sh_size - 1] ? p + at : "";
}

static bool find_section(const struct file *f, const char *name, Elf64_Shdr *s)
{
	Elf64_Shdr names;
	if (!section(f, f->head.e_shstrndx, &names))
		return false;
	for (unsigned i = 0; i < f->head.e_shnum; i++)
		if (section(f, i, s) && !strcmp(text(f, &names, s->sh_name), name))
			return true;
	return false;
}

static const char *symbol_name(const struct file *f, const Elf64_Shdr *symbols, uint32_t i)
{
	Elf64_Shdr names;
	Elf64_Sym s;
	if ((uint64_t)i * sizeof(s) + sizeof(s) > symbols->sh_size || !section(f, symbols->sh_link, &names))
		return "";
	memcpy(&s, (const char *)f->b.p + symbols->sh_offset + (uint64_t)i * sizeof(s), sizeof(s));
	return text(f, &names, s.st_name);
}

static struct cubin_kernel *kernel_of(struct arena *a, struct cubin_kernel **k, size_t *n, const char *name)
{
	for (size_t i = 0; i < *n; i++)
		if (!strcmp((*k)[i].name, name))
			return &(*k)[i];
	*arena_push(a, *k, *n) = (struct cubin_kernel){.name = arena_strdup(a, name)};
	return &(*k)[*n - 1];
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cubin_kernel *)a)->name, ((const struct cubin_kernel *)b)->name);
}

bool cubin_kernels(struct arena *a, struct buf cubin, struct cubin_kernel **out, size_t *n, struct err *e)
{
	struct file f = {.b = cubin};
	Elf64_Shdr info, symbols;
	*out = NULL;
	*n = 0;
	if (cubin.n < sizeof(f.head))
		return err_set(e, ERR_IO, "no cubin: %zu bytes", cubin.n);
	memcpy(&f.head, cubin.p, sizeof(f.head));
	if (memcmp(f.head.e_ident, ELFMAG, SELFMAG) || !find_section(&f, ".nv.info", &info) ||
		!find_section(&f, ".symtab", &symbols))
		return err_set(e, ERR_IO, "no cubin: it has no .nv.info");
	const uint8_t *p = (const uint8_t *)cubin.p + info.sh_offset;
	for (uint64_t at = 0; at + 4 <= info.sh_size;) {
		uint16_t bytes = (uint16_t)(p[at + 2] | p[at + 3] << 8);
		uint32_t word[2];
		if (p[at] != FORMAT_SIZED) {
			at += 4;
			continue;
		}
		if (at + 4 + bytes > info.sh_size)
			break;
		if (bytes == sizeof(word)) {
			memcpy(word, p + at + 4, sizeof(word));
			if (p[at + 1] == ATTRIBUTE_REGISTERS)
				kernel_of(a, out, n, symbol_name(&f, &symbols, word[0]))->registers = (int)word[1];
			if (p[at + 1] == ATTRIBUTE_FRAME_SIZE)
				kernel_of(a, out, n, symbol_name(&f, &symbols, word[0]))->stack_bytes = (int)word[1];
		}
		at += 4 + bytes;
	}
	if (*n)
		qsort(*out, *n, sizeof(**out), by_name);
	return true;
}
