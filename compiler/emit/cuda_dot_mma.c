/*
 * Dots on tensor cores: bf16, and q8 or q4 with q8.
 *
 * Operands are words along k: 2 bf16, or 4 bytes. A step is 8 words: 16 k of bf16, or a block of 32 bytes. mma's rows are
 * outputs, its columns tokens. Within a step words may come in any order if both operands have the same one, and mma's
 * rows may be any outputs; so a thread (g = lane / 4, t = lane % 4 of its warp) reads words 2t and 2t + 1 of 4
 * neighbouring outputs, 16 bytes each straight from a panel, and has the operands of two mma: outputs 0, 1 and
 * outputs 2, 3 of every g. A warp so covers two panels, of each of which its two loads
 * together read 512 neighbouring bytes (int4: one load 256).
 *
 * Up to 8 tokens (decode): a block takes two panels, each of its 8 warps one range of k. More: a block takes 128 outputs
 * by 64 tokens, a warp 32 by 32, and goes through all ranges; tokens come by way of shared memory. The sums of ranges are
 * added in order either way, so that a token's bits are the same.
 *
 * Nothing waits for memory that can be asked before: few tokens have several steps on their way, many the next step's outputs. Where
 * tokens of bf16 lie in whole lines of 16 bytes along k, the next slab of them comes to the other half of shared memory meanwhile;
 * so do tokens of bytes, with the records of their blocks.
 */
#include "cuda_dot.h"

enum {
	STEP = 8,            /* words */
	PANELS = 2,          /* of a warp */
	LANES = PANELS * PANEL,
	WARPS = GPU_THREADS / 32,
	WARPS_N = 4, WARPS_M = WARPS / WARPS_N, /* of a block of many tokens */
	TOKENS = 8,          /* of an mma */
	TILES = 4,           /* of tokens, of a warp */
	BLOCK_N = WARPS_N * LANES, BLOCK_M = WARPS_M * TILES * TOKENS,
	SLAB = 64,           /* words of tokens in shared memory at a time */
	AHEAD = SLAB / 2,    /* the same where the next ones are on their way */
	LINE = 4,            /* words that are copied at once */
};
/* Words from token to token in shared memory: double words of 4 tokens and 4 lanes lie in 32 different banks; or words of 32
 * tokens do, where those are written as neighbours. */
enum { ALONG = SLAB + 8, ALONG_AHEAD = AHEAD + 8, ACROSS = SLAB + 9 };
_Static_assert((int)GPU_CHUNKS == (int)WARPS, "a range a warp");

/* What differs between kinds of operands. */
struct operand {
	const struct dot *d;
	bool q;             /* bytes with scales */
	bool odd;           /* bf16: the last word has one element */
	bool chunks;        /* more than one range */
	int64_t chunk;      /* words of a range */
	const char *nw, *nk;/* words, elements */
	bool ahead;         /* the next slab of tokens is copied meanwhile */
	bool across;        /* neighbours in memory are tokens, not k */
	int slab, stride;   /* words of a token at a time, and to the next token */
	int64_t panel_words;/* of bf16 in a panel */
};

static struct operand describe(struct cuda_fn *f, const struct dot *d)
{
	struct operand o = {.d = d, .q = dtype_has_blocks(d->dtype)};
	int64_t inner = dot_static_inner(f->g, d);
	int64_t nw = o.q ? d->panels_shape.nblock * STEP : (inner + 1) / 2;
	o.odd = !o.q && inner % 2;
	o.nk = cuda_extents(f, &d->r, 0, d->r.naxis);
	o.nw = o.q || inner ? cuda_text(f, "%lld", (long long)nw) : cuda_text(f, "(%s + 1) / 2", o.nk);
	o.chunk = (nw + GPU_CHUNKS * STEP - 1) / (GPU_CHUNKS * STEP) * STEP;
	if (!nw)
		o.chunk = DOT_CHUNK / 2;
	o.chunks = !nw || nw > o.chunk;
	o.ahead = o.q || (d->k_stride == 1 && d->m_stride % (2 * LINE) == 0 && inner && inner % (2 * LINE) == 0);
	o.across = !o.q && d->k_stride != 1 && d->m_stride == 1;
	o.slab = o.ahead ? AHEAD : SLAB;
	o.stride = o.ahead ? ALONG_AHEAD : o.across ? ACROSS : ALONG;
	o.panel_words = (type_extents(f->g, &d->r, 0, d->r.naxis) + 1) / 2;
	return o;
}

