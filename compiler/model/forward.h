/*
 * The forward graph of a model with some of its halves gone: what score, tune, evaluate and the binary
 * run. An architecture gives embedding, halves and logits (arch.h, forward_llama.c); a half that is gone
 * leaves nothing in the graph: no weights, no KV cache, no op.
 *
 * Axes as in ir.h. Leaves: inputs tok, pos, lo, hi i32 (R), out i32 (O), and slot i32 (R) when there is
 * a KV cache; params by canonical tensor name in the axes given below, and rope.freq f32 (E), which
 * forward_rope_freq fills; states blk.N.k, blk.N.v (K,S,X,E) when there is a KV cache.
 *
 *     embed, head (V | D)   norms (D)   q (K,G,X,E | D)   k, v (K,X,E | D)   o (D | K,G,X,E)
 *     gate, up (F | D)   down (D | F)        (the bar: where blocks begin, for those dtypes that have any)
 *
 * These are the row-major shapes of model.h with their axes named: head h = k*G + g. Leaves that nothing
 * reads are gone behind graph_simplify: a model without attention has no pos, slot, lo and hi.
 */
#ifndef FORWARD_H
#define FORWARD_H

#include "ir.h"
#include "model.h"

/*
 * Operand dtypes and rounding points. The version is part of keys: it goes up when any bit changes. A class is one of
 * weights with one of caches; NUMERICS_X has the cache that weights of X have by default, and its name.
 */
#define NUMERICS_CACHES(ROW, ...) /* dtype, as specs call it */ \
	ROW(F32, "f32", __VA_ARGS__)                            \
	ROW(BF16, "bf16", __VA_ARGS__)                          \
	ROW(F16, "f16", __VA_ARGS__)                            \
	ROW(C8, "int8", __VA_ARGS__)
#define NUMERICS_WEIGHTS(ROW) /* name, version, weights, head, activations, cache by default */ \
	ROW(F32, "f32", 1, F32, F32, F32, F32)                                                  \
	ROW(BF16, "bf16", 1, BF16, BF16, BF16, BF16)                                            \
	ROW(INT8, "int8", 1, Q8, Q8, Q8, BF16)                                                  \
	ROW(INT4, "int4", 1, Q4, Q4, Q8, BF16)                                                  \
	ROW(INT8_HEAD_BF16, "int8-head-bf16", 1, Q8, BF16, Q8, BF16)                            \
	ROW(INT4_HEAD_BF16, "int4-head-bf16", 1, Q4, BF16, Q8, BF16)                            \
	ROW(INT4_HEAD_INT8, "int4-head-int8", 1, Q4, Q8, Q8, BF16)

enum numerics {
#define CACHE(kv, word, id) NUMERICS_##id##_KV_##kv,
#define WEIGHTS(id, name, version, weight, head, activation, kv) NUMERICS_CACHES(CACHE, id)
	NUMERICS_WEIGHTS(WEIGHTS)
#undef WEIGHTS
	NNUMERICS,
#define WEIGHTS(id, name, version, weight, head, activation, kv) NUMERICS_##id = NUMERICS_##id##_KV_##kv,
	NUMERICS_WEIGHTS(WEIGHTS)
#undef WEIGHTS
#undef CACHE
};
struct numerics_class {
	const char *name;
	int version;
	enum dtype weight;     /* of a dot's weights */
	enum dtype head;       /* of those that give the logits, the embedding too when it is tied to them */
	enum dtype activation; /* of its other operand; q8 is what `quantise` gives */
	enum dtype kv;         /* K and V are always read through it */
};
extern const struct numerics_class numerics_classes[NNUMERICS];
bool numerics_find(const char *name, enum numerics *out);
/* The class of these four, as specs call them ("int8"); false: there is none. */
struct numerics_words {
	const char *weights, *head, *activations, *kv;
};
bool numerics_choose(const struct numerics_words *w, enum numerics *out);

struct forward {
	const struct model_config *config;
	const bool *has_attn, *has_mlp; /* config->layers each; NULL: all are there */
	enum numerics numerics;
	int64_t max_rows, max_out; /* of one call */
	int64_t slots;             /* of the KV cache; 0: rows attend to each other, no cache */
	/* dtype in which a weight is bound; NULL: forward_weight_dtype(). */
	enum dtype (*weight_dtype)(void *ctx, const char *name);
	/* The leaf that holds a weight, in the graph's arena; NULL: that of its name. */
	const char *(*leaf)(void *ctx, struct graph *g, const char *name);
	/* What a product with that weight gives instead of y = dot(x, w), x as the class rounds it; NULL: y. */
	int (*product)(void *ctx, struct graph *g, const char *name, int x, int y);
	void *ctx;
};

/* What a class stores: weights of dots (the embedding table too) in its dtypes, norms and rope.freq f32. */
enum dtype forward_weight_dtype(const struct numerics_class *n, const struct model_config *c,
	const char *name);

enum half { HALF_ATTN, HALF_MLP, NHALVES };

/* What the halves of one graph share. An architecture's functions fill and read it. */
struct forward_frame {
	struct graph *g;
	const struct forward *f;
	const struct numerics_class *n;
	int tok, pos, slot, lo, hi, out; /* input nodes */
	int cos, sin;                    /* (R,E), (R,X,E) */
};

/* Appends axes and inputs to g, which has none yet. */
struct forward_frame forward_begin(struct graph *g, const struct forward *f);
int forward_weight(struct forward_frame *m, const char *name, const char *axes);
/* Appends and returns a node: the embedded tokens (R,D); what a half adds to the residual stream x
 * (R,D); the logits (O,V) of rows `out`. */
int forward_embed(struct forward_frame *m);
int forward_half(struct forward_frame *m, enum half half, int layer, int x);
int forward_logits(struct forward_frame *m, int x);

/* All of it: the logits. */
int forward_build(struct graph *g, const struct forward *f);

/* -log softmax(logits)[target] per row: f32 (O); target i32 (O). */
int forward_nll(struct graph *g, int logits, int target);

/* The inference program "step": output "logits". */
struct graph *forward_step(struct arena *a, const struct forward *f);

/* The same in pieces, for a scan that restarts in the middle. Weights and KV cache of a
 * half are named as layer 0's; "head" takes the rows `out`.
 *   "embed"         -> y (R,D)
 *   "attn", "mlp"   x (R,D) -> y = x + half(x)
 *   "head"          x (R,D), target i32 (O) -> nll f32 (O) */
struct graph *forward_piece_embed(struct arena *a, const struct forward *f);
struct graph *forward_piece_half(struct arena *a, const struct forward *f, enum half half);
struct graph *forward_piece_head(struct arena *a, const struct forward *f);

/* Radians per position, freq[head_dim / 2]; RoPE: Su et al. 2021, eq. 15; linear scaling divides them by
 * rope_factor (Chen et al. 2023), llama3 scaling as published with Llama 3.1. */
void forward_rope_freq(const struct model_config *c, float *freq);

#endif
