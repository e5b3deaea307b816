/*
 * How long the rounds will take that a chain cannot name yet, for `plan` and before a build begins.
 */
#ifndef CHAIN_FORESEE_H
#define CHAIN_FORESEE_H

#include "plan.h"

/* A chain that waits for what its next round drops. */
struct chain_ahead {
	const struct spec_schedule *spec;
	const struct state *state; /* what is left, with the import's tensors */
	uint64_t import_bytes;     /* of the untouched import */
	struct action *tune, *score; /* the newest */
	struct plan_target **waiting; /* for a state of the chain */
	size_t nwaiting;
};

/* Tells the engine of the generator of the next round (build_foresee). How many rounds are left follows from what
 * targets keep; where a gate or a speed decides, it is the most that there can be. */
void chain_foresee(struct plan *p, const char *generator, const struct chain_ahead *c);

#endif
