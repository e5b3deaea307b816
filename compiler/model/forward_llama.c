/*
 * LLaMA (Touvron et al. 2023): pre-norm blocks x + attention(norm x), x + mlp(norm x); RMSNorm (Zhang &
 * Sennrich 2019, eq. 4), rotary positions on half-split heads, grouped KV heads, SwiGLU (Shazeer 2020).
 * A half that is gone is the identity: its norm goes with it, the residual stays.
 */
#include <math.h>
#include <stdio.h>

#include "arch.h"
#include "forward.h"

struct llama {
	struct graph *g;
	const struct forward *f;
	const struct numerics_class *n;
	int slot, lo, hi, cos, sin; /* cos (R,E), sin (R,X,E) with the sign of the half */
};

static int weight(struct llama *m, const char *name, const char *axes)
{
	enum dtype t = m->f->weight_dtype ? m->f->weight_dtype(m->f->ctx, name)
					  : forward_weight_dtype(m->n, name);
	return ir_leaf(m->g, OP_PARAM, name, graph_type(m->g, t, axes));
}

static int block_weight(struct llama *m, int layer, const char *part, const char *axes)
{
	char name[64];
	snprintf(name, sizeof(name), "blk.%d.%s", layer, part);
	return weight(m, name, axes);
}

/* x, w in the class's operand dtype, -> f32 of these axes. */
static int product(struct llama *m, int x, int w, const char *axes)
{
	x = ir_cast(m->g, x, m->n->operand);
	w = ir_cast(m->g, w, m->n->operand);
	return ir_dot(m->g, x, w, graph_type(m->g, DT_F32, axes));
}

static int rms_norm(struct llama *m, int x, int w, const char *rows)
{
	struct graph *g = m->g;
	int sum = ir_reduce(g, OP_SUM, ir_mul(g, x, x), graph_type(g, DT_F32, rows));
	int mean = ir_mul(g, sum, ir_const(g, 1.0 / m->f->config->width));
	int root = ir_unary(g, OP_SQRT, ir_add(g, mean, ir_const(g, (double)m->f->config->rms_eps)));
	return ir_mul(g, ir_mul(g, x, ir_div(g, ir_const(g, 1), root)), w);
}

/* Half 0: x0 cos - x1 sin; half 1: x1 cos + x0 sin. */
static int rotate(struct llama *m, int x)
{
	struct graph *g = m->g;
	int other = ir_flip(g, x, graph_find_axis(g, "X"));
	return ir_add(g, ir_mul(g, x, m->cos), ir_mul(g, other, m->sin));
}

static void rotations(struct llama *m, int pos)
{
	struct graph *g = m->g;
	int freq = weight(m, "rope.freq", "E");
	int angle = ir_mul(g, ir_unary(g, OP_TO_F32, pos), freq);
	int half = ir_unary(g, OP_TO_F32, ir_iota(g, graph_find_axis(g, "X")));
	int sign = ir_sub(g, ir_add(g, half, half), ir_const(g, 1));
	m->cos = ir_unary(g, OP_COS, angle);
	m->sin = ir_mul(g, ir_expand(g, ir_unary(g, OP_SIN, angle), graph_type(g, DT_F32, "R X E")), sign);
}

static int keys_or_values(struct llama *m, int layer, const char *name, int x)
{
	struct graph *g = m->g;
	char state[64];
	x = ir_cast(g, x, m->n->kv);
	if (!m->f->slots)
		return ir_expand(g, x, graph_type(g, m->n->kv, "K R X E"));
	snprintf(state, sizeof(state), "blk.%d.%s", layer, name);
	int cache = ir_leaf(g, OP_STATE, state, graph_type(g, m->n->kv, "K S X E"));
	return ir_put(g, cache, x, m->slot, graph_find_axis(g, "S"));
}

