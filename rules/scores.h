/*
 * What every unit of a state is worth: the table that `score` writes and `choose` reads.
 *
 * Text, one line each; numbers read back exactly:
 *
 *     trim-scores 1
 *     metric accuracy                      or nll: what ranks first
 *     base ACCURACY NLL                    of the state itself; NLL: nats per gold token
 *     unit blk.0.attn ACCURACY NLL NORM    with that unit gone; NORM: Frobenius norm of what the unit
 *                                          added to the residual stream, over all rows
 *
 * Units in order of layer, attention first. ACCURACY is 0 where rows have no choices, and over
 * several datasets.
 */
#ifndef SCORES_H
#define SCORES_H

#include "state.h"
#include "strbuf.h"

struct unit_score {
	struct unit unit;
	double accuracy, nll, norm;
};
struct scores {
	bool by_accuracy; /* else by nll */
	double base_accuracy, base_nll;
	struct unit_score *unit;
	size_t nunit;
};

void scores_write(struct strbuf *out, const struct scores *s);
bool scores_read(struct arena *a, struct buf text, struct scores *out, struct err *e);

/* Units that a state still has, in the table's order. In the arena. */
struct unit *state_units(struct arena *a, const struct state *s, size_t *n);

#endif
