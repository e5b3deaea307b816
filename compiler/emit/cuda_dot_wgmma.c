/*
 * Dots of many tokens of bf16 on Hopper, whose wgmma multiplies 64 outputs by all tokens of a tile while the warps that asked for it go on:
 * some 1.6 times what mma comes to there, as others measured. Of 8 warps four, a warpgroup, have 64 outputs each, or a dot of two each.
 *
 * Bits are those of mma, and so of the few rows of decode: both add 16 products to a sum at once on this architecture, in an order that
 * does not matter, with the same number of bits (measured: Xie and others, "MMA-Sim", 2025, arXiv 2511.10909).
 *
 * Panels come to registers as they lie in memory: a thread (g, t of its warp) has words t and t + 4 of outputs 2g and 2g + 1 of its warp's
 * panel. Lanes in rows and tokens come to shared memory in stages (cuda_stage.h). At a time a warpgroup's last products are on their
 * way, those before are done, so it asks for what comes after: the next stage but one; of panels, half a stage at a time, the next half but one.
 *
 * A tile of 128 by 128 takes 64 bytes from the L2 cache for 16 by 8 by 16 products, one of 192 tokens 53, of which a multiprocessor has some
 * 30 a cycle (others, too), and the tensor cores could do one a cycle. But the last round of tiles leaves multiprocessors idle: what
 * is better for the most rows that a program takes is chosen here, as tokens are.
 */
#include "cuda_dot_wgmma.h"

#include "cuda_stage.h"
#include "cuda_tile.h"

enum {
	MULTIPROCESSORS = 132, /* H100, H200 */
	STEPS = STAGE_WORDS / STEP,
	HALF = STEPS / 2,
	SETS = 3,              /* halves of panels: one is multiplied, one is there, one comes */
	TURNS = 3,             /* stages after which a half has the same set */
	ALIGNMENT = 1024,      /* of stages: places of lines follow from addresses */
};

struct wide {
	struct operand of;
	struct cuda_stage tokens, lanes;
	bool shares_lanes;
};

static const int sizes[] = {128, 192};

/* Rounds of tiles, by the bytes that one takes. */
static int64_t cost_of(const struct cuda_dots *d, int64_t rows, int tokens)
{
	struct cuda_tile t = cuda_tile_of(d, tokens);
	int64_t items = (rows + tokens - 1) / tokens * t.across;
	return (items + MULTIPROCESSORS - 1) / MULTIPROCESSORS * (TILE_LANES + tokens);
}

static struct cuda_tile tile_of(struct cuda_fn *f, const struct cuda_dots *d)
{
	int64_t rows = type_extents(f->g, &d->dot[0].m, 0, d->dot[0].m.naxis);
	int best = 0;
	for (size_t i = 1; i < NELEM(sizes); i++)
		if (cost_of(d, rows, sizes[i]) < cost_of(d, rows, sizes[best]))
			best = (int)i;
	return cuda_tile_of(d, sizes[best]);
}

static bool describe(struct cuda_fn *f, const struct cuda_dots *d, int part, struct wide *w)
{
	struct cuda_tile t = tile_of(f, d);
	const struct dot *dot = &d->dot[part * t.each];
	int64_t inner = dot_static_inner(f->g, dot);
	w->of = cuda_operand(f, dot);
	w->of.of[1] = &d->dot[part * t.each + t.each - 1];
	w->shares_lanes = cuda_lane_stage(f, &w->of, TILE_LANES, &w->lanes);
	return !w->of.q && (w->shares_lanes || (dot->panels && inner && inner % (2 * STEP) == 0)) &&
		cuda_token_stage(f, &w->of, t.tokens, &w->tokens);
}

bool cuda_wgmma_fits(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct wide w;
	bool fits = true;
	for (int i = 0; i < tile_of(f, d).nparts; i++)
		fits = fits && describe(f, d, i, &w);
	return fits;
}

static int64_t part_bytes(const struct wide *w)
{
	return STAGES * (cuda_stage_bytes(&w->tokens) + (w->shares_lanes ? cuda_stage_bytes(&w->lanes) : 0));
}