/* Declares what a warp's panel needs: its outputs are panel `panel`, o4 to o4 + 3. */
static void declare_lanes(struct cuda_fn *f, const struct operand *o)
{
	const char *p = cuda_memory(f, o->d->lane);
	long long npanels = (long long)o->d->npanels;
	if (o->q)
		cuda_line(f, "const u8 *const lanes = %s + (panel < %lld ? panel : 0) * %lld;", p, npanels,
			(long long)o->d->panels_shape.bytes);
	else if (o->d->panels)
		cuda_line(f, "const u8 *const lanes = %s + ((panel < %lld ? panel : 0) * %lld * 16 + o4) * 4;", p, npanels,
			(long long)o->panel_words);
	if (o->q || o->d->panels)
		cuda_line(f, "const int there = panel < %lld;", npanels);
}

/*
 * What a step takes of outputs is asked for some steps before it is wanted, as it lies in memory, since whatever is done with it
 * waits for it: words4 ahead_p and ahead_q, of word `w` and the one behind it, and of integers words2 ahead_scale. `at` is
 * "[i]" or "". Then they become operands.
 */
static void declare_ahead(struct cuda_fn *f, const struct operand *o, const char *size)
{
	cuda_line(f, o->d->dtype == DT_Q4 ? "struct words4 ahead_q%s;" : "struct words4 ahead_q%s, ahead_p%s;", size, size);
	if (o->q)
		cuda_line(f, "struct words2 ahead_scale%s;", size);
}

/* Of words from `end` on nothing is asked for. */
static void ask_for_lanes(struct cuda_fn *f, const struct operand *o, const char *w, const char *end, const char *at)
{
	const char *const names[] = {cuda_text(f, "ahead_p%s", at), cuda_text(f, "ahead_q%s", at)};
	bool both = o->d->dtype != DT_Q4; /* else one line has both */
	for (int i = both ? 0 : 1; i < 2; i++) {
		cuda_line(f, "%s = no_words();", names[i]);
		if (o->q)
			cuda_line(f, "if (there && %s < %s) %s = panel_words(lanes + o4 * 4, (%s + %d) / %d);", w, end, names[i], w,
				both ? i : 0, both ? 1 : 2);
		else if (o->d->panels)
			cuda_line(f, "if (there && %s + %d < %s) %s = panel_words(lanes, %s + %d);", w, i, end, names[i], w, i);
		else
			cuda_line(f, "if (%s + %d < %s) %s = row_words(%s, %lld, panel * 16 + o4, %lld, %s + %d, nk);", w, i, end, names[i],
				cuda_memory(f, o->d->lane), (long long)o->d->row_stride, (long long)o->d->nlanes, w, i);
	}
	if (o->q) {
		cuda_line(f, "ahead_scale%s.x = ahead_scale%s.y = 0;", at, at);
		cuda_line(f, "if (there && %s < %s) ahead_scale%s = *(const struct words2 *)(lanes + %lld + ((%s) / 8 * 16 + o4) * 2);", w,
			end, at, (long long)o->d->panels_shape.scales, w);
	}
}

/* Declares words4 p and q, and of integers scale[4], of the thread's 4 outputs. */
static void take_lanes(struct cuda_fn *f, const struct operand *o, const char *w, const char *at)
{
	static const char *const half[] = {"x", "x >> 16", "y", "y >> 16"};
	if (o->d->dtype == DT_Q4)
		cuda_line(f, "const struct words4 p = high_nibbles(ahead_q%s, 4), q = high_nibbles(ahead_q%s, 0);", at, at);
	else
		cuda_line(f, "%sstruct words4 p = ahead_p%s, q = ahead_q%s;", o->odd && o->d->panels ? "" : "const ", at, at);
	if (o->odd && o->d->panels) {
		cuda_line(f, "if (%s == nw - 1) p = low_halves(p);", w);
		cuda_line(f, "if (%s + 1 == nw - 1) q = low_halves(q);", w);
	}
	if (!o->q)
		return;
	cuda_line(f, "float scale[4];");
	for (int i = 0; i < 4; i++)
		cuda_line(f, "scale[%d] = half_to_float((u16)(ahead_scale%s.%s));", i, at, half[i]);
}

