/*
 * A model state: a manifest over per-tensor objects of the store. What import, tune and drop make and
 * everything behind them reads. A drop writes a manifest only; a tune writes the tensors it trained.
 *
 * Text, one line each, in this order; the bytes are canonical (equal states are equal bytes):
 *
 *     trim-state 1
 *     arch llama
 *     layers 5 width 64 ffn 172 heads 8 kv-heads 4 head-dim 8 vocab 512 context 512
 *     rms-eps 1e-05 rope plain 10000 1 0 0 0          theta factor low high original-context
 *     tied 1 bos 1 eos 2 3
 *     dropped blk.3.mlp blk.1.attn                    units in the order they left; absent when none
 *     tensor embed f32 512 64 HEX BYTES               canonical order; dims outermost first
 *
 * A half that is gone has no tensor lines. Tensors are row-major in the import's dtype, tuned ones f32
 * (masters). Layers keep their numbers. Digests are XXH3-128 of the tensor's bytes.
 */
#ifndef STATE_H
#define STATE_H

#include "digest.h"
#include "forward.h"

struct state_tensor {
	const char *name;
	enum model_dtype dtype;
	int ndim;
	size_t dims[2];
	struct digest digest;
	uint64_t bytes;
};

enum unit_kind { UNIT_ATTN, UNIT_MLP };
struct unit {
	enum unit_kind kind;
	int layer;
};

struct state {
	struct model_config config;
	struct state_tensor *tensor;
	size_t ntensor;
	struct unit *dropped; /* in the order they left */
	size_t ndropped;
	bool *has_attn, *has_mlp; /* config.layers each */
};

void state_write(struct strbuf *out, const struct state *s);
/* Into the arena; file is for messages. */
bool state_read(struct arena *a, struct buf text, const char *file, struct state *out, struct err *e);

/* s without what generated code does not depend on: bytes, dtypes in store, order of dropping, tokens. In the arena. */
struct state state_shape(struct arena *a, const struct state *s);

/* Lists the tensors that a whole model of s->config has, f32 and without digests. In the arena. ERR_SPEC: one is too large. */
bool state_list(struct arena *a, struct state *s, struct err *e);

const struct state_tensor *state_find(const struct state *s, const char *name); /* NULL: gone */

/* s without the unit: its tensors, norm included, are gone. ERR_SPEC when it is gone already. */
bool state_drop(struct arena *a, const struct state *s, struct unit u, struct state *out,
	struct err *e);

/* "blk.3.mlp" */
void unit_name(struct unit u, char out[32]);
bool unit_parse(const char *name, struct unit *out);
/* Names, one a line; empty lines count for nothing. In the arena. ERR_IO: one is no unit. */
bool units_read(struct arena *a, struct buf text, struct unit **out, size_t *n, struct err *e);
/* The unit a tensor belongs to; false: to none (embed, norm, head). */
bool unit_of_tensor(const char *name, struct unit *out);

/* Parameter bytes as imported: tuned f32 masters count at `dtype`, the import's. */
uint64_t state_import_bytes(const struct state *s, enum model_dtype dtype);

/* Writes model.safetensors and config.json into dir, made if need be, for readers that know no missing
 * halves: all tensors of one that is gone are zero there, so that it adds nothing. read: bytes of a tensor,
 * which must stay until the call ends. */
bool state_write_hf(const struct state *s, const char *dir,
	bool (*read)(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e), void *ctx,
	struct err *e);

#endif
