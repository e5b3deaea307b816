/*
 * The weights of a state as generated code binds them: a list over objects of the store, one for each
 * param of the program "step", in exactly its bytes (packed.h).
 *
 * Text, one line each:
 *
 *     trim-weights 1
 *     numerics bf16
 *     weight blk.0.attn.q HEX BYTES          sorted by name
 */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include "digest.h"
#include "packed.h"
#include "state.h"

struct weight {
	const char *name;
	struct digest digest;
	uint64_t bytes;
};
struct weights {
	enum numerics numerics;
	struct weight *weight;
	size_t nweight;
};

/* Sorts w. */
void weights_write(struct strbuf *out, struct weights *w);
bool weights_read(struct arena *a, struct buf text, struct weights *out, struct err *e);

/* The bytes of a state's tensor; they need not stay longer than until the next is read. */
typedef bool tensor_read(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e);

/* Weights that are not packed yet. */
struct weight_source {
	const struct state *state;
	tensor_read *read;
	void *ctx;
};

/* Appends param `node` of a planned graph as code binds it: the state's tensor of that name (packed.h), or
 * what forward graphs make up (rope.freq). name is the state's. */
bool weight_pack(const struct weight_source *from, const struct graph *plan, int node, const char *name,
	struct strbuf *out, struct err *e);

/* All of them, in memory; release with packed_release, after a failure too. */
bool weights_pack(const struct weight_source *from, const struct graph *plan, struct packed *out, struct err *e);

#endif
