/*
 * Regions: which nodes become one kernel.
 *
 * Anchors (dot, attention, scatter, quantise, reductions) open regions. A map whose users all end in one
 * reduction is pulled into it (the square of an RMSNorm is never stored); any other map goes behind a
 * region that computes one of its sources, if it loops over the same axes and nothing it needs
 * depends on that region by another way (an epilogue); what is left opens map regions. Two dot
 * regions that meet in a map (gate and up) become one, and so do two map regions. Maps of constants alone, and of an
 * input that is smaller, have no region and are evaluated where they are used. Regions are finally ordered by their dependencies; a read of a
 * state goes before the write of it that comes later in the graph.
 */
#include <string.h>

#include "ir.h"
#include "layout.h"

enum { INLINE = -1 };

struct work {
	struct graph *g;
	struct arena arena;
	struct region *region; /* nnode 0: merged away */
	int *first, *last;     /* smallest and largest node of each region */
	int *visited, stamp;
	int nregion;
	int *pull;             /* the reduction a node is pulled into, -1: none */
	int **reader, *nreader;/* of each state leaf: nodes that read it directly */
	enum regions_for target;
};

static enum op_class class_of(const struct node *n)
{
	return op_info[n->op].class;
}

static bool is_anchor(const struct node *n)
{
	enum op_class c = class_of(n);
	return c == CLASS_DOT || c == CLASS_ATTENTION || c == CLASS_REDUCE || c == CLASS_QUANTISE ||
		n->op == OP_SCATTER;
}

/* An elementwise op on registers: may be evaluated at any place that has its axes. */
static bool is_elementwise(const struct node *n)
{
	return class_of(n) == CLASS_MAP || class_of(n) == CLASS_INDEX || n->op == OP_GATHER;
}

static int new_region(struct work *w, enum region_kind kind, struct type space)
{
	int r = w->nregion++;
	space.dtype = DT_F32;
	space.outer = 0;
	w->region[r] = (struct region){.kind = kind, .space = space};
	w->first[r] = w->g->nnode;
	w->last[r] = -1;
	return r;
}

static void place(struct work *w, int i, int r)
{
	struct region *region = &w->region[r];
	w->g->node[i].region = r;
	*arena_push(&w->arena, region->node, region->nnode) = i;
	if (i < w->first[r])
		w->first[r] = i;
	if (i > w->last[r])
		w->last[r] = i;
}

static bool region_depends(struct work *w, int r, int on);

static bool node_depends(struct work *w, int i, int on)
{
	const struct graph *g = w->g;
	const struct node *n = &g->node[i];
	for (int s = 0; s < op_info[n->op].nsrc; s++)
		if (g->node[n->src[s]].region >= 0 && region_depends(w, g->node[n->src[s]].region, on))
			return true;
	if (n->op != OP_PUT && n->op != OP_ASSIGN)
		return false;
	int leaf = state_of(g, i);
	for (int k = 0; k < w->nreader[leaf]; k++) {
		int reader = w->reader[leaf][k];
		if (reader < i && g->node[reader].region >= 0 &&
			region_depends(w, g->node[reader].region, on))
			return true;
	}
	return false;
}

/* Whether region r is, or must run after, region `on`. */
static bool region_depends(struct work *w, int r, int on)
{
	if (r == on)
		return true;
	if (w->visited[r] == w->stamp || w->last[r] < w->first[on])
		return false;
	w->visited[r] = w->stamp;
	for (int k = 0; k < w->region[r].nnode; k++)
		if (node_depends(w, w->region[r].node[k], on))
			return true;
	return false;
}

/* Whether node i may run inside region r: nothing it needs from elsewhere waits for r. */
static bool may_join(struct work *w, int i, int r)
{
	const struct graph *g = w->g;
	const struct node *n = &g->node[i];
	w->stamp++;
	for (int s = 0; s < op_info[n->op].nsrc; s++) {
		int from = g->node[n->src[s]].region;
		if (from >= 0 && from != r && region_depends(w, from, r))
			return false;
	}
	if (n->op == OP_PUT || n->op == OP_ASSIGN) {
		int leaf = state_of(g, i);
		for (int k = 0; k < w->nreader[leaf]; k++) {
			int from = g->node[w->reader[leaf][k]].region;
			if (from >= 0 && from != r && w->reader[leaf][k] < i && region_depends(w, from, r))
				return false;
		}
	}
	return true;
}

