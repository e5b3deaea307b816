/*
 * Dots of many tokens on tensor cores: a block takes 128 outputs by 128 tokens, a warp 32 by 64, and goes through all ranges;
 * tokens come by way of shared memory. The sums of ranges are added in order, as those of few tokens are, so that a token's bits
 * are the same. Of two dots a block takes 64 outputs each, a warp a panel of each: they share the tokens.
 *
 * How large a tile must be follows from what a multiprocessor can bring in while it multiplies: 16 by 8 by 16 products of bf16
 * here take 64 bytes from the L2 cache, of which a multiprocessor gets some 30 a cycle, and 192 from shared memory and the L1 cache, of 128 a
 * cycle. Twice as many tokens would leave no registers for sums of ranges.
 *
 * Nothing waits for memory that can be asked before: four steps of a panel are on their way, and the next slabs of tokens, and of lanes
 * in rows, where they can be copied as they lie (cuda_slab.h).
 */
#include "cuda_slab.h"
#include "cuda_tile.h"

enum {
	LANES = 2 * PANEL,   /* of a warp */
	WARPS_N = TILE_LANES / LANES, WARPS_M = WARPS / WARPS_N,
	TOKENS_BLOCK = 128,  /* where one part has all dots */
};

/* A part's operands, and how they come. */
struct many {
	struct operand of;
	struct cuda_slab tokens, lanes;
	bool shares_lanes;  /* they come by way of shared memory too */
	bool copies;        /* one of the slabs does */
	int words;          /* at a time */
};

/* Steps of outputs on their way; integers need more registers for each. */
static int depth_of(const struct operand *o)
{
	return o->q ? 2 : 4;
}

static struct cuda_tile tile_of(const struct cuda_dots *d)
{
	return cuda_tile_of(d, TOKENS_BLOCK);
}

/* In the arena: slabs know their operand. */
static const struct many *describe(struct cuda_fn *f, const struct cuda_dots *d, int part)
{
	struct cuda_tile t = tile_of(d);
	struct many *m = arena_new(f->arena, struct many);
	m->of = cuda_operand(f, &d->dot[part * t.each]);
	m->of.of[1] = &d->dot[part * t.each + t.each - 1];
	m->tokens = cuda_token_slab(f, &m->of, t.tokens);
	m->shares_lanes = cuda_lane_slab(f, &m->of, TILE_LANES, &m->lanes);
	m->copies = m->tokens.way != SLAB_LOADED || m->shares_lanes;
	m->words = m->shares_lanes && m->lanes.words < m->tokens.words ? m->lanes.words : m->tokens.words;
	m->tokens.words = m->words;
	return m;
}

const char *cuda_many_items(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct cuda_tile t = tile_of(d);
	return cuda_tile_items(f, &t);
}

/* Results lie where slabs were, unless a later part needs those. */
static int64_t slab_bytes(struct cuda_fn *f, const struct cuda_dots *d)
{
	int64_t most = 0;
	for (int i = 0; i < tile_of(d).nparts; i++) {
		const struct many *m = describe(f, d, i);
		int64_t bytes = cuda_slab_bytes(&m->tokens) + (m->shares_lanes ? cuda_slab_bytes(&m->lanes) : 0);
		most = bytes > most ? bytes : most;
	}
	return most;
}

static int64_t results_at(struct cuda_fn *f, const struct cuda_dots *d)
{
	return tile_of(d).nparts > 1 ? slab_bytes(f, d) : 0;
}

int64_t cuda_many_shared(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct cuda_tile t = tile_of(d);
	int64_t slab = slab_bytes(f, d), all = results_at(f, d) + cuda_tile_bytes(&t);
	return all > slab ? all : slab;
}

/* ---- slabs ---- */

static void copy_all(struct cuda_fn *f, const struct many *m, const char *half, const char *from, const char *end)
{
	if (m->tokens.way != SLAB_LOADED)
		cuda_slab_copy(f, &m->tokens, half, from, end);
	if (m->shares_lanes)
		cuda_slab_copy(f, &m->lanes, half, from, end);
}

