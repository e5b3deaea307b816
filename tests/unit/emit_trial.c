#include "emit_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "emit_memory.h"
#include "emulator.h"
#include "program.h"
#include "test.h"

static void run_program(const struct program *prog, struct memory *m, int nthreads)
{
	void *t[128] = {aligned_alloc(64, prog->slab_bytes + 64)};
	int64_t dim[8];
	struct pool *pool = pool_new(nthreads);
	size_t scratch_bytes = (program_scratch_bytes(prog) + 64) * (size_t)nthreads;
	void *scratch = aligned_alloc(64, scratch_bytes);
	memset(t[0], 0xee, prog->slab_bytes); /* nothing may rely on a clean slab */
	for (int i = 0; i < m->ntensor; i++)
		t[1 + program_external_find(prog, m->tensor[i].name)] = m->tensor[i].p;
	memory_dims(m, dim);
	struct program spread = spread_program(prog, nthreads);
	program_run(&spread, pool, t, dim, scratch);
	free((void *)spread.kernel);
	pool_free(pool);
	free(scratch);
	free(t[0]);
}

/* As run_program, for what emulator_link wrote. */
static bool run_emulated(const char *path, struct memory *m, int nthreads, struct err *e)
{
	struct emulated f = {.nthreads = nthreads, .ntensor = m->ntensor};
	void *p[EMULATED_TENSORS];
	for (int i = 0; i < m->ntensor; i++) {
		snprintf(f.tensor[i].name, sizeof(f.tensor[i].name), "%s", m->tensor[i].name);
		f.tensor[i].bytes = tensor_bytes(m->g, &m->g->node[m->node[i]]);
		p[i] = m->tensor[i].p;
	}
	memory_dims(m, f.dim);
	return emulator_run(path, &f, p, e);
}

/* ---- targets ---- */

static int nran[16]; /* cases, by target */

/* Zen's CPU models know more than the instructions that tiles are made of. */
static const char beyond_bf16[] =
	"-adx,-aes,-avx512bitalg,-avx512cd,-avx512ifma,-avx512vbmi,-avx512vbmi2,"
	"-avx512vp2intersect,-avx512vpopcntdq,-avxvnni,-clflushopt,-clwb,-clzero,-fsgsbase,-gfni,"
	"-invpcid,-movdir64b,-movdiri,-mwaitx,-pclmul,-pku,-prefetchi,-prfchw,-rdpid,-rdpru,"
	"-rdrnd,-rdseed,-sha,-shstk,-sse4a,-vaes,-vpclmulqdq,-wbnoinvd,-xsavec,-xsaveopt,-xsaves";

static bool needs_zen(const struct target *t)
{
	return strstr(t->needs, "sse4a") != NULL;
}

const char *trial_lacks(const struct target *t)
{
	if (t->arch == ARCH_AARCH64)
		return emulator_lacks();
	if (target_runs_here(t) || (needs_zen(t) && target_runs_here(target_find("avx512-bf16"))))
		return NULL;
	return "this CPU lacks some of what it needs";
}

static bool has_blocks(const struct graph *g)
{
	for (int i = 0; i < g->nnode; i++)
		if (dtype_has_blocks(g->node[i].type.dtype))
			return true;
	return false;
}

/* Elsewhere than on Zen its rows get every fourth seed each: that takes two objects a case. Rows that differ
 * from another by how they add integers get every fourth of the graphs that have none. Graphs of many regions, each
 * of which is walked alone on all, get every third seed. */
static bool its_turn(const struct target *t, const struct graph *g, uint64_t seed)
{
	enum { MANY_REGIONS = 8 };
	if (g->nregion > MANY_REGIONS && (seed + (uint64_t)(t - targets)) % 3)
		return false;
	bool zen = needs_zen(t) && !target_runs_here(t);
	bool integers = t->int8 != INT8_PAIRS && !t->dpbf16 && !has_blocks(g);
	return (!zen && !integers) || seed % 4 == (uint64_t)(t - targets) % 4;
}

