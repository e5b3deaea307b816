/* Measuring: against the likelihoods of a plain computation; equal bits however rows are put together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "measure.h"
#include "packed.h"
#include "score.h"
#include "test.h"

enum { NROWS = 14, MOST_TOKENS = 4000 };

/* Rows of random tokens: choices, documents, single tokens. */
struct rows {
	struct token_table t;
	struct token_record record[NROWS];
	uint32_t answer[NROWS * 4], token[MOST_TOKENS];
	double nll[NROWS * 4];
};

static void rows_init(struct rows *r, uint64_t seed, uint32_t nvocab)
{
	struct rng g;
	rng_init(&g, seed);
	memset(r, 0, sizeof(*r));
	for (uint64_t i = 0; i < NROWS; i++) {
		struct token_record *x = &r->record[i];
		*x = (struct token_record){.row = {1, i}, .digest = {2, i}, .token_at = r->t.ntoken,
			.answer_at = r->t.nanswer, .nparts = 1};
		x->prompt_tokens = (uint32_t)(i == 3 ? 1 : i == 4 ? 400 : 1 + rng_below(&g, 60));
		x->nanswer = (uint32_t)(i % 3 == 2 ? 1 : 2 + rng_below(&g, 3));
		x->gold = (int32_t)rng_below(&g, x->nanswer);
		x->total_tokens = x->prompt_tokens;
		for (uint32_t k = 0; k < x->nanswer; k++) {
			uint32_t n = (uint32_t)(i == 5 ? 1 : 1 + rng_below(&g, i % 3 == 2 ? 70 : 6));
			r->answer[r->t.nanswer++] = n;
			x->total_tokens += n;
		}
		for (uint32_t k = 0; k < x->total_tokens; k++)
			r->token[r->t.ntoken++] = (uint32_t)rng_below(&g, nvocab);
	}
	r->t.nrecord = NROWS;
	r->t.record = r->record;
	r->t.answer_tokens = r->answer;
	r->t.token = r->token;
}

struct opened {
	struct model model;
	struct packed packed;
	struct arena arena;
};

