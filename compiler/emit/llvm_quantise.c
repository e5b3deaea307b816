/* Values with blocks outside of dots: regions that quantise rows, and elements of q8 and q4 tables. */
#include <string.h>

#include "llvm_kernel.h"

static LLVMTypeRef i8(struct kernel *k)
{
	return LLVMInt8TypeInContext(k->context);
}

static LLVMValueRef add(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(k->at, a, b, "");
}

static LLVMValueRef scale(struct kernel *k, LLVMValueRef i, int64_t by)
{
	return LLVMBuildMul(k->at, i, const_i64(k, by), "");
}

/* ---- quantise: an item is a row, its blocks one after the other ---- */

struct quantise {
	const struct node *node;
	struct block_shape shape;
	int width;             /* of vectors along the last axis, which never cross a row of it */
	LLVMValueRef buffer;   /* float[Q_BLOCK]; NULL: a vector is as wide as registers are */
	LLVMValueRef row;      /* where the row's values begin */
	LLVMValueRef scale;    /* its first block's scale */
	int64_t scale_step;    /* bytes from one to the next */
	LLVMValueRef bytes;    /* i8[Q_BLOCK]: of a block that ends early where a next row begins; NULL: none does */
};

LLVMValueRef quantise_items(struct kernel *k)
{
	const struct node *n = &k->g->node[k->region->node[0]];
	return extent_product(k, &n->type, 0, n->type.outer);
}

/* width elements of the source from k on, in the flattened inner axes. */
static LLVMValueRef source_at(struct kernel *k, struct quantise *q, const struct env *row, LLVMValueRef at)
{
	const struct type *t = &q->node->type;
	struct env env;
	env_fork(k, &env, row);
	env_unflatten(k, &env, t, t->outer, t->naxis, at);
	env.vector_axis = t->axis[t->naxis - 1];
	env.width = q->width;
	return evaluate_full(k, q->node->src[0], &env);
}

/* The block's n values as Q_BLOCK / lanes vectors, 0 behind them. */
static void load_block(struct kernel *k, struct quantise *q, const struct env *row, LLVMValueRef from, int64_t n,
	LLVMValueRef *x)
{
	int lanes = k->target->lanes;
	LLVMValueRef zero = LLVMConstNull(vector_of(k->f32, lanes));
	if (!q->buffer) {
		for (int i = 0; i < Q_BLOCK / lanes; i++)
			x[i] = i * lanes < n ? source_at(k, q, row, add(k, from, const_i64(k, i * lanes))) : zero;
		return;
	}
	for (int i = 0; i < Q_BLOCK / lanes && n < Q_BLOCK; i++)
		store_vector(k, zero, element_at(k, k->f32, q->buffer, const_i64(k, i * lanes)), 4);
	struct loop l;
	loop_begin(k, &l, const_i64(k, 0), const_i64(k, n), q->width);
	LLVMValueRef v = source_at(k, q, row, add(k, from, l.i));
	store_vector(k, v, element_at(k, k->f32, q->buffer, l.i), 4);
	loop_end(k, &l);
	for (int i = 0; i < Q_BLOCK / lanes; i++)
		x[i] = load_vector(k, k->f32, element_at(k, k->f32, q->buffer, const_i64(k, i * lanes)), lanes);
}

/* Largest |x|: of numbers without a sign, the order of their bits. */
static LLVMValueRef largest(struct kernel *k, LLVMValueRef *x, int nx, int lanes)
{
	LLVMTypeRef bits = vector_of(k->i32, lanes);
	LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 0x7fffffff, false), lanes), m = NULL;
	for (int i = 0; i < nx; i++) {
		LLVMValueRef v = LLVMBuildAnd(k->at, LLVMBuildBitCast(k->at, x[i], bits, ""), mask, "");
		m = m ? intrinsic(k, "llvm.smax", bits, (LLVMValueRef[]){m, v}, 2) : v;
	}
	return LLVMBuildBitCast(k->at, intrinsic(k, "llvm.vector.reduce.smax", bits, &m, 1), k->f32, "");
}

