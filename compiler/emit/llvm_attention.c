/*
 * Attention regions. Forward: an item is a block of rows and one KV head. Its queries, the block's rows times
 * the query heads of the KV head, go in tiles that share a reading of keys and values: scores of all slots
 * to scratch (keys in panels of 16 slots), their softmax, then the weighted sum of v, lanes along the
 * head's features.
 *
 * Scratch of a tile, whatever the number of rows: the scores (llvm_attention.h), its queries side by side,
 * sums of a chunk of slots, sums of all chunks.
 */
#include "llvm_attention.h"

enum { BLOCK_ROWS = 8 };

static const struct node *core(const struct kernel *k)
{
	return &k->g->node[k->region->node[0]];
}

LLVMValueRef attention_items(struct kernel *k)
{
	struct heads h = attention_heads(k->g, core(k));
	if (core(k)->op != OP_ATTENTION)
		return const_i64(k, h.batches * h.groups);
	LLVMValueRef rows = plus(k, k->dim[k->g->node[h.q].type.axis[0]], const_i64(k, BLOCK_ROWS - 1));
	return times(k, LLVMBuildUDiv(k->at, rows, const_i64(k, BLOCK_ROWS), ""), h.batches);
}

LLVMValueRef load_index(struct kernel *k, int node, LLVMValueRef row)
{
	LLVMValueRef v = load_vector(k, k->i32, element_at(k, k->i32, memory_of(k, node), row), 1);
	return LLVMBuildSExt(k->at, v, k->i64, "");
}

/* Neighbouring queries of one KV head. */
struct tile {
	const struct heads *h;
	struct scores s;
	struct values v;
	bool one_row;             /* all of one row: they have the same slots */
	LLVMValueRef out;         /* float*[n]: features */
	LLVMValueRef acc, total;  /* float[n][features] */
	LLVMValueRef longest;     /* the most slots that a query has */
	LLVMValueRef shared;      /* all have the slots from lo until here; lo: they do not begin together */
};

static LLVMValueRef load_i64(struct kernel *k, LLVMValueRef p, LLVMValueRef i)
{
	return LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, p, i), "");
}

/* ---- the weighted sum ---- */

/* A query's slots of a chunk that not all have. */
static void add_rest(struct kernel *k, const struct tile *t, LLVMValueRef chunk)
{
	struct loop j;
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, t->s.n), 1);
	LLVMValueRef from = plus(k, load_i64(k, t->s.from, j.i), chunk), to = load_i64(k, t->s.to, j.i);
	struct weights w = {.n = 1, .of = t->s.n, .lo = t->s.lo,
		.p = element_at(k, k->f32, t->s.out, times(k, j.i, PANEL))};
	to = min_i64(k, to, plus(k, from, const_i64(k, PV_CHUNK)));
	emit_weighted(k, &t->v, &w, element_at(k, k->f32, t->acc, times(k, j.i, t->h->features)),
		max_i64(k, from, t->shared), to);
	loop_end(k, &j);
}

static void clear_acc(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	const struct tile *t = arg;
	store_f32(k, LLVMConstNull(vector_of(k->f32, width)), t->acc, i);
}

static void clear_total(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	const struct tile *t = arg;
	store_f32(k, splat(k, LLVMConstReal(k->f32, -0.0), width), t->total, i);
}

/* One query's sums. */
struct query {
	const struct tile *t;
	LLVMValueRef first; /* index of its sums */
	LLVMValueRef has;   /* i1: slots in this chunk */
	LLVMValueRef sum, out;
};

static void add_chunk(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	const struct query *q = arg;
	LLVMValueRef at = plus(k, q->first, i), old = load_f32(k, q->t->total, at, width);
	LLVMValueRef sum = LLVMBuildFAdd(k->at, old, load_f32(k, q->t->acc, at, width), "");
	store_f32(k, LLVMBuildSelect(k->at, q->has, sum, old, ""), q->t->total, at);
}

static void divide(struct kernel *k, LLVMValueRef i, int width, void *arg)
{
	const struct query *q = arg;
	LLVMValueRef total = load_f32(k, q->t->total, plus(k, q->first, i), width);
	store_f32(k, LLVMBuildFDiv(k->at, total, splat(k, q->sum, width), ""), q->out, i);
}

