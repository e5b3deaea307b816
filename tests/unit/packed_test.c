/* Packed weights against what layouts and formats say, element by element. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packed.h"
#include "test.h"

static const int64_t sizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 40, 64, 97, 513, 1030};

struct sample {
	struct arena arena;
	struct graph *g;
	int node;
	int64_t rows, inner;
	struct strbuf data, packed;
};

/* A param (rows, inner) with panels, from random elements of dtype `from`. */
static void sample_init(struct sample *s, struct rng *r, enum dtype to, enum model_dtype from)
{
	memset(s, 0, sizeof(*s));
	strbuf_init(&s->data);
	strbuf_init(&s->packed);
	s->rows = sizes[rng_below(r, 10)];
	s->inner = sizes[rng_below(r, NELEM(sizes))];
	s->g = graph_new(&s->arena, "g");
	graph_axis(s->g, "N", s->rows, false);
	graph_axis(s->g, "D", s->inner, false);
	s->node = ir_leaf(s->g, OP_PARAM, "w", graph_type(s->g, to, "N | D"));
	s->g->node[s->node].layout = (struct layout){LAYOUT_PANEL, 0, 1, 0};
	for (int64_t i = 0; i < s->rows * s->inner; i++) {
		uint16_t half = (uint16_t)((rng_below(r, 2) << 15) | (rng_below(r, 8) + 11) << 10 | rng_below(r, 1024));
		float f = f16_value(half);
		uint32_t bits;
		if (rng_below(r, 30) == 0)
			f = half = 0;
		memcpy(&bits, &f, 4);
		if (from == MODEL_F32)
			strbuf_add(&s->data, &f, 4);
		else if (from == MODEL_F16)
			strbuf_add(&s->data, &half, 2);
		else
			strbuf_add(&s->data, (char *)&bits + 2, 2);
	}
	strbuf_addc(&s->packed, 'x'); /* what was there stays */
	pack_weight(s->g, s->node, from, s->data.s, &s->packed);
	CHECK_INT(s->packed.s[0], 'x');
	CHECK_INT(s->packed.n, 1 + tensor_bytes(s->g, &s->g->node[s->node]));
}

static void sample_release(struct sample *s)
{
	strbuf_release(&s->data);
	strbuf_release(&s->packed);
	arena_release(&s->arena);
}

static float element(const struct sample *s, enum model_dtype from, int64_t i)
{
	uint16_t half;
	uint32_t bits;
	float f;
	memcpy(&bits, s->data.s + i * 4 * (from == MODEL_F32), 4);
	if (from != MODEL_F32) {
		memcpy(&half, s->data.s + i * 2, 2);
		if (from == MODEL_F16)
			return f16_value(half);
		bits = (uint32_t)half << 16;
	}
	memcpy(&f, &bits, 4);
	return f;
}

TEST(packed_lanes_lie_where_the_layout_says)
{
	struct rng r;
	rng_init(&r, 1);
	for (int round = 0; round < 120; round++) {
		enum model_dtype from = (enum model_dtype)(round % MODEL_NDTYPE);
		enum dtype to = round % 2 ? DT_BF16 : DT_F32;
		struct sample s;
		sample_init(&s, &r, to, from);
		const struct node *n = &s.g->node[s.node];
		int64_t size = dtype_bytes(to), total = tensor_bytes(s.g, n);
		char *want = xcalloc(1, (size_t)total);
		for (int64_t i = 0; i < s.rows * s.inner; i++) {
			int64_t index[] = {i / s.inner, i % s.inner};
			float f = element(&s, from, i);
			uint32_t bits;
			memcpy(&bits, &f, 4);
			if (to == DT_BF16) /* no NaN, no denormal here: ties to even */
				bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
			memcpy(want + size * layout_offset(s.g, &n->type, n->layout, index), &bits, (size_t)size);
		}
		if (memcmp(want, s.packed.s + 1, (size_t)total))
			FAIL("round %d: (%lld,%lld) as %s", round, (long long)s.rows, (long long)s.inner, dtype_name[to]);
		free(want);
		sample_release(&s);
	}
}