static void quantise_block(struct kernel *k, struct quantise *q, const struct env *row, LLVMValueRef block,
	int64_t n)
{
	int lanes = k->target->lanes, nx = Q_BLOCK / lanes;
	LLVMValueRef x[Q_BLOCK], sum = NULL, from = scale(k, block, Q_BLOCK);
	LLVMTypeRef ints = vector_of(k->i32, lanes);
	load_block(k, q, row, from, n, x);
	LLVMValueRef m = largest(k, x, nx, lanes), zero = LLVMConstReal(k->f32, 0);
	LLVMValueRef most = LLVMConstReal(k->f32, 127);
	LLVMValueRef small = LLVMBuildFCmp(k->at, LLVMRealOLT, m, LLVMConstReal(k->f32, 0x1p-100), "");
	LLVMValueRef by = LLVMBuildSelect(k->at, small, zero, LLVMBuildFDiv(k->at, most, m, ""), "");
	LLVMValueRef unit = LLVMBuildSelect(k->at, small, zero, LLVMBuildFDiv(k->at, m, most, ""), "");
	by = splat(k, by, lanes);
	bool whole = n == Q_BLOCK || !q->bytes;
	LLVMValueRef values = whole ? element_at(k, i8(k), q->row, from) : q->bytes;
	for (int i = 0; i < nx; i++) {
		LLVMValueRef v = LLVMBuildFMul(k->at, x[i], by, "");
		v = emit_scalar_op(k, OP_TO_I32, &v, lanes);
		sum = sum ? add(k, sum, v) : v;
		v = LLVMBuildTrunc(k->at, v, vector_of(i8(k), lanes), "");
		store_vector(k, v, element_at(k, i8(k), values, const_i64(k, i * lanes)), 1);
	}
	LLVMValueRef record = element_at(k, i8(k), q->scale, scale(k, block, q->scale_step));
	store_vector(k, unit, record, 4);
	if (!whole) {
		struct loop l;
		loop_begin(k, &l, const_i64(k, 0), const_i64(k, n), 1);
		store_vector(k, load_vector(k, i8(k), element_at(k, i8(k), values, l.i), 1),
			element_at(k, i8(k), q->row, add(k, from, l.i)), 1);
		loop_end(k, &l);
	}
	if (q->node->type.dtype == DT_C8)
		return;
	sum = intrinsic(k, "llvm.vector.reduce.add", ints, &sum, 1);
	sum = LLVMBuildMul(k->at, sum, LLVMConstInt(k->i32, (uint64_t)-128, true), "");
	store_vector(k, sum, element_at(k, i8(k), record, const_i64(k, 4)), 4);
}

static void place_row(struct kernel *k, struct quantise *q, LLVMValueRef row, int64_t inner)
{
	bool cache = q->node->type.dtype == DT_C8;
	LLVMValueRef base = memory_of(k, k->region->node[0]), lane = const_i64(k, 0);
	if (cache) {
		lane = LLVMBuildURem(k->at, row, const_i64(k, PANEL), "");
		row = LLVMBuildUDiv(k->at, row, const_i64(k, PANEL), "");
	}
	base = element_at(k, i8(k), base, scale(k, row, q->shape.bytes));
	q->row = element_at(k, i8(k), base, scale(k, lane, inner));
	q->scale = element_at(k, i8(k), base, add(k, scale(k, lane, 4), const_i64(k, q->shape.scales)));
	q->scale_step = cache ? 4 * PANEL : 8;
}

void emit_quantise_region(struct kernel *k)
{
	struct quantise q = {.node = &k->g->node[k->region->node[0]]};
	const struct type *t = &q.node->type;
	int64_t inner = 1, last = k->g->axis[t->axis[t->naxis - 1]].extent;
	struct loop item, block;
	struct env env;
	for (int a = t->outer; a < t->naxis; a++)
		inner *= k->g->axis[t->axis[a]].extent;
	q.shape = block_shape(k->g, t, q.node->layout);
	q.width = k->target->lanes;
	while (last % q.width)
		q.width /= 2;
	if (q.width < k->target->lanes)
		q.buffer = alloca_entry(k, LLVMArrayType(k->f32, Q_BLOCK), "block");
	if (t->dtype == DT_C8)
		q.bytes = alloca_entry(k, LLVMArrayType(i8(k), Q_BLOCK), "bytes");
	env_init(k, &env);
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	place_row(k, &q, item.i, inner);
	env_unflatten(k, &env, t, 0, t->outer, item.i);
	loop_begin(k, &block, const_i64(k, 0), const_i64(k, inner / Q_BLOCK), 1);
	quantise_block(k, &q, &env, block.i, Q_BLOCK);
	loop_end(k, &block);
	if (inner % Q_BLOCK)
		quantise_block(k, &q, &env, const_i64(k, inner / Q_BLOCK), inner % Q_BLOCK);
	loop_end(k, &item);
}

