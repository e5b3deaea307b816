#include "gguf.h"

#include "utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum value_class { CLASS_INT, CLASS_FLOAT, CLASS_BOOL, CLASS_STRING, CLASS_ARRAY };

static const char *const class_name[] = {"an integer", "a float", "a bool", "a string", "an array"};

static const struct {
	const char *name;
	size_t bytes; /* 0: no fixed size */
	enum value_class class;
} value_types[GGUF_NTYPE] = {
	[GGUF_U8] = {"u8", 1, CLASS_INT},
	[GGUF_I8] = {"i8", 1, CLASS_INT},
	[GGUF_U16] = {"u16", 2, CLASS_INT},
	[GGUF_I16] = {"i16", 2, CLASS_INT},
	[GGUF_U32] = {"u32", 4, CLASS_INT},
	[GGUF_I32] = {"i32", 4, CLASS_INT},
	[GGUF_F32] = {"f32", 4, CLASS_FLOAT},
	[GGUF_BOOL] = {"bool", 1, CLASS_BOOL},
	[GGUF_STRING] = {"string", 0, CLASS_STRING},
	[GGUF_ARRAY] = {"array", 0, CLASS_ARRAY},
	[GGUF_U64] = {"u64", 8, CLASS_INT},
	[GGUF_I64] = {"i64", 8, CLASS_INT},
	[GGUF_F64] = {"f64", 8, CLASS_FLOAT},
};

/* Numbers of ggml's tensor types. Those without a dtype are named in messages only. */
static const struct {
	uint32_t number;
	const char *name;
	enum model_dtype dtype;
} tensor_types[] = {
	{0, "F32", MODEL_F32},
	{1, "F16", MODEL_F16},
	{30, "BF16", MODEL_BF16},
	{2, "Q4_0", MODEL_NDTYPE},
	{3, "Q4_1", MODEL_NDTYPE},
	{6, "Q5_0", MODEL_NDTYPE},
	{7, "Q5_1", MODEL_NDTYPE},
	{8, "Q8_0", MODEL_NDTYPE},
	{9, "Q8_1", MODEL_NDTYPE},
	{10, "Q2_K", MODEL_NDTYPE},
	{11, "Q3_K", MODEL_NDTYPE},
	{12, "Q4_K", MODEL_NDTYPE},
	{13, "Q5_K", MODEL_NDTYPE},
	{14, "Q6_K", MODEL_NDTYPE},
	{15, "Q8_K", MODEL_NDTYPE},
	{16, "IQ2_XXS", MODEL_NDTYPE},
	{17, "IQ2_XS", MODEL_NDTYPE},
	{18, "IQ3_XXS", MODEL_NDTYPE},
	{19, "IQ1_S", MODEL_NDTYPE},
	{20, "IQ4_NL", MODEL_NDTYPE},
	{21, "IQ3_S", MODEL_NDTYPE},
	{22, "IQ2_S", MODEL_NDTYPE},
	{23, "IQ4_XS", MODEL_NDTYPE},
	{24, "I8", MODEL_NDTYPE},
	{25, "I16", MODEL_NDTYPE},
	{26, "I32", MODEL_NDTYPE},
	{27, "I64", MODEL_NDTYPE},
	{28, "F64", MODEL_NDTYPE},
	{29, "IQ1_M", MODEL_NDTYPE},
	{34, "TQ1_0", MODEL_NDTYPE},
	{35, "TQ2_0", MODEL_NDTYPE},
	{39, "MXFP4", MODEL_NDTYPE},
};

enum {
	KEY_BYTES_MAX = 65535, /* of the format */
	NAME_BYTES_MAX = 255,  /* ggml allows 63 */
	ALIGNMENT_MAX = 1 << 24,
	/* The least that one entry takes: the bytes that are left bound what a count may be. */
	VALUE_BYTES_MIN = 8 + 4 + 1,
	TENSOR_BYTES_MIN = 8 + 4 + 4 + 8,
};

/* Reads fields one behind the other; `at` never passes the end of the map. */
struct cursor {
	struct gguf *g;
	size_t at;
	struct err *e;
};

