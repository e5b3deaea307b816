/*
 * The interpreter against results computed by hand, every op at least once, and against a second,
 * straightforward implementation of what has an order of its own: dot, sum, attention, layouts.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph_run.h"

#define X1 "axis A 8\n%x = input name=x : f32 (A)\n"
#define X2 X1 "%y = input name=y : f32 (A)\n"
#define I1 "axis A 4\n%x = input name=x : i32 (A)\n"
#define I2 I1 "%y = input name=y : i32 (A)\n"
#define ATTENTION                                                                                  \
	"axis R 1\naxis S 4\naxis E 1\n%q = input name=q : f32 (R,E)\n"                            \
	"%k = input name=k : f32 (S,E)\n%v = input name=v : f32 (S,E)\n"                           \
	"%lo = input name=lo : i32 (R)\n%hi = input name=hi : i32 (R)\n"                           \
	"%o = attention axis=S %q %k %v %lo %hi : f32 (R,E)\n"
#define ATTENTION_GRAD ATTENTION "%do = input name=do : f32 (R,E)\n"

/* dim: "R=2" when an axis has less than its maximum. Untouched memory is 0. */
static const struct {
	const char *name, *graph, *dim, *in, *out;
} cases[] = {
	{"add, a row less than there may be, broadcast along rows",
		"axis R 3 dynamic\naxis D 2\n%x = input name=x : f32 (R,D)\n"
		"%b = param name=b : f32 (D)\n%z = add %x %b : f32 (R,D)\noutput z %z\n",
		"R=2", "x= 1 2 3 4 5 6 b= 10 20", "z= 11 22 13 24 0 0"},
	{"add, the dynamic axis inside",
		"axis R 3 dynamic\naxis D 2\n%x = input name=x : f32 (D,R)\n"
		"%z = add %x %x : f32 (D,R)\noutput z %z\n",
		"R=2", "x= 1 2 3 4 5 6", "z= 2 4 0 8 10 0"},
	{"add i32 wraps", I2 "%z = add %x %y : i32 (A)\noutput z %z\n", "",
		"x= 2147483647 -5 0 1 y= 1 3 0 -1", "z= -2147483648 -2 0 0"},
	{"add flushes denormals", X2 "%z = add %x %y : f32 (A)\noutput z %z\n", "",
		"x= 0x1p-126 0x1p-140 -0x1p-140 y= -0x1.8p-126 0 -0", "z= -0 0 -0"},
	{"sub, other order of axes",
		"axis A 2\naxis B 3\n%x = input name=x : f32 (A,B)\n%y = input name=y : f32 (B,A)\n"
		"%z = sub %x %y : f32 (A,B)\noutput z %z\n",
		"", "x= 1 2 3 4 5 6 y= 0 1 0 2 0 3", "z= 1 2 3 3 3 3"},
	{"mul flushes denormals", X2 "%z = mul %x %y : f32 (A)\noutput z %z\n", "",
		"x= 0x1p-100 -0x1p-100 0x1p-140 3 y= 0x1p-40 0x1p-40 1 -4", "z= 0 -0 0 -12 0 0 0 0"},
	{"mul i32 wraps", I2 "%z = mul %x %y : i32 (A)\noutput z %z\n", "",
		"x= 65536 -3 7 0 y= 65537 5 7 9", "z= 65536 -15 49 0"},
	{"outer product",
		"axis A 2\naxis B 3\n%x = input name=x : f32 (A)\n%y = input name=y : f32 (B)\n"
		"%z = mul %x %y : f32 (B,A)\noutput z %z\n",
		"", "x= 1 2 y= 3 4 5", "z= 3 6 4 8 5 10"},
	{"div", X2 "%z = div %x %y : f32 (A)\noutput z %z\n", "",
		"x= 1 1 -1 0 6 1 1 1 y= 3 0 0 0 -2 1 1 1", "z= 0x1.555556p-2 inf -inf nan -3 1 1 1"},
	{"min: NaN and equals give the second", X2 "%z = min %x %y : f32 (A)\noutput z %z\n", "",
		"x= nan 1 -0 0 2 3 0x1p-140 0 y= 1 nan 0 -0 3 2 1 -0x1p-140", "z= 1 nan 0 -0 2 2 0 -0"},
	{"max: NaN and equals give the second", X2 "%z = max %x %y : f32 (A)\noutput z %z\n", "",
		"x= nan 1 -0 0 2 3 0x1p-140 -1 y= 1 nan 0 -0 3 2 -1 -0x1p-140", "z= 1 nan 0 -0 3 3 0 -0"},
	{"min i32", I2 "%z = min %x %y : i32 (A)\noutput z %z\n", "", "x= 1 -1 5 6 y= 0 0 7 6",
		"z= 0 -1 5 6"},
	{"max i32", I2 "%z = max %x %y : i32 (A)\noutput z %z\n", "", "x= 1 -1 5 6 y= 0 0 7 6",
		"z= 1 0 7 6"},
	{"fma rounds once", X2 "%z = fma %x %x %y : f32 (A)\noutput z %z\n", "",
		"x= 0x1.000002p0 2 y= -0x1.000004p0 1", "z= 0x1p-46 5"},
	{"neg", X1 "%z = neg %x : f32 (A)\noutput z %z\n", "", "x= 0 1 -inf 0 0 0 0 0",
		"z= -0 -1 inf -0 -0 -0 -0 -0"},
	{"sqrt", X1 "%z = sqrt %x : f32 (A)\noutput z %z\n", "", "x= 2 9 -1 -0 inf 0x1p-140",
		"z= 0x1.6a09e6p0 3 nan -0 inf 0 0 0"},
	{"rint", X1 "%z = rint %x : f32 (A)\noutput z %z\n", "", "x= 0.5 1.5 2.5 -0.5 -1.5 0.75 7 -2.25",
		"z= 0 2 2 -0 -2 1 7 -2"},
	{"lt", X2 "%z = lt %x %y : i32 (A)\noutput z %z\n", "",
		"x= 1 2 nan 1 -0 0 y= 2 1 1 nan 0 0x1p-140", "z= 1 0 0 0 0 0 0 0"},
	{"lt i32", I2 "%z = lt %x %y : i32 (A)\noutput z %z\n", "", "x= 1 -1 5 5 y= 0 0 7 5",
		"z= 0 1 1 0"},
	{"eq", X2 "%z = eq %x %y : i32 (A)\noutput z %z\n", "",
		"x= 1 2 nan -0 0 1 1 1 y= 1 1 nan 0 0x1p-140 1 2 inf", "z= 1 0 0 1 1 1 0 0"},
	{"eq i32", I2 "%z = eq %x %y : i32 (A)\noutput z %z\n", "", "x= 1 -1 5 5 y= 0 -1 7 5",
		"z= 0 1 0 1"},
	{"select, a scalar choice",
		I1 "%y = const value=-2.5 : f32 ()\n%f = to_f32 %x : f32 (A)\n"
		   "%z = select %x %f %y : f32 (A)\noutput z %z\n",
		"", "x= 0 1 -7 0", "z= -2.5 1 -7 -2.5"},
	{"select i32", I2 "%z = select %x %y %x : i32 (A)\noutput z %z\n", "", "x= 0 1 -7 0 y= 5 6 7 8",
		"z= 0 6 7 0"},
	{"and", I2 "%z = and %x %y : i32 (A)\noutput z %z\n", "", "x= 12 -1 6 1 y= 10 7 1 1",
		"z= 8 7 0 1"},
	{"or", I2 "%z = or %x %y : i32 (A)\noutput z %z\n", "", "x= 12 -1 6 0 y= 10 7 1 0",
		"z= 14 -1 7 0"},
	{"shl", I2 "%z = shl %x %y : i32 (A)\noutput z %z\n", "", "x= 1 3 -1 5 y= 31 2 4 0",
		"z= -2147483648 12 -16 5"},
	{"shr is logical", I2 "%z = shr %x %y : i32 (A)\noutput z %z\n", "", "x= -1 12 1 5 y= 28 2 1 0",
		"z= 15 3 0 5"},
	{"to_i32", X1 "%z = to_i32 %x : i32 (A)\noutput z %z\n", "", "x= 2.5 3.5 -1.5 -0.25 7 0 1e9 -3",
		"z= 2 4 -2 0 7 0 1000000000 -3"},
	{"to_f32", I1 "%z = to_f32 %x : f32 (A)\noutput z %z\n", "", "x= 16777217 16777219 -3 0",
		"z= 16777216 16777220 -3 0"},
	{"bits_of", X1 "%z = bits_of %x : i32 (A)\noutput z %z\n", "", "x= 1 -0 0x1p-149 -2",
		"z= 0x3f800000 -2147483648 1 -1073741824 0 0 0 0"},
	{"from_bits", I1 "%z = from_bits %x : f32 (A)\noutput z %z\n", "",
		"x= 0x3f800000 -2147483648 1 -1073741824", "z= 1 -0 0x1p-149 -2"},
	{"exp", X1 "%z = exp %x : f32 (A)\noutput z %z\n", "", "x= 0 -0 -inf inf nan -1000 1000",
		"z= 1 1 0 inf nan 0 inf 1"},
	{"log", X1 "%z = log %x : f32 (A)\noutput z %z\n", "", "x= 1 0 -1 inf nan 1 1 1",
		"z= 0 -inf nan inf nan 0 0 0"},
	{"sin", X1 "%z = sin %x : f32 (A)\noutput z %z\n", "", "x= 0", "z= 0 0 0 0 0 0 0 0"},
	{"cos", X1 "%z = cos %x : f32 (A)\noutput z %z\n", "", "x= 0", "z= 1 1 1 1 1 1 1 1"},
	{"cast: ties to even, denormals to 0", X1 "%z = cast %x : bf16 (A)\noutput z %z\n", "",
		"x= 0x1.01p0 0x1.03p0 0x1.010002p0 -0x1.018p0 nan 0x1p-130 inf 0x1.ffp127",
		"z= 1 0x1.04p0 0x1.02p0 -0x1.02p0 nan 0 inf inf"},
	{"cast back",
		"axis A 4\n%x = param name=x : bf16 (A)\n%z = cast %x : f32 (A)\noutput z %z\n", "",
		"x= 1 -2.5 nan 0x1.fep127", "z= 1 -2.5 nan 0x1.fep127"},
	{"stop", X1 "%z = stop %x : f32 (A)\noutput z %z\n", "", "x= 1 -2", "z= 1 -2 0 0 0 0 0 0"},
	{"expand adds and moves axes",
		"axis A 2\naxis B 3\naxis C 2\n%x = input name=x : f32 (A,B)\n"
		"%z = expand %x : f32 (B,C,A)\noutput z %z\n",
		"", "x= 1 2 3 4 5 6", "z= 1 4 1 4 2 5 2 5 3 6 3 6"},
	{"flip",
		"axis A 3\naxis B 2\n%x = input name=x : f32 (A,B)\n%z = flip axis=A %x : f32 (A,B)\n"
		"output z %z\n",
		"", "x= 1 2 3 4 5 6", "z= 5 6 3 4 1 2"},
	{"iota", "axis A 5 dynamic\n%z = iota : i32 (A)\noutput z %z\n", "A=3", "", "z= 0 1 2 0 0"},
	{"sum of rows: over the first and the last axis",
		"axis A 2\naxis R 2\naxis B 3\n%x = input name=x : f32 (A,R,B)\n%z = sum %x : f32 (R)\n"
		"output z %z\n",
		"", "x= 1 2 3 4 5 6 10 20 30 40 50 60", "z= 66 165"},
	{"sum: elements 0 and 16 meet before 8 does",
		"axis A 17\n%x = input name=x : f32 (A)\n%z = sum %x : f32 ()\noutput z %z\n", "",
		"x= 0x1p24 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 1", "z= 0x1p24"},
	{"sum of bf16",
		"axis A 3\n%x = param name=x : bf16 (A)\n%z = sum %x : f32 ()\noutput z %z\n", "",
		"x= 1 2 0x1p-20", "z= 0x1.800008p1"},
	{"rmax",
		"axis R 3 dynamic\naxis A 3\n%x = input name=x : f32 (R,A)\n%z = rmax %x : f32 (R)\n"
		"output z %z\n",
		"R=2", "x= -3 -1 -2 5 7 6 9 9 9", "z= -1 7 0"},
	{"dot",
		"axis R 3 dynamic\naxis D 3\naxis F 2\n%x = input name=x : f32 (R,D)\n"
		"%w = param name=w : f32 (F,D)\n%z = dot %x %w : f32 (R,F)\noutput z %z\n",
		"R=2", "x= 1 2 3 4 5 6 7 8 9 w= 1 0 1 0 1 -1", "z= 4 -1 10 -1 0 0"},
	{"dot over a dynamic axis, the result the other way round",
		"axis R 3 dynamic\naxis D 2\naxis F 2\n%x = input name=x : f32 (R,D)\n"
		"%w = input name=w : f32 (R,F)\n%z = dot %x %w : f32 (F,D)\noutput z %z\n",
		"R=2", "x= 1 2 3 4 100 100 w= 1 10 2 20 100 100", "z= 7 10 70 100"},
	{"dot bf16: the odd element before the even one",
		"axis F 1\naxis D 2\n%x = input name=x : bf16 (D)\n%w = param name=w : bf16 (F,D)\n"
		"%z = dot %x %w : f32 (F)\noutput z %z\n",
		"", "x= 0x1p24 1 w= 1 1", "z= 0x1p24"},
	{"dot bf16: a missing odd element counts as 0",
		"axis F 2\naxis D 1\n%x = input name=x : bf16 (D)\n%w = param name=w : bf16 (F,D)\n"
		"%z = dot %x %w : f32 (F)\noutput z %z\n",
		"", "x= 3 w= -2 inf", "z= -6 inf"},
	{"gather",
		"axis V 3\naxis D 2\naxis R 4 dynamic\n%t = param name=t : bf16 (V,D)\n"
		"%i = input name=i : i32 (R)\n%z = gather axis=V %t %i : bf16 (R,D)\noutput z %z\n",
		"R=3", "t= 1 2 3 4 5 6 i= 2 0 2 99", "z= 5 6 1 2 5 6 0 0"},
	{"gather along an inner axis",
		"axis V 3\naxis D 2\naxis R 2\n%t = param name=t : f32 (D,V)\n%i = input name=i : i32 (R)\n"
		"%z = gather axis=V %t %i : f32 (R,D)\noutput z %z\n",
		"", "t= 1 2 3 4 5 6 i= 2 0", "z= 3 6 1 4"},
	{"quantise: ties to even, all 0 when nearly 0",
		"axis R 3 dynamic\naxis A 1\naxis B 3\n%x = input name=x : f32 (R,A,B)\n"
		"%z = quantise %x : q8 (R | A,B)\noutput z %z\n",
		"R=2", "x= 127 -63.5 1 0x1p-101 0 0",
		"z= 127 192 1 29*0 0 0 128 63 0 224 255 255 24*0 32*0 8*0"},
	{"dot q8",
		"axis R 1\naxis D 3\naxis F 2\n%x = input name=x : f32 (R,D)\n"
		"%w = param name=w : q8 (F | D) layout panel 0 1\n%q = quantise %x : q8 (R | D)\n"
		"%z = dot %q %w : f32 (R,F)\noutput z %z\n",
		"", "x= 127 -63.5 1 w= 130 127 2*128 255 1 129 128 504*128 0 56 0 64 60*0", "z= 159 48516"},
	{"dot q4, a second block",
		"axis R 1\naxis D 33\naxis F 2\n%x = input name=x : f32 (R,D)\n"
		"%w = param name=w : q4 (F | D) layout panel 0 1\n%q = quantise %x : q8 (R | D)\n"
		"%z = dot %q %w : f32 (R,F)\noutput z %z\n",
		"", "x= 127 -63.5 30*0 254 w= 137 128 2*136 143 135 2*136 248*136 128 3*136 143 251*136 0 56 0 64 28*0 0 60 0 188 28*0",
		"z= -27400 2048"},
	{"gather of q8 and of q4 is f32",
		"axis V 2\naxis D 3\naxis R 2\n%t = param name=t : q8 (V | D) layout panel 0 1\n"
		"%u = param name=u : q4 (V | D) layout panel 0 1\n%i = input name=i : i32 (R)\n"
		"%z = gather axis=V %t %i : f32 (R,D)\n%y = gather axis=V %u %i : f32 (R,D)\n"
		"output z %z\noutput y %y\n",
		"", "i= 1 0 t= 130 127 2*128 255 1 129 128 504*128 0 56 0 64 u= 137 128 2*136 143 135 2*136 248*136 0 56 0 64",
		"z= 254 -254 2 1 -0.5 0 y= 224 -32 0 8 -64 0"},
	{"scatter adds",
		"axis V 3\naxis D 2\naxis R 4 dynamic\n%x = input name=x : f32 (R,D)\n"
		"%i = input name=i : i32 (R)\n%z = scatter axis=V %x %i : f32 (V,D)\noutput z %z\n",
		"R=3", "x= 1 2 3 4 5 6 7 8 i= 2 0 2 1", "z= 3 4 0 0 6 8"},
	{"put, then read the state",
		"axis K 2\naxis S 3\naxis E 1\naxis R 2\n%s = state name=s : bf16 (K,S,E)\n"
		"%x = input name=x : bf16 (R,K,E)\n%i = input name=i : i32 (R)\n"
		"%p = put axis=S %s %x %i : bf16 (K,S,E)\n%z = cast %p : f32 (K,S,E)\noutput z %z\n",
		"", "s= 1 2 3 4 5 6 x= 10 20 30 40 i= 2 0", "z= 30 2 10 40 5 20 s= 30 2 10 40 5 20"},
	{"assign, the value's axes in another order",
		"axis A 2\naxis B 2\n%s = state name=s : f32 (A,B)\n%x = input name=x : f32 (B,A)\n"
		"%p = assign %s %x : f32 (A,B)\n%z = neg %p : f32 (A,B)\noutput z %z\n",
		"", "s= 9 9 9 9 x= 1 2 3 4", "s= 1 3 2 4 z= -1 -3 -2 -4"},
	{"attention of equal scores is the mean of lo <= s < hi", ATTENTION "output z %o\n", "",
		"q= 0 k= 9 2 5 9 v= 9 1 3 9 lo= 1 hi= 3", "z= 2"},
	{"attention_dq", ATTENTION_GRAD
		"%z = attention_dq axis=S %q %k %v %lo %hi %o %do : f32 (R,E)\noutput z %z\n", "",
		"q= 0 k= 9 2 5 9 v= 9 1 3 9 lo= 1 hi= 3 do= 1", "z= 1.5"},
	{"attention_dk", ATTENTION_GRAD
		"%z = attention_dk axis=S %q %k %v %lo %hi %o %do : f32 (S,E)\noutput z %z\n", "",
		"q= 3 k= 9 2 2 9 v= 9 1 3 9 lo= 1 hi= 3 do= 1", "z= 0 -1.5 1.5 0"},
	{"attention_dv", ATTENTION_GRAD
		"%z = attention_dv axis=S %q %k %v %lo %hi %o %do : f32 (S,E)\noutput z %z\n", "",
		"q= 3 k= 9 2 2 9 v= 9 1 3 9 lo= 1 hi= 3 do= 5", "z= 0 2.5 2.5 0"},
};

