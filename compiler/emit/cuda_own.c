#include "cuda_own.h"

enum {
	OWN_ALIGN = 128,
	OWN_QUANTISED = 8192, /* values of a row: a block has 8 of 32 for each warp on their way */
};

/* The region's only stored node, -1: there are others. */
static int result_of(const struct graph *g, const struct region *r)
{
	int result = -1;
	for (int i = 0; i < r->nnode; i++)
		if (g->node[r->node[i]].stored) {
			if (result >= 0)
				return -1;
			result = r->node[i];
		}
	return result;
}

/* Reductions of whole rows, and rows of q8. */
static bool is_of_rows(const struct graph *g, const struct region *r)
{
	const struct type *t = &g->node[r->node[0]].type;
	if (r->kind == REGION_QUANTISE)
		return t->dtype == DT_Q8 && t->outer == 1 && type_extents(g, t, 1, t->naxis) <= OWN_QUANTISED;
	for (int i = 0; i < r->nnode; i++) {
		const struct node *n = &g->node[r->node[i]];
		if (op_info[n->op].class == CLASS_REDUCE && (n->type.naxis != 1 || !g->axis[n->type.axis[0]].dynamic))
			return false;
	}
	return r->kind == REGION_REDUCE;
}

/* The last region that reads node n; -1: what is no dot does. */
static int last_dot(const struct graph *g, int n)
{
	int last = -1;
	for (int i = 0; i < g->noutput; i++)
		if (g->output[i].node == n)
			return -1;
	for (int i = n + 1; i < g->nnode; i++)
		for (int s = 0; s < op_info[g->node[i].op].nsrc; s++) {
			if (g->node[i].src[s] != n || g->node[i].region == g->node[n].region)
				continue;
			if (g->node[i].op != OP_DOT)
				return -1;
			last = g->node[i].region > last ? g->node[i].region : last;
		}
	return last;
}

bool *cuda_own(struct arena *a, const struct graph *g, int64_t *bytes)
{
	bool *own = arena_array(a, bool, g->nnode + 1);
	int last = -1;
	*bytes = 0;
	for (int r = 0; r < g->nregion && graph_has_few_rows(g); r++) {
		int n = is_of_rows(g, &g->region[r]) ? result_of(g, &g->region[r]) : -1;
		/* Rows behind each other: a block has the first ones. */
		if (n < 0 || r <= last || state_of(g, n) != n || !g->node[n].type.naxis || !g->axis[g->node[n].type.axis[0]].dynamic ||
			g->node[n].layout.kind != LAYOUT_ROW || last_dot(g, n) < 0)
			continue;
		const struct node *node = &g->node[n];
		int64_t rows = g->axis[node->type.axis[0]].extent;
		int64_t mine = (tensor_bytes(g, node) * (rows < OWN_ROWS ? rows : OWN_ROWS) / rows + OWN_ALIGN - 1) / OWN_ALIGN * OWN_ALIGN;
		own[n] = true;
		last = last_dot(g, n);
		*bytes = mine > *bytes ? mine : *bytes;
	}
	return own;
}
