#include "emit_cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch.h"
#include "importance.h"
#include "test.h"
#include "train.h"

static int64_t ragged(struct rng *r)
{
	static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 37, 48, 67};
	return sizes[rng_below(r, NELEM(sizes))];
}

static int leaf(struct graph *g, const char *name, enum dtype t, const char *axes)
{
	return ir_leaf(g, OP_INPUT, name, graph_type(g, t, axes));
}

static int param(struct graph *g, const char *name, enum dtype t, const char *axes)
{
	return ir_leaf(g, OP_PARAM, name, graph_type(g, t, axes));
}

static void case_maps(struct graph *g, struct rng *r)
{
	graph_axis(g, "R", 9, true);
	graph_axis(g, "A", ragged(r), false);
	graph_axis(g, "B", ragged(r), false);
	int real[64], nreal = 0, integer[64], ninteger = 0;
	real[nreal++] = leaf(g, "x", DT_F32, "R A B");
	real[nreal++] = leaf(g, "b", DT_F32, "B");
	real[nreal++] = leaf(g, "h", DT_BF16, "R B");
	real[nreal++] = leaf(g, "t", DT_F32, "B A");
	real[nreal++] = leaf(g, "c", DT_F32, "R");
	integer[ninteger++] = leaf(g, "k", DT_I32, "R A");
	integer[ninteger++] = ir_iota(g, 2);
	static const enum op binary[] = {OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN, OP_MAX};
	static const enum op bits[] = {OP_AND, OP_OR, OP_ADD, OP_SUB, OP_MUL, OP_MIN, OP_MAX};
	for (int i = 0; i < 24; i++) {
		int a = real[rng_below(r, (uint64_t)nreal)], b = real[rng_below(r, (uint64_t)nreal)];
		int c = real[rng_below(r, (uint64_t)nreal)];
		int k = integer[rng_below(r, (uint64_t)ninteger)];
		int m = integer[rng_below(r, (uint64_t)ninteger)];
		switch (rng_below(r, 12)) {
		case 0:
			real[nreal++] = ir_fma(g, a, b, c);
			break;
		case 1:
			real[nreal++] = ir_unary(g, OP_NEG, a);
			break;
		case 2:
			real[nreal++] = ir_unary(g, OP_SQRT, ir_mul(g, a, a));
			break;
		case 3:
			real[nreal++] = ir_map(g, OP_SELECT, ir_map(g, OP_LT, a, b, -1), a, c);
			break;
		case 4:
			real[nreal++] = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, k, m, -1), a, b);
			break;
		case 5:
			integer[ninteger++] = ir_map(g, bits[rng_below(r, NELEM(bits))], k, m, -1);
			break;
		case 6: {
			int by = ir_const_i32(g, (int32_t)rng_below(r, 64));
			integer[ninteger++] = ir_map(g, rng_below(r, 2) ? OP_SHL : OP_SHR, k, by, -1);
			break;
		}
		case 7:
			real[nreal++] = ir_unary(g, OP_TO_F32, k);
			break;
		case 8: {
			int low = ir_map(g, OP_MAX, a, ir_const(g, -1e6), -1);
			low = ir_map(g, OP_MIN, low, ir_const(g, 1e6), -1);
			integer[ninteger++] = ir_unary(g, OP_TO_I32, low);
			real[nreal++] = ir_unary(g, OP_RINT, low);
			break;
		}
		case 9: {
			int word = ir_unary(g, OP_BITS_OF, a);
			word = ir_map(g, OP_AND, word, ir_const_i32(g, INT32_C(-4096)), -1);
			real[nreal++] = ir_from_bits(g, word, DT_F32);
			break;
		}
		default:
			real[nreal++] = ir_map(g, binary[rng_below(r, NELEM(binary))], a, b, -1);
		}
	}
	graph_add_output(g, "y", ir_expand(g, real[nreal - 1], graph_type(g, DT_F32, "R A B")));
	graph_add_output(g, "z", ir_expand(g, real[nreal - 2], graph_type(g, DT_F32, "A R B")));
	graph_add_output(g, "n", ir_expand(g, integer[ninteger - 1], graph_type(g, DT_I32, "R A B")));
}

static void case_recipes(struct graph *g, struct rng *r)
{
	static const enum op op[] = {OP_EXP, OP_LOG, OP_SIN, OP_COS};
	graph_axis(g, "R", 5, true);
	graph_axis(g, "A", ragged(r), false);
	int x = leaf(g, "x", DT_F32, "R A");
	for (size_t i = 0; i < NELEM(op); i++)
		graph_add_output(g, op_info[op[i]].name, ir_unary(g, op[i], x));
	int big = ir_mul(g, x, ir_const(g, 40));
	graph_add_output(g, "bigexp", ir_unary(g, OP_EXP, big));
	int half = ir_cast(g, x, DT_BF16);
	graph_add_output(g, "half", half);
	graph_add_output(g, "back", ir_cast(g, half, DT_F32));
	graph_add_output(g, "stop", ir_add(g, ir_unary(g, OP_STOP, x), x));
}

