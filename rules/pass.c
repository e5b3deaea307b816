#include "pass.h"

#include <string.h>

#include "score.h"

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

float **pass_streams(struct pass *p)
{
	float **x = arena_array(&p->arena, float *, p->nphase);
	for (size_t i = 0; i < p->nphase; i++)
		x[i] = layered_residual(p->layered);
	return x;
}

/* Sizes of what is to be passed. One answer lies behind its prompt; several are phases of their own. */
static void size(struct pass *p, const struct pass_options *o, const struct token_table *t, struct layered_options *options)
{
	uint32_t longest = token_table_longest(t), answers = most_answers(t);
	*options = o->layered;
	*p = (struct pass){.state = options->weights.state};
	p->most_rows = longest > (uint32_t)options->rows ? longest : (uint32_t)options->rows;
	options->rows = options->outs = options->slots = p->most_rows;
	p->nphase = answers > 1 && !o->first_only ? 1 + answers : 1;
}

/* Of all records: rows, outputs, slots seen, and how often a phase is run. */
struct load {
	double rows, outs, attended, calls;
};

static void add_load(struct load *l, const struct token_row *r, bool first_only)
{
	double prompt = r->prompt_tokens;
	uint32_t n = first_only && r->nanswer > 1 ? 0 : r->nanswer;
	l->rows += prompt;
	l->attended += prompt * (prompt + 1) / 2;
	for (uint32_t i = 0; i < n; i++) {
		double more = r->answer_tokens[i] > 1 ? r->answer_tokens[i] - 1 : 0;
		l->rows += more;
		l->outs += r->answer_tokens[i];
		l->attended += more * (prompt + (more + 1) / 2);
	}
}

static struct load load_of(const struct pass *p, const struct pass_records *r, bool first_only)
{
	struct load l = {0};
	for (size_t i = 0; i < r->n; i++) {
		struct token_row row = token_table_row(r->t, r->record[i]);
		add_load(&l, &row, first_only);
	}
	for (size_t i = 0, n; i < r->n; i += n) {
		n = pass_batch(p, r->t, r->record + i, r->n - i);
		l.calls += (double)p->nphase;
	}
	return l;
}

void pass_foretell(const struct pass_options *o, const struct pass_records *r, size_t streams, struct pass_needs *out)
{
	static const struct token_table none;
	struct pass p;
	struct layered_options options;
	struct layered_needs one;
	struct load l = {0};
	size(&p, o, r ? r->t : &none, &options);
	if (r && r->n)
		l = load_of(&p, r, o->first_only);
	double calls = l.calls > 0 ? l.calls : 1, rows = l.rows > 0 ? l.rows : 1;
	layered_foretell(&options, &(struct layered_load){l.rows / calls, l.outs / calls, l.attended / rows}, &one);
	*out = (struct pass_needs){.memory_bytes = one.memory_bytes, .nfunction = one.nfunction, .embed = l.calls * one.embed,
		.half = {l.calls * one.half[0], l.calls * one.half[1]}, .head = l.calls * one.head,
		.compare = l.calls * one.compare};
	uint64_t residual = (uint64_t)options.rows * (uint64_t)p.state->config.width * sizeof(float);
	out->memory_bytes += (2 * (uint64_t)p.state->config.layers + 1 + streams) * p.nphase * residual;
}

bool pass_open(struct pass *p, const struct pass_options *o, const struct token_table *t, struct err *e)
{
	struct layered_options options;
	size(p, o, t, &options);
	if (!layered_open(&p->layered, &options, e))
		return false;
	p->phase = arena_array(&p->arena, struct layered_rows, p->nphase);
	for (size_t i = 0; i < p->nphase; i++)
		phase_alloc(&p->arena, &p->phase[i], p->most_rows);
	for (size_t i = 0; i < NELEM(p->number); i++)
		p->number[i] = arena_array(&p->arena, float, p->most_rows);
	p->nhalf = 2 * (size_t)p->state->config.layers;
	p->before = arena_array(&p->arena, float **, p->nhalf + 1);
	for (size_t h = 0; h <= p->nhalf; h++)
		p->before[h] = pass_streams(p);
	return true;
}

bool pass_ok(const struct pass *p, struct err *e)
{
	return layered_ok(p->layered, e);
}

void pass_release(struct pass *p)
{
	layered_free(p->layered);
	arena_release(&p->arena);
	arena_release(&p->batch);
	*p = (struct pass){0};
}

