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

#include "forward.h"
#include "digest.h"

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

#endif
