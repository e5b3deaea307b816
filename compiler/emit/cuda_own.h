/*
 * In a program that decodes: norms, and rows of q8, that each block computes for itself, into memory of its own, where rows are
 * so few that this takes less than a barrier of all blocks. The dots that read them wait for their own block alone.
 */
#ifndef CUDA_OWN_H
#define CUDA_OWN_H

#include "ir.h"

enum {
	OWN_ROWS = 2,     /* of a call, at most */
};

/* Of each node whether it is the result of one. bytes: of a block's own memory, which they have in turn. */
bool *cuda_own(struct arena *a, const struct graph *g, int64_t *bytes);

#endif
