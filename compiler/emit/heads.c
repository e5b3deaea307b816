#include "heads.h"

struct heads attention_heads(const struct graph *g, const struct node *n)
{
	struct heads h = {.n = n, .q = n->src[0], .kk = n->src[1], .v = n->src[2], .lo = n->src[3],
		.hi = n->src[4]};
	const struct type *q = &g->node[h.q].type, *k = &g->node[h.kk].type;
	h.nbatch = type_axis_position(k, n->axis);
	h.nfeature = k->naxis - h.nbatch - 1;
	h.ngroup = q->naxis - 1 - h.nbatch - h.nfeature;
	h.batches = type_extents(g, q, 1, 1 + h.nbatch);
	h.groups = type_extents(g, q, 1 + h.nbatch, 1 + h.nbatch + h.ngroup);
	h.features = type_extents(g, q, q->naxis - h.nfeature, q->naxis);
	h.slots = g->axis[n->axis].extent;
	h.q_group = h.features;
	h.q_batch = h.q_group * h.groups;
	h.q_row = h.q_batch * h.batches;
	h.kv = k->dtype;
	return h;
}
