/* Map, reduce and scatter regions as CUDA C. */
#include <string.h>

#include "cuda_kernel.h"

/* ---- maps: a thread computes elements that are all threads apart, neighbours along the last axis ---- */

void cuda_map(struct cuda_fn *f, int part)
{
	const struct type *space = &f->region->space;
	struct spot s;
	(void)part;
	spot_init(f, &s);
	cuda_line(f, "const i64 n = %s;", cuda_extents(f, space, 0, space->naxis));
	cuda_open(f, "for (i64 i = block * (i64)THREADS + THREAD; i < n; i += blocks * (i64)THREADS)");
	cuda_unflatten(f, &s, space, 0, space->naxis, "i");
	cuda_store_all(f, &s);
	cuda_close(f);
}

/*
 * ---- reductions ----
 *
 * SUM_LANES threads to a row, each with an accumulator of ir.h; so many rows at a time. Where the last axis of the space is
 * reduced, neighbouring threads are accumulators of a row, else they are neighbouring rows: either way they read
 * neighbours.
 *
 * Long rows: all threads of a block to a row. They leave a chunk of its elements in shared memory, from which the first
 * SUM_LANES threads add: what SUM_LANES threads have on their way at a time is too little for a row, and a row a thread's share too long.
 */
enum { ROWS = GPU_THREADS / SUM_LANES, CHUNK = 4096, AT_ONCE = 16 };
struct reduction {
	struct type kept, reduced; /* of the space, in its order */
	bool along;                /* the last axis is reduced */
	bool wide;                 /* a block to a row */
	struct spot row;           /* its kept axes are set */
};

static bool is_reduce(const struct node *n)
{
	return op_info[n->op].class == CLASS_REDUCE;
}

static void split_space(const struct cuda_fn *f, struct reduction *r)
{
	const struct type *space = &f->region->space;
	const struct node *core = NULL;
	memset(r, 0, sizeof(*r));
	for (int i = 0; i < f->region->nnode && !core; i++)
		if (is_reduce(&f->g->node[f->region->node[i]]))
			core = &f->g->node[f->region->node[i]];
	for (int i = 0; i < space->naxis; i++) {
		struct type *t = type_has_axis(&core->type, space->axis[i]) ? &r->kept : &r->reduced;
		t->axis[t->naxis++] = space->axis[i];
	}
	r->along = !type_has_axis(&core->type, space->axis[space->naxis - 1]);
	bool few = type_extents(f->g, &r->kept, 0, r->kept.naxis) <= GPU_FEW_ROWS;
	r->wide = cuda_quantises(f) || (type_extents(f->g, &r->reduced, 0, r->reduced.naxis) > GPU_THREADS && (few || r->along));
}

/* Of the whole space, not of a row. */
static bool is_full(const struct cuda_fn *f, const struct reduction *r, int i)
{
	const struct node *n = &f->g->node[i];
	const struct type *t = n->op == OP_PUT || n->op == OP_ASSIGN ? &f->g->node[n->src[1]].type : &n->type;
	for (int a = 0; a < r->reduced.naxis; a++)
		if (type_has_axis(t, r->reduced.axis[a]))
			return true;
	return false;
}

/*
 * A loop over this thread's share of the row, some elements at a time: what they load is on its way together, since behind a store nothing may be
 * loaded that was not before. Spots of elements that are not there are the first one's; there[u] is a condition.
 */
enum { TOGETHER = 8 };
struct share {
	struct spot s[TOGETHER];
	const char *there[TOGETHER];
};

static void open_row(struct cuda_fn *f, const struct reduction *r, struct share *all)
{
	const char *first = cuda_name(f, "e");
	int step = r->wide ? GPU_THREADS : SUM_LANES;
	cuda_open(f, "for (i64 %s = lane; %s < (live ? nreduced : 0); %s += %d)", first, first, first, step * TOGETHER);
	for (int u = 0; u < TOGETHER; u++) {
		const char *e = u ? cuda_name(f, "e") : first;
		all->there[u] = u ? cuda_text(f, "%s + %d < nreduced", first, u * step) : "1";
		if (u)
			cuda_line(f, "const i64 %s = %s ? %s + %d : %s;", e, all->there[u], first, u * step, first);
		spot_fork(f, &all->s[u], &r->row);
		cuda_unflatten(f, &all->s[u], &r->reduced, 0, r->reduced.naxis, e);
	}
}

static void accumulate(struct cuda_fn *f, bool sum, const char *acc, const char *x)
{
	if (sum)
		cuda_line(f, "%s = %s + %s;", acc, acc, x);
	else
		cuda_line(f, "%s = %s > %s ? %s : %s;", acc, acc, x, acc, x);
}

