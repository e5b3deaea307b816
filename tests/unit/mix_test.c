/* The order in which sets are mixed: shares, passes, what appended rows do; and tables joined. */
#include <math.h>
#include <string.h>

#include "data_mix.h"
#include "test.h"

enum { MAX_SETS = 5 };

struct made_set {
	struct token_table t;
	struct token_record *record;
	uint32_t *answer, *token;
};

/* Records of one to three answers, the k-th always of the same tokens for a seed. */
static void make_set(struct arena *a, struct made_set *s, uint64_t seed, size_t nrecord, uint32_t longest)
{
	*s = (struct made_set){.record = arena_array(a, struct token_record, nrecord),
		.answer = arena_array(a, uint32_t, nrecord * 3),
		.token = arena_array(a, uint32_t, nrecord * 4 * (longest + 4))};
	for (size_t i = 0; i < nrecord; i++) {
		struct rng rng;
		rng_init(&rng, seed * 1000003 + i);
		struct token_record *r = &s->record[i];
		uint64_t in[2] = {seed, i};
		*r = (struct token_record){.digest = digest_of(in, sizeof(in)), .nparts = 1,
			.token_at = s->t.ntoken, .answer_at = s->t.nanswer,
			.prompt_tokens = 1 + (uint32_t)rng_below(&rng, 4), .nanswer = 1 + (uint32_t)rng_below(&rng, 3)};
		r->gold = (int32_t)rng_below(&rng, r->nanswer);
		r->total_tokens = r->prompt_tokens;
		for (uint32_t k = 0; k < r->nanswer; k++) {
			uint32_t n = 1 + (uint32_t)rng_below(&rng, longest);
			s->answer[s->t.nanswer++] = n;
			r->total_tokens += n;
		}
		for (uint32_t k = 0; k < r->total_tokens; k++)
			s->token[s->t.ntoken++] = (uint32_t)rng_below(&rng, 1000);
	}
	s->t.nrecord = nrecord;
	s->t.record = s->record;
	s->t.answer_tokens = s->answer;
	s->t.token = s->token;
}

static uint64_t loss_tokens(const struct token_table *t, uint64_t record)
{
	struct token_row r = token_table_row(t, record);
	return r.answer_tokens[r.gold];
}

static const struct mix_case {
	size_t nset, nrecord[MAX_SETS];
	uint32_t longest[MAX_SETS];
	uint64_t weight[MAX_SETS];
} cases[] = {
	{1, {40}, {20}, {0}},
	{2, {40, 40}, {20, 20}, {1, 1}},
	{2, {300, 7}, {20, 20}, {0, 0}},
	{2, {300, 7}, {20, 3}, {500000, 500000}},
	{2, {1, 1}, {1, 90}, {1, 1000000}},
	{3, {50, 100, 10}, {200, 5, 1}, {600000, 300000, 100000}},
	{3, {50, 100, 10}, {200, 5, 1}, {0, 0, 0}},
	{4, {9, 33, 0, 100}, {8, 8, 8, 8}, {100000, 200000, 300000, 400000}},
	{5, {100, 20, 30, 60, 2}, {5, 50, 10, 100, 3}, {200000, 200000, 200000, 200000, 200000}},
	{5, {100, 20, 30, 60, 2}, {5, 50, 10, 100, 3}, {0, 0, 0, 0, 0}},
	{5, {100, 20, 30, 60, 2}, {5, 50, 10, 100, 3}, {960000, 10000, 10000, 10000, 10000}},
};

struct world {
	struct arena a;
	const struct mix_case *c;
	struct made_set made[MAX_SETS];
	struct mix_set set[MAX_SETS];
	struct token_table all;
	struct mix mix;
	uint64_t seed;
};

/* more: records appended to each set that has any. */
static void world_open(struct world *w, const struct mix_case *c, size_t more, uint64_t seed)
{
	struct token_table t[MAX_SETS];
	*w = (struct world){.c = c, .seed = seed};
	for (size_t i = 0; i < c->nset; i++) {
		make_set(&w->a, &w->made[i], i + 1, c->nrecord[i] ? c->nrecord[i] + more : 0, c->longest[i]);
		t[i] = w->made[i].t;
		w->set[i] = (struct mix_set){&w->made[i].t, c->weight[i]};
	}
	token_tables_join(&w->a, t, c->nset, &w->all);
	mix_init(&w->a, &w->mix, w->set, c->nset, seed);
}