/* An expression: word w of row m of the tokens. */
static const char *token_word(struct cuda_fn *f, const struct operand *o, const char *m, const char *w)
{
	const char *p = cuda_memory(f, o->d->broadcast);
	if (o->q)
		return cuda_text(f, "load_word(%s + %s * %lld, %s)", p, m, (long long)o->d->rows_shape.bytes, w);
	return cuda_text(f, "token_word(%s, %s * %lld, %lld, %s, nk)", p, m, (long long)o->d->m_stride,
		(long long)o->d->k_stride, w);
}

/* An expression: byte `at` of the record of row m and block. */
static const char *record(struct cuda_fn *f, const struct operand *o, const char *m, const char *block)
{
	return cuda_text(f, "%s + %s * %lld + %lld + (%s) * 8", cuda_memory(f, o->d->broadcast), m,
		(long long)o->d->rows_shape.bytes, (long long)o->d->rows_shape.scales, block);
}

/* acc[2], of a thread: outputs 0, 1 and 2, 3 with tokens 2t, 2t + 1; b0, b1: the token's words. Of integers also sum[2],
 * by[2]: the two tokens' records. */
static void step(struct cuda_fn *f, const struct operand *o, const char *acc)
{
	if (!o->q) {
		cuda_line(f, "mma_bf16(%s[0], p.x, p.y, q.x, q.y, b0, b1);", acc);
		cuda_line(f, "mma_bf16(%s[1], p.z, p.w, q.z, q.w, b0, b1);", acc);
		return;
	}
	cuda_line(f, "int c[2][4];");
	cuda_line(f, "UNROLL for (int i = 0; i < 8; i++) c[i / 4][i %% 4] = sum[i %% 2];");
	cuda_line(f, "mma_u8s8(c[0], p.x, p.y, q.x, q.y, b0, b1);");
	cuda_line(f, "mma_u8s8(c[1], p.z, p.w, q.z, q.w, b0, b1);");
	cuda_line(f, "UNROLL for (int i = 0; i < 8; i++) %s[i / 4][i %% 4] = __fmaf_rn((float)c[i / 4][i %% 4], "
		"by[i %% 2] * scale[i / 2], %s[i / 4][i %% 4]);", acc, acc);
}

/* ---- few tokens ---- */

/* Steps that are on their way: 64 KB of a multiprocessor's 16 warps, int4's 48, where some 25 would do without gaps. */
static int steps_ahead(const struct operand *o)
{
	return o->d->dtype == DT_Q4 ? 6 : 4;
}

/* Declares what step w of few tokens takes of those. They are in reach: all blocks read the same. */
static void take_tokens(struct cuda_fn *f, const struct operand *o)
{
	for (int i = 0; i < 2; i++) {
		const char *word = token_word(f, o, "g", cuda_text(f, "w + 2 * t + %d", i));
		cuda_line(f, "const u32 b%d = g < nm ? %s : 0;", i, word);
	}
	if (!o->q)
		return;
	const char *of = record(f, o, "m", "w / 8");
	cuda_line(f, "int sum[2];");
	cuda_line(f, "float by[2];");
	cuda_open(f, "UNROLL for (int j = 0; j < 2; j++)");
	cuda_line(f, "const int m = 2 * t + j;");
	cuda_line(f, "by[j] = m < nm ? load_f32(%s, 0) : 0.0f;", of);
	cuda_line(f, "sum[j] = m < nm ? load_i32(%s, 1) : 0;", of);
	cuda_close(f);
}

static void multiply_few(struct cuda_fn *f, const struct operand *o)
{
	int depth = steps_ahead(o);
	declare_ahead(f, o, cuda_text(f, "[%d]", depth));
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth);
	cuda_line(f, "const i64 w = from + i * %d;", STEP);
	ask_for_lanes(f, o, "w + 2 * t", "to", "[i]");
	cuda_close(f);
	cuda_open(f, "for (i64 w0 = from; w0 < to; w0 += %d)", depth * STEP);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth);
	cuda_line(f, "const i64 w = w0 + i * %d;", STEP);
	cuda_open(f, "if (w < to)");
	take_tokens(f, o);
	take_lanes(f, o, "w + 2 * t", "[i]");
	step(f, o, "acc");
	ask_for_lanes(f, o, cuda_text(f, "w + %d + 2 * t", depth * STEP), "to", "[i]");
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

