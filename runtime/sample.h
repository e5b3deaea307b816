/*
 * What is done with a row of logits: the next token, and how likely a given one was. This is the only
 * tensor arithmetic that is not generated.
 *
 * Everything is double precision with an exp and log of our own and sums in index order, so the same
 * logits and seed give the same token and the same digits in `trim` and in every emitted binary.
 *
 * Order of the filters (as Hugging Face's generation applies them): logits / temperature, then top-k, then
 * top-p of what top-k left, then the draw. Equal logits: the lower id comes first. Logits that are NaN count
 * as minus infinity.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "base.h"

struct sampler {
	double temperature; /* 0: the likeliest token, whatever else is set */
	double top_p;       /* (0, 1]; 1: all */
	uint32_t top_k;     /* 0: all */
	uint64_t rng[4];    /* xoshiro256** (Blackman & Vigna 2018), seeded by splitmix64 */
	struct sample_candidate *candidate; /* nvocab, owned */
	size_t nvocab;
};

void sampler_init(struct sampler *s, size_t nvocab, uint64_t seed); /* greedy until fields are set */
void sampler_release(struct sampler *s);
uint32_t sampler_next(struct sampler *s, const float *logits);

uint32_t sample_argmax(const float *logits, size_t n);

/* -log(softmax(logits)[token]), in nats. */
double sample_nll(const float *logits, size_t n, uint32_t token);

/* How far softmax(q) is from softmax(p): the sum of p (log p - log q), in nats (Kullback & Leibler 1951). At
 * least 0, and 0 for equal logits; NaN where a row has no finite greatest logit. */
double sample_kl(const float *p, const float *q, size_t n);

/* exp(log_weight[i]) / sum of them all. n > 0. */
void sample_normalise(const double *log_weight, size_t n, double *probability);

/* For both signs and all magnitudes: overflow is infinity, underflow below 1e-300 is 0. */
double sample_exp(double x);

/* For normal x > 0. */
double sample_log(double x);

#endif