/* Results lie where stages were, unless a later part needs those. */
static int64_t results_at(struct cuda_fn *f, const struct cuda_dots *d, int64_t *stage_bytes)
{
	struct wide w;
	*stage_bytes = 0;
	int nparts = tile_of(f, d).nparts;
	for (int i = 0; i < nparts && describe(f, d, i, &w); i++)
		*stage_bytes = part_bytes(&w) > *stage_bytes ? part_bytes(&w) : *stage_bytes;
	return nparts > 1 ? *stage_bytes : 0;
}

int64_t cuda_wgmma_shared(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct cuda_tile t = tile_of(f, d);
	int64_t stages, all = results_at(f, d, &stages) + cuda_tile_bytes(&t);
	return (all > stages ? all : stages) + ALIGNMENT;
}

/* ---- a part ---- */

/* Variables of what is asked for next: `next`, of the range that ends at next_to, to stage `filled`. */
static void ask_for_stage(struct cuda_fn *f, const struct wide *w)
{
	long long chunk = w->of.chunk;
	cuda_open(f, "if (next < nw)");
	cuda_stage_copy(f, &w->tokens, "filled", "next", "next_to");
	if (w->shares_lanes)
		cuda_stage_copy(f, &w->lanes, "filled", "next", "next_to");
	cuda_close(f);
	cuda_line(f, "copy_commit();");
	cuda_line(f, "next = next + %d < next_to ? next + %d : next_to;", STAGE_WORDS, STAGE_WORDS);
	cuda_line(f, "if (next == next_to) next_to = next + %lld < nw ? next + %lld : nw;", chunk, chunk);
	cuda_line(f, "filled = (filled + 1) %% %d;", STAGES);
}

/* Half `half` of the stage that begins with word `at`. */
static void ask_for_panels(struct cuda_fn *f, const char *set, const char *at, int half)
{
	for (int j = 0; j < HALF; j++) {
		int w = (half * HALF + j) * STEP;
		cuda_open(f, "if (%s + %d < nw)", at, w);
		cuda_line(f, "p[%s][%d] = panel_words2(lanes, %s + %d);", set, j, at, w);
		cuda_line(f, "q[%s][%d] = panel_words2(lanes, %s + %d);", set, j, at, w + STEP / 2);
		cuda_close(f);
	}
}

static void declare_panels(struct cuda_fn *f, const struct cuda_tile *t, const struct wide *w)
{
	const char *memory = cuda_memory(f, w->of.of[0]->lane);
	if (t->each == 2)
		memory = cuda_text(f, "(group ? %s : %s)", cuda_memory(f, w->of.of[1]->lane), memory);
	cuda_line(f, "const int panel = n0 / %d + warp%s;", PANEL, t->each == 2 ? " % 4" : "");
	/* Nobody asks what comes of panels that are not there. */
	cuda_line(f, "const u8 *const lanes = %s + (panel < %lld ? panel : 0) * %lldLL + g * 8 + t * %d;", memory, (long long)w->of.d->npanels,
		cuda_panel_bytes(&w->of), PANEL * 4);
	cuda_line(f, "struct words2 p[%d][%d], q[%d][%d];", SETS, HALF, SETS, HALF);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) p[i / %d][i %% %d] = q[i / %d][i %% %d] = no_words2();", SETS * HALF, HALF, HALF, HALF,
		HALF);
	for (int half = 0; half < 2; half++)
		ask_for_panels(f, half ? "1" : "0", "0", half);
}

static void multiply_step(struct cuda_fn *f, const struct wide *w, int step)
{
	struct cuda_wgmma call = {w->tokens.n, w->shares_lanes, w->tokens.across};
	const char *b = cuda_stage_tile(f, &w->tokens, "stage", step, NULL), *more = step ? "1" : "w != from", *a;
	int half = step / HALF, j = step % HALF;
	if (w->shares_lanes)
		a = cuda_stage_tile(f, &w->lanes, "stage", step, "group");
	else
		a = cuda_text(f, "&p[(2 * i + %d) %% %d][%d], &q[(2 * i + %d) %% %d][%d]", half, SETS, j, half, SETS, j);
	cuda_line(f, "%s(acc, %s, %s, %s);", cuda_wgmma_call(f, call), a, b, more);
}

/* Of a stage, variables w (its first word), from and to (its range). Behind the range tokens are zeros, by which what
 * is there of weights is multiplied: nothing, of numbers. */
