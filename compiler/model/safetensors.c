#include "safetensors.h"

#include "json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES_MAX = 100000000 }; /* of the format */

/* Types of the format; bytes of an element. */
static const struct {
	const char *name;
	size_t bytes;
	enum model_dtype dtype;
} types[] = {
	{"F32", 4, MODEL_F32},
	{"F16", 2, MODEL_F16},
	{"BF16", 2, MODEL_BF16},
	{"F64", 8, MODEL_NDTYPE},
	{"I64", 8, MODEL_NDTYPE},
	{"U64", 8, MODEL_NDTYPE},
	{"I32", 4, MODEL_NDTYPE},
	{"U32", 4, MODEL_NDTYPE},
	{"I16", 2, MODEL_NDTYPE},
	{"U16", 2, MODEL_NDTYPE},
	{"I8", 1, MODEL_NDTYPE},
	{"U8", 1, MODEL_NDTYPE},
	{"BOOL", 1, MODEL_NDTYPE},
	{"F8_E4M3", 1, MODEL_NDTYPE},
	{"F8_E5M2", 1, MODEL_NDTYPE},
};

struct reader {
	const char *path;
	const uint8_t *header;
	size_t header_bytes;
	const uint8_t *data;
	size_t data_bytes;
	struct err *e;
};

/* The place in the file of a line and column of the header. */
static size_t place(const struct reader *r, int line, int col)
{
	const uint8_t *p = r->header, *end = p + r->header_bytes;
	for (; line > 1 && p < end; p++)
		line -= *p == '\n';
	return 8 + (size_t)(p - r->header) + (size_t)(col > 0 ? col - 1 : 0);
}

static bool PRINTF_LIKE(3, 4)
	fail(const struct reader *r, const struct json *v, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_at(r->e, ERR_IO, r->path, 0, 0, "byte %zu: %s", place(r, v->line, v->col), what);
}

