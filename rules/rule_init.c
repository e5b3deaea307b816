/*
 * A model from nothing: tensors drawn from a seed, f32. The vocabulary is the tokenizer's.
 *
 * A weight is (sum of 12 uniforms - 6) * scale: nearly normal and exact on every machine. Scale 0.02 for
 * embeddings and head, 1 / sqrt(inputs) for matrices, that over sqrt(2 * layers) for those that write to the
 * residual stream (attn.o, mlp.down); norms are 1. (Radford et al. 2019, section 2.3, for the last one.)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "chain.h"
#include "rules.h"
#include "splitmix.h"
#include "tokenizer.h"

static double uniform(uint64_t *x)
{
	return (double)(splitmix64(x) >> 11) * 0x1p-53;
}

static bool ends(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);
	return n >= t && !strcmp(name + n - t, tail);
}

static void draw(const char *name, const struct model_config *c, size_t inputs, uint64_t seed, float *w,
	size_t n)
{
	struct digest d = digest_of(name, strlen(name));
	uint64_t x = d.lo ^ seed * 0xd1342543de82ef95u;
	double scale = 1 / sqrt((double)inputs);
	if (!strcmp(name, "embed") || !strcmp(name, "head"))
		scale = 0.02;
	else if (ends(name, "attn.o") || ends(name, "mlp.down"))
		scale /= sqrt(2.0 * c->layers);
	for (size_t i = 0; i < n; i++) {
		double sum = -6;
		for (int k = 0; k < 12; k++)
			sum += uniform(&x);
		w[i] = ends(name, "norm") ? 1.0f : (float)(sum * scale);
	}
}

static bool put_tensors(struct rule_call *c, struct state *s, uint64_t seed, struct err *e)
{
	bool ok = state_list(call_arena(c), s, e);
	for (size_t i = 0; i < s->ntensor && ok; i++) {
		struct state_tensor *t = &s->tensor[i];
		float *w = xmalloc(t->bytes);
		draw(t->name, &s->config, t->dims[t->ndim - 1], seed, w, t->bytes / sizeof(*w));
		ok = call_put(c, (struct buf){w, t->bytes}, &t->digest, e);
		free(w);
	}
	return ok;
}

static bool run(struct rule_call *c, struct err *e)
{
	struct state s = {0};
	struct buf block;
	struct tokenizer tok;
	const struct fields *param = call_params(c);
	s.config.arch = arch_find(ARCH_GGUF, call_param(c, "arch"), NULL, e);
	if (!s.config.arch || !call_input_named(c, "tokenizer", &block, e) || !tokenizer_load(&tok, block, e))
		return false;
	s.config.layers = (int)fields_int(param, "layers");
	s.config.width = (int)fields_int(param, "width");
	s.config.ffn = (int)fields_int(param, "ffn");
	s.config.heads = (int)fields_int(param, "heads");
	s.config.kv_heads = (int)fields_int(param, "kv-heads");
	s.config.context = (int)fields_int(param, "context");
	s.config.vocab = (int)tok.nvocab;
	s.config.rms_eps = 1e-5f;
	s.config.rope_theta = 10000;
	s.config.rope_factor = 1;
	s.config.tied = true;
	s.config.bos_id = tok.start_id == TOKENIZER_NONE ? -1 : (int)tok.start_id;
	if (tok.end_id != TOKENIZER_NONE)
		s.config.eos_id[s.config.neos++] = (int)tok.end_id;
	return arch_finish_config(&s.config, NULL, e) && put_tensors(c, &s, (uint64_t)fields_int(param, "seed"), e) &&
		rule_output_state(c, &s, e);
}

static const char *const outputs[] = {"state", NULL};
const struct rule rule_init = {"init", 1, outputs, NULL, run, NULL, NULL};
