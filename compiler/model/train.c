#include "train_method.h"

static const char *prefixed(struct graph *g, const char *prefix, const char *name)
{
	return arena_printf(g->arena, "%s%s", prefix, name);
}

static enum dtype weight_dtype(void *ctx, const char *name)
{
	const struct train *t = ctx;
	return t->trains(t->ctx, name) ? DT_F32
				       : forward_weight_dtype(&numerics_classes[t->numerics], &t->state->config, name);
}

static struct forward forward_of(const struct train *t)
{
	return (struct forward){.config = &t->state->config, .has_attn = t->state->has_attn,
		.has_mlp = t->state->has_mlp, .numerics = t->numerics, .max_rows = t->max_rows,
		.max_out = TRAIN_CHUNK, .weight_dtype = weight_dtype,
		.product = t->lora ? train_lora_product : NULL, .ctx = (void *)(uintptr_t)t};
}

bool train_moves(const struct train *t, const char *name)
{
	struct unit u;
	if (train_parent_name(name))
		return false;
	if (t->lora && unit_of_tensor(name, &u))
		return train_lora_part(name);
	return t->trains(t->ctx, name);
}

bool train_changes(const struct train *t, const char *name)
{
	struct unit u;
	return t->lora && unit_of_tensor(name, &u) ? train_lora_adapts(t, name) : t->trains(t->ctx, name);
}

struct graph *train_shape(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "shape");
	struct forward f = forward_of(t);
	forward_build(g, &f);
	return g;
}

/* ---- pieces ---- */

static int residual(struct graph *g, const char *name)
{
	return ir_leaf(g, OP_INPUT, name, graph_type(g, DT_F32, "R D"));
}

/* Adds the gradients of y, as far as anything trains; returns that of x, -1 where there is none. */
static int add_gradients(struct graph *g, const struct train *t, int y, int dy, int x)
{
	int *wrt = arena_array(g->arena, int, g->nnode + 1), *dwrt = arena_array(g->arena, int, g->nnode + 1), n = 0;
	if (x >= 0)
		wrt[n++] = x;
	for (int i = 0; i < g->nnode; i++)
		if (g->node[i].op == OP_PARAM && train_moves(t, g->node[i].name))
			wrt[n++] = i;
	graph_vjp(g, y, dy, wrt, n, dwrt);
	for (int i = x >= 0; i < n; i++) {
		struct type type = g->node[wrt[i]].type;
		if (dwrt[i] < 0)
			continue;
		int sum = ir_leaf(g, OP_STATE, prefixed(g, "g.", g->node[wrt[i]].name), type);
		ir_assign(g, sum, ir_add(g, sum, dwrt[i]));
	}
	return x >= 0 ? dwrt[0] : -1;
}

struct graph *train_walk_embed(struct arena *a, const char *name, const struct forward *f)
{
	struct graph *g = graph_new(a, name);
	struct forward_frame m = forward_begin(g, f);
	graph_add_output(g, "y", forward_embed(&m));
	return g;
}

struct graph *train_walk_half(struct arena *a, const char *name, const struct forward *f, enum half half, int layer)
{
	struct graph *g = graph_new(a, name);
	struct forward_frame m = forward_begin(g, f);
	int x = residual(g, "x");
	graph_add_output(g, "y", ir_add(g, x, forward_half(&m, half, layer, x)));
	return g;
}

struct graph *train_embed(struct arena *a, const struct train *t)
{
	struct forward f = forward_of(t);
	return train_walk_embed(a, "embed", &f);
}

struct graph *train_embed_back(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "embed_back");
	struct forward f = forward_of(t);
	struct forward_frame m = forward_begin(g, &f);
	int y = forward_embed(&m);
	add_gradients(g, t, y, residual(g, "dy"), -1);
	return g;
}

/* What walking back would take longest to compute again for its size; -1: nothing. */
static int attended(const struct graph *g)
{
	for (int i = 0; i < g->nnode; i++)
		if (g->node[i].op == OP_ATTENTION)
			return i;
	return -1;
}

struct graph *train_half(struct arena *a, const struct train *t, enum half half, int layer)
{
	struct forward f = forward_of(t);
	struct graph *g = train_walk_half(a, half == HALF_ATTN ? "attn" : "mlp", &f, half, layer);
	if (attended(g) >= 0)
		graph_add_output(g, TRAIN_ATTENDED, attended(g));
	return g;
}

struct graph *train_half_back(struct arena *a, const struct train *t, enum half half, int layer)
{
	struct graph *g = graph_new(a, half == HALF_ATTN ? "attn_back" : "mlp_back");
	struct forward f = forward_of(t);
	struct forward_frame m = forward_begin(g, &f);
	int x = residual(g, "x"), dy = residual(g, "dy");
	int y = ir_add(g, x, forward_half(&m, half, layer, x));
	graph_add_output(g, "dx", add_gradients(g, t, y, dy, x));
	if (attended(g) >= 0)
		ir_give(g, attended(g), TRAIN_ATTENDED);
	return g;
}

