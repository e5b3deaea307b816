/*
 * Gradients of attention as CUDA C, by two kernels, and by plain arithmetic where tensor cores cannot (cuda_attention_grad_mma.c).
 * Part 0: a block takes a row of a query head, finds its largest score, sum and delta, which it leaves in scratch, and the gradient
 * of q. Part 1: a block takes TILE slots of a query head, and
 * walks rows in tiles: weights and their gradients of a tile, then what they add to the gradients of k and v. Scores are
 * computed again wherever they are wanted, so memory does not grow with rows times slots.
 */
#include "cuda_heads.h"

enum { TILE = 32, KEPT = KEPT_OF_ROW };

static void store(struct cuda_fn *f, const struct cuda_heads *h, int n, const char *value, const char *const *at)
{
	struct spot s;
	spot_init(f, &s);
	cuda_heads_place(f, h, &s, at);
	spot_know(f, &s, n, value);
	cuda_store(f, n, &s);
}

/* Declares score and, where it is wanted, dp of row n, in shared q and dout, and slot s. */
static void score(struct cuda_fn *f, const struct cuda_heads *h, const char *dp)
{
	cuda_line(f, "float score = 0%s;", dp ? ", dp = 0" : "");
	cuda_open(f, "for (int c = 0; c < %lld; c++)", (long long)h->h.features);
	cuda_line(f, "score = __fmaf_rn(q[c], %s, score);", cuda_heads_slot(f, h, h->h.kk, "s", "b", "c"));
	if (dp)
		cuda_line(f, "dp = __fmaf_rn(dout[c], %s, dp);", cuda_heads_slot(f, h, h->h.v, "s", "b", "c"));
	cuda_close(f);
}

static void rows_part(struct cuda_fn *f, const struct cuda_heads *h)
{
	const struct node *n = h->h.n;
	long long features = (long long)h->h.features, heads = (long long)(h->h.batches * h->h.groups);
	long long most = (long long)f->g->axis[h->row].extent;
	int dq = cuda_heads_node(f, OP_ATTENTION_DQ);
	f->shared_bytes = (4 * features + PV_CHUNK) * 4;
	cuda_line(f, "float *const q = (float *)shared, *const dout = q + %lld, *const o = dout + %lld;", features, features);
	cuda_line(f, "float *const sums = o + %lld, *const ds = sums + %lld;", features, features);
	cuda_open(f, "for (i64 item = block; item < %s * (i64)%lld; item += blocks)", cuda_extent(f, h->row), heads);
	cuda_line(f, "const i64 n = item / %lld;", heads);
	cuda_line(f, "const int head = (int)(item %% %lld), b = head / %lld, g = head %% %lld;", heads, (long long)h->h.groups,
		(long long)h->h.groups);
	cuda_line(f, "const int lo = load_i32(%s, n), hi = load_i32(%s, n);", cuda_memory(f, h->h.lo), cuda_memory(f, h->h.hi));
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int c = THREAD; c < %lld; c += THREADS)", features);
	cuda_line(f, "q[c] = %s;", cuda_heads_row(f, h, h->h.q, "n", "b", "g", "c"));
	cuda_line(f, "dout[c] = %s;", cuda_heads_row(f, h, n->src[6], "n", "b", "g", "c"));
	cuda_line(f, "o[c] = %s;", cuda_heads_row(f, h, n->src[5], "n", "b", "g", "c"));
	cuda_line(f, "sums[c] = 0;");
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_line(f, "float delta = 0, most = from_bits(0xff800000u), l = 0;");
	cuda_line(f, "for (int c = 0; c < %lld; c++) delta = __fmaf_rn(dout[c], o[c], delta);", features);
	cuda_open(f, "for (int s0 = lo / %d * %d; s0 < hi; s0 += %d)", PV_CHUNK, PV_CHUNK, PV_CHUNK);
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", PV_CHUNK);
	cuda_line(f, "const int s = s0 + i;");
	cuda_line(f, "ds[i] = from_bits(0xff800000u);");
	cuda_open(f, "if (s >= lo && s < hi)");
	score(f, h, NULL);
	cuda_line(f, "ds[i] = score;");
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	/* Every warp for itself: all threads know the sums then. */
	cuda_line(f, "float here = most, sum = 0;");
	cuda_line(f, "for (int i = THREAD %% 32; i < %d; i += 32) here = larger(here, ds[i]);", PV_CHUNK);
	cuda_line(f, "here = warp_max_f32(here);");
	cuda_line(f, "for (int i = THREAD %% 32; i < %d; i += 32) sum = sum + exp_f32(ds[i] - here);", PV_CHUNK);
	cuda_line(f, "l = l * exp_f32(most - here) + warp_sum_f32(sum);");
	cuda_line(f, "most = here;");
	cuda_line(f, "sync_block();");
	cuda_close(f);
	cuda_line(f, "const float by = __fdiv_rn(1.0f, l);");
	cuda_open(f, "if (THREAD == 0)");
	cuda_line(f, "store_f32(scratch, (head * %lldL + n) * %d, most);", most, KEPT);
	cuda_line(f, "store_f32(scratch, (head * %lldL + n) * %d + 1, by);", most, KEPT);
	cuda_line(f, "store_f32(scratch, (head * %lldL + n) * %d + 2, delta);", most, KEPT);
	cuda_close(f);
	if (dq >= 0) {
		cuda_open(f, "for (int s0 = lo / %d * %d; s0 < hi; s0 += %d)", PV_CHUNK, PV_CHUNK, PV_CHUNK);
		cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", PV_CHUNK);
		cuda_line(f, "const int s = s0 + i;");
		cuda_open(f, "if (s >= lo && s < hi)");
		score(f, h, "dp");
		cuda_line(f, "ds[i] = exp_f32(score - most) * by * (dp - delta);");
		cuda_close(f);
		cuda_close(f);
		cuda_line(f, "sync_block();");
		cuda_line(f, "const int from = s0 > lo ? s0 : lo, to = s0 + %d < hi ? s0 + %d : hi;", PV_CHUNK, PV_CHUNK);
		cuda_open(f, "for (int c = THREAD; c < %lld; c += THREADS)", features);
		cuda_line(f, "float sum = sums[c];");
		cuda_line(f, "for (int s = from; s < to; s++)");
		cuda_line(f, "{");
		cuda_line(f, "sum = __fmaf_rn(ds[s - s0], %s, sum);", cuda_heads_slot(f, h, h->h.kk, "s", "b", "c"));
		cuda_line(f, "}");
		cuda_line(f, "sums[c] = sum;");
		cuda_close(f);
		cuda_line(f, "sync_block();");
		cuda_close(f);
		cuda_open(f, "for (int c = THREAD; c < %lld; c += THREADS)", features);
		cuda_line(f, "const float x = 0.0f + sums[c];");
		store(f, h, dq, "x", (const char *[NAT]){[AT_ROW] = "n", [AT_BATCH] = "b", [AT_GROUP] = "g", [AT_FEATURE] = "c"});
		cuda_close(f);
	}
	cuda_close(f);
}

