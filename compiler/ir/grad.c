/*
 * Reverse-mode gradients: one vector-Jacobian product per row of ops.h's gradient column.
 *
 * The gradient of a node is f32 with the node's axes in the node's order. Broadcasting and summing
 * are each other's transposes, and flow() does both: it sums what arrives over the axes that the
 * source lacks and expands it over those that the source has besides.
 *
 * Differentiate before lowering: a recipe is differentiated as a whole, its parts
 * (bits_of, ...) not.
 */
#include "ir.h"

struct reverse {
	struct graph *g;
	int *gradient;  /* per node before the walk: the node of its gradient, -1 none yet */
	bool *depends;  /* per node before the walk: on one of wrt, through ops with a gradient */
};

/* n: a copy of the node, since appending nodes moves them; y: its index; dy: its gradient. */
typedef void vjp(struct reverse *r, const struct node *n, int y, int dy);

static bool wants(const struct reverse *r, const struct node *n, int src)
{
	return r->depends[n->src[src]];
}

/* d plus what has arrived at source `src` already. */
static void flow(struct reverse *r, const struct node *n, int src, int d)
{
	struct graph *g = r->g;
	int x = n->src[src];
	struct type to = g->node[x].type, from = g->node[d].type, kept = {0};
	if (!wants(r, n, src))
		return;
	for (int i = 0; i < from.naxis; i++)
		if (type_has_axis(&to, from.axis[i]))
			kept.axis[kept.naxis++] = from.axis[i];
	if (kept.naxis < from.naxis)
		d = ir_reduce(g, OP_SUM, d, kept);
	d = ir_expand(g, d, to);
	r->gradient[x] = r->gradient[x] < 0 ? d : ir_add(g, r->gradient[x], d);
}

static void vjp_none(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y, (void)dy;
	for (int i = 0; i < op_info[n->op].nsrc; i++)
		if (wants(r, n, i))
			BUG("graph '%s': a gradient reaches op '%s', which has none", r->g->name,
				op_info[n->op].name);
}

static void vjp_zero(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)r, (void)n, (void)y, (void)dy;
}

static void vjp_add(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, dy);
	flow(r, n, 1, dy);
}

static void vjp_sub(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, dy);
	if (wants(r, n, 1))
		flow(r, n, 1, ir_unary(r->g, OP_NEG, dy));
}

static void vjp_mul(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	for (int i = 0; i < 2; i++)
		if (wants(r, n, i))
			flow(r, n, i, ir_mul(r->g, dy, n->src[1 - i]));
}

static void vjp_fma(struct reverse *r, const struct node *n, int y, int dy)
{
	vjp_mul(r, n, y, dy);
	flow(r, n, 2, dy);
}

static void vjp_div(struct reverse *r, const struct node *n, int y, int dy)
{
	struct graph *g = r->g;
	if (wants(r, n, 0))
		flow(r, n, 0, ir_div(g, dy, n->src[1]));
	if (wants(r, n, 1)) /* -dy y / b */
		flow(r, n, 1, ir_unary(g, OP_NEG, ir_div(g, ir_mul(g, dy, y), n->src[1])));
}

/* dy to source i where cond is true, to source j elsewhere. */
static void choose(struct reverse *r, const struct node *n, int cond, int dy, int i, int j)
{
	if (wants(r, n, i))
		flow(r, n, i, ir_map(r->g, OP_SELECT, cond, dy, ir_const(r->g, 0)));
	if (wants(r, n, j))
		flow(r, n, j, ir_map(r->g, OP_SELECT, cond, ir_const(r->g, 0), dy));
}

static void vjp_min(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	choose(r, n, ir_map(r->g, OP_LT, n->src[0], n->src[1], -1), dy, 0, 1);
}

static void vjp_max(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	choose(r, n, ir_map(r->g, OP_LT, n->src[1], n->src[0], -1), dy, 0, 1);
}

static void vjp_select(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	choose(r, n, n->src[0], dy, 1, 2);
}

static void vjp_neg(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, ir_unary(r->g, OP_NEG, dy));
}

static void vjp_sqrt(struct reverse *r, const struct node *n, int y, int dy)
{
	flow(r, n, 0, ir_div(r->g, ir_mul(r->g, dy, ir_const(r->g, 0.5)), y));
}

static void vjp_exp(struct reverse *r, const struct node *n, int y, int dy)
{
	flow(r, n, 0, ir_mul(r->g, dy, y));
}

