/*
 * Attention over keys and values of bf16, on tensor cores (after Dao et al. 2022, Dao 2023). mma's rows are 16 queries of a KV
 * head (a row of the program and a query head each), its columns slots, then features.
 *
 * In a step of 32 slots a thread (g = lane / 4, t = lane % 4 of its warp) reads words 2t and 2t + 1 of each 16 features of
 * slots 4g to 4g + 3 from panels, as dots do; so of the scores it has slots 8t to 8t + 7 for queries g and g + 8, which
 * is what it needs as an operand of the sum of values, of which it reads features g F to g F + F - 1 of those slots. Nothing
 * of that goes by way of shared memory.
 *
 * Slots go in ranges of RANGE from slot 0 on. A range begins anew, with the softmax of what it has seen so far; ranges are
 * added in order, scaled to the largest score until then. Few queries: the block's warps take a range each. Many: a warp takes
 * 16 queries through all of theirs. And a program that decodes, where a row has more slots than a block's warps can take at once: the warps
 * of all blocks take a range each, and behind a barrier blocks add them, each those of a query. A query's bits are the same.
 */
#include "cuda_heads.h"

enum { RANGE = 64, STEP = 32, QUERIES = 16, WARPS = GPU_THREADS / 32, FEW = WARPS * QUERIES, LONG = WARPS * RANGE /* slots */ };
_Static_assert(RANGE % STEP == 0, "whole steps");

struct shape {
	struct cuda_heads h;
	long long groups, features, words; /* words: of a slot's key */
	long long npanels, slots;
	int steps;                         /* of 16 features */
	int each;                          /* F: features of a thread's lanes */
	bool spares;                       /* registers: words of queries lie in shared memory, [step][8][lane] of each warp */
};

/* Words of a warp's queries, as they are rounded and what that lost. */
enum { QUERY_WORDS = 8 * 32 };

static struct shape shape_of(const struct graph *g, const struct node *n)
{
	struct shape s = {.h = cuda_heads(g, n)};
	s.groups = (long long)s.h.h.groups;
	s.features = (long long)s.h.h.features;
	s.slots = (long long)s.h.h.slots;
	s.words = (s.features + 1) / 2;
	s.npanels = (s.slots + PANEL - 1) / PANEL;
	s.steps = (int)((s.features + 15) / 16);
	s.each = (int)((s.features + 7) / 8);
	return s;
}

bool cuda_attention_by_mma(const struct graph *g, const struct node *n)
{
	enum { MOST_FEATURES = 128 }; /* registers */
	struct heads h = attention_heads(g, n);
	struct layout v = g->node[h.v].layout;
	return h.kv == DT_BF16 && h.features <= MOST_FEATURES && v.kind == LAYOUT_ROW && !v.pad;
}

static int64_t query_bytes(const struct shape *s)
{
	return (int64_t)WARPS * s->steps * QUERY_WORDS * 4;
}

/* Declares what a warp needs of its queries q0 + g and q0 + g + 8: their words, their slots, and the slots of all 16. */
static void declare_queries(struct cuda_fn *f, const struct shape *s)
{
	if (s->spares)
		cuda_line(f, "u32 *const words = (u32 *)shared + warp * %d + THREAD %% 32;", s->steps * QUERY_WORDS);
	else
		cuda_line(f, "u32 q[%d][4], rest[%d][4];", s->steps, s->steps);
	cuda_heads_slots(f, &s->h);
	cuda_open(f, "UNROLL for (int k = 0; k < %d; k++)", s->steps * 4);
	cuda_line(f, "const i64 query = q0 + g + k %% 2 * 8, n = query / %lld;", s->groups);
	cuda_line(f, "const int h = (int)(query %% %lld);", s->groups);
	cuda_line(f, "float x[2];");
	cuda_open(f, "UNROLL for (int i = 0; i < 2; i++)");
	cuda_line(f, "const int c = k / 4 * 16 + t * 4 + k / 2 %% 2 * 2 + i;");
	cuda_line(f, "x[i] = 0;");
	cuda_open(f, "if (query < nq && c < %lld)", s->features);
	cuda_line(f, "x[i] = %s;", cuda_heads_row(f, &s->h, s->h.h.q, "n", "b", "h", "c"));
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "const u32 y = pack_bf16(x[0], x[1]);");
	cuda_line(f, "%s = y;", s->spares ? "words[(k / 4 * 8 + k % 4) * 32]" : "q[k / 4][k % 4]");
	cuda_line(f, "%s = bf16_rest(x[0], x[1], y);",
		s->spares ? "words[(k / 4 * 8 + 4 + k % 4) * 32]" : "rest[k / 4][k % 4]");
	cuda_close(f);
	cuda_heads_spans(f);
}

