/* The pool and program_run: any number of threads gives the bytes that one gives. */
#include "test.h"

#include <fenv.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "program.h"

enum { RUNS = 40, N = 257, LANES = 3, NKERNEL = 24 * LANES };

/* A program over two arrays in the slab: kernel k reads one and writes the other, each item from
 * itself and its far neighbours, so a missing barrier shows. Three such lines of kernels, each with arrays of its
 * own, take turns, and only every third kernel waits. Kernels of 1, 2, 3 and N items alternate, four of twelve with
 * too little work for several threads. */
static int64_t items_one(const int64_t *dim) { (void)dim; return 1; }
static int64_t items_two(const int64_t *dim) { return dim[0] < 2 ? dim[0] : 2; }
static int64_t items_three(const int64_t *dim) { return dim[0] < 3 ? dim[0] : 3; }
static int64_t items_all(const int64_t *dim) { return dim[0]; }

/* Every second thread is slow, so that one which waits for nobody is ahead of it: that with an odd line of scratch. */
enum { LINE = 64, SCRATCH_ALIGN = 4096, SLOW = 2000 };

static void be_slow(const void *scratch)
{
	for (volatile int i = 0; (uintptr_t)scratch / LINE % 2 && i < SLOW; i++)
		;
}

static void mix(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi,
	int64_t nitems)
{
	const uint64_t *x = arg[0];
	uint64_t *y = arg[1], *tmp = scratch;
	int64_t n = dim[0];
	be_slow(scratch);
	for (int64_t item = lo; item < hi; item++)
		for (int64_t i = item; i < n; i += nitems) {
			*tmp = x[i] * 6364136223846793005u + x[(i * 7 + 3) % n];
			y[i] = *tmp ^ x[n - 1 - i] >> 17;
		}
}
#define KERNEL(name)                                                                               \
	static void run_##name(void *const *arg, const int64_t *dim, void *scratch, int64_t lo,    \
		int64_t hi)                                                                        \
	{                                                                                          \
		mix(arg, dim, scratch, lo, hi, items_##name(dim));                                 \
	}
KERNEL(one)
KERNEL(two)
KERNEL(three)
KERNEL(all)

#define LANE(l, a, b) {{a, 64 + (l) * N * 8}, {b, 64 + (l) * N * 8}}
static const struct program_arg there[LANES][2] = {LANE(0, 1, 0), LANE(1, 1, 0), LANE(2, 1, 0)};
static const struct program_arg back[LANES][2] = {LANE(0, 0, 1), LANE(1, 0, 1), LANE(2, 0, 1)};
static const struct program_external external[1] = {{"x", EXTERNAL_STATE, 2, 64 + LANES * N * 8}};
static const struct program_dim dims[1] = {{"R", N}};

static struct program make_program(struct program_kernel *kernel)
{
	static kernel_run *const run[4] = {run_one, run_two, run_three, run_all};
	static kernel_items *const items[4] = {items_one, items_two, items_three, items_all};
	for (int i = 0; i < NKERNEL; i++) {
		int which = (i * 5 / 3) % 4; /* also the same one twice in a row */
		kernel[i] = (struct program_kernel){"mix", run[which], items[which], 2,
			i / LANES % 2 ? back[i % LANES] : there[i % LANES], i % 12 < 4 ? items_one : NULL,
			i % LANES == 0};
	}
	return (struct program){PROGRAM_ABI, NKERNEL, 1, 1, "stress", kernel, external, dims,
		external[0].bytes, 8};
}

/* slow: the first thread that is. */
static void run_stress(int nthreads, int64_t n, int slow, uint64_t out[LANES * N])
{
	struct program_kernel kernel[NKERNEL];
	struct program prog = make_program(kernel);
	struct pool *p = pool_new(nthreads);
	REQUIRE(p);
	CHECK_INT(pool_threads(p), nthreads);
	void *slab = aligned_alloc(64, 64 * (N + 1)), *x = aligned_alloc(64, 64 * (N + 1));
	void *scratch = aligned_alloc(SCRATCH_ALIGN, SCRATCH_ALIGN);
	memset(slab, 0, 64 * (N + 1));
	for (int i = 0; i < 8 * (N + 1); i++)
		((uint64_t *)x)[i] = (uint64_t)i * 0x9e3779b97f4a7c15u;
	void *t[2] = {slab, x};
	for (int i = 0; i < RUNS; i++)
		program_run(&prog, p, t, &n, (char *)scratch + (1 - slow) * LINE);
	memcpy(out, (char *)x + 64, LANES * N * 8);
	free(slab);
	free(x);
	free(scratch);
	pool_free(p);
}

TEST(any_number_of_threads_gives_the_same_bytes)
{
	static const int64_t extents[] = {0, 1, 2, 3, 5, 64, N};
	for (size_t e = 0; e < sizeof extents / sizeof *extents; e++) {
		uint64_t one[LANES * N], many[LANES * N];
		run_stress(1, extents[e], 0, one);
		for (int k = 0; k < 6; k++) {
			int nthreads = 2 + k / 2;
			run_stress(nthreads, extents[e], k % 2, many);
			if (memcmp(one, many, sizeof one))
				FAIL("%d threads, %d items: other bytes", nthreads,
					(int)extents[e]);
		}
	}
}

/* A program of one kernel that records, per item, whether denormals vanish. */
static void run_denormal(
	void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)
{
	(void)dim, (void)scratch;
	volatile float tiny = 0x1p-140f, small = 0x1p-100f;
	for (int64_t i = lo; i < hi; i++) {
		volatile float in = tiny * 0x1p60f, out = small * 0x1p-40f;
		((int32_t *)arg[0])[i] = (in == 0) + 2 * (out == 0);
	}
}

TEST(denormals_vanish_in_every_thread_and_come_back_to_the_caller)
{
	static const struct program_arg arg[1] = {{1, 0}};
	static const struct program_kernel kernel[1] = {
		{"denormal", run_denormal, items_all, 1, arg, NULL, 0}};
	static const struct program prog = {
		PROGRAM_ABI, 1, 1, 1, "d", kernel, external, dims, 0, 0};
	struct pool *p = pool_new(3);
	REQUIRE(p);
	int32_t seen[N] = {0};
	void *t[2] = {NULL, seen};
	int64_t n = 9;
	fesetround(FE_UPWARD);
	program_run(&prog, p, t, &n, NULL);
	volatile float tiny = 0x1p-140f;
	CHECK(tiny * 0x1p60f != 0);
	CHECK_INT(fegetround(), FE_UPWARD);
	fesetround(FE_TONEAREST);
	for (int i = 0; i < n; i++)
		CHECK_INT(seen[i], 3);
	pool_free(p);
}

/* The range that an item ran in, and how often. */
struct seen {
	int64_t hi;
	int runs;
};

static void run_seen(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)
{
	struct seen *s = arg[0];
	(void)dim, (void)scratch;
	for (int64_t i = lo; i < hi; i++)
		s[i] = (struct seen){hi, s[i].runs + 1};
}

/* Each of the parts of a kernel's items goes in ranges that take a share of what is left of it, down to one item. */
static void check_ranges(const struct seen *s, int64_t n, int nparts, int share)
{
	for (int part = 0; part < nparts; part++) {
		int64_t at = n * part / nparts, end = n * (part + 1) / nparts;
		while (at < end) {
			int64_t hi = at + (end - at + share - 1) / share;
			for (; at < hi; at++) {
				CHECK_INT(s[at].runs, 1);
				CHECK_INT(s[at].hi, hi);
			}
		}
	}
}

TEST(ranges_get_shorter_until_one_item_is_left)
{
	static const struct program_arg arg[1] = {{1, 0}};
	static const struct program_kernel kernel[1] = {{"seen", run_seen, items_all, 1, arg, NULL, 0}};
	static const struct program prog = {PROGRAM_ABI, 1, 1, 1, "r", kernel, external, dims, 0, 0};
	static const struct {
		int nthreads, nparts, share;
	} row[] = {{2, 2, 2}, {3, 3, 2}, {8, 8, 2}, {11, 8, 4}};
	static const int64_t extents[] = {2, 5, 64, N};
	for (size_t i = 0; i < NELEM(row); i++)
		for (size_t e = 0; e < NELEM(extents); e++) {
			struct seen seen[N] = {{0}};
			struct pool *p = pool_new(row[i].nthreads);
			void *t[2] = {NULL, seen};
			int64_t n = extents[e];
			REQUIRE(p);
			program_run(&prog, p, t, &n, NULL);
			check_ranges(seen, n, row[i].nparts, row[i].share);
			pool_free(p);
		}
}

/* Item i of as many as there are threads notes the thread it runs on, and ends when all have begun. */
struct meeting {
	atomic_int begun;
	int thread[4];
	const char *scratch;
};

static void run_meeting(void *const *arg, const int64_t *dim, void *scratch, int64_t lo, int64_t hi)
{
	struct meeting *m = arg[0];
	for (int64_t i = lo; i < hi; i++) {
		m->thread[i] = (int)(((const char *)scratch - m->scratch) / LINE);
		atomic_fetch_add(&m->begun, 1);
		while (atomic_load(&m->begun) < dim[0])
			sched_yield();
	}
}

TEST(a_thread_begins_with_the_same_part_of_every_kernel)
{
	static const struct program_arg arg[1] = {{1, 0}};
	static const struct program_kernel kernel[1] = {{"meeting", run_meeting, items_all, 1, arg, NULL, 0}};
	static const struct program prog = {PROGRAM_ABI, 1, 1, 1, "m", kernel, external, dims, 0, LINE};
	struct meeting m;
	int64_t n = NELEM(m.thread);
	struct pool *p = pool_new((int)n);
	void *scratch = aligned_alloc(LINE, (size_t)n * LINE), *t[2] = {NULL, &m};
	REQUIRE(p);
	for (int run = 0; run < RUNS; run++) {
		m = (struct meeting){.scratch = scratch};
		program_run(&prog, p, t, &n, scratch);
		for (int i = 0; i < n; i++)
			CHECK_INT(m.thread[i], i);
	}
	free(scratch);
	pool_free(p);
}

TEST(externals_are_found_by_name)
{
	struct program_kernel kernel[NKERNEL];
	struct program prog = make_program(kernel);
	CHECK_INT(program_external_find(&prog, "x"), 0);
	CHECK_INT(program_external_find(&prog, "xx"), -1);
}