static bool reads_memory_of(const struct graph *g, const struct node *n, int r)
{
	return n->op == OP_GATHER && g->node[n->src[0]].region == r;
}

/* Axes along which a node is flipped: one of them, or none, or several. */
enum { NO_FLIP = -1, SEVERAL_FLIPS = -2 };

/* Values that a flip reads at another place cannot stay in a dot's tile or a reduction's row, except along axis `here`. */
static bool flipped(const struct graph *g, int i, const int *flip, int here)
{
	const struct node *n = &g->node[i];
	if (n->op == OP_FLIP && n->axis != here)
		return true;
	for (int s = 0; s < op_info[n->op].nsrc; s++)
		if (flip[n->src[s]] != NO_FLIP && flip[n->src[s]] != here)
			return true;
	return false;
}

/* The lanes' axes of node n, in the order in which they lie. False: it is no dot, or none that tensor cores multiply for few rows. */
static bool dot_lanes(const struct graph *g, const struct node *n, struct type *lanes)
{
	const struct type *t = n->op == OP_DOT ? &g->node[n->src[dot_lane_source(g, n)]].type : NULL;
	*lanes = (struct type){0};
	if (!t || t->dtype == DT_F32)
		return false;
	for (int a = 0; a < t->naxis; a++) {
		bool reduced = !type_has_axis(&n->type, t->axis[a]);
		if (reduced && g->axis[t->axis[a]].dynamic)
			return false;
		if (!reduced)
			lanes->axis[lanes->naxis++] = t->axis[a];
	}
	return true;
}

/* Lanes of a dot in panels, of which the last ones have the two places that the axis before them has: of few rows on a GPU a tile can
 * have both (RoPE). NO_FLIP: there is no such axis. */
static int tile_flip(const struct work *w, int r)
{
	const struct graph *g = w->g;
	const struct node *n = &g->node[w->region[r].node[0]];
	struct type lanes;
	if (w->target != REGIONS_FOR_GPU || !graph_has_few_rows(g) || w->region[r].kind != REGION_DOT ||
		!dot_lanes(g, n, &lanes) || lanes.naxis < 2 || g->node[n->src[dot_lane_source(g, n)]].layout.kind != LAYOUT_PANEL)
		return NO_FLIP;
	int before = lanes.axis[lanes.naxis - 2], last = lanes.axis[lanes.naxis - 1];
	return g->axis[before].extent == 2 && g->axis[last].extent % PANEL == 0 ? before : NO_FLIP;
}

/* A kernel takes at most 64 tensors (runtime/program.h); what a region stores has the rest. */
enum { REGION_MAX_READS = 48 };

/* Tensors of elsewhere that regions a and b read together. */
struct reads {
	int a, b, node[REGION_MAX_READS], n;
	bool full; /* there are more than a kernel takes */
};

static void add_reads(const struct work *w, struct reads *t, int i)
{
	const struct graph *g = w->g;
	for (int s = 0; s < op_info[g->node[i].op].nsrc; s++) {
		int from = g->node[i].src[s], seen = 0;
		if (g->node[from].region == t->a || g->node[from].region == t->b || g->node[from].op == OP_CONST)
			continue;
		while (seen < t->n && t->node[seen] != from)
			seen++;
		if (seen < t->n)
			continue;
		t->full = t->full || t->n == REGION_MAX_READS;
		if (!t->full)
			t->node[t->n++] = from;
	}
}

static void add_region_reads(const struct work *w, struct reads *t, int r)
{
	for (int k = 0; k < w->region[r].nnode; k++)
		add_reads(w, t, w->region[r].node[k]);
}

/* Whether region r with node i reads more tensors of elsewhere than a kernel takes: without that the steps
 * of all norms of a deep model would be one region. */
static bool is_full(const struct work *w, int i, int r)
{
	struct reads t = {.a = r, .b = r};
	if (w->region[r].nnode < REGION_MAX_READS / 3)
		return false;
	add_region_reads(w, &t, r);
	add_reads(w, &t, i);
	return t.full;
}

