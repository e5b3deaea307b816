/*
 * Items of bf16 dots whose lanes lie in rows: the products of a backward pass. Pairs of k are elements of two rows
 * there, of the lane source always, of the other one where it is reduced over its first axes too (a weight's gradient).
 * Each chunk of an item has them made first, in scratch, once for all tiles of the item; then tiles read whole pairs,
 * as from panels.
 *
 * Where vdpbf16ps is not used, elements of the broadcast source are made f32 instead.
 */
#include <string.h>

#include "llvm_attention.h"
#include "llvm_dot.h"

enum {
	PAIRS = DOT_CHUNK / 2,
	PANEL_PAIRS = (PAIRS + 1) * PANEL,  /* i32 from a packed panel to the next: not a multiple of a page */
	WIDE_APART = DOT_CHUNK + PANEL,     /* f32 from a row to the next, of rows made f32 */
};

struct chunk {
	const struct packed *p;
	struct tile t;
	LLVMValueRef a, lanes, rows; /* the broadcast source; in scratch: packed lanes, packed rows */
	LLVMValueRef from, n;        /* of the reduction */
	LLVMValueRef m;              /* first row of the tile */
	bool wide, turned, adds;     /* rows are f32; packed rows are neighbours; to what is there */
};

bool dot_packs(const struct graph *g, const struct dot *d)
{
	if (d->panels || d->dtype != DT_BF16)
		return false;
	int64_t inner = dot_static_inner(g, d);
	return d->k_stride == 1 ? inner && inner % 2 == 0 : d->m_stride == 1;
}

static LLVMValueRef add(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAdd(k->at, a, b, "");
}

static LLVMValueRef sub(struct kernel *k, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSub(k->at, a, b, "");
}

static LLVMValueRef scale(struct kernel *k, LLVMValueRef i, int64_t by)
{
	return LLVMBuildMul(k->at, i, const_i64(k, by), "");
}

static LLVMValueRef half_up(struct kernel *k, LLVMValueRef n)
{
	return LLVMBuildLShr(k->at, add(k, n, const_i64(k, 1)), const_i64(k, 1), "");
}

/* ---- packing ---- */

/* One pair of k for each i, the last one of an odd n with 0. */
typedef void pair_body(struct kernel *k, struct chunk *c, LLVMValueRef i, bool single);

static void pair_loop(struct kernel *k, struct chunk *c, pair_body *body)
{
	LLVMValueRef whole = LLVMBuildLShr(k->at, c->n, const_i64(k, 1), "");
	struct loop l;
	loop_begin(k, &l, const_i64(k, 0), whole, 1);
	body(k, c, l.i, false);
	loop_end(k, &l);
	loop_begin(k, &l, whole, half_up(k, c->n), 1);
	body(k, c, l.i, true);
	loop_end(k, &l);
}

static LLVMValueRef packed_lanes(struct kernel *k, const struct chunk *c, LLVMValueRef i, int p, int v)
{
	LLVMValueRef panel = add(k, sub(k, c->t.panel, c->p->panel), const_i64(k, p));
	LLVMValueRef at = add(k, scale(k, panel, PANEL_PAIRS), scale(k, i, PANEL));
	return element_at(k, k->i32, c->lanes, add(k, at, const_i64(k, v * c->t.width)));
}

static void pack_lane_pair(struct kernel *k, struct chunk *c, LLVMValueRef i, bool single)
{
	struct tile *t = &c->t;
	LLVMValueRef even = add(k, c->from, scale(k, i, 2)), odd = add(k, even, const_i64(k, 1));
	for (int p = 0; p < t->panels; p++)
		for (int v = 0; v < t->nvector; v++) {
			LLVMValueRef pair = pair_join(k, tile_load_row(k, t, k->i16, even, p, v),
				single ? NULL : tile_load_row(k, t, k->i16, odd, p, v), t->width);
			store_vector(k, pair, packed_lanes(k, c, i, p, v), 4);
		}
}

static void pack_panels(struct kernel *k, struct tile *t, void *arg)
{
	(void)t;
	pair_loop(k, arg, pack_lane_pair);
}