/* x[r][e]: the score of query g + 8r at slot s0 + 8t + e. A query is f32, so what it lost by being rounded counts as well:
 * scores are large numbers, of which softmax makes even larger ones. */
static void scores(struct cuda_fn *f, const struct shape *s)
{
	cuda_line(f, "float c[4][4];");
	cuda_line(f, "UNROLL for (int i = 0; i < 16; i++) c[i / 4][i %% 4] = 0;");
	cuda_line(f, "const i64 panel = s0 / %d + g / 4;", PANEL);
	cuda_line(f, "const u8 *const keys = %s + ((b * %lldLL + panel) * %lld + g %% 4 * 4) * 4;", cuda_memory(f, s->h.h.kk),
		s->npanels, s->words * PANEL);
	cuda_open(f, "UNROLL for (int k = 0; k < %d; k++)", s->steps);
	cuda_line(f, "struct words4 y[2];");
	cuda_open(f, "UNROLL for (int i = 0; i < 2; i++)");
	cuda_line(f, "const int w = k * 8 + t * 2 + i;");
	if (s->slots % RANGE || s->features % 16) {
		cuda_line(f, "y[i] = no_words4();");
		cuda_line(f, "if (panel < %lld && w < %lld)", s->npanels, s->words);
	}
	cuda_line(f, "y[i] = panel_words4(keys, w);");
	if (s->features % 2)
		cuda_line(f, "if (w == %lld) y[i] = low_halves4(y[i]);", s->words - 1);
	cuda_close(f);
	cuda_line(f, "u32 z[8];");
	cuda_line(f, "UNROLL for (int i = 0; i < 8; i++) z[i] = %s;",
		s->spares ? "words[(k * 8 + i) * 32]" : "i < 4 ? q[k][i % 4] : rest[k][i % 4]");
	for (int i = 0; i < 8; i++) {
		int from = i % 2 * 4;
		char word = "xyzw"[i / 2];
		cuda_line(f, "mma_bf16(c[%d], z[%d], z[%d], z[%d], z[%d], y[0].%c, y[1].%c);", i / 2, from, from + 1, from + 2, from + 3, word,
			word);
	}
	cuda_close(f);
	cuda_line(f, "float x[2][8];");
	cuda_line(f, "UNROLL for (int i = 0; i < 16; i++) x[i / 8][i %% 8] = c[i %% 4][i / 8 * 2 + i / 4 %% 2];");
	cuda_open(f, "if (s0 < latest || s0 + %d > soonest)", STEP);
	cuda_open(f, "UNROLL for (int i = 0; i < 16; i++)");
	cuda_line(f, "const int r = i / 8, e = i %% 8, at = s0 + t * 8 + e;");
	cuda_line(f, "x[r][e] = at >= lo[r] && at < hi[r] ? x[r][e] : from_bits(0xff800000u);");
	cuda_close(f);
	cuda_close(f);
}

/* Turns x into weights, relative to the largest score of the range until now, and scales what was summed: w[r][k] are those of
 * slots 8t + 2k and 8t + 2k + 1. The sum counts them as they are rounded. */
