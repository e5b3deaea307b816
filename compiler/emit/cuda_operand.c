#include "cuda_operand.h"

_Static_assert((int)GPU_CHUNKS == (int)WARPS, "a range a warp");

struct operand cuda_operand(struct cuda_fn *f, const struct dot *d)
{
	struct operand o = {.d = d, .of = {d, d}, .panels = 2, .q = dtype_has_blocks(d->dtype)};
	long long inner = (long long)dot_static_inner(f->g, d);
	long long nw = o.q ? (long long)d->panels_shape.nblock * STEP : (inner + 1) / 2;
	o.odd = !o.q && inner % 2;
	o.nk = cuda_extents(f, &d->r, 0, d->r.naxis);
	o.nw = o.q || inner ? cuda_text(f, "%lld", nw) : cuda_text(f, "(int)((%s + 1) / 2)", o.nk);
	o.chunk = (nw + GPU_CHUNKS * STEP - 1) / (GPU_CHUNKS * STEP) * STEP;
	if (!nw)
		o.chunk = DOT_CHUNK / 2;
	o.chunks = !nw || nw > o.chunk;
	o.panel_words = ((long long)type_extents(f->g, &d->r, 0, d->r.naxis) + 1) / 2;
	return o;
}

long long cuda_panel_bytes(const struct operand *o)
{
	return o->q ? (long long)o->d->panels_shape.bytes : o->panel_words * PANEL * 4;
}

long long cuda_token_bytes(const struct operand *o)
{
	return (long long)(o->q ? o->d->rows_shape.bytes : o->d->m_stride * 2);
}

bool cuda_tokens_in_lines(struct cuda_fn *f, const struct operand *o)
{
	enum { ELEMENTS = 8 }; /* of bf16 in 16 bytes */
	int64_t inner = dot_static_inner(f->g, o->d);
	return o->q || (o->d->k_stride == 1 && o->d->m_stride % ELEMENTS == 0 && inner && inner % ELEMENTS == 0);
}

bool cuda_tokens_across(const struct operand *o)
{
	return !o->q && o->d->k_stride != 1 && o->d->m_stride == 1;
}

static bool is_static(const struct graph *g, const struct type *t)
{
	for (int i = 0; i < t->naxis; i++)
		if (g->axis[t->axis[i]].dynamic)
			return false;
	return true;
}

static bool in_lines_across(int64_t k_stride, int64_t total)
{
	enum { ELEMENTS = 8 }; /* of bf16 in 16 bytes */
	return k_stride % ELEMENTS == 0 && total % ELEMENTS == 0;
}

bool cuda_tokens_in_lines_across(struct cuda_fn *f, const struct operand *o)
{
	const struct type *m = &o->d->m;
	return cuda_tokens_across(o) && is_static(f->g, m) && in_lines_across(o->d->k_stride, type_extents(f->g, m, 0, m->naxis));
}

bool cuda_lanes_in_lines_across(const struct operand *o)
{
	return !o->q && !o->d->panels && o->d->lane_stride == 1 && in_lines_across(o->d->row_stride, o->d->nlanes);
}

/* ---- outputs ---- */

static bool in_rows(const struct operand *o)
{
	return !o->q && !o->d->panels;
}

const char *cuda_lane(struct cuda_fn *f, const struct operand *o, int panel)
{
	return cuda_text(f, in_rows(o) ? "(g * 4 + %d)" : "(%d + g * 2)", panel * (in_rows(o) ? 2 : PANEL));
}

void cuda_declare_lanes(struct cuda_fn *f, const struct operand *o)
{
	cuda_line(f, "const i64 nk = %s;", o->nk);
	cuda_line(f, "const int nw = %s;", o->nw);
	cuda_line(f, "(void)nk;");
	for (int i = 0; i < o->panels && !in_rows(o); i++) {
		/* Nobody asks what comes of panels that are not there. */
		cuda_line(f, "const u8 *const lanes%d = %s + (panel%d < %lld ? panel%d : 0) * %lldLL + g * 8;", i,
			cuda_memory(f, o->of[i]->lane), i, (long long)o->d->npanels, i, cuda_panel_bytes(o));
	}
}

void cuda_declare_ahead(struct cuda_fn *f, const struct operand *o, int depth)
{
	for (int i = 0; i < o->panels; i++) {
		cuda_line(f, "struct words2 ahead_p%d[%d], ahead_q%d[%d];", i, depth, i, depth);
		cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) ahead_p%d[i] = ahead_q%d[i] = no_words2();", depth, i, i);
		if (o->q) {
			cuda_line(f, "u32 ahead_scale%d[%d];", i, depth);
			cuda_line(f, "UNROLL for (int i = 0; i < %d; i++) ahead_scale%d[i] = 0;", depth, i);
		}
	}
}