/* Value and scale of element (row, k), which may be padding. */
static int code_at(const struct sample *s, int64_t row, int64_t k, float *scale)
{
	const struct node *n = &s->g->node[s->node];
	struct block_shape shape = block_shape(s->g, &n->type, n->layout);
	const uint8_t *panel = (const uint8_t *)s->packed.s + 1 + row / PANEL * shape.bytes;
	uint16_t half;
	memcpy(&half, panel + shape.scales + (k / Q_BLOCK * PANEL + row % PANEL) * 2, 2);
	*scale = f16_value(half);
	if (n->type.dtype == DT_Q8)
		return panel[k / 4 * 64 + row % PANEL * 4 + k % 4] - 128;
	uint8_t pair = panel[k / 8 * 64 + row % PANEL * 4 + k % 4];
	return 16 * ((k % 8 < 4 ? pair & 15 : pair >> 4) - 8);
}

/* Every value is the nearest that its scale has; q8's scale is the least that reaches the largest weight, q4's
 * errors are below those of the plain choice. Padding has value 0, and lanes that do not exist scale 0. */
TEST(packed_blocks_are_near_their_weights)
{
	struct rng r;
	rng_init(&r, 2);
	for (int round = 0; round < 240; round++) {
		enum model_dtype from = (enum model_dtype)(round % MODEL_NDTYPE);
		enum dtype to = round % 2 ? DT_Q4 : DT_Q8;
		int step = to == DT_Q4 ? 16 : 1, least = to == DT_Q4 ? -128 : -127, most = to == DT_Q4 ? 112 : 127;
		struct sample s;
		sample_init(&s, &r, to, from);
		int64_t lanes = (s.rows + PANEL - 1) / PANEL * PANEL, padded = (s.inner + Q_BLOCK - 1) / Q_BLOCK * Q_BLOCK;
		for (int64_t row = 0; row < lanes; row++)
			for (int64_t block = 0; block < padded; block += Q_BLOCK) {
				float max = 0, scale;
				double error = 0, plain = 0;
				for (int64_t k = block; k < block + Q_BLOCK; k++) {
					bool there = row < s.rows && k < s.inner;
					float w = there ? element(&s, from, row * s.inner + k) : 0;
					int code = code_at(&s, row, k, &scale);
					double x = scale == 0 ? 0 : (double)w / (double)scale / step;
					x = x < least / step ? least / step : x > most / step ? most / step : x;
					CHECK(code % step == 0 && code >= least && code <= most);
					CHECK(fabs(x - code / step) <= 0.5 + 1e-5);
					max = fabsf(w) > max ? fabsf(w) : max;
					error += pow((double)(w - (float)code * scale), 2);
				}
				for (int64_t k = block; k < s.inner && k < block + Q_BLOCK && row < s.rows; k++) {
					double w = element(&s, from, row * s.inner + k), unit = (double)max / 7;
					plain += max > 0 ? pow(w - unit * rint(w / unit), 2) : 0;
				}
				if (row >= s.rows || max == 0)
					CHECK(scale == 0);
				else if (to == DT_Q8)
					CHECK(fabsf(scale * 127 - max) <= max * 0x1p-11f);
				else if (error > plain * 1.3 + max * max * 1e-5)
					FAIL("round %d: squared error %g, plain %g", round, error, plain);
			}
		sample_release(&s);
	}
}

/* A weight of 127 h has scale h, for all halves; between two of them, the nearer one. */
TEST(scales_are_the_nearest_halves)
{
	struct arena a = {0};
	struct graph *g = graph_new(&a, "g");
	struct strbuf out;
	enum { N = 0x7c00 };
	float *w = xcalloc(2 * N, sizeof(*w));
	for (int h = 0; h < N; h++) {
		w[2 * h] = 127 * f16_value((uint16_t)h);
		w[2 * h + 1] = 127 * (f16_value((uint16_t)h) * 0.75f + f16_value((uint16_t)(h + 1 < N ? h + 1 : h)) * 0.25f);
	}
	graph_axis(g, "N", 2 * N, false);
	graph_axis(g, "D", 1, false);
	int node = ir_leaf(g, OP_PARAM, "w", graph_type(g, DT_Q8, "N | D"));
	struct block_shape shape = block_shape(g, &g->node[node].type, g->node[node].layout);
	strbuf_init(&out);
	pack_weight(g, node, MODEL_F32, w, &out);
	for (int i = 0; i < 2 * N; i++) {
		uint16_t half;
		memcpy(&half, out.s + i / PANEL * shape.bytes + shape.scales + i % PANEL * 2, 2);
		if (half != i / 2)
			FAIL("scale %d of %a is %04x", i, (double)w[i], half);
	}
	strbuf_release(&out);
	free(w);
	arena_release(&a);
}