static void softmax(struct cuda_fn *f, const struct shape *s)
{
	cuda_line(f, "u32 w[2][4];");
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "float most = m[r];");
	cuda_line(f, "UNROLL for (int e = 0; e < 8; e++) most = fmaxf(most, x[r][e]);");
	cuda_line(f, "most = fmaxf(most, from_bits(shuffle_xor(to_bits(most), 1)));");
	cuda_line(f, "most = fmaxf(most, from_bits(shuffle_xor(to_bits(most), 2)));");
	cuda_line(f, "const float scale = weight_of(m[r], most);");
	cuda_line(f, "m[r] = most;");
	cuda_line(f, "l[r] = l[r] * scale;");
	cuda_open(f, "UNROLL for (int k = 0; k < 4; k++)");
	cuda_line(f, "w[r][k] = pack_bf16(weight_of(x[r][2 * k], most), weight_of(x[r][2 * k + 1], most));");
	cuda_line(f, "l[r] = l[r] + (from_bits(w[r][k] << 16) + from_bits(w[r][k] & 0xffff0000u));");
	cuda_close(f);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) o[i][r * 2] = o[i][r * 2] * scale, o[i][r * 2 + 1] = o[i][r * 2 + 1] * scale;",
		s->each);
	cuda_close(f);
}

/* Whether a thread's features of a slot are whole lines. */
static bool has_lines(const struct shape *s)
{
	return s->features == s->each * 8 && s->each % 8 == 0;
}

/* o += w times y[4], the lines of slots 8t + 4k to 8t + 4k + 3. */
static void multiply_lines(struct cuda_fn *f)
{
	for (int i = 0; i < 8; i++)
		cuda_line(f, "mma_bf16(o[part * 8 + %d], w[0][k * 2], w[1][k * 2], w[0][k * 2 + 1], w[1][k * 2 + 1], %s_halves(y[0].%c, "
			"y[1].%c), %s_halves(y[2].%c, y[3].%c));", i, i % 2 ? "two_high" : "two_low", "xyzw"[i / 2], "xyzw"[i / 2],
			i % 2 ? "two_high" : "two_low", "xyzw"[i / 2], "xyzw"[i / 2]);
}

/* Few queries: a warp has few ranges, so what it waits for counts, and a step's values come with its keys. What no query of the warp sees is 0. */
static void load_values(struct cuda_fn *f, const struct shape *s)
{
	cuda_line(f, "struct words4 early[%d];", 8 * (s->each / 8));
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", 8 * (s->each / 8));
	cuda_line(f, "const int part = i / 8, at = s0 + t * 8 + i %% 8;");
	cuda_line(f, "early[i] = no_words4();");
	cuda_line(f, "if (at >= first && at < last) early[i] = *(const struct words4 *)(%s + ((b * %lldLL + at) * %lld + g * %d + part * 8) * 2);",
		cuda_memory(f, s->h.h.v), s->slots, s->features, s->each);
	cuda_close(f);
}

static void sum_early_values(struct cuda_fn *f, const struct shape *s)
{
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", 2 * (s->each / 8));
	cuda_line(f, "const int part = i / 2, k = i %% 2;");
	cuda_line(f, "const struct words4 *const y = &early[part * 8 + k * 4];");
	multiply_lines(f);
	cuda_close(f);
}

/* o += w times values, of slots that satisfy `known` ("": all do); the others count as 0. */
static void sum_some_values(struct cuda_fn *f, const struct shape *s, const char *known)
{
	const char *v = cuda_memory(f, s->h.h.v);
	bool lines = has_lines(s);
	cuda_open(f, "UNROLL for (int k = 0; k < 2; k++)");
	cuda_open(f, "UNROLL for (int part = 0; part < %d; part++)", lines ? s->each / 8 : s->each);
	if (lines) {
		cuda_line(f, "struct words4 y[4];");
		cuda_open(f, "UNROLL for (int i = 0; i < 4; i++)");
		if (*known) {
			cuda_line(f, "const int at = s0 + t * 8 + k * 4 + i;");
			cuda_line(f, "y[i] = no_words4();");
			cuda_line(f, "if (%s)", known);
		}
		cuda_line(f, "y[i] = *(const struct words4 *)(%s + ((row + k * 4 + i) * %lld + g * %d + part * 8) * 2);", v, s->features, s->each);
		cuda_close(f);
		multiply_lines(f);
	} else {
		cuda_line(f, "u32 y[4];");
		cuda_open(f, "UNROLL for (int i = 0; i < 4; i++)");
		cuda_line(f, "const int at = s0 + t * 8 + k * 4 + i, c = g * %d + part;", s->each);
		cuda_line(f, "(void)at;");
		cuda_line(f, "y[i] = element_bits(%s, (row + k * 4 + i) * %lld + c, %s%sc < %lld);", v, s->features, known, *known ? " && " : "",
			s->features);
		cuda_close(f);
		cuda_line(f, "mma_bf16(o[part], w[0][k * 2], w[1][k * 2], w[0][k * 2 + 1], w[1][k * 2 + 1], y[0] | y[1] << 16, "
			"y[2] | y[3] << 16);");
	}
	cuda_close(f);
	cuda_close(f);
}

