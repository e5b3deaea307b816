/* What attention's forward and backward code share: scores of slots in panels, and their softmax. */
#include "llvm_attention.h"

static int panel_width(const struct kernel *k)
{
	return k->target->lanes < PANEL ? k->target->lanes : PANEL;
}

int sums_per_row(const struct kernel *k, int n)
{
	return k->target->tile_rows * k->target->tile_panels * (PANEL / panel_width(k)) * 2 / 3 / n;
}

/* Panels that a tile of n rows takes at a time: as many sums as keep the multipliers busy and registers
 * hold. */
static int panels_at_once(const struct kernel *k, int n)
{
	enum { MOST = 8 };
	int nvector = PANEL / panel_width(k);
	int panels = sums_per_row(k, n) / nvector;
	return panels < 1 ? 1 : panels > MOST ? MOST : panels;
}

struct score_tile {
	const struct scores *s;
	int npanel, nvector, width;
	LLVMValueRef panel;  /* the first, i64 */
	int64_t steps;       /* groups of 16 lanes in a panel */
	LLVMValueRef *acc;   /* n * npanel * nvector allocas */
};

/* Features 2i and 2i + 1 of bf16 panels (or 2i alone), or feature i of f32 panels. */
static void score_step(struct kernel *k, const struct score_tile *t, LLVMValueRef i, int nfeature)
{
	const struct scores *s = t->s;
	LLVMTypeRef vector = vector_of(k->f32, t->width), element = s->pairs ? k->i32 : k->f32;
	LLVMValueRef half = splat(k, LLVMConstInt(k->i32, 16, false), t->width);
	LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 0xffff0000u, false), t->width);
	LLVMValueRef q[2][QUERIES];
	for (int part = 0; part < nfeature; part++)
		for (int j = 0; j < s->n; j++) {
			LLVMValueRef c = plus(k, times(k, i, s->pairs ? 2 : 1), const_i64(k, part));
			q[part][j] = splat(k, load_vector(k, k->f32,
				element_at(k, k->f32, s->q[j], c), 1), t->width);
		}
	for (int p = 0; p < t->npanel; p++)
		for (int v = 0; v < t->nvector; v++) {
			LLVMValueRef at = plus(k, times(k, plus(k, t->panel, const_i64(k, p)), t->steps), i);
			at = plus(k, times(k, at, PANEL), const_i64(k, v * t->width));
			LLVMValueRef key = load_vector(k, element,
				element_at(k, element, s->panels, at), t->width);
			for (int part = 0; part < nfeature; part++) {
				LLVMValueRef x = key;
				if (s->pairs)
					x = part ? LLVMBuildAnd(k->at, key, mask, "")
						 : LLVMBuildShl(k->at, key, half, "");
				x = LLVMBuildBitCast(k->at, x, vector, "");
				for (int j = 0; j < s->n; j++) {
					LLVMValueRef to = t->acc[(j * t->npanel + p) * t->nvector + v];
					LLVMBuildStore(k->at, fma_value(k, q[part][j], x,
						LLVMBuildLoad2(k->at, vector, to, "")), to);
				}
			}
		}
}

static void score_panels(struct kernel *k, const struct heads *h, struct score_tile *t, LLVMValueRef first)
{
	const struct scores *s = t->s;
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	int nacc = s->n * t->npanel * t->nvector;
	struct loop c;
	for (int i = 0; i < nacc; i++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), t->acc[i]);
	/* An odd last feature has no partner. */
	int64_t whole = s->pairs ? h->features / 2 : t->steps;
	loop_begin(k, &c, const_i64(k, 0), const_i64(k, whole), 1);
	score_step(k, t, c.i, s->pairs ? 2 : 1);
	loop_end(k, &c);
	if (whole < t->steps)
		score_step(k, t, const_i64(k, whole), 1);
	LLVMValueRef to = times(k, LLVMBuildSub(k->at, t->panel, first, ""), PANEL);
	for (int j = 0; j < s->n; j++)
		for (int p = 0; p < t->npanel; p++)
			for (int v = 0; v < t->nvector; v++) {
				LLVMValueRef at = plus(k, to, const_i64(k, p * PANEL + v * t->width));
				LLVMValueRef sum = t->acc[(j * t->npanel + p) * t->nvector + v];
				store_vector(k, LLVMBuildLoad2(k->at, vector, sum, ""),
					element_at(k, k->f32, s->out[j], at), 4);
			}
}

