/* argv -> verb; the only exit of the program. */
#include <malloc.h>
#include <stdlib.h>

#include "cli.h"

/* glibc raises this threshold as blocks are freed, and keeps up to twice as much from then on: a tensor's memory then
 * stays with the process, and what an action takes depends on which ran before it. */
enum { LEAST_MAPPED = 1 << 20 };

int main(int argc, char **argv)
{
	struct arena a;
	arena_init(&a);
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, LEAST_MAPPED);
#endif
	struct cli c = {.arena = &a, .out = stdout, .err = stderr};
	int code = cli_run(&c, argc, argv);
	arena_release(&a);
	exit(code);
}
