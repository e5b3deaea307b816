#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool map_open(struct map *m, const char *path, struct err *e)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "unable to open '%s'", path);
	if (fstat(fd, &st) < 0) {
		err_errno(e, "unable to stat '%s'", path);
		close(fd);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(e, ERR_IO, "'%s' is not a regular file", path);
	}
	*m = (struct map){NULL, (size_t)st.st_size};
	if (m->n) {
		void *p = mmap(NULL, m->n, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED) {
			err_errno(e, "unable to map '%s'", path);
			close(fd);
			return false;
		}
		m->p = p;
	}
	close(fd);
	return true;
}

void map_release(struct map *m)
{
	if (m->p)
		munmap((void *)(uintptr_t)m->p, m->n);
	*m = (struct map){0};
}

bool file_read(struct strbuf *b, const char *path, struct err *e)
{
	char chunk[16384];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "unable to open '%s'", path);
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		strbuf_add(b, chunk, (size_t)n);
	}
	if (n < 0)
		err_errno(e, "unable to read '%s'", path);
	close(fd);
	return n == 0;
}

bool fd_write(int fd, const void *p, size_t n, const char *path, struct err *e)
{
	const char *s = p;
	while (n) {
		ssize_t done = write(fd, s, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_errno(e, "unable to write '%s'", path);
		s += done;
		n -= (size_t)done;
	}
	return true;
}

bool file_write_parts(const char *path, const struct buf *part, size_t npart, unsigned mode,
	struct err *e)
{
	struct strbuf tmp;
	strbuf_init(&tmp);
	strbuf_addf(&tmp, "%s.tmp-XXXXXX", path);
	int fd = mkstemp(tmp.s);
	bool ok = fd >= 0;
	if (!ok) {
		err_errno(e, "unable to create a file beside '%s'", path);
	} else {
		for (size_t i = 0; ok && i < npart; i++)
			ok = fd_write(fd, part[i].p, part[i].n, path, e);
		if (ok && fchmod(fd, (mode_t)mode) < 0)
			ok = err_errno(e, "unable to set the mode of '%s'", path);
		if (close(fd) < 0 && ok)
			ok = err_errno(e, "unable to write '%s'", path);
		if (ok && rename(tmp.s, path) < 0)
			ok = err_errno(e, "unable to rename to '%s'", path);
		if (!ok)
			unlink(tmp.s);
	}
	strbuf_release(&tmp);
	return ok;
}

bool file_write(const char *path, struct buf bytes, unsigned mode, struct err *e)
{
	return file_write_parts(path, &bytes, 1, mode, e);
}

bool make_directories(const char *path, struct err *e)
{
	char *copy = xstrdup(path);
	bool ok = true;
	for (char *p = copy + 1; ok; p++) {
		char c = *p;
		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0777) < 0 && errno != EEXIST)
			ok = err_errno(e, "unable to create directory '%s'", copy);
		*p = c;
		if (!c)
			break;
	}
	free(copy);
	return ok;
}