static void multiply_stage(struct cuda_fn *f, const struct wide *w)
{
	int groups = w->shares_lanes ? 1 : 2; /* which are waited for each alone */
	cuda_line(f, "copy_wait_but_one();");
	cuda_line(f, "fence_copies();");
	cuda_line(f, "sync_block();");
	ask_for_stage(f, w);
	cuda_line(f, "const int w1 = w + %d < to ? w + %d : to;", STAGE_WORDS, STAGE_WORDS);
	for (int i = 0; i < groups; i++) {
		cuda_line(f, "wgmma_fence();");
		for (int j = 0; j < STEPS / groups; j++)
			multiply_step(f, w, i * STEPS / groups + j);
		cuda_line(f, "wgmma_commit();");
		cuda_line(f, "wgmma_wait_but_one();");
		if (!w->shares_lanes)
			ask_for_panels(f, cuda_text(f, "(2 * i + %d) %% %d", i + 2, SETS), "w1", i);
	}
}

/* Declares acc or total, what the ranges come to: of each 8 tokens what mma gives. */
static const char *multiply(struct cuda_fn *f, const struct cuda_tile *t, const struct wide *w)
{
	const char *end = cuda_name(f, "end");
	long long chunk = w->of.chunk;
	int tiles = w->tokens.n / TOKENS;
	cuda_line(f, "const i64 nk = %s;", w->of.nk);
	cuda_line(f, "const int nw = %s;", w->of.nw);
	cuda_line(f, "(void)nk;");
	cuda_line(f, "float acc[%d][4];", tiles);
	if (w->of.chunks) {
		cuda_line(f, "float total[%d][4];", tiles);
		cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) total[i / 4][i %% 4] = from_bits(0x80000000u);", tiles * 4);
	}
	cuda_stage_begin(f, &w->tokens);
	if (w->shares_lanes)
		cuda_stage_begin(f, &w->lanes);
	cuda_line(f, "int w = 0, from = 0, to = %lld < nw ? %lld : nw, stage = 0, next = 0, next_to = to, filled = 0;", chunk, chunk);
	for (int i = 0; i < 2; i++)
		ask_for_stage(f, w);
	if (!w->shares_lanes)
		declare_panels(f, t, w);
	cuda_open(f, "for (;;)");
	if (!w->shares_lanes)
		cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", TURNS);
	multiply_stage(f, w);
	cuda_open(f, "if (w1 == to)");
	cuda_line(f, "wgmma_wait();");
	cuda_line(f, "UNROLL for (int r = 0; r < %d; r++) wgmma_sum(&acc[r / 4][r %% 4]);", tiles * 4);
	if (w->of.chunks)
		cuda_line(f, "UNROLL for (int r = 0; r < %d; r++) total[r / 4][r %% 4] = total[r / 4][r %% 4] + acc[r / 4][r %% 4];", tiles * 4);
	/* Out of the loop where nothing is on its way: else the compiler has all ways wait. */
	cuda_line(f, "if (to == nw) goto %s;", end);
	cuda_line(f, "from = to;");
	cuda_line(f, "to = to + %lld < nw ? to + %lld : nw;", chunk, chunk);
	cuda_close(f);
	cuda_line(f, "w = w1;");
	cuda_line(f, "stage = (stage + 1) %% %d;", STAGES);
	if (!w->shares_lanes)
		cuda_close(f);
	cuda_close(f);
	cuda_line(f, "%s:;", end);
	return w->of.chunks ? "total" : "acc";
}

static void keep_results(struct cuda_fn *f, const struct cuda_tile *t, int part, const struct wide *w, const char *of)
{
	cuda_line(f, "sync_block();"); /* stages may still be read: results lie there, or the next part's stages */
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", t->tokens / TOKENS * 2);
	cuda_line(f, "float *const at = done + (%d + i / 2 * %d + 2 * t + i %% 2) * %d + warp * %d;", part * t->tokens, TOKENS, TILE_PITCH, PANEL);
	if (w->shares_lanes) {
		cuda_line(f, "at[g] = %s[i / 2][i %% 2];", of);
		cuda_line(f, "at[g + 8] = %s[i / 2][2 + i %% 2];", of);
	} else {
		cuda_line(f, "struct words2 x;");
		cuda_line(f, "x.x = to_bits(%s[i / 2][i %% 2]);", of);
		cuda_line(f, "x.y = to_bits(%s[i / 2][2 + i %% 2]);", of);
		cuda_line(f, "*(struct words2 *)(at + g * 2) = x;");
	}
	cuda_close(f);
}

