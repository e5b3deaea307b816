/*
 * Training as graphs: the loss of packed rows, its gradients added to accumulators, and one step of
 * AdamW. The same forward pass as everywhere; gradients come from ir's rows (graph_gradient).
 *
 * "grad"    inputs tok, pos, lo, hi i32 (R), out, target i32 (O), share f32 (O): each wanted row's share
 *           of the step's loss (1 / target tokens of the whole step: accumulation over calls is exact).
 *           params: all weights; what trains is bound f32 (the master).
 *           states g.NAME += d loss / d NAME; output loss f32 (): this call's part, sum of share * nll,
 *           and nll f32 (O).
 * "update"  states NAME (master), m.NAME, v.NAME, g.NAME for what trains; inputs rate, c1, c2, clip f32 ():
 *           learning rate, 1 / (1 - beta1^t), 1 / (1 - beta2^t), the largest gradient norm (infinity: no
 *           clipping). AdamW: Loshchilov & Hutter 2019, alg. 2, decay of matrices only. Gradients are set to
 *           0 behind it. Output grad_norm f32 (): of the whole gradient before clipping.
 */
#ifndef TRAIN_H
#define TRAIN_H

#include "state.h"

struct train {
	const struct state *state;
	enum numerics numerics;
	int64_t max_rows, max_out;
	/* Whether the tensor of that canonical name trains. */
	bool (*trains)(void *ctx, const char *name);
	void *ctx;
	double beta1, beta2, eps, decay;
};

struct graph *train_grad(struct arena *a, const struct train *t);
struct graph *train_update(struct arena *a, const struct train *t);

#endif
