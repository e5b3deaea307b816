/*
 * What NVIDIA's compiler made of each kernel, read from the cubin, an ELF file: records of its section .nv.info
 * (format 4: u8 format, u8 attribute, u16 bytes, then u32 symbol and u32 value).
 */
#ifndef CUBIN_H
#define CUBIN_H

#include "arena.h"
#include "strbuf.h"

struct cubin_kernel {
	const char *name;
	int registers;   /* of a thread */
	int stack_bytes; /* of a thread, in device memory: what did not fit registers */
};

/* In the arena, by name. ERR_IO: no cubin. */
bool cubin_kernels(struct arena *a, struct buf cubin, struct cubin_kernel **out, size_t *n, struct err *e);

#endif
