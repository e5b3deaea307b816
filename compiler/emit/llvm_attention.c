/*
 * Attention regions. An item is one row and one KV head; its G query heads read the same keys.
 *
 * Forward: scores of 16 slots at a time (k in panels), written to scratch; exp and the sum over them;
 * then the weighted sum of v, lanes along the head's features.
 */
#include <string.h>

#include "llvm_attention.h"

static int64_t extents(const struct graph *g, const struct type *t, int first, int last)
{
	int64_t n = 1;
	for (int i = first; i < last; i++)
		n *= g->axis[t->axis[i]].extent;
	return n;
}

struct heads attention_heads(const struct graph *g, const struct node *n)
{
	struct heads h = {.n = n, .q = n->src[0], .kk = n->src[1], .v = n->src[2], .lo = n->src[3],
		.hi = n->src[4]};
	const struct type *q = &g->node[h.q].type, *k = &g->node[h.kk].type;
	h.nbatch = type_axis_position(k, n->axis);
	h.nfeature = k->naxis - h.nbatch - 1;
	h.ngroup = q->naxis - 1 - h.nbatch - h.nfeature;
	h.batches = extents(g, q, 1, 1 + h.nbatch);
	h.groups = extents(g, q, 1 + h.nbatch, 1 + h.nbatch + h.ngroup);
	h.features = extents(g, q, q->naxis - h.nfeature, q->naxis);
	h.slots = g->axis[n->axis].extent;
	h.q_group = h.features;
	h.q_batch = h.q_group * h.groups;
	h.q_row = h.q_batch * h.batches;
	h.kv = k->dtype;
	return h;
}

static const struct node *core(const struct kernel *k)
{
	return &k->g->node[k->region->node[0]];
}

LLVMValueRef attention_items(struct kernel *k)
{
	struct heads h = attention_heads(k->g, core(k));
	if (core(k)->op != OP_ATTENTION)
		return const_i64(k, h.batches);
	return times(k, k->dim[k->g->node[h.q].type.axis[0]], h.batches);
}

LLVMValueRef load_index(struct kernel *k, int node, LLVMValueRef row)
{
	LLVMValueRef v = load_vector(k, k->i32, element_at(k, k->i32, memory_of(k, node), row), 1);
	return LLVMBuildSExt(k->at, v, k->i64, "");
}

struct row {
	LLVMValueRef out;   /* float*: this head's features of the result */
	LLVMValueRef v;     /* element index of the KV head in v */
	LLVMValueRef lo, n; /* first slot, number of slots */
	LLVMValueRef score; /* float*: score of slot lo */
};

/* Features 2i and 2i + 1 of bf16 panels (or 2i alone), or feature i of f32 panels; `at` counts groups of
 * 16 lanes. */
static void score_step(struct kernel *k, const struct scores *r, LLVMValueRef *acc, LLVMValueRef at,
	LLVMValueRef i, int nfeature)
{
	int width = k->target->lanes < PANEL ? k->target->lanes : PANEL, nvector = PANEL / width;
	LLVMTypeRef vector = vector_of(k->f32, width), element = r->pairs ? k->i32 : k->f32;
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef lane = plus(k, times(k, at, PANEL), const_i64(k, v * width));
		LLVMValueRef sum = LLVMBuildLoad2(k->at, vector, acc[v], "");
		LLVMValueRef key = load_vector(k, element, element_at(k, element, r->panels, lane), width);
		LLVMValueRef part[2] = {key, key};
		if (r->pairs) {
			LLVMValueRef half = splat(k, LLVMConstInt(k->i32, 16, false), width);
			LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 0xffff0000u, false), width);
			part[0] = LLVMBuildShl(k->at, key, half, "");
			part[1] = LLVMBuildAnd(k->at, key, mask, "");
		}
		for (int j = 0; j < nfeature; j++) {
			LLVMValueRef c = plus(k, times(k, i, r->pairs ? 2 : 1), const_i64(k, j));
			LLVMValueRef q = load_vector(k, k->f32, element_at(k, k->f32, r->q, c), 1);
			sum = fma_value(k, splat(k, q, width),
				LLVMBuildBitCast(k->at, part[j], vector, ""), sum);
		}
		LLVMBuildStore(k->at, sum, acc[v]);
	}
}

