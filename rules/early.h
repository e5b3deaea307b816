/*
 * Early stopping of a tune (METHOD.md, "Ours" 2): looks at validation rows every so many steps, from the state that it
 * begins with to that of its last step. The state of the lowest loss is kept; behind `patience` looks that found none
 * lower the tune ends. A look changes nothing that the next step sees.
 *
 * The loss of a look is nll in nats per token of the gold answers, whatever the loss of the steps; of several sets the
 * mean by their weights where all have one, else over the tokens of all. Sums have one order, so one result.
 */
#ifndef EARLY_H
#define EARLY_H

#include "eval.h"
#include "trainer.h"

struct early_set {
	const struct token_table *t;
	struct pack_batch *batch;
	size_t nbatch;
	double tokens, share; /* that bear a loss; of the looks' mean */
};

struct early {
	int64_t patience;       /* 0: no looks, and of what follows nothing */
	int64_t every, nsteps;
	struct early_set *set;
	size_t nset;
	uint32_t longest;       /* tokens of a record */
	/* What a checkpoint has to hold. */
	int64_t looked, best, bad; /* step of the newest look, -1: none; of the lowest loss; looks since */
	double lowest;
};

/* Inputs "validation", parameters patience, validate-every, validation.weights; without patience nothing is read. */
bool early_read(struct early *s, struct rule_call *c, struct err *e);
/* Rows of a micro-batch are at least `longest`; steps of the tune: its looks are at every tenth where nothing is said.
 * Batches lie in the call's arena. */
bool early_pack(struct early *s, struct rule_call *c, int64_t rows, int64_t nsteps, struct err *e);

bool early_due(const struct early *s, int64_t step);
bool early_stops(const struct early *s);

/* One look at the state behind `step`; keeps it if it is the best. `between` is called between batches, when nothing of
 * the look has had an effect yet; false ends the look. *loss for people. */
struct early_look {
	struct trainer *trainer;
	int64_t step;
	bool (*between)(void *ctx, struct err *e);
	void *ctx;
};
bool early_look(struct early *s, const struct early_look *l, double *loss, struct err *e);

#endif
