#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char format_text[] = "trim cache 1\n";
static const char cachedir_tag[] =
	"Signature: 8a477f597d28d172789f06886806bc55\n"
	"# This folder is a cache of trim; it can be removed at any time.\n";

bool store_default_path(struct strbuf *out, struct err *e)
{
	static const struct {
		const char *variable, *below;
	} row[] = {{"TRIM_CACHE", ""}, {"XDG_CACHE_HOME", "/trim"}, {"HOME", "/.cache/trim"}};
	for (size_t i = 0; i < NELEM(row); i++) {
		const char *value = getenv(row[i].variable);
		if (value && *value) {
			strbuf_adds(out, value);
			strbuf_adds(out, row[i].below);
			return true;
		}
	}
	return err_set(e, ERR_TOOL, "no place for the cache: set TRIM_CACHE or HOME");
}

void store_name(const struct store *s, char out[STORE_PATH_MAX], const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(out, STORE_PATH_MAX, "%s/", s->path);
	va_start(ap, fmt);
	n += vsnprintf(out + n, (size_t)(STORE_PATH_MAX - n), fmt, ap);
	va_end(ap);
	if (n >= STORE_PATH_MAX)
		BUG("a path in the store is too long: '%s'", out);
}

void store_digest_name(const struct store *s, char out[STORE_PATH_MAX], const char *folder,
	struct digest d)
{
	char hex[DIGEST_HEX];
	digest_hex(d, hex);
	store_name(s, out, "%s/%.2s/%s", folder, hex, hex + 2);
}

bool store_refuse(const struct store *s, struct err *e)
{
	return err_set(e, ERR_IO,
		"the cache '%s' cannot be written here, and a result is missing in it", s->path);
}

/* Writes a small file of the store's own unless it exists. */
static bool put_if_absent(struct store *s, const char *name, const char *text, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	struct buf bytes = {text, strlen(text)};
	store_name(s, path, "%s", name);
	return s->os->stat(s->os, AT_FDCWD, path, &st) == 0 ||
		store_tmp_put(s, path, &bytes, 1, STORE_NO_SYNC, e);
}

static bool create(struct store *s, struct err *e)
{
	static const char *const folder[] = {
		"", "objects", "actions", "checkpoints", "roots", "locks", "tmp"};
	char path[STORE_PATH_MAX];
	for (size_t i = 0; i < NELEM(folder); i++) {
		store_name(s, path, "%s", folder[i]);
		if (!os_mkdirs(s->os, path, e))
			return false;
	}
	return put_if_absent(s, "CACHEDIR.TAG", cachedir_tag, e) &&
		put_if_absent(s, "format", format_text, e);
}

static bool check_format(struct store *s, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct strbuf text;
	strbuf_init(&text);
	store_name(s, path, "format");
	bool ok = os_read_file(s->os, path, &text, e);
	if (ok && strcmp(text.s, format_text) != 0)
		ok = err_set(e, ERR_IO, "'%s' is not a cache of this version of trim: want '%.*s'",
			path, (int)strlen(format_text) - 1, format_text);
	strbuf_release(&text);
	return ok;
}

static bool denied(int error)
{
	return error == EACCES || error == EROFS || error == EPERM;
}

/* Every build shares this lock; not being able to write its file shows a cache to be read only. */
static bool hold_gc_lock(struct store *s, struct err *e)
{
	char path[STORE_PATH_MAX];
	store_name(s, path, "locks/gc");
	if (!s->read_only)
		s->gc_fd = s->os->open(s->os, path, O_RDWR | O_CREAT, 0666);
	if (s->gc_fd < 0 && !s->read_only && !denied(errno))
		return err_errno(e, "unable to open '%s'", path);
	s->read_only |= s->gc_fd < 0;
	if (s->gc_fd < 0)
		s->gc_fd = s->os->open(s->os, path, O_RDONLY, 0);
	if (s->gc_fd < 0)
		return true; /* nobody can collect it either */
	if (s->os->lock(s->os, s->gc_fd, LOCK_SH | LOCK_NB) == 0)
		return true;
	if (errno == EWOULDBLOCK)
		return err_set(e, ERR_LOCKED,
			"the cache '%s' is being collected by another process", s->path);
	return err_errno(e, "unable to lock '%s'", path);
}

bool store_open(struct store **out, const struct os_ops *os, const char *path, enum store_mode mode,
	struct err *e)
{
	char format[STORE_PATH_MAX];
	struct stat st;
	if (strlen(path) > STORE_PATH_MAX - 256)
		return err_set(e, ERR_SPEC, "the path of the cache is too long");
	struct store *s = xcalloc(1, sizeof(*s));
	s->os = os ? os : os_posix();
	s->path = xstrdup(path);
	s->gc_fd = s->tmp_fd = -1;
	s->read_only = mode == STORE_READ_ONLY;
	pthread_mutex_init(&s->mutex, NULL);
	/* a few stats cost less than trying to create what is nearly always there */
	store_name(s, format, "format");
	bool ok = true;
	if (!s->read_only && s->os->stat(s->os, AT_FDCWD, format, &st) < 0) {
		ok = create(s, e);
		if (!ok && denied(errno))
			s->read_only = ok = true;
	}
	/* a store that is not there yet and cannot be made answers nothing */
	if (ok && s->os->stat(s->os, AT_FDCWD, format, &st) == 0)
		ok = check_format(s, e) && hold_gc_lock(s, e);
	if (!ok) {
		store_free(s);
		return false;
	}
	*out = s;
	return true;
}

