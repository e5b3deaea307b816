/*
 * Attention regions. An item is one row and one KV head; its G query heads read the same keys.
 *
 * Forward: scores of 16 slots at a time (k in panels), written to scratch; exp and the sum over them;
 * then the weighted sum of v, lanes along the head's features.
 */
#include <string.h>

#include "llvm_kernel.h"

struct heads {
	const struct node *n;
	int q, kk, v, lo, hi;        /* nodes */
	int nbatch, ngroup, nfeature;/* axes: B, G, C of ir.h */
	struct type batch, group;    /* their axes */
	int64_t features;            /* product of C */
	int64_t slots;               /* extent of A */
	int64_t q_row, q_batch, q_group; /* strides of q and the result, elements */
	enum dtype kv;
};

static int64_t extents(const struct graph *g, const struct type *t, int first, int last)
{
	int64_t n = 1;
	for (int i = first; i < last; i++)
		n *= g->axis[t->axis[i]].extent;
	return n;
}

static struct heads describe(const struct graph *g, const struct node *n)
{
	struct heads h = {.n = n, .q = n->src[0], .kk = n->src[1], .v = n->src[2], .lo = n->src[3],
		.hi = n->src[4]};
	const struct type *q = &g->node[h.q].type, *k = &g->node[h.kk].type;
	h.nbatch = type_axis_position(k, n->axis);
	h.nfeature = k->naxis - h.nbatch - 1;
	h.ngroup = q->naxis - 1 - h.nbatch - h.nfeature;
	for (int i = 0; i < h.nbatch; i++)
		h.batch.axis[h.batch.naxis++] = q->axis[1 + i];
	for (int i = 0; i < h.ngroup; i++)
		h.group.axis[h.group.naxis++] = q->axis[1 + h.nbatch + i];
	h.features = extents(g, q, q->naxis - h.nfeature, q->naxis);
	h.slots = g->axis[n->axis].extent;
	h.q_group = h.features;
	h.q_batch = h.q_group * extents(g, &h.group, 0, h.ngroup);
	h.q_row = h.q_batch * extents(g, &h.batch, 0, h.nbatch);
	h.kv = k->dtype;
	return h;
}

static const struct node *core(const struct kernel *k)
{
	return &k->g->node[k->region->node[0]];
}

LLVMValueRef attention_items(struct kernel *k)
{
	struct heads h = describe(k->g, core(k));
	LLVMValueRef rows = k->dim[k->g->node[h.q].type.axis[0]];
	return LLVMBuildMul(k->at, rows, const_i64(k, extents(k->g, &h.batch, 0, h.nbatch)), "");
}

static LLVMValueRef add(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(k->at, a, b, "");
}

static LLVMValueRef scale(struct kernel *k, LLVMValueRef i, int64_t by)
{
	return LLVMBuildMul(k->at, i, const_i64(k, by), "");
}

static LLVMValueRef load_index(struct kernel *k, int node, LLVMValueRef row)
{
	LLVMValueRef v = load_vector(k, k->i32, element_at(k, k->i32, memory_of(k, node), row), 1);
	return LLVMBuildSExt(k->at, v, k->i64, "");
}

struct row {
	LLVMValueRef q, out;      /* pointers to this head's features */
	LLVMValueRef k, v;        /* base of the KV head: element indices */
	LLVMValueRef lo, n;       /* first slot, number of slots */
	LLVMValueRef score;       /* float*: score of slot lo */
	LLVMValueRef panel_score; /* float*: score of the first slot of lo's panel */
};