/* A tile of rows or slots in shared memory, features behind each other; 0 where there are none. */
static void load_tile(struct cuda_fn *f, const struct cuda_heads *h, const char *to, int node, const char *first)
{
	bool slots = first[0] == 's';
	long long features = (long long)h->h.features;
	cuda_open(f, "for (int i = THREAD; i < %lld; i += THREADS)", TILE * features);
	cuda_line(f, "const i64 at = %s + i / %lld;", first, features);
	cuda_line(f, "const int c = i %% %lld;", features);
	cuda_line(f, "float x = 0;");
	cuda_open(f, "if (at < %s)", cuda_extent(f, slots ? h->slot : h->row));
	cuda_line(f, "x = %s;", slots ? cuda_heads_slot(f, h, node, "at", "b", "c")
				      : cuda_heads_row(f, h, node, "at", "b", "g", "c"));
	cuda_close(f);
	cuda_line(f, "%s[i / %lld * %lld + c] = x;", to, features, features + 1);
	cuda_close(f);
}

static void slots_part(struct cuda_fn *f, const struct cuda_heads *h)
{
	const struct node *n = h->h.n;
	long long features = (long long)h->h.features, heads = (long long)(h->h.batches * h->h.groups), row = features + 1;
	long long most = (long long)f->g->axis[h->row].extent, each = (TILE * features + GPU_THREADS - 1) / GPU_THREADS;
	const int out[] = {cuda_heads_node(f, OP_ATTENTION_DK), cuda_heads_node(f, OP_ATTENTION_DV)};
	const char *const sums[] = {"dk", "dv"}, *const with[] = {"ds", "w"}, *const of[] = {"q", "dout"};
	f->shared_bytes = (4 * TILE * row + 2 * TILE * (TILE + 1)) * 4;
	cuda_line(f, "float *const q = (float *)shared, *const dout = q + %lld, *const kt = dout + %lld;", TILE * row,
		TILE * row);
	cuda_line(f, "float *const vt = kt + %lld, *const w = vt + %lld, *const ds = w + %d;", TILE * row, TILE * row,
		TILE * (TILE + 1));
	cuda_line(f, "const i64 nrows = %s, nslots = %s;", cuda_extent(f, h->row), cuda_extent(f, h->slot));
	cuda_open(f, "for (i64 item = block; item < (nslots + %d) / %d * %lld; item += blocks)", TILE - 1, TILE, heads);
	cuda_line(f, "const int head = (int)(item %% %lld), b = head / %lld, g = head %% %lld;", heads, (long long)h->h.groups,
		(long long)h->h.groups);
	cuda_line(f, "const i64 s0 = item / %lld * %d;", heads, TILE);
	for (int i = 0; i < 2; i++)
		if (out[i] >= 0)
			cuda_line(f, "float %s[%lld]; UNROLL for (int i = 0; i < %lld; i++) %s[i] = 0;", sums[i], each, each, sums[i]);
	cuda_line(f, "sync_block();");
	load_tile(f, h, "kt", h->h.kk, "s0");
	load_tile(f, h, "vt", h->h.v, "s0");
	cuda_open(f, "for (i64 n0 = 0; n0 < nrows; n0 += %d)", TILE);
	cuda_line(f, "sync_block();");
	load_tile(f, h, "q", h->h.q, "n0");
	load_tile(f, h, "dout", n->src[6], "n0");
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < %d; i += THREADS)", TILE * TILE);
	cuda_line(f, "const i64 n = n0 + i / %d, s = s0 + i %% %d;", TILE, TILE);
	cuda_line(f, "float x = 0, y = 0;");
	cuda_open(f, "if (n < nrows && s >= load_i32(%s, n) && s < load_i32(%s, n))", cuda_memory(f, h->h.lo),
		cuda_memory(f, h->h.hi));
	cuda_line(f, "const float *const qn = q + i / %d * %lld, *const dn = dout + i / %d * %lld;", TILE, row, TILE, row);
	cuda_line(f, "const float *const ks = kt + i %% %d * %lld, *const vs = vt + i %% %d * %lld;", TILE, row, TILE, row);
	cuda_line(f, "float score = 0, dp = 0;");
	cuda_open(f, "for (int c = 0; c < %lld; c++)", features);
	cuda_line(f, "score = __fmaf_rn(qn[c], ks[c], score);");
	cuda_line(f, "dp = __fmaf_rn(dn[c], vs[c], dp);");
	cuda_close(f);
	cuda_line(f, "x = exp_f32(score - load_f32(scratch, (head * %lldL + n) * %d)) * load_f32(scratch, (head * %lldL + n) * %d + 1);",
		most, KEPT, most, KEPT);
	cuda_line(f, "y = x * (dp - load_f32(scratch, (head * %lldL + n) * %d + 2));", most, KEPT);
	cuda_close(f);
	cuda_line(f, "w[i / %d * %d + i %% %d] = x;", TILE, TILE + 1, TILE);
	cuda_line(f, "ds[i / %d * %d + i %% %d] = y;", TILE, TILE + 1, TILE);
	cuda_close(f);
	cuda_line(f, "sync_block();");
	cuda_line(f, "UNROLL");
	cuda_open(f, "for (int j = 0; j < %lld; j++)", each);
	cuda_line(f, "const int i = THREAD + j * THREADS, s = i / %lld, c = i %% %lld;", features, features);
	cuda_open(f, "if (i < %lld)", TILE * features);
	for (int i = 0; i < 2; i++)
		if (out[i] >= 0)
			cuda_line(f, "for (int r = 0; r < %d; r++) %s[j] = __fmaf_rn(%s[r * %d + s], %s[r * %lld + c], %s[j]);", TILE,
				sums[i], with[i], TILE + 1, of[i], row, sums[i]);
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
	cuda_line(f, "UNROLL");
	cuda_open(f, "for (int j = 0; j < %lld; j++)", each);
	cuda_line(f, "const int i = THREAD + j * THREADS, c = i %% %lld;", features);
	cuda_line(f, "const i64 s = s0 + i / %lld;", features);
	cuda_open(f, "if (i < %lld && s < nslots)", TILE * features);
	for (int i = 0; i < 2; i++)
		if (out[i] >= 0) {
			const char *x = cuda_name(f, "x");
			cuda_line(f, "const float %s = 0.0f + %s[j];", x, sums[i]);
			store(f, h, out[i], x,
				(const char *[NAT]){[AT_SLOT] = "s", [AT_BATCH] = "b", [AT_GROUP] = "g", [AT_FEATURE] = "c"});
		}
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

void cuda_attention_grad(struct cuda_fn *f, int part)
{
	struct cuda_heads h = cuda_heads(f->g, &f->g->node[f->region->node[0]]);
	f->scratch_bytes = h.h.batches * h.h.groups * f->g->axis[h.row].extent * KEPT * 4;
	bool by_mma = cuda_attention_grad_by_mma(f->g, &f->g->node[f->region->node[0]]);
	if (by_mma && part == 0)
		cuda_attention_grad_rows_mma(f);
	else if (by_mma)
		cuda_attention_grad_slots_mma(f);
	else if (part == 0)
		rows_part(f, &h);
	else
		slots_part(f, &h);
}

int cuda_parts(const struct graph *g, const struct region *r)
{
	const struct node *n = &g->node[r->node[0]];
	bool slots = false;
	for (int i = 0; i < r->nnode; i++)
		slots = slots || g->node[r->node[i]].op == OP_ATTENTION_DK || g->node[r->node[i]].op == OP_ATTENTION_DV;
	return cuda_attention_splits(g, r) || (op_info[n->op].class == CLASS_ATTENTION && slots) ? 2 : 1;
}
