/* Values with blocks outside of dots, as CUDA C: regions that quantise rows, and elements of q8, q4 and c8 tables. */
#include <string.h>

#include "cuda_kernel.h"

/* ---- quantise: 32 threads to a block of values ---- */

_Static_assert(Q_BLOCK == 32, "a block is a warp");

/* x, the value at `k` of row `row`, of all threads of a warp; of those that are not there 0. */
static void store_block(struct cuda_fn *f, int n, const char *x, const char *row, const char *k, long long inner)
{
	const struct type *t = &f->g->node[n].type;
	struct block_shape shape = block_shape(f->g, t, f->g->node[n].layout);
	const char *to = cuda_memory(f, n);
	cuda_line(f, "const float m = warp_largest(%s);", x);
	cuda_line(f, "const int small = m < from_bits(0x0d800000u);"); /* 2^-100 */
	cuda_line(f, "const int q = __float2int_rn(%s * (small ? 0.0f : __fdiv_rn(127.0f, m)));", x);
	cuda_line(f, "const float unit = small ? 0.0f : __fdiv_rn(m, 127.0f);");
	if (t->dtype == DT_C8) {
		cuda_line(f, "u8 *const p = %s + %s / 16 * %lld;", to, row, (long long)shape.bytes);
		cuda_line(f, "if (%s < %lld) p[%s %% 16 * %lld + %s] = (u8)q;", k, inner, row, inner, k);
		cuda_line(f, "if (THREAD %% 32 == 0) store_f32(p + %lld, %s / 32 * 16 + %s %% 16, unit);", (long long)shape.scales, k, row);
		return;
	}
	cuda_line(f, "const int sum = warp_sum(q);");
	cuda_line(f, "u8 *const p = %s + %s * %lld;", to, row, (long long)shape.bytes);
	cuda_line(f, "p[%s] = (u8)q;", k);
	cuda_open(f, "if (THREAD %% 32 == 0)");
	cuda_line(f, "store_f32(p + %lld, %s / 32 * 2, unit);", (long long)shape.scales, k);
	cuda_line(f, "store_i32(p + %lld, %s / 32 * 2 + 1, sum * -128);", (long long)shape.scales, k);
	cuda_close(f);
}

/* A warp loads the values of some blocks before it stores any. */
void cuda_quantise(struct cuda_fn *f, int part)
{
	enum { TOGETHER = 8 };
	int n = f->region->node[0];
	const struct node *node = &f->g->node[n];
	const struct type *t = &node->type;
	struct block_shape shape = block_shape(f->g, t, node->layout);
	long long inner = (long long)type_extents(f->g, t, t->outer, t->naxis);
	const char *row[TOGETHER], *k[TOGETHER], *x[TOGETHER];
	(void)part;
	cuda_line(f, "const i64 n = (%s) * (i64)%lld, step = blocks * (i64)(THREADS / 32);",
		cuda_extents(f, t, 0, t->outer), (long long)shape.nblock);
	cuda_open(f, "for (i64 first = block * (i64)(THREADS / 32) + THREAD / 32; first < n; first += %d * step)", TOGETHER);
	for (int u = 0; u < TOGETHER; u++) {
		struct spot s;
		spot_init(f, &s);
		row[u] = cuda_name(f, "row");
		k[u] = cuda_name(f, "k");
		x[u] = cuda_name(f, "x");
		cuda_line(f, "const i64 %s = (first + %d * step) / %lld;", row[u], u, (long long)shape.nblock);
		cuda_line(f, "const int %s = (int)((first + %d * step) %% %lld) * 32 + THREAD %% 32;", k[u], u, (long long)shape.nblock);
		cuda_line(f, "float %s = 0;", x[u]);
		cuda_open(f, "if (first + %d * step < n && %s < %lld)", u, k[u], inner);
		cuda_unflatten(f, &s, t, 0, t->outer, row[u]);
		cuda_unflatten(f, &s, t, t->outer, t->naxis, k[u]);
		cuda_line(f, "%s = %s;", x[u], cuda_eval(f, node->src[0], &s));
		cuda_close(f);
	}
	for (int u = 0; u < TOGETHER; u++) {
		cuda_open(f, "if (first + %d * step < n)", u);
		store_block(f, n, x[u], row[u], k[u], inner);
		cuda_close(f);
	}
	cuda_close(f);
}

bool cuda_quantises(const struct cuda_fn *f)
{
	for (int i = 0; i < f->region->nnode; i++)
		if (f->g->node[f->region->node[i]].op == OP_QUANTISE)
			return true;
	return false;
}

