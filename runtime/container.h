/*
 * What an emitted binary carries beside its code, as one segment that is mapped with it.
 *
 *     0   8 bytes  "TRIMSEG1"
 *     8   u64      bytes of the whole container
 *     16  u64      bytes of the directory: all before the first entry's data; multiple of 64
 *     24  u64      number of entries
 *     32  u64      FNV-1a of the directory, this field taken as 0
 *     40  zeros up to 64
 *     64  entries, 32 bytes each, by strictly ascending name (byte order):
 *           u64 name      where the name begins, from the start of the container
 *           u64 kind      enum entry_kind
 *           u64 offset    of the data, from the start; a multiple of 64
 *           u64 bytes
 *         names, each with a NUL behind it; zeros to the end of the directory
 *         data of the entries, in the order of the entries, each at the next multiple of 64
 *
 * Little-endian. The container begins on a page, so data are 64-byte aligned in memory. Opening
 * checks all of the directory, not the data: that would read every weight. (`selftest` notices
 * damaged weights.)
 *
 * Entries, by name:
 *     "t:NAME"     a tensor exactly as generated code reads it (NAME: canonical)
 *     "tokenizer"  the block of tokenizer.h
 *     "task"       the record of task.h; absent when the spec has no task. With several
 *                  datasets one for each, "task/NAME"
 *     "info"       JSON, model_info.h
 *     "golden"     tokens and their logits, golden.h
 *     "gpu/table"  programs for GPUs, gpu_code.h; absent without code for them
 *     "gpu/sm_90"  a cubin; "gpu/ptx_90": PTX, for later architectures
 */
#ifndef CONTAINER_H
#define CONTAINER_H

#include "strbuf.h"

#define CONTAINER_MAGIC "TRIMSEG1"
#define CONTAINER_TENSOR_PREFIX "t:"
#define CONTAINER_TASK_PREFIX "task/"
#define CONTAINER_GPU_PREFIX "gpu/"
enum { CONTAINER_ALIGN = 64, CONTAINER_HEADER_BYTES = 64, CONTAINER_ENTRY_BYTES = 32 };

enum entry_kind { ENTRY_TENSOR, ENTRY_TOKENIZER, ENTRY_TASK, ENTRY_INFO, ENTRY_GOLDEN,
	ENTRY_GPU, NENTRY_KINDS };

struct container {
	const uint8_t *p;
	uint64_t bytes, nentry;
};

/* One entry of the directory; data points into the container. */
struct container_entry {
	const char *name;
	enum entry_kind kind;
	struct buf data;
};

/* Borrows the bytes. ERR_IO says what is damaged. */
bool container_open(struct container *c, struct buf bytes, struct err *e);

struct container_entry container_get(const struct container *c, uint64_t i); /* i < nentry */

/* The data of an entry, p NULL when there is none; an empty entry has some p. */
struct buf container_find(const struct container *c, const char *name);

/* A param_source.find (model_run.h): ctx is the container, entries "t:NAME". */
struct buf container_param(void *ctx, const char *name);

/* For who writes one: lays entries out in order of name. offset[i] receives where the data of entry
 * i (as given) go; returns the directory's bytes in out (cleared first) and the size of the whole.
 * Equal names and unknown kinds are the caller's bug. */
struct container_item {
	const char *name;
	enum entry_kind kind;
	uint64_t bytes;
};
uint64_t container_plan(const struct container_item *item, size_t nitem, uint64_t *offset,
	struct strbuf *out);

/* The container of the running program, found through its own program headers: the last loaded
 * segment. ERR_IO when there is none, or when the file is shorter than its headers say. */
bool container_of_program(struct buf *out, struct err *e);

#endif
