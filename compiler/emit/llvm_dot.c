/*
 * Dot regions: register tiles of rows x 16-lane panels, walked along K in order, so that a result is one
 * chain of fma per chunk whatever the tile is. A finished tile goes through a small buffer, from which
 * the epilogue maps read it like any other value.
 *
 * The same template serves every product of forward and backward: an operand is a base and two strides.
 * The broadcast source gives element (m, k); the lane source gives 16 neighbours at k, from panels
 * (weights) or from rows whose last axis is the lanes (gradients).
 *
 * An item is up to BLOCK_ROWS rows by BLOCK_PANELS panels; items of one panel block are neighbours.
 */
#include <string.h>

#include "llvm_attention.h"
#include "llvm_dot.h"

static LLVMValueRef round_up_div(struct kernel *k, LLVMValueRef n, int64_t by)
{
	n = LLVMBuildAdd(k->at, n, const_i64(k, by - 1), "");
	return LLVMBuildUDiv(k->at, n, const_i64(k, by), "");
}

static int first_dot(const struct kernel *k)
{
	for (int i = 0; i < k->region->nnode; i++)
		if (k->g->node[k->region->node[i]].op == OP_DOT)
			return k->region->node[i];
	BUG("a dot region without a dot");
}

/* n less what is over a multiple of by. */
static LLVMValueRef whole_part(struct kernel *k, LLVMValueRef n, int64_t by)
{
	return LLVMBuildSub(k->at, n, LLVMBuildSRem(k->at, n, const_i64(k, by), ""), "");
}

/* Whether every dot of the region goes by packed items. */
static bool is_packed(const struct kernel *k)
{
	for (int i = 0; i < k->region->nnode; i++) {
		const struct node *n = &k->g->node[k->region->node[i]];
		if (n->op != OP_DOT)
			continue;
		struct dot d = dot_shape(k->g, n);
		if (!dot_packs(k->g, &d))
			return false;
	}
	return true;
}

/* The largest item. */
struct item_size {
	int rows, panels;
};

static struct item_size item_size(const struct kernel *k)
{
	if (is_packed(k))
		return (struct item_size){PACKED_ROWS, PACKED_PANELS};
	return (struct item_size){BLOCK_ROWS, BLOCK_PANELS};
}

LLVMValueRef dot_items(struct kernel *k)
{
	struct dot d = dot_shape(k->g, &k->g->node[first_dot(k)]);
	struct item_size size = item_size(k);
	LLVMValueRef rows = round_up_div(k, extent_product(k, &d.m, 0, d.m.naxis), size.rows);
	return LLVMBuildMul(k->at, rows, const_i64(k, (d.npanels + size.panels - 1) / size.panels), "");
}

/* ---- the register tile ---- */

LLVMValueRef *tile_acc(struct tile *t, int row, int panel, int vector)
{
	return &t->acc[(row * t->panels + panel) * t->nvector + vector];
}

static LLVMValueRef scale(struct kernel *k, LLVMValueRef i, int64_t by)
{
	return LLVMBuildMul(k->at, i, const_i64(k, by), "");
}

static LLVMValueRef add(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(k->at, a, b, "");
}

/* Lanes [lane, lane + width) that exist, for the last panel of a row-major source. */
static LLVMValueRef lane_mask(struct kernel *k, struct tile *t, int vector)
{
	LLVMValueRef lane[PANEL];
	for (int i = 0; i < t->width; i++)
		lane[i] = const_i64(k, vector * t->width + i);
	LLVMValueRef n = splat(k, scale(k, t->panel, PANEL), t->width);
	n = add(k, n, t->width == 1 ? lane[0] : LLVMConstVector(lane, (unsigned)t->width));
	return LLVMBuildICmp(k->at, LLVMIntSLT, n, splat(k, const_i64(k, t->d->nlanes), t->width), "");
}