static void few_tokens(struct cuda_fn *f, const struct cuda_dots *d)
{
	long long stride = WARPS * TOKENS * LANES;
	const char *value[CUDA_MAX_DOTS];
	cuda_open(f, "for (i64 item = BLOCK; item < %lld; item += BLOCKS)",
		(long long)((d->dot[0].npanels + PANELS - 1) / PANELS));
	cuda_line(f, "const i64 panel = item * %d + g / 4;", PANELS);
	for (int i = 0; i < d->ndot; i++) {
		struct operand o = describe(f, &d->dot[i]);
		cuda_block(f);
		cuda_line(f, "const i64 nk = %s, nw = %s, from = warp * (i64)%lld;", o.nk, o.nw, (long long)o.chunk);
		cuda_line(f, "const i64 to = from + %lld < nw ? from + %lld : nw;", (long long)o.chunk, (long long)o.chunk);
		cuda_line(f, "float acc[2][4];");
		cuda_line(f, "(void)nk;");
		cuda_line(f, "UNROLL for (int i = 0; i < 8; i++) acc[i / 4][i %% 4] = 0;");
		declare_lanes(f, &o);
		multiply_few(f, &o);
		cuda_open(f, "UNROLL for (int i = 0; i < 8; i++)");
		cuda_line(f, "part[%lld + (warp * %d + 2 * t + i %% 2) * %d + g / 4 * 16 + o4 + i / 2] = acc[i / 4][i %% 4];",
			stride * i, TOKENS, LANES);
		cuda_close(f);
		cuda_close(f);
	}
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < (int)nm * %d; i += THREADS)", LANES);
	cuda_line(f, "const i64 m = i / %d, n = item * %d + i %% %d;", LANES, LANES, LANES);
	cuda_open(f, "if (n < %lld)", (long long)d->dot[0].nlanes);
	for (int i = 0; i < d->ndot; i++) {
		struct operand o = describe(f, &d->dot[i]);
		value[i] = cuda_name(f, "sum");
		cuda_line(f, "float %s = part[%lld + i];", value[i], stride * i);
		cuda_line(f, "UNROLL for (int c = 1; c < %d; c++) if (c * %lldL < %s) %s = %s + part[%lld + c * %d + i];", GPU_CHUNKS,
			(long long)o.chunk, o.nw, value[i], value[i], stride * i, TOKENS * LANES);
	}
	cuda_epilogue(f, d, "m", "n", value);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_close(f);
}

/* ---- many tokens ---- */

/* Tokens' words [w0, w0 + SLAB) of the range that ends at `to`. */
static void load_slab(struct cuda_fn *f, const struct operand *o)
{
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", BLOCK_M * SLAB);
	if (o->across)
		cuda_line(f, "const int row = i %% %d, word = i / %d;", BLOCK_M, BLOCK_M);
	else
		cuda_line(f, "const int row = i / %d, word = i %% %d;", SLAB, SLAB);
	cuda_line(f, "const i64 m = m0 + row, w = w0 + word;");
	cuda_line(f, "slab[row * %d + word] = m < nm && w < to ? %s : 0;", o->stride, token_word(f, o, "m", "w"));
	cuda_close(f);
	cuda_line(f, "sync_block();");
}

/* Words [from, from + AHEAD) of the range that ends at `end` begin to come to the half `half`, and behind a token's words the records
 * of their blocks. */
static void copy_slab(struct cuda_fn *f, const struct operand *o, const char *half, const char *from, const char *end)
{
	enum { LINES = AHEAD / LINE, RECORDS = AHEAD / STEP };
	int each = o->q ? LINES + RECORDS : LINES;
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", BLOCK_M * each);
	cuda_line(f, "const int row = i / %d, line = i %% %d;", each, each);
	cuda_line(f, "const i64 m = m0 + row, w = %s + (line < %d ? line * %d : (line - %d) * %d);", from, LINES, LINE, LINES, STEP);
	cuda_line(f, "const int known = m < nm && w < %s;", end);
	cuda_line(f, "u32 *const to = slab + %s * %d + row * %d;", half, BLOCK_M * o->stride, o->stride);
	if (o->q) {
		cuda_line(f, "const u8 *const of = %s + (known ? m * %lld : 0);", cuda_memory(f, o->d->broadcast),
			(long long)o->d->rows_shape.bytes);
		cuda_line(f, "if (line < %d) copy_line(to + line * %d, of + (known ? w * 4 : 0), known);", LINES, LINE);
		cuda_line(f, "else copy_pair(to + %d + (line - %d) * 2, of + %lld + (known ? w / 8 * 8 : 0), known);", AHEAD, LINES,
			(long long)o->d->rows_shape.scales);
	} else {
		cuda_line(f, "copy_line(to + line * %d, %s + (known ? m * %lld + w * 2 : 0) * 2, known);", LINE,
			cuda_memory(f, o->d->broadcast), (long long)o->d->m_stride);
	}
	cuda_close(f);
}

