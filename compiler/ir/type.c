#include <string.h>

#include "ir.h"

const char *const dtype_name[NDTYPES] = {"f32", "bf16", "i32", "q8", "q4", "f16", "c8"};

int dtype_bytes(enum dtype t)
{
	static const int bytes[NDTYPES] = {4, 2, 4, 1, 1, 2, 1};
	return bytes[t];
}

bool dtype_has_blocks(enum dtype t)
{
	return t == DT_Q8 || t == DT_Q4 || t == DT_C8;
}

float f16_value(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, e = half >> 10 & 31, m = half & 1023, u;
	if (e == 31) {
		u = sign | 0x7f800000 | m << 13;
	} else if (e) {
		u = sign | (e + 112) << 23 | m << 13;
	} else if (m) { /* a denormal half is a normal float */
		int shift = __builtin_clz(m) - 21;
		u = sign | (uint32_t)(113 - shift) << 23 | (m << shift & 1023) << 13;
	} else {
		u = sign;
	}
	float f;
	memcpy(&f, &u, 4);
	return f;
}

uint16_t f16_bits(float x)
{
	uint32_t u, sign;
	memcpy(&u, &x, 4);
	sign = u >> 16 & 0x8000;
	u &= 0x7fffffff;
	if (u >= 0x7f800000)
		return (uint16_t)(sign | 0x7c00 | (u >> 13 & 1023));
	if (u >= 113u << 23)
		return (uint16_t)(sign | (u - (112u << 23)) >> 13);
	if (u < 103u << 23)
		return (uint16_t)sign;
	return (uint16_t)(sign | ((u & 0x7fffff) | 0x800000) >> (126 - (u >> 23)));
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
	return a->dtype == b->dtype && a->naxis == b->naxis && a->outer == b->outer &&
		memcmp(a->axis, b->axis, (size_t)a->naxis) == 0;
}

int64_t type_extents(const struct graph *g, const struct type *t, int first, int last)
{
	int64_t n = 1;
	for (int i = first; i < last; i++)
		n *= g->axis[t->axis[i]].extent;
	return n;
}

static int64_t panels_of(int64_t n)
{
	return (n + PANEL - 1) / PANEL;
}

int64_t layout_elements(const struct graph *g, const struct type *t, struct layout l)
{
	if (dtype_has_blocks(t->dtype)) {
		struct block_shape s = block_shape(g, t, l);
		return s.count * s.bytes;
	}
	if (l.kind == LAYOUT_ROW)
		return type_extents(g, t, 0, t->naxis) + (l.pad ? type_extents(g, t, 0, 1) * l.pad : 0);
	int64_t npanels = panels_of(type_extents(g, t, l.first, l.last));
	int64_t inner = type_extents(g, t, l.last, t->naxis);
	if (t->dtype == DT_BF16)
		inner += inner & 1;
	return type_extents(g, t, 0, l.first) * npanels * inner * PANEL;
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
		return flatten(g, t, index, 0, t->naxis) + (l.pad ? index[0] * l.pad : 0);
	int64_t outer = flatten(g, t, index, 0, l.first);
	int64_t o = flatten(g, t, index, l.first, l.last);
	int64_t k = flatten(g, t, index, l.last, t->naxis);
	int64_t npanels = panels_of(type_extents(g, t, l.first, l.last));
	int64_t inner = type_extents(g, t, l.last, t->naxis), panel = outer * npanels + o / PANEL;
	if (t->dtype == DT_BF16)
		return (panel * ((inner + 1) / 2) + k / 2) * 2 * PANEL + o % PANEL * 2 + k % 2;
	return (panel * inner + k) * PANEL + o % PANEL;
}

static int64_t round_up(int64_t n, int64_t by)
{
	return (n + by - 1) / by * by;
}

struct block_shape block_shape(const struct graph *g, const struct type *t, struct layout l)
{
	struct block_shape s = {.count = type_extents(g, t, 0, t->outer)};
	int64_t inner = type_extents(g, t, t->outer, t->naxis);
	s.nblock = (inner + Q_BLOCK - 1) / Q_BLOCK;
	if (t->dtype == DT_C8) {
		if (l.kind == LAYOUT_PANEL)
			s.count = type_extents(g, t, 0, l.first) * panels_of(type_extents(g, t, l.first, l.last));
		else
			s.count = panels_of(s.count);
		s.scales = inner * PANEL;
		s.bytes = round_up(s.scales + s.nblock * PANEL * 4, Q_ALIGN);
		return s;
	}
	if (l.kind == LAYOUT_ROW) {
		s.scales = s.nblock * Q_BLOCK;
		s.bytes = round_up(s.scales + s.nblock * 8, Q_ALIGN);
		return s;
	}
	s.count = panels_of(s.count);
	s.scales = s.nblock * Q_BLOCK * PANEL / (t->dtype == DT_Q4 ? 2 : 1);
	s.bytes = s.scales + round_up(s.nblock * PANEL * 2, Q_ALIGN);
	return s;
}

struct block_place block_place(const struct graph *g, const struct type *t, struct layout l,
	const int64_t *index)
{
	struct block_shape s = block_shape(g, t, l);
	int64_t o = flatten(g, t, index, 0, t->outer), k = flatten(g, t, index, t->outer, t->naxis);
	if (t->dtype == DT_C8) {
		int64_t row = o / PANEL, at = o % PANEL * type_extents(g, t, t->outer, t->naxis) + k;
		if (l.kind == LAYOUT_PANEL) {
			o = flatten(g, t, index, l.first, l.last);
			row = flatten(g, t, index, 0, l.first) * panels_of(type_extents(g, t, l.first, l.last)) + o / PANEL;
			at = k * PANEL + o % PANEL;
		}
		return (struct block_place){row * s.bytes + at,
			row * s.bytes + s.scales + (k / Q_BLOCK * PANEL + o % PANEL) * 4, 0};
	}
	if (l.kind == LAYOUT_ROW)
		return (struct block_place){o * s.bytes + k, o * s.bytes + s.scales + k / Q_BLOCK * 8, 0};
	int64_t panel = o / PANEL * s.bytes, lane = o % PANEL, group = k / 4, half = 0;
	if (t->dtype == DT_Q4) {
		half = group % 2;
		group /= 2;
	}
	return (struct block_place){panel + (group * PANEL + lane) * 4 + k % 4,
		panel + s.scales + (k / Q_BLOCK * PANEL + lane) * 2, half ? 4 : 0};
}
