#include "program.h"

#include <stdatomic.h>
#include <string.h>

#include "base.h"
#include "pool.h"

enum {
	LINE = 64,
	LONE_WORK = 32768, /* less than this takes about as long as the threads' meeting before and after it */
	TURNS = 4,         /* ranges that a thread takes of one kernel, if all are equally fast */
};

struct run {
	const struct program *prog;
	void *const *t;
	const int64_t *dim;
	char *scratch;
	/* First item that nobody took, of every other kernel: the one not in use is set back meanwhile. */
	_Alignas(LINE) atomic_int_least64_t next[2];
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

static bool is_lone(const struct program_kernel *k, int64_t nitems, const int64_t *dim)
{
	return nitems <= 1 || (k->work && k->work(dim) < LONE_WORK);
}

static void take_turns(struct run *r, const struct program_kernel *kernel, void *const *arg, void *scratch,
	atomic_int_least64_t *next, int64_t n, int nthreads)
{
	int64_t each = n / ((int64_t)nthreads * TURNS);
	if (each < 1)
		each = 1;
	for (;;) {
		int64_t lo = atomic_fetch_add_explicit(next, each, memory_order_relaxed);
		if (lo >= n)
			return;
		kernel->run(arg, r->dim, scratch, lo, lo + each < n ? lo + each : n);
	}
}

static void run_thread(void *arg, int thread, struct pool *p)
{
	struct run *r = arg;
	int nthreads = pool_threads(p), phase = 0;
	void *scratch = r->scratch ? r->scratch + (size_t)thread * program_scratch_bytes(r->prog) : NULL;
	void *kernel_arg[PROGRAM_MAX_ARGS];
	bool was_lone = true;
	for (uint32_t k = 0; k < r->prog->nkernel; k++) {
		const struct program_kernel *kernel = &r->prog->kernel[k];
		int64_t n = kernel->items(r->dim);
		bool lone = nthreads == 1 || is_lone(kernel, n, r->dim);
		/* Thread 0 needs to wait for nobody between two kernels that only it runs. */
		if (!(lone && was_lone))
			pool_barrier(p);
		was_lone = lone;
		if (n > 0 && (!lone || thread == 0)) {
			resolve(kernel, r->t, kernel_arg);
			if (lone)
				kernel->run(kernel_arg, r->dim, scratch, 0, n);
		}
		if (lone)
			continue;
		/* All are past the barrier, so past the kernel that used the other one. */
		if (thread == 0)
			atomic_store_explicit(&r->next[!phase], 0, memory_order_relaxed);
		if (n > 0)
			take_turns(r, kernel, kernel_arg, scratch, &r->next[phase], n, nthreads);
		phase = !phase;
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
	struct run r = {.prog = prog, .t = t, .dim = dim, .scratch = scratch};
	pool_run(p, run_thread, &r);
}
