/*
 * Dots of few tokens on tensor cores: a block takes two panels and some tokens, each of its 8 warps one range of k, then adds
 * them in order. A program of few rows, which decodes, has 8 tokens a block. Reading weights is all that counts there: each warp
 * has several steps of them on their way, and a dot of few panels is spread over twice as many blocks, one panel each. Other programs have
 * up to 32 tokens a block, and go this way where cuda_dot_many would leave most multiprocessors without work.
 */
#include "cuda_operand.h"

/* Items of two panels that leave multiprocessors without work where there are more. */
enum { NARROW = 132 };

/* Of 8 tokens each, of a block. */
static int tiles_of(const struct cuda_dots *d)
{
	return d->few_rows ? 1 : d->ndot > 2 ? 2 : 4;
}

static int panels_of(const struct cuda_dots *d)
{
	const struct dot *first = &d->dot[0];
	return d->few_rows && !d->quantises && !d->flips && first->panels && (first->npanels + 1) / 2 <= NARROW ? 1 : 2;
}

/* Of one group of tokens. */
static int64_t items_of(const struct cuda_dots *d)
{
	return (d->dot[0].npanels + panels_of(d) - 1) / panels_of(d);
}

const char *cuda_few_items(struct cuda_fn *f, const struct cuda_dots *d)
{
	int tokens = tiles_of(d) * TOKENS;
	return cuda_text(f, "((nm + %d) / %d * %lld)", tokens - 1, tokens, (long long)items_of(d));
}

int64_t cuda_few_shared(const struct cuda_dots *d)
{
	return (int64_t)d->ndot * WARPS * tiles_of(d) * TOKENS * panels_of(d) * PANEL * 4;
}

static struct operand describe(struct cuda_fn *f, const struct cuda_dots *d, int i)
{
	struct operand o = cuda_operand(f, &d->dot[i]);
	o.panels = panels_of(d);
	return o;
}

/* Of a program that decodes 64 KB of a multiprocessor's 16 warps are on their way, int4's 48, where some 25 would do without gaps. With
 * more tokens registers end sooner. */
static int steps_ahead(const struct cuda_dots *d, const struct operand *o)
{
	if (!d->few_rows)
		return o->q ? 2 : 4;
	return (o->d->dtype == DT_Q4 ? 12 : 8) / o->panels;
}

/* Steps of tokens that are on their way: the L2 cache is half as far as memory, and while a warp takes a step others take theirs. */
enum { TOKENS_AHEAD = 2 };

/*
 * Other multiprocessors wrote tokens a moment ago, so they come from as far as the L2 cache. Of tile j the thread's tokens are those
 * that mma's operand and results have it multiply; where there is none it reads the first one's, for a column that nobody
 * asks for. `at` is "[place * tiles + j]".
 */
static void declare_tokens(struct cuda_fn *f, const struct operand *o, int tiles)
{
	int depth = TOKENS_AHEAD;
	const char *p = cuda_memory(f, o->d->broadcast);
	long long bytes = cuda_token_bytes(o);
	cuda_line(f, "struct words2 ahead_b[%d];", depth * tiles);
	cuda_line(f, "const u8 *tokens[%d];", tiles);
	cuda_line(f, "UNROLL for (int j = 0; j < %d; j++) tokens[j] = %s + (m0 + j * %d + g < nm ? m0 + j * %d + g : 0) * %lld;", tiles, p,
		TOKENS, TOKENS, bytes);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) ahead_b[i] = no_words2();", depth * tiles);
	if (!o->q)
		return;
	cuda_line(f, "struct words2 ahead_record[%d][2];", depth * tiles);
	cuda_line(f, "const u8 *records[%d][2];", tiles);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", tiles * 2);
	cuda_line(f, "const i64 m = m0 + i / 2 * %d + 2 * t + i %% 2;", TOKENS);
	cuda_line(f, "records[i / 2][i %% 2] = %s + (m < nm ? m : 0) * %lld + %lld;", p, bytes, (long long)o->d->rows_shape.scales);
	cuda_close(f);
	cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) ahead_record[i / 2][i %% 2] = no_words2();", depth * tiles * 2);
}

static void ask_for_tokens(struct cuda_fn *f, const struct operand *o, const char *w, const char *at)
{
	cuda_line(f, "const int k = %s;", w);
	if (cuda_tokens_in_lines(f, o)) {
		cuda_line(f, "ahead_b%s = no_words2();", at);
		cuda_line(f, "if (k < to) ahead_b%s = *(const struct words2 *)(tokens[j] + k * 4);", at);
	} else {
		for (int i = 0; i < 2; i++)
			cuda_line(f, "ahead_b%s.%c = k + %d < to ? token_word(tokens[j], 0, %lld, k + %d, nk) : 0;", at, "xy"[i], i,
				(long long)o->d->k_stride, i);
	}
	if (o->q)
		cuda_line(f, "UNROLL for (int u = 0; u < 2; u++) if (k < to) ahead_record%s[u] = *(const struct words2 *)(records[j][u] + k / %d * 8);",
			at, STEP);
}