static bool same_bits(double a, double b)
{
	return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

/* Fills a second set of tensors with what is expected and compares those that `out` names. */
static void check_out(struct graph_run *r, const char *name, const char *text)
{
	struct graph_run want = {.mode = r->mode};
	graph_run_init(&want, r->g);
	graph_run_fill(&want, text);
	for (int i = 0; i < r->ntensor; i++) {
		const char *at = strstr(text, r->tensor[i].name);
		if (!at || at[strlen(r->tensor[i].name)] != '=')
			continue;
		for (int64_t k = 0; k < graph_run_elements(r, i); k++)
			if (!same_bits(graph_run_get(r, i, k), graph_run_get(&want, i, k)))
				FAIL("%s: %s[%lld] is %a, not %a", name, r->tensor[i].name, (long long)k,
					graph_run_get(r, i, k), graph_run_get(&want, i, k));
	}
	graph_run_release(&want);
}

/* As written and, to the same bits, planned: in regions and layouts, through the slab. */
TEST(interp_computes_each_op_as_by_hand)
{
	bool seen[NOPS] = {0};
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct graph_run r = {.mode = INTERP_EXACT};
		char axis[2];
		int extent;
		if (!graph_run_text(&r, cases[i].graph))
			continue;
		if (sscanf(cases[i].dim, "%1[A-Z]=%d", axis, &extent) == 2)
			graph_run_dim(&r, axis, extent);
		graph_run_fill(&r, cases[i].in);
		struct graph_run planned = {0};
		graph_run_planned(&planned, &r);
		if (graph_run_go(&r))
			check_out(&r, cases[i].name, cases[i].out);
		graph_run_check_text(&r);
		graph_run_check_text(&planned);
		if (graph_run_go(&planned))
			graph_run_check_same(&planned, &r);
		graph_run_release(&planned);
		for (int k = 0; k < r.g->nnode; k++)
			seen[r.g->node[k].op] = true;
		graph_run_release(&r);
	}
	for (int op = 0; op < NOPS; op++)
		if (!seen[op])
			FAIL("op '%s' has no case", op_info[op].name);
}

