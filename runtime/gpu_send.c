#include "gpu_send.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 8 << 20, NPIECES = 2, MOST_SENDERS = 6 };
enum { STREAM_NON_BLOCKING = 1 }; /* of cuda.h */

struct gpu_sending {
	const struct gpu_device *g;
	struct gpu_part *part;
	size_t n;
	uint64_t npiece;
	atomic_uint_least64_t next; /* the first piece that nobody took */
	atomic_bool failed;
	pthread_mutex_t lock;
	struct err error;           /* the first */
	pthread_t thread[MOST_SENDERS];
	int nthread;
};

/* Of one thread: pinned memory, in turn. */
struct sender {
	const struct gpu_driver *d;
	void *piece[NPIECES];
	gpu_stream stream[NPIECES];
	int next;
};

static bool sender_open(struct sender *s, const struct gpu_device *g, struct err *e)
{
	const struct gpu_driver *d = g->d;
	*s = (struct sender){.d = d};
	if (!gpu_ok(d, d->context_set(g->context), "opening the device", e))
		return false;
	for (int i = 0; i < NPIECES; i++)
		if (!gpu_ok(d, d->host_alloc(&s->piece[i], PIECE_BYTES, 0), "allocating pinned memory", e) ||
			!gpu_ok(d, d->stream_new(&s->stream[i], STREAM_NON_BLOCKING), "making a stream", e))
			return false;
	return true;
}

static bool sender_send(struct sender *s, uint64_t to, const void *from, size_t bytes, struct err *e)
{
	int i = s->next++ % NPIECES;
	if (!gpu_ok(s->d, s->d->stream_wait(s->stream[i]), "sending weights", e))
		return false;
	memcpy(s->piece[i], from, bytes);
	return gpu_ok(s->d, s->d->to_device(to, s->piece[i], bytes, s->stream[i]), "sending weights", e);
}

static bool sender_close(struct sender *s, struct err *e)
{
	bool ok = true;
	for (int i = 0; i < NPIECES; i++) {
		if (s->stream[i]) {
			ok = gpu_ok(s->d, s->d->stream_wait(s->stream[i]), "sending weights", ok ? e : NULL) && ok;
			s->d->stream_free(s->stream[i]);
		}
		if (s->piece[i])
			s->d->host_free(s->piece[i]);
	}
	return ok;
}

static uint64_t pieces_of(uint64_t bytes)
{
	return (bytes + PIECE_BYTES - 1) / PIECE_BYTES;
}

/* Pieces in the order of the parts: neighbours in the file are read by neighbours in time. */
static bool send_piece(const struct gpu_sending *all, struct sender *s, uint64_t piece, struct err *e)
{
	const struct gpu_part *p = all->part;
	for (; piece >= pieces_of(p->bytes); p++)
		piece -= pieces_of(p->bytes);
	uint64_t at = piece * PIECE_BYTES, left = p->bytes - at;
	return sender_send(s, p->to + at, (const char *)p->from + at, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES, e);
}

static void fail(struct gpu_sending *all, const struct err *e)
{
	pthread_mutex_lock(&all->lock);
	if (!atomic_load(&all->failed))
		all->error = *e;
	atomic_store(&all->failed, true);
	pthread_mutex_unlock(&all->lock);
}

static void *send_some(void *arg)
{
	struct gpu_sending *all = arg;
	struct sender s;
	struct err e;
	uint64_t i;
	bool ok = sender_open(&s, all->g, &e);
	while (ok && !atomic_load(&all->failed) && (i = atomic_fetch_add(&all->next, 1)) < all->npiece)
		ok = send_piece(all, &s, i, &e);
	ok = sender_close(&s, ok ? &e : NULL) && ok;
	if (!ok)
		fail(all, &e);
	return NULL;
}

/* A thread that does not start is no reason to fail. */
struct gpu_sending *gpu_send_start(const struct gpu_device *g, const struct gpu_part *part, size_t n)
{
	struct gpu_sending *s = xcalloc(1, sizeof(*s));
	s->g = g;
	s->part = xcalloc(n + 1, sizeof(*part));
	s->n = n;
	pthread_mutex_init(&s->lock, NULL);
	memcpy(s->part, part, n * sizeof(*part));
	for (size_t i = 0; i < n; i++)
		s->npiece += pieces_of(part[i].bytes);
	while (s->nthread < MOST_SENDERS - 1 && (uint64_t)s->nthread < s->npiece &&
		!pthread_create(&s->thread[s->nthread], NULL, send_some, s))
		s->nthread++;
	return s;
}

bool gpu_send_finish(struct gpu_sending *s, struct err *e)
{
	send_some(s);
	for (int i = 0; i < s->nthread; i++)
		pthread_join(s->thread[i], NULL);
	bool ok = !atomic_load(&s->failed);
	if (!ok && e)
		*e = s->error;
	pthread_mutex_destroy(&s->lock);
	free(s->part);
	free(s);
	return ok;
}
