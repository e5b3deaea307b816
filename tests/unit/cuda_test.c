/*
 * Generated CUDA C without a device: every op's code, run by the shim (tests/gpu/shim.h) in several orders of threads,
 * against the interpreter; and every kernel compiled by NVRTC for every architecture that it knows.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda.h"
#include "emit_cases.h"
#include "emit_memory.h"
#include "nvrtc.h"
#include "test.h"

enum { NBLOCKS = 3, ORDERS = 3 };

struct call {
	void *t[PROGRAM_MAX_ARGS];
	int64_t dim[GPU_MAX_DIMS];
};
typedef void kernel_fn(struct call);
typedef const char *launch_fn(kernel_fn *, const struct call *, int, size_t, int);

static bool write_text(const char *path, const char *text, size_t n)
{
	FILE *f = fopen(path, "w");
	bool ok = f && fwrite(text, 1, n, f) == n;
	return f && !fclose(f) && ok;
}

/* The source as a library of this machine. */
static void *build(const struct cuda_source *s)
{
	struct arena a = {0};
	char here[4096];
	const char *dir = test_tmpdir();
	const char *c = arena_printf(&a, "%s/kernels.c", dir), *cu = arena_printf(&a, "%s/kernels.cu", dir);
	const char *so = arena_printf(&a, "%s/kernels.so", dir);
	const char *main_c = arena_printf(&a, "#include \"tests/gpu/shim.h\"\n#include \"%s\"\n#include \"tests/gpu/shim_run.h\"\n",
		cu);
	const char *command = arena_printf(&a, "gcc -std=gnu11 -O1 -march=x86-64-v3 -ffp-contract=off -fno-tree-ter -fno-math-errno -w "
		"-fPIC -shared -I%s -o %s %s -lm", getcwd(here, sizeof(here)) ? here : ".", so, c);
	void *lib = NULL;
	if (!write_text(cu, s->text, s->text_bytes) || !write_text(c, main_c, strlen(main_c)))
		FAIL("unable to write '%s'", c);
	else if (system(command))
		FAIL("generated CUDA C is not C: %s", command);
	else if (!(lib = dlopen(so, RTLD_NOW | RTLD_LOCAL)))
		FAIL("%s", dlerror());
	unlink(so); /* another library of the same path would be the same library */
	arena_release(&a);
	return lib;
}

static bool run_program(void *lib, const struct cuda_program *p, struct memory *m, int order)
{
	launch_fn *launch = (launch_fn *)(uintptr_t)dlsym(lib, "shim_launch");
	void *t[128] = {aligned_alloc(64, (size_t)p->slab_bytes + 64)}, *scratch = aligned_alloc(64, (size_t)p->scratch_bytes + 64);
	bool ok = true;
	memset(t[0], 0xee, (size_t)p->slab_bytes); /* nothing may rely on a clean slab */
	memset(scratch, 0xee, (size_t)p->scratch_bytes);
	t[p->nexternal + 1] = scratch;
	for (int i = 0; i < m->ntensor; i++)
		for (int k = 0; k < p->nexternal; k++)
			if (!strcmp(p->external[k].name, m->tensor[i].name))
				t[k + 1] = m->tensor[i].p;
	for (int k = 0; k < p->nkernel && ok; k++) {
		const struct cuda_kernel_row *row = &p->kernel[k];
		struct call call = {0};
		for (int i = 0; i < row->narg; i++)
			call.t[i] = (char *)t[row->arg[i].slot] + row->arg[i].offset;
		memory_dims(m, call.dim);
		kernel_fn *fn = (kernel_fn *)(uintptr_t)dlsym(lib, row->name);
		/* One block, and several. */
		const char *wrong = launch(fn, &call, order ? NBLOCKS : 1, (size_t)row->shared_bytes, order);
		if (wrong) {
			FAIL("%s, %s: %s", p->name, row->name, wrong);
			ok = false;
		}
	}
	free(t[0]);
	free(scratch);
	return ok;
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
	void *lib = build(&source);
	bool ok = lib && memory_interpret(&want);
	for (int order = 0; order < ORDERS && ok; order++) {
		struct memory got;
		snprintf(name, sizeof(name), "%s, seed %llu, order %d", g->name, (unsigned long long)seed, order);
		init(&got, plan, rows, seed);
		ok = run_program(lib, &source.program[0], &got, order) &&
			(tolerance ? memory_close(&want, &got, tolerance, name) : memory_same(&want, &got, name));
		/* Whatever the order and the blocks: the same bits. */
		if (ok && order)
			ok = memory_same(&first, &got, name);
		if (order)
			memory_release(&got);
		else
			first = got;
	}
	if (lib) {
		memory_release(&first);
		dlclose(lib);
	}
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