static size_t left(const struct cursor *c)
{
	return c->g->map.n - c->at;
}

#define fail(c, where, ...) gguf_fail((c)->g, where, (c)->e, __VA_ARGS__)
static bool PRINTF_LIKE(4, 5)
	gguf_fail(const struct gguf *g, size_t where, struct err *e, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_at(e, ERR_IO, g->path, 0, 0, "byte %zu: %s", where, what);
}

static bool take(struct cursor *c, void *out, size_t bytes, const char *what)
{
	if (left(c) < bytes)
		return fail(c, c->at, "truncated: %s needs %zu bytes, %zu are left", what, bytes,
			left(c));
	memcpy(out, c->g->map.p + c->at, bytes);
	c->at += bytes;
	return true;
}

/* Length and bytes of a string; what it holds is not looked at. */
static bool take_string(struct cursor *c, struct buf *out, const char *what)
{
	uint64_t bytes = 0;
	size_t where = c->at;
	if (!take(c, &bytes, sizeof(bytes), what))
		return false;
	if (bytes > left(c))
		return fail(c, where, "%s claims %" PRIu64 " bytes, %zu are left", what, bytes,
			left(c));
	*out = (struct buf){c->g->map.p + c->at, (size_t)bytes};
	c->at += (size_t)bytes;
	return true;
}

/* A string that names something: not empty, not too long, UTF-8, without NUL. */
static bool take_name(struct cursor *c, const char **out, size_t bytes_max, const char *what)
{
	struct buf s;
	size_t where = c->at;
	if (!take_string(c, &s, what))
		return false;
	if (!s.n || s.n > bytes_max)
		return fail(c, where, "%s of %zu bytes; expected 1 to %zu", what, s.n, bytes_max);
	if (memchr(s.p, 0, s.n) || !utf8_valid(s.p, s.n, NULL))
		return fail(c, where, "%s is not UTF-8 text", what);
	*out = arena_strndup(&c->g->arena, s.p, s.n);
	return true;
}

/* Passes over v->nitem items, whose first byte is the next. */
static bool skip_items(struct cursor *c, const struct gguf_value *v)
{
	size_t bytes = value_types[v->item].bytes;
	if (v->item == GGUF_STRING) {
		for (size_t i = 0; i < v->nitem; i++) {
			struct buf s;
			if (!take_string(c, &s, "a string"))
				return err_context(c->e, "key '%s', item %zu", v->key, i);
		}
		return true;
	}
	if (left(c) / bytes < v->nitem)
		return fail(c, c->at,
			"truncated: key '%s' claims %zu items of %zu bytes, %zu bytes are left",
			v->key, v->nitem, bytes, left(c));
	for (size_t i = 0; v->item == GGUF_BOOL && i < v->nitem; i++)
		if (v->data[i] > 1)
			return fail(c, c->at + i, "key '%s': a bool is 0 or 1, found %d", v->key,
				v->data[i]);
	c->at += v->nitem * bytes;
	return true;
}

static bool take_value(struct cursor *c, struct gguf_value *v)
{
	uint32_t type, item;
	uint64_t n = 1;
	if (!take_name(c, &v->key, KEY_BYTES_MAX, "a key"))
		return false;
	size_t where = c->at;
	if (!take(c, &type, sizeof(type), "a type"))
		return false;
	item = type;
	if (type == GGUF_ARRAY) {
		if (!take(c, &item, sizeof(item), "an item type") ||
			!take(c, &n, sizeof(n), "a length"))
			return false;
		if (item == GGUF_ARRAY)
			return fail(c, where,
				"key '%s' is an array of arrays, which is not supported", v->key);
		if (n > left(c))
			return fail(c, where,
				"key '%s' claims %" PRIu64 " items, %zu bytes are left", v->key, n,
				left(c));
	}
	if (type >= GGUF_NTYPE || item >= GGUF_NTYPE)
		return fail(c, where, "key '%s' has unknown type %u; expected 0 to %d", v->key,
			type >= GGUF_NTYPE ? type : item, GGUF_NTYPE - 1);
	v->type = (enum gguf_type)type;
	v->item = (enum gguf_type)item;
	v->nitem = (size_t)n;
	v->offset = c->at;
	v->data = c->g->map.p + c->at;
	return skip_items(c, v);
}

