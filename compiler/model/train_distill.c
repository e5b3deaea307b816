/*
 * Distillation: Hinton, Vinyals & Dean 2015. The parent's forward pass reads the same rows
 * first; of it only what its last half gave is kept. A weight that the parent has in common with the
 * model, and that does not train, is one leaf.
 */
#include <string.h>

#include "train_method.h"

static const char prefix[] = "parent.";

const char *train_parent_name(const char *leaf)
{
	return strncmp(leaf, prefix, strlen(prefix)) ? NULL : leaf + strlen(prefix);
}

static const char *leaf(void *ctx, struct graph *g, const char *name)
{
	const struct train *t = ctx;
	const struct state_tensor *theirs = state_find(t->distill->parent, name);
	const struct state_tensor *ours = state_find(t->state, name);
	bool shared = ours && theirs && digest_equal(ours->digest, theirs->digest) &&
		      ours->dtype == theirs->dtype && !t->trains(t->ctx, name);
	return !theirs || shared ? name : arena_printf(g->arena, "%s%s", prefix, name);
}

static struct forward parent_of(const struct train *t)
{
	const struct state *s = t->distill->parent;
	return (struct forward){.config = &s->config, .has_attn = s->has_attn, .has_mlp = s->has_mlp,
		.numerics = t->numerics, .max_rows = t->max_rows, .max_out = TRAIN_CHUNK, .leaf = leaf,
		.ctx = (void *)(uintptr_t)t};
}

struct graph *train_parent_embed(struct arena *a, const struct train *t)
{
	struct forward f = parent_of(t);
	return train_walk_embed(a, "parent_embed", &f);
}

struct graph *train_parent_half(struct arena *a, const struct train *t, enum half half, int layer)
{
	struct forward f = parent_of(t);
	return train_walk_half(a, half == HALF_ATTN ? "parent_attn" : "parent_mlp", &f, half, layer);
}

int train_parent_logits(const struct train *t, const struct forward_frame *m, int x)
{
	struct forward f = parent_of(t);
	struct forward_frame parent = *m;
	parent.f = &f;
	return ir_unary(m->g, OP_STOP, forward_logits(&parent, x));
}

/* log softmax(z / T), (O,V). */
static int log_softmax(struct graph *g, int z, double temperature)
{
	struct type o = graph_type(g, DT_F32, "O");
	int max = ir_unary(g, OP_STOP, ir_reduce(g, OP_RMAX, z, o));
	int s = ir_mul(g, ir_sub(g, z, max), ir_const(g, 1 / temperature));
	int sum = ir_reduce(g, OP_SUM, ir_unary(g, OP_EXP, s), o);
	return ir_sub(g, s, ir_unary(g, OP_LOG, sum));
}

int train_distilled(
	struct graph *g, const struct train_distill *d, int nll, const struct train_logits *z)
{
	int want = log_softmax(g, z->parent, d->temperature),
	    have = log_softmax(g, z->own, d->temperature);
	int terms = ir_mul(g, ir_unary(g, OP_EXP, want), ir_sub(g, want, have));
	int kl = ir_reduce(g, OP_SUM, terms, graph_type(g, DT_F32, "O"));
	return ir_fma(g, ir_const(g, d->share * d->temperature * d->temperature), kl,
		ir_mul(g, ir_const(g, 1 - d->share), nll));
}
