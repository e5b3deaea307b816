/* Real models through generated code, in this process: text letter for letter, equal logits from GGUF
 * and HF, in prefill and decode, for any chunking, thread count and target; removals ranked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "file.h"
#include "model_run.h"
#include "packed.h"
#include "test.h"
#include "tok.h"
#include "tokenizer.h"

struct running {
	struct arena arena;
	struct model model;
	struct packed packed;
	struct strbuf object, tokens;
	struct loaded loaded;
	struct pool *pool;
	struct session session;
	struct tokenizer tokenizer;
	int context;
};

struct setting {
	const char *path;
	const struct target *target;
	enum numerics numerics;
	int nthreads, rows, gone; /* gone: a whole layer that is left out, -1 none */
};

static bool start(struct running *r, const struct setting *s)
{
	struct err e;
	bool half[64];
	memset(r, 0, sizeof(*r));
	strbuf_init(&r->object);
	strbuf_init(&r->tokens);
	if (!model_open(&r->model, s->path, &e) || !tok_read(&r->arena, s->path, &r->tokens, &e) ||
		!tokenizer_load(&r->tokenizer, strbuf_buf(&r->tokens), &e)) {
		FAIL("%s: %s", s->path, e.msg);
		return false;
	}
	for (int i = 0; i < r->model.config.layers; i++)
		half[i] = i != s->gone;
	r->context = r->model.config.context < 512 ? r->model.config.context : 512;
	struct forward f = {.config = &r->model.config, .has_attn = half, .has_mlp = half,
		.numerics = s->numerics, .max_rows = s->rows, .max_out = s->rows, .slots = r->context};
	const struct graph *plan = graph_plan(&r->arena, forward_step(&r->arena, &f));
	struct emit_request request = {s->target, &plan, 1, EMIT_OBJECT};
	struct param_source params = {&r->packed, packed_find};
	r->pool = pool_new(s->nthreads);
	if (!packed_new(&r->packed, plan, &r->model, &e) || !emit_object(&request, &r->object, &e) ||
		!emit_load(strbuf_buf(&r->object), &r->loaded, &e) ||
		!session_open(&r->session, r->loaded.program[0], &params, r->pool, (uint32_t)r->context, &e)) {
		FAIL("%s: %s", s->path, e.msg);
		return false;
	}
	return true;
}

static void stop(struct running *r)
{
	session_release(&r->session);
	pool_free(r->pool);
	emit_unload(&r->loaded);
	packed_release(&r->packed);
	strbuf_release(&r->object);
	strbuf_release(&r->tokens);
	model_release(&r->model);
	arena_release(&r->arena);
}

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
	struct setting s = {path, target_native(), NUMERICS_F32, 2, 16, -1};
	REQUIRE(start(&r, &s));
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
	stop(&r);
	strbuf_release(&want);
	strbuf_release(&got);
}

struct logits {
	float *all;
	int64_t nvocab;
};

static void keep(void *ctx, size_t index, const float *logits)
{
	struct logits *l = ctx;
	memcpy(l->all + (int64_t)index * l->nvocab, logits, (size_t)l->nvocab * sizeof(float));
}

enum { NTOKENS = 90 };

