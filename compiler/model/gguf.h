/*
 * GGUF, versions 2 and 3, little-endian: the container (https://github.com/ggml-org/ggml,
 * docs/gguf.md).
 *
 *     "GGUF" u32 version u64 ntensor u64 nkey
 *     nkey   x { string key, u32 type, value }           string: u64 bytes, then the bytes
 *     ntensor x { string name, u32 ndim, u64 dims[ndim], u32 type, u64 offset }
 *     padding to general.alignment (32 if absent); offsets count from here
 *
 * gguf_open checks everything once: lengths, counts, types, duplicates, alignment, overlaps; each
 * error names the file and the byte. What it hands out borrows the map and lives until
 * gguf_release. Dimensions are turned round: GGUF stores the fastest first.
 */
#ifndef GGUF_H
#define GGUF_H

#include "arena.h"
#include "file.h"
#include "stored.h"

enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_NTYPE
};

struct gguf_value {
	const char *key;
	enum gguf_type type; /* GGUF_ARRAY: of `item` */
	enum gguf_type item; /* == type for what is no array; never GGUF_ARRAY */
	size_t nitem;        /* 1 for what is no array */
	const uint8_t *data; /* encoded as in the file */
	size_t offset;       /* of data in the file */
};

struct gguf {
	struct arena arena;
	struct map map;  /* the bytes */
	bool borrowed;   /* they are someone else's */
	const char *path;
	int version;
	size_t alignment;
	struct gguf_value *value; /* in file order */
	size_t nvalue;
	struct stored *tensor; /* in file order */
	size_t ntensor;
};

bool gguf_open(struct gguf *g, const char *path, struct err *e);
/* The same of bytes, which must outlive g; path is for messages. */
bool gguf_open_bytes(struct gguf *g, struct buf bytes, const char *path, struct err *e);
void gguf_release(struct gguf *g); /* also after a failed open */

/* NULL when the key is absent. */
const struct gguf_value *gguf_find(const struct gguf *g, const char *key);

/* Scalars. Absent keys and other types are errors that name file, key and what was found;
 * ask gguf_find first where a key may be absent. */
bool gguf_int(const struct gguf *g, const char *key, int64_t *out, struct err *e);  /* u8..i64 */
bool gguf_float(const struct gguf *g, const char *key, double *out, struct err *e); /* f32, f64 */
bool gguf_bool(const struct gguf *g, const char *key, bool *out, struct err *e);
bool gguf_string(const struct gguf *g, const char *key, struct buf *out, struct err *e);

/* Arrays, decoded into the arena; the bytes of strings are borrowed from the map. */
bool gguf_strings(struct arena *a, const struct gguf *g, const char *key, struct buf **out,
	size_t *n, struct err *e);
bool gguf_floats(struct arena *a, const struct gguf *g, const char *key, double **out, size_t *n,
	struct err *e);
bool gguf_ints(struct arena *a, const struct gguf *g, const char *key, int64_t **out, size_t *n,
	struct err *e);

#endif