static bool fits(const struct work *w, int i, int r)
{
	const struct node *n = &w->g->node[i];
	const struct region *region = &w->region[r];
	if (is_full(w, i, r))
		return false;
	const struct type *t = n->op == OP_PUT || n->op == OP_ASSIGN ? &w->g->node[n->src[1]].type
								     : &n->type;
	switch (region->kind) {
	case REGION_DOT:
	case REGION_MAP:
		return type_same_axes(t, &region->space);
	case REGION_REDUCE:
		if (type_same_axes(t, &region->space))
			return true;
		/* A row's own values; what has fewer axes still would be computed by every row. */
		for (int k = 0; k < region->nnode; k++) {
			const struct node *m = &w->g->node[region->node[k]];
			if (class_of(m) == CLASS_REDUCE)
				return type_same_axes(t, &m->type) && n->op != OP_PUT;
		}
		return false;
	case REGION_ATTENTION: {
		const struct node *attention = &w->g->node[region->node[0]];
		return w->target == REGIONS_FOR_GPU && attention->op == OP_ATTENTION && class_of(n) == CLASS_MAP &&
			type_same_axes(t, &attention->type);
	}
	case REGION_SCATTER:
	case REGION_QUANTISE:
		return false;
	}
	return false;
}

static void merge(struct work *w, int into, int from)
{
	for (int k = 0; k < w->region[from].nnode; k++)
		place(w, w->region[from].node[k], into);
	w->region[from].nnode = 0;
}

static bool independent(struct work *w, int a, int b)
{
	w->stamp++;
	bool ab = false;
	for (int k = 0; k < w->region[a].nnode && !ab; k++)
		ab = node_depends(w, w->region[a].node[k], b);
	w->stamp++;
	bool ba = false;
	for (int k = 0; k < w->region[b].nnode && !ba; k++)
		ba = node_depends(w, w->region[b].node[k], a);
	return !ab && !ba;
}

static bool shares_leaf(const struct graph *g, const struct node *n, const struct region *r)
{
	for (int k = 0; k < r->nnode; k++) {
		const struct node *m = &g->node[r->node[k]];
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			for (int u = 0; u < op_info[m->op].nsrc; u++)
				if (n->src[s] == m->src[u] && class_of(&g->node[n->src[s]]) == CLASS_LEAF)
					return true;
	}
	return false;
}

/* A map of leaves alone goes where the same leaf is read over the same axes: half of a rounding must
 * not become a region of its own. */
static int region_of_leaf(struct work *w, int i)
{
	const struct node *n = &w->g->node[i];
	enum { NEAR = 8 };
	if (!is_elementwise(n))
		return -1;
	for (int r = w->nregion - 1; r >= 0 && r >= w->nregion - NEAR; r--)
		if (w->region[r].nnode && w->region[r].kind == REGION_MAP && fits(w, i, r) &&
			shares_leaf(w->g, n, &w->region[r]) && may_join(w, i, r))
			return r;
	return -1;
}

/* Gate and up: two dots of one operand over equally many outputs. */
static bool alike_dots(const struct work *w, int a, int b)
{
	const struct node *x = &w->g->node[w->region[a].node[0]], *y = &w->g->node[w->region[b].node[0]];
	return x->op == OP_DOT && y->op == OP_DOT && x->src[0] == y->src[0] && type_equal(&x->type, &y->type);
}

/* Maps that loop alike: one of them would store what the other reads. */
static bool alike_maps(const struct work *w, int a, int b)
{
	struct reads t = {.a = a, .b = b};
	add_region_reads(w, &t, a);
	add_region_reads(w, &t, b);
	return !t.full && type_equal(&w->region[a].space, &w->region[b].space);
}

/* Regions that meet in the map i and may be one. */
static void merge_sources(struct work *w, int i, const int *flip)
{
	struct graph *g = w->g;
	const struct node *n = &g->node[i];
	int first = -1;
	for (int s = 0; s < op_info[n->op].nsrc; s++) {
		int r = g->node[n->src[s]].region;
		enum region_kind kind = r < 0 ? REGION_REDUCE : w->region[r].kind;
		if ((kind != REGION_DOT && kind != REGION_MAP) || !fits(w, i, r) || reads_memory_of(g, n, r))
			continue;
		if (first < 0 || first == r) {
			first = r;
			continue;
		}
		bool alike = kind == w->region[first].kind && (kind == REGION_DOT ? alike_dots : alike_maps)(w, first, r);
		if (alike && !flipped(g, i, flip, NO_FLIP) && independent(w, first, r))
			merge(w, first, r);
	}
}

