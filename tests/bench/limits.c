/*
 * What this machine gives when nothing else is done: the limits that `ninja bench` divides by.
 *
 *     limits THREADS [NAME]...     read fma bf16 vnni blocks, or all; one JSON object on stdout
 *
 * read: bytes/s of loads alone, from 2 GiB of memory, four streams per thread. fma: f32 flop/s; bf16: flop/s
 * of vdpbf16ps; vnni: op/s of vpdpbusd: chains of independent accumulators in registers, no memory; blocks: the
 * same, where every 8 of a chain are a block whose sum is made a float and added times a product of scales. A limit
 * that the CPU has no instructions for is 0. Each is the best of five runs of about 0.1 s.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 64, STREAMS = 4, RUNS = 5, LINE = 64 };
static const size_t read_bytes = (size_t)2 << 30;

struct part {
	double (*work)(struct part *part);
	const char *memory;
	size_t bytes;
	pthread_barrier_t *start;
	uint64_t sink; /* so that no work is dropped */
	double amount;
};

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Half a cache line: wider GCC vectors than -march has registers for are slow. */
typedef uint64_t half __attribute__((vector_size(LINE / 2), aligned(LINE / 2)));
enum { AHEAD = 2048 };

static double read_memory(struct part *p)
{
	size_t stream = p->bytes / STREAMS;
	half a = {0}, b = {0};
	for (size_t i = 0; i < stream; i += LINE)
		for (int s = 0; s < STREAMS; s++) {
			const char *at = p->memory + (size_t)s * stream + i;
			__builtin_prefetch(at + AHEAD, 0, 2);
			a |= *(const half *)at;
			b |= *(const half *)(at + LINE / 2);
		}
	p->sink |= a[0] | b[0];
	return (double)stream * STREAMS;
}

#ifdef __x86_64__

enum { CHAINS = 12, STEPS = 1 << 21, LANES = 16 };

/* CHAINS accumulators, STEPS times `instruction` of each with two registers; in assembler, since compilers
 * store or copy accumulators between steps. Registers hold zeros. */