static float random_float(struct rng *rng)
{
	return (float)(rng_uniform(rng) * 4 - 2);
}

static void fill_random(struct graph_run *r, const char *name, struct rng *rng)
{
	int t = graph_run_tensor(r, name);
	for (int64_t k = 0; k < graph_run_elements(r, t); k++)
		graph_run_set(r, t, k, random_float(rng));
}

/* a (n), b (n): chunks of 512; bf16: each pair's second product first. */
static float plain_dot(const float *a, const float *b, int n, int pairs)
{
	float total = 0;
	for (int chunk = 0; chunk * 512 < n; chunk++) {
		float acc = 0;
		for (int i = 0; i < 512 && chunk * 512 + i < n; i++) {
			int k = chunk * 512 + (pairs ? i ^ 1 : i);
			if (k < n)
				acc = fmaf(a[k], b[k], acc);
			else if (pairs) /* the last pair lacks its second */
				acc = fmaf(a[k - 1], b[k - 1], acc);
		}
		total = chunk ? total + acc : acc;
	}
	return total;
}

TEST(interp_dot_sums_in_the_order_of_the_contract)
{
	static const int sizes[] = {1, 2, 3, 31, 511, 512, 513, 1024, 1025, 1537};
	struct rng rng;
	rng_init(&rng, 1);
	for (size_t i = 0; i < 2 * NELEM(sizes); i++) {
		struct graph_run r = {.mode = INTERP_EXACT};
		int n = sizes[i / 2], pairs = i % 2;
		const char *dtype = pairs ? "bf16" : "f32";
		char text[512];
		float a[2048], b[2048];
		snprintf(text, sizeof(text), "axis R 2\naxis D %d\n%%a = input name=a : %s (R,D)\n"
			"%%b = input name=b : %s (D)\n%%z = dot %%b %%a : f32 (R)\noutput z %%z\n",
			n, dtype, dtype);
		REQUIRE(graph_run_text(&r, text));
		fill_random(&r, "a", &rng);
		fill_random(&r, "b", &rng);
		graph_run_go(&r);
		for (int row = 0; row < 2; row++) {
			for (int k = 0; k < n; k++) {
				a[k] = (float)graph_run_get(&r, 0, row * n + k);
				b[k] = (float)graph_run_get(&r, 1, k);
			}
			float want = plain_dot(a, b, n, pairs);
			if (graph_run_get(&r, 2, row) != want)
				FAIL("%s dot of %d: %a, not %a", dtype, n, graph_run_get(&r, 2, row), want);
		}
		graph_run_release(&r);
	}
}

