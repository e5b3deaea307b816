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
#include "file.h"
#include "stored.h"

/* Maps the file and checks all of it; each error names the byte. The tensors live in the arena and
 * borrow the map, which is the caller's to release, also after a failure. */
bool safetensors_open(struct arena *a, struct map *map, const char *path, struct stored **out,
	size_t *n, struct err *e);

#endif
