/* Sampling: against libm and a plain sort, and the same draws for ever. */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "logits.h"
#include "sample.h"

TEST(exp_agrees_with_libm)
{
	struct rng r;
	rng_init(&r, 1);
	for (int i = 0; i < 100000; i++) {
		double x = (rng_uniform(&r) - 0.5) * (i % 3 ? 20 : 1370);
		double want = exp(x), got = sample_exp(x);
		if (fabs(got - want) > 4e-16 * want)
			FAIL("exp(%.17g) = %.17g, not %.17g", x, got, want);
	}
	CHECK(sample_exp(0) == 1);
	CHECK(sample_exp(-HUGE_VAL) == 0);
	CHECK(sample_exp(-800) == 0);
	CHECK(isinf(sample_exp(800)));
	CHECK(isnan(sample_exp(NAN)));
}

static double reference_nll(const float *logits, size_t n, uint32_t token)
{
	long double most = -HUGE_VALL, sum = 0;
	for (size_t i = 0; i < n; i++)
		most = logits[i] > most ? logits[i] : most;
	for (size_t i = 0; i < n; i++)
		sum += expl(logits[i] - most);
	return (double)(logl(sum) - (logits[token] - most));
}

/* What the header promises of argmax, element by element. */
static size_t plain_argmax(const float *x, size_t n)
{
	size_t most = 0;
	float greatest = -HUGE_VALF;
	for (size_t i = 0; i < n; i++)
		if (x[i] > greatest) {
			greatest = x[i];
			most = i;
		}
	return most;
}

static double plain_exp_sum(const float *x, size_t n, double most)
{
	double lane[8] = {0};
	for (size_t i = 0; i < n; i++) {
		double d = (double)x[i] - most;
		lane[i % 8] += logits_exp(d > -690 ? d : -690);
	}
	for (size_t half = 4; half; half /= 2)
		for (size_t i = 0; i < half; i++)
			lane[i] += lane[i + half];
	return lane[0];
}

TEST(every_cpu_adds_up_logits_to_the_same_bits)
{
	struct cpu cpu;
	struct rng r;
	float p[203], q[203];
	size_t ran = 0;
	cpu_read(&cpu);
	rng_init(&r, 7);
	for (size_t c = 0; c < nlogits_codes; c++) {
		if (!cpu_has_all(&cpu, logits_codes[c].needs, NULL))
			continue;
		ran++;
		for (int i = 0; i < 3000; i++) {
			size_t n = 1 + rng_below(&r, NELEM(p));
			double scale = i % 3 ? 12 : 1500;
			for (size_t k = 0; k < n; k++) {
				p[k] = (float)(rng_below(&r, 40) * scale / 40);
				q[k] = rng_below(&r, 50) ? (float)(rng_uniform(&r) * scale) : i % 2 ? NAN : -HUGE_VALF;
			}
			CHECK_INT(logits_codes[c].argmax(p, n), plain_argmax(p, n));
			CHECK_INT(logits_codes[c].argmax(q, n), plain_argmax(q, n));
			double most = (double)p[plain_argmax(p, n)], sum = logits_codes[c].exp_sum(p, n, most);
			if (sum != plain_exp_sum(p, n, most))
				FAIL("'%s', %d logits: %.17g, not %.17g", logits_codes[c].needs, (int)n, sum,
					plain_exp_sum(p, n, most));
			double kl = logits_codes[c].kl_sum(p, q, n, most, scale);
			if (kl != logits_codes[0].kl_sum(p, q, n, most, scale))
				FAIL("'%s': kl of %d logits differs", logits_codes[c].needs, (int)n);
		}
	}
	CHECK(ran > 0 && logits_here() == &logits_codes[ran - 1]);
}

TEST(nll_agrees_with_long_double)
{
	struct rng r;
	rng_init(&r, 2);
	float logits[1003];
	for (int i = 0; i < 2000; i++) {
		size_t n = 1 + rng_below(&r, 1003);
		double scale = i % 4 == 0 ? 600 : i % 4 == 1 ? 1e-3 : 12;
		for (size_t k = 0; k < n; k++)
			logits[k] = (float)((rng_uniform(&r) - 0.5) * scale);
		uint32_t token = (uint32_t)rng_below(&r, n);
		double want = reference_nll(logits, n, token), got = sample_nll(logits, n, token);
		if (fabs(got - want) > 1e-13 + 1e-14 * want)
			FAIL("nll of %d logits: %.17g, not %.17g", (int)n, got, want);
	}
	float wild[4] = {NAN, 1, -HUGE_VALF, 1};
	CHECK(fabs(sample_nll(wild, 4, 1) - log(2)) < 1e-15);
	CHECK(isinf(sample_nll(wild, 4, 2)));
}

static double reference_kl(const float *p, const float *q, size_t n)
{
	long double sum = 0;
	for (size_t i = 0; i < n; i++) {
		long double log_p = 0, log_q = 0;
		for (size_t k = 0; k < n; k++) {
			log_p += expl((long double)p[k] - p[i]);
			log_q += expl((long double)q[k] - q[i]);
		}
		sum += (logl(log_q) - logl(log_p)) / log_p;
	}
	return (double)sum;
}

