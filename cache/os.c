#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <spawn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int real_open(const struct os_ops *os, const char *path, int flags, unsigned mode)
{
	(void)os;
	return open(path, flags | O_CLOEXEC, (mode_t)mode);
}

static int real_close(const struct os_ops *os, int fd)
{
	(void)os;
	return close(fd);
}

static ssize_t real_read(const struct os_ops *os, int fd, void *p, size_t n)
{
	(void)os;
	return read(fd, p, n);
}

static ssize_t real_write(const struct os_ops *os, int fd, const void *p, size_t n)
{
	(void)os;
	return write(fd, p, n);
}

static int real_fsync(const struct os_ops *os, int fd)
{
	(void)os;
	return fsync(fd);
}

static int real_truncate(const struct os_ops *os, int fd, off_t bytes)
{
	(void)os;
	return ftruncate(fd, bytes);
}

static int real_rename(const struct os_ops *os, const char *from, const char *to)
{
	(void)os;
	return rename(from, to);
}

static int real_unlink(const struct os_ops *os, const char *path)
{
	(void)os;
	return unlink(path);
}

static int real_mkdir(const struct os_ops *os, const char *path, unsigned mode)
{
	(void)os;
	return mkdir(path, (mode_t)mode);
}

static int real_fstat(const struct os_ops *os, int fd, struct stat *st)
{
	(void)os;
	return fstat(fd, st);
}

static int real_stat(const struct os_ops *os, int dirfd, const char *path, struct stat *st)
{
	(void)os;
	return fstatat(dirfd, path, st, 0);
}

static void *real_mmap(const struct os_ops *os, size_t n, int fd)
{
	(void)os;
	return mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
}

static int real_munmap(const struct os_ops *os, void *p, size_t n)
{
	(void)os;
	return munmap(p, n);
}

static int real_lock(const struct os_ops *os, int fd, int op)
{
	(void)os;
	return flock(fd, op);
}

static int real_clone(const struct os_ops *os, int to, int from)
{
	(void)os;
	return ioctl(to, FICLONE, from);
}

static ssize_t real_copy(const struct os_ops *os, int to, int from, off_t *at, size_t n)
{
	(void)os;
	return copy_file_range(from, at, to, NULL, n, 0);
}

/* A group of its own: an interrupt from the terminal reaches trim, which decides about its tools.
 */
static pid_t real_spawn(const struct os_ops *os, const char *const argv[], int out)
{
	(void)os;
	static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid = -1;
	int rc = posix_spawn_file_actions_init(&fa);
	if (rc) {
		errno = rc;
		return -1;
	}
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&fa, out, 1);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&fa, out, 2);
	if (!rc)
		rc = posix_spawn(&pid, argv[0], &fa, &attr, (char *const *)(uintptr_t)argv,
			(char *const *)(uintptr_t)env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	if (rc) {
		errno = rc;
		return -1;
	}
	return pid;
}

