/*
 * The gradients of attention with respect to q, k and v, whichever of them the region has. An item is
 * one KV head: its rows run in order, so that dk and dv are sums over rows in order (ir.h). Keys and
 * values are first put into panels of slots in scratch, for scores with a slot per lane.
 *
 * Scratch: panels of k, panels of v, then two rows of numbers per slot: w (which is first s, then p)
 * and ds (which is first dp).
 */
#include "llvm_attention.h"

struct grad {
	const struct heads *h;
	LLVMValueRef k_panels, v_panels, w, ds; /* float*, w and ds begin at lo's panel */
	LLVMValueRef head;                      /* element index of the head in k, v, dk, dv */
	LLVMValueRef lo, n;
	LLVMValueRef w_row, ds_row;             /* float*: of slot lo */
	LLVMValueRef q, o, dout, dq;            /* float*: this row's features; dq NULL: not wanted */
	LLVMValueRef dk, dv;                    /* bases, NULL: not wanted */
};

static int wanted(const struct kernel *k, enum op op)
{
	for (int i = 0; i < k->region->nnode; i++)
		if (k->g->node[k->region->node[i]].op == op)
			return k->region->node[i];
	return -1;
}

/* Panels of one head of node: lanes are slots. */
static void make_panels(struct kernel *k, const struct grad *d, int node, LLVMValueRef panels)
{
	struct loop slot, c;
	int64_t features = d->h->features;
	LLVMValueRef base = memory_of(k, node), sixteen = const_i64(k, PANEL);
	loop_begin(k, &slot, const_i64(k, 0), k->dim[d->h->n->axis], 1);
	LLVMValueRef panel = LLVMBuildUDiv(k->at, slot.i, sixteen, "");
	LLVMValueRef lane = LLVMBuildURem(k->at, slot.i, sixteen, "");
	loop_begin(k, &c, const_i64(k, 0), const_i64(k, features), 1);
	LLVMValueRef from = plus(k, d->head, plus(k, times(k, slot.i, features), c.i));
	LLVMValueRef to = times(k, plus(k, times(k, panel, features), c.i), PANEL);
	store_f32(k, load_typed(k, d->h->kv, base, from, 1), panels, plus(k, to, lane));
	loop_end(k, &c);
	loop_end(k, &slot);
}

static void clear_head(struct kernel *k, const struct grad *d, LLVMValueRef base)
{
	struct loop l;
	LLVMValueRef n = times(k, k->dim[d->h->n->axis], d->h->features);
	loop_begin(k, &l, const_i64(k, 0), n, 1);
	store_f32(k, LLVMConstReal(k->f32, 0), base, plus(k, d->head, l.i));
	loop_end(k, &l);
}

/* delta = sum over c of do_c o_c, a chain from 0. */
static LLVMValueRef emit_delta(struct kernel *k, const struct grad *d)
{
	struct loop c;
	LLVMValueRef sum = alloca_entry(k, k->f32, "delta");
	LLVMBuildStore(k->at, LLVMConstReal(k->f32, 0), sum);
	loop_begin(k, &c, const_i64(k, 0), const_i64(k, d->h->features), 1);
	LLVMValueRef next = fma_value(k, load_f32(k, d->dout, c.i, 1), load_f32(k, d->o, c.i, 1),
		LLVMBuildLoad2(k->at, k->f32, sum, ""));
	LLVMBuildStore(k->at, next, sum);
	loop_end(k, &c);
	return LLVMBuildLoad2(k->at, k->f32, sum, "");
}

/* w = p / l; ds = w (dp - delta). */
static void emit_ds(struct kernel *k, const struct grad *d, LLVMValueRef l, LLVMValueRef delta)
{
	int width = k->target->lanes;
	LLVMValueRef whole = LLVMBuildAnd(k->at, d->n, const_i64(k, -(int64_t)width), "");
	for (int w = width; w >= 1; w = w > 1 ? 1 : 0) {
		struct loop s;
		loop_begin(k, &s, w > 1 ? const_i64(k, 0) : whole, w > 1 ? whole : d->n, w);
		LLVMValueRef p = load_f32(k, d->w_row, s.i, w), dp = load_f32(k, d->ds_row, s.i, w);
		LLVMValueRef weight = LLVMBuildFDiv(k->at, p, splat(k, l, w), "");
		store_f32(k, weight, d->w_row, s.i);
		dp = LLVMBuildFSub(k->at, dp, splat(k, delta, w), "");
		store_f32(k, LLVMBuildFMul(k->at, weight, dp, ""), d->ds_row, s.i);
		loop_end(k, &s);
	}
}

