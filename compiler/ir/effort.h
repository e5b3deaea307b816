/*
 * What running a planned graph takes, counted by walking its regions: for estimates of time, not for limits.
 *
 * Effort is in fma-equivalents of single precision: two flops of an f32 dot are 2. The factors of the other kinds
 * (effort.c) say how they stand to each other on CPUs of today, within a factor of two or so; how much of it a machine does
 * a second is measured, kind by kind, so that they matter only where kinds mix.
 */
#ifndef EFFORT_H
#define EFFORT_H

#include "ir.h"

/* How much of the dynamic axes a run uses, on average. */
struct effort_sizes {
	double rows, outs; /* of R, and of any other dynamic axis */
	double attended;   /* slots that a row of attention sees */
};

double graph_effort(const struct graph *plan, const struct effort_sizes *s);

/* Bytes of scratch that each thread may need, at most for kernels as they are: emitters choose tiles for a target, this
 * takes the largest. */
int64_t graph_scratch(const struct graph *plan);

#endif
