/* The scan against the plain way: a model without the unit, from start to end, gives the same nll. One
 * token row per record, several records in a batch, choices behind a shared prompt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "packed.h"
#include "score.h"
#include "score_method.h"
#include "test.h"

struct tiny {
	struct model model;
	struct state state;
	struct arena a;
};

static bool read_tensor(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e)
{
	struct tiny *x = ctx;
	const struct model_tensor *m = model_find(&x->model, t->name);
	(void)e;
	*out = (struct buf){m->data, m->bytes};
	return true;
}

static bool open_tiny(struct tiny *x, const char *path)
{
	struct err e;
	memset(x, 0, sizeof(*x));
	if (!model_open(&x->model, path, &e)) {
		FAIL("%s", e.msg);
		return false;
	}
	struct state *s = &x->state;
	s->config = x->model.config;
	s->has_attn = arena_array(&x->a, bool, s->config.layers);
	s->has_mlp = arena_array(&x->a, bool, s->config.layers);
	memset(s->has_attn, 1, (size_t)s->config.layers);
	memset(s->has_mlp, 1, (size_t)s->config.layers);
	s->has_mlp[1] = false; /* a state with a half gone already */
	for (size_t i = 0; i < x->model.ntensor; i++) {
		const struct model_tensor *m = &x->model.tensor[i];
		struct state_tensor t = {.name = m->name, .dtype = m->dtype, .bytes = m->bytes};
		*arena_push(&x->a, s->tensor, s->ntensor) = t;
	}
	return true;
}

/* Records: text of 20 tokens, or a prompt of 9 with three answers of 1, 4 and 2 tokens. */
static struct token_table make_table(struct arena *a, bool choices, uint64_t nrecord)
{
	struct token_table t = {0};
	struct token_record *record = arena_array(a, struct token_record, nrecord);
	uint32_t *answer = arena_array(a, uint32_t, 3 * nrecord), *token = arena_array(a, uint32_t, 32 * nrecord);
	static const uint32_t lengths[] = {1, 4, 2};
	struct rng r;
	rng_init(&r, 7);
	for (uint64_t i = 0; i < nrecord; i++) {
		record[i] = (struct token_record){.token_at = t.ntoken, .answer_at = t.nanswer,
			.prompt_tokens = choices ? 9 : 1, .nanswer = choices ? 3 : 1,
			.gold = choices ? (int32_t)(i % 3) : 0, .nparts = 1};
		for (uint32_t k = 0; k < record[i].nanswer; k++)
			answer[t.nanswer++] = choices ? lengths[k] : 12 + (uint32_t)i;
		record[i].total_tokens = choices ? 16 : 13 + (uint32_t)i;
		for (uint32_t k = 0; k < record[i].total_tokens; k++)
			token[t.ntoken++] = k ? 3 + (uint32_t)rng_below(&r, 500) : 1;
	}
	t.nrecord = nrecord;
	t.record = record;
	t.answer_tokens = answer;
	t.token = token;
	return t;
}

/* nll of the gold answer by the program "step" of the state without unit c (NULL: the state itself). */
static bool plain(struct tiny *x, const struct candidate *c, enum numerics numerics,
	const struct token_table *t, double *nll)
{
	struct arena a = {0};
	struct err e;
	struct packed packed;
	struct strbuf object;
	struct loaded loaded;
	struct session session;
	struct pool *pool = pool_new(1);
	size_t layers = (size_t)x->state.config.layers;
	bool *has_attn = arena_copy(&a, x->state.has_attn, layers), *has_mlp = arena_copy(&a, x->state.has_mlp, layers);
	for (size_t i = 0; c && i < c->nhalf; i++)
		(c->half[i].kind == UNIT_ATTN ? has_attn : has_mlp)[c->half[i].layer] = false;
	struct forward f = {.config = &x->state.config, .has_attn = has_attn, .has_mlp = has_mlp,
		.numerics = numerics, .max_rows = 64, .max_out = 64, .slots = 64};
	const struct graph *plan = graph_plan(&a, forward_step(&a, &f));
	struct emit_request request = {target_find("x86-64-v3"), &plan, 1, EMIT_OBJECT, NULL};
	struct param_source params = {&packed, packed_find};
	strbuf_init(&object);
	bool ok = packed_new(&packed, plan, &x->model, &e) && emit_object(&request, &object, &e) &&
		emit_load(strbuf_buf(&object), &loaded, &e) &&
		session_open(&session, loaded.program[0], &params, pool, 64, &e);
	if (!ok)
		FAIL("%s", e.msg);
	for (uint64_t i = 0; ok && i < t->nrecord; i++) {
		struct token_row row = token_table_row(t, i);
		double all[3];
		score_answers(&session, &row, all);
		nll[i] = all[row.gold];
	}
	if (ok) {
		session_release(&session);
		emit_unload(&loaded);
	}
	packed_release(&packed);
	strbuf_release(&object);
	pool_free(pool);
	arena_release(&a);
	return ok;
}

