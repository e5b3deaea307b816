/*
 * What the methods of tuning put into the graphs of train.h, for train.c.
 */
#ifndef TRAIN_METHOD_H
#define TRAIN_METHOD_H

#include "train.h"

/* The forward graph alone, for the weights that train and their axes. */
struct graph *train_shape(struct arena *a, const struct train *t);

/* A walk forward, of the model or its parent: -> y; x -> y. */
struct graph *train_walk_embed(struct arena *a, const char *name, const struct forward *f);
struct graph *train_walk_half(struct arena *a, const char *name, const struct forward *f, enum half half, int layer);

/* ---- low-rank additions (train_lora.c) ---- */

/* Whether a matrix has them. */
bool train_lora_adapts(const struct train *t, const char *name);

/* struct forward.product; ctx: struct train. */
int train_lora_product(void *ctx, struct graph *g, const char *name, int x, int y);

/* ---- distillation (train_distill.c) ---- */

/* The parent's logits (O,V) of the rows of m behind its residual stream x (R,D); no gradient passes. */
int train_parent_logits(const struct train *t, const struct forward_frame *m, int x);

/* (1 - d) * nll + d * T^2 * KL(parent || own), f32 (O). */
struct train_logits {
	int own, parent;
};
int train_distilled(
	struct graph *g, const struct train_distill *d, int nll, const struct train_logits *z);

#endif
