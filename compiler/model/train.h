/*
 * Training as graphs: the forward pass as everywhere, its gradients by ir's rows (graph_vjp), AdamW.
 *
 * One micro-batch of packed rows is a walk forward, keeping what every half begins with and what attention gave, the
 * loss in chunks of TRAIN_CHUNK target rows, and a walk back, in which a half computes the rest of its forward pass
 * again. So memory for activations is (R,D) for each half, and that of its heads for attention, those within one half,
 * and one chunk's logits. Programs, x, y, dx, dy being
 * f32 (R,D), the residual stream and the gradient with respect to it, and inputs tok, pos, lo, hi i32 (R) as the
 * forward pass has them:
 *
 *     embed         -> y                       embed_back       dy: its gradients
 *     attn, mlp     x -> y, attended           attn_back, mlp_back   x, dy, attended -> dx, gradients
 *                   attended f32 (R, heads): what attention gave; of a half without it there is none
 *     head          x, dy; out, target i32 (O), share f32 (O) -> dx = dy + d loss / dx, loss f32 (): the sum of
 *                   share * nll; gradients. share is 1 / target tokens of the whole step, so chunks and
 *                   micro-batches add up to the step's mean.
 *
 * Params are the weights, by their names in the state; what trains is bound f32 (the master), and its gradient is
 * added to the state g.NAME. With a parent (distillation) "head" has an input parent.x too, its residual stream,
 * and params "parent.NAME" where its weights are others; train_parent_* are its programs.
 *
 * "look"    x; out, target, share -> loss: as of "head", by nll alone and without gradients
 * "update"  states NAME (master), m.NAME, v.NAME, g.NAME for what trains; inputs rate, c1, c2, clip f32 ():
 *           learning rate, 1 / (1 - beta1^t), 1 / (1 - beta2^t), the largest gradient norm (infinity: no
 *           clipping). AdamW: Loshchilov & Hutter 2019, alg. 2, decay of matrices only. Gradients are set to
 *           0 behind it. Output grad_norm f32 (): of the whole gradient before clipping.
 * "merge"   of low-rank additions: params NAME.lora-a, NAME.lora-b, state NAME f32, to which they are added.
 */
#ifndef TRAIN_H
#define TRAIN_H

#include "forward.h"
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
	int64_t max_rows; /* R */
	/* Whether the tensor of that canonical name trains. */
	bool (*trains)(void *ctx, const char *name);
	void *ctx;
	double beta1, beta2, eps, decay;
	const struct train_lora *lora;       /* NULL: none */
	const struct train_distill *distill; /* NULL: none */
};

enum { TRAIN_CHUNK = 256 }; /* O at most */
#define TRAIN_ATTENDED "attended"

struct graph *train_embed(struct arena *a, const struct train *t);
struct graph *train_embed_back(struct arena *a, const struct train *t);
struct graph *train_half(struct arena *a, const struct train *t, enum half half, int layer);
struct graph *train_half_back(struct arena *a, const struct train *t, enum half half, int layer);
struct graph *train_head(struct arena *a, const struct train *t);
struct graph *train_look(struct arena *a, const struct train *t);
struct graph *train_parent_embed(struct arena *a, const struct train *t);
struct graph *train_parent_half(struct arena *a, const struct train *t, enum half half, int layer);
struct graph *train_update(struct arena *a, const struct train *t);
/* NULL: no matrix has additions. */
struct graph *train_merge(struct arena *a, const struct train *t);

/* Whether a leaf of that name is what AdamW moves. */
bool train_moves(const struct train *t, const char *name);
/* Whether the state's tensor of that name is another one behind the training. */
bool train_changes(const struct train *t, const char *name);
/* The first values of a leaf that no state has, row-major; false: they are 0. */
bool train_lora_draw(const struct train *t, const char *name, float *w, size_t n);
/* Whether a leaf is A or B of some matrix. */
bool train_lora_part(const char *name);
/* The name in the parent's state of what a leaf holds; NULL: it is not the parent's. */
const char *train_parent_name(const char *leaf);

#endif
