/* argv -> verb; the only exit of the program. */
#include <stdlib.h>

#include "cli.h"

int main(int argc, char **argv)
{
	struct arena a;
	arena_init(&a);
	struct cli c = {.arena = &a, .out = stdout, .err = stderr};
	int code = cli_run(&c, argc, argv);
	arena_release(&a);
	exit(code);
}
