/*
 * Attention as CUDA C, by plain arithmetic: of all but bf16 (cuda_attention_mma.c). A block takes a row and a KV head with
 * all its query heads, and walks slots in ranges of PV_CHUNK: scores, a thread a slot; the softmax of the range, a warp a query
 * head; sums of values, a thread a feature. What was summed before is scaled to the largest score until then (Milakov &
 * Gimelshein 2018; Dao et al. 2022).
 */
#include "cuda_heads.h"

struct cuda_heads cuda_heads(const struct graph *g, const struct node *n)
{
	struct cuda_heads h = {.h = attention_heads(g, n), .slot = n->axis};
	const struct type *q = &g->node[h.h.q].type;
	int at = 1;
	h.row = q->axis[0];
	for (int i = 0; i < h.h.nbatch; i++)
		h.batch.axis[h.batch.naxis++] = q->axis[at++];
	for (int i = 0; i < h.h.ngroup; i++)
		h.group.axis[h.group.naxis++] = q->axis[at++];
	for (int i = 0; i < h.h.nfeature; i++)
		h.feature.axis[h.feature.naxis++] = q->axis[at++];
	return h;
}

void cuda_warp_span(struct cuda_fn *f, int lanes)
{
	cuda_open(f, "UNROLL for (int i = %d; i < 32; i *= 2)", lanes);
	cuda_line(f, "const int low = (int)shuffle_xor((u32)first, i), high = (int)shuffle_xor((u32)last, i);");
	cuda_line(f, "first = low < first ? low : first;");
	cuda_line(f, "last = high > last ? high : last;");
	cuda_close(f);
}

void cuda_heads_slots(struct cuda_fn *f, const struct cuda_heads *h)
{
	cuda_line(f, "int lo[2], hi[2];");
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "const int known = q0 + g + 8 * r < nq;");
	cuda_line(f, "const i64 n = (q0 + g + 8 * r) / %lld;", (long long)h->h.groups);
	cuda_line(f, "lo[r] = known ? load_i32(%s, n) : 0;", cuda_memory(f, h->h.lo));
	cuda_line(f, "hi[r] = known ? load_i32(%s, n) : 0;", cuda_memory(f, h->h.hi));
	cuda_close(f);
}

void cuda_heads_spans(struct cuda_fn *f)
{
	cuda_line(f, "int first = 0x7fffffff, last = 0, latest = 0, soonest = 0x7fffffff;");
	cuda_open(f, "UNROLL for (int r = 0; r < 2; r++)");
	cuda_line(f, "const int known = q0 + g + 8 * r < nq;");
	cuda_line(f, "first = known && lo[r] < first ? lo[r] : first;");
	cuda_line(f, "last = hi[r] > last ? hi[r] : last;");
	cuda_line(f, "latest = known && lo[r] > latest ? lo[r] : latest;");
	cuda_line(f, "soonest = known && hi[r] < soonest ? hi[r] : soonest;");
	cuda_close(f);
	cuda_warp_span(f, 4);
	cuda_open(f, "UNROLL for (int i = 4; i < 32; i *= 2)");
	cuda_line(f, "const int a = (int)shuffle_xor((u32)latest, i), z = (int)shuffle_xor((u32)soonest, i);");
	cuda_line(f, "latest = a > latest ? a : latest;");
	cuda_line(f, "soonest = z < soonest ? z : soonest;");
	cuda_close(f);
}

int cuda_heads_node(const struct cuda_fn *f, enum op op)
{
	for (int i = 0; i < f->region->nnode; i++)
		if (f->g->node[f->region->node[i]].op == op)
			return f->region->node[i];
	return -1;
}

void cuda_heads_place(struct cuda_fn *f, const struct cuda_heads *h, struct spot *s, const char *const *at)
{
	if (at[AT_ROW])
		s->index[h->row] = at[AT_ROW];
	if (at[AT_SLOT])
		s->index[h->slot] = at[AT_SLOT];
	if (at[AT_BATCH])
		cuda_unflatten(f, s, &h->batch, 0, h->batch.naxis, at[AT_BATCH]);
	if (at[AT_GROUP])
		cuda_unflatten(f, s, &h->group, 0, h->group.naxis, at[AT_GROUP]);
	if (at[AT_FEATURE])
		cuda_unflatten(f, s, &h->feature, 0, h->feature.naxis, at[AT_FEATURE]);
}

static const char *load(struct cuda_fn *f, const struct cuda_heads *h, int node, const char *const *at)
{
	struct spot s;
	spot_init(f, &s);
	cuda_heads_place(f, h, &s, at);
	return cuda_load(f, node, &s);
}

const char *cuda_heads_row(struct cuda_fn *f, const struct cuda_heads *h, int node, const char *row, const char *b,
	const char *g, const char *c)
{
	const char *at[NAT] = {[AT_ROW] = row, [AT_BATCH] = b, [AT_GROUP] = g, [AT_FEATURE] = c};
	return load(f, h, node, at);
}

const char *cuda_heads_slot(struct cuda_fn *f, const struct cuda_heads *h, int node, const char *slot, const char *b,
	const char *c)
{
	const char *at[NAT] = {[AT_SLOT] = slot, [AT_BATCH] = b, [AT_FEATURE] = c};
	return load(f, h, node, at);
}

