/* What memory gives when nothing else is done with it: one stream per thread over 1 GiB, best of 5. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 64 };
static const size_t bytes = (size_t)1 << 30;

struct part {
	const uint64_t *p;
	size_t n;
	uint64_t sum;
};

static void *read_part(void *arg)
{
	struct part *part = arg;
	uint64_t sum[8] = {0};
	for (size_t i = 0; i + 8 <= part->n; i += 8)
		for (int k = 0; k < 8; k++)
			sum[k] += part->p[i + (size_t)k];
	for (int k = 0; k < 8; k++)
		part->sum += sum[k];
	return NULL;
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void)
{
	long nthreads = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t *p = malloc(bytes), sum = 0;
	double best = 0;
	if (!p)
		return 1;
	nthreads = nthreads > MAX_THREADS ? MAX_THREADS : nthreads;
	memset(p, 1, bytes);
	for (int run = 0; run < 5; run++) {
		struct part part[MAX_THREADS];
		pthread_t thread[MAX_THREADS];
		double began = seconds();
		for (long i = 0; i < nthreads; i++) {
			size_t n = bytes / 8 / (size_t)nthreads;
			part[i] = (struct part){p + (size_t)i * n, n, 0};
			if (pthread_create(&thread[i], NULL, read_part, &part[i]))
				return 1;
		}
		for (long i = 0; i < nthreads; i++) {
			pthread_join(thread[i], NULL);
			sum += part[i].sum;
		}
		double rate = (double)bytes / (seconds() - began);
		best = rate > best ? rate : best;
	}
	printf("== pure read, %ld threads: %.1f GB/s (sum %llu)\n", nthreads, best / 1e9,
		(unsigned long long)sum);
	free(p);
	return 0;
}
