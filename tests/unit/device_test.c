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

static bool trains(void *list, const char *name)
{
	return trainable_has(list, name);
}

/* GB of a tune of the last `blocks` blocks and the embeddings. */
static double planned(int blocks)
{
	struct arena a = {0};
	bool has[LAYERS];
	struct strbuf list;
	struct trainer_needs needs;
	struct state s = {.config = {.arch = &arch_llama, .layers = LAYERS, .width = 4096, .ffn = 11008, .heads = 32, .kv_heads = 32,
		.head_dim = 128, .vocab = 32000, .context = 4096, .rms_eps = 1e-5f, .rope_theta = 10000}, .has_attn = has, .has_mlp = has};
	struct err e;
	strbuf_init(&list);
	strbuf_adds(&list, "embeddings\n");
	for (int i = 0; i < LAYERS; i++) {
		has[i] = true;
		if (i >= LAYERS - blocks)
			strbuf_addf(&list, "blk.%d\n", i);
	}
	if (!state_list(&a, &s, &e))
		FAIL("%s", e.msg);
	struct trainer_options o = {.weights = {.state = &s}, .trains = trains, .ctx = list.s, .numerics = NUMERICS_BF16, .rows = ROWS,
		.device = DEVICE_CUDA, .nthreads = 1};
	trainer_foretell(&o, &(struct trainer_load){ROWS, ROWS, ROWS / 2}, &needs);
	strbuf_release(&list);
	arena_release(&a);
	printf("%d of %d blocks train: %.1f GB\n", blocks, LAYERS, (double)needs.memory_bytes / 1e9);
	return (double)needs.memory_bytes / 1e9;
}

/* Of 6.7e9 weights one that trains takes 16 bytes, its master, moments and gradient; a frozen one 2. */
TEST(a_7b_tune_fits_the_gpus_it_is_meant_for)
{
	double sparse = planned(LAYERS / 4), full = planned(LAYERS);
	CHECK(sparse > 2 * 6.7 && sparse < 80);
	CHECK(full > 16 * 6.7 && full < 141);
}
