/* The runner over a hand-written model: chunks, sequences and threads change no bit. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "fake_model.h"
#include "model_run.h"

static _Alignas(64) float bias[FAKE_VOCAB];

static struct buf find_bias(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "bias") ? (struct buf){NULL, 0} : (struct buf){bias, sizeof bias};
}

static const struct param_source params = {NULL, find_bias};

/* What the model's text says, without any runner: the logits behind token[n - 1]. */
static void expected(const uint32_t *token, size_t n, float *logits)
{
	uint32_t h = 2166136261u + (uint32_t)(n - 1);
	for (size_t i = 0; i < n; i++)
		h = (h ^ token[i]) * 16777619u;
	for (uint32_t v = 0; v < FAKE_VOCAB; v++)
		logits[v] = (float)((h ^ v * 2654435761u) * 2246822519u >> 22) / 256.0f + bias[v];
}

static void check_row(const float *got, const uint32_t *token, size_t n)
{
	float want[FAKE_VOCAB];
	expected(token, n, want);
	if (memcmp(got, want, sizeof want))
		FAIL("other logits behind %d tokens", (int)n);
}

struct seen {
	const uint32_t *token;
	size_t before, n; /* tokens of the sequence before this call; rows shown so far */
};

static void see(void *ctx, size_t index, const float *logits)
{
	struct seen *s = ctx;
	CHECK_INT(index, s->n++);
	check_row(logits, s->token, s->before + index + 1);
}

TEST(chunks_decode_and_going_back_give_the_same_rows)
{
	uint32_t token[FAKE_SLOTS];
	struct rng r;
	rng_init(&r, 7);
	for (int i = 0; i < FAKE_SLOTS; i++)
		token[i] = (uint32_t)rng_below(&r, FAKE_VOCAB);
	for (int nthreads = 1; nthreads <= 3; nthreads++) {
		struct pool *pool = pool_new(nthreads);
		struct session s;
		struct err e;
		REQUIRE(pool && session_open(&s, trim_variant.program[0], &params, pool, FAKE_SLOTS, &e));
		CHECK_INT(s.nvocab, FAKE_VOCAB);
		for (size_t n = 1; n <= 40; n++) {
			struct sequence q = {.base = (uint32_t)n % 5};
			check_row(session_prefill(&s, &q, token, n), token, n);
			CHECK_INT(q.n, n);
			check_row(session_decode(&s, &q, token[n]), token, n + 1);
			q.n = (uint32_t)n / 2;
			struct seen seen = {token, n / 2, 0};
			session_prefill_all(&s, &q, token + n / 2, n - n / 2, see, &seen);
			CHECK_INT(seen.n, n - n / 2);
			CHECK_INT(q.n, n);
		}
		session_release(&s);
		pool_free(pool);
	}
}

TEST(sequences_side_by_side_do_not_see_each_other)
{
	struct pool *pool = pool_new(2);
	struct session s;
	struct err e;
	REQUIRE(pool && session_open(&s, trim_variant.program[0], &params, pool, FAKE_SLOTS, &e));
	uint32_t a[30], b[30];
	struct sequence qa = {0, 0}, qb = {48, 0};
	for (uint32_t i = 0; i < 30; i++) {
		a[i] = i * 7 % FAKE_VOCAB;
		b[i] = i * 31 % FAKE_VOCAB;
		check_row(session_decode(&s, &qa, a[i]), a, i + 1);
		check_row(session_decode(&s, &qb, b[i]), b, i + 1);
	}
	session_release(&s);
	pool_free(pool);
}

static struct buf find_nothing(void *ctx, const char *name)
{
	(void)ctx, (void)name;
	return (struct buf){NULL, 0};
}

static struct buf find_short(void *ctx, const char *name)
{
	(void)ctx, (void)name;
	return (struct buf){bias, sizeof bias - 4};
}

TEST(missing_and_short_weights_are_errors)
{
	struct pool *pool = pool_new(1);
	struct session s;
	struct err e;
	REQUIRE(pool);
	CHECK(!session_open(&s, trim_variant.program[0], &(struct param_source){NULL, find_nothing}, pool,
		FAKE_SLOTS, &e));
	CHECK_STR(e.msg, "weights of 'bias' are missing");
	CHECK(!session_open(&s, trim_variant.program[0], &(struct param_source){NULL, find_short}, pool,
		FAKE_SLOTS, &e));
	CHECK_STR(e.msg, "weights of 'bias' have 1032 bytes, 1036 were expected");
	pool_free(pool);
}

TEST(a_program_that_is_no_model_is_an_error)
{
	struct pool *pool = pool_new(1);
	struct session s;
	struct err e;
	REQUIRE(pool);
	struct program p = *trim_variant.program[0];
	struct program_external x[9];
	p.external = x;
	for (uint32_t i = 0; i < 9; i++) {
		memcpy(x, trim_variant.program[0]->external, sizeof x);
		if (x[i].kind == EXTERNAL_PARAM || x[i].kind == EXTERNAL_STATE)
			continue;
		x[i].name = "something";
		e.msg[0] = 0;
		CHECK(!session_open(&s, &p, &params, pool, FAKE_SLOTS, &e));
		CHECK(strstr(e.msg, "program 'step' ") == e.msg);
	}
	p = *trim_variant.program[0];
	p.abi++;
	CHECK(!session_open(&s, &p, &params, pool, FAKE_SLOTS, &e));
	p = *trim_variant.program[0];
	p.ndim = 1;
	CHECK(!session_open(&s, &p, &params, pool, FAKE_SLOTS, &e));
	pool_free(pool);
}