size_t pass_batch(const struct pass *p, const struct token_table *t, const uint64_t *record, size_t n)
{
	uint64_t rows = 0;
	size_t i = 0;
	for (; i < n; i++) {
		rows += t->record[record[i]].total_tokens; /* covers rows, outputs and slots of every phase */
		if (i && rows > p->most_rows)
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

static void add_target(struct pass *p, size_t phase, uint32_t target, struct pass_share to)
{
	struct layered_rows *r = &p->phase[phase];
	r->out[r->nout] = (int32_t)r->nrow - 1;
	r->target[r->nout] = (int32_t)target;
	p->share[phase][r->nout++] = to;
}

static void lay_out_record(struct pass *p, uint32_t record, uint32_t *base)
{
	const struct token_row *r = &p->row[record];
	struct layered_rows *first = &p->phase[0];
	int64_t before = first->nrow;
	uint32_t longest = 0;
	for (uint32_t i = 0; i < r->prompt_tokens; i++)
		add_token(first, r->token[i], *base, i);
	for (uint32_t a = 0; a < r->nanswer; a++) {
		const uint32_t *answer = r->token + token_row_answer_at(r, a);
		uint32_t n = r->answer_tokens[a];
		size_t phase = r->nanswer > 1 ? 1 + a : 0;
		struct pass_share to = {record, a};
		if (phase >= p->nphase)
			break;
		if (n > longest)
			longest = n;
		if (n && r->prompt_tokens)
			add_target(p, 0, answer[0], to);
		for (uint32_t i = 0; i + 1 < n; i++) {
			add_token(&p->phase[phase], answer[i], *base, r->prompt_tokens + i);
			add_target(p, phase, answer[i + 1], to);
		}
	}
	p->rows[record] = (uint32_t)(first->nrow - before);
	*base += r->prompt_tokens + longest;
}

static void lay_out(struct pass *p, const struct token_table *t, const uint64_t *record, size_t n)
{
	struct arena *a = &p->batch;
	uint32_t base = 0;
	arena_release(a);
	p->n = n;
	p->row = arena_array(a, struct token_row, n);
	p->rows = arena_array(a, uint32_t, n);
	p->nll = arena_array(a, double *, n);
	p->share = arena_array(a, struct pass_share *, p->nphase);
	for (size_t i = 0; i < p->nphase; i++) {
		p->share[i] = arena_array(a, struct pass_share, p->most_rows);
		p->phase[i].nrow = p->phase[i].nout = 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		p->row[i] = token_table_row(t, record[i]);
		p->nll[i] = arena_array(a, double, p->row[i].nanswer + 1);
		lay_out_record(p, i, &base);
	}
	for (size_t i = 0; i < p->nphase; i++)
		layered_send(p->layered, &p->phase[i]);
}

/* ---- running ---- */

bool pass_has(const struct pass *p, size_t h)
{
	return (h % 2 ? p->state->has_mlp : p->state->has_attn)[h / 2];
}

size_t pass_place(struct unit u)
{
	return 2 * (size_t)u.layer + (u.kind == UNIT_MLP);
}

void pass_half(struct pass *p, size_t h, float **x, float **y)
{
	for (size_t i = 0; i < p->nphase; i++)
		if (p->phase[i].nrow)
			layered_half(p->layered, &p->phase[i],
				&(struct layered_half){(enum half)(h % 2), (int)(h / 2), x[i], y[i]});
}

void pass_run(struct pass *p, const struct token_table *t, const uint64_t *record, size_t n)
{
	lay_out(p, t, record, n);
	for (size_t i = 0; i < p->nphase; i++)
		if (p->phase[i].nrow)
			layered_embed(p->layered, &p->phase[i], p->before[0][i]);
	for (size_t h = 0; h < p->nhalf; h++) {
		if (pass_has(p, h)) {
			pass_half(p, h, p->before[h], p->before[h + 1]);
			continue;
		}
		for (size_t i = 0; i < p->nphase; i++)
			layered_copy(p->layered, p->before[h + 1][i], p->before[h][i], p->phase[i].nrow);
	}
}

void pass_nll(struct pass *p, float **x)
{
	float *nll = p->number[0];
	for (size_t i = 0; i < p->n; i++)
		memset(p->nll[i], 0, p->row[i].nanswer * sizeof(double));
	for (size_t i = 0; i < p->nphase; i++) {
		if (!p->phase[i].nout)
			continue;
		layered_nll(p->layered, &p->phase[i], x[i], nll);
		for (int64_t k = 0; k < p->phase[i].nout; k++)
			p->nll[p->share[i][k].record][p->share[i][k].answer] += (double)nll[k];
	}
}

void pass_compare(struct pass *p, float **x, float **y, struct pass_change *change)
{
	const struct layered_compare c = {x[0], y[0], p->number[0], p->number[1], p->number[2]};
	int64_t row = 0;
	if (p->phase[0].nrow)
		layered_compare(p->layered, &p->phase[0], &c);
	for (size_t i = 0; i < p->n; i++) {
		change[i] = (struct pass_change){0};
		for (uint32_t k = 0; k < p->rows[i]; k++, row++) {
			change[i].distance += (double)c.distance[row];
			change[i].norm2 += (double)c.norm2[row];
			change[i].last_angle = (double)c.angle[row];
		}
	}
}