/* Word `w` + i of a panel; of int4 a line has two words. */
static void ask_for_panel(struct cuda_fn *f, const struct operand *o, int panel, const char *w, const char *end, const char *at)
{
	bool nibbles = o->d->dtype == DT_Q4;
	int64_t inner = dot_static_inner(f->g, o->d), words = (inner + 1) / 2;
	bool whole = o->q || (inner && words % STEP == 0), pairs = whole || (inner && words % 2 == 0); /* there are all or none */
	for (int i = 0; i < (nibbles ? 1 : 2); i++) {
		const char *to = cuda_text(f, "ahead_%c%d%s", "pq"[i], panel, at), *last = pairs ? w : cuda_text(f, "%s + %d", w, i);
		if (!whole)
			cuda_line(f, "%s = no_words2();", to);
		cuda_line(f, "if (%s < %s) %s = panel_words2(lanes%d, %s);", last, end, to, panel,
			nibbles ? cuda_text(f, "(%s) / 2", w) : cuda_text(f, "%s + %d", w, i));
	}
	if (o->q)
		cuda_line(f, "if (%s < %s) ahead_scale%d%s = *(const u32 *)(lanes%d + %lld + (%s) / 8 * 32 - g * 4);", w, end, panel, at, panel,
			(long long)o->d->panels_shape.scales, w);
}

/* Both k of word `w` + i: ahead_p and ahead_q. */
static void ask_for_rows(struct cuda_fn *f, const struct operand *o, int i, const char *w, const char *end, const char *at)
{
	for (int k = 0; k < 2; k++)
		cuda_line(f, "ahead_%c%d%s = row_words(%s, %lld, panel0 * 16 + g * 4, %lld, (i64)(%s) * 2 + %d, %s + %d < %s ? nk : 0);", "pq"[k], i,
			at, cuda_memory(f, o->d->lane), (long long)o->d->row_stride, (long long)o->d->nlanes, w, i * 2 + k, w, i, end);
}

void cuda_ask_for_lanes(struct cuda_fn *f, const struct operand *o, const char *w, const char *end, const char *at)
{
	for (int i = 0; i < o->panels; i++)
		(in_rows(o) ? ask_for_rows : ask_for_panel)(f, o, i, w, end, at);
}

static void take_rows(struct cuda_fn *f, const char *at)
{
	for (int i = 0; i < 2; i++) {
		cuda_line(f, "struct words2 p%d, q%d;", i, i);
		for (int k = 0; k < 2; k++) {
			char word = "pq"[k], half = "xy"[i];
			cuda_line(f, "%c%d.x = two_low_halves(ahead_p%d%s.%c, ahead_q%d%s.%c);", word, i, k, at, half, k, at, half);
			cuda_line(f, "%c%d.y = two_high_halves(ahead_p%d%s.%c, ahead_q%d%s.%c);", word, i, k, at, half, k, at, half);
		}
	}
}

static void take_panel(struct cuda_fn *f, const struct operand *o, int panel, const char *w, const char *at)
{
	if (o->d->dtype == DT_Q4)
		cuda_line(f, "const struct words2 p%d = high_nibbles(ahead_p%d%s, 4), q%d = high_nibbles(ahead_p%d%s, 0);", panel, panel, at,
			panel, panel, at);
	else
		cuda_line(f, "%sstruct words2 p%d = ahead_p%d%s, q%d = ahead_q%d%s;", o->odd ? "" : "const ", panel, panel, at, panel, panel, at);
	if (o->odd) {
		cuda_line(f, "if (%s == nw - 1) p%d = low_halves(p%d);", w, panel, panel);
		cuda_line(f, "if (%s + 1 == nw - 1) q%d = low_halves(q%d);", w, panel, panel);
	}
	if (o->q)
		cuda_line(f, "const float scale%d[2] = {half_to_float((u16)ahead_scale%d%s), half_to_float((u16)(ahead_scale%d%s >> 16))};", panel,
			panel, at, panel, at);
}

void cuda_take_lanes(struct cuda_fn *f, const struct operand *o, const char *w, const char *at)
{
	if (in_rows(o))
		take_rows(f, at);
	else
		for (int i = 0; i < o->panels; i++)
			take_panel(f, o, i, w, at);
}

/* ---- tokens ---- */

const char *cuda_token_word(struct cuda_fn *f, const struct operand *o, const char *m, const char *w)
{
	const char *p = cuda_memory(f, o->d->broadcast);
	if (o->q)
		return cuda_text(f, "load_word(%s + %s * %lld, %s)", p, m, (long long)o->d->rows_shape.bytes, w);
	return cuda_text(f, "token_word(%s, %s * %lld, %lld, %s, nk)", p, m, (long long)o->d->m_stride,
		(long long)o->d->k_stride, w);
}

/* ---- both ---- */

void cuda_step(struct cuda_fn *f, const struct operand *o, const char *acc)
{
	for (int i = 0; i < o->panels; i++) {
		if (!o->q) {
			cuda_line(f, "mma_bf16(%s[%d], p%d.x, p%d.y, q%d.x, q%d.y, b0, b1);", acc, i, i, i, i, i);
			continue;
		}
		/* A block's sum has 20 bits: added to the bits of 1.5 * 2^23 it is a float as it stands, sooner than by a conversion. */
		cuda_line(f, "int c%d[4];", i);
		cuda_line(f, "UNROLL for (int i = 0; i < 4; i++) c%d[i] = sum[i %% 2] + 0x4b400000;", i);
		cuda_line(f, "mma_u8s8(c%d, p%d.x, p%d.y, q%d.x, q%d.y, b0, b1);", i, i, i, i, i);
		cuda_line(f, "UNROLL for (int i = 0; i < 4; i++) %s[%d][i] = __fmaf_rn(from_bits((u32)c%d[i]) - 12582912.0f, by[i %% 2] * scale%d[i / 2], "
			"%s[%d][i]);", acc, i, i, i, acc, i);
	}
}