/* Logits of NTOKENS fixed tokens, by prefill or one by one. */
static float *logits_of(const struct setting *s, bool decode, int64_t *nvocab)
{
	struct running r;
	struct sequence q = {0};
	uint32_t token[NTOKENS];
	if (!start(&r, s))
		return NULL;
	struct logits l = {calloc((size_t)(NTOKENS * r.session.nvocab), sizeof(float)), r.session.nvocab};
	for (int i = 0; i < NTOKENS; i++)
		token[i] = i ? 3 + (uint32_t)(i * 37 % 90) : 1;
	if (decode)
		for (int i = 0; i < NTOKENS; i++)
			keep(&l, (size_t)i, session_decode(&r.session, &q, token[i]));
	else
		session_prefill_all(&r.session, &q, token, NTOKENS, keep, &l);
	*nvocab = r.session.nvocab;
	stop(&r);
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
		struct setting base = {gguf, target_find("x86-64-v3"), (enum numerics)numerics, 1, 64, -1};
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

static bool begins_story(const char *p)
{
	return !strncmp(p, "Once upon", 9) || !strncmp(p, "One day", 7);
}

/* The next story's first bytes with white space folded to one space, as the model was trained; p moves
 * behind the story. Paragraphs in the middle of a story would cost 0.2 nats more. */
static void next_story(const char **p, struct strbuf *out)
{
	strbuf_clear(out);
	do {
		size_t n = strcspn(*p, "\n");
		if (out->n)
			strbuf_addc(out, ' ');
		strbuf_add(out, *p, n);
		*p += n + strspn(*p + n, "\n");
	} while (**p && !begins_story(*p));
}

/* Nats per token over stories, each from the start token and cut at the context. */
static double nll_of(const struct setting *s, const struct strbuf *text, size_t most)
{
	struct running r;
	struct strbuf story;
	double nll = 0;
	size_t count = 0;
	if (!start(&r, s))
		return NAN;
	strbuf_init(&story);
	struct logits l = {calloc((size_t)(r.context * r.session.nvocab), sizeof(float)), r.session.nvocab};
	for (const char *p = text->s; *p && count < most;) {
		struct token_list tokens = {0};
		struct sequence q = {0};
		next_story(&p, &story);
		tokenizer_encode(&r.tokenizer, story.s, story.n, TOKENIZER_ADD_START, &tokens);
		size_t used = tokens.n < (size_t)r.context ? tokens.n : (size_t)r.context;
		session_prefill_all(&r.session, &q, tokens.id, used - 1, keep, &l);
		for (size_t i = 0; i + 1 < used; i++) {
			const float *z = l.all + (int64_t)i * l.nvocab;
			double max = z[0], sum = 0;
			for (int64_t v = 0; v < l.nvocab; v++)
				max = z[v] > max ? z[v] : max;
			for (int64_t v = 0; v < l.nvocab; v++)
				sum += exp(z[v] - max);
			nll += log(sum) + max - z[tokens.id[i + 1]];
			count++;
		}
		token_list_release(&tokens);
	}
	free(l.all);
	strbuf_release(&story);
	stop(&r);
	return nll / (double)count;
}

/* What integers cost, in nats a token over the first tokens of cased TinyStories. */
TEST(classes_of_integers_cost_little)
{
	static const struct {
		const char *model;
		double most[NNUMERICS]; /* from f32 */
	} models[] = {{"babyllama105", {0, 0.005, 0.005, 0.08, 0.005, 0.05, 0.05}},
		{"stories260K/hf", {0, 0.005, 0.005, 0.14, 0.005, 0.11, 0.11}}};
	const char *data = test_data();
	char path[512];
	struct strbuf text;
	struct err e;
	if (!data)
		return;
	strbuf_init(&text);
	snprintf(path, sizeof(path), "%s/datasets/tinystories/tinystories_cased_197k.txt", data);
	REQUIRE(file_read(&text, path, &e));
	for (size_t i = 0; i < NELEM(models); i++) {
		double f32 = 0;
		snprintf(path, sizeof(path), "%s/models/%s", data, models[i].model);
		for (int n = 0; n < NNUMERICS; n++) {
			struct setting s = {path, target_native(), (enum numerics)n, 2, 256, -1};
			double nll = nll_of(&s, &text, 20000);
			f32 = n == NUMERICS_F32 ? nll : f32;
			printf("%s %s: %.4f nats a token\n", models[i].model, numerics_classes[n].name, nll);
			CHECK(fabs(nll - f32) <= models[i].most[n]);
		}
	}
	strbuf_release(&text);
}

TEST(babyllama105_nll_and_removals)
{
	const char *data = test_data();
	char path[512];
	struct strbuf text;
	struct err e;
	if (!data)
		return;
	strbuf_init(&text);
	snprintf(path, sizeof(path), "%s/datasets/tinystories/tinystories_cased_197k.txt", data);
	REQUIRE(file_read(&text, path, &e));
	snprintf(path, sizeof(path), "%s/models/babyllama105", data);
	struct setting s = {path, target_native(), NUMERICS_F32, 2, 256, -1};
	double full = nll_of(&s, &text, 1000000);
	printf("babyllama105: %.4f nats a token on cased TinyStories\n", full);
	CHECK(fabs(full - 0.84) < 0.05);
	double last = INFINITY;
	for (s.gone = 0; s.gone < 5; s.gone++) { /* 4.56 3.41 2.81 2.30 1.83 */
		double nll = nll_of(&s, &text, 15000);
		printf("without layer %d: %.2f\n", s.gone, nll);
		CHECK(nll > full + 0.5 && nll < last);
		last = nll;
	}
	strbuf_release(&text);
}