enum { CELLS = 5, CELL_NLL = 0, CELL_NORM2 = 4 }; /* of score_scan.c */

static struct score scoring(struct tiny *x, struct arena *a, struct token_table t, size_t nrecord)
{
	struct score s = {.a = a, .state = x->state, .weights = {&x->state, read_tensor, x}, .tokens = t,
		.nrecord = nrecord, .record = arena_array(a, uint64_t, nrecord)};
	for (size_t i = 0; i < nrecord; i++)
		s.record[i] = i;
	return s;
}

/* A line for each record; the number of batches. */
static int run_scan(struct score *s, double **line)
{
	const struct score_sums *sums = score_method_find("scan", NULL)->sums;
	struct err e;
	void *work;
	int nbatch = 0;
	CHECK_INT(sums->ncell, CELLS);
	if (!sums->open(s, &work, &e))
		FAIL("%s", e.msg);
	for (size_t i = 0, n; i < s->nrecord; i += n, nbatch++) {
		n = sums->batch(work, s->record + i, s->nrecord - i);
		for (size_t k = i; k < i + n; k++)
			line[k] = arena_array(s->a, double, (1 + s->n) * CELLS);
		CHECK(sums->run(work, s->record + i, n, line + i, &e));
	}
	sums->release(work);
	return nbatch;
}

/* The program "step" leaves logits, whose nll is taken in double; the scan's comes from generated code in
 * single precision: they agree to its rounding. Records are summed apart, so a wrong row would show. */
static void compare(struct tiny *x, bool choices, bool blocks, enum numerics numerics, int nthreads)
{
	enum { NRECORD = 7 };
	struct arena a = {0};
	struct score s = scoring(x, &a, make_table(&a, choices, NRECORD), NRECORD);
	s.numerics = numerics;
	s.nthreads = nthreads;
	s.batch_rows = 40;
	s.candidate = blocks ? candidate_blocks(&a, &x->state, 1, &s.n) : candidate_halves(&a, &x->state, &s.n);
	double *line[NRECORD];
	int nbatch = run_scan(&s, line);
	CHECK(nbatch > 1 && nbatch < NRECORD);
	for (size_t u = 0; u <= s.n; u += u && !blocks ? 3 : 1) {
		double want[NRECORD];
		if (!plain(x, u ? &s.candidate[u - 1] : NULL, numerics, &s.tokens, want))
			break;
		for (int i = 0; i < NRECORD; i++) {
			double got = line[i][u * CELLS + CELL_NLL];
			if (!(fabs(got - want[i]) < 1e-5 * (1 + fabs(want[i]))))
				FAIL("record %d, unit %s, class %s: %.9g by the scan, %.9g from start to end", i,
					u ? s.candidate[u - 1].name : "none", numerics_classes[numerics].name, got, want[i]);
			CHECK(u == 0 || line[i][u * CELLS + CELL_NORM2] > 0);
		}
	}
	arena_release(&a);
}

TEST(scan_is_the_model_without_the_unit)
{
	const char *data = test_data();
	char path[512];
	struct tiny x;
	if (!data)
		return;
	snprintf(path, sizeof(path), "%s/models/stories260K/hf", data);
	REQUIRE(open_tiny(&x, path));
	compare(&x, false, false, NUMERICS_F32, 1);
	compare(&x, true, false, NUMERICS_F32, 2);
	compare(&x, true, false, NUMERICS_BF16, 1);
	compare(&x, true, true, NUMERICS_F32, 2);
	model_release(&x.model);
	arena_release(&x.a);
}

TEST(scan_gives_the_same_bits_for_any_batch)
{
	enum { NRECORD = 4 };
	const char *data = test_data();
	char path[512];
	struct tiny x;
	struct arena a = {0};
	if (!data)
		return;
	snprintf(path, sizeof(path), "%s/models/stories260K/hf", data);
	REQUIRE(open_tiny(&x, path));
	struct score s = scoring(&x, &a, make_table(&a, true, NRECORD), NRECORD);
	s.candidate = candidate_halves(&a, &x.state, &s.n);
	double *first[NRECORD], *line[NRECORD];
	for (int rows = 16; rows <= 64; rows *= 4) {
		s.batch_rows = rows;
		s.nthreads = rows == 16 ? 1 : 2;
		CHECK(run_scan(&s, line) == (rows == 16 ? NRECORD : 1));
		for (size_t i = 0; i < NRECORD; i++) {
			if (rows == 16)
				first[i] = line[i];
			CHECK(!memcmp(first[i], line[i], (1 + s.n) * CELLS * sizeof(double)));
		}
	}
	model_release(&x.model);
	arena_release(&x.a);
	arena_release(&a);
}
