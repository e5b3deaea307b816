/*
 * JSON (RFC 8259), read whole into an arena; shared by the compiler and the emitted binary.
 *
 * Numbers keep their text beside the double, so that 64-bit integers are exact. Object members
 * keep file order; of equal names the last wins in json_get. Strings are UTF-8, with \u escapes and
 * surrogate pairs decoded; a lone surrogate is an error. Depth is limited to 256. Every error has
 * line and column.
 */
#ifndef JSON_H
#define JSON_H

#include "arena.h"
#include "strbuf.h"

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_kind kind;
	double number;         /* JSON_NUMBER */
	const char *text;      /* JSON_STRING decoded; JSON_NUMBER as written; NUL behind it */
	size_t text_bytes;     /* a string may hold NULs */
	struct json *item;     /* JSON_ARRAY, JSON_OBJECT: values, in file order */
	const char **key;      /* JSON_OBJECT: nitem names */
	size_t nitem;
	int line, col;         /* where the value begins */
};

/* One value with nothing but white space behind it. `file` is for messages only, may be NULL.
 * Everything lives in the arena; `text` is not referred to afterwards. first_line: for JSONL. */
bool json_parse(struct arena *a, struct buf text, const char *file, int first_line,
	struct json **out, struct err *e);

const struct json *json_get(const struct json *object, const char *key); /* NULL: absent or no object */
bool json_int(const struct json *v, int64_t *out); /* false: no number, not integral, too large */

/* Appends v as compact JSON in file order. */
void json_write(struct strbuf *out, const struct json *v);

/* Whether both are written as the same bytes. */
bool json_equal(const struct json *a, const struct json *b);

/* Appends ,"NAME":X: a further member of an object. */
void json_add_number(struct strbuf *out, const char *name, double x);

#endif