static int attention(struct llama *m, int layer, int x)
{
	struct graph *g = m->g;
	int h = ir_cast(g, rms_norm(m, x, block_weight(m, layer, "attn.norm", "D"), "R"), m->n->operand);
	int q = product(m, h, block_weight(m, layer, "attn.q", "K G X E D"), "R K G X E");
	int k = product(m, h, block_weight(m, layer, "attn.k", "K X E D"), "R K X E");
	int v = product(m, h, block_weight(m, layer, "attn.v", "K X E D"), "R K X E");
	q = ir_mul(g, rotate(m, q), ir_const(g, 1 / sqrt(m->f->config->head_dim)));
	k = keys_or_values(m, layer, "k", rotate(m, k));
	v = keys_or_values(m, layer, "v", v);
	int slots = graph_find_axis(g, m->f->slots ? "S" : "R");
	int o = ir_attention(g, q, k, v, m->lo, m->hi, slots);
	return product(m, o, block_weight(m, layer, "attn.o", "D K G X E"), "R D");
}

static int mlp(struct llama *m, int layer, int x)
{
	struct graph *g = m->g;
	int h = ir_cast(g, rms_norm(m, x, block_weight(m, layer, "mlp.norm", "D"), "R"), m->n->operand);
	int gate = product(m, h, block_weight(m, layer, "mlp.gate", "F D"), "R F");
	int up = product(m, h, block_weight(m, layer, "mlp.up", "F D"), "R F");
	int one = ir_const(g, 1);
	int denominator = ir_add(g, one, ir_unary(g, OP_EXP, ir_unary(g, OP_NEG, gate)));
	int silu = ir_div(g, gate, denominator);
	return product(m, ir_mul(g, silu, up), block_weight(m, layer, "mlp.down", "D F"), "R D");
}

static void make_axes(struct graph *g, const struct forward *f)
{
	const struct model_config *c = f->config;
	graph_axis(g, "R", f->max_rows, true);
	graph_axis(g, "O", f->max_out, true);
	graph_axis(g, "V", c->vocab, false);
	graph_axis(g, "D", c->width, false);
	graph_axis(g, "F", c->ffn, false);
	graph_axis(g, "K", c->kv_heads, false);
	graph_axis(g, "G", c->heads / c->kv_heads, false);
	graph_axis(g, "X", 2, false);
	graph_axis(g, "E", c->head_dim / 2, false);
	if (f->slots)
		graph_axis(g, "S", f->slots, false);
}

static int input(struct graph *g, const char *name, const char *axes)
{
	return ir_leaf(g, OP_INPUT, name, graph_type(g, DT_I32, axes));
}

struct forward_nodes forward_llama(struct graph *g, const struct forward *f)
{
	struct llama m = {.g = g, .f = f, .n = &numerics_classes[f->numerics]};
	int layers = f->config->layers;
	struct forward_nodes n = {.block_in = arena_array(g->arena, int, layers + 1),
		.attn_out = arena_array(g->arena, int, layers),
		.mlp_out = arena_array(g->arena, int, layers)};
	make_axes(g, f);
	int tok = input(g, "tok", "R"), pos = input(g, "pos", "R");
	if (f->slots)
		m.slot = input(g, "slot", "R");
	m.lo = input(g, "lo", "R");
	m.hi = input(g, "hi", "R");
	int out = input(g, "out", "O");
	rotations(&m, pos);
	int embed = weight(&m, "embed", "V D");
	int x = ir_cast(g, ir_gather(g, embed, tok, graph_find_axis(g, "V")), DT_F32);
	for (int i = 0; i < layers; i++) {
		n.block_in[i] = x;
		n.attn_out[i] = n.mlp_out[i] = -1;
		if (!f->has_attn || f->has_attn[i])
			x = ir_add(g, x, n.attn_out[i] = attention(&m, i, x));
		if (!f->has_mlp || f->has_mlp[i])
			x = ir_add(g, x, n.mlp_out[i] = mlp(&m, i, x));
	}
	n.block_in[layers] = x;
	int last = ir_gather(g, x, out, graph_find_axis(g, "R"));
	int h = rms_norm(&m, last, weight(&m, "norm", "D"), "O");
	int head = f->config->tied ? embed : weight(&m, "head", "V D");
	n.logits = product(&m, h, head, "O V");
	return n;
}