/* Halves of every size, both ways, and numbers that round to all of them. */
static void case_halves(struct graph *g, struct rng *r)
{
	graph_axis(g, "R", 5, true);
	graph_axis(g, "A", ragged(r) * 4, false);
	int h = leaf(g, "h", DT_F16, "R A"), x = leaf(g, "x", DT_F32, "R A");
	graph_add_output(g, "wide", ir_cast(g, h, DT_F32));
	graph_add_output(g, "same", ir_cast(g, ir_mul(g, h, ir_const(g, 1)), DT_F16));
	graph_add_output(g, "between", ir_cast(g, ir_mul(g, h, ir_const(g, 1.00048828125)), DT_F16));
	graph_add_output(g, "small", ir_cast(g, ir_mul(g, x, ir_const(g, ldexp(1, -14 - (int)rng_below(r, 12)))),
		DT_F16));
	graph_add_output(g, "large", ir_cast(g, ir_mul(g, x, ir_const(g, 20000 + (double)rng_below(r, 4000))), DT_F16));
	graph_add_output(g, "bits", ir_cast(g, ir_from_bits(g, leaf(g, "n", DT_I32, "R A"), DT_F32), DT_F16));
	int s = ir_leaf(g, OP_STATE, "s", graph_type(g, DT_F16, "A R"));
	ir_assign(g, s, ir_expand(g, ir_cast(g, x, DT_F16), graph_type(g, DT_F16, "A R")));
}

static void case_norm(struct graph *g, struct rng *r)
{
	static const int64_t longs[] = {300, 4097, 4200}; /* rows that take more than a step */
	graph_axis(g, "R", 6, true);
	int64_t extent = rng_below(r, 3) ? ragged(r) * (int64_t)(1 + rng_below(r, 3)) : longs[rng_below(r, NELEM(longs))];
	int d = graph_axis(g, "D", extent, false);
	int x = leaf(g, "x", DT_F32, "R D"), w = param(g, "w", DT_F32, "D");
	int y = leaf(g, "y", DT_F32, "R D");
	int s = ir_add(g, x, y);
	int sum = ir_reduce(g, OP_SUM, ir_mul(g, s, s), graph_type(g, DT_F32, "R"));
	int mean = ir_mul(g, sum, ir_const(g, 1.0 / (double)g->axis[d].extent));
	int scale = ir_div(g, ir_const(g, 1), ir_unary(g, OP_SQRT, ir_add(g, mean, ir_const(g, 1e-5))));
	graph_add_output(g, "norm", ir_cast(g, ir_mul(g, ir_mul(g, s, scale), w), DT_BF16));
	graph_add_output(g, "scale", scale);
	graph_add_output(g, "s", s);
	/* Sums over the outer axis, and over everything. */
	graph_add_output(g, "dw", ir_reduce(g, OP_SUM, ir_mul(g, s, y), graph_type(g, DT_F32, "D")));
	graph_add_output(g, "all", ir_reduce(g, OP_SUM, ir_mul(g, y, y), graph_type(g, DT_F32, "")));
	graph_add_output(g, "top", ir_reduce(g, OP_RMAX, y, graph_type(g, DT_F32, "D")));
}

static void case_sums(struct graph *g, struct rng *r)
{
	graph_axis(g, "R", 6, true);
	graph_axis(g, "A", ragged(r), false);
	graph_axis(g, "B", ragged(r), false);
	int x = leaf(g, "x", DT_F32, "R A B");
	static const char *const kept[] = {"", "R", "A", "B", "R A", "R B", "A B", "B R"};
	for (size_t i = 0; i < NELEM(kept); i++) {
		struct type t = graph_type(g, DT_F32, kept[i]);
		char name[16];
		snprintf(name, sizeof(name), "s%zu", i);
		graph_add_output(g, name, ir_reduce(g, rng_below(r, 3) ? OP_SUM : OP_RMAX, x, t));
	}
}

static void case_loss(struct graph *g, struct rng *r)
{
	graph_axis(g, "O", 5, true);
	int v = graph_axis(g, "V", ragged(r) * 3, false);
	char name[16];
	snprintf(name, sizeof(name), "i%lldt", (long long)g->axis[v].extent);
	int z = leaf(g, "z", DT_F32, "O V"), target = leaf(g, name, DT_I32, "O");
	struct type o = graph_type(g, DT_F32, "O");
	int max = ir_reduce(g, OP_RMAX, z, o);
	int p = ir_unary(g, OP_EXP, ir_sub(g, z, max));
	int sum = ir_reduce(g, OP_SUM, p, o);
	int lse = ir_add(g, ir_unary(g, OP_LOG, sum), max);
	int hit = ir_map(g, OP_SELECT, ir_map(g, OP_EQ, ir_iota(g, v), target, -1), z, ir_const(g, 0));
	int nll = ir_sub(g, lse, ir_reduce(g, OP_SUM, hit, o));
	graph_add_output(g, "nll", nll);
	graph_add_output(g, "p", ir_div(g, p, sum));
	graph_add_output(g, "loss", ir_reduce(g, OP_SUM, nll, graph_type(g, DT_F32, "")));
}

