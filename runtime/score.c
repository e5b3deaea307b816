#include "score.h"

#include <stdlib.h>
#include <string.h>

#include "sample.h"

struct tally {
	const uint32_t *token; /* the tokens that the rows shown predict */
	size_t nvocab;
	double sum;
};

static void add_row(void *ctx, size_t index, const float *logits)
{
	struct tally *t = ctx;
	t->sum += sample_nll(logits, t->nvocab, t->token[index]);
}

/* Feeds fed[0..n) and adds the nll of next[i] behind fed[i]. */
static void feed(struct session *s, struct sequence *q, const uint32_t *fed, size_t n,
	const uint32_t *next, double *sum)
{
	struct tally t = {next, (size_t)s->nvocab, *sum};
	if (n)
		session_prefill_all(s, q, fed, n, add_row, &t);
	*sum = t.sum;
}

double score_sequence(struct session *s, const uint32_t *token, size_t n, size_t from)
{
	struct sequence q = {0};
	double sum = 0;
	if (from > 1)
		session_prefill(s, &q, token, from - 1);
	if (n > from)
		feed(s, &q, token + from - 1, n - from, token + from, &sum);
	return sum;
}

uint32_t score_row_tokens(const struct token_row *row, uint32_t answer)
{
	uint32_t n = row->answer_tokens[answer];
	return n && !row->prompt_tokens ? n - 1 : n;
}

uint64_t score_row_slots(const struct token_row *row)
{
	uint32_t longest = 0;
	for (uint32_t i = 0; i < row->nanswer; i++)
		if (row->answer_tokens[i] > longest)
			longest = row->answer_tokens[i];
	return (uint64_t)row->prompt_tokens + (longest ? longest - 1 : 0);
}

size_t score_rows_fit(const struct session *s, const struct token_row *row, size_t n)
{
	uint64_t slots = 0;
	for (size_t i = 0; i < n; i++) {
		slots += score_row_slots(&row[i]);
		if (slots > s->context)
			return i;
	}
	return n;
}

struct scored {
	const struct token_row *row;
	const uint32_t *answer; /* its tokens */
	uint32_t which, n;      /* of the row's answers; its tokens */
	struct sequence q;
	double *nll; /* of the row's answers */
};

struct batch {
	struct session *s;
	struct scored *row;
	size_t nrow;
	struct feed *feed;
	struct scored **fed; /* the row of each feed */
	size_t nfeed;
};

static void add_feed(struct batch *b, struct scored *r, const uint32_t *token, size_t n, size_t from)
{
	if (!n)
		return;
	b->fed[b->nfeed] = r;
	b->feed[b->nfeed++] = (struct feed){&r->q, token, n, from};
}

/* The last logits of a prompt rate the first token of every answer. */
static void add_first(void *ctx, size_t feed, size_t index, const float *logits)
{
	struct batch *b = ctx;
	struct scored *r = b->fed[feed];
	size_t prompt = r->row->prompt_tokens, nvocab = (size_t)b->s->nvocab;
	if (index + 1 != prompt) {
		r->nll[0] += sample_nll(logits, nvocab, r->answer[index + 1 - prompt]);
		return;
	}
	const uint32_t *at = r->row->token + prompt;
	for (uint32_t i = 0; i < r->row->nanswer; at += r->row->answer_tokens[i++])
		if (r->row->answer_tokens[i])
			r->nll[i] = sample_nll(logits, nvocab, at[0]);
}

static void add_next(void *ctx, size_t feed, size_t index, const float *logits)
{
	struct batch *b = ctx;
	struct scored *r = b->fed[feed];
	r->nll[r->which] += sample_nll(logits, (size_t)b->s->nvocab, r->answer[index + 1]);
}

static void next_answer(struct scored *r)
{
	r->answer += r->n;
	r->which++;
	r->n = r->which < r->row->nanswer ? r->row->answer_tokens[r->which] : 0;
	r->q.n = r->row->prompt_tokens;
}

/* Every prompt with its first answer, then the second answers of all, and so on. */
static void run_batch(struct batch *b)
{
	bool more = false;
	for (size_t i = 0; i < b->nrow; i++) {
		struct scored *r = &b->row[i];
		uint32_t prompt = r->row->prompt_tokens;
		add_feed(b, r, r->row->token, prompt + (r->n ? r->n - 1 : 0), prompt ? prompt - 1 : 0);
	}
	session_feed(b->s, b->feed, b->nfeed, add_first, b);
	do {
		more = false;
		b->nfeed = 0;
		for (size_t i = 0; i < b->nrow; i++) {
			struct scored *r = &b->row[i];
			if (r->which + 1 >= r->row->nanswer)
				continue;
			next_answer(r);
			add_feed(b, r, r->answer, r->n ? r->n - 1 : 0, 0);
			more = true;
		}
		session_feed(b->s, b->feed, b->nfeed, add_next, b);
	} while (more);
}

void score_rows(struct session *s, const struct token_row *row, size_t n, double *nll)
{
	struct batch b = {s, xcalloc(n, sizeof *b.row), n, xcalloc(n, sizeof *b.feed),
		xcalloc(n, sizeof *b.fed), 0};
	uint64_t base = 0;
	for (size_t i = 0; i < n; i++) {
		const struct token_row *r = &row[i];
		memset(nll, 0, r->nanswer * sizeof *nll);
		b.row[i] = (struct scored){r, r->token + r->prompt_tokens, 0,
			r->nanswer ? r->answer_tokens[0] : 0, {(uint32_t)base, 0}, nll};
		base += score_row_slots(r);
		nll += r->nanswer;
	}
	if (base > s->context)
		BUG("%zu rows of %llu slots in a context of %u", n, (unsigned long long)base, s->context);
	run_batch(&b);
	free(b.row);
	free(b.feed);
	free(b.fed);
}

void score_answers(struct session *s, const struct token_row *row, double *nll)
{
	score_rows(s, row, 1, nll);
}

size_t score_choice(const double *nll, size_t n)
{
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		if (nll[i] < nll[best])
			best = i;
	return best;
}

void score_windows(struct session *s, const uint32_t *token, size_t n, int64_t start,
	uint32_t window, struct score_text *sum)
{
	size_t nstart = start >= 0, room = window - nstart;
	if (window <= nstart)
		BUG("windows of %u tokens", window);
	uint32_t *w = xmalloc(window * sizeof *w);
	for (size_t at = 0; at < n; at += room) {
		size_t fill = n - at < room ? n - at : room;
		if (nstart)
			w[0] = (uint32_t)start;
		memcpy(w + nstart, token + at, fill * sizeof *w);
		if (nstart + fill < 2)
			continue;
		sum->nll += score_sequence(s, w, nstart + fill, 1);
		sum->tokens += nstart + fill - 1;
	}
	free(w);
}