/* When what was copied is there, and all are done with the other halves, what lies behind it is asked for: it may be the first of the next
 * range; the last of all asks for nothing. */
static void next_slabs(struct cuda_fn *f, const struct many *m)
{
	long long chunk = m->of.chunk;
	if (m->copies)
		cuda_line(f, "copy_wait();");
	cuda_line(f, "sync_block();");
	if (m->copies) {
		cuda_line(f, "const int w1 = w0 + %d < to ? w0 + %d : to;", m->words, m->words);
		cuda_line(f, "const int to1 = w1 < to ? to : to + %lld < nw ? to + %lld : nw;", chunk, chunk);
		cuda_open(f, "if (w1 < nw)");
		copy_all(f, m, "(1 - half)", "w1", "to1");
		cuda_close(f);
	}
	if (m->tokens.way == SLAB_LOADED) {
		cuda_slab_load(f, &m->tokens);
		cuda_line(f, "sync_block();");
	}
}

/* ---- a part ---- */

static void multiply_tiles(struct cuda_fn *f, const struct many *m, int tiles)
{
	if (m->tokens.way != SLAB_ACROSS) {
		cuda_open(f, "UNROLL for (int j = 0; j < %d; j++)", tiles);
		cuda_slab_tile(f, &m->tokens);
		cuda_step(f, &m->of, "acc[j]");
		cuda_close(f);
		return;
	}
	cuda_open(f, "UNROLL for (int j = 0; j < %d; j += 2)", tiles);
	cuda_slab_tiles(f, &m->tokens);
	for (int i = 0; i < 2; i++) {
		cuda_block(f);
		cuda_line(f, "const u32 b0 = b[%d], b1 = b[%d];", i * 2, i * 2 + 1);
		cuda_step(f, &m->of, cuda_text(f, "acc[j + %d]", i));
		cuda_close(f);
	}
	cuda_close(f);
}

/* Of panels the next steps' words are on their way, be they of this range or of the next; step n of all has place n % depth, so a turn may
 * begin within a range and end behind it. */
static void multiply_slab(struct cuda_fn *f, const struct many *m, int tiles)
{
	int depth = depth_of(&m->of);
	cuda_line(f, "const int end = to - w0 < %d ? to - w0 : %d;", m->words, m->words);
	cuda_open(f, "for (int turn = %s; turn < end; turn += %d)", m->shares_lanes ? "0" : cuda_text(f, "-(w0 %% %d)", depth * STEP),
		depth * STEP);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth);
	cuda_line(f, "const int w = turn + i * %d;", STEP);
	cuda_open(f, "if (w >= 0 && w < end)");
	if (m->shares_lanes)
		cuda_slab_lanes(f, &m->lanes);
	else
		cuda_take_lanes(f, &m->of, "w0 + w + 2 * t", "[i]");
	multiply_tiles(f, m, tiles);
	/* Not before: they come to the registers that had this step's. */
	if (!m->shares_lanes)
		cuda_ask_for_lanes(f, &m->of, cuda_text(f, "w0 + w + %d + 2 * t", depth * STEP), "nw", "[i]");
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

