#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct model_dtype_info model_dtypes[MODEL_NDTYPE] = {
	[MODEL_F32] = {"F32", "float32", 4},
	[MODEL_F16] = {"F16", "float16", 2},
	[MODEL_BF16] = {"BF16", "bfloat16", 2},
};

bool stored_size(const size_t *dims, int n, size_t element_bytes, size_t *bytes)
{
	size_t product = element_bytes;
	for (int i = 0; i < n; i++)
		if (__builtin_mul_overflow(product, dims[i], &product))
			return false;
	*bytes = product;
	return true;
}

struct named {
	const char *name;
	size_t index;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

bool stored_duplicate(const char *const *names, size_t n, size_t *which)
{
	struct named *sorted = xcalloc(n, sizeof(*sorted));
	bool found = false;
	for (size_t i = 0; i < n; i++)
		sorted[i] = (struct named){names[i], i};
	qsort(sorted, n, sizeof(*sorted), compare_named);
	for (size_t i = 1; i < n && !found; i++) {
		found = !strcmp(sorted[i - 1].name, sorted[i].name);
		if (found)
			*which = sorted[i].index;
	}
	free(sorted);
	return found;
}

static int compare_offset(const void *a, const void *b)
{
	const struct stored *x = *(const struct stored *const *)a;
	const struct stored *y = *(const struct stored *const *)b;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	/* An empty tensor lies before the one that begins where it does. */
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int compare_name(const void *a, const void *b)
{
	const struct stored *x = *(const struct stored *const *)a;
	const struct stored *y = *(const struct stored *const *)b;
	return strcmp(x->name, y->name);
}

static const struct stored **sort(
	const struct stored *s, size_t n, int (*compare)(const void *, const void *))
{
	const struct stored **sorted = xcalloc(n, sizeof(*sorted));
	for (size_t i = 0; i < n; i++)
		sorted[i] = &s[i];
	qsort(sorted, n, sizeof(*sorted), compare);
	return sorted;
}

const struct stored **stored_by_offset(const struct stored *s, size_t n)
{
	return sort(s, n, compare_offset);
}

const struct stored **stored_by_name(const struct stored *s, size_t n)
{
	return sort(s, n, compare_name);
}

const struct stored **stored_find(const struct stored **by_name, size_t n, const char *name)
{
	const struct stored key = {.name = name}, *pkey = &key;
	return bsearch(&pkey, by_name, n, sizeof(*by_name), compare_name);
}

void stored_shape(const size_t *dims, int ndim, char *out, size_t out_bytes)
{
	size_t n = (size_t)snprintf(out, out_bytes, "[");
	for (int i = 0; i < ndim && n < out_bytes; i++)
		n += (size_t)snprintf(out + n, out_bytes - n, i ? ", %zu" : "%zu", dims[i]);
	if (n < out_bytes)
		snprintf(out + n, out_bytes - n, "]");
}