static void dots(struct graph *g, struct rng *r, enum dtype t)
{
	/* More than a chunk of the reduction; 1024: rows that are padded. */
	static const int64_t many[] = {1030, 1031, 1032, 1024, 1024};
	graph_axis(g, "R", 80, true);
	graph_axis(g, "D", rng_below(r, 3) ? ragged(r) : many[rng_below(r, NELEM(many))], false);
	graph_axis(g, "K", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "E", ragged(r), false);
	graph_axis(g, "F", ragged(r) + 40, false);
	int x = ir_cast(g, ir_mul(g, leaf(g, "x", DT_F32, "R D"), ir_const(g, 0.5)), t);
	int q = ir_dot(g, x, param(g, "wq", t, "K E D"), graph_type(g, DT_F32, "R K E"));
	graph_add_output(g, "q", ir_mul(g, q, ir_const(g, 0.25)));
	int gate = ir_dot(g, x, param(g, "wg", t, "F D"), graph_type(g, DT_F32, "R F"));
	int up = ir_dot(g, x, param(g, "wu", t, "F D"), graph_type(g, DT_F32, "R F"));
	int one = ir_const(g, 1);
	int sigmoid = ir_div(g, one, ir_add(g, one, ir_unary(g, OP_EXP, ir_unary(g, OP_NEG, gate))));
	int h = ir_cast(g, ir_mul(g, ir_mul(g, gate, sigmoid), up), t);
	int down = ir_dot(g, h, param(g, "wd", t, "D F"), graph_type(g, DT_F32, "R D"));
	int y = ir_add(g, down, leaf(g, "res", DT_F32, "R D"));
	graph_add_output(g, "y", y);
}

static void case_dot_f32(struct graph *g, struct rng *r)
{
	dots(g, r, DT_F32);
}

static void case_dot_bf16(struct graph *g, struct rng *r)
{
	dots(g, r, DT_BF16);
}

/* Rows of integers, products with both kinds of weights, epilogues, and rows of a tied table. */
static void quantised(struct graph *g, struct rng *r, int64_t rows, int64_t inner)
{
	enum dtype t[2];
	for (int i = 0; i < 2; i++)
		t[i] = rng_below(r, 2) ? DT_Q8 : DT_Q4;
	graph_axis(g, "R", rows, true);
	graph_axis(g, "D", inner, false);
	graph_axis(g, "K", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "E", ragged(r), false);
	graph_axis(g, "F", ragged(r) + 40, false);
	int v = graph_axis(g, "V", ragged(r), false);
	char name[16];
	snprintf(name, sizeof(name), "i%lldt", (long long)g->axis[v].extent);
	int table = param(g, "table", t[0], "V | D");
	int gathered = ir_gather(g, table, leaf(g, name, DT_I32, "R"), v);
	int x = ir_add(g, leaf(g, "x", DT_F32, "R D"), gathered);
	int xq = ir_quantise(g, x, 1);
	int q = ir_dot(g, xq, param(g, "wq", t[0], "K E | D"), graph_type(g, DT_F32, "R K E"));
	graph_add_output(g, "q", ir_mul(g, q, ir_const(g, 0.25)));
	int gate = ir_dot(g, xq, param(g, "wg", t[0], "F | D"), graph_type(g, DT_F32, "R F"));
	int up = ir_dot(g, xq, param(g, "wu", t[1], "F | D"), graph_type(g, DT_F32, "R F"));
	int hq = ir_quantise(g, ir_mul(g, ir_unary(g, OP_NEG, gate), up), 1);
	int down = ir_dot(g, hq, param(g, "wd", t[1], "D | F"), graph_type(g, DT_F32, "R D"));
	int o = ir_dot(g, ir_quantise(g, q, 1), param(g, "wo", t[1], "D | K E"), graph_type(g, DT_F32, "R D"));
	graph_add_output(g, "y", ir_add(g, ir_add(g, down, o), x));
	graph_add_output(g, "hq", hq);
	graph_add_output(g, "xq", xq);
	double tiny = ldexp(1, -100 - (int)rng_below(r, 10)); /* blocks on both sides of what counts as nothing */
	graph_add_output(g, "small", ir_quantise(g, ir_mul(g, x, ir_const(g, tiny)), 1));
	graph_add_output(g, "rows", gathered);
	graph_add_output(g, "logits", ir_dot(g, xq, table, graph_type(g, DT_F32, "R V")));
}

