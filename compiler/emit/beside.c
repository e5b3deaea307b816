#include "beside.h"

#include <pthread.h>
#include <stdatomic.h>

struct work {
	int n;
	bool (*one)(void *ctx, int i);
	void *ctx;
	atomic_int next;
	atomic_bool failed;
};

static void *work(void *arg)
{
	struct work *w = arg;
	int i;
	while (!atomic_load(&w->failed) && (i = atomic_fetch_add(&w->next, 1)) < w->n)
		if (!w->one(w->ctx, i))
			atomic_store(&w->failed, true);
	return NULL;
}

void beside(int n, int nthreads, bool (*one)(void *ctx, int i), void *ctx)
{
	enum { MOST_THREADS = 64 };
	pthread_t thread[MOST_THREADS];
	struct work w = {.n = n, .one = one, .ctx = ctx};
	int most = nthreads < n ? nthreads : n, started = 0;
	while (started < most - 1 && started < MOST_THREADS && !pthread_create(&thread[started], NULL, work, &w))
		started++;
	work(&w);
	for (int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
}
