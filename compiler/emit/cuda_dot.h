/* Dots of the CUDA emitter: what both kinds share. */
#ifndef CUDA_DOT_H
#define CUDA_DOT_H

#include "cuda_kernel.h"
#include "dot_shape.h"

enum { CUDA_MAX_DOTS = 4 };

/* All dots of the region; they have one broadcast source's rows and equally many lanes. */
struct cuda_dots {
	struct dot dot[CUDA_MAX_DOTS];
	int node[CUDA_MAX_DOTS], ndot;
	bool few_rows; /* of the program: GPU_FEW_ROWS at most */
	bool quantises; /* what comes of them: a warp has 32 lanes of a row */
	bool flips;     /* what comes of them: a block has both places of a flip, panels that are `apart` */
	int apart;
};
struct cuda_dots cuda_dots(struct cuda_fn *f);

/* The place of row m and lane n, variables, where each dot's value is known. */
void cuda_epilogue_spot(struct cuda_fn *f, const struct cuda_dots *d, const char *m, const char *n, const char *const *value, struct spot *s);
/* Stores what the region makes of it. */
void cuda_epilogue(struct cuda_fn *f, const struct cuda_dots *d, const char *m, const char *n, const char *const *value);

void cuda_dot_mma(struct cuda_fn *f, const struct cuda_dots *d);

/* cuda_dot_few.c, of programs of few rows: whether the region reads weights, which are known long before the tokens; how many
 * blocks have work; and code by which block `block` asks for what it will read first. */
bool cuda_dot_asks(const struct graph *g, const struct region *r);
int64_t cuda_dot_items(struct cuda_fn *f);
void cuda_dot_ask(struct cuda_fn *f);

#endif
