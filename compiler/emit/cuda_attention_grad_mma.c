/*
 * Gradients of attention over keys and values of bf16, on tensor cores (after Dao et al. 2022, Dao 2023), by the two kernels of
 * cuda_attention_grad.c: rows, then slots. In either a warp has 16 of the one kind as mma's rows and walks 32 of the other, by
 * which the products of both come to lie in a thread as it needs them for the next ones: slots (or rows) 8t to 8t + 7 for rows
 * (or slots) g and g + 8, with g = lane / 4, t = lane % 4 (cuda_attention_mma.c).
 *
 * What is rounded to bf16: gradients of the result, weights before they are divided by their sum, as in the forward pass, and again
 * behind it, gradients of scores, and queries; of those what the rounding lost counts in scores. All sums are f32, in order of
 * slots or rows, by steps of 32.
 *
 * Generated code has the names g, t, warp, b and h of a place, `words` of the warp's rows (declare_words), k of a step and y of the
 * other operand's words; what a function here emits relies on those that stand before it.
 */
#include "cuda_heads.h"

enum { STEP = 32, ROWS = 16, WARPS = GPU_THREADS / 32, BLOCK_ROWS = WARPS * ROWS, KEPT = KEPT_OF_ROW };

/* Words of a warp's rows: four of each 16 features, by what they are of. */
enum { OF_QUERY, OF_QUERY_REST, OF_DOUT, NOF_ROWS };
enum { OF_KEY, OF_VALUE, NOF_SLOTS };

struct shape {
	struct cuda_heads h;
	int dout, o;           /* nodes */
	int dq, dk, dv;        /* nodes; -1: not wanted */
	long long groups, features, slots, most;
	int steps, each;       /* of 16 features; features of a thread's lanes */
	int noperand;
	bool spares;           /* registers: the words lie in shared memory, [step][operand][4][lane] of each warp */
};

static struct shape shape_of(const struct cuda_fn *f, int noperand)
{
	const struct node *n = &f->g->node[f->region->node[0]];
	struct shape s = {.h = cuda_heads(f->g, n), .o = n->src[5], .dout = n->src[6], .dq = cuda_heads_node(f, OP_ATTENTION_DQ),
		.dk = cuda_heads_node(f, OP_ATTENTION_DK), .dv = cuda_heads_node(f, OP_ATTENTION_DV), .noperand = noperand};
	s.groups = (long long)s.h.h.groups;
	s.features = (long long)s.h.h.features;
	s.slots = (long long)s.h.h.slots;
	s.most = (long long)f->g->axis[s.h.row].extent;
	s.steps = (int)(s.features / 16);
	s.each = (int)(s.features / 8);
	s.spares = s.features > 64;
	return s;
}

bool cuda_attention_grad_by_mma(const struct graph *g, const struct node *n)
{
	enum { MOST_FEATURES = 128 }; /* registers */
	struct heads h = attention_heads(g, n);
	const struct layout k = g->node[h.kk].layout, v = g->node[h.v].layout;
	return h.kv == DT_BF16 && h.features % 16 == 0 && h.features <= MOST_FEATURES && k.kind == LAYOUT_ROW && !k.pad &&
		v.kind == LAYOUT_ROW && !v.pad;
}

/* Of a warp, where they lie in shared memory. */
static int nwords(const struct shape *s)
{
	return s->steps * s->noperand * 4 * 32;
}

static long long words_bytes(const struct shape *s)
{
	return s->spares ? (long long)WARPS * nwords(s) * 4 : 0;
}

static void declare_words(struct cuda_fn *f, const struct shape *s)
{
	if (s->spares)
		cuda_line(f, "u32 *const words = (u32 *)shared + warp * %d + THREAD %% 32;", nwords(s));
	else
		cuda_line(f, "u32 words[%d][%d];", s->steps, s->noperand * 4);
}

