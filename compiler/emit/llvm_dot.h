/*
 * A dot as the emitter sees it, and its register tile: what llvm_dot.c (items, epilogues, tiles of reals),
 * llvm_dot_pack.c (tiles of bf16 whose operands are packed first) and llvm_dot_blocks.c (tiles of q8 and q4) share.
 */
#ifndef LLVM_DOT_H
#define LLVM_DOT_H

#include "dot_shape.h"
#include "llvm_kernel.h"

/* What one item covers. */
enum {
	BLOCK_ROWS = 60,  /* a multiple of every tile */
	BLOCK_PANELS = 4,
	BLOCK_LANES = BLOCK_PANELS * PANEL,
	PACKED_ROWS = 96, /* a multiple of every tile too */
	PACKED_PANELS = 12,
	PACKED_LANES = PACKED_PANELS * PANEL,
};

struct tile {
	const struct dot *d;
	int rows, panels;       /* in registers */
	int width, nvector;     /* of a vector; vectors per panel */
	LLVMValueRef m, panel;  /* first of each, i64 */
	LLVMValueRef a, b;      /* bases */
	LLVMValueRef wide;      /* float*: the rows of a bf16 `a` as f32, (rows, K); NULL: not made */
	LLVMValueRef *acc;      /* rows * panels * nvector allocas */
	LLVMValueRef first, to; /* an item's first panel; float*: where its results go */
};
LLVMValueRef *tile_acc(struct tile *t, int row, int panel, int vector);

/* width neighbours at lane vector*width of panel p, at row k of a row-major lane source; 0 for lanes that do not exist. */
LLVMValueRef tile_load_row(struct kernel *k, struct tile *t, LLVMTypeRef element, LLVMValueRef row, int p, int vector);

/* Two i16 values as one i32, the even element low; no odd one: 0. The halves as f32. acc and the products of pairs. */
LLVMValueRef pair_join(struct kernel *k, LLVMValueRef even, LLVMValueRef odd, int width);
LLVMValueRef pair_low(struct kernel *k, LLVMValueRef pair, int width);
LLVMValueRef pair_high(struct kernel *k, LLVMValueRef pair, int width);
LLVMValueRef pair_add(struct kernel *k, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b, int width);

/* Calls body for panels [from, to) in groups of so many, then one by one, with t->panel and t->panels. */
typedef void tile_body(struct kernel *k, struct tile *t, void *arg);
void panel_loop(struct kernel *k, struct tile *t, LLVMValueRef from, LLVMValueRef to, int panels, tile_body *body,
	void *arg);
/* Calls body for rows [from, to), as many at a time as fit: the most, four, one. */
typedef void row_body(struct kernel *k, LLVMValueRef m, int rows, void *arg);
void row_loop(struct kernel *k, int most, LLVMValueRef from, LLVMValueRef to, row_body *body, void *arg);

/*
 * How far ahead weights are asked for, without which the compute between loads starves the hardware's prefetchers, and
 * into which cache: by a row alone from memory, across the ends of pages and tiles, into the second one, since misses of
 * the nearest are few at a time and each lasts as long as memory; by several rows from the cache that holds them for the
 * tiles to come.
 */
static inline int64_t prefetch_bytes(const struct tile *t)
{
	return t->rows == 1 ? 4096 : 1024;
}

static inline enum cache prefetch_cache(const struct tile *t)
{
	return t->rows == 1 ? CACHE_SECOND : CACHE_NEAREST;
}

/* The largest tile, and the panels of a tile of one row. */
struct tile_size {
	int rows, panels, one_row_panels;
};

/* An item of a packed dot: rows [m, m_end), at most PACKED_ROWS, of panels [panel, panel_end), at most PACKED_PANELS. */
struct packed {
	const struct dot *d;
	LLVMValueRef m, m_end, panel, panel_end;
	LLVMValueRef to; /* float[PACKED_ROWS * PACKED_LANES] */
};
bool dot_packs(const struct graph *g, const struct dot *d);
void emit_packed(struct kernel *k, const struct packed *p);

/* One tile; results go to buffer[row * BLOCK_LANES + column + ...]. */
void emit_blocks_tile(struct kernel *k, struct tile *t, LLVMValueRef buffer, LLVMValueRef column);
struct tile_size blocks_tile_size(const struct target *t);

#endif