/* Rows [m, m_end) at the pair, from each of the two rows that have it. */
static void pack_row_pair(struct kernel *k, struct chunk *c, LLVMValueRef i, bool single)
{
	const struct dot *d = c->p->d;
	LLVMValueRef even = add(k, c->from, scale(k, i, 2)), n = sub(k, c->p->m_end, c->p->m), row = const_i64(k, 0);
	for (int width = k->target->lanes; width >= 1; width = width > 1 ? 1 : 0) {
		struct loop l;
		LLVMValueRef pair[2] = {NULL, NULL};
		LLVMValueRef end = LLVMBuildAnd(k->at, n, const_i64(k, -(int64_t)width), "");
		loop_begin(k, &l, row, end, width);
		for (int odd = 0; odd < (single ? 1 : 2); odd++) {
			LLVMValueRef at = add(k, scale(k, add(k, even, const_i64(k, odd)), d->k_stride), add(k, c->p->m, l.i));
			if (c->wide)
				pair[odd] = load_typed(k, DT_BF16, c->a, at, width);
			else
				pair[odd] = load_vector(k, k->i16, element_at(k, k->i16, c->a, at), width);
		}
		for (int odd = 0; c->wide && odd < 2; odd++) {
			LLVMValueRef at = add(k, scale(k, add(k, scale(k, i, 2), const_i64(k, odd)), PACKED_ROWS), l.i);
			LLVMValueRef x = pair[odd] ? pair[odd] : LLVMConstNull(vector_of(k->f32, width));
			store_vector(k, x, element_at(k, k->f32, c->rows, at), 4);
		}
		if (!c->wide)
			store_vector(k, pair_join(k, pair[0], pair[1], width),
				element_at(k, k->i32, c->rows, add(k, scale(k, i, PACKED_ROWS), l.i)), 4);
		loop_end(k, &l);
		row = end;
	}
}

/* Rows of the tile, whose k are neighbours, as f32. */
static void widen_rows(struct kernel *k, struct chunk *c)
{
	struct loop row, i;
	LLVMValueRef whole = LLVMBuildAnd(k->at, c->n, const_i64(k, -(int64_t)k->target->lanes), "");
	loop_begin(k, &row, const_i64(k, 0), const_i64(k, c->t.rows), 1);
	LLVMValueRef source = add(k, scale(k, add(k, c->m, row.i), c->p->d->m_stride), c->from);
	LLVMValueRef to = scale(k, row.i, WIDE_APART);
	for (int w = k->target->lanes; w >= 1; w = w > 1 ? 1 : 0) {
		loop_begin(k, &i, w > 1 ? const_i64(k, 0) : whole, w > 1 ? whole : c->n, w);
		store_vector(k, load_typed(k, DT_BF16, c->a, add(k, source, i.i), w),
			element_at(k, k->f32, c->rows, add(k, to, i.i)), 4);
		loop_end(k, &i);
	}
	loop_end(k, &row);
}

/* ---- tiles ---- */

/* Element 2i + odd of a row, as f32. */
static LLVMValueRef wide_element(struct kernel *k, const struct chunk *c, int row, LLVMValueRef i, int odd)
{
	LLVMValueRef at = add(k, scale(k, i, 2), const_i64(k, odd)), m = const_i64(k, row);
	if (c->turned)
		at = add(k, scale(k, at, PACKED_ROWS), add(k, sub(k, c->m, c->p->m), m));
	else
		at = add(k, at, scale(k, m, WIDE_APART));
	return load_vector(k, k->f32, element_at(k, k->f32, c->rows, at), 1);
}

static LLVMValueRef row_pair(struct kernel *k, const struct chunk *c, int row, LLVMValueRef i)
{
	LLVMValueRef m = const_i64(k, row), at;
	if (c->turned) {
		at = add(k, scale(k, i, PACKED_ROWS), add(k, sub(k, c->m, c->p->m), m));
		return load_vector(k, k->i32, element_at(k, k->i32, c->rows, at), 1);
	}
	at = add(k, scale(k, add(k, c->m, m), c->p->d->m_stride), add(k, c->from, scale(k, i, 2)));
	LLVMValueRef pair = LLVMBuildLoad2(k->at, k->i32, element_at(k, k->i16, c->a, at), "");
	LLVMSetAlignment(pair, 2);
	return pair;
}

