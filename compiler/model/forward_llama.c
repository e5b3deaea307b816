/*
 * LLaMA (Touvron et al. 2023): pre-norm blocks x + attention(norm x), x + mlp(norm x); RMSNorm (Zhang &
 * Sennrich 2019, eq. 4), rotary positions on half-split heads, grouped KV heads, SwiGLU (Shazeer 2020).
 * A half that is gone is the identity: its norm goes with it, the residual stays.
 */
#include <math.h>
#include <stdio.h>

#include "arch.h"
#include "forward.h"

static int block_weight(struct forward_frame *m, int layer, const char *part, const char *axes)
{
	char name[64];
	snprintf(name, sizeof(name), "blk.%d.%s", layer, part);
	return forward_weight(m, name, axes);
}

/* What several products of one x begin with. */
static int operand(struct forward_frame *m, int x)
{
	return dtype_has_blocks(m->n->activation) ? x : ir_cast(m->g, x, m->n->activation);
}

/* x f32, w as it is bound -> f32 of these axes. The weight's dtype decides, so that a class may have
 * weights of several; what is trained is f32 and rounded to the class's. */
static int product(struct forward_frame *m, int x, int w, const char *axes)
{
	const struct type *from = &m->g->node[w].type;
	const char *name = m->g->node[w].name;
	if (dtype_has_blocks(from->dtype)) {
		x = ir_quantise(m->g, x, m->g->node[x].type.naxis - (from->naxis - from->outer));
	} else {
		enum dtype t = dtype_has_blocks(m->n->activation) ? from->dtype : m->n->activation;
		x = ir_cast(m->g, x, t);
		w = ir_cast(m->g, w, t);
	}
	int y = ir_dot(m->g, x, w, graph_type(m->g, DT_F32, axes));
	return m->f->product ? m->f->product(m->f->ctx, m->g, name, x, y) : y;
}

static int rms_norm(struct forward_frame *m, int x, int w, const char *rows)
{
	struct graph *g = m->g;
	int sum = ir_reduce(g, OP_SUM, ir_mul(g, x, x), graph_type(g, DT_F32, rows));
	int mean = ir_mul(g, sum, ir_const(g, 1.0 / m->f->config->width));
	int root = ir_unary(g, OP_SQRT, ir_add(g, mean, ir_const(g, (double)m->f->config->rms_eps)));
	return ir_mul(g, ir_mul(g, x, ir_div(g, ir_const(g, 1), root)), w);
}

/* Half 0: x0 cos - x1 sin; half 1: x1 cos + x0 sin. */
static int rotate(struct forward_frame *m, int x)
{
	struct graph *g = m->g;
	int other = ir_flip(g, x, graph_find_axis(g, "X"));
	return ir_add(g, ir_mul(g, x, m->cos), ir_mul(g, other, m->sin));
}

/* Once for all blocks of a graph. */
static void rotations(struct forward_frame *m)
{
	struct graph *g = m->g;
	if (m->cos >= 0)
		return;
	int freq = forward_weight(m, "rope.freq", "E");
	int angle = ir_mul(g, ir_unary(g, OP_TO_F32, m->pos), freq);
	int half = ir_unary(g, OP_TO_F32, ir_iota(g, graph_find_axis(g, "X")));
	int sign = ir_sub(g, ir_add(g, half, half), ir_const(g, 1));
	m->cos = ir_unary(g, OP_COS, angle);
	m->sin = ir_mul(g, ir_expand(g, ir_unary(g, OP_SIN, angle), graph_type(g, DT_F32, "R X E")), sign);
}

static int keys_or_values(struct forward_frame *m, int layer, const char *name, int x)
{
	struct graph *g = m->g;
	char state[64];
	bool blocks = dtype_has_blocks(m->n->kv);
	x = blocks ? ir_quantise_cache(g, x, 2) : ir_cast(g, x, m->n->kv);
	if (!m->f->slots) {
		int r = graph_find_axis(g, "R");
		x = blocks ? ir_gather(g, x, ir_iota(g, r), r) : x;
		return ir_expand(g, x, graph_type(g, g->node[x].type.dtype, "K R X E"));
	}
	snprintf(state, sizeof(state), "blk.%d.%s", layer, name);
	int cache = ir_leaf(g, OP_STATE, state, graph_type(g, m->n->kv, "K S | X E"));
	return ir_put(g, cache, x, m->slot, graph_find_axis(g, "S"));
}

static int attention(struct forward_frame *m, int layer, int x)
{
	struct graph *g = m->g;
	rotations(m);
	int h = operand(m, rms_norm(m, x, block_weight(m, layer, "attn.norm", "D"), "R"));
	int q = product(m, h, block_weight(m, layer, "attn.q", "K G X E | D"), "R K G X E");
	int k = product(m, h, block_weight(m, layer, "attn.k", "K X E | D"), "R K X E");
	int v = product(m, h, block_weight(m, layer, "attn.v", "K X E | D"), "R K X E");
	q = ir_mul(g, rotate(m, q), ir_const(g, 1 / sqrt(m->f->config->head_dim)));
	k = keys_or_values(m, layer, "k", rotate(m, k));
	v = keys_or_values(m, layer, "v", v);
	int slots = graph_find_axis(g, m->f->slots ? "S" : "R");
	int o = ir_attention(g, q, k, v, m->lo, m->hi, slots);
	return product(m, o, block_weight(m, layer, "attn.o", "D | K G X E"), "R D");
}

static int mlp(struct forward_frame *m, int layer, int x)
{
	struct graph *g = m->g;
	int h = operand(m, rms_norm(m, x, block_weight(m, layer, "mlp.norm", "D"), "R"));
	int gate = product(m, h, block_weight(m, layer, "mlp.gate", "F | D"), "R F");
	int up = product(m, h, block_weight(m, layer, "mlp.up", "F | D"), "R F");
	int one = ir_const(g, 1);
	int denominator = ir_add(g, one, ir_unary(g, OP_EXP, ir_unary(g, OP_NEG, gate)));
	int silu = ir_div(g, gate, denominator);
	return product(m, ir_mul(g, silu, up), block_weight(m, layer, "mlp.down", "D | F"), "R D");
}

static int embed(struct forward_frame *m)
{
	int table = forward_weight(m, "embed", "V | D");
	return ir_cast(m->g, ir_gather(m->g, table, m->tok, graph_find_axis(m->g, "V")), DT_F32);
}

static int logits(struct forward_frame *m, int x)
{
	int last = ir_gather(m->g, x, m->out, graph_find_axis(m->g, "R"));
	int h = rms_norm(m, last, forward_weight(m, "norm", "D"), "O");
	const char *head = m->f->config->tied ? "embed" : "head";
	return product(m, h, forward_weight(m, head, "V | D"), "O V");
}

const struct arch_forward forward_llama = {
	.embed = embed,
	.half = {[HALF_ATTN] = attention, [HALF_MLP] = mlp},
	.logits = logits,
};
