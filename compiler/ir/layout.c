/*
 * Layouts: a dot wants the lanes of its result contiguous in the source that has them. When that
 * source stores its reduced axes last it gets panels; attention wants panels of slots in k. Elementwise
 * ops read and write any layout, and what only they use keeps the layout that its builder gave it. A
 * value wanted both ways gets a copy.
 */
#include "layout.h"

#include <string.h>

static const struct layout row = {LAYOUT_ROW, 0, 0};

static bool same_layout(struct layout a, struct layout b)
{
	return a.kind == b.kind && (a.kind == LAYOUT_ROW || (a.first == b.first && a.last == b.last));
}

int dot_lane_source(const struct graph *g, const struct node *n)
{
	int lane = n->type.axis[n->type.naxis - 1]; /* there is one: check.c */
	return type_has_axis(&g->node[n->src[0]].type, lane) ? 0 : 1;
}

struct layout source_layout(const struct graph *g, const struct node *n, int s)
{
	const struct type *t = &g->node[n->src[s]].type;
	if (n->op == OP_ATTENTION && s == 1) {
		uint8_t at = (uint8_t)type_axis_position(t, n->axis);
		return (struct layout){LAYOUT_PANEL, at, (uint8_t)(at + 1)};
	}
	if (n->op != OP_DOT || s != dot_lane_source(g, n) || !t->naxis)
		return row;
	if (type_has_axis(&n->type, t->axis[t->naxis - 1]))
		return row;
	uint8_t kept = 0;
	while (type_has_axis(&n->type, t->axis[kept]))
		kept++;
	if (!kept)
		BUG("dot %%%d: the axes of its lanes are scattered in source %d", (int)(n - g->node), s);
	return (struct layout){LAYOUT_PANEL, 0, kept};
}

bool reads_elementwise(const struct node *n, int s)
{
	enum op_class c = op_info[n->op].class;
	return c != CLASS_DOT && c != CLASS_ATTENTION &&
		!(c == CLASS_MEMORY && n->op != OP_GATHER && s == 0);
}

enum { WANT_PANEL = 1, WANT_ROW = 2 };

struct graph *graph_layouts(struct arena *a, const struct graph *g)
{
	struct arena scratch = {0};
	uint8_t *want = arena_array(&scratch, uint8_t, g->nnode);
	struct layout *panel = arena_array(&scratch, struct layout, g->nnode);
	int *map = arena_array(&scratch, int, g->nnode), *copy = arena_array(&scratch, int, g->nnode);
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		for (int s = 0; s < op_info[n->op].nsrc; s++) {
			if (reads_elementwise(n, s))
				continue;
			int from = state_of(g, n->src[s]);
			struct layout l = source_layout(g, n, s);
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

	struct graph *to = graph_new(a, g->name);
	for (int i = 0; i < g->naxis; i++)
		graph_axis(to, g->axis[i].name, g->axis[i].extent, g->axis[i].dynamic);
	for (int i = 0; i < g->nnode; i++) {
		struct node n = g->node[i];
		for (int s = 0; s < op_info[n.op].nsrc; s++) {
			int from = n.src[s];
			/* Of the old node: sources of n are numbers of the new graph already. */
			bool panels = !reads_elementwise(&g->node[i], s) &&
				source_layout(g, &g->node[i], s).kind == LAYOUT_PANEL;
			n.src[s] = panels && copy[from] ? copy[from] : map[from];
		}
		if (n.name)
			n.name = arena_strdup(a, n.name);
		int from = state_of(g, i);
		n.layout = want[from] == WANT_PANEL ? panel[from] : want[from] ? row : g->node[from].layout;
		*arena_push(a, to->node, to->nnode) = n;
		map[i] = to->nnode - 1;
		/* A state in two layouts would need two memories that stay equal: no graph of ours. */
		if (want[i] == (WANT_PANEL | WANT_ROW)) {
			if (from != i || n.op == OP_STATE)
				BUG("state %%%d is wanted in two layouts", from);
			struct node twin = {.op = OP_EXPAND, .type = n.type, .src = {map[i], -1, -1, -1, -1, -1, -1},
				.layout = panel[i], .region = -1, .offset = -1};
			*arena_push(a, to->node, to->nnode) = twin;
			copy[i] = to->nnode - 1;
		}
	}
	for (int i = 0; i < g->noutput; i++)
		graph_add_output(to, g->output[i].name, map[g->output[i].node]);
	arena_release(&scratch);
	return to;
}
