#include "arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
	struct arena_block *next;
	max_align_t data[];
};

enum { BLOCK_BYTES = 64 * 1024, ALIGN = sizeof(max_align_t) };

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
}

void arena_release(struct arena *a)
{
	for (struct arena_block *b = a->block, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	arena_init(a);
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	if (bytes > SIZE_MAX / 2)
		oom();
	bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (!bytes)
		bytes = ALIGN;
	if (!a->block || a->size - a->used < bytes) {
		size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
		struct arena_block *b = xcalloc(1, sizeof(*b) + size);
		/* An oversized request must not waste what is left of the current block. */
		if (a->block && bytes > BLOCK_BYTES / 2) {
			b->next = a->block->next;
			a->block->next = b;
			a->total_bytes += bytes;
			return b->data;
		}
		b->next = a->block;
		a->block = b;
		a->size = size;
		a->used = 0;
	}
	void *p = (char *)a->block->data + a->used;
	a->used += bytes;
	a->total_bytes += bytes;
	return p;
}

void *arena_alloc_array(struct arena *a, size_t n, size_t bytes)
{
	if (bytes && n > SIZE_MAX / 2 / bytes)
		oom();
	return arena_alloc(a, n * bytes);
}

void *arena_copy(struct arena *a, const void *p, size_t bytes)
{
	void *q = arena_alloc(a, bytes);
	if (bytes)
		memcpy(q, p, bytes);
	return q;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	if (n)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		BUG("bad format '%s'", fmt);
	char *p = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

void *arena_grow(struct arena *a, void *p, size_t n, size_t bytes)
{
	if (n & (n - 1) || (n == 0 && p))
		return p;
	void *q = arena_alloc_array(a, n ? n * 2 : 1, bytes);
	if (n)
		memcpy(q, p, n * bytes);
	return q;
}
