#include "statcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "digest_map.h"

enum {
	ENTRY_BYTES = 64,
	RACY_NS = 20 * 1000 * 1000,
	RACY_WHOLE_SECONDS_NS = 2 * 1000 * 1000 * 1000 - 1
};

static const char header_text[ENTRY_BYTES] = "trim stat 1\n";

struct entry {
	uint64_t dev, ino, bytes;
	int64_t mtime_ns, ctime_ns;
	struct digest digest;
	uint64_t check;
};
_Static_assert(sizeof(struct entry) == ENTRY_BYTES, "the file format");

struct statcache {
	const struct os_ops *os;
	char *path; /* NULL: in memory only */
	enum statcache_flags flags;
	struct digest_map index; /* digest of (dev, ino) -> place in entry[] */
	struct entry *entry;
	size_t nentry, cap;
	size_t nfile;  /* entries in the file, dead ones included */
	struct entry *fresh;
	size_t nfresh, fresh_cap;
	size_t nhashed;
};

static uint64_t check_of(const struct entry *en)
{
	return digest_of(en, offsetof(struct entry, check)).lo;
}

static void keep(struct statcache *c, const struct entry *en)
{
	uint64_t id[2] = {en->dev, en->ino};
	uint64_t before = c->index.n, *place = digest_map_put(&c->index, digest_of(id, sizeof(id)));
	if (c->index.n == before) {
		c->entry[*place] = *en;
		return;
	}
	if (c->nentry == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 256;
		c->entry = xrealloc(c->entry, c->cap * sizeof(*c->entry));
	}
	*place = c->nentry;
	c->entry[c->nentry++] = *en;
}

static const struct entry *known(const struct statcache *c, const struct stat *st)
{
	uint64_t id[2] = {st->st_dev, st->st_ino};
	const uint64_t *place = digest_map_get(&c->index, digest_of(id, sizeof(id)));
	return place ? &c->entry[*place] : NULL;
}

struct statcache *statcache_new(const struct os_ops *os, const char *path,
	enum statcache_flags flags)
{
	struct statcache *c = xcalloc(1, sizeof(*c));
	struct map m;
	c->os = os ? os : os_posix();
	c->path = path ? xstrdup(path) : NULL;
	c->flags = flags;
	if (!path || !os_map(c->os, path, &m, NULL))
		return c;
	if (m.n >= ENTRY_BYTES && memcmp(m.p, header_text, ENTRY_BYTES) == 0) {
		c->nfile = m.n / ENTRY_BYTES - 1;
		for (size_t i = 1; i <= c->nfile; i++) {
			struct entry en;
			memcpy(&en, m.p + i * ENTRY_BYTES, ENTRY_BYTES);
			if (en.check == check_of(&en))
				keep(c, &en);
		}
	}
	os_unmap(c->os, &m);
	return c;
}

void statcache_free(struct statcache *c)
{
	if (!c)
		return;
	digest_map_release(&c->index);
	free(c->entry);
	free(c->fresh);
	free(c->path);
	free(c);
}

static int64_t time_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
		time_ns(a->st_mtim) == time_ns(b->st_mtim) &&
		time_ns(a->st_ctim) == time_ns(b->st_ctim);
}

/* Whether a write after `now` could leave the times of st as they are. */
static bool racy(const struct stat *st, int64_t now)
{
	int64_t mtime = time_ns(st->st_mtim), ctime = time_ns(st->st_ctim);
	bool whole_seconds = st->st_mtim.tv_nsec == 0 && st->st_ctim.tv_nsec == 0;
	int64_t newest = mtime > ctime ? mtime : ctime;
	return newest + (whole_seconds ? RACY_WHOLE_SECONDS_NS : RACY_NS) >= now;
}