/* s = q . k for whole panels of slots; lanes outside [lo, hi) are computed and never read. */
static void emit_scores(struct kernel *k, const struct heads *h, const struct row *r)
{
	int width = k->target->lanes < PANEL ? k->target->lanes : PANEL, nvector = PANEL / width;
	LLVMTypeRef vector = vector_of(k->f32, width);
	LLVMValueRef acc[PANEL];
	LLVMValueRef sixteen = const_i64(k, PANEL);
	LLVMValueRef first = LLVMBuildUDiv(k->at, r->lo, sixteen, "");
	LLVMValueRef last = LLVMBuildSub(k->at, add(k, r->lo, r->n), const_i64(k, 1), "");
	last = LLVMBuildUDiv(k->at, last, sixteen, "");
	bool pairs = h->kv == DT_BF16;
	int64_t steps = pairs ? (h->features + 1) / 2 : h->features;
	LLVMValueRef base = memory_of(k, h->kk);
	struct loop panel, c;
	for (int v = 0; v < nvector; v++)
		acc[v] = alloca_entry(k, vector, "s");
	loop_begin(k, &panel, first, add(k, last, const_i64(k, 1)), 1);
	for (int v = 0; v < nvector; v++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), acc[v]);
	loop_begin(k, &c, const_i64(k, 0), const_i64(k, steps), 1);
	LLVMValueRef at = add(k, r->k, add(k, scale(k, panel.i, steps), c.i));
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef lane = add(k, scale(k, at, PANEL), const_i64(k, v * width));
		LLVMValueRef sum = LLVMBuildLoad2(k->at, vector, acc[v], "");
		if (!pairs) {
			LLVMValueRef key = load_vector(k, k->f32, element_at(k, k->f32, base, lane), width);
			LLVMValueRef q = load_vector(k, k->f32, element_at(k, k->f32, r->q, c.i), 1);
			sum = fma_value(k, splat(k, q, width), key, sum);
		} else {
			LLVMValueRef key = load_vector(k, k->i32, element_at(k, k->i32, base, lane), width);
			LLVMValueRef half = splat(k, LLVMConstInt(k->i32, 16, false), width);
			LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 0xffff0000u, false), width);
			LLVMValueRef part[2] = {LLVMBuildShl(k->at, key, half, ""),
				LLVMBuildAnd(k->at, key, mask, "")};
			for (int i = 0; i < 2; i++) {
				LLVMValueRef q = load_vector(k, k->f32, element_at(k, k->f32, r->q,
					add(k, scale(k, c.i, 2), const_i64(k, i))), 1);
				sum = fma_value(k, splat(k, q, width),
					LLVMBuildBitCast(k->at, part[i], vector, ""), sum);
			}
		}
		LLVMBuildStore(k->at, sum, acc[v]);
	}
	loop_end(k, &c);
	LLVMValueRef to = scale(k, LLVMBuildSub(k->at, panel.i, first, ""), PANEL);
	for (int v = 0; v < nvector; v++)
		store_vector(k, LLVMBuildLoad2(k->at, vector, acc[v], ""), element_at(k, k->f32,
			r->panel_score, add(k, to, const_i64(k, v * width))), 4);
	loop_end(k, &panel);
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

static LLVMValueRef emit_max(struct kernel *k, LLVMValueRef score, LLVMValueRef n)
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

/* score[i] = exp(score[i] - m); returns their sum as OP_SUM defines it. */
static LLVMValueRef emit_exp_sum(struct kernel *k, LLVMValueRef score, LLVMValueRef n, LLVMValueRef m)
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

static LLVMValueRef minimum(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(k->at, LLVMBuildICmp(k->at, LLVMIntSLT, a, b, ""), a, b, "");
}

