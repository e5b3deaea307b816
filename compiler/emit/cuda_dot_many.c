/*
 * Dots of many tokens on tensor cores: a block takes 128 outputs by 128 tokens, a warp 32 by 64, and goes through all ranges;
 * tokens come by way of shared memory. The sums of ranges are added in order, as those of few tokens are, so that a token's bits
 * are the same. Of two dots a block takes 64 outputs each, a warp a panel of each: they share the tokens.
 *
 * How large a tile must be follows from what a multiprocessor can bring in while it multiplies: 16 by 8 by 16 products of bf16
 * here take 64 bytes from the L2 cache, of which a multiprocessor gets some 30 a cycle, and 192 from shared memory and the L1 cache, of 128 a
 * cycle. Twice as many tokens would leave no registers for sums of ranges.
 *
 * Nothing waits for memory that can be asked before: four steps of outputs are on their way. Where tokens of bf16 lie in whole lines
 * of 16 bytes along k, the next slab of them comes to the other half of shared memory meanwhile; so do tokens of bytes, with the records of
 * their blocks.
 */
#include "cuda_operand.h"

enum {
	LANES = 2 * PANEL,   /* of a warp */
	WARPS_N = 4, WARPS_M = WARPS / WARPS_N,
	BLOCK_N = WARPS_N * LANES,
	TILES = 8,           /* of tokens, of a warp, where one part has all dots */
	SLAB = 64,           /* words of tokens in shared memory at a time */
	AHEAD = SLAB / 2,    /* the same where the next ones are on their way */
	LINE = 4,            /* words that are copied at once */
	ROW_N = BLOCK_N + 4, /* floats of a token's results: double words of 4 tokens and 4 lanes lie in 32 different banks */
};
/* Words from token to token in shared memory: double words of 4 tokens and 4 lanes lie in 32 different banks; or words of 32
 * tokens do, where those are written as neighbours. */
enum { ALONG = SLAB + 8, ALONG_AHEAD = AHEAD + 8, ACROSS = SLAB + 9 };

/* A region's dots go in parts, of which each keeps its results until the epilogue. */
struct parts {
	int each, n;        /* dots of a part: two that are alike, or one */
	int lanes;          /* outputs of a dot in a block */
	int tiles, tokens;  /* of a warp; of a block */
	int64_t across;     /* items of a group of tokens */
};

/* How tokens come. */
struct slabs {
	struct operand of;
	bool ahead;         /* the next slab is copied meanwhile */
	bool across;        /* neighbours in memory are tokens, not k */
	int words, stride;  /* of a token at a time, and to the next token */
	int tokens;
};

/* Steps of outputs on their way; integers need more registers for each. */
static int depth_of(const struct operand *o)
{
	return o->q ? 2 : 4;
}

static bool alike(const struct dot *a, const struct dot *b)
{
	return a->dtype == b->dtype && a->panels && b->panels;
}

static struct parts parts_of(const struct cuda_dots *d)
{
	struct parts p = {.each = d->ndot % 2 ? 1 : 2, .n = d->ndot};
	for (int i = 1; i < d->ndot; i++)
		p.each = alike(&d->dot[0], &d->dot[i]) ? p.each : 1;
	p.n = d->ndot / p.each;
	p.lanes = BLOCK_N / p.each;
	p.tiles = p.n > 2 ? TILES / 4 : TILES / p.n;
	p.tokens = WARPS_M * p.tiles * TOKENS;
	p.across = (d->dot[0].nlanes + p.lanes - 1) / p.lanes;
	return p;
}

static struct slabs describe(struct cuda_fn *f, const struct cuda_dots *d, int part)
{
	struct parts p = parts_of(d);
	struct slabs s = {.of = cuda_operand(f, &d->dot[part * p.each]), .tokens = p.tokens};
	s.of.of[1] = &d->dot[part * p.each + p.each - 1];
	s.ahead = cuda_tokens_in_lines(f, &s.of);
	s.across = cuda_tokens_across(&s.of);
	s.words = s.ahead ? AHEAD : SLAB;
	s.stride = s.ahead ? ALONG_AHEAD : s.across ? ACROSS : ALONG;
	return s;
}

const char *cuda_many_items(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct parts p = parts_of(d);
	return cuda_text(f, "((nm + %d) / %d * %lld)", p.tokens - 1, p.tokens, (long long)p.across);
}

/* Results lie where slabs were, unless a later part needs those. */
static int64_t slab_bytes(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct parts p = parts_of(d);
	int64_t most = 0;
	for (int i = 0; i < p.n; i++) {
		struct slabs s = describe(f, d, i);
		int64_t bytes = (int64_t)p.tokens * s.stride * (s.ahead ? 2 : 1) * 4;
		most = bytes > most ? bytes : most;
	}
	return most;
}

static int64_t results_at(struct cuda_fn *f, const struct cuda_dots *d)
{
	return parts_of(d).n > 1 ? slab_bytes(f, d) : 0;
}

int64_t cuda_many_shared(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct parts p = parts_of(d);
	int64_t slab = slab_bytes(f, d), all = results_at(f, d) + (int64_t)p.n * p.tokens * ROW_N * 4;
	return all > slab ? all : slab;
}

