/* Temporary files: named after their process, whose death frees them for removal by the next. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void store_remove_tree(const struct store *s, const char *path)
{
	char **name;
	size_t nname;
	if (s->os->unlink(s->os, path) == 0)
		return;
	if (!os_list(s->os, path, &name, &nname, NULL))
		return;
	for (size_t i = 0; i < nname; i++) {
		struct strbuf below;
		strbuf_init(&below);
		strbuf_addf(&below, "%s/%s", path, name[i]);
		store_remove_tree(s, below.s);
		strbuf_release(&below);
	}
	os_list_free(name, nname);
	rmdir(path);
}

static bool starts_with(const char *s, const char *prefix, size_t n)
{
	return strncmp(s, prefix, n) == 0;
}

static void remove_files_of(const struct store *s, char *const *name, size_t nname,
	const char *owner, size_t owner_bytes)
{
	char path[STORE_PATH_MAX];
	for (size_t i = 0; i < nname; i++)
		if (starts_with(name[i], owner, owner_bytes) && name[i][owner_bytes] == '.' &&
			strcmp(name[i] + owner_bytes, ".alive") != 0) {
			store_name(s, path, "tmp/%s", name[i]);
			store_remove_tree(s, path);
		}
}

/* What dead processes left. Failing to clean is no failure of the build. */
static void clean(struct store *s)
{
	char path[STORE_PATH_MAX], **name;
	size_t nname;
	struct stat st;
	store_name(s, path, "tmp");
	if (!os_list(s->os, path, &name, &nname, NULL))
		return;
	for (size_t i = 0; i < nname; i++) {
		size_t owner_bytes = strcspn(name[i], ".");
		store_name(s, path, "tmp/%.*s.alive", (int)owner_bytes, name[i]);
		int fd = s->os->open(s->os, path, O_RDWR, 0);
		if (fd < 0) {
			/* the listing is no snapshot: an owner may have come into being meanwhile
			 */
			if (errno == ENOENT && s->os->stat(s->os, AT_FDCWD, path, &st) < 0)
				remove_files_of(s, name, nname, name[i], owner_bytes);
			continue;
		}
		if (s->os->lock(s->os, fd, LOCK_EX | LOCK_NB) == 0) {
			remove_files_of(s, name, nname, name[i], owner_bytes);
			s->os->unlink(s->os, path);
		}
		s->os->close(s->os, fd);
	}
	os_list_free(name, nname);
}

static bool become_owner(struct store *s, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	clean(s);
	for (int i = 0; i < 1000; i++) {
		snprintf(s->tmp_name, sizeof(s->tmp_name), "%d-%llx", (int)getpid(),
			(unsigned long long)(s->os->tick_ns(s->os) + i));
		store_name(s, path, "tmp/%s.alive", s->tmp_name);
		int fd = s->os->open(s->os, path, O_RDWR | O_CREAT | O_EXCL, 0666);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return err_errno(e, "unable to create '%s'", path);
		bool taken = s->os->lock(s->os, fd, LOCK_EX | LOCK_NB) < 0;
		if (taken && errno != EWOULDBLOCK) {
			err_errno(e, "unable to lock '%s'", path);
			s->os->unlink(s->os, path);
			s->os->close(s->os, fd);
			return false;
		}
		/* between open and lock another process may have taken it for a dead one's */
		if (!taken && s->os->fstat(s->os, fd, &st) == 0 && st.st_nlink > 0) {
			s->tmp_fd = fd;
			return true;
		}
		s->os->close(s->os, fd);
	}
	return err_set(e, ERR_IO, "unable to create a temporary file in '%s/tmp'", s->path);
}

bool store_tmp_name(struct store *s, char path[STORE_PATH_MAX], struct err *e)
{
	if (s->read_only)
		return store_refuse(s, e);
	pthread_mutex_lock(&s->mutex);
	bool ok = s->tmp_fd >= 0 || become_owner(s, e);
	if (ok)
		store_name(s, path, "tmp/%s.%llu", s->tmp_name, (unsigned long long)s->tmp_seq++);
	pthread_mutex_unlock(&s->mutex);
	return ok;
}

int store_tmp_open(struct store *s, char path[STORE_PATH_MAX], unsigned mode, struct err *e)
{
	if (!store_tmp_name(s, path, e))
		return -1;
	int fd = s->os->open(s->os, path, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (fd < 0)
		err_errno(e, "unable to create '%s'", path);
	return fd;
}

bool store_sync_file(struct store *s, const char *path, struct err *e)
{
	int fd = s->os->open(s->os, path, O_RDONLY, 0);
	if (fd < 0)
		return err_errno(e, "unable to open '%s'", path);
	bool ok = s->os->fsync(s->os, fd) == 0 || err_errno(e, "unable to sync '%s'", path);
	s->os->close(s->os, fd);
	return ok;
}

bool store_tmp_place(struct store *s, const char *tmp, const char *to, enum store_sync sync,
	struct err *e)
{
	char folder[STORE_PATH_MAX];
	bool ok = sync == STORE_NO_SYNC || store_sync_file(s, tmp, e);
	if (ok && s->os->rename(s->os, tmp, to) < 0) {
		ok = false;
		if (errno == ENOENT) {
			snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(to, '/') - to), to);
			if (!os_mkdirs(s->os, folder, e)) {
				s->os->unlink(s->os, tmp);
				return false;
			}
			ok = s->os->rename(s->os, tmp, to) == 0;
		}
		if (!ok)
			err_errno(e, "unable to rename to '%s'", to);
	}
	if (!ok) {
		int saved = errno;
		s->os->unlink(s->os, tmp);
		errno = saved;
	}
	return ok;
}

bool store_tmp_put(struct store *s, const char *to, const struct buf *part, size_t npart,
	enum store_sync sync, struct err *e)
{
	char tmp[STORE_PATH_MAX];
	int fd = store_tmp_open(s, tmp, 0644, e);
	if (fd < 0)
		return false;
	bool ok = true;
	for (size_t i = 0; ok && i < npart; i++)
		ok = os_write_all(s->os, fd, part[i].p, part[i].n, tmp, e);
	s->os->close(s->os, fd);
	if (!ok)
		s->os->unlink(s->os, tmp);
	return ok && store_tmp_place(s, tmp, to, sync, e);
}

bool store_tmpdir(struct store *s, struct strbuf *out, struct err *e)
{
	char path[STORE_PATH_MAX];
	if (!store_tmp_name(s, path, e))
		return false;
	if (s->os->mkdir(s->os, path, 0777) < 0)
		return err_errno(e, "unable to create directory '%s'", path);
	strbuf_adds(out, path);
	return true;
}

void store_tmpdir_remove(struct store *s, const char *path)
{
	store_remove_tree(s, path);
}
