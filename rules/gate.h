/*
 * Non-inferiority of a candidate to a reference that was measured on the same rows: it passes when the
 * one-sided upper bound of the paired loss lies below the margin. What is not proved has failed.
 *
 * accuracy    loss: share of rows that the reference alone has right, less the share that the candidate
 *             alone has right; only these discordant pairs count. The bound is the loss d at which the
 *             probability of a difference as small as the one seen falls to 1 - confidence. It is exact, a
 *             sum over all outcomes of the trinomial distribution, at the discordance most likely for d
 *             (Nam 1997, eq. 3; "E" tail of Lloyd & Moldovan 2007). Where the candidate alone has no row
 *             right it is the binomial's bound (Clopper & Pearson 1934): no loss in n rows proves
 *             1 - (1 - confidence)^(1/n)
 * nll         loss: nats per token, over the tokens of all rows. The bound is the quantile of
 *             GATE_RESAMPLES bootstrap resamples of the rows with a fixed seed (Efron 1979). Rows are whole
 *             documents: windows of one are no independent evidence
 * perplexity  as nll, of exp(nll)
 *
 * relative    of nll and perplexity: loss is candidate / reference - 1, resampled as such
 *
 * Fewer than GATE_MIN_ROWS rows prove nothing about nll and perplexity: their bound is infinite.
 *
 * The verdict is JSON: {"metric":"accuracy","margin":0.02,"confidence":0.95,"rows":500,"reference":0.71,
 * "candidate":0.7,"loss":0.01,"bound":0.031,"lost":12,"won":7,"passed":false}; lost and won, the discordant
 * rows, with accuracy only; "bound":null is infinite; "relative":true behind the margin where that is a share. Where the
 * spec has several datasets, "dataset" is the first member; "target" is there where the reference is one.
 */
#ifndef GATE_H
#define GATE_H

#include "measure.h"

enum { GATE_RESAMPLES = 10000, GATE_MIN_ROWS = 20 };

enum gate_metric { GATE_ACCURACY, GATE_NLL, GATE_PERPLEXITY };
extern const char *const gate_metrics[]; /* NULL-terminated, the words of a spec */

struct gate {
	enum gate_metric metric;
	double margin, confidence; /* margin of accuracy: fraction of 1 */
	bool relative;             /* nll, perplexity: loss, bound and margin are shares of the reference's */
};

struct verdict {
	uint64_t rows, lost, won;
	double reference, candidate, loss, bound;
	bool passed;
};

/* ERR_IO when the tables are not of the same rows; ERR_SPEC when no row has what the metric needs. */
bool gate_judge(const struct gate *g, const struct measured_table *reference,
	const struct measured_table *candidate, struct verdict *out, struct err *e);
struct verdict_names {
	const char *dataset, *target; /* NULL: the spec has one; the reference is none */
};
void verdict_write(struct strbuf *out, const struct verdict_names *names, const struct gate *g, const struct verdict *v);

/* The least number of rows with which the gate could pass if the candidate lost nothing. */
uint64_t gate_rows_needed(const struct gate *g);

/* Upper bound of the loss when of n rows `lost` were lost and `won` won. */
double gate_paired_bound(uint64_t n, uint64_t lost, uint64_t won, double confidence);

/* P(B - C <= difference), B and C the first two counts of a trinomial of n with probabilities b and c. */
double gate_trinomial_tail(uint64_t n, int64_t difference, double b, double c);

#endif
