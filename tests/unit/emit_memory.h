/*
 * Random tensors of a graph, and the interpreter on them: what tests of emitters compare with. Elements are found by
 * logical index, so two forms of a graph may lay them out differently.
 */
#ifndef EMIT_MEMORY_H
#define EMIT_MEMORY_H

#include "interp.h"
#include "ir.h"

struct memory {
	const struct graph *g;
	int64_t dim[64];                 /* of all axes */
	struct interp_tensor tensor[96]; /* leaves, then outputs; 64-byte aligned */
	int node[96];
	int ntensor;
	bool plain;
};

/* rows: the dynamic axes' extents, in the order made. Inputs are random; i32 ones named after what they
 * index: "i7x" has values below 7, and see fill() for slot, lo, hi. */
void memory_init(struct memory *m, const struct graph *g, const int64_t *rows, uint64_t seed);
/* With numbers of one size, so that a difference is seen beside the largest. */
void memory_init_plain(struct memory *m, const struct graph *g, const int64_t *rows, uint64_t seed);
void memory_release(struct memory *m);
void memory_dims(const struct memory *m, int64_t *dim); /* of the dynamic axes */
bool memory_interpret(struct memory *m);                /* false after FAIL */

/* States and outputs by name, element by element: equal bits; NaN equals NaN. False after FAIL. */
bool memory_same(const struct memory *want, const struct memory *got, const char *what);

/* Where a class of its own or a sum of it is in between: a part of the largest number that stands in a tensor, or so much if that is
 * more. What memory_init_plain gives is about 1; a gradient that comes to nothing need not be 0 to the bit. */
struct tolerance {
	double part, least;
};
struct tolerance tolerance_of(const struct graph *g); /* of GPU classes */

/* The same, each within the tolerance. */
bool memory_close(const struct memory *want, const struct memory *got, struct tolerance by, const char *what);

#endif
