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