/* Sixteen sums of every sixteenth element, then halves onto halves. */
static float plain_sum(const float *x, int n)
{
	float s[16] = {0};
	for (int i = 0; i < n; i++)
		s[i & 15] += x[i];
	for (int j = 0; j < 8; j++)
		s[j] += s[j + 8];
	for (int j = 0; j < 4; j++)
		s[j] += s[j + 4];
	s[0] += s[2], s[1] += s[3];
	return s[0] + s[1];
}

TEST(interp_sum_and_rmax_run_in_sixteen_lanes)
{
	struct rng rng;
	rng_init(&rng, 2);
	for (int n = 1; n < 70; n += 3) {
		struct graph_run r = {.mode = INTERP_EXACT};
		char text[256];
		float x[70], max = -INFINITY;
		snprintf(text, sizeof(text), "axis A %d\n%%x = input name=x : f32 (A)\n"
			"%%s = sum %%x : f32 ()\n%%m = rmax %%x : f32 ()\noutput s %%s\noutput m %%m\n", n);
		REQUIRE(graph_run_text(&r, text));
		fill_random(&r, "x", &rng);
		graph_run_go(&r);
		for (int i = 0; i < n; i++) {
			x[i] = (float)graph_run_get(&r, 0, i);
			max = fmaxf(max, x[i]);
		}
		CHECK(graph_run_get(&r, 1, 0) == plain_sum(x, n));
		CHECK(graph_run_get(&r, 2, 0) == max);
		graph_run_release(&r);
	}
}

