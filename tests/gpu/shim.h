/*
 * Runs CUDA C of our emitter on a CPU, compiled as C: this stands before the generated source, shim_run.h behind it.
 *
 * A CUDA thread is a fibre. One runs until it meets others: sync_block waits for the block, a shuffle and mma for the
 * warp; then the next in the order that was asked for. So code that leaves a barrier out gives other numbers in some
 * order. Shared memory begins as NaN. Blocks run one after the other, in that order too; those of a kernel that meets all
 * others run side by side.
 *
 * mma and wgmma of bf16 add as Hopper's tensor cores do (shim_add_products); other architectures' add in their own way, and there only a
 * device shows the bits.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN(n) __attribute__((aligned(n)))
#define DEVICE static inline __attribute__((unused))
#define STEP static __attribute__((unused))
#define KERNEL void
#define KERNEL_ALL void
#define WGMMA shim_wgmma_is_used
#define SHARED unsigned char *const shared = shim_shared
#define UNROLL
#define TABLE static const
#define SMALL_TABLE static const
#define SHARED_ARGS unsigned char *(*const all_arg)[64] = shim_args[shim_block]
#define THREAD shim_thread
#define BLOCK shim_block
#define BLOCKS shim_blocks

enum { SHIM_THREADS = 256, SHIM_WARP = 32, SHIM_STACK = 64 << 10, SHIM_BLOCKS = 4 /* side by side, at most */ };
/* In what order fibres and blocks take their turns. In reverse a warp goes on until it waits for others, before the next one begins;
 * else all go at one pace. */
enum shim_order { SHIM_FORWARD, SHIM_REVERSE, SHIM_STRIDED };

static unsigned char *shim_shared, *shim_args[SHIM_BLOCKS][2][64];
static int shim_thread, shim_block, shim_blocks, shim_me; /* shim_me: the fibre that runs */

/* ---- fibres ---- */

enum shim_state { SHIM_READY, SHIM_BLOCK_BARRIER, SHIM_WARP_BARRIER, SHIM_POLLS, SHIM_DONE };
static struct shim_fibre {
	void *stack_pointer;
	enum shim_state state;
	int swaps; /* of the warp's exchange area, by this fibre */
} shim_fibre[SHIM_THREADS * SHIM_BLOCKS];
static void *shim_main;
static unsigned char *shim_stacks;