/* Three or four dots in one region, of kinds that need not be alike. */
static void case_several_dots(struct graph *g, struct rng *r)
{
	bool quantised = rng_below(r, 2);
	graph_axis(g, "R", 70, true);
	graph_axis(g, "D", rng_below(r, 2) ? 160 : ragged(r), false);
	graph_axis(g, "F", 70, false);
	int x = leaf(g, "x", DT_F32, "R D"), y = -1, n = 3 + (int)rng_below(r, 2);
	x = quantised ? ir_quantise(g, x, 1) : ir_cast(g, x, DT_BF16);
	for (int i = 0; i < n; i++) {
		char name[16];
		snprintf(name, sizeof(name), "w%d", i);
		enum dtype t = !quantised ? DT_BF16 : rng_below(r, 2) ? DT_Q8 : DT_Q4;
		int d = ir_dot(g, x, param(g, name, t, "F | D"), graph_type(g, DT_F32, "R F"));
		y = y < 0 ? d : ir_add(g, ir_mul(g, y, ir_const(g, 0.5)), d);
	}
	graph_add_output(g, "y", y);
}

static void case_quantised(struct graph *g, struct rng *r)
{
	static const int64_t inner[] = {1, 2, 3, 5, 7, 16, 31, 32, 33, 48, 63, 64, 65, 97, 96, 128, 160, 256, 509};
	int64_t one = inner[rng_below(r, NELEM(inner))];
	quantised(g, r, 80, one);
}

/* Ranges of 9 blocks, which begin at odd ones too: more than a GPU has on its way, of few rows or of many. */
static void case_quantised_long(struct graph *g, struct rng *r)
{
	quantised(g, r, 70, 2080);
}

static void case_quantised_long_few(struct graph *g, struct rng *r)
{
	quantised(g, r, 8, 2080);
}

static int case_seed; /* where each seed is to have a form of its own */

/* Products of as many rows as a call has, dots of a region beside each other, and those of a backward pass over static rows: of bf16, steps
 * of 16 along what is summed, and whole lines of 16 bytes. */
static void case_dot_many(struct graph *g, struct rng *r)
{
	static const struct {
		int64_t rows, inner, lanes;
		int ndot; /* 0: backward */
	} forms[] = {{150, 272, 200, 1}, {230, 512, 250, 2}, {150, 48, 250, 3}, {150, 160, 250, 4}, {192, 16, 8576, 1}, {150, 264, 88, 0},
		{90, 200, 264, 0}};
	size_t form = (size_t)case_seed % NELEM(forms);
	(void)r;
	graph_axis(g, "R", forms[form].rows, false);
	graph_axis(g, "D", forms[form].inner, false);
	graph_axis(g, "F", forms[form].lanes, false);
	int x = ir_cast(g, leaf(g, "x", DT_F32, "R D"), DT_BF16), y = -1;
	for (int i = 0; i < (forms[form].ndot ? forms[form].ndot : 1); i++) {
		char name[16];
		snprintf(name, sizeof(name), "w%d", i);
		int d = ir_dot(g, x, param(g, name, DT_BF16, "F D"), graph_type(g, DT_F32, "R F"));
		y = y < 0 ? d : ir_add(g, ir_mul(g, y, ir_const(g, 0.5)), d);
	}
	graph_add_output(g, "y", y);
	if (forms[form].ndot)
		return;
	int dy = ir_cast(g, ir_mul(g, y, leaf(g, "s", DT_F32, "R F")), DT_BF16);
	graph_add_output(g, "dx", ir_dot(g, dy, graph_find_leaf(g, "w0"), graph_type(g, DT_F32, "R D")));
	graph_add_output(g, "dw", ir_dot(g, dy, x, graph_type(g, DT_F32, "F D")));
}

/* Queries and keys of few rows that are turned by RoPE, keys as they go to a cache, behind a norm: what a program that decodes makes of dots
 * and with them. */
