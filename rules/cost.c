#include "cost.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "sample.h"
#include "tokens.h"

static void add_token(struct cost *sum, const float *unquantised, const float *quantised, size_t nvocab,
	uint32_t token)
{
	sum->nll += sample_nll(quantised, nvocab, token);
	sum->unquantised_nll += sample_nll(unquantised, nvocab, token);
	sum->kl += sample_kl(unquantised, quantised, nvocab);
	sum->same += sample_argmax(unquantised, nvocab) == sample_argmax(quantised, nvocab);
	sum->tokens++;
}

/* A call of both at a time, so that the logits of both are there. token[i + 1] follows token[i]. */
static void add_sequence(struct cost *sum, const struct cost_pair *pair, const uint32_t *token, size_t n,
	size_t from)
{
	struct session *u = pair->unquantised, *q = pair->quantised;
	struct sequence at_u = {0}, at_q = {0};
	size_t nvocab = (size_t)u->nvocab;
	size_t most = (size_t)(u->max_out < u->max_rows ? u->max_out : u->max_rows);
	for (size_t at = 0, fit; at < n; at += fit) {
		fit = n - at < most ? n - at : most;
		size_t first = from <= at ? 0 : from - at < fit ? from - at : fit;
		session_feed(u, &(struct feed){&at_u, token + at, fit, first}, 1, NULL, NULL);
		session_feed(q, &(struct feed){&at_q, token + at, fit, first}, 1, NULL, NULL);
		for (size_t i = first; i < fit; i++)
			add_token(sum, u->logits + (i - first) * nvocab, q->logits + (i - first) * nvocab, nvocab,
				token[at + i + 1]);
	}
}

void cost_add_row(struct cost *sum, const struct cost_pair *pair, const struct token_row *row)
{
	struct cost one = {0};
	if (row->gold < 0)
		return;
	uint32_t gold = (uint32_t)row->gold, prompt = row->prompt_tokens, answer = row->answer_tokens[gold];
	if (!answer)
		return;
	uint32_t *token = xmalloc(((size_t)prompt + answer) * sizeof(*token));
	memcpy(token, row->token, prompt * sizeof(*token));
	memcpy(token + prompt, row->token + token_row_answer_at(row, gold), answer * sizeof(*token));
	add_sequence(&one, pair, token, (size_t)prompt + answer - 1, prompt ? prompt - 1 : 0);
	free(token);
	sum->nll += one.nll;
	sum->unquantised_nll += one.unquantised_nll;
	sum->kl += one.kl;
	sum->tokens += one.tokens;
	sum->same += one.same;
}

void cost_write(struct strbuf *out, const struct cost *sum, uint64_t rows)
{
	strbuf_addf(out, "{\"rows\":%llu,\"tokens\":%llu", (unsigned long long)rows,
		(unsigned long long)sum->tokens);
	if (sum->tokens) {
		double n = (double)sum->tokens, nll = sum->nll / n, unquantised = sum->unquantised_nll / n;
		json_add_number(out, "nll", nll);
		json_add_number(out, "perplexity", sample_exp(nll));
		json_add_number(out, "unquantised_nll", unquantised);
		json_add_number(out, "unquantised_perplexity", sample_exp(unquantised));
		json_add_number(out, "kl", sum->kl / n);
		json_add_number(out, "same_argmax", (double)sum->same / n);
	}
	strbuf_addc(out, '}');
}
