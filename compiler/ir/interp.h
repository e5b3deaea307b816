/*
 * The interpreter: slow, plain, and the reference for every bit (semantics: ir.h).
 *
 * It runs any stage's form of a graph: as built, lowered, with regions, layouts and slab (then values
 * that are `stored` pass through the planned bytes of the slab and the leaf layouts, so a wrong plan
 * shows as a wrong result). In f64 mode reals are doubles, casts round nothing, and recipes use libm:
 * for finite differences.
 */
#ifndef INTERP_H
#define INTERP_H

#include "ir.h"

/* One bound leaf or output: memory exactly as generated code sees it (dtype, layout, extents at their
 * maximum), or in f64 mode doubles (i32 for i32) in row-major order at their maximum. */
struct interp_tensor {
	const char *name;
	void *p; /* caller owns; states are changed in place */
};

enum interp_mode { INTERP_EXACT, INTERP_F64 };

struct interp_call {
	enum interp_mode mode;
	const int64_t *dim; /* actual extent of each graph axis, by axis index; static ones = extent */
	const struct interp_tensor *tensor; /* all leaves the graph reads, all outputs wanted */
	int ntensor;
};

/* Error when a leaf is unbound or an index out of range; outputs without a tensor are not computed
 * unless something else needs them. */
bool interp_run(const struct graph *g, const struct interp_call *call, struct err *e);

#endif
