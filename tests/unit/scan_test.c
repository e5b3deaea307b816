/* The scan against the plain way: a model without the unit, from start to end, gives the same nll. One
 * token row per record, several records in a batch, choices behind a shared prompt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "packed.h"
#include "scan.h"
#include "score.h"
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

/* nll of the gold answer by the program "step" of the state without unit u (NULL: the state itself). */
static bool plain(struct tiny *x, const struct unit *u, enum numerics numerics,
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
	if (u)
		(u->kind == UNIT_ATTN ? has_attn : has_mlp)[u->layer] = false;
	struct forward f = {.config = &x->state.config, .has_attn = has_attn, .has_mlp = has_mlp,
		.numerics = numerics, .max_rows = 64, .max_out = 64, .slots = 64};
	const struct graph *plan = graph_plan(&a, forward_step(&a, &f));
	struct emit_request request = {target_find("x86-64-v3"), &plan, 1, EMIT_OBJECT};
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

/* The program "step" leaves logits, whose nll is taken in double; the scan's comes from generated code in
 * single precision: they agree to its rounding. Records are summed apart, so a wrong row would show. */
static void compare(struct tiny *x, bool choices, enum numerics numerics, int nthreads)
{
	enum { NRECORD = 7 };
	struct arena a = {0};
	struct err e;
	struct scan scan;
	struct token_table t = make_table(&a, choices, NRECORD);
	size_t nunit, n;
	struct unit *unit = state_units(&a, &x->state, &nunit);
	struct layered_options o = {.weights = {&x->state, read_tensor, x}, .numerics = numerics,
		.rows = 40, .nthreads = nthreads};
	struct scan_cell *cell[NRECORD];
	uint64_t record[NRECORD];
	for (int i = 0; i < NRECORD; i++) {
		cell[i] = arena_array(&a, struct scan_cell, nunit + 1);
		record[i] = (uint64_t)i;
	}
	if (!scan_open(&scan, &o, &t, unit, nunit, &e)) {
		FAIL("%s", e.msg);
		return;
	}
	int nbatch = 0;
	for (size_t i = 0; i < NRECORD; i += n, nbatch++) {
		n = scan_batch(&scan, &t, record + i, NRECORD - i);
		scan_run(&scan, &t, record + i, n, cell + i);
	}
	CHECK(nbatch > 1 && nbatch < NRECORD);
	for (size_t u = 0; u <= nunit; u += u ? 3 : 1) {
		double want[NRECORD];
		if (!plain(x, u ? &unit[u - 1] : NULL, numerics, &t, want))
			break;
		for (int i = 0; i < NRECORD; i++) {
			double got = cell[i][u].nll;
			if (!(fabs(got - want[i]) < 1e-5 * (1 + fabs(want[i]))))
				FAIL("record %d, unit %zu, class %s: %.9g by the scan, %.9g from start to end", i,
					u, numerics_classes[numerics].name, got, want[i]);
			CHECK(u == 0 || cell[i][u].norm2 > 0);
		}
	}
	scan_release(&scan);
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
	compare(&x, false, NUMERICS_F32, 1);
	compare(&x, true, NUMERICS_F32, 2);
	compare(&x, true, NUMERICS_BF16, 1);
	model_release(&x.model);
	arena_release(&x.a);
}

TEST(scan_gives_the_same_bits_for_any_batch)
{
	const char *data = test_data();
	char path[512];
	struct tiny x;
	struct arena a = {0};
	struct err e;
	if (!data)
		return;
	snprintf(path, sizeof(path), "%s/models/stories260K/hf", data);
	REQUIRE(open_tiny(&x, path));
	struct token_table t = make_table(&a, true, 4);
	size_t nunit;
	struct unit *unit = state_units(&a, &x.state, &nunit);
	struct scan_cell *first[4], *cell[4];
	uint64_t record[4] = {0, 1, 2, 3};
	for (int rows = 16; rows <= 64; rows *= 4) {
		struct scan scan;
		struct layered_options o = {.weights = {&x.state, read_tensor, &x},
			.numerics = NUMERICS_F32, .rows = rows, .nthreads = rows == 16 ? 1 : 2};
		REQUIRE(scan_open(&scan, &o, &t, unit, nunit, &e));
		for (size_t i = 0; i < 4; i++)
			cell[i] = arena_array(&a, struct scan_cell, nunit + 1);
		for (size_t i = 0, n; i < 4; i += n) {
			n = scan_batch(&scan, &t, record + i, 4 - i);
			scan_run(&scan, &t, record + i, n, cell + i);
		}
		for (size_t i = 0; i < 4; i++) {
			if (rows == 16)
				first[i] = cell[i];
			CHECK(!memcmp(first[i], cell[i], (nunit + 1) * sizeof(*cell[i])));
		}
		scan_release(&scan);
	}
	model_release(&x.model);
	arena_release(&x.a);
	arena_release(&a);
}
