/*
 * A model as trim sees it, whatever file it came from: one config, one set of names, one order,
 * one RoPE convention.
 *
 * Sources: an HF directory (config.json with model.safetensors, or shards with
 * model.safetensors.index.json) or a GGUF file. Which names, keys and shapes a model has is said by
 * its architecture's table (arch.h). Canonical names, with their row-major shapes (out, in):
 *
 *     embed (V,D)   norm (D)   head (V,D)
 *     blk.N.attn.norm (D)   blk.N.attn.q (H*hd,D)   blk.N.attn.k (K*hd,D)
 *     blk.N.attn.v (K*hd,D)   blk.N.attn.o (D,H*hd)
 *     blk.N.mlp.norm (D)   blk.N.mlp.gate (F,D)   blk.N.mlp.up (F,D)   blk.N.mlp.down (D,F)
 *
 * Invariants of an open model: every tensor of the table is there once, with the shape that the
 * config gives it; tensors stand in canonical order (embed, blocks, norm, head). The rows of q and
 * k are in HF's half-split RoPE order: dimension i of a head turns with i + hd/2. Equal weights
 * from GGUF and from HF are equal bytes. A head that is absent or byte-equal to the embedding is
 * the embedding: then `tied` is set and there is no tensor `head`.
 *
 * Dimension letters: B batch, T tokens, D width, H heads, K KV heads, hd head_dim, F feed-forward
 * width, V vocabulary.
 */
#ifndef MODEL_H
#define MODEL_H

#include "arena.h"
#include "model_files.h"
#include "stored.h"

struct arch;
struct arch_tensor;
struct gguf;

enum { MODEL_EOS_MAX = 8 };

enum model_rope {
	MODEL_ROPE_PLAIN,
	MODEL_ROPE_LINEAR, /* positions divided by rope_factor */
	MODEL_ROPE_LLAMA3, /* low frequencies divided by rope_factor, blended in between */
};

struct model_config {
	const struct arch *arch;
	int layers, width, ffn, heads, kv_heads, head_dim, vocab, context; /* all positive */
	float rms_eps;
	double rope_theta;
	enum model_rope rope;
	double rope_factor, rope_low, rope_high; /* low and high: LLAMA3 only */
	int rope_original_context;               /* LLAMA3 only */
	bool tied;
	int bos_id; /* -1: none */
	int eos_id[MODEL_EOS_MAX], neos;
};

struct model_tensor {
	const char *name; /* canonical */
	enum model_dtype dtype;
	int ndim;
	size_t dims[STORED_NDIM_MAX]; /* row-major, (out, in) */
	const uint8_t *data;          /* of the map or of the model's arena; aligned to nothing */
	size_t bytes;
	int layer; /* -1: belongs to none */
	const struct arch_tensor *row;
	const char *file; /* where it was read from, for messages */
	size_t offset;
};

struct model {
	struct model_config config;
	struct model_tensor *tensor;
	size_t ntensor;
	const char *path;  /* as given; "" if it was opened from bytes */
	struct model_files files;
	struct gguf *gguf; /* the open file with its tokenizer keys; NULL when HF */
	struct map *map;   /* safetensors files */
	size_t nmap;
	struct arena arena;
};

/* Opens, checks and binds. Errors name the file and the place in it: damage, what is missing, what
 * is not supported. Everything lives until model_release, to be called after a failed open too. */
bool model_open(struct model *m, const char *path, struct err *e);
/* The same from bytes, which must outlive m: one file that is not config.json is a GGUF. */
bool model_open_files(struct model *m, const struct model_file *file, size_t nfile, struct err *e);
void model_release(struct model *m);

/* By canonical name; NULL when the model has no such tensor. */
const struct model_tensor *model_find(const struct model *m, const char *name);

/* Writes an HF directory, made if need be: model.safetensors (elements as they are, in canonical
 * order within equal element sizes), then config.json. Reading it back gives an equal model. */
bool model_write_hf(const struct model *m, const char *dir, struct err *e);

#endif
