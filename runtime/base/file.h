/* Whole files: read-only maps and atomic writes. */
#ifndef FILE_H
#define FILE_H

#include "strbuf.h"

struct map {
	const uint8_t *p; /* NULL when n is 0 */
	size_t n;         /* bytes */
};

/* Maps a regular file read-only; the file may be replaced meanwhile, not truncated. */
bool map_open(struct map *m, const char *path, struct err *e);
void map_release(struct map *m);

/* Reads a whole file (or pipe) behind what b holds. */
bool file_read(struct strbuf *b, const char *path, struct err *e);

/* Writes a temporary file beside path, then renames: path holds the old bytes or the new ones,
 * never a part. mode as in open(2). */
bool file_write(const char *path, struct buf bytes, unsigned mode, struct err *e);
/* The same of parts, one behind the other. */
bool file_write_parts(const char *path, const struct buf *part, size_t npart, unsigned mode,
	struct err *e);

/* write(2) until all is written. */
bool fd_write(int fd, const void *p, size_t n, const char *path, struct err *e);

/* mkdir -p. */
bool make_directories(const char *path, struct err *e);

#endif
