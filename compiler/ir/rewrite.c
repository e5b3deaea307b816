/* Passes that rewrite a graph into a new one: lowering of recipes, and removal of dead and equal
 * nodes. Nodes are visited in order, so sources are always mapped before their users. */
#include <string.h>

#include "ir.h"
#include "recipe.h"

static struct graph *copy_frame(struct arena *a, const struct graph *g)
{
	struct graph *to = graph_new(a, g->name);
	for (int i = 0; i < g->naxis; i++)
		graph_axis(to, g->axis[i].name, g->axis[i].extent, g->axis[i].dynamic);
	return to;
}

static int copy_node(struct graph *to, const struct node *n, const int *map)
{
	struct node copy = *n;
	for (int s = 0; s < op_info[n->op].nsrc; s++)
		copy.src[s] = map[n->src[s]];
	if (copy.name)
		copy.name = arena_strdup(to->arena, copy.name);
	*arena_push(to->arena, to->node, to->nnode) = copy;
	return to->nnode - 1;
}

static void copy_outputs(struct graph *to, const struct graph *g, const int *map)
{
	for (int i = 0; i < g->noutput; i++)
		graph_add_output(to, g->output[i].name, map[g->output[i].node]);
}

struct graph *graph_lower(struct arena *a, const struct graph *g)
{
	struct graph *to = copy_frame(a, g);
	struct arena scratch = {0};
	int *map = arena_array(&scratch, int, g->nnode);
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		map[i] = op_info[n->op].class == CLASS_RECIPE
			? recipe_build(to, n->op, map[n->src[0]], n->type.dtype)
			: copy_node(to, n, map);
	}
	copy_outputs(to, g, map);
	arena_release(&scratch);
	return to;
}

static bool *live_nodes(struct arena *a, const struct graph *g)
{
	bool *live = arena_array(a, bool, g->nnode);
	for (int i = 0; i < g->noutput; i++)
		live[g->output[i].node] = true;
	for (int i = g->nnode - 1; i >= 0; i--) {
		const struct node *n = &g->node[i];
		live[i] = live[i] || n->op == OP_PUT || n->op == OP_ASSIGN;
		for (int s = 0; live[i] && s < op_info[n->op].nsrc; s++)
			live[n->src[s]] = true;
	}
	return live;
}

static uint64_t hash_node(const struct node *n)
{
	uint64_t h = (uint64_t)n->op * 0x9e3779b97f4a7c15u, bits;
	memcpy(&bits, &n->value, sizeof(bits));
	h = (h ^ bits) * 0xff51afd7ed558ccdu;
	for (int s = 0; s < op_info[n->op].nsrc; s++)
		h = (h ^ (uint64_t)n->src[s]) * 0xc4ceb9fe1a85ec53u;
	for (int i = 0; i < n->type.naxis; i++)
		h = (h ^ n->type.axis[i]) * 0xff51afd7ed558ccdu;
	return h ^ h >> 31;
}

static bool equal_nodes(const struct node *a, const struct node *b)
{
	/* Bits, not values: 0 and -0 differ. */
	return a->op == b->op && type_equal(&a->type, &b->type) && a->axis == b->axis &&
		!memcmp(a->src, b->src, sizeof(a->src)) &&
		!memcmp(&a->value, &b->value, sizeof(a->value));
}

/* Leaves by name are never equal to each other; writes happen each for itself. A read of a state
 * before and after a write has different sources, so it needs no care. */
static bool may_share(const struct node *n)
{
	return !n->name && n->op != OP_PUT && n->op != OP_ASSIGN;
}

struct graph *graph_simplify(struct arena *a, const struct graph *g)
{
	struct graph *to = copy_frame(a, g);
	struct arena scratch = {0};
	bool *live = live_nodes(&scratch, g);
	int *map = arena_array(&scratch, int, g->nnode);
	size_t nslots = 64;
	while (nslots < 2 * (size_t)g->nnode)
		nslots *= 2;
	int *slot = arena_array(&scratch, int, nslots); /* node of `to`, plus 1 */
	for (int i = 0; i < g->nnode; i++) {
		if (!live[i])
			continue;
		map[i] = copy_node(to, &g->node[i], map);
		struct node *n = &to->node[map[i]];
		if (!may_share(n))
			continue;
		size_t at = hash_node(n) & (nslots - 1);
		while (slot[at] && !equal_nodes(&to->node[slot[at] - 1], n))
			at = (at + 1) & (nslots - 1);
		if (slot[at]) {
			map[i] = slot[at] - 1;
			to->nnode--;
		} else {
			slot[at] = map[i] + 1;
		}
	}
	copy_outputs(to, g, map);
	arena_release(&scratch);
	return to;
}

static struct graph *plan(struct arena *a, const struct graph *g, enum dot_lanes lanes, enum regions_for target)
{
	struct graph *to = graph_layouts(a, graph_simplify(a, graph_lower(a, g)), lanes);
	graph_regions(to, target);
	graph_slab(to, target);
	return to;
}

struct graph *graph_plan(struct arena *a, const struct graph *g)
{
	return plan(a, g, LANES_SIDE_BY_SIDE, REGIONS_FOR_CPU);
}

struct graph *graph_plan_gpu(struct arena *a, const struct graph *g)
{
	return plan(a, g, LANES_SIDE_BY_SIDE, REGIONS_FOR_GPU);
}

struct graph *graph_plan_rows(struct arena *a, const struct graph *g)
{
	return plan(a, g, LANES_IN_ROWS, REGIONS_FOR_GPU);
}
