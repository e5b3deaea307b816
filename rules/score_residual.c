/*
 * How little a unit turns the residual stream, from one forward pass over calibration rows; with several answers their
 * prompts are looked at.
 *
 *     block-influence  1 - mean over tokens of cos(in, out) of a block; least goes (ShortGPT: Men et al. 2024)
 *     cosine           mean over tokens of cos(in, out) of a half with its norm; most goes (LLM-Drop: He et al. 2024)
 *     angular          arccos(cos(in, out)) / pi of a run of blocks, as many as a round drops, at the last token, mean
 *                      over rows; least goes (Gromov et al. 2024)
 */
#include <math.h>
#include <stdlib.h>

#include "score_pass.h"

/* Of one record and unit; the state itself has none. */
struct cell {
	double rows, records;
	double distance, angle; /* 1 - cos, summed over rows; at the last one */
	double norm2;
};
enum { NCELLS = sizeof(struct cell) / sizeof(double) };

static void foretell(const struct score *s, struct score_needs *out)
{
	const struct pass_options o = score_pass_options(s, PASS_FIRST_ONLY);
	struct pass_needs n;
	pass_foretell(&o, s->nrecord ? &(struct pass_records){&s->tokens, s->record, s->nrecord} : NULL, 0, &n);
	*out = (struct score_needs){n.memory_bytes, n.embed + (double)s->n * n.compare, n.nfunction};
	for (int i = 0; i < s->state.config.layers; i++)
		out->effort += s->state.has_attn[i] * n.half[HALF_ATTN] + s->state.has_mlp[i] * n.half[HALF_MLP];
}

static bool open_residual(struct score *s, void **work, struct err *e)
{
	struct score_pass *r = xcalloc(1, sizeof(*r));
	*work = r;
	return score_pass_open(r, s, PASS_FIRST_ONLY, e);
}

static bool run_residual(void *work, const uint64_t *record, size_t n, double **line, struct err *e)
{
	struct score_pass *r = work;
	struct pass *p = &r->pass;
	pass_run(p, &r->tokens, record, n);
	for (size_t k = 0; k < r->n; k++) {
		const struct candidate *c = &r->candidate[k];
		pass_compare(p, p->before[pass_place(c->half[0])], p->before[pass_place(c->half[c->nhalf - 1]) + 1], r->change);
		for (size_t i = 0; i < n; i++)
			*(struct cell *)(line[i] + (1 + k) * NCELLS) = (struct cell){
				.rows = p->rows[i], .records = p->rows[i] > 0, .distance = r->change[i].distance,
				.angle = r->change[i].last_angle, .norm2 = r->change[i].norm2};
	}
	return pass_ok(p, e);
}

/* What is no number goes last. */
static double mean(double sum, double n, double last)
{
	return n == 0 ? NAN : isfinite(sum) ? sum / n : last;
}

static void influence_values(const double *sum, size_t nrecord, double *value)
{
	const struct cell *c = (const struct cell *)sum;
	(void)nrecord;
	value[0] = mean(c->distance, c->rows, HUGE_VAL);
	value[1] = c->rows > 0 ? sqrt(c->norm2) : NAN;
}

static void cosine_values(const double *sum, size_t nrecord, double *value)
{
	influence_values(sum, nrecord, value);
	value[0] = 1 - value[0];
}

static void angular_values(const double *sum, size_t nrecord, double *value)
{
	const struct cell *c = (const struct cell *)sum;
	influence_values(sum, nrecord, value);
	value[0] = mean(c->angle, c->records, HUGE_VAL);
}

#define SUMS(of) {"residual", NCELLS, open_residual, score_pass_release, score_pass_batch, run_residual, of, foretell, NULL}
static const struct score_sums influence = SUMS(influence_values), cosine = SUMS(cosine_values),
	angular = SUMS(angular_values);
const struct score_method score_block_influence = {
	.column = {"influence", "norm"}, .rank = {"influence"}, .sums = &influence};
const struct score_method score_cosine = {.column = {"cosine", "norm"}, .rank = {"-cosine"}, .sums = &cosine};
const struct score_method score_angular = {.column = {"angle", "norm"}, .rank = {"angle"}, .sums = &angular};
