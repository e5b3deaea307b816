/* What attention's forward and backward code share besides scores: sums of slots, each times its weight. */
#include "llvm_attention.h"

void each_float(struct kernel *k, int64_t n, floats_body *body, void *arg)
{
	int64_t whole = n / k->target->lanes * k->target->lanes;
	for (int w = k->target->lanes; w >= 1; w = w > 1 ? 1 : 0) {
		struct loop l;
		loop_begin(k, &l, const_i64(k, w > 1 ? 0 : whole), const_i64(k, w > 1 ? whole : n), w);
		body(k, l.i, w, arg);
		loop_end(k, &l);
	}
}

void copy_floats(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	const struct copy *c = arg;
	store_f32(k, load_f32(k, c->from, i, width), c->to, i);
}

LLVMValueRef scratch_floats(struct kernel *k, int64_t n)
{
	LLVMValueRef p = element_at(k, k->f32, k->scratch, const_i64(k, k->scratch_bytes / 4));
	k->scratch_bytes += (n * 4 + 63) / 64 * 64;
	return p;
}

/* Vectors of features [first, first + nvector * width). */
struct strip {
	const struct values *v;
	const struct weights *w;
	LLVMValueRef acc; /* float[w->n][features] */
	int64_t first;
	int width, nvector;
};

/* Of the values SLOTS ahead of `from`, as many bytes for each slot as the strip takes: strips behind each other ask
 * for all of them, at the pace of their sums. */
static void prefetch_values(struct kernel *k, const struct strip *u, LLVMValueRef from, LLVMValueRef slot)
{
	enum { LINE = 64 };
	LLVMTypeRef byte = LLVMInt8TypeInContext(k->context);
	int64_t features = u->v->h->features;
	int64_t all = u->v->slot_bytes, taken = all * u->nvector * u->width / features;
	int64_t ahead = (all + all * u->first / features) * SLOTS_NEAR;
	LLVMValueRef at = times(k, plus(k, u->v->first, from), all);
	at = plus(k, at, times(k, minus(k, slot, from), taken));
	for (int64_t i = 0; i < taken; i += LINE)
		emit_prefetch(k, element_at(k, byte, memory_of(k, u->v->node), plus(k, at, const_i64(k, ahead + i))), CACHE_NEAREST);
}

/* Where the features of a slot begin, and its scales. */
struct slot {
	LLVMValueRef at;    /* element of the values; c8: byte */
	LLVMValueRef scale; /* byte */
};

static struct slot place_slot(struct kernel *k, const struct values *v, LLVMValueRef slot)
{
	slot = plus(k, v->first, slot);
	if (v->h->kv != DT_C8)
		return (struct slot){times(k, slot, v->h->features), NULL};
	LLVMValueRef panel = times(k, panel_of(k, slot), v->slot_bytes * PANEL);
	LLVMValueRef lane = LLVMBuildAnd(k->at, slot, const_i64(k, PANEL - 1), "");
	return (struct slot){plus(k, panel, times(k, lane, v->h->features)),
		plus(k, plus(k, panel, times(k, lane, 4)), const_i64(k, v->h->features * PANEL))};
}

/* Features [c, c + width) of a slot. */
static LLVMValueRef load_values(struct kernel *k, const struct values *v, const struct slot *s, int64_t c, int width)
{
	LLVMValueRef base = memory_of(k, v->node), at = plus(k, s->at, const_i64(k, c));
	LLVMTypeRef byte = LLVMInt8TypeInContext(k->context);
	if (v->h->kv != DT_C8)
		return load_typed(k, v->h->kv, base, at, width);
	LLVMValueRef x = load_vector(k, byte, element_at(k, byte, base, at), width);
	LLVMValueRef scale = plus(k, s->scale, const_i64(k, c / Q_BLOCK * PANEL * 4));
	scale = load_vector(k, k->f32, element_at(k, byte, base, scale), 1);
	x = LLVMBuildSIToFP(k->at, LLVMBuildSExt(k->at, x, vector_of(k->i32, width), ""), vector_of(k->f32, width), "");
	return LLVMBuildFMul(k->at, x, splat(k, scale, width), "");
}

static void add_strip(struct kernel *k, const struct strip *u, LLVMValueRef from, LLVMValueRef to)
{
	const struct weights *w = u->w;
	LLVMTypeRef vector = vector_of(k->f32, u->width);
	LLVMValueRef sum[QUERIES * PANEL], at[QUERIES * PANEL], weight[QUERIES];
	int nsum = w->n * u->nvector;
	struct loop panel, s;
	for (int i = 0; i < nsum; i++) {
		at[i] = const_i64(k, i / u->nvector * u->v->h->features + u->first + i % u->nvector * u->width);
		sum[i] = alloca_entry(k, vector, "o");
		LLVMBuildStore(k->at, load_f32(k, u->acc, at[i], u->width), sum[i]);
	}
	loop_begin(k, &panel, panel_of(k, from), panel_of(k, plus(k, to, const_i64(k, PANEL - 1))), 1);
	LLVMValueRef begin = times(k, panel.i, PANEL), end = plus(k, begin, const_i64(k, PANEL));
	LLVMValueRef first = times(k, minus(k, panel.i, panel_of(k, w->lo)), w->of * PANEL);
	loop_begin(k, &s, max_i64(k, from, begin), min_i64(k, to, end), 1);
	LLVMValueRef lane = plus(k, first, minus(k, s.i, begin));
	struct slot slot = place_slot(k, u->v, s.i);
	prefetch_values(k, u, from, s.i);
	for (int j = 0; j < w->n; j++)
		weight[j] = splat(k, load_f32(k, w->p, plus(k, lane, const_i64(k, j * PANEL)), 1), u->width);
	for (int v = 0; v < u->nvector; v++) {
		LLVMValueRef x = load_values(k, u->v, &slot, u->first + v * u->width, u->width);
		for (int j = 0; j < w->n; j++) {
			LLVMValueRef *to_sum = &sum[j * u->nvector + v];
			LLVMValueRef old = LLVMBuildLoad2(k->at, vector, *to_sum, "");
			LLVMBuildStore(k->at, fma_value(k, weight[j], x, old), *to_sum);
		}
	}
	loop_end(k, &s);
	loop_end(k, &panel);
	for (int i = 0; i < nsum; i++)
		store_f32(k, LLVMBuildLoad2(k->at, vector, sum[i], ""), u->acc, at[i]);
}

/* As many vectors at a time as registers hold, then narrower ones for what is left. */
void emit_weighted(struct kernel *k, const struct values *v, const struct weights *w, LLVMValueRef acc,
	LLVMValueRef from, LLVMValueRef to)
{
	enum { MOST = 8 };
	int vectors = sums_per_row(k, w->n), most = vectors < 1 ? 1 : vectors > MOST ? MOST : vectors;
	int64_t features = v->h->features;
	struct strip u = {.v = v, .w = w, .acc = acc};
	for (u.width = k->target->lanes; u.width >= 1; u.width /= 2)
		while (features - u.first >= u.width) {
			int64_t n = (features - u.first) / u.width;
			u.nvector = n > most ? most : (int)n;
			add_strip(k, &u, from, to);
			u.first += (int64_t)u.nvector * u.width;
		}
}