static void world_release(struct world *w)
{
	mix_release(&w->mix);
	arena_release(&w->a);
}

/* Set and number in it of a record of the tables joined. */
static size_t set_of(const struct world *w, uint64_t record, uint64_t *in_set)
{
	size_t i = 0;
	while (record >= w->set[i].t->nrecord)
		record -= w->set[i++].t->nrecord;
	*in_set = record;
	return i;
}

TEST(shares_stay_within_one_record_of_the_weights)
{
	for (size_t c = 0; c < NELEM(cases); c++) {
		struct world w;
		double weight[MAX_SETS] = {0}, sum = 0, taken[MAX_SETS] = {0}, all = 0;
		uint64_t longest = 0;
		world_open(&w, &cases[c], 0, 3);
		for (size_t i = 0; i < w.c->nset; i++) {
			for (uint64_t k = 0; k < w.set[i].t->nrecord; k++) {
				uint64_t n = loss_tokens(w.set[i].t, k);
				longest = n > longest ? n : longest;
				if (!w.set[i].weight)
					weight[i] += (double)n;
			}
			if (w.set[i].weight && w.set[i].t->nrecord)
				weight[i] = (double)w.set[i].weight;
			sum += weight[i];
		}
		for (int epoch = 0; epoch < 4; epoch++) {
			size_t n;
			uint32_t *order = mix_epoch(&w.a, &w.mix, &n);
			REQUIRE(n > 0);
			for (size_t k = 0; k < n; k++) {
				uint64_t in_set;
				size_t i = set_of(&w, order[k], &in_set);
				taken[i] += (double)loss_tokens(w.set[i].t, in_set);
				all += (double)loss_tokens(w.set[i].t, in_set);
				for (size_t s = 0; s < w.c->nset; s++)
					if (fabs(taken[s] - all * weight[s] / sum) > (double)longest + 1e-6)
						FAIL("case %zu, epoch %d, record %zu: set %zu has %g of %g tokens, its "
							"share is %g", c, epoch, k, s, taken[s], all, weight[s] / sum);
			}
		}
		world_release(&w);
	}
}

TEST(every_record_comes_once_before_any_comes_twice)
{
	for (size_t c = 0; c < NELEM(cases); c++) {
		struct world w;
		world_open(&w, &cases[c], 0, 3);
		uint32_t *seen = arena_array(&w.a, uint32_t, w.all.nrecord);
		uint64_t total = 0, longest = 0, taken = 0;
		double passes[MAX_SETS];
		for (size_t i = 0; i < w.c->nset; i++)
			passes[i] = mix_passes(&w.mix, i);
		for (uint64_t k = 0; k < w.all.nrecord; k++) {
			uint64_t n = loss_tokens(&w.all, k);
			total += n;
			longest = n > longest ? n : longest;
		}
		for (uint64_t epoch = 1; epoch <= 4; epoch++) {
			size_t n;
			uint32_t *order = mix_epoch(&w.a, &w.mix, &n);
			for (size_t k = 0; k < n; k++) {
				seen[order[k]]++;
				taken += loss_tokens(&w.all, order[k]);
			}
			/* As many tokens as all sets have, to the record that reaches them. */
			CHECK(taken >= epoch * total && taken < epoch * total + longest);
			uint64_t at = 0;
			for (size_t i = 0; i < w.c->nset; i++) {
				uint32_t least = UINT32_MAX, most = 0;
				double epochs = (double)epoch * passes[i];
				for (uint64_t k = 0; k < w.set[i].t->nrecord; k++, at++) {
					least = seen[at] < least ? seen[at] : least;
					most = seen[at] > most ? seen[at] : most;
				}
				CHECK(!w.set[i].t->nrecord || most <= least + 1);
				if (!w.set[i].weight)
					CHECK(least == epoch && most == epoch);
				/* A record may be longer than a pass over a small set. */
				if (w.set[i].t->nrecord > 20)
					CHECK(epochs > least - 0.5 && epochs < most + 0.5);
				CHECK(w.set[i].t->nrecord || !passes[i]);
			}
		}
		world_release(&w);
	}
}