/* Word i, a number or an expression, of an operand in step k. */
static const char *word(struct cuda_fn *f, const struct shape *s, int operand, const char *i)
{
	return s->spares ? cuda_text(f, "words[(k * %d + %d + %s) * 32]", s->noperand * 4, operand * 4, i)
			 : cuda_text(f, "words[k][%d + %s]", operand * 4, i);
}

static void multiply(struct cuda_fn *f, const struct shape *s, const char *sums, int operand)
{
	cuda_line(f, "UNROLL for (int i = 0; i < 4; i++) mma_bf16(%s[i], %s, %s, %s, %s, y[i].x, y[i].y);", sums, word(f, s, operand, "0"),
		word(f, s, operand, "1"), word(f, s, operand, "2"), word(f, s, operand, "3"));
}

static void declare_sums(struct cuda_fn *f, const char *name, int n)
{
	cuda_line(f, "float %s[%d][4];", name, n);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) %s[i / 4][i %% 4] = 0;", n * 4, name);
}

/* Which element of mma's results is that of row g + 8r and column 8t + e. */
static const char *const place = "[e % 4][r * 2 + e / 4]";

/* Expressions: the address of word 0 of line 8t + 4k + i, of which the features of lanes g are taken, so many words at once, where
 * `there` says so. */
struct lines {
	const char *line, *there;
	int words;
};

