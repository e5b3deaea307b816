/*
 * Generated CUDA C without a device: every op's code, run by the shim (tests/gpu/shim.h) in several orders of threads,
 * against the interpreter; and every kernel compiled by NVRTC for every architecture that it knows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "cubin.h"
#include "cuda.h"
#include "emit_cases.h"
#include "emit_memory.h"
#include "file.h"
#include "forward.h"
#include "gpu_device.h"
#include "nvrtc.h"
#include "shim_program.h"
#include "test.h"
#include "train.h"

enum { NBLOCKS = 3 };

static int64_t extent(struct cuda_extent x, const int64_t *dim)
{
	return x.dim < 0 ? x.fixed : x.fixed * dim[x.dim];
}

static float element(const void *p, enum dtype dtype, int64_t i)
{
	float x;
	uint32_t bits = dtype == DT_BF16 ? (uint32_t)((const uint16_t *)p)[i] << 16 : ((const uint32_t *)p)[i];
	memcpy(&x, &bits, sizeof(x));
	return x;
}

static void multiply(const struct cuda_product *p, void **t, const int64_t *dim)
{
	const char *rows = (const char *)t[p->rows.slot] + p->rows.offset, *lanes = (const char *)t[p->lanes.slot] + p->lanes.offset;
	float *result = (float *)((char *)t[p->result.slot] + p->result.offset);
	for (int64_t m = 0; m < extent(p->m, dim); m++)
		for (int64_t n = 0; n < extent(p->n, dim); n++) {
			double sum = 0;
			for (int64_t k = 0; k < extent(p->k, dim); k++)
				sum += (double)element(rows, p->dtype, m * p->rows_m + k * p->rows_k) *
					element(lanes, p->dtype, n * p->lanes_n + k * p->lanes_k);
			result[m * p->result_m + n] = (float)sum;
		}
}

/* Kernels [first, last) of p. */
static void run_some(const struct program *p, uint32_t first, uint32_t last, struct pool *pool, void **t, const int64_t *dim,
	void *scratch)
{
	struct program some = *p;
	some.kernel += first;
	some.nkernel = last - first;
	program_run(&some, pool, t, dim, scratch);
}

static bool run_program(struct shim *shim, const struct cuda_products *products, struct memory *m)
{
	const struct program *p = shim->program[0];
	void *t[128] = {aligned_alloc(64, p->slab_bytes + 64)}, *scratch = aligned_alloc(64, program_scratch_bytes(p) + 64);
	struct pool *pool = pool_new(1);
	uint32_t done = 0;
	int64_t dim[GPU_MAX_DIMS];
	memset(t[0], 0xee, p->slab_bytes); /* nothing may rely on a clean slab */
	memset(scratch, 0xee, program_scratch_bytes(p));
	for (int i = 0; i < m->ntensor; i++)
		t[1 + program_external_find(p, m->tensor[i].name)] = m->tensor[i].p;
	memory_dims(m, dim);
	t[p->nexternal + 1] = scratch;
	for (size_t i = 0; i < products->n; done = products->product[i++].before) {
		run_some(p, done, products->product[i].before, pool, t, dim, scratch);
		multiply(&products->product[i], t, dim);
	}
	run_some(p, done, p->nkernel, pool, t, dim, scratch);
	pool_free(pool);
	free(t[0]);
	free(scratch);
	const char *wrong = shim_wrong(shim);
	if (wrong)
		FAIL("%s: %s", p->name, wrong);
	return !wrong;
}

static bool exact;      /* equal bits; else within the class's tolerance */
static bool by_library; /* products of numbers are not code */

/* Forms of wgmma, and which have run. */
static struct {
	int tokens;
	bool panels, across, ran;
} forms[] = {{32, true, false, false}, {64, true, false, false}, {128, true, false, false}, {192, true, false, false},
	{128, false, false, false}, {128, false, true, false}};