/* x[i] becomes the recipe's value of it. */
static void recipe(const char *op, float *x, int n)
{
	struct graph_run r = {.mode = INTERP_EXACT};
	char text[128];
	snprintf(text, sizeof(text), "axis A %d\n%%x = input name=x : f32 (A)\n"
		"%%y = %s %%x : f32 (A)\noutput y %%y\n", n, op);
	REQUIRE(graph_run_text(&r, text));
	for (int i = 0; i < n; i++)
		graph_run_set(&r, 0, i, x[i]);
	graph_run_go(&r);
	for (int i = 0; i < n; i++)
		x[i] = (float)graph_run_get(&r, 1, i);
	graph_run_release(&r);
}

enum { AN = 4, AK = 2, AG = 3, AX = 2, AE = 3, AS = 1100, AC = AX * AE };

struct plain_attention {
	float q[AN][AK][AG][AC], k[AK][AS][AC], v[AK][AS][AC], o[AN][AK][AG][AC], go[AN][AK][AG][AC];
	float dq[AN][AK][AG][AC], dk[AK][AG][AS][AC], dv[AK][AG][AS][AC], p[AS];
	int lo[AN], hi[AN];
};

static void plain_row(struct plain_attention *t, int n, int k, int g)
{
	float max = -INFINITY, *p = t->p, *q = t->q[n][k][g], delta = 0;
	int lo = t->lo[n], nslot = t->hi[n] - lo;
	for (int s = 0; s < nslot; s++) {
		p[s] = 0;
		for (int c = 0; c < AC; c++)
			p[s] = fmaf(q[c], t->k[k][lo + s][c], p[s]);
		max = fmaxf(max, p[s]);
	}
	for (int s = 0; s < nslot; s++)
		p[s] -= max;
	recipe("exp", p, nslot);
	float l = plain_sum(p, nslot);
	for (int c = 0; c < AC; c++) {
		float o = 0;
		for (int from = 0; from < nslot; from += 512) {
			float acc = 0;
			for (int s = from; s < nslot && s < from + 512; s++)
				acc = fmaf(p[s], t->v[k][lo + s][c], acc);
			o += acc;
		}
		t->o[n][k][g][c] = o / l;
	}
	const float *go = t->go[n][k][g];
	for (int c = 0; c < AC; c++)
		delta = fmaf(go[c], t->o[n][k][g][c], delta);
	for (int s = 0; s < nslot; s++) {
		float w = p[s] * (1 / l), dp = 0, *dk = t->dk[k][g][lo + s], *dv = t->dv[k][g][lo + s];
		for (int c = 0; c < AC; c++)
			dp = fmaf(go[c], t->v[k][lo + s][c], dp);
		float ds = w * (dp - delta);
		for (int c = 0; c < AC; c++) {
			t->dq[n][k][g][c] = fmaf(ds, t->k[k][lo + s][c], t->dq[n][k][g][c]);
			dk[c] = fmaf(ds, q[c], dk[c]);
			dv[c] = fmaf(w, go[c], dv[c]);
		}
	}
}