/* ---- tokens ---- */

/* Tokens' words [w0, w0 + SLAB) of the range that ends at `to`. */
static void load_slab(struct cuda_fn *f, const struct slabs *s)
{
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", s->tokens * SLAB);
	if (s->across)
		cuda_line(f, "const int row = i %% %d, word = i / %d;", s->tokens, s->tokens);
	else
		cuda_line(f, "const int row = i / %d, word = i %% %d;", SLAB, SLAB);
	cuda_line(f, "const i64 m = m0 + row;");
	cuda_line(f, "const int w = w0 + word;");
	cuda_line(f, "slab[row * %d + word] = m < nm && w < to ? %s : 0;", s->stride, cuda_token_word(f, &s->of, "m", "w"));
	cuda_close(f);
	cuda_line(f, "sync_block();");
}

/* Words [from, from + AHEAD) of the range that ends at `end` begin to come to the half `half`, and behind a token's words the records
 * of their blocks. */
static void copy_slab(struct cuda_fn *f, const struct slabs *s, const char *half, const char *from, const char *end)
{
	enum { LINES = AHEAD / LINE, RECORDS = AHEAD / STEP };
	const struct dot *d = s->of.d;
	int each = s->of.q ? LINES + RECORDS : LINES;
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", s->tokens * each);
	cuda_line(f, "const int row = i / %d, line = i %% %d;", each, each);
	cuda_line(f, "const i64 m = m0 + row;");
	cuda_line(f, "const int w = %s + (line < %d ? line * %d : (line - %d) * %d);", from, LINES, LINE, LINES, STEP);
	cuda_line(f, "const int known = m < nm && w < %s;", end);
	cuda_line(f, "u32 *const to = slab + %s * %d + row * %d;", half, s->tokens * s->stride, s->stride);
	if (s->of.q) {
		cuda_line(f, "const u8 *const of = %s + (known ? m * %lld : 0);", cuda_memory(f, d->broadcast), (long long)d->rows_shape.bytes);
		cuda_line(f, "if (line < %d) copy_line(to + line * %d, of + (known ? w * 4 : 0), known);", LINES, LINE);
		cuda_line(f, "else copy_pair(to + %d + (line - %d) * 2, of + %lld + (known ? w / 8 * 8 : 0), known);", AHEAD, LINES,
			(long long)d->rows_shape.scales);
	} else {
		cuda_line(f, "copy_line(to + line * %d, %s + (known ? m * %lld + w * 2 : 0) * 2, known);", LINE, cuda_memory(f, d->broadcast),
			(long long)d->m_stride);
	}
	cuda_close(f);
}

/* When a slab is there, and all are done with the other half, the one behind it is asked for: it may be the first of the next range;
 * the last of all asks for nothing. */
static void next_slab(struct cuda_fn *f, const struct slabs *s)
{
	long long chunk = s->of.chunk;
	cuda_line(f, "const int w1 = w0 + %d < to ? w0 + %d : to;", AHEAD, AHEAD);
	cuda_line(f, "copy_wait();");
	cuda_line(f, "sync_block();");
	cuda_line(f, "const int to1 = w1 < to ? to : to + %lld < nw ? to + %lld : nw;", chunk, chunk);
	cuda_open(f, "if (w1 < nw)");
	copy_slab(f, s, "(1 - half)", "w1", "to1");
	cuda_close(f);
}

/* ---- a part ---- */

/* What is on its way are the next steps' words, be they of this range or of the next; step n of all has place n % depth, so a turn may
 * begin within a range and end behind it. */
static void multiply_slab(struct cuda_fn *f, const struct slabs *s, int tiles)
{
	const char *half = s->ahead ? cuda_text(f, "half * %d + ", s->tokens * s->stride) : "";
	int depth = depth_of(&s->of);
	cuda_line(f, "const int end = to - w0 < %d ? to - w0 : %d;", s->words, s->words);
	cuda_open(f, "for (int turn = -(w0 %% %d); turn < end; turn += %d)", depth * STEP, depth * STEP);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth);
	cuda_line(f, "const int w = turn + i * %d;", STEP);
	cuda_open(f, "if (w >= 0 && w < end)");
	cuda_take_lanes(f, &s->of, "w0 + w + 2 * t", "[i]");
	cuda_open(f, "UNROLL for (int j = 0; j < %d; j++)", tiles);
	cuda_line(f, "const u32 *const b = slab + %s(m4 + j * %d + g) * %d + w + 2 * t;", half, TOKENS, s->stride);
	cuda_line(f, "const u32 b0 = b[0], b1 = b[1];");
	if (s->of.q) {
		cuda_line(f, "const u32 *const of = slab + %s(m4 + j * %d + 2 * t) * %d + %d + w / 8 * 2;", half, TOKENS, s->stride, AHEAD);
		cuda_line(f, "const float by[2] = {from_bits(of[0]), from_bits(of[%d])};", s->stride);
		cuda_line(f, "const int sum[2] = {(int)of[1], (int)of[%d]};", s->stride + 1);
	}
	cuda_step(f, &s->of, "acc[j]");
	cuda_close(f);
	/* Not before: they come to the registers that had this step's. */
	cuda_ask_for_lanes(f, &s->of, cuda_text(f, "w0 + w + %d + 2 * t", depth * STEP), "nw", "[i]");
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

