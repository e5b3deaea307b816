#include "emit_memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

/* ---- tensors by logical index, so that layouts may differ between two forms of a graph ---- */

static bool next_index(const struct memory *m, const struct type *t, int64_t *index)
{
	for (int a = t->naxis - 1; a >= 0; a--) {
		if (++index[a] < m->dim[t->axis[a]])
			return true;
		index[a] = 0;
	}
	return false;
}

static bool is_leaf(const struct node *n)
{
	return n->op == OP_INPUT || n->op == OP_PARAM || n->op == OP_STATE;
}

static void memory_add(struct memory *m, const char *name, int node)
{
	size_t bytes = (size_t)tensor_bytes(m->g, &m->g->node[node]);
	void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
	memset(p, 0, (bytes + 127) / 64 * 64);
	m->node[m->ntensor] = node;
	m->tensor[m->ntensor++] = (struct interp_tensor){name, p};
}

static uint64_t name_seed(const char *s)
{
	uint64_t h = 1469598103934665603u;
	while (*s)
		h = (h ^ (unsigned char)*s++) * 1099511628211u;
	return h;
}

/* Mostly moderate numbers, some zeros of both signs, some large and small; or all of one size. */
static float random_float(const struct memory *m, struct rng *r)
{
	double u = rng_uniform(r) * 2 - 1;
	switch (rng_below(r, 24) + (m->plain ? 24 : 0)) {
	case 0:
		return 0;
	case 1:
		return -0.0f;
	case 2:
		return (float)(u * 1e4);
	case 3:
		return (float)(u * 1e-30);
	default:
		return (float)(u * 3);
	}
}

/* A piece that gradients pass back through (train.h). */
static bool is_training(const struct graph *g)
{
	return graph_find_leaf(g, "dy") >= 0;
}

/* Documents of five rows behind each other, every row wanted. */
static int32_t training_input(const struct memory *m, const char *name, int64_t position, struct rng *r)
{
	if (!strcmp(name, "pos"))
		return (int32_t)(position % 5);
	if (!strcmp(name, "lo"))
		return (int32_t)(position - position % 5);
	if (!strcmp(name, "hi"))
		return (int32_t)(position + 1);
	if (!strcmp(name, "out"))
		return (int32_t)(position % m->dim[graph_find_axis(m->g, "R")]);
	return (int32_t)rng_below(r, (uint64_t)m->dim[graph_find_axis(m->g, "V")]);
}

/* A cache of blocks, the same whatever its layout. */
static void fill_cache(const struct memory *m, int t, struct rng *r)
{
	const struct node *n = &m->g->node[m->node[t]];
	int64_t index[IR_MAX_AXES] = {0};
	uint8_t *to = m->tensor[t].p;
	do {
		struct block_place at = block_place(m->g, &n->type, n->layout, index);
		float scale = (float)(rng_uniform(r) / 40);
		int8_t value = (int8_t)((int)rng_below(r, 255) - 127);
		memcpy(to + at.scale, &scale, 4); /* of the block's last element */
		memcpy(to + at.value, &value, 1);
	} while (next_index(m, &n->type, index));
}

/* A param of blocks: every byte but padding, scales of all sizes, some denormal, some 0. */
static void fill_blocks(const struct memory *m, int t, struct rng *r)
{
	const struct node *n = &m->g->node[m->node[t]];
	struct block_shape shape = block_shape(m->g, &n->type, n->layout);
	int64_t index[IR_MAX_AXES] = {0};
	uint8_t *to = m->tensor[t].p;
	for (int64_t p = 0; p < shape.count; p++)
		memset(to + p * shape.bytes, n->type.dtype == DT_Q8 ? 128 : 0x88, (size_t)shape.scales);
	do {
		struct block_place at = block_place(m->g, &n->type, n->layout, index);
		uint16_t half = (uint16_t)((14 + rng_below(r, 4)) << 10 | rng_below(r, 1024) | rng_below(r, 2) << 15);
		if (rng_below(r, 8) == 0)
			half &= 0x83ff;
		if (at.value % 4 == 0 || rng_below(r, 2))
			memcpy(to + at.scale, &half, 2);
		if (n->type.dtype == DT_Q8)
			to[at.value] = (uint8_t)(rng_below(r, 8) ? 1 + rng_below(r, 255) : 255 * rng_below(r, 2));
		else
			to[at.value] = (uint8_t)((to[at.value] & (0xf0 >> at.shift)) | rng_below(r, 16) << at.shift);
	} while (next_index(m, &n->type, index));
}