void store_free(struct store *s)
{
	char path[STORE_PATH_MAX];
	if (!s)
		return;
	if (s->tmp_fd >= 0) {
		store_name(s, path, "tmp/%s.alive", s->tmp_name);
		s->os->unlink(s->os, path);
		s->os->close(s->os, s->tmp_fd);
	}
	if (s->gc_fd >= 0)
		s->os->close(s->os, s->gc_fd);
	digest_map_release(&s->seen);
	pthread_mutex_destroy(&s->mutex);
	free(s->path);
	free(s);
}

const char *store_path(const struct store *s)
{
	return s->path;
}

const struct os_ops *store_os(const struct store *s)
{
	return s->os;
}

void store_mark(struct store *s, struct digest d, uint64_t seen)
{
	pthread_mutex_lock(&s->mutex);
	*digest_map_put(&s->seen, d) = seen;
	pthread_mutex_unlock(&s->mutex);
}

bool store_has(struct store *s, struct digest d, const uint64_t *bytes)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	pthread_mutex_lock(&s->mutex);
	uint64_t *known = digest_map_get(&s->seen, d);
	uint64_t seen = known ? *known : SEEN_UNKNOWN;
	pthread_mutex_unlock(&s->mutex);
	if (seen)
		return seen == SEEN_THERE;
	store_digest_name(s, path, "objects", d);
	bool there = s->os->stat(s->os, AT_FDCWD, path, &st) == 0 && S_ISREG(st.st_mode) &&
		(!bytes || (uint64_t)st.st_size == *bytes);
	if (there)
		store_mark(s, d, SEEN_THERE);
	return there;
}

enum store_found store_get(struct store *s, struct digest d, struct map *out, struct err *e)
{
	char path[STORE_PATH_MAX];
	store_digest_name(s, path, "objects", d);
	if (!os_map(s->os, path, out, e)) {
		if (errno != ENOENT)
			return STORE_FAIL;
		store_mark(s, d, SEEN_UNKNOWN);
		return STORE_MISS;
	}
	if (digest_equal(digest_of(out->p, out->n), d))
		return STORE_OK;
	os_unmap(s->os, out);
	/* out of the way, so that making it again finds the name free; where that is impossible the
	 * mark alone keeps it from being believed */
	bool gone = !s->read_only && s->os->unlink(s->os, path) == 0;
	store_mark(s, d, gone ? SEEN_UNKNOWN : SEEN_BAD);
	err_set(e, ERR_IO, "object '%s' is damaged", path);
	return STORE_MISS;
}

void store_unmap(struct store *s, struct map *m)
{
	os_unmap(s->os, m);
}

enum store_found store_materialise(struct store *s, struct digest d, const char *path,
	unsigned mode, struct err *e)
{
	struct map m;
	enum store_found found = store_get(s, d, &m, e);
	if (found != STORE_OK)
		return found;
	struct recipe_part part = {.object = d, .bytes = m.n};
	struct recipe whole = {.whole = d, .bytes = m.n, .part = &part, .npart = 1};
	store_unmap(s, &m);
	return store_assemble(s, &whole, path, mode, e);
}

bool store_lock_try(struct store *s, struct digest key, struct store_lock *out, int *pid,
	struct err *e)
{
	char path[STORE_PATH_MAX], hex[DIGEST_HEX], text[32];
	struct stat mine, named;
	*out = (struct store_lock){-1, key};
	*pid = 0;
	if (s->read_only)
		return store_refuse(s, e);
	digest_hex(key, hex);
	store_name(s, path, "locks/%s", hex);
	for (;;) {
		int fd = s->os->open(s->os, path, O_RDWR | O_CREAT, 0666);
		if (fd < 0)
			return err_errno(e, "unable to open '%s'", path);
		if (s->os->lock(s->os, fd, LOCK_EX | LOCK_NB) < 0) {
			bool busy = errno == EWOULDBLOCK || errno == EINTR;
			if (!busy)
				err_errno(e, "unable to lock '%s'", path);
			ssize_t n = busy ? s->os->read(s->os, fd, text, sizeof(text) - 1) : 0;
			text[n > 0 ? n : 0] = '\0';
			*pid = atoi(text);
			s->os->close(s->os, fd);
			return busy;
		}
		/* the holder before us may have removed the name we opened */
		if (s->os->fstat(s->os, fd, &mine) < 0) {
			err_errno(e, "unable to stat '%s'", path);
			s->os->close(s->os, fd);
			return false;
		}
		if (s->os->stat(s->os, AT_FDCWD, path, &named) == 0 &&
			named.st_ino == mine.st_ino) {
			/* for messages only: a lock without a pid is a lock */
			int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
			if (s->os->write(s->os, fd, text, (size_t)n) < 0)
				*pid = 0;
			out->fd = fd;
			return true;
		}
		s->os->close(s->os, fd);
	}
}

void store_lock_release(struct store *s, struct store_lock *l)
{
	char path[STORE_PATH_MAX], hex[DIGEST_HEX];
	if (l->fd < 0)
		return;
	digest_hex(l->key, hex);
	store_name(s, path, "locks/%s", hex);
	s->os->unlink(s->os, path);
	s->os->close(s->os, l->fd);
	l->fd = -1;
}