static int choose_region(struct work *w, int i, const int *flip)
{
	struct graph *g = w->g;
	const struct node *n = &g->node[i];
	int best = -1;
	for (int s = 0; s < op_info[n->op].nsrc; s++) {
		int r = g->node[n->src[s]].region;
		if (r < 0 || r == best || !fits(w, i, r) || reads_memory_of(g, n, r))
			continue;
		if (w->region[r].kind != REGION_MAP && flipped(g, i, flip, tile_flip(w, r)))
			continue;
		if (may_join(w, i, r) && (best < 0 || w->last[r] > w->last[best]))
			best = r;
	}
	return best;
}

static void mark_pulled(struct work *w)
{
	struct graph *g = w->g;
	int *nuser = arena_array(&w->arena, int, g->nnode);
	for (int i = 0; i < g->nnode; i++)
		w->pull[i] = -1;
	for (int i = 0; i < g->noutput; i++)
		nuser[g->output[i].node] = -1; /* stored anyway */
	for (int i = g->nnode - 1; i >= 0; i--) {
		const struct node *n = &g->node[i];
		int target = class_of(n) == CLASS_REDUCE ? i : w->pull[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++) {
			int from = n->src[s];
			bool same_space = target >= 0 &&
				type_same_axes(&g->node[from].type,
					&g->node[g->node[target].src[0]].type);
			if (nuser[from] == 0 && same_space && is_elementwise(&g->node[from]) &&
				!(n->op == OP_GATHER && s == 0))
				w->pull[from] = target;
			else if (w->pull[from] != target || !same_space)
				w->pull[from] = -1;
			if (nuser[from] >= 0)
				nuser[from]++;
		}
	}
}

/* Of an input, constants and indices by one op, and larger than the input: made again wherever it is used. */
static bool is_remade(const struct graph *g, const struct node *n)
{
	bool smaller = false;
	if (class_of(n) != CLASS_MAP)
		return false;
	for (int s = 0; s < op_info[n->op].nsrc; s++) {
		const struct node *from = &g->node[n->src[s]];
		bool less = from->op == OP_INPUT && from->type.naxis < n->type.naxis;
		if (!less && from->op != OP_CONST && from->op != OP_IOTA)
			return false;
		smaller = smaller || less;
	}
	return smaller;
}

/* Made of constants and iotas alone, by maps that have no region either. */
static bool is_constant(const struct graph *g, const struct node *n)
{
	if (n->op == OP_CONST || n->op == OP_IOTA)
		return true;
	if (class_of(n) != CLASS_MAP)
		return false;
	for (int s = 0; s < op_info[n->op].nsrc; s++) {
		const struct node *from = &g->node[n->src[s]];
		bool inlined = class_of(from) == CLASS_MAP && from->region == INLINE && !is_remade(g, from);
		if (!inlined && from->op != OP_CONST && from->op != OP_IOTA)
			return false;
	}
	return true;
}

static int reduce_region(struct work *w, int i)
{
	struct graph *g = w->g;
	const struct node *n = &g->node[i];
	int r = -1;
	/* Another phase over the same rows: a reduction that this one's prologue reads. */
	for (int k = i; k >= 0 && r < 0; k--) {
		const struct node *m = &g->node[k];
		if (k != i && w->pull[k] != i)
			continue;
		for (int s = 0; s < op_info[m->op].nsrc; s++) {
			int c = g->node[m->src[s]].region;
			if (c < 0 || w->region[c].kind != REGION_REDUCE)
				continue;
			const struct node *core = NULL;
			for (int j = 0; j < w->region[c].nnode && !core; j++)
				if (class_of(&g->node[w->region[c].node[j]]) == CLASS_REDUCE)
					core = &g->node[w->region[c].node[j]];
			if (core && type_equal(&core->type, &n->type) &&
				type_same_axes(&w->region[c].space, &g->node[n->src[0]].type))
				r = c;
		}
	}
	for (int k = 0; k <= i && r >= 0; k++)
		if ((k == i || w->pull[k] == i) && !may_join(w, k, r))
			r = -1;
	if (r < 0)
		r = new_region(w, REGION_REDUCE, g->node[n->src[0]].type);
	for (int k = 0; k < i; k++)
		if (w->pull[k] == i)
			place(w, k, r);
	return r;
}

