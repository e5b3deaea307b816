/*
 * Packing for tuning: token records -> micro-batches of a fixed number of token rows.
 *
 * A record trains on its prompt and gold answer: n tokens are n - 1 token rows, each predicting the
 * next token. Several documents share a micro-batch; row t attends to rows lo[t] ... t alone, and
 * positions count from 0 in each document, so a document's numbers do not depend on its neighbours.
 * Loss falls on answer tokens (weight 1, else 0; target -1 where there is none). Rows behind the
 * last document are padding: token 0, position 0, lo their own index, target -1, weight 0.
 *
 * Documents are put first-fit in the order given, so the same order gives the same batches. The
 * order of an epoch is by (digest of seed, epoch and record, record): it depends on neither the
 * number of records nor on what other epochs did. A tuning step takes its slice of that order
 * and packs it by itself: which records a step sees depends on no packing.
 */
#ifndef DATA_PACK_H
#define DATA_PACK_H

#include "tokens.h"

/* Record numbers of one epoch, in the arena; records without a gold answer are left out. */
uint32_t *pack_order(
	struct arena *a, const struct token_table *t, uint64_t seed, uint64_t epoch, size_t *n);

struct pack_batch {
	uint32_t nrow;      /* R, as asked for */
	uint32_t nused;     /* the rest is padding */
	uint32_t *token;    /* (R) */
	uint32_t *position; /* (R) */
	uint32_t *lo;       /* (R) first row that this one attends to */
	int32_t *target;    /* (R) token to predict, -1 none */
	float *weight;      /* (R) of the loss */
	double weight_sum;
	uint32_t ndoc;
	uint32_t *record; /* (ndoc) token record of each document */
	uint32_t *first;  /* (ndoc) its first row */
};

/* Batches of the given records, in the arena. ERR_SPEC when a record is longer than R. */
bool pack_rows(struct arena *a, const struct token_table *t, const uint32_t *record, size_t n,
	uint32_t nrow, struct pack_batch **out, size_t *nout, struct err *e);

#endif
