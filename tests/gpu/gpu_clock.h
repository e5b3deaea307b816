/* What programs that measure a GPU share: the clock, and the median of readings. */
#ifndef GPU_CLOCK_H
#define GPU_CLOCK_H

#include <stdlib.h>
#include <time.h>

static inline double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static inline double median(double *x, int n)
{
	qsort(x, (size_t)n, sizeof(*x), by_size);
	return x[n / 2];
}

#endif
