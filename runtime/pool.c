#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base.h"

enum {
	LINE = 64,    /* what two threads write lies this far apart */
	SPINS = 4000, /* some tens of microseconds: longer than most kernels of a small model */
	STACK_BYTES = 1 << 20,
};

struct worker {
	struct pool *pool;
	pthread_t thread;
	int index;
};

struct pool {
	_Alignas(LINE) atomic_uint arrived; /* at the barrier, of this phase */
	_Alignas(LINE) atomic_uint phase;   /* barriers passed, wraps */
	atomic_uint sleepers;
	_Alignas(LINE) pthread_mutex_t lock;
	pthread_cond_t wake;
	pool_job *job; /* NULL: workers end. Written before the barrier that starts a job */
	void *arg;
	unsigned n;
	struct worker *worker; /* n - 1 */
};

#if defined(__x86_64__)
#include <xmmintrin.h>

typedef unsigned fp_state;
enum { MXCSR_DAZ = 0x0040, MXCSR_MASKS = 0x1f80, MXCSR_FTZ = 0x8000 };

static fp_state fp_enter(void)
{
	fp_state old = _mm_getcsr();
	_mm_setcsr(MXCSR_MASKS | MXCSR_FTZ | MXCSR_DAZ);
	return old;
}

static void fp_leave(fp_state old)
{
	_mm_setcsr(old);
}

static void relax(void)
{
	_mm_pause();
}
#elif defined(__aarch64__)
typedef uint64_t fp_state;
#define FPCR_FZ ((uint64_t)1 << 24)

static fp_state fp_enter(void)
{
	fp_state old;
	__asm__ volatile("mrs %0, fpcr" : "=r"(old));
	__asm__ volatile("msr fpcr, %0" : : "r"(FPCR_FZ) : "memory");
	return old;
}

static void fp_leave(fp_state old)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(old) : "memory");
}

static void relax(void)
{
	__asm__ volatile("yield");
}
#else
#error "flushing of denormals is not known for this processor"
#endif

void pool_barrier(struct pool *p)
{
	if (p->n == 1)
		return;
	unsigned phase = atomic_load_explicit(&p->phase, memory_order_relaxed);
	if (atomic_fetch_add(&p->arrived, 1) + 1 == p->n) {
		atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
		atomic_store(&p->phase, phase + 1);
		/* A sleeper counts itself before it looks at the phase a last time, so either it
		 * is seen here or it sees the new phase. The fence says again what the operations
		 * before and behind it say already: qemu 7.2 lets the load of an aarch64 program
		 * pass the store on an x86 host, and its sleeper never wakes. */
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&p->sleepers)) {
			pthread_mutex_lock(&p->lock);
			pthread_cond_broadcast(&p->wake);
			pthread_mutex_unlock(&p->lock);
		}
		return;
	}
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&p->phase, memory_order_acquire) != phase)
			return;
		relax();
	}
	pthread_mutex_lock(&p->lock);
	atomic_fetch_add(&p->sleepers, 1);
	while (atomic_load(&p->phase) == phase)
		pthread_cond_wait(&p->wake, &p->lock);
	atomic_fetch_sub(&p->sleepers, 1);
	pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	/* pool_new holds the lock until it knows how many threads there are. */
	pthread_mutex_lock(&p->lock);
	bool started = p->n > 1;
	pthread_mutex_unlock(&p->lock);
	if (!started)
		return NULL;
	fp_enter();
	for (;;) {
		pool_barrier(p);
		if (!p->job)
			return NULL;
		p->job(p->arg, w->index, p);
		pool_barrier(p);
	}
}

void pool_run(struct pool *p, pool_job *job, void *arg)
{
	fp_state old = fp_enter();
	p->job = job;
	p->arg = arg;
	pool_barrier(p);
	job(arg, 0, p);
	pool_barrier(p);
	fp_leave(old);
}

struct pool *pool_new(int nthreads)
{
	if (nthreads < 1)
		BUG("a pool of %d threads", nthreads);
	struct pool *p = aligned_alloc(LINE, sizeof *p);
	if (!p)
		oom();
	*p = (struct pool){.n = (unsigned)nthreads};
	p->worker = xcalloc((size_t)nthreads, sizeof *p->worker);
	pthread_attr_t attr;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_mutex_lock(&p->lock);
	int n = 1;
	for (; n < nthreads; n++) {
		struct worker *w = &p->worker[n - 1];
		*w = (struct worker){.pool = p, .index = n};
		if (pthread_create(&w->thread, &attr, work, w))
			break;
	}
	if (n < nthreads)
		p->n = 1;
	pthread_mutex_unlock(&p->lock);
	pthread_attr_destroy(&attr);
	if (n == nthreads)
		return p;
	for (int i = 1; i < n; i++)
		pthread_join(p->worker[i - 1].thread, NULL);
	pool_free(p);
	return NULL;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	p->job = NULL;
	pool_barrier(p);
	for (unsigned i = 1; i < p->n; i++)
		pthread_join(p->worker[i - 1].thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->worker);
	free(p);
}

int pool_threads(const struct pool *p)
{
	return (int)p->n;
}