/* sums += w times lines; w[r][j] is a word of columns 8t + 2j and 8t + 2j + 1. */
static void sum_lines(struct cuda_fn *f, const struct shape *s, const char *sums, const char *w, const struct lines *l)
{
	int words = l->words;
	static const char *const line_types[] = {[1] = "u32", [2] = "struct words2", [4] = "struct words4"};
	cuda_open(f, "UNROLL for (int k = 0; k < 2; k++)");
	cuda_open(f, "UNROLL for (int part = 0; part < %d; part++)", s->each / 2 / words);
	cuda_line(f, "u32 y[4][%d];", words);
	cuda_open(f, "UNROLL for (int i = 0; i < 4; i++)");
	cuda_line(f, "UNROLL for (int j = 0; j < %d; j++) y[i][j] = 0;", words);
	cuda_open(f, "if (%s)", l->there);
	cuda_line(f, "const %s from = *(const %s *)(%s + g * %d + part * %d);", line_types[words], line_types[words], l->line, s->each / 2,
		words);
	for (int j = 0; j < words; j++)
		cuda_line(f, words == 1 ? "y[i][%d] = from;" : "y[i][%d] = from.%c;", j, "xyzw"[j]);
	cuda_close(f);
	cuda_close(f);
	cuda_open(f, "UNROLL for (int j = 0; j < %d; j++)", words);
	cuda_line(f, "float *const low = %s[(part * %d + j) * 2], *const high = %s[(part * %d + j) * 2 + 1];", sums, words, sums, words);
	cuda_line(f, "mma_bf16(low, %s[0][k * 2], %s[1][k * 2], %s[0][k * 2 + 1], %s[1][k * 2 + 1], two_low_halves(y[0][j], y[1][j]), "
		"two_low_halves(y[2][j], y[3][j]));", w, w, w, w);
	cuda_line(f, "mma_bf16(high, %s[0][k * 2], %s[1][k * 2], %s[0][k * 2 + 1], %s[1][k * 2 + 1], two_high_halves(y[0][j], y[1][j]), "
		"two_high_halves(y[2][j], y[3][j]));", w, w, w, w);
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

/* How many words of a lane's features can be read at once where lines are aligned to `most`. */
static int words_at_once(const struct shape *s, int most)
{
	int n = s->each / 2;
	return n % most == 0 ? most : n % 2 == 0 ? 2 : 1;
}

/* Stores sums as node n, of the warp's queries from q0 on or slots from s0 on: `at` is AT_ROW or AT_SLOT. */
static void store_sums(struct cuda_fn *f, const struct shape *s, int n, const char *sums, int at)
{
	struct spot out;
	const char *where[NAT] = {[AT_BATCH] = "b", [AT_GROUP] = "h", [AT_FEATURE] = "c"};
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", s->each * 4);
	cuda_line(f, "const i64 row = %s + g + i / 2 %% 2 * 8;", at == AT_ROW ? "q0" : "s0");
	cuda_line(f, "const int c = (2 * t + i %% 2) * %d + i / 4;", s->each);
	cuda_open(f, "if (row < %s)", at == AT_ROW ? "nq" : "nslots");
	cuda_line(f, "const float x = %s[i / 4][i %% 4];", sums);
	if (at == AT_ROW) {
		cuda_line(f, "const i64 n = row / %lld;", s->groups);
		cuda_line(f, "const int h = (int)(row %% %lld);", s->groups);
	}
	where[at] = at == AT_ROW ? "n" : "row";
	spot_init(f, &out);
	cuda_heads_place(f, &s->h, &out, where);
	spot_know(f, &out, n, "x");
	cuda_store(f, n, &out);
	cuda_close(f);
	cuda_close(f);
}

/* ---- rows: 16 queries of a KV head, rows of the program and query heads of each, to a warp ---- */

static void declare_queries(struct cuda_fn *f, const struct shape *s)
{
	declare_words(f, s);
	cuda_heads_slots(f, &s->h);
	cuda_heads_spans(f);
	cuda_line(f, "float delta[2];");
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "const i64 query = q0 + g + 8 * r, n = query / %lld;", s->groups);
	cuda_line(f, "const int known = query < nq, h = (int)(query %% %lld);", s->groups);
	cuda_line(f, "delta[r] = 0;");
	cuda_open(f, "for (int c = t; known && c < %lld; c += 4)", s->features);
	const char *dout = cuda_heads_row(f, &s->h, s->dout, "n", "b", "h", "c"), *o = cuda_heads_row(f, &s->h, s->o, "n", "b", "h", "c");
	/* As rounded as dp's is, from which it is to be taken: where one slot has all the weight nothing shall be left. */
	cuda_line(f, "delta[r] = __fmaf_rn(round_bf16(%s), %s, delta[r]);", dout, o);
	cuda_close(f);
	cuda_line(f, "delta[r] = delta[r] + from_bits(shuffle_xor(to_bits(delta[r]), 1));");
	cuda_line(f, "delta[r] = delta[r] + from_bits(shuffle_xor(to_bits(delta[r]), 2));");
	cuda_close(f);
	cuda_open(f, "UNROLL for (int k = 0; k < %d; k++)", s->steps);
	cuda_open(f, "UNROLL for (int i = 0; i < 4; i++)");
	cuda_line(f, "const i64 query = q0 + g + i %% 2 * 8, n = query / %lld;", s->groups);
	cuda_line(f, "const int h = (int)(query %% %lld);", s->groups);
	cuda_line(f, "float x[2], d[2];");
	cuda_open(f, "UNROLL for (int j = 0; j < 2; j++)");
	cuda_line(f, "const int c = k * 16 + t * 4 + i / 2 * 2 + j;");
	cuda_line(f, "x[j] = d[j] = 0;");
	cuda_open(f, "if (query < nq)");
	cuda_line(f, "x[j] = %s;", cuda_heads_row(f, &s->h, s->h.h.q, "n", "b", "h", "c"));
	cuda_line(f, "d[j] = %s;", cuda_heads_row(f, &s->h, s->dout, "n", "b", "h", "c"));
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "const u32 y = pack_bf16(x[0], x[1]);");
	cuda_line(f, "%s = y;", word(f, s, OF_QUERY, "i"));
	cuda_line(f, "%s = bf16_rest(x[0], x[1], y);", word(f, s, OF_QUERY_REST, "i"));
	cuda_line(f, "%s = pack_bf16(d[0], d[1]);", word(f, s, OF_DOUT, "i"));
	cuda_close(f);
	cuda_close(f);
}

