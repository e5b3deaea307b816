/*
 * Training as graphs: the loss of packed rows, its gradients added to accumulators, and one step of
 * AdamW. The same forward pass as everywhere; gradients come from ir's rows (graph_gradient).
 *
 * "grad"    inputs tok, pos, lo, hi i32 (R), out, target i32 (O), share f32 (O): each wanted row's share
 *           of the step's loss (1 / target tokens of the whole step: accumulation over calls is exact).
 *           params: all weights; what trains is bound f32 (the master).
 *           states g.NAME += d loss / d NAME; output loss f32 (): this call's part, sum of share * nll,
 *           and nll f32 (O).
 *           With a parent there are its params too, "parent.NAME".
 * "update"  states NAME (master), m.NAME, v.NAME, g.NAME for what trains; inputs rate, c1, c2, clip f32 ():
 *           learning rate, 1 / (1 - beta1^t), 1 / (1 - beta2^t), the largest gradient norm (infinity: no
 *           clipping). AdamW: Loshchilov & Hutter 2019, alg. 2, decay of matrices only. Gradients are set to
 *           0 behind it. Output grad_norm f32 (): of the whole gradient before clipping.
 * "merge"   of low-rank additions: params NAME.lora-a, NAME.lora-b, state NAME f32, to which they are added.
 */
#ifndef TRAIN_H
#define TRAIN_H

#include "state.h"

/* Low-rank additions to the matrices of blocks that train, instead of the matrices themselves. Norms of these blocks
 * stay as they are; what stands outside of blocks trains as it is. */
struct train_lora {
	int64_t rank;
	double alpha; /* the additions count alpha / rank */
	uint64_t seed;
};

/* A share of the loss that is T^2 * KL(softmax(parent / T) || softmax(model / T)). */
struct train_distill {
	const struct state *parent; /* of the same architecture and widths */
	double share, temperature;
};

struct train {
	const struct state *state;
	enum numerics numerics;
	int64_t max_rows, max_out;
	/* Whether the tensor of that canonical name trains. */
	bool (*trains)(void *ctx, const char *name);
	void *ctx;
	double beta1, beta2, eps, decay;
	const struct train_lora *lora;       /* NULL: none */
	const struct train_distill *distill; /* NULL: none */
};

struct graph *train_grad(struct arena *a, const struct train *t);
struct graph *train_update(struct arena *a, const struct train *t);
/* NULL: no matrix has additions. */
struct graph *train_merge(struct arena *a, const struct train *t);

/* Whether the state's tensor of that name is another one behind the training. */
bool train_changes(const struct train *t, const char *name);
/* The first values of a leaf that no state has, row-major; false: they are 0. */
bool train_lora_draw(const struct train *t, const char *name, float *w, size_t n);
/* Whether a leaf is A or B of some matrix. */
bool train_lora_part(const char *name);
/* The name in the parent's state of what a leaf holds; NULL: it is not the parent's. */
const char *train_parent_name(const char *leaf);

#endif
