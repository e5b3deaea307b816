#include "forward.h"

#include <math.h>
#include <string.h>

#include "arch.h"

#define CACHE(kv, word, name, version, weight, head, activation, usual)                                \
	{DT_##kv == DT_##usual ? name : name "-kv-" word, version, DT_##weight, DT_##head, DT_##activation, \
		DT_##kv},
#define WEIGHTS(id, ...) NUMERICS_CACHES(CACHE, __VA_ARGS__)
const struct numerics_class numerics_classes[NNUMERICS] = {NUMERICS_WEIGHTS(WEIGHTS)};

/* dtypes as specs call them. */
static const char *const word[NDTYPES] = {[DT_F32] = "f32", [DT_BF16] = "bf16", [DT_I32] = "",
	[DT_Q8] = "int8", [DT_Q4] = "int4", [DT_F16] = "f16", [DT_C8] = "int8"};

bool numerics_choose(const struct numerics_words *w, enum numerics *out)
{
	for (int i = 0; i < NNUMERICS; i++) {
		const struct numerics_class *n = &numerics_classes[i];
		if (!strcmp(word[n->weight], w->weights) && !strcmp(word[n->head], w->head) &&
			!strcmp(word[n->activation], w->activations) && !strcmp(word[n->kv], w->kv)) {
			*out = (enum numerics)i;
			return true;
		}
	}
	return false;
}

bool numerics_find(const char *name, enum numerics *out)
{
	for (int i = 0; i < NNUMERICS; i++)
		if (!strcmp(numerics_classes[i].name, name)) {
			*out = (enum numerics)i;
			return true;
		}
	return false;
}

static bool is_norm(const char *name)
{
	size_t n = strlen(name);
	return n >= 4 && !strcmp(name + n - 4, "norm");
}

enum dtype forward_weight_dtype(const struct numerics_class *n, const struct model_config *c,
	const char *name)
{
	if (is_norm(name) || !strcmp(name, "rope.freq"))
		return DT_F32;
	return !strcmp(name, c->tied ? "embed" : "head") ? n->head : n->weight;
}

static int input(struct graph *g, const char *name, const char *axes)
{
	return ir_leaf(g, OP_INPUT, name, graph_type(g, DT_I32, axes));
}

struct forward_frame forward_begin(struct graph *g, const struct forward *f)
{
	const struct model_config *c = f->config;
	struct forward_frame m = {.g = g, .f = f, .n = &numerics_classes[f->numerics]};
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
	m.tok = input(g, "tok", "R");
	m.pos = input(g, "pos", "R");
	m.slot = f->slots ? input(g, "slot", "R") : -1;
	m.lo = input(g, "lo", "R");
	m.hi = input(g, "hi", "R");
	m.out = input(g, "out", "O");
	m.cos = m.sin = -1;
	return m;
}

int forward_weight(struct forward_frame *m, const char *name, const char *axes)
{
	const char *held = m->f->leaf ? m->f->leaf(m->f->ctx, m->g, name) : name;
	int leaf = graph_find_leaf(m->g, held);
	if (leaf >= 0)
		return leaf;
	enum dtype t = m->f->weight_dtype ? m->f->weight_dtype(m->f->ctx, name)
					  : forward_weight_dtype(m->n, m->f->config, name);
	return ir_leaf(m->g, OP_PARAM, held, graph_type(m->g, t, axes));
}

int forward_embed(struct forward_frame *m)
{
	return m->f->config->arch->forward->embed(m);
}

int forward_half(struct forward_frame *m, enum half half, int layer, int x)
{
	return m->f->config->arch->forward->half[half](m, layer, x);
}

int forward_logits(struct forward_frame *m, int x)
{
	return m->f->config->arch->forward->logits(m, x);
}

int forward_build(struct graph *g, const struct forward *f)
{
	struct forward_frame m = forward_begin(g, f);
	const bool *has[NHALVES] = {f->has_attn, f->has_mlp};
	int x = forward_embed(&m);
	for (int i = 0; i < f->config->layers; i++)
		for (int half = 0; half < NHALVES; half++)
			if (!has[half] || has[half][i])
				x = ir_add(g, x, forward_half(&m, (enum half)half, i, x));
	return forward_logits(&m, x);
}

struct graph *forward_step(struct arena *a, const struct forward *f)
{
	struct graph *g = graph_new(a, "step");
	graph_add_output(g, "logits", forward_build(g, f));
	return g;
}

int forward_nll(struct graph *g, int logits, int target)
{
	struct type o = graph_type(g, DT_F32, "O");
	int max = ir_unary(g, OP_STOP, ir_reduce(g, OP_RMAX, logits, o));
	int sum = ir_reduce(g, OP_SUM, ir_unary(g, OP_EXP, ir_sub(g, logits, max)), o);
	int hit = ir_map(g, OP_EQ, target, ir_iota(g, graph_find_axis(g, "V")), -1);
	int gold = ir_reduce(g, OP_SUM, ir_map(g, OP_SELECT, hit, logits, ir_const(g, 0)), o);
	return ir_sub(g, ir_add(g, ir_unary(g, OP_LOG, sum), max), gold);
}

static int residual_input(struct graph *g)
{
	return ir_leaf(g, OP_INPUT, "x", graph_type(g, DT_F32, "R D"));
}

struct graph *forward_piece_embed(struct arena *a, const struct forward *f)
{
	struct graph *g = graph_new(a, "embed");
	struct forward_frame m = forward_begin(g, f);
	graph_add_output(g, "y", forward_embed(&m));
	return g;
}

struct graph *forward_piece_half(struct arena *a, const struct forward *f, enum half half)
{
	struct graph *g = graph_new(a, half == HALF_ATTN ? "attn" : "mlp");
	struct forward_frame m = forward_begin(g, f);
	int x = residual_input(g);
	graph_add_output(g, "y", ir_add(g, x, forward_half(&m, half, 0, x)));
	return g;
}

struct graph *forward_piece_head(struct arena *a, const struct forward *f)
{
	struct graph *g = graph_new(a, "head");
	struct forward_frame m = forward_begin(g, f);
	int x = residual_input(g);
	graph_add_output(g, "nll", forward_nll(g, forward_logits(&m, x), input(g, "target", "O")));
	return g;
}

void forward_rope_freq(const struct model_config *c, float *freq)
{
	double pi = 3.14159265358979323846;
	for (int i = 0; i < c->head_dim / 2; i++) {
		double w = pow(c->rope_theta, -2.0 * i / c->head_dim);
		if (c->rope == MODEL_ROPE_LINEAR) {
			w /= c->rope_factor;
		} else if (c->rope == MODEL_ROPE_LLAMA3) {
			double turns = c->rope_original_context * w / (2 * pi);
			double blend = (turns - c->rope_low) / (c->rope_high - c->rope_low);
			blend = blend < 0 ? 0 : blend > 1 ? 1 : blend;
			w = w / c->rope_factor * (1 - blend) + w * blend;
		}
		freq[i] = (float)w;
	}
}
