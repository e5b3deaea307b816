/* Roots, statistics, verification and collection. */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

static bool good_root_name(const char *name)
{
	return *name && *name != '.' && strlen(name) < 200 &&
	       name[strspn(name,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] ==
		       '\0';
}

static void add_lines(struct strbuf *out, const char *kind, const struct digest *d, size_t n)
{
	char hex[DIGEST_HEX];
	for (size_t i = 0; i < n; i++) {
		digest_hex(d[i], hex);
		strbuf_addf(out, "%s %s\n", kind, hex);
	}
}

bool store_root_put(struct store *s, const char *name, const struct store_root *r, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct strbuf b;
	if (!good_root_name(name))
		return err_set(e, ERR_SPEC, "'%s' is no name for a root of the cache", name);
	store_name(s, path, "roots/%s", name);
	strbuf_init(&b);
	strbuf_adds(&b, "trim-root 1\n");
	add_lines(&b, "key", r->key, r->nkey);
	add_lines(&b, "record", r->record, r->nrecord);
	add_lines(&b, "object", r->object, r->nobject);
	struct map old;
	bool same = os_map(s->os, path, &old, NULL);
	if (same) {
		same = old.n == b.n && memcmp(old.p, b.s, b.n) == 0;
		os_unmap(s->os, &old);
	}
	struct buf text = strbuf_buf(&b);
	/* synced: a lost root would let gc remove what it kept */
	bool ok = same || store_tmp_put(s, path, &text, 1, STORE_SYNC, e);
	strbuf_release(&b);
	return ok;
}

bool store_root_drop(struct store *s, const char *name, struct err *e)
{
	char path[STORE_PATH_MAX];
	if (!good_root_name(name))
		return err_set(e, ERR_SPEC, "'%s' is no name for a root of the cache", name);
	store_name(s, path, "roots/%s", name);
	return s->os->unlink(s->os, path) == 0 || errno == ENOENT ||
		err_errno(e, "unable to remove '%s'", path);
}

/* One file of the store; d is what its name says, zero if it says nothing. */
struct found_file {
	const char *path, *name;
	struct digest d;
	struct stat st;
};
typedef bool (*visit_fn)(struct store *s, void *ctx, const struct found_file *f, struct err *e);

static bool visit_folder(struct store *s, const char *folder, const char *prefix, visit_fn fn,
	void *ctx, struct err *e)
{
	char path[STORE_PATH_MAX], hex[64], **name;
	size_t nname;
	bool ok = true;
	store_name(s, path, "%s", folder);
	if (!os_list(s->os, path, &name, &nname, e))
		return false;
	for (size_t i = 0; ok && i < nname; i++) {
		struct found_file f = {.path = path, .name = name[i]};
		store_name(s, path, "%s/%s", folder, name[i]);
		snprintf(hex, sizeof(hex), "%s%s", prefix, name[i]);
		if (!digest_parse(hex, &f.d))
			f.d = (struct digest){0};
		if (s->os->stat(s->os, AT_FDCWD, path, &f.st) == 0)
			ok = fn(s, ctx, &f, e);
	}
	os_list_free(name, nname);
	return ok;
}

/* Every file two levels below objects/ or actions/. */
static bool visit_fan(struct store *s, const char *folder, visit_fn fn, void *ctx, struct err *e)
{
	char path[STORE_PATH_MAX], **name;
	size_t nname;
	bool ok = true;
	store_name(s, path, "%s", folder);
	if (!os_list(s->os, path, &name, &nname, e))
		return false;
	for (size_t i = 0; ok && i < nname; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, name[i]);
		ok = visit_folder(s, path, name[i], fn, ctx, e);
	}
	os_list_free(name, nname);
	return ok;
}

static bool count_object(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct store_stat *t = ctx;
	(void)s, (void)e;
	t->nobject++;
	t->object_bytes += (uint64_t)f->st.st_size;
	return true;
}

static bool count_record(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct store_stat *t = ctx;
	(void)s, (void)f, (void)e;
	t->nrecord++;
	return true;
}

static bool count_checkpoint(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct store_stat *t = ctx;
	(void)s, (void)e;
	t->ncheckpoint++;
	t->checkpoint_bytes += (uint64_t)f->st.st_size;
	return true;
}

