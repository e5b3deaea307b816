/*
 * The operating system as the store and the engine see it: one table of calls, passed in, so that
 * a test can let the n-th one fail or stand still in time. Each behaves as the POSIX call of its
 * name: -1 (or MAP_FAILED, NULL) with errno set on failure. os_posix() is the real system; a table
 * of a test begins with a struct os_ops and finds its own state behind the `os` that it is handed.
 * A table may be called from several threads at once.
 */
#ifndef OS_H
#define OS_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base.h"
#include "file.h"

struct os_ops {
	int (*open)(const struct os_ops *os, const char *path, int flags, unsigned mode);
	int (*close)(const struct os_ops *os, int fd);
	ssize_t (*read)(const struct os_ops *os, int fd, void *p, size_t n);
	ssize_t (*write)(const struct os_ops *os, int fd, const void *p, size_t n);
	int (*fsync)(const struct os_ops *os, int fd);
	int (*truncate)(const struct os_ops *os, int fd, off_t bytes);
	int (*rename)(const struct os_ops *os, const char *from, const char *to);
	int (*unlink)(const struct os_ops *os, const char *path);
	int (*mkdir)(const struct os_ops *os, const char *path, unsigned mode);
	int (*fstat)(const struct os_ops *os, int fd, struct stat *st);
	int (*stat)(const struct os_ops *os, int dirfd, const char *path, struct stat *st);
	void *(*mmap)(const struct os_ops *os, size_t n, int fd); /* read-only, private, from 0 */
	int (*munmap)(const struct os_ops *os, void *p, size_t n);
	int (*lock)(const struct os_ops *os, int fd, int op); /* flock(2); the kernel drops it */
	int (*clone)(const struct os_ops *os, int to, int from); /* reflink of the whole file */
	ssize_t (*copy)(const struct os_ops *os, int to, int from, off_t *at, size_t n);
	/* Runs argv[0] (a path), stdin from /dev/null, stdout and stderr into fd `out`. */
	pid_t (*spawn)(const struct os_ops *os, const char *const argv[], int out);
	void *(*alloc)(const struct os_ops *os, size_t n); /* buffers of i/o; free(3) frees them */
	int64_t (*now_ns)(const struct os_ops *os);        /* since 1970; the clock of file times */
	int64_t (*tick_ns)(const struct os_ops *os);       /* monotonic, for costs */
};

const struct os_ops *os_posix(void);

/* Whole-file helpers over a table, as file.h has them for those whose calls no test lets fail; messages name
 * the path. `os_read_file` appends to b. */
bool os_read_file(const struct os_ops *os, const char *path, struct strbuf *b, struct err *e);
bool os_write_all(const struct os_ops *os, int fd, const void *p, size_t n, const char *path,
	struct err *e);
bool os_mkdirs(const struct os_ops *os, const char *path, struct err *e); /* mkdir -p */

/* Maps a regular file read-only. A missing file is false with errno ENOENT and an err. */
bool os_map(const struct os_ops *os, const char *path, struct map *m, struct err *e);
void os_unmap(const struct os_ops *os, struct map *m);

/* The names in a directory, sorted by bytes, without "." and ".."; malloc'ed as one array whose
 * elements and itself os_list_free frees. A missing directory has no names. */
bool os_list(const struct os_ops *os, const char *path, char ***name, size_t *nname, struct err *e);
void os_list_free(char **name, size_t nname);

#endif
