/*
 * Layouts: a dot wants the lanes of its result contiguous in the source that has them. When that
 * source stores its reduced axes last it gets panels, unless it is planned for a library (LANES_IN_ROWS);
 * attention wants panels of slots in k. Elementwise
 * ops read and write any layout, and what only they use keeps the layout that its builder gave it. A
 * value wanted both ways gets a copy: a leaf that was given panels one in rows, all else one in panels. Rows that a dot's tile walks side by side, each at the same place, are
 * padded where they would meet in the same lines of a cache.
 */
#include "layout.h"

#include <string.h>

static const struct layout row = {.kind = LAYOUT_ROW};

static bool same_layout(struct layout a, struct layout b)
{
	return a.kind == b.kind && (a.kind == LAYOUT_ROW || (a.first == b.first && a.last == b.last));
}

int dot_lane_source(const struct graph *g, const struct node *n)
{
	int lane = n->type.axis[n->type.naxis - 1]; /* there is one: check.c */
	return type_has_axis(&g->node[n->src[0]].type, lane) ? 0 : 1;
}

/* The layout in which node n reads source s from memory, when it does not read elementwise. */
static struct layout source_layout(const struct graph *g, const struct node *n, int s, enum dot_lanes lanes)
{
	const struct type *t = &g->node[n->src[s]].type;
	if (n->op == OP_ATTENTION && s == 1) {
		uint8_t at = (uint8_t)type_axis_position(t, n->axis);
		return (struct layout){LAYOUT_PANEL, at, (uint8_t)(at + 1), 0};
	}
	if (n->op != OP_DOT || s != dot_lane_source(g, n) || !t->naxis)
		return row;
	if (type_has_axis(&n->type, t->axis[t->naxis - 1]) || (lanes == LANES_IN_ROWS && !dtype_has_blocks(t->dtype)))
		return row;
	uint8_t kept = 0;
	while (type_has_axis(&n->type, t->axis[kept]))
		kept++;
	if (!kept)
		BUG("dot %%%d: the axes of its lanes are scattered in source %d", (int)(n - g->node), s);
	return (struct layout){LAYOUT_PANEL, 0, kept, 0};
}

bool reads_elementwise(const struct node *n, int s)
{
	enum op_class c = op_info[n->op].class;
	return c != CLASS_DOT && c != CLASS_ATTENTION &&
		!(c == CLASS_MEMORY && n->op != OP_GATHER && s == 0);
}

enum { WANT_PANEL = 1, WANT_ROW = 2 };

/* Whether a dot can walk padded rows of source s: the first axis must not be flattened with others. */
static bool walks_padded_rows(const struct graph *g, const struct node *n, int s)
{
	const struct type *t = &g->node[n->src[s]].type;
	bool kept = type_has_axis(&n->type, t->axis[0]);
	return n->op == OP_DOT && s != dot_lane_source(g, n) && kept && t->naxis > 1 &&
		!type_has_axis(&n->type, t->axis[1]);
}

/* Elements left out behind the rows of each node: 0, or a cache line. A set of a cache has lines of equal
 * address modulo 4096 (32 KB in 8 ways), so of rows that far apart only 8 stay; half as far is bad enough. */
static int *choose_pads(struct arena *a, const struct graph *g)
{
	enum { LINE_BYTES = 64, APART_BYTES = 2048 };
	int *pad = arena_array(a, int, g->nnode);
	for (int i = 0; i < g->nnode; i++)
		for (int s = 0; s < op_info[g->node[i].op].nsrc; s++)
			if (walks_padded_rows(g, &g->node[i], s))
				pad[g->node[i].src[s]] = 1;
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			if (!reads_elementwise(n, s) && !walks_padded_rows(g, n, s))
				pad[n->src[s]] = 0;
		int64_t bytes = dtype_bytes(n->type.dtype);
		for (int k = 1; k < n->type.naxis; k++)
			bytes *= g->axis[n->type.axis[k]].extent;
		bool ours = op_info[n->op].class == CLASS_MAP && n->layout.kind == LAYOUT_ROW;
		if (!ours || bytes % APART_BYTES)
			pad[i] = 0;
	}
	for (int i = 0; i < g->noutput; i++)
		pad[state_of(g, g->output[i].node)] = 0;
	for (int i = 0; i < g->nnode; i++)
		if (pad[i])
			pad[i] = LINE_BYTES / dtype_bytes(g->node[i].type.dtype);
	return pad;
}

