/*
 * What a numerics class costs a state: its logits beside those of the state unquantised, on the same rows.
 * Unquantised is the class f32: it widens what a state holds (f32, f16 and bf16 alike) without rounding, so
 * nothing is nearer to the model itself.
 *
 * Over the tokens that bear a loss, those of the gold answers (eval.h); sums run token by token within a row,
 * then row by row, in double with exp and log of our own (sample.h), hence the same bits on every machine and
 * for any number of threads. nll is what measure.h gives for the same rows, to the last bit.
 *
 * JSON, without the numbers where there is no token:
 *
 *     {"rows":R,"tokens":T,"nll":X,"perplexity":Y,"unquantised_nll":X,"unquantised_perplexity":Y,
 *      "kl":Z,"same_argmax":S}
 *
 * kl: nats per token that the quantised distribution over the whole vocabulary is from the unquantised one,
 * KL(unquantised || quantised). same_argmax: share of tokens where both find the same one likeliest.
 */
#ifndef COST_H
#define COST_H

#include "model_run.h"
#include "strbuf.h"
#include "task.h"

struct cost {
	double nll, unquantised_nll, kl; /* sums, nats */
	uint64_t tokens, same;           /* same: of those, with the same argmax */
};

/* Two sessions over programs of equal shape. */
struct cost_pair {
	struct session *unquantised, *quantised;
};

/* Adds the gold answer of a row, which fits into both. Not finite where a model gives no number. */
void cost_add_row(struct cost *sum, const struct cost_pair *pair, const struct token_row *row);

/* Appends the object; rows: documents, as in metrics. */
void cost_write(struct strbuf *out, const struct cost *sum, uint64_t rows);

#endif
