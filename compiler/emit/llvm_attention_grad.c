/*
 * The gradients of attention with respect to q, k and v, whichever of them the region has. An item is one query
 * head. Its rows go in tiles, in order: scores and their softmax as in the forward kernel, products of do with v the
 * same way, and from both w and ds (ir.h) of all slots that a row of the tile has, 0 where this row has not. dq is a
 * sum over slots; dk and dv add the tile's rows in order. Behind the last row a tile has it again, with weights of 0.
 *
 * Scratch: k and v in panels; of a tile q and do side by side, w (first s, then p), ds (first dp) and dq.
 */
#include "llvm_attention.h"

enum {
	TILE = QUERIES,
	MOST_SLOTS = 4, /* of dk or dv whose sums are in registers together, and vectors of each */
	MOST_VECTORS = 8,
};

struct grad {
	const struct heads *h;
	int dq, dk, dv;              /* nodes; -1: not wanted */
	LLVMValueRef rows, slots;    /* i64: how many there are */
	LLVMValueRef k_panels, v_panels;
	LLVMValueRef q, dout;        /* float[TILE][features] */
	LLVMValueRef w, ds;          /* as scores lie */
	LLVMValueRef dq_sum;         /* float[TILE][features] */
	LLVMValueRef scale, delta;   /* float[TILE]: 1 / l, or 0 of a row that is there twice */
	LLVMValueRef from, to, sum;  /* i64[TILE], i64[TILE], float[TILE] */
	LLVMValueRef head, kv_head;  /* i64: among all query heads; whose keys and values it reads */
	LLVMValueRef first;          /* the tile's first row */
	LLVMValueRef lo, end;        /* slots of the tile's rows are among [lo, end) */
};

static int wanted(const struct kernel *k, enum op op)
{
	for (int i = 0; i < k->region->nnode; i++)
		if (k->g->node[k->region->node[i]].op == op)
			return k->region->node[i];
	return -1;
}

/* ---- panels ---- */

/* x[i][lane] becomes x[lane][i]: bit by bit, rows and lanes change places. */
static void transpose(struct kernel *k, LLVMValueRef *x, int width)
{
	LLVMValueRef lower[PANEL], upper[PANEL];
	for (int step = 1; step < width; step *= 2) {
		for (int l = 0; l < width; l++) {
			lower[l] = LLVMConstInt(k->i32, (uint64_t)(l & step ? width + l - step : l), false);
			upper[l] = LLVMConstInt(k->i32, (uint64_t)(l & step ? width + l : l + step), false);
		}
		LLVMValueRef low = LLVMConstVector(lower, (unsigned)width);
		LLVMValueRef high = LLVMConstVector(upper, (unsigned)width);
		for (int i = 0; i < width; i++) {
			if (i & step)
				continue;
			LLVMValueRef a = x[i], b = x[i + step];
			x[i] = LLVMBuildShuffleVector(k->at, a, b, low, "");
			x[i + step] = LLVMBuildShuffleVector(k->at, a, b, high, "");
		}
	}
}

/* Features [c, c + width) of slots [slot, slot + width), which begin at lane `lane` of a panel; behind the last slot
 * lies the last one again. */
static void fill_panel(struct kernel *k, const struct grad *d, int node, LLVMValueRef panel, LLVMValueRef slot,
	int lane, LLVMValueRef c, int width)
{
	LLVMValueRef x[PANEL], last = minus(k, d->slots, const_i64(k, 1));
	LLVMValueRef head = times(k, d->kv_head, d->h->slots);
	for (int i = 0; i < width; i++) {
		LLVMValueRef at = plus(k, head, min_i64(k, plus(k, slot, const_i64(k, i)), last));
		x[i] = load_typed(k, d->h->kv, memory_of(k, node), plus(k, times(k, at, d->h->features), c), width);
	}
	transpose(k, x, width);
	for (int i = 0; i < width; i++)
		store_f32(k, x[i], panel, plus(k, times(k, plus(k, c, const_i64(k, i)), PANEL), const_i64(k, lane)));
}

/* Panels of one head of node: lanes are slots. */
static void make_panels(struct kernel *k, const struct grad *d, int node, LLVMValueRef panels)
{
	int lanes = k->target->lanes < PANEL ? k->target->lanes : PANEL;
	int64_t features = d->h->features, whole = features / lanes * lanes;
	struct loop panel, c;
	loop_begin(k, &panel, const_i64(k, 0), panel_of(k, plus(k, d->slots, const_i64(k, PANEL - 1))), 1);
	LLVMValueRef to = element_at(k, k->f32, panels, times(k, panel.i, features * PANEL));
	for (int width = lanes; width >= 1; width = width > 1 ? 1 : 0) {
		loop_begin(k, &c, const_i64(k, width > 1 ? 0 : whole), const_i64(k, width > 1 ? whole : features), width);
		for (int lane = 0; lane < PANEL; lane += width)
			fill_panel(k, d, node, to, plus(k, times(k, panel.i, PANEL), const_i64(k, lane)), lane, c.i, width);
		loop_end(k, &c);
	}
	loop_end(k, &panel);
}

