/* What a class costs: against logits of the interpreter and long double; equal bits however it is run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "cost.h"
#include "emit.h"
#include "interp.h"
#include "measure.h"
#include "packed.h"
#include "score.h"
#include "test.h"

enum { SLOTS = 24, VOCAB = 272, NROWS = 6, MOST_TOKENS = 400 };

static const char model_path[] = "tests/rules/model";

/* Choices with a late gold, a document without a prompt, one without a gold answer, one of a single token
 * that bears no loss, and one that fills the context. */
static const struct {
	uint32_t prompt, answer[3];
	int32_t gold;
} shape[NROWS] = {{9, {1, 4, 2}, 1}, {0, {11}, 0}, {5, {3, 3}, -1}, {0, {1}, 0}, {7, {5, 1, 1}, 0},
	{1, {SLOTS}, 0}};

struct rows {
	struct token_row row[NROWS];
	uint32_t answer[NROWS][3], token[MOST_TOKENS];
};

static void rows_init(struct rows *r)
{
	struct rng g;
	uint32_t *at = r->token;
	rng_init(&g, 5);
	for (int i = 0; i < NROWS; i++) {
		uint32_t n = shape[i].prompt, nanswer = 0;
		memcpy(r->answer[i], shape[i].answer, sizeof(r->answer[i]));
		for (; nanswer < 3 && shape[i].answer[nanswer]; nanswer++)
			n += shape[i].answer[nanswer];
		r->row[i] = (struct token_row){at, shape[i].prompt, r->answer[i], nanswer, shape[i].gold};
		for (; n; n--)
			*at++ = (uint32_t)rng_below(&g, VOCAB);
	}
}

struct opened {
	struct arena arena;
	struct model model;
	struct packed packed;
	struct loaded loaded;
	struct pool *pool;
	struct session session;
	const struct graph *plan;
};

static bool open_class(struct opened *o, enum numerics numerics, int64_t rows, int64_t outs, int threads)
{
	struct err e;
	*o = (struct opened){.pool = pool_new(threads)};
	bool ok = model_open(&o->model, model_path, &e);
	struct forward f = {.config = &o->model.config, .numerics = numerics, .max_rows = rows,
		.max_out = outs, .slots = SLOTS};
	struct param_source params = {&o->packed, packed_find};
	o->plan = ok ? graph_plan(&o->arena, forward_step(&o->arena, &f)) : NULL;
	ok = ok && packed_new(&o->packed, o->plan, &o->model, &e) && emit_native(&o->plan, 1, 1, &o->loaded, &e) &&
		session_open(&o->session, o->loaded.program[0], &params, o->pool, SLOTS, &e);
	if (!ok)
		FAIL("%s", e.msg);
	return ok;
}

static void close_class(struct opened *o)
{
	session_release(&o->session);
	emit_unload(&o->loaded);
	pool_free(o->pool);
	packed_release(&o->packed);
	model_release(&o->model);
	arena_release(&o->arena);
}

static struct cost cost_of(struct opened *unquantised, struct opened *quantised, const struct rows *r)
{
	struct cost sum = {0};
	const struct cost_pair pair = {&unquantised->session, &quantised->session};
	for (int i = 0; i < NROWS; i++)
		cost_add_row(&sum, &pair, &r->row[i]);
	return sum;
}

/* ---- the plain way ---- */

/* Prompt and gold answer; returns how many of them are fed. */
static uint32_t sequence_of(const struct token_row *r, uint32_t *token)
{
	uint32_t answer = r->answer_tokens[r->gold];
	memcpy(token, r->token, r->prompt_tokens * sizeof(*token));
	memcpy(token + r->prompt_tokens, r->token + token_row_answer_at(r, (uint32_t)r->gold), answer * sizeof(*token));
	return r->prompt_tokens + answer - 1;
}

