/*
 * safetensors (https://github.com/huggingface/safetensors#format):
 *
 *     u64 header_bytes
 *     JSON { "name": {"dtype", "shape", "data_offsets": [begin, end]}, ... }
 *     data
 *
 * Offsets count from the first byte behind the header. The tensors cover the data without overlap
 * and without a hole. "__metadata__" is passed over.
 */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include "arena.h"
#include "strbuf.h"
#include "stored.h"

/* Checks all of the file's bytes; each error names path and byte. The tensors live in the arena and
 * borrow the bytes. */
bool safetensors_open(struct arena *a, struct buf bytes, const char *path, struct stored **out,
	size_t *n, struct err *e);

#endif
