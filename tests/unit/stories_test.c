/* Real models through generated code, in this process: text letter for letter, equal logits from GGUF
 * and HF, in prefill and decode, for any chunking, thread count and target; removals ranked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "file.h"
#include "stories.h"

static uint32_t greedy(const float *logits, int64_t n)
{
	int64_t best = 0;
	for (int64_t i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return (uint32_t)best;
}

TEST(stories260k_prints_the_known_text)
{
	const char *data = test_data();
	char path[512];
	struct strbuf want, got;
	struct running r;
	struct err e;
	if (!data)
		return;
	strbuf_init(&want);
	strbuf_init(&got);
	snprintf(path, sizeof(path), "%s/models/stories260K/greedy-200-steps.txt", data);
	REQUIRE(file_read(&want, path, &e));
	snprintf(path, sizeof(path), "%s/models/stories260K/stories260K.gguf", data);
	struct setting s = {.path = path, .target = target_native(), .numerics = NUMERICS_F32, .nthreads = 2,
		.rows = 16, .gone = -1};
	REQUIRE(stories_start(&r, &s));
	struct sequence q = {0};
	uint32_t token = r.tokenizer.start_id;
	struct tokenizer_stream stream;
	tokenizer_stream_init(&stream, &r.tokenizer, TOKENIZER_AT_START);
	for (int i = 0; i < 200; i++) {
		token = greedy(session_decode(&r.session, &q, token), r.session.nvocab);
		if (token == r.tokenizer.start_id)
			break;
		tokenizer_stream_put(&stream, token, &got);
	}
	tokenizer_stream_end(&stream, &got);
	while (want.n && want.s[want.n - 1] == '\n')
		want.s[--want.n] = '\0';
	got.s[got.n < want.n ? got.n : want.n] = '\0';
	CHECK_STR(got.s, want.s);
	stories_stop(&r);
	strbuf_release(&want);
	strbuf_release(&got);
}

enum { NTOKENS = 90 };

/* Logits of NTOKENS fixed tokens, by prefill or one by one. */
static float *logits_of(const struct setting *s, bool decode, int64_t *nvocab)
{
	struct running r;
	struct sequence q = {0};
	uint32_t token[NTOKENS];
	if (!stories_start(&r, s))
		return NULL;
	struct logits l = {calloc((size_t)(NTOKENS * r.session.nvocab), sizeof(float)), r.session.nvocab};
	for (int i = 0; i < NTOKENS; i++)
		token[i] = i ? 3 + (uint32_t)(i * 37 % 90) : 1;
	if (decode)
		for (int i = 0; i < NTOKENS; i++)
			logits_keep(&l, (size_t)i, session_decode(&r.session, &q, token[i]));
	else
		session_prefill_all(&r.session, &q, token, NTOKENS, logits_keep, &l);
	*nvocab = r.session.nvocab;
	stories_stop(&r);
	return l.all;
}

TEST(logits_do_not_depend_on_how_they_are_computed)
{
	const char *data = test_data();
	char gguf[512], hf[512];
	if (!data)
		return;
	snprintf(gguf, sizeof(gguf), "%s/models/stories260K/stories260K.gguf", data);
	snprintf(hf, sizeof(hf), "%s/models/stories260K/hf", data);
	for (int numerics = 0; numerics < NNUMERICS; numerics++) {
		if (!class_is_walked(numerics))
			continue;
		struct setting base = {.path = gguf, .target = target_find("x86-64-v3"),
			.numerics = (enum numerics)numerics, .nthreads = 1, .rows = 64, .gone = -1};
		int64_t n;
		float *want = logits_of(&base, false, &n);
		REQUIRE(want);
		for (int variant = 0; variant < 5 + ntargets; variant++) {
			struct setting s = base;
			if (variant == 1)
				s.path = hf;
			if (variant == 2)
				s.nthreads = 2;
			if (variant == 3)
				s.rows = 7;
			if (variant == 4)
				s.rows = 100;
			if (variant >= 5)
				s.target = &targets[variant - 5];
			if (!target_runs_here(s.target))
				continue;
			float *got = logits_of(&s, variant == 0, &n);
			REQUIRE(got);
			if (memcmp(want, got, (size_t)(NTOKENS * n) * sizeof(float)))
				FAIL("class %s, variant %d (%s): other bits", numerics_classes[numerics].name,
					variant, s.target->name);
			free(got);
		}
		free(want);
	}
}

/* What integers cost, in nats a token over the first tokens of cased TinyStories: the weights' bound and the
 * cache's together. A cache that is read where nothing was written to costs nats. */
TEST(classes_of_integers_cost_little)
{
#define ONE(...) +1
	enum { WEIGHTS = NUMERICS_WEIGHTS(ONE), CACHES = NUMERICS_CACHES(ONE, 0) };
#undef ONE
	static const double most_of_cache[NDTYPES] = {[DT_BF16] = 0.004, [DT_F16] = 0.002, [DT_C8] = 0.01};
	static const struct {
		const char *model;
		double most[WEIGHTS]; /* from f32 */
	} models[] = {{"babyllama105", {0, 0.005, 0.005, 0.08, 0.005, 0.05, 0.05}},
		{"stories260K/hf", {0, 0.005, 0.005, 0.14, 0.005, 0.11, 0.11}}};
	const char *data = test_data();
	char path[512];
	struct strbuf text;
	if (!stories_text(&text))
		return;
	for (size_t i = 0; i < NELEM(models); i++) {
		double f32 = 0;
		snprintf(path, sizeof(path), "%s/models/%s", data, models[i].model);
		for (int n = 0; n < NNUMERICS; n++) {
			if (!class_is_walked(n))
				continue;
			struct setting s = {.path = path, .target = target_native(), .numerics = (enum numerics)n,
				.nthreads = 2, .rows = 256, .gone = -1};
			double nll = stories_nll(&s, &text, 6000);
			f32 = n == NUMERICS_F32 ? nll : f32;
			double most = models[i].most[n / CACHES] + most_of_cache[numerics_classes[n].kv];
			printf("%s %s: %.4f nats a token\n", models[i].model, numerics_classes[n].name, nll);
			CHECK(fabs(nll - f32) <= most);
		}
	}
	strbuf_release(&text);
}

TEST(babyllama105_nll_and_removals)
{
	const char *data = test_data();
	char path[512];
	struct strbuf text;
	if (!stories_text(&text))
		return;
	snprintf(path, sizeof(path), "%s/models/babyllama105", data);
	struct setting s = {.path = path, .target = target_native(), .numerics = NUMERICS_F32, .nthreads = 2,
		.rows = 256, .gone = -1};
	double full = stories_nll(&s, &text, 1000000);
	printf("babyllama105: %.4f nats a token on cased TinyStories\n", full);
	CHECK(fabs(full - 0.84) < 0.05);
	double last = INFINITY;
	for (s.gone = 0; s.gone < 5; s.gone++) { /* 4.56 3.41 2.81 2.30 1.83 */
		double nll = stories_nll(&s, &text, 15000);
		printf("without layer %d: %.2f\n", s.gone, nll);
		CHECK(nll > full + 0.5 && nll < last);
		last = nll;
	}
	strbuf_release(&text);
}
