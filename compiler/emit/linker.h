/* Running ld.lld: files in memory in, files in memory out. */
#ifndef LINKER_H
#define LINKER_H

#include "arena.h"
#include "strbuf.h"

/* Object i is /proc/self/fd/(LINKER_OBJECT_FD + i) in the arguments. */
enum { LINKER_OBJECT_FD = 3, LINKER_MAX_OBJECTS = 16 };

struct linker_objects {
	const struct buf *object;
	size_t n; /* at most LINKER_MAX_OBJECTS */
};

/* Where linker_run finds ld.lld. In the arena. ERR_TOOL. */
const char *linker_path(struct arena *a, struct err *e);

/* Runs ld.lld with the arguments (argv[0] included, NULL at the end); appends what it wrote to its
 * standard output. ERR_TOOL when there is no ld.lld, ERR_IO with its first message when it fails,
 * ERR_CANCELLED when it was interrupted. */
bool linker_run(const char *const *argv, struct linker_objects in, struct strbuf *out, struct err *e);

#endif