static void add_pairs(struct kernel *k, struct chunk *c, LLVMValueRef i)
{
	struct tile *t = &c->t;
	int ncolumn = t->panels * t->nvector;
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	LLVMValueRef b[BLOCK_PANELS * PANEL];
	for (int j = 0; j < ncolumn; j++) {
		LLVMValueRef from = packed_lanes(k, c, i, j / t->nvector, j % t->nvector);
		b[j] = load_vector(k, k->i32, from, t->width);
		if (j % t->nvector == 0)
			emit_prefetch(k, element_at(k, k->i32, from, const_i64(k, prefetch_bytes(t) / 4)), CACHE_NEAREST);
	}
	for (int row = 0; row < t->rows; row++) {
		LLVMValueRef a[2];
		for (int odd = 0; odd < 2; odd++)
			a[odd] = splat(k, c->wide ? wide_element(k, c, row, i, odd) : odd ? a[0] : row_pair(k, c, row, i),
				c->wide || !odd ? t->width : 1);
		for (int j = 0; j < ncolumn; j++) {
			LLVMValueRef *acc = tile_acc(t, row, 0, j), sum = LLVMBuildLoad2(k->at, vector, *acc, "");
			if (c->wide) {
				sum = fma_value(k, a[1], pair_high(k, b[j], t->width), sum);
				sum = fma_value(k, a[0], pair_low(k, b[j], t->width), sum);
			} else {
				sum = pair_add(k, sum, a[0], b[j], t->width);
			}
			LLVMBuildStore(k->at, sum, *acc);
		}
	}
}

/* Whether node n lies in memory row by row as the results do. */
static bool lies_alike(const struct kernel *k, const struct dot *d, int n)
{
	const struct node *node = &k->g->node[n];
	const struct type *t = &node->type;
	bool ours = node->region >= 0 && &k->g->region[node->region] == k->region;
	bool leaf = op_info[node->op].class == CLASS_LEAF && node->op != OP_CONST && node->op != OP_IOTA;
	if (!leaf && (ours ? !node->stored : node->region < 0))
		return false;
	return node->layout.kind == LAYOUT_ROW && !dtype_has_blocks(t->dtype) && t->naxis == d->m.naxis + d->n.naxis &&
		!memcmp(t->axis, d->m.axis, d->m.naxis) && !memcmp(t->axis + d->m.naxis, d->n.axis, d->n.naxis);
}

/* What the epilogue will read and write of the tile is asked for while the tile is computed. */
static void prefetch_results(struct kernel *k, const struct chunk *c)
{
	const struct tile *t = &c->t;
	const struct dot *d = c->p->d;
	for (int i = 0; i < k->ntouched; i++) {
		int n = k->touched[i], bytes = dtype_bytes(k->g->node[n].type.dtype);
		if (!lies_alike(k, d, n) || state_of(k->g, n) != n)
			continue;
		for (int row = 0; row < t->rows; row++) {
			LLVMValueRef at = scale(k, add(k, c->m, const_i64(k, row)), d->nlanes + k->g->node[n].layout.pad);
			at = scale(k, add(k, at, scale(k, t->panel, PANEL)), bytes);
			for (int line = 0; line < t->panels * PANEL * bytes; line += Q_ALIGN)
				emit_prefetch(k, element_at(k, LLVMInt8TypeInContext(k->context), memory_of(k, n),
					add(k, at, const_i64(k, line))), CACHE_NEAREST);
		}
	}
}