/* When a slab is there, and all are done with the other half, the one behind it is asked for: it may be the first of the next range;
 * the last of all asks for nothing. */
static void next_slab(struct cuda_fn *f, const struct operand *o)
{
	cuda_line(f, "const i64 w1 = w0 + %d < to ? w0 + %d : to;", AHEAD, AHEAD);
	cuda_line(f, "copy_wait();");
	cuda_line(f, "sync_block();");
	cuda_line(f, "const i64 to1 = w1 < to ? to : to + %lld < nw ? to + %lld : nw;", (long long)o->chunk, (long long)o->chunk);
	cuda_open(f, "if (w1 < nw)");
	copy_slab(f, o, "(1 - half)", "w1", "to1");
	cuda_close(f);
}

static void multiply(struct cuda_fn *f, const struct operand *o)
{
	if (o->ahead)
		next_slab(f, o);
	else
		load_slab(f, o);
	cuda_line(f, "const int end = to - w0 < %d ? (int)(to - w0) : %d;", o->slab, o->slab);
	cuda_open(f, "for (int w = 0; w < end; w += %d)", STEP);
	take_lanes(f, o, "w0 + w + 2 * t", "");
	ask_for_lanes(f, o, cuda_text(f, "w0 + w + %d + 2 * t", STEP), "nw", "");
	cuda_line(f, "UNROLL");
	cuda_open(f, "for (int j = 0; j < %d; j++)", TILES);
	cuda_line(f, "const u32 *const b = slab + %s(m4 + j * 8 + g) * %d + w + 2 * t;",
		o->ahead ? cuda_text(f, "half * %d + ", BLOCK_M * o->stride) : "", o->stride);
	cuda_line(f, "const u32 b0 = b[0], b1 = b[1];");
	if (o->q) {
		cuda_line(f, "const u32 *const of = slab + half * %d + (m4 + j * 8 + 2 * t) * %d + %d + w / 8 * 2;", BLOCK_M * o->stride,
			o->stride, AHEAD);
		cuda_line(f, "const float by[2] = {from_bits(of[0]), from_bits(of[%d])};", o->stride);
		cuda_line(f, "const int sum[2] = {(int)of[1], (int)of[%d]};", o->stride + 1);
	}
	step(f, o, "acc[j]");
	cuda_close(f);
	cuda_close(f);
	if (o->ahead)
		cuda_line(f, "half = 1 - half;");
}

