/*
 * The pool from within: what program.c needs of pool.c beyond program.h.
 *
 * All threads, the caller among them, meet in one barrier: workers wait in it for the next job, so
 * starting a job, going from kernel to kernel and ending it cost the same. A waiting thread spins
 * for some microseconds, then sleeps on a condition variable.
 */
#ifndef POOL_H
#define POOL_H

#include "program.h"

typedef void pool_job(void *arg, int thread, struct pool *p);

/* Runs job on every thread, thread = 0 .. n-1 with the caller as 0, under the floating-point state
 * that program.h describes; returns when all are back. Not reentrant. */
void pool_run(struct pool *p, pool_job *job, void *arg);

/* Inside a job: returns when every thread of the pool has called it equally often. */
void pool_barrier(struct pool *p);

#endif