/* Declares acc or total, what the ranges come to. */
static const char *multiply(struct cuda_fn *f, const struct slabs *s, int tiles)
{
	const struct operand *o = &s->of;
	long long chunk = o->chunk;
	cuda_declare_lanes(f, o);
	cuda_line(f, "float acc[%d][2][4];", tiles);
	if (o->chunks)
		cuda_line(f, "float total[%d][2][4];", tiles);
	cuda_declare_ahead(f, o, depth_of(o));
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth_of(o));
	cuda_ask_for_lanes(f, o, cuda_text(f, "i * %d + 2 * t", STEP), "nw", "[i]");
	cuda_close(f);
	if (s->ahead) {
		cuda_line(f, "int half = 0;");
		copy_slab(f, s, "half", "0", cuda_text(f, "(%lld < nw ? %lld : nw)", chunk, chunk));
	}
	cuda_open(f, "for (int from = 0; from < nw; from += %lld)", chunk);
	cuda_line(f, "const int to = from + %lld < nw ? from + %lld : nw;", chunk, chunk);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) acc[i / 8][i / 4 %% 2][i %% 4] = 0;", tiles * 8);
	cuda_open(f, "for (int w0 = from; w0 < to; w0 += %d)", s->words);
	if (s->ahead)
		next_slab(f, s);
	else
		load_slab(f, s);
	multiply_slab(f, s, tiles);
	if (s->ahead)
		cuda_line(f, "half = 1 - half;");
	cuda_close(f);
	if (o->chunks)
		cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) total[i / 8][i / 4 %% 2][i %% 4] = from ? total[i / 8]"
			"[i / 4 %% 2][i %% 4] + acc[i / 8][i / 4 %% 2][i %% 4] : acc[i / 8][i / 4 %% 2][i %% 4];", tiles * 8);
	cuda_close(f);
	return o->chunks ? "total" : "acc";
}

static void keep_results(struct cuda_fn *f, const struct parts *p, int part, const struct operand *o, const char *of)
{
	cuda_line(f, "sync_block();"); /* slabs may still be read: results lie there, or the next part's slabs */
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", p->tiles * 2);
	cuda_line(f, "const int at = (%d + m4 + i / 2 * %d + 2 * t + i %% 2) * %d + n4;", part * p->tokens, TOKENS, ROW_N);
	for (int k = 0; k < 2; k++) {
		const char *lane = p->each == 2 ? cuda_text(f, "%d + g * 2", k * p->lanes) : cuda_lane(f, o, k);
		cuda_line(f, "struct words2 x%d;", k);
		cuda_line(f, "x%d.x = to_bits(%s[i / 2][%d][i %% 2]);", k, of, k);
		cuda_line(f, "x%d.y = to_bits(%s[i / 2][%d][2 + i %% 2]);", k, of, k);
		cuda_line(f, "*(struct words2 *)(done + at + %s) = x%d;", lane, k);
	}
	cuda_close(f);
}

void cuda_dot_many(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct parts p = parts_of(d);
	const char *value[CUDA_MAX_DOTS];
	cuda_line(f, "u32 *const slab = (u32 *)shared;");
	cuda_line(f, "float *const done = (float *)(shared + %lld);", (long long)results_at(f, d));
	cuda_open(f, "for (int item = block; item < %s; item += BLOCKS)", cuda_many_items(f, d));
	cuda_line(f, "const int n0 = item %% %lld * %d;", (long long)p.across, p.lanes);
	cuda_line(f, "const i64 m0 = item / %lld * %d;", (long long)p.across, p.tokens);
	cuda_line(f, "const int n4 = warp %% %d * %d, m4 = warp / %d * %d;", WARPS_N, LANES / p.each, WARPS_N,
		p.tiles * TOKENS);
	cuda_line(f, "const int panel0 = (n0 + n4) / 16, panel1 = panel0%s;", p.each == 2 ? "" : " + 1");
	cuda_line(f, "(void)panel1;");
	for (int i = 0; i < p.n; i++) {
		struct slabs s = describe(f, d, i);
		cuda_block(f);
		keep_results(f, &p, i, &s.of, multiply(f, &s, p.tiles));
		cuda_close(f);
	}
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", p.tokens * p.lanes);
	cuda_line(f, "const int row = i / %d, lane = i %% %d;", p.lanes, p.lanes);
	cuda_line(f, "const i64 m = m0 + row;");
	cuda_line(f, "const int n = n0 + lane;");
	cuda_open(f, "if (m < nm && n < %lld)", (long long)d->dot[0].nlanes);
	for (int i = 0; i < d->ndot; i++) {
		value[i] = cuda_name(f, "sum");
		cuda_line(f, "const float %s = done[(%d + row) * %d + %d + lane];", value[i], i / p.each * p.tokens, ROW_N, i % p.each * p.lanes);
	}
	cuda_epilogue(f, d, "m", "n", value);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_close(f);
}