/* The three gradients of one attention share nearly all their work. */
static int gradient_region(struct work *w, int i)
{
	const struct node *n = &w->g->node[i];
	for (int k = i - 1; n->op != OP_ATTENTION && k >= n->src[6]; k--) {
		const struct node *m = &w->g->node[k];
		if (class_of(m) == CLASS_ATTENTION && m->op != OP_ATTENTION &&
			!memcmp(m->src, n->src, sizeof(n->src)))
			return m->region;
	}
	return -1;
}

bool graph_has_few_rows(const struct graph *g)
{
	int64_t most = 0;
	for (int i = 0; i < g->naxis; i++)
		if (g->axis[i].dynamic && g->axis[i].extent > most)
			most = g->axis[i].extent;
	return most && most <= FEW_ROWS;
}

/* Of a row that the region reduces: the kept axes first, and all in the order of its loops. */
static bool is_row_of(const struct work *w, const struct type *t, int r)
{
	const struct graph *g = w->g;
	if (memcmp(t->axis, w->region[r].space.axis, (size_t)t->naxis * sizeof(t->axis[0])))
		return false;
	for (int k = 0; k < w->region[r].nnode; k++) {
		const struct node *n = &g->node[w->region[r].node[k]];
		if (class_of(n) == CLASS_REDUCE)
			return n->type.naxis == t->outer && !memcmp(n->type.axis, t->axis, (size_t)t->outer * sizeof(t->axis[0]));
	}
	return false;
}

/* Of all lanes of the region's dots, in their order, in memory that tensor cores read. */
static bool is_lanes_of(const struct work *w, const struct type *t, int r)
{
	const struct graph *g = w->g;
	const struct node *n = &g->node[w->region[r].node[0]];
	struct type lanes;
	return dot_lanes(g, n, &lanes) && lanes.naxis == t->naxis - t->outer &&
		!memcmp(lanes.axis, t->axis + t->outer, (size_t)lanes.naxis * sizeof(t->axis[0]));
}

/* Where a row of q8 may be made as its values are: 32 neighbouring threads have a block. */
static int quantise_region(struct work *w, int i)
{
	const struct graph *g = w->g;
	const struct node *n = &g->node[i];
	int r = g->node[n->src[0]].region;
	if (w->target != REGIONS_FOR_GPU || !graph_has_few_rows(g) || n->type.dtype != DT_Q8 || r < 0 ||
		type_extents(g, &n->type, n->type.outer, n->type.naxis) % Q_BLOCK || !type_same_axes(&n->type, &w->region[r].space))
		return -1;
	bool fits_there = w->region[r].kind == REGION_REDUCE ? is_row_of(w, &n->type, r)
		: w->region[r].kind == REGION_DOT && is_lanes_of(w, &n->type, r);
	return fits_there && !is_full(w, i, r) && may_join(w, i, r) ? r : -1;
}

static void assign_regions(struct work *w)
{
	struct graph *g = w->g;
	int *flip = arena_array(&w->arena, int, g->nnode);
	bool *needs_memory = arena_array(&w->arena, bool, g->nnode);
	for (int i = 0; i < g->nnode; i++)
		flip[i] = NO_FLIP;
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		if (n->op == OP_FLIP)
			flip[n->src[0]] = flip[n->src[0]] == NO_FLIP || flip[n->src[0]] == n->axis ? n->axis : SEVERAL_FLIPS;
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			if ((is_anchor(n) && class_of(n) != CLASS_REDUCE) || (n->op == OP_GATHER && s == 0))
				needs_memory[n->src[s]] = true;
	}
	for (int i = 0; i < g->noutput; i++)
		needs_memory[g->output[i].node] = true;

	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		if (class_of(n) == CLASS_LEAF || ((is_constant(g, n) || is_remade(g, n)) && !needs_memory[i]) || w->pull[i] >= 0)
			continue;
		int r = -1;
		if (class_of(n) == CLASS_REDUCE) {
			r = reduce_region(w, i);
		} else if (is_anchor(n)) {
			enum region_kind kind = class_of(n) == CLASS_DOT ? REGION_DOT
				: n->op == OP_SCATTER			 ? REGION_SCATTER
				: n->op == OP_QUANTISE			 ? REGION_QUANTISE
									 : REGION_ATTENTION;
			r = kind == REGION_ATTENTION ? gradient_region(w, i) : kind == REGION_QUANTISE ? quantise_region(w, i) : -1;
			if (r < 0)
				r = new_region(w, kind, n->type);
		} else {
			merge_sources(w, i, flip);
			r = choose_region(w, i, flip);
			if (r < 0)
				r = region_of_leaf(w, i);
			if (r < 0)
				r = new_region(w, REGION_MAP,
					n->op == OP_PUT || n->op == OP_ASSIGN ? g->node[n->src[1]].type
									      : n->type);
		}
		place(w, i, r);
	}
}

