#include "effort.h"

#include <string.h>

#include "layout.h"

/* A byte that passes through memory, an elementwise op, a flop of attention (whose exp is counted there). */
static const double BYTE = 8, MAP_OP = 2, ATTENTION_FLOP = 1.5;
/* Products of attention's vjp, of which a row and a slot have five for three gradients. */
static const double GRADIENT_PRODUCTS = 5 / 3.0;
/* Rows of the widest tile, and queries of attention that share a reading. */
enum { MOST_ROWS = 16, MOST_QUERIES = 8 };
/* Results and packed operands of an item of a dot whose lanes lie in rows. */
enum { PACKED_FLOATS = 96 * 192 + 12 * 257 * 16 + 96 * 256 };

static double flop(enum dtype t)
{
	static const double factor[NDTYPES] = {
		[DT_F32] = 1, [DT_BF16] = 0.5, [DT_I32] = 1, [DT_Q8] = 0.25, [DT_Q4] = 0.25, [DT_F16] = 1, [DT_C8] = 1};
	return factor[t];
}

static double extent(const struct graph *g, int axis, const struct effort_sizes *s)
{
	const struct axis *a = &g->axis[axis];
	double used = strcmp(a->name, "R") ? s->outs : s->rows, most = (double)a->extent;
	return !a->dynamic || used > most ? most : used;
}

static double elements(const struct graph *g, const struct type *t, const struct effort_sizes *s)
{
	double n = 1;
	for (int i = 0; i < t->naxis; i++)
		n *= extent(g, t->axis[i], s);
	return n;
}

static double bytes(const struct graph *g, const struct node *n, const struct effort_sizes *s)
{
	double all = 1;
	for (int i = 0; i < n->type.naxis; i++)
		all *= (double)g->axis[n->type.axis[i]].extent;
	return all > 0 ? (double)tensor_bytes(g, n) * elements(g, &n->type, s) / all : 0;
}

/* Axes of the sources that the result lacks are summed over. */
static double dot(const struct graph *g, const struct node *n, const struct effort_sizes *s)
{
	double sum = 2 * elements(g, &n->type, s);
	const struct type *a = &g->node[n->src[0]].type;
	for (int i = 0; i < a->naxis; i++)
		if (!type_has_axis(&n->type, a->axis[i]))
			sum *= extent(g, a->axis[i], s);
	return sum * flop(g->node[n->src[1]].type.dtype);
}

static double attention(const struct graph *g, const struct node *n, const struct effort_sizes *s)
{
	double queries = elements(g, &g->node[n->src[0]].type, s);
	double products = n->op == OP_ATTENTION ? 2 : GRADIENT_PRODUCTS;
	return ATTENTION_FLOP * 2 * products * queries * s->attended;
}

static double arithmetic(const struct graph *g, const struct node *n, const struct effort_sizes *s)
{
	switch (op_info[n->op].class) {
	case CLASS_DOT:
		return dot(g, n, s);
	case CLASS_ATTENTION:
		return attention(g, n, s);
	case CLASS_MAP:
	case CLASS_QUANTISE:
		return MAP_OP * elements(g, &n->type, s);
	case CLASS_REDUCE:
		return MAP_OP * elements(g, &g->node[n->src[0]].type, s);
	default:
		return 0;
	}
}

/* What a node reads of a source; of a table the rows that are gathered. */
static double reads(const struct graph *g, const struct node *n, int k, const struct effort_sizes *s)
{
	const struct node *from = &g->node[n->src[k]];
	double most = bytes(g, from, s), own = bytes(g, n, s);
	bool part = (n->op == OP_GATHER && !k) || n->op == OP_PUT;
	return part && own < most ? own : most;
}

static bool in_region(const struct region *r, int node)
{
	for (int i = 0; i < r->nnode; i++)
		if (r->node[i] == node)
			return true;
	return false;
}

double graph_effort(const struct graph *g, const struct effort_sizes *s)
{
	double sum = 0;
	for (int r = 0; r < g->nregion; r++) {
		const struct region *region = &g->region[r];
		for (int i = 0; i < region->nnode; i++) {
			const struct node *n = &g->node[region->node[i]];
			sum += arithmetic(g, n, s);
			if (n->stored && n->op != OP_PUT)
				sum += BYTE * bytes(g, n, s);
			for (int k = 0; k < op_info[n->op].nsrc; k++)
				if (n->src[k] >= 0 && g->node[n->src[k]].op != OP_CONST && !in_region(region, n->src[k]))
					sum += BYTE * reads(g, n, k, s);
		}
	}
	return sum;
}

/* A few rows of a dot's inner axes made f32, or its operands packed; of attention scores and sums of its queries; of its gradients keys and
 * values of a head, and lines of scores. */
int64_t graph_scratch(const struct graph *g)
{
	int64_t most = 0;
	for (int i = 0; i < g->nnode; i++) {
		const struct node *n = &g->node[i];
		int64_t floats = 0;
		bool packs = n->op == OP_DOT && n->type.naxis && g->node[n->src[dot_lane_source(g, n)]].layout.kind == LAYOUT_ROW;
		if (packs) {
			floats = PACKED_FLOATS;
		} else if (n->op == OP_DOT) {
			floats = MOST_ROWS;
			const struct type *a = &g->node[n->src[0]].type;
			for (int k = 0; k < a->naxis; k++)
				if (!type_has_axis(&n->type, a->axis[k]))
					floats *= g->axis[a->axis[k]].extent;
		} else if (op_info[n->op].class == CLASS_ATTENTION) {
			const struct type *key = &g->node[n->src[1]].type;
			int64_t slots = g->axis[n->axis].extent, features = 1;
			for (int k = type_axis_position(key, n->axis) + 1; k < key->naxis; k++)
				features *= g->axis[key->axis[k]].extent;
			floats = MOST_QUERIES * (slots + 3 * features);
			if (n->op != OP_ATTENTION)
				floats += 2 * slots * features;
		}
		most = floats * 4 > most ? floats * 4 : most;
	}
	return most;
}
