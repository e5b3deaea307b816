/*
 * Speed of tuning on a device: steps of a model of random weights, whole, by the code that the rule `tune` runs.
 *
 *     gpu_tune cuda|cpu LAYERS WIDTH FFN HEADS KV-HEADS VOCABULARY ROWS SHARE
 *
 * The last blocks train, as many as the share says, with the embeddings, which are the head as well. One JSON line: seconds of
 * a step of one row of tokens (the median of those behind the first two), and the flops that count (per token and parameter 2
 * forward, 2 more where a gradient passes, 2 more where weights train). tests/gpu/run puts PyTorch's beside it
 * (tests/bench/torch_step).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "gpu_clock.h"
#include "splitmix.h"
#include "trainer.h"

enum { STEPS = 8, WARM = 2 };

struct subject {
	struct arena a;
	struct state s;
	int64_t rows;
	int first; /* block that trains */
	void *bytes;
	double matrices, trained; /* parameters; where a gradient passes they train too */
};

static bool read_tensor(void *ctx, const struct state_tensor *t, struct buf *out, struct err *e)
{
	struct subject *m = ctx;
	(void)e;
	free(m->bytes);
	float *w = m->bytes = xmalloc(t->bytes);
	uint64_t r = digest_of(t->name, strlen(t->name)).lo;
	for (size_t i = 0; i < t->bytes / sizeof(*w); i++)
		w[i] = t->ndim == 1 ? 1 : (float)((double)(int64_t)splitmix64(&r) * 0x1p-63 * 0.02);
	*out = (struct buf){w, t->bytes};
	return true;
}

static bool trains(void *ctx, const char *name)
{
	const struct subject *m = ctx;
	struct unit u;
	return !unit_of_tensor(name, &u) || u.layer >= m->first;
}

static void count(struct subject *m)
{
	for (size_t i = 0; i < m->s.ntensor; i++) {
		const struct state_tensor *t = &m->s.tensor[i];
		double n = t->ndim == 2 ? (double)t->bytes / sizeof(float) : 0;
		m->matrices += n;
		m->trained += trains(m, t->name) ? n : 0;
	}
}

static struct pack_batch batch_of(struct subject *m)
{
	uint32_t n = (uint32_t)m->rows;
	struct pack_batch b = {n, n, arena_array(&m->a, uint32_t, n), arena_array(&m->a, uint32_t, n), arena_array(&m->a, uint32_t, n),
		arena_array(&m->a, int32_t, n), arena_array(&m->a, float, n), n, 0, NULL, NULL};
	for (uint32_t i = 0; i < n; i++) {
		b.token[i] = (i * 37 + 5) % (uint32_t)m->s.config.vocab;
		b.position[i] = i;
		b.target[i] = (int32_t)((i * 37 + 42) % (uint32_t)m->s.config.vocab);
		b.weight[i] = 1;
	}
	return b;
}

static bool measure(struct subject *m, const struct trainer_options *o, struct err *e)
{
	struct trainer *t = NULL;
	struct pack_batch b = batch_of(m);
	double took[STEPS], loss = 0;
	bool ok = trainer_open(&t, o, e);
	for (int i = 0; i < STEPS && ok; i++) {
		double start = now();
		loss = 0;
		trainer_add(t, &b, b.weight_sum, &loss);
		trainer_update(t, i + 1, 1e-4, 1);
		took[i] = now() - start;
		ok = trainer_ok(t, e);
	}
	trainer_free(t);
	if (!ok)
		return false;
	double step = median(took + WARM, STEPS - WARM), flops = 2 * (m->matrices + 2 * m->trained) * (double)m->rows;
	printf("{\"device\":\"%s\",\"rows\":%lld,\"seconds\":%.6f,\"tokens_per_second\":%.0f,\"counted_flops\":%.4g,\"loss\":%.6f}\n",
		device_name(o->device), (long long)m->rows, step, (double)m->rows / step, flops / step, loss);
	return isfinite(loss) || err_set(e, ERR_NUMERIC, "the loss is %g", loss);
}

int main(int argc, char **argv)
{
	struct subject m = {0};
	struct err e;
	if (argc != 10) {
		fprintf(stderr, "gpu_tune cuda|cuda-cublaslt|cpu LAYERS WIDTH FFN HEADS KV-HEADS VOCABULARY ROWS SHARE\n");
		return 2;
	}
	int layers = atoi(argv[2]), width = atoi(argv[3]), heads = atoi(argv[5]);
	double share = atof(argv[9]);
	m.rows = atoi(argv[8]);
	m.first = layers - (int)ceil(share * layers);
	m.s.config = (struct model_config){.arch = &arch_llama, .layers = layers, .width = width, .ffn = atoi(argv[4]), .heads = heads,
		.kv_heads = atoi(argv[6]), .head_dim = width / heads, .vocab = atoi(argv[7]), .context = (int)m.rows, .rms_eps = 1e-5f,
		.rope_theta = 10000, .rope_factor = 1, .tied = true};
	m.s.has_attn = arena_array(&m.a, bool, layers);
	m.s.has_mlp = arena_array(&m.a, bool, layers);
	memset(m.s.has_attn, 1, (size_t)layers);
	memset(m.s.has_mlp, 1, (size_t)layers);
	struct trainer_options o = {.weights = {&m.s, read_tensor, &m}, .trains = trains, .ctx = &m, .numerics = NUMERICS_BF16,
		.rows = m.rows, .device = device_find(argv[1]), .nthreads = 2, .beta1 = 0.9, .beta2 = 0.999,
		.eps = 1e-8, .decay = 0.01};
	bool ok = state_list(&m.a, &m.s, &e);
	if (ok)
		count(&m);
	ok = ok && measure(&m, &o, &e);
	if (!ok)
		fprintf(stderr, "gpu_tune: %s\n", e.msg);
	free(m.bytes);
	arena_release(&m.a);
	return !ok;
}