/* Declares acc or total, what the ranges come to. */
static const char *multiply(struct cuda_fn *f, const struct many *m, int tiles)
{
	const struct operand *o = &m->of;
	long long chunk = o->chunk;
	cuda_declare_lanes(f, o);
	cuda_line(f, "float acc[%d][2][4];", tiles);
	if (o->chunks)
		cuda_line(f, "float total[%d][2][4];", tiles);
	if (!m->shares_lanes) {
		cuda_declare_ahead(f, o, depth_of(o));
		cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth_of(o));
		cuda_ask_for_lanes(f, o, cuda_text(f, "i * %d + 2 * t", STEP), "nw", "[i]");
		cuda_close(f);
	}
	cuda_slab_begin(f, &m->tokens);
	if (m->shares_lanes)
		cuda_slab_begin(f, &m->lanes);
	if (m->copies) {
		cuda_line(f, "int half = 0;");
		copy_all(f, m, "half", "0", cuda_text(f, "(%lld < nw ? %lld : nw)", chunk, chunk));
	}
	cuda_open(f, "for (int from = 0; from < nw; from += %lld)", chunk);
	cuda_line(f, "const int to = from + %lld < nw ? from + %lld : nw;", chunk, chunk);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) acc[i / 8][i / 4 %% 2][i %% 4] = 0;", tiles * 8);
	cuda_open(f, "for (int w0 = from; w0 < to; w0 += %d)", m->words);
	next_slabs(f, m);
	multiply_slab(f, m, tiles);
	if (m->copies)
		cuda_line(f, "half = 1 - half;");
	cuda_close(f);
	if (o->chunks)
		cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) total[i / 8][i / 4 %% 2][i %% 4] = from ? total[i / 8]"
			"[i / 4 %% 2][i %% 4] + acc[i / 8][i / 4 %% 2][i %% 4] : acc[i / 8][i / 4 %% 2][i %% 4];", tiles * 8);
	cuda_close(f);
	return o->chunks ? "total" : "acc";
}

static void keep_results(struct cuda_fn *f, const struct cuda_tile *t, int part, const struct many *m, int tiles, const char *of)
{
	cuda_line(f, "sync_block();"); /* slabs may still be read: results lie there, or the next part's slabs */
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", tiles * 2);
	cuda_line(f, "float *const at = done + (%d + m4 + i / 2 * %d + 2 * t + i %% 2) * %d + n4;", part * t->tokens, TOKENS, TILE_PITCH);
	for (int k = 0; k < 2; k++) {
		if (m->shares_lanes) {
			cuda_line(f, "at[%d + g] = %s[i / 2][%d][i %% 2];", k * PANEL, of, k);
			cuda_line(f, "at[%d + g] = %s[i / 2][%d][2 + i %% 2];", k * PANEL + 8, of, k);
			continue;
		}
		const char *lane = t->each == 2 ? cuda_text(f, "%d + g * 2", k * t->lanes) : cuda_lane(f, &m->of, k);
		cuda_line(f, "struct words2 x%d;", k);
		cuda_line(f, "x%d.x = to_bits(%s[i / 2][%d][i %% 2]);", k, of, k);
		cuda_line(f, "x%d.y = to_bits(%s[i / 2][%d][2 + i %% 2]);", k, of, k);
		cuda_line(f, "*(struct words2 *)(at + %s) = x%d;", lane, k);
	}
	cuda_close(f);
}

void cuda_dot_many(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct cuda_tile t = tile_of(d);
	int tiles = t.tokens / WARPS_M / TOKENS;
	cuda_line(f, "u32 *const slab = (u32 *)shared;");
	cuda_line(f, "float *const done = (float *)(shared + %lld);", (long long)results_at(f, d));
	cuda_tile_begin(f, &t);
	cuda_line(f, "const int n4 = warp %% %d * %d, m4 = warp / %d * %d;", WARPS_N, LANES / t.each, WARPS_N, tiles * TOKENS);
	cuda_line(f, "const int panel0 = (n0 + n4) / 16, panel1 = panel0%s;", t.each == 2 ? "" : " + 1");
	cuda_line(f, "(void)panel1;");
	for (int i = 0; i < t.nparts; i++) {
		const struct many *m = describe(f, d, i);
		cuda_block(f);
		if (m->shares_lanes)
			cuda_line(f, "u32 *const lane_slab = slab + %lld;", (long long)cuda_slab_bytes(&m->tokens) / 4);
		keep_results(f, &t, i, m, tiles, multiply(f, m, tiles));
		cuda_close(f);
	}
	cuda_tile_end(f, d, &t);
}