LLVMValueRef tile_load_row(struct kernel *k, struct tile *t, LLVMTypeRef element, LLVMValueRef row,
	int p, int vector)
{
	LLVMValueRef n = add(k, scale(k, t->panel, PANEL), const_i64(k, p * PANEL + vector * t->width));
	LLVMValueRef at = element_at(k, element, t->b, add(k, scale(k, row, t->d->row_stride), n));
	if (t->d->nlanes % PANEL == 0 || t->panels > 1)
		return load_vector(k, element, at, t->width);
	LLVMTypeRef v = vector_of(element, t->width);
	LLVMTypeRef overload[] = {v, k->ptr};
	LLVMValueRef arg[] = {at, LLVMConstInt(k->i32, element == k->f32 ? 4 : 2, false),
		lane_mask(k, t, vector), LLVMConstNull(v)};
	unsigned id = LLVMLookupIntrinsicID("llvm.masked.load", strlen("llvm.masked.load"));
	LLVMValueRef f = LLVMGetIntrinsicDeclaration(k->module, id, overload, 2);
	return LLVMBuildCall2(k->at, LLVMIntrinsicGetType(k->context, id, overload, 2), f, arg, 4, "");
}

static LLVMValueRef broadcast_at(struct kernel *k, struct tile *t, int row, LLVMValueRef i)
{
	LLVMValueRef m = add(k, t->m, const_i64(k, row));
	return add(k, scale(k, m, t->d->m_stride), scale(k, i, t->d->k_stride));
}

/* Of step i of n, which reads a line at p; behind a panel's end a row alone goes on in the next tile. */
static void prefetch_ahead(struct kernel *k, const struct tile *t, LLVMValueRef p, LLVMValueRef i, LLVMValueRef n)
{
	LLVMValueRef ahead = const_i64(k, prefetch_bytes(t) / 4);
	if (t->rows == 1) {
		LLVMValueRef line = add(k, i, const_i64(k, prefetch_bytes(t) / (PANEL * 4)));
		LLVMValueRef next = add(k, ahead, scale(k, n, (t->panels - 1) * PANEL));
		ahead = LLVMBuildSelect(k->at, LLVMBuildICmp(k->at, LLVMIntSLT, line, n, ""), ahead, next, "");
	}
	emit_prefetch(k, element_at(k, k->i32, p, ahead), prefetch_cache(t));
}

static void step_f32(struct kernel *k, struct tile *t, LLVMValueRef i, LLVMValueRef inner)
{
	LLVMValueRef b[BLOCK_PANELS * PANEL];
	for (int p = 0; p < t->panels; p++)
		for (int v = 0; v < t->nvector; v++) {
			LLVMValueRef *to = &b[p * t->nvector + v];
			if (!t->d->panels) {
				*to = tile_load_row(k, t, k->f32, i, p, v);
				continue;
			}
			LLVMValueRef panel = add(k, t->panel, const_i64(k, p));
			LLVMValueRef at = add(k, LLVMBuildMul(k->at, panel, inner, ""), i);
			at = add(k, scale(k, at, PANEL), const_i64(k, v * t->width));
			LLVMValueRef from = element_at(k, k->f32, t->b, at);
			*to = load_vector(k, k->f32, from, t->width);
			if (v == 0)
				prefetch_ahead(k, t, from, i, inner);
		}
	for (int row = 0; row < t->rows; row++) {
		LLVMValueRef a = load_vector(k, k->f32,
			element_at(k, k->f32, t->a, broadcast_at(k, t, row, i)), 1);
		a = splat(k, a, t->width);
		for (int j = 0; j < t->panels * t->nvector; j++) {
			LLVMValueRef *acc = tile_acc(t, row, 0, j);
			LLVMValueRef old = LLVMBuildLoad2(k->at, vector_of(k->f32, t->width), *acc, "");
			LLVMBuildStore(k->at, fma_value(k, a, b[j], old), *acc);
		}
	}
}

