/*
 * The scan: the metric on calibration rows with each unit gone as well (METHOD.md, "Ours" 3).
 *
 * Records go in batches. A batch runs once through the whole state, and the residual stream before every
 * half is kept; a candidate then restarts behind the half that it lacks, which is about half the work of
 * running it from the start. A prompt with several answers runs once, then each answer over its cache.
 */
#ifndef SCAN_H
#define SCAN_H

#include "layered.h"
#include "scores.h"
#include "tokens.h"

/* Of one record, for the state itself or with one unit gone. */
struct scan_cell {
	double nll;      /* of the gold answer, nats, summed over its tokens */
	double norm2;    /* squared norm of what the unit adds (0 for the state itself) */
	uint32_t tokens; /* of the gold answer that bear a loss */
	uint32_t correct;
};

struct scan {
	const struct state *state;
	const struct unit *unit;
	size_t nunit;
	struct layered *layered;
	struct layered_rows *phase; /* prompts, then the answers of each number */
	size_t nphase;
	float ***before;            /* [2 * layers + 1][phase]: residual stream before each half */
	float **run[2];             /* two buffers per phase for a candidate */
	struct arena arena;
	uint32_t most_rows;
};

/* Records of at most `rows` token rows in a batch (more when one alone is longer). */
bool scan_open(struct scan *s, const struct layered_options *o, const struct token_table *t,
	const struct unit *unit, size_t nunit, struct err *e);
void scan_release(struct scan *s);

/* How many of the records, from the first, one batch takes; at least 1. */
size_t scan_batch(const struct scan *s, const struct token_table *t, const uint64_t *record, size_t n);

/* cell[i][0] for the state, cell[i][1 + u] for unit u gone: n records in one batch. */
void scan_run(struct scan *s, const struct token_table *t, const uint64_t *record, size_t n,
	struct scan_cell **cell);

#endif