static void vjp_log(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, ir_div(r->g, dy, n->src[0]));
}

static void vjp_sin(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, ir_mul(r->g, dy, ir_unary(r->g, OP_COS, n->src[0])));
}

static void vjp_cos(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	int dsin = ir_mul(r->g, dy, ir_unary(r->g, OP_SIN, n->src[0]));
	flow(r, n, 0, ir_unary(r->g, OP_NEG, dsin));
}

/* Rounding is differentiated straight through. */
static void vjp_cast(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, dy);
}

static void vjp_expand(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, dy);
}

static void vjp_sum(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, dy);
}

static void vjp_flip(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, ir_flip(r->g, dy, n->axis));
}

/* d(source i) = dy times the other source, summed over the axes that the other has alone; without
 * such axes nothing is summed, and the dot is a product. */
static void vjp_dot(struct reverse *r, const struct node *n, int y, int dy)
{
	struct graph *g = r->g;
	(void)y;
	for (int i = 0; i < 2; i++) {
		if (!wants(r, n, i))
			continue;
		struct type t = g->node[n->src[i]].type, other = g->node[n->src[1 - i]].type;
		bool summed = false;
		for (int k = 0; k < other.naxis; k++)
			summed = summed || !type_has_axis(&t, other.axis[k]);
		int rounded = ir_cast(g, dy, t.dtype);
		flow(r, n, i, summed ? ir_dot(g, rounded, n->src[1 - i], t)
				     : ir_mul(g, rounded, n->src[1 - i]));
	}
}

static void vjp_gather(struct reverse *r, const struct node *n, int y, int dy)
{
	(void)y;
	flow(r, n, 0, ir_scatter(r->g, dy, n->src[1], n->axis));
}

static void vjp_attention(struct reverse *r, const struct node *n, int y, int dy)
{
	static const enum op op[] = {OP_ATTENTION_DQ, OP_ATTENTION_DK, OP_ATTENTION_DV};
	for (int i = 0; i < 3; i++)
		if (wants(r, n, i))
			flow(r, n, i, ir_attention_grad(r->g, op[i], y, dy));
}

static vjp *const vjps[NOPS] = {
#define OP(id, name, class, nsrc, shape, grad) vjp_##grad,
#include "ops.h"
#undef OP
};

static void find_dependents(struct reverse *r, int nnode, const int *wrt, int nwrt)
{
	for (int i = 0; i < nwrt; i++)
		r->depends[wrt[i]] = true;
	for (int i = 0; i < nnode; i++) {
		const struct node *n = &r->g->node[i];
		if (n->type.dtype == DT_I32 || vjps[n->op] == vjp_zero)
			continue;
		for (int s = 0; s < op_info[n->op].nsrc; s++)
			r->depends[i] = r->depends[i] || r->depends[n->src[s]];
	}
}

/* dy -1: 1, if y depends on anything. */
static void walk_back(struct graph *g, int y, int dy, const int *wrt, int nwrt, int *dwrt)
{
	struct arena scratch = {0};
	struct reverse r = {.g = g};
	r.gradient = arena_array(&scratch, int, (size_t)y + 1);
	r.depends = arena_array(&scratch, bool, (size_t)g->nnode);
	for (int i = 0; i <= y; i++)
		r.gradient[i] = -1;
	find_dependents(&r, g->nnode, wrt, nwrt);
	if (r.depends[y])
		r.gradient[y] = dy < 0 ? ir_const(g, 1) : dy;
	for (int i = y; i >= 0; i--) {
		struct node n = g->node[i];
		if (r.gradient[i] >= 0)
			vjps[n.op](&r, &n, i, r.gradient[i]);
	}
	for (int i = 0; i < nwrt; i++)
		dwrt[i] = wrt[i] <= y ? r.gradient[wrt[i]] : -1;
	arena_release(&scratch);
}

void graph_vjp(struct graph *g, int y, int dy, const int *wrt, int nwrt, int *dwrt)
{
	walk_back(g, y, dy, wrt, nwrt, dwrt);
}

void graph_gradient(struct graph *g, int loss, const int *wrt, int nwrt, int *dwrt)
{
	struct type scalar = {.dtype = DT_F32};
	if (!type_equal(&g->node[loss].type, &scalar))
		BUG("graph '%s': the loss is no f32 scalar", g->name);
	walk_back(g, loss, -1, wrt, nwrt, dwrt);
}
