/*
 * What scores measure besides a loss, as graphs: how far a part of the model turns the residual stream, and how
 * large its weights are.
 *
 * "compare"    x, y f32 (R,D): the residual stream before and behind a part -> per row, f32 (R)
 *              distance  1 - cos(x, y), as half the squared distance of x / |x| and y / |y|: exact near 0
 *              angle     arccos(cos(x, y)) / pi, 0 to 1
 *              norm2     |y - x|^2
 *              A row of zeros counts as its own direction of length 0.
 * "magnitude"  params: the matrices of one half, named as layer 0's -> sum f32 (): of |w| over all of them
 *              (Shortened LLaMA: Kim et al. 2024)
 * "taylor"     states NAME (the masters) and g.NAME (d loss / d NAME, as the pieces of train.h leave them) of every
 *              matrix of the state's halves -> "blk.N.attn", "blk.N.mlp" f32 (): sum of |w * d loss / d w| over the
 *              half's matrices (the same). g.NAME are as they were.
 */
#ifndef IMPORTANCE_H
#define IMPORTANCE_H

#include "train.h"

struct graph *importance_compare(struct arena *a, const struct forward *f);
struct graph *importance_magnitude(struct arena *a, const struct forward *f, enum half half);
struct graph *importance_taylor(struct arena *a, const struct train *t);

/* struct train.trains of the gradients that "taylor" reads: the matrices of all halves. */
bool importance_trains(void *unused, const char *name);

#endif
