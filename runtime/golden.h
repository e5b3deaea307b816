/*
 * Tokens and the logits behind them, recorded at build time and replayed by `selftest`: the same
 * bits must come out, from a prompt read at once and from one read token by token.
 *
 * The record (flat.h): "TRIMGOLD", version 1, u64 ntoken, nvocab, nrow (of the last tokens), bytes
 * of u32 tokens, bytes of f32 logits (nrow, nvocab).
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "model_run.h"

struct golden {
	uint64_t ntoken, nvocab, nrow;
	const uint32_t *token;
	const float *logits; /* (nrow, nvocab) */
};

/* Runs the tokens and appends the record; the last nrow rows' logits are kept. 1 <= nrow <= n. */
void golden_record(struct session *s, const uint32_t *token, size_t n, size_t nrow,
	struct strbuf *out);

/* Borrows the record, which is 8-byte aligned. */
bool golden_read(struct buf record, struct golden *out, struct err *e);

/* ERR_IO names the first row that differs, and the way it was run. A session on a device has a numerics class of its own:
 * its logits may be GOLDEN_APART of the row's largest away. */
#define GOLDEN_APART 0.02
bool golden_replay(struct session *s, const struct golden *g, struct err *e);

#endif
