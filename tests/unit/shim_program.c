#include "shim_program.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "strbuf.h"
#include "test.h"

static bool write_text(const char *path, const char *text, size_t n)
{
	FILE *f = fopen(path, "w");
	bool ok = f && fwrite(text, 1, n, f) == n;
	return f && !fclose(f) && ok;
}

static bool is_scratch(const struct gpu_program *p, const struct program_arg *arg)
{
	return arg->slot == (uint64_t)p->head.nexternal + 1;
}

/* A kernel of one item that launches the CUDA kernel, and its arguments. */
static void add_kernel(struct strbuf *out, const struct gpu_program *p, int program, int k)
{
	const struct gpu_kernel *row = &p->kernel[k];
	int narg = (int)row->narg;
	bool scratch = narg && is_scratch(p, &row->arg[narg - 1]);
	narg -= scratch;
	strbuf_addf(out, "static void run_%d_%d(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)\n{\n"
		"\tstruct call c = {{0}};\n\tmemcpy(c.t, arg, %d * sizeof(*arg));\n", program, k, narg);
	if (scratch)
		strbuf_addf(out, "\tc.t[%d] = scratch;\n", narg);
	strbuf_addf(out, "\tmemcpy(c.dim, dim, %u * sizeof(*dim));\n\tshim_run(%s, &c, %lld);\n}\n", p->head.ndim, row->name,
		(long long)(row->shared_bytes > row->shared_bytes_90 ? row->shared_bytes : row->shared_bytes_90));
	strbuf_addf(out, "static const struct program_arg arg_%d_%d[] = {", program, k);
	for (int i = 0; i < narg; i++)
		strbuf_addf(out, "{%llu, %llu}, ", (unsigned long long)row->arg[i].slot, (unsigned long long)row->arg[i].offset);
	strbuf_adds(out, "{0}};\n");
}

static void add_program(struct strbuf *out, const struct gpu_program *p, int program)
{
	for (int k = 0; k < (int)p->nkernel; k++)
		add_kernel(out, p, program, k);
	strbuf_addf(out, "static const struct program_kernel kernel_%d[] = {\n", program);
	for (int k = 0; k < (int)p->nkernel; k++) {
		const struct gpu_kernel *row = &p->kernel[k];
		int narg = (int)row->narg - (row->narg && is_scratch(p, &row->arg[row->narg - 1]));
		strbuf_addf(out, "\t{\"%s\", run_%d_%d, one_item, %d, arg_%d_%d, NULL, 1},\n", row->name, program, k, narg, program, k);
	}
	strbuf_addf(out, "\t{0}};\nstatic const struct program_external external_%d[] = {\n", program);
	for (uint32_t i = 0; i < p->head.nexternal; i++)
		strbuf_addf(out, "\t{\"%s\", %u, %u, %llu},\n", p->head.external[i].name, p->head.external[i].kind, p->head.external[i].dtype,
			(unsigned long long)p->head.external[i].bytes);
	strbuf_addf(out, "\t{0}};\nstatic const struct program_dim dim_%d[] = {", program);
	for (uint32_t i = 0; i < p->head.ndim; i++)
		strbuf_addf(out, "{\"%s\", %lld}, ", p->head.dim[i].name, (long long)p->head.dim[i].max);
	strbuf_addf(out, "{0}};\nstatic const struct program program_%d = {PROGRAM_ABI, %u, %u, %u, \"%s\", kernel_%d, external_%d, dim_%d, "
		"%lld, %lld};\n", program, p->nkernel, p->head.nexternal, p->head.ndim, p->head.name, program, program, program,
		(long long)p->head.slab_bytes, (long long)p->head.scratch_bytes);
}

static void add_main(struct strbuf *out, const struct cuda_source *s, int nprogram, const char *cu)
{
	strbuf_addf(out, "#include \"tests/gpu/shim.h\"\n#include \"%s\"\n#include \"tests/gpu/shim_run.h\"\n#include \"program.h\"\n", cu);
	strbuf_adds(out, "static int64_t one_item(const int64_t *dim) { return 1; }\n");
	for (int i = 0; i < nprogram; i++)
		add_program(out, &s->program[i], i);
	strbuf_adds(out, "const struct program *const shim_program[] = {");
	for (int i = 0; i < nprogram; i++)
		strbuf_addf(out, "&program_%d, ", i);
	strbuf_adds(out, "};\n");
}

bool shim_open(struct shim *s, const struct cuda_source *source)
{
	struct arena a = {0};
	struct strbuf main_c;
	char here[4096];
	const char *dir = test_tmpdir(), *tree = getcwd(here, sizeof(here)) ? here : ".";
	const char *c = arena_printf(&a, "%s/kernels.c", dir), *cu = arena_printf(&a, "%s/kernels.cu", dir);
	static int nopened; /* a library of a path that is open already would be that one */
	*s = (struct shim){.source = source};
	snprintf(s->path, sizeof(s->path), "%s/kernels-%d.so", dir, nopened++);
	/* -O1: a source is compiled once and runs for less than a second. */
	const char *command = arena_printf(&a, "gcc -std=gnu11 -O1 -march=x86-64-v3 -ffp-contract=off -fno-tree-ter "
		"-fno-math-errno -w -fPIC -shared -I%s -I%s/runtime -o %s %s -lm", tree, tree, s->path, c);
	strbuf_init(&main_c);
	add_main(&main_c, source, source->nprogram, cu);
	if (!write_text(cu, source->text, source->text_bytes) || !write_text(c, main_c.s, main_c.n))
		FAIL("unable to write '%s'", c);
	else if (system(command))
		FAIL("generated CUDA C is no C: %s", command);
	else if (!(s->library = dlopen(s->path, RTLD_NOW | RTLD_LOCAL)))
		FAIL("%s", dlerror());
	else
		s->program = dlsym(s->library, "shim_program");
	strbuf_release(&main_c);
	arena_release(&a);
	return s->program != NULL;
}

void shim_close(struct shim *s)
{
	if (s->library)
		dlclose(s->library);
	unlink(s->path);
	*s = (struct shim){0};
}

void shim_order(struct shim *s, int order, int nblocks)
{
	*(int *)dlsym(s->library, "shim_chosen_order") = order;
	*(int *)dlsym(s->library, "shim_chosen_blocks") = nblocks;
}

bool shim_ran(struct shim *s, int tokens, bool panels, bool across)
{
	int (*ran)[2][2] = dlsym(s->library, "shim_wgmma_ran");
	return ran[tokens][panels][across];
}

const char *shim_wrong(struct shim *s)
{
	const char **at = dlsym(s->library, "shim_was_wrong"), *wrong = *at;
	*at = NULL;
	return wrong;
}
