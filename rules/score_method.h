/*
 * How units are ranked. A method is a row of score_methods.h and one file that defines its struct score_method: what
 * it measures of every unit, and which of those numbers rank. The rule `score` lists the units, calls the method and
 * writes the table; `choose` ranks by it. A method that needs no measuring (random, last, given) writes a table too,
 * so that a round looks alike whatever ranks.
 *
 * Columns that several methods have: nll (nats per gold token) and accuracy with the unit gone, untuned (accuracy only
 * where every row has choices); norm: the Frobenius norm of what the unit adds to the residual stream, over all rows.
 */
#ifndef SCORE_METHOD_H
#define SCORE_METHOD_H

#include "rules.h"
#include "scores.h"
#include "tokens.h"

/* One call of the rule, as methods see it. */
struct score {
	struct arena *a;
	struct state state;
	struct weight_source weights; /* of the state */
	enum numerics numerics;
	enum device_kind device;
	int nthreads;
	int64_t batch_rows;           /* token rows that run at once, at least */
	struct candidate *candidate;
	size_t n;
	struct token_table tokens; /* with READS_ROWS: the records to look at, in order */
	uint64_t *record;
	size_t nrecord;
	struct rule_call *call;    /* for parameters, progress and checkpoints */
};

/* What a method takes (struct estimate), of a struct score without weights and call, whose records may not be known yet
 * (nrecord 0): then effort is 0. */
struct score_needs {
	uint64_t memory_bytes; /* that it allocates or maps */
	double effort;         /* effort.h */
	size_t nfunction;      /* what code is generated for */
};
typedef void score_foretell(const struct score *s, struct score_needs *out);

/* What adds up over records. Each has a line of cells: `ncell` sums for the state itself, then for each candidate. A
 * line depends on its record's tokens, the state and the candidates alone; it is remembered by the record's digest. */
struct score_sums {
	const char *name; /* of what is remembered: methods that name the same share it */
	int ncell;
	bool (*open)(struct score *s, void **work, struct err *e);
	void (*release)(void *work); /* after a failed open too */
	/* How many of n records, from the first, one call of run takes; at least 1. */
	size_t (*batch)(void *work, const uint64_t *record, size_t n);
	bool (*run)(void *work, const uint64_t *record, size_t n, double **line, struct err *e);
	/* From the sums of nrecord records to values, one for each column; infinity: goes last. */
	void (*values)(const double *sum, size_t nrecord, double *value);
	score_foretell *foretell;
	const char *finite; /* the column that has to be finite for the state itself; NULL: none */
};

struct score_method {
	const char *column[SCORE_COLUMNS + 1]; /* NULL ends */
	const char *rank[SCORE_COLUMNS + 1];   /* the first that has a value ranks: less goes first, "-x": more does */
	const struct score_sums *sums;
	/* Without sums: fills base and the values of out->unit, whose names are there, all values NaN; it may leave out
	 * units, which never go then. */
	bool (*measure)(struct score *s, struct scores *out, struct err *e);
	score_foretell *foretell; /* NULL: it is over at once */
};

/* Beside the row: its name in the spec, what it reads. */
const struct score_method *score_method_find(const char *name, unsigned *reads); /* NULL: none */

/* Which column of a table ranks, as struct score_method.rank has it; NULL: none does. */
const char *score_method_rank(const struct scores *s);

#endif