LLVMValueRef pair_high(struct kernel *k, LLVMValueRef pair, int width)
{
	LLVMValueRef mask = splat(k, LLVMConstInt(k->i32, 0xffff0000u, false), width);
	return LLVMBuildBitCast(k->at, LLVMBuildAnd(k->at, pair, mask, ""), vector_of(k->f32, width), "");
}

LLVMValueRef pair_low(struct kernel *k, LLVMValueRef pair, int width)
{
	LLVMValueRef by = splat(k, LLVMConstInt(k->i32, 16, false), width);
	return LLVMBuildBitCast(k->at, LLVMBuildShl(k->at, pair, by, ""), vector_of(k->f32, width), "");
}

LLVMValueRef pair_join(struct kernel *k, LLVMValueRef even, LLVMValueRef odd, int width)
{
	LLVMTypeRef t = vector_of(k->i32, width);
	even = LLVMBuildZExt(k->at, even, t, "");
	if (!odd)
		return even;
	odd = LLVMBuildShl(k->at, LLVMBuildZExt(k->at, odd, t, ""),
		splat(k, LLVMConstInt(k->i32, 16, false), width), "");
	return LLVMBuildOr(k->at, even, odd, "");
}

LLVMValueRef pair_add(struct kernel *k, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b,
	int width)
{
	if (!k->target->dpbf16 || width != 16) {
		acc = fma_value(k, pair_high(k, a, width), pair_high(k, b, width), acc);
		return fma_value(k, pair_low(k, a, width), pair_low(k, b, width), acc);
	}
	return intrinsic_over(k, "llvm.x86.avx512bf16.dpbf16ps.512", NULL, 0, (LLVMValueRef[]){acc, a, b}, 3);
}

/* Elements even + 1 and even of one row, from its f32 form. */
static void step_wide(struct kernel *k, struct tile *t, int row, LLVMValueRef even, LLVMValueRef *b)
{
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	for (int odd = 1; odd >= 0; odd--) {
		LLVMValueRef at = add(k, even, const_i64(k, row * dot_static_inner(k->g, t->d) + odd));
		LLVMValueRef a = splat(k, load_vector(k, k->f32, element_at(k, k->f32, t->wide, at), 1), t->width);
		for (int j = 0; j < t->panels * t->nvector; j++) {
			LLVMValueRef *acc = tile_acc(t, row, 0, j);
			LLVMValueRef x = odd ? pair_high(k, b[j], t->width) : pair_low(k, b[j], t->width);
			LLVMBuildStore(k->at, fma_value(k, a, x, LLVMBuildLoad2(k->at, vector, *acc, "")), *acc);
		}
	}
}

