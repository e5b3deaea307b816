/*
 * From planned graphs to CUDA C: the second emitter. One function for each distinct region, in the common subset of C
 * and C++, so that a shim runs the same source on a CPU (tests/gpu/shim.h) and NVRTC compiles it for a device
 * (nvrtc.h). Regions, layouts and memory are those that the LLVM emitter takes: the same packed weights.
 *
 * Numerics. All that is elementwise, row reductions, f32 dots and what quantises give the bits of ir.h. Other dots and
 * attention have a class of their own, the same on every device whose tensor cores add alike and whose ex2 is alike, for every
 * batch, in prefill and decode:
 *   dot of bf16      K in at most GPU_CHUNKS ranges (a dynamic K: in ranges of DOT_CHUNK), a range by mma in steps of 16
 *                    from 0, ranges added in order.
 *   dot of q8, q4    as ir.h says, by ranges of blocks that are added in order.
 *   attention        slots in ranges of PV_CHUNK from slot 0 on; weights of a range relative to the largest score
 *                    until then, what was added before scaled down to it. Over bf16 by mma: ranges of 64 slots, a range in
 *                    two steps, from nothing; weights by ex2, rounded to bf16; ranges added in order, scaled likewise
 *                    (cuda_attention_mma.c). Its gradients over bf16, where a head
 *                    has whole steps of 16 features, by mma in steps of 32 slots or rows (cuda_attention_grad_mma.c).
 */
#ifndef CUDA_H
#define CUDA_H

#include "gpu_code.h"
#include "ir.h"

enum {
	GPU_CLASS_VERSION = 3, /* of the above: goes up when bits change; by a library: device_cuda.c */
	GPU_CHUNKS = 8,
	GPU_FEW_ROWS = FEW_ROWS, /* a program whose dynamic axes have no more is one kernel too (gpu_code.h) */
};

/* A dot that a library is to multiply, of operands of f32 or bf16: result[m][n] = sum over k of rows[m][k] * lanes[n][k],
 * f32, where neighbours in n are neighbours. Places are as a kernel's arguments are, strides in elements. */
struct cuda_extent {
	int64_t fixed;
	int dim; /* times this dimension of the call; -1: none */
};
struct cuda_product {
	uint32_t before; /* the kernel that it comes just before; nkernel: behind all */
	enum dtype dtype;
	struct cuda_extent m, n, k;
	int64_t rows_m, rows_k, lanes_n, lanes_k, result_m;
	struct program_arg rows, lanes, result;
};
struct cuda_products {
	struct cuda_product *product; /* in the order in which they run */
	size_t n;
};

struct cuda_source {
	const char *text;
	size_t text_bytes;
	struct gpu_program *program; /* one for each graph */
	int nprogram;
	struct cuda_products *products; /* each program's; cuda_emit: none */
};

/* Everything in the arena. Deterministic. */
struct cuda_source cuda_emit(struct arena *a, const struct graph *const *graph, int ngraph);
/* The same of graphs that graph_plan_rows made, without code for dots whose operands have no blocks: a library makes them. */
struct cuda_source cuda_emit_products(struct arena *a, const struct graph *const *graph, int ngraph);

#endif