static void *real_alloc(const struct os_ops *os, size_t n)
{
	(void)os;
	return malloc(n ? n : 1);
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t real_now_ns(const struct os_ops *os)
{
	(void)os;
	return clock_ns(CLOCK_REALTIME_COARSE);
}

static int64_t real_tick_ns(const struct os_ops *os)
{
	(void)os;
	return clock_ns(CLOCK_MONOTONIC);
}

const struct os_ops *os_posix(void)
{
	static const struct os_ops ops = {
		.open = real_open,
		.close = real_close,
		.read = real_read,
		.write = real_write,
		.fsync = real_fsync,
		.truncate = real_truncate,
		.rename = real_rename,
		.unlink = real_unlink,
		.mkdir = real_mkdir,
		.fstat = real_fstat,
		.stat = real_stat,
		.mmap = real_mmap,
		.munmap = real_munmap,
		.lock = real_lock,
		.clone = real_clone,
		.copy = real_copy,
		.spawn = real_spawn,
		.alloc = real_alloc,
		.now_ns = real_now_ns,
		.tick_ns = real_tick_ns,
	};
	return &ops;
}

bool os_read_file(const struct os_ops *os, const char *path, struct strbuf *b, struct err *e)
{
	char chunk[8192];
	ssize_t n;
	int fd = os->open(os, path, O_RDONLY, 0);
	if (fd < 0)
		return err_errno(e, "unable to open '%s'", path);
	while ((n = os->read(os, fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		strbuf_add(b, chunk, (size_t)n);
	}
	int saved = errno;
	if (n < 0)
		err_errno(e, "unable to read '%s'", path);
	os->close(os, fd);
	errno = saved;
	return n == 0;
}

bool os_write_all(const struct os_ops *os, int fd, const void *p, size_t n, const char *path,
	struct err *e)
{
	const char *s = p;
	while (n) {
		ssize_t done = os->write(os, fd, s, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_errno(e, "unable to write '%s'", path);
		s += done;
		n -= (size_t)done;
	}
	return true;
}

bool os_mkdirs(const struct os_ops *os, const char *path, struct err *e)
{
	struct stat st;
	if (os->stat(os, AT_FDCWD, path, &st) == 0 && S_ISDIR(st.st_mode))
		return true;
	char *copy = xstrdup(path);
	bool ok = true;
	int saved = 0;
	for (char *p = copy + 1; ok; p++) {
		char c = *p;
		if (c && c != '/')
			continue;
		*p = '\0';
		if (os->mkdir(os, copy, 0777) < 0 && errno != EEXIST) {
			saved = errno;
			/* on a read-only file system mkdir says so even of what exists */
			if (os->stat(os, AT_FDCWD, copy, &st) < 0) {
				errno = saved;
				ok = err_errno(e, "unable to create directory '%s'", copy);
			}
		}
		*p = c;
		if (!c)
			break;
	}
	free(copy);
	errno = saved;
	return ok;
}

bool os_map(const struct os_ops *os, const char *path, struct map *m, struct err *e)
{
	struct stat st;
	int fd = os->open(os, path, O_RDONLY, 0), saved = 0;
	bool ok = true;
	*m = (struct map){0};
	if (fd < 0)
		return err_errno(e, "unable to open '%s'", path);
	if (os->fstat(os, fd, &st) < 0)
		ok = err_errno(e, "unable to stat '%s'", path);
	else if (!S_ISREG(st.st_mode))
		ok = err_set(e, ERR_IO, "'%s' is not a regular file", path);
	else if (st.st_size) {
		void *p = os->mmap(os, (size_t)st.st_size, fd);
		if (p == MAP_FAILED)
			ok = err_errno(e, "unable to map '%s'", path);
		else
			*m = (struct map){p, (size_t)st.st_size};
	}
	if (!ok)
		saved = errno;
	os->close(os, fd);
	errno = saved;
	return ok;
}

void os_unmap(const struct os_ops *os, struct map *m)
{
	if (m->p)
		os->munmap(os, (void *)(uintptr_t)m->p, m->n);
	*m = (struct map){0};
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool os_list(const struct os_ops *os, const char *path, char ***name, size_t *nname, struct err *e)
{
	struct dirent *d;
	size_t cap = 0;
	*name = NULL;
	*nname = 0;
	int fd = os->open(os, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno == ENOENT || err_errno(e, "unable to list '%s'", path);
	DIR *dir = fdopendir(fd);
	if (!dir) {
		err_errno(e, "unable to list '%s'", path);
		os->close(os, fd);
		return false;
	}
	while (errno = 0, (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (*nname == cap) {
			cap = cap ? cap * 2 : 64;
			*name = xrealloc(*name, cap * sizeof(**name));
		}
		(*name)[(*nname)++] = xstrdup(d->d_name);
	}
	bool ok = errno == 0 || err_errno(e, "unable to list '%s'", path);
	closedir(dir);
	if (!ok) {
		os_list_free(*name, *nname);
		*name = NULL;
		*nname = 0;
	} else if (*nname) {
		qsort(*name, *nname, sizeof(**name), by_bytes);
	}
	return ok;
}

void os_list_free(char **name, size_t nname)
{
	for (size_t i = 0; i < nname; i++)
		free(name[i]);
	free(name);
}