static void learn(struct statcache *c, const struct stat *st, struct digest d, int64_t now)
{
	if (racy(st, now))
		return;
	struct entry en = {st->st_dev, st->st_ino, (uint64_t)st->st_size, time_ns(st->st_mtim),
		time_ns(st->st_ctim), d, 0};
	en.check = check_of(&en);
	keep(c, &en);
	if (c->nfresh == c->fresh_cap) {
		c->fresh_cap = c->fresh_cap ? c->fresh_cap * 2 : 64;
		c->fresh = xrealloc(c->fresh, c->fresh_cap * sizeof(*c->fresh));
	}
	c->fresh[c->nfresh++] = en;
}

static bool hash_file(struct statcache *c, const char *path, struct digest *out, struct stat *st,
	struct err *e)
{
	enum { CHUNK = 1 << 18 };
	ssize_t n;
	char *chunk = c->os->alloc(c->os, CHUNK);
	if (!chunk)
		return err_errno(e, "unable to allocate a read buffer");
	int fd = c->os->open(c->os, path, O_RDONLY, 0);
	if (fd < 0) {
		err_errno(e, "unable to open '%s'", path);
		free(chunk);
		return false;
	}
	struct hasher *h = hasher_new();
	while ((n = c->os->read(c->os, fd, chunk, CHUNK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		hasher_add(h, chunk, (size_t)n);
	}
	bool ok = n == 0 || err_errno(e, "unable to read '%s'", path);
	if (ok && c->os->fstat(c->os, fd, st) < 0)
		ok = err_errno(e, "unable to stat '%s'", path);
	*out = hasher_end(h);
	c->os->close(c->os, fd);
	free(chunk);
	c->nhashed++;
	return ok;
}

/* `before`: what stat just said about path. */
static bool digest_of_file(struct statcache *c, const char *path, struct stat before,
	struct digest *out, uint64_t *bytes, struct err *e)
{
	struct stat after;
	if (!S_ISREG(before.st_mode))
		return err_set(e, ERR_IO, "'%s' is not a regular file", path);
	const struct entry *en = c->flags & STATCACHE_REHASH ? NULL : known(c, &before);
	if (en && en->bytes == (uint64_t)before.st_size &&
		en->mtime_ns == time_ns(before.st_mtim) &&
		en->ctime_ns == time_ns(before.st_ctim)) {
		*out = en->digest;
		if (bytes)
			*bytes = en->bytes;
		return true;
	}
	for (int attempt = 0; attempt < 3; attempt++) {
		int64_t now = c->os->now_ns(c->os);
		if (!hash_file(c, path, out, &after, e))
			return false;
		if (same_file(&before, &after)) {
			learn(c, &after, *out, now);
			if (bytes)
				*bytes = (uint64_t)after.st_size;
			return true;
		}
		before = after;
	}
	return err_set(e, ERR_IO, "'%s' changes while it is read", path);
}

bool statcache_digest(struct statcache *c, const char *path, struct digest *out, uint64_t *bytes,
	struct err *e)
{
	struct stat st;
	if (c->os->stat(c->os, AT_FDCWD, path, &st) < 0)
		return err_errno(e, "unable to open '%s'", path);
	return digest_of_file(c, path, st, out, bytes, e);
}

static bool list_below(struct statcache *c, struct arena *a, const char *root, const char *below,
	struct listed_file **out, size_t *nout, struct err *e)
{
	struct strbuf path;
	char **name = NULL;
	size_t nname = 0, base;
	bool ok;
	strbuf_init(&path);
	strbuf_addf(&path, "%s%s%s", root, *below ? "/" : "", below);
	int fd = c->os->open(c->os, path.s, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0) {
		err_errno(e, "unable to list '%s'", path.s);
		strbuf_release(&path);
		return false;
	}
	ok = os_list(c->os, path.s, &name, &nname, e);
	strbuf_addc(&path, '/');
	base = path.n;
	for (size_t i = 0; ok && i < nname; i++) {
		struct stat st;
		if (name[i][0] == '.')
			continue;
		path.n = base;
		strbuf_adds(&path, name[i]);
		const char *relative = path.s + strlen(root) + 1;
		if (c->os->stat(c->os, fd, name[i], &st) < 0) {
			ok = err_errno(e, "unable to open '%s'", path.s);
		} else if (S_ISDIR(st.st_mode)) {
			ok = strlen(relative) < 3000
				     ? list_below(c, a, root, relative, out, nout, e)
				     : err_set(e, ERR_IO,
					       "'%s' is nested too deep; a loop of links?", path.s);
		} else if (S_ISREG(st.st_mode)) {
			struct listed_file f = {.name = arena_strdup(a, relative)};
			ok = digest_of_file(c, path.s, st, &f.digest, &f.bytes, e);
			*arena_push(a, *out, *nout) = f;
		}
	}
	c->os->close(c->os, fd);
	os_list_free(name, nname);
	strbuf_release(&path);
	return ok;
}

static int by_name(const void *x, const void *y)
{
	const struct listed_file *a = x, *b = y;
	return strcmp(a->name, b->name);
}

bool statcache_list(struct statcache *c, struct arena *a, const char *path,
	struct listed_file **out, size_t *nout, struct err *e)
{
	*out = NULL;
	*nout = 0;
	if (!list_below(c, a, path, "", out, nout, e))
		return false;
	if (*nout)
		qsort(*out, *nout, sizeof(**out), by_name);
	return true;
}

size_t statcache_nhashed(const struct statcache *c)
{
	return c->nhashed;
}

/* The whole table into a new file beside the old one. */
static bool rewrite(struct statcache *c, struct err *e)
{
	struct strbuf tmp;
	strbuf_init(&tmp);
	strbuf_addf(&tmp, "%s.tmp-%d", c->path, (int)getpid());
	int fd = c->os->open(c->os, tmp.s, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	bool ok = fd >= 0 || err_errno(e, "unable to create '%s'", tmp.s);
	if (ok) {
		ok = os_write_all(c->os, fd, header_text, ENTRY_BYTES, tmp.s, e) &&
			os_write_all(c->os, fd, c->entry, c->nentry * ENTRY_BYTES, tmp.s, e);
		c->os->close(c->os, fd);
		if (ok && c->os->rename(c->os, tmp.s, c->path) < 0)
			ok = err_errno(e, "unable to rename to '%s'", c->path);
		if (!ok)
			c->os->unlink(c->os, tmp.s);
	}
	strbuf_release(&tmp);
	return ok;
}

static bool append(struct statcache *c, struct err *e)
{
	struct stat st;
	int fd = c->os->open(c->os, c->path, O_RDWR | O_CREAT | O_APPEND, 0644);
	if (fd < 0)
		return err_errno(e, "unable to open '%s'", c->path);
	bool ok = c->os->lock(c->os, fd, LOCK_EX) == 0 ||
		  err_errno(e, "unable to lock '%s'", c->path);
	if (ok && c->os->fstat(c->os, fd, &st) < 0)
		ok = err_errno(e, "unable to stat '%s'", c->path);
	if (ok && st.st_size % ENTRY_BYTES &&
		c->os->truncate(c->os, fd, st.st_size - st.st_size % ENTRY_BYTES) < 0)
		ok = err_errno(e, "unable to truncate '%s'", c->path);
	if (ok && st.st_size < ENTRY_BYTES)
		ok = os_write_all(c->os, fd, header_text, ENTRY_BYTES, c->path, e);
	ok = ok && os_write_all(c->os, fd, c->fresh, c->nfresh * ENTRY_BYTES, c->path, e);
	c->os->close(c->os, fd);
	return ok;
}

bool statcache_save(struct statcache *c, struct err *e)
{
	if (!c->path || !c->nfresh)
		return true;
	/* a table of another version, or mostly dead entries. Losing what another process appends
	 * meanwhile costs it a hash. */
	bool foreign = false;
	struct map m;
	if (os_map(c->os, c->path, &m, NULL)) {
		foreign = m.n >= ENTRY_BYTES && memcmp(m.p, header_text, ENTRY_BYTES) != 0;
		os_unmap(c->os, &m);
	}
	bool ok = foreign || c->nfile + c->nfresh > 2 * c->nentry + 1024 ? rewrite(c, e) :
									  append(c, e);
	if (ok)
		c->nfresh = 0;
	return ok;
}
