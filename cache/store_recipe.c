/* Recipes, and writing objects to files outside the store. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const uint8_t zeros[1 << 16];

void recipe_write(struct strbuf *out, const struct recipe *r)
{
	char hex[DIGEST_HEX];
	digest_hex(r->whole, hex);
	strbuf_addf(out, "trim-recipe 1\nwhole %s %" PRIu64 "\n", hex, r->bytes);
	for (size_t i = 0; i < r->npart; i++) {
		const struct recipe_part *p = &r->part[i];
		digest_hex(p->object, hex);
		if (p->zero)
			strbuf_addf(out, "zero %" PRIu64 "\n", p->bytes);
		else
			strbuf_addf(
				out, "part %s %" PRIu64 " %" PRIu64 "\n", hex, p->offset, p->bytes);
	}
}

bool recipe_parse(struct arena *a, struct buf text, struct recipe *out, struct err *e)
{
	char *copy = arena_strndup(a, text.p, text.n), *save, hex[DIGEST_HEX];
	uint64_t sum = 0;
	int line_number = 0;
	*out = (struct recipe){0};
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct recipe_part part = {0};
		bool ok;
		line_number++;
		if (line_number == 1) {
			ok = strcmp(line, "trim-recipe 1") == 0;
		} else if (line_number == 2) {
			ok = sscanf(line, "whole %32s %" SCNu64, hex, &out->bytes) == 2 &&
				digest_parse(hex, &out->whole);
		} else if (sscanf(line, "zero %" SCNu64, &part.bytes) == 1) {
			part.zero = ok = true;
		} else {
			ok = sscanf(line, "part %32s %" SCNu64 " %" SCNu64, hex, &part.offset,
				     &part.bytes) == 3 &&
				digest_parse(hex, &part.object);
		}
		if (!ok)
			return err_set(e, ERR_IO, "line %d of a recipe is not understood: '%.60s'",
				line_number, line);
		if (line_number <= 2)
			continue;
		*arena_push(a, out->part, out->npart) = part;
		if (part.bytes > out->bytes - sum)
			return err_set(e, ERR_IO, "a recipe of %" PRIu64 " bytes has parts of more", out->bytes);
		sum += part.bytes;
	}
	if (line_number < 2 || sum != out->bytes)
		return err_set(e, ERR_IO, "a recipe of %" PRIu64 " bytes has parts of %" PRIu64,
			out->bytes, sum);
	return true;
}

/* The object of a part, mapped and hashed; parts of one object follow each other mostly. */
struct source {
	struct digest object;
	struct map map;
	bool open;
};

static enum store_found source_of(struct store *s, struct source *src, const struct recipe_part *p,
	struct err *e)
{
	if (!src->open || !digest_equal(src->object, p->object)) {
		if (src->open)
			store_unmap(s, &src->map);
		src->open = false;
		enum store_found found = store_get(s, p->object, &src->map, e);
		if (found != STORE_OK)
			return found;
		src->open = true;
		src->object = p->object;
	}
	if (p->offset > src->map.n || p->bytes > src->map.n - p->offset) {
		err_set(e, ERR_IO, "a recipe wants bytes behind the end of an object");
		return STORE_FAIL;
	}
	return STORE_OK;
}

enum store_found recipe_digest(struct store *s, struct recipe *r, struct err *e)
{
	struct source src = {0};
	struct hasher *h = hasher_new();
	enum store_found found = STORE_OK;
	r->bytes = 0;
	for (size_t i = 0; i < r->npart && found == STORE_OK; i++) {
		const struct recipe_part *p = &r->part[i];
		r->bytes += p->bytes;
		if (p->zero) {
			for (uint64_t left = p->bytes; left;) {
				size_t n = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
				hasher_add(h, zeros, n);
				left -= n;
			}
		} else if ((found = source_of(s, &src, p, e)) == STORE_OK) {
			hasher_add(h, src.map.p + p->offset, p->bytes);
		}
	}
	if (src.open)
		store_unmap(s, &src.map);
	r->whole = hasher_end(h);
	return found;
}

