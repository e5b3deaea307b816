/*
 * Flat records: how small structured things are written into an artifact or into the emitted
 * binary.
 *
 *     8 bytes magic, u64 version, then items in an order that the record's header documents
 *     u64    8 bytes, little-endian
 *     bytes  u64 length, that many bytes, a NUL, zeroes up to a multiple of 8
 *
 * Every item starts at a multiple of 8, so an array inside a mapped record can be used in place. A
 * reader never trusts a length: the first thing that does not fit is kept as the error, everything
 * after it reads as zero and empty, and flat_end says what was wrong.
 */
#ifndef FLAT_H
#define FLAT_H

#include "strbuf.h"

/* b must hold a multiple of 8 bytes; magic has 8 characters. */
void flat_begin(struct strbuf *b, const char *magic, uint64_t version);
void flat_u64(struct strbuf *b, uint64_t v);
void flat_bytes(struct strbuf *b, const void *p, size_t n);

struct flat {
	const char *p;
	size_t n, at;     /* bytes */
	const char *what; /* "row table": for messages */
	const char *bad;  /* the first thing wrong, NULL so far */
};

/* Borrows `bytes`. A wrong magic or version is kept as the error. */
void flat_open(
	struct flat *f, struct buf bytes, const char *what, const char *magic, uint64_t version);
uint64_t flat_get_u64(struct flat *f);
uint64_t flat_get_max(struct flat *f, uint64_t max); /* more than max is wrong */
struct buf flat_get_bytes(struct flat *f);           /* points into the record, a NUL behind it */
const char *flat_get_text(struct flat *f);           /* bytes without a NUL inside; "" if wrong */

/* n elements of `bytes` each, in place; the record must lie at an address aligned for them. */
const void *flat_get_array(struct flat *f, uint64_t n, size_t bytes);

/* Marks the record as wrong for a reason of the caller's own (the first one is kept). */
void flat_bad(struct flat *f, const char *why);

/* True when everything was there and nothing is behind it; else ERR_IO "row table is damaged at
 * byte N: WHY". */
bool flat_end(struct flat *f, struct err *e);

#endif
