/* What attention's forward and backward code share: scores of slots in panels, and their softmax. */
#include "llvm_attention.h"

enum { LINE = 64 }; /* bytes of a cache line */

static int panel_width(const struct kernel *k)
{
	return k->target->lanes < PANEL ? k->target->lanes : PANEL;
}

int sums_per_row(const struct kernel *k, int n)
{
	return k->target->tile_rows * k->target->tile_panels * (PANEL / panel_width(k)) * 2 / 3 / n;
}

struct score_tile {
	const struct heads *h;
	const struct scores *s;
	int nvector, width;
	LLVMValueRef panel;
	LLVMValueRef scale[PANEL]; /* c8: of the block, by vector */
	LLVMValueRef *acc;         /* n * nvector allocas */
};

/* Features of PANEL slots in a cache line. */
static int line_features(enum dtype t)
{
	return LINE / PANEL / dtype_bytes(t);
}

/* Feature `part` of line i of the panel, of the v-th vector of slots. */
static LLVMValueRef load_key(struct kernel *k, const struct score_tile *t, LLVMValueRef i, int part, int v)
{
	enum dtype kv = t->s->kv;
	LLVMTypeRef vector = vector_of(k->f32, t->width), ints = vector_of(k->i32, t->width);
	LLVMTypeRef byte = LLVMInt8TypeInContext(k->context);
	LLVMValueRef at = plus(k, times(k, i, LINE / dtype_bytes(kv)), const_i64(k, part * PANEL + v * t->width));
	if (kv == DT_C8) {
		LLVMValueRef x = load_vector(k, byte, element_at(k, byte, t->panel, at), t->width);
		x = LLVMBuildSIToFP(k->at, LLVMBuildSExt(k->at, x, ints, ""), vector, "");
		return LLVMBuildFMul(k->at, x, t->scale[v], "");
	}
	if (kv != DT_BF16)
		return load_typed(k, kv, t->panel, at, t->width);
	/* Two features as one i32 per slot. */
	at = plus(k, times(k, i, PANEL), const_i64(k, v * t->width));
	LLVMValueRef x = load_vector(k, k->i32, element_at(k, k->i32, t->panel, at), t->width);
	LLVMValueRef by = splat(k, LLVMConstInt(k->i32, 16, false), t->width);
	LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 0xffff0000u, false), t->width);
	x = part ? LLVMBuildAnd(k->at, x, mask, "") : LLVMBuildShl(k->at, x, by, "");
	return LLVMBuildBitCast(k->at, x, vector, "");
}

/* The first nfeature features of line i. */
static void score_line(struct kernel *k, const struct score_tile *t, LLVMValueRef i, int nfeature)
{
	enum { AHEAD_FLOATS = 1024 };
	const struct scores *s = t->s;
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	emit_prefetch(k, element_at(k, k->f32, t->panel, plus(k, times(k, i, LINE / 4), const_i64(k, AHEAD_FLOATS))), CACHE_NEAREST);
	for (int part = 0; part < nfeature; part++)
		for (int v = 0; v < t->nvector; v++) {
			LLVMValueRef x = load_key(k, t, i, part, v);
			for (int j = 0; j < s->n; j++) {
				LLVMValueRef c = plus(k, times(k, i, line_features(s->kv)),
					const_i64(k, part + j * t->h->features));
				LLVMValueRef q = splat(k, load_f32(k, s->q, c, 1), t->width);
				LLVMValueRef acc = t->acc[j * t->nvector + v];
				LLVMBuildStore(k->at,
					fma_value(k, q, x, LLVMBuildLoad2(k->at, vector, acc, "")), acc);
			}
		}
}

/* Features from `from` on that fill lines, as many as `to` says. */
static void score_lines(struct kernel *k, const struct score_tile *t, LLVMValueRef from, LLVMValueRef to)
{
	int per = line_features(t->s->kv);
	struct loop l;
	loop_begin(k, &l, LLVMBuildUDiv(k->at, from, const_i64(k, per), ""),
		LLVMBuildUDiv(k->at, to, const_i64(k, per), ""), 1);
	score_line(k, t, l.i, per);
	loop_end(k, &l);
}