void cuda_store_quantised(struct cuda_fn *f, int n, struct spot *s)
{
	const struct node *node = &f->g->node[n];
	const struct type *t = &node->type;
	const char *x = cuda_eval(f, node->src[0], s), *row = cuda_name(f, "row"), *k = cuda_name(f, "k");
	cuda_block(f);
	cuda_line(f, "const i64 %s = %s;", row, cuda_flat(f, s, t, 0, t->outer));
	cuda_line(f, "const int %s = (int)(%s);", k, cuda_flat(f, s, t, t->outer, t->naxis));
	store_block(f, n, x, row, k, (long long)type_extents(f->g, t, t->outer, t->naxis));
	cuda_close(f);
}

/* ---- elements of tables: block_place() in code ---- */

struct place {
	const char *value, *scale; /* byte offsets of the tensor */
	const char *shift;         /* q4 */
	const char *inner;         /* index along the blocks */
};

static struct place place_of(struct cuda_fn *f, int n, const struct spot *s)
{
	const struct node *node = &f->g->node[n];
	const struct type *t = &node->type;
	struct block_shape shape = block_shape(f->g, t, node->layout);
	bool cache = t->dtype == DT_C8, panels = node->layout.kind == LAYOUT_PANEL;
	const char *o = cuda_name(f, "o"), *i = cuda_name(f, "ix"), *p = cuda_name(f, "p");
	cuda_line(f, "const i64 %s = %s;", o, cuda_flat(f, s, t, cache && panels ? node->layout.first : 0, t->outer));
	cuda_line(f, "const int %s = (int)(%s);", i, cuda_flat(f, s, t, t->outer, t->naxis));
	if (cache && panels) {
		long long npanel = (long long)((f->g->axis[t->axis[t->outer - 1]].extent + PANEL - 1) / PANEL);
		cuda_line(f, "const i64 %s = (%s * %lldL + %s / 16) * %lld;", p, cuda_flat(f, s, t, 0, node->layout.first),
			npanel, o, (long long)shape.bytes);
	} else {
		cuda_line(f, "const i64 %s = %s / 16 * %lld;", p, o, (long long)shape.bytes);
	}
	struct place at = {.inner = i};
	if (cache) {
		at.value = panels ? cuda_text(f, "%s + %s * 16 + %s %% 16", p, i, o)
				  : cuda_text(f, "%s + %s %% 16 * %lld + %s", p, o, (long long)(shape.scales / PANEL), i);
		at.scale = cuda_text(f, "%s + %lld + (%s / 32 * 16 + %s %% 16) * 4", p, (long long)shape.scales, i, o);
		return at;
	}
	const char *line = t->dtype == DT_Q4 ? cuda_text(f, "%s / 8", i) : cuda_text(f, "%s / 4", i);
	at.value = cuda_text(f, "%s + (%s * 16 + %s %% 16) * 4 + %s %% 4", p, line, o, i);
	at.scale = cuda_text(f, "%s + %lld + (%s / 32 * 16 + %s %% 16) * 2", p, (long long)shape.scales, i, o);
	at.shift = cuda_text(f, "(%s / 4 %% 2 ? 0 : 4)", i);
	return at;
}

const char *cuda_load_block(struct cuda_fn *f, int n, const struct spot *s)
{
	const char *from = cuda_memory(f, n);
	struct place at = place_of(f, n, s);
	switch (f->g->node[n].type.dtype) {
	case DT_C8:
		return cuda_text(f, "(float)(signed char)%s[%s] * load_f32(%s + %s, 0)", from, at.value, from, at.scale);
	case DT_Q4:
		return cuda_text(f, "(float)((%s[%s] << %s & 0xf0) - 128) * load_f16(%s + %s, 0)", from, at.value, at.shift,
			from, at.scale);
	default:
		return cuda_text(f, "(float)(%s[%s] - 128) * load_f16(%s + %s, 0)", from, at.value, from, at.scale);
	}
}

/* A thread copies its value; the first of a block its scale too. */
void cuda_copy_block(struct cuda_fn *f, int from, const struct spot *s, int to, const struct spot *place)
{
	const char *a = cuda_memory(f, from), *b = cuda_memory(f, to);
	struct place p = place_of(f, from, s), q = place_of(f, to, place);
	cuda_line(f, "%s[%s] = %s[%s];", b, q.value, a, p.value);
	cuda_open(f, "if (%s %% 32 == 0)", q.inner);
	cuda_line(f, "store_f32(%s + %s, 0, load_f32(%s + %s, 0));", b, q.scale, a, p.scale);
	cuda_close(f);
}
