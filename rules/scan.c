#include "scan.h"

#include <string.h>

#include "score.h"

/* Where the loss of an output row goes. */
struct share {
	uint32_t record, answer;
};

struct batch {
	struct token_row *row;
	size_t n;
	struct share **share; /* per phase, per output row */
	double **nll;         /* per record, per answer */
	struct arena arena;
};

static uint32_t most_answers(const struct token_table *t)
{
	uint32_t most = 1;
	for (uint64_t i = 0; i < t->nrecord; i++)
		if (t->record[i].nanswer > most)
			most = t->record[i].nanswer;
	return most;
}

static void phase_alloc(struct arena *a, struct layered_rows *p, int64_t rows)
{
	int32_t **field[] = {&p->tok, &p->pos, &p->slot, &p->lo, &p->hi, &p->out, &p->target};
	for (size_t i = 0; i < NELEM(field); i++)
		*field[i] = arena_array(a, int32_t, rows);
}

bool scan_open(struct scan *s, const struct layered_options *o, const struct token_table *t,
	const struct unit *unit, size_t nunit, struct err *e)
{
	struct layered_options options = *o;
	*s = (struct scan){.state = o->weights.state, .unit = unit, .nunit = nunit};
	uint32_t longest = token_table_longest(t);
	s->most_rows = longest > (uint32_t)o->rows ? longest : (uint32_t)o->rows;
	options.rows = options.outs = options.slots = s->most_rows;
	if (!layered_open(&s->layered, &options, e))
		return false;
	/* One answer lies behind its prompt; several are phases of their own. */
	uint32_t answers = most_answers(t);
	size_t nhalf = 2 * (size_t)o->weights.state->config.layers;
	s->nphase = answers > 1 ? 1 + answers : 1;
	s->phase = arena_array(&s->arena, struct layered_rows, s->nphase);
	s->before = arena_array(&s->arena, float **, nhalf + 1);
	for (size_t i = 0; i <= nhalf; i++)
		s->before[i] = arena_array(&s->arena, float *, s->nphase);
	for (int k = 0; k < 2; k++)
		s->run[k] = arena_array(&s->arena, float *, s->nphase);
	for (size_t p = 0; p < s->nphase; p++) {
		phase_alloc(&s->arena, &s->phase[p], s->most_rows);
		for (size_t i = 0; i <= nhalf; i++)
			s->before[i][p] = layered_residual(s->layered);
		for (int k = 0; k < 2; k++)
			s->run[k][p] = layered_residual(s->layered);
	}
	return true;
}

void scan_release(struct scan *s)
{
	layered_free(s->layered);
	arena_release(&s->arena);
	*s = (struct scan){0};
}

size_t scan_batch(const struct scan *s, const struct token_table *t, const uint64_t *record, size_t n)
{
	uint64_t rows = 0;
	size_t i = 0;
	for (; i < n; i++) {
		rows += t->record[record[i]].total_tokens; /* covers rows, outputs and slots of every phase */
		if (i && rows > s->most_rows)
			break;
	}
	return i;
}

/* ---- laying a batch out ---- */

static void add_token(struct layered_rows *p, uint32_t token, uint32_t base, uint32_t position)
{
	int64_t i = p->nrow++;
	p->tok[i] = (int32_t)token;
	p->pos[i] = (int32_t)position;
	p->slot[i] = (int32_t)(base + position);
	p->lo[i] = (int32_t)base;
	p->hi[i] = (int32_t)(base + position + 1);
}

static void add_target(struct layered_rows *p, struct share *share, int64_t row,
	uint32_t target, struct share to)
{
	p->out[p->nout] = (int32_t)row;
	p->target[p->nout] = (int32_t)target;
	share[p->nout++] = to;
}

static void lay_out_record(struct scan *s, struct batch *b, uint32_t record, uint32_t *base)
{
	const struct token_row *r = &b->row[record];
	struct layered_rows *first = &s->phase[0];
	uint32_t longest = 0;
	for (uint32_t i = 0; i < r->prompt_tokens; i++)
		add_token(first, r->token[i], *base, i);
	for (uint32_t a = 0; a < r->nanswer; a++) {
		const uint32_t *answer = r->token + token_row_answer_at(r, a);
		uint32_t n = r->answer_tokens[a];
		size_t phase = r->nanswer > 1 ? 1 + a : 0;
		struct layered_rows *p = &s->phase[phase];
		struct share to = {record, a};
		if (n > longest)
			longest = n;
		if (n && r->prompt_tokens)
			add_target(first, b->share[0], first->nrow - 1, answer[0], to);
		for (uint32_t i = 0; i + 1 < n; i++) {
			add_token(p, answer[i], *base, r->prompt_tokens + i);
			add_target(p, b->share[phase], p->nrow - 1, answer[i + 1], to);
		}
	}
	*base += r->prompt_tokens + longest;
}

static void lay_out(struct scan *s, struct batch *b)
{
	uint32_t base = 0;
	for (size_t p = 0; p < s->nphase; p++)
		s->phase[p].nrow = s->phase[p].nout = 0;
	for (uint32_t i = 0; i < b->n; i++)
		lay_out_record(s, b, i, &base);
}

/* ---- running ---- */