static void check_attention(const char *kv_dtype, int nslot)
{
	static struct plain_attention t;
	struct graph_run r = {.mode = INTERP_EXACT};
	struct rng rng;
	char text[2048], kv[32];
	static const struct {
		const char *name;
		float *first;
		size_t n;
	} in[] = {{"q", &t.q[0][0][0][0], sizeof(t.q) / 4}, {"k", &t.k[0][0][0], sizeof(t.k) / 4},
		{"v", &t.v[0][0][0], sizeof(t.v) / 4}, {"do", &t.go[0][0][0][0], sizeof(t.go) / 4}},
	  out[] = {{"o", &t.o[0][0][0][0], sizeof(t.o) / 4}, {"dq", &t.dq[0][0][0][0], sizeof(t.dq) / 4},
		{"dk", &t.dk[0][0][0][0], sizeof(t.dk) / 4}, {"dv", &t.dv[0][0][0][0], sizeof(t.dv) / 4}};
	memset(&t, 0, sizeof(t));
	rng_init(&rng, 3);
	snprintf(kv, sizeof(kv), "%s (K,S,X,E)", kv_dtype);
	snprintf(text, sizeof(text),
		"axis N %d\naxis K %d\naxis G %d\naxis X %d\naxis E %d\naxis S %d\n"
		"%%q = input name=q : f32 (N,K,G,X,E)\n%%do = input name=do : f32 (N,K,G,X,E)\n"
		"%%k = input name=k : %s\n%%v = input name=v : %s\n"
		"%%lo = input name=lo : i32 (N)\n%%hi = input name=hi : i32 (N)\n"
		"%%o = attention axis=S %%q %%k %%v %%lo %%hi : f32 (N,K,G,X,E)\n"
		"%%dq = attention_dq axis=S %%q %%k %%v %%lo %%hi %%o %%do : f32 (N,K,G,X,E)\n"
		"%%dk = attention_dk axis=S %%q %%k %%v %%lo %%hi %%o %%do : f32 (K,G,S,X,E)\n"
		"%%dv = attention_dv axis=S %%q %%k %%v %%lo %%hi %%o %%do : f32 (K,G,S,X,E)\n"
		"output o %%o\noutput dq %%dq\noutput dk %%dk\noutput dv %%dv\n",
		AN, AK, AG, AX, AE, AS, kv, kv);
	REQUIRE(graph_run_text(&r, text));
	for (size_t i = 0; i < NELEM(in); i++) {
		int tensor = graph_run_tensor(&r, in[i].name);
		for (size_t k = 0; k < in[i].n; k++) {
			graph_run_set(&r, tensor, (int64_t)k, random_float(&rng));
			in[i].first[k] = (float)graph_run_get(&r, tensor, (int64_t)k);
		}
	}
	for (int n = 0; n < AN; n++) {
		t.lo[n] = n == 1 ? nslot / 3 : 0;
		t.hi[n] = n == 2 ? 1 : nslot - n;
		graph_run_set(&r, graph_run_tensor(&r, "lo"), n, t.lo[n]);
		graph_run_set(&r, graph_run_tensor(&r, "hi"), n, t.hi[n]);
	}
	graph_run_go(&r);
	for (int n = 0; n < AN; n++)
		for (int k = 0; k < AK; k++)
			for (int g = 0; g < AG; g++)
				plain_row(&t, n, k, g);
	for (size_t i = 0; i < NELEM(out); i++) {
		int tensor = graph_run_tensor(&r, out[i].name), wrong = 0;
		for (size_t k = 0; k < out[i].n; k++)
			wrong += graph_run_get(&r, tensor, (int64_t)k) != out[i].first[k];
		if (wrong)
			FAIL("%s, %d slots: %d of %zu values of %s differ", kv_dtype, nslot, wrong, out[i].n,
				out[i].name);
	}
	graph_run_release(&r);
}