/* What no query of the warp sees counts as 0: there may be anything. */
static void sum_values(struct cuda_fn *f, const struct shape *s)
{
	cuda_line(f, "const i64 row = b * %lldLL + s0 + t * 8;", s->slots);
	cuda_open(f, "if (s0 >= first && s0 + %d <= last)", STEP);
	sum_some_values(f, s, "");
	cuda_close(f);
	cuda_open(f, "else");
	sum_some_values(f, s, "at >= first && at < last");
	cuda_close(f);
}

/* Declares o, m and l of the range `range`. */
static void one_range(struct cuda_fn *f, const struct shape *s, bool few)
{
	cuda_line(f, "float o[%d][4], m[2], l[2];", s->each);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) o[i / 4][i %% 4] = 0;", s->each * 4);
	cuda_line(f, "UNROLL for (int r = 0; r < 2; r++) { m[r] = from_bits(0xff800000u); l[r] = 0; }");
	cuda_open(f, "for (int s0 = range * %d; s0 < range * %d + %d; s0 += %d)", RANGE, RANGE, RANGE, STEP);
	bool early = few && has_lines(s) && s->each == 8;
	if (early)
		load_values(f, s);
	scores(f, s);
	softmax(f, s);
	(early ? sum_early_values : sum_values)(f, s);
	cuda_close(f);
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "l[r] = l[r] + from_bits(shuffle_xor(to_bits(l[r]), 1));");
	cuda_line(f, "l[r] = l[r] + from_bits(shuffle_xor(to_bits(l[r]), 2));");
	cuda_close(f);
}

/* Stores what is made of variable `x`, feature c of query `query`. */
static void store(struct cuda_fn *f, const struct shape *s)
{
	int n = f->region->node[0];
	struct spot out;
	cuda_line(f, "const i64 n = query / %lld;", s->groups);
	cuda_line(f, "const int h = (int)(query %% %lld);", s->groups);
	spot_init(f, &out);
	cuda_heads_place(f, &s->h, &out, (const char *[NAT]){[AT_ROW] = "n", [AT_BATCH] = "b", [AT_GROUP] = "h", [AT_FEATURE] = "c"});
	spot_know(f, &out, n, "x");
	cuda_store_all(f, &out);
}