/* out = (sum over slots of p v) / sum. */
static void emit_weighted_sum(struct kernel *k, struct tile *t)
{
	struct weights all = {.n = t->s.n, .of = t->s.n, .p = t->s.out, .lo = t->s.lo};
	int64_t features = t->h->features;
	struct query q = {.t = t};
	struct loop chunk, slots, j;
	each_float(k, t->s.n * features, clear_total, t);
	loop_begin(k, &chunk, const_i64(k, 0), t->longest, PV_CHUNK);
	each_float(k, t->s.n * features, clear_acc, t);
	LLVMValueRef from = plus(k, t->s.lo, chunk.i);
	LLVMValueRef end = min_i64(k, plus(k, from, const_i64(k, PV_CHUNK)), t->shared);
	loop_begin(k, &slots, from, end, SLOTS_NEAR);
	emit_weighted(k, &t->v, &all, t->acc, slots.i, min_i64(k, plus(k, slots.i, const_i64(k, SLOTS_NEAR)), end));
	loop_end(k, &slots);
	if (!t->one_row)
		add_rest(k, t, chunk.i);
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, t->s.n), 1);
	q.first = times(k, j.i, features);
	q.has = LLVMBuildICmp(k->at, LLVMIntSLT, plus(k, load_i64(k, t->s.from, j.i), chunk.i),
		load_i64(k, t->s.to, j.i), "");
	each_float(k, features, add_chunk, &q);
	loop_end(k, &j);
	loop_end(k, &chunk);
	loop_begin(k, &j, const_i64(k, 0), const_i64(k, t->s.n), 1);
	q.first = times(k, j.i, features);
	q.sum = load_f32(k, t->s.sum, j.i, 1);
	q.out = LLVMBuildLoad2(k->at, k->ptr, element_at(k, k->ptr, t->out, j.i), "");
	each_float(k, features, divide, &q);
	loop_end(k, &j);
}

/* ---- tiles ---- */

struct block {
	const struct heads *h;
	LLVMValueRef row, batch; /* its first row; the KV head */
	struct tile tile;        /* what all of them have in common */
};

static LLVMValueRef local_i64(struct kernel *k, LLVMValueRef value)
{
	LLVMValueRef p = alloca_entry(k, k->i64, "n");
	LLVMBuildStore(k->at, value, p);
	return p;
}

static LLVMValueRef take(struct kernel *k, LLVMValueRef p, LLVMValueRef value,
	LLVMValueRef (*choose)(struct kernel *, LLVMValueRef, LLVMValueRef))
{
	value = choose(k, LLVMBuildLoad2(k->at, k->i64, p, ""), value);
	LLVMBuildStore(k->at, value, p);
	return value;
}

/* Queries [first, first + t->s.n) of a block: query i is row i / groups, head i % groups. */
static void place_queries(struct kernel *k, const struct block *b, LLVMValueRef first, struct tile *t)
{
	const struct heads *h = b->h;
	LLVMValueRef groups = const_i64(k, h->groups), zero = const_i64(k, 0), most = const_i64(k, INT64_MAX);
	LLVMValueRef lo_least = local_i64(k, most), lo_most = local_i64(k, zero), hi_least = local_i64(k, most);
	LLVMValueRef hi_most = local_i64(k, zero), longest = local_i64(k, zero);
	struct loop j;
	loop_begin(k, &j, zero, const_i64(k, t->s.n), 1);
	LLVMValueRef i = plus(k, first, j.i), row = plus(k, b->row, LLVMBuildUDiv(k->at, i, groups, ""));
	LLVMValueRef at = plus(k, plus(k, times(k, row, h->q_row), times(k, b->batch, h->q_batch)),
		times(k, LLVMBuildURem(k->at, i, groups, ""), h->q_group));
	LLVMValueRef lo = load_index(k, h->lo, row), hi = load_index(k, h->hi, row);
	LLVMBuildStore(k->at, lo, element_at(k, k->i64, t->s.from, j.i));
	LLVMBuildStore(k->at, hi, element_at(k, k->i64, t->s.to, j.i));
	LLVMBuildStore(k->at, element_at(k, k->f32, memory_of(k, k->region->node[0]), at),
		element_at(k, k->ptr, t->out, j.i));
	struct copy c = {element_at(k, k->f32, memory_of(k, h->q), at),
		element_at(k, k->f32, t->s.q, times(k, j.i, h->features))};
	each_float(k, h->features, copy_floats, &c);
	take(k, lo_least, lo, min_i64);
	take(k, lo_most, lo, max_i64);
	take(k, hi_least, hi, min_i64);
	take(k, hi_most, hi, max_i64);
	take(k, longest, minus(k, hi, lo), max_i64);
	loop_end(k, &j);
	t->s.lo = LLVMBuildLoad2(k->at, k->i64, lo_least, "");
	t->s.end = LLVMBuildLoad2(k->at, k->i64, hi_most, "");
	t->longest = LLVMBuildLoad2(k->at, k->i64, longest, "");
	LLVMValueRef same = LLVMBuildICmp(k->at, LLVMIntEQ, t->s.lo, LLVMBuildLoad2(k->at, k->i64, lo_most, ""), "");
	t->shared = LLVMBuildSelect(k->at, same, LLVMBuildLoad2(k->at, k->i64, hi_least, ""), t->s.lo, "");
}