/* ---- what a tile begins with ---- */

/* Row j of the tile. */
static LLVMValueRef row_of(struct kernel *k, const struct grad *d, LLVMValueRef j)
{
	return min_i64(k, plus(k, d->first, j), minus(k, d->rows, const_i64(k, 1)));
}

/* The head's features of row j, in what is like q. */
static LLVMValueRef features_of(struct kernel *k, const struct grad *d, int node, LLVMValueRef j)
{
	LLVMValueRef at = plus(k, times(k, row_of(k, d, j), d->h->q_row), times(k, d->head, d->h->features));
	return element_at(k, k->f32, memory_of(k, node), at);
}

static void place_tile(struct kernel *k, struct grad *d)
{
	LLVMValueRef least = alloca_entry(k, k->i64, "lo"), most = alloca_entry(k, k->i64, "end");
	struct loop j;
	LLVMBuildStore(k->at, d->slots, least);
	LLVMBuildStore(k->at, const_i64(k, 0), most);
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, TILE), 1);
	LLVMValueRef row = row_of(k, d, j.i), tile = times(k, j.i, d->h->features);
	LLVMValueRef lo = load_index(k, d->h->lo, row), hi = load_index(k, d->h->hi, row);
	LLVMBuildStore(k->at, lo, element_at(k, k->i64, d->from, j.i));
	LLVMBuildStore(k->at, hi, element_at(k, k->i64, d->to, j.i));
	LLVMBuildStore(k->at, min_i64(k, lo, LLVMBuildLoad2(k->at, k->i64, least, "")), least);
	LLVMBuildStore(k->at, max_i64(k, hi, LLVMBuildLoad2(k->at, k->i64, most, "")), most);
	struct copy q = {features_of(k, d, d->h->q, j.i), element_at(k, k->f32, d->q, tile)};
	struct copy dout = {features_of(k, d, d->h->n->src[6], j.i), element_at(k, k->f32, d->dout, tile)};
	each_float(k, d->h->features, copy_floats, &q);
	each_float(k, d->h->features, copy_floats, &dout);
	loop_end(k, &j);
	d->lo = LLVMBuildLoad2(k->at, k->i64, least, "");
	d->end = LLVMBuildLoad2(k->at, k->i64, most, "");
}

/* delta = sum over c of do_c o_c, a chain from 0; all rows' chains side by side. */
static void emit_delta(struct kernel *k, const struct grad *d)
{
	LLVMValueRef sum[TILE], o[TILE];
	struct loop c;
	for (int j = 0; j < TILE; j++) {
		o[j] = features_of(k, d, d->h->n->src[5], const_i64(k, j));
		sum[j] = alloca_entry(k, k->f32, "delta");
		LLVMBuildStore(k->at, LLVMConstReal(k->f32, 0), sum[j]);
	}
	loop_begin(k, &c, const_i64(k, 0), const_i64(k, d->h->features), 1);
	for (int j = 0; j < TILE; j++) {
		LLVMValueRef dout = load_f32(k, d->dout, plus(k, c.i, const_i64(k, j * d->h->features)), 1);
		LLVMValueRef old = LLVMBuildLoad2(k->at, k->f32, sum[j], "");
		LLVMBuildStore(k->at, fma_value(k, dout, load_f32(k, o[j], c.i, 1), old), sum[j]);
	}
	loop_end(k, &c);
	for (int j = 0; j < TILE; j++)
		store_f32(k, LLVMBuildLoad2(k->at, k->f32, sum[j], ""), d->delta, const_i64(k, j));
}

/* 1 / l, 0 behind the last row. */
static void emit_scale(struct kernel *k, const struct grad *d)
{
	struct loop j;
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, TILE), 1);
	LLVMValueRef there = LLVMBuildICmp(k->at, LLVMIntSLT, plus(k, d->first, j.i), d->rows, "");
	LLVMValueRef x = LLVMBuildFDiv(k->at, LLVMConstReal(k->f32, 1), load_f32(k, d->sum, j.i, 1), "");
	x = LLVMBuildSelect(k->at, there, x, LLVMConstReal(k->f32, 0), "");
	store_f32(k, x, d->scale, j.i);
	loop_end(k, &j);
}

