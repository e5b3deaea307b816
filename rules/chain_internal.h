/* What chain.c (which state is for whom) and chain_rounds.c (the actions that make them) share. */
#ifndef CHAIN_INTERNAL_H
#define CHAIN_INTERNAL_H

#include "chain.h"
#include "plan_data.h"

struct chain {
	struct plan *p;
	const struct spec_schedule *spec;
	enum numerics numerics;
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

/* A state of the chain. */
struct found {
	struct action *state;             /* NULL: none */
	const char *name;
	int round;
};

/* Rows of a set at a time of the lineage; the first is that of all rounds. NULL: those that there are. */
const struct lineage_set *chain_rows(const struct chain *c, size_t time, int set);
/* Tokens of such rows. */
struct action *chain_tokens(struct chain *c, enum split split, int set, const struct lineage_set *at);
/* All but those of test rows, which no one names before there is a state to evaluate; and the tasks. */
bool chain_data(struct chain *c, struct err *e);

/* "SCHEDULE/round-N/WHAT" of the round that is planned. */
const char *chain_named(struct chain *c, const char *what);
struct action *chain_trainable(struct chain *c);
struct action *chain_tune(struct chain *c, struct action *state);
struct action *chain_choose(struct chain *c);

/* A state with the passes over new rows behind it: what is measured on test rows, and ships. They are added to t, which
 * may be NULL. */
struct found chain_continued(struct chain *c, struct found s, struct plan_target *t);

#endif