static void case_rope(struct graph *g, struct rng *r)
{
	static const int64_t halves[] = {16, 32, 48, 24};
	bool quantised = rng_below(r, 2);
	graph_axis(g, "R", 1 + (int64_t)rng_below(r, 8), true);
	graph_axis(g, "D", 64 * (1 + (int64_t)rng_below(r, 3)), false);
	graph_axis(g, "K", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "G", 1 + (int64_t)rng_below(r, 3), false);
	int half = graph_axis(g, "X", 2, false);
	graph_axis(g, "E", halves[rng_below(r, NELEM(halves))], false);
	int s = graph_axis(g, "S", 40, false);
	int x = leaf(g, "x", DT_F32, "R D"), sum = ir_reduce(g, OP_SUM, ir_mul(g, x, x), graph_type(g, DT_F32, "R"));
	x = ir_mul(g, x, ir_div(g, ir_const(g, 1), ir_add(g, sum, ir_const(g, 1))));
	x = quantised ? ir_quantise(g, x, 1) : ir_cast(g, x, DT_BF16);
	int cosine = leaf(g, "cos", DT_F32, "R E"), sine = leaf(g, "sin", DT_F32, "R X E");
	int q = ir_dot(g, x, param(g, "wq", quantised ? DT_Q8 : DT_BF16, quantised ? "K G X E | D" : "K G X E D"),
		graph_type(g, DT_F32, "R K G X E"));
	if (rng_below(r, 2))
		q = ir_add(g, q, param(g, "bq", DT_F32, "K G X E"));
	q = ir_add(g, ir_mul(g, q, cosine), ir_mul(g, ir_flip(g, q, half), sine));
	graph_add_output(g, "q", ir_mul(g, q, ir_const(g, 0.125)));
	int k = ir_dot(g, x, param(g, "wk", quantised ? DT_Q4 : DT_BF16, quantised ? "K X E | D" : "K X E D"), graph_type(g, DT_F32, "R K X E"));
	k = ir_cast(g, ir_add(g, ir_mul(g, k, cosine), ir_mul(g, ir_flip(g, k, half), sine)), DT_BF16);
	ir_put(g, ir_leaf(g, OP_STATE, "ks", graph_type(g, DT_BF16, "K S X E")), k, leaf(g, "slot", DT_I32, "R"), s);
}

/* The products of a backward pass, the weight read both ways. */
static void case_backward(struct graph *g, struct rng *r)
{
	/* R, D, N, 0: ragged. More than an item has of rows and lanes, and than a chunk has of what is summed; whole lines of 16
	 * bytes. */
	static const int64_t most[][3] = {{40}, {530, 136, 24}, {700}, {120, 210, 18}, {30, 40, 1030}, {21, 37, 131}};
	const int64_t *n = most[rng_below(r, NELEM(most))];
	enum dtype t = rng_below(r, 3) ? DT_BF16 : DT_F32;
	graph_axis(g, "R", n[0], true);
	graph_axis(g, "D", n[1] ? n[1] : ragged(r), false);
	graph_axis(g, "N", n[2] ? n[2] : ragged(r), false);
	int x = ir_cast(g, leaf(g, "x", DT_F32, "R D"), t), w = param(g, "w", t, "N D");
	int y = ir_dot(g, x, w, graph_type(g, DT_F32, "R N"));
	graph_add_output(g, "y", y);
	int dy = ir_cast(g, ir_mul(g, y, leaf(g, "s", DT_F32, "R N")), t);
	graph_add_output(g, "dx", ir_dot(g, dy, w, graph_type(g, DT_F32, "R D")));
	int dw = ir_dot(g, dy, x, graph_type(g, DT_F32, "N D"));
	int sum = ir_leaf(g, OP_STATE, "sum", graph_type(g, DT_F32, "N D"));
	ir_assign(g, sum, ir_add(g, sum, dw));
}

static void case_memory(struct graph *g, struct rng *r)
{
	graph_axis(g, "R", 12, true);
	int v = graph_axis(g, "V", ragged(r), false);
	graph_axis(g, "D", ragged(r), false);
	int s = graph_axis(g, "S", 20, false);
	char name[16];
	snprintf(name, sizeof(name), "i%lldt", (long long)g->axis[v].extent);
	int token = leaf(g, name, DT_I32, "R"), slot = leaf(g, "slot", DT_I32, "R");
	int table = param(g, "table", DT_BF16, "V D");
	int x = ir_mul(g, ir_gather(g, table, token, v), ir_const(g, 3));
	graph_add_output(g, "x", x);
	graph_add_output(g, "dtable", ir_scatter(g, x, token, v));
	int cache = ir_leaf(g, OP_STATE, "cache", graph_type(g, DT_F32, "S D"));
	int old = ir_gather(g, cache, slot, s);
	int after = ir_put(g, cache, ir_add(g, x, ir_const(g, 1)), slot, s);
	graph_add_output(g, "old", ir_add(g, old, ir_const(g, 0)));
	graph_add_output(g, "sums", ir_reduce(g, OP_SUM, after, graph_type(g, DT_F32, "S")));
	int logits = ir_dot(g, ir_cast(g, x, DT_BF16), table, graph_type(g, DT_F32, "R V"));
	graph_add_output(g, "logits", logits);
}

/* As they are, scores are so far apart that one slot has all the weight; small ones share it. */
static int scaled(struct graph *g, struct rng *r, int q)
{
	static const double by[] = {1, 1e-2, 1e-4};
	uint64_t i = rng_below(r, NELEM(by));
	return i ? ir_mul(g, q, ir_const(g, by[i])) : q;
}

static int cached(struct graph *g, int x, enum dtype t)
{
	return t == DT_C8 ? ir_quantise_cache(g, x, 2) : ir_cast(g, x, t);
}

