/*
 * Runs CUDA C of our emitter on a CPU, compiled as C: this stands before the generated source, shim_run.h behind it.
 *
 * A CUDA thread is a fibre. One runs until it meets others: sync_block waits for the block, a shuffle and mma for the
 * warp; then the next in the order that was asked for. So code that leaves a barrier out gives other numbers in some
 * order. Shared memory begins as NaN. Blocks run one after the other, in that order too; those of a kernel that meets all
 * others run side by side.
 *
 * mma is emulated in the order of k; a tensor core adds in its own: there only a device shows the bits.
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
		int bytes, there;
	} copy[SHIM_COPIES];
	int n;
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
	c->copy[c->n++].there = there;
}

static inline void copy_line(uint32_t *to, const unsigned char *from, int there) { shim_copy_ahead(to, from, 16, there); }
static inline void copy_pair(uint32_t *to, const unsigned char *from, int there) { shim_copy_ahead(to, from, 8, there); }

static inline unsigned char *global(unsigned char *p) { return p; }
/* A read, so that what is asked for far from what there is faults; less than a page past it is not seen. */
static inline void ask_line(const unsigned char *p) { (void)*(const volatile unsigned char *)p; }

static void copy_wait(void)
{
	struct shim_copies *c = &shim_copies[shim_me];
	for (int i = 0; i < c->n; i++)
		shim_copy(c->copy[i].to, c->copy[i].from, c->copy[i].bytes, c->copy[i].there);
	c->n = 0;
}

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

/* Fragments of mma.m16n8k16 and k32 (PTX ISA, "Matrix Fragments"): registers of a hold rows g and g + 8 at word t, then
 * at word t + 4; of b words t and t + 4 of column g; of c rows g, g + 8 at columns 2t, 2t + 1. */
static void mma_bf16(float *c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	uint32_t mine[] = {a0, a1, a2, a3, b0, b1}, (*all)[12] = shim_swap(mine, 6);
	int lane = shim_thread % SHIM_WARP, g = lane / 4, t = lane % 4;
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 16; k++) {
			int word = k / 2, half = k % 2 * 16;
			uint32_t a = all[g * 4 + word % 4][word / 4 * 2 + i / 2], b = all[(2 * t + i % 2) * 4 + word % 4][4 + word / 4];
			c[i] = fmaf(from_bits(a >> half << 16), from_bits(b >> half << 16), c[i]);
		}
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
