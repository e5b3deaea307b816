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
	/* First item that nobody took, of each kernel between two barriers; the set that is not in use is set back
	 * meanwhile. */
	struct turn {
		_Alignas(LINE) atomic_int_least64_t next;
	} turn[2][PROGRAM_MAX_GROUP];
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

/* Where a thread is between two barriers. */
struct place {
	int set, nkernel; /* of run.turn; kernels taken in turns since the barrier */
	bool owed;        /* a kernel had to wait, and thread 0 alone went on */
	bool shared;      /* a kernel of all threads ran since the barrier */
};

/* Before a kernel runs. Thread 0 needs to wait for nobody between kernels that only it runs. */
static void meet(struct run *r, struct pool *p, struct place *at, int thread, bool lone)
{
	if (!at->owed || (lone && !at->shared))
		return;
	pool_barrier(p);
	*at = (struct place){.set = !at->set};
	/* All are past the barrier, so past the kernels that used the other set. */
	for (int i = 0; i < PROGRAM_MAX_GROUP && thread == 0; i++)
		atomic_store_explicit(&r->turn[!at->set][i].next, 0, memory_order_relaxed);
}

static void run_thread(void *arg, int thread, struct pool *p)
{
	struct run *r = arg;
	int nthreads = pool_threads(p);
	void *scratch = r->scratch ? r->scratch + (size_t)thread * program_scratch_bytes(r->prog) : NULL;
	void *kernel_arg[PROGRAM_MAX_ARGS];
	struct place at = {0};
	for (uint32_t k = 0; k < r->prog->nkernel; k++) {
		const struct program_kernel *kernel = &r->prog->kernel[k];
		int64_t n = kernel->items(r->dim);
		bool lone = nthreads == 1 || is_lone(kernel, n, r->dim);
		at.owed = at.owed || kernel->waits;
		meet(r, p, &at, thread, lone);
		if (n <= 0 || (lone && thread != 0))
			continue;
		resolve(kernel, r->t, kernel_arg);
		if (lone) {
			kernel->run(kernel_arg, r->dim, scratch, 0, n);
			continue;
		}
		at.shared = true;
		take_turns(r, kernel, kernel_arg, scratch, &r->turn[at.set][at.nkernel++].next, n, nthreads);
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