TEST(interp_attention_and_its_gradients_are_those_of_plain_c)
{
	check_attention("f32", 33);
	check_attention("bf16", 47);
	check_attention("f32", AS);
}

TEST(interp_attention_over_the_row_axis_itself)
{
	struct graph_run r = {.mode = INTERP_EXACT};
	REQUIRE(graph_run_text(&r, "axis R 4 dynamic\naxis E 1\n%q = input name=q : f32 (R,E)\n"
		"%v = input name=v : f32 (R,E)\n%lo = input name=lo : i32 (R)\n"
		"%hi = input name=hi : i32 (R)\n%o = attention axis=R %q %q %v %lo %hi : f32 (R,E)\n"
		"output o %o\n"));
	graph_run_dim(&r, "R", 3);
	graph_run_fill(&r, "q= 0 0 5 v= 2 4 8 lo= 0 0 2 hi= 1 2 3");
	REQUIRE(graph_run_go(&r));
	check_out(&r, "packed rows", "o= 2 3 8 0");
	graph_run_release(&r);
}

/* Row-major numbers in, the bytes of a panel layout out, and back in through a leaf of that layout. */
TEST(interp_reads_and_writes_panels)
{
	static const struct {
		const char *dtype;
		int first, last;
	} layouts[] = {{"f32", 0, 1}, {"f32", 1, 2}, {"f32", 0, 2}, {"bf16", 0, 1}, {"bf16", 1, 2},
		{"bf16", 0, 2}};
	enum { NA = 19, NB = 5, NC = 3 };
	for (size_t i = 0; i < NELEM(layouts); i++) {
		struct graph_run to = {.mode = INTERP_EXACT}, from = {.mode = INTERP_EXACT};
		int first = layouts[i].first, last = layouts[i].last, pair = layouts[i].dtype[0] == 'b' ? 2 : 1;
		char text[512];
		snprintf(text, sizeof(text), "axis A %d\naxis B %d\naxis C %d\n"
			"%%x = input name=x : %s (A,B,C)\n%%y = expand %%x : %s (A,B,C) layout panel %d %d\n"
			"output y %%y\n", NA, NB, NC, layouts[i].dtype, layouts[i].dtype, first, last);
		REQUIRE(graph_run_text(&to, text));
		graph_run_check_text(&to);
		snprintf(text, sizeof(text), "axis A %d\naxis B %d\naxis C %d\n"
			"%%x = input name=x : %s (A,B,C) layout panel %d %d\n%%y = expand %%x : %s (A,B,C)\n"
			"output y %%y\n", NA, NB, NC, layouts[i].dtype, first, last, layouts[i].dtype);
		REQUIRE(graph_run_text(&from, text));
		for (int k = 0; k < NA * NB * NC; k++)
			graph_run_set(&to, 0, k, k % 128 + 1);
		graph_run_go(&to);
		memcpy(from.tensor[0].p, to.tensor[1].p, (size_t)tensor_bytes(to.g, &to.g->node[1]));
		graph_run_go(&from);
		int dim[] = {NA, NB, NC}, index[3], wrong = 0;
		for (int k = 0; k < NA * NB * NC; k++) {
			int outer = 0, o = 0, inner = 0, no = 1, ninner = 1;
			index[0] = k / (NB * NC), index[1] = k / NC % NB, index[2] = k % NC;
			for (int a = 0; a < 3; a++) {
				int *part = a < first ? &outer : a < last ? &o : &inner;
				*part = *part * dim[a] + index[a];
				no *= a >= first && a < last ? dim[a] : 1;
				ninner *= a >= last ? dim[a] : 1;
			}
			int panel = outer * ((no + 15) / 16) + o / 16;
			int at = ((panel * ((ninner + pair - 1) / pair) + inner / pair) * 16 + o % 16) * pair +
				inner % pair;
			wrong += graph_run_get(&to, 1, at) != k % 128 + 1;
			wrong += graph_run_get(&from, 1, k) != k % 128 + 1;
		}
		if (wrong)
			FAIL("%s panel %d %d: %d wrong", layouts[i].dtype, first, last, wrong);
		graph_run_release(&to);
		graph_run_release(&from);
	}
}

/* Error against libm in units of the last place of the true value, at least those of `floor`. */
static double ulps(float got, double want, double floor)
{
	double size = fabs(want) > floor ? fabs(want) : floor;
	return fabs((double)got - want) / ldexp(1, ilogb(size) - 23);
}