/* Elements 2i and 2i + 1, or 2i alone when `single`. */
static void step_bf16(struct kernel *k, struct tile *t, LLVMValueRef i, LLVMValueRef inner, bool single)
{
	LLVMValueRef b[BLOCK_PANELS * PANEL], even = scale(k, i, 2);
	LLVMValueRef odd = add(k, even, const_i64(k, 1));
	for (int p = 0; p < t->panels; p++)
		for (int v = 0; v < t->nvector; v++) {
			LLVMValueRef *to = &b[p * t->nvector + v];
			if (!t->d->panels) {
				*to = pair_join(k, tile_load_row(k, t, k->i16, even, p, v),
					single ? NULL : tile_load_row(k, t, k->i16, odd, p, v), t->width);
				continue;
			}
			LLVMValueRef pairs = round_up_div(k, inner, 2);
			LLVMValueRef panel = add(k, t->panel, const_i64(k, p));
			LLVMValueRef at = add(k, LLVMBuildMul(k->at, panel, pairs, ""), i);
			at = add(k, scale(k, at, PANEL), const_i64(k, v * t->width));
			LLVMValueRef from = element_at(k, k->i32, t->b, at);
			*to = load_vector(k, k->i32, from, t->width);
			if (v == 0)
				prefetch_ahead(k, t, from, i, pairs);
			if (single) /* what pads a panel made by a kernel is not defined */
				*to = LLVMBuildAnd(k->at, *to,
					splat(k, LLVMConstInt(k->i32, 0xffff, false), t->width), "");
		}
	for (int row = 0; row < t->rows; row++) {
		if (t->wide) {
			step_wide(k, t, row, even, b);
			continue;
		}
		LLVMValueRef p = element_at(k, k->i16, t->a, broadcast_at(k, t, row, even)), a;
		if (t->d->k_stride == 1 && !single) {
			a = LLVMBuildLoad2(k->at, k->i32, p, "");
			LLVMSetAlignment(a, 2);
		} else {
			LLVMValueRef q = element_at(k, k->i16, t->a, broadcast_at(k, t, row, odd));
			a = pair_join(k, load_vector(k, k->i16, p, 1),
				single ? NULL : load_vector(k, k->i16, q, 1), 1);
		}
		a = splat(k, a, t->width);
		for (int j = 0; j < t->panels * t->nvector; j++) {
			LLVMValueRef *acc = tile_acc(t, row, 0, j);
			LLVMValueRef old = LLVMBuildLoad2(k->at, vector_of(k->f32, t->width), *acc, "");
			LLVMBuildStore(k->at, pair_add(k, old, a, b[j], t->width), *acc);
		}
	}
}

/* Steps over elements [from, to) of the reduction; from is even. */
static void walk(struct kernel *k, struct tile *t, LLVMValueRef from, LLVMValueRef to,
	LLVMValueRef inner, int64_t inner_extent, bool dynamic)
{
	struct loop l;
	if (t->d->dtype != DT_BF16) {
		loop_begin(k, &l, from, to, 1);
		step_f32(k, t, l.i, inner);
		loop_end(k, &l);
		return;
	}
	LLVMValueRef one = const_i64(k, 1);
	LLVMValueRef first = LLVMBuildLShr(k->at, from, one, ""), last = LLVMBuildLShr(k->at, to, one, "");
	loop_begin(k, &l, first, last, 1);
	step_bf16(k, t, l.i, inner, false);
	loop_end(k, &l);
	if (!dynamic && inner_extent % 2 == 0)
		return;
	/* An odd end: a loop of one turn or none. */
	loop_begin(k, &l, last, LLVMBuildLShr(k->at, add(k, to, one), one, ""), 1);
	step_bf16(k, t, l.i, inner, true);
	loop_end(k, &l);
}

/* One register tile; results go to buffer[row * BLOCK_LANES + column + ...]. */
static void emit_tile(struct kernel *k, struct tile *t, LLVMValueRef buffer, LLVMValueRef column)
{
	int nacc = t->rows * t->panels * t->nvector;
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	LLVMValueRef inner = extent_product(k, &t->d->r, 0, t->d->r.naxis);
	int64_t extent = 1;
	bool dynamic = false;
	for (int i = 0; i < t->d->r.naxis; i++) {
		extent *= k->g->axis[t->d->r.axis[i]].extent;
		dynamic = dynamic || k->g->axis[t->d->r.axis[i]].dynamic;
	}
	t->acc = arena_array(k->arena, LLVMValueRef, nacc);
	for (int i = 0; i < nacc; i++)
		t->acc[i] = alloca_entry(k, vector, "acc");
	LLVMValueRef at[1024];
	for (int row = 0; row < t->rows; row++)
		for (int j = 0; j < t->panels * t->nvector; j++)
			at[row * t->panels * t->nvector + j] = element_at(k, k->f32, buffer,
				add(k, column, const_i64(k, row * BLOCK_LANES + j * t->width)));
	bool chunks = extent > DOT_CHUNK;
	struct loop l;
	LLVMValueRef from = const_i64(k, 0), to = inner;
	if (chunks) {
		/* -0 + x is x, whatever x is. */
		for (int i = 0; i < nacc; i++)
			store_vector(k, splat(k, LLVMConstReal(k->f32, -0.0), t->width), at[i], 4);
		loop_begin(k, &l, from, inner, DOT_CHUNK);
		from = l.i;
		to = min_i64(k, add(k, l.i, const_i64(k, DOT_CHUNK)), inner);
	}
	for (int i = 0; i < nacc; i++)
		LLVMBuildStore(k->at, LLVMConstNull(vector), t->acc[i]);
	walk(k, t, from, to, inner, extent, dynamic);
	for (int i = 0; i < nacc; i++) {
		LLVMValueRef acc = LLVMBuildLoad2(k->at, vector, t->acc[i], "");
		if (chunks)
			acc = LLVMBuildFAdd(k->at, load_vector(k, k->f32, at[i], t->width), acc, "");
		store_vector(k, acc, at[i], 4);
	}
	if (chunks)
		loop_end(k, &l);
}

