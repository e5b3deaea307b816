#include "dot_shape.h"

#include <string.h>

#include "layout.h"

static int64_t stride_behind(const struct graph *g, const struct node *n, int position)
{
	const struct type *t = &n->type;
	int64_t stride = 1;
	for (int i = position + 1; i < t->naxis; i++)
		stride *= g->axis[t->axis[i]].extent;
	return position ? stride : stride + n->layout.pad;
}

/* The axes of n that are (not) in `other`, which must be neighbours; the stride of the last one. */
static struct type axis_group(const struct graph *g, const struct node *n, const struct type *other,
	bool in_other, int64_t *stride)
{
	const struct type *t = &n->type;
	struct type group = {0};
	int last = -1;
	for (int i = 0; i < t->naxis; i++) {
		if (type_has_axis(other, t->axis[i]) != in_other)
			continue;
		if (last >= 0 && (i != last + 1 || g->axis[t->axis[i]].dynamic))
			BUG("graph '%s': axes of a dot are scattered", g->name);
		group.axis[group.naxis++] = t->axis[i];
		last = i;
	}
	*stride = last < 0 ? 0 : stride_behind(g, n, last);
	return group;
}

struct dot dot_shape(const struct graph *g, const struct node *n)
{
	struct dot d = {0};
	int lane = dot_lane_source(g, n);
	d.lane = n->src[lane];
	d.broadcast = n->src[1 - lane];
	const struct type *a = &g->node[d.broadcast].type, *b = &g->node[d.lane].type;
	const struct node *rows = &g->node[d.broadcast], *lanes = &g->node[d.lane];
	d.m = axis_group(g, rows, &n->type, true, &d.m_stride);
	d.r = axis_group(g, rows, &n->type, false, &d.k_stride);
	d.n = axis_group(g, lanes, &n->type, true, &d.lane_stride);
	struct type r = axis_group(g, lanes, &n->type, false, &d.row_stride);
	if (r.naxis != d.r.naxis || memcmp(r.axis, d.r.axis, (size_t)r.naxis))
		BUG("graph '%s': a dot's sources order the reduced axes differently", g->name);
	if (g->node[d.broadcast].layout.kind != LAYOUT_ROW)
		BUG("graph '%s': a dot's broadcast source has panels", g->name);
	d.panels = g->node[d.lane].layout.kind == LAYOUT_PANEL;
	d.dtype = b->dtype;
	if (dtype_has_blocks(b->dtype)) {
		d.rows_shape = block_shape(g, a, g->node[d.broadcast].layout);
		d.panels_shape = block_shape(g, b, g->node[d.lane].layout);
	}
	d.nlanes = 1;
	for (int i = 0; i < d.n.naxis; i++)
		d.nlanes *= g->axis[d.n.axis[i]].extent;
	d.npanels = (d.nlanes + PANEL - 1) / PANEL;
	return d;
}

int64_t dot_static_inner(const struct graph *g, const struct dot *d)
{
	int64_t n = 1;
	for (int i = 0; i < d->r.naxis; i++)
		n *= g->axis[d->r.axis[i]].dynamic ? 0 : g->axis[d->r.axis[i]].extent;
	return n;
}
