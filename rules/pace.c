#include "pace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch.h"
#include "effort.h"
#include "emit.h"
#include "foretell.h"
#include "packed.h"
#include "program.h"

enum { ROWS = 256, WIDTH = 512, FFN = 1536, HEAD = 64, LEAST_NS = 100000000, LEAST_RUNS = 3 };

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Memory of zeros: of its externals, slab and scratch. */
struct bound {
	void **t, *scratch;
	uint32_t n;
};

static void bind(struct bound *b, const struct program *prog, int threads)
{
	size_t scratch = program_scratch_bytes(prog) * (size_t)threads;
	b->n = prog->nexternal + 1;
	b->t = xcalloc(b->n, sizeof(*b->t));
	for (uint32_t i = 0; i < b->n; i++) {
		size_t bytes = i ? prog->external[i - 1].bytes : prog->slab_bytes;
		b->t[i] = memset(xaligned(bytes), 0, bytes);
	}
	b->scratch = memset(xaligned(scratch), 0, scratch);
}

static void release(struct bound *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		free(b->t[i]);
	free(b->t);
	free(b->scratch);
}

/* Seconds of the fastest run. On a machine that others use a mean of so short a time says as little of what is to come as
 * this, and it may be off by far more. */
static double seconds_of(const struct program *prog, struct pool *pool, const struct bound *b)
{
	const int64_t dim[2] = {ROWS, ROWS};
	int64_t best = INT64_MAX, until = now_ns() + LEAST_NS;
	for (int i = 0; i < LEAST_RUNS || now_ns() < until; i++) {
		int64_t began = now_ns();
		program_run(prog, pool, b->t, dim, b->scratch);
		int64_t took = now_ns() - began;
		best = took < best ? took : best;
	}
	return (double)best / 1e9;
}

static enum numerics class_of(const char *kind)
{
	enum numerics n = 0;
	while (n < NNUMERICS && strcmp(foretell_kind(n), kind))
		n++;
	return n;
}

double pace_measure(const char *kind, int threads)
{
	struct arena a = {0};
	struct loaded loaded;
	const struct model_config config = {.arch = &arch_llama, .layers = 1, .width = WIDTH, .ffn = FFN, .heads = WIDTH / HEAD,
		.kv_heads = WIDTH / HEAD, .head_dim = HEAD, .vocab = HEAD, .context = ROWS, .rms_eps = 1e-5f};
	const struct forward f = {.config = &config, .numerics = class_of(kind), .max_rows = ROWS, .max_out = ROWS,
		.slots = ROWS};
	if (f.numerics == NNUMERICS)
		return 0;
	const struct graph *plan = graph_plan(&a, forward_piece_half(&a, &f, HALF_MLP));
	const struct effort_sizes sizes = {.rows = ROWS};
	double rate = 0;
	struct pool *pool = pool_new(threads);
	if (pool && emit_native(&plan, 1, 1, &loaded, NULL)) {
		struct bound b;
		bind(&b, loaded.program[0], threads);
		rate = graph_effort(plan, &sizes) / seconds_of(loaded.program[0], pool, &b);
		release(&b);
		emit_unload(&loaded);
	}
	if (pool)
		pool_free(pool);
	arena_release(&a);
	return rate;
}