/* Index inputs are named after what they index: "i7x" has values below 7; "lo", "hi" are set by hand; "n500x" counts from 500 on. */
static void fill(struct memory *m, int t, uint64_t seed)
{
	const struct node *n = &m->g->node[m->node[t]];
	int64_t index[IR_MAX_AXES] = {0};
	struct rng r;
	rng_init(&r, seed ^ name_seed(m->tensor[t].name));
	int64_t position = 0;
	if (dtype_has_blocks(n->type.dtype)) {
		(n->type.dtype == DT_C8 ? fill_cache : fill_blocks)(m, t, &r);
		return;
	}
	do {
		int64_t at = layout_offset(m->g, &n->type, n->layout, index);
		float f = random_float(m, &r);
		uint32_t bits;
		memcpy(&bits, &f, 4);
		if (n->type.dtype == DT_I32) {
			int32_t v = (int32_t)rng_below(&r, 1000) - 500;
			if (m->tensor[t].name[0] == 'i')
				v = (int32_t)rng_below(&r, (uint64_t)atoi(m->tensor[t].name + 1));
			if (m->tensor[t].name[0] == 'n')
				v = (int32_t)(atoi(m->tensor[t].name + 1) + position);
			if (is_training(m->g))
				v = training_input(m, m->tensor[t].name, position, &r);
			if (!strcmp(m->tensor[t].name, "slot"))
				v = (int32_t)position + 3;
			if (!strcmp(m->tensor[t].name, "lo") && !is_training(m->g))
				v = (int32_t)(position % 3);
			if (!strcmp(m->tensor[t].name, "hi") && !is_training(m->g))
				v = (int32_t)(3 + position + 1);
			((int32_t *)m->tensor[t].p)[at] = v;
		} else if (n->type.dtype == DT_BF16) {
			((uint16_t *)m->tensor[t].p)[at] = (uint16_t)(bits >> 16);
		} else if (n->type.dtype == DT_F16) {
			/* Any half but infinity and NaN. */
			uint16_t half = (uint16_t)rng_below(&r, 1 << 16);
			((uint16_t *)m->tensor[t].p)[at] = (half & 0x7c00) == 0x7c00 ? half & 0x83ff : half;
		} else {
			((float *)m->tensor[t].p)[at] = f;
		}
		position++;
	} while (next_index(m, &n->type, index));
}

static void init(struct memory *m, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	m->g = g;
	for (int i = 0, d = 0; i < g->naxis; i++)
		m->dim[i] = g->axis[i].dynamic ? rows[d++] : g->axis[i].extent;
	for (int i = 0; i < g->nnode; i++)
		if (is_leaf(&g->node[i])) {
			memory_add(m, g->node[i].name, i);
			fill(m, m->ntensor - 1, seed);
		}
	for (int i = 0; i < g->noutput; i++)
		memory_add(m, g->output[i].name, g->output[i].node);
}

void memory_init(struct memory *m, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	init(m, g, rows, seed);
}

void memory_init_plain(struct memory *m, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->plain = true;
	init(m, g, rows, seed);
}

void memory_release(struct memory *m)
{
	for (int i = 0; i < m->ntensor; i++)
		free(m->tensor[i].p);
}

static uint32_t element(const struct memory *m, int t, const int64_t *index)
{
	const struct node *n = &m->g->node[m->node[t]];
	if (n->type.dtype == DT_Q8) {
		/* Any difference of value, scale or sum shows. */
		struct block_place place = block_place(m->g, &n->type, n->layout, index);
		const uint8_t *p = m->tensor[t].p;
		uint32_t word[2];
		memcpy(word, p + place.scale, 8);
		return (word[0] ^ word[1] * 0x9e3779b9u) + p[place.value];
	}
	if (n->type.dtype == DT_C8) {
		struct block_place place = block_place(m->g, &n->type, n->layout, index);
		uint32_t scale;
		memcpy(&scale, (uint8_t *)m->tensor[t].p + place.scale, 4);
		return scale * 256 + ((uint8_t *)m->tensor[t].p)[place.value];
	}
	int64_t at = layout_offset(m->g, &n->type, n->layout, index);
	if (n->type.dtype == DT_F16) {
		float x = f16_value(((uint16_t *)m->tensor[t].p)[at]);
		uint32_t bits;
		memcpy(&bits, &x, 4);
		return bits;
	}
	if (n->type.dtype == DT_BF16)
		return (uint32_t)((uint16_t *)m->tensor[t].p)[at] << 16;
	return ((uint32_t *)m->tensor[t].p)[at];
}

static bool both_nan(uint32_t a, uint32_t b)
{
	return (a & 0x7fffffff) > 0x7f800000 && (b & 0x7fffffff) > 0x7f800000;
}

