/*
 * XXH3-128 digests: names of objects and keys of actions (https://github.com/Cyan4973/xxHash,
 * doc/xxhash_spec.md). Not cryptographic: nothing that crosses a machine is trusted by it.
 * The text form is 32 lower-case hex digits, high half first.
 */
#ifndef DIGEST_H
#define DIGEST_H

#include "base.h"

struct digest {
	uint64_t hi, lo;
};

enum { DIGEST_HEX = 33 }; /* text form with its NUL */

struct digest digest_of(const void *p, size_t n);
void digest_hex(struct digest d, char out[DIGEST_HEX]);
bool digest_parse(const char *hex, struct digest *out); /* exactly 32 digits, then NUL */
bool digest_equal(struct digest a, struct digest b);
int digest_compare(struct digest a, struct digest b);

/* Streaming: new, add any number of times, end (which frees). */
struct hasher;
struct hasher *hasher_new(void);
void hasher_add(struct hasher *h, const void *p, size_t n);
struct digest hasher_end(struct hasher *h);

/* A field with its length before it, so that neighbouring fields cannot run into each other. */
void hasher_add_field(struct hasher *h, const void *p, size_t n);
void hasher_adds(struct hasher *h, const char *s); /* hasher_add_field of a string */

#endif
