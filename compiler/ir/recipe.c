#include "recipe.h"

#include <math.h>
#include <string.h>

static int mul(struct graph *g, int a, int b)
{
	return ir_mul(g, a, b);
}

/* c[0] x^(n-1) + ... + c[n-1] by Horner's rule. */
static int polynomial(struct graph *g, int x, const double *c, int n)
{
	int y = ir_const(g, c[0]);
	for (int i = 1; i < n; i++)
		y = ir_fma(g, y, x, ir_const(g, c[i]));
	return y;
}

static int keep_nan(struct graph *g, int x, int y)
{
	return ir_map(g, OP_SELECT, ir_map(g, OP_EQ, x, x, -1), y, x);
}

/* 2^n for -126 <= n <= 127, n i32. */
static int power_of_two(struct graph *g, int n)
{
	int biased = ir_add(g, n, ir_const_i32(g, 127));
	return ir_from_bits(g, ir_map(g, OP_SHL, biased, ir_const_i32(g, 23), -1), DT_F32);
}

static int build_exp(struct graph *g, int x, enum dtype dtype)
{
	static const double c[] = {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
		4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1};
	(void)dtype;
	int low = ir_const(g, -86.6), high = ir_const(g, 88.72283);
	int in = ir_map(g, OP_MIN, ir_map(g, OP_MAX, x, low, -1), high, -1);
	int n = ir_unary(g, OP_RINT, mul(g, in, ir_const(g, 1.44269504088896341)));
	int r = ir_fma(g, n, ir_const(g, -0.6931471824645996), in);
	r = ir_fma(g, n, ir_const(g, 1.9046542121259336e-09), r);
	int p = polynomial(g, r, c, (int)NELEM(c));
	p = ir_add(g, ir_fma(g, mul(g, r, r), p, r), ir_const(g, 1));
	int half = ir_sub(g, ir_unary(g, OP_TO_I32, n), ir_const_i32(g, 1));
	int y = mul(g, ir_add(g, p, p), power_of_two(g, half));
	y = ir_map(g, OP_SELECT, ir_map(g, OP_LT, x, low, -1), ir_const(g, 0), y);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_LT, high, x, -1), ir_const(g, HUGE_VAL), y);
	return keep_nan(g, x, y);
}

static int build_log(struct graph *g, int x, enum dtype dtype)
{
	static const double c[] = {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1,
		-1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1,
		-2.4999993993e-1, 3.3333331174e-1};
	(void)dtype;
	int bits = ir_unary(g, OP_BITS_OF, x);
	int e = ir_sub(g, ir_map(g, OP_SHR, bits, ir_const_i32(g, 23), -1), ir_const_i32(g, 126));
	int fraction = ir_map(g, OP_AND, bits, ir_const_i32(g, 0x007fffff), -1);
	int m = ir_from_bits(g, ir_map(g, OP_OR, fraction, ir_const_i32(g, 0x3f000000), -1), DT_F32);
	/* m in [1/2, 1); below sqrt 1/2 it is doubled. */
	int small = ir_map(g, OP_LT, m, ir_const(g, 0.707106781186547524), -1);
	e = ir_unary(g, OP_TO_F32, ir_sub(g, e, small));
	int t = ir_sub(g, ir_map(g, OP_SELECT, small, ir_add(g, m, m), m), ir_const(g, 1));
	int z = mul(g, t, t);
	int y = mul(g, mul(g, polynomial(g, t, c, (int)NELEM(c)), t), z);
	y = ir_fma(g, e, ir_const(g, -2.12194440e-4), y);
	y = ir_fma(g, z, ir_const(g, -0.5), y);
	y = ir_fma(g, e, ir_const(g, 0.693359375), ir_add(g, t, y));
	int zero = ir_const(g, 0), infinity = ir_const(g, HUGE_VAL);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, x, infinity, -1), x, y);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, x, zero, -1), ir_const(g, -HUGE_VAL), y);
	int nan = ir_from_bits(g, ir_const_i32(g, 0x7fc00000), DT_F32);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_LT, x, zero, -1), nan, y);
	return keep_nan(g, x, y);
}