static void run_half(struct scan *s, enum half half, int layer, float **x, float **y, float *norm2)
{
	for (size_t p = 0; p < s->nphase; p++) {
		const struct layered_half h = {half, layer, x[p], y[p], p == 0 ? norm2 : NULL};
		if (s->phase[p].nrow)
			layered_half(s->layered, &s->phase[p], &h);
	}
}

/* Adds up what the outputs cost; cell number `at` of every record. */
static void finish(struct scan *s, struct batch *b, float **x, struct scan_cell **cell, size_t at)
{
	float *nll = arena_array(&b->arena, float, s->most_rows);
	for (size_t i = 0; i < b->n; i++)
		memset(b->nll[i], 0, b->row[i].nanswer * sizeof(double));
	for (size_t p = 0; p < s->nphase; p++) {
		if (!s->phase[p].nout)
			continue;
		layered_nll(s->layered, &s->phase[p], x[p], nll);
		for (int64_t k = 0; k < s->phase[p].nout; k++)
			b->nll[b->share[p][k].record][b->share[p][k].answer] += (double)nll[k];
	}
	for (size_t i = 0; i < b->n; i++) {
		const struct token_row *r = &b->row[i];
		uint32_t gold = r->gold < 0 ? 0 : (uint32_t)r->gold;
		cell[i][at].nll = r->nanswer ? b->nll[i][gold] : 0;
		cell[i][at].tokens = r->nanswer ? score_row_tokens(r, gold) : 0;
		cell[i][at].correct = r->nanswer > 1 && r->gold >= 0 &&
			score_choice(b->nll[i], r->nanswer) == gold;
	}
}

static bool has(const struct state *s, enum half half, int layer)
{
	return (half == HALF_ATTN ? s->has_attn : s->has_mlp)[layer];
}

static size_t unit_index(const struct scan *s, enum half half, int layer)
{
	for (size_t u = 0; u < s->nunit; u++)
		if (s->unit[u].layer == layer && (s->unit[u].kind == UNIT_ATTN) == (half == HALF_ATTN))
			return u;
	return s->nunit;
}

/* Norms of what a half adds, by record: rows of phase 0 stand record by record. */
static void add_norms(const struct scan *s, const struct batch *b, const float *norm2,
	struct scan_cell **cell, size_t unit)
{
	int64_t row = 0;
	for (size_t i = 0; i < b->n; i++) {
		const struct token_row *r = &b->row[i];
		int64_t n = r->prompt_tokens;
		if (r->nanswer == 1 && r->answer_tokens[0])
			n += r->answer_tokens[0] - 1;
		double sum = 0;
		for (int64_t k = 0; k < n; k++)
			sum += (double)norm2[row++];
		if (unit < s->nunit)
			cell[i][1 + unit].norm2 = sum;
	}
}

static void run_state(struct scan *s, struct batch *b, struct scan_cell **cell)
{
	float *norm2 = arena_array(&b->arena, float, s->most_rows);
	size_t nhalf = 2 * (size_t)s->state->config.layers;
	for (size_t p = 0; p < s->nphase; p++)
		if (s->phase[p].nrow)
			layered_embed(s->layered, &s->phase[p], s->before[0][p]);
	for (size_t h = 0; h < nhalf; h++) {
		enum half half = (enum half)(h % 2);
		int layer = (int)(h / 2);
		if (!has(s->state, half, layer)) {
			for (size_t p = 0; p < s->nphase; p++)
				memcpy(s->before[h + 1][p], s->before[h][p], (size_t)s->phase[p].nrow *
					(size_t)s->state->config.width * sizeof(float));
			continue;
		}
		run_half(s, half, layer, s->before[h], s->before[h + 1], norm2);
		add_norms(s, b, norm2, cell, unit_index(s, half, layer));
	}
	finish(s, b, s->before[nhalf], cell, 0);
}

static void run_candidate(struct scan *s, struct batch *b, size_t unit, struct scan_cell **cell)
{
	const struct unit *u = &s->unit[unit];
	size_t nhalf = 2 * (size_t)s->state->config.layers;
	size_t gone = 2 * (size_t)u->layer + (u->kind == UNIT_MLP);
	float **x = s->before[gone];
	int next = 0;
	for (size_t h = gone + 1; h < nhalf; h++) {
		if (!has(s->state, (enum half)(h % 2), (int)(h / 2)))
			continue;
		run_half(s, (enum half)(h % 2), (int)(h / 2), x, s->run[next], NULL);
		x = s->run[next];
		next = !next;
	}
	finish(s, b, x, cell, 1 + unit);
}

void scan_run(struct scan *s, const struct token_table *t, const uint64_t *record, size_t n,
	struct scan_cell **cell)
{
	struct batch b = {.n = n};
	b.row = arena_array(&b.arena, struct token_row, n);
	b.nll = arena_array(&b.arena, double *, n);
	b.share = arena_array(&b.arena, struct share *, s->nphase);
	for (size_t i = 0; i < n; i++) {
		b.row[i] = token_table_row(t, record[i]);
		b.nll[i] = arena_array(&b.arena, double, b.row[i].nanswer + 1);
	}
	for (size_t p = 0; p < s->nphase; p++)
		b.share[p] = arena_array(&b.arena, struct share, s->most_rows);
	lay_out(s, &b);
	run_state(s, &b, cell);
	for (size_t u = 0; u < s->nunit; u++)
		run_candidate(s, &b, u, cell);
	arena_release(&b.arena);
}
