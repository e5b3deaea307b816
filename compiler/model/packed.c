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

/* ---- blocks: codes of Q_BLOCK weights (value + 128), and the scale that they share ---- */

static uint16_t q8_block(const float *w, uint8_t *code)
{
	float most = 0;
	for (int i = 0; i < Q_BLOCK; i++)
		most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
	uint16_t half = round_f16(most / 127);
	float scale = f16_value(half);
	for (int i = 0; i < Q_BLOCK; i++) {
		float q = scale > 0 ? rintf(w[i] / scale) : 0;
		code[i] = (uint8_t)(128 + (int)(q > 127 ? 127 : q < -127 ? -127 : q));
	}
	return half;
}

/* Sums of LANES of their own, in the order of a vector, so that compilers need no licence to use one. */
enum { LANES = 8 };
static float sum_lanes(const float *x)
{
	return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

static float q4_code(float w, float by)
{
	float q = rintf(w * by);
	return q > 7 ? 7 : q < -8 ? -8 : q;
}

/* The scale that fits the codes best which `scale` gives: least squares. */
static float q4_fit(const float *w, float scale)
{
	float wq[LANES] = {0}, qq[LANES] = {0}, by = 1 / scale;
	for (int i = 0; i < Q_BLOCK; i += LANES)
		for (int j = 0; j < LANES; j++) {
			float q = q4_code(w[i + j], by);
			wq[j] += w[i + j] * q;
			qq[j] += q * q;
		}
	return sum_lanes(wq) / sum_lanes(qq);
}

static float q4_error(const float *w, float scale)
{
	float sum[LANES] = {0}, by = 1 / scale;
	for (int i = 0; i < Q_BLOCK; i += LANES)
		for (int j = 0; j < LANES; j++) {
			float d = w[i + j] - q4_code(w[i + j], by) * scale;
			sum[j] += d * d;
		}
	return sum_lanes(sum);
}

/* Scales that give the weight of largest size a code near the ends of what there is, each fitted. */
static uint16_t q4_block(const float *w, uint8_t *code)
{
	static const float ends[] = {-8.5f, -8, -7.5f, -7, 7.5f, 7, 6.5f, 6};
	float most = 0, best = 0, least = INFINITY;
	uint16_t half = 0;
	for (int i = 0; i < Q_BLOCK; i++)
		most = fabsf(w[i]) > fabsf(most) ? w[i] : most;
	for (size_t i = 0; i < NELEM(ends) && fabsf(most) > 0x1p-60f; i++) {
		uint16_t h = round_f16(q4_fit(w, most / ends[i]) / 16);
		float scale = f16_value(h) * 16, error = scale != 0 ? q4_error(w, scale) : INFINITY;
		if (error < least) {
			least = error;
			best = scale;
			half = h;
		}
	}
	for (int i = 0; i < Q_BLOCK; i++)
		code[i] = (uint8_t)(128 + (best != 0 ? 16 * (int)q4_code(w[i], 1 / best) : 0));
	return half;
}

/* ---- tensors ---- */

struct packing {
	enum dtype to;
	enum model_dtype from;
	const void *data;
	int64_t rows, inner; /* data is (rows, inner) */
};

/* Rows [row, row + PANEL) with blocks, what exists of them. */
static void pack_blocks(const struct packing *p, const struct block_shape *shape, int64_t row, uint8_t *to)
{
	uint32_t bits[Q_BLOCK];
	float w[Q_BLOCK];
	uint8_t code[Q_BLOCK];
	bool q4 = p->to == DT_Q4;
	memset(to, q4 ? 0x88 : 0x80, (size_t)shape->scales);
	for (int64_t lane = 0; lane < PANEL && row + lane < p->rows; lane++)
		for (int64_t b = 0; b < shape->nblock; b++) {
			int64_t left = p->inner - b * Q_BLOCK, n = left < Q_BLOCK ? left : Q_BLOCK;
			load_bits(p->from, p->data, (row + lane) * p->inner + b * Q_BLOCK, n, bits);
			memset(bits + n, 0, (size_t)(Q_BLOCK - n) * 4);
			memcpy(w, bits, sizeof(w));
			uint16_t scale = (q4 ? q4_block : q8_block)(w, code);
			memcpy(to + shape->scales + (b * PANEL + lane) * 2, &scale, 2);
			uint8_t *line = to + b * Q_BLOCK * PANEL / (q4 ? 2 : 1) + lane * 4;
			for (int i = 0; i < Q_BLOCK; i++)
				if (!q4)
					line[i / 4 * 4 * PANEL + i % 4] = code[i];
				else if (i % 8 < 4)
					line[i / 8 * 4 * PANEL + i % 4] = (uint8_t)(code[i] >> 4 | code[i + 4]);
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

static bool pack_one(const struct graph *plan, int node, const struct model *m, struct strbuf *out,
	struct err *e)
{
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
	struct strbuf all;
	bool ok = true;
	*p = (struct packed){.name = xcalloc((size_t)plan->nnode, sizeof(*p->name)),
		.bytes = xcalloc((size_t)plan->nnode, sizeof(*p->bytes))};
	size_t *offset = xcalloc((size_t)plan->nnode, sizeof(*offset));
	strbuf_init(&all);
	for (int i = 0; i < plan->nnode && ok; i++) {
		if (plan->node[i].op != OP_PARAM)
			continue;
		while (all.n % PACK_ALIGN)
			strbuf_addc(&all, 0);
		p->name[p->nweight] = plan->node[i].name;
		offset[p->nweight] = all.n;
		ok = pack_one(plan, i, m, &all, e);
		p->bytes[p->nweight].n = all.n - offset[p->nweight];
		p->nweight++;
	}
	p->memory = aligned_alloc(PACK_ALIGN, (all.n / PACK_ALIGN + 2) * PACK_ALIGN);
	if (!p->memory)
		oom();
	memcpy(p->memory, all.s, all.n);
	for (int i = 0; i < p->nweight; i++)
		p->bytes[i].p = (char *)p->memory + offset[i];
	free(offset);
	strbuf_release(&all);
	return ok;
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