void emit_scores(struct kernel *k, const struct heads *h, const struct scores *s)
{
	struct score_tile t = {.s = s, .width = panel_width(k)};
	LLVMValueRef sixteen = const_i64(k, PANEL);
	LLVMValueRef first = LLVMBuildUDiv(k->at, s->lo, sixteen, ""), from = first;
	LLVMValueRef end = plus(k, s->end, const_i64(k, PANEL - 1));
	end = LLVMBuildUDiv(k->at, end, sixteen, "");
	t.nvector = PANEL / t.width;
	t.steps = s->pairs ? (h->features + 1) / 2 : h->features;
	int most = panels_at_once(k, s->n);
	t.acc = arena_array(k->arena, LLVMValueRef, s->n * most * t.nvector);
	for (int i = 0; i < s->n * most * t.nvector; i++)
		t.acc[i] = alloca_entry(k, vector_of(k->f32, t.width), "s");
	for (int np = most; np >= 1; np = np > 1 ? 1 : 0) {
		struct loop panel;
		LLVMValueRef n = LLVMBuildSub(k->at, end, from, "");
		n = LLVMBuildSub(k->at, n, LLVMBuildURem(k->at, n, const_i64(k, np), ""), "");
		LLVMValueRef to = plus(k, from, n);
		t.npanel = np;
		loop_begin(k, &panel, from, to, np);
		t.panel = panel.i;
		score_panels(k, h, &t, first);
		loop_end(k, &panel);
		from = to;
	}
}

static LLVMValueRef score_vector(struct kernel *k, LLVMValueRef score, LLVMValueRef i, int width)
{
	return load_vector(k, k->f32, element_at(k, k->f32, score, i), width);
}

static LLVMValueRef maximum(struct kernel *k, LLVMValueRef a, LLVMValueRef b, int width)
{
	LLVMValueRef pair[] = {a, b};
	return emit_scalar_op(k, OP_MAX, pair, width);
}

LLVMValueRef emit_max(struct kernel *k, LLVMValueRef score, LLVMValueRef n)
{
	int width = k->target->lanes;
	LLVMTypeRef vector = vector_of(k->f32, width);
	LLVMValueRef low = LLVMConstReal(k->f32, -__builtin_inf());
	LLVMValueRef wide = alloca_entry(k, vector, "max"), one = alloca_entry(k, k->f32, "max");
	LLVMValueRef whole = LLVMBuildAnd(k->at, n, const_i64(k, -(int64_t)width), "");
	struct loop l;
	LLVMBuildStore(k->at, splat(k, low, width), wide);
	loop_begin(k, &l, const_i64(k, 0), whole, width);
	LLVMValueRef m = maximum(k, LLVMBuildLoad2(k->at, vector, wide, ""),
		score_vector(k, score, l.i, width), width);
	LLVMBuildStore(k->at, m, wide);
	loop_end(k, &l);
	m = LLVMBuildLoad2(k->at, vector, wide, "");
	LLVMValueRef all = low;
	for (int i = 0; i < width; i++)
		all = maximum(k, all, LLVMBuildExtractElement(k->at, m,
			LLVMConstInt(k->i32, (uint64_t)i, false), ""), 1);
	LLVMBuildStore(k->at, all, one);
	loop_begin(k, &l, whole, n, 1);
	LLVMBuildStore(k->at, maximum(k, LLVMBuildLoad2(k->at, k->f32, one, ""),
		score_vector(k, score, l.i, 1), 1), one);
	loop_end(k, &l);
	return LLVMBuildLoad2(k->at, k->f32, one, "");
}

LLVMValueRef emit_exp_sum(struct kernel *k, LLVMValueRef score, LLVMValueRef n, LLVMValueRef m)
{
	int width = k->target->lanes < SUM_LANES ? k->target->lanes : SUM_LANES;
	LLVMValueRef sum = alloca_entry(k, LLVMArrayType(k->f32, SUM_LANES), "sum");
	LLVMValueRef whole = LLVMBuildAnd(k->at, n, const_i64(k, -(int64_t)width), "");
	struct loop l;
	for (int i = 0; i < SUM_LANES; i++)
		store_vector(k, LLVMConstReal(k->f32, 0), element_at(k, k->f32, sum, const_i64(k, i)), 4);
	for (int w = width; w >= 1; w = w > 1 ? 1 : 0) {
		loop_begin(k, &l, w > 1 ? const_i64(k, 0) : whole, w > 1 ? whole : n, w);
		LLVMValueRef at = element_at(k, k->f32, score, l.i);
		LLVMValueRef x = LLVMBuildFSub(k->at, load_vector(k, k->f32, at, w), splat(k, m, w), "");
		x = emit_recipe(k, OP_EXP, x, w);
		store_vector(k, x, at, 4);
		LLVMValueRef lane = LLVMBuildAnd(k->at, l.i, const_i64(k, SUM_LANES - 1), "");
		LLVMValueRef p = element_at(k, k->f32, sum, lane);
		store_vector(k, LLVMBuildFAdd(k->at, load_vector(k, k->f32, p, w), x, ""), p, 4);
		loop_end(k, &l);
	}
	LLVMValueRef a[SUM_LANES];
	for (int i = 0; i < SUM_LANES; i++)
		a[i] = load_vector(k, k->f32, element_at(k, k->f32, sum, const_i64(k, i)), 1);
	for (int half = SUM_LANES / 2; half >= 1; half /= 2)
		for (int i = 0; i < half; i++)
			a[i] = LLVMBuildFAdd(k->at, a[i], a[i + half], "");
	return a[0];
}
