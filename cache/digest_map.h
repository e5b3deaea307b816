/*
 * A hash table from digests to numbers: open addressing, linear probing. Digests are uniform, so
 * their low bits are the hash. Nothing is ever removed. Names are looked up by their digest.
 */
#ifndef DIGEST_MAP_H
#define DIGEST_MAP_H

#include "digest.h"

struct digest_map {
	struct digest_slot {
		struct digest key;
		uint64_t value;
		bool used;
	} *slot;
	size_t n, cap; /* cap is 0 or a power of two */
};

/* A zeroed struct is an empty table. */
void digest_map_release(struct digest_map *m);
uint64_t *digest_map_get(const struct digest_map *m, struct digest key); /* NULL: absent */

/* The place of key's value, 0 if it is new; valid until the next put. */
uint64_t *digest_map_put(struct digest_map *m, struct digest key);

#endif