/* out = (sum over slots of p v) / l, for features [first, first + nvector * width). */
static void emit_weighted_sum(struct kernel *k, const struct heads *h, const struct row *r,
	LLVMValueRef l, int64_t first, int width, int nvector)
{
	LLVMTypeRef vector = vector_of(k->f32, width);
	LLVMValueRef acc[PANEL], total[PANEL], base = memory_of(k, h->v);
	struct loop chunk, s;
	for (int v = 0; v < nvector; v++) {
		acc[v] = alloca_entry(k, vector, "o");
		total[v] = alloca_entry(k, vector, "o");
		LLVMBuildStore(k->at, splat(k, LLVMConstReal(k->f32, -0.0), width), total[v]);
	}
	loop_begin(k, &chunk, const_i64(k, 0), r->n, PV_CHUNK);
	for (int v = 0; v < nvector; v++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), acc[v]);
	loop_begin(k, &s, chunk.i, minimum(k, add(k, chunk.i, const_i64(k, PV_CHUNK)), r->n), 1);
	LLVMValueRef p = splat(k, score_vector(k, r->score, s.i, 1), width);
	LLVMValueRef slot = scale(k, add(k, r->lo, s.i), h->features);
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef at = add(k, add(k, r->v, slot), const_i64(k, first + v * width));
		LLVMValueRef x = load_typed(k, h->kv, base, at, width);
		LLVMBuildStore(k->at, fma_value(k, p, x, LLVMBuildLoad2(k->at, vector, acc[v], "")), acc[v]);
	}
	loop_end(k, &s);
	for (int v = 0; v < nvector; v++)
		LLVMBuildStore(k->at, LLVMBuildFAdd(k->at, LLVMBuildLoad2(k->at, vector, total[v], ""),
			LLVMBuildLoad2(k->at, vector, acc[v], ""), ""), total[v]);
	loop_end(k, &chunk);
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef o = LLVMBuildFDiv(k->at, LLVMBuildLoad2(k->at, vector, total[v], ""),
			splat(k, l, width), "");
		store_vector(k, o, element_at(k, k->f32, r->out, const_i64(k, first + v * width)), 4);
	}
}

static void emit_forward(struct kernel *k, const struct heads *h)
{
	int64_t nbatch = extents(k->g, &h->batch, 0, h->nbatch);
	int64_t ngroup = extents(k->g, &h->group, 0, h->ngroup);
	int64_t steps = h->kv == DT_BF16 ? (h->features + 1) / 2 : h->features;
	int64_t npanels = (h->slots + PANEL - 1) / PANEL;
	struct row r = {0};
	struct loop item, group;
	LLVMValueRef q = memory_of(k, h->q), out = memory_of(k, k->region->node[0]);
	k->scratch_bytes = (npanels + 1) * PANEL * 4;
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	LLVMValueRef row = LLVMBuildUDiv(k->at, item.i, const_i64(k, nbatch), "");
	LLVMValueRef batch = LLVMBuildURem(k->at, item.i, const_i64(k, nbatch), "");
	r.lo = load_index(k, h->lo, row);
	r.n = LLVMBuildSub(k->at, load_index(k, h->hi, row), r.lo, "");
	r.k = scale(k, batch, npanels * steps);
	r.v = scale(k, batch, h->slots * h->features);
	r.panel_score = k->scratch;
	LLVMValueRef skip = LLVMBuildURem(k->at, r.lo, const_i64(k, PANEL), "");
	r.score = element_at(k, k->f32, k->scratch, skip);
	loop_begin(k, &group, const_i64(k, 0), const_i64(k, ngroup), 1);
	LLVMValueRef at = add(k, scale(k, row, h->q_row),
		add(k, scale(k, batch, h->q_batch), scale(k, group.i, h->q_group)));
	r.q = element_at(k, k->f32, q, at);
	r.out = element_at(k, k->f32, out, at);
	emit_scores(k, h, &r);
	LLVMValueRef l = emit_exp_sum(k, r.score, r.n, emit_max(k, r.score, r.n));
	/* Up to 8 vectors of features at a time, then narrower ones for what is left. */
	int64_t first = 0;
	for (int width = k->target->lanes; width >= 1; width /= 2)
		while (h->features - first >= width) {
			int64_t n = (h->features - first) / width;
			int nvector = n > 8 ? 8 : (int)n;
			emit_weighted_sum(k, h, &r, l, first, width, nvector);
			first += (int64_t)nvector * width;
		}
	loop_end(k, &group);
	loop_end(k, &item);
}

void emit_attention_region(struct kernel *k)
{
	struct heads h = describe(k->g, core(k));
	if (core(k)->op != OP_ATTENTION)
		BUG("attention gradients are not emitted yet");
	emit_forward(k, &h);
}