/* ---- elements of a table, as f32 ---- */

/* Where lane's element lies: block_place() in code, for panels. */
struct place {
	LLVMValueRef value, shift, scale; /* i8 *, i32, f16 * (c8: f32 *) */
};

static struct place place_cached(struct kernel *k, int n, const struct env *env, int lane)
{
	const struct node *node = &k->g->node[n];
	const struct type *t = &node->type;
	struct block_shape s = block_shape(k->g, t, node->layout);
	bool panels = node->layout.kind == LAYOUT_PANEL;
	int64_t inner = s.scales / PANEL;
	LLVMValueRef o = flat_index(k, env, t, panels ? node->layout.first : 0, t->outer, lane);
	LLVMValueRef i = flat_index(k, env, t, t->outer, t->naxis, lane);
	LLVMValueRef panel = LLVMBuildUDiv(k->at, o, const_i64(k, PANEL), "");
	LLVMValueRef in_panel = LLVMBuildURem(k->at, o, const_i64(k, PANEL), "");
	if (panels) {
		int64_t npanel = (k->g->axis[t->axis[t->outer - 1]].extent + PANEL - 1) / PANEL;
		panel = add(k, panel, scale(k, flat_index(k, env, t, 0, node->layout.first, lane), npanel));
	}
	LLVMValueRef base = element_at(k, i8(k), memory_of(k, n), scale(k, panel, s.bytes));
	LLVMValueRef at = panels ? add(k, scale(k, i, PANEL), in_panel) : add(k, scale(k, in_panel, inner), i);
	LLVMValueRef block = LLVMBuildUDiv(k->at, i, const_i64(k, Q_BLOCK), "");
	block = scale(k, add(k, scale(k, block, PANEL), in_panel), 4);
	return (struct place){.value = element_at(k, i8(k), base, at),
		.scale = element_at(k, i8(k), base, add(k, block, const_i64(k, s.scales)))};
}

static struct place place_of(struct kernel *k, int n, const struct env *env, int lane)
{
	const struct node *node = &k->g->node[n];
	const struct type *t = &node->type;
	if (t->dtype == DT_C8)
		return place_cached(k, n, env, lane);
	struct block_shape s = block_shape(k->g, t, node->layout);
	LLVMValueRef o = flat_index(k, env, t, 0, t->outer, lane);
	LLVMValueRef i = flat_index(k, env, t, t->outer, t->naxis, lane);
	LLVMValueRef panel = LLVMBuildUDiv(k->at, o, const_i64(k, PANEL), "");
	LLVMValueRef in_panel = LLVMBuildURem(k->at, o, const_i64(k, PANEL), "");
	LLVMValueRef base = element_at(k, i8(k), memory_of(k, n), scale(k, panel, s.bytes));
	LLVMValueRef group = LLVMBuildUDiv(k->at, i, const_i64(k, 4), "");
	struct place p = {.shift = LLVMConstInt(k->i32, 0, false)};
	if (t->dtype == DT_Q4) {
		LLVMValueRef high = LLVMBuildAnd(k->at, group, const_i64(k, 1), "");
		p.shift = scale(k, LLVMBuildXor(k->at, high, const_i64(k, 1), ""), 4);
		p.shift = LLVMBuildTrunc(k->at, p.shift, k->i32, "");
		group = LLVMBuildUDiv(k->at, group, const_i64(k, 2), "");
	}
	LLVMValueRef at = scale(k, add(k, scale(k, group, PANEL), in_panel), 4);
	at = add(k, at, LLVMBuildURem(k->at, i, const_i64(k, 4), ""));
	p.value = element_at(k, i8(k), base, at);
	at = LLVMBuildUDiv(k->at, i, const_i64(k, Q_BLOCK), "");
	at = scale(k, add(k, scale(k, at, PANEL), in_panel), 2);
	p.scale = element_at(k, i8(k), base, add(k, at, const_i64(k, s.scales)));
	return p;
}