static bool count_root(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct store_stat *t = ctx;
	(void)s, (void)f, (void)e;
	t->nroot++;
	return true;
}

static bool count_tmp(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct store_stat *t = ctx;
	(void)s, (void)f, (void)e;
	t->ntmp++;
	return true;
}

bool store_stat(struct store *s, struct store_stat *out, struct err *e)
{
	*out = (struct store_stat){0};
	return visit_fan(s, "objects", count_object, out, e) &&
		visit_fan(s, "actions", count_record, out, e) &&
		visit_folder(s, "checkpoints", "", count_checkpoint, out, e) &&
		visit_folder(s, "roots", "", count_root, out, e) &&
		visit_folder(s, "tmp", "", count_tmp, out, e);
}

struct verification {
	struct store_stat *stat;
	struct strbuf *damaged;
	struct arena arena;
};

static bool verify_object(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct verification *v = ctx;
	struct map m;
	if (!os_map(s->os, f->path, &m, e))
		return false;
	if (!digest_equal(digest_of(m.p, m.n), f->d)) {
		v->stat->ndamaged++;
		strbuf_addf(
			v->damaged, "%s: its bytes do not have the digest of its name\n", f->path);
	}
	os_unmap(s->os, &m);
	return true;
}

static bool verify_record(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct verification *v = ctx;
	struct record r;
	enum store_found found = store_record_get(s, f->d, &v->arena, &r, e);
	if (found == STORE_MISS) {
		v->stat->ndamaged++;
		strbuf_addf(v->damaged, "%s: not a whole record\n", f->path);
	}
	return found != STORE_FAIL;
}

bool store_verify(struct store *s, struct store_stat *out, struct strbuf *damaged, struct err *e)
{
	struct verification v = {.stat = out, .damaged = damaged};
	bool ok = store_stat(s, out, e) && visit_fan(s, "objects", verify_object, &v, e) &&
		visit_fan(s, "actions", verify_record, &v, e);
	arena_release(&v.arena);
	return ok;
}

/* ---- collection ---- */

enum { LIVE_OBJECT = 1, LIVE_KEY = 2, LIVE_READ = 4 }; /* READ: a key whose objects are marked */

struct collection {
	struct store_stat *stat;
	struct digest_map live; /* digest -> LIVE_ bits; keys and objects share the table */
	struct arena arena;
	enum gc_flags flags;
	uint64_t bit; /* of the folder being swept */
};

static bool mark_key(struct store *s, struct collection *c, struct digest key, struct err *e)
{
	struct record r;
	uint64_t *live = digest_map_put(&c->live, key);
	if (*live & LIVE_READ)
		return true;
	*live |= LIVE_KEY | LIVE_READ;
	enum store_found found = store_record_get(s, key, &c->arena, &r, e);
	if (found != STORE_OK)
		return found == STORE_MISS;
	for (size_t i = 0; i < r.noutput; i++)
		*digest_map_put(&c->live, r.output[i].digest) |= LIVE_OBJECT;
	for (size_t i = 0; i < r.nref; i++)
		*digest_map_put(&c->live, r.ref[i].digest) |= LIVE_OBJECT;
	return true;
}

static bool mark_root(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct collection *c = ctx;
	struct strbuf b;
	char *save;
	bool ok;
	c->stat->nroot++;
	strbuf_init(&b);
	ok = os_read_file(s->os, f->path, &b, e);
	if (ok && strncmp(b.s, "trim-root 1\n", 12) != 0)
		ok = err_set(e, ERR_IO, "'%s' is not a root of this version of trim", f->path);
	if (ok)
		strtok_r(b.s, "\n", &save);
	for (char *line; ok && (line = strtok_r(NULL, "\n", &save));) {
		struct digest d;
		if (strncmp(line, "key ", 4) == 0 && digest_parse(line + 4, &d))
			ok = mark_key(s, c, d, e);
		else if (strncmp(line, "record ", 7) == 0 && digest_parse(line + 7, &d))
			*digest_map_put(&c->live, d) |= LIVE_KEY;
		else if (strncmp(line, "object ", 7) == 0 && digest_parse(line + 7, &d))
			*digest_map_put(&c->live, d) |= LIVE_OBJECT;
		else
			ok = err_set(e, ERR_IO,
				"'%s' is damaged; a build of its spec writes it again", f->path);
	}
	strbuf_release(&b);
	return ok;
}

