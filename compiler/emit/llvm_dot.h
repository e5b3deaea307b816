/*
 * A dot as the emitter sees it, and its register tile: what llvm_dot.c (items, epilogues, tiles of reals)
 * and llvm_dot_blocks.c (tiles of q8 and q4) share.
 */
#ifndef LLVM_DOT_H
#define LLVM_DOT_H

#include "dot_shape.h"
#include "llvm_kernel.h"

/* What one item covers. */
enum { BLOCK_ROWS = 60 /* a multiple of every tile */, BLOCK_PANELS = 4, BLOCK_LANES = BLOCK_PANELS * PANEL };

struct tile {
	const struct dot *d;
	int rows, panels;       /* in registers */
	int width, nvector;     /* of a vector; vectors per panel */
	LLVMValueRef m, panel;  /* first of each, i64 */
	LLVMValueRef a, b;      /* bases */
	LLVMValueRef wide;      /* float*: the rows of a bf16 `a` as f32, (rows, K); NULL: not made */
	LLVMValueRef *acc;      /* rows * panels * nvector allocas */
};

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

/* One tile; results go to buffer[row * BLOCK_LANES + column + ...]. */
void emit_blocks_tile(struct kernel *k, struct tile *t, LLVMValueRef buffer, LLVMValueRef column);
struct tile_size blocks_tile_size(const struct target *t);

#endif
