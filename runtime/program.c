#include "program.h"

#include <stdatomic.h>
#include <string.h>

#include "base.h"
#include "pool.h"

enum {
	LINE = 64,
	LONE_WORK = 32768, /* less than this takes about as long as the threads' meeting before and after it */
	PARTS = 8,         /* of a kernel's items at most, each begun by threads of its own */
	SHARES = 2,        /* a thread takes what is left of a part, divided by this and the part's threads */
};

struct run {
	const struct program *prog;
	void *const *t;
	const int64_t *dim;
	char *scratch;
	/* Items that were taken, of each part of each kernel between two barriers; the set that is not in use is set
	 * back meanwhile. */
	struct turn {
		_Alignas(LINE) atomic_int_least64_t taken;
	} turn[2][PROGRAM_MAX_GROUP][PARTS];
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

struct thread {
	int index, n; /* of n */
	void *scratch;
};

struct range {
	int64_t lo, hi; /* items */
};

static struct range part_of(int64_t n, int part, int nparts)
{
	return (struct range){n * part / nparts, n * (part + 1) / nparts};
}

/* What to run next of a part; false: nothing is left. Long ranges come first, which are read in order, short ones in the
 * end, so that no thread waits for more than an item of another. */
static bool take_range(struct turn *turn, struct range part, int share, struct range *r)
{
	int64_t n = part.hi - part.lo, lo = atomic_load_explicit(&turn->taken, memory_order_relaxed), hi;
	do {
		if (lo >= n)
			return false;
		hi = lo + (n - lo + share - 1) / share;
	} while (!atomic_compare_exchange_weak_explicit(&turn->taken, &lo, hi, memory_order_relaxed,
		memory_order_relaxed));
	*r = (struct range){part.lo + lo, part.lo + hi};
	return true;
}

/* A thread begins with the same part of every kernel, whose rows its caches have from the kernel before; then it helps
 * the others. */
static void take_turns(struct run *r, const struct program_kernel *kernel, void *const *arg, struct turn *turn,
	int64_t n, struct thread t)
{
	int nparts = t.n < PARTS ? t.n : PARTS, share = SHARES * ((t.n + PARTS - 1) / PARTS);
	for (int i = 0; i < nparts; i++) {
		int part = (t.index + i) % nparts;
		for (struct range items; take_range(&turn[part], part_of(n, part, nparts), share, &items);)
			kernel->run(arg, r->dim, t.scratch, items.lo, items.hi);
	}
}

/* Where a thread is between two barriers. */
struct place {
	int set, nkernel; /* of run.turn; kernels taken in turns since the barrier */
	bool owed;        /* a kernel had to wait, and thread 0 alone went on */
	bool shared;      /* a kernel of all threads ran since the barrier */
};

/* Before a kernel runs. Thread 0 needs to wait for nobody between kernels that only it runs. */
static void meet(struct run *r, struct pool *p, struct place *at, struct thread t, bool lone)
{
	if (!at->owed || (lone && !at->shared))
		return;
	pool_barrier(p);
	/* All are past the barrier, so past the kernels that used the other set. */
	for (int i = 0; i < at->nkernel && t.index == 0; i++)
		for (int part = 0; part < t.n && part < PARTS; part++)
			atomic_store_explicit(&r->turn[at->set][i][part].taken, 0, memory_order_relaxed);
	*at = (struct place){.set = !at->set};
}

static void run_thread(void *arg, int thread, struct pool *p)
{
	struct run *r = arg;
	struct thread t = {.index = thread, .n = pool_threads(p)};
	void *kernel_arg[PROGRAM_MAX_ARGS];
	struct place at = {0};
	if (r->scratch)
		t.scratch = r->scratch + (size_t)thread * program_scratch_bytes(r->prog);
	for (uint32_t k = 0; k < r->prog->nkernel; k++) {
		const struct program_kernel *kernel = &r->prog->kernel[k];
		int64_t n = kernel->items(r->dim);
		bool lone = t.n == 1 || is_lone(kernel, n, r->dim);
		at.owed = at.owed || kernel->waits;
		meet(r, p, &at, t, lone);
		if (n <= 0 || (lone && thread != 0))
			continue;
		resolve(kernel, r->t, kernel_arg);
		if (lone) {
			kernel->run(kernel_arg, r->dim, t.scratch, 0, n);
			continue;
		}
		at.shared = true;
		take_turns(r, kernel, kernel_arg, r->turn[at.set][at.nkernel++], n, t);
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
