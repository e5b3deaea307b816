/*
 * Mixing: the train records of several sets as one order for tuning.
 *
 * A set is an endless row of passes: pass p holds its records in the order that pack_order gives for
 * (seed, p), so that every record comes once before any comes twice. Sets are merged by tokens that bear a
 * loss: after any record, what a set gave differs from its weight's share of what all gave by less than one
 * record (WF2Q: Bennett & Zhang 1996, with records as packets and weights as rates: of the sets that are
 * not ahead of their share, the one whose next record ends first at its own rate; the earlier of equals).
 *
 * An epoch is as many tokens as one pass over all sets has. So its length follows from the rows alone; with
 * sets weighted by size it is every record once; else small sets of large weight repeat in it, and large sets
 * of small weight go on in the next epoch where they were cut. Of one set it is a pass.
 *
 * A record that bears no loss counts as one token here: it takes its turn like any other.
 */
#ifndef DATA_MIX_H
#define DATA_MIX_H

#include "data_pack.h"

struct mix_set {
	const struct token_table *t;
	uint64_t weight; /* 0: its tokens; of all sets or of none */
};

struct mix_part {
	const struct token_table *t;
	uint64_t weight;
	uint64_t base;        /* number of the table's first record in the tables joined */
	uint64_t pass;        /* how many are behind it */
	uint64_t tokens;      /* of a pass */
	uint64_t taken;       /* tokens */
	uint32_t *order;      /* of this pass, in the part's arena */
	size_t norder, at;    /* norder 0: no record trains */
	struct arena arena;
};

struct mix {
	struct mix_part *part;
	size_t npart;
	uint64_t seed, epoch, weight; /* weight: of all parts */
	uint64_t epoch_tokens, taken;
};

void mix_init(struct arena *a, struct mix *m, const struct mix_set *set, size_t n, uint64_t seed);
void mix_release(struct mix *m);

/* How often each record of a set comes in an epoch. */
double mix_passes(const struct mix *m, size_t set);

/* The next epoch, from the first on: numbers of records in the tables joined (token_tables_join). In the
 * arena. n 0: no record trains. */
uint32_t *mix_epoch(struct arena *a, struct mix *m, size_t *n);

#endif