static void case_attention(struct graph *g, struct rng *r)
{
	static const enum dtype caches[] = {DT_F32, DT_BF16, DT_F16, DT_C8};
	enum dtype t = caches[rng_below(r, NELEM(caches))];
	int64_t slots = rng_below(r, 4) ? 40 : 1100;
	graph_axis(g, "R", slots > 100 ? slots - 10 : 20, true);
	graph_axis(g, "K", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "G", 1 + (int64_t)rng_below(r, rng_below(r, 2) ? 3 : 9), false);
	graph_axis(g, "X", 2, false);
	graph_axis(g, "E", 1 + (int64_t)rng_below(r, rng_below(r, 4) ? 20 : 64), false);
	int s = graph_axis(g, "S", slots, false);
	int slot = leaf(g, "slot", DT_I32, "R"), lo = leaf(g, "lo", DT_I32, "R");
	int hi = leaf(g, "hi", DT_I32, "R");
	int q = leaf(g, "q", DT_F32, "R K G X E");
	int flipped = ir_flip(g, q, graph_find_axis(g, "X"));
	int iota = ir_unary(g, OP_TO_F32, ir_iota(g, graph_find_axis(g, "X")));
	int sign = ir_sub(g, ir_add(g, iota, iota), ir_const(g, 1));
	q = scaled(g, r, ir_add(g, q, ir_mul(g, flipped, sign)));
	int k = cached(g, leaf(g, "k", DT_F32, "R K X E"), t);
	int v = cached(g, leaf(g, "v", DT_F32, "R K X E"), t);
	int ks = ir_leaf(g, OP_STATE, "ks", graph_type(g, t, "K S | X E"));
	int vs = ir_leaf(g, OP_STATE, "vs", graph_type(g, t, "K S | X E"));
	k = ir_put(g, ks, k, slot, s);
	v = ir_put(g, vs, v, slot, s);
	int o = ir_attention(g, q, k, v, lo, hi, s);
	if (rng_below(r, 2)) {
		graph_add_output(g, "o", o);
		return;
	}
	/* What is made of it, alone or beside it. */
	int y = ir_cast(g, ir_add(g, ir_mul(g, o, ir_const(g, 0.5)), leaf(g, "z", DT_F32, "R K G X E")), DT_BF16);
	graph_add_output(g, "y", y);
	if (rng_below(r, 2))
		graph_add_output(g, "o", o);
}

/* Rows that see many slots of a cache of bf16: some or all of them, or none of the first ones. */
struct slots {
	int64_t rows, groups;
	bool written; /* by the rows, too */
};

static void attention_long(struct graph *g, struct rng *r, struct slots of)
{
	static const int64_t most[] = {500, 800, 1100, 17000};
	int64_t slots = most[rng_below(r, NELEM(most))], features = rng_below(r, 2) ? 64 : 1 + (int64_t)rng_below(r, 90);
	bool huge = slots > 10000; /* more ranges than a GPU's block has threads */
	char name[16];
	graph_axis(g, "R", of.rows, true);
	graph_axis(g, "K", huge ? 1 : 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "G", of.groups, false);
	graph_axis(g, "E", huge ? 5 : features, false);
	int s = graph_axis(g, "S", slots, false);
	snprintf(name, sizeof(name), "n%lldx", (long long)rng_below(r, (uint64_t)slots - 30) * (long long)rng_below(r, 2));
	int lo = leaf(g, name, DT_I32, "R");
	snprintf(name, sizeof(name), "n%lldy", (long long)slots - 20 - (long long)rng_below(r, 9));
	int hi = leaf(g, name, DT_I32, "R"), slot = leaf(g, "slot", DT_I32, "R");
	int kv[2];
	for (int i = 0; i < 2; i++) {
		kv[i] = ir_leaf(g, OP_STATE, i ? "vs" : "ks", graph_type(g, DT_BF16, "K S | E"));
		if (of.written)
			kv[i] = ir_put(g, kv[i], cached(g, leaf(g, i ? "v" : "k", DT_F32, "R K E"), DT_BF16), slot, s);
	}
	int q = scaled(g, r, leaf(g, "q", DT_F32, "R K G E"));
	graph_add_output(g, "o", ir_attention(g, q, kv[0], kv[1], lo, hi, s));
}

static void case_attention_long(struct graph *g, struct rng *r)
{
	attention_long(g, r, (struct slots){8, 1 + (int64_t)rng_below(r, 8), true});
}

/* A program that decodes, and one of more rows than a GPU's block takes at once. */
static void case_attention_decode(struct graph *g, struct rng *r)
{
	attention_long(g, r, (struct slots){8, 8, false});
}

static void case_attention_prefill(struct graph *g, struct rng *r)
{
	attention_long(g, r, (struct slots){18, 8, false});
}