static void take_tokens(struct cuda_fn *f, const struct operand *o, const char *at)
{
	cuda_line(f, "const u32 b0 = ahead_b%s.x, b1 = ahead_b%s.y;", at, at);
	if (!o->q)
		return;
	cuda_line(f, "const float by[2] = {from_bits(ahead_record%s[0].x), from_bits(ahead_record%s[1].x)};", at, at);
	cuda_line(f, "const int sum[2] = {(int)ahead_record%s[0].y, (int)ahead_record%s[1].y};", at, at);
}

static const char *token_place(struct cuda_fn *f, int tiles)
{
	return cuda_text(f, "[i %% %d * %d + j]", TOKENS_AHEAD, tiles);
}

static void ask_for_all_tokens(struct cuda_fn *f, const struct operand *o, int tiles, const char *w)
{
	cuda_open(f, "UNROLL for (int j = 0; j < %d; j++)", tiles);
	ask_for_tokens(f, o, w, token_place(f, tiles));
	cuda_close(f);
}

static void multiply(struct cuda_fn *f, const struct operand *o, int tiles, int depth)
{
	cuda_declare_ahead(f, o, depth);
	declare_tokens(f, o, tiles);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth);
	cuda_ask_for_lanes(f, o, cuda_text(f, "from + i * %d + 2 * t", STEP), "to", "[i]");
	cuda_close(f);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", TOKENS_AHEAD);
	ask_for_all_tokens(f, o, tiles, cuda_text(f, "from + i * %d + 2 * t", STEP));
	cuda_close(f);
	cuda_open(f, "for (int w0 = from; w0 < to; w0 += %d)", depth * STEP);
	cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", depth);
	cuda_line(f, "const int w = w0 + i * %d;", STEP);
	cuda_open(f, "if (w < to)");
	cuda_take_lanes(f, o, "w + 2 * t", "[i]");
	cuda_open(f, "UNROLL for (int j = 0; j < %d; j++)", tiles);
	take_tokens(f, o, token_place(f, tiles));
	cuda_step(f, o, "acc[j]");
	cuda_close(f);
	cuda_ask_for_lanes(f, o, cuda_text(f, "w + %d + 2 * t", depth * STEP), "to", "[i]");
	ask_for_all_tokens(f, o, tiles, cuda_text(f, "w + %d + 2 * t", TOKENS_AHEAD * STEP));
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

/* Which lane is the `i`th of an item. */
static const char *lane_of(struct cuda_fn *f, int lanes, const char *i)
{
	return lanes == PANEL ? cuda_text(f, "panel0 * %d + %s %% %d", PANEL, i, PANEL)
		: cuda_text(f, "(%s / %d %% 2 ? panel1 : panel0) * %d + %s %% %d", i, PANEL, PANEL, i, PANEL);
}

/* What an epilogue reads is there when the sums are, where a thread has one place: of a place that is not there it reads the first one's. */
static void load_early(struct cuda_fn *f, const struct cuda_dots *d, int lanes, struct spot *s)
{
	cuda_line(f, "const i64 early_m = m0 + THREAD / %d < nm ? m0 + THREAD / %d : 0;", lanes, lanes);
	cuda_line(f, "const int early_n = %s < %lld ? %s : 0;", lane_of(f, lanes, "THREAD"), (long long)d->dot[0].nlanes,
		lane_of(f, lanes, "THREAD"));
	cuda_line(f, "(void)early_m, (void)early_n;");
	spot_init(f, s);
	cuda_unflatten(f, s, &d->dot[0].m, 0, d->dot[0].m.naxis, "early_m");
	cuda_unflatten(f, s, &d->dot[0].n, 0, d->dot[0].n.naxis, "early_n");
	cuda_eval_loads(f, s);
}

/* The sum of the other panel's lane, which a flip reads. */
static void add_across(struct cuda_fn *f, int node, const struct operand *o, long long at, int each)
{
	const char *value = cuda_name(f, "across");
	cuda_line(f, "float %s = part[%lld + (i ^ %d)];", value, at, PANEL);
	cuda_line(f, "UNROLL for (int c = 1; c < %d; c++) if (c * %lldL < %s) %s = %s + part[%lld + c * %d + (i ^ %d)];", GPU_CHUNKS, o->chunk,
		o->nw, value, value, at, each, PANEL);
	f->across[f->nacross++] = (struct cuda_across){node, value};
}

