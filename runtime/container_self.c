/* Finding the container of the running program (container.h). */
#include <elf.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "container.h"

bool container_of_program(struct buf *out, struct err *e)
{
	const Elf64_Phdr *ph = (const Elf64_Phdr *)getauxval(AT_PHDR);
	unsigned long n = getauxval(AT_PHNUM);
	const Elf64_Phdr *last = NULL;
	uintptr_t base = 0;
	for (unsigned long i = 0; ph && i < n; i++) {
		if (ph[i].p_type == PT_PHDR)
			base = (uintptr_t)ph - ph[i].p_vaddr;
		if (ph[i].p_type == PT_LOAD)
			last = &ph[i];
	}
	if (!last || last->p_flags != PF_R || last->p_filesz != last->p_memsz)
		return err_set(e, ERR_IO, "the program carries no model");
	/* A page that the file does not have would end the program with SIGBUS. */
	struct stat st;
	if (!stat("/proc/self/exe", &st) && (uint64_t)st.st_size < last->p_offset + last->p_filesz)
		return err_set(e, ERR_IO,
			"the program's file was cut off: %llu of at least %llu bytes",
			(unsigned long long)st.st_size,
			(unsigned long long)(last->p_offset + last->p_filesz));
	*out = (struct buf){(const void *)(base + last->p_vaddr), last->p_filesz};
	return true;
}
