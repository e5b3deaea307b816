/* Records of actions, and checkpoints: the two things named by a key. */
#include "store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void add_object(struct strbuf *b, const char *kind, const struct record_object *o)
{
	char hex[DIGEST_HEX];
	digest_hex(o->digest, hex);
	strbuf_adds(b, kind);
	strbuf_addc(b, ' ');
	if (o->name) {
		strbuf_adds(b, o->name);
		strbuf_addc(b, ' ');
	}
	strbuf_adds(b, hex);
	strbuf_addf(b, " %" PRIu64 "\n", o->bytes);
}

bool store_record_put(struct store *s, struct digest key, const struct record *r, struct err *e)
{
	char path[STORE_PATH_MAX], hex[DIGEST_HEX];
	struct strbuf b;
	strbuf_init(&b);
	strbuf_addf(&b, "trim-action 1\nwall %" PRId64 "\n", r->wall_ns);
	for (size_t i = 0; i < r->noutput; i++)
		add_object(&b, "output", &r->output[i]);
	for (size_t i = 0; i < r->nref; i++)
		add_object(&b, "ref", &r->ref[i]);
	digest_hex(digest_of(b.s, b.n), hex);
	strbuf_addf(&b, "sum %s\n", hex);
	store_digest_name(s, path, "actions", key);
	struct buf text = strbuf_buf(&b);
	/* not synced: its last line tells a torn record from a whole one */
	bool ok = store_tmp_put(s, path, &text, 1, STORE_NO_SYNC, e);
	strbuf_release(&b);
	return ok;
}

/* " HEX BYTES" at *p up to the end of the line. */
static bool parse_object(const char **p, struct record_object *o)
{
	char hex[DIGEST_HEX], *end;
	if (strlen(*p) < DIGEST_HEX)
		return false;
	memcpy(hex, *p, DIGEST_HEX - 1);
	hex[DIGEST_HEX - 1] = '\0';
	if (!digest_parse(hex, &o->digest) || (*p)[DIGEST_HEX - 1] != ' ')
		return false;
	o->bytes = strtoull(*p + DIGEST_HEX, &end, 10);
	if (*end != '\n')
		return false;
	*p = end + 1;
	return true;
}

static bool skip(const char **p, const char *word)
{
	size_t n = strlen(word);
	if (strncmp(*p, word, n) != 0)
		return false;
	*p += n;
	return true;
}

/* text without its "sum" line, which has been checked: what does not fit is of a later version */
static bool parse_record(struct arena *a, const char *p, struct record *r)
{
	char *end;
	*r = (struct record){0};
	if (!skip(&p, "trim-action 1\nwall "))
		return false;
	r->wall_ns = strtoll(p, &end, 10);
	if (*end != '\n')
		return false;
	p = end + 1;
	while (skip(&p, "output ")) {
		struct record_object *o = arena_push(a, r->output, r->noutput);
		size_t n = strcspn(p, " \n");
		if (p[n] != ' ')
			return false;
		o->name = arena_strndup(a, p, n);
		p += n + 1;
		if (!parse_object(&p, o))
			return false;
	}
	while (skip(&p, "ref ")) {
		struct record_object *o = arena_push(a, r->ref, r->nref);
		o->name = NULL;
		if (!parse_object(&p, o))
			return false;
	}
	return *p == '\0';
}

static bool record_is_whole(struct strbuf *b)
{
	enum { SUM_LINE_BYTES = 4 + 32 + 1 };
	char hex[DIGEST_HEX];
	if (b->n < SUM_LINE_BYTES || b->s[b->n - 1] != '\n')
		return false;
	const char *line = b->s + b->n - SUM_LINE_BYTES;
	digest_hex(digest_of(b->s, b->n - SUM_LINE_BYTES), hex);
	if (memcmp(line, "sum ", 4) != 0 || memcmp(line + 4, hex, 32) != 0)
		return false;
	b->n -= SUM_LINE_BYTES;
	b->s[b->n] = '\0';
	return true;
}

enum store_found store_record_get(struct store *s, struct digest key, struct arena *a,
	struct record *out, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct strbuf b;
	enum store_found found = STORE_MISS;
	strbuf_init(&b);
	store_digest_name(s, path, "actions", key);
	if (!os_read_file(s->os, path, &b, e))
		found = errno == ENOENT || errno == EIO ? STORE_MISS : STORE_FAIL;
	else if (record_is_whole(&b) && parse_record(a, b.s, out))
		found = STORE_OK;
	strbuf_release(&b);
	return found;
}

/* ---- checkpoints ---- */

struct checkpoint_header {
	char magic[8];
	uint64_t step, bytes, hi, lo;
};

static const char checkpoint_magic[8] = {'t', 'r', 'i', 'm', 'c', 'k', 'p', 't'};

static void checkpoint_name(struct store *s, char path[STORE_PATH_MAX], struct digest key)
{
	char hex[DIGEST_HEX];
	digest_hex(key, hex);
	store_name(s, path, "checkpoints/%s", hex);
}

bool store_checkpoint_put(struct store *s, struct digest key, uint64_t step,
	const struct buf *part, size_t npart, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct checkpoint_header h = {.step = step};
	struct hasher *hasher = hasher_new();
	memcpy(h.magic, checkpoint_magic, sizeof(h.magic));
	for (size_t i = 0; i < npart; i++)
		h.bytes += part[i].n;
	hasher_add(hasher, &h.step, 2 * sizeof(uint64_t));
	for (size_t i = 0; i < npart; i++)
		hasher_add(hasher, part[i].p, part[i].n);
	struct digest d = hasher_end(hasher);
	h.hi = d.hi;
	h.lo = d.lo;
	struct buf *all = xcalloc(npart + 1, sizeof(*all));
	all[0] = (struct buf){&h, sizeof(h)};
	if (npart)
		memcpy(all + 1, part, npart * sizeof(*all));
	checkpoint_name(s, path, key);
	bool ok = store_tmp_put(s, path, all, npart + 1, STORE_SYNC, e);
	free(all);
	return ok;
}

enum store_found store_checkpoint_get(struct store *s, struct digest key, uint64_t *step,
	struct map *m, struct buf *payload, struct err *e)
{
	char path[STORE_PATH_MAX];
	struct checkpoint_header h;
	checkpoint_name(s, path, key);
	if (!os_map(s->os, path, m, e))
		return errno == ENOENT ? STORE_MISS : STORE_FAIL;
	bool whole = m->n >= sizeof(h);
	if (whole) {
		memcpy(&h, m->p, sizeof(h));
		whole = memcmp(h.magic, checkpoint_magic, sizeof(h.magic)) == 0 &&
			h.bytes == m->n - sizeof(h);
	}
	if (whole) {
		struct hasher *hasher = hasher_new();
		hasher_add(hasher, &h.step, 2 * sizeof(uint64_t));
		hasher_add(hasher, m->p + sizeof(h), h.bytes);
		whole = digest_equal(hasher_end(hasher), (struct digest){h.hi, h.lo});
	}
	if (!whole) {
		os_unmap(s->os, m);
		store_checkpoint_drop(s, key);
		return STORE_MISS;
	}
	*step = h.step;
	*payload = (struct buf){m->p + sizeof(h), h.bytes};
	return STORE_OK;
}

void store_checkpoint_drop(struct store *s, struct digest key)
{
	char path[STORE_PATH_MAX];
	checkpoint_name(s, path, key);
	if (!s->read_only)
		s->os->unlink(s->os, path);
}