/* w = p (1 / l); ds = w (dp - delta). */
static void emit_ds(struct kernel *k, const struct grad *d)
{
	int width = k->target->lanes < PANEL ? k->target->lanes : PANEL;
	LLVMValueRef count = minus(k, panel_of(k, plus(k, d->end, const_i64(k, PANEL - 1))), panel_of(k, d->lo));
	struct loop panel, j;
	loop_begin(k, &panel, const_i64(k, 0), count, 1);
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, TILE), 1);
	LLVMValueRef scale = splat(k, load_f32(k, d->scale, j.i, 1), width);
	LLVMValueRef delta = splat(k, load_f32(k, d->delta, j.i, 1), width);
	for (int v = 0; v < PANEL; v += width) {
		LLVMValueRef at = plus(k, times(k, plus(k, times(k, panel.i, TILE), j.i), PANEL), const_i64(k, v));
		LLVMValueRef w = LLVMBuildFMul(k->at, load_f32(k, d->w, at, width), scale, "");
		LLVMValueRef dp = LLVMBuildFSub(k->at, load_f32(k, d->ds, at, width), delta, "");
		store_f32(k, w, d->w, at);
		store_f32(k, LLVMBuildFMul(k->at, w, dp, ""), d->ds, at);
	}
	loop_end(k, &j);
	loop_end(k, &panel);
}

/* ---- sums ---- */

/* What a tile adds to dk or dv: over its rows in order, weight times x. */
struct addend {
	int node;
	LLVMValueRef weight, x; /* as scores lie; float[TILE][features] */
	int64_t first;          /* features [first, first + nvector * width) */
	int width, nvector;
};

/* Slots [from, to), so many at a time; none of them meets the end of a panel on its way. */
static void add_slots(struct kernel *k, const struct grad *d, const struct addend *a, LLVMValueRef from,
	LLVMValueRef to, int nslot)
{
	LLVMValueRef out = memory_of(k, a->node), sum[MOST_SLOTS * MOST_VECTORS], at[MOST_SLOTS * MOST_VECTORS];
	LLVMValueRef x[MOST_VECTORS];
	int64_t features = d->h->features;
	struct loop s;
	loop_begin(k, &s, from, to, nslot);
	LLVMValueRef slot = plus(k, times(k, d->head, d->h->slots), s.i);
	LLVMValueRef panel = times(k, minus(k, panel_of(k, s.i), panel_of(k, d->lo)), TILE * PANEL);
	LLVMValueRef weights = plus(k, panel, LLVMBuildAnd(k->at, s.i, const_i64(k, PANEL - 1), ""));
	for (int i = 0; i < nslot * a->nvector; i++) {
		at[i] = plus(k, times(k, plus(k, slot, const_i64(k, i / a->nvector)), features),
			const_i64(k, a->first + i % a->nvector * a->width));
		sum[i] = load_f32(k, out, at[i], a->width);
	}
	for (int j = 0; j < TILE; j++) {
		for (int v = 0; v < a->nvector; v++)
			x[v] = load_f32(k, a->x, const_i64(k, j * features + a->first + v * a->width), a->width);
		for (int i = 0; i < nslot * a->nvector; i++) {
			LLVMValueRef w = plus(k, weights, const_i64(k, j * PANEL + i / a->nvector));
			w = splat(k, load_f32(k, a->weight, w, 1), a->width);
			sum[i] = fma_value(k, w, x[i % a->nvector], sum[i]);
		}
	}
	for (int i = 0; i < nslot * a->nvector; i++)
		store_f32(k, sum[i], out, at[i]);
	loop_end(k, &s);
}

static void add_tile(struct kernel *k, const struct grad *d, struct addend a)
{
	int sums = sums_per_row(k, 1), nslot = sums >= 16 ? MOST_SLOTS : sums >= 4 ? 2 : 1;
	int most = sums / nslot < MOST_VECTORS ? sums / nslot : MOST_VECTORS;
	LLVMValueRef begin = times(k, panel_of(k, d->lo), PANEL);
	LLVMValueRef whole = LLVMBuildAnd(k->at, d->end, const_i64(k, -nslot), "");
	for (a.width = k->target->lanes; a.width >= 1; a.width /= 2)
		while (d->h->features - a.first >= a.width) {
			int64_t n = (d->h->features - a.first) / a.width;
			a.nvector = n > most ? most : (int)n;
			add_slots(k, d, &a, begin, whole, nslot);
			if (nslot > 1)
				add_slots(k, d, &a, max_i64(k, begin, whole), d->end, 1);
			a.first += (int64_t)a.nvector * a.width;
		}
}

static void clear(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	store_f32(k, LLVMConstNull(vector_of(k->f32, width)), arg, i);
}

/* to = 0 + from. */
static void settle(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	const struct copy *c = arg;
	LLVMValueRef zero = LLVMConstNull(vector_of(k->f32, width));
	store_f32(k, LLVMBuildFAdd(k->at, load_f32(k, c->from, i, width), zero, ""), c->to, i);
}

