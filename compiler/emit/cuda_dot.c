/* Dot regions as CUDA C: which dots a region has, its epilogue, and dots of f32, which are chains of fma per chunk. */
#include "cuda_dot.h"

struct cuda_dots cuda_dots(struct cuda_fn *f)
{
	struct cuda_dots d = {.few_rows = graph_has_few_rows(f->g), .quantises = cuda_quantises(f), .apart = 1};
	for (int i = 0; i < f->region->nnode; i++) {
		const struct node *n = &f->g->node[f->region->node[i]];
		d.flips = d.flips || n->op == OP_FLIP;
		if (n->op != OP_DOT)
			continue;
		if (d.ndot == CUDA_MAX_DOTS)
			BUG("a region has more than %d dots", CUDA_MAX_DOTS);
		d.node[d.ndot] = f->region->node[i];
		d.dot[d.ndot++] = dot_shape(f->g, n);
	}
	const struct type *lanes = &d.dot[0].n;
	if (d.flips)
		d.apart = (int)(f->g->axis[lanes->axis[lanes->naxis - 1]].extent / PANEL);
	return d;
}

void cuda_epilogue_spot(struct cuda_fn *f, const struct cuda_dots *d, const char *m, const char *n, const char *const *value, struct spot *s)
{
	spot_init(f, s);
	cuda_unflatten(f, s, &d->dot[0].m, 0, d->dot[0].m.naxis, m);
	cuda_unflatten(f, s, &d->dot[0].n, 0, d->dot[0].n.naxis, n);
	for (int i = 0; i < d->ndot; i++)
		spot_know(f, s, d->node[i], value[i]);
}

void cuda_epilogue(struct cuda_fn *f, const struct cuda_dots *d, const char *m, const char *n, const char *const *value)
{
	struct spot s;
	cuda_epilogue_spot(f, d, m, n, value, &s);
	cuda_store_all(f, &s);
}

/* ---- f32: a tile of 16 rows by 64 lanes, 4 neighbouring lanes a thread ---- */

enum { TILE_M = 16, TILE_N = 64, TILE_K = 32 };
_Static_assert(TILE_M * TILE_N == GPU_THREADS * 4, "4 lanes a thread");
_Static_assert(DOT_CHUNK % TILE_K == 0, "chunks are whole tiles");

static const char *lane_element(struct cuda_fn *f, const struct dot *d)
{
	const char *p = cuda_memory(f, d->lane);
	if (!d->panels)
		return cuda_text(f, "load_f32(%s, k * %lld + n)", p, (long long)d->row_stride);
	return cuda_text(f, "load_f32(%s, (n / 16 * %lld + k) * 16 + n %% 16)", p,
		(long long)type_extents(f->g, &d->r, 0, d->r.naxis));
}

static void multiply(struct cuda_fn *f, const struct dot *d, const char *total)
{
	cuda_line(f, "float %s[4], acc[4];", total);
	cuda_line(f, "UNROLL for (int j = 0; j < 4; j++) { %s[j] = from_bits(0x80000000u); acc[j] = 0; }", total);
	cuda_open(f, "for (i64 k0 = 0; k0 < nk; k0 += %d)", TILE_K);
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", TILE_K * TILE_N);
	cuda_line(f, "const i64 k = k0 + i / %d, n = n0 + i %% %d;", TILE_N, TILE_N);
	cuda_line(f, "a[i] = k < nk && n < nn ? %s : 0.0f;", lane_element(f, d));
	cuda_close(f);
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", TILE_M * TILE_K);
	cuda_line(f, "const i64 m = m0 + i / %d, k = k0 + i %% %d;", TILE_K, TILE_K);
	cuda_line(f, "b[i / %d * %d + i %% %d] = m < nm && k < nk ? load_f32(%s, m * %lld + k * %lld) : 0.0f;", TILE_K,
		TILE_K + 1, TILE_K, cuda_memory(f, d->broadcast), (long long)d->m_stride, (long long)d->k_stride);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_line(f, "const int end = nk - k0 < %d ? (int)(nk - k0) : %d;", TILE_K, TILE_K);
	cuda_open(f, "for (int k = 0; k < end; k++)");
	cuda_line(f, "UNROLL for (int j = 0; j < 4; j++) acc[j] = __fmaf_rn(b[row * %d + k], a[k * %d + lane + j], acc[j]);",
		TILE_K + 1, TILE_N);
	cuda_close(f);
	cuda_open(f, "if ((k0 + %d) %% %d == 0 || k0 + %d >= nk)", TILE_K, DOT_CHUNK, TILE_K);
	cuda_line(f, "UNROLL for (int j = 0; j < 4; j++) { %s[j] = %s[j] + acc[j]; acc[j] = 0; }", total, total);
	cuda_close(f);
	cuda_close(f);
}

static void dot_f32(struct cuda_fn *f, const struct cuda_dots *d)
{
	const struct dot *first = &d->dot[0];
	const char *total[CUDA_MAX_DOTS], *value[CUDA_MAX_DOTS];
	f->shared_bytes = (TILE_K * TILE_N + TILE_M * (TILE_K + 1)) * 4;
	cuda_line(f, "const i64 nm = %s, nn = %lld, nk = %s, across = %lld;", cuda_extents(f, &first->m, 0, first->m.naxis),
		(long long)first->nlanes, cuda_extents(f, &first->r, 0, first->r.naxis),
		(long long)((first->nlanes + TILE_N - 1) / TILE_N));
	cuda_line(f, "float *const a = (float *)shared, *const b = a + %d;", TILE_K * TILE_N);
	cuda_line(f, "const int row = THREAD / %d, lane = THREAD %% %d * 4;", TILE_N / 4, TILE_N / 4);
	cuda_open(f, "for (i64 item = block; item < (nm + %d) / %d * across; item += blocks)", TILE_M - 1, TILE_M);
	cuda_line(f, "const i64 n0 = item %% across * %d, m0 = item / across * %d;", TILE_N, TILE_M);
	for (int i = 0; i < d->ndot; i++) {
		total[i] = cuda_name(f, "total");
		cuda_line(f, "float %s[4];", total[i]);
		cuda_block(f);
		multiply(f, &d->dot[i], "sum");
		cuda_line(f, "UNROLL for (int j = 0; j < 4; j++) %s[j] = sum[j];", total[i]);
		cuda_close(f);
	}
	cuda_line(f, "UNROLL");
	cuda_open(f, "for (int j = 0; j < 4; j++)");
	cuda_line(f, "const i64 m = m0 + row, n = n0 + lane + j;");
	cuda_open(f, "if (m < nm && n < nn)");
	for (int i = 0; i < d->ndot; i++)
		value[i] = cuda_text(f, "%s[j]", total[i]);
	cuda_epilogue(f, d, "m", "n", value);
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

void cuda_dot(struct cuda_fn *f, int part)
{
	struct cuda_dots d = cuda_dots(f);
	(void)part;
	if (d.dot[0].dtype == DT_F32)
		dot_f32(f, &d);
	else
		cuda_dot_mma(f, &d);
}
