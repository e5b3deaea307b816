/*
 * Operands that all warps of a block share, in shared memory a slab of k at a time: words of tokens, and of lanes that lie in rows along k.
 *
 * Where 16 bytes of memory can be copied as they lie, copies go on while threads multiply, and the slab has two halves: variable
 * `half` is the one that is there. Words lie by token, words along k behind each other. Or, where neighbours in memory are tokens,
 * elements lie by k, tokens behind each other, and ldmatrix turns 8 of both; each 16 k in the order in which a warp wants them, so that 8
 * that it reads at a time lie behind each other, in 32 different banks.
 */
#ifndef CUDA_SLAB_H
#define CUDA_SLAB_H

#include "cuda_operand.h"

struct cuda_slab {
	enum cuda_slab_way { SLAB_LOADED, SLAB_ALONG, SLAB_ACROSS } way; /* loaded: word by word, no copies */
	bool by_columns;      /* SLAB_LOADED: threads beside each other take tokens, not words */
	const struct operand *o;
	const char *name;     /* of the variable */
	const char *memory, *first, *total; /* expressions: where it comes from; the block's first token or lane, and how many there are */
	long long k_stride;   /* elements from k to k + 1 */
	int n;                /* tokens or lanes of a block */
	int words;            /* along k, at a time */
	int pitch, half_words;/* words from token to token, or from k to k; of all */
};

/* tokens of a block from m0 on, nm in all. */
struct cuda_slab cuda_token_slab(struct cuda_fn *f, const struct operand *o, int tokens);
/* lanes of a block from n0 on; false: they cannot be copied as they lie. */
bool cuda_lane_slab(struct cuda_fn *f, const struct operand *o, int lanes, struct cuda_slab *out);

int64_t cuda_slab_bytes(const struct cuda_slab *s);

/* Words [w0, w0 + words) of the range that ends at `to` are there behind it: SLAB_LOADED. */
void cuda_slab_load(struct cuda_fn *f, const struct cuda_slab *s);
/* Declares what copies need to know, once. */
void cuda_slab_begin(struct cuda_fn *f, const struct cuda_slab *s);
/* Words from `from` on of the range that ends at `end` begin to come to half `half`: the others. Of integers, behind a token's words the records
 * of their blocks. */
void cuda_slab_copy(struct cuda_fn *f, const struct cuda_slab *s, const char *half, const char *from, const char *end);

/* Word `w` of tile j from token m4 on, a variable: declares b0 and b1 of tile j, or u32 b[4] of tiles j and j + 1. */
void cuda_slab_tile(struct cuda_fn *f, const struct cuda_slab *s);
void cuda_slab_tiles(struct cuda_fn *f, const struct cuda_slab *s);
/* Lanes from n4 on at word `w`: declares p0, q0, p1 and q1 of cuda_step. */
void cuda_slab_lanes(struct cuda_fn *f, const struct cuda_slab *s);

#endif
