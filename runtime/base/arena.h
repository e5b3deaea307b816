/*
 * Memory with one lifetime: what an arena hands out lives until arena_release, exactly.
 *
 * A function that allocates takes a `struct arena *` first, and what it returns lives as long as
 * that arena. Nothing is freed one by one. Memory is zeroed and aligned for any scalar. Tensors do
 * not live here. One arena belongs to one thread at a time.
 */
#ifndef ARENA_H
#define ARENA_H

#include "base.h"

struct arena_block;

struct arena {
	struct arena_block *block; /* newest first */
	size_t used, size;         /* of the newest block */
	size_t total_bytes;        /* handed out so far */
};

/* A zeroed struct is an empty arena; init is for memory that is not zeroed. */
void arena_init(struct arena *a);
void arena_release(struct arena *a);

void *arena_alloc(struct arena *a, size_t bytes);
#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_alloc_array((a), (n), sizeof(type)))
void *arena_alloc_array(struct arena *a, size_t n, size_t bytes); /* aborts on overflow */

void *arena_copy(struct arena *a, const void *p, size_t bytes);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A growable array inside an arena: makes room for at least n + 1 elements by doubling; the old
 * copy stays behind in the arena. p may be NULL when n is 0. Capacity is the power of two >= n. */
void *arena_grow(struct arena *a, void *p, size_t n, size_t bytes);
#define arena_push(a, p, n) ((p) = arena_grow((a), (p), (size_t)(n), sizeof(*(p))), &(p)[(n)++])

#endif