static bool try(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = by_library ? graph_plan_rows(a, g) : graph_plan_gpu(a, g);
	struct cuda_source source = by_library ? cuda_emit_products(a, &plan, 1) : cuda_emit(a, &plan, 1);
	struct memory want, first;
	void (*init)(struct memory *, const struct graph *, const int64_t *, uint64_t) = exact ? memory_init : memory_init_plain;
	char name[128];
	init(&want, g, rows, seed);
	struct shim shim;
	bool built = shim_open(&shim, &source), ok = built && memory_interpret(&want);
	for (int order = 0; order < SHIM_ORDERS && ok; order++) {
		struct memory got;
		shim_order(&shim, order, order ? NBLOCKS : 1);
		snprintf(name, sizeof(name), "%s, seed %llu, order %d", g->name, (unsigned long long)seed, order);
		init(&got, plan, rows, seed);
		ok = run_program(&shim, &source.products[0], &got) &&
			(exact ? memory_same(&want, &got, name) : memory_close(&want, &got, tolerance_of(g), name));
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
	for (size_t i = 0; i < NELEM(forms) && built; i++)
		forms[i].ran |= shim_ran(&shim, forms[i].tokens, forms[i].panels, forms[i].across);
	shim_close(&shim);
	memory_release(&want);
	if (!ok && getenv("TRIM_TEST_PRINT"))
		puts(source.text);
	return ok;
}

#define EXACT(name, nseed)                        \
	TEST(cuda_##name)                         \
	{                                         \
		exact = true;                     \
		emit_case(#name, test_seeds(nseed), try);     \
	}
#define CLOSE(name, nseed)                        \
	TEST(cuda_##name)                         \
	{                                         \
		exact = false;                    \
		emit_case(#name, test_seeds(nseed), try);     \
	}
EXACT(maps, 4)
EXACT(recipes, 2)
EXACT(halves, 3)
EXACT(norm, 8)
EXACT(sums, 4)
EXACT(loss, 3)
EXACT(dot_f32, 5)
CLOSE(dot_bf16, 6)
CLOSE(quantised, 6)
CLOSE(quantised_long, 3)
CLOSE(quantised_long_few, 2)
CLOSE(several_dots, 6)
CLOSE(rope, 10)
CLOSE(backward, 6)

/* On Hopper too: the shim's second and third order do what it does, and have the bits of the first. */
TEST(cuda_dot_many)
{
	enum { SEEDS = 7 };
	for (size_t i = 0; i < NELEM(forms); i++)
		forms[i].ran = false;
	exact = false;
	emit_case("dot_many", test_seeds(SEEDS), try);
	for (size_t i = 0; i < NELEM(forms) && test_is_first(); i++)
		if (!forms[i].ran)
			FAIL("no seed ran wgmma of %d tokens, %s, %s", forms[i].tokens, forms[i].panels ? "panels" : "rows",
				forms[i].across ? "across" : "along");
}

CLOSE(memory, 4)
CLOSE(attention, 10)
CLOSE(attention_rows, 4)
CLOSE(attention_long, 6)
CLOSE(attention_grad, 8)
CLOSE(attention_grad_bf16, 6)

/* Rows of many slots in a program that decodes, whose blocks share them, and in one where a warp goes through all of them: the same bits. */
enum { LONG_SEEDS = 4 };
static struct memory decoded[LONG_SEEDS];

static bool run_long(struct arena *a, const struct graph *g, struct memory *m, uint64_t seed)
{
	const int64_t rows[] = {g->axis[graph_find_axis(g, "R")].extent};
	const struct graph *plan = graph_plan_gpu(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	struct shim shim;
	bool built = shim_open(&shim, &source);
	memory_init(m, plan, rows, seed);
	if (built)
		shim_order(&shim, 1, NBLOCKS);
	bool ok = built && run_program(&shim, &source.products[0], m);
	shim_close(&shim);
	return ok;
}

/* The graph goes, what was computed stays. */
static bool keep_decoded(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	(void)rows;
	return run_long(a, g, &decoded[seed - 1], seed);
}

static bool same_as_decoded(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	struct memory got;
	(void)rows;
	bool ok = run_long(a, g, &got, seed);
	int t = 0;
	while (strcmp(got.tensor[t].name, "o"))
		t++;
	const struct type *type = &g->node[got.node[t]].type;
	size_t bytes = (size_t)type_extents(g, type, 1, type->naxis) * GPU_FEW_ROWS * sizeof(float);
	if (ok && memcmp(got.tensor[t].p, decoded[seed - 1].tensor[t].p, bytes)) {
		FAIL("%s, seed %llu: other bits", g->name, (unsigned long long)seed);
		ok = false;
	}
	memory_release(&got);
	memory_release(&decoded[seed - 1]);
	return ok;
}

TEST(cuda_attention_of_many_slots_has_one_class)
{
	emit_case("attention_decode", LONG_SEEDS, keep_decoded);
	emit_case("attention_prefill", LONG_SEEDS, same_as_decoded);
}

TEST(cuda_training)
{
	exact = false;
	emit_case_training(test_seeds(2), try);
}

TEST(cuda_importance)
{
	exact = false;
	emit_case_importance(test_seeds(3), try);
}

/* What is left of dots whose products a library makes, and where it is told to find and to put what. */
TEST(cuda_products)
{
	static const char *const cases[] = {"dot_f32", "dot_bf16", "quantised", "backward", "loss"};
	exact = false;
	by_library = true;
	for (size_t i = 0; i < NELEM(cases); i++)
		emit_case(cases[i], test_seeds(3), try);
	emit_case_training(1, try);
	by_library = false;
}

/* ---- NVRTC: what needs no other compiler than gcc is asked of one configuration ---- */

static const int wanted[] = {80, 86, 89, 90, 100, 120};

static const struct nvrtc *nvrtc_here(void)
{
	struct err e;
	if (!test_is_first())
		return NULL;
	const struct nvrtc *n = nvrtc_open(&e);
	if (!n)
		FAIL("%s", e.msg);
	return n;
}

static bool knows(int arch)
{
	const struct nvrtc *n = nvrtc_open(NULL);
	for (int i = 0; i < n->narch; i++)
		if (n->arch[i] == arch)
			return true;
	return false;
}

static bool compile_for(const struct cuda_source *source, const char *name, int arch, struct strbuf *cubin)
{
	struct err e;
	if (nvrtc_compile(source->text, arch, cubin, &e))
		return true;
	FAIL("%s, sm_%d: %s", name, arch, e.msg);
	return false;
}

static bool compile(struct arena *a, const struct graph *g, const int64_t *rows, uint64_t seed)
{
	const struct graph *plan = graph_plan_gpu(a, g);
	struct cuda_source source = cuda_emit(a, &plan, 1);
	struct strbuf cubin;
	(void)rows;
	strbuf_init(&cubin);
	bool ok = compile_for(&source, g->name, wanted[seed % 2], &cubin);
	strbuf_release(&cubin);
	return ok;
}

TEST(cuda_ops_compile)
{
	static const char *const cases[] = {"maps", "recipes", "halves", "norm", "sums", "loss", "dot_f32", "dot_bf16", "quantised",
		"backward", "memory", "attention", "attention_rows", "attention_long", "attention_grad", "attention_grad_bf16"};
	if (!nvrtc_here())
		return;
	for (size_t i = 0; i < NELEM(cases); i++)
		emit_case(cases[i], 1, compile);
	emit_case_training(1, compile);
}

/* Two blocks of the 1.1B shape, with their embedding and head. */
static struct cuda_source model_source(struct arena *a, enum numerics numerics, int rows)
{
	struct model_config c = {.arch = &arch_llama, .layers = 2, .width = 2048, .ffn = 5632, .heads = 32, .kv_heads = 4,
		.head_dim = 64, .vocab = 32000, .context = 4096, .rms_eps = 1e-5f, .rope_theta = 10000, .rope_factor = 1, .tied = true};
	struct forward f = {.config = &c, .numerics = numerics, .max_rows = rows, .max_out = rows, .slots = 4096};
	const struct graph *plan = graph_plan_gpu(a, forward_step(a, &f));
	return cuda_emit(a, &plan, 1);
}

static bool all_train(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "rope.freq") != 0;
}

/* Its tune's walk back through attention, with features of 64 and of 128. */
static struct cuda_source back_source(struct arena *a, int head_dim)
{
	static bool has[] = {true};
	struct state *state = arena_new(a, struct state);
	*state = (struct state){.config = {.arch = &arch_llama, .layers = 1, .width = 2048, .ffn = 5632, .heads = 2048 / head_dim,
		.kv_heads = 4, .head_dim = head_dim, .vocab = 32000, .context = 4096, .rms_eps = 1e-5f, .rope_theta = 10000,
		.rope_factor = 1, .tied = true}, .has_attn = has, .has_mlp = has};
	struct train t = {.state = state, .numerics = NUMERICS_BF16, .max_rows = 1024, .trains = all_train, .beta1 = 0.9, .beta2 = 0.999,
		.eps = 1e-8, .decay = 0.01};
	const struct graph *plan = graph_plan_gpu(a, train_half_back(a, &t, HALF_ATTN, 0));
	return cuda_emit(a, &plan, 1);
}

/* TRIM_CUBINS=DIR keeps them, for tests/gpu/loops. */
static void keep_cubin(struct arena *a, struct buf cubin, const char *name)
{
	const char *folder = getenv("TRIM_CUBINS");
	struct err e;
	if (folder && !file_write(arena_printf(a, "%s/%s.cubin", folder, name), cubin, 0644, &e))
		FAIL("%s", e.msg);
}

/* Registers and stack of its kernels on sm_90, and the shared memory that they ask for. */
static void add_resources(struct strbuf *out, struct arena *a, const struct cuda_source *s, struct buf cubin, const char *class)
{
	struct cubin_kernel *k;
	struct err e;
	size_t n;
	if (!cubin_kernels(a, cubin, &k, &n, &e)) {
		FAIL("%s", e.msg);
		return;
	}
	const struct gpu_program *p = &s->program[0];
	keep_cubin(a, cubin, *p->all ? arena_printf(a, "%s-few", class) : class);
	for (size_t i = 0; i < n; i++) {
		uint32_t r = 0;
		while (r < p->nkernel && strcmp(p->kernel[r].name, k[i].name))
			r++;
		if (*p->all ? !strcmp(p->all, k[i].name) : r < p->nkernel)
			strbuf_addf(out, "%-7s %-14s %4d %6d %7llu%s\n", class, k[i].name, k[i].registers, k[i].stack_bytes,
				(unsigned long long)(*p->all ? gpu_most_shared(p, 90) : p->kernel[r].shared_bytes_90),
				*p->all ? arena_printf(a, " %4u", p->nwait_of_one) : "");
	}
}

static void add_source(struct strbuf *out, struct arena *a, struct cuda_source source, const char *what)
{
	struct strbuf cubin;
	strbuf_init(&cubin);
	if (compile_for(&source, what, 90, &cubin))
		add_resources(out, a, &source, strbuf_buf(&cubin), what);
	strbuf_release(&cubin);
}

/* TRIM_BLESS=1 writes it. Another NVRTC's registers are others. */
static void check_table(const struct strbuf *want)
{
	static const char path[] = "tests/gpu/resources.txt";
	struct strbuf have;
	struct err e;
	strbuf_init(&have);
	if (getenv("TRIM_BLESS"))
		CHECK(file_write(path, strbuf_buf(want), 0644, &e));
	if (!file_read(&have, path, &e))
		FAIL("%s", e.msg);
	else if (strncmp(have.s, want->s, strcspn(want->s, ",")))
		test_skip("%s is of %.*s", path, (int)strcspn(have.s, ","), have.s);
	else
		CHECK_STR(want->s, have.s);
	strbuf_release(&have);
}

/* One class for every architecture, for few rows the first and the last; the smallest twice, to the same bytes. What sm_90's kernels need
 * stands in a table, of a program for few rows the one that does what all do. */
TEST(cuda_models_compile)
{
	static const enum numerics classes[] = {NUMERICS_F32, NUMERICS_BF16, NUMERICS_INT8, NUMERICS_INT4};
	const struct nvrtc *nvrtc = nvrtc_here();
	struct strbuf table;
	if (!nvrtc)
		return;
	strbuf_init(&table);
	strbuf_addf(&table, "NVRTC %d.%d, sm_90: class, kernel, registers, bytes of stack, bytes of shared memory; barriers of a row that "
		"decodes\n", nvrtc->major, nvrtc->minor);
	for (size_t c = 0; c < NELEM(classes); c++) {
		struct arena a = {0};
		struct cuda_source source = model_source(&a, classes[c], 512);
		for (size_t i = 0; i < NELEM(wanted); i++) {
			struct strbuf cubin, again;
			strbuf_init(&cubin);
			strbuf_init(&again);
			bool all = classes[c] == NUMERICS_BF16;
			if ((all || wanted[i] == 90) && knows(wanted[i]) && compile_for(&source, "model", wanted[i], &cubin) &&
				wanted[i] == 90) {
				add_resources(&table, &a, &source, strbuf_buf(&cubin), numerics_classes[classes[c]].name);
				if (classes[c] == NUMERICS_F32 && compile_for(&source, "model", wanted[i], &again) &&
					(cubin.n != again.n || memcmp(cubin.s, again.s, cubin.n)))
					FAIL("the same source gave another cubin");
			}
			strbuf_release(&cubin);
			strbuf_release(&again);
		}
		struct cuda_source few = model_source(&a, classes[c], GPU_FEW_ROWS);
		add_source(&table, &a, few, numerics_classes[classes[c]].name);
		for (size_t i = 0; i < NELEM(wanted) && classes[c] == NUMERICS_BF16; i += NELEM(wanted) - 1) {
			struct strbuf cubin;
			strbuf_init(&cubin);
			if (knows(wanted[i]))
				compile_for(&few, "model of few rows", wanted[i], &cubin);
			strbuf_release(&cubin);
		}
		arena_release(&a);
	}
	for (int head_dim = 64; head_dim <= 128; head_dim *= 2) {
		struct arena a = {0};
		add_source(&table, &a, back_source(&a, head_dim), head_dim == 64 ? "back64" : "back128");
		arena_release(&a);
	}
	check_table(&table);
	strbuf_release(&table);
}