static bool take_values(struct cursor *c, uint64_t n)
{
	struct gguf *g = c->g;
	size_t where = c->at;
	if (n > left(c) / VALUE_BYTES_MIN)
		return fail(c, 16, "%" PRIu64 " keys claimed, %zu bytes are left", n, left(c));
	g->value = arena_array(&g->arena, struct gguf_value, (size_t)n);
	const char **names = arena_array(&g->arena, const char *, (size_t)n);
	for (; g->nvalue < n; g->nvalue++) {
		if (!take_value(c, &g->value[g->nvalue]))
			return false;
		names[g->nvalue] = g->value[g->nvalue].key;
	}
	size_t twice;
	if (stored_duplicate(names, g->nvalue, &twice))
		return fail(c, twice < g->nvalue ? g->value[twice].offset : where,
			"key '%s' appears twice", names[twice]);
	return true;
}

/* One entry of the tensor table; t->offset still counts from the data section. */
static bool take_tensor(struct cursor *c, struct stored *t)
{
	uint32_t ndim, type;
	uint64_t dim, offset;
	size_t where = c->at;
	if (!take_name(c, &t->name, NAME_BYTES_MAX, "a tensor's name") ||
		!take(c, &ndim, sizeof(ndim), "a tensor's rank"))
		return false;
	if (!ndim || ndim > STORED_NDIM_MAX)
		return fail(c, where, "tensor '%s' has %u dimensions; expected 1 to %d", t->name,
			ndim, STORED_NDIM_MAX);
	t->ndim = (int)ndim;
	for (int i = t->ndim; i-- > 0;) {
		if (!take(c, &dim, sizeof(dim), "a dimension"))
			return false;
		if (!dim)
			return fail(c, where, "tensor '%s' has a dimension of 0", t->name);
		t->dims[i] = (size_t)dim;
	}
	if (!take(c, &type, sizeof(type), "a tensor's type") ||
		!take(c, &offset, sizeof(offset), "a tensor's offset"))
		return false;
	for (size_t i = 0; i < NELEM(tensor_types); i++) {
		if (tensor_types[i].number == type) {
			t->type_name = tensor_types[i].name;
			t->dtype = tensor_types[i].dtype;
		}
	}
	if (!t->type_name)
		return fail(c, where, "tensor '%s' has unknown type %u", t->name, type);
	size_t element = t->dtype == MODEL_NDTYPE ? 0 : model_dtypes[t->dtype].bytes, count;
	if (!stored_size(t->dims, t->ndim, element ? element : 1, &count))
		return fail(c, where, "size of tensor '%s' overflows", t->name);
	t->bytes = element ? count : 0;
	if (offset % c->g->alignment)
		return fail(c, where, "offset %" PRIu64 " of tensor '%s' is not aligned to %zu",
			offset, t->name, c->g->alignment);
	t->offset = (size_t)offset;
	t->path = c->g->path;
	return true;
}

/* Turns offsets into places in the file and checks them against its end and each other. */
static bool place_tensors(struct cursor *c)
{
	struct gguf *g = c->g;
	size_t begin = (c->at + g->alignment - 1) / g->alignment * g->alignment;
	size_t data_bytes = begin < g->map.n ? g->map.n - begin : 0;
	bool ok = true;
	for (size_t i = 0; i < g->ntensor; i++) {
		struct stored *t = &g->tensor[i];
		if (t->offset > data_bytes || t->bytes > data_bytes - t->offset)
			return fail(c, begin,
				"tensor '%s' (%zu bytes at %zu of the data) ends behind the file; "
				"%zu bytes of data are there",
				t->name, t->bytes, t->offset, data_bytes);
		t->offset += begin;
		t->data = g->map.p + t->offset;
	}
	const struct stored **sorted = stored_by_offset(g->tensor, g->ntensor);
	for (size_t i = 1; i < g->ntensor && ok; i++)
		if (sorted[i]->offset < sorted[i - 1]->offset + sorted[i - 1]->bytes)
			ok = fail(c, sorted[i]->offset, "tensors '%s' and '%s' overlap",
				sorted[i - 1]->name, sorted[i]->name);
	free(sorted);
	return ok;
}