void cuda_dot_few(struct cuda_fn *f, const struct cuda_dots *d)
{
	int panels = panels_of(d), lanes = panels * PANEL, tiles = tiles_of(d), tokens = tiles * TOKENS;
	long long stride = WARPS * tokens * lanes;
	const char *value[CUDA_MAX_DOTS];
	struct spot s, early;
	cuda_line(f, "float *const part = (float *)shared;");
	cuda_open(f, "for (int item = block; item < %s; item += blocks)", cuda_few_items(f, d));
	cuda_line(f, "const i64 m0 = item / %lld * %d;", (long long)items_of(d), tokens);
	cuda_line(f, "const int place = item %% %lld;", (long long)items_of(d));
	if (panels == 2)
		cuda_line(f, "const int panel0 = place / %d * %d + place %% %d, panel1 = panel0 + %d;", d->apart, 2 * d->apart, d->apart, d->apart);
	else
		cuda_line(f, "const int panel0 = place;");
	if (tokens * lanes <= GPU_THREADS)
		load_early(f, d, lanes, &early);
	for (int i = 0; i < d->ndot; i++) {
		struct operand o = describe(f, d, i);
		cuda_block(f);
		cuda_declare_lanes(f, &o);
		cuda_line(f, "const int from = warp * %lld, to = from + %lld < nw ? from + %lld : nw;", o.chunk, o.chunk, o.chunk);
		cuda_line(f, "float acc[%d][%d][4];", tiles, panels);
		cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) acc[i / %d][i / 4 %% %d][i %% 4] = 0;", tiles * panels * 4, panels * 4, panels);
		multiply(f, &o, tiles, steps_ahead(d, &o));
		cuda_open(f, "UNROLL for (int i = 0; i < %d; i++)", tiles * 4);
		cuda_line(f, "const int at = %lld + (warp * %d + i / 4 * %d + 2 * t + i %% 2) * %d + i / 2 %% 2;", stride * i, tokens, TOKENS, lanes);
		for (int k = 0; k < panels; k++)
			cuda_line(f, "part[at + %s] = acc[i / 4][%d][i %% 4];", cuda_lane(f, &o, k), k);
		cuda_close(f);
		cuda_close(f);
	}
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", tokens * lanes);
	cuda_line(f, "const i64 m = m0 + i / %d;", lanes);
	cuda_line(f, "const int n = %s;", lane_of(f, lanes, "i"));
	cuda_open(f, "if (m < nm && n < %lld)", (long long)d->dot[0].nlanes);
	for (int i = 0; i < d->ndot; i++) {
		struct operand o = describe(f, d, i);
		value[i] = cuda_name(f, "sum");
		cuda_line(f, "float %s = part[%lld + i];", value[i], stride * i);
		cuda_line(f, "UNROLL for (int c = 1; c < %d; c++) if (c * %lldL < %s) %s = %s + part[%lld + c * %d + i];", GPU_CHUNKS,
			o.chunk, o.nw, value[i], value[i], stride * i, tokens * lanes);
		if (d->flips)
			add_across(f, d->node[i], &o, stride * i, tokens * lanes);
	}
	cuda_epilogue_spot(f, d, "m", "n", value, &s);
	if (tokens * lanes <= GPU_THREADS)
		spot_share(f, &s, &early);
	cuda_store_all(f, &s);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_close(f);
}

/* ---- before they are multiplied ---- */

bool cuda_dot_asks(const struct graph *g, const struct region *r)
{
	for (int i = 0; i < r->nnode; i++) {
		const struct node *n = &g->node[r->node[i]];
		if (n->op != OP_DOT)
			continue;
		struct dot d = dot_shape(g, n);
		if (d.dtype == DT_F32 || !(d.panels || dtype_has_blocks(d.dtype)) || !dot_static_inner(g, &d) ||
			g->node[d.lane].op != OP_PARAM)
			return false;
	}
	return r->kind == REGION_DOT;
}

int64_t cuda_dot_items(struct cuda_fn *f)
{
	struct cuda_dots d = cuda_dots(f);
	return items_of(&d);
}

/* Where each warp will begin in each panel of the block's first item: 4 KB a warp, lines of 128 bytes. The warp that waits for the
 * barrier has no time for it. */
void cuda_dot_ask(struct cuda_fn *f)
{
	enum { LINE = 128, WAITING = 32 };
	struct cuda_dots d = cuda_dots(f);
	int panels = panels_of(&d), lines = 32 / panels;
	cuda_open(f, "for (int i = THREAD - %d; i >= 0 && i < THREADS; i += THREADS - %d)", WAITING, WAITING);
	if (panels == 2)
		cuda_line(f, "const i64 panel = block / %d * %d + block %% %d + i %% 32 / %d * %d;", d.apart, 2 * d.apart, d.apart, lines, d.apart);
	else
		cuda_line(f, "const i64 panel = block;");
	cuda_line(f, "const int line = i %% %d * %d, warp = i / 32;", lines, LINE);
	for (int i = 0; i < d.ndot; i++) {
		struct operand o = describe(f, &d, i);
		long long word = o.d->dtype == DT_Q4 ? 2 * PANEL : 4 * PANEL, range = o.chunk * word;
		long long bytes = cuda_panel_bytes(&o), values = o.q ? (long long)o.d->panels_shape.scales : bytes;
		cuda_line(f, "if (panel < %lld && line < %lld && warp * %lld + line < %lld) ask_line(%s + panel * %lld + warp * %lld + line);",
			(long long)o.d->npanels, range, range, values, cuda_memory(f, o.d->lane), bytes, range);
	}
	cuda_close(f);
}
