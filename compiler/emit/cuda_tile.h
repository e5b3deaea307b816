/*
 * Dots of many tokens: a block takes a tile of outputs and tokens at a time, and keeps what they come to in shared memory, until the
 * region's epilogue has stored what it makes of it. A region's dots go in parts, two that are alike or one; of two a tile has half
 * as many outputs each, and they share the tokens.
 */
#ifndef CUDA_TILE_H
#define CUDA_TILE_H

#include "cuda_dot.h"

enum {
	TILE_LANES = 128, /* outputs of a part */
	TILE_PITCH = TILE_LANES + 4, /* floats of a token's results: double words of 4 tokens and 4 lanes lie in 32 different banks */
};

struct cuda_tile {
	int each, nparts;
	int lanes;      /* outputs of a dot */
	int tokens;
	int64_t across; /* tiles that have all outputs of some tokens */
};

/* Of `tokens` where one part has all dots; of less where their results would not fit. */
struct cuda_tile cuda_tile_of(const struct cuda_dots *d, int tokens);
const char *cuda_tile_items(struct cuda_fn *f, const struct cuda_tile *t); /* an expression of nm */
int64_t cuda_tile_bytes(const struct cuda_tile *t); /* of results */

/* A loop over tiles: first output n0, first token m0. Each part leaves float done[part * tokens + token][TILE_PITCH], dots behind each other. */
void cuda_tile_begin(struct cuda_fn *f, const struct cuda_tile *t);
void cuda_tile_end(struct cuda_fn *f, const struct cuda_dots *d, const struct cuda_tile *t);

#endif
