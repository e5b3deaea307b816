/* What the forward and the backward half of attention share. */
#ifndef LLVM_ATTENTION_H
#define LLVM_ATTENTION_H

#include "llvm_kernel.h"

struct heads {
	const struct node *n;
	int q, kk, v, lo, hi;          /* nodes */
	int nbatch, ngroup, nfeature;  /* axes: B, G, C of ir.h */
	int64_t batches, groups;       /* products of B and G */
	int64_t features;              /* product of C */
	int64_t slots;                 /* extent of A */
	int64_t q_row, q_batch, q_group; /* strides of q and the result, elements */
	enum dtype kv;
};
struct heads attention_heads(const struct graph *g, const struct node *n);

enum { QUERIES = 4 }; /* rows of one KV head that share a reading of its keys and values */

/* Up to QUERIES rows of one head against the slots [lo, end). */
struct scores {
	int n;
	LLVMValueRef q[QUERIES];  /* float*: features */
	LLVMValueRef out[QUERIES]; /* float*: score of the first slot of lo's panel */
	LLVMValueRef panels;      /* element pointer of the head's panels of slots */
	bool pairs;               /* panels of bf16 pairs, else of f32 */
	LLVMValueRef lo, end;     /* i64 */
};
/* Vectors of sums that each of n rows may have in registers, beside what they are made of; may be 0. */
int sums_per_row(const struct kernel *k, int n);
/* s = q . k for whole panels; lanes outside [lo, end) are computed and never read. */
void emit_scores(struct kernel *k, const struct heads *h, const struct scores *s);
LLVMValueRef emit_max(struct kernel *k, LLVMValueRef score, LLVMValueRef n);
/* score[i] = exp(score[i] - m); returns their sum as OP_SUM defines it. */
LLVMValueRef emit_exp_sum(struct kernel *k, LLVMValueRef score, LLVMValueRef n, LLVMValueRef m);
/* An i32 of a one-axis tensor, as i64. */
LLVMValueRef load_index(struct kernel *k, int node, LLVMValueRef row);

void emit_attention_grad(struct kernel *k, const struct heads *h);

static inline LLVMValueRef plus(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(k->at, a, b, "");
}

static inline LLVMValueRef times(struct kernel *k, LLVMValueRef i, int64_t by)
{
	return LLVMBuildMul(k->at, i, const_i64(k, by), "");
}

#endif