/* The chunk's part of one tile, to its place in the item's buffer. */
static void add_tile(struct kernel *k, struct tile *t, void *arg)
{
	struct chunk *c = arg;
	int ncolumn = t->panels * t->nvector, nacc = t->rows * ncolumn;
	LLVMTypeRef vector = vector_of(k->f32, t->width);
	LLVMValueRef corner = add(k, scale(k, sub(k, c->m, c->p->m), PACKED_LANES),
		scale(k, sub(k, t->panel, c->p->panel), PANEL));
	struct loop l;
	t->acc = arena_array(k->arena, LLVMValueRef, nacc);
	for (int i = 0; i < nacc; i++) {
		t->acc[i] = alloca_entry(k, vector, "acc");
		LLVMBuildStore(k->at, LLVMConstNull(vector), t->acc[i]);
	}
	prefetch_results(k, c);
	loop_begin(k, &l, const_i64(k, 0), half_up(k, c->n), 1);
	add_pairs(k, c, l.i);
	loop_end(k, &l);
	for (int i = 0; i < nacc; i++) {
		int64_t place = i / ncolumn * PACKED_LANES + i % ncolumn * t->width;
		LLVMValueRef at = element_at(k, k->f32, c->p->to, add(k, corner, const_i64(k, place)));
		LLVMValueRef sum = LLVMBuildLoad2(k->at, vector, t->acc[i], "");
		if (c->adds)
			sum = LLVMBuildFAdd(k->at, load_vector(k, k->f32, at, t->width), sum, "");
		store_vector(k, sum, at, 4);
	}
}

static void add_rows(struct kernel *k, LLVMValueRef m, int rows, void *arg)
{
	struct chunk *c = arg;
	c->m = m;
	c->t.rows = rows;
	if (c->wide && !c->turned)
		widen_rows(k, c);
	panel_loop(k, &c->t, c->p->panel, c->p->panel_end, rows == 1 ? BLOCK_PANELS : k->target->tile_panels, add_tile, c);
}

static void add_chunk(struct kernel *k, struct chunk *c)
{
	panel_loop(k, &c->t, c->p->panel, c->p->panel_end, BLOCK_PANELS, pack_panels, c);
	if (c->turned)
		pair_loop(k, c, pack_row_pair);
	row_loop(k, k->target->tile_rows, c->p->m, c->p->m_end, add_rows, c);
}

/* -0 + x is x, whatever x is. */
static void clear(struct kernel *k, const struct packed *p, int width)
{
	struct loop l;
	loop_begin(k, &l, const_i64(k, 0), const_i64(k, PACKED_ROWS * PACKED_LANES), width);
	store_vector(k, splat(k, LLVMConstReal(k->f32, -0.0), width), element_at(k, k->f32, p->to, l.i), 4);
	loop_end(k, &l);
}

void emit_packed(struct kernel *k, const struct packed *p)
{
	struct chunk c = {.p = p, .turned = p->d->k_stride != 1, .wide = !k->target->dpbf16};
	LLVMValueRef inner = extent_product(k, &p->d->r, 0, p->d->r.naxis);
	struct loop l;
	c.t.d = p->d;
	c.t.width = k->target->lanes < PANEL ? k->target->lanes : PANEL;
	c.t.nvector = PANEL / c.t.width;
	c.t.b = memory_of(k, p->d->lane);
	c.a = memory_of(k, p->d->broadcast);
	c.lanes = scratch_floats(k, PACKED_PANELS * PANEL_PAIRS);
	if (c.turned)
		c.rows = scratch_floats(k, PACKED_ROWS * (c.wide ? DOT_CHUNK : PAIRS));
	else if (c.wide)
		c.rows = scratch_floats(k, k->target->tile_rows * WIDE_APART);
	c.adds = type_extents(k->g, &p->d->r, 0, p->d->r.naxis) > DOT_CHUNK;
	c.from = const_i64(k, 0);
	c.n = inner;
	if (!c.adds) {
		add_chunk(k, &c);
		return;
	}
	clear(k, p, c.t.width);
	loop_begin(k, &l, c.from, inner, DOT_CHUNK);
	c.from = l.i;
	c.n = min_i64(k, sub(k, inner, l.i), const_i64(k, DOT_CHUNK));
	add_chunk(k, &c);
	loop_end(k, &l);
}
