#include "packed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PACK_ALIGN = 64 };

/* How many elements of a row are handled at once: they stay in the nearest cache. */
enum { CHUNK = 512 };

/* n elements from `at` on, as bits of f32. */
static void load_bits(enum model_dtype from, const uint8_t *p, int64_t at, int64_t n, uint32_t *to)
{
	uint16_t half;
	if (from == MODEL_F32) {
		memcpy(to, p + 4 * at, (size_t)n * 4);
		return;
	}
	p += 2 * at;
	for (int64_t i = 0; i < n; i++) {
		memcpy(&half, p + 2 * i, 2);
		if (from == MODEL_BF16) {
			to[i] = (uint32_t)half << 16;
		} else {
			float f = f16_value(half);
			memcpy(&to[i], &f, 4);
		}
	}
}

/* recipe.c's cast, on bits. */
static uint16_t round_bf16(uint32_t u)
{
	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)((u | 0x00400000) >> 16);
	if (!(u & 0x7f800000))
		return (uint16_t)((u & 0x80000000u) >> 16);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* To nearest even; what is too large becomes the largest number. */
static uint16_t round_f16(float f)
{
	uint32_t u;
	memcpy(&u, &f, 4);
	uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
	u &= 0x7fffffff;
	if (u >= 0x477ff000)
		return sign | 0x7bff;
	if (u >= 0x38800000)
		return (uint16_t)(sign | (u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13);
	/* A denormal half counts units of 2^-24: adding 2^23 of them leaves the count, rounded. */
	float shifted = fabsf(f) * 0x1p24f + 0x1p23f;
	memcpy(&u, &shifted, 4);
	return (uint16_t)(sign | (u & 0x7fffff));
}

/*
 * ---- one block of each of PANEL rows: w, and the values code + 128, by k and row ----
 *
 * Rows lie side by side so that loops over them are loops over vectors, with the same bits whatever a compiler
 * makes of them: a large model has tens of millions of blocks.
 */
struct block {
	float w[Q_BLOCK][PANEL];
	uint8_t code[Q_BLOCK][PANEL];
	uint16_t scale[PANEL];
};

/* x rounded to nearest even, within [least, most]: the bits of 1.5 * 2^23 + x count it, for |x| < 2^22. */
static void round_codes(float *x, int least, int most, int32_t *q)
{
	for (int r = 0; r < PANEL; r++)
		x[r] += 0x1.8p23f;
	memcpy(q, x, PANEL * sizeof(*q));
	for (int r = 0; r < PANEL; r++) {
		q[r] -= 0x4b400000;
		q[r] = q[r] < most ? q[r] : most;
		q[r] = q[r] > least ? q[r] : least;
	}
}

/* The weight of largest size in each row, with its sign. */
static void largest(const struct block *b, float *most)
{
	memset(most, 0, PANEL * sizeof(*most));
	for (int k = 0; k < Q_BLOCK; k++)
		for (int r = 0; r < PANEL; r++)
			most[r] = fabsf(b->w[k][r]) > fabsf(most[r]) ? b->w[k][r] : most[r];
}

/* Codes times `step` for scales that are rounded first; where a scale is 0 or next to it, all 0. */
static void finish_block(struct block *b, const float *scale, int step, int least, int most)
{
	float rounded[PANEL];
	bool none[PANEL];
	for (int r = 0; r < PANEL; r++) {
		b->scale[r] = round_f16(scale[r] / (float)step);
		rounded[r] = f16_value(b->scale[r]) * (float)step;
		none[r] = rounded[r] == 0;
		rounded[r] = none[r] ? 1 : rounded[r];
	}
	for (int k = 0; k < Q_BLOCK; k++) {
		float x[PANEL];
		int32_t q[PANEL];
		for (int r = 0; r < PANEL; r++)
			x[r] = b->w[k][r] / rounded[r];
		round_codes(x, least, most, q);
		for (int r = 0; r < PANEL; r++)
			b->code[k][r] = (uint8_t)(128 + (none[r] ? 0 : step * q[r]));
	}
}

static void q8_blocks(struct block *b)
{
	float scale[PANEL];
	largest(b, scale);
	for (int r = 0; r < PANEL; r++)
		scale[r] = fabsf(scale[r]) / 127;
	finish_block(b, scale, 1, -127, 127);
}

enum { Q4_LEAST = -8, Q4_MOST = 7, Q4_STEP = 16 };

/* For each row the scale that fits the codes best which `scale` gives (least squares), and its error. */
static void q4_fit(const struct block *b, const float *scale, float *fitted, float *error)
{
	float wq[PANEL] = {0}, qq[PANEL] = {0}, x[PANEL], by[PANEL];
	int32_t q[PANEL];
	for (int r = 0; r < PANEL; r++)
		by[r] = 1 / scale[r];
	for (int k = 0; k < Q_BLOCK; k++) {
		for (int r = 0; r < PANEL; r++)
			x[r] = b->w[k][r] * by[r];
		round_codes(x, Q4_LEAST, Q4_MOST, q);
		for (int r = 0; r < PANEL; r++) {
			wq[r] += b->w[k][r] * (float)q[r];
			qq[r] += (float)(q[r] * q[r]);
		}
	}
	for (int r = 0; r < PANEL; r++) {
		fitted[r] = wq[r] / qq[r];
		by[r] = 1 / fitted[r];
		error[r] = 0;
	}
	for (int k = 0; k < Q_BLOCK; k++) {
		for (int r = 0; r < PANEL; r++)
			x[r] = b->w[k][r] * by[r];
		round_codes(x, Q4_LEAST, Q4_MOST, q);
		for (int r = 0; r < PANEL; r++) {
			float d = b->w[k][r] - (float)q[r] * fitted[r];
			error[r] += d * d;
		}
	}
}

static void q4_blocks(struct block *b)
{
	static const float ends[] = {-8.5f, -8, -7.5f, -7, 7.5f, 7, 6.5f, 6};
	float most[PANEL], best[PANEL], least[PANEL], scale[PANEL], fitted[PANEL], error[PANEL];
	largest(b, most);
	for (size_t i = 0; i < NELEM(ends); i++) {
		for (int r = 0; r < PANEL; r++)
			scale[r] = (fabsf(most[r]) > 0x1p-60f ? most[r] : 1) / ends[i];
		q4_fit(b, scale, fitted, error);
		for (int r = 0; r < PANEL; r++) {
			bool better = i == 0 || error[r] < least[r];
			best[r] = better ? fitted[r] : best[r];
			least[r] = better ? error[r] : least[r];
		}
	}
	for (int r = 0; r < PANEL; r++)
		best[r] = fabsf(most[r]) > 0x1p-60f ? best[r] : 0;
	finish_block(b, best, Q4_STEP, Q4_LEAST, Q4_MOST);
}

/* ---- tensors ---- */

struct packing {
	enum dtype to;
	enum model_dtype from;
	const void *data;
	int64_t rows, inner; /* data is (rows, inner) */
};

/* Rows [row, row + PANEL) with blocks; where there is none, weights are 0, and so is their scale. */
static void pack_blocks(const struct packing *p, const struct block_shape *shape, int64_t row, uint8_t *to)
{
	struct block b;
	uint32_t bits[Q_BLOCK];
	bool q4 = p->to == DT_Q4;
	for (int64_t i = 0; i < shape->nblock; i++) {
		int64_t left = p->inner - i * Q_BLOCK, n = left < Q_BLOCK ? left : Q_BLOCK;
		memset(b.w, 0, sizeof(b.w));
		for (int64_t r = 0; r < PANEL && row + r < p->rows; r++) {
			load_bits(p->from, p->data, (row + r) * p->inner + i * Q_BLOCK, n, bits);
			for (int64_t k = 0; k < n; k++)
				memcpy(&b.w[k][r], &bits[k], 4);
		}
		(q4 ? q4_blocks : q8_blocks)(&b);
		memcpy(to + shape->scales + i * PANEL * 2, b.scale, sizeof(b.scale));
		uint8_t *group = to + i * Q_BLOCK * PANEL / (q4 ? 2 : 1);
		for (int k = 0; k < Q_BLOCK; k += q4 ? 8 : 4, group += 4 * PANEL)
			for (int r = 0; r < PANEL; r++)
				for (int j = 0; j < 4; j++)
					group[r * 4 + j] = q4 ? (uint8_t)(b.code[k + j][r] >> 4 | b.code[k + 4 + j][r])
							      : b.code[k + j][r];
	}
}

/* The same for elements of their own: k by k, or pairs of k for bf16. */
static void pack_lanes(const struct packing *p, int64_t row, uint8_t *to)
{
	static const uint32_t zero[CHUNK];
	uint32_t bits[PANEL][CHUNK];
	int64_t nlane = p->rows - row < PANEL ? p->rows - row : PANEL;
	for (int64_t from = 0; from < p->inner; from += CHUNK) {
		int64_t n = p->inner - from < CHUNK ? p->inner - from : CHUNK;
		for (int64_t lane = 0; lane < PANEL; lane++)
			if (lane < nlane)
				load_bits(p->from, p->data, (row + lane) * p->inner + from, n, bits[lane]);
			else
				memcpy(bits[lane], zero, (size_t)n * 4);
		for (int64_t k = 0; k < n; k++)
			for (int lane = 0; lane < PANEL; lane++)
				if (p->to == DT_BF16) {
					uint16_t h = round_bf16(bits[lane][k]);
					memcpy(to + ((from + k) / 2 * 2 * PANEL + lane * 2 + k % 2) * 2, &h, 2);
				} else {
					memcpy(to + ((from + k) * PANEL + lane) * 4, &bits[lane][k], 4);
				}
	}
}

static void pack_rows(const struct packing *p, uint8_t *to)
{
	uint32_t bits[CHUNK];
	for (int64_t from = 0; from < p->rows * p->inner; from += CHUNK) {
		int64_t left = p->rows * p->inner - from, n = left < CHUNK ? left : CHUNK;
		load_bits(p->from, p->data, from, n, bits);
		for (int64_t i = 0; i < n; i++)
			if (p->to == DT_BF16) {
				uint16_t h = round_bf16(bits[i]);
				memcpy(to + 2 * (from + i), &h, 2);
			} else {
				memcpy(to + 4 * (from + i), &bits[i], 4);
			}
	}
}

static uint8_t *append_zeros(struct strbuf *out, size_t n)
{
	static const char zero[4096];
	size_t at = out->n;
	for (size_t left = n; left; left -= left < sizeof(zero) ? left : sizeof(zero))
		strbuf_add(out, zero, left < sizeof(zero) ? left : sizeof(zero));
	return (uint8_t *)out->s + at;
}

void pack_weight(const struct graph *g, int node, enum model_dtype from, const void *data,
	struct strbuf *out)
{
	const struct node *n = &g->node[node];
	struct packing p = {n->type.dtype, from, data, 1, 1};
	int64_t bytes = tensor_bytes(g, n), panel = 0;
	uint8_t *to = append_zeros(out, (size_t)bytes);
	for (int a = 0; a < n->type.naxis; a++)
		*(a < n->layout.last ? &p.rows : &p.inner) *= g->axis[n->type.axis[a]].extent;
	if (n->layout.kind == LAYOUT_ROW) {
		pack_rows(&p, to);
		return;
	}
	if (n->layout.first)
		BUG("weight '%s' has panels inside other axes", n->name);
	panel = bytes / ((p.rows + PANEL - 1) / PANEL);
	struct block_shape shape = {0};
	if (dtype_has_blocks(p.to))
		shape = block_shape(g, &n->type, n->layout);
	for (int64_t row = 0; row < p.rows; row += PANEL, to += panel)
		if (dtype_has_blocks(p.to))
			pack_blocks(&p, &shape, row, to);
		else
			pack_lanes(&p, row, to);
}

bool pack_made(const struct graph *g, int node, const struct model_config *c, struct strbuf *out)
{
	if (strcmp(g->node[node].name, "rope.freq"))
		return false;
	float *freq = xcalloc((size_t)c->head_dim, sizeof(*freq));
	forward_rope_freq(c, freq);
	pack_weight(g, node, MODEL_F32, freq, out);
	free(freq);
	return true;
}

static int64_t aligned(int64_t bytes)
{
	return (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

/* Names, and where each weight lies: first all sizes, then one block of memory. */
static void place_params(struct packed *p, const struct graph *plan)
{
	int64_t at = 0;
	for (int i = 0; i < plan->nnode; i++)
		if (plan->node[i].op == OP_PARAM)
			at += aligned(tensor_bytes(plan, &plan->node[i]));
	uint8_t *to = p->memory = xaligned((size_t)at);
	for (int i = 0; i < plan->nnode; i++) {
		if (plan->node[i].op != OP_PARAM)
			continue;
		int64_t bytes = tensor_bytes(plan, &plan->node[i]);
		p->name[p->nweight] = plan->node[i].name;
		p->bytes[p->nweight++] = (struct buf){to, (size_t)bytes};
		to += aligned(bytes);
	}
}

bool packed_all(struct packed *p, const struct graph *plan, pack_param *pack, void *ctx, struct err *e)
{
	struct strbuf one;
	bool ok = true;
	*p = (struct packed){.name = xcalloc((size_t)plan->nnode, sizeof(*p->name)),
		.bytes = xcalloc((size_t)plan->nnode, sizeof(*p->bytes))};
	place_params(p, plan);
	strbuf_init(&one);
	for (int i = 0, k = 0; i < plan->nnode && ok; i++) {
		if (plan->node[i].op != OP_PARAM)
			continue;
		strbuf_clear(&one);
		ok = pack(ctx, plan, i, &one, e);
		if (ok && one.n != p->bytes[k].n)
			BUG("weight '%s' has %zu bytes, not %zu", p->name[k], one.n, p->bytes[k].n);
		if (ok)
			memcpy((void *)(uintptr_t)p->bytes[k++].p, one.s, one.n);
	}
	strbuf_release(&one);
	return ok;
}

static bool pack_one(void *model, const struct graph *plan, int node, struct strbuf *out, struct err *e)
{
	const struct model *m = model;
	const char *name = plan->node[node].name;
	if (pack_made(plan, node, &m->config, out))
		return true;
	const struct model_tensor *t = model_find(m, name);
	if (!t)
		return err_set(e, ERR_IO, "'%s' has no tensor '%s'", m->path, name);
	pack_weight(plan, node, t->dtype, t->data, out);
	return true;
}

bool packed_new(struct packed *p, const struct graph *plan, const struct model *m, struct err *e)
{
	return packed_all(p, plan, pack_one, (void *)(uintptr_t)m, e);
}

void packed_release(struct packed *p)
{
	free(p->name);
	free(p->bytes);
	free(p->memory);
	*p = (struct packed){0};
}

struct buf packed_find(void *packed, const char *name)
{
	const struct packed *p = packed;
	for (int i = 0; i < p->nweight; i++)
		if (!strcmp(p->name[i], name))
			return p->bytes[i];
	return (struct buf){0};
}