/* As recipe.h promises, over floats spread evenly by their bits. */
TEST(interp_recipes_are_accurate)
{
	static const struct {
		const char *op;
		double (*f)(double);
		float from, to;
		double floor, most;
	} rows[] = {
		{"exp", exp, 1e-10f, 88.7f, 0, 1},
		{"exp", exp, -86.5f, -1e-10f, 0, 1},
		{"log", log, 0x1p-126f, 0x1p127f, 0, 1},
		{"sin", sin, 1e-10f, 1048576, 0x1p-10, 2},
		{"cos", cos, 1e-10f, 1048576, 0x1p-10, 2},
	};
	enum { N = 100000 };
	static float x[N], y[N];
	for (size_t i = 0; i < NELEM(rows); i++) {
		uint32_t from, to;
		double worst = 0;
		bool negative = rows[i].from < 0;
		float least = fabsf(negative ? rows[i].to : rows[i].from);
		float most = fabsf(negative ? rows[i].from : rows[i].to);
		memcpy(&from, &least, 4);
		memcpy(&to, &most, 4);
		for (uint32_t k = 0; k < N; k++) {
			uint32_t u = from + (uint32_t)((uint64_t)(to - from) * k / N);
			memcpy(&x[k], &u, 4);
			y[k] = x[k] = negative ? -x[k] : x[k];
		}
		recipe(rows[i].op, y, N);
		for (int k = 0; k < N; k++)
			worst = fmax(worst, ulps(y[k], rows[i].f((double)x[k]), rows[i].floor));
		CHECK(worst <= rows[i].most);
	}
}

TEST(interp_f64_mode_uses_libm_and_rounds_nothing)
{
	static const struct {
		const char *op;
		double (*f)(double);
	} ops[] = {{"exp", exp}, {"log", log}, {"sin", sin}, {"cos", cos}, {"sqrt", sqrt}};
	struct rng rng;
	rng_init(&rng, 4);
	for (size_t i = 0; i < NELEM(ops); i++) {
		struct graph_run r = {.mode = INTERP_F64};
		char text[256];
		snprintf(text, sizeof(text), "axis A 9\n%%x = input name=x : f32 (A)\n"
			"%%y = cast %%x : bf16 (A)\n%%z = %s %%y : f32 (A)\noutput z %%z\n", ops[i].op);
		REQUIRE(graph_run_text(&r, text));
		for (int k = 0; k < 9; k++)
			graph_run_set(&r, 0, k, rng_uniform(&rng) + 0.1);
		graph_run_go(&r);
		for (int k = 0; k < 9; k++)
			CHECK(graph_run_get(&r, 1, k) == ops[i].f(graph_run_get(&r, 0, k)));
		graph_run_release(&r);
	}
}

#define PLANNED(second)                                                                            \
	"axis A 16\nslab 256\n%x = input name=x : f32 (A)\n%c = const value=2 : f32 ()\n"          \
	"%y = mul %x %c : f32 (A) region 0 stored at 0\n"                                          \
	"%b = bits_of %y : i32 (A) region 0\n"                                                     \
	"%u = from_bits %b : bf16 (A) region 0 stored at 64\n"                                     \
	"%h = add %y %c : f32 (A) region 1\n"                                                      \
	"%z = add %h %u : f32 (A) region 1 stored at " second "\n"                                 \
	"%w = add %z %y : f32 (A) region 2 stored\n"                                               \
	"region 0 map (A) : %y %b %u\nregion 1 map (A) : %h %z\nregion 2 map (A) : %w\noutput w %w\n"

static double run_plan(const char *text)
{
	struct graph_run r = {.mode = INTERP_EXACT};
	if (!graph_run_text(&r, text))
		return NAN;
	graph_run_check_text(&r);
	graph_run_fill(&r, "x= 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16");
	graph_run_go(&r);
	double w = graph_run_get(&r, graph_run_tensor(&r, "w"), 15);
	graph_run_release(&r);
	return w;
}

/* x = 16, y = 32, u = 32, z = 66, w = 98. A plan that puts z over y or u must not give that. */
TEST(interp_runs_regions_through_the_slab)
{
	CHECK(run_plan(PLANNED("128")) == 98);
	CHECK(run_plan(PLANNED("0")) != 98);
	CHECK(run_plan(PLANNED("64")) != 98);
	CHECK(run_plan(PLANNED("32")) != 98);
}

TEST(interp_reports_what_is_missing_or_out_of_range)
{
	static const struct {
		const char *graph, *in, *err;
	} bad[] = {
		{"axis V 3\naxis R 1\n%t = param name=t : f32 (V)\n%i = input name=i : i32 (R)\n"
		 "%z = gather axis=V %t %i : f32 (R)\noutput z %z\n",
			"i= 3", "op 'gather': index 3 out of range of axis 'V' (3)"},
		{"axis V 3\naxis R 1\n%t = state name=t : f32 (V)\n%i = input name=i : i32 (R)\n"
		 "%x = input name=x : f32 (R)\n%z = put axis=V %t %x %i : f32 (V)\noutput z %z\n",
			"i= -1", "op 'put': index -1 out of range of axis 'V' (3)"},
		{ATTENTION "output z %o\n", "lo= 2 hi= 2", "op 'attention': row 0 attends slots 2 to 2 of 4"},
		{ATTENTION "output z %o\n", "lo= 2 hi= 5", "op 'attention': row 0 attends slots 2 to 5 of 4"},
	};
	struct err e;
	for (size_t i = 0; i < NELEM(bad); i++) {
		struct graph_run r = {.mode = INTERP_EXACT};
		REQUIRE(graph_run_text(&r, bad[i].graph));
		graph_run_fill(&r, bad[i].in);
		struct interp_call call = {r.mode, r.dim, r.tensor, r.ntensor};
		CHECK(!interp_run(r.g, &call, &e));
		CHECK_STR(e.msg, bad[i].err);
		call.ntensor = 0;
		CHECK(interp_run(r.g, &call, &e) == (i != 1)); /* nothing wanted; a put runs anyway */
		graph_run_release(&r);
	}
	CHECK_STR(e.msg, "op 'attention': row 0 attends slots 2 to 5 of 4");
}