/* Declares sums: of the warp's rows with slots s0 + 4g + i of k or v. */
static void slot_products(struct cuda_fn *f, const struct shape *s, const char *sums, int node, int operand)
{
	declare_sums(f, sums, 4);
	cuda_block(f);
	cuda_line(f, "const u8 *const from = %s + ((b * %lldLL + s0 + g * 4) * %lld + t * 4) * 2;", cuda_memory(f, node), s->slots,
		s->features);
	cuda_open(f, "UNROLL for (int k = 0; k < %d; k++)", s->steps);
	cuda_line(f, "struct words2 y[4];");
	cuda_open(f, "UNROLL for (int i = 0; i < 4; i++)");
	cuda_line(f, "const int at = s0 + g * 4 + i;");
	cuda_line(f, "y[i].x = y[i].y = 0;");
	cuda_line(f, "if (at >= first && at < last) y[i] = *(const struct words2 *)(from + (i * %lld + k * 16) * 2);", s->features);
	cuda_close(f);
	multiply(f, s, sums, operand);
	if (operand == OF_QUERY)
		multiply(f, s, sums, OF_QUERY_REST);
	cuda_close(f);
	cuda_close(f);
}

/* Declares x[r][e]: scores, those that count not at all minus infinity. */
static void scores(struct cuda_fn *f, const struct shape *s)
{
	slot_products(f, s, "score", s->h.h.kk, OF_QUERY);
	cuda_line(f, "float x[2][8];");
	cuda_open(f, "UNROLL for (int i = 0; i < 16; i++)");
	cuda_line(f, "const int r = i / 8, e = i %% 8, at = s0 + t * 8 + e;");
	cuda_line(f, "x[r][e] = at >= lo[r] && at < hi[r] ? score%s : from_bits(0xff800000u);", place);
	cuda_close(f);
}

/* Declares m and by, 1 / sum of weights, and leaves them and delta for the slots. */
static void statistics(struct cuda_fn *f, const struct shape *s)
{
	cuda_line(f, "float m[2], by[2];");
	cuda_line(f, "UNROLL for (int r = 0; r < 2; r++) { m[r] = from_bits(0xff800000u); by[r] = 0; }");
	cuda_open(f, "for (int s0 = first / %d * %d; s0 < last; s0 += %d)", STEP, STEP, STEP);
	scores(f, s);
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "float most = m[r];");
	cuda_line(f, "UNROLL for (int e = 0; e < 8; e++) most = fmaxf(most, x[r][e]);");
	cuda_line(f, "most = fmaxf(most, from_bits(shuffle_xor(to_bits(most), 1)));");
	cuda_line(f, "most = fmaxf(most, from_bits(shuffle_xor(to_bits(most), 2)));");
	cuda_line(f, "by[r] = by[r] * weight_of(m[r], most);");
	cuda_line(f, "UNROLL for (int e = 0; e < 8; e++) by[r] = by[r] + round_bf16(weight_of(x[r][e], most));");
	cuda_line(f, "m[r] = most;");
	cuda_close(f);
	cuda_close(f);
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "const i64 query = q0 + g + 8 * r;");
	cuda_line(f, "by[r] = by[r] + from_bits(shuffle_xor(to_bits(by[r]), 1));");
	cuda_line(f, "by[r] = by[r] + from_bits(shuffle_xor(to_bits(by[r]), 2));");
	cuda_line(f, "by[r] = query < nq ? __fdiv_rn(1.0f, by[r]) : 0.0f;");
	cuda_open(f, "if (query < nq && t == 0)");
	cuda_line(f, "const i64 at = ((b * %lld + query %% %lld) * %lldL + query / %lld) * %d;", s->groups, s->groups, s->most, s->groups,
		KEPT);
	cuda_line(f, "store_f32(scratch, at, m[r]);");
	cuda_line(f, "store_f32(scratch, at + 1, by[r]);");
	cuda_line(f, "store_f32(scratch, at + 2, delta[r]);");
	cuda_close(f);
	cuda_close(f);
}

