#include "gate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "sample.h"
#include "splitmix.h"

const char *const gate_metrics[] = {"accuracy", "nll", "perplexity", NULL};

/* ---- accuracy ---- */

struct log_factorials {
	double *of; /* [0..n] */
	uint64_t n;
};

static struct log_factorials log_factorials_new(uint64_t n)
{
	struct log_factorials f = {xmalloc((size_t)(n + 1) * sizeof(*f.of)), n};
	f.of[0] = 0;
	for (uint64_t i = 1; i <= n; i++)
		f.of[i] = f.of[i - 1] + sample_log((double)i);
	return f;
}

static double binomial(const struct log_factorials *f, uint64_t n, uint64_t k, double p)
{
	if (p <= 0 || p >= 1)
		return p <= 0 ? k == 0 : k == n;
	return sample_exp(f->of[n] - f->of[k] - f->of[n - k] + (double)k * sample_log(p) +
		(double)(n - k) * sample_log(1 - p));
}

/* The outcomes of a binomial that are not negligible (below 1e-20 in sum). */
struct range {
	uint64_t from, to;
};

static struct range likely(uint64_t n, double p)
{
	double mean = (double)n * p, width = 10 * sqrt(mean * (1 - p)) + 30;
	double from = floor(mean - width), to = ceil(mean + width);
	return (struct range){from > 0 ? (uint64_t)from : 0,
		to < (double)n ? (uint64_t)to : n};
}

/* P(X <= k) */
static double binomial_below(const struct log_factorials *f, uint64_t n, int64_t k, double p)
{
	struct range r = likely(n, p);
	double sum = 0;
	if (k < 0)
		return 0;
	if ((uint64_t)k >= r.to)
		return 1;
	for (uint64_t i = r.from; i <= (uint64_t)k; i++)
		sum += binomial(f, n, i, p);
	return sum;
}

/* B + C is binomial, and B given the sum again: B - C <= t when B <= (sum + t) / 2. */
static double trinomial_tail(const struct log_factorials *f, uint64_t n, int64_t t, double b, double c)
{
	double both = b + c, sum = 0;
	if (both <= 0)
		return t >= 0;
	struct range r = likely(n, both < 1 ? both : 1);
	for (uint64_t d = r.from; d <= r.to; d++) {
		int64_t twice = (int64_t)d + t;
		sum += binomial(f, n, d, both) *
			binomial_below(f, d, twice < 0 ? -1 : twice / 2, b / both);
	}
	return sum;
}

double gate_trinomial_tail(uint64_t n, int64_t difference, double b, double c)
{
	struct log_factorials f = log_factorials_new(n);
	double p = trinomial_tail(&f, n, difference, b, c);
	free(f.of);
	return p;
}

/* The most likely probability of a won row when that of a lost one is higher by d: the root of
 * 2n q^2 - k q - won d (1 - d) = 0, which is the derivative of the likelihood. */
static double likely_won(double n, double lost, double won, double d)
{
	double k = (lost + won) * (1 - d) - 2 * n * d + 2 * lost * d;
	double least = d < 0 ? -d : 0, most = (1 - d) / 2;
	double q = (k + sqrt(k * k + 8 * n * won * d * (1 - d))) / (4 * n);
	return q > least ? q < most ? q : most : least;
}

double gate_paired_bound(uint64_t n, uint64_t lost, uint64_t won, double confidence)
{
	struct log_factorials f = log_factorials_new(n);
	int64_t t = (int64_t)lost - (int64_t)won;
	double low = (double)t / (double)n, high = 1;
	for (int i = 0; i < 50 && low < high; i++) {
		double d = (low + high) / 2;
		double q = likely_won((double)n, (double)lost, (double)won, d);
		if (trinomial_tail(&f, n, t, q + d > 0 ? q + d : 0, q) > 1 - confidence)
			low = d;
		else
			high = d;
	}
	free(f.of);
	return high;
}

static void judge_accuracy(const struct gate *g, const struct measured_table *reference,
	const struct measured_table *candidate, struct verdict *v)
{
	uint64_t right = 0;
	for (uint64_t i = 0; i < reference->nrow; i++) {
		const struct measured *r = &reference->row[i], *c = &candidate->row[i];
		if (r->choice < 0 || r->gold < 0)
			continue;
		v->rows++;
		v->lost += r->choice == r->gold && c->choice != c->gold;
		v->won += r->choice != r->gold && c->choice == c->gold;
		right += r->choice == r->gold;
	}
	double n = (double)v->rows;
	v->reference = (double)right / n;
	v->candidate = ((double)right - (double)v->lost + (double)v->won) / n;
	v->loss = ((double)v->lost - (double)v->won) / n;
	if (v->rows)
		v->bound = gate_paired_bound(v->rows, v->lost, v->won, g->confidence);
}

/* ---- nll ---- */

struct document {
	double reference, candidate; /* sums of nll */
	double tokens;
};

