/*
 * The data of a spec as actions (chain.h lists them): rows of each file, splits, tokens of a split, tasks; and the
 * tokenizer that is trained on them.
 */
#ifndef PLAN_DATA_H
#define PLAN_DATA_H

#include "dataset.h"
#include "plan.h"

struct plan_data {
	struct dataset d;
	struct inputs rows; /* outputs of its rows actions */
	struct action *split;
};

/* Rows and splits of the spec's datasets, planned once: p->data. NULL and an error on failure. */
struct plan_data *plan_data(struct plan *p, struct err *e);

/* Whether a split of the dataset asks for such rows; then there are some (split.h). */
bool plan_data_asks(const struct dataset *d, enum split split);

/* Of p->data[set], for a model of that context. */
struct action *plan_data_tokens(struct plan *p, int set, enum split split, int64_t context);
struct action *plan_data_task(struct plan *p, int set, int64_t context);

/* The action that trains the spec's tokenizer on its datasets' train rows. NULL and an error on failure. */
struct action *plan_bpe(struct plan *p, struct err *e);

#endif