static void query_gradients(struct cuda_fn *f, const struct shape *s)
{
	declare_sums(f, "dq", s->each);
	cuda_open(f, "for (int s0 = first / %d * %d; s0 < last; s0 += %d)", STEP, STEP, STEP);
	scores(f, s);
	slot_products(f, s, "dp", s->h.h.v, OF_DOUT);
	cuda_line(f, "u32 w[2][4];");
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "float ds[8];");
	cuda_line(f, "UNROLL for (int e = 0; e < 8; e++) ds[e] = round_bf16(weight_of(x[r][e], m[r])) * by[r] * (dp%s - delta[r]);",
		place);
	cuda_line(f, "UNROLL for (int j = 0; j < 4; j++) w[r][j] = pack_bf16(ds[j * 2], ds[j * 2 + 1]);");
	cuda_close(f);
	cuda_line(f, "const u32 *const lines = (const u32 *)(%s + (b * %lldLL + s0 + t * 8) * %lld);", cuda_memory(f, s->h.h.kk), s->slots,
		s->features * 2);
	const struct lines keys = {cuda_text(f, "lines + (k * 4 + i) * %lld", s->features / 2),
		"s0 + t * 8 + k * 4 + i >= first && s0 + t * 8 + k * 4 + i < last", words_at_once(s, 4)};
	sum_lines(f, s, "dq", "w", &keys);
	cuda_close(f);
	store_sums(f, s, s->dq, "dq", AT_ROW);
}

void cuda_attention_grad_rows_mma(struct cuda_fn *f)
{
	struct shape s = shape_of(f, NOF_ROWS);
	f->shared_bytes = words_bytes(&s);
	cuda_line(f, "const i64 nq = %s * (i64)%lld;", cuda_extent(f, s.h.row), s.groups);
	cuda_line(f, "const int warp = THREAD / 32, g = THREAD %% 32 / 4, t = THREAD %% 4;");
	cuda_open(f, "for (i64 item = block; item < (nq + %d) / %d * %lld; item += blocks)", BLOCK_ROWS - 1, BLOCK_ROWS,
		(long long)s.h.h.batches);
	cuda_line(f, "const int b = (int)(item %% %lld);", (long long)s.h.h.batches);
	cuda_line(f, "const i64 q0 = item / %lld * %d + warp * %d;", (long long)s.h.h.batches, BLOCK_ROWS, ROWS);
	declare_queries(f, &s);
	statistics(f, &s);
	if (s.dq >= 0)
		query_gradients(f, &s);
	cuda_close(f);
}

/* ---- slots: 16 of a query head's to a warp, the same head for all of a block ---- */

/* Shared memory behind the words: of a tile of rows their queries, what rounding those lost, and gradients of the result, a
 * line each; then what rows_mma left of each row, and its slots. Lines are apart so that 8 of them in a column meet in no bank. */
struct tile {
	long long line, part; /* words */
};

static struct tile declare_tile(struct cuda_fn *f, const struct shape *s)
{
	struct tile tile = {s->features / 2 + 2, 0};
	tile.part = STEP * tile.line;
	cuda_line(f, "u32 *const query = (u32 *)(shared + %lld), *const rest = query + %lld, *const dout = rest + %lld;", words_bytes(s),
		tile.part, tile.part);
	cuda_line(f, "float *const kept = (float *)(dout + %lld);", tile.part);
	cuda_line(f, "int *const seen = (int *)(kept + %d);", KEPT * STEP);
	f->shared_bytes = words_bytes(s) + (3 * tile.part + (KEPT + 2) * STEP) * 4;
	return tile;
}

