/*
 * What every unit of a state is worth: the table that `score` writes and `choose` reads.
 *
 * Text, one line each; numbers read back exactly, "-" where there is none:
 *
 *     trim-scores 2
 *     method scan
 *     columns nll accuracy norm            what they are: the method (score_method.h)
 *     base 1.25 0.5 -                      of the state itself
 *     unit blk.0.attn 1.5 0.25 7.5
 *
 * A unit is a half ("blk.0.attn"), what is left of a block ("blk.0"), or a run of blocks that go together
 * ("blk.0+blk.2", where block 1 is gone). They stand in the order of layers, attention first.
 */
#ifndef SCORES_H
#define SCORES_H

#include "state.h"
#include "strbuf.h"

enum { SCORE_COLUMNS = 4 };

struct unit_score {
	const char *name;
	double value[SCORE_COLUMNS]; /* NaN: none */
};
struct scores {
	const char *method;
	const char *column[SCORE_COLUMNS];
	int ncolumn;
	double base[SCORE_COLUMNS];
	struct unit_score *unit;
	size_t nunit;
};

void scores_write(struct strbuf *out, const struct scores *s);
/* Into the arena. */
bool scores_read(struct arena *a, struct buf text, struct scores *out, struct err *e);
int scores_column(const struct scores *s, const char *name); /* -1: it has none */
const struct unit_score *scores_find(const struct scores *s, const char *unit); /* NULL: it has none */

/* Appends one JSON member for each column that has a value, a comma before each. */
void scores_write_values(struct strbuf *out, const struct scores *s, const double *value);

/* ---- units of a state ---- */

/* Halves that a state still has, in the table's order. In the arena. */
struct unit *state_units(struct arena *a, const struct state *s, size_t *n);

/* What one drop may remove. */
struct candidate {
	const char *name;  /* as the table has it */
	struct unit *half; /* in the order of layers, attention first */
	size_t nhalf, nunit; /* of a run: how many blocks */
};

/* All that a state has: halves, or runs of `run` neighbours among the blocks that are left (1: each block). In the
 * arena. */
struct candidate *candidate_halves(struct arena *a, const struct state *s, size_t *n);
struct candidate *candidate_blocks(struct arena *a, const struct state *s, size_t run, size_t *n);

/* A name of a table in a state that may have lost units since; false: something of it is gone. ERR_IO, with e set and
 * out->name NULL: it is no name. */
bool candidate_find(struct arena *a, const struct state *s, const char *name, struct candidate *out, struct err *e);

/* Whether half i of the n that left at once went as the unit of that name: of each of its parts a half left. */
bool unit_left_as(const char *unit, const struct unit *half, size_t n, size_t i);

#endif