void cuda_dot_wgmma(struct cuda_fn *f, const struct cuda_dots *d)
{
	struct cuda_tile t = tile_of(f, d);
	int64_t stages;
	cuda_line(f, "u8 *const aligned = align_shared(shared, %d);", ALIGNMENT);
	cuda_line(f, "float *const done = (float *)(aligned + %lld);", (long long)results_at(f, d, &stages));
	cuda_line(f, "const int group = same_in_warp(warp / 4);");
	cuda_line(f, "(void)group;");
	cuda_tile_begin(f, &t);
	for (int i = 0; i < t.nparts; i++) {
		struct wide *w = arena_new(f->arena, struct wide);
		describe(f, d, i, w);
		cuda_block(f);
		cuda_line(f, "u32 *const stage_m = (u32 *)aligned;");
		if (w->shares_lanes)
			cuda_line(f, "u32 *const stage_n = stage_m + %lld;", (long long)(STAGES * cuda_stage_bytes(&w->tokens) / 4));
		keep_results(f, &t, i, w, multiply(f, &t, w));
		cuda_close(f);
	}
	cuda_tile_end(f, d, &t);
}

/* ---- the instruction ---- */

const char *cuda_wgmma_call(struct cuda_fn *f, struct cuda_wgmma w)
{
	bool known = false;
	for (int i = 0; i < f->wgmma->n && !known; i++)
		known = f->wgmma->use[i].tokens == w.tokens && f->wgmma->use[i].shares_lanes == w.shares_lanes && f->wgmma->use[i].across == w.across;
	if (!known)
		*arena_push(f->arena, f->wgmma->use, f->wgmma->n) = w;
	return cuda_text(f, "wgmma_%d_%s_%s", w.tokens, w.shares_lanes ? "rows" : "panels", w.across ? "across" : "along");
}

static void add_operands(struct strbuf *out, int first, int n)
{
	for (int i = 0; i < n; i++)
		strbuf_addf(out, "%s%%%d", i ? ", " : "", first + i);
}

/* Operands: the sums, a (4 words or a matrix), b, whether there are sums already. */
void cuda_wgmma_function(struct strbuf *out, struct cuda_wgmma w)
{
	int sums = w.tokens / 2, a = w.shares_lanes ? 1 : 4;
	const char *lanes = w.shares_lanes ? "rows" : "panels", *tokens = w.across ? "across" : "along";
	strbuf_addf(out, "DEVICE void wgmma_%d_%s_%s(float (*c)[4], %s, u64 b, int more)\n{\n#if defined(__CUDACC__) && WGMMA\n", w.tokens, lanes,
		tokens, w.shares_lanes ? "u64 a" : "const struct words2 *p, const struct words2 *q");
	strbuf_addf(out, "\tasm volatile(\"{.reg .pred p; setp.ne.b32 p, %%%d, 0; wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {",
		sums + a + 1, w.tokens);
	add_operands(out, 0, sums);
	strbuf_adds(out, w.shares_lanes ? "}, " : "}, {");
	add_operands(out, sums, a);
	strbuf_addf(out, "%s, %%%d, p, 1, 1%s, %d;}\"\n\t\t: ", w.shares_lanes ? "" : "}", sums + a, w.shares_lanes ? ", 1" : "", w.across);
	for (int i = 0; i < sums; i++)
		strbuf_addf(out, "%s\"+f\"(c[%d][%d])", i ? ", " : "", i / 4, i % 4);
	strbuf_addf(out, "\n\t\t: %s, \"l\"(b), \"r\"(more));\n", w.shares_lanes ? "\"l\"(a)" : "\"r\"(p->x), \"r\"(p->y), \"r\"(q->x), \"r\"(q->y)");
	strbuf_addf(out, "#elif !defined(__CUDACC__)\n\tshim_wgmma(c, %d, %s, b, %d, more);\n#endif\n}\n", w.tokens,
		w.shares_lanes ? "NULL, NULL, a" : "&p->x, &q->x, 0", w.across);
}