static void many_queries(struct cuda_fn *f, const struct shape *s)
{
	cuda_open(f, "for (i64 item = block; item < (nq + %d) / %d * %lld; item += blocks)", FEW - 1, FEW, (long long)s->h.h.batches);
	cuda_line(f, "const int b = (int)(item %% %lld);", (long long)s->h.h.batches);
	cuda_line(f, "const i64 q0 = item / %lld * %d + warp * %d;", (long long)s->h.h.batches, FEW, QUERIES);
	declare_queries(f, s);
	cuda_line(f, "float all[%d][4], most[2], sum[2];", s->each);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) all[i / 4][i %% 4] = 0;", s->each * 4);
	cuda_line(f, "UNROLL for (int r = 0; r < 2; r++) { most[r] = from_bits(0xff800000u); sum[r] = 0; }");
	cuda_open(f, "for (int range = first / %d; range * %d < last; range++)", RANGE, RANGE);
	one_range(f, s, false);
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "const float now = fmaxf(most[r], m[r]), a = weight_of(most[r], now), z = weight_of(m[r], now);");
	cuda_line(f, "const int some = to_bits(m[r]) != 0xff800000u;");
	cuda_line(f, "most[r] = now;");
	cuda_line(f, "sum[r] = some ? __fmaf_rn(sum[r], a, l[r] * z) : sum[r];");
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", s->each * 2);
	cuda_line(f, "float *const e = &all[i / 2][r * 2 + i %% 2];");
	cuda_line(f, "*e = some ? __fmaf_rn(*e, a, o[i / 2][r * 2 + i %% 2] * z) : *e;");
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", s->each * 4);
	cuda_line(f, "const i64 query = q0 + g + i / 2 %% 2 * 8;");
	cuda_line(f, "const int c = (2 * t + i %% 2) * %d + i / 4;", s->each);
	cuda_open(f, "if (query < nq && c < %lld)", s->features);
	cuda_line(f, "const float x = __fdiv_rn(all[i / 4][i %% 4], sum[i / 2 %% 2]);");
	store(f, s);
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

/* Shared memory: what the warps' ranges come to, by warp and query, and what all do; largest scores and sums of weights
 * likewise, behind those of the warps all's; and by what to add, two factors by warp and query. */
static int64_t declare_shared(struct cuda_fn *f, const struct shape *s)
{
	long long part = QUERIES * s->features;
	cuda_line(f, "float *const parts = (float *)shared, *const all = parts + %lld;", WARPS * part);
	cuda_line(f, "float *const most = all + %lld, *const sums = most + %d, *const factor = sums + %d;", part, (WARPS + 1) * QUERIES,
		(WARPS + 1) * QUERIES);
	return ((WARPS + 1) * part + 2 * (WARPS + 1) * QUERIES + 2 * WARPS * QUERIES) * 4;
}

/* Adds the ranges of all warps, in order; a factor below 0: there is nothing to add. */
static void merge(struct cuda_fn *f, const struct shape *s)
{
	cuda_line(f, "sync_block();");
	cuda_open(f, "if (THREAD < %d)", QUERIES);
	cuda_line(f, "float have = most[%d + THREAD], total = sums[%d + THREAD];", WARPS * QUERIES, WARPS * QUERIES);
	cuda_open(f, "for (int i = THREAD; i < %d; i += %d)", WARPS * QUERIES, QUERIES);
	cuda_line(f, "const int some = to_bits(most[i]) != 0xff800000u;");
	cuda_line(f, "const float now = fmaxf(have, most[i]), a = weight_of(have, now), z = weight_of(most[i], now);");
	cuda_line(f, "factor[i * 2] = some ? a : -1.0f;");
	cuda_line(f, "factor[i * 2 + 1] = z;");
	cuda_line(f, "total = some ? __fmaf_rn(total, a, sums[i] * z) : total;");
	cuda_line(f, "have = now;");
	cuda_close(f);
	cuda_line(f, "most[%d + THREAD] = have;", WARPS * QUERIES);
	cuda_line(f, "sums[%d + THREAD] = total;", WARPS * QUERIES);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", QUERIES * s->features);
	cuda_line(f, "float x = all[i];");
	cuda_open(f, "for (int u = 0; u < %d; u++)", WARPS);
	cuda_line(f, "const float *const by = factor + (u * %d + i / %lld) * 2;", QUERIES, s->features);
	cuda_line(f, "if (by[0] >= 0) x = __fmaf_rn(x, by[0], parts[u * %lld + i] * by[1]);", QUERIES * s->features);
	cuda_close(f);
	cuda_line(f, "all[i] = x;");
	cuda_close(f);
	cuda_line(f, "sync_block();");
}

