/*
 * Generated CUDA C without a device: every op's code, run by the shim (tests/gpu/shim.h) in several orders of threads,
 * against the interpreter; and every kernel compiled by NVRTC for every architecture that it knows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "emit_cases.h"
#include "emit_memory.h"
#include "nvrtc.h"
#include "shim_program.h"
#include "test.h"

enum { NBLOCKS = 3 };

static bool run_program(struct shim *shim, struct memory *m)
{
	const struct program *p = shim->program[0];
	void *t[128] = {aligned_alloc(64, p->slab_bytes + 64)}, *scratch = aligned_alloc(64, program_scratch_bytes(p) + 64);
	struct pool *pool = pool_new(1);
	int64_t dim[GPU_MAX_DIMS];
	memset(t[0], 0xee, p->slab_bytes); /* nothing may rely on a clean slab */
	memset(scratch, 0xee, program_scratch_bytes(p));
	for (int i = 0; i < m->ntensor; i++)
		t[1 + program_external_find(p, m->tensor[i].name)] = m->tensor[i].p;
	memory_dims(m, dim);
	program_run(p, pool, t, dim, scratch);
	pool_free(pool);
	free(t[0]);
	free(scratch);
	const char *wrong = shim_wrong(shim);
	if (wrong)
		FAIL("%s: %s", p->name, wrong);
	return !wrong;
}

/* Equal bits, or within a tolerance where a class of its own or a sum of it is in between. */
static double tolerance;

static bool try(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	struct memory want, first;
	void (*init)(struct memory *, const struct graph *, const int64_t *, uint64_t) = tolerance ? memory_init_plain : memory_init;
	char name[128];
	init(&want, g, rows, seed);
	struct shim shim;
	bool built = shim_open(&shim, &source), ok = built && memory_interpret(&want);
	for (int order = 0; order < SHIM_ORDERS && ok; order++) {
		struct memory got;
		shim_order(&shim, order, order ? NBLOCKS : 1);
		snprintf(name, sizeof(name), "%s, seed %llu, order %d", g->name, (unsigned long long)seed, order);
		init(&got, plan, rows, seed);
		ok = run_program(&shim, &got) &&
			(tolerance ? memory_close(&want, &got, tolerance, name) : memory_same(&want, &got, name));
		/* Whatever the order and the blocks: the same bits. */
		if (ok && order)
			ok = memory_same(&first, &got, name);
		if (order)
			memory_release(&got);
		else
			first = got;
	}
	if (built)
		memory_release(&first);
	shim_close(&shim);
	memory_release(&want);
	if (!ok && getenv("TRIM_TEST_PRINT"))
		puts(source.text);
	return ok;
}

#define EXACT(name, nseed)                        \
	TEST(cuda_##name)                         \
	{                                         \
		tolerance = 0;                    \
		emit_case(#name, nseed, try);     \
	}
#define CLOSE(name, nseed, by)                    \
	TEST(cuda_##name)                         \
	{                                         \
		tolerance = by;                   \
		emit_case(#name, nseed, try);     \
	}
EXACT(maps, 4)
EXACT(recipes, 2)
EXACT(halves, 3)
EXACT(norm, 4)
EXACT(sums, 4)
EXACT(loss, 3)
EXACT(dot_f32, 5)
CLOSE(dot_bf16, 6, 4e-3)
CLOSE(quantised, 8, 4e-3)
CLOSE(backward, 6, 4e-3)
CLOSE(memory, 4, 4e-3)
CLOSE(attention, 10, 1e-5)
CLOSE(attention_rows, 4, 1e-5)
CLOSE(attention_grad, 8, 1e-5)

TEST(cuda_training)
{
	tolerance = 4e-3;
	emit_case_training(3, try);
}

TEST(cuda_importance)
{
	tolerance = 4e-3;
	emit_case_importance(3, try);
}

/* ---- NVRTC ---- */

static const int wanted[] = {80, 86, 89, 90, 100, 120};

static bool compile(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	const struct nvrtc *n = nvrtc_open(NULL);
	bool ok = true;
	(void)rows;
	for (size_t i = 0; i < NELEM(wanted) && ok; i++) {
		struct strbuf cubin;
		struct err e;
		bool known = false;
		for (int k = 0; k < n->narch; k++)
			known = known || n->arch[k] == wanted[i];
		/* All for one of them, each for some. */
		if (!known || (i && seed % NELEM(wanted) != i))
			continue;
		strbuf_init(&cubin);
		ok = nvrtc_compile(source.text, wanted[i], &cubin, &e);
		if (!ok)
			FAIL("%s, seed %llu, sm_%d: %s", g->name, (unsigned long long)seed, wanted[i], e.msg);
		strbuf_release(&cubin);
	}
	return ok;
}

TEST(cuda_compiles)
{
	static const char *const cases[] = {"maps", "recipes", "halves", "norm", "sums", "loss", "dot_f32", "dot_bf16", "quantised",
		"backward", "memory", "attention", "attention_rows", "attention_grad"};
	struct err e;
	if (!nvrtc_open(&e)) {
		FAIL("%s", e.msg);
		return;
	}
	for (size_t i = 0; i < NELEM(cases); i++)
		emit_case(cases[i], 2, compile);
	emit_case_training(1, compile);
}
