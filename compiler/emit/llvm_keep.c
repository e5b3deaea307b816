#include "llvm_keep.h"

#include <stdio.h>
#include <string.h>

#include "file.h"

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

bool keep_get(const char *folder, struct digest key, struct strbuf *out)
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

void keep_put(const char *folder, struct digest key, struct buf object)
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
