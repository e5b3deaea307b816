/*
 * Operands in shared memory as wgmma reads them there: 64 k at a time in one of four places (stages), rows of 128 bytes, whose lines of 16
 * bytes have places that follow from the row ("128-byte swizzle"; PTX ISA, "Shared Memory Matrix Layout"), so that rows beside each
 * other are read and written without bank conflicts.
 *
 * Either a row is a token's, along k. Or it is of one k, 64 tokens or lanes that are neighbours in memory; 64 rows have 64 of those, then come
 * the next ones.
 */
#ifndef CUDA_STAGE_H
#define CUDA_STAGE_H

#include "cuda_operand.h"

enum {
	STAGES = 4,       /* two are read, two on their way */
	STAGE_WORDS = 32, /* along k */
};

struct cuda_stage {
	const struct operand *o;
	const char *name;     /* of the variable: stage 0 */
	const char *memory, *first, *total; /* expressions: where it comes from; the tile's first token or lane, and how many there are */
	bool across;          /* rows of one k */
	int n;                /* tokens or lanes of the tile */
	long long row_bytes;  /* in memory */
};

/* False: they cannot be copied as they lie. */
bool cuda_token_stage(struct cuda_fn *f, const struct operand *o, int tokens, struct cuda_stage *out);
bool cuda_lane_stage(struct cuda_fn *f, const struct operand *o, int lanes, struct cuda_stage *out);

int64_t cuda_stage_bytes(const struct cuda_stage *s); /* of one */

/* Declares what copies need to know, and NAME_tile, what wgmma reads in stage 0. */
void cuda_stage_begin(struct cuda_fn *f, const struct cuda_stage *s);
/* Words from `from` on of the range that ends at `end` begin to come to stage `stage`; zeros where there are none. */
void cuda_stage_copy(struct cuda_fn *f, const struct cuda_stage *s, const char *stage, const char *from, const char *end);
/* An expression: step `step` of stage `stage`, from the `atom`th 64 lanes on. */
const char *cuda_stage_tile(struct cuda_fn *f, const struct cuda_stage *s, const char *stage, int step, const char *atom);

#endif