static bool take_tensors(struct cursor *c, uint64_t n)
{
	struct gguf *g = c->g;
	size_t where = c->at, twice;
	if (n > left(c) / TENSOR_BYTES_MIN)
		return fail(c, 8, "%" PRIu64 " tensors claimed, %zu bytes are left", n, left(c));
	g->tensor = arena_array(&g->arena, struct stored, (size_t)n);
	const char **names = arena_array(&g->arena, const char *, (size_t)n);
	for (; g->ntensor < n; g->ntensor++) {
		if (!take_tensor(c, &g->tensor[g->ntensor]))
			return false;
		names[g->ntensor] = g->tensor[g->ntensor].name;
	}
	if (stored_duplicate(names, g->ntensor, &twice))
		return fail(c, where, "tensor '%s' appears twice", names[twice]);
	return place_tensors(c);
}

static bool read_alignment(struct cursor *c)
{
	struct gguf *g = c->g;
	int64_t alignment = 32;
	const struct gguf_value *v = gguf_find(g, "general.alignment");
	if (v && !gguf_int(g, "general.alignment", &alignment, c->e))
		return false;
	if (alignment < 1 || alignment > ALIGNMENT_MAX || alignment & (alignment - 1))
		return fail(c, v ? v->offset : 0,
			"general.alignment is %" PRId64 "; expected a power of two up to %d",
			alignment, ALIGNMENT_MAX);
	g->alignment = (size_t)alignment;
	return true;
}

static bool parse(struct cursor *c)
{
	char magic[4];
	uint32_t version;
	uint64_t ntensor, nvalue;
	if (!take(c, magic, sizeof(magic), "the magic"))
		return false;
	if (memcmp(magic, "GGUF", sizeof(magic)))
		return fail(c, 0, "not a GGUF file: it does not begin with 'GGUF'");
	if (!take(c, &version, sizeof(version), "the version"))
		return false;
	if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
		return fail(c, 4, "big-endian GGUF is not supported");
	if (version != 2 && version != 3)
		return fail(c, 4, "GGUF version %u is not supported; expected 2 or 3", version);
	c->g->version = (int)version;
	return take(c, &ntensor, sizeof(ntensor), "the number of tensors") &&
	       take(c, &nvalue, sizeof(nvalue), "the number of keys") && take_values(c, nvalue) &&
	       read_alignment(c) && take_tensors(c, ntensor);
}

bool gguf_open(struct gguf *g, const char *path, struct err *e)
{
	*g = (struct gguf){0};
	if (!map_open(&g->map, path, e))
		return false;
	g->path = arena_strdup(&g->arena, path);
	return parse(&(struct cursor){g, 0, e});
}

bool gguf_open_bytes(struct gguf *g, struct buf bytes, const char *path, struct err *e)
{
	*g = (struct gguf){.map = {bytes.p, bytes.n}, .borrowed = true};
	g->path = arena_strdup(&g->arena, path);
	return parse(&(struct cursor){g, 0, e});
}

void gguf_release(struct gguf *g)
{
	if (!g->borrowed)
		map_release(&g->map);
	arena_release(&g->arena);
	*g = (struct gguf){0};
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
	for (size_t i = 0; i < g->nvalue; i++)
		if (!strcmp(g->value[i].key, key))
			return &g->value[i];
	return NULL;
}

enum value_shape { SCALAR, ARRAY };

