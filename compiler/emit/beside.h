/* Work that is done side by side by some threads. */
#ifndef BESIDE_H
#define BESIDE_H

#include "base.h"

/* Calls one(ctx, i) for i from 0 to n - 1, each once, begun in that order, by the caller and up to nthreads - 1 threads. A thread
 * that does not start is no reason to fail. After the first that gave false no other is begun; so of all that would fail, the
 * first is among those that were called. */
void beside(int n, int nthreads, bool (*one)(void *ctx, int i), void *ctx);

#endif
