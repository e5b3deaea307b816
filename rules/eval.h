/*
 * Rules on data, and measuring with it. Parameters of the first three: dataset.h.
 *
 *   rows      file -> row table (data.h). One action for each file: an edited file reads itself alone
 *   split     rows..., ids.R.P (the file of a part that is a list) -> a list (split.h) for each split
 *   tokenise  rows..., list, tokenizer -> token table (tokens.h). One action for each split: only what
 *             was handed the test list can name a test row. An earlier table saves work. Parameter
 *             records: that many are enough; absent: all
 *   evaluate  shape, weights, tokens -> "metrics", "rows" (measure.h). Parameter numerics
 *   cost      state, weights, tokens -> what the class costs (cost.h). Parameters numerics, windows: how many
 *             records at most, from the first, hence by (seed, hash). It is handed validation rows: no action
 *             but evaluate can name a test row. Bits belong to the class, so like `golden` it names no
 *             target, and one cost serves all targets of a class, also those that cannot run here
 *   gate      reference, candidate ("rows" of two evaluations) -> verdict (gate.h). Parameters
 *             metric, margin, confidence, [relative]; dataset: its name, where there are several; target: that of
 *             the reference, where it is one
 *
 * Inputs are named as above; there may be several `rows`.
 *
 * Metrics are one JSON object: {"rows":R,"skipped":S,"tokens":T,"bytes":B,"nll":X,"nll_per_byte":V,
 * "perplexity":Y,"accuracy":Z}. nll is nats per token over all tokens that bear a loss: those of the gold
 * answers; bytes are those of their text, and nll_per_byte compares models with other tokenizers. accuracy stands
 * there where every row has several answers, the share of rows whose most likely answer is gold. Rows
 * of a text are its documents. skipped: rows that were too long.
 */
#ifndef EVAL_H
#define EVAL_H

#include "data_mix.h"
#include "dataset.h"
#include "forward.h"
#include "gate.h"
#include "model_run.h"

extern const struct rule rule_rows, rule_split, rule_tokenise, rule_evaluate, rule_cost, rule_gate;

enum { EVALUATE_METRICS, EVALUATE_ROWS }; /* outputs of evaluate */

void evaluate_param(struct arena *a, enum numerics numerics, struct fields *out);
/* A dataset of any size costs two passes over these and no more. */
enum { COST_WINDOWS = 64 };
void cost_param(struct arena *a, enum numerics numerics, struct fields *out);
struct gate gate_of(const struct spec_gate *s);
void gate_param(struct arena *a, const struct spec_gate *gate, struct fields *out);

/* The input of that name, a list of weights (weights.h), as a session takes them; until the call ends. */
bool call_weights(struct rule_call *c, const char *name, struct param_source *out, struct err *e);

/* The inputs of that name as row tables, in order; in the call's arena. */
bool call_row_tables(struct rule_call *c, const char *name, struct row_table **out, size_t *n, struct err *e);

/* The inputs of that name ("rows") as token tables, in order, one for each set, with their shares in millionths as the
 * parameter `weights` says (absent: by size; of others than "rows" it is NAME.weights); and joined. In the call's
 * arena. */
bool call_token_sets(struct rule_call *c, const char *name, struct mix_set **set, size_t *n, struct token_table *joined,
	struct err *e);

#endif
