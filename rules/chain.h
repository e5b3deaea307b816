/*
 * A schedule as actions: data, the parent's scores, round 0, and rounds of score, choose, drop and tune
 * until every target of the schedule has its state. What a round drops is known only when its scores are,
 * so each round is planned when the one before has chosen.
 *
 * Actions (S: the schedule's name, "-" before a number a round):
 *
 *     data/NAME/rows.FILE, data/NAME/split, data/NAME/tokens.SPLIT, data/NAME/task
 *     S/parent/score, S/trainable        only when less than all blocks train
 *     S/round-0/tune, S/round-1/score, S/round-1/choose, S/round-1/drop, S/round-1/tune, ...
 *     STATE/evaluate-NUMERICS            of the parent, of round 0 and of each target's state: test rows
 *     TARGET/gate-1, ...                 its gates
 *     STATE/validate-NUMERICS, TARGET/round-N/gate-I
 *                                        where a target keeps by gate: validation rows, of each state up to the
 *                                        first that does not pass and of what it is compared with
 *     STATE/validate-NUMERICS            also of what a target of several schedules chooses from (TARGET/pick)
 *     TARGET/trainable, TARGET/tune      where it has a tune of its own; its state is then called TARGET/tuned
 *     STATE/cost-NUMERICS                of each target's state, unless the class is f32: validation rows, if
 *                                        the spec asks for any
 *
 *     S/continue-T/fresh, S/continue-T/tokens, STATE/continue-T/tune
 *                                        with on-new-rows="continue", for each time T that train rows came (lineage.h):
 *                                        those rows and as many old ones, one pass over them from the state of a
 *                                        target, and of round 0, which it is compared with. Rounds, and what they
 *                                        choose, read the rows of the first time: data/NAME/then-N/...
 *
 *     TARGET/round-N/compile             where a speed is measured, of each state up to the first that is as fast
 *
 * With several datasets evaluate, validate, cost and gate are actions for each, named ".../DATASET".
 *
 * Nothing in a round depends on how many follow, so targets that keep less only add rounds.
 *
 * keep="gate" takes the last state before the first that does not pass on validation rows, whatever other targets
 * add to the chain; round 0 where nothing passed, or all of them. Test rows then decide as for any target.
 */
#ifndef CHAIN_H
#define CHAIN_H

#include "eval.h"
#include "plan.h"

extern const struct rule rule_task, rule_init, rule_bpe, rule_score, rule_choose, rule_trainable, rule_drop, rule_tune,
	rule_fresh;
enum { TUNE_STATE, TUNE_LOG };     /* outputs of tune */
enum { FRESH_LIST, FRESH_COUNTS }; /* outputs of fresh */

/* Plans the data of the spec and the chains of all schedules that the chosen targets use; targets without a
 * schedule take the import, evaluated when there is data. As states become
 * known it calls `found` for each target on them, on the graph's thread, with target->state and
 * target->state_name set. Errors of a target are written there. */
bool chain_plan(struct plan *p, void (*found)(struct plan *p, struct plan_target *t), struct err *e);

/* Behind a build: lets states pass (build.h) that no target takes, in schedules with states="targets". */
void chain_pass(struct plan *p);

/* JSON: null without gates, else "passed", "failed", or "undecided" while a verdict is not known. */
const char *plan_gate_json(const struct plan_target *t);

/* Before the names of what bpe knows of the i-th of n sets: "" where it is the only one. In the arena. */
const char *bpe_prefix(struct arena *a, size_t i, size_t n);

#endif