static bool ready(struct work *w, int r, const bool *done)
{
	struct graph *g = w->g;
	for (int k = 0; k < w->region[r].nnode; k++) {
		int i = w->region[r].node[k];
		const struct node *n = &g->node[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++) {
			int from = g->node[n->src[s]].region;
			if (from >= 0 && from != r && !done[from])
				return false;
		}
		if (n->op != OP_PUT && n->op != OP_ASSIGN)
			continue;
		int leaf = state_of(g, i);
		for (int j = 0; j < w->nreader[leaf]; j++) {
			int from = g->node[w->reader[leaf][j]].region;
			if (w->reader[leaf][j] < i && from >= 0 && from != r && !done[from])
				return false;
		}
	}
	return true;
}

static void sort_nodes(struct region *r)
{
	for (int i = 1; i < r->nnode; i++)
		for (int k = i; k > 0 && r->node[k - 1] > r->node[k]; k--) {
			int t = r->node[k];
			r->node[k] = r->node[k - 1];
			r->node[k - 1] = t;
		}
}

static void order_regions(struct work *w)
{
	struct graph *g = w->g;
	bool *done = arena_array(&w->arena, bool, w->nregion);
	int *number = arena_array(&w->arena, int, w->nregion), nleft = 0, start = 0;
	for (int r = 0; r < w->nregion; r++)
		nleft += w->region[r].nnode > 0;
	g->region = arena_array(g->arena, struct region, nleft);
	g->nregion = 0;
	/* Regions were opened nearly in order, so the first ready one is close to the first open one. */
	while (nleft) {
		int r = start;
		while (r < w->nregion && (done[r] || !w->region[r].nnode || !ready(w, r, done)))
			r++;
		if (r == w->nregion)
			BUG("graph '%s': regions wait for each other", g->name);
		done[r] = true;
		number[r] = g->nregion;
		struct region *to = &g->region[g->nregion++];
		*to = w->region[r];
		to->node = arena_copy(g->arena, to->node, (size_t)to->nnode * sizeof(int));
		sort_nodes(to);
		nleft--;
		while (start < w->nregion && (done[start] || !w->region[start].nnode))
			start++;
	}
	for (int i = 0; i < g->nnode; i++)
		if (g->node[i].region >= 0)
			g->node[i].region = number[g->node[i].region];
}

static void mark_stored(struct graph *g)
{
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++) {
			struct node *from = &g->node[n->src[s]];
			if (from->region >= 0 && from->region != n->region)
				from->stored = true;
		}
	}
	for (int i = 0; i < g->noutput; i++)
		if (g->node[g->output[i].node].region >= 0)
			g->node[g->output[i].node].stored = true;
	for (int i = 0; i < g->nnode; i++)
		if (g->node[i].op == OP_PUT || g->node[i].op == OP_ASSIGN)
			g->node[i].stored = true;
}

void graph_regions(struct graph *g, enum regions_for target)
{
	struct work w = {.g = g, .target = target};
	w.region = arena_array(&w.arena, struct region, g->nnode);
	w.first = arena_array(&w.arena, int, g->nnode);
	w.last = arena_array(&w.arena, int, g->nnode);
	w.visited = arena_array(&w.arena, int, g->nnode);
	w.pull = arena_array(&w.arena, int, g->nnode);
	w.reader = arena_array(&w.arena, int *, g->nnode);
	w.nreader = arena_array(&w.arena, int, g->nnode);
	for (int i = 0; i < g->nnode; i++) {
		struct node *n = &g->node[i];
		n->region = INLINE;
		n->stored = false;
		for (int s = 0; s < op_info[n->op].nsrc; s++) {
			int from = n->src[s];
			bool write = (n->op == OP_PUT || n->op == OP_ASSIGN) && s == 0;
			if (g->node[from].op == OP_STATE && !write)
				*arena_push(&w.arena, w.reader[from], w.nreader[from]) = i;
		}
	}
	mark_pulled(&w);
	assign_regions(&w);
	order_regions(&w);
	mark_stored(g);
	arena_release(&w.arena);
}
