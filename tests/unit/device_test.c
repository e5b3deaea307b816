/*
 * What a GPU would have to hold for a model of 7B, known before any of it is there: its tune is planned against the memory
 * of the devices that it is meant for.
 */
#include <stdio.h>

#include "arch.h"
#include "test.h"
#include "trainable.h"
#include "trainer.h"

enum { LAYERS = 32, ROWS = 1024 };

struct making {
	struct arena *a;
	struct state *s;
};

static bool put_tensor(void *ctx, const struct arch_tensor *row, int layer)
{
	struct making *m = ctx;
	char name[64];
	arch_name(row->name, layer, name, sizeof(name));
	struct state_tensor t = {.name = arena_strdup(m->a, name), .dtype = MODEL_BF16, .bytes = 2};
	for (; t.ndim < 2 && row->dims[t.ndim] != DIM_NONE; t.ndim++) {
		t.dims[t.ndim] = arch_dim_size(&m->s->config, row->dims[t.ndim]);
		t.bytes *= t.dims[t.ndim];
	}
	*arena_push(m->a, m->s->tensor, m->s->ntensor) = t;
	return true;
}

static bool trains(void *list, const char *name)
{
	return trainable_has(list, name);
}

/* GB of a tune of the last `blocks` blocks and the embeddings. */
static double planned(enum device_kind device, int blocks)
{
	struct arena a = {0};
	bool has[LAYERS];
	struct strbuf list;
	struct trainer_needs needs;
	struct state s = {.config = {.arch = &arch_llama, .layers = LAYERS, .width = 4096, .ffn = 11008, .heads = 32, .kv_heads = 32,
		.head_dim = 128, .vocab = 32000, .context = 4096, .rms_eps = 1e-5f, .rope_theta = 10000}, .has_attn = has, .has_mlp = has};
	struct making m = {&a, &s};
	strbuf_init(&list);
	strbuf_adds(&list, "embeddings\n");
	for (int i = 0; i < LAYERS; i++) {
		has[i] = true;
		if (i >= LAYERS - blocks)
			strbuf_addf(&list, "blk.%d\n", i);
	}
	arch_each_tensor(&s.config, put_tensor, &m);
	struct trainer_options o = {.weights = {.state = &s}, .trains = trains, .ctx = list.s, .numerics = NUMERICS_BF16, .rows = ROWS,
		.device = device, .nthreads = 1};
	trainer_foretell(&o, &(struct trainer_load){ROWS, ROWS, ROWS / 2}, &needs);
	strbuf_release(&list);
	arena_release(&a);
	printf("%s, %d of %d blocks train: %.1f GB\n", device_name(device), blocks, LAYERS, (double)needs.memory_bytes / 1e9);
	return (double)needs.memory_bytes / 1e9;
}

/* Of 6.7e9 weights one that trains takes 16 bytes, its master, moments and gradient; a frozen one 2. */
TEST(a_7b_tune_fits_the_gpus_it_is_meant_for)
{
	double sparse = planned(DEVICE_CUDA, LAYERS / 4), full = planned(DEVICE_CUDA, LAYERS);
	CHECK(sparse > 2 * 6.7 && sparse < 80);
	CHECK(full > 16 * 6.7 && full < 141);
}