static void many_tokens(struct cuda_fn *f, const struct cuda_dots *d)
{
	const char *value[CUDA_MAX_DOTS];
	int elements = TILES * 8;
	cuda_open(f, "for (i64 item = BLOCK; item < (nm + %d) / %d * %lld; item += BLOCKS)", BLOCK_M - 1, BLOCK_M,
		(long long)((d->dot[0].nlanes + BLOCK_N - 1) / BLOCK_N));
	cuda_line(f, "const i64 across = %lld;", (long long)((d->dot[0].nlanes + BLOCK_N - 1) / BLOCK_N));
	cuda_line(f, "const i64 n0 = item %% across * %d, m0 = item / across * %d;", BLOCK_N, BLOCK_M);
	cuda_line(f, "const int n4 = warp %% %d * %d, m4 = warp / %d * %d;", WARPS_N, LANES, WARPS_N, TILES * TOKENS);
	cuda_line(f, "const i64 panel = (n0 + n4) / 16 + g / 4;");
	for (int i = 0; i < d->ndot; i++) {
		struct operand o = describe(f, &d->dot[i]);
		cuda_block(f);
		cuda_line(f, "const i64 nk = %s, nw = %s;", o.nk, o.nw);
		cuda_line(f, "float acc[%d][2][4];", TILES);
		cuda_line(f, "(void)nk;");
		if (o.chunks)
			cuda_line(f, "float total[%d][2][4];", TILES);
		declare_lanes(f, &o);
		declare_ahead(f, &o, "");
		ask_for_lanes(f, &o, "2 * t", "nw", "");
		if (o.ahead) {
			cuda_line(f, "int half = 0;");
			if (i)
				cuda_line(f, "sync_block();"); /* the dot before may still be read */
			copy_slab(f, &o, "half", "0", cuda_text(f, "(%lldL < nw ? %lldL : nw)", (long long)o.chunk, (long long)o.chunk));
		}
		cuda_open(f, "for (i64 from = 0; from < nw; from += %lld)", (long long)o.chunk);
		cuda_line(f, "const i64 to = from + %lld < nw ? from + %lld : nw;", (long long)o.chunk, (long long)o.chunk);
		cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) acc[i / 8][i / 4 %% 2][i %% 4] = 0;", elements);
		cuda_open(f, "for (i64 w0 = from; w0 < to; w0 += %d)", o.slab);
		multiply(f, &o);
		cuda_close(f);
		if (o.chunks)
			cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) total[i / 8][i / 4 %% 2][i %% 4] = from ? total[i / 8]"
				"[i / 4 %% 2][i %% 4] + acc[i / 8][i / 4 %% 2][i %% 4] : acc[i / 8][i / 4 %% 2][i %% 4];", elements);
		cuda_close(f);
		cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", elements);
		cuda_line(f, "const int m = m4 + i / 8 * 8 + 2 * t + i %% 2, n = n4 + g / 4 * 16 + o4 + i %% 8 / 2;");
		cuda_line(f, "done[%d + m * %d + n] = %s[i / 8][i / 4 %% 2][i %% 4];", i * BLOCK_M * BLOCK_N, BLOCK_N,
			o.chunks ? "total" : "acc");
		cuda_close(f);
		cuda_close(f);
	}
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", BLOCK_M * BLOCK_N);
	cuda_line(f, "const i64 m = m0 + i / %d, n = n0 + i %% %d;", BLOCK_N, BLOCK_N);
	cuda_open(f, "if (m < nm && n < %lld)", (long long)d->dot[0].nlanes);
	for (int i = 0; i < d->ndot; i++) {
		value[i] = cuda_name(f, "sum");
		cuda_line(f, "const float %s = done[%d + i];", value[i], i * BLOCK_M * BLOCK_N);
	}
	cuda_epilogue(f, d, "m", "n", value);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_close(f);
}

void cuda_dot_mma(struct cuda_fn *f, const struct cuda_dots *d)
{
	bool few = true;
	int line = 0; /* words of a token in shared memory */
	for (int i = 0; i < d->ndot; i++) {
		struct operand o = describe(f, &d->dot[i]);
		int own = o.ahead ? 2 * o.stride : o.stride;
		few = few && dot_static_inner(f->g, &d->dot[i]);
		line = own > line ? own : line;
	}
	bool many = !few || type_extents(f->g, &d->dot[0].m, 0, d->dot[0].m.naxis) > TOKENS;
	int64_t slab = many ? BLOCK_M * line * 4 : 0;
	int64_t part = few ? (int64_t)d->ndot * WARPS * TOKENS * LANES * 4 : 0;
	int64_t done = many ? (int64_t)d->ndot * BLOCK_M * BLOCK_N * 4 : 0;
	f->shared_bytes = slab + (part > done ? part : done);
	cuda_line(f, "const i64 nm = %s;", cuda_extents(f, &d->dot[0].m, 0, d->dot[0].m.naxis));
	cuda_line(f, "const int warp = THREAD / 32, g = THREAD %% 32 / 4, t = THREAD %% 4, o4 = g %% 4 * 4;");
	cuda_line(f, "float *const done = (float *)(shared + %lld);", (long long)slab);
	if (many)
		cuda_line(f, "u32 *const slab = (u32 *)shared;");
	if (few) {
		cuda_line(f, "float *const part = done;");
		cuda_open(f, "if (nm <= %d)", TOKENS);
		few_tokens(f, d);
		cuda_line(f, "return;");
		cuda_close(f);
	}
	if (many)
		many_tokens(f, d);
}
