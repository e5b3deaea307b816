/*
 * Sums over a row of logits, the costly part of sample.h, in double precision and one order: element i goes to
 * lane i mod 8, then lanes are added as a tree (4, 2, 1 apart). The same C is compiled for several CPUs, without
 * contraction, so all of them give the same bits; the most capable that runs here is taken.
 */
#ifndef LOGITS_H
#define LOGITS_H

#include "base.h"

struct logits_code {
	const char *needs; /* of the CPU, names of cpu_has, commas; "": nothing */

	/* The greatest, the first of equals; NaN counts as minus infinity. n > 0. */
	size_t (*argmax)(const float *x, size_t n);
	/* Sum of exp(x[i] - most); an element below most - 690 counts as one at it: e^-690. */
	double (*exp_sum)(const float *x, size_t n, double most);
	/* Sum of exp(a) (a - b) with a = p[i] - most_p and b = q[i] - most_q, both at least -690. */
	double (*kl_sum)(const float *p, const float *q, size_t n, double most_p, double most_q);
};

extern const struct logits_code logits_codes[]; /* from plain to capable */
extern const size_t nlogits_codes;
const struct logits_code *logits_here(void);    /* decided once; from any thread */

/* Whether each is `apart` of the greatest of `want` from it, or nearer; NaN never is. */
bool logits_close(const float *got, const float *want, size_t n, double apart);

/* exp(x) for -700 <= x <= 700, as the sums have it: within 1 ulp or so. */
double logits_exp(double x);

#endif
