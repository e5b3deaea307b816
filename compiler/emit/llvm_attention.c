/*
 * Attention regions. Forward: an item is a block of rows and one KV head. Its queries, the block's rows times
 * the query heads of the KV head, go in tiles that share a reading of keys and values: scores of all slots
 * to scratch (keys in panels of 16 slots), their softmax, then the weighted sum of v, lanes along the
 * head's features. Scratch is a line of slots per query of a tile, whatever the number of rows.
 */
#include <string.h>

#include "llvm_attention.h"

enum { BLOCK_ROWS = 4 };

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
	int n;
	LLVMValueRef lo[QUERIES], len[QUERIES]; /* first slot, number of slots */
	LLVMValueRef score[QUERIES]; /* float*: score of slot lo, then exp of it */
	LLVMValueRef sum[QUERIES];   /* of the exps */
	LLVMValueRef out[QUERIES];   /* float*: features */
	LLVMValueRef v;              /* element index of the KV head in v */
	LLVMValueRef common;         /* slots, from lo on, that all queries have; 0 if their lo differ */
};

/* Vectors of features of all queries of a tile. */
struct sums {
	int64_t first;
	int width, nvector;
	LLVMValueRef acc[QUERIES * PANEL], total[QUERIES * PANEL];
};

/* acc += p v of slot s behind lo, for queries [from, to), which have one lo. */
static void add_slot(struct kernel *k, const struct tile *t, struct sums *u, int from, int to, LLVMValueRef s)
{
	LLVMTypeRef vector = vector_of(k->f32, u->width);
	LLVMValueRef slot = times(k, plus(k, t->lo[from], s), t->h->features), p[QUERIES];
	for (int j = from; j < to; j++)
		p[j] = splat(k, load_vector(k, k->f32, element_at(k, k->f32, t->score[j], s), 1), u->width);
	for (int v = 0; v < u->nvector; v++) {
		LLVMValueRef at = plus(k, plus(k, t->v, slot), const_i64(k, u->first + v * u->width));
		LLVMValueRef x = load_typed(k, t->h->kv, memory_of(k, t->h->v), at, u->width);
		for (int j = from; j < to; j++) {
			LLVMValueRef acc = u->acc[j * u->nvector + v];
			LLVMBuildStore(k->at, fma_value(k, p[j], x, LLVMBuildLoad2(k->at, vector, acc, "")),
				acc);
		}
	}
}

/* Slots [chunk, chunk + PV_CHUNK) behind lo: what all queries have together, then each one's rest. */
static void add_chunk(struct kernel *k, const struct tile *t, struct sums *u, LLVMValueRef chunk)
{
	LLVMTypeRef vector = vector_of(k->f32, u->width);
	LLVMValueRef end = plus(k, chunk, const_i64(k, PV_CHUNK)), shared = min_i64(k, end, t->common);
	struct loop s;
	for (int i = 0; i < t->n * u->nvector; i++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), u->acc[i]);
	loop_begin(k, &s, chunk, shared, 1);
	add_slot(k, t, u, 0, t->n, s.i);
	loop_end(k, &s);
	for (int j = 0; j < t->n; j++) {
		LLVMValueRef has = LLVMBuildICmp(k->at, LLVMIntSLT, chunk, t->len[j], "");
		loop_begin(k, &s, max_i64(k, chunk, shared), min_i64(k, end, t->len[j]), 1);
		add_slot(k, t, u, j, j + 1, s.i);
		loop_end(k, &s);
		for (int v = 0; v < u->nvector; v++) {
			LLVMValueRef *total = &u->total[j * u->nvector + v];
			LLVMValueRef old = LLVMBuildLoad2(k->at, vector, *total, "");
			LLVMValueRef sum = LLVMBuildFAdd(k->at, old,
				LLVMBuildLoad2(k->at, vector, u->acc[j * u->nvector + v], ""), "");
			LLVMBuildStore(k->at, LLVMBuildSelect(k->at, has, sum, old, ""), *total);
		}
	}
}

