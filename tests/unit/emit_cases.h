/*
 * Graphs on which emitters are tried: every op in shapes that are 1, prime, and ragged against 16 lanes, pieces of
 * training and of scores. A case builds another graph for each seed.
 */
#ifndef EMIT_CASES_H
#define EMIT_CASES_H

#include "ir.h"

/* rows: extents of the dynamic axes, in the order made. False after FAIL. */
typedef bool emit_try(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed);

/* The case's graphs of seeds 1 to nseed, until one fails; a name that there is none of is a bug. */
void emit_case(const char *name, int nseed, emit_try *try);

/* Pieces that a model is trained by, and those that compare and weigh halves; so many seeds of each. */
void emit_case_training(int nseed, emit_try *try);
void emit_case_importance(int nseed, emit_try *try);

#endif
