#include <string.h>

#include "ir.h"

const char *const dtype_name[NDTYPES] = {"f32", "bf16", "i32"};

int dtype_bytes(enum dtype t)
{
	static const int bytes[NDTYPES] = {4, 2, 4};
	return bytes[t];
}

int type_axis_position(const struct type *t, int axis)
{
	for (int i = 0; i < t->naxis; i++)
		if (t->axis[i] == axis)
			return i;
	return -1;
}

bool type_has_axis(const struct type *t, int axis)
{
	return type_axis_position(t, axis) >= 0;
}

bool type_same_axes(const struct type *a, const struct type *b)
{
	if (a->naxis != b->naxis)
		return false;
	for (int i = 0; i < a->naxis; i++)
		if (!type_has_axis(b, a->axis[i]))
			return false;
	return true;
}

bool type_equal(const struct type *a, const struct type *b)
{
	return a->dtype == b->dtype && a->naxis == b->naxis &&
		memcmp(a->axis, b->axis, (size_t)a->naxis) == 0;
}

static int64_t extents(const struct graph *g, const struct type *t, int first, int last)
{
	int64_t n = 1;
	for (int i = first; i < last; i++)
		n *= g->axis[t->axis[i]].extent;
	return n;
}

int64_t layout_elements(const struct graph *g, const struct type *t, struct layout l)
{
	if (l.kind == LAYOUT_ROW)
		return extents(g, t, 0, t->naxis);
	int64_t npanels = (extents(g, t, l.first, l.last) + PANEL - 1) / PANEL;
	int64_t inner = extents(g, t, l.last, t->naxis);
	if (t->dtype == DT_BF16)
		inner += inner & 1;
	return extents(g, t, 0, l.first) * npanels * inner * PANEL;
}

int64_t tensor_bytes(const struct graph *g, const struct node *n)
{
	return layout_elements(g, &n->type, n->layout) * dtype_bytes(n->type.dtype);
}

static int64_t flatten(const struct graph *g, const struct type *t, const int64_t *index, int first,
	int last)
{
	int64_t at = 0;
	for (int i = first; i < last; i++)
		at = at * g->axis[t->axis[i]].extent + index[i];
	return at;
}

int64_t layout_offset(const struct graph *g, const struct type *t, struct layout l,
	const int64_t *index)
{
	if (l.kind == LAYOUT_ROW)
		return flatten(g, t, index, 0, t->naxis);
	int64_t outer = flatten(g, t, index, 0, l.first);
	int64_t o = flatten(g, t, index, l.first, l.last);
	int64_t k = flatten(g, t, index, l.last, t->naxis);
	int64_t npanels = (extents(g, t, l.first, l.last) + PANEL - 1) / PANEL;
	int64_t inner = extents(g, t, l.last, t->naxis), panel = outer * npanels + o / PANEL;
	if (t->dtype == DT_BF16)
		return (panel * ((inner + 1) / 2) + k / 2) * 2 * PANEL + o % PANEL * 2 + k % 2;
	return (panel * inner + k) * PANEL + o % PANEL;
}
