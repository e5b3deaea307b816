#include "importance.h"

#include <string.h>

/* ---- compare ---- */

static int sum_rows(struct graph *g, int x)
{
	return ir_reduce(g, OP_SUM, x, graph_type(g, DT_F32, "R"));
}

static int unit_length(struct graph *g, int x)
{
	int length = ir_unary(g, OP_SQRT, sum_rows(g, ir_mul(g, x, x)));
	return ir_div(g, x, ir_map(g, OP_MAX, length, ir_const(g, 1e-30), -1));
}

/* arcsin for 0 <= x <= 1/2: the quotient of polynomials of FreeBSD's asinf. */
static int small_arcsin(struct graph *g, int x)
{
	int z = ir_mul(g, x, x);
	int p = ir_fma(g, z, ir_const(g, -8.6563630030e-03), ir_const(g, -4.2743422091e-02));
	p = ir_mul(g, z, ir_fma(g, z, p, ir_const(g, 1.6666586697e-01)));
	int q = ir_fma(g, z, ir_const(g, -7.0662963390e-01), ir_const(g, 1));
	return ir_fma(g, x, ir_div(g, p, q), x);
}

/* The angle whose sine's half is x: 2 arcsin(x) / pi for 0 <= x <= 1, beyond 1/2 by
 * arcsin(x) = pi/2 - 2 arcsin(sqrt((1 - x) / 2)). */
static int double_arcsin(struct graph *g, int x)
{
	int half = ir_const(g, 0.5), large = ir_map(g, OP_LT, half, x, -1);
	int rest = ir_unary(g, OP_SQRT, ir_mul(g, ir_sub(g, ir_const(g, 1), x), half));
	int a = small_arcsin(g, ir_map(g, OP_SELECT, large, rest, x));
	int turned = ir_fma(g, a, ir_const(g, -4 / 3.14159265358979323846), ir_const(g, 1));
	return ir_map(g, OP_SELECT, large, turned, ir_mul(g, a, ir_const(g, 2 / 3.14159265358979323846)));
}

struct graph *importance_compare(struct arena *a, const struct forward *f)
{
	struct graph *g = graph_new(a, "compare");
	graph_axis(g, "R", f->max_rows, true);
	graph_axis(g, "D", f->config->width, false);
	struct type stream = graph_type(g, DT_F32, "R D");
	int x = ir_leaf(g, OP_INPUT, "x", stream), y = ir_leaf(g, OP_INPUT, "y", stream);
	int chord = ir_sub(g, unit_length(g, x), unit_length(g, y)), added = ir_sub(g, y, x);
	int distance = ir_mul(g, sum_rows(g, ir_mul(g, chord, chord)), ir_const(g, 0.5));
	int sine = ir_unary(g, OP_SQRT, ir_mul(g, distance, ir_const(g, 0.5))); /* of half the angle */
	graph_add_output(g, "distance", distance);
	graph_add_output(g, "angle", double_arcsin(g, ir_map(g, OP_MIN, sine, ir_const(g, 1), -1)));
	graph_add_output(g, "norm2", sum_rows(g, ir_mul(g, added, added)));
	return g;
}

/* ---- weights ---- */

static bool is_matrix(const struct node *n)
{
	return n->op == OP_PARAM && n->type.naxis > 1;
}

/* Sum of |x|: along the last axis, then of the rest, so that it spreads over threads. */
static int absolute_sum(struct graph *g, int x)
{
	int size = ir_map(g, OP_MAX, x, ir_unary(g, OP_NEG, x), -1);
	struct type scalar = {.dtype = DT_F32}, rows = g->node[x].type;
	rows.outer = 0;
	rows.naxis--;
	return ir_reduce(g, OP_SUM, ir_reduce(g, OP_SUM, size, rows), scalar);
}

static void copy_axes(struct graph *g, const struct graph *from)
{
	for (int i = 0; i < from->naxis; i++)
		graph_axis(g, from->axis[i].name, from->axis[i].extent, false);
}

static int plus(struct graph *g, int sum, int x)
{
	return sum < 0 ? x : ir_add(g, sum, x);
}

struct graph *importance_magnitude(struct arena *a, const struct forward *f, enum half half)
{
	struct graph *g = graph_new(a, "magnitude"), *forward = graph_new(a, "shape");
	struct forward_frame m = forward_begin(forward, f);
	int sum = -1;
	forward_half(&m, half, 0, ir_leaf(forward, OP_INPUT, "x", graph_type(forward, DT_F32, "R D")));
	copy_axes(g, forward);
	for (int i = 0; i < forward->nnode; i++) {
		const struct node *n = &forward->node[i];
		if (is_matrix(n))
			sum = plus(g, sum, absolute_sum(g, ir_cast(g, ir_leaf(g, OP_PARAM, n->name, n->type), DT_F32)));
	}
	graph_add_output(g, "sum", sum);
	return g;
}

bool importance_trains(void *unused, const char *name)
{
	struct unit u;
	size_t n = strlen(name);
	(void)unused;
	return unit_of_tensor(name, &u) && !(n >= 5 && !strcmp(name + n - 5, ".norm"));
}

static enum dtype master_dtype(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return DT_F32;
}

struct graph *importance_taylor(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "taylor"), *forward = graph_new(a, "shape");
	struct forward f = {.config = &t->state->config, .has_attn = t->state->has_attn,
		.has_mlp = t->state->has_mlp, .numerics = t->numerics, .max_rows = t->max_rows,
		.max_out = TRAIN_CHUNK, .weight_dtype = master_dtype};
	int layers = t->state->config.layers, *sum = arena_array(a, int, 2 * layers);
	struct unit u;
	char name[32];
	memset(sum, -1, 2 * (size_t)layers * sizeof(*sum));
	forward_build(forward, &f);
	copy_axes(g, forward);
	for (int i = 0; i < forward->nnode; i++) {
		const struct node *n = &forward->node[i];
		if (!is_matrix(n) || !importance_trains(NULL, n->name) || !unit_of_tensor(n->name, &u))
			continue;
		int w = ir_leaf(g, OP_STATE, n->name, n->type);
		int dw = ir_leaf(g, OP_STATE, arena_printf(a, "g.%s", n->name), n->type);
		int *half = &sum[2 * u.layer + (u.kind == UNIT_MLP)];
		*half = plus(g, *half, absolute_sum(g, ir_mul(g, w, dw)));
	}
	for (int i = 0; i < 2 * layers; i++) {
		if (sum[i] < 0)
			continue;
		unit_name((struct unit){i % 2 ? UNIT_MLP : UNIT_ATTN, i / 2}, name);
		graph_add_output(g, arena_strdup(a, name), sum[i]);
	}
	return g;
}