/* out = (sum over slots of p v) / sum, for the features of u. */
static void emit_weighted_sum(struct kernel *k, const struct tile *t, struct sums *u)
{
	LLVMTypeRef vector = vector_of(k->f32, u->width);
	LLVMValueRef longest = t->len[0];
	struct loop chunk;
	for (int i = 0; i < t->n * u->nvector; i++) {
		u->acc[i] = alloca_entry(k, vector, "o");
		u->total[i] = alloca_entry(k, vector, "o");
		LLVMBuildStore(k->at, splat(k, LLVMConstReal(k->f32, -0.0), u->width), u->total[i]);
	}
	for (int j = 1; j < t->n; j++)
		longest = max_i64(k, longest, t->len[j]);
	loop_begin(k, &chunk, const_i64(k, 0), longest, PV_CHUNK);
	add_chunk(k, t, u, chunk.i);
	loop_end(k, &chunk);
	for (int j = 0; j < t->n; j++)
		for (int v = 0; v < u->nvector; v++) {
			LLVMValueRef o = LLVMBuildFDiv(k->at,
				LLVMBuildLoad2(k->at, vector, u->total[j * u->nvector + v], ""),
				splat(k, t->sum[j], u->width), "");
			store_vector(k, o, element_at(k, k->f32, t->out[j],
				const_i64(k, u->first + v * u->width)), 4);
		}
}

/* As many vectors of features at a time as registers hold, then narrower ones for what is left. */
static void emit_weighted_sums(struct kernel *k, const struct tile *t)
{
	enum { MOST = 8 };
	int vectors = sums_per_row(k, t->n), most = vectors < 1 ? 1 : vectors > MOST ? MOST : vectors;
	struct sums u = {0};
	for (u.width = k->target->lanes; u.width >= 1; u.width /= 2)
		while (t->h->features - u.first >= u.width) {
			int64_t n = (t->h->features - u.first) / u.width;
			u.nvector = n > most ? most : (int)n;
			emit_weighted_sum(k, t, &u);
			u.first += (int64_t)u.nvector * u.width;
		}
}

/* The exps of each query's scores, in a loop over the queries so that their code stands once. */
static void emit_softmax(struct kernel *k, struct tile *t)
{
	LLVMTypeRef pointers = LLVMArrayType(k->ptr, QUERIES), lengths = LLVMArrayType(k->i64, QUERIES);
	LLVMValueRef score = alloca_entry(k, pointers, "score"), len = alloca_entry(k, lengths, "n");
	LLVMValueRef sum = alloca_entry(k, LLVMArrayType(k->f32, QUERIES), "sum");
	struct loop l;
	for (int j = 0; j < t->n; j++) {
		LLVMBuildStore(k->at, t->score[j], element_at(k, k->ptr, score, const_i64(k, j)));
		LLVMBuildStore(k->at, t->len[j], element_at(k, k->i64, len, const_i64(k, j)));
	}
	loop_begin(k, &l, const_i64(k, 0), const_i64(k, t->n), 1);
	LLVMValueRef p = LLVMBuildLoad2(k->at, k->ptr, element_at(k, k->ptr, score, l.i), "");
	LLVMValueRef n = LLVMBuildLoad2(k->at, k->i64, element_at(k, k->i64, len, l.i), "");
	store_vector(k, emit_exp_sum(k, p, n, emit_max(k, p, n)), element_at(k, k->f32, sum, l.i), 4);
	loop_end(k, &l);
	for (int j = 0; j < t->n; j++)
		t->sum[j] = load_vector(k, k->f32, element_at(k, k->f32, sum, const_i64(k, j)), 1);
}

struct block {
	const struct heads *h;
	LLVMValueRef row, batch; /* its first row; the KV head */
	int64_t line;            /* floats of scratch per query */
	struct scores scores;    /* what all tiles have in common */
};