TEST(kl_agrees_with_long_double)
{
	struct rng r;
	rng_init(&r, 3);
	float p[203], q[203];
	for (int i = 0; i < 400; i++) {
		size_t n = 1 + rng_below(&r, 203);
		double scale = i % 4 == 0 ? 600 : i % 4 == 1 ? 1e-3 : 12, change = i % 3 ? scale / 50 : scale;
		for (size_t k = 0; k < n; k++) {
			p[k] = (float)((rng_uniform(&r) - 0.5) * scale);
			q[k] = p[k] + (float)((rng_uniform(&r) - 0.5) * change);
		}
		double want = reference_kl(p, q, n), got = sample_kl(p, q, n);
		if (!(fabs(got - want) <= 1e-13 + 1e-13 * want))
			FAIL("kl of %d logits: %.17g, not %.17g", (int)n, got, want);
		CHECK(got >= 0);
		CHECK(sample_kl(p, p, n) == 0);
		for (size_t k = 0; k < n; k++)
			q[k] = nextafterf(p[k], 0);
		CHECK(sample_kl(p, q, n) >= 0);
	}
	float none[2] = {NAN, -HUGE_VALF}, some[2] = {0, 0}, one[2] = {-HUGE_VALF, 0};
	CHECK(isnan(sample_kl(none, some, 2)) && isnan(sample_kl(some, none, 2)));
	CHECK(fabs(sample_kl(one, some, 2) - log(2)) < 1e-15);
	CHECK(sample_kl(one, one, 2) == 0);
}

TEST(argmax_takes_the_first_of_equals_and_no_nan)
{
	CHECK_INT(sample_argmax((float[]){1, 3, 3, 2}, 4), 1);
	CHECK_INT(sample_argmax((float[]){NAN, -5, NAN}, 3), 1);
	CHECK_INT(sample_argmax((float[]){-1, NAN, 4}, 3), 2);
}

struct pair {
	double p;
	uint32_t id;
};

static int likelier(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	return x->p < y->p ? 1 : x->p > y->p ? -1 : x->id < y->id ? -1 : 1;
}

/* Probabilities after temperature, top-k and top-p, by sorting everything. */
static void plain_filter(const float *logits, size_t n, const struct sampler *s, double *out)
{
	struct pair *q = malloc(n * sizeof *q);
	double all = 0, kept = 0, sum = 0;
	for (size_t i = 0; i < n; i++)
		q[i] = (struct pair){exp((double)logits[i] / s->temperature), (uint32_t)i};
	qsort(q, n, sizeof *q, likelier);
	size_t k = s->top_k && s->top_k < n ? s->top_k : n, m = 0;
	for (size_t i = 0; i < k; i++)
		all += q[i].p;
	memset(out, 0, n * sizeof *out);
	while (m < k && kept < s->top_p * all * (1 - 1e-12))
		kept += q[m++].p;
	for (size_t i = 0; i < m; i++)
		sum += q[i].p;
	for (size_t i = 0; i < m; i++)
		out[q[i].id] = q[i].p / sum;
	free(q);
}

TEST(draws_follow_the_filtered_distribution)
{
	enum { N = 40, DRAWS = 20000 };
	static const struct {
		double temperature, top_p;
		uint32_t top_k;
	} cases[] = {{1, 1, 0}, {0.5, 1, 0}, {2, 1, 7}, {1, 0.6, 0}, {1.3, 0.8, 12}, {1, 0.01, 0},
		{1, 1, 1}, {1, 1, 99}, {0.7, 0.9, 99}};
	struct rng r;
	rng_init(&r, 3);
	float logits[N];
	for (int i = 0; i < N; i++)
		logits[i] = (float)(int)rng_below(&r, 24) / 6; /* with equals */
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct sampler s;
		double want[N];
		int seen[N] = {0};
		sampler_init(&s, N, 5);
		s.temperature = cases[c].temperature;
		s.top_p = cases[c].top_p;
		s.top_k = cases[c].top_k;
		plain_filter(logits, N, &s, want);
		for (int i = 0; i < DRAWS; i++)
			seen[sampler_next(&s, logits)]++;
		for (int i = 0; i < N; i++) {
			double mean = want[i] * DRAWS, slack = 5 * sqrt(mean * (1 - want[i]));
			if (fabs(seen[i] - mean) > slack + (want[i] > 0))
				FAIL("case %d: token %d drawn %d times, not about %.0f", (int)c, i,
					seen[i], mean);
		}
		sampler_release(&s);
	}
}

TEST(a_seed_gives_the_same_tokens_for_ever)
{
	static const uint32_t golden[8] = {55, 81, 44, 96, 46, 36, 2, 28};
	float logits[97];
	struct sampler s;
	for (int i = 0; i < 97; i++)
		logits[i] = (float)(i * 37 % 97) / 32;
	sampler_init(&s, 97, 42);
	s.temperature = 0.8;
	s.top_p = 0.95;
	s.top_k = 50;
	for (int i = 0; i < 8; i++)
		CHECK_INT(sampler_next(&s, logits), golden[i]);
	s.temperature = 0;
	CHECK_INT(sampler_next(&s, logits), sample_argmax(logits, 97));
	sampler_release(&s);
}

TEST(probabilities_of_choices_sum_to_one)
{
	double p[3];
	sample_normalise((double[]){-1000, -1001, -1002}, 3, p);
	CHECK(fabs(p[0] + p[1] + p[2] - 1) < 1e-15);
	CHECK(fabs(p[1] / p[0] - exp(-1)) < 1e-15);
	sample_normalise((double[]){-7}, 1, p);
	CHECK(p[0] == 1);
}

TEST(logits_are_close_by_the_greatest)
{
	static const struct {
		float got[3];
		bool close;
	} cases[] = {{{-4, 1, 2}, true}, {{-4, 1.07f, 2}, true}, {{-4, 1.09f, 2}, false}, {{-3.9f, 1, 2}, false}, {{-4, NAN, 2}, false},
		{{NAN, 1, 2}, false}, {{-4, 1, INFINITY}, false}};
	static const float want[3] = {-4, 1, 2};
	for (size_t i = 0; i < NELEM(cases); i++)
		CHECK(logits_close(cases[i].got, want, 3, 0.02) == cases[i].close);
}
