#include "program.h"

#include <string.h>

#include "base.h"
#include "pool.h"

struct run {
	const struct program *prog;
	void *const *t;
	const int64_t *dim;
	char *scratch;
};

size_t program_scratch_bytes(const struct program *prog)
{
	return (size_t)((prog->scratch_bytes + 63) & ~(uint64_t)63);
}

int program_external_find(const struct program *prog, const char *name)
{
	for (uint32_t i = 0; i < prog->nexternal; i++)
		if (!strcmp(prog->external[i].name, name))
			return (int)i;
	return -1;
}

static void resolve(const struct program_kernel *kernel, void *const *t, void **arg)
{
	for (uint64_t i = 0; i < kernel->narg; i++)
		arg[i] = (char *)t[kernel->arg[i].slot] + kernel->arg[i].offset;
}

/* The first n % nthreads threads take one item more: a lone item is always thread 0's. */
static void run_thread(void *arg, int thread, struct pool *p)
{
	struct run *r = arg;
	int64_t nthreads = pool_threads(p), i = thread;
	void *scratch = r->scratch ? r->scratch + (size_t)i * program_scratch_bytes(r->prog) : NULL;
	void *kernel_arg[PROGRAM_MAX_ARGS];
	bool lone = true;
	for (uint32_t k = 0; k < r->prog->nkernel; k++) {
		const struct program_kernel *kernel = &r->prog->kernel[k];
		int64_t n = kernel->items(r->dim);
		/* Thread 0 needs to wait for nobody between two kernels that only it runs. */
		if (!(lone && n <= 1) && k > 0)
			pool_barrier(p);
		lone = n <= 1;
		int64_t each = n / nthreads, rest = n % nthreads;
		int64_t lo = i * each + (i < rest ? i : rest);
		int64_t hi = lo + each + (i < rest);
		if (lo >= hi)
			continue;
		resolve(kernel, r->t, kernel_arg);
		kernel->run(kernel_arg, r->dim, scratch, lo, hi);
	}
}

void program_run(const struct program *prog, struct pool *p, void *const *t, const int64_t *dim,
	void *scratch)
{
	for (uint32_t i = 0; i < prog->ndim; i++)
		if (dim[i] < 0 || dim[i] > prog->dim[i].max)
			BUG("%s: extent %lld of %s, which has at most %lld", prog->name,
				(long long)dim[i], prog->dim[i].name,
				(long long)prog->dim[i].max);
	struct run r = {prog, t, dim, scratch};
	pool_run(p, run_thread, &r);
}
