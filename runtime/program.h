/*
 * What generated code looks like to those who run it: the emitted binary, and `trim` itself when it
 * scores, tunes and evaluates (the same objects, loaded by a JIT linker).
 *
 * A program is a list of kernels run in order, with a barrier before those that wait for what others wrote. A
 * kernel's work is a number of items that depends on shapes alone; any thread may run any range of items, and the
 * result is the same bits: threads take ranges as they get to it, and what is less work than a barrier is thread
 * 0's. Memory is a table t[]: t[0] is the slab (activations, slab_bytes), t[1 + i] is external i, all 64-byte
 * aligned. A kernel gets resolved pointers arg[i] = t[arg.slot] + arg.offset, so blocks of
 * equal shape share one function. The emitter writes these structs as constants (emit/): a change here
 * is a change there and needs a new PROGRAM_ABI.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRAM_ABI = 3 };

/* Runs items lo <= i < hi. dim: actual extents of the dynamic axes, in the order of program.dim.
 * scratch: program.scratch_bytes of this thread alone, 64-byte aligned. */
typedef void kernel_run(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi);
typedef int64_t kernel_items(const int64_t *dim);

enum { PROGRAM_MAX_ARGS = 64, PROGRAM_MAX_GROUP = 8 };

struct program_arg {
	uint64_t slot;   /* 0 the slab, 1 + i external i */
	uint64_t offset; /* bytes */
};

struct program_kernel {
	const char *name;
	kernel_run *run;
	kernel_items *items;
	uint64_t narg; /* <= PROGRAM_MAX_ARGS */
	const struct program_arg *arg;
	kernel_items *work; /* about how many elements and multiply-adds it computes; NULL: many */
	uint64_t waits; /* not 0: must not run beside those since the last that waited, PROGRAM_MAX_GROUP at most */
};

enum program_external_kind { EXTERNAL_INPUT, EXTERNAL_PARAM, EXTERNAL_STATE, EXTERNAL_OUTPUT };

struct program_external {
	const char *name;
	uint32_t kind;       /* enum program_external_kind */
	uint32_t dtype;      /* enum dtype of compiler/ir: 0 f32, 1 bf16, 2 i32, 3 q8, 4 q4, 5 f16, 6 c8 */
	uint64_t bytes;      /* at the maximum extents, padding counted */
};

struct program_dim {
	const char *name; /* "R", "O" */
	int64_t max;
};

struct program {
	uint32_t abi;
	uint32_t nkernel, nexternal, ndim;
	const char *name;
	const struct program_kernel *kernel;
	const struct program_external *external;
	const struct program_dim *dim;
	uint64_t slab_bytes;
	uint64_t scratch_bytes; /* per thread */
};

/* The programs of an object, for one kind of CPU. An object holds one in the section VARIANT_SECTION, so that
 * linking several objects gives a table of them (variant.h). */
#define VARIANT_SECTION "trim_variants"
struct variant {
	const char *name;  /* of the target it was emitted for: "zen4" */
	const char *needs; /* what it asks of the CPU: names of cpu_has, commas */
	const struct program *const *program;
	uint32_t nprogram;
};

/* A pool of n threads (the caller is one of them) that starts once, spins briefly, then sleeps. Each of
 * its threads, the caller while inside program_run too, has FTZ and DAZ (ARM: FZ) set, round to
 * nearest. */
struct pool;
struct pool *pool_new(int nthreads); /* NULL: threads could not be started */
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);

/* Runs all kernels. t[0..nexternal] as above; dim[i] <= program.dim[i].max; scratch: nthreads pieces of
 * program_scratch_bytes(prog), one behind the other. Allocates nothing. */
void program_run(const struct program *prog, struct pool *p, void *const *t, const int64_t *dim,
	void *scratch);
size_t program_scratch_bytes(const struct program *prog); /* scratch_bytes rounded up to 64 */

/* Index into external[], -1 if there is none of that name. */
int program_external_find(const struct program *prog, const char *name);

#endif
