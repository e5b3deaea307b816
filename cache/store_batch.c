#include "store_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { WRITER_BUFFER_BYTES = 1 << 17 };

struct store_writer {
	struct store_batch *batch;
	struct hasher *hasher; /* NULL once ended */
	int fd;
	char *buffer;
	size_t nbuffer;
	uint64_t bytes;
	char path[STORE_PATH_MAX];
};

struct pending {
	char *path; /* NULL once placed or dropped */
	struct digest digest;
	uint64_t bytes;
};

struct store_batch {
	struct store *store;
	struct pending *pending;
	size_t npending, cap;
};

struct store_batch *store_batch_new(struct store *s)
{
	struct store_batch *b = xcalloc(1, sizeof(*b));
	b->store = s;
	return b;
}

void store_batch_free(struct store_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->npending; i++)
		if (b->pending[i].path) {
			b->store->os->unlink(b->store->os, b->pending[i].path);
			free(b->pending[i].path);
		}
	free(b->pending);
	free(b);
}

struct store_writer *store_writer_begin(struct store_batch *b, struct err *e)
{
	const struct os_ops *os = b->store->os;
	struct store_writer *w = xcalloc(1, sizeof(*w));
	w->batch = b;
	w->buffer = os->alloc(os, WRITER_BUFFER_BYTES);
	if (!w->buffer) {
		err_errno(e, "unable to allocate a write buffer");
		free(w);
		return NULL;
	}
	w->fd = store_tmp_open(b->store, w->path, 0444, e);
	if (w->fd < 0) {
		free(w->buffer);
		free(w);
		return NULL;
	}
	w->hasher = hasher_new();
	return w;
}

static bool flush(struct store_writer *w, struct err *e)
{
	bool ok = os_write_all(w->batch->store->os, w->fd, w->buffer, w->nbuffer, w->path, e);
	w->nbuffer = 0;
	return ok;
}

bool store_writer_add(struct store_writer *w, const void *p, size_t n, struct err *e)
{
	hasher_add(w->hasher, p, n);
	w->bytes += n;
	if (w->nbuffer + n > WRITER_BUFFER_BYTES && !flush(w, e))
		return false;
	if (n > WRITER_BUFFER_BYTES)
		return os_write_all(w->batch->store->os, w->fd, p, n, w->path, e);
	if (n)
		memcpy(w->buffer + w->nbuffer, p, n);
	w->nbuffer += n;
	return true;
}

static struct digest finish(struct store_writer *w)
{
	struct digest d = hasher_end(w->hasher);
	const struct os_ops *os = w->batch->store->os;
	os->close(os, w->fd);
	free(w->buffer);
	return d;
}

bool store_writer_end(struct store_writer *w, struct digest *out, uint64_t *bytes, struct err *e)
{
	struct store_batch *b = w->batch;
	if (!flush(w, e)) {
		store_writer_drop(w);
		return false;
	}
	*out = finish(w);
	if (bytes)
		*bytes = w->bytes;
	if (b->npending == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 8;
		b->pending = xrealloc(b->pending, b->cap * sizeof(*b->pending));
	}
	b->pending[b->npending++] = (struct pending){xstrdup(w->path), *out, w->bytes};
	free(w);
	return true;
}

void store_writer_drop(struct store_writer *w)
{
	const struct os_ops *os;
	if (!w)
		return;
	os = w->batch->store->os;
	finish(w);
	os->unlink(os, w->path);
	free(w);
}

bool store_batch_put(struct store_batch *b, struct buf bytes, struct digest *out, struct err *e)
{
	struct store_writer *w = store_writer_begin(b, e);
	if (!w)
		return false;
	if (!store_writer_add(w, bytes.p, bytes.n, e)) {
		store_writer_drop(w);
		return false;
	}
	return store_writer_end(w, out, NULL, e);
}

static void drop(struct store_batch *b, struct pending *p)
{
	b->store->os->unlink(b->store->os, p->path);
	free(p->path);
	p->path = NULL;
}

/* Whether the object exists with the bytes of p. Different bytes under one digest are damage, which
 * the rename will heal, unless they too have that digest. */
static bool exists(struct store_batch *b, struct pending *p, bool *there, struct err *e)
{
	struct store *s = b->store;
	char path[STORE_PATH_MAX];
	struct stat st;
	struct map old, new;
	*there = false;
	store_digest_name(s, path, "objects", p->digest);
	if (s->os->stat(s->os, AT_FDCWD, path, &st) < 0)
		return true;
	if (!os_map(s->os, path, &old, NULL))
		return true;
	bool ok = os_map(s->os, p->path, &new, e);
	if (ok) {
		*there = old.n == new.n && (!old.n || memcmp(old.p, new.p, old.n) == 0);
		if (!*there && digest_equal(digest_of(old.p, old.n), p->digest))
			ok = err_set(
				e, ERR_IO, "'%s' has the digest of other bytes: a collision", path);
		os_unmap(s->os, &new);
	}
	os_unmap(s->os, &old);
	return ok;
}

bool store_batch_commit(struct store_batch *b, struct err *e)
{
	struct store *s = b->store;
	char path[STORE_PATH_MAX];
	for (size_t i = 0; i < b->npending; i++) {
		struct pending *p = &b->pending[i];
		bool there;
		if (!p->path)
			continue;
		if (!exists(b, p, &there, e))
			return false;
		if (there) {
			drop(b, p);
			store_mark(s, p->digest, SEEN_THERE);
		}
	}
	for (size_t i = 0; i < b->npending; i++)
		if (b->pending[i].path && !store_sync_file(s, b->pending[i].path, e))
			return false;
	for (size_t i = 0; i < b->npending; i++) {
		struct pending *p = &b->pending[i];
		if (!p->path)
			continue;
		store_digest_name(s, path, "objects", p->digest);
		bool ok = store_tmp_place(s, p->path, path, STORE_NO_SYNC, e);
		free(p->path);
		p->path = NULL;
		if (!ok)
			return false;
		store_mark(s, p->digest, SEEN_THERE);
	}
	return true;
}

bool store_put(struct store *s, struct buf bytes, struct digest *out, struct err *e)
{
	struct store_batch *b = store_batch_new(s);
	bool ok = store_batch_put(b, bytes, out, e) && store_batch_commit(b, e);
	store_batch_free(b);
	return ok;
}