/* Logits behind token[0 .. n), (n, VOCAB), from the interpreter of the class's planned graph. */
static float *plain_logits(struct arena *a, enum numerics numerics, const uint32_t *token, size_t n)
{
	struct model model;
	struct packed packed;
	struct err e;
	if (!model_open(&model, model_path, &e))
		BUG("%s", e.msg);
	struct forward f = {.config = &model.config, .numerics = numerics, .max_rows = (int64_t)n,
		.max_out = (int64_t)n, .slots = SLOTS};
	const struct graph *g = graph_plan(a, forward_step(a, &f));
	float *logits = arena_array(a, float, (n + 64) * (VOCAB + 64));
	struct interp_tensor *tensor = arena_array(a, struct interp_tensor, g->nnode + 1);
	int64_t *dim = arena_array(a, int64_t, g->naxis);
	int ntensor = 1;
	if (!packed_new(&packed, g, &model, &e))
		BUG("%s", e.msg);
	tensor[0] = (struct interp_tensor){"logits", logits};
	for (int i = 0; i < g->naxis; i++)
		dim[i] = g->axis[i].extent;
	for (int i = 0; i < g->nnode; i++) {
		const struct node *x = &g->node[i];
		if (op_info[x->op].class != CLASS_LEAF || !x->name)
			continue;
		struct buf weight = packed_find(&packed, x->name);
		int32_t *in = weight.p ? NULL : arena_alloc(a, 64 + 8 * (size_t)tensor_bytes(g, x));
		tensor[ntensor++] = (struct interp_tensor){x->name, in ? in : (void *)(uintptr_t)weight.p};
		for (size_t k = 0; x->op == OP_INPUT && k < n; k++)
			in[k] = !strcmp(x->name, "tok") ? (int32_t)token[k] : !strcmp(x->name, "lo") ? 0 :
				(int32_t)k + !strcmp(x->name, "hi");
	}
	struct interp_call call = {INTERP_EXACT, dim, tensor, ntensor};
	if (!interp_run(g, &call, &e))
		BUG("%s", e.msg);
	packed_release(&packed);
	model_release(&model);
	return logits;
}

static long double log_sum(const float *z)
{
	long double sum = 0;
	for (int v = 0; v < VOCAB; v++)
		sum += expl((long double)z[v]);
	return logl(sum);
}

static int likeliest(const float *z)
{
	int best = 0;
	for (int v = 1; v < VOCAB; v++)
		best = z[v] > z[best] ? v : best;
	return best;
}

struct plain {
	long double nll, unquantised_nll, kl;
	uint64_t tokens, same;
};

static void plain_add(struct plain *sum, const float *p, const float *q, uint32_t token)
{
	long double log_p = log_sum(p), log_q = log_sum(q);
	sum->nll += log_q - (long double)q[token];
	sum->unquantised_nll += log_p - (long double)p[token];
	for (int v = 0; v < VOCAB; v++)
		sum->kl += expl((long double)p[v] - log_p) * (((long double)p[v] - log_p) - ((long double)q[v] - log_q));
	sum->same += likeliest(p) == likeliest(q);
	sum->tokens++;
}

/* full: the unquantised logits of each row, made when they are NULL. */
static struct plain plain_cost(struct arena *a, enum numerics numerics, const struct rows *r, float **full)
{
	struct plain sum = {0};
	for (int i = 0; i < NROWS; i++) {
		const struct token_row *x = &r->row[i];
		uint32_t token[SLOTS + 1], n = x->gold < 0 ? 0 : sequence_of(x, token);
		if (!n)
			continue;
		const float *q = plain_logits(a, numerics, token, n);
		if (!full[i])
			full[i] = plain_logits(a, NUMERICS_F32, token, n);
		for (uint32_t k = x->prompt_tokens ? x->prompt_tokens - 1 : 0; k < n; k++)
			plain_add(&sum, full[i] + k * VOCAB, q + k * VOCAB, token[k + 1]);
	}
	return sum;
}

static bool near(double got, long double want)
{
	return fabsl((long double)got - want) <= 1e-12L * (1 + want);
}