/* One scale per slot. */
static void load_scales(struct kernel *k, struct score_tile *t, LLVMValueRef block)
{
	LLVMValueRef at = plus(k, times(k, block, PANEL), const_i64(k, t->h->features * PANEL / 4));
	for (int v = 0; v < t->nvector; v++)
		t->scale[v] = load_f32(k, t->panel, plus(k, at, const_i64(k, v * t->width)), t->width);
}

static void score_panel(struct kernel *k, struct score_tile *t, LLVMValueRef out)
{
	const struct scores *s = t->s;
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	int nacc = s->n * t->nvector, per = line_features(s->kv);
	int64_t features = t->h->features, blocks = s->kv == DT_C8 ? features / Q_BLOCK : 0;
	struct loop block;
	for (int i = 0; i < nacc; i++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), t->acc[i]);
	if (blocks) {
		loop_begin(k, &block, const_i64(k, 0), const_i64(k, blocks), 1);
		load_scales(k, t, block.i);
		LLVMValueRef from = times(k, block.i, Q_BLOCK);
		score_lines(k, t, from, plus(k, from, const_i64(k, Q_BLOCK)));
		loop_end(k, &block);
	}
	if (s->kv == DT_C8 && features % Q_BLOCK)
		load_scales(k, t, const_i64(k, blocks));
	if (features > blocks * Q_BLOCK)
		score_lines(k, t, const_i64(k, blocks * Q_BLOCK), const_i64(k, features));
	if (features % per)
		score_line(k, t, const_i64(k, features / per), (int)(features % per));
	for (int i = 0; i < nacc; i++)
		store_f32(k, LLVMBuildLoad2(k->at, vector, t->acc[i], ""), out, const_i64(k, i * t->width));
}

/* Panels [first, end) have slots [lo, end). */
static void panels_of(struct kernel *k, const struct scores *s, LLVMValueRef *first, LLVMValueRef *end)
{
	*first = panel_of(k, s->lo);
	*end = panel_of(k, plus(k, s->end, const_i64(k, PANEL - 1)));
}

/* One panel at a time: memory is read in order, and other panels' sums fill the time that a chain of fma waits. */
void emit_scores(struct kernel *k, const struct heads *h, const struct scores *s)
{
	struct score_tile t = {.h = h, .s = s, .width = panel_width(k)};
	LLVMValueRef first, end;
	struct loop panel;
	t.nvector = PANEL / t.width;
	t.acc = arena_array(k->arena, LLVMValueRef, s->n * t.nvector);
	for (int i = 0; i < s->n * t.nvector; i++)
		t.acc[i] = alloca_entry(k, vector_of(k->f32, t.width), "s");
	panels_of(k, s, &first, &end);
	loop_begin(k, &panel, first, end, 1);
	t.panel = element_at(k, LLVMInt8TypeInContext(k->context), s->panels, times(k, panel.i, s->panel_bytes));
	score_panel(k, &t, element_at(k, k->f32, s->out, times(k, minus(k, panel.i, first), s->n * PANEL)));
	loop_end(k, &panel);
}

/* ---- softmax ---- */

struct softmax {
	const struct scores *s;
	int width, nvector;
	LLVMValueRef first, end;      /* panels */
	LLVMValueRef max, sum;        /* float[n], float[n][PANEL] */
};

static LLVMValueRef local_floats(struct kernel *k, int n)
{
	return alloca_entry(k, LLVMArrayType(k->f32, (unsigned)n), "f");
}

/* Where the scores of a panel begin, and of its query j. */
static LLVMValueRef panel_scores(struct kernel *k, const struct softmax *m, LLVMValueRef panel)
{
	return element_at(k, k->f32, m->s->out, times(k, minus(k, panel, m->first), m->s->n * PANEL));
}

