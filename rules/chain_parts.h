/*
 * What the files of chain.h share: chain.c walks along a schedule, chain_rounds.c plans the actions that make its states,
 * chain_pick.c chooses among several schedules of a target, chain_gate.c has a target's gates judge its state.
 */
#ifndef CHAIN_PARTS_H
#define CHAIN_PARTS_H

#include "chain.h"

struct chain {
	struct plan *p;
	const struct spec_schedule *spec;
	enum numerics numerics;
	enum device_kind device;
	void (*found)(struct plan *p, struct plan_target *t);
	struct state import;              /* with the import's digests */
	struct state shadow;              /* the import without what is dropped so far: for bytes */
	uint64_t import_bytes;
	const struct lineage *line;       /* NULL: rows are those that there are */
	struct action *trainable;
	struct action *state;             /* tuned, of the newest round */
	const char *state_name;
	int round;
	struct action *tuned;             /* of round 0 */
	struct action *score, *choose;    /* that the round being planned goes by */
	int scored;                       /* the round of score */
	struct found *passed;             /* by target: the newest state that passed its gates on validation rows */
	double *speed;                    /* by target: what was measured last, tokens/s */
};

/* Rows of a set at a time of the lineage; the first is that of all rounds. NULL: those that there are. */
const struct lineage_set *chain_rows(const struct chain *c, size_t time, int set);
/* Tokens of such rows. */
struct action *chain_tokens(struct chain *c, enum split split, int set, const struct lineage_set *at);
/* All but those of test rows, which no one names before there is a state to evaluate; and the tasks. */
bool chain_data(struct chain *c, struct err *e);

/* What no drop can take away. */
uint64_t chain_least_bytes(const struct state *s);
/* "SCHEDULE/round-N/WHAT" of the round that is planned. */
const char *chain_named(struct chain *c, const char *what);
/* Which blocks one of the schedule's or its targets' tunes trains: NAME/trainable. */
struct action *chain_trainable(struct chain *c, const struct spec_tune *tune, const char *name);
struct action *chain_tune(struct chain *c, const struct spec_tune *t, struct action *state, struct action *trainable,
	const char *name);
struct action *chain_choose(struct chain *c);

/* A state with the passes over new rows behind it, by the schedule's tune: what is measured on test rows, and ships.
 * They are added to t, which may be NULL. */
struct found chain_continued(struct chain *c, struct found s, struct plan_target *t);

struct found chain_untouched(const struct chain *c);
struct found chain_round_0(const struct chain *c); /* the import where there is no schedule */

/* Evaluates a state on a dataset's test rows or validation rows, in a target's class and where its kind runs. */
struct action *chain_measure(struct chain *c, struct found s, const struct plan_target *t, enum split split, int set);
/* Where targets of its kind are evaluated: on the schedule's GPU if that is what they are made for, by the kernels that ship. */
enum device_kind chain_device(const struct chain *c, const struct plan_target *t);

/* The target has its state: test rows are read now, and for no other. */
void chain_give(struct chain *c, struct plan_target *t, struct found s);

/* A state that a target with several schedules may take; the last of them is chosen from all (chain_pick.c). */
void chain_nominate(struct chain *c, struct plan_target *t, struct found s);
bool chain_nominated(const struct chain *c, const struct plan_target *t);

/* Verdicts of the target's gates on a state by rows of a split, dataset by dataset; `name` of their actions, without
 * a number. */
void chain_verdicts(struct chain *c, const struct plan_target *t, struct found s, enum split split, const char *name,
	struct inputs *out);
bool chain_all_passed(struct chain *c, const struct buf *verdict, size_t n, bool *out, struct err *e);

/* Plans the gates of a target that has its state, and the binary when they have spoken; those that are judged
 * against another target wait until that has its state too. */
void chain_gates(struct chain *c, struct plan_target *t, struct found s);
/* Another target has its state, or failed: those that waited for it go on. */
void chain_gates_resume(struct plan *p);

#endif
