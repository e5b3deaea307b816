/*
 * Which regions must wait for those before them. Regions run in order, in groups: within one, no region
 * writes memory that another touches, so threads need not meet between them. Memory counts, not values:
 * places of the slab are used again.
 */
#include <string.h>

#include "ir.h"

/* What a region touches: a leaf or output by its node, or bytes of the slab. */
struct touch {
	int node;
	bool written;
};

struct touches {
	struct touch *touch;
	int ntouch;
};

static bool has_memory(const struct node *n)
{
	return n->region >= 0 || n->op == OP_INPUT || n->op == OP_PARAM || n->op == OP_STATE;
}

static void collect(struct arena *a, const struct graph *g, int r, const bool *own, struct touches *t)
{
	for (int k = 0; k < g->region[r].nnode; k++) {
		int i = g->region[r].node[k];
		const struct node *n = &g->node[i];
		if (n->stored && !(own && own[i]))
			*arena_push(a, t->touch, t->ntouch) = (struct touch){state_of(g, i), true};
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			if (g->node[n->src[s]].region != r && has_memory(&g->node[n->src[s]]) && !(own && own[n->src[s]]))
				*arena_push(a, t->touch, t->ntouch) =
					(struct touch){state_of(g, n->src[s]), false};
	}
}

static bool overlap(const struct graph *g, int a, int b)
{
	const struct node *x = &g->node[a], *y = &g->node[b];
	if (a == b || x->offset < 0 || y->offset < 0)
		return a == b;
	return x->offset < y->offset + tensor_bytes(g, y) && y->offset < x->offset + tensor_bytes(g, x);
}

static bool conflict(const struct graph *g, const struct touches *a, const struct touches *b)
{
	for (int i = 0; i < a->ntouch; i++)
		for (int k = 0; k < b->ntouch; k++)
			if ((a->touch[i].written || b->touch[k].written) &&
				overlap(g, a->touch[i].node, b->touch[k].node))
				return true;
	return false;
}

bool *graph_waits(struct arena *a, const struct graph *g, int most, const bool *own)
{
	struct arena scratch = {0};
	struct touches *t = arena_array(&scratch, struct touches, g->nregion + 1);
	bool *waits = arena_array(a, bool, g->nregion + 1);
	int first = 0; /* of the group */
	for (int r = 0; r < g->nregion; r++) {
		collect(&scratch, g, r, own, &t[r]);
		waits[r] = r - first == most;
		for (int k = first; k < r && !waits[r]; k++)
			waits[r] = conflict(g, &t[k], &t[r]);
		if (waits[r])
			first = r;
	}
	arena_release(&scratch);
	return waits;
}
