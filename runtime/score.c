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

void score_answers(struct session *s, const struct token_row *row, double *nll)
{
	const uint32_t *answer = row->token + row->prompt_tokens;
	struct sequence q = {0};
	double *first = nll; /* the prompt's last logits are gone once an answer runs */
	if (row->prompt_tokens) {
		const float *logits = session_prefill(s, &q, row->token, row->prompt_tokens);
		const uint32_t *at = answer;
		for (uint32_t i = 0; i < row->nanswer; at += row->answer_tokens[i++])
			first[i] = row->answer_tokens[i]
				? sample_nll(logits, (size_t)s->nvocab, at[0]) : 0;
	} else {
		memset(first, 0, row->nanswer * sizeof *first);
	}
	for (uint32_t i = 0; i < row->nanswer; i++) {
		uint32_t n = row->answer_tokens[i];
		q.n = row->prompt_tokens;
		if (n > 1)
			feed(s, &q, answer, n - 1, answer + 1, &nll[i]);
		answer += n;
	}
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
