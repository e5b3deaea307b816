/*
 * A tensor as a file holds it, before any architecture is known: the common result of the
 * safetensors and the GGUF reader.
 *
 * Invariant of every `struct stored` that a reader hands out: data..data + bytes lies inside the
 * reader's map, no two tensors of one file overlap or share a name, and for readable types bytes
 * is the product of the dimensions and the size of an element. Dimensions are row-major, (out, in)
 * for a matrix, whatever order the file has.
 */
#ifndef STORED_H
#define STORED_H

#include "base.h"

/* Element types that a model may have; all little-endian. */
enum model_dtype { MODEL_F32, MODEL_F16, MODEL_BF16, MODEL_NDTYPE };

struct model_dtype_info {
	const char *name;  /* as safetensors spells it */
	const char *torch; /* as config.json spells it */
	size_t bytes;      /* of one element */
};
extern const struct model_dtype_info model_dtypes[MODEL_NDTYPE];

enum { STORED_NDIM_MAX = 4 };

struct stored {
	const char *name;
	const char *type_name;  /* as the format calls it, for messages */
	enum model_dtype dtype; /* MODEL_NDTYPE: a type that models are not read from (Q4_0, I64) */
	int ndim;               /* 0: a scalar */
	size_t dims[STORED_NDIM_MAX];
	const uint8_t *data; /* borrowed from the map, aligned to nothing */
	size_t bytes;        /* 0 for GGUF types that are not readable: their size is not known */
	const char *path;
	size_t offset; /* of data in the file */
};

/* Product of n dims and element_bytes; false when it overflows. */
bool stored_size(const size_t *dims, int n, size_t element_bytes, size_t *bytes);

/* The later index of two equal names; false when all differ. */
bool stored_duplicate(const char *const *names, size_t n, size_t *which);

/* A copy of the pointers to s[0..n) in the order of their offsets; the caller frees it. */
const struct stored **stored_by_offset(const struct stored *s, size_t n);

/* The same in the order of their names, and the place in it of a name, or NULL. */
const struct stored **stored_by_name(const struct stored *s, size_t n);
const struct stored **stored_find(const struct stored **by_name, size_t n, const char *name);

/* "[512, 64]" */
void stored_shape(const size_t *dims, int ndim, char *out, size_t out_bytes);

#endif
