/*
 * scan: the task's metric on calibration rows with each unit gone as well (METHOD.md, "Ours" 3); ties as the spec
 * says. perplexity: the same numbers, of which the loss alone ranks (SLEB: Song et al. 2024), scored anew each round.
 *
 * A candidate restarts behind what it lacks, which is about half the work of running it from the start.
 */
#include <math.h>
#include <stdlib.h>

#include "score.h"
#include "score_pass.h"

/* Of one record, for the state itself or with a unit gone. */
struct cell {
	double nll;      /* of the gold answer, nats, summed over its tokens */
	double tokens;   /* of the gold answer that bear a loss */
	double correct;  /* 1: the gold answer is the likeliest */
	double choices;  /* 1: there are several answers */
	double norm2;    /* squared norm of what the unit adds; 0 for the state itself */
};
enum { NCELLS = sizeof(struct cell) / sizeof(double) };

struct scan {
	struct score_pass of;
	float **run[2]; /* a candidate's residual streams, in turn */
};

static bool open_scan(struct score *s, void **work, struct err *e)
{
	struct scan *scan = xcalloc(1, sizeof(*scan));
	*work = scan;
	if (!score_pass_open(&scan->of, s, PASS_ALL_ANSWERS, e))
		return false;
	for (int k = 0; k < 2; k++)
		scan->run[k] = pass_streams(&scan->of.pass);
	return true;
}

/* Adds up what the outputs cost, from the last half's residual stream. */
static void finish(struct scan *scan, float **x, double **line, size_t at)
{
	struct pass *p = &scan->of.pass;
	pass_nll(p, x);
	for (size_t i = 0; i < p->n; i++) {
		const struct token_row *r = &p->row[i];
		struct cell *c = (struct cell *)(line[i] + at * NCELLS);
		uint32_t gold = r->gold < 0 ? 0 : (uint32_t)r->gold;
		c->nll = r->nanswer ? p->nll[i][gold] : 0;
		c->tokens = r->nanswer ? score_row_tokens(r, gold) : 0;
		c->choices = r->nanswer > 1;
		c->correct = r->nanswer > 1 && r->gold >= 0 && score_choice(p->nll[i], r->nanswer) == gold;
	}
}

static bool lacks(const struct candidate *c, size_t h)
{
	for (size_t i = 0; i < c->nhalf; i++)
		if (pass_place(c->half[i]) == h)
			return true;
	return false;
}

static double halves_effort(const struct pass_needs *n, const struct state *s, size_t from, const struct candidate *without)
{
	double sum = 0;
	for (size_t h = from; h < 2 * (size_t)s->config.layers; h++)
		if ((h % 2 ? s->has_mlp : s->has_attn)[h / 2] && !(without && lacks(without, h)))
			sum += n->half[h % 2];
	return sum;
}

static void foretell(const struct score *s, struct score_needs *out)
{
	const struct pass_options o = score_pass_options(s, PASS_ALL_ANSWERS);
	struct pass_needs n;
	pass_foretell(&o, s->nrecord ? &(struct pass_records){&s->tokens, s->record, s->nrecord} : NULL, 2, &n);
	*out = (struct score_needs){n.memory_bytes, n.embed + halves_effort(&n, &s->state, 0, NULL) + n.head, n.nfunction};
	for (size_t i = 0; i < s->n; i++) {
		const struct candidate *c = &s->candidate[i];
		out->effort += n.compare + halves_effort(&n, &s->state, pass_place(c->half[0]), c) + n.head;
	}
}

static void run_candidate(struct scan *scan, size_t at, double **line)
{
	struct pass *p = &scan->of.pass;
	const struct candidate *c = &scan->of.candidate[at];
	size_t first = pass_place(c->half[0]), last = pass_place(c->half[c->nhalf - 1]);
	float **x = p->before[first];
	int next = 0;
	pass_compare(p, x, p->before[last + 1], scan->of.change);
	for (size_t h = first + 1; h < p->nhalf; h++) {
		if (!pass_has(p, h) || lacks(c, h))
			continue;
		pass_half(p, h, x, scan->run[next]);
		x = scan->run[next];
		next = !next;
	}
	finish(scan, x, line, 1 + at);
	for (size_t i = 0; i < p->n; i++)
		((struct cell *)(line[i] + (1 + at) * NCELLS))->norm2 = scan->of.change[i].norm2;
}

static bool run_scan(void *work, const uint64_t *record, size_t n, double **line, struct err *e)
{
	struct scan *scan = work;
	pass_run(&scan->of.pass, &scan->of.tokens, record, n);
	finish(scan, scan->of.pass.before[scan->of.pass.nhalf], line, 0);
	for (size_t i = 0; i < scan->of.n; i++)
		run_candidate(scan, i, line);
	return pass_ok(&scan->of.pass, e);
}

static void values(const double *sum, size_t nrecord, double *value)
{
	const struct cell *c = (const struct cell *)sum;
	value[0] = !isfinite(c->nll) ? HUGE_VAL : c->tokens > 0 ? c->nll / c->tokens : 0;
	value[1] = c->choices == (double)nrecord ? c->correct / (double)nrecord : NAN;
	value[2] = sqrt(c->norm2);
}

static const struct score_sums sums = {"scan", NCELLS, open_scan, score_pass_release, score_pass_batch, run_scan, values, foretell, "nll"};
const struct score_method score_scan = {
	.column = {"nll", "accuracy", "norm"}, .rank = {"-accuracy", "nll"}, .sums = &sums};
const struct score_method score_perplexity = {
	.column = {"nll", "accuracy", "norm"}, .rank = {"nll"}, .sums = &sums};
