/*
 * Code for aarch64, run on this machine by qemu: the object becomes a static program (emulated.c and
 * the runtime of `ninja aarch64`, beside the test in the build folder), which runs the object's one
 * program on tensors in a file that both sides map.
 */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <string.h>

#include "program.h"
#include "strbuf.h"

/* The file: this, then the tensors, each at a multiple of 64. */
enum { EMULATED_TENSORS = 96, EMULATED_DIMS = 8 };
struct emulated {
	int64_t nthreads, ntensor;
	int64_t dim[EMULATED_DIMS]; /* as program_run takes them */
	struct {
		char name[64];
		int64_t offset, bytes;
	} tensor[EMULATED_TENSORS];
};

/* Kernels [first, end) backwards, the one that waits still the first. */
static inline void turn_group(struct program_kernel *k, uint32_t first, uint32_t end)
{
	uint64_t waits = k[first].waits;
	k[first].waits = 0;
	for (; first + 1 < end; first++) {
		struct program_kernel last = k[end - 1];
		memmove(k + first + 1, k + first, (end - 1 - first) * sizeof(*k));
		k[first] = last;
		if (waits)
			k[first].waits = waits;
		waits = 0;
	}
	if (waits)
		k[first].waits = waits;
}

/* Walks run every kernel on all threads, however little work it is: a copy of p that does, whose kernels
 * are malloc'd. For one thread, the kernels between two that wait stand in the opposite order, which must not
 * matter. */
static inline struct program spread_program(const struct program *p, int nthreads)
{
	struct program all = *p;
	struct program_kernel *k = xmalloc(p->nkernel * sizeof(*k));
	memcpy(k, p->kernel, p->nkernel * sizeof(*k));
	for (uint32_t i = 0; i < p->nkernel; i++)
		k[i].work = NULL;
	for (uint32_t i = 0, first = 0; i < p->nkernel && nthreads == 1; i++)
		if (i + 1 == p->nkernel || k[i + 1].waits) {
			turn_group(k, first, i + 1);
			first = i + 1;
		}
	all.kernel = k;
	return all;
}

/* NULL, or what is missing here. */
const char *emulator_lacks(void);

/* Writes to `path` the program for an object with one struct program. */
bool emulator_link(struct buf object, const char *path, struct err *e);

/* Runs it: f says all but the offsets, p[i] is tensor i here, and then as the program left it. The file
 * is put beside the program. */
bool emulator_run(const char *path, struct emulated *f, void *const *p, struct err *e);

#endif
