/* Attention as emitters see it: which axes of its sources are heads, slots and features (ir.h), and strides. */
#ifndef HEADS_H
#define HEADS_H

#include "ir.h"

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
/* n: attention, or one of its gradients. */
struct heads attention_heads(const struct graph *g, const struct node *n);

#endif
