/*
 * A graph's code against the interpreter, for emit_test.c: the graph as built (the oracle), planned and by
 * region through the slab, then compiled for every target that runs here or in an emulator, with 1 and 2
 * threads, on the same random tensors.
 */
#ifndef EMIT_TRIAL_H
#define EMIT_TRIAL_H

#include "ir.h"
#include "target.h"

/* rows: the dynamic axes' extents, in the order made. Inputs are random; i32 ones named after what they
 * index: "i7x" has values below 7, and see fill() for slot, lo, hi. False after FAIL. */
bool trial_run(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed);

/* NULL, or why code for t is not run. */
const char *trial_lacks(const struct target *t);

/* What all trials until now had. */
bool trial_had_op(enum op op);
int trial_count(const struct target *t);

#endif
