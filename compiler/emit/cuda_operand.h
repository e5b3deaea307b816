/*
 * Operands of dots on tensor cores: bf16, and q8 or q4 with q8.
 *
 * They are words along k: 2 bf16, or 4 bytes. A step is 8 words: 16 k of bf16, or a block of 32 bytes. mma's rows are
 * outputs, its columns tokens. Within a step words may come in any order if both operands have the same one, and mma's
 * rows may be any outputs; so a thread (g = lane / 4, t = lane % 4 of its warp) reads words 2t and 2t + 1 of outputs 2g and 2g + 1
 * of a panel, 8 bytes each, which are an mma's operand as they come; the two loads of a warp read 512 neighbouring bytes (int4: one reads
 * 256). It has one panel or two, an mma each.
 *
 * Where lanes lie in rows along k, a warp's 32 outputs are neighbours in memory and a thread has 4: of each k it reads 8 bytes, and makes words of
 * two k.
 */
#ifndef CUDA_OPERAND_H
#define CUDA_OPERAND_H

#include "cuda_dot.h"

enum {
	STEP = 8,            /* words */
	WARPS = GPU_THREADS / 32,
	TOKENS = 8,          /* of an mma */
};

/* What differs between kinds of operands. */
struct operand {
	const struct dot *d;
	const struct dot *of[2]; /* whose panels the warp has */
	int panels;
	bool q;             /* bytes with scales */
	bool odd;           /* bf16: the last word has one element */
	bool chunks;        /* more than one range */
	long long chunk;    /* words of a range */
	const char *nw, *nk;/* words, elements */
	long long panel_words; /* of bf16 in a panel */
};
/* Both panels of that dot. */
struct operand cuda_operand(struct cuda_fn *f, const struct dot *d);

/* Bytes from panel to panel, and from token to token. */
long long cuda_panel_bytes(const struct operand *o);
long long cuda_token_bytes(const struct operand *o);

/* Of tokens: whether 16 bytes of them along k can be copied at once, and whether neighbours in memory are tokens, not k. */
bool cuda_tokens_in_lines(struct cuda_fn *f, const struct operand *o);
bool cuda_tokens_across(const struct operand *o);
/* Of tokens that are across, and of lanes in rows: whether all neighbours go in whole lines of 16 bytes, as they lie. */
bool cuda_tokens_in_lines_across(struct cuda_fn *f, const struct operand *o);
bool cuda_lanes_in_lines_across(const struct operand *o);

/* An expression: which of the warp's outputs is the first of two that mma `panel` gives this thread. */
const char *cuda_lane(struct cuda_fn *f, const struct operand *o, int panel);

/* Declares nk and nw, and what a warp needs of its outputs, panels panel0 and panel1. */
void cuda_declare_lanes(struct cuda_fn *f, const struct operand *o);

/*
 * What a step takes of outputs is asked for some steps before it is wanted, as it lies in memory, since whatever is done with it
 * waits for it. `w`: the thread's first word of the step; of words from `end` on nothing is asked for. `at` is "[i]", of `depth`.
 */
void cuda_declare_ahead(struct cuda_fn *f, const struct operand *o, int depth);
void cuda_ask_for_lanes(struct cuda_fn *f, const struct operand *o, const char *w, const char *end, const char *at);
/* Then it becomes operands of cuda_step. */
void cuda_take_lanes(struct cuda_fn *f, const struct operand *o, const char *w, const char *at);

/* An expression: word w of row m of the tokens. */
const char *cuda_token_word(struct cuda_fn *f, const struct operand *o, const char *m, const char *w);

/* acc[panels][4], of a thread: its first output with tokens 2t, 2t + 1, then its second one; b0, b1: the token's words. Of integers
 * also sum[2], by[2]: the two tokens' records. */
void cuda_step(struct cuda_fn *f, const struct operand *o, const char *acc);

/* The two ways: a range a warp, where K is static, or all ranges by all warps. */
void cuda_dot_few(struct cuda_fn *f, const struct cuda_dots *d);
void cuda_dot_many(struct cuda_fn *f, const struct cuda_dots *d);
/* Bytes of shared memory. */
int64_t cuda_few_shared(const struct cuda_dots *d);
int64_t cuda_many_shared(struct cuda_fn *f, const struct cuda_dots *d);
/* How many items there are, an expression of nm. */
const char *cuda_few_items(struct cuda_fn *f, const struct cuda_dots *d);
const char *cuda_many_items(struct cuda_fn *f, const struct cuda_dots *d);

#endif