/* Rows of 8 bits that attend to each other, without a cache. */
static void case_attention_rows(struct graph *g, struct rng *r)
{
	int rows = graph_axis(g, "R", 30, true);
	graph_axis(g, "K", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "G", 1 + (int64_t)rng_below(r, 5), false);
	graph_axis(g, "E", 1 + (int64_t)rng_below(r, 80), false);
	int lo = leaf(g, "lo", DT_I32, "R"), hi = leaf(g, "hi", DT_I32, "R");
	hi = ir_map(g, OP_MAX, ir_map(g, OP_SUB, hi, ir_const_i32(g, 3), -1), ir_const_i32(g, 1), -1);
	lo = ir_map(g, OP_MIN, lo, ir_map(g, OP_SUB, hi, ir_const_i32(g, 1), -1), -1);
	int x[2];
	for (int i = 0; i < 2; i++) {
		int c = ir_quantise_cache(g, leaf(g, i ? "v" : "k", DT_F32, "R K E"), 2);
		x[i] = ir_expand(g, ir_gather(g, c, ir_iota(g, rows), rows), graph_type(g, DT_F32, "K R E"));
	}
	graph_add_output(g, "o", ir_attention(g, scaled(g, r, leaf(g, "q", DT_F32, "R K G E")), x[0], x[1], lo, hi, rows));
}

/* Packed rows that attend to each other, and the gradients of it. */
static void attention_gradients(struct graph *g, struct rng *r, enum dtype t, int64_t nrows, int64_t features)
{
	int rows = graph_axis(g, "R", nrows, true);
	graph_axis(g, "K", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "G", 1 + (int64_t)rng_below(r, 3), false);
	graph_axis(g, "E", features, false);
	int lo = leaf(g, "lo", DT_I32, "R"), hi = leaf(g, "hi", DT_I32, "R");
	/* hi is 4 + the row: the row itself is among its slots, and rows that do not exist never are. */
	hi = ir_map(g, OP_MAX, ir_map(g, OP_SUB, hi, ir_const_i32(g, 3), -1), ir_const_i32(g, 1), -1);
	lo = ir_map(g, OP_MIN, lo, ir_map(g, OP_SUB, hi, ir_const_i32(g, 1), -1), -1);
	int q = scaled(g, r, leaf(g, "q", DT_F32, "R K G E"));
	int k = ir_expand(g, ir_cast(g, leaf(g, "k", DT_F32, "R K E"), t), graph_type(g, t, "K R E"));
	int v = ir_expand(g, ir_cast(g, leaf(g, "v", DT_F32, "R K E"), t), graph_type(g, t, "K R E"));
	int o = ir_attention(g, q, k, v, lo, hi, rows);
	int dout = leaf(g, "do", DT_F32, "R K G E");
	graph_add_output(g, "dk", ir_attention_grad(g, OP_ATTENTION_DK, o, dout));
	if (rng_below(r, 3))
		graph_add_output(g, "dq", ir_attention_grad(g, OP_ATTENTION_DQ, o, dout));
	if (rng_below(r, 3))
		graph_add_output(g, "dv", ir_attention_grad(g, OP_ATTENTION_DV, o, dout));
	graph_add_output(g, "o", o);
}

static void case_attention_grad(struct graph *g, struct rng *r)
{
	static const enum dtype dtypes[] = {DT_F32, DT_BF16, DT_F16};
	enum dtype t = dtypes[rng_below(r, NELEM(dtypes))];
	attention_gradients(g, r, t, rng_below(r, 3) ? 20 : 50, 1 + (int64_t)rng_below(r, 40));
}

/* As tensor cores have it: whole steps of features, and rows of several blocks. */
static void case_attention_grad_bf16(struct graph *g, struct rng *r)
{
	attention_gradients(g, r, DT_BF16, rng_below(r, 2) ? 40 : 300, 16 * (1 + (int64_t)rng_below(r, 8)));
}

static bool trains_block_1(void *ctx, const char *name)
{
	(void)ctx;
	return strncmp(name, "blk.0.", 6) != 0 && strcmp(name, "rope.freq") != 0;
}

static struct graph *attn_0(struct arena *a, const struct train *t)
{
	return train_half_back(a, t, HALF_ATTN, 0);
}

static struct graph *attn_1(struct arena *a, const struct train *t)
{
	return train_half_back(a, t, HALF_ATTN, 1);
}

static struct graph *mlp_1(struct arena *a, const struct train *t)
{
	return train_half_back(a, t, HALF_MLP, 1);
}