static void emit_tile(struct kernel *k, const struct block *b, LLVMValueRef first, int n)
{
	struct tile t = b->tile;
	t.s.n = n;
	t.one_row = b->h->groups % n == 0;
	place_queries(k, b, first, &t);
	t.s.next = element_at(k, LLVMInt8TypeInContext(k->context), memory_of(k, b->h->v),
		times(k, plus(k, t.v.first, t.s.lo), t.v.slot_bytes));
	emit_scores(k, b->h, &t.s);
	emit_softmax(k, &t.s);
	emit_weighted_sum(k, &t);
}

/* Queries [from, to) of a block in tiles of n; returns where they end. */
static LLVMValueRef emit_tiles(struct kernel *k, const struct block *b, LLVMValueRef from, LLVMValueRef to, int n)
{
	struct loop tile;
	LLVMValueRef count = minus(k, to, from);
	LLVMValueRef end = minus(k, to, LLVMBuildURem(k->at, count, const_i64(k, n), ""));
	loop_begin(k, &tile, from, end, n);
	emit_tile(k, b, tile.i, n);
	loop_end(k, &tile);
	return end;
}

/* As many queries share a reading as registers hold sums of a panel. */
static int most_queries(const struct kernel *k)
{
	int nvector = PANEL / (k->target->lanes < PANEL ? k->target->lanes : PANEL);
	int n = sums_per_row(k, nvector);
	return n >= QUERIES ? QUERIES : QUERIES / 2;
}

static void emit_forward(struct kernel *k, const struct heads *h)
{
	const struct node *keys = &k->g->node[h->kk], *values = &k->g->node[h->v];
	struct block b = {.h = h, .tile = {.h = h, .s.kv = h->kv, .v = {.h = h, .node = h->v}}};
	struct tile *t = &b.tile;
	int64_t npanels = (h->slots + PANEL - 1) / PANEL;
	LLVMValueRef rows = k->dim[k->g->node[h->q].type.axis[0]];
	int most = most_queries(k);
	const int sizes[] = {most, QUERIES / 2, (int)(h->groups % (QUERIES / 2)), 1};
	struct loop item;
	t->s.panel_bytes = tensor_bytes(k->g, keys) / (h->batches * npanels);
	t->v.slot_bytes = h->kv == DT_C8 ? block_shape(k->g, &values->type, values->layout).bytes / PANEL
				       : h->features * dtype_bytes(h->kv);
	t->s.out = scratch_floats(k, most * npanels * PANEL);
	t->s.q = scratch_floats(k, most * h->features);
	t->acc = scratch_floats(k, most * h->features);
	t->total = scratch_floats(k, most * h->features);
	t->s.from = alloca_entry(k, LLVMArrayType(k->i64, QUERIES), "from");
	t->s.to = alloca_entry(k, LLVMArrayType(k->i64, QUERIES), "to");
	t->s.sum = alloca_entry(k, LLVMArrayType(k->f32, QUERIES), "sum");
	t->out = alloca_entry(k, LLVMArrayType(k->ptr, QUERIES), "out");
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	b.row = times(k, LLVMBuildUDiv(k->at, item.i, const_i64(k, h->batches), ""), BLOCK_ROWS);
	b.batch = LLVMBuildURem(k->at, item.i, const_i64(k, h->batches), "");
	t->v.first = times(k, b.batch, h->slots);
	t->s.panels = element_at(k, LLVMInt8TypeInContext(k->context), memory_of(k, h->kk),
		times(k, b.batch, npanels * t->s.panel_bytes));
	LLVMValueRef left = min_i64(k, minus(k, rows, b.row), const_i64(k, BLOCK_ROWS));
	LLVMValueRef end = times(k, left, h->groups), from = const_i64(k, 0);
	for (size_t i = 0; i < NELEM(sizes); i++) {
		int n = sizes[i];
		if (n < 1 || (i && n >= sizes[i - 1]))
			continue;
		from = emit_tiles(k, &b, from, end, n);
		if (h->groups % n == 0 && most % n == 0)
			break; /* nothing is left */
	}
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