static bool sweep(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	struct collection *c = ctx;
	uint64_t *live = digest_map_get(&c->live, f->d);
	if (live && *live & c->bit)
		return true;
	c->stat->nremoved++;
	c->stat->freed_bytes += (uint64_t)f->st.st_size;
	if ((c->flags & GC_YES) && s->os->unlink(s->os, f->path) < 0)
		return err_errno(e, "unable to remove '%s'", f->path);
	return true;
}

/* Locks of killed processes; with the collector's lock nobody else holds one. */
static bool sweep_lock(struct store *s, void *ctx, const struct found_file *f, struct err *e)
{
	(void)ctx, (void)e;
	if (strcmp(f->name, "gc") != 0)
		s->os->unlink(s->os, f->path);
	return true;
}

/* Our share of the lock that every open store has, for all of it; share() gives it back. ERR_LOCKED: others have one. */
static bool own_alone(struct store *s, struct err *e)
{
	if (s->gc_fd < 0 || s->read_only)
		return err_set(e, ERR_IO, "the cache '%s' cannot be written here", s->path);
	if (s->os->lock(s->os, s->gc_fd, LOCK_EX | LOCK_NB) < 0) {
		bool busy = errno == EWOULDBLOCK;
		if (!busy)
			err_errno(e, "unable to lock the cache '%s'", s->path);
		/* the failed conversion dropped our share */
		s->os->lock(s->os, s->gc_fd, LOCK_SH | LOCK_NB);
		return !busy ? false
			     : err_set(e, ERR_LOCKED, "another process uses the cache '%s'",
				       s->path);
	}
	return true;
}

static void share(struct store *s)
{
	s->os->lock(s->os, s->gc_fd, LOCK_SH | LOCK_NB);
}

/* What is known to be there may be gone. */
static void forget_seen(struct store *s)
{
	pthread_mutex_lock(&s->mutex);
	digest_map_release(&s->seen);
	pthread_mutex_unlock(&s->mutex);
}

bool store_gc(struct store *s, enum gc_flags flags, struct store_stat *out, struct err *e)
{
	struct collection c = {.stat = out, .flags = flags};
	if (!own_alone(s, e))
		return false;
	bool ok = store_stat(s, out, e);
	out->nroot = 0;
	ok = ok && visit_folder(s, "roots", "", mark_root, &c, e);
	/* records first: one must not outlive its objects */
	c.bit = LIVE_KEY;
	ok = ok && visit_fan(s, "actions", sweep, &c, e) &&
		visit_folder(s, "checkpoints", "", sweep, &c, e);
	c.bit = LIVE_OBJECT;
	ok = ok && visit_fan(s, "objects", sweep, &c, e);
	if (flags & GC_YES) {
		ok = ok && visit_folder(s, "locks", "", sweep_lock, NULL, e);
		forget_seen(s);
	}
	digest_map_release(&c.live);
	arena_release(&c.arena);
	share(s);
	return ok;
}

static bool discard(struct store *s, struct collection *c, struct digest d, struct err *e)
{
	char path[STORE_PATH_MAX], hex[DIGEST_HEX];
	struct found_file f = {.path = path, .d = d};
	digest_hex(d, hex);
	store_name(s, path, "objects/%.2s/%s", hex, hex + 2);
	return s->os->stat(s->os, AT_FDCWD, path, &f.st) != 0 || sweep(s, c, &f, e);
}

bool store_discard(struct store *s, const struct digest *object, size_t n, struct store_stat *out, struct err *e)
{
	struct collection c = {.stat = out, .flags = GC_YES, .bit = LIVE_OBJECT};
	struct err busy = {0};
	*out = (struct store_stat){0};
	if (!own_alone(s, &busy)) {
		if (e && busy.kind != ERR_LOCKED)
			*e = busy;
		return busy.kind == ERR_LOCKED;
	}
	bool ok = visit_folder(s, "roots", "", mark_root, &c, e);
	for (size_t i = 0; ok && i < n; i++)
		ok = discard(s, &c, object[i], e);
	forget_seen(s);
	digest_map_release(&c.live);
	arena_release(&c.arena);
	share(s);
	return ok;
}