/* ---- items ---- */

void panel_loop(struct kernel *k, struct tile *t, LLVMValueRef from, LLVMValueRef to, int panels, tile_body *body,
	void *arg)
{
	LLVMValueRef end = to;
	/* Rows of lanes that end inside a panel: that panel is left to the masked single one. */
	if (!t->d->panels && t->d->nlanes % PANEL)
		end = min_i64(k, end, const_i64(k, t->d->nlanes / PANEL));
	for (int np = panels; np >= 1; np = np > 1 ? 1 : 0) {
		LLVMValueRef whole = np > 1 ? add(k, from, whole_part(k, LLVMBuildSub(k->at, end, from, ""), np)) : to;
		struct loop l;
		loop_begin(k, &l, from, whole, np);
		t->panels = np;
		t->panel = l.i;
		body(k, t, arg);
		loop_end(k, &l);
		from = whole;
	}
}

void row_loop(struct kernel *k, int most, LLVMValueRef from, LLVMValueRef to, row_body *body, void *arg)
{
	const int size[] = {most, 4, 1};
	for (size_t i = 0; i < NELEM(size); i++) {
		if (i && size[i] >= size[i - 1])
			continue;
		LLVMValueRef whole = add(k, from, whole_part(k, LLVMBuildSub(k->at, to, from, ""), size[i]));
		struct loop m;
		loop_begin(k, &m, from, whole, size[i]);
		body(k, m.i, size[i], arg);
		loop_end(k, &m);
		from = whole;
	}
}

struct block {
	LLVMValueRef wide; /* of tile.wide */
	struct dot *dot;
	int *node, ndot;
	LLVMValueRef *buffer;     /* per dot: float[rows of a tile, or of a packed item][lanes] */
	int lanes;                /* of an item */
	LLVMValueRef panel, panel_end, n, n_end;
	LLVMValueRef row;         /* of the buffer, in the epilogue */
};

static void store_lanes(struct kernel *k, struct env *env, struct block *b, LLVMValueRef n)
{
	for (int i = 0; i < b->ndot; i++) {
		LLVMValueRef at = add(k, scale(k, b->row, b->lanes), LLVMBuildSub(k->at, n, b->n, ""));
		LLVMValueRef v = load_vector(k, k->f32, element_at(k, k->f32, b->buffer[i], at), env->width);
		*known_at(k, env, b->node[i]) = (struct value){v, env->width > 1};
	}
	for (int i = 0; i < k->region->nnode; i++)
		if (k->g->node[k->region->node[i]].stored)
			store_node(k, k->region->node[i], env);
}

static void store_one_axis(struct kernel *k, struct env *env, void *arg)
{
	store_lanes(k, env, arg, env->index[env->vector_axis]);
}