/* sin of x + shift pi/2. */
static int build_sine(struct graph *g, int x, int shift)
{
	static const double s[] = {-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1};
	static const double c[] = {2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2};
	int n = ir_unary(g, OP_RINT, mul(g, x, ir_const(g, 0.636619772367581343)));
	int r = ir_fma(g, n, ir_const(g, -1.5707963705062866), x);
	r = ir_fma(g, n, ir_const(g, 4.371138828673793e-08), r);
	r = ir_fma(g, n, ir_const(g, 1.7151245100058819e-15), r);
	int z = mul(g, r, r);
	int sine = ir_fma(g, mul(g, polynomial(g, z, s, 3), z), r, r);
	int cosine = ir_fma(g, mul(g, polynomial(g, z, c, 3), z), z,
		ir_fma(g, z, ir_const(g, -0.5), ir_const(g, 1)));
	int quadrant = ir_add(g, ir_unary(g, OP_TO_I32, n), ir_const_i32(g, shift));
	int odd = ir_map(g, OP_AND, quadrant, ir_const_i32(g, 1), -1);
	int sign = ir_map(g, OP_SHL, ir_map(g, OP_AND, quadrant, ir_const_i32(g, 2), -1),
		ir_const_i32(g, 30), -1);
	int y = ir_map(g, OP_SELECT, odd, cosine, sine);
	int negated = ir_unary(g, OP_NEG, y);
	return ir_map(g, OP_SELECT, sign, negated, y);
}

static int build_sin(struct graph *g, int x, enum dtype dtype)
{
	(void)dtype;
	return build_sine(g, x, 0);
}

static int build_cos(struct graph *g, int x, enum dtype dtype)
{
	(void)dtype;
	return build_sine(g, x, 1);
}

/* Denormal halves are multiples of 2^-24, the step of floats from 1/2 on. */
static int build_half(struct graph *g, int x)
{
	int u = ir_unary(g, OP_BITS_OF, x), high = ir_const_i32(g, INT32_C(-8192));
	int sign = ir_map(g, OP_AND, u, ir_const_i32(g, INT32_MIN), -1);
	int size = ir_map(g, OP_AND, u, ir_const_i32(g, INT32_MAX), -1);
	int lowest = ir_map(g, OP_AND, ir_map(g, OP_SHR, u, ir_const_i32(g, 13), -1), ir_const_i32(g, 1), -1);
	int y = ir_map(g, OP_AND, ir_add(g, size, ir_add(g, lowest, ir_const_i32(g, 0xfff))), high, -1);
	int infinity = ir_const_i32(g, 0x7f800000), half = ir_const(g, 0.5);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_LT, y, ir_const_i32(g, 0x47800000), -1), y, infinity);
	int small = ir_sub(g, ir_add(g, ir_from_bits(g, size, DT_F32), half), half);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_LT, size, ir_const_i32(g, 0x38800000), -1),
		ir_unary(g, OP_BITS_OF, small), y);
	int quiet = ir_map(g, OP_AND, ir_map(g, OP_OR, size, ir_const_i32(g, 0x00400000), -1), high, -1);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, x, x, -1), y, quiet);
	return ir_from_bits(g, ir_map(g, OP_OR, y, sign, -1), DT_F16);
}

static int build_cast(struct graph *g, int x, enum dtype dtype)
{
	/* A bf16 or f16 in a register is an f32 already; the product is there to flush denormals. */
	if (dtype == DT_F32)
		return mul(g, x, ir_const(g, 1));
	if (dtype == DT_F16)
		return build_half(g, x);
	int high = ir_const_i32(g, INT32_C(-65536)), zero = ir_const_i32(g, 0);
	int u = ir_unary(g, OP_BITS_OF, x);
	int lowest = ir_map(g, OP_AND, ir_map(g, OP_SHR, u, ir_const_i32(g, 16), -1),
		ir_const_i32(g, 1), -1);
	int rounded = ir_add(g, u, ir_add(g, lowest, ir_const_i32(g, 0x7fff)));
	int exponent = ir_map(g, OP_AND, u, ir_const_i32(g, 0x7f800000), -1);
	int sign = ir_map(g, OP_AND, u, ir_const_i32(g, INT32_MIN), -1);
	int quiet = ir_map(g, OP_OR, u, ir_const_i32(g, 0x00400000), -1);
	int y = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, exponent, zero, -1), sign, rounded);
	y = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, x, x, -1), y, quiet);
	return ir_from_bits(g, ir_map(g, OP_AND, y, high, -1), dtype);
}

static int build_stop(struct graph *g, int x, enum dtype dtype)
{
	(void)g, (void)dtype;
	return x;
}

static int (*const builders[NOPS])(struct graph *, int, enum dtype) = {
	[OP_EXP] = build_exp, [OP_LOG] = build_log, [OP_SIN] = build_sin, [OP_COS] = build_cos,
	[OP_CAST] = build_cast, [OP_STOP] = build_stop,
};

int recipe_build(struct graph *g, enum op op, int x, enum dtype dtype)
{
	if (!builders[op])
		BUG("op '%s' has no recipe", op_info[op].name);
	return builders[op](g, x, dtype);
}

struct graph *recipe_graph(struct arena *a, enum op op)
{
	struct graph *g = graph_new(a, op_info[op].name);
	int x = ir_leaf(g, OP_INPUT, "x", (struct type){.dtype = DT_F32});
	graph_add_output(g, "y", recipe_build(g, op, x, DT_BF16));
	return g;
}
