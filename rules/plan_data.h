/*
 * The data of a spec as actions (chain.h lists them): rows of each file, splits, tokens of a split, tasks; and the
 * tokenizer that is trained on them.
 */
#ifndef PLAN_DATA_H
#define PLAN_DATA_H

#include "dataset.h"
#include "lineage.h"
#include "plan.h"

struct plan_data {
	struct dataset d;
	struct inputs rows; /* outputs of its rows actions */
	struct action *split;
	const struct lineage_set **past; /* that were asked for; their actions are numbered by it */
	size_t npast;
};

/* Rows and splits of the spec's datasets, planned once: p->data. NULL and an error on failure. */
struct plan_data *plan_data(struct plan *p, struct err *e);

/* Whether a split of the dataset asks for such rows; then there are some (split.h). */
bool plan_data_asks(const struct dataset *d, enum split split);

/* Who is in which split of p->data[set], of the rows that there are; or that there were at a time: "data/NAME/then-N/split".
 * at: of the set; NULL: now. */
struct action *plan_data_split(struct plan *p, int set, const struct lineage_set *at);

/* Of those rows, for a model of that context. */
struct action *plan_data_tokens(struct plan *p, int set, enum split split, const struct lineage_set *at, int64_t context);
/* Of a list that some action gives. */
struct action *plan_data_list(struct plan *p, int set, struct input list, const char *name, int64_t context);
struct action *plan_data_task(struct plan *p, int set, int64_t context);

/* The action that trains the spec's tokenizer on its datasets' train rows. NULL and an error on failure. */
struct action *plan_bpe(struct plan *p, struct err *e);

#endif