/* Its elements by all threads, then into the accumulators by the first. */
static void reduce_wide(struct cuda_fn *f, struct reduction *r, const struct node *node, const char *acc)
{
	struct spot s;
	const char *e = cuda_name(f, "e");
	cuda_open(f, "for (i64 from = 0; from < nreduced; from += %d)", CHUNK);
	cuda_line(f, "const int end = nreduced - from < %d ? (int)(nreduced - from) : %d;", CHUNK, CHUNK);
	cuda_line(f, "sync_block();");
	cuda_open(f, "for (int i = THREAD; i < end; i += THREADS)");
	cuda_line(f, "const i64 %s = from + i;", e);
	spot_fork(f, &s, &r->row);
	cuda_unflatten(f, &s, &r->reduced, 0, r->reduced.naxis, e);
	cuda_line(f, "chunk[i] = %s;", cuda_eval(f, node->src[0], &s));
	cuda_close(f);
	cuda_line(f, "sync_block();");
	/* Loads wait for nothing, additions for each other. */
	cuda_open(f, "for (int i = THREAD; i < end && THREAD < %d; i += %d)", SUM_LANES, SUM_LANES * AT_ONCE);
	cuda_line(f, "float x[%d];", AT_ONCE);
	cuda_line(f, "UNROLL for (int u = 0; u < %d; u++) x[u] = chunk[i + u * %d < %d ? i + u * %d : i];", AT_ONCE, SUM_LANES, CHUNK, SUM_LANES);
	cuda_open(f, "UNROLL for (int u = 0; u < %d; u++)", AT_ONCE);
	cuda_open(f, "if (i + u * %d < end)", SUM_LANES);
	accumulate(f, node->op == OP_SUM, acc, "x[u]");
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
	cuda_close(f);
}

static void reduce(struct cuda_fn *f, struct reduction *r, int n)
{
	const struct node *node = &f->g->node[n];
	bool sum = node->op == OP_SUM;
	const char *acc = cuda_name(f, "a"), *value = cuda_name(f, "v");
	int apart = r->wide ? 1 : ROWS;
	struct share all;
	cuda_line(f, "float %s = %s;", acc, sum ? "0" : "from_bits(0xff800000u)");
	if (r->wide) {
		reduce_wide(f, r, node, acc);
	} else {
		const char *x[TOGETHER];
		open_row(f, r, &all);
		for (int u = 0; u < TOGETHER; u++)
			x[u] = cuda_eval(f, node->src[0], &all.s[u]);
		for (int u = 0; u < TOGETHER; u++) {
			cuda_open(f, "if (%s)", all.there[u]);
			accumulate(f, sum, acc, x[u]);
			cuda_close(f);
		}
		cuda_close(f);
	}
	cuda_line(f, "sync_block();");
	cuda_line(f, "%s((float *)shared)[lane * %d + row] = %s;", r->wide ? "if (lane < 16) " : "", apart, acc);
	cuda_line(f, "sync_block();");
	cuda_line(f, "const float %s = tree_%s((float *)shared + row, %d);", value, sum ? "sum" : "max", apart);
	spot_know(f, &r->row, n, value);
}

/* A norm's weights, which nobody has read since the last token: they come from memory while the row is summed. */
static void ask_for_params(struct cuda_fn *f)
{
	enum { LINE = 128, MOST = 1 << 16 };
	for (int i = 0; i < f->ntouched; i++) {
		const struct node *n = &f->g->node[f->touched[i]];
		int64_t bytes = n->op == OP_PARAM ? tensor_bytes(f->g, n) : 0;
		if (bytes && bytes <= MOST)
			cuda_line(f, "for (int i = THREAD * %d; i < %lld && block < nrows; i += THREADS * %d) ask_line(%s + i);", LINE,
				(long long)bytes, LINE, cuda_memory(f, f->touched[i]));
	}
}

