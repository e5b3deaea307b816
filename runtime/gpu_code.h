/*
 * What generated CUDA code looks like to those who run it: programs of kernels that are launched in order, on one
 * stream, each behind all before it. Device code itself is found by kernels' names in a cubin (gpu_run.h).
 *
 * A kernel is a function
 *     void NAME(struct gpu_call)
 * of GPU_THREADS threads and any number of blocks; the numbers of blocks change no bit. Its arguments are places in a
 * table of device addresses like program.h's: t[0] the slab, t[1 + i] external i, t[1 + nexternal] scratch that kernels
 * share.
 *
 * A program of few rows is also one kernel that does what all of them do, with a barrier of the grid where one must wait:
 *     void NAME(struct gpu_call_all)
 * launched with as many blocks as the device holds at a time.
 *
 * As bytes: JSON, one array of programs
 *     [{"name":"step","slab_bytes":N,"scratch_bytes":N,"waits":N,"waits_of_one":N,"all":"step_all","dims":[["R",64]],
 *       "externals":[["tok",kind,dtype,bytes]],"kernels":[["k0_map",shared_bytes,shared_bytes_90,[slot,offset,slot,offset]]]}]
 */
#ifndef GPU_CODE_H
#define GPU_CODE_H

#include "arena.h"
#include "program.h"
#include "strbuf.h"

enum { GPU_THREADS = 256, GPU_MAX_DIMS = 8, GPU_MOST_BLOCKS = 512 /* of the kernel that does what all do */ };

struct gpu_call {
	uint64_t t[PROGRAM_MAX_ARGS]; /* device addresses */
	int64_t dim[GPU_MAX_DIMS];
};

struct gpu_call_all {
	uint64_t arg;     /* device address of all kernels' arguments, addresses, in order */
	uint64_t counter; /* of a u32 that blocks count their arrivals in */
	uint64_t own;     /* of memory of which each block has a part of its own: scratch */
	uint32_t before;  /* what it has when the kernel begins; arrivals are added, BLOCKS a barrier */
	uint32_t unused;
	int64_t dim[GPU_MAX_DIMS];
};

struct gpu_kernel {
	const char *name;
	uint32_t narg;
	const struct program_arg *arg;
	uint64_t shared_bytes, shared_bytes_90; /* dynamic, of a block; of a cubin for 90 (gpu_shared_bytes) */
};

struct gpu_program {
	struct program head; /* without kernels; slab_bytes and scratch_bytes are device memory */
	const struct gpu_kernel *kernel;
	uint32_t nkernel;
	const char *all; /* the kernel that does what all do; "": there is none */
	uint32_t nwait;  /* barriers of the grid in it */
	uint32_t nwait_of_one; /* those that one row of few slots waits at */
};

/* Of kernel k on a device of an architecture. */
uint64_t gpu_shared_bytes(const struct gpu_kernel *k, int arch);

void gpu_code_write(struct strbuf *out, const struct gpu_program *p, size_t n);

/* In the arena. ERR_IO: what is damaged, and where. */
bool gpu_code_read(struct arena *a, struct buf text, struct gpu_program **p, size_t *n, struct err *e);

#endif
