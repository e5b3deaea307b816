#include "logits.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"

#define LN2_HIGH 0x1.62e42fee00000p-1 /* ln 2 in two parts: n * high is exact for small n */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define LOG2_E 0x1.71547652b82fep0
#define ROUNDING 0x1.8p52 /* adding it leaves a rounded integer in the low bits */
#define LEAST -690.0

enum { LANES = 8, PLACES = 16 };

typedef double doubles __attribute__((vector_size(LANES * 8)));
typedef int64_t longs __attribute__((vector_size(LANES * 8)));
typedef float floats __attribute__((vector_size(LANES * 4)));
typedef float places __attribute__((vector_size(PLACES * 4)));
typedef int32_t ints __attribute__((vector_size(PLACES * 4)));

/* Vectors pass by address: by value, their registers would depend on the CPU. */
#define CODE static inline __attribute__((always_inline))

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2, by Taylor's series to r^13 (the rest is below 2^-57). */
CODE void exp_lanes(doubles *x)
{
	static const double term[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
		1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
	doubles shifted = *x * LOG2_E + ROUNDING, n = shifted - ROUNDING;
	doubles r = (*x - n * LN2_HIGH) - n * LN2_LOW, p = r * (1.0 / 6227020800) + term[0];
	for (size_t i = 1; i < NELEM(term); i++)
		p = p * r + term[i];
	/* The low bits of `shifted` are n in two's complement. */
	*x = p * (doubles)(((longs)shifted + 1023) << 52);
}

/* n <= LANES elements less `most`, at least LEAST; lanes without one: LEAST. */
CODE void load_lanes(const float *x, size_t n, double most, doubles *out)
{
	floats f = {0};
	doubles low = (doubles){0} + LEAST;
	if (n < LANES)
		for (size_t i = 0; i < LANES; i++)
			f[i] = -HUGE_VALF;
	memcpy(&f, x, n * sizeof(*x));
	doubles d = __builtin_convertvector(f, doubles) - most;
	longs more = d > low;
	*out = (doubles)(((longs)d & more) | ((longs)low & ~more));
}

CODE double add_lanes(const doubles *x)
{
	double a[LANES];
	memcpy(a, x, sizeof(a));
	for (size_t half = LANES / 2; half; half /= 2)
		for (size_t i = 0; i < half; i++)
			a[i] += a[i + half];
	return a[0];
}

CODE double exp_sum(const float *x, size_t n, double most)
{
	doubles sum = {0}, d;
	size_t i = 0;
	for (; i + LANES <= n; i += LANES) {
		load_lanes(x + i, LANES, most, &d);
		exp_lanes(&d);
		sum += d;
	}
	if (i < n) {
		load_lanes(x + i, n - i, most, &d);
		exp_lanes(&d);
		sum += d;
	}
	return add_lanes(&sum);
}

CODE void add_kl(const float *p, const float *q, size_t n, double most_p, double most_q, doubles *sum)
{
	doubles a, b, e;
	load_lanes(p, n, most_p, &a);
	load_lanes(q, n, most_q, &b);
	e = a;
	exp_lanes(&e);
	*sum += e * (a - b);
}

CODE double kl_sum(const float *p, const float *q, size_t n, double most_p, double most_q)
{
	doubles sum = {0};
	size_t i = 0;
	for (; i + LANES <= n; i += LANES)
		add_kl(p + i, q + i, LANES, most_p, most_q, &sum);
	if (i < n)
		add_kl(p + i, q + i, n - i, most_p, most_q, &sum);
	return add_lanes(&sum);
}

/* Each place keeps the first of its greatest; of equal places the one that comes first. */
CODE size_t argmax(const float *x, size_t n)
{
	places best, v;
	ints at = {0}, turn = {0};
	float value[PLACES];
	int32_t index[PLACES];
	for (int i = 0; i < PLACES; i++)
		best[i] = -HUGE_VALF;
	size_t i = 0, most = 0;
	for (; i + PLACES <= n; i += PLACES, turn += 1) {
		memcpy(&v, x + i, sizeof(v));
		ints more = v > best;
		best = (places)(((ints)v & more) | ((ints)best & ~more));
		at = (turn & more) | (at & ~more);
	}
	memcpy(value, &best, sizeof(value));
	memcpy(index, &at, sizeof(index));
	float greatest = -HUGE_VALF;
	for (size_t k = 0; k < PLACES && i; k++) {
		size_t here = (size_t)index[k] * PLACES + k;
		if (value[k] > greatest || (value[k] == greatest && here < most)) {
			greatest = value[k];
			most = here;
		}
	}
	for (; i < n; i++)
		if (x[i] > greatest) {
			greatest = x[i];
			most = i;
		}
	return most;
}

double logits_exp(double x)
{
	doubles d = (doubles){0} + x;
	exp_lanes(&d);
	return d[0];
}

/* The functions above as code for one kind of CPU. */
#define VARIANT(name, attribute) \
	attribute static size_t argmax_##name(const float *x, size_t n) \
	{ \
		return argmax(x, n); \
	} \
	attribute static double exp_sum_##name(const float *x, size_t n, double most) \
	{ \
		return exp_sum(x, n, most); \
	} \
	attribute static double kl_sum_##name(const float *p, const float *q, size_t n, double a, double b) \
	{ \
		return kl_sum(p, q, n, a, b); \
	}
#define ROW(name, needs) {needs, argmax_##name, exp_sum_##name, kl_sum_##name}

VARIANT(plain, )
#ifdef __x86_64__
VARIANT(avx2, __attribute__((target("avx2"))))
VARIANT(avx512, __attribute__((target("avx512f,avx512dq,avx512vl"))))
#endif

const struct logits_code logits_codes[] = {
	ROW(plain, ""),
#ifdef __x86_64__
	ROW(avx2, "avx2"),
	ROW(avx512, "avx512f,avx512dq,avx512vl"),
#endif
};
const size_t nlogits_codes = NELEM(logits_codes);

const struct logits_code *logits_here(void)
{
	static _Atomic(const struct logits_code *) chosen;
	const struct logits_code *c = atomic_load_explicit(&chosen, memory_order_relaxed);
	if (c)
		return c;
	struct cpu cpu;
	cpu_read(&cpu);
	for (size_t i = 0; i < nlogits_codes; i++)
		if (cpu_has_all(&cpu, logits_codes[i].needs, NULL))
			c = &logits_codes[i];
	atomic_store_explicit(&chosen, c, memory_order_relaxed);
	return c;
}

static double size_of(double x)
{
	return x < 0 ? -x : x;
}

bool logits_close(const float *got, const float *want, size_t n, double apart)
{
	double most = 0;
	for (size_t i = 0; i < n; i++)
		most = size_of((double)want[i]) > most ? size_of((double)want[i]) : most;
	for (size_t i = 0; i < n; i++)
		if (!(size_of((double)got[i] - (double)want[i]) <= apart * most))
			return false;
	return true;
}