TEST(cost_is_that_of_the_interpreters_logits)
{
	struct rows r;
	struct opened full;
	struct arena a = {0};
	float *logits[NROWS] = {0};
	rows_init(&r);
	REQUIRE(open_class(&full, NUMERICS_F32, 64, 64, 2));
	for (int c = 0; c < NNUMERICS; c++) {
		struct opened quantised;
		if (!test_is_first() && !class_is_walked(c))
			continue;
		REQUIRE(open_class(&quantised, (enum numerics)c, 64, 64, 2));
		struct cost got = cost_of(&full, &quantised, &r);
		struct plain want = plain_cost(&a, (enum numerics)c, &r, logits);
		if (!near(got.nll, want.nll) || !near(got.unquantised_nll, want.unquantised_nll) ||
			!near(got.kl, want.kl))
			FAIL("%s: nll %.17g, %.17g, kl %.17g; not %.17Lg, %.17Lg, %.17Lg", numerics_classes[c].name,
				got.nll, got.unquantised_nll, got.kl, want.nll, want.unquantised_nll, want.kl);
		CHECK_INT(got.tokens, want.tokens);
		CHECK_INT(got.same, want.same);
		CHECK_INT(got.tokens, 4 + 10 + 0 + 0 + 5 + SLOTS);
		CHECK(c == NUMERICS_F32 ? got.kl == 0 : got.kl > 0);
		close_class(&quantised);
	}
	close_class(&full);
	arena_release(&a);
}

/* A class costs nothing beside itself; and neither the shape of calls nor threads change a bit. */
TEST(calls_and_threads_change_no_bit)
{
	static const struct {
		int64_t rows, outs;
		int threads;
	} way[] = {{64, 64, 1}, {7, 3, 2}};
	struct cost first[NNUMERICS];
	struct rows r;
	rows_init(&r);
	for (size_t k = 0; k < NELEM(way); k++) {
		struct opened full, quantised;
		REQUIRE(open_class(&full, NUMERICS_F32, way[k].rows, way[k].outs, way[k].threads));
		for (int c = 0; c < NNUMERICS; c++) {
			if (!class_is_walked(c))
				continue;
			REQUIRE(open_class(&quantised, (enum numerics)c, way[k].rows, way[k].outs, way[k].threads));
			struct cost sum = cost_of(&full, &quantised, &r), self = cost_of(&quantised, &quantised, &r);
			CHECK(self.kl == 0 && self.nll == self.unquantised_nll && self.same == self.tokens);
			CHECK(self.nll == sum.nll);
			if (!k)
				first[c] = sum;
			CHECK(!memcmp(&first[c], &sum, sizeof(sum)));
			close_class(&quantised);
		}
		close_class(&full);
	}
}

TEST(nll_is_that_of_measuring)
{
	struct rows r;
	struct opened full, quantised;
	rows_init(&r);
	REQUIRE(open_class(&full, NUMERICS_F32, 64, 64, 1) && open_class(&quantised, NUMERICS_INT4, 64, 64, 2));
	struct cost got = cost_of(&full, &quantised, &r);
	double nll = 0, unquantised = 0;
	for (int i = 0; i < NROWS; i++) {
		double all[3];
		if (r.row[i].gold < 0)
			continue;
		score_answers(&quantised.session, &r.row[i], all);
		nll += all[r.row[i].gold];
		score_answers(&full.session, &r.row[i], all);
		unquantised += all[r.row[i].gold];
	}
	CHECK(got.nll == nll && got.unquantised_nll == unquantised);
	close_class(&full);
	close_class(&quantised);
}

TEST(cost_as_text)
{
	struct strbuf text;
	strbuf_init(&text);
	cost_write(&text, &(struct cost){.nll = 7, .unquantised_nll = 5, .kl = 1.25, .tokens = 10, .same = 9}, 4);
	/* exp(0.7), exp(0.5) */
	CHECK_STR(text.s, "{\"rows\":4,\"tokens\":10,\"nll\":0.7,\"perplexity\":2.0137527074704766,"
		"\"unquantised_nll\":0.5,\"unquantised_perplexity\":1.6487212707001282,\"kl\":0.125,\"same_argmax\":0.9}");
	strbuf_clear(&text);
	cost_write(&text, &(struct cost){0}, 0);
	CHECK_STR(text.s, "{\"rows\":0,\"tokens\":0}");
	strbuf_release(&text);
}