static void load_slots(struct cuda_fn *f, const struct shape *s)
{
	declare_words(f, s);
	cuda_open(f, "UNROLL for (int k = 0; k < %d; k++)", s->steps);
	cuda_open(f, "UNROLL for (int i = 0; i < 4; i++)");
	cuda_line(f, "const i64 slot = s0 + g + i %% 2 * 8, at = (b * %lldLL + slot) * %lld + k * 8 + t * 2 + i / 2;", s->slots,
		s->features / 2);
	cuda_line(f, "%s = slot < nslots ? load_word(%s, at) : 0;", word(f, s, OF_KEY, "i"), cuda_memory(f, s->h.h.kk));
	cuda_line(f, "%s = slot < nslots ? load_word(%s, at) : 0;", word(f, s, OF_VALUE, "i"), cuda_memory(f, s->h.h.v));
	cuda_close(f);
	cuda_close(f);
}

/* Rows n0 to n0 + 31; those that are not there see no slot. */
static void load_tile(struct cuda_fn *f, const struct shape *s, const struct tile *tile)
{
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", STEP * (s->features / 2));
	cuda_line(f, "const i64 n = n0 + i / %lld;", s->features / 2);
	cuda_line(f, "const int at = i / %lld * %lld + i %% %lld;", s->features / 2, tile->line, s->features / 2);
	cuda_line(f, "float x[2], d[2];");
	cuda_open(f, "UNROLL for (int j = 0; j < 2; j++)");
	cuda_line(f, "const int c = i %% %lld * 2 + j;", s->features / 2);
	cuda_line(f, "x[j] = d[j] = 0;");
	cuda_open(f, "if (n < nrows)");
	cuda_line(f, "x[j] = %s;", cuda_heads_row(f, &s->h, s->h.h.q, "n", "b", "h", "c"));
	cuda_line(f, "d[j] = %s;", cuda_heads_row(f, &s->h, s->dout, "n", "b", "h", "c"));
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "const u32 y = pack_bf16(x[0], x[1]);");
	cuda_line(f, "query[at] = y;");
	cuda_line(f, "rest[at] = bf16_rest(x[0], x[1], y);");
	cuda_line(f, "dout[at] = pack_bf16(d[0], d[1]);");
	cuda_close(f);
	cuda_open(f, "if (THREAD < %d)", STEP);
	cuda_line(f, "seen[THREAD * 2] = a;");
	cuda_line(f, "seen[THREAD * 2 + 1] = z;");
	cuda_line(f, "const i64 at = (head * %lldL + n0 + THREAD) * %d;", s->most, KEPT);
	cuda_line(f, "for (int i = 0; i < %d; i++) kept[THREAD * %d + i] = n0 + THREAD < nrows ? load_f32(scratch, at + i) : 0.0f;", KEPT,
		KEPT);
	cuda_close(f);
	cuda_line(f, "sync_block();");
}

/* Declares sums: of the warp's keys with queries 4g + i of the tile, or of values with gradients of the result. */
static void row_products(struct cuda_fn *f, const struct shape *s, const struct tile *tile, const char *sums, int operand)
{
	const char *const parts[] = {operand == OF_KEY ? "query" : "dout", operand == OF_KEY ? "rest" : NULL};
	declare_sums(f, sums, 4);
	cuda_open(f, "UNROLL for (int k = 0; k < %d; k++)", s->steps);
	for (int p = 0; p < 2 && parts[p]; p++) {
		cuda_block(f);
		cuda_line(f, "struct words2 y[4];");
		cuda_line(f, "UNROLL for (int i = 0; i < 4; i++) y[i] = *(const struct words2 *)(%s + (g * 4 + i) * %lld + k * 8 + t * 2);",
			parts[p], tile->line);
		multiply(f, s, sums, operand);
		cuda_close(f);
	}
	cuda_close(f);
}

