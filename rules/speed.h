/*
 * How fast a target's code decodes a state on this machine: keep="40 tokens/s". What `bench` of its binary prints as
 * decode: one token behind SPEED_AT others, the median over half a second.
 *
 * No rule measures: a clock is not among what a rule may see. Planning measures (build_measure), while nothing else of
 * the build runs, and the lock gets the depth that was chosen, as units that are left; a later build reads it. It holds
 * for that wish and that model, so it carries a digest of both:
 *
 *     "stop":{"keep":"40 tokens/s","units":14,"of":"HEX"}
 */
#ifndef SPEED_H
#define SPEED_H

#include "plan.h"

enum { SPEED_AT = 64 };

struct speed_job {
	const struct plan_target *target;
	const char *state;          /* name */
	struct buf object, weights; /* code for this machine; a list (weights.h) whose objects are in the store */
	uint32_t context;           /* tokens */
};

bool speed_measure(struct store *store, const struct speed_job *job, double *tokens_per_second, struct err *e);

/* What a recorded depth holds for: HEX, in the plan's arena. import: the untouched model; what it weighs does not matter. */
const char *speed_identity(const struct plan *p, const struct plan_target *t, const struct state *import);

/* The CPU of the target whose code a binary would take here; NULL: it runs none of them. */
const struct target *speed_cpu(const struct plan_target *t);

#endif
