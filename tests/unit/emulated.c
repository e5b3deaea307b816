/* emulated FILE: runs the program of the object that it is linked with on the file's tensors; see
 * emulator.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "emulator.h"
#include "program.h"

extern const struct variant trim_variant;

static int fail(const char *what)
{
	fprintf(stderr, "emulated: %s\n", what);
	return 1;
}

static struct emulated *map(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		return NULL;
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

int main(int argc, char **argv)
{
	const struct program *program = trim_variant.program[0];
	struct emulated *f = argc == 2 ? map(argv[1]) : NULL;
	struct pool *pool = f ? pool_new((int)f->nthreads) : NULL;
	if (!pool)
		return fail("no file or no threads");
	void *t[1 + EMULATED_TENSORS] = {aligned_alloc(64, (program->slab_bytes + 127) / 64 * 64)};
	for (int i = 0; i < f->ntensor; i++) {
		int at = program_external_find(program, f->tensor[i].name);
		if (at < 0)
			return fail(f->tensor[i].name);
		t[1 + at] = (char *)f + f->tensor[i].offset;
	}
	for (uint32_t i = 0; i < program->nexternal; i++)
		if (!t[1 + i])
			return fail(program->external[i].name);
	void *scratch = aligned_alloc(64, (program_scratch_bytes(program) + 64) * (size_t)f->nthreads);
	memset(t[0], 0xee, program->slab_bytes); /* nothing may rely on a clean slab */
	struct program spread = spread_program(program, (int)f->nthreads);
	program_run(&spread, pool, t, f->dim, scratch);
	free((void *)spread.kernel);
	free(scratch);
	free(t[0]);
	pool_free(pool);
	return 0;
}
