#include "sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "logits.h"
#include "splitmix.h"

struct sample_candidate {
	float logit;
	uint32_t id;
};

#define LN2_HIGH 0x1.62e42fee00000p-1 /* ln 2 in two parts: n * high is exact for small n */
#define LN2_LOW 0x1.a39ef35793c76p-33

static double bits_double(uint64_t u)
{
	double d;
	memcpy(&d, &u, sizeof d);
	return d;
}

static uint64_t double_bits(double d)
{
	uint64_t u;
	memcpy(&u, &d, sizeof u);
	return u;
}

double sample_exp(double x)
{
	if (x != x)
		return x;
	if (x < -690)
		return 0;
	if (x > 709)
		return HUGE_VAL;
	return x > 350 ? logits_exp(350) * logits_exp(x - 350) : logits_exp(x);
}

/* 2^n m with m near 1; log m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.172, to s^21. */
double sample_log(double x)
{
	uint64_t u = double_bits(x);
	int64_t n = (int64_t)(u >> 52) - 1023;
	double m = bits_double((u & 0xfffffffffffff) | (uint64_t)1023 << 52);
	if (m > 1.4142135623730951) {
		m /= 2;
		n++;
	}
	double s = (m - 1) / (m + 1), z = s * s, p = 0;
	for (int k = 21; k >= 3; k -= 2)
		p = (p + 1.0 / k) * z;
	return (double)n * LN2_HIGH + ((double)n * LN2_LOW + 2 * s * (1 + p));
}

static float plain(float x)
{
	return x == x ? x : -HUGE_VALF;
}

uint32_t sample_argmax(const float *logits, size_t n)
{
	return (uint32_t)logits_here()->argmax(logits, n);
}

/* The greatest logit; NaN where that is not finite. */
static double greatest(const float *logits, size_t n)
{
	double most = (double)plain(logits[sample_argmax(logits, n)]);
	return most > -HUGE_VAL && most < HUGE_VAL ? most : (double)NAN;
}

/* log of the sum of exp(logits[i] - most). */
static double log_sum(const float *logits, size_t n, double most)
{
	return sample_log(logits_here()->exp_sum(logits, n, most));
}

double sample_nll(const float *logits, size_t n, uint32_t token)
{
	double most = greatest(logits, n);
	return most == most ? log_sum(logits, n, most) - ((double)logits[token] - most) : most;
}

/* With x and y the logits less their greatest: sum(e^x (x - y)) / sum(e^x) + log sum(e^y) - log sum(e^x). */
double sample_kl(const float *p, const float *q, size_t n)
{
	double most_p = greatest(p, n), most_q = greatest(q, n);
	if (most_p != most_p || most_q != most_q)
		return (double)NAN;
	double log_p = log_sum(p, n, most_p), log_q = log_sum(q, n, most_q);
	double kl = logits_here()->kl_sum(p, q, n, most_p, most_q) / sample_exp(log_p) + (log_q - log_p);
	return kl > 0 ? kl : 0; /* below 0 by rounding alone */
}

void sample_normalise(const double *log_weight, size_t n, double *probability)
{
	double most = log_weight[0], sum = 0;
	for (size_t i = 1; i < n; i++)
		if (log_weight[i] > most)
			most = log_weight[i];
	for (size_t i = 0; i < n; i++)
		sum += probability[i] = sample_exp(log_weight[i] - most);
	for (size_t i = 0; i < n; i++)
		probability[i] /= sum;
}

static uint64_t rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static uint64_t random_bits(uint64_t s[4])
{
	uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

void sampler_init(struct sampler *s, size_t nvocab, uint64_t seed)
{
	*s = (struct sampler){.top_p = 1, .nvocab = nvocab};
	s->candidate = xmalloc(nvocab * sizeof *s->candidate);
	for (int i = 0; i < 4; i++)
		s->rng[i] = splitmix64(&seed);
}

void sampler_release(struct sampler *s)
{
	free(s->candidate);
	*s = (struct sampler){0};
}

static bool goes_before(struct sample_candidate a, struct sample_candidate b)
{
	return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(struct sample_candidate *heap, size_t n, size_t at)
{
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && goes_before(heap[child + 1], heap[child]))
			child++;
		if (!goes_before(heap[child], heap[at]))
			return;
		struct sample_candidate c = heap[at];
		heap[at] = heap[child];
		heap[child] = c;
	}
}

/* Moves the best of what is left to the end, so that sorting stops as soon as enough are known:
 * candidate[n - 1], [n - 2], ... are the likeliest in order. */
static void pop(struct sample_candidate *heap, size_t n)
{
	struct sample_candidate c = heap[0];
	heap[0] = heap[n - 1];
	heap[n - 1] = c;
	sift_down(heap, n - 1, 0);
}

static double weight(const struct sampler *s, float logit, double most)
{
	return sample_exp(((double)logit - most) / s->temperature);
}

/* How many of the likeliest candidates stay; they are popped. */
static size_t filter(struct sampler *s, double most)
{
	struct sample_candidate *c = s->candidate;
	size_t n = s->nvocab, k = s->top_k && s->top_k < n ? s->top_k : n, kept = 0;
	double all = 0, sum = 0;
	for (size_t i = n / 2; i-- > 0;)
		sift_down(c, n, i);
	if (k < n) {
		while (kept < k) {
			pop(c, n - kept++);
			all += weight(s, c[n - kept].logit, most);
		}
		if (s->top_p >= 1)
			return kept;
	} else {
		for (size_t i = 0; i < n; i++)
			all += weight(s, c[i].logit, most);
	}
	size_t popped = kept;
	for (kept = 0; kept < k && sum < s->top_p * all;) {
		kept++;
		if (kept > popped)
			pop(c, n - kept + 1);
		sum += weight(s, c[n - kept].logit, most);
	}
	return kept;
}

uint32_t sampler_next(struct sampler *s, const float *logits)
{
	uint32_t best = sample_argmax(logits, s->nvocab);
	double most = (double)plain(logits[best]);
	if (s->temperature <= 0 || !(most > -HUGE_VAL && most < HUGE_VAL))
		return best;
	size_t n = s->nvocab, kept = n;
	struct sample_candidate *c = s->candidate;
	for (size_t i = 0; i < n; i++)
		c[n - 1 - i] = (struct sample_candidate){plain(logits[i]), (uint32_t)i};
	if (s->top_k || s->top_p < 1)
		kept = filter(s, most);
	double sum = 0;
	for (size_t i = 1; i <= kept; i++)
		sum += weight(s, c[n - i].logit, most);
	double at = (double)(random_bits(s->rng) >> 11) * 0x1p-53 * sum;
	for (size_t i = 1; i <= kept; i++) {
		at -= weight(s, c[n - i].logit, most);
		if (at < 0)
			return c[n - i].id;
	}
	return c[n - kept].id; /* only rounding leads here */
}