/* Panels [from, to): scores of slots that a query does not have become -inf. */
static void hide_slots(struct kernel *k, const struct softmax *m, LLVMValueRef from, LLVMValueRef to)
{
	LLVMValueRef low = splat(k, LLVMConstReal(k->f32, -__builtin_inf()), m->width), lane[PANEL];
	struct loop panel, j;
	for (int i = 0; i < PANEL; i++)
		lane[i] = LLVMConstInt(k->i32, (uint64_t)i, false);
	loop_begin(k, &panel, from, to, 1);
	LLVMValueRef base = panel_scores(k, m, panel.i), slot = times(k, panel.i, PANEL);
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, m->s->n), 1);
	LLVMValueRef begin = LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, m->s->from, j.i), "");
	LLVMValueRef end = LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, m->s->to, j.i), "");
	begin = splat(k, LLVMBuildTrunc(k->at, minus(k, begin, slot), k->i32, ""), m->width);
	end = splat(k, LLVMBuildTrunc(k->at, minus(k, end, slot), k->i32, ""), m->width);
	for (int v = 0; v < m->nvector; v++) {
		LLVMValueRef i = LLVMConstVector(lane + v * m->width, (unsigned)m->width);
		LLVMValueRef at = plus(k, times(k, j.i, PANEL), const_i64(k, v * m->width));
		LLVMValueRef has = LLVMBuildAnd(k->at, LLVMBuildICmp(k->at, LLVMIntSGE, i, begin, ""),
			LLVMBuildICmp(k->at, LLVMIntSLT, i, end, ""), "");
		store_f32(k, LLVMBuildSelect(k->at, has, load_f32(k, base, at, m->width), low, ""), base, at);
	}
	loop_end(k, &j);
	loop_end(k, &panel);
}

static void hide_edges(struct kernel *k, const struct softmax *m)
{
	LLVMValueRef last = m->s->lo, least = m->s->end;
	for (int j = 0; j < m->s->n; j++) {
		LLVMValueRef at = const_i64(k, j);
		last = max_i64(k, last, LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, m->s->from, at), ""));
		least = min_i64(k, least, LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, m->s->to, at), ""));
	}
	LLVMValueRef begun = min_i64(k, m->end, panel_of(k, plus(k, last, const_i64(k, PANEL - 1))));
	hide_slots(k, m, m->first, begun);
	hide_slots(k, m, max_i64(k, begun, panel_of(k, least)), m->end);
}

static LLVMValueRef larger(struct kernel *k, LLVMValueRef a, LLVMValueRef b, int width)
{
	LLVMValueRef pair[] = {a, b};
	return emit_scalar_op(k, OP_MAX, pair, width);
}

static LLVMValueRef added(struct kernel *k, LLVMValueRef a, LLVMValueRef b, int width)
{
	(void)width;
	return LLVMBuildFAdd(k->at, a, b, "");
}

/* x[i] and x[i + half], half = 8, 4, 2, 1. */
static LLVMValueRef across(struct kernel *k, LLVMValueRef x,
	LLVMValueRef (*op)(struct kernel *, LLVMValueRef, LLVMValueRef, int))
{
	LLVMValueRef place[PANEL];
	for (int i = 0; i < PANEL; i++)
		place[i] = LLVMConstInt(k->i32, (uint64_t)i, false);
	for (int half = PANEL / 2; half > 1; half /= 2) {
		LLVMValueRef none = LLVMGetPoison(LLVMTypeOf(x));
		LLVMValueRef low = LLVMConstVector(place, (unsigned)half);
		LLVMValueRef high = LLVMConstVector(place + half, (unsigned)half);
		x = op(k, LLVMBuildShuffleVector(k->at, x, none, low, ""),
			LLVMBuildShuffleVector(k->at, x, none, high, ""), half);
	}
	return op(k, LLVMBuildExtractElement(k->at, x, place[0], ""),
		LLVMBuildExtractElement(k->at, x, place[1], ""), 1);
}

