#include "fault_os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "world.h"

const char *const fault_name[] = {
#define X(name) #name,
	FAULT_KINDS(X)
#undef X
};

static struct fault_os *self(const struct os_ops *os)
{
	return (struct fault_os *)(uintptr_t)os;
}

static bool hit(const struct os_ops *os, enum fault_kind kind)
{
	struct fault_os *f = self(os);
	if (!f->n || (f->kind != kind && f->kind != FAULT_ANY))
		return false;
	int n = atomic_fetch_add(&f->ncalls, 1) + 1;
	if (n != f->n && !(f->effect == FAULT_FROM_THEN_ON && n > f->n))
		return false;
	if (f->effect == FAULT_KILL && kind != FAULT_WRITE)
		kill(getpid(), SIGKILL);
	atomic_fetch_add(&f->nfaults, 1);
	errno = f->error;
	return true;
}

static int f_open(const struct os_ops *os, const char *path, int flags, unsigned mode)
{
	/* a full or read-only disk refuses new files, not reading */
	bool changes = flags & (O_CREAT | O_WRONLY | O_RDWR);
	int error = self(os)->error;
	if ((changes || (error != ENOSPC && error != EROFS)) && hit(os, FAULT_OPEN))
		return -1;
	return os_posix()->open(os, path, flags, mode);
}

static ssize_t f_read(const struct os_ops *os, int fd, void *p, size_t n)
{
	return hit(os, FAULT_READ) ? -1 : os_posix()->read(os, fd, p, n);
}

static ssize_t f_write(const struct os_ops *os, int fd, const void *p, size_t n)
{
	if (!hit(os, FAULT_WRITE))
		return os_posix()->write(os, fd, p, n);
	/* the first half arrives */
	int error = errno;
	ssize_t done = n > 1 ? os_posix()->write(os, fd, p, n / 2) : 0;
	if (self(os)->effect == FAULT_KILL)
		kill(getpid(), SIGKILL);
	errno = error;
	(void)done;
	return -1;
}

static int f_fsync(const struct os_ops *os, int fd)
{
	(void)fd;
	return hit(os, FAULT_FSYNC) ? -1 : 0;
}

static int f_truncate(const struct os_ops *os, int fd, off_t bytes)
{
	return hit(os, FAULT_TRUNCATE) ? -1 : os_posix()->truncate(os, fd, bytes);
}

static int f_rename(const struct os_ops *os, const char *from, const char *to)
{
	return hit(os, FAULT_RENAME) ? -1 : os_posix()->rename(os, from, to);
}

static int f_unlink(const struct os_ops *os, const char *path)
{
	return hit(os, FAULT_UNLINK) ? -1 : os_posix()->unlink(os, path);
}

static int f_mkdir(const struct os_ops *os, const char *path, unsigned mode)
{
	return hit(os, FAULT_MKDIR) ? -1 : os_posix()->mkdir(os, path, mode);
}

static int f_fstat(const struct os_ops *os, int fd, struct stat *st)
{
	return hit(os, FAULT_FSTAT) ? -1 : os_posix()->fstat(os, fd, st);
}

static int f_stat(const struct os_ops *os, int dirfd, const char *path, struct stat *st)
{
	return hit(os, FAULT_STAT) ? -1 : os_posix()->stat(os, dirfd, path, st);
}

static void *f_mmap(const struct os_ops *os, size_t n, int fd)
{
	return hit(os, FAULT_MMAP) ? MAP_FAILED : os_posix()->mmap(os, n, fd);
}

static int f_lock(const struct os_ops *os, int fd, int op)
{
	return hit(os, FAULT_LOCK) ? -1 : os_posix()->lock(os, fd, op);
}

static pid_t f_spawn(const struct os_ops *os, const char *const argv[], int out)
{
	return hit(os, FAULT_SPAWN) ? -1 : os_posix()->spawn(os, argv, out);
}

static void *f_alloc(const struct os_ops *os, size_t n)
{
	return hit(os, FAULT_ALLOC) ? NULL : os_posix()->alloc(os, n);
}

void fault_os_init(struct fault_os *f, enum fault_kind kind, int n, enum fault_effect effect,
	int error)
{
	*f = (struct fault_os){
		.ops = *quiet_os(), .kind = kind, .n = n, .effect = effect, .error = error};
	f->ops.open = f_open;
	f->ops.read = f_read;
	f->ops.write = f_write;
	f->ops.fsync = f_fsync;
	f->ops.truncate = f_truncate;
	f->ops.rename = f_rename;
	f->ops.unlink = f_unlink;
	f->ops.mkdir = f_mkdir;
	f->ops.fstat = f_fstat;
	f->ops.stat = f_stat;
	f->ops.mmap = f_mmap;
	f->ops.lock = f_lock;
	f->ops.spawn = f_spawn;
	f->ops.alloc = f_alloc;
}
