#include "container.h"

#include <stdlib.h>
#include <string.h>

enum { AT_BYTES = 8, AT_DIRECTORY = 16, AT_COUNT = 24, AT_SUM = 32, AT_ZEROS = 40 };
enum { ENTRY_NAME = 0, ENTRY_KIND = 8, ENTRY_OFFSET = 16, ENTRY_SIZE = 24 };

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 8; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

static void put_u64(char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (char)(v >> 8 * i);
}

static uint64_t align_up(uint64_t n)
{
	return (n + CONTAINER_ALIGN - 1) & ~(uint64_t)(CONTAINER_ALIGN - 1);
}

static uint64_t directory_sum(const uint8_t *p, uint64_t n)
{
	uint64_t h = 0xcbf29ce484222325;
	for (uint64_t i = 0; i < n; i++) {
		h ^= i >= AT_SUM && i < AT_SUM + 8 ? 0 : p[i];
		h *= 0x100000001b3;
	}
	return h;
}

static bool damaged(struct err *e, const char *why)
{
	return err_set(e, ERR_IO, "the program's data are damaged: %s", why);
}

static const uint8_t *entry_at(const struct container *c, uint64_t i)
{
	return c->p + CONTAINER_HEADER_BYTES + i * CONTAINER_ENTRY_BYTES;
}

static bool check_entries(const struct container *c, uint64_t directory, struct err *e)
{
	uint64_t name_at = CONTAINER_HEADER_BYTES + c->nentry * CONTAINER_ENTRY_BYTES;
	uint64_t data_at = directory;
	const char *before = NULL;
	for (uint64_t i = 0; i < c->nentry; i++) {
		const uint8_t *entry = entry_at(c, i);
		uint64_t size = get_u64(entry + ENTRY_SIZE);
		if (get_u64(entry + ENTRY_NAME) != name_at)
			return damaged(e, "a name is out of place");
		const char *name = (const char *)c->p + name_at;
		const char *end = memchr(name, 0, directory - name_at);
		if (!end)
			return damaged(e, "a name does not end");
		if (before && strcmp(before, name) >= 0)
			return damaged(e, "names are out of order");
		if (get_u64(entry + ENTRY_KIND) >= NENTRY_KINDS)
			return damaged(e, "an entry of an unknown kind");
		if (get_u64(entry + ENTRY_OFFSET) != data_at)
			return damaged(e, "an entry is out of place");
		if (size > c->bytes - data_at)
			return damaged(e, "an entry passes the end");
		before = name;
		name_at += (uint64_t)(end - name) + 1;
		data_at = align_up(data_at + size);
		if (data_at > c->bytes)
			return damaged(e, "an entry passes the end");
	}
	if (data_at != c->bytes)
		return damaged(e, "bytes behind the last entry");
	for (; name_at < directory; name_at++)
		if (c->p[name_at])
			return damaged(e, "bytes behind the names");
	return true;
}

bool container_open(struct container *c, struct buf bytes, struct err *e)
{
	const uint8_t *p = bytes.p;
	if (bytes.n < CONTAINER_HEADER_BYTES || memcmp(p, CONTAINER_MAGIC, 8) != 0)
		return damaged(e, "no directory");
	*c = (struct container){p, get_u64(p + AT_BYTES), get_u64(p + AT_COUNT)};
	uint64_t directory = get_u64(p + AT_DIRECTORY);
	if (c->bytes != bytes.n || c->bytes % CONTAINER_ALIGN)
		return damaged(e, "another size than their directory says");
	if (directory > c->bytes || directory < CONTAINER_HEADER_BYTES ||
		directory % CONTAINER_ALIGN ||
		c->nentry > (directory - CONTAINER_HEADER_BYTES) / CONTAINER_ENTRY_BYTES)
		return damaged(e, "a directory of an impossible size");
	if (get_u64(p + AT_SUM) != directory_sum(p, directory))
		return damaged(e, "the directory's checksum is another");
	for (int i = AT_ZEROS; i < CONTAINER_HEADER_BYTES; i++)
		if (p[i])
			return damaged(e, "unknown header fields");
	return check_entries(c, directory, e);
}

struct container_entry container_get(const struct container *c, uint64_t i)
{
	const uint8_t *entry = entry_at(c, i);
	return (struct container_entry){(const char *)c->p + get_u64(entry + ENTRY_NAME),
		(enum entry_kind)get_u64(entry + ENTRY_KIND),
		{c->p + get_u64(entry + ENTRY_OFFSET), get_u64(entry + ENTRY_SIZE)}};
}

/* Compares the two parts of `want` as one string with an entry's name. */
static int compare_name(const char *prefix, const char *want, const char *name)
{
	size_t n = strlen(prefix);
	int d = strncmp(prefix, name, n);
	return d ? d : strcmp(want, name + n);
}

static struct buf find(const struct container *c, const char *prefix, const char *want)
{
	uint64_t lo = 0, hi = c->nentry;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		struct container_entry entry = container_get(c, mid);
		int d = compare_name(prefix, want, entry.name);
		if (!d)
			return entry.data;
		if (d < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return (struct buf){NULL, 0};
}

struct buf container_find(const struct container *c, const char *name)
{
	return find(c, "", name);
}

struct buf container_param(void *ctx, const char *name)
{
	return find(ctx, CONTAINER_TENSOR_PREFIX, name);
}

struct ordered {
	const struct container_item *item;
	size_t index;
};

static int by_name(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	return strcmp(x->item->name, y->item->name);
}

uint64_t container_plan(const struct container_item *item, size_t nitem, uint64_t *offset,
	struct strbuf *out)
{
	struct ordered *order = xcalloc(nitem, sizeof *order);
	uint64_t name_at = CONTAINER_HEADER_BYTES + nitem * CONTAINER_ENTRY_BYTES,
		 directory = name_at;
	for (size_t i = 0; i < nitem; i++) {
		order[i] = (struct ordered){&item[i], i};
		directory += strlen(item[i].name) + 1;
		if (item[i].kind >= NENTRY_KINDS)
			BUG("container entry '%s' of kind %d", item[i].name, item[i].kind);
	}
	if (nitem)
		qsort(order, nitem, sizeof *order, by_name);
	directory = align_up(directory);
	strbuf_clear(out);
	while (out->n < directory)
		strbuf_add(out, (char[CONTAINER_ALIGN]){0}, CONTAINER_ALIGN);
	uint64_t at = directory;
	for (size_t i = 0; i < nitem; i++) {
		const struct container_item *it = order[i].item;
		if (i && !strcmp(order[i - 1].item->name, it->name))
			BUG("two container entries '%s'", it->name);
		char *entry = out->s + CONTAINER_HEADER_BYTES + i * CONTAINER_ENTRY_BYTES;
		put_u64(entry + ENTRY_NAME, name_at);
		put_u64(entry + ENTRY_KIND, it->kind);
		put_u64(entry + ENTRY_OFFSET, at);
		put_u64(entry + ENTRY_SIZE, it->bytes);
		memcpy(out->s + name_at, it->name, strlen(it->name));
		name_at += strlen(it->name) + 1;
		offset[order[i].index] = at;
		at = align_up(at + it->bytes);
	}
	free(order);
	memcpy(out->s, CONTAINER_MAGIC, 8);
	put_u64(out->s + AT_BYTES, at);
	put_u64(out->s + AT_DIRECTORY, directory);
	put_u64(out->s + AT_COUNT, nitem);
	put_u64(out->s + AT_SUM, directory_sum((const uint8_t *)out->s, directory));
	return at;
}
