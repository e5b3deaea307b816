/*
 * How likely a model finds given tokens. The binary's `score` and `predict` and the compiler's
 * evaluate rule go through here, so both print the same digits.
 *
 * The nll of a token is -log of the probability that the model gives it after all tokens before it
 * in its sequence, in nats. A sequence's first token has none. Sums run in the order of tokens, in
 * double.
 */
#ifndef SCORE_H
#define SCORE_H

#include "model_run.h"
#include "task.h"

/* Sum of the nll of token[from .. n), 1 <= from <= n. n at most context + 1: the last token is not
 * fed. */
double score_sequence(struct session *s, const uint32_t *token, size_t n, size_t from);

/* nll[i]: sum over the tokens of answer i behind the prompt, which runs once. A row without prompt
 * tokens bears no loss on the first token of its answers. */
void score_answers(struct session *s, const struct token_row *row, double *nll);

/* The same bits for several rows side by side, which short rows need to fill a call. nll holds those of
 * the first row's answers, then of the second's. The rows must fit: n <= score_rows_fit(). */
void score_rows(struct session *s, const struct token_row *row, size_t n, double *nll);

/* How many of the rows, from the first, the context holds side by side; 0: the first is too long. */
size_t score_rows_fit(const struct session *s, const struct token_row *row, size_t n);

/* Slots that a row takes: the last token of an answer is not fed. */
uint64_t score_row_slots(const struct token_row *row);

/* Tokens of answer i that bear a loss. */
uint32_t score_row_tokens(const struct token_row *row, uint32_t answer);

/* The most likely answer: the least sum of nll, without regard to length; the first of equals. */
size_t score_choice(const double *nll, size_t n);

/* A text in windows: each begins with the start token (-1: none, then the first token of a window
 * bears no loss) and holds up to `window` tokens; every other token is predicted once. */
struct score_text {
	double nll;      /* sum */
	uint64_t tokens; /* predicted ones */
};
void score_windows(struct session *s, const uint32_t *token, size_t n, int64_t start,
	uint32_t window, struct score_text *sum); /* added to */

#endif