static void few_queries(struct cuda_fn *f, const struct shape *s)
{
	long long elements = QUERIES * s->features;
	int64_t shared = declare_shared(f, s);
	f->shared_bytes = shared > f->shared_bytes ? shared : f->shared_bytes;
	cuda_open(f, "for (i64 item = block; item < (nq + %d) / %d * %lld; item += blocks)", QUERIES - 1, QUERIES,
		(long long)s->h.h.batches);
	cuda_line(f, "const int b = (int)(item %% %lld);", (long long)s->h.h.batches);
	cuda_line(f, "const i64 q0 = item / %lld * %d;", (long long)s->h.h.batches, QUERIES);
	declare_queries(f, s);
	cuda_line(f, "sync_block();");
	cuda_line(f, "for (int i = THREAD; i < %lld; i += THREADS) all[i] = 0;", elements);
	cuda_line(f, "for (int i = THREAD; i < %d; i += THREADS) { most[%d + i] = from_bits(0xff800000u); sums[%d + i] = 0; }", QUERIES,
		WARPS * QUERIES, WARPS * QUERIES);
	cuda_open(f, "for (int range0 = first / %d; range0 * %d < last; range0 += %d)", RANGE, RANGE, WARPS);
	cuda_line(f, "const int range = range0 + warp;");
	cuda_open(f, "if (range * %d < last)", RANGE);
	one_range(f, s, true);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", s->each * 4);
	cuda_line(f, "const int query = g + i / 2 %% 2 * 8, c = (2 * t + i %% 2) * %d + i / 4;", s->each);
	cuda_line(f, "if (c < %lld) parts[(warp * %d + query) * %lld + c] = o[i / 4][i %% 4];", s->features, QUERIES, s->features);
	cuda_close(f);
	cuda_open(f, "if (t == 0)");
	cuda_line(f, "UNROLL for (int r = 0; r < 2; r++) { most[warp * %d + g + 8 * r] = m[r]; sums[warp * %d + g + 8 * r] = l[r]; }",
		QUERIES, QUERIES);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "else if (THREAD %% 32 < %d) most[warp * %d + THREAD %% 32] = from_bits(0xff800000u);", QUERIES, QUERIES);
	merge(f, s);
	cuda_close(f);
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", elements);
	cuda_line(f, "const i64 query = q0 + i / %lld;", s->features);
	cuda_line(f, "const int c = i %% %lld;", s->features);
	cuda_open(f, "if (query < nq)");
	cuda_line(f, "const float x = __fdiv_rn(all[i], sums[%d + i / %lld]);", WARPS * QUERIES, s->features);
	store(f, s);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_close(f);
}

/* ---- many slots of few queries ---- */

bool cuda_attention_splits(const struct graph *g, const struct region *r)
{
	const struct node *n = &g->node[r->node[0]];
	if (n->op != OP_ATTENTION || !cuda_attention_by_mma(g, n) || !graph_has_few_rows(g))
		return false;
	return attention_heads(g, n).slots > LONG && g->node[attention_heads(g, n).hi].op == OP_INPUT;
}

/* Declares seen: the most slots that a row has, counted from 0; not asked for where no row has many. */
static void declare_seen(struct cuda_fn *f, const struct shape *s, const char *known)
{
	cuda_line(f, "int seen = 0;");
	cuda_open(f, "for (i64 n = 0; %sn < %s; n++)", known, cuda_extent(f, s->h.row));
	cuda_line(f, "const int hi = load_i32(%s, n);", cuda_memory(f, s->h.h.hi));
	cuda_line(f, "seen = hi > seen ? hi : seen;");
	cuda_close(f);
}

void cuda_attention_long(struct cuda_fn *f)
{
	struct shape s = shape_of(f->g, &f->g->node[f->region->node[0]]);
	declare_seen(f, &s, "");
	cuda_line(f, "return seen > %d;", LONG);
}

/* What a range comes to in scratch, floats: sums by query, then largest scores, then sums of weights. */
static long long part_floats(const struct shape *s)
{
	return QUERIES * (s->features + 2);
}