void cuda_reduce(struct cuda_fn *f, int part)
{
	struct reduction r;
	struct share full;
	bool any_full = false, any_row = false;
	(void)part;
	split_space(f, &r);
	spot_init(f, &r.row);
	int rows = r.wide ? 1 : ROWS;
	f->shared_bytes = GPU_THREADS * 4 + (r.wide ? CHUNK * 4 : 0);
	if (r.wide) {
		cuda_line(f, "const int lane = THREAD, row = 0;");
		cuda_line(f, "float *const chunk = (float *)shared + %d;", GPU_THREADS);
	} else {
		cuda_line(f, "const int lane = %s, row = %s;", r.along ? "THREAD % 16" : "THREAD / 16",
			r.along ? "THREAD / 16" : "THREAD % 16");
	}
	cuda_line(f, "const i64 nrows = %s, nreduced = %s;", cuda_extents(f, &r.kept, 0, r.kept.naxis),
		cuda_extents(f, &r.reduced, 0, r.reduced.naxis));
	if (r.wide)
		ask_for_params(f);
	cuda_open(f, "for (i64 first = block * (i64)%d; first < nrows; first += blocks * (i64)%d)", rows, rows);
	cuda_line(f, "const int live = first + row < nrows;");
	cuda_line(f, "const i64 at = live ? first + row : 0;");
	cuda_unflatten(f, &r.row, &r.kept, 0, r.kept.naxis, "at");
	for (int i = 0; i < f->region->nnode; i++) {
		int n = f->region->node[i];
		const struct node *node = &f->g->node[n];
		if (is_reduce(node))
			reduce(f, &r, n);
		else if (is_full(f, &r, n))
			any_full = any_full || node->stored;
		else if (node->op != OP_ASSIGN)
			cuda_eval(f, n, &r.row); /* here, where every later loop can see it */
		any_row = any_row || (node->stored && !is_full(f, &r, n));
	}
	if (any_row) {
		struct spot s;
		spot_fork(f, &s, &r.row);
		cuda_open(f, "if (live && lane == 0)");
		for (int i = 0; i < f->region->nnode; i++)
			if (f->g->node[f->region->node[i]].stored && !is_full(f, &r, f->region->node[i]))
				cuda_store(f, f->region->node[i], &s);
		cuda_close(f);
	}
	if (any_full) {
		open_row(f, &r, &full);
		for (int u = 0; u < TOGETHER; u++)
			cuda_eval_stored(f, &full.s[u]);
		for (int u = 0; u < TOGETHER; u++) {
			cuda_open(f, "if (%s)", full.there[u]);
			for (int i = 0; i < f->region->nnode; i++)
				if (f->g->node[f->region->node[i]].stored && is_full(f, &r, f->region->node[i]))
					cuda_store(f, f->region->node[i], &full.s[u]);
			cuda_close(f);
		}
		cuda_close(f);
	}
	cuda_close(f);
}

/*
 * ---- scatter: a block owns rows of the result, clears them, and adds all rows of the source that go there in their
 * order; a thread owns columns ----
 */
void cuda_scatter(struct cuda_fn *f, int part)
{
	int n = f->region->node[0];
	const struct node *node = &f->g->node[n], *x = &f->g->node[node->src[0]];
	struct type columns = {0};
	struct spot clear, row, add;
	(void)part;
	for (int i = 0; i < node->type.naxis; i++)
		if (node->type.axis[i] != node->axis)
			columns.axis[columns.naxis++] = node->type.axis[i];
	cuda_line(f, "const i64 nrows = %s, ncolumns = %s, nadded = %s;", cuda_extent(f, node->axis),
		cuda_extents(f, &columns, 0, columns.naxis), cuda_extent(f, x->type.axis[0]));
	cuda_line(f, "const i64 each = (nrows + blocks - 1) / blocks, from = block * each;");
	cuda_line(f, "const i64 to = from + each < nrows ? from + each : nrows;");
	cuda_open(f, "for (i64 c = THREAD; c < ncolumns; c += THREADS)");
	spot_init(f, &clear);
	spot_know(f, &clear, n, "0.0f");
	cuda_unflatten(f, &clear, &columns, 0, columns.naxis, "c");
	cuda_open(f, "for (i64 a = from; a < to; a++)");
	clear.index[node->axis] = "a";
	cuda_store(f, n, &clear);
	cuda_close(f);
	cuda_close(f);
	spot_init(f, &row);
	cuda_open(f, "for (i64 i = 0; i < nadded; i++)");
	row.index[x->type.axis[0]] = "i";
	const char *index = cuda_eval(f, node->src[1], &row);
	cuda_open(f, "if (%s < from || %s >= to)", index, index);
	cuda_line(f, "continue;");
	cuda_close(f);
	cuda_open(f, "for (i64 c = THREAD; c < ncolumns; c += THREADS)");
	spot_fork(f, &add, &row);
	cuda_unflatten(f, &add, &columns, 0, columns.naxis, "c");
	const char *value = cuda_eval(f, node->src[0], &add), *sum = cuda_name(f, "v");
	add.index[node->axis] = index;
	cuda_line(f, "const float %s = %s + %s;", sum, cuda_load(f, n, &add), value);
	spot_know(f, &add, n, sum);
	cuda_store(f, n, &add);
	cuda_close(f);
	cuda_close(f);
}