/* The value of a key that must be there, of this class and shape; NULL with an error if not. */
static const struct gguf_value *want(const struct gguf *g, const char *key, enum value_class class,
	enum value_shape shape, struct err *e)
{
	const struct gguf_value *v = gguf_find(g, key);
	if (!v) {
		const char **names = xcalloc(g->nvalue, sizeof(*names));
		for (size_t i = 0; i < g->nvalue; i++)
			names[i] = g->value[i].key;
		const char *near = nearest_name(key, names, g->nvalue);
		err_at(e, ERR_IO, g->path, 0, 0, "key '%s' is missing%s%s%s", key,
			near ? "; found '" : "", near ? near : "", near ? "'" : "");
		free(names);
		return NULL;
	}
	enum value_shape found = v->type == GGUF_ARRAY ? ARRAY : SCALAR;
	if (found == shape && value_types[v->item].class == class)
		return v;
	gguf_fail(g, v->offset, e, "key '%s': expected %s%s, found %s%s", key,
		shape == ARRAY ? "an array of which each item is " : "", class_name[class],
		found == ARRAY ? "an array of " : "", value_types[v->item].name);
	return NULL;
}

static bool decode_int(
	const struct gguf *g, const struct gguf_value *v, size_t i, int64_t *out, struct err *e)
{
	size_t bytes = value_types[v->item].bytes;
	uint64_t x = 0;
	memcpy(&x, v->data + i * bytes, bytes);
	switch (v->item) {
	case GGUF_I8:
		*out = (int8_t)x;
		return true;
	case GGUF_I16:
		*out = (int16_t)x;
		return true;
	case GGUF_I32:
		*out = (int32_t)x;
		return true;
	default:
		break;
	}
	if (v->item == GGUF_U64 && x > INT64_MAX)
		return gguf_fail(g, v->offset + i * bytes, e,
			"key '%s': %" PRIu64 " is out of range", v->key, x);
	*out = (int64_t)x;
	return true;
}

static double decode_float(const struct gguf_value *v, size_t i)
{
	float f;
	double d;
	if (v->item == GGUF_F64) {
		memcpy(&d, v->data + i * sizeof(d), sizeof(d));
		return d;
	}
	memcpy(&f, v->data + i * sizeof(f), sizeof(f));
	return (double)f;
}

bool gguf_int(const struct gguf *g, const char *key, int64_t *out, struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_INT, SCALAR, e);
	return v && decode_int(g, v, 0, out, e);
}

bool gguf_float(const struct gguf *g, const char *key, double *out, struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_FLOAT, SCALAR, e);
	if (v)
		*out = decode_float(v, 0);
	return v;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out, struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_BOOL, SCALAR, e);
	if (v)
		*out = v->data[0];
	return v;
}

/* The string whose length stands at p; returns what is behind it. */
static const uint8_t *decode_string(const uint8_t *p, struct buf *out)
{
	uint64_t bytes;
	memcpy(&bytes, p, sizeof(bytes));
	*out = (struct buf){p + sizeof(bytes), (size_t)bytes};
	return p + sizeof(bytes) + bytes;
}

bool gguf_string(const struct gguf *g, const char *key, struct buf *out, struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_STRING, SCALAR, e);
	if (v)
		decode_string(v->data, out);
	return v;
}

bool gguf_strings(struct arena *a, const struct gguf *g, const char *key, struct buf **out,
	size_t *n, struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_STRING, ARRAY, e);
	if (!v)
		return false;
	const uint8_t *p = v->data;
	*n = v->nitem;
	*out = arena_array(a, struct buf, v->nitem);
	for (size_t i = 0; i < v->nitem; i++)
		p = decode_string(p, &(*out)[i]);
	return true;
}

bool gguf_floats(struct arena *a, const struct gguf *g, const char *key, double **out, size_t *n,
	struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_FLOAT, ARRAY, e);
	if (!v)
		return false;
	*n = v->nitem;
	*out = arena_array(a, double, v->nitem);
	for (size_t i = 0; i < v->nitem; i++)
		(*out)[i] = decode_float(v, i);
	return true;
}

bool gguf_ints(struct arena *a, const struct gguf *g, const char *key, int64_t **out, size_t *n,
	struct err *e)
{
	const struct gguf_value *v = want(g, key, CLASS_INT, ARRAY, e);
	if (!v)
		return false;
	*n = v->nitem;
	*out = arena_array(a, int64_t, v->nitem);
	for (size_t i = 0; i < v->nitem; i++)
		if (!decode_int(g, v, i, &(*out)[i], e))
			return false;
	return true;
}