static bool read_type(
	const struct reader *r, const struct json *v, struct stored *t, size_t *element_bytes)
{
	const char *names[NELEM(types)];
	if (v->kind != JSON_STRING)
		return fail(r, v, "dtype of tensor '%s' is no string", t->name);
	for (size_t i = 0; i < NELEM(types); i++) {
		names[i] = types[i].name;
		if (!strcmp(v->text, types[i].name)) {
			t->type_name = types[i].name;
			t->dtype = types[i].dtype;
			*element_bytes = types[i].bytes;
			return true;
		}
	}
	const char *near = nearest_name(v->text, names, NELEM(types));
	return fail(r, v, "tensor '%s' has unknown dtype '%.40s'%s%s%s", t->name, v->text,
		near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool read_size(const struct reader *r, const struct json *v, const char *what, size_t *out)
{
	int64_t x;
	if (!json_int(v, &x) || x < 0)
		return fail(r, v, "%s is not a non-negative integer", what);
	*out = (size_t)x;
	return true;
}

static bool read_shape(const struct reader *r, const struct json *v, struct stored *t)
{
	if (v->kind != JSON_ARRAY)
		return fail(r, v, "shape of tensor '%s' is no array", t->name);
	if (v->nitem > STORED_NDIM_MAX)
		return fail(r, v, "tensor '%s' has %zu dimensions; expected at most %d", t->name,
			v->nitem, STORED_NDIM_MAX);
	t->ndim = (int)v->nitem;
	for (size_t i = 0; i < v->nitem; i++)
		if (!read_size(r, &v->item[i], "a dimension", &t->dims[i]))
			return false;
	return true;
}

static bool read_tensor(
	const struct reader *r, const char *name, const struct json *v, struct stored *t)
{
	const struct json *dtype = json_get(v, "dtype"), *shape = json_get(v, "shape");
	const struct json *offsets = json_get(v, "data_offsets");
	size_t element_bytes = 0, bytes = 0, begin = 0, end = 0;
	*t = (struct stored){.name = name, .path = r->path};
	if (!dtype || !shape || !offsets || v->nitem != 3)
		return fail(r, v,
			"tensor '%.200s': expected dtype, shape and data_offsets, each once", name);
	if (!read_type(r, dtype, t, &element_bytes) || !read_shape(r, shape, t))
		return false;
	if (offsets->kind != JSON_ARRAY || offsets->nitem != 2)
		return fail(r, offsets, "data_offsets of tensor '%s': expected two integers", name);
	if (!read_size(r, &offsets->item[0], "an offset", &begin) ||
		!read_size(r, &offsets->item[1], "an offset", &end))
		return false;
	if (begin > end || end > r->data_bytes)
		return fail(r, offsets, "tensor '%s' lies at %zu to %zu of %zu bytes of data", name,
			begin, end, r->data_bytes);
	if (!stored_size(t->dims, t->ndim, element_bytes, &bytes))
		return fail(r, shape, "size of tensor '%s' overflows", name);
	if (bytes != end - begin)
		return fail(r, offsets,
			"tensor '%s' takes %zu bytes by its shape, %zu by its offsets", name, bytes,
			end - begin);
	t->bytes = bytes;
	t->data = r->data + begin;
	t->offset = 8 + r->header_bytes + begin;
	return true;
}

static bool check_cover(const struct reader *r, const struct stored *s, size_t n)
{
	const struct stored **sorted = stored_by_offset(s, n);
	size_t end = 8 + r->header_bytes, file_end = end + r->data_bytes;
	bool ok = true;
	for (size_t i = 0; i < n && ok; i++) {
		if (sorted[i]->offset < end)
			ok = err_at(r->e, ERR_IO, r->path, 0, 0,
				"byte %zu: tensors '%s' and '%s' overlap", sorted[i]->offset,
				sorted[i - 1]->name, sorted[i]->name);
		else if (sorted[i]->offset > end)
			ok = err_at(r->e, ERR_IO, r->path, 0, 0,
				"byte %zu: %zu bytes before tensor '%s' belong to no tensor", end,
				sorted[i]->offset - end, sorted[i]->name);
		end = sorted[i]->offset + sorted[i]->bytes;
	}
	if (ok && end != file_end)
		ok = err_at(r->e, ERR_IO, r->path, 0, 0,
			"byte %zu: %zu bytes at the end belong to no tensor", end, file_end - end);
	free(sorted);
	return ok;
}

static bool read_header(struct arena *a, const struct reader *r, struct stored **out, size_t *n)
{
	struct json *root;
	size_t twice;
	if (!json_parse(a, (struct buf){r->header, r->header_bytes}, NULL, 1, &root, r->e)) {
		if (r->e) {
			struct json at = {.line = r->e->line, .col = r->e->col};
			char why[sizeof(r->e->msg)];
			memcpy(why, r->e->msg, sizeof(why));
			fail(r, &at, "header: %s", why);
		}
		return false;
	}
	if (root->kind != JSON_OBJECT)
		return fail(r, root, "the header is no JSON object");
	if (stored_duplicate(root->key, root->nitem, &twice))
		return fail(
			r, &root->item[twice], "tensor '%.200s' appears twice", root->key[twice]);
	*out = arena_array(a, struct stored, root->nitem);
	*n = 0;
	for (size_t i = 0; i < root->nitem; i++)
		if (strcmp(root->key[i], "__metadata__") &&
			!read_tensor(r, root->key[i], &root->item[i], &(*out)[(*n)++]))
			return false;
	return check_cover(r, *out, *n);
}

bool safetensors_open(struct arena *a, struct buf bytes, const char *path, struct stored **out,
	size_t *n, struct err *e)
{
	uint64_t header_bytes;
	const uint8_t *p = bytes.p;
	if (bytes.n < sizeof(header_bytes))
		return err_at(e, ERR_IO, path, 0, 0,
			"byte 0: truncated: %zu bytes cannot hold a header", bytes.n);
	memcpy(&header_bytes, p, sizeof(header_bytes));
	if (header_bytes > HEADER_BYTES_MAX)
		return err_at(e, ERR_IO, path, 0, 0,
			"byte 0: a header of %" PRIu64 " bytes is claimed; expected at most %d",
			header_bytes, HEADER_BYTES_MAX);
	if (header_bytes > bytes.n - 8)
		return err_at(e, ERR_IO, path, 0, 0,
			"byte 0: truncated: a header of %" PRIu64 " bytes is claimed, %zu are left",
			header_bytes, bytes.n - 8);
	struct reader r = {arena_strdup(a, path), p + 8, (size_t)header_bytes,
		p + 8 + header_bytes, bytes.n - 8 - (size_t)header_bytes, e};
	return read_header(a, &r, out, n);
}