static void epilogue(struct kernel *k, struct block *b, const struct env *row)
{
	const struct type *n = &b->dot[0].n;
	int last = n->axis[n->naxis - 1], width = k->target->lanes;
	if (n->naxis == 1) {
		vector_loop(k, row, last, b->n, b->n_end, width, store_one_axis, b);
		return;
	}
	/* Several lane axes: vectors that never cross a row of the last one. */
	while (k->g->axis[last].extent % width)
		width /= 2;
	struct loop l;
	struct env env;
	loop_begin(k, &l, b->n, b->n_end, width);
	env_fork(k, &env, row);
	env_unflatten(k, &env, n, 0, n->naxis, l.i);
	env.vector_axis = last;
	env.width = width;
	store_lanes(k, &env, b, l.i);
	loop_end(k, &l);
}

static struct tile_size tile_size(const struct kernel *k, const struct dot *d)
{
	if (dtype_has_blocks(d->dtype))
		return blocks_tile_size(k->target);
	return (struct tile_size){k->target->tile_rows, k->target->tile_panels, BLOCK_PANELS};
}

/* Without vdpbf16ps every use of a bf16 element costs two operations before its fma: for several rows they are
 * made f32 once, in scratch. */
static LLVMValueRef widen_rows(struct kernel *k, const struct dot *d, int rows, LLVMValueRef m)
{
	int64_t inner = dot_static_inner(k->g, d);
	int width = k->target->lanes;
	if (d->dtype != DT_BF16 || k->target->dpbf16 || rows == 1 || d->k_stride != 1 || !inner || inner % 2)
		return NULL;
	struct loop row, i;
	LLVMValueRef from = memory_of(k, d->broadcast);
	int64_t whole = inner / width * width;
	if (k->scratch_bytes < rows * inner * 4)
		k->scratch_bytes = rows * inner * 4;
	loop_begin(k, &row, const_i64(k, 0), const_i64(k, rows), 1);
	LLVMValueRef source = scale(k, add(k, m, row.i), d->m_stride), to = scale(k, row.i, inner);
	for (int w = width; w >= 1; w = w > 1 ? 1 : 0) {
		loop_begin(k, &i, const_i64(k, w > 1 ? 0 : whole), const_i64(k, w > 1 ? whole : inner), w);
		store_vector(k, load_typed(k, DT_BF16, from, add(k, source, i.i), w),
			element_at(k, k->f32, k->scratch, add(k, to, i.i)), 4);
		loop_end(k, &i);
	}
	loop_end(k, &row);
	return k->scratch;
}

static void emit_panel_tile(struct kernel *k, struct tile *t, void *arg)
{
	LLVMValueRef column = scale(k, LLVMBuildSub(k->at, t->panel, t->first, ""), PANEL);
	(void)arg;
	if (dtype_has_blocks(t->d->dtype))
		emit_blocks_tile(k, t, t->to, column);
	else
		emit_tile(k, t, t->to, column);
}

static void emit_panels(struct kernel *k, struct block *b, int dot, int rows, int panels,
	LLVMValueRef m)
{
	struct tile t = {.d = &b->dot[dot], .rows = rows, .m = m};
	if (t.d->broadcast == b->dot[0].broadcast)
		t.wide = b->wide;
	t.width = k->target->lanes < PANEL ? k->target->lanes : PANEL;
	t.nvector = PANEL / t.width;
	t.a = memory_of(k, t.d->broadcast);
	t.b = memory_of(k, t.d->lane);
	t.to = b->buffer[dot];
	t.first = b->panel;
	panel_loop(k, &t, b->panel, b->panel_end, panels, emit_panel_tile, NULL);
}

/* What rows of an item need. */
struct rows {
	struct block *block;
	const struct env *env;
};

