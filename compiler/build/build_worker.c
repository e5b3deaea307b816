/* Threads that run calls: started when there is more work than idle threads, never more than -j. */
#include "build_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static void *work(void *ctx)
{
	struct build *b = ctx;
	pthread_mutex_lock(&b->mutex);
	for (;;) {
		while (!b->job_first && !b->quit)
			pthread_cond_wait(&b->work, &b->mutex);
		struct rule_call *c = b->job_first;
		if (!c)
			break;
		b->job_first = c->next;
		if (!b->job_first)
			b->job_last = NULL;
		pthread_mutex_unlock(&b->mutex);
		if (c->action->kind == ACTION_OUTPUT)
			output_run(c);
		else
			call_run(c);
		pthread_mutex_lock(&b->mutex);
		c->next = b->done_first;
		b->done_first = c;
		pthread_cond_signal(&b->done);
	}
	pthread_mutex_unlock(&b->mutex);
	return NULL;
}

bool worker_start(struct build *b, struct rule_call *c, struct err *e)
{
	int rc = 0;
	pthread_mutex_lock(&b->mutex);
	/* b->nrunning calls have a thread or wait for one that is waking up */
	if (b->nrunning >= b->nthread) {
		if (b->nthread == b->thread_cap) {
			b->thread_cap = b->thread_cap ? b->thread_cap * 2 : 8;
			b->thread = xrealloc(b->thread, b->thread_cap * sizeof(*b->thread));
		}
		rc = pthread_create(&b->thread[b->nthread], NULL, work, b);
		b->nthread += rc == 0;
	}
	/* one thread less is no reason to fail */
	if (rc && b->nthread)
		rc = 0;
	if (!rc) {
		c->next = NULL;
		if (b->job_last)
			b->job_last->next = c;
		else
			b->job_first = c;
		b->job_last = c;
		pthread_cond_signal(&b->work);
	}
	pthread_mutex_unlock(&b->mutex);
	errno = rc;
	return rc == 0 || err_errno(e, "unable to start a thread");
}

struct rule_call *worker_wait(struct build *b, int64_t timeout_ns)
{
	struct timespec until;
	int rc = 0;
	if (timeout_ns >= 0) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += timeout_ns;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
	}
	pthread_mutex_lock(&b->mutex);
	while (!b->done_first && rc == 0) {
		if (timeout_ns < 0)
			pthread_cond_wait(&b->done, &b->mutex);
		else
			rc = pthread_cond_timedwait(&b->done, &b->mutex, &until);
	}
	struct rule_call *c = b->done_first;
	b->done_first = NULL;
	pthread_mutex_unlock(&b->mutex);
	return c;
}

void workers_stop(struct build *b)
{
	pthread_mutex_lock(&b->mutex);
	b->quit = true;
	pthread_cond_broadcast(&b->work);
	pthread_mutex_unlock(&b->mutex);
	for (size_t i = 0; i < b->nthread; i++)
		pthread_join(b->thread[i], NULL);
	free(b->thread);
	b->thread = NULL;
	b->nthread = 0;
}
