/*
 * Weights as generated code reads them: converted to the dtype and layout that a planned graph binds.
 * Rounding to bf16 is to nearest even, denormals to zero: the same as the op `cast`. q8: the scale is
 * f16(max |w| / 127), a code rint(w / scale). q4: of eight scales, which put the
 * largest weight near -8 or 7 and are then fitted to their codes, that with the least squared error; codes
 * are -8 to 7 (docs/decisions.md has the forms that were measured).
 */
#ifndef PACKED_H
#define PACKED_H

#include "forward.h"

/* Appends the bytes of param node `node` of the planned graph g, padding 0. data: as many elements as
 * the node's type has, row-major, of dtype `from`, aligned to nothing. */
void pack_weight(const struct graph *g, int node, enum model_dtype from, const void *data,
	struct strbuf *out);

/* The same for a param that no model stores and forward graphs make up (rope.freq); false: it is none. */
bool pack_made(const struct graph *g, int node, const struct model_config *c, struct strbuf *out);

/* All weights for one planned graph, 64-byte aligned; names are the graph's. */
struct packed {
	const char **name;
	struct buf *bytes;
	int nweight;
	void *memory;
};
/* Each as `pack` appends it. Released after a failure too. */
typedef bool pack_param(void *ctx, const struct graph *plan, int node, struct strbuf *out, struct err *e);
bool packed_all(struct packed *p, const struct graph *plan, pack_param *pack, void *ctx, struct err *e);
/* Those of a model, and extra params that a forward graph wants (rope.freq). */
bool packed_new(struct packed *p, const struct graph *plan, const struct model *m, struct err *e);
void packed_release(struct packed *p);
struct buf packed_find(void *packed, const char *name); /* param_source.find; p NULL: none */

#endif