/* Leaves whose memory other programs read too. */
static bool given_panels(const struct node *n)
{
	return (n->op == OP_PARAM || n->op == OP_STATE) && n->layout.kind == LAYOUT_PANEL;
}

struct graph *graph_layouts(struct arena *a, const struct graph *g, enum dot_lanes lanes)
{
	struct arena scratch = {0};
	uint8_t *want = arena_array(&scratch, uint8_t, g->nnode);
	struct layout *panel = arena_array(&scratch, struct layout, g->nnode);
	int *map = arena_array(&scratch, int, g->nnode), *copy = arena_array(&scratch, int, g->nnode);
	const int *pad = choose_pads(&scratch, g);
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++) {
			if (reads_elementwise(n, s))
				continue;
			int from = state_of(g, n->src[s]);
			struct layout l = source_layout(g, n, s, lanes);
			if ((n->op == OP_PUT || n->op == OP_ASSIGN) && s == 0)
				continue;
			if (l.kind == LAYOUT_PANEL && want[from] & WANT_PANEL && !same_layout(l, panel[from]))
				BUG("%%%d is wanted in two panel layouts", from);
			want[from] |= l.kind == LAYOUT_PANEL ? WANT_PANEL : WANT_ROW;
			if (l.kind == LAYOUT_PANEL)
				panel[from] = l;
		}
	}
	for (int i = 0; i < g->noutput; i++)
		want[state_of(g, g->output[i].node)] |= WANT_ROW;
	for (int i = 0; i < g->nnode; i++)
		if (given_panels(&g->node[i])) {
			if (want[i] & WANT_PANEL && !same_layout(panel[i], g->node[i].layout))
				BUG("%%%d is wanted in other panels than it was given", i);
			want[i] |= WANT_PANEL;
			panel[i] = g->node[i].layout;
		}

	struct graph *to = graph_new(a, g->name);
	for (int i = 0; i < g->naxis; i++)
		graph_axis(to, g->axis[i].name, g->axis[i].extent, g->axis[i].dynamic);
	for (int i = 0; i < g->nnode; i++) {
		struct node n = g->node[i];
		for (int s = 0; s < op_info[n.op].nsrc; s++) {
			int from = n.src[s];
			/* Of the old node: sources of n are numbers of the new graph already. */
			bool other = !reads_elementwise(&g->node[i], s) &&
				(source_layout(g, &g->node[i], s, lanes).kind == LAYOUT_PANEL) != given_panels(&g->node[from]);
			n.src[s] = other && copy[from] ? copy[from] : map[from];
		}
		if (n.name)
			n.name = arena_strdup(a, n.name);
		int from = state_of(g, i);
		bool panels = want[from] == WANT_PANEL || given_panels(&g->node[from]);
		n.layout = panels ? panel[from] : want[from] ? row : g->node[from].layout;
		if (n.layout.kind == LAYOUT_ROW)
			n.layout.pad = pad[i];
		*arena_push(a, to->node, to->nnode) = n;
		map[i] = to->nnode - 1;
		/* A state in two layouts would need two memories that stay equal: no graph of ours. */
		if (want[i] == (WANT_PANEL | WANT_ROW)) {
			if (from != i || n.op == OP_STATE)
				BUG("state %%%d is wanted in two layouts", from);
			struct node twin = {.op = OP_EXPAND, .type = n.type, .src = {map[i], -1, -1, -1, -1, -1, -1},
				.layout = panels ? row : panel[i], .region = -1, .offset = -1};
			*arena_push(a, to->node, to->nnode) = twin;
			copy[i] = to->nnode - 1;
		}
	}
	for (int i = 0; i < g->noutput; i++)
		graph_add_output(to, g->output[i].name, map[g->output[i].node]);
	arena_release(&scratch);
	return to;
}