/* Bytes of an object into fd: shared or copied by the kernel if it can, else written. */
static bool copy_part(struct store *s, int fd, const struct source *src,
	const struct recipe_part *p, const char *path, struct err *e)
{
	char from_path[STORE_PATH_MAX];
	uint64_t done = 0;
	store_digest_name(s, from_path, "objects", p->object);
	int from = s->os->open(s->os, from_path, O_RDONLY, 0);
	while (from >= 0 && done < p->bytes) {
		off_t at = (off_t)(p->offset + done);
		ssize_t n = s->os->copy(s->os, fd, from, &at, p->bytes - done);
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	if (from >= 0)
		s->os->close(s->os, from);
	return done == p->bytes ||
		os_write_all(s->os, fd, src->map.p + p->offset + done, p->bytes - done, path, e);
}

static enum store_found write_parts(struct store *s, int fd, const struct recipe *r,
	const char *path, struct err *e)
{
	struct source src = {0};
	enum store_found found = STORE_OK;
	for (size_t i = 0; i < r->npart && found == STORE_OK; i++) {
		const struct recipe_part *p = &r->part[i];
		for (uint64_t left = p->zero ? p->bytes : 0; left && found == STORE_OK;) {
			size_t n = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
			if (!os_write_all(s->os, fd, zeros, n, path, e))
				found = STORE_FAIL;
			left -= n;
		}
		if (p->zero)
			continue;
		found = source_of(s, &src, p, e);
		if (found == STORE_OK && !copy_part(s, fd, &src, p, path, e))
			found = STORE_FAIL;
	}
	if (src.open)
		store_unmap(s, &src.map);
	return found;
}

/* Temporary files beside path that a killed process left: nobody holds their lock. */
static void remove_abandoned(struct store *s, const char *folder, const char *base)
{
	char **name;
	size_t nname, n = strlen(base);
	struct strbuf path;
	if (!os_list(s->os, folder, &name, &nname, NULL))
		return;
	strbuf_init(&path);
	for (size_t i = 0; i < nname; i++) {
		if (strncmp(name[i], base, n) != 0 || strncmp(name[i] + n, ".tmp-", 5) != 0)
			continue;
		strbuf_clear(&path);
		strbuf_addf(&path, "%s/%s", folder, name[i]);
		int fd = s->os->open(s->os, path.s, O_RDONLY, 0);
		if (fd < 0)
			continue;
		if (s->os->lock(s->os, fd, LOCK_EX | LOCK_NB) == 0)
			s->os->unlink(s->os, path.s);
		s->os->close(s->os, fd);
	}
	strbuf_release(&path);
	os_list_free(name, nname);
}

/* A locked temporary file beside path; tmp receives its name. */
static int open_beside(struct store *s, const char *path, unsigned mode, struct strbuf *tmp,
	struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? xstrdup(path) : xstrdup(".");
	struct stat st;
	int fd = -1;
	if (slash)
		folder[slash > path ? slash - path : 1] = '\0';
	remove_abandoned(s, folder, slash ? slash + 1 : path);
	free(folder);
	for (int attempt = 0; attempt < 100; attempt++) {
		strbuf_clear(tmp);
		strbuf_addf(tmp, "%s.tmp-%d-%llx", path, (int)getpid(),
			(unsigned long long)s->os->tick_ns(s->os) + (unsigned)attempt);
		fd = s->os->open(s->os, tmp->s, O_WRONLY | O_CREAT | O_EXCL, mode);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0) {
			err_errno(e, "unable to create '%s'", path);
			return -1;
		}
		/* between open and lock another process may have taken it for abandoned; where
		 * locks are not supported a killed process's file stays */
		bool taken = s->os->lock(s->os, fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
		if (!taken && (s->os->fstat(s->os, fd, &st) < 0 || st.st_nlink > 0))
			return fd;
		s->os->close(s->os, fd);
	}
	err_set(e, ERR_IO, "unable to create '%s'", path);
	return -1;
}

enum store_found store_assemble(struct store *s, const struct recipe *r, const char *path,
	unsigned mode, struct err *e)
{
	struct strbuf tmp;
	strbuf_init(&tmp);
	enum store_found found = STORE_FAIL;
	int fd = open_beside(s, path, mode, &tmp, e);
	if (fd >= 0) {
		found = write_parts(s, fd, r, path, e);
		if (found == STORE_OK && s->os->fsync(s->os, fd) < 0) {
			err_errno(e, "unable to sync '%s'", path);
			found = STORE_FAIL;
		}
		if (found == STORE_OK && s->os->rename(s->os, tmp.s, path) < 0) {
			err_errno(e, "unable to rename to '%s'", path);
			found = STORE_FAIL;
		}
		if (found != STORE_OK)
			s->os->unlink(s->os, tmp.s);
		s->os->close(s->os, fd);
	}
	strbuf_release(&tmp);
	return found;
}