static void emit_dq(struct kernel *k, const struct grad *d)
{
	struct values keys = {.h = d->h, .node = d->h->kk, .first = times(k, d->kv_head, d->h->slots),
		.slot_bytes = d->h->features * dtype_bytes(d->h->kv)};
	struct weights ds = {.n = TILE, .of = TILE, .p = d->ds, .lo = d->lo};
	struct loop j;
	each_float(k, TILE * d->h->features, clear, d->dq_sum);
	emit_weighted(k, &keys, &ds, d->dq_sum, d->lo, d->end);
	loop_begin(k, &j, const_i64(k, 0), min_i64(k, const_i64(k, TILE), minus(k, d->rows, d->first)), 1);
	struct copy c = {element_at(k, k->f32, d->dq_sum, times(k, j.i, d->h->features)),
		features_of(k, d, d->dq, j.i)};
	each_float(k, d->h->features, settle, &c);
	loop_end(k, &j);
}

static void emit_tile(struct kernel *k, struct grad *d)
{
	place_tile(k, d);
	struct scores s = {.n = TILE, .q = d->q, .panels = d->k_panels, .kv = DT_F32,
		.panel_bytes = d->h->features * PANEL * 4, .lo = d->lo, .end = d->end, .out = d->w,
		.from = d->from, .to = d->to, .sum = d->sum};
	emit_scores(k, d->h, &s);
	emit_softmax(k, &s);
	s.q = d->dout;
	s.panels = d->v_panels;
	s.out = d->ds;
	emit_scores(k, d->h, &s);
	emit_scale(k, d);
	emit_delta(k, d);
	emit_ds(k, d);
	if (d->dk >= 0)
		add_tile(k, d, (struct addend){.node = d->dk, .weight = d->ds, .x = d->q});
	if (d->dv >= 0)
		add_tile(k, d, (struct addend){.node = d->dv, .weight = d->w, .x = d->dout});
	if (d->dq >= 0)
		emit_dq(k, d);
}

/* What the query head has of dk or dv becomes 0, or 0 + what it is. */
static void each_slot(struct kernel *k, const struct grad *d, int node, bool zero)
{
	struct loop s;
	if (node < 0)
		return;
	loop_begin(k, &s, const_i64(k, 0), d->slots, 1);
	LLVMValueRef at = times(k, plus(k, times(k, d->head, d->h->slots), s.i), d->h->features);
	LLVMValueRef p = element_at(k, k->f32, memory_of(k, node), at);
	if (zero)
		each_float(k, d->h->features, clear, p);
	else
		each_float(k, d->h->features, settle, &(struct copy){p, p});
	loop_end(k, &s);
}

void emit_attention_grad(struct kernel *k, const struct heads *h)
{
	struct grad d = {.h = h, .dq = wanted(k, OP_ATTENTION_DQ), .dk = wanted(k, OP_ATTENTION_DK),
		.dv = wanted(k, OP_ATTENTION_DV)};
	int64_t padded = (h->slots + PANEL - 1) / PANEL * PANEL;
	struct loop item, tile;
	d.rows = k->dim[k->g->node[h->q].type.axis[0]];
	d.slots = k->dim[h->n->axis];
	d.k_panels = scratch_floats(k, padded * h->features);
	d.v_panels = scratch_floats(k, padded * h->features);
	d.q = scratch_floats(k, TILE * h->features);
	d.dout = scratch_floats(k, TILE * h->features);
	d.dq_sum = scratch_floats(k, TILE * h->features);
	d.w = scratch_floats(k, TILE * padded);
	d.ds = scratch_floats(k, TILE * padded);
	d.from = alloca_entry(k, LLVMArrayType(k->i64, TILE), "from");
	d.to = alloca_entry(k, LLVMArrayType(k->i64, TILE), "to");
	d.sum = alloca_entry(k, LLVMArrayType(k->f32, TILE), "l");
	d.scale = alloca_entry(k, LLVMArrayType(k->f32, TILE), "scale");
	d.delta = alloca_entry(k, LLVMArrayType(k->f32, TILE), "delta");
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	d.head = item.i;
	d.kv_head = LLVMBuildUDiv(k->at, item.i, const_i64(k, h->groups), "");
	make_panels(k, &d, h->kk, d.k_panels);
	make_panels(k, &d, h->v, d.v_panels);
	each_slot(k, &d, d.dk, true);
	each_slot(k, &d, d.dv, true);
	loop_begin(k, &tile, const_i64(k, 0), d.rows, TILE);
	d.first = tile.i;
	emit_tile(k, &d);
	loop_end(k, &tile);
	each_slot(k, &d, d.dk, false);
	each_slot(k, &d, d.dv, false);
	loop_end(k, &item);
}