/* Of the buffer's rows, which are rows m and up. */
static void emit_epilogue(struct kernel *k, const struct rows *r, LLVMValueRef m, LLVMValueRef rows)
{
	struct block *b = r->block;
	struct loop row;
	struct env at;
	loop_begin(k, &row, const_i64(k, 0), rows, 1);
	env_fork(k, &at, r->env);
	b->row = row.i;
	env_unflatten(k, &at, &b->dot[0].m, 0, b->dot[0].m.naxis, add(k, m, row.i));
	epilogue(k, b, &at);
	loop_end(k, &row);
}

static void emit_rows(struct kernel *k, LLVMValueRef m, int rows, void *arg)
{
	const struct rows *r = arg;
	struct block *b = r->block;
	/* One row alone needs more panels in flight to hide the latency of fma. */
	struct tile_size size = tile_size(k, &b->dot[0]);
	int panels = rows == 1 ? size.one_row_panels : size.panels;
	b->wide = widen_rows(k, &b->dot[0], rows, m);
	for (int i = 0; i < b->ndot; i++)
		emit_panels(k, b, i, rows, panels, m);
	emit_epilogue(k, r, m, const_i64(k, rows));
}

static void emit_packed_rows(struct kernel *k, LLVMValueRef m, LLVMValueRef m_end, const struct rows *r)
{
	struct block *b = r->block;
	for (int i = 0; i < b->ndot; i++)
		emit_packed(k, &(struct packed){.d = &b->dot[i], .m = m, .m_end = m_end, .panel = b->panel,
			.panel_end = b->panel_end, .to = b->buffer[i]});
	emit_epilogue(k, r, m, LLVMBuildSub(k->at, m_end, m, ""));
}

void emit_dot_region(struct kernel *k)
{
	struct block b = {0};
	struct env env;
	struct loop item;
	bool packed = is_packed(k);
	struct item_size size = item_size(k);
	env_init(k, &env);
	b.lanes = size.panels * PANEL;
	b.dot = arena_array(k->arena, struct dot, k->region->nnode);
	b.node = arena_array(k->arena, int, k->region->nnode);
	b.buffer = arena_array(k->arena, LLVMValueRef, k->region->nnode);
	for (int i = 0; i < k->region->nnode; i++) {
		const struct node *n = &k->g->node[k->region->node[i]];
		if (n->op != OP_DOT)
			continue;
		b.dot[b.ndot] = dot_shape(k->g, n);
		b.node[b.ndot] = k->region->node[i];
		b.buffer[b.ndot] = packed ? scratch_floats(k, PACKED_ROWS * PACKED_LANES) : alloca_entry(k,
			LLVMArrayType(k->f32, (unsigned)(tile_size(k, &b.dot[b.ndot]).rows * BLOCK_LANES)), "tile");
		b.ndot++;
	}
	loop_begin(k, &item, k->item_lo, k->item_hi, 1);
	LLVMValueRef m_end = extent_product(k, &b.dot[0].m, 0, b.dot[0].m.naxis);
	LLVMValueRef row_blocks = round_up_div(k, m_end, size.rows);
	LLVMValueRef row_block = LLVMBuildURem(k->at, item.i, row_blocks, "");
	LLVMValueRef panel_block = LLVMBuildUDiv(k->at, item.i, row_blocks, "");
	b.panel = scale(k, panel_block, size.panels);
	b.panel_end = min_i64(k, add(k, b.panel, const_i64(k, size.panels)),
		const_i64(k, b.dot[0].npanels));
	b.n = scale(k, b.panel, PANEL);
	b.n_end = min_i64(k, scale(k, b.panel_end, PANEL), const_i64(k, b.dot[0].nlanes));
	LLVMValueRef m = scale(k, row_block, size.rows);
	m_end = min_i64(k, add(k, m, const_i64(k, size.rows)), m_end);
	struct rows r = {&b, &env};
	if (packed)
		emit_packed_rows(k, m, m_end, &r);
	else
		row_loop(k, tile_size(k, &b.dot[0]).rows, m, m_end, emit_rows, &r);
	loop_end(k, &item);
}