static bool open_model(struct opened *o, enum numerics numerics)
{
	const char *data = test_data();
	char path[512];
	struct err e;
	*o = (struct opened){0};
	if (!data)
		return false;
	snprintf(path, sizeof(path), "%s/models/stories260K/stories260K.gguf", data);
	bool ok = model_open(&o->model, path, &e);
	struct forward f = {.config = &o->model.config, .numerics = numerics, .max_rows = 8, .max_out = 8,
		.slots = 512};
	if (!ok || !packed_new(&o->packed, graph_plan(&o->arena, forward_step(&o->arena, &f)), &o->model, &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	return true;
}

static void close_model(struct opened *o)
{
	packed_release(&o->packed);
	model_release(&o->model);
	arena_release(&o->arena);
}

static bool store_nll(void *ctx, uint64_t record, const double *nll, struct err *e)
{
	struct rows *r = ctx;
	(void)e;
	memcpy(r->nll + r->record[record].answer_at, nll, r->record[record].nanswer * sizeof(*nll));
	return true;
}

static struct measurer_options options(struct opened *o, enum numerics numerics, int threads)
{
	return (struct measurer_options){.config = &o->model.config, .numerics = numerics,
		.weights = {&o->packed, packed_find}, .threads = threads, .longest_slots = 100};
}

static void measure_all(const struct measurer_options *o, struct rows *r, const uint64_t *order, size_t n)
{
	struct measurer m;
	struct err e;
	memset(r->nll, 0, sizeof(r->nll));
	if (!measurer_open(&m, o, &e) || !measure_records(&m, &(struct measure_job){&r->t, order, n, store_nll, r}, &e))
		FAIL("%s", e.msg);
	measurer_release(&m);
}

static const uint64_t in_order[NROWS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
static const uint64_t shuffled[NROWS] = {13, 4, 0, 11, 2, 3, 9, 7, 8, 5, 6, 10, 12, 1};

struct plain {
	const uint32_t *token;
	size_t from;
	int64_t nvocab;
	double sum;
};

static void add_plain(void *ctx, size_t index, const float *z)
{
	struct plain *p = ctx;
	double max = z[0], sum = 0;
	if (index + 1 < p->from)
		return;
	for (int64_t v = 1; v < p->nvocab; v++)
		max = z[v] > max ? z[v] : max;
	for (int64_t v = 0; v < p->nvocab; v++)
		sum += exp(z[v] - max);
	p->sum += log(sum) + max - z[p->token[index + 1]];
}

/* Each answer behind its prompt as a sequence of its own, through libm. */
static double plain_nll(struct session *s, const struct token_row *r, uint32_t answer)
{
	uint32_t token[512], n = r->prompt_tokens, at = token_row_answer_at(r, answer);
	memcpy(token, r->token, n * sizeof(*token));
	memcpy(token + n, r->token + at, r->answer_tokens[answer] * sizeof(*token));
	struct plain p = {token, n, s->nvocab, 0};
	struct sequence q = {0};
	session_prefill_all(s, &q, token, n + r->answer_tokens[answer] - 1, add_plain, &p);
	return p.sum;
}

TEST(nll_of_answers_is_that_of_whole_sequences)
{
	struct opened o;
	struct rows r;
	struct measurer m;
	struct err e;
	if (!open_model(&o, NUMERICS_F32))
		return;
	struct measurer_options opt = options(&o, NUMERICS_F32, 2);
	rows_init(&r, 1, 500);
	measure_all(&opt, &r, in_order, NROWS);
	REQUIRE(measurer_open(&m, &opt, &e));
	for (uint64_t i = 0; i < NROWS; i++) {
		struct token_row row = token_table_row(&r.t, i);
		for (uint32_t k = 0; k < row.nanswer; k++) {
			double want = plain_nll(&m.session, &row, k);
			double got = r.nll[r.record[i].answer_at + k];
			if (!(fabs(got - want) < 1e-9 * want))
				FAIL("row %d, answer %d: %.17g, not %.17g", (int)i, (int)k, got, want);
		}
	}
	measurer_release(&m);
	close_model(&o);
}

TEST(prefix_reuse_batches_order_and_threads_change_no_bit)
{
	for (int c = 0; c < NNUMERICS; c++) {
		if (!class_is_walked(c))
			continue;
		enum numerics numerics = (enum numerics)c;
		struct opened o;
		struct rows r, other;
		if (!open_model(&o, numerics))
			return;
		struct measurer_options opt = options(&o, numerics, 1);
		rows_init(&r, 2, 512);
		measure_all(&opt, &r, in_order, NROWS);
		other = r;
		other.t.record = other.record;
		measure_all(&opt, &other, shuffled, NROWS);
		CHECK(!memcmp(r.nll, other.nll, sizeof(r.nll)));
		opt.threads = 2;
		opt.longest_slots = 5000;
		measure_all(&opt, &other, in_order, NROWS);
		CHECK(!memcmp(r.nll, other.nll, sizeof(r.nll)));
		/* Alone, and every answer with a prompt of its own. */
		struct measurer m;
		struct err e;
		REQUIRE(measurer_open(&m, &opt, &e));
		for (uint64_t i = 0; i < NROWS; i++) {
			struct token_row row = token_table_row(&r.t, i);
			for (uint32_t k = 0; k < row.nanswer; k++) {
				uint32_t token[512], n = row.answer_tokens[k], p = row.prompt_tokens;
				double alone;
				memcpy(token, row.token, p * sizeof(*token));
				memcpy(token + p, row.token + token_row_answer_at(&row, k), n * sizeof(*token));
				struct token_row one = {token, p, &n, 1, 0};
				score_answers(&m.session, &one, &alone);
				if (alone != r.nll[r.record[i].answer_at + k])
					FAIL("class %s, row %d, answer %d: other bits alone",
						numerics_classes[c].name, (int)i, (int)k);
				if (alone != score_sequence(&m.session, token, p + n, p))
					FAIL("row %d, answer %d: other bits as a text", (int)i, (int)k);
			}
		}
		measurer_release(&m);
		close_model(&o);
	}
}

TEST(one_set_of_weights_serves_a_model_without_a_half)
{
	struct opened o;
	struct rows r, other;
	bool attn[] = {true, true, false, true, true}, mlp[] = {true, true, true, false, true};
	if (!open_model(&o, NUMERICS_F32))
		return;
	struct measurer_options opt = options(&o, NUMERICS_F32, 2);
	rows_init(&r, 3, 512);
	other = r;
	other.t.record = other.record;
	measure_all(&opt, &r, in_order, NROWS);
	opt.has_attn = attn;
	opt.has_mlp = mlp;
	measure_all(&opt, &other, in_order, NROWS);
	CHECK(memcmp(r.nll, other.nll, sizeof(r.nll)) != 0);
	/* Packed for that graph alone. */
	struct packed own;
	struct err e;
	struct forward f = {.config = &o.model.config, .has_attn = attn, .has_mlp = mlp,
		.max_rows = 100, .max_out = 3, .slots = 77};
	REQUIRE(packed_new(&own, graph_plan(&o.arena, forward_step(&o.arena, &f)), &o.model, &e));
	CHECK(own.nweight == o.packed.nweight - 5 - 4);
	opt.weights.ctx = &own;
	measure_all(&opt, &r, in_order, NROWS);
	CHECK(!memcmp(r.nll, other.nll, sizeof(r.nll)));
	packed_release(&own);
	close_model(&o);
}

static bool refuse(void *ctx, uint64_t record, const double *nll, struct err *e)
{
	(void)ctx, (void)nll;
	return record < 5 || err_set(e, ERR_CANCELLED, "enough");
}

TEST(what_the_model_cannot_take_is_an_error)
{
	struct opened o;
	struct rows r;
	struct measurer m;
	struct err e;
	if (!open_model(&o, NUMERICS_F32))
		return;
	rows_init(&r, 4, 512);
	CHECK(measure_check(&r.t, &o.model.config, &e));
	struct measurer_options opt = options(&o, NUMERICS_F32, 1);
	REQUIRE(measurer_open(&m, &opt, &e));
	CHECK(!measure_records(&m, &(struct measure_job){&r.t, in_order, NROWS, refuse, NULL}, &e));
	CHECK_STR(e.msg, "enough");
	measurer_release(&m);
	r.token[70] = 512;
	CHECK(!measure_check(&r.t, &o.model.config, &e) && e.kind == ERR_SPEC);
	CHECK_STR(e.msg, "token 512 is not in the model's vocabulary of 512; is the tokenizer another model's?");
	r.token[70] = 1;
	r.record[2].prompt_tokens = 5000;
	CHECK(!measure_check(&r.t, &o.model.config, &e) && e.kind == ERR_SPEC);
	r.record[2].prompt_tokens = 1;
	/* Weights that make NaN of every logit. */
	for (int i = 0; i < o.packed.nweight; i++)
		if (!strcmp(o.packed.name[i], "norm"))
			memset((void *)(uintptr_t)o.packed.bytes[i].p, 0xff, o.packed.bytes[i].n);
	REQUIRE(measurer_open(&m, &opt, &e));
	bool ok = measure_records(&m, &(struct measure_job){&r.t, in_order, NROWS, store_nll, &r}, &e);
	CHECK(!ok && e.kind == ERR_NUMERIC);
	measurer_release(&m);
	close_model(&o);
}

/* ---- tables ---- */

TEST(metrics_of_a_table)
{
	static const uint32_t answer[] = {2, 1, 1, 1, 4, 3, 2};
	static const double nll[] = {1.5, 2.5, 0.5, 0.25, 3, 2, 4};
	static const uint32_t token[30];
	const struct token_record record[] = {
		{.row = {1, 1}, .prompt_tokens = 2, .nanswer = 2, .gold = 0, .nparts = 1, .total_tokens = 5,
			.gold_bytes = 6},
		{.row = {1, 2}, .token_at = 5, .answer_at = 2, .prompt_tokens = 1, .nanswer = 2, .gold = 0,
			.nparts = 1, .total_tokens = 3, .gold_bytes = 2},
		{.row = {1, 3}, .token_at = 8, .answer_at = 4, .prompt_tokens = 1, .nanswer = 1, .gold = 0,
			.nparts = 2, .total_tokens = 5, .gold_bytes = 12},
		{.row = {1, 3}, .token_at = 13, .answer_at = 5, .prompt_tokens = 1, .nanswer = 1, .gold = 0,
			.part = 1, .nparts = 2, .total_tokens = 4},
		{.row = {1, 4}, .token_at = 17, .answer_at = 6, .prompt_tokens = 1, .nanswer = 1, .gold = -1,
			.nparts = 1, .total_tokens = 3, .gold_bytes = 5},
	};
	const struct token_table t = {.nskipped = 2, .nrecord = 5, .nanswer = 7, .ntoken = 20,
		.record = record, .answer_tokens = answer, .token = token};
	struct strbuf bytes, text;
	struct measured_table m;
	struct err e;
	strbuf_init(&bytes);
	strbuf_init(&text);
	measured_write(&bytes, &t, nll);
	REQUIRE(measured_open(&m, strbuf_buf(&bytes), &e));
	CHECK_INT(m.nrow, 5);
	CHECK_INT(m.row[1].choice, 1);
	CHECK_INT(m.row[2].choice, -1);
	CHECK(m.row[0].nll == 1.5 && m.row[4].nll == 0 && !m.row[4].tokens && m.answer[6] == 4);
	struct metrics x = measured_metrics(&m);
	metrics_write(&text, &x);
	/* (1.5 + 0.5 + 3 + 2) / (2 + 1 + 4 + 3), / (6 + 2 + 12); exp(0.7) */
	CHECK_STR(text.s, "{\"rows\":4,\"skipped\":2,\"tokens\":10,\"bytes\":20,\"nll\":0.7,\"nll_per_byte\":0.35,"
		"\"perplexity\":2.0137527074704766,\"accuracy\":0.5}");
	/* Damage anywhere is an error or changes nothing that is checked; never a crash. */
	for (size_t n = 0; n < bytes.n; n += 8)
		CHECK(!measured_open(&m, (struct buf){bytes.s, n}, NULL));
	struct rng r;
	rng_init(&r, 1);
	for (int i = 0; i < 2000; i++) {
		size_t at = rng_below(&r, bytes.n);
		char was = bytes.s[at];
		bytes.s[at] ^= (char)(1 << rng_below(&r, 8));
		if (measured_open(&m, strbuf_buf(&bytes), NULL))
			measured_metrics(&m);
		bytes.s[at] = was;
	}
	CHECK(measured_open(&m, strbuf_buf(&bytes), &e));
	strbuf_release(&bytes);
	strbuf_release(&text);
}