/* Features [first, first + nvector * width): dq is a chain over the slots, dk and dv take one step. */
static void emit_features(struct kernel *k, const struct grad *d, int64_t first, int width, int nvector)
{
	LLVMTypeRef vector = vector_of(k->f32, width);
	LLVMValueRef acc[PANEL], q[PANEL], dout[PANEL], keys = memory_of(k, d->h->kk);
	struct loop s;
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef c = const_i64(k, first + v * width);
		acc[v] = alloca_entry(k, vector, "dq");
		LLVMBuildStore(k->at, LLVMConstNull(vector), acc[v]);
		q[v] = load_f32(k, d->q, c, width);
		dout[v] = load_f32(k, d->dout, c, width);
	}
	loop_begin(k, &s, const_i64(k, 0), d->n, 1);
	LLVMValueRef slot = plus(k, d->head, times(k, plus(k, d->lo, s.i), d->h->features));
	LLVMValueRef ds = splat(k, load_f32(k, d->ds_row, s.i, 1), width);
	LLVMValueRef w = splat(k, load_f32(k, d->w_row, s.i, 1), width);
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef at = plus(k, slot, const_i64(k, first + v * width));
		if (d->dq) {
			LLVMValueRef key = load_typed(k, d->h->kv, keys, at, width);
			LLVMBuildStore(k->at, fma_value(k, ds, key,
				LLVMBuildLoad2(k->at, vector, acc[v], "")), acc[v]);
		}
		if (d->dk)
			store_f32(k, fma_value(k, ds, q[v], load_f32(k, d->dk, at, width)), d->dk, at);
		if (d->dv)
			store_f32(k, fma_value(k, w, dout[v], load_f32(k, d->dv, at, width)), d->dv, at);
	}
	loop_end(k, &s);
	for (int v = 0; v < nvector && d->dq; v++)
		store_f32(k, LLVMBuildLoad2(k->at, vector, acc[v], ""), d->dq,
			const_i64(k, first + v * width));
}

static void emit_head_row(struct kernel *k, struct grad *d)
{
	struct scores s = {.n = 1, .q = d->q, .panels = d->k_panels, .kv = DT_F32,
		.panel_bytes = d->h->features * PANEL * 4, .lo = d->lo,
		.end = plus(k, d->lo, d->n), .out = d->w, .from = alloca_entry(k, k->i64, "from"),
		.to = alloca_entry(k, k->i64, "to"), .sum = alloca_entry(k, k->f32, "l")};
	LLVMBuildStore(k->at, s.lo, s.from);
	LLVMBuildStore(k->at, s.end, s.to);
	emit_scores(k, d->h, &s);
	emit_softmax(k, &s);
	s.q = d->dout;
	s.panels = d->v_panels;
	s.out = d->ds;
	emit_scores(k, d->h, &s);
	emit_ds(k, d, LLVMBuildLoad2(k->at, k->f32, s.sum, ""), emit_delta(k, d));
	int64_t first = 0;
	for (int width = k->target->lanes; width >= 1; width /= 2)
		while (d->h->features - first >= width) {
			int64_t n = (d->h->features - first) / width;
			int nvector = n > 8 ? 8 : (int)n;
			emit_features(k, d, first, width, nvector);
			first += (int64_t)nvector * width;
		}
}

void emit_attention_grad(struct kernel *k, const struct heads *h)
{
	struct grad d = {.h = h};
	struct loop item, row, group;
	int dq = wanted(k, OP_ATTENTION_DQ), dk = wanted(k, OP_ATTENTION_DK);
	int dv = wanted(k, OP_ATTENTION_DV);
	int64_t padded = (h->slots + PANEL - 1) / PANEL * PANEL, line = padded + PANEL;
	k->scratch_bytes = (2 * padded * h->features + 2 * line) * 4;
	d.k_panels = k->scratch;
	d.v_panels = element_at(k, k->f32, k->scratch, const_i64(k, padded * h->features));
	d.w = element_at(k, k->f32, k->scratch, const_i64(k, 2 * padded * h->features));
	d.ds = element_at(k, k->f32, d.w, const_i64(k, line));
	d.dk = dk >= 0 ? memory_of(k, dk) : NULL;
	d.dv = dv >= 0 ? memory_of(k, dv) : NULL;
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	d.head = times(k, item.i, h->slots * h->features);
	make_panels(k, &d, h->kk, d.k_panels);
	make_panels(k, &d, h->v, d.v_panels);
	if (d.dk)
		clear_head(k, &d, d.dk);
	if (d.dv)
		clear_head(k, &d, d.dv);
	loop_begin(k, &row, const_i64(k, 0), k->dim[k->g->node[h->q].type.axis[0]], 1);
	d.lo = load_index(k, h->lo, row.i);
	d.n = LLVMBuildSub(k->at, load_index(k, h->hi, row.i), d.lo, "");
	LLVMValueRef skip = LLVMBuildURem(k->at, d.lo, const_i64(k, PANEL), "");
	d.w_row = element_at(k, k->f32, d.w, skip);
	d.ds_row = element_at(k, k->f32, d.ds, skip);
	loop_begin(k, &group, const_i64(k, 0), const_i64(k, h->groups), 1);
	LLVMValueRef at = plus(k, times(k, row.i, h->q_row),
		plus(k, times(k, item.i, h->q_batch), times(k, group.i, h->q_group)));
	d.q = element_at(k, k->f32, memory_of(k, h->q), at);
	d.o = element_at(k, k->f32, memory_of(k, h->n->src[5]), at);
	d.dout = element_at(k, k->f32, memory_of(k, h->n->src[6]), at);
	d.dq = dq >= 0 ? element_at(k, k->f32, memory_of(k, dq), at) : NULL;
	emit_head_row(k, &d);
	loop_end(k, &group);
	loop_end(k, &row);
	loop_end(k, &item);
}