/* Queries [first, first + n) of a block: query i is row i / groups, head i % groups. */
static void emit_tile(struct kernel *k, const struct block *b, LLVMValueRef first, int n)
{
	const struct heads *h = b->h;
	struct tile t = {.h = h, .n = n, .v = times(k, b->batch, h->slots * h->features)};
	struct scores s = b->scores;
	s.n = n;
	for (int j = 0; j < n; j++) {
		LLVMValueRef i = plus(k, first, const_i64(k, j)), groups = const_i64(k, h->groups);
		LLVMValueRef row = plus(k, b->row, LLVMBuildUDiv(k->at, i, groups, ""));
		LLVMValueRef at = plus(k, plus(k, times(k, row, h->q_row), times(k, b->batch, h->q_batch)),
			times(k, LLVMBuildURem(k->at, i, groups, ""), h->q_group));
		LLVMValueRef hi = load_index(k, h->hi, row);
		t.lo[j] = load_index(k, h->lo, row);
		t.len[j] = LLVMBuildSub(k->at, hi, t.lo[j], "");
		t.out[j] = element_at(k, k->f32, memory_of(k, k->region->node[0]), at);
		s.q[j] = element_at(k, k->f32, memory_of(k, h->q), at);
		s.out[j] = element_at(k, k->f32, k->scratch, const_i64(k, j * b->line));
		s.lo = j ? min_i64(k, s.lo, t.lo[j]) : t.lo[j];
		s.end = j ? max_i64(k, s.end, hi) : hi;
	}
	t.common = t.len[0];
	LLVMValueRef panel = LLVMBuildAnd(k->at, s.lo, const_i64(k, -PANEL), "");
	for (int j = 0; j < n; j++) {
		LLVMValueRef same = LLVMBuildICmp(k->at, LLVMIntEQ, t.lo[j], t.lo[0], "");
		t.common = LLVMBuildSelect(k->at, same, min_i64(k, t.common, t.len[j]), const_i64(k, 0), "");
		t.score[j] = element_at(k, k->f32, s.out[j], LLVMBuildSub(k->at, t.lo[j], panel, ""));
	}
	emit_scores(k, h, &s);
	emit_softmax(k, &t);
	emit_weighted_sums(k, &t);
}

static void emit_forward(struct kernel *k, const struct heads *h)
{
	struct block b = {.h = h, .scores = {.pairs = h->kv == DT_BF16}};
	int64_t steps = b.scores.pairs ? (h->features + 1) / 2 : h->features;
	int64_t npanels = (h->slots + PANEL - 1) / PANEL;
	LLVMValueRef rows = k->dim[k->g->node[h->q].type.axis[0]];
	struct loop item;
	b.line = npanels * PANEL;
	k->scratch_bytes = QUERIES * b.line * 4;
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	b.row = times(k, LLVMBuildUDiv(k->at, item.i, const_i64(k, h->batches), ""), BLOCK_ROWS);
	b.batch = LLVMBuildURem(k->at, item.i, const_i64(k, h->batches), "");
	b.scores.panels = element_at(k, b.scores.pairs ? k->i32 : k->f32, memory_of(k, h->kk),
		times(k, b.batch, npanels * steps * PANEL));
	LLVMValueRef left = min_i64(k, LLVMBuildSub(k->at, rows, b.row, ""), const_i64(k, BLOCK_ROWS));
	LLVMValueRef end = times(k, left, h->groups), from = const_i64(k, 0);
	for (int n = QUERIES; n >= 1; n = n > 1 ? 1 : 0) {
		struct loop tile;
		LLVMValueRef whole = LLVMBuildSub(k->at, end, from, "");
		whole = plus(k, from, LLVMBuildAnd(k->at, whole, const_i64(k, -n), ""));
		loop_begin(k, &tile, from, whole, n);
		emit_tile(k, &b, tile.i, n);
		loop_end(k, &tile);
		from = whole;
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