static void declare_parts(struct cuda_fn *f, const struct shape *s, const char *query)
{
	long long most = (s->slots + RANGE - 1) / RANGE;
	long long queries = (long long)f->g->axis[s->h.row].extent * s->groups, groups = (queries + QUERIES - 1) / QUERIES;
	f->scratch_bytes = (int64_t)(groups * (long long)s->h.h.batches * most * part_floats(s) * 4);
	cuda_line(f, "float *const parts = (float *)scratch + (%s / %d * %lld + b) * %lldLL;", query, QUERIES, (long long)s->h.h.batches,
		most * part_floats(s));
}

static void split_ranges(struct cuda_fn *f, const struct shape *few)
{
	struct shape split = *few;
	const struct shape *s = &split;
	long long batches = (long long)few->h.h.batches;
	split.spares = true;
	f->shared_bytes = query_bytes(s) > f->shared_bytes ? query_bytes(s) : f->shared_bytes;
	cuda_line(f, "const int nrange = (seen + %d) / %d;", RANGE - 1, RANGE);
	cuda_open(f, "for (i64 item = warp * (i64)blocks + block; item < (nq + %d) / %d * %lld * nrange; item += %d * (i64)blocks)", QUERIES - 1,
		QUERIES, batches, WARPS);
	cuda_line(f, "const int range = (int)(item %% nrange), b = (int)(item / nrange %% %lld);", batches);
	cuda_line(f, "const i64 q0 = item / nrange / %lld * %d;", batches, QUERIES);
	declare_parts(f, s, "q0");
	cuda_line(f, "float *const part = parts + range * %lld, *const most = part + %lld;", part_floats(s), QUERIES * s->features);
	declare_queries(f, s);
	cuda_open(f, "if (range * %d < last && range * %d + %d > first)", RANGE, RANGE, RANGE);
	one_range(f, s, true);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", s->each * 4);
	cuda_line(f, "const int query = g + i / 2 %% 2 * 8, c = (2 * t + i %% 2) * %d + i / 4;", s->each);
	cuda_line(f, "if (q0 + query < nq && c < %lld) part[query * %lld + c] = o[i / 4][i %% 4];", s->features, s->features);
	cuda_close(f);
	cuda_open(f, "if (t == 0)");
	cuda_line(f, "UNROLL for (int r = 0; r < 2; r++) { most[g + 8 * r] = m[r]; most[%d + g + 8 * r] = l[r]; }", QUERIES);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "else if (THREAD %% 32 < %d) most[THREAD %% 32] = from_bits(0xff800000u);", QUERIES);
	cuda_close(f);
}

/* By what ranges r0 to r0 + 255 are scaled, one a thread: factor and weighted as merge has them. The largest score until a range is no
 * sum: it can be found by all threads at once. `have` becomes that until the next ranges. */
static void scale_ranges(struct cuda_fn *f)
{
	cuda_line(f, "const float mine = r0 + THREAD < nrange ? at[0] : from_bits(0xff800000u);");
	cuda_line(f, "most[THREAD] = mine;");
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int d = 1; d < THREADS; d *= 2)");
	cuda_line(f, "const float other = most[THREAD >= d ? THREAD - d : THREAD];");
	cuda_line(f, "sync_block();");
	cuda_line(f, "most[THREAD] = fmaxf(most[THREAD], other);");
	cuda_line(f, "sync_block();");
	cuda_close(f);
	cuda_line(f, "const float before = THREAD ? fmaxf(have, most[THREAD - 1]) : have, now = fmaxf(before, mine);");
	cuda_line(f, "const float z = weight_of(mine, now);");
	cuda_line(f, "factor[THREAD * 2] = to_bits(mine) != 0xff800000u ? weight_of(before, now) : -1.0f;");
	cuda_line(f, "factor[THREAD * 2 + 1] = z;");
	cuda_line(f, "weighted[THREAD] = r0 + THREAD < nrange ? at[%d] * z : 0.0f;", QUERIES);
	cuda_line(f, "have = fmaxf(have, most[THREADS - 1]);");
	cuda_line(f, "sync_block();");
}