struct graph *train_head(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "head");
	struct forward f = forward_of(t);
	struct forward_frame m = forward_begin(g, &f);
	int x = residual(g, "x"), dy = residual(g, "dy");
	struct train_logits logits = {.own = forward_logits(&m, x)};
	int target = ir_leaf(g, OP_INPUT, "target", graph_type(g, DT_I32, "O"));
	int share = ir_leaf(g, OP_INPUT, "share", graph_type(g, DT_F32, "O"));
	int nll = forward_nll(g, logits.own, target), row = nll;
	if (t->distill) {
		logits.parent = train_parent_logits(t, &m, residual(g, "parent.x"));
		row = train_distilled(g, t->distill, nll, &logits);
	}
	int loss = ir_reduce(g, OP_SUM, ir_mul(g, row, share), graph_type(g, DT_F32, ""));
	int dx = add_gradients(g, t, loss, ir_const(g, 1), x);
	graph_add_output(g, "loss", loss);
	graph_add_output(g, "dx", ir_add(g, dy, dx));
	return g;
}

struct graph *train_look(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "look");
	struct forward f = forward_of(t);
	struct forward_frame m = forward_begin(g, &f);
	int logits = forward_logits(&m, residual(g, "x"));
	int target = ir_leaf(g, OP_INPUT, "target", graph_type(g, DT_I32, "O"));
	int share = ir_leaf(g, OP_INPUT, "share", graph_type(g, DT_F32, "O"));
	int row = ir_mul(g, forward_nll(g, logits, target), share);
	graph_add_output(g, "loss", ir_reduce(g, OP_SUM, row, graph_type(g, DT_F32, "")));
	return g;
}

/* Sum of squares: along the last axis, then of the rest, so that it spreads over threads. */
static int square_sum(struct graph *g, int x)
{
	int square = ir_mul(g, x, x);
	struct type scalar = {.dtype = DT_F32}, rows = g->node[x].type;
	if (rows.naxis > 1) {
		rows.naxis--;
		square = ir_reduce(g, OP_SUM, square, rows);
	}
	return ir_reduce(g, OP_SUM, square, scalar);
}

static void adamw(struct graph *g, const struct train *t, const char *name, struct type type,
	const int *scalar)
{
	enum { RATE, C1, C2, SCALE };
	int w = graph_find_leaf(g, name), grad = graph_find_leaf(g, prefixed(g, "g.", name));
	int m = ir_leaf(g, OP_STATE, prefixed(g, "m.", name), type);
	int v = ir_leaf(g, OP_STATE, prefixed(g, "v.", name), type);
	int d = ir_mul(g, grad, scalar[SCALE]);
	int m1 = ir_fma(g, ir_const(g, t->beta1), m, ir_mul(g, ir_const(g, 1 - t->beta1), d));
	int v1 = ir_fma(g, ir_const(g, t->beta2), v, ir_mul(g, ir_const(g, 1 - t->beta2), ir_mul(g, d, d)));
	int root = ir_unary(g, OP_SQRT, ir_mul(g, v1, scalar[C2]));
	int step = ir_div(g, ir_mul(g, m1, scalar[C1]), ir_add(g, root, ir_const(g, t->eps)));
	if (t->decay > 0 && type.naxis > 1)
		step = ir_fma(g, ir_const(g, t->decay), w, step);
	ir_assign(g, m, m1);
	ir_assign(g, v, v1);
	ir_assign(g, w, ir_sub(g, w, ir_mul(g, scalar[RATE], step)));
	/* 0, but a value of the gradient: so it is written where that was just read. */
	ir_assign(g, grad, ir_map(g, OP_SELECT, ir_const_i32(g, 0), grad, ir_const(g, 0)));
}

struct graph *train_update(struct arena *a, const struct train *t)
{
	struct graph *g = graph_new(a, "update"), *forward = train_shape(a, t);
	struct type none = {.dtype = DT_F32};
	for (int i = 0; i < forward->naxis; i++)
		graph_axis(g, forward->axis[i].name, forward->axis[i].extent, false);
	int total = -1;
	for (int i = 0; i < forward->nnode; i++) {
		const struct node *n = &forward->node[i];
		if (n->op != OP_PARAM || !train_moves(t, n->name))
			continue;
		ir_leaf(g, OP_STATE, n->name, n->type);
		int sum = square_sum(g, ir_leaf(g, OP_STATE, prefixed(g, "g.", n->name), n->type));
		total = total < 0 ? sum : ir_add(g, total, sum);
	}
	if (total < 0)
		BUG("nothing trains");
	int scalar[] = {ir_leaf(g, OP_INPUT, "rate", none), ir_leaf(g, OP_INPUT, "c1", none),
		ir_leaf(g, OP_INPUT, "c2", none), -1};
	int clip = ir_leaf(g, OP_INPUT, "clip", none);
	int norm = ir_unary(g, OP_SQRT, total), one = ir_const(g, 1);
	scalar[3] = ir_map(g, OP_MIN, ir_div(g, clip, ir_add(g, norm, ir_const(g, 1e-6))), one, -1);
	for (int i = 0; i < forward->nnode; i++)
		if (forward->node[i].op == OP_PARAM && train_moves(t, forward->node[i].name))
			adamw(g, t, forward->node[i].name, forward->node[i].type, scalar);
	graph_add_output(g, "grad_norm", norm);
	return g;
}
