/*
 * Token records through a state half by half: what scores that look at rows begin with.
 *
 * Records go in batches. A batch runs once through the whole state, and the residual stream before every half is kept,
 * so that whoever wants to know what a part does finds its input and its output, or goes on from the middle. A prompt
 * with several answers runs once, then each answer over its cache; with one answer they are one sequence.
 */
#ifndef PASS_H
#define PASS_H

#include "layered.h"
#include "tokens.h"

/* Where the loss of an output row goes. */
struct pass_share {
	uint32_t record, answer;
};

struct pass {
	const struct state *state;
	struct layered *layered;
	struct layered_rows *phase; /* prompts, with their answers where there is one; then the answers of each number */
	size_t nphase;
	size_t nhalf;               /* 2 * layers: half h is attention (h even) or MLP of layer h / 2, there or gone */
	float ***before;            /* [nhalf + 1][phase]: residual stream before each half, and behind the last */
	float *number[3];           /* per row: what a program gives */
	struct arena arena;
	uint32_t most_rows;

	/* Of the newest batch, in the order of its records. */
	size_t n;
	struct token_row *row;
	uint32_t *rows;             /* of phase 0 that are the record's: they stand record by record */
	double **nll;               /* per answer: pass_nll */
	struct pass_share **share;  /* per phase, per output row */
	struct arena batch;
};

struct pass_options {
	struct layered_options layered; /* its rows: of a batch (more when one record alone is longer) */
	bool first_only;                /* phase 0 alone: several answers are left out */
};

/* What passes over records of a table take: memory, `streams` (pass_streams) of the caller counted, and the effort of each
 * part over all of the records. NULL: no record is known; then effort is 0. */
struct pass_needs {
	uint64_t memory_bytes;
	double embed, half[NHALVES], head, compare;
	size_t nfunction;
};
struct pass_records {
	const struct token_table *t;
	const uint64_t *record;
	size_t n;
};
void pass_foretell(const struct pass_options *o, const struct pass_records *r, size_t streams, struct pass_needs *out);

bool pass_open(struct pass *p, const struct pass_options *o, const struct token_table *t, struct err *e);
void pass_release(struct pass *p); /* after a failed open too */
bool pass_ok(const struct pass *p, struct err *e); /* layered_ok */

/* One buffer of a residual stream for each phase, freed with p. */
float **pass_streams(struct pass *p);

/* How many of the records, from the first, one batch takes; at least 1. */
size_t pass_batch(const struct pass *p, const struct token_table *t, const uint64_t *record, size_t n);

/* Fills `before` for one batch. */
void pass_run(struct pass *p, const struct token_table *t, const uint64_t *record, size_t n);

/* y = x + half h (x), all phases; y may not be x. */
void pass_half(struct pass *p, size_t h, float **x, float **y);
bool pass_has(const struct pass *p, size_t h);
size_t pass_place(struct unit u); /* the half that it is */

/* From the last half's residual stream: nll[record][answer], nats. */
void pass_nll(struct pass *p, float **x);

/* Of a record of the batch, from x to y, phase 0: sums over its rows, and the angle at its last row. */
struct pass_change {
	double distance, norm2, last_angle;
};
void pass_compare(struct pass *p, float **x, float **y, struct pass_change *change);

#endif