static void merge_ranges(struct cuda_fn *f, const struct shape *s)
{
	enum { TOGETHER = 32 }; /* ranges that are asked for at once */
	long long batches = (long long)s->h.h.batches;
	int64_t shared = 4 * GPU_THREADS * 4;
	f->shared_bytes = shared > f->shared_bytes ? shared : f->shared_bytes;
	cuda_line(f, "if (seen <= %d) return;", LONG);
	cuda_line(f, "const int nrange = (seen + %d) / %d;", RANGE - 1, RANGE);
	cuda_line(f, "float *const most = (float *)shared, *const factor = most + THREADS, *const weighted = factor + 2 * THREADS;");
	cuda_open(f, "for (i64 item = block; item < nq * %lld; item += blocks)", batches);
	cuda_line(f, "const int b = (int)(item %% %lld), c = THREAD;", batches);
	cuda_line(f, "const i64 query = item / %lld;", batches);
	declare_parts(f, s, "query");
	cuda_line(f, "float have = from_bits(0xff800000u), total = 0, sum = 0;");
	cuda_open(f, "for (int r0 = 0; r0 < nrange; r0 += THREADS)");
	cuda_line(f, "const float *const at = parts + (i64)(r0 + THREAD) * %lld + %lld + query %% %d;", part_floats(s), QUERIES * s->features,
		QUERIES);
	scale_ranges(f);
	cuda_line(f, "const float *const from = parts + (i64)r0 * %lld + query %% %d * %lld + c;", part_floats(s), QUERIES, s->features);
	cuda_line(f, "const int end = c < %lld ? nrange - r0 < THREADS ? nrange - r0 : THREADS : 0;", s->features);
	cuda_open(f, "for (int j0 = 0; j0 < end; j0 += %d)", TOGETHER);
	cuda_line(f, "float x[%d];", TOGETHER);
	cuda_line(f, "UNROLL for (int j = 0; j < %d; j++) x[j] = j0 + j < end ? from[(i64)(j0 + j) * %lld] : 0.0f;", TOGETHER, part_floats(s));
	cuda_open(f, "UNROLL for (int j = 0; j < %d; j++)", TOGETHER);
	cuda_open(f, "if (j0 + j < end && factor[(j0 + j) * 2] >= 0)");
	cuda_line(f, "sum = __fmaf_rn(sum, factor[(j0 + j) * 2], x[j] * factor[(j0 + j) * 2 + 1]);");
	cuda_line(f, "total = __fmaf_rn(total, factor[(j0 + j) * 2], weighted[j0 + j]);");
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_close(f);
	cuda_open(f, "if (c < %lld)", s->features);
	cuda_line(f, "const float x = __fdiv_rn(sum, total);");
	store(f, s);
	cuda_close(f);
	cuda_close(f);
}

void cuda_attention_mma(struct cuda_fn *f, int part)
{
	struct shape s = shape_of(f->g, &f->g->node[f->region->node[0]]);
	bool many = f->g->axis[s.h.row].extent * s.groups > FEW, splits = cuda_attention_splits(f->g, f->region);
	cuda_line(f, "const i64 nq = %s * (i64)%lld;", cuda_extent(f, s.h.row), s.groups);
	cuda_line(f, "const int warp = THREAD / 32, g = THREAD %% 32 / 4, t = THREAD %% 4;");
	if (splits)
		declare_seen(f, &s, "is_long && ");
	if (part) {
		cuda_line(f, "(void)warp, (void)g, (void)t;");
		merge_ranges(f, &s);
		return;
	}
	if (splits) {
		cuda_open(f, "if (seen > %d)", LONG);
		split_ranges(f, &s);
		cuda_line(f, "return;");
		cuda_close(f);
	}
	if (many)
		cuda_open(f, "if (nq <= %d)", FEW);
	few_queries(f, &s);
	if (many) {
		cuda_line(f, "return;");
		cuda_close(f);
		s.spares = s.features > 64;
		if (s.spares && query_bytes(&s) > f->shared_bytes)
			f->shared_bytes = query_bytes(&s);
		many_queries(f, &s);
	}
}