/* The largest score of each query. */
static void find_max(struct kernel *k, const struct softmax *m)
{
	LLVMTypeRef vector = vector_of(k->f32, m->width);
	int nacc = m->s->n * m->nvector;
	LLVMValueRef acc[QUERIES * PANEL], lanes = local_floats(k, m->s->n * PANEL);
	struct loop panel, j;
	for (int i = 0; i < nacc; i++) {
		acc[i] = alloca_entry(k, vector, "max");
		LLVMBuildStore(k->at, splat(k, LLVMConstReal(k->f32, -__builtin_inf()), m->width), acc[i]);
	}
	loop_begin(k, &panel, m->first, m->end, 1);
	LLVMValueRef base = panel_scores(k, m, panel.i);
	for (int i = 0; i < nacc; i++)
		LLVMBuildStore(k->at, larger(k, LLVMBuildLoad2(k->at, vector, acc[i], ""),
			load_f32(k, base, const_i64(k, i * m->width), m->width), m->width), acc[i]);
	loop_end(k, &panel);
	for (int i = 0; i < nacc; i++)
		store_f32(k, LLVMBuildLoad2(k->at, vector, acc[i], ""), lanes, const_i64(k, i * m->width));
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, m->s->n), 1);
	store_f32(k, across(k, load_f32(k, lanes, times(k, j.i, PANEL), PANEL), larger), m->max, j.i);
	loop_end(k, &j);
}

/* Exps, and their sums by lane. */
static void take_exps(struct kernel *k, const struct softmax *m)
{
	struct loop panel, j;
	for (int i = 0; i < m->s->n * m->nvector; i++)
		store_f32(k, LLVMConstNull(vector_of(k->f32, m->width)), m->sum, const_i64(k, i * m->width));
	loop_begin(k, &panel, m->first, m->end, 1);
	LLVMValueRef base = panel_scores(k, m, panel.i);
	int64_t floats = m->s->n * LINE / 4;
	for (int64_t i = 0; m->s->next && i < floats; i += LINE / 4)
		emit_prefetch(k, element_at(k, k->f32, m->s->next,
			plus(k, times(k, minus(k, panel.i, m->first), floats), const_i64(k, i))), CACHE_NEAREST);
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, m->s->n), 1);
	LLVMValueRef max = splat(k, load_f32(k, m->max, j.i, 1), m->width);
	for (int v = 0; v < m->nvector; v++) {
		LLVMValueRef at = plus(k, times(k, j.i, PANEL), const_i64(k, v * m->width));
		LLVMValueRef x = LLVMBuildFSub(k->at, load_f32(k, base, at, m->width), max, "");
		x = emit_recipe(k, OP_EXP, x, m->width);
		store_f32(k, x, base, at);
		store_f32(k, LLVMBuildFAdd(k->at, load_f32(k, m->sum, at, m->width), x, ""), m->sum, at);
	}
	loop_end(k, &j);
	loop_end(k, &panel);
}

/* The lane of slot lo is the first that OP_SUM takes. */
static void add_lanes(struct kernel *k, const struct softmax *m)
{
	LLVMValueRef twice = local_floats(k, 2 * PANEL);
	struct loop j;
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, m->s->n), 1);
	LLVMValueRef lanes = load_f32(k, m->sum, times(k, j.i, PANEL), PANEL);
	LLVMValueRef lo = LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, m->s->from, j.i), "");
	store_f32(k, lanes, twice, const_i64(k, 0));
	store_f32(k, lanes, twice, const_i64(k, PANEL));
	lanes = load_f32(k, twice, LLVMBuildAnd(k->at, lo, const_i64(k, PANEL - 1), ""), PANEL);
	store_f32(k, across(k, lanes, added), m->s->sum, j.i);
	loop_end(k, &j);
}
_Static_assert(PANEL == SUM_LANES, "add_lanes");

void emit_softmax(struct kernel *k, const struct scores *s)
{
	struct softmax m = {.s = s, .width = panel_width(k)};
	m.nvector = PANEL / m.width;
	m.max = local_floats(k, s->n);
	m.sum = local_floats(k, s->n * PANEL);
	panels_of(k, s, &m.first, &m.end);
	hide_edges(k, &m);
	find_max(k, &m);
	take_exps(k, &m);
	add_lanes(k, &m);
}
