/*
 * Generated CUDA C as a library of this machine (tests/gpu/shim.h): launched kernel by kernel, or as programs that
 * sessions run like any other.
 */
#ifndef SHIM_PROGRAM_H
#define SHIM_PROGRAM_H

#include "cuda.h"
#include "program.h"

enum { SHIM_ORDERS = 3 }; /* of fibres and blocks: forward, reverse, strided */

struct shim {
	void *library;
	char path[4096];
	const struct cuda_source *source;
	const struct program *const *program; /* one for each of the source's; kernels run as shim_order says */
};

/* False after FAIL; shim_close either way. */
bool shim_open(struct shim *s, const struct cuda_source *source);
void shim_close(struct shim *s);

/* From now on: fibres take their turns in this order, and a kernel has so many blocks. */
void shim_order(struct shim *s, int order, int nblocks);

/* Whether code ran that multiplies by this form of wgmma. */
bool shim_ran(struct shim *s, int tokens, bool panels, bool across);

/* What was wrong since the last call, of barriers that not all threads reach; NULL: nothing. */
const char *shim_wrong(struct shim *s);

#endif