/* Where `got` has tensor t of `want`; -1: it is only read, or a state that nothing needs. */
static int written(const struct memory *want, int t, const struct memory *got)
{
	const struct node *n = &want->g->node[want->node[t]];
	for (int u = 0; u < got->ntensor && (!is_leaf(n) || n->op == OP_STATE); u++)
		if (!strcmp(got->tensor[u].name, want->tensor[t].name))
			return u;
	return -1;
}

/* States and outputs by name, element by element. NaN equals NaN: which NaN is not defined. */
bool memory_same(const struct memory *want, const struct memory *got, const char *what)
{
	for (int t = 0; t < want->ntensor; t++) {
		const struct node *n = &want->g->node[want->node[t]];
		int u = written(want, t, got);
		if (u < 0)
			continue;
		int64_t index[IR_MAX_AXES] = {0};
		do {
			uint32_t a = element(want, t, index), b = element(got, u, index);
			if (a != b && !both_nan(a, b)) {
				float fa, fb;
				memcpy(&fa, &a, 4);
				memcpy(&fb, &b, 4);
				FAIL("%s: '%s' at %lld,%lld,%lld,%lld: want %a (%08x), got %a (%08x)", what,
					want->tensor[t].name, (long long)index[0], (long long)index[1],
					(long long)index[2], (long long)index[3], (double)fa, a, (double)fb, b);
				return false;
			}
		} while (next_index(want, &n->type, index));
	}
	return true;
}

bool memory_interpret(struct memory *m)
{
	struct err e;
	struct interp_call call = {INTERP_EXACT, m->dim, m->tensor, m->ntensor};
	if (interp_run(m->g, &call, &e))
		return true;
	FAIL("interpreter: %s", e.msg);
	return false;
}

void memory_dims(const struct memory *m, int64_t *dim)
{
	for (int i = 0, d = 0; i < m->g->naxis; i++)
		if (m->g->axis[i].dynamic)
			dim[d++] = m->dim[i];
}

/* As a number: what blocks hold is an integer times a scale. */
static double number(const struct memory *m, int t, const int64_t *index)
{
	const struct node *n = &m->g->node[m->node[t]];
	const uint8_t *p = m->tensor[t].p;
	if (n->type.dtype == DT_Q8 || n->type.dtype == DT_C8) {
		struct block_place place = block_place(m->g, &n->type, n->layout, index);
		float scale;
		memcpy(&scale, p + place.scale, 4);
		return (double)scale * (int8_t)p[place.value];
	}
	uint32_t bits = element(m, t, index);
	if (n->type.dtype == DT_I32)
		return (int32_t)bits;
	float x;
	memcpy(&x, &bits, 4);
	return (double)x;
}

static double largest(const struct memory *m, int t)
{
	int64_t index[IR_MAX_AXES] = {0};
	double most = 0;
	do {
		double x = fabs(number(m, t, index));
		if (x > most && isfinite(x))
			most = x;
	} while (next_index(m, &m->g->node[m->node[t]].type, index));
	return most;
}

/* Attention is on tensor cores where keys and values are bf16. */
static bool has_attention(const struct graph *g, enum op from, enum op to, bool bf16)
{
	for (int i = 0; i < g->nnode; i++)
		if (g->node[i].op >= from && g->node[i].op <= to && (g->node[g->node[i].src[1]].type.dtype == DT_BF16) == bf16)
			return true;
	return false;
}

struct tolerance tolerance_of(const struct graph *g)
{
	bool bf16 = has_attention(g, OP_ATTENTION, OP_ATTENTION_DV, true), other = has_attention(g, OP_ATTENTION, OP_ATTENTION_DV, false);
	return (struct tolerance){bf16 ? 8e-3 : other ? 1e-5 : 4e-3, has_attention(g, OP_ATTENTION_DQ, OP_ATTENTION_DV, true) ? 8e-5 : 0};
}

bool memory_close(const struct memory *want, const struct memory *got, struct tolerance by, const char *what)
{
	for (int t = 0; t < want->ntensor; t++) {
		const struct node *n = &want->g->node[want->node[t]];
		int u = written(want, t, got);
		if (u < 0)
			continue;
		double most = largest(want, t);
		int64_t index[IR_MAX_AXES] = {0};
		do {
			double a = number(want, t, index), b = number(got, u, index);
			if (!(fabs(a - b) <= (by.part * most > by.least ? by.part * most : by.least)) && !(isnan(a) && isnan(b)) && a != b) {
				FAIL("%s: '%s' at %lld,%lld,%lld,%lld: want %g, got %g, of at most %g", what, want->tensor[t].name,
					(long long)index[0], (long long)index[1], (long long)index[2], (long long)index[3], a, b, most);
				return false;
			}
		} while (next_index(want, &n->type, index));
	}
	return true;
}
