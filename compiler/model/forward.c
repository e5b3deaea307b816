#include "forward.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch.h"

const struct numerics_class numerics_classes[NNUMERICS] = {
	[NUMERICS_F32] = {"f32", 1, DT_F32, DT_F32},
	[NUMERICS_BF16] = {"bf16", 1, DT_BF16, DT_BF16},
};

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

enum dtype forward_weight_dtype(const struct numerics_class *n, const char *name)
{
	return is_norm(name) || !strcmp(name, "rope.freq") ? DT_F32 : n->operand;
}

struct forward_nodes forward_build(struct graph *g, const struct forward *f)
{
	return f->config->arch->forward(g, f);
}

struct graph *forward_step(struct arena *a, const struct forward *f)
{
	struct graph *g = graph_new(a, "step");
	struct forward_nodes n = forward_build(g, f);
	graph_add_output(g, "logits", n.logits);
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

int64_t forward_weight_elements(const struct model_config *c, const char *name)
{
	char layer[16], want[96];
	for (size_t i = 0; i < c->arch->ntensor; i++) {
		const struct arch_tensor *t = &c->arch->tensor[i];
		const char *mark = strstr(t->name, "{N}");
		int n = 0, used = 0;
		if (mark) {
			size_t head = (size_t)(mark - t->name);
			if (strncmp(name, t->name, head) ||
				sscanf(name + head, "%d%n", &n, &used) != 1)
				continue;
			snprintf(layer, sizeof(layer), "%d", n);
			snprintf(want, sizeof(want), "%.*s%s%s", (int)head, t->name, layer, mark + 3);
		}
		if (strcmp(name, mark ? want : t->name))
			continue;
		int64_t elements = 1;
		for (int d = 0; d < 2 && t->dims[d] != DIM_NONE; d++)
			elements *= (int64_t)arch_dim_size(c, t->dims[d]);
		return elements;
	}
	return 0;
}
