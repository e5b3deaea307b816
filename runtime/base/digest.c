#include "digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct hasher {
	XXH3_state_t *state;
};

static struct digest digest_from(XXH128_hash_t h)
{
	return (struct digest){h.high64, h.low64};
}

struct digest digest_of(const void *p, size_t n)
{
	return digest_from(XXH3_128bits(p, n));
}

void digest_hex(struct digest d, char out[DIGEST_HEX])
{
	snprintf(out, DIGEST_HEX, "%016llx%016llx", (unsigned long long)d.hi,
		(unsigned long long)d.lo);
}

bool digest_parse(const char *hex, struct digest *out)
{
	uint64_t half[2] = {0, 0};
	for (int i = 0; i < 32; i++) {
		char c = hex[i];
		unsigned digit;
		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a' + 10);
		else
			return false;
		half[i / 16] = half[i / 16] << 4 | digit;
	}
	if (hex[32])
		return false;
	*out = (struct digest){half[0], half[1]};
	return true;
}

bool digest_equal(struct digest a, struct digest b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

int digest_compare(struct digest a, struct digest b)
{
	if (a.hi != b.hi)
		return a.hi < b.hi ? -1 : 1;
	return a.lo < b.lo ? -1 : a.lo > b.lo;
}

struct hasher *hasher_new(void)
{
	struct hasher *h = xmalloc(sizeof(*h));
	h->state = XXH3_createState();
	if (!h->state)
		oom();
	XXH3_128bits_reset(h->state);
	return h;
}

void hasher_add(struct hasher *h, const void *p, size_t n)
{
	if (n)
		XXH3_128bits_update(h->state, p, n);
}

void hasher_add_field(struct hasher *h, const void *p, size_t n)
{
	uint64_t len = n;
	hasher_add(h, &len, sizeof(len));
	hasher_add(h, p, n);
}

void hasher_adds(struct hasher *h, const char *s)
{
	hasher_add_field(h, s, strlen(s));
}

struct digest hasher_end(struct hasher *h)
{
	struct digest d = digest_from(XXH3_128bits_digest(h->state));
	XXH3_freeState(h->state);
	free(h);
	return d;
}
