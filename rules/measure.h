/*
 * A model at work in this process: how likely it finds the answers of tokenised rows. What evaluate
 * and score do with a state is this, and so is the emitted binary's predict (runtime/score.h): the same
 * code over the same kernels, hence the same bits.
 *
 * Opening makes the graph, its code for this machine and a session; weights are borrowed from the caller,
 * by name, so that one set serves the model with any of its halves left out. What a row gives depends on
 * its tokens, the weights and the numerics class alone: not on other rows, their order, threads or the CPU.
 *
 * The table (flat.h) of what was measured: "TRIMNLLS", version 2, u64 nskipped, u64 nrow, array of struct
 * measured, u64 nanswer, array of f64 (the nll of each answer). One row for each token record, in its
 * order.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include "effort.h"
#include "device.h"
#include "emit.h"
#include "forward.h"
#include "model_run.h"
#include "tokens.h"

struct measurer_options {
	const struct model_config *config;
	const bool *has_attn, *has_mlp; /* NULL: all */
	enum numerics numerics;
	struct param_source weights;    /* as pack_weight lays them out; they outlive the measurer */
	enum device_kind device;
	int threads;
	uint64_t longest_slots;         /* measure_longest() of what will be measured */
};

struct measurer {
	struct loaded loaded;
	struct pool *pool;
	struct session session;
	bool has_code;
	struct device *device; /* of the session's program when it is not the CPU, and where it has its externals */
	void **t;
	struct arena arena;
};

/* ERR_TOOL: no code can be made for or run on this machine. */
bool measurer_open(struct measurer *m, const struct measurer_options *o, struct err *e);
void measurer_release(struct measurer *m); /* after a failed open too */

/* What measuring takes, known from the graph alone; o->weights is not looked at. t NULL: rows are not known; then effort
 * is 0 and memory that of long rows. */
struct measurer_needs {
	uint64_t memory_bytes; /* that is touched, weights too; of a device that is not the CPU, all that is allocated */
	uint64_t weight_bytes; /* of that, weights */
	double effort;         /* effort.h */
	size_t nfunction;      /* what code is generated for */
};
void measurer_foretell(const struct measurer_options *o, const struct token_table *t, struct measurer_needs *out);

/* Slots that the longest row takes. */
uint64_t measure_longest(const struct token_table *t);

/* Whether the model can take these rows at all: ids within the vocabulary, rows within the context. */
bool measure_check(const struct token_table *t, const struct model_config *c, struct err *e);

/* nll[i] of every answer of the given records, in order, each handed to `take` as soon as it is known, in
 * the order given. False after take returned false: it has set e then. ERR_NUMERIC: a nll is no number. */
typedef bool measure_take(void *ctx, uint64_t record, const double *nll, struct err *e);
struct measure_job {
	const struct token_table *t;
	const uint64_t *record;
	size_t n;
	measure_take *take;
	void *ctx;
};
bool measure_records(struct measurer *m, const struct measure_job *job, struct err *e);

struct measured {
	struct digest row, digest; /* of the token record */
	double nll;                /* nats, sum over the tokens of the gold answer that bear a loss */
	uint32_t tokens;           /* those */
	int32_t gold, choice;      /* the most likely of several answers; -1: no gold, no choice */
	uint32_t nanswer;
	uint64_t answer_at;
	uint64_t bytes;            /* of the text of those tokens; of windows in the first */
};

struct measured_table {
	uint64_t nskipped, nrow, nanswer;
	const struct measured *row;
	const double *answer;
};

/* From the nll of all answers of t, in its order. */
void measured_write(struct strbuf *out, const struct token_table *t, const double *answer);
/* Borrows the bytes, which lie at a multiple of 8. Everything is checked; ERR_IO when damaged. */
bool measured_open(struct measured_table *t, struct buf bytes, struct err *e);

struct metrics {
	uint64_t rows, skipped; /* documents count once, whatever their windows */
	uint64_t tokens;        /* that bear a loss */
	uint64_t bytes;         /* of their text */
	double nll, perplexity; /* nats per token */
	double nll_per_byte;    /* by which models with other tokenizers compare */
	uint64_t choices, correct;
	double accuracy;        /* of the rows with a choice and a gold answer; NaN where there are none */
};
struct metrics measured_metrics(const struct measured_table *t);
/* Appends them as a JSON object (eval.h). */
void metrics_write(struct strbuf *out, const struct metrics *m);

#endif
