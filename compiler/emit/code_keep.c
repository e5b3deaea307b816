#include "code_keep.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

/* ---- in a folder ---- */

enum { HEAD = DIGEST_HEX }; /* digits and a newline */

static void name_file(const char *folder, struct digest key, struct strbuf *path)
{
	char hex[DIGEST_HEX];
	digest_hex(key, hex);
	strbuf_init(path);
	strbuf_addf(path, "%s/%s.o", folder, hex);
}

static void write_head(const void *object, size_t n, char head[HEAD])
{
	digest_hex(digest_of(object, n), head);
	head[HEAD - 1] = '\n';
}

static bool keep_get(const char *folder, struct digest key, struct strbuf *out)
{
	struct strbuf path;
	struct map m;
	struct err e;
	char head[HEAD];
	name_file(folder, key, &path);
	bool found = map_open(&m, path.s, &e);
	strbuf_release(&path);
	if (!found)
		return false;
	if (m.n > HEAD)
		write_head(m.p + HEAD, m.n - HEAD, head);
	bool whole = m.n > HEAD && !memcmp(m.p, head, HEAD);
	if (whole)
		strbuf_add(out, m.p + HEAD, m.n - HEAD);
	map_release(&m);
	return whole;
}

static void keep_put(const char *folder, struct digest key, struct buf object)
{
	struct strbuf path;
	struct err e;
	char head[HEAD];
	const struct buf part[] = {{head, HEAD}, object};
	write_head(object.p, object.n, head);
	name_file(folder, key, &path);
	(void)(make_directories(folder, &e) && file_write_parts(path.s, part, NELEM(part), 0444, &e));
	strbuf_release(&path);
}

/* ---- in memory ---- */

/* All that is kept; an entry goes when newer ones need its room. */
enum { MOST_BYTES = 64 << 20, MOST_OBJECTS = 64 };

struct memo {
	struct digest key;
	char *bytes;
	size_t n;
};

static struct {
	pthread_mutex_t lock;
	struct memo memo[MOST_OBJECTS]; /* by age, the oldest first */
	int nmemo;
	size_t bytes;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool memo_get(struct digest key, struct strbuf *out)
{
	bool found = false;
	pthread_mutex_lock(&kept.lock);
	for (int i = 0; i < kept.nmemo && !found; i++) {
		found = digest_equal(kept.memo[i].key, key);
		if (found)
			strbuf_add(out, kept.memo[i].bytes, kept.memo[i].n);
	}
	pthread_mutex_unlock(&kept.lock);
	return found;
}

static void forget_oldest(void)
{
	kept.bytes -= kept.memo[0].n;
	free(kept.memo[0].bytes);
	memmove(kept.memo, kept.memo + 1, (size_t)--kept.nmemo * sizeof(*kept.memo));
}

static void memo_put(struct digest key, struct buf code)
{
	if (code.n > MOST_BYTES)
		return;
	pthread_mutex_lock(&kept.lock);
	while (kept.nmemo == MOST_OBJECTS || kept.bytes > MOST_BYTES - code.n)
		forget_oldest();
	struct memo *m = &kept.memo[kept.nmemo++];
	*m = (struct memo){key, xmalloc(code.n), code.n};
	memcpy(m->bytes, code.p, code.n);
	kept.bytes += code.n;
	pthread_mutex_unlock(&kept.lock);
}

/* ---- either ---- */

bool code_get(const char *folder, struct digest key, struct strbuf *out)
{
	return *folder ? keep_get(folder, key, out) : memo_get(key, out);
}

void code_put(const char *folder, struct digest key, struct buf code)
{
	if (*folder)
		keep_put(folder, key, code);
	else
		memo_put(key, code);
}