static void scores(struct cuda_fn *f, const struct cuda_heads *h, long long groups, long long features)
{
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", PV_CHUNK);
	cuda_line(f, "const int s = s0 + i;");
	cuda_line(f, "float sum[%lld];", groups);
	cuda_line(f, "UNROLL for (int g = 0; g < %lld; g++) sum[g] = 0;", groups);
	cuda_line(f, "const int there = s >= lo && s < hi;");
	cuda_open(f, "for (int c = 0; c < (there ? %lld : 0); c++)", features);
	cuda_line(f, "const float x = %s;", cuda_heads_slot(f, h, h->h.kk, "s", "b", "c"));
	cuda_line(f, "UNROLL for (int g = 0; g < %lld; g++) sum[g] = __fmaf_rn(q[g * %lld + c], x, sum[g]);", groups, features);
	cuda_close(f);
	cuda_line(f, "UNROLL for (int g = 0; g < %lld; g++) p[g * %d + i] = there ? sum[g] : from_bits(0xff800000u);", groups,
		PV_CHUNK);
	cuda_close(f);
}

static void softmax(struct cuda_fn *f, long long groups)
{
	cuda_open(f, "for (int g = THREAD / 32; g < %lld; g += THREADS / 32)", groups);
	cuda_line(f, "float *const mine = p + g * %d;", PV_CHUNK);
	cuda_line(f, "float most = from_bits(0xff800000u), sum = 0;");
	cuda_line(f, "for (int i = THREAD %% 32; i < %d; i += 32) most = larger(most, mine[i]);", PV_CHUNK);
	cuda_line(f, "const float before = m[g], now = larger(before, warp_max_f32(most));");
	cuda_open(f, "for (int i = THREAD %% 32; i < %d; i += 32)", PV_CHUNK);
	cuda_line(f, "const float x = exp_f32(mine[i] - now);");
	cuda_line(f, "mine[i] = x;");
	cuda_line(f, "sum = sum + x;");
	cuda_close(f);
	cuda_line(f, "sum = warp_sum_f32(sum);");
	cuda_open(f, "if (THREAD %% 32 == 0)");
	cuda_line(f, "scale[g] = exp_f32(before - now);");
	cuda_line(f, "m[g] = now;");
	cuda_line(f, "l[g] = l[g] * scale[g] + sum;");
	cuda_close(f);
	cuda_close(f);
}

static void attention(struct cuda_fn *f)
{
	int n = f->region->node[0];
	struct cuda_heads h = cuda_heads(f->g, &f->g->node[n]);
	long long groups = (long long)h.h.groups, features = (long long)h.h.features, all = groups * features;
	struct spot out;
	f->shared_bytes = (2 * all + groups * PV_CHUNK + 3 * groups) * 4;
	cuda_line(f, "float *const q = (float *)shared, *const o = q + %lld, *const p = o + %lld;", all, all);
	cuda_line(f, "float *const m = p + %lld, *const l = m + %lld, *const scale = l + %lld;", groups * PV_CHUNK, groups,
		groups);
	cuda_open(f, "for (i64 item = block; item < %s * (i64)%lld; item += blocks)", cuda_extent(f, h.row),
		(long long)h.h.batches);
	cuda_line(f, "const i64 n = item / %lld;", (long long)h.h.batches);
	cuda_line(f, "const int b = (int)(item %% %lld);", (long long)h.h.batches);
	cuda_line(f, "const int lo = load_i32(%s, n), hi = load_i32(%s, n);", cuda_memory(f, h.h.lo), cuda_memory(f, h.h.hi));
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", all);
	cuda_line(f, "const int g = i / %lld, c = i %% %lld;", features, features);
	cuda_line(f, "q[i] = %s;", cuda_heads_row(f, &h, h.h.q, "n", "b", "g", "c"));
	cuda_line(f, "o[i] = 0;");
	cuda_close(f);
	cuda_line(f, "for (int g = THREAD; g < %lld; g += THREADS) { m[g] = from_bits(0xff800000u); l[g] = 0; }", groups);
	cuda_open(f, "for (int s0 = lo / %d * %d; s0 < hi; s0 += %d)", PV_CHUNK, PV_CHUNK, PV_CHUNK);
	cuda_line(f, "sync_block();");
	scores(f, &h, groups, features);
	cuda_line(f, "sync_block();");
	softmax(f, groups);
	cuda_line(f, "sync_block();");
	cuda_line(f, "const int from = s0 > lo ? s0 : lo, to = s0 + %d < hi ? s0 + %d : hi;", PV_CHUNK, PV_CHUNK);
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", all);
	cuda_line(f, "const int g = i / %lld, c = i %% %lld;", features, features);
	cuda_line(f, "float sum = 0;");
	cuda_open(f, "for (int s = from; s < to; s++)");
	cuda_line(f, "sum = __fmaf_rn(p[g * %d + s - s0], %s, sum);", PV_CHUNK, cuda_heads_slot(f, &h, h.h.v, "s", "b", "c"));
	cuda_close(f);
	cuda_line(f, "o[i] = o[i] * scale[g] + sum;");
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", all);
	cuda_line(f, "const int g = i / %lld, c = i %% %lld;", features, features);
	cuda_line(f, "const float x = __fdiv_rn(o[i], l[g]);");
	spot_init(f, &out);
	cuda_heads_place(f, &h, &out, (const char *[NAT]){[AT_ROW] = "n", [AT_BATCH] = "b", [AT_GROUP] = "g", [AT_FEATURE] = "c"});
	spot_know(f, &out, n, "x");
	cuda_store_all(f, &out);
	cuda_close(f);
	cuda_close(f);
}

void cuda_attention(struct cuda_fn *f, int part)
{
	const struct node *n = &f->g->node[f->region->node[0]];
	if (n->op != OP_ATTENTION)
		cuda_attention_grad(f, part);
	else if (cuda_attention_by_mma(f->g, n))
		cuda_attention_mma(f, part);
	else
		attention(f);
}