/* Words w of weights and d of gradients of scores, of rows 8t + 2j and 8t + 2j + 1 of the tile. */
static void weights(struct cuda_fn *f, const struct shape *s, const struct tile *tile)
{
	row_products(f, s, tile, "score", OF_KEY);
	row_products(f, s, tile, "dp", OF_VALUE);
	cuda_line(f, "u32 w[2][4], d[2][4];");
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "float x[8], y[8];");
	cuda_open(f, "UNROLL for (int e = 0; e < 8; e++)");
	cuda_line(f, "const int row = t * 8 + e, slot = (int)s0 + g + 8 * r;");
	cuda_line(f, "const float *const of = kept + row * %d;", KEPT);
	cuda_line(f, "x[e] = slot >= seen[row * 2] && slot < seen[row * 2 + 1] ? round_bf16(weight_of(score%s, of[0])) * of[1] : 0.0f;",
		place);
	cuda_line(f, "y[e] = x[e] * (dp%s - of[2]);", place);
	cuda_close(f);
	cuda_open(f, "UNROLL for (int j = 0; j < 4; j++)");
	cuda_line(f, "w[r][j] = pack_bf16(x[j * 2], x[j * 2 + 1]);");
	cuda_line(f, "d[r][j] = pack_bf16(y[j * 2], y[j * 2 + 1]);");
	cuda_close(f);
	cuda_close(f);
}

void cuda_attention_grad_slots_mma(struct cuda_fn *f)
{
	struct shape s = shape_of(f, NOF_SLOTS);
	long long heads = (long long)s.h.h.batches * s.groups;
	cuda_line(f, "const i64 nrows = %s, nslots = %s;", cuda_extent(f, s.h.row), cuda_extent(f, s.h.slot));
	cuda_line(f, "const int warp = THREAD / 32, g = THREAD %% 32 / 4, t = THREAD %% 4;");
	struct tile tile = declare_tile(f, &s);
	cuda_open(f, "for (i64 item = block; item < (nslots + %d) / %d * %lld; item += blocks)", BLOCK_ROWS - 1, BLOCK_ROWS, heads);
	cuda_line(f, "const int head = (int)(item %% %lld), b = head / %lld, h = head %% %lld;", heads, s.groups, s.groups);
	cuda_line(f, "const i64 all0 = item / %lld * %d, s0 = all0 + warp * %d;", heads, BLOCK_ROWS, ROWS);
	load_slots(f, &s);
	if (s.dk >= 0)
		declare_sums(f, "dk", s.each);
	if (s.dv >= 0)
		declare_sums(f, "dv", s.each);
	cuda_open(f, "for (i64 n0 = 0; n0 < nrows; n0 += %d)", STEP);
	/* All warps look at the tile's rows, so all know whether any of those sees a slot of the block. */
	cuda_line(f, "const i64 mine = n0 + THREAD %% 32;");
	cuda_line(f, "const int a = mine < nrows ? load_i32(%s, mine) : 0x7fffffff;", cuda_memory(f, s.h.h.lo));
	cuda_line(f, "const int z = mine < nrows ? load_i32(%s, mine) : 0;", cuda_memory(f, s.h.h.hi));
	cuda_line(f, "int first = a, last = z;");
	cuda_warp_span(f, 1);
	cuda_line(f, "if (last <= all0 || first >= all0 + %d) continue;", BLOCK_ROWS);
	load_tile(f, &s, &tile);
	weights(f, &s, &tile);
	const struct lines douts = {cuda_text(f, "dout + (t * 8 + k * 4 + i) * %lld", tile.line), "1", words_at_once(&s, 2)};
	const struct lines queries = {cuda_text(f, "query + (t * 8 + k * 4 + i) * %lld", tile.line), "1", words_at_once(&s, 2)};
	if (s.dv >= 0)
		sum_lines(f, &s, "dv", "w", &douts);
	if (s.dk >= 0)
		sum_lines(f, &s, "dk", "d", &queries);
	cuda_close(f);
	if (s.dk >= 0)
		store_sums(f, &s, s.dk, "dk", AT_SLOT);
	if (s.dv >= 0)
		store_sums(f, &s, s.dv, "dv", AT_SLOT);
	cuda_close(f);
}