/* Windows are neighbours. What bears no loss is no document of its own: it could not be resampled. */
static struct document *documents(const struct measured_table *reference,
	const struct measured_table *candidate, uint64_t *n)
{
	struct document *d = xcalloc((size_t)reference->nrow, sizeof(*d));
	*n = 0;
	for (uint64_t i = 0; i < reference->nrow; i++) {
		const struct measured *r = &reference->row[i];
		bool new = !i || r->choice >= 0 || !digest_equal(r->row, r[-1].row);
		if (new && (!*n || d[*n - 1].tokens > 0))
			d[(*n)++] = (struct document){0};
		d[*n - 1].reference += r->nll;
		d[*n - 1].candidate += candidate->row[i].nll;
		d[*n - 1].tokens += r->tokens;
	}
	return d;
}

static void add_document(struct document *sum, const struct document *d)
{
	sum->reference += d->reference;
	sum->candidate += d->candidate;
	sum->tokens += d->tokens;
}

static double value_of(const struct gate *g, double nll, double tokens)
{
	return g->metric == GATE_PERPLEXITY ? sample_exp(nll / tokens) : nll / tokens;
}

static double loss_of(const struct gate *g, const struct document *sum)
{
	double candidate = value_of(g, sum->candidate, sum->tokens), reference = value_of(g, sum->reference, sum->tokens);
	return g->relative ? candidate / reference - 1 : candidate - reference;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double bootstrap_bound(const struct gate *g, const struct document *d, uint64_t n)
{
	double *loss = xmalloc(GATE_RESAMPLES * sizeof(*loss));
	uint64_t seed = 0;
	for (int i = 0; i < GATE_RESAMPLES; i++) {
		struct document sum = {0};
		for (uint64_t k = 0; k < n; k++)
			add_document(&sum, &d[(splitmix64(&seed) >> 32) * n >> 32]);
		loss[i] = loss_of(g, &sum);
	}
	qsort(loss, GATE_RESAMPLES, sizeof(*loss), compare_doubles);
	double at = ceil(g->confidence * GATE_RESAMPLES) - 1;
	double bound = loss[at < GATE_RESAMPLES ? (int)at : GATE_RESAMPLES - 1];
	free(loss);
	return bound;
}

static void judge_nll(const struct gate *g, const struct measured_table *reference,
	const struct measured_table *candidate, struct verdict *v)
{
	struct document sum = {0}, *d = documents(reference, candidate, &v->rows);
	for (uint64_t i = 0; i < v->rows; i++)
		add_document(&sum, &d[i]);
	v->reference = value_of(g, sum.reference, sum.tokens);
	v->candidate = value_of(g, sum.candidate, sum.tokens);
	v->loss = loss_of(g, &sum);
	v->bound = v->rows < GATE_MIN_ROWS ? INFINITY : bootstrap_bound(g, d, v->rows);
	if (!(sum.tokens > 0))
		v->rows = 0;
	free(d);
}

/* ---- both ---- */

static bool check_pairs(const struct measured_table *a, const struct measured_table *b, struct err *e)
{
	bool same = a->nrow == b->nrow;
	for (uint64_t i = 0; same && i < a->nrow; i++)
		same = digest_equal(a->row[i].digest, b->row[i].digest) &&
			a->row[i].gold == b->row[i].gold && a->row[i].tokens == b->row[i].tokens;
	return same || err_set(e, ERR_IO, "reference and candidate were measured on different rows");
}

bool gate_judge(const struct gate *g, const struct measured_table *reference,
	const struct measured_table *candidate, struct verdict *out, struct err *e)
{
	*out = (struct verdict){.bound = INFINITY};
	if (!check_pairs(reference, candidate, e))
		return false;
	if (g->metric == GATE_ACCURACY)
		judge_accuracy(g, reference, candidate, out);
	else
		judge_nll(g, reference, candidate, out);
	if (!out->rows)
		return err_set(e, ERR_SPEC, "no row has a gold answer to judge %s by",
			gate_metrics[g->metric]);
	out->passed = out->bound < g->margin;
	return true;
}

uint64_t gate_rows_needed(const struct gate *g)
{
	if (g->metric != GATE_ACCURACY)
		return GATE_MIN_ROWS;
	if (g->margin >= 1)
		return 1;
	return (uint64_t)floor(sample_log(1 - g->confidence) / sample_log(1 - g->margin)) + 1;
}

static void add_member(struct strbuf *out, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_addf(out, "\"%s\":", name);
	strbuf_add_json(out, value, strlen(value));
	strbuf_addc(out, ',');
}

void verdict_write(struct strbuf *out, const struct verdict_names *names, const struct gate *g, const struct verdict *v)
{
	strbuf_addc(out, '{');
	add_member(out, "dataset", names->dataset);
	add_member(out, "target", names->target);
	strbuf_addf(out, "\"metric\":\"%s\"", gate_metrics[g->metric]);
	json_add_number(out, "margin", g->margin);
	if (g->relative)
		strbuf_adds(out, ",\"relative\":true");
	json_add_number(out, "confidence", g->confidence);
	json_add_number(out, "rows", (double)v->rows);
	json_add_number(out, "reference", v->reference);
	json_add_number(out, "candidate", v->candidate);
	json_add_number(out, "loss", v->loss);
	json_add_number(out, "bound", v->bound);
	if (g->metric == GATE_ACCURACY) {
		json_add_number(out, "lost", (double)v->lost);
		json_add_number(out, "won", (double)v->won);
	}
	strbuf_addf(out, ",\"passed\":%s}", v->passed ? "true" : "false");
}