/* Whether code for zen, given to a CPU that is none, keeps to what avx512-bf16 has too: then it is the
 * same bytes when LLVM is told to use nothing else. */
static bool runs_on_bf16(const struct emit_request *request, const struct strbuf *object, struct err *e)
{
	struct target plain = *request->target;
	struct emit_request again = *request;
	struct strbuf same_object;
	plain.features = beyond_bf16;
	again.target = &plain;
	strbuf_init(&same_object);
	bool ok = emit_object(&again, &same_object, e);
	if (ok && (same_object.n != object->n || memcmp(same_object.s, object->s, object->n)))
		ok = err_set(e, ERR_TOOL, "code needs more of the CPU than avx512-bf16 does");
	strbuf_release(&same_object);
	return ok;
}

/* One graph and what it should give. */
struct trial {
	const struct graph *plan;
	const int64_t *rows;
	uint64_t seed;
	const struct memory *want;
};

static bool check_target(const struct trial *c, const struct target *t)
{
	bool emulated = t->arch == ARCH_AARCH64;
	struct emit_request request = {t, &c->plan, 1, EMIT_OBJECT, getenv("TRIM_KEEP_CODE")};
	struct arena a = {0};
	const char *path = arena_printf(&a, "%s/emulated", test_tmpdir());
	struct strbuf object;
	struct loaded loaded = {0};
	struct err e;
	strbuf_init(&object);
	bool ok = emit_object(&request, &object, &e) &&
		(emulated || target_runs_here(t) || runs_on_bf16(&request, &object, &e)) &&
		(emulated ? emulator_link(strbuf_buf(&object), path, &e)
			  : emit_load(strbuf_buf(&object), &loaded, &e));
	bool compared = true;
	for (int nthreads = 1; nthreads <= 2 && ok && compared; nthreads++) {
		struct memory got;
		char name[128];
		memory_init(&got, c->plan, c->rows, c->seed);
		if (emulated)
			ok = run_emulated(path, &got, nthreads, &e);
		else
			run_program(loaded.program[0], &got, nthreads);
		snprintf(name, sizeof(name), "%s, seed %llu, %s, %d threads", c->plan->name,
			(unsigned long long)c->seed, t->name, nthreads);
		compared = ok && memory_same(c->want, &got, name);
		memory_release(&got);
	}
	if (!ok)
		FAIL("%s, seed %llu, %s: %s", c->plan->name, (unsigned long long)c->seed, t->name, e.msg);
	emit_unload(&loaded);
	strbuf_release(&object);
	arena_release(&a);
	return ok && compared;
}

static bool used[NOPS];

bool trial_run(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	struct memory want, got;
	char name[128];
	struct err e;
	const struct graph *plan = graph_plan(a, g);
	struct trial trial = {plan, rows, seed, &want};
	snprintf(name, sizeof(name), "%s, seed %llu, interpreter by region", g->name,
		(unsigned long long)seed);
	for (int i = 0; i < plan->nnode; i++)
		used[plan->node[i].op] = true;
	if (!graph_check(plan, &e)) {
		FAIL("%s: %s", g->name, e.msg);
		return false;
	}
	memory_init(&want, g, rows, seed);
	memory_init(&got, plan, rows, seed);
	bool ok = memory_interpret(&want) && memory_interpret(&got) && memory_same(&want, &got, name);
	memory_release(&got);
	for (int i = 0; i < ntargets && ok; i++) {
		if (trial_lacks(&targets[i]) || !its_turn(&targets[i], plan, seed))
			continue;
		ok = check_target(&trial, &targets[i]);
		nran[i]++;
	}
	memory_release(&want);
	if (!ok && getenv("TRIM_TEST_PRINT")) {
		struct strbuf text;
		strbuf_init(&text);
		graph_print(&text, plan);
		puts(text.s);
		strbuf_release(&text);
	}
	return ok;
}

bool trial_had_op(enum op op)
{
	return used[op];
}

int trial_count(const struct target *t)
{
	return nran[t - targets];
}
