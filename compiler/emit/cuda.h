/*
 * From planned graphs to CUDA C: the second emitter. One function for each distinct region, in the common subset of C
 * and C++, so that a shim runs the same source on a CPU (tests/gpu/shim.h) and NVRTC compiles it for a device
 * (nvrtc.h). Regions, layouts and memory are those that the LLVM emitter takes: the same packed weights.
 *
 * Numerics. All that is elementwise, row reductions, f32 dots and what quantises give the bits of ir.h. Other dots and
 * attention have a class of their own, the same on every device whose tensor cores add alike, for every batch, in
 * prefill and decode:
 *   dot of bf16      K in at most GPU_CHUNKS ranges (a dynamic K: in ranges of DOT_CHUNK), a range by mma in steps of 16
 *                    from 0, ranges added in order.
 *   dot of q8, q4    as ir.h says, by ranges of blocks that are added in order.
 *   attention        slots in ranges of PV_CHUNK from slot 0 on; weights of a range relative to the largest score
 *                    until then, what was added before scaled down to it. Over bf16 by mma: ranges of 64 slots, a range in
 *                    two steps, from nothing; weights rounded to bf16; ranges added in order, scaled likewise
 *                    (cuda_attention_mma.c).
 */
#ifndef CUDA_H
#define CUDA_H

#include "gpu_code.h"
#include "ir.h"

enum {
	GPU_CLASS_VERSION = 1, /* of the above: goes up when bits change */
	GPU_CHUNKS = 8,
	GPU_FEW_ROWS = 8, /* a program whose dynamic axes have no more is one kernel too (gpu_code.h) */
};

struct cuda_source {
	const char *text;
	size_t text_bytes;
	struct gpu_program *program; /* one for each graph */
	int nprogram;
};

/* Everything in the arena. Deterministic. */
struct cuda_source cuda_emit(struct arena *a, const struct graph *const *graph, int ngraph);

#endif