/* The first `n` epochs as one list. */
static uint32_t *epochs(struct world *w, int n, size_t *count)
{
	uint32_t *all = NULL;
	*count = 0;
	for (int i = 0; i < n; i++) {
		size_t m;
		uint32_t *order = mix_epoch(&w->a, &w->mix, &m);
		for (size_t k = 0; k < m; k++)
			*arena_push(&w->a, all, *count) = order[k];
	}
	return all;
}

TEST(one_seed_gives_one_order)
{
	for (size_t c = 0; c < NELEM(cases); c++) {
		struct world one, again, other;
		size_t n, nagain, nother;
		world_open(&one, &cases[c], 0, 3);
		world_open(&again, &cases[c], 0, 3);
		world_open(&other, &cases[c], 0, 4);
		uint32_t *a = epochs(&one, 3, &n), *b = epochs(&again, 3, &nagain), *d = epochs(&other, 3, &nother);
		CHECK(n == nagain && !memcmp(a, b, n * sizeof(*a)));
		CHECK(one.all.nrecord < 3 || n != nother || memcmp(a, d, n * sizeof(*a)));
		world_release(&one);
		world_release(&again);
		world_release(&other);
	}
}

TEST(appended_records_move_none_of_a_pass)
{
	for (size_t c = 0; c < NELEM(cases); c++) {
		struct world few, more;
		size_t nfew, nmore;
		world_open(&few, &cases[c], 0, 3);
		world_open(&more, &cases[c], 13, 3);
		uint32_t *a = epochs(&few, 3, &nfew), *b = epochs(&more, 3, &nmore);
		for (size_t s = 0; s < few.c->nset; s++) {
			size_t i = 0, k = 0, left = cases[c].nrecord[s];
			uint64_t x = 0, y = 0;
			/* The first pass of a set, the new records left out. */
			for (; left; left--, i++, k++) {
				while (i < nfew && set_of(&few, a[i], &x) != s)
					i++;
				while (k < nmore && (set_of(&more, b[k], &y) != s || y >= cases[c].nrecord[s]))
					k++;
				if (i == nfew || k == nmore)
					break;
				CHECK_INT(x, y);
			}
		}
		world_release(&few);
		world_release(&more);
	}
}

TEST(one_set_is_taken_pass_by_pass)
{
	struct world w;
	world_open(&w, &cases[0], 0, 7);
	for (uint64_t epoch = 0; epoch < 5; epoch++) {
		size_t n, npass;
		uint32_t *order = mix_epoch(&w.a, &w.mix, &n);
		uint32_t *pass = pack_order(&w.a, w.set[0].t, 7, epoch, &npass);
		CHECK(n == npass && !memcmp(order, pass, n * sizeof(*order)));
	}
	world_release(&w);
}

TEST(tables_joined_hold_every_record_of_each)
{
	for (size_t c = 0; c < NELEM(cases); c++) {
		struct world w;
		world_open(&w, &cases[c], 0, 1);
		uint64_t answers = 0, tokens = 0;
		for (uint64_t k = 0, in_set; k < w.all.nrecord; k++) {
			size_t s = set_of(&w, k, &in_set);
			const struct token_record *r = &w.all.record[k];
			struct token_row got = token_table_row(&w.all, k), want = token_table_row(w.set[s].t, in_set);
			CHECK(r->answer_at == answers && r->token_at == tokens);
			CHECK(digest_equal(r->digest, w.set[s].t->record[in_set].digest));
			CHECK(got.prompt_tokens == want.prompt_tokens && got.nanswer == want.nanswer && got.gold == want.gold);
			CHECK(!memcmp(got.answer_tokens, want.answer_tokens, got.nanswer * sizeof(*got.answer_tokens)));
			CHECK(!memcmp(got.token, want.token, r->total_tokens * sizeof(*got.token)));
			answers += r->nanswer;
			tokens += r->total_tokens;
		}
		CHECK(answers == w.all.nanswer && tokens == w.all.ntoken);
		world_release(&w);
	}
}
