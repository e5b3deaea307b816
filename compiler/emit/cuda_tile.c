#include "cuda_tile.h"

static bool alike(const struct dot *a, const struct dot *b)
{
	return a->dtype == b->dtype && a->panels && b->panels;
}

struct cuda_tile cuda_tile_of(const struct cuda_dots *d, int tokens)
{
	struct cuda_tile t = {.each = d->ndot % 2 ? 1 : 2};
	for (int i = 1; i < d->ndot; i++)
		t.each = alike(&d->dot[0], &d->dot[i]) ? t.each : 1;
	t.nparts = d->ndot / t.each;
	t.lanes = TILE_LANES / t.each;
	t.tokens = t.nparts == 1 ? tokens : TILE_LANES / (t.nparts > 2 ? 4 : 2);
	t.across = (d->dot[0].nlanes + t.lanes - 1) / t.lanes;
	return t;
}

int64_t cuda_tile_bytes(const struct cuda_tile *t)
{
	return (int64_t)t->nparts * t->tokens * TILE_PITCH * 4;
}

const char *cuda_tile_items(struct cuda_fn *f, const struct cuda_tile *t)
{
	return cuda_text(f, "((nm + %d) / %d * %lld)", t->tokens - 1, t->tokens, (long long)t->across);
}

/* Blocks beside each other have the same outputs: all tokens of a call stay in the L2 cache, weights come from memory once. */
void cuda_tile_begin(struct cuda_fn *f, const struct cuda_tile *t)
{
	cuda_line(f, "const int groups = (int)((nm + %d) / %d);", t->tokens - 1, t->tokens);
	cuda_open(f, "for (int item = block; item < groups * %lld; item += blocks)", (long long)t->across);
	cuda_line(f, "const int n0 = item / groups * %d;", t->lanes);
	cuda_line(f, "const i64 m0 = item %% groups * %d;", t->tokens);
}

/* What the region makes of a tile's results. A thread has a lane of every few rows, of which it computes some before it stores them: their
 * loads, of what is added to, say, are on their way together. */
static void epilogue(struct cuda_fn *f, const struct cuda_dots *d, const struct cuda_tile *t)
{
	enum { TOGETHER = 8 };
	int step = GPU_THREADS / t->lanes;
	struct spot spot[TOGETHER];
	cuda_line(f, "const int lane = THREAD %% %d, n = n0 + lane;", t->lanes);
	cuda_open(f, "for (int row = THREAD / %d; row < %d && m0 + row < nm && n < %lld; row += %d)", t->lanes, t->tokens,
		(long long)d->dot[0].nlanes, step * TOGETHER);
	for (int u = 0; u < TOGETHER; u++) {
		const char *value[CUDA_MAX_DOTS];
		cuda_line(f, "const i64 row%d = m0 + row + %d < nm ? m0 + row + %d : m0 + row;", u, u * step, u * step);
		for (int i = 0; i < d->ndot; i++) {
			value[i] = cuda_name(f, "sum");
			cuda_line(f, "const float %s = done[(%d + row) * %d + %d + lane];", value[i], i / t->each * t->tokens + u * step, TILE_PITCH,
				i % t->each * t->lanes);
		}
		cuda_epilogue_spot(f, d, cuda_text(f, "row%d", u), "n", value, &spot[u]);
		cuda_eval_stored(f, &spot[u]);
	}
	for (int u = 0; u < TOGETHER; u++) {
		cuda_open(f, "if (m0 + row + %d < nm)", u * step);
		cuda_store_all(f, &spot[u]);
		cuda_close(f);
	}
	cuda_close(f);
}

void cuda_tile_end(struct cuda_fn *f, const struct cuda_dots *d, const struct cuda_tile *t)
{
	cuda_line(f, "sync_block();");
	epilogue(f, d, t);
	cuda_line(f, "sync_block();");
	cuda_close(f);
}
