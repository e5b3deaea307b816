/*
 * Bytes: `struct buf` borrows them, `struct strbuf` owns and grows them.
 *
 * A strbuf's `s` is never NULL and always ends in a NUL that `n` does not count, so it can be given
 * to printf at any time. It may hold NULs of its own.
 */
#ifndef STRBUF_H
#define STRBUF_H

#include "base.h"

struct buf {
	const void *p;
	size_t n; /* bytes */
};

struct strbuf {
	char *s;
	size_t n, cap; /* bytes, without the final NUL */
};

void strbuf_init(struct strbuf *b); /* no allocation */
void strbuf_release(struct strbuf *b);
void strbuf_clear(struct strbuf *b); /* n = 0, memory kept */
void strbuf_add(struct strbuf *b, const void *p, size_t n);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Appends s as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD. */
void strbuf_add_json(struct strbuf *b, const char *s, size_t n);

/* The shortest decimal that reads back as exactly x; integers without a point; JSON null for NaN
 * and infinities. */
void strbuf_add_double(struct strbuf *b, double x);

/* The shortest decimal that reads back as exactly this float; it is finite. */
void strbuf_add_float(struct strbuf *b, float x);

static inline struct buf strbuf_buf(const struct strbuf *b)
{
	return (struct buf){b->s, b->n};
}

#endif