/* width neighbours in k from p on, as f32; 1, or 4 of one group. */
static LLVMValueRef load_place(struct kernel *k, const struct place *p, enum dtype t, int width)
{
	LLVMTypeRef half = LLVMHalfTypeInContext(k->context), ints = vector_of(k->i32, width);
	if (t == DT_C8) {
		LLVMValueRef c = LLVMBuildSExt(k->at, load_vector(k, i8(k), p->value, width), ints, "");
		c = LLVMBuildSIToFP(k->at, c, vector_of(k->f32, width), "");
		return LLVMBuildFMul(k->at, c, splat(k, load_vector(k, k->f32, p->scale, 1), width), "");
	}
	LLVMValueRef x = LLVMBuildZExt(k->at, load_vector(k, i8(k), p->value, width), ints, "");
	if (t == DT_Q4) { /* value / 16 + 8 in one half of a byte is value + 128 when the other is cleared */
		x = LLVMBuildShl(k->at, x, splat(k, p->shift, width), "");
		x = LLVMBuildAnd(k->at, x, splat(k, LLVMConstInt(k->i32, 0xf0, false), width), "");
	}
	x = LLVMBuildSub(k->at, x, splat(k, LLVMConstInt(k->i32, 128, false), width), "");
	LLVMValueRef unit = LLVMBuildLoad2(k->at, half, p->scale, "");
	LLVMSetAlignment(unit, 2);
	unit = LLVMBuildFPExt(k->at, unit, k->f32, "");
	x = LLVMBuildSIToFP(k->at, x, vector_of(k->f32, width), "");
	return LLVMBuildFMul(k->at, x, splat(k, unit, width), "");
}

LLVMValueRef load_blocks(struct kernel *k, int n, struct env *env, int width)
{
	const struct type *t = &k->g->node[n].type;
	int last = t->axis[t->naxis - 1];
	if (width == 1) {
		struct place p = place_of(k, n, env, 0);
		return load_place(k, &p, t->dtype, 1);
	}
	/* Vectors start at multiples of their width: then so do groups in them. */
	int step = env->vector_axis == last && k->g->axis[last].extent % width == 0 && width >= 4 &&
		t->dtype != DT_C8 ? 4 : 1;
	LLVMValueRef v = LLVMGetPoison(vector_of(k->f32, width));
	for (int lane = 0; lane < width; lane += step) {
		struct place p = place_of(k, n, env, lane);
		LLVMValueRef part = load_place(k, &p, t->dtype, step);
		for (int i = 0; i < step; i++) {
			LLVMValueRef one = step == 1 ? part
				: LLVMBuildExtractElement(k->at, part, LLVMConstInt(k->i32, (uint64_t)i, false), "");
			v = LLVMBuildInsertElement(k->at, v, one,
				LLVMConstInt(k->i32, (uint64_t)(lane + i), false), "");
		}
	}
	return v;
}

/* Vectors of whole rows' width lie in one block each, and then rows of values are copied as they stand. */
void copy_blocks(struct kernel *k, int from, const struct env *env, int to, const struct env *place)
{
	const struct node *node = &k->g->node[to];
	const struct type *t = &node->type;
	int last = t->axis[t->naxis - 1], width = env->width;
	bool along = env->vector_axis == last && k->g->axis[last].extent % width == 0 && Q_BLOCK % width == 0;
	int step = along ? width : 1;
	for (int lane = 0; lane < width; lane += step) {
		struct place p = place_of(k, from, env, lane), q = place_of(k, to, place, lane);
		LLVMValueRef v = load_vector(k, i8(k), p.value, step);
		store_vector(k, load_vector(k, k->f32, p.scale, 1), q.scale, 4);
		if (node->layout.kind == LAYOUT_ROW || step == 1) {
			store_vector(k, v, q.value, 1);
			continue;
		}
		for (int i = 0; i < step; i++)
			store_vector(k, LLVMBuildExtractElement(k->at, v, LLVMConstInt(k->i32, (uint64_t)i, false), ""),
				element_at(k, i8(k), q.value, const_i64(k, i * PANEL)), 1);
	}
}