/* Saves what a call keeps on one stack and goes on on the other. */
void shim_switch(void **save, void *load);
#if defined(__x86_64__)
__asm__(".text\nshim_switch:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
enum { SHIM_SAVED = 7 };
#elif defined(__aarch64__)
__asm__(".text\nshim_switch:\n"
	"stp x19, x20, [sp, #-160]!\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
	"stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
	"stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
	"mov x2, sp\nstr x2, [x0]\nmov sp, x1\n"
	"ldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\nldp x27, x28, [sp, #64]\n"
	"ldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\nldp d12, d13, [sp, #128]\n"
	"ldp d14, d15, [sp, #144]\nldp x19, x20, [sp], #160\nret\n");
#else
#error "no switch of stacks for this CPU"
#endif

static void shim_yield(enum shim_state state)
{
	shim_fibre[shim_me].state = state;
	shim_switch(&shim_fibre[shim_me].stack_pointer, shim_main);
}

/* Until all of the warp are here. */
static void shim_meet_warp(void)
{
	shim_yield(SHIM_WARP_BARRIER);
}

/* ---- what the prelude leaves to us ---- */

static inline float from_bits(uint32_t x) { float f; memcpy(&f, &x, 4); return f; }
static inline uint32_t to_bits(float f) { uint32_t x; memcpy(&x, &f, 4); return x; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float exp2_near(float a) { return exp2f(a); }
static inline int __float2int_rn(float a) { return (int)rintf(a); }
static inline float half_to_float(uint16_t h)
{
	int exponent = h >> 10 & 31, mantissa = h & 1023;
	float x = exponent ? ldexpf((float)(1024 + mantissa), exponent - 25) : ldexpf((float)mantissa, -24);
	return h & 0x8000 ? -x : x;
}
/* Of a number that is a half. */
static inline uint16_t float_to_half(float f)
{
	uint32_t x = to_bits(f), sign = x >> 16 & 0x8000;
	int exponent = (int)(x >> 23 & 255) - 127 + 15;
	if ((x & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (exponent >= 31)
		return (uint16_t)(sign | 0x7c00);
	if (exponent <= 0)
		return (uint16_t)(sign | (uint32_t)ldexp(fabs((double)f), 24));
	return (uint16_t)(sign | (uint32_t)exponent << 10 | (x >> 13 & 1023));
}
static inline uint32_t shim_bf16(float f)
{
	uint32_t x = to_bits(f);
	return (x & 0x7fffffff) > 0x7f800000 ? 0x7fff : (x + 0x7fff + (x >> 16 & 1)) >> 16;
}
static inline uint32_t pack_bf16(float low, float high) { return shim_bf16(low) | shim_bf16(high) << 16; }
static void sync_block(void)
{
	shim_yield(SHIM_BLOCK_BARRIER);
}

/* One fibre runs at a time, so all see what was written; who waits for a counter lets the others go on. */
static inline void add_release(uint32_t *p, uint32_t n) { *p += n; }
static inline uint32_t load_acquire(const uint32_t *p) { return *p; }
static void let_others(void)
{
	shim_yield(SHIM_POLLS);
}

/*
 * Copies that go on beside their thread: made at once, or in the strided order no sooner than the thread waits for them. So one that
 * is read without a wait is seen, and one into what a warp that is behind still reads.
 */
enum { SHIM_COPIES = 64 };
static int shim_copies_wait;
static struct shim_copies {
	struct {
		void *to;
		const void *from;
		int bytes, there, group;
	} copy[SHIM_COPIES];
	int n, group;
} shim_copies[SHIM_THREADS * SHIM_BLOCKS];

static void shim_copy(void *to, const void *from, int bytes, int there)
{
	if (there)
		memcpy(to, from, (size_t)bytes);
	else
		memset(to, 0, (size_t)bytes);
}

static void shim_copy_ahead(void *to, const void *from, int bytes, int there)
{
	struct shim_copies *c = &shim_copies[shim_me];
	if (((uintptr_t)to | (there ? (uintptr_t)from : 0)) % (size_t)bytes || c->n == SHIM_COPIES)
		abort();
	if (!shim_copies_wait) {
		shim_copy(to, from, bytes, there);
		return;
	}
	c->copy[c->n].to = to;
	c->copy[c->n].from = from;
	c->copy[c->n].bytes = bytes;
	c->copy[c->n].group = c->group;
	c->copy[c->n++].there = there;
}

static inline void copy_line(uint32_t *to, const unsigned char *from, int there) { shim_copy_ahead(to, from, 16, there); }
static inline void copy_pair(uint32_t *to, const unsigned char *from, int there) { shim_copy_ahead(to, from, 8, there); }

static inline unsigned char *global(unsigned char *p) { return p; }
/* A read, so that what is asked for far from what there is faults; less than a page past it is not seen. */
static inline void ask_line(const unsigned char *p) { (void)*(const volatile unsigned char *)p; }

/* Those of groups before `group`. */
static void shim_copy_groups(int group)
{
	struct shim_copies *c = &shim_copies[shim_me];
	int left = 0;
	for (int i = 0; i < c->n; i++)
		if (c->copy[i].group < group)
			shim_copy(c->copy[i].to, c->copy[i].from, c->copy[i].bytes, c->copy[i].there);
		else
			c->copy[left++] = c->copy[i];
	c->n = left;
}

static void copy_wait(void) { shim_copy_groups(INT32_MAX); }
static inline void copy_commit(void) { shim_copies[shim_me].group++; }
static inline void copy_wait_but_one(void) { shim_copy_groups(shim_copies[shim_me].group - 1); }

/* Two areas in turn: a lane that is ahead writes what comes next while others still read. */
static uint32_t shim_lane[2][SHIM_THREADS * SHIM_BLOCKS][12];

static uint32_t (*shim_swap(const uint32_t *mine, int n))[12]
{
	int area = shim_fibre[shim_me].swaps++ & 1;
	memcpy(shim_lane[area][shim_me], mine, (size_t)n * 4);
	shim_meet_warp();
	return shim_lane[area] + shim_me / SHIM_WARP * SHIM_WARP;
}

static uint32_t shuffle_xor(uint32_t x, int lanes)
{
	return shim_swap(&x, 1)[(shim_thread % SHIM_WARP) ^ lanes][0];
}

/* Lanes 8i to 8i + 7 name the rows of matrix i (PTX ISA, "ldmatrix"), 16 bytes each. */
static void load_across(uint32_t *x, const uint32_t *row)
{
	uint32_t mine[2];
	int lane = shim_thread % SHIM_WARP, g = lane / 4, t = lane % 4;
	if ((uintptr_t)row % 16)
		abort();
	memcpy(mine, &row, sizeof(row));
	uint32_t (*all)[12] = shim_swap(mine, 2);
	for (int i = 0; i < 4; i++) {
		uint16_t *of[2];
		memcpy(&of[0], all[i * 8 + 2 * t], sizeof(of[0]));
		memcpy(&of[1], all[i * 8 + 2 * t + 1], sizeof(of[1]));
		x[i] = of[0][g] | (uint32_t)of[1][g] << 16;
	}
}

/*
 * c and 16 products of bf16, as Hopper's tensor cores add them (Xie and others, "MMA-Sim", 2025, arXiv 2511.10909, measured): each cut off 25 bits
 * behind the point of what has the largest exponent, of products that of both factors; then added exactly, and cut off to f32. So their order
 * is of no matter. (Here results that are not normalised are 0, there not.) Most of what a test takes is spent here.
 */
__attribute__((optimize("O3"))) static float shim_add_products(const uint16_t *a, const uint16_t *b, float c)
{
	enum { BITS = 25, BIAS = 127, NO_EXPONENT = 1 }; /* of zero and of what is not normalised */
	uint32_t of_c = to_bits(c) & 0x7fffffff;
	int exponent[16], term[16], numbers = of_c >> 23 < 255, most = 0;
	for (int i = 0; i < 16; i++) {
		int of_a = a[i] >> 7 & 255, of_b = b[i] >> 7 & 255;
		int x = (a[i] & 127) | (of_a ? 128 : 0), y = (b[i] & 127) | (of_b ? 128 : 0);
		numbers &= (of_a < 255) & (of_b < 255);
		exponent[i] = (of_a ? of_a : NO_EXPONENT) + (of_b ? of_b : NO_EXPONENT);
		term[i] = (a[i] ^ b[i]) & 0x8000 ? -(x * y) : x * y;
		most = exponent[i] > most ? exponent[i] : most;
	}
	if (!numbers) {
		for (int i = 0; i < 16; i++)
			c = fmaf(from_bits((uint32_t)a[i] << 16), from_bits((uint32_t)b[i] << 16), c);
		return c;
	}
	int exponent_c = (int)(of_c >> 23 ? of_c >> 23 : NO_EXPONENT) + BIAS, size_c = (int)((of_c >> 23 ? 1u << 23 : 0) | (of_c & 0x7fffff));
	most = exponent_c > most ? exponent_c : most;
	int64_t sum = most - exponent_c < 31 ? size_c << (BITS - 23) >> (most - exponent_c) : 0;
	sum = to_bits(c) >> 31 ? -sum : sum;
	for (int i = 0; i < 16; i++) {
		int size = term[i] < 0 ? -term[i] : term[i], by = most - exponent[i] < 31 ? most - exponent[i] : 31;
		size = size << (BITS - 14) >> by;
		sum += term[i] < 0 ? -size : size;
	}
	uint64_t size = (uint64_t)(sum < 0 ? -sum : sum);
	int more = size >> 24 ? 40 - __builtin_clzll(size) : 0;
	double x = ldexp((double)(size >> more << more), most - 2 * BIAS - BITS);
	return (float)(sum < 0 ? -x : x);
}

/* Fragments of mma.m16n8k16 and k32 (PTX ISA, "Matrix Fragments"): registers of a hold rows g and g + 8 at word t, then
 * at word t + 4; of b words t and t + 4 of column g; of c rows g, g + 8 at columns 2t, 2t + 1. */
static void mma_bf16(float *c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	uint32_t mine[] = {a0, a1, a2, a3, b0, b1}, (*all)[12] = shim_swap(mine, 6);
	int lane = shim_thread % SHIM_WARP, g = lane / 4, t = lane % 4;
	uint16_t a[2][16], b[2][16];
	for (int i = 0; i < 2; i++)
		for (int word = 0; word < 8; word++) {
			memcpy(&a[i][word * 2], &all[g * 4 + word % 4][word / 4 * 2 + i], 4);
			memcpy(&b[i][word * 2], &all[(2 * t + i) * 4 + word % 4][4 + word / 4], 4);
		}
	for (int i = 0; i < 4; i++)
		c[i] = shim_add_products(a[i / 2], b[i % 2], c[i]);
}

static void mma_u8s8(int *c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	uint32_t mine[] = {a0, a1, a2, a3, b0, b1}, (*all)[12] = shim_swap(mine, 6);
	int lane = shim_thread % SHIM_WARP, g = lane / 4, t = lane % 4;
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 32; k++) {
			int word = k / 4, byte = k % 4 * 8;
			uint32_t a = all[g * 4 + word % 4][word / 4 * 2 + i / 2], b = all[(2 * t + i % 2) * 4 + word % 4][4 + word / 4];
			c[i] += (int)(uint8_t)(a >> byte) * (int8_t)(uint8_t)(b >> byte);
		}
}

/*
 * wgmma: products made at once, or in the strided order when the warp waits for them: so what is written too early where they read is
 * seen, be it a stage of shared memory or registers. In the first order there is none, as on other architectures; so all must give the bits of
 * mma.
 */
static int shim_wgmma_is_used;
int shim_wgmma_ran[257][2][2]; /* by tokens, whether a comes in registers, whether b is in rows of one k */
enum { SHIM_PRODUCTS = 16, SHIM_BASE = 64 /* address where shared memory begins */ };
static struct shim_products {
	struct {
		float (*c)[4];
		const uint32_t *p, *q;
		uint64_t a, b;
		int tokens, across, more, group;
	} product[SHIM_PRODUCTS];
	int n, group;
} shim_products[SHIM_THREADS * SHIM_BLOCKS];

static inline uint32_t shared_address(const void *p) { return (uint32_t)((const unsigned char *)p - shim_shared) + SHIM_BASE; }
static inline int same_in_warp(int x) { return x; }
static inline void fence_copies(void) {}

/* Row `row` (a token or lane) at k of a matrix (PTX ISA, "Shared Memory Matrix Layout", 128-byte swizzle): its descriptor has the address
 * in units of 16 bytes, from bit 16 on how far 64 rows are from the next 64 where neighbours are rows, from bit 32 on 8 from the next 8. */
static uint16_t shim_matrix(uint64_t m, int across, int row, int k)
{
	uint32_t at = (uint32_t)(m & 0x3fff) * 16, leading = (uint32_t)(m >> 16 & 0x3fff) * 16, stride = (uint32_t)(m >> 32 & 0x3fff) * 16;
	uint16_t x;
	if (m >> 62 != 1 || (m >> 49 & 7))
		abort();
	if (across)
		at += (uint32_t)(row / 64) * leading + (uint32_t)(k / 8) * stride + (uint32_t)(k % 8 * 128 + row % 64 * 2);
	else
		at += (uint32_t)(row / 8) * stride + (uint32_t)(row % 8 * 128 + k * 2);
	at ^= (at >> 7 & 7) << 4;
	memcpy(&x, shim_shared + at - SHIM_BASE, 2);
	return x;
}

/* A thread's sums of tokens 8j + 2t, 8j + 2t + 1 are of rows g and g + 8 of its warp's 16 of 64 (PTX ISA, "Register Fragments for
 * wgmma"); what it has of a is as for mma. All of the warp are here. */
static void shim_multiply(const struct shim_products *mine, int i)
{
	int lane = shim_thread % SHIM_WARP, g = lane / 4, t = lane % 4, first = shim_thread / SHIM_WARP % 4 * 16;
	const struct shim_products *warp = mine - lane;
	for (int n = 0; n < mine->product[i].tokens / 2; n++) {
		int row = g + n / 2 % 2 * 8, token = n / 4 * 8 + 2 * t + n % 2;
		float *c = &mine->product[i].c[n / 4][n % 4];
		uint16_t a[16], b[16];
		for (int k = 0; k < 16; k++) {
			int word = k / 2 % 4;
			if (mine->product[i].p) {
				const uint32_t *of = k < 8 ? warp[g * 4 + word].product[i].p : warp[g * 4 + word].product[i].q;
				a[k] = (uint16_t)(of[n / 2 % 2] >> k % 2 * 16);
			} else {
				a[k] = shim_matrix(mine->product[i].a, 1, first + row, k);
			}
			b[k] = shim_matrix(mine->product[i].b, mine->product[i].across, token, k);
		}
		*c = shim_add_products(a, b, mine->product[i].more ? *c : 0);
	}
}

/* Those of groups before `group`. */
static void shim_products_wait(int group)
{
	struct shim_products *s = &shim_products[shim_me];
	int done = 0;
	shim_meet_warp();
	while (done < s->n && s->product[done].group < group)
		shim_multiply(s, done++);
	shim_meet_warp();
	memmove(s->product, s->product + done, (size_t)(s->n - done) * sizeof(s->product[0]));
	s->n -= done;
}

static inline void wgmma_fence(void) {}
static inline void wgmma_sum(float *c) { (void)c; }
static inline void wgmma_commit(void) { shim_products[shim_me].group++; }
static void wgmma_wait_but_one(void) { shim_products_wait(shim_products[shim_me].group - 1); }
static void wgmma_wait(void) { shim_products_wait(shim_products[shim_me].group); }

/* a: words p[0], p[1] of rows g and g + 8 at word t, q at word t + 4; or p is NULL, and it is a matrix in rows of one k. */
static inline void shim_wgmma(float (*c)[4], int tokens, const uint32_t *p, const uint32_t *q, uint64_t a, uint64_t b, int across, int more)
{
	struct shim_products *s = &shim_products[shim_me];
	if (s->n == SHIM_PRODUCTS)
		abort();
	shim_wgmma_ran[tokens][p != NULL][across] = 1;
	s->product[s->n].c = c;
	s->product[s->n].p = p;
	s->product[s->n].q = q;
	s->product[s->n].a = a;
	s->product[s->n].b = b;
	s->product[s->n].tokens = tokens;
	s->product[s->n].across = across;
	s->product[s->n].more = more;
	s->product[s->n++].group = s->group;
	if (!shim_copies_wait)
		shim_products_wait(s->group + 1);
}