void emit_scores(struct kernel *k, const struct heads *h, const struct scores *r)
{
	int width = k->target->lanes < PANEL ? k->target->lanes : PANEL, nvector = PANEL / width;
	LLVMTypeRef vector = vector_of(k->f32, width);
	LLVMValueRef acc[PANEL];
	LLVMValueRef sixteen = const_i64(k, PANEL);
	LLVMValueRef first = LLVMBuildUDiv(k->at, r->lo, sixteen, "");
	LLVMValueRef last = LLVMBuildSub(k->at, plus(k, r->lo, r->n), const_i64(k, 1), "");
	last = LLVMBuildUDiv(k->at, last, sixteen, "");
	int64_t steps = r->pairs ? (h->features + 1) / 2 : h->features;
	struct loop panel, c;
	for (int v = 0; v < nvector; v++)
		acc[v] = alloca_entry(k, vector, "s");
	loop_begin(k, &panel, first, plus(k, last, const_i64(k, 1)), 1);
	for (int v = 0; v < nvector; v++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), acc[v]);
	/* An odd last feature has no partner. */
	int64_t whole = r->pairs ? h->features / 2 : steps;
	loop_begin(k, &c, const_i64(k, 0), const_i64(k, whole), 1);
	score_step(k, r, acc, plus(k, times(k, panel.i, steps), c.i), c.i, r->pairs ? 2 : 1);
	loop_end(k, &c);
	if (whole < steps)
		score_step(k, r, acc, plus(k, times(k, panel.i, steps), const_i64(k, whole)),
			const_i64(k, whole), 1);
	LLVMValueRef to = times(k, LLVMBuildSub(k->at, panel.i, first, ""), PANEL);
	for (int v = 0; v < nvector; v++)
		store_vector(k, LLVMBuildLoad2(k->at, vector, acc[v], ""), element_at(k, k->f32,
			r->out, plus(k, to, const_i64(k, v * width))), 4);
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
	loop_begin(k, &s, chunk.i, minimum(k, plus(k, chunk.i, const_i64(k, PV_CHUNK)), r->n), 1);
	LLVMValueRef p = splat(k, score_vector(k, r->score, s.i, 1), width);
	LLVMValueRef slot = times(k, plus(k, r->lo, s.i), h->features);
	for (int v = 0; v < nvector; v++) {
		LLVMValueRef at = plus(k, plus(k, r->v, slot), const_i64(k, first + v * width));
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
	int64_t steps = h->kv == DT_BF16 ? (h->features + 1) / 2 : h->features;
	int64_t npanels = (h->slots + PANEL - 1) / PANEL;
	struct row r = {0};
	struct scores s = {.out = k->scratch, .pairs = h->kv == DT_BF16};
	struct loop item, group;
	LLVMValueRef q = memory_of(k, h->q), out = memory_of(k, k->region->node[0]);
	k->scratch_bytes = (npanels + 1) * PANEL * 4;
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	LLVMValueRef row = LLVMBuildUDiv(k->at, item.i, const_i64(k, h->batches), "");
	LLVMValueRef batch = LLVMBuildURem(k->at, item.i, const_i64(k, h->batches), "");
	r.lo = load_index(k, h->lo, row);
	r.n = LLVMBuildSub(k->at, load_index(k, h->hi, row), r.lo, "");
	s.lo = r.lo;
	s.n = r.n;
	s.panels = element_at(k, s.pairs ? k->i32 : k->f32, memory_of(k, h->kk),
		times(k, batch, npanels * steps * PANEL));
	r.v = times(k, batch, h->slots * h->features);
	LLVMValueRef skip = LLVMBuildURem(k->at, r.lo, const_i64(k, PANEL), "");
	r.score = element_at(k, k->f32, k->scratch, skip);
	loop_begin(k, &group, const_i64(k, 0), const_i64(k, h->groups), 1);
	LLVMValueRef at = plus(k, times(k, row, h->q_row),
		plus(k, times(k, batch, h->q_batch), times(k, group.i, h->q_group)));
	s.q = element_at(k, k->f32, q, at);
	r.out = element_at(k, k->f32, out, at);
	emit_scores(k, h, &s);
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
	struct heads h = attention_heads(k->g, core(k));
	if (core(k)->op == OP_ATTENTION)
		emit_forward(k, &h);
	else
		emit_attention_grad(k, &h);
}
