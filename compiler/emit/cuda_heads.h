/* Attention of the CUDA emitter: elements by row or slot, KV head, query head and feature. */
#ifndef CUDA_HEADS_H
#define CUDA_HEADS_H

#include "cuda_kernel.h"
#include "heads.h"

struct cuda_heads {
	struct heads h;
	int row, slot; /* axes */
	struct type batch, group, feature;
};
struct cuda_heads cuda_heads(const struct graph *g, const struct node *n);

/* Declares lo[2] and hi[2], the slots of queries q0 + g and q0 + g + 8 of nq, rows of the program and query heads of each; then
 * first and last: those of all 16 queries of the warp. All of them see what lies between latest and soonest. */
void cuda_heads_slots(struct cuda_fn *f, const struct cuda_heads *h);
void cuda_heads_spans(struct cuda_fn *f);
/* first and last become the least and the most of all lanes that differ in bits from `lanes` on. */
void cuda_warp_span(struct cuda_fn *f, int lanes);

/* The region's node of that op; -1: it has none. */
int cuda_heads_node(const struct cuda_fn *f, enum op op);

/* Variables of an element's place, any of them NULL; their axes' indices are declared. */
enum { AT_ROW, AT_SLOT, AT_BATCH, AT_GROUP, AT_FEATURE, NAT };
void cuda_heads_place(struct cuda_fn *f, const struct cuda_heads *h, struct spot *s, const char *const *at);

/* Expressions: an element of what is like q, and of what is like k. */
const char *cuda_heads_row(struct cuda_fn *f, const struct cuda_heads *h, int node, const char *row, const char *b,
	const char *g, const char *c);
const char *cuda_heads_slot(struct cuda_fn *f, const struct cuda_heads *h, int node, const char *slot, const char *b,
	const char *c);

/* cuda_attention_mma.c: attention on tensor cores, where it can be. */
bool cuda_attention_by_mma(const struct graph *g, const struct node *n);
void cuda_attention_mma(struct cuda_fn *f, int part);

/* cuda_attention_grad_mma.c: both kernels of its gradients, likewise. */
bool cuda_attention_grad_by_mma(const struct graph *g, const struct node *n);
void cuda_attention_grad_rows_mma(struct cuda_fn *f);
void cuda_attention_grad_slots_mma(struct cuda_fn *f);

enum { KEPT_OF_ROW = 3 }; /* what rows leave for slots, in scratch: the largest score, 1 / sum of weights, delta */

#endif