#define PEAK(name, instruction, zero, register)                                                     \
	static void name(void)                                                                      \
	{                                                                                           \
		long n = STEPS;                                                                     \
		__asm__ volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13\n\t"                       \
				 zero " %%" register "\\r,%%" register "\\r,%%" register "\\r\n\t"     \
				 ".endr\n"                                                          \
				 "1:\n\t"                                                           \
				 ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"                           \
				 instruction " %%" register "1,%%" register "0,%%" register "\\r\n\t" \
				 ".endr\n\t"                                                        \
				 "dec %0\n\t"                                                       \
				 "jnz 1b"                                                           \
				 : "+r"(n)                                                          \
				 :                                                                  \
				 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",      \
				 "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");         \
	}

PEAK(fma_avx2, "vfmadd231ps", "vxorps", "ymm")
PEAK(fma_avx512, "vfmadd231ps", "vpxord", "zmm")
PEAK(bf16_avx512, "vdpbf16ps", "vpxord", "zmm")
PEAK(vnni_avx512, "vpdpbusd", "vpxord", "zmm")

/* As many vpdpbusd as of the peak, and for each 8 of an accumulator one conversion, product and fma. */
static void blocks_avx512(void)
{
	long n = STEPS / 8;
	__asm__ volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n\t"
			 "vpxord %%zmm\\r,%%zmm\\r,%%zmm\\r\n\t"
			 ".endr\n"
			 "1:\n\t"
			 ".rept 8\n\t"
			 ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
			 "vpdpbusd %%zmm1,%%zmm0,%%zmm\\r\n\t"
			 ".endr\n\t"
			 ".endr\n\t"
			 ".irp half,2,8\n\t"
			 ".irp float,14,15,16,17,14,15\n\t"
			 "vcvtdq2ps %%zmm\\half,%%zmm18\n\t"
			 "vmulps %%zmm1,%%zmm0,%%zmm19\n\t"
			 "vfmadd231ps %%zmm19,%%zmm18,%%zmm\\float\n\t"
			 ".endr\n\t"
			 ".endr\n\t"
			 "dec %0\n\t"
			 "jnz 1b"
			 : "+r"(n)
			 :
			 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"); /* those behind are not the compiler's */
}

static const double each_step = (double)CHAINS * STEPS * LANES;

static double fma_peak(struct part *p)
{
	(void)p;
	if (__builtin_cpu_supports("avx512f")) {
		fma_avx512();
		return each_step * 2;
	}
	fma_avx2();
	return each_step;
}

static double bf16_peak(struct part *p)
{
	(void)p;
	if (!__builtin_cpu_supports("avx512bf16"))
		return 0;
	bf16_avx512();
	return each_step * 4;
}

static double vnni_peak(struct part *p)
{
	(void)p;
	if (!__builtin_cpu_supports("avx512vnni"))
		return 0;
	vnni_avx512();
	return each_step * 8;
}

static double blocks_peak(struct part *p)
{
	(void)p;
	if (!__builtin_cpu_supports("avx512vnni"))
		return 0;
	blocks_avx512();
	return each_step * 8;
}
#else
static double no_peak(struct part *p)
{
	(void)p;
	return 0;
}
#define fma_peak no_peak
#define bf16_peak no_peak
#define vnni_peak no_peak
#define blocks_peak no_peak
#endif

static const struct limit {
	const char *name;
	double (*work)(struct part *p);
} limits[] = {{"read", read_memory}, {"fma", fma_peak}, {"bf16", bf16_peak}, {"vnni", vnni_peak}, {"blocks", blocks_peak}};

static void *run_part(void *arg)
{
	struct part *p = arg;
	pthread_barrier_wait(p->start);
	p->amount = p->work(p);
	return NULL;
}

static double measure(const struct limit *l, const char *memory, int nthreads)
{
	double best = 0;
	for (int run = 0; run < RUNS; run++) {
		struct part part[MAX_THREADS];
		pthread_t thread[MAX_THREADS];
		pthread_barrier_t start;
		double amount = 0;
		size_t bytes = read_bytes / (size_t)nthreads / STREAMS / LINE * STREAMS * LINE;
		pthread_barrier_init(&start, NULL, (unsigned)nthreads + 1);
		for (int i = 0; i < nthreads; i++) {
			part[i] = (struct part){l->work, memory + (size_t)i * bytes, bytes, &start, 0, 0};
			if (pthread_create(&thread[i], NULL, run_part, &part[i]))
				exit(1);
		}
		double began = seconds();
		pthread_barrier_wait(&start);
		for (int i = 0; i < nthreads; i++) {
			pthread_join(thread[i], NULL);
			amount += part[i].amount;
		}
		double rate = amount / (seconds() - began);
		best = rate > best ? rate : best;
		pthread_barrier_destroy(&start);
	}
	return best;
}

static int wanted(const char *name, int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], name))
			return 1;
	return argc <= 2;
}

int main(int argc, char **argv)
{
	int nthreads = argc > 1 ? atoi(argv[1]) : 0, n = 0;
	if (nthreads < 1 || nthreads > MAX_THREADS)
		return fprintf(stderr, "limits: expected 1 to %d threads\n", MAX_THREADS), 2;
	char *memory = NULL;
	if (wanted("read", argc, argv)) {
		memory = aligned_alloc((size_t)2 << 20, read_bytes);
		if (!memory)
			return fprintf(stderr, "limits: out of memory\n"), 1;
		madvise(memory, read_bytes, MADV_HUGEPAGE);
		memset(memory, 1, read_bytes);
	}
	printf("{\"threads\":%d", nthreads);
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		if (wanted(limits[i].name, argc, argv)) {
			printf(",\"%s\":%.4g", limits[i].name, measure(&limits[i], memory, nthreads));
			n++;
		}
	printf("}\n");
	free(memory);
	return n ? 0 : 2;
}