/* Loss, gradients and update of a model in pieces, one block frozen, one half gone. */
static bool train_model(struct arena *a, struct rng *r, struct graph *(*build)(struct arena *, const struct train *),
	uint64_t seed, emit_try *try)
{
	static bool has_attn[] = {true, true}, has_mlp[] = {true, true};
	struct state state = {.config = {.arch = &arch_llama, .layers = 2, .kv_heads = 1 + (int)rng_below(r, 2),
		.head_dim = 2 * (1 + (int)rng_below(r, 5)), .vocab = 11 + (int)rng_below(r, 30),
		.ffn = 5 + (int)rng_below(r, 30), .width = 8 + (int)rng_below(r, 30), .context = 32,
		.rms_eps = 1e-5f, .tied = rng_below(r, 2)}, .has_attn = has_attn, .has_mlp = has_mlp};
	state.config.heads = state.config.kv_heads * (1 + (int)rng_below(r, 2));
	has_mlp[0] = rng_below(r, 2);
	struct train t = {.state = &state, .numerics = rng_below(r, 2) ? NUMERICS_BF16 : NUMERICS_F32,
		.max_rows = 23, .trains = trains_block_1, .beta1 = 0.9, .beta2 = 0.999,
		.eps = 1e-8, .decay = 0.01};
	int64_t rows[] = {1 + (int64_t)rng_below(r, 23), 1 + (int64_t)rng_below(r, 23)};
	return try(a, build(a, &t), rows, seed);
}

void emit_case_training(int nseed, emit_try *try)
{
	static struct graph *(*const pieces[])(struct arena *, const struct train *) = {train_embed_back, attn_0,
		attn_1, mlp_1, train_head, train_update, importance_taylor};
	for (int seed = 1; seed <= nseed; seed++) {
		struct arena a = {0};
		struct rng r;
		bool ok = true;
		rng_init(&r, (uint64_t)seed);
		for (size_t i = 0; i < NELEM(pieces) && ok; i++)
			ok = train_model(&a, &r, pieces[i], (uint64_t)seed, try);
		arena_release(&a);
	}
}

void emit_case_importance(int nseed, emit_try *try)
{
	for (int seed = 1; seed <= nseed; seed++) {
		struct arena a = {0};
		struct rng r;
		rng_init(&r, (uint64_t)seed);
		struct model_config c = {.arch = &arch_llama, .layers = 1, .kv_heads = 1 + (int)rng_below(&r, 2),
			.head_dim = 2 * (1 + (int)rng_below(&r, 20)), .vocab = 11, .ffn = 5 + (int)rng_below(&r, 100),
			.width = 8 + (int)rng_below(&r, 100), .rms_eps = 1e-5f};
		c.heads = c.kv_heads * (1 + (int)rng_below(&r, 2));
		struct forward f = {.config = &c, .numerics = rng_below(&r, 2) ? NUMERICS_BF16 : NUMERICS_F32,
			.max_rows = 23, .max_out = 1};
		int64_t rows[] = {1 + (int64_t)rng_below(&r, 23)};
		if (try(&a, importance_compare(&a, &f), rows, (uint64_t)seed))
			try(&a, importance_magnitude(&a, &f, seed % 2 ? HALF_ATTN : HALF_MLP), rows, (uint64_t)seed);
		arena_release(&a);
	}
}

static const struct {
	const char *name;
	void (*build)(struct graph *, struct rng *);
} cases[] = {
	{"maps", case_maps},
	{"recipes", case_recipes},
	{"halves", case_halves},
	{"norm", case_norm},
	{"sums", case_sums},
	{"loss", case_loss},
	{"dot_f32", case_dot_f32},
	{"dot_bf16", case_dot_bf16},
	{"quantised", case_quantised},
	{"quantised_long", case_quantised_long},
	{"quantised_long_few", case_quantised_long_few},
	{"several_dots", case_several_dots},
	{"dot_many", case_dot_many},
	{"rope", case_rope},
	{"backward", case_backward},
	{"memory", case_memory},
	{"attention", case_attention},
	{"attention_long", case_attention_long},
	{"attention_decode", case_attention_decode},
	{"attention_prefill", case_attention_prefill},
	{"attention_rows", case_attention_rows},
	{"attention_grad", case_attention_grad},
	{"attention_grad_bf16", case_attention_grad_bf16},
};

void emit_case(const char *name, int nseed, emit_try *try)
{
	size_t c = 0;
	while (c < NELEM(cases) && strcmp(cases[c].name, name))
		c++;
	if (c == NELEM(cases))
		BUG("there is no case '%s'", name);
	for (int seed = 1; seed <= nseed; seed++) {
		struct arena a = {0};
		struct rng r;
		rng_init(&r, (uint64_t)seed);
		case_seed = seed;
		struct graph *g = graph_new(&a, name);
		cases[c].build(g, &r);
		int64_t rows[4];
		for (int i = 0, d = 0; i < g->naxis; i++)
			if (g->axis[i].dynamic) {
				uint64_t most = (uint64_t)g->axis[i].extent;
				rows[d++] = rng_below(&r, 4) ? 1 + (int64_t)rng_below(&r, most) : 1;
			}
		bool ok = try(&a, g, rows, (uint64_t)seed);
		arena_release(&a);
		if (!ok)
			return;
	}
}
