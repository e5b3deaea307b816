#include "flat.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are read in place");

void flat_begin(struct strbuf *b, const char *magic, uint64_t version)
{
	if (b->n % 8 || strlen(magic) != 8)
		BUG("flat record '%s' at %zu", magic, b->n);
	strbuf_add(b, magic, 8);
	flat_u64(b, version);
}

void flat_u64(struct strbuf *b, uint64_t v)
{
	strbuf_add(b, &v, sizeof(v));
}

void flat_bytes(struct strbuf *b, const void *p, size_t n)
{
	static const char zero[8];
	flat_u64(b, n);
	strbuf_add(b, p, n);
	strbuf_add(b, zero, 8 - n % 8);
}

void flat_bad(struct flat *f, const char *why)
{
	if (!f->bad)
		f->bad = why;
}

void flat_open(
	struct flat *f, struct buf bytes, const char *what, const char *magic, uint64_t version)
{
	*f = (struct flat){.p = bytes.p, .n = bytes.n, .what = what};
	if (f->n < 8 || memcmp(f->p, magic, 8) != 0) {
		flat_bad(f, "it does not begin as one");
		return;
	}
	f->at = 8;
	if (flat_get_u64(f) != version)
		flat_bad(f, "it is of another version");
}

uint64_t flat_get_u64(struct flat *f)
{
	uint64_t v;
	if (f->bad)
		return 0;
	if (f->n - f->at < sizeof(v)) {
		flat_bad(f, "it ends early");
		return 0;
	}
	memcpy(&v, f->p + f->at, sizeof(v));
	f->at += sizeof(v);
	return v;
}

uint64_t flat_get_max(struct flat *f, uint64_t max)
{
	uint64_t v = flat_get_u64(f);
	if (v <= max)
		return v;
	flat_bad(f, "a number is out of range");
	return 0;
}

struct buf flat_get_bytes(struct flat *f)
{
	uint64_t n = flat_get_u64(f);
	size_t left = f->n - f->at;
	if (f->bad || n >= left || left - n < 8 - n % 8) {
		flat_bad(f, "a length points outside of it");
		return (struct buf){"", 0};
	}
	struct buf b = {f->p + f->at, (size_t)n};
	size_t pad = 8 - (size_t)n % 8;
	for (size_t i = 0; i < pad; i++) {
		if (f->p[f->at + n + i])
			flat_bad(f, "padding is not zero");
	}
	f->at += (size_t)n + pad;
	return b;
}

const char *flat_get_text(struct flat *f)
{
	struct buf b = flat_get_bytes(f);
	if (memchr(b.p, '\0', b.n)) {
		flat_bad(f, "a text holds a NUL");
		return "";
	}
	return b.p;
}

const void *flat_get_array(struct flat *f, uint64_t n, size_t bytes)
{
	struct buf b = flat_get_bytes(f);
	if (b.n % bytes || b.n / bytes != n)
		flat_bad(f, "an array has the wrong length");
	if ((uintptr_t)b.p % _Alignof(uint64_t) && !f->bad)
		BUG("%s is not aligned", f->what);
	return b.p;
}

bool flat_end(struct flat *f, struct err *e)
{
	if (!f->bad && f->at != f->n)
		f->bad = "something stands behind it";
	if (!f->bad)
		return true;
	return err_set(e, ERR_IO, "%s is damaged at byte %zu: %s", f->what, f->at, f->bad);
}
