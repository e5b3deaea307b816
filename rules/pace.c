#include "pace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch.h"
#include "device.h"
#include "effort.h"
#include "foretell.h"
#include "packed.h"

enum { ROWS = 256, WIDTH = 512, FFN = 1536, HEAD = 64, LEAST_NS = 100000000, LEAST_RUNS = 3 };

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Memory of zeros for its externals. */
static void **bind(struct arena *a, struct device *d)
{
	const struct program *prog = device_program(d, 0);
	void **t = arena_array(a, void *, prog->nexternal + 1);
	for (uint32_t i = 0; i < prog->nexternal; i++)
		t[1 + i] = device_alloc(d, prog->external[i].bytes);
	return t;
}

/* Seconds of the fastest run. On a machine that others use a mean of so short a time says as little of what is to come as
 * this, and it may be off by far more. */
static double seconds_of(struct device *d, void **t)
{
	const int64_t dim[2] = {ROWS, ROWS};
	int64_t best = INT64_MAX, until = now_ns() + LEAST_NS;
	for (int i = 0; i < LEAST_RUNS || now_ns() < until; i++) {
		float some;
		int64_t began = now_ns();
		device_run(d, 0, t, dim);
		device_read(d, &some, t[1], sizeof(some)); /* when it is over */
		int64_t took = now_ns() - began;
		best = took < best ? took : best;
	}
	return (double)best / 1e9;
}

static bool find_kind(const char *kind, enum numerics *n, enum device_kind *device)
{
	for (*device = 0; *device < NDEVICES; ++*device)
		for (*n = 0; *n < NNUMERICS; ++*n)
			if (!strcmp(foretell_kind(*n, *device), kind))
				return true;
	return false;
}

double pace_measure(const char *kind, int threads)
{
	struct arena a = {0};
	struct device *d;
	enum device_kind device;
	const struct model_config config = {.arch = &arch_llama, .layers = 1, .width = WIDTH, .ffn = FFN, .heads = WIDTH / HEAD,
		.kv_heads = WIDTH / HEAD, .head_dim = HEAD, .vocab = HEAD, .context = ROWS, .rms_eps = 1e-5f};
	struct forward f = {.config = &config, .max_rows = ROWS, .max_out = ROWS, .slots = ROWS};
	if (!find_kind(kind, &f.numerics, &device))
		return 0;
	const struct graph *plan = device_plan(device, &a, forward_piece_half(&a, &f, HALF_MLP));
	const struct effort_sizes sizes = {.rows = ROWS};
	double rate = 0;
	if (device_open(&d, device, threads, NULL) && device_load(d, &plan, 1, NULL))
		rate = graph_effort(plan, &sizes) / seconds_of(d, bind(&a, d));
	rate = device_ok(d, NULL) ? rate : 0;
	device_free(d);
	arena_release(&a);
	return rate;
}
